"""Settling the sites of a deployment: what waits for it, the signed records that start it, and its rows, exactly once.

A settlement is a pure function of the log before its record. So the narrowest thing that makes its rows appear exactly
once is what a worker's task has: a transaction that holds rows and position. `settled.TOPIC/PARTITION` is a task of its
own, with its own transactional id (whoever opens it fences every other), its own streams and chains, and its own topic
`settlements`. It is no task of a worker: a settlement reads the whole log and may take minutes, and alerts of the same
partition must not wait for it. One that died before its transaction is found again in the log, after the position, and
done again with the same rows; one that was fenced had published nothing. Who settles a partition for the first time in
a while thus finishes first what others have begun.
"""

import contextlib
import dataclasses
import datetime as dt
import threading
import zoneinfo
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, cast

import numpy as np

from processors.settle import Settler
from processors.settled_rows import Rows
from processors.state import ENGINE, HOW_MEASURED
from replay.kafka_log import KafkaHistory
from replay.log import Task
from schemas import codec
from schemas.canonical import STREAMS
from schemas.control import SigningKey, settle_record
from schemas.errors import ConfigurationError, EngineMismatch, LogError
from schemas.model.document import Document
from schemas.settings import KafkaSettings
from schemas.topics import METER_READINGS, SETTLED, topic_name
from streams.kafka_admin import watermarks
from streams.published import append, may_sign, read_documents, read_heads
from streams.snapshots import read_record
from streams.transaction import Commit, TaskProducer

TOPIC: Final = SETTLED + METER_READINGS
_WAIT_S: Final = 60.0
_ALL: Final = (-(1 << 52), 1 << 52)

Report = Callable[[str, int, int], None]
"""Called with (task, messages read, messages to read)."""


@dataclasses.dataclass(frozen=True)
class Settled:
    """What a settlement did to a site, or would do.

    Attributes:
        site: site id.
        sequence: number of the settlement; 0: none was needed, or it was a dry run.
        from_ms: start of the span, UTC.
        to_ms: its end.
        points: points that waited for it.
        ledger_rows: rows that were added to the ledger.
        gauge_rows: gauge rows that were replaced.
        episodes: episodes that were taken back or added; one that became longer or shorter is one of each.
        changes: by medium, what the site's total in the span changed by, in the smallest unit, and how much of what is
            there is now measured that was not.
    """

    site: str
    sequence: int
    from_ms: int
    to_ms: int
    points: int
    ledger_rows: int
    gauge_rows: int
    episodes: int
    changes: dict[str, tuple[int, int]]


@dataclasses.dataclass(frozen=True)
class Wish:
    """What is to be settled.

    Attributes:
        site: None: every site.
        start: start of the span, ISO date or time, by the site's clock unless it names a zone; None: from the first
            thing that waits.
        end: end of the span; None: up to the last thing that waits.
        reason: for the record.
        dry_run: only say what would change.
    """

    site: str | None = None
    start: str | None = None
    end: str | None = None
    reason: str = ""
    dry_run: bool = False


def _ignore(task: str, done: int, total: int) -> None:
    del task, done, total


def settle(kafka: KafkaSettings, wish: Wish, key: SigningKey | None, report: Report = _ignore) -> list[Settled]:
    """Settles what is wished for, site by site.

    Args:
        kafka: where the log is.
        wish: what.
        key: who signs; a dry run needs none.
        report: told how far it is.

    Raises:
        LogError: no such site, or the rows that were published before are not those of the log.
        SignatureError: the key may not sign for a site.
        Fenced: somebody else settles the same partition.
        KafkaUnavailable: no broker answers.
    """
    heads, documents = read_heads(kafka), read_documents(kafka)
    if wish.site is not None and wish.site not in heads:
        raise LogError(f"no model of a site {wish.site!r} is published; there are {', '.join(sorted(heads)) or 'none'}")
    chosen = [wish.site] if wish.site is not None else sorted(heads)
    if key is not None and not wish.dry_run:
        for site in chosen:
            may_sign(site, documents[site], key)
    found: list[Settled] = []
    for partition in sorted({heads[site].partition for site in chosen}):
        sites = [site for site in chosen if heads[site].partition == partition]
        with _opened(kafka, partition, wish.dry_run, report) as task:
            found += [task.site(site, documents[site], wish, key) for site in sites]
    return found


