"""History from ClickHouse: the `event_log` table is the archive of the log, `chain_heads` says what was published."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from replay.chains import DIGEST_WORDS, Chains, Heads
from replay.log import SLAB_MESSAGES, Position, Task, check_contiguous, remember
from schemas.errors import HistoryIncomplete
from schemas.model.document import Document
from schemas.record_batches import Slab
from schemas.settings import ClickHouseSettings
from schemas.topics import SETTLED, input_of
from sinks.clickhouse.client import reader, translating

_MS: Final = "toUnixTimestamp64Milli"
_HEAD: Final = f"sequence, site, offset, {_MS}(known_at) AS known_at"
_SPAN: Final = f"{_MS}(from_ts) AS from_ms, {_MS}(to_ts) AS to_ms"
_CHANGE: Final = f"{_MS}(valid_at) AS valid_at, {_MS}(started_at) AS started_at"
_ENDED: Final = f"{_MS}(started_at) AS started_at, {_MS}(fired_at) AS fired_at, {_MS}(valid_at) AS valid_at"
_TABLES: Final = {
    "ledger": ("ledger", f"{_HEAD}, point, {_SPAN}, quantity, toString(how) AS how, toString(cause) AS cause"),
    "gauges": ("gauges", f"{_HEAD}, point, {_SPAN}, count, sum, minimum, maximum, integral"),
    "alerts": (
        "alert_events",
        f"{_HEAD}, config_version, rule, subject, episode, toString(state) AS state, severity, {_CHANGE}, estimate",
    ),
    "episodes": ("episode_parts", f"{_HEAD}, rule, subject, episode, point, {_SPAN}, quantity, final"),
    "verdicts": ("verdicts", f"{_HEAD}, point, {_MS}(ts) AS time_ms, value, toString(code) AS code"),
    "rejected": ("rejected", f"{_HEAD}, reason, detail, readings"),
}
_SETTLED_TABLES: Final = {
    **_TABLES,
    "alerts": (
        "episode_changes",
        f"{_HEAD}, rule, subject, episode, toString(change) AS change, toString(state) AS state, severity, {_ENDED}",
    ),
}
"""Tables of a task that settles."""


def _key(text: str) -> str:
    """SQL of `schemas.canonical.key`."""
    return f"reinterpretAsInt64(substring(SHA256({text}), 1, 8))"


_PLACE: Final = (_key("site"), "offset", f"{_MS}(known_at)")
_SUBJECT: Final = (*_PLACE, _key("rule"), _key("subject"))
_FROM_TO: Final = (f"{_MS}(from_ts)", f"{_MS}(to_ts)")
_DIGEST: Final = tuple(f"reinterpretAsInt64(substring(SHA256(raw), {1 + 8 * i}, 8))" for i in range(DIGEST_WORDS))
_CANONICAL: Final = {
    "ledger": (*_PLACE, "point", *_FROM_TO, "quantity", "how", "cause"),
    "gauges": (*_PLACE, "point", *_FROM_TO, "count", "sum", "minimum", "maximum", "integral"),
    "alerts": (
        *(*_SUBJECT, "episode", "state", f"{_MS}(valid_at)", f"{_MS}(started_at)"),
        *("config_version", _key("severity"), "estimate"),
    ),
    "episodes": (*_SUBJECT, "episode", "point", *_FROM_TO, "quantity", "final"),
    "verdicts": (*_PLACE, "point", f"{_MS}(ts)", "value", "code"),
    "rejected": (*_PLACE, _key("reason"), "readings", *_DIGEST),
}
_SETTLED_CANONICAL: Final = {
    **_CANONICAL,
    "alerts": (
        *(*_SUBJECT, "episode", "change", "state", _key("severity")),
        *(f"{_MS}({name})" for name in ("started_at", "fired_at", "valid_at")),
    ),
}
"""The columns of canonical rows (`schemas.canonical`), as the server computes them."""
_CHAIN_ROWS: Final = 500_000
"""Rows of a query: 44 MB at most."""


class TableHistory:
    """Reads with the reader user; every query is about one task."""

    def __init__(self, clickhouse: ClickHouseSettings) -> None:
        self.name = "event_log"
        self._settings = clickhouse
        self._client = reader(clickhouse)
        self._document = remember(self._fetch)

    def positions(self) -> dict[Task, Position]:
        """The newest position of every task whose messages are all in the archive."""
        with translating(self._settings):
            rows = self._client.query(
                "SELECT h.topic, h.partition, h.tasks_offset, any(h.position), any(h.engine),"
                " any(toUnixTimestamp64Milli(h.clock)),"
                " groupUniqArray((toString(h.stream), h.sequence, hex(h.head))) FROM chain_heads AS h"
                " JOIN (SELECT topic, partition, max(offset) + 1 AS end FROM event_log GROUP BY topic, partition) AS e"
                " ON replaceRegexpOne(h.topic, '^settled[.]', '') = e.topic AND h.partition = e.partition"
                " WHERE h.position <= e.end"
                " GROUP BY h.topic, h.partition, h.tasks_offset ORDER BY h.tasks_offset"
            ).result_rows
        found: dict[Task, Position] = {}
        for topic, partition, _, position, engine, clock, streams in rows:
            heads = {str(name): (int(sequence), bytes.fromhex(head)) for name, sequence, head in streams}
            if len(heads) == len(_TABLES):  # merges keep the last of each minute; an older one may be half gone
                found[(str(topic), int(partition))] = Position(int(position), int(engine), int(clock), heads)
        return found

    def slabs(self, task: Task, end: int, start: int = 0) -> Iterator[Slab]:
        """Slabs of at most SLAB_MESSAGES messages."""
        topic, partition = input_of(task[0]), task[1]
        at = start
        while at < end:
            stop = min(end, at + SLAB_MESSAGES)
            with translating(self._settings):
                columns: Any = self._client.query(
                    "SELECT offset, toUnixTimestamp64Milli(timestamp), nulls, key, value FROM event_log"
                    " WHERE topic = {topic:String} AND partition = {partition:UInt32}"
                    " AND offset >= {low:UInt64} AND offset < {high:UInt64}"
                    " ORDER BY offset",
                    parameters={"topic": topic, "partition": partition, "low": at, "high": stop},
                    column_oriented=True,
                    query_formats={"String": "bytes"},
                ).result_columns
            offsets, times, nulls, keys, values = columns or ([], [], [], [], [])
            for place, expected in enumerate(range(at, stop)):
                check_contiguous(task, expected, int(offsets[place]) if place < len(offsets) else -1, "event_log")
            marks = np.asarray(nulls, np.uint8)
            yield Slab.of_columns(
                topic,
                partition,
                np.asarray(offsets, np.int64),
                np.asarray(times, np.int64),
                [None if mark & 1 else key for key, mark in zip(keys, marks, strict=True)],
                [None if mark & 2 else value for value, mark in zip(values, marks, strict=True)],
                start=at,
                end=stop,
            )
            at = stop

    def document(self, sha256: bytes) -> Document:
        """From the archived topic `config`."""
        return self._document(sha256)

    def chains(self, positions: Mapping[Task, Position]) -> dict[Task, Heads]:
        """Of the rows in the tables."""
        chains = Chains(positions)
        for task, position in positions.items():
            for stream, (end, _) in position.heads.items():
                for first in range(0, end, _CHAIN_ROWS):
                    self._chain(chains, task, stream, first, min(end, first + _CHAIN_ROWS))
        return {task: chains.heads(task) for task in positions}

    def _chain(self, chains: Chains, task: Task, stream: str, first: int, end: int) -> None:
        """Adds the rows from number `first` to `end` of a stream."""
        settles = task[0].startswith(SETTLED)
        canonical = (_SETTLED_CANONICAL if settles else _CANONICAL)[stream]
        table = (_SETTLED_TABLES if settles else _TABLES)[stream][0]
        columns = ", ".join(f"toInt64({column})" for column in ("sequence", *canonical))
        with translating(self._settings):
            raw = self._client.raw_query(
                f"SELECT {columns} FROM {table} WHERE topic = {{topic:String}}"
                " AND partition = {partition:UInt32} AND sequence >= {first:UInt64} AND sequence < {end:UInt64}"
                " ORDER BY sequence",
                parameters={"topic": task[0], "partition": task[1], "first": first, "end": end},
                fmt="RowBinary",
            )
        rows = np.frombuffer(raw, "<i8").reshape(-1, 1 + len(canonical))
        if np.array_equal(rows[:, 0], np.arange(first, first + len(rows))):
            chains.add(task, stream, first, rows[:, 1:])
        else:
            chains.spoil(task, stream)

    def published(self, task: Task, stream: str) -> Iterator[dict[str, object]]:
        """From the table of the stream."""
        table, columns = (_SETTLED_TABLES if task[0].startswith(SETTLED) else _TABLES)[stream]
        with translating(self._settings):
            result = self._client.query(
                f"SELECT {columns} FROM {table}"
                " WHERE topic = {topic:String} AND partition = {partition:UInt32} ORDER BY sequence",
                parameters={"topic": task[0], "partition": task[1]},
            )
        for row in result.result_rows:
            yield dict(zip(result.column_names, row, strict=True))

    def _fetch(self, sha256: bytes) -> bytes:
        with translating(self._settings):
            rows = self._client.query(
                "SELECT value FROM event_log WHERE topic = 'config' AND key = {key:String} LIMIT 1",
                parameters={"key": sha256.hex()},
                query_formats={"String": "bytes"},
            ).result_rows
        if not rows:
            raise HistoryIncomplete(f"document {sha256.hex()} is not in event_log; try --from kafka")
        return bytes(rows[0][0])
