"""Blocks of the tables that get few rows: alerts, episodes, rejected input, waste, vehicles, actions, heads, configs.

Each message is read by `schemas.codec` into a dict; a row is what the dict says, plus where it is from.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from schemas import codec
from schemas.codec import Value
from schemas.errors import ContractError, DecodeError
from schemas.model.document import Document
from sinks.clickhouse import model_rows
from sinks.clickhouse.messages import Messages
from sinks.clickhouse.native import TIME
from sinks.clickhouse.tables import (
    Block,
    Lazy,
    Origin,
    digests,
    enums,
    lists,
    months_of,
    names,
    numbers,
    optional,
    ready,
    symbols_of,
    texts,
    usable,
)  # fmt: skip

Unreadable = tuple[int, str]
Row = Mapping[str, Any]

_NAME: Final = "LowCardinality(String)"
_ZEROS: Final = "toUInt32(0)"


@dataclasses.dataclass(frozen=True)
class Plan:
    """How the messages of one contract become rows.

    Attributes:
        table: where they go.
        columns: column → (type, field of the row).
        key: fields that the table is sorted by.
        origin: columns of `Origin`.
        month: (column whose month a row is kept under, field); empty: the table has no parts by month.
        time: field of an event time that must be usable; empty: there is none that a stranger chose.
        listed: the message is a list of rows of a task.
    """

    table: str
    columns: Mapping[str, tuple[str, str]]
    key: tuple[str, ...]
    origin: tuple[str, ...]
    month: tuple[str, str]
    time: str = ""
    listed: bool = False


def _columns(text: str) -> dict[str, tuple[str, str]]:
    """`column type [field]` a line; the field has the column's name where it is left out."""
    found = {}
    for line in filter(str.strip, text.splitlines()):
        name, kind, *field = line.split()
        found[name] = (kind, field[0] if field else name)
    return found


_TASK = """
    topic name
    partition UInt32
    sequence UInt64
    offset UInt64
    known_at time
"""
_EVENT = """
    partition UInt32
    offset UInt64
    known_at time
"""
_OF_TASK: Final = ("topic", "partition", "sequence")
_OF_LOG: Final = ("partition", "offset")

PLANS: Final = {
    "alert_rows": Plan(
        "alert_events",
        _columns("""
            site name
            rule name
            subject text
            episode UInt64
            state AlertState
            severity name
            valid_at time
            started_at time
            estimate Int64
            config_version UInt64
        """ + _TASK),
        ("site", "rule", "subject", "episode", "sequence"), _OF_TASK, ("valid_at", "valid_at"), listed=True,
    ),
    "episode_rows": Plan(
        "episode_parts",
        _columns("""
            site name
            rule name
            subject text
            episode UInt64
            point UInt32
            from_ts time from_ms
            to_ts time to_ms
            quantity Int64
            final Bool
        """ + _TASK),
        ("site", "rule", "subject", "episode", "sequence"), _OF_TASK, ("to_ts", "to_ms"), listed=True,
    ),
    "episode_changes": Plan(
        "episode_changes",
        _columns("""
            site name
            rule name
            subject text
            episode UInt64
            change EpisodeChangeKind
            state EpisodeState
            severity name
            started_at time
            fired_at time
            valid_at time
        """ + _TASK),
        ("site", "rule", "subject", "episode", "sequence"), _OF_TASK, ("valid_at", "valid_at"), listed=True,
    ),
    "rejected_rows": Plan(
        "rejected",
        _columns("""
            site text
            reason name
            detail text
            readings UInt32
            key text
            raw text
        """ + _TASK),
        ("topic", "partition", "sequence"), _OF_TASK, ("known_at", "known_at"), listed=True,
    ),
    "waste_event": Plan(
        "waste_events",
        _columns("""
            site name
            event_id text
            ts time time_ms
            kind WasteKind
            station text?
            bin text?
            lot text?
            waste_class text?
            mass_g Int64?
            fill_permille Int32?
            verdict SortVerdict?
            depositor text?
            manifest text?
            vehicle text?
            destination text?
        """ + _EVENT),
        ("site", "time_ms", "offset"), _OF_LOG, ("ts", "time_ms"), time="time_ms",
    ),
    "vehicle_event": Plan(
        "vehicle_events",
        _columns("""
            site name
            event_id text
            ts time time_ms
            vehicle text
            kind VehicleKind
            start_ts time? start_ms
            odometer_m Int64?
            distance_m Int64?
            ignition Bool?
            speed_mm_s Int64?
            latitude_e6 Int64?
            longitude_e6 Int64?
            fuel_ml Int64?
            energy_wh Int64?
            soc_permille Int32?
            charger text?
            order text?
        """ + _EVENT),
        ("site", "vehicle", "time_ms", "offset"), _OF_LOG, ("ts", "time_ms"), time="time_ms",
    ),
    "alert_action": Plan(
        "alert_actions",
        _columns("""
            site name
            event_id text
            ts time time_ms
            actor text
            kind ActionKind
            rule name
            subject text
            episode UInt64
            until_ts time until_ms
            assignee text
            comment text
            reason name
            matcher text
            hours text
            refers text
            seen Int64
        """ + _EVENT),
        ("site", "rule", "subject", "episode", "offset"), _OF_LOG, ("known_at", "known_at"),
    ),
    "notice": Plan(
        "notices",
        _columns("""
            site name
            rule name
            subject text
            episode UInt64
            id text
            ts time time_ms
            step text
            severity name
            route name
            target name
            channel name
            people list named
            language name
        """ + _EVENT),
        ("site", "rule", "subject", "episode", "offset"), _OF_LOG, ("known_at", "known_at"),
    ),
    "notice_message": Plan(
        "notice_messages",
        _columns("""
            id text
            ts time time_ms
            channel name
            notices list
            people list named
            language name
            title text
            text text
            moved_from text
        """ + _EVENT),
        ("offset",), _OF_LOG, ("known_at", "known_at"),
    ),
    "notice_delivery": Plan(
        "notice_deliveries",
        _columns("""
            message text
            ts time time_ms
            channel name
            outcome DeliveryOutcome
            attempt UInt32
            detail text
        """ + _EVENT),
        ("message", "offset"), _OF_LOG, ("known_at", "known_at"),
    ),
    "config_record": Plan(
        "config_records",
        _columns("""
            site name
            topic name
            partition UInt32
            offset UInt64
            known_at time
            version UInt64
            previous text
            document digest
            effective time effective_ms
            key_id text
        """),
        ("site", "version", "topic", "partition", "offset"), ("topic", "partition", "offset"), ("", ""),
    ),
    "settle_record": Plan(
        "settle_records",
        _columns("""
            site name
            sequence UInt64
            from_ts time from_ms
            to_ts time to_ms
            reason text
            key_id text
            topic name
            partition UInt32
            offset UInt64
            known_at time
        """),
        ("site", "offset"), ("topic", "partition", "offset"), ("", ""),
    ),
}  # fmt: skip