class _Task:
    """The settling task of one partition, advanced to the end of the log."""

    def __init__(self, kafka: KafkaSettings, partition: int, dry_run: bool, report: Report) -> None:
        self._kafka = kafka
        self._name: Task = (TOPIC, partition)
        self._report = report
        self._history = KafkaHistory(kafka)
        self._give_up = threading.Event()
        self._producer: TaskProducer | None = None
        timer = threading.Timer(_WAIT_S, self._give_up.set)
        timer.start()
        try:
            if not dry_run:
                self._producer = TaskProducer(kafka, TOPIC, partition, None, self._give_up)
            record = read_record(kafka, TOPIC, partition, self._give_up).position
        finally:
            timer.cancel()
        self._settler = Settler(TOPIC, partition, self._history.document, self._log)
        self._resume(record)
        self._advance(self._end())
        self._publish()

    def close(self) -> None:
        """Lets the connections go."""
        if self._producer is not None:
            self._producer.close()

    def site(self, site: str, document: Document, wish: Wish, key: SigningKey | None) -> Settled:
        """Settles one site."""
        settler = self._settler
        waits = settler.dirty(site) if site in settler.versions else None
        points = settler.dirty_points(site) if site in settler.versions else 0
        if waits is None and wish.start is None and wish.end is None:
            return Settled(site, 0, 0, 0, points, 0, 0, 0, {})
        zone = zone_of(document)
        start = (waits[0] if waits else _ALL[0]) if wish.start is None else instant(wish.start, zone)
        end = (waits[1] if waits else _ALL[1]) if wish.end is None else instant(wish.end, zone)
        if start >= end:
            raise ConfigurationError(f"a span has to end after it begins: {wish.start} to {wish.end}")
        if wish.dry_run or key is None:
            rows, changes, sequence = settler.difference(site, start, end), settler.episodes(site, start, end), 0
        else:
            sequence = settler.settlements.get(site, 0) + 1
            raw = settle_record(site, sequence, start, end, wish.reason, key)
            offset = append(self._kafka, METER_READINGS, self._name[1], site, raw)
            self._advance(offset + 1)
            last = settler.last_settlement
            if last is None or last[0] != offset:
                raise LogError(f"settlement {sequence} of {site} was refused; has somebody else settled it meanwhile?")
            rows, changes = last[1], settler.last_changes
            self._publish()
        counts = (points, len(rows.ledger), len(rows.gauges), len(changes.listed))
        return Settled(site, sequence, start, end, *counts, _changes(rows, document))

    def _log(self, end: int) -> Iterator[Any]:
        return self._history.slabs(self._name, end)

    def _end(self) -> int:
        partition = self._name[1]
        return watermarks(self._kafka, topic_name(self._kafka, METER_READINGS), [partition], 10.0)[partition][1]

    def _resume(self, record: Mapping[str, codec.Value] | None) -> None:
        if record is None:
            return
        if record["engine"] != ENGINE:
            raise EngineMismatch(int(str(record["engine"])), ENGINE, f"{TOPIC}/{self._name[1]}")
        earlier = self._history.settlements(self._name)
        published = {
            head["stream"]: (head["sequence"], head["head"]) for head in cast("list[dict[str, Any]]", record["streams"])
        }
        for stream in STREAMS:
            chain = earlier.chains[stream]
            if published.get(stream, (0, bytes(32))) != (chain.count, chain.head()):
                raise LogError(
                    f"{TOPIC}/{self._name[1]}: the rows of {stream} in the topic settlements are not those that were "
                    "published; nothing more is. `ganzhi replay verify` shows where"
                )
        self._settler.resume(
            int(str(record["position"])), earlier.chains, earlier.ledger, earlier.gauges, earlier.changes
        )

    def _advance(self, end: int) -> None:
        settler = self._settler
        if end <= settler.position:
            return
        for slab in self._history.slabs(self._name, end, settler.position):
            settler.advance(slab)
            self._report(f"{METER_READINGS}/{self._name[1]}", settler.position, end)

    def _publish(self) -> None:
        """Publishes rows and position in one transaction; a position alone moves only with rows."""
        settler = self._settler
        if self._producer is None or settler.last_settlement is None:
            return
        outputs = settler.take()
        record: dict[str, object] = {
            "topic": TOPIC,
            "partition": self._name[1],
            "engine": ENGINE,
            "position": settler.position,
            "clock_ms": settler.clock_ms,
            "streams": settler.stream_heads(),
        }
        self._producer.commit(Commit(outputs, codec.write("task_position", record), settler.position))


@contextlib.contextmanager
def _opened(kafka: KafkaSettings, partition: int, dry_run: bool, report: Report) -> Iterator[_Task]:
    task = _Task(kafka, partition, dry_run, report)
    try:
        yield task
    finally:
        task.close()


def zone_of(document: Document) -> zoneinfo.ZoneInfo:
    """The time zone of a site."""
    zones = document.table("sites").get("time_zone") or []
    return zoneinfo.ZoneInfo(str((zones and zones[0]) or "Asia/Shanghai"))


def instant(text: str, zone: zoneinfo.ZoneInfo) -> int:
    """UTC ms of an ISO date or time; one without a zone is by the clock of `zone`.

    Raises:
        ConfigurationError: it is none.
    """
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f"{text!r} is no date or time; write 2026-03-01 or 2026-03-01T08:00") from None
    found = found if found.tzinfo is not None else found.replace(tzinfo=zone)
    return int(found.timestamp() * 1000)


def _changes(rows: Rows, document: Document) -> dict[str, tuple[int, int]]:
    table = document.table("points")
    media = dict(zip(table.get("number", []), table.get("medium", []), strict=False))
    parts = {number for number, of in zip(table.get("number", []), table.get("of", []), strict=False) if of}
    found: dict[str, tuple[int, int]] = {}
    for point in np.unique(rows.ledger[:, 0]).tolist():
        own = rows.ledger[rows.ledger[:, 0] == point]
        medium = str(media.get(point) or "")
        if point in parts or not medium:
            continue
        total, measured = found.get(medium, (0, 0))
        change = int(own[own[:, 3] == HOW_MEASURED, 4].sum())
        found[medium] = (total + int(own[:, 4].sum()), measured + change)
    return found
