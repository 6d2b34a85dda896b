"""The judge: from topics and tables alone, and an oracle that shares no code with what computed them.

Every offset of an input is accounted for exactly once: as applied, as rejected, as late, or as a repeat that changes
nothing; the rows that it made are those of the oracle, each once. Sequences have no hole. What is in ClickHouse is what
is in Kafka. A row that is missing is *lost*, a row that is there too often, or that nothing explains, is *doubled*; every
other contradiction is a *violation*.
"""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from schemas import codec
from schemas.model.document import Document
from tests.support.oracle import batches
from tests.support.oracle.engine import STREAMS as JUDGED
from tests.support.oracle.engine import Oracle

Message = tuple[int, int, bytes | None, bytes | None]
"""offset, LogAppendTime in ms, key, value"""
Place = tuple[str, int]
Row = tuple[Any, ...]

STREAM_OF: Final = {
    "ledger_rows": "ledger", "gauge_rows": "gauges", "alert_rows": "alerts", "episode_rows": "episodes",
    "verdict_rows": "verdicts", "rejected_rows": "rejected",
}  # fmt: skip
UNNAMED: Final = frozenset(("detail", "sequence"))
"""Fields of a row that are text for people, or that are judged apart."""
SHOWN_MAX: Final = 20


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What a run left in Kafka, as a reader of committed messages sees it.

    Attributes:
        inputs: messages of each task's input partition.
        ends: how far each task must have come.
        outputs: messages of the output topics, by topic and partition.
        positions: messages of `tasks` in the order of the log, by partition.
    """

    inputs: Mapping[Place, Sequence[Message]]
    ends: Mapping[Place, int]
    outputs: Mapping[Place, Sequence[Message]]
    positions: Mapping[int, Sequence[Message]]


@dataclasses.dataclass
class Findings:
    """What the judge found.

    Attributes:
        messages: of the inputs.
        readings: in them, as far as they could be decoded.
        became: what became of messages: applied, rejected, late, repeated, control.
        rows: published rows that were judged.
        lost: rows and messages that are missing.
        doubled: rows and messages that are there too often.
        violations: everything else, as sentences.
    """

    messages: int = 0
    readings: int = 0
    became: Counter[str] = dataclasses.field(default_factory=Counter)
    rows: int = 0
    lost: int = 0
    doubled: int = 0
    violations: list[str] = dataclasses.field(default_factory=list)

    @property
    def right(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.doubled or self.violations)

    def wrong(self, text: str) -> None:
        """Adds a violation; the first ones are enough."""
        if len(self.violations) < SHOWN_MAX:
            self.violations.append(text)

    def add(self, other: "Findings") -> None:
        """Adds those of another run."""
        self.messages += other.messages
        self.readings += other.readings
        self.became += other.became
        self.rows += other.rows
        self.lost += other.lost
        self.doubled += other.doubled
        for text in other.violations:
            self.wrong(text)

    def told(self) -> str:
        """In a few lines."""
        lines = [f"lost {self.lost}, doubled {self.doubled} of {self.rows} rows, {self.messages} messages"]
        return "\n".join(lines + [f"  {text}" for text in self.violations])


def judge(evidence: Evidence, documents: Mapping[bytes, Document]) -> Findings:
    """Judges what is in Kafka.

    Args:
        evidence: of the run.
        documents: those that its control records name.
    """
    findings = Findings()
    published = _published(evidence, findings)
    heads = _positions(evidence, findings)
    for place, messages in evidence.inputs.items():
        position, counts = heads.get(place, (0, {}))
        end = evidence.ends[place]
        if position < end:
            findings.lost += sum(position <= message[0] < end for message in messages)
            findings.wrong(f"{place}: the position is {position}, it should be {end} at least")
        oracle = Oracle(place[0], place[1], documents)
        for message in messages:
            if message[0] < position:
                _account(oracle, message, findings)
        _compare(place, oracle, published.get(place, {}), findings)
        for stream, count in counts.items():
            found = len(published.get(place, {}).get(stream, []))
            if found != count:
                findings.wrong(f"{place}: {found} rows of {stream}, the position says {count}")
    for place in published.keys() - evidence.inputs.keys():
        findings.wrong(f"rows of {place}, which no input is")
    return findings


def _account(oracle: Oracle, message: Message, findings: Findings) -> None:
    """What becomes of a message: exactly one thing."""
    before, rejected = dict(oracle.counts), len(oracle.rows["rejected"])
    oracle.feed(*message)
    made = {name: oracle.counts[name] - before.get(name, 0) for name in oracle.counts}
    findings.messages += 1
    findings.readings += made["readings"]
    if len(oracle.rows["rejected"]) > rejected:
        findings.became["rejected"] += 1
    elif made["late"]:
        findings.became["late"] += 1
    elif made["readings"] and made["readings"] == made["repeats"]:
        findings.became["repeated"] += 1
    elif made["readings"]:
        findings.became["applied"] += 1
    else:
        findings.became["control"] += 1


def _positions(evidence: Evidence, findings: Findings) -> dict[Place, tuple[int, dict[str, int]]]:
    """The last position of each task and its counts of rows; positions only ever grow."""
    found: dict[Place, tuple[int, dict[str, int]]] = {}
    for partition, messages in evidence.positions.items():
        for _, _, _, value in messages:
            if value is None or codec.contract_of(value) != "task_position":
                continue
            record: dict[str, Any] = codec.read("task_position", value)
            place = (record["topic"], record["partition"])
            counts = {str(head["stream"]): int(head["sequence"]) for head in record["streams"]}
            before = found.get(place, (-1, {}))
            if record["position"] <= before[0] or place[1] != partition:
                findings.wrong(f"{place}: position {record['position']} after {before[0]}")
            if any(counts[stream] < count for stream, count in before[1].items()):
                findings.wrong(f"{place}: counts of rows go back at position {record['position']}")
            found[place] = record["position"], counts
    return found


def _published(evidence: Evidence, findings: Findings) -> dict[Place, dict[str, list[Row]]]:
    """Rows by task and stream, in the order of their sequence; holes and repeats are counted on the way."""
    found: dict[Place, dict[str, list[Row]]] = {}
    for (topic, partition), messages in evidence.outputs.items():
        for offset, _, _, value in messages:
            stream = STREAM_OF.get(codec.contract_of(value or b"") or "")
            if stream is None:
                findings.wrong(f"{topic}/{partition} offset {offset}: no rows of ours")
                continue
            message: dict[str, Any] = codec.read(codec.contract_of(value or b"") or "", value or b"")
            place = (message["topic"], message["partition"])
            rows = found.setdefault(place, {}).setdefault(stream, [])
            missing = message["sequence"] - len(rows)
            if missing:
                findings.wrong(f"{place}: sequence {message['sequence']} of {stream} after {len(rows)} rows")
            rows += [comparable(stream, row) for row in named(message)]
    return found


def named(message: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Rows of a message, with the site's name where it has a number."""
    sites = message.get("sites")
    for row in message["rows"]:
        yield row | {"site": sites[row["site"]]} if sites else row


