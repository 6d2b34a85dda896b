"""The decoder of output rows: ledger, gauges, verdicts from Avro bytes to columns, every read checked.

These contracts have one shape: topic, partition, sequence, sites (array of text), rows (array of records), and
every field of a row is an int, a long or an enum: one zigzag varint. So one kernel serves all; what differs,
the number of fields and the range of each, comes from the contract. `schemas.codec.read` decodes the same
messages slowly and is the oracle in tests: both accept the same bytes and give the same values.
"""

import dataclasses
import functools
from typing import Any, Final, cast

import numba
import numpy as np
from numpy.typing import NDArray

from schemas.codec import HEADER_BYTES, MESSAGE_BYTES_MAX, Json, header, schema
from schemas.errors import DecodeError

CONTRACTS: Final = ("ledger_rows", "gauge_rows", "verdict_rows")
SITES_MAX: Final = 10_000
"""Site ids of one message; there are at most as many as rows."""

_REASONS: Final = {
    -1: "cut inside a value",
    -2: "number over 64 bits or over-long",
    -3: "number outside of its range",
    -4: "more entries than the bytes can hold",
    -5: "bytes after the end",
}


@dataclasses.dataclass(frozen=True)
class Shape:
    """What a contract says about its rows.

    Attributes:
        fields: names, in the order on the wire.
        limits: int64[k, 2], smallest and largest value of each field.
        symbols: names of an enum's values, by field.
    """

    fields: tuple[str, ...]
    limits: NDArray[np.int64]
    symbols: dict[str, tuple[str, ...]]


@dataclasses.dataclass(frozen=True)
class Rows:
    """One decoded message.

    Attributes:
        topic: input topic of the task.
        partition: input partition of the task.
        sequence: number of the first row.
        sites: what the field `site` of a row points into.
        matrix: int64[n, k], a row a row, a column a field of `Shape.fields`.
    """

    topic: str
    partition: int
    sequence: int
    sites: tuple[str, ...]
    matrix: NDArray[np.int64]


@functools.cache
def shape(name: str) -> Shape:
    """The shape of a contract of `CONTRACTS`."""
    fields = cast("list[dict[str, Json]]", schema(name)["fields"])
    record = cast(
        "dict[str, Json]", cast("dict[str, Json]", next(f for f in fields if f["name"] == "rows")["type"])["items"]
    )
    limits, symbols = [], {}
    rows = cast("list[dict[str, Json]]", record["fields"])
    for field in rows:
        kind = field["type"]
        if isinstance(kind, dict):
            assert kind["type"] == "enum", kind
            symbols[str(field["name"])] = tuple(map(str, cast("list[Json]", kind["symbols"])))
            limits.append((0, len(symbols[str(field["name"])]) - 1))
        else:
            bits = {"int": 31, "long": 63}[str(kind)]
            limits.append((-(1 << bits), (1 << bits) - 1))
    return Shape(tuple(str(field["name"]) for field in rows), np.array(limits, np.int64), symbols)


