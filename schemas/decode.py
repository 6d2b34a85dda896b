"""The decoder of meter batches: from Avro bytes to columns, every read checked, no Python object per reading.

Layout of a body (`avro/meter_batch.avsc`): site, gateway (length and bytes), mode, base_ms, then blocks of readings
(point, offset_ms, value, quality), each a zigzag varint, ended by a block of zero. A message is taken whole or
refused whole with a status.

The stock decoders die of hostile bytes; this one bounds every read by the end of the message, a varint by ten bytes
and 64 bits, a block by the bytes that are left (a reading has at least four), enums and int32 by their range, and
wants all bytes consumed.
"""

import dataclasses
from enum import IntEnum
from typing import Final

import numba
import numpy as np
from numpy.typing import NDArray

from schemas.codec import HEADER_BYTES, MESSAGE_BYTES_MAX, header

READINGS_MAX: Final = 10_000
"""Readings of one message; sources write at most 1,000."""

TIME_MAX: Final = 1 << 53
"""Neither base_ms nor offset_ms may be further from 0 than this, so that their sum cannot overflow."""

QUALITIES: Final = 3
MODES: Final = 2
LIVE: Final = 0
BACKFILL: Final = 1
GOOD: Final = 0


class Status(IntEnum):
    """What became of a message."""

    OK = 0
    CUT = 1
    OVERLONG = 2
    OUT_OF_RANGE = 3
    TOO_MANY = 4
    TRAILING = 5
    TOO_LARGE = 6


class M(IntEnum):
    """Columns of the message matrix."""

    RECORD = 0
    STATUS = 1
    SITE_AT = 2
    SITE_BYTES = 3
    GATEWAY_AT = 4
    GATEWAY_BYTES = 5
    MODE = 6
    FIRST = 7
    COUNT = 8
    STOPPED_AT = 9


MESSAGE_COLUMNS: Final = len(M)
_RECORD: Final = int(M.RECORD)
_STATUS: Final = int(M.STATUS)
_FIRST: Final = int(M.FIRST)
_COUNT: Final = int(M.COUNT)
_STOPPED_AT: Final = int(M.STOPPED_AT)

_OK: Final = int(Status.OK)
_CUT: Final = int(Status.CUT)
_OVERLONG: Final = int(Status.OVERLONG)
_OUT_OF_RANGE: Final = int(Status.OUT_OF_RANGE)
_TOO_MANY: Final = int(Status.TOO_MANY)
_TRAILING: Final = int(Status.TRAILING)
_TOO_LARGE: Final = int(Status.TOO_LARGE)


@dataclasses.dataclass(frozen=True)
class Columns:
    """Scratch space of a decoder, used again and again.

    `messages` int64[m, len(M)]: a row a message (`M`); readings of a message are rows FIRST to FIRST + COUNT of the
    reading columns. `points` int32, `times` int64 (ms), `values` int64, `qualities` int8.
    """

    messages: NDArray[np.int64]
    points: NDArray[np.int32]
    times: NDArray[np.int64]
    values: NDArray[np.int64]
    qualities: NDArray[np.int8]

    @classmethod
    def empty(cls, messages: int = 4096, readings: int = 65_536) -> "Columns":
        """Room for so many; a message of READINGS_MAX readings must fit."""
        assert readings >= READINGS_MAX
        return cls(
            np.zeros((messages, MESSAGE_COLUMNS), np.int64),
            np.zeros(readings, np.int32),
            np.zeros(readings, np.int64),
            np.zeros(readings, np.int64),
            np.zeros(readings, np.int8),
        )


