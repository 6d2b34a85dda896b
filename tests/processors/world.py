"""Small documents, messages and slabs, and what a processor makes of them as dictionaries."""

import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import fastavro
import yaml

from processors.advance import Processor
from processors.outputs import Output
from schemas import codec, topics
from schemas.codec import Json
from schemas.control import SigningKey, sign
from schemas.model.document import LIMITS, Document
from schemas.model.generated import generated_points
from schemas.record_batches import Slab

Row = dict[str, Any]
Record = tuple[int, int, bytes | None, bytes | None]
"""offset, timestamp in ms, key, value"""

T0 = 1_767_229_200_000
"""2026-01-01 01:00 UTC, 09:00 in Shanghai"""
S, MIN, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000

KEY = SigningKey.of(bytes(range(32)))
"""who signs facts; every document names it"""

_STREAM = {
    "ledger_rows": "ledger", "gauge_rows": "gauges", "alert_rows": "alerts", "episode_rows": "episodes",
    "verdict_rows": "verdicts", "rejected_rows": "rejected", "episode_changes": "alerts",
}  # fmt: skip
_POINT: dict[str, Json] = {
    "gateway": "g1", "space": None, "equip": None, "station": None, "vehicle": None, "bin": None, "waste_class": None,
    "measure": None, "role": "light_power", "kind": "gauge", "unit": "W", "interval_s": 60, "max_age_s": None, "min": None,
    "max": None, "rated": None, "clock": "live", "topic": topics.METER_READINGS, "sub_item": None, "valid_from": None,
    "valid_to": None,
}  # fmt: skip


def point(number: int, **more: Any) -> Row:
    """A row of the table of points."""
    return {**_POINT, "id": f"p{number}", "number": number, **more}


def _table(rows: Iterable[Mapping[str, Json]]) -> dict[str, list[Json]]:
    listed = list(rows)
    return {name: [row.get(name) for row in listed] for name in dict.fromkeys(name for row in listed for name in row)}


def document(
    points: Sequence[Row],
    rules: str = "",
    *,
    site: str = "s1",
    domain: str = "live",
    partitions: Mapping[str, int] | None = None,
    interval_s: int = 900,
    limits: Mapping[str, int] | None = None,
    calendar: Mapping[str, str] | None = None,
    schedules: Sequence[Row] = (),
    tables: Mapping[str, Sequence[Row]] | None = None,
) -> Document:
    """A document as `apply` writes it: points, offices r1 and r2, and what else is given."""
    spaces = [
        {"id": name, "building": "b", "parent": None, "kind": "office", "tags": [], "calendar": None}
        for name in ("r1", "r2")
    ]
    made = {name: _table(rows) for name, rows in (tables or {}).items()}
    generated = [{**_POINT, "gateway": None, "interval_s": 0, **row} for row in generated_points(site, made)]
    number = max((int(row["number"]) for row in points), default=0)
    generated = [{**row, "number": number + 1 + place} for place, row in enumerate(generated)]
    everything: dict[str, Any] = {
        "sites": [{"id": site, "time_zone": "Asia/Shanghai", "calendar": "cn" if calendar else None}],
        "buildings": [{"id": "b", "site": site}],
        "spaces": spaces,
        "points": [*points, *generated],
        "schedules": list(schedules),
    }
    return Document(
        site=site,
        domain=domain,
        partition=0,
        partitions=dict(partitions or {site: 0}),
        interval_s=interval_s,
        limits={**LIMITS, **(limits or {})},
        tables={**made, **{name: _table(rows) for name, rows in everything.items()}},
        rules=[yaml.safe_load(rules)] if rules else [],
        calendars={"cn": dict(calendar)} if calendar else {},
        keys={KEY.key_id: KEY.public},
        next_number=number + 1 + len(generated),
    )


def pack(*rules: str) -> str:
    """A pack of rules; each is its lines without indentation, the name first."""
    text = "pack: own\nrules:\n"
    for rule in rules:
        name, _, rest = rule.strip().partition("\n")
        text += f"  - alert: {name}\n" + "".join(f"    {line.strip()}\n" for line in rest.splitlines())
        text += "    annotations: {zh: {summary: 一, action: 二}, en: {summary: one, action: two}}\n    source: test\n"
    return text


