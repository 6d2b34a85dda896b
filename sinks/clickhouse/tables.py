"""A block for a table: its columns, and which of them say where a row is from."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas.codec import Json, schema
from sinks.clickhouse import native
from sinks.clickhouse.native import Column

Lazy = Callable[[NDArray[np.int64]], Column]
"""Encodes the rows that are asked for, in that order."""

TIME_MIN_MS: Final = 946_684_800_000
"""2000-01-01. A worker rejects what is older, and so no table but event_log and rejected has it."""

AHEAD_MAX_MS: Final = 86_400_000
"""What claims to be further ahead of the log's clock is in event_log and rejected only: a part for every such month
would let one sender fill the server with parts."""


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where the rows of a block are from, so that one can ask what of it is there already.

    Attributes:
        columns: the table's columns that say it, such as ("partition", "offset"); the last one counts up.
        values: the same of the block, [n] each.
        months: yyyymm that a row is kept under, int64[n]; zeros where the table has no parts by month.
        month: SQL of the same.
    """

    columns: tuple[str, ...]
    values: tuple[Sequence[Any] | NDArray[Any], ...]
    months: NDArray[np.int64]
    month: str


@dataclasses.dataclass(frozen=True)
class Block:
    """One insert.

    Attributes:
        table: where to.
        columns: all columns of the table.
        order: int64[n], the rows in the order of the table's key.
        content: sha256 over the messages that it is made of.
        origin: made when it is asked for, which is seldom; None where the table keeps equal rows once by itself, so
            that doing it again changes nothing.
    """

    table: str
    columns: Sequence[Lazy]
    order: NDArray[np.int64]
    content: bytes
    origin: Callable[[], Origin] | None

    @property
    def rows(self) -> int:
        """How many rows."""
        return len(self.order)

    def raw(self, keep: NDArray[np.bool_] | None = None) -> bytes:
        """As it goes over the wire; with `keep`, bool[n], only those rows."""
        order = self.order if keep is None else self.order[keep[self.order]]
        return native.block([column(order) for column in self.columns])


def numbers(name: str, kind: str, values: NDArray[Any]) -> Lazy:
    """See `native.number`."""
    return lambda rows: native.number(name, kind, values[rows])


def keyed(name: str, keys: Sequence[str | bytes], index: NDArray[np.int64]) -> Lazy:
    """See `native.low_cardinality`."""
    return lambda rows: native.low_cardinality(name, keys, index[rows])


def names(name: str, values: Sequence[str]) -> Lazy:
    """LowCardinality(String) from one text a row."""
    keys, index = ranked(values)
    return keyed(name, keys, index)


def texts(name: str, values: Sequence[str | bytes]) -> Lazy:
    """See `native.strings`."""
    return lambda rows: native.strings(name, [values[i] for i in rows.tolist()])


def lists(name: str, values: Sequence[Sequence[str]]) -> Lazy:
    """An Array(String) from lists of texts."""

    def pick(rows: NDArray[np.int64]) -> Column:
        chosen = [values[i] for i in rows.tolist()]
        flat = native.strings(name, [text for row in chosen for text in row])
        return native.array(flat, np.array([len(row) for row in chosen], np.int64))

    return pick


def blobs(name: str, data: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> Lazy:
    """See `native.blobs`."""
    return lambda rows: native.blobs(name, data, starts[rows], lengths[rows])


def digests(name: str, values: Sequence[bytes]) -> Lazy:
    """FixedString(32)."""
    return lambda rows: native.fixed(name, 32, [values[i] for i in rows.tolist()])


def optional(column: Lazy, nulls: Sequence[bool]) -> Lazy:
    """See `native.nullable`."""
    mask = np.array(nulls, np.bool_)
    return lambda rows: native.nullable(column(rows), mask[rows])


def ready(column: Column) -> Lazy:
    """A column that is encoded already; all its rows are wanted, in their order."""

    def whole(rows: NDArray[np.int64]) -> Column:
        assert len(rows) == column.rows
        return column

    return whole


def ranked(values: Sequence[Any]) -> tuple[list[Any], NDArray[np.int64]]:
    """Distinct values in order, and which of them each one is."""
    keys = sorted(set(values))
    rank = {key: i for i, key in enumerate(keys)}
    return keys, np.array([rank[value] for value in values], np.int64)


@functools.cache
def enums(contract: str) -> dict[str, str]:
    """ClickHouse types of the enums of a contract, by their names there; the numbers are those on the wire."""
    found: dict[str, str] = {}

    def walk(node: Json) -> None:
        if isinstance(node, dict):
            if node.get("type") == "enum" and isinstance(node["symbols"], list):
                values = (f"'{symbol}' = {i}" for i, symbol in enumerate(node["symbols"]))
                found[str(node["name"])] = f"Enum8({', '.join(values)})"
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(schema(contract)["fields"])
    return found


def symbols_of(kind: str) -> dict[str, int]:
    """Symbol → number of an Enum8 of `enums`."""
    parts = (part.rpartition(" = ") for part in kind[len("Enum8(") : -1].split(", "))
    return {symbol.strip("'"): int(number) for symbol, _, number in parts}


def months_of(times_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Yyyymm of times, as ClickHouse's toYYYYMM in UTC has it."""
    months = times_ms.astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64)
    return (1970 + months // 12) * 100 + months % 12 + 1


def usable(times_ms: NDArray[np.int64], known_ms: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which event times can be kept; see `TIME_MIN_MS` and `AHEAD_MAX_MS`."""
    return (times_ms >= TIME_MIN_MS) & (times_ms <= known_ms + AHEAD_MAX_MS)