def batch_header() -> NDArray[np.uint8]:
    """The ten bytes that a meter batch begins with, for `decode_batches`."""
    return np.frombuffer(header("meter_batch"), np.uint8).copy()


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _varint(data: NDArray[np.uint8], at: int, end: int) -> tuple[int, int]:
    """(value, next position); a negative position is minus the status."""
    result = np.uint64(0)
    shift = np.uint64(0)
    while shift < np.uint64(64):
        if at >= end:
            return np.int64(0), -_CUT
        byte = np.uint64(data[at])
        at += 1
        result |= (byte & np.uint64(127)) << shift
        if byte < np.uint64(128):
            if shift == np.uint64(63) and byte > np.uint64(1):
                return np.int64(0), -_OVERLONG
            if byte == np.uint64(0) and shift > np.uint64(0):
                return np.int64(0), -_OVERLONG
            return np.int64(result >> np.uint64(1)) ^ -np.int64(result & np.uint64(1)), at
        shift += np.uint64(7)
    return np.int64(0), -_OVERLONG


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _head(data: NDArray[np.uint8], at: int, end: int, row: NDArray[np.int64]) -> tuple[int, int]:
    """Reads site, gateway, mode, base_ms: (base_ms, next position or minus the status)."""
    for column in (2, 4):
        length, at = _varint(data, at, end)
        if at < 0:
            return np.int64(0), at
        if length < 0 or length > end - at:
            return np.int64(0), -_CUT
        row[column] = at
        row[column + 1] = length
        at += length
    mode, at = _varint(data, at, end)
    if at < 0:
        return np.int64(0), at
    if mode < 0 or mode >= MODES:
        return np.int64(0), -_OUT_OF_RANGE
    row[6] = mode
    base, at = _varint(data, at, end)
    if at >= 0 and (base > TIME_MAX or base < -TIME_MAX):
        return np.int64(0), -_OUT_OF_RANGE
    return base, at


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _swift(data: NDArray[np.uint8], at: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Reads one varint where ten bytes are left: (zigzag value, next position), position 0 when it is over-long.

    Unsigned positions spare the compiler the test for a negative index, and the first three bytes are unrolled.
    """
    byte = np.uint64(data[at])
    if byte < np.uint64(128):
        return byte, at + np.uint64(1)
    result = byte & np.uint64(127)
    byte = np.uint64(data[at + np.uint64(1)])
    if byte < np.uint64(128):
        if byte == np.uint64(0):
            return result, np.uint64(0)
        return result | (byte << np.uint64(7)), at + np.uint64(2)
    result |= (byte & np.uint64(127)) << np.uint64(7)
    byte = np.uint64(data[at + np.uint64(2)])
    if byte < np.uint64(128):
        if byte == np.uint64(0):
            return result, np.uint64(0)
        return result | (byte << np.uint64(14)), at + np.uint64(3)
    result |= (byte & np.uint64(127)) << np.uint64(14)
    shift = np.uint64(21)
    at += np.uint64(3)
    while shift < np.uint64(64):
        byte = np.uint64(data[at])
        at += np.uint64(1)
        result |= (byte & np.uint64(127)) << shift
        if byte < np.uint64(128):
            if byte == np.uint64(0) or (shift == np.uint64(63) and byte > np.uint64(1)):
                return result, np.uint64(0)
            return result, at
        shift += np.uint64(7)
    return result, np.uint64(0)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _zigzag(raw: np.uint64) -> np.int64:
    return np.int64(raw >> np.uint64(1)) ^ -np.int64(raw & np.uint64(1))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _block(
    data: NDArray[np.uint8],
    start: int,
    end: int,
    count: int,
    base: int,
    k: int,
    points: NDArray[np.int32],
    times: NDArray[np.int64],
    values: NDArray[np.int64],
    qualities: NDArray[np.int8],
) -> int:
    """Reads `count` readings to rows k, k + 1, …; next position or minus the status."""
    at = np.uint64(start)
    row = np.uint64(k)
    last = np.uint64(k + count)
    # 40 bytes are the longest reading: four varints of ten bytes. While so many are left, single bytes need no test.
    safe = np.uint64(max(end - 40, 0))
    while row < last and at <= safe and end >= 40:
        point, at = _swift(data, at)
        offset, after = _swift(data, at)
        if at == np.uint64(0) or after == np.uint64(0):
            return -_OVERLONG
        value, at = _swift(data, after)
        quality, after = _swift(data, at)
        if at == np.uint64(0) or after == np.uint64(0):
            return -_OVERLONG
        at = after
        shifted = _zigzag(offset)
        if (
            point > np.uint64(0xFFFFFFFF)
            or shifted > TIME_MAX
            or shifted < -TIME_MAX
            or (quality & np.uint64(1))
            or quality >= np.uint64(2 * QUALITIES)
        ):
            return -_OUT_OF_RANGE
        points[row] = _zigzag(point)
        times[row] = base + shifted
        values[row] = _zigzag(value)
        qualities[row] = np.int8(quality >> np.uint64(1))
        row += np.uint64(1)
    return _careful(data, np.int64(at), end, np.int64(row), k + count, base, points, times, values, qualities)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _careful(
    data: NDArray[np.uint8],
    at: int,
    end: int,
    row: int,
    last: int,
    base: int,
    points: NDArray[np.int32],
    times: NDArray[np.int64],
    values: NDArray[np.int64],
    qualities: NDArray[np.int8],
) -> int:
    """The end of a message: every byte is tested."""
    for i in range(row, last):
        point, at = _varint(data, at, end)
        if at < 0:
            return at
        offset, at = _varint(data, at, end)
        if at < 0:
            return at
        value, at = _varint(data, at, end)
        if at < 0:
            return at
        quality, at = _varint(data, at, end)
        if at < 0:
            return at
        if (
            point < -2147483648
            or point > 2147483647
            or offset > TIME_MAX
            or offset < -TIME_MAX
            or quality < 0
            or quality >= QUALITIES
        ):
            return -_OUT_OF_RANGE
        points[i] = point
        times[i] = base + offset
        values[i] = value
        qualities[i] = quality
    return at


@numba.njit(cache=True, nogil=True, error_model="numpy")
def decode_batches(
    data: NDArray[np.uint8],
    spans: NDArray[np.int32],
    first: int,
    stop: int,
    magic: NDArray[np.uint8],
    messages: NDArray[np.int64],
    points: NDArray[np.int32],
    times: NDArray[np.int64],
    values: NDArray[np.int64],
    qualities: NDArray[np.int8],
) -> tuple[int, int, int]:
    """Decodes records first to stop of a slab, as long as they are meter batches and there is room.

    Args:
        data: bytes of the slab.
        spans: int32[n, 4] of the slab: key position, key length, value position, value length (-1: null).
        first: first record.
        stop: record after the last one.
        magic: `batch_header()`.
        messages: as in `Columns`.
        points: as in `Columns`.
        times: as in `Columns`.
        values: as in `Columns`.
        qualities: as in `Columns`.

    Returns:
        (next record, messages, readings): the next record is not a meter batch, or did not fit any more, or is
        `stop`. The two are told apart by the number of messages: with 0, the record at `first` is not a meter batch.
    """
    m = 0
    k = 0
    i = first
    while i < stop and m < len(messages):
        at = np.int64(spans[i, 2])
        length = np.int64(spans[i, 3])
        if length < HEADER_BYTES:
            break
        same = True
        for j in range(HEADER_BYTES):
            if data[at + j] != magic[j]:
                same = False
                break
        if not same:
            break
        end = at + length
        row = messages[m]
        row[_RECORD] = i
        row[_FIRST] = k
        row[2:6] = 0
        at += HEADER_BYTES
        if length > MESSAGE_BYTES_MAX:
            at = np.int64(-_TOO_LARGE)
            base = np.int64(0)
        else:
            base, at = _head(data, at, end, row)
        n = np.int64(0)
        full = False
        while at >= 0:
            count, after = _varint(data, at, end)
            at = after
            if at < 0 or count == 0:
                break
            if count < 0:
                size, after = _varint(data, at, end)  # the block's bytes: only skippers need them
                at = after
                if at < 0:
                    break
                if size < 0 or count == -9223372036854775808:
                    at = np.int64(-_OUT_OF_RANGE)
                    break
                count = -count
            if count > (end - at) // 4:
                at = np.int64(-_CUT)
                break
            if n + count > READINGS_MAX:
                at = np.int64(-_TOO_MANY)
                break
            if k + n + count > len(points):
                full = True
                break
            at = _block(data, at, end, count, base, k + n, points, times, values, qualities)
            n += count
        if full:
            break
        if at >= 0 and at != end:
            at = np.int64(-_TRAILING)
        row[_STATUS] = -at if at < 0 else _OK
        row[_COUNT] = 0 if at < 0 else n
        row[_STOPPED_AT] = at
        k += row[_COUNT]
        m += 1
        i += 1
    return i, m, k