def config(doc: Document, version: int = 1, previous: bytes = b"", site: str = "") -> bytes:
    """The record that puts a document into force, for its own site or another."""
    return codec.write(
        "config_record",
        {
            "site": site or doc.site, "version": version, "previous": previous, "document": doc.sha256,
            "effective_ms": 0, "key_id": "", "signature": b"",
        },
    )  # fmt: skip


def tick(clock_ms: int = 0) -> bytes:
    """A tick."""
    return codec.write("tick", {"clock_ms": clock_ms})


def batch(
    readings: Iterable[tuple[int, int, int] | tuple[int, int, int, str]],
    *,
    site: str = "s1",
    gateway: str = "g1",
    mode: str = "live",
    base_ms: int = T0,
) -> bytes:
    """A meter batch of (point, time, value[, quality])."""
    listed = [
        {"point": row[0], "offset_ms": row[1] - base_ms, "value": row[2], "quality": row[3] if len(row) > 3 else "good"}
        for row in readings
    ]
    return codec.write(
        "meter_batch", {"site": site, "gateway": gateway, "mode": mode, "base_ms": base_ms, "readings": listed}
    )


def fact(
    kind: str,
    at_ms: int,
    *registers: Row,
    event_id: str = "",
    meter: str = "m",
    site: str = "s1",
    key: SigningKey = KEY,
    **more: Any,
) -> bytes:
    """A meter fact, signed; registers are {"point": number, "final": …}, what is left out is not known."""
    empty = {"final": None, "initial": None, "numerator": None, "denominator": None, "span": None}
    fields = {
        "site": site, "event_id": event_id or f"{kind} {at_ms}", "meter": meter, "kind": kind, "at_ms": at_ms,
        "registers": [{**empty, **register} for register in registers], "comment": "", "serial_before": "", "serial": "",
        "replaces": "", **more,
    }  # fmt: skip
    return sign("meter_fact", fields, key)


def records(messages: Iterable[tuple[int, bytes | None]], *, start: int = 0, key: bytes = b"s1") -> list[Record]:
    """Messages of (timestamp, value) as a log without holes."""
    return [(start + place, timestamp, key, value) for place, (timestamp, value) in enumerate(messages)]


def slab(log: Sequence[Record], topic: str = topics.METER_READINGS) -> Slab:
    """A slab of a log."""
    return Slab.of(topic, 0, log)


def library(*documents: Document) -> dict[bytes, Document]:
    """Documents by their names."""
    return {one.sha256: one for one in documents}


def decode(outputs: Iterable[Output]) -> dict[str, list[Row]]:
    """Rows of published messages by stream, in order, by fastavro; sequence numbers are checked on the way."""
    found: dict[str, list[Row]] = {name: [] for name in _STREAM.values()}
    for output in outputs:
        contract = codec.contract_of(output.value)
        assert contract is not None
        raw = io.BytesIO(output.value[codec.HEADER_BYTES :])
        value: Any = fastavro.schemaless_reader(raw, fastavro.parse_schema(codec.schema(contract)), None)
        assert not raw.read()
        rows = found[_STREAM[contract]]
        assert value["sequence"] == len(rows), "sequence numbers have no holes"
        for row in value["rows"]:
            if "sites" in value:
                row["site"] = value["sites"][row["site"]]
            rows.append(row)
    return found


def run(
    log: Sequence[Record],
    documents: Mapping[bytes, Document],
    topic: str = topics.METER_READINGS,
) -> tuple[Processor, dict[str, list[Row]]]:
    """A new processor over a whole log in one slab, and its rows."""
    processor = Processor(topic, 0, documents.__getitem__)
    processor.advance(slab(log, topic))
    return processor, decode(processor.take())


def comparable(rows: dict[str, list[Row]]) -> dict[str, list[Row]]:
    """Rows as the oracle makes them: raw bytes of rejected input as their sha256, no texts for people, no episodes."""
    found = {name: [dict(row) for row in listed] for name, listed in rows.items() if name != "episodes"}
    for row in found["rejected"]:
        del row["detail"]
        row["raw"] = hashlib.sha256(row["raw"]).hexdigest()
    return found