def rows_to_matrix(body: NDArray[np.uint8], limits: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Reads an Avro array of records of varints that begins at the first byte.

    Args:
        body: uint8[m], from the array on; more may follow it.
        limits: int64[k, 2], smallest and largest value of each field; k ≥ 1.

    Returns:
        (int64[n, k], bytes read). The matrix is stored field by field: a column is contiguous.

    Raises:
        DecodeError: the bytes are not such an array.
    """
    # The first block's count is the guess; a row has at least k bytes, so a count that lies costs little.
    claimed, _ = _varint(body, 0, len(body))
    room = min(max(abs(int(claimed)), 1), len(body) // len(limits) + 1)
    while True:
        columns = np.empty((len(limits), room), np.int64)
        rows, at, stopped = _fill(body, limits, columns)
        if at >= 0:
            return columns[:, :rows].T, at
        if at != _FULL:
            raise DecodeError(_REASONS[at], stopped)
        room = min(room * 2, len(body) // len(limits) + 1)


def read_rows(name: str, message: bytes) -> Rows:
    """Decodes one message of a contract of `CONTRACTS`.

    Raises:
        DecodeError: the bytes do not keep the contract, or a row names a site that the message does not list.
    """
    if len(message) > MESSAGE_BYTES_MAX:
        raise DecodeError(f"message of {len(message)} bytes, the limit is {MESSAGE_BYTES_MAX}")
    if message[:HEADER_BYTES] != header(name):
        raise DecodeError(f"not a {name}")
    reader = _Head(message)
    topic = reader.text()
    partition = reader.long(-(1 << 31), (1 << 31) - 1)
    sequence = reader.long(-(1 << 63), (1 << 63) - 1)
    sites = reader.texts()
    limits = shape(name).limits
    matrix, used = rows_to_matrix(reader.data[reader.at :], limits)
    if reader.at + used != len(message):
        raise DecodeError("bytes after the end", reader.at + used)
    if len(matrix) and not (matrix[:, 0].min() >= 0 and matrix[:, 0].max() < len(sites)):
        raise DecodeError(f"a row names a site that is none of the {len(sites)} listed", reader.at)
    return Rows(topic, partition, sequence, sites, matrix)


class _Head:
    """Reads what stands before the rows: a few values a message."""

    def __init__(self, message: bytes) -> None:
        self.message = message
        self.data = np.frombuffer(message, np.uint8)
        self.at = HEADER_BYTES

    def long(self, low: int, high: int) -> int:
        value, at = _varint(self.data, self.at, len(self.data))
        if at < 0:
            raise DecodeError(_REASONS[at], self.at)
        if not low <= value <= high:
            raise DecodeError(_REASONS[-3], self.at)
        self.at = int(at)
        return int(value)

    def text(self) -> str:
        length = self.long(0, len(self.message))
        if length > len(self.message) - self.at:
            raise DecodeError(_REASONS[-1], self.at)
        self.at += length
        return _decoded(self.message[self.at - length : self.at])

    def texts(self) -> tuple[str, ...]:
        found: list[str] = []
        while count := self.long(-(1 << 63), (1 << 63) - 1):
            if count < 0:
                count = -count
                self.long(0, (1 << 63) - 1)
            if count > len(self.message) - self.at or len(found) + count > SITES_MAX:
                raise DecodeError(_REASONS[-4], self.at)
            found.extend(self.text() for _ in range(count))
        return tuple(found)


@functools.lru_cache(maxsize=65_536)
def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise DecodeError("text is not UTF-8") from None


_CUT: Final = -1
_OVERLONG: Final = -2
_RANGE: Final = -3
_COUNT: Final = -4
_FULL: Final = -9


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _varint(data: NDArray[np.uint8], at: int, end: int) -> tuple[Any, int]:
    """(value, next position or a negative status)."""
    result = np.uint64(0)
    shift = np.uint64(0)
    while shift < np.uint64(64):
        if at >= end:
            return np.int64(0), _CUT
        byte = np.uint64(data[at])
        at += 1
        result |= (byte & np.uint64(127)) << shift
        if byte < np.uint64(128):
            if (shift == np.uint64(63) and byte > np.uint64(1)) or (byte == np.uint64(0) and shift > np.uint64(0)):
                return np.int64(0), _OVERLONG
            return np.int64(result >> np.uint64(1)) ^ -np.int64(result & np.uint64(1)), at
        shift += np.uint64(7)
    return np.int64(0), _OVERLONG


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _swift_row(
    data: NDArray[np.uint8], start: int, limits: NDArray[np.int64], columns: NDArray[np.int64], row: int
) -> Any:
    """Reads one row where ten bytes a field are known to be left; next position, -1 when anything is wrong.

    Unsigned positions spare the compiler the test for a negative index.
    """
    at = np.uint64(start)
    for field in range(len(limits)):
        byte = np.uint64(data[at])
        at += np.uint64(1)
        result = byte & np.uint64(127)
        shift = np.uint64(7)
        while byte >= np.uint64(128):
            byte = np.uint64(data[at])
            at += np.uint64(1)
            if shift == np.uint64(63) and byte > np.uint64(1):
                return -1
            result |= (byte & np.uint64(127)) << shift
            shift += np.uint64(7)
        if byte == np.uint64(0) and shift > np.uint64(7):
            return -1
        value = np.int64(result >> np.uint64(1)) ^ -np.int64(result & np.uint64(1))
        if value < limits[field, 0] or value > limits[field, 1]:
            return -1
        columns[field, row] = value
    return np.int64(at)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _block(data: NDArray[np.uint8], start: int, end: int) -> tuple[Any, int]:
    """(rows of the block that begins here, next position or a negative status)."""
    count, at = _varint(data, start, end)
    if at < 0 or count >= 0:
        return count, at
    if count == -9223372036854775808:
        return count, _COUNT
    size, at = _varint(data, at, end)  # the block's bytes: only skippers need them
    if at >= 0 and size < 0:
        return count, _RANGE
    return -count, at


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _fill(data: NDArray[np.uint8], limits: NDArray[np.int64], columns: NDArray[np.int64]) -> tuple[int, int, int]:
    """(rows, next position or a negative status, where it stopped)."""
    fields, room = columns.shape
    end = len(data)
    at = 0
    n = 0
    while True:
        start = at
        count, at = _block(data, start, end)
        if at < 0 or count == 0:
            return n, at, start
        if count > (end - at) // fields:
            return n, _COUNT, at
        if n + count > room:
            return n, _FULL, at
        first = n
        while first < n + count and at <= end - 10 * fields:
            start = at
            at = _swift_row(data, at, limits, columns, first)
            if at < 0:
                at = start  # the careful loop below finds where and why
                break
            first += 1
        for i in range(first, n + count):
            for field in range(fields):
                start = at
                value, at = _varint(data, at, end)
                if at < 0:
                    return n, at, start
                if value < limits[field, 0] or value > limits[field, 1]:
                    return n, _RANGE, start
                columns[field, i] = value
        n += count