def plain_rows(messages: Messages, contract: str) -> tuple[list[Block], list[Unreadable]]:
    """The rows of a contract of `PLANS`, and the messages that say they keep it and do not."""
    plan = PLANS[contract]
    rows: list[Row] = []
    unreadable: list[Unreadable] = []
    for i in messages.of(contract):
        try:
            rows += _read(messages, i, contract, plan)
        except DecodeError as error:
            unreadable.append((i, f"{contract}: {error}"))
    rows.sort(key=lambda row: tuple(row[name] for name in plan.key))
    return ([_block(plan, contract, rows, messages.digest)] if rows else []), unreadable


def _read(messages: Messages, i: int, contract: str, plan: Plan) -> list[Row]:
    value = messages.values[i]
    assert value is not None
    message: dict[str, Any] = codec.read(contract, value)
    place = {
        "topic": messages.topic,
        "partition": int(messages.partitions[i]),
        "offset": int(messages.offsets[i]),
        "known_at": int(messages.times_ms[i]),
    }
    if not plan.listed:
        if plan.time and not usable(np.array([_clamped(message[plan.time])]), messages.times_ms[i : i + 1])[0]:
            return []
        if contract == "config_record" and len(message["document"]) != 32:
            raise DecodeError(f"the name of a document has 32 bytes, not {len(message['document'])}")
        return [{**place, **message}]
    task = {"topic": message["topic"], "partition": message["partition"]}
    return [{**row, **task, "sequence": message["sequence"] + n} for n, row in enumerate(message["rows"])]


def _clamped(time_ms: int) -> int:
    return min(max(time_ms, -(1 << 53)), 1 << 53)


def _block(plan: Plan, contract: str, rows: Sequence[Row], content: bytes) -> Block:
    columns = [
        _column(contract, name, kind, [row[field] for row in rows]) for name, (kind, field) in plan.columns.items()
    ]
    column, field = plan.month
    months = months_of(np.array([_stored(row[field]) for row in rows])) if field else np.zeros(len(rows), np.int64)
    origin = Origin(
        plan.origin,
        tuple([row[name] for row in rows] for name in plan.origin),
        months,
        f"toYYYYMM({column})" if column else _ZEROS,
    )
    return Block(plan.table, columns, np.arange(len(rows)), content, lambda: origin)


_TIME_LAST_MS: Final = 10_413_791_999_999  # 2299-12-31, the last day that ClickHouse keeps


def _stored(time_ms: int) -> int:
    """A time as a DateTime64 can hold it: from 1900 to 2299. A silence until the end of time ends in 2299."""
    return min(max(time_ms, -2_208_988_800_000), _TIME_LAST_MS)