def comparable(stream: str, row: Mapping[str, Any]) -> Row:
    """A row as the oracle makes it, as something to count."""
    fields = {name: value for name, value in row.items() if name not in UNNAMED}
    if stream == "rejected" and len(fields["raw"]) != 64:
        fields["raw"] = hashlib.sha256(fields["raw"]).hexdigest()
    return tuple(sorted(fields.items()))


def _compare(place: Place, oracle: Oracle, published: Mapping[str, Sequence[Row]], findings: Findings) -> None:
    """Rows of every stream, as counts: what is missing is lost, what is over is doubled."""
    for stream in JUDGED:
        expected = Counter(comparable(stream, row) for row in oracle.rows[stream])
        found = Counter(published.get(stream, []))
        findings.rows += sum(found.values())
        lost, over = expected - found, found - expected
        findings.lost += sum(lost.values())
        findings.doubled += sum(over.values())
        for row in sorted(lost, key=repr)[:3]:
            findings.wrong(f"{place}: lost from {stream}: {dict(row)}")
        for row in sorted(over, key=repr)[:3]:
            what = "doubled in" if row in expected else "not of the log, in"
            findings.wrong(f"{place}: {what} {stream}: {dict(row)}")


# -- ClickHouse -------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Tables:
    """What a run left in ClickHouse.

    Attributes:
        event_log: (topic, partition, offset, sha256 of the value) of every row.
        readings: (partition, offset, point, time in ms, value) of every row.
        streams: by stream, (topic, partition, sequence, source offset) of every row.
    """

    event_log: Sequence[tuple[str, int, int, str]]
    readings: Sequence[tuple[int, int, int, int, int]]
    streams: Mapping[str, Sequence[tuple[str, int, int, int]]]


def judge_tables(evidence: Evidence, tables: Tables, meter_topic: str) -> Findings:
    """Judges what is in ClickHouse by what is in Kafka."""
    findings = Findings()
    inputs = [
        (topic, partition, offset, hashlib.sha256(value or b"").hexdigest())
        for (topic, partition), messages in evidence.inputs.items()
        for offset, _, _, value in messages
    ]
    hold("event_log", inputs, [row for row in tables.event_log if (row[0], row[1]) in evidence.inputs], findings)
    hold("readings", list(_readings(evidence, meter_topic)), tables.readings, findings)
    rows: dict[str, list[tuple[str, int, int, int]]] = {stream: [] for stream in STREAM_OF.values()}
    for messages in evidence.outputs.values():
        for _, _, _, value in messages:
            contract = codec.contract_of(value or b"") or ""
            message: dict[str, Any] = codec.read(contract, value or b"")
            rows[STREAM_OF[contract]] += [
                (message["topic"], message["partition"], message["sequence"] + n, row["offset"])
                for n, row in enumerate(message["rows"])
            ]
    for stream, expected in rows.items():
        hold(stream, expected, tables.streams[stream], findings)
    return findings


def _readings(evidence: Evidence, meter_topic: str) -> Iterable[tuple[int, int, int, int, int]]:
    """What the table of readings has to hold: every reading of every batch that can be decoded, whatever became of it."""
    for (topic, partition), messages in evidence.inputs.items():
        for offset, known_ms, _, value in messages:
            if topic != meter_topic or value is None or codec.contract_of(value) != "meter_batch":
                continue
            status, batch = batches.decode(value)
            if status != batches.OK:
                continue
            for point, time_ms, number, _ in batch["readings"]:
                if point >= 0 and 946_684_800_000 <= time_ms <= known_ms + 86_400_000:
                    yield partition, offset, point, time_ms, number


def hold(what: str, expected: Sequence[Any], found: Sequence[Any], findings: Findings) -> None:
    """Holds what is in a table against what has to be: missing rows are lost, others are doubled."""
    wanted, there = Counter(expected), Counter(found)
    findings.rows += len(found)
    lost, over = wanted - there, there - wanted
    findings.lost += sum(lost.values())
    findings.doubled += sum(over.values())
    for row in sorted(lost, key=repr)[:3]:
        findings.wrong(f"ClickHouse lacks, in {what}: {row}")
    for row in sorted(over, key=repr)[:3]:
        findings.wrong(f"ClickHouse has too much, in {what}: {row}")
