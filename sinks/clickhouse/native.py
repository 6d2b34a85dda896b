"""ClickHouse's Native format, written from arrays: one block an insert, no Python object per row.

A block is: number of columns and of rows (varints), then per column its name, its type and its values, column
after column. Numbers are little-endian and packed, as NumPy has them. A String is a varint length and its
bytes. A LowCardinality(String) is a dictionary and indices. A Nullable is a byte a row (1: null), then the
values. Nothing here talks to a server; a column of the wrong length is a programming error.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

TIME: Final = "DateTime64(3, 'UTC')"
NAME: Final = "LowCardinality(String)"
_DTYPES: Final = {
    "UInt8": "<u1", "UInt16": "<u2", "UInt32": "<u4", "UInt64": "<u8",
    "Int8": "<i1", "Int16": "<i2", "Int32": "<i4", "Int64": "<i8",
    "Float64": "<f8", "Bool": "<u1", "Date": "<u2", "Date32": "<i4", TIME: "<i8", "DateTime('UTC')": "<u4",
}  # fmt: skip
_KEYS_VERSION: Final = 1  # SharedDictionariesWithAdditionalKeys, the only one that a stream may have
_KEYS_FOLLOW: Final = (1 << 9) | (1 << 10)  # has additional keys, needs no dictionary of before


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """One encoded column.

    Attributes:
        name: of the table's column.
        type: exactly as ClickHouse writes it.
        rows: how many values.
        data: the values as they go over the wire.
    """

    name: str
    type: str
    rows: int
    data: bytes


def varint(number: int) -> bytes:
    """An unsigned LEB128 number."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _text(text: str) -> bytes:
    raw = text.encode()
    return varint(len(raw)) + raw


def block(columns: Sequence[Column]) -> bytes:
    """One block of equally long columns."""
    rows = columns[0].rows
    assert all(column.rows == rows for column in columns), [(column.name, column.rows) for column in columns]
    parts = [varint(len(columns)), varint(rows)]
    for column in columns:
        parts += (_text(column.name), _text(column.type), column.data)
    return b"".join(parts)


def number(name: str, kind: str, values: NDArray[Any]) -> Column:
    """Integers, floats, booleans, times (milliseconds since 1970) and enums (their numbers).

    Args:
        name: column.
        kind: ClickHouse type, one of the fixed-width ones or an Enum8.
        values: [n], any integer or float type that fits; a value that does not is a programming error.
    """
    wire = "<i1" if kind.startswith("Enum8") else _DTYPES[kind]
    return Column(name, kind, len(values), np.ascontiguousarray(values).astype(wire, copy=False).tobytes())


def decimal(name: str, scale: int, values: Sequence[int]) -> Column:
    """Decimal(38, scale) from integers that are already multiplied by 10 ** scale."""
    data = b"".join(value.to_bytes(16, "little", signed=True) for value in values)
    return Column(name, f"Decimal(38, {scale})", len(values), data)


def strings(name: str, values: Sequence[str | bytes]) -> Column:
    """String from Python values, for tables of few rows."""
    parts: list[bytes] = []
    for value in values:
        raw = value.encode() if isinstance(value, str) else value
        parts += (varint(len(raw)), raw)
    return Column(name, "String", len(values), b"".join(parts))


def blobs(name: str, data: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> Column:
    """String from spans of one byte array; a negative length is an empty value.

    Args:
        name: column.
        data: uint8[m].
        starts: int64[n], first byte of each value.
        lengths: int64[n], in bytes; spans must lie inside `data`.
    """
    lengths = np.maximum(lengths, 0)
    assert not len(starts) or (starts.min() >= 0 and int((starts + lengths).max()) <= len(data))
    out = np.empty(int(_wire_bytes(lengths)), np.uint8)
    _write_blobs(data, starts, lengths, out)
    return Column(name, "String", len(starts), out.tobytes())


def fixed(name: str, width: int, values: Sequence[bytes]) -> Column:
    """FixedString(width): every value has exactly so many bytes."""
    assert all(len(value) == width for value in values), width
    return Column(name, f"FixedString({width})", len(values), b"".join(values))


def low_cardinality(name: str, keys: Sequence[str | bytes], index: NDArray[Any]) -> Column:
    """LowCardinality(String).

    Args:
        name: column.
        keys: the dictionary; at least one.
        index: [n], into keys.
    """
    size = len(keys)
    width, wire = next((w, t) for w, t in enumerate(("<u1", "<u2", "<u4")) if size <= 1 << (8 << w))
    assert size
    parts = [
        np.array([_KEYS_VERSION, _KEYS_FOLLOW | width, size], "<u8").tobytes(),
        strings(name, keys).data,
        np.array([len(index)], "<u8").tobytes(),
        np.ascontiguousarray(index).astype(wire, copy=False).tobytes(),
    ]
    # A block without rows has no dictionary either.
    return Column(name, NAME, len(index), b"".join(parts) if len(index) else b"")


def names(name: str, values: Sequence[str]) -> Column:
    """LowCardinality(String) from Python values, for tables of few rows."""
    keys: dict[str, int] = {}
    index = [keys.setdefault(value, len(keys)) for value in values]
    return low_cardinality(name, list(keys) or [""], np.array(index, np.uint32))


def nullable(column: Column, nulls: NDArray[np.bool_]) -> Column:
    """Nullable(T) from a column whose null rows hold any value."""
    assert len(nulls) == column.rows
    return dataclasses.replace(
        column, type=f"Nullable({column.type})", data=nulls.astype("<u1").tobytes() + column.data
    )


def array(column: Column, lengths: NDArray[Any]) -> Column:
    """Array(T) from the values of all rows one after the other and the number of values of each row."""
    ends = np.cumsum(lengths, dtype=np.uint64)
    assert column.rows == (int(ends[-1]) if len(ends) else 0)
    return Column(column.name, f"Array({column.type})", len(lengths), ends.astype("<u8").tobytes() + column.data)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _wire_bytes(lengths: NDArray[np.int64]) -> int:
    total = 0
    for length in lengths:
        total += length + 1
        while length > 127:
            length >>= 7
            total += 1
    return total


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _write_blobs(
    data: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64], out: NDArray[np.uint8]
) -> None:
    at = 0
    for i in range(len(starts)):
        length = lengths[i]
        rest = length
        while rest > 127:
            out[at] = rest & 127 | 128
            rest >>= 7
            at += 1
        out[at] = rest
        at += 1
        out[at : at + length] = data[starts[i] : starts[i] + length]
        at += length