def _column(contract: str, name: str, kind: str, values: Sequence[Any]) -> Lazy:
    if kind.endswith("?"):
        nulls = [value is None for value in values]
        empty: Value = "" if kind == "text?" else 0
        column = _column(contract, name, kind[:-1], [empty if value is None else value for value in values])
        return optional(column, nulls)
    if kind == "name":
        return names(name, values)
    if kind == "text":
        return texts(name, values)
    if kind == "list":
        return lists(name, values)
    if kind == "digest":
        return digests(name, values)
    if kind == "time":
        return numbers(name, TIME, np.array([_stored(value) for value in values], np.int64))
    if kind in enums(contract):
        symbols = symbols_of(enums(contract)[kind])
        return numbers(name, enums(contract)[kind], np.array([symbols.get(value, 0) for value in values], np.int64))
    bits = {"UInt32": 32, "UInt64": 64}.get(kind)
    if bits:
        return numbers(name, kind, np.array([value % (1 << bits) for value in values], np.uint64))
    return numbers(name, kind, np.array(values, np.int64))


def chain_heads(messages: Messages) -> tuple[list[Block], list[Unreadable]]:
    """Positions of tasks: the last of each minute and stream of the range; merges keep the last of all."""
    newest: dict[tuple[str, int, str, int], tuple[int, dict[str, Any], dict[str, Any]]] = {}
    unreadable: list[Unreadable] = []
    for i in messages.of("task_position"):
        value = messages.values[i]
        assert value is not None
        try:
            position: dict[str, Any] = codec.read("task_position", value)
        except DecodeError as error:
            unreadable.append((i, f"task_position: {error}"))
            continue
        minute = int(messages.times_ms[i]) // 60_000 * 60
        for head in position["streams"]:
            if len(head["head"]) != 32:
                unreadable.append((i, f"task_position: a head has 32 bytes, not {len(head['head'])}"))
                break
            place = (position["topic"], position["partition"], head["stream"], minute)
            newest[place] = (int(messages.offsets[i]), position, head)
    if not newest:
        return [], unreadable
    keys = sorted(newest)
    found = [newest[key] for key in keys]
    columns = [
        names("topic", [topic for topic, _, _, _ in keys]),
        numbers("partition", "UInt32", np.array([partition for _, partition, _, _ in keys])),
        names("stream", [stream for _, _, stream, _ in keys]),
        numbers("minute", "DateTime('UTC')", np.array([minute for _, _, _, minute in keys])),
        numbers("tasks_offset", "UInt64", np.array([offset for offset, _, _ in found])),
        numbers("engine", "Int32", np.array([position["engine"] for _, position, _ in found])),
        numbers("position", "UInt64", np.array([position["position"] for _, position, _ in found], np.int64)),
        numbers("clock", TIME, np.array([_stored(position["clock_ms"]) for _, position, _ in found])),
        numbers("sequence", "UInt64", np.array([head["sequence"] for _, _, head in found], np.int64)),
        digests("head", [head["head"] for _, _, head in found]),
    ]
    return [Block("chain_heads", columns, np.arange(len(keys)), messages.digest, None)], unreadable


_POINTERS: Final = (b"head/", b"pending/")


def documents(messages: Messages) -> tuple[list[Block], list[Unreadable]]:
    """The site model, table by table, of every document in the topic config."""
    found: dict[bytes, Document] = {}
    unreadable: list[Unreadable] = []
    for i, (key, value) in enumerate(zip(messages.keys, messages.values, strict=True)):
        if value is None or (key or b"").startswith(_POINTERS):
            continue  # a deletion, or which document is in force, which the config records say as well
        try:
            document = Document.parse(value, bytes.fromhex((key or b"").decode("ascii")))
            found[document.sha256] = document
            model_rows.blocks([document])
        except (ContractError, TypeError, ValueError, AttributeError, KeyError) as error:
            unreadable.append((i, f"document: {error}"))
            found.pop(hashlib.sha256(value).digest(), None)
    blocks = model_rows.blocks(found[name] for name in sorted(found))
    return [
        Block(table, [ready(column) for column in columns], np.arange(columns[0].rows), messages.digest, None)
        for table, columns in blocks.items()
    ], unreadable


def unreadable_rows(messages: Messages, found: Iterable[Unreadable]) -> list[Block]:
    """Messages that only ganzhi can have written, and that cannot be read."""
    reasons = dict(found)
    if not reasons:
        return []
    indices = sorted(reasons)
    pick: Callable[[Sequence[Any]], list[Any]] = lambda values: [values[i] for i in indices]  # noqa: E731
    at = np.array(indices)
    columns = [
        names("topic", [messages.topic] * len(at)),
        numbers("partition", "UInt32", messages.partitions[at]),
        numbers("offset", "UInt64", messages.offsets[at]),
        numbers("known_at", TIME, messages.times_ms[at]),
        texts("reason", pick([reasons.get(i, "") for i in range(len(messages))])),
        texts("key", [key or b"" for key in pick(messages.keys)]),
        texts("value", [value or b"" for value in pick(messages.values)]),
    ]
    origin = Origin(
        ("topic", "partition", "offset"),
        ([messages.topic] * len(at), messages.partitions[at], messages.offsets[at]),
        np.zeros(len(at), np.int64),
        _ZEROS,
    )
    return [Block("unreadable", columns, np.arange(len(at)), messages.digest, lambda: origin)]
