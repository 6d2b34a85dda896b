"""Encoder of meter batches: arrays of readings to messages of the contract `meter_batch`, byte for byte as fastavro.

A simulator or an import makes millions of readings; one Python dict per reading would cost more than the whole pipeline
behind it. The kernel writes a run of readings as many messages into one buffer. Body: site, gateway (length
and UTF-8 bytes), mode, base_ms, then one array block with its count, readings of four zigzag varints, and the closing
zero. base_ms is the time of the first reading.
"""

import functools
from typing import Final, Literal, TypeAlias

import numba
import numpy as np
from numpy.typing import NDArray

from schemas.codec import header
from schemas.decode import TIME_MAX
from schemas.errors import DecodeError

Mode: TypeAlias = Literal["live", "backfill"]
MODES: Final[tuple[Mode, ...]] = ("live", "backfill")
QUALITIES: Final = ("good", "estimated", "suspect")
READINGS_MAX: Final = 1000
"""Readings of one message at most (DESIGN section 4)."""

_TIME_MAX: Final = TIME_MAX // 2  # so that no offset from another time passes the decoder's bound
_READING_BYTES_MAX: Final = 5 + 10 + 10 + 1  # int, long, long, enum of three symbols
_BATCH_BYTES_MAX: Final = 10 + 3 + 1  # base_ms, count of at most a thousand, closing zero


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _put_long(value: np.int64, out: NDArray[np.uint8], at: int) -> int:
    left = (np.uint64(value) << np.uint64(1)) ^ np.uint64(value >> np.int64(63))
    while left >= np.uint64(0x80):
        out[at] = np.uint8((left & np.uint64(0x7F)) | np.uint64(0x80))
        left >>= np.uint64(7)
        at += 1
    out[at] = np.uint8(left)
    return at + 1


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _encode(
    prefix: NDArray[np.uint8],
    times_ms: NDArray[np.int64],
    points: NDArray[np.int32],
    values: NDArray[np.int64],
    qualities: NDArray[np.int8],
    cut: int,
    out: NDArray[np.uint8],
    ends: NDArray[np.int64],
) -> None:
    at = 0
    for message in range(ends.size):
        first = message * cut
        end = min(first + cut, times_ms.size)
        for index in range(prefix.size):
            out[at + index] = prefix[index]
        base_ms = times_ms[first]
        at = _put_long(base_ms, out, at + prefix.size)
        at = _put_long(np.int64(end - first), out, at)
        for row in range(first, end):
            at = _put_long(np.int64(points[row]), out, at)
            at = _put_long(times_ms[row] - base_ms, out, at)
            at = _put_long(values[row], out, at)
            out[at] = np.uint8(qualities[row] << 1)
            at += 1
        out[at] = 0
        at += 1
        ends[message] = at


@functools.lru_cache(maxsize=65_536)
def _prefix(site: str, gateway: str, mode: Mode) -> NDArray[np.uint8]:
    """What is the same in every message of a gateway: header, site, gateway, mode."""
    length = np.zeros(10, np.uint8)
    parts = [header("meter_batch")]
    for text in (site, gateway):
        raw = text.encode("utf-8")
        parts += [length[: _put_long(np.int64(len(raw)), length, 0)].tobytes(), raw]
    parts.append(bytes([MODES.index(mode) << 1]))
    return np.frombuffer(b"".join(parts), np.uint8)


def _checked(
    times_ms: NDArray[np.int64], points: NDArray[np.int32], values: NDArray[np.int64], qualities: NDArray[np.int8]
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64], NDArray[np.int8]]:
    columns = (
        np.ascontiguousarray(times_ms, np.int64),
        np.ascontiguousarray(points, np.int32),
        np.ascontiguousarray(values, np.int64),
        np.ascontiguousarray(qualities, np.int8),
    )
    size = columns[0].size
    if any(column.shape != (size,) for column in columns):
        raise DecodeError("columns of a batch have different lengths")
    if size and not (columns[3].min() >= 0 and columns[3].max() < len(QUALITIES)):
        raise DecodeError(f"quality outside of 0..{len(QUALITIES) - 1}")
    if size and max(abs(int(columns[0].max())), abs(int(columns[0].min()))) > _TIME_MAX:
        raise DecodeError("a time that no clock has; one alone would spoil the message for all its readings")
    return columns


def encode_batches(
    site: str,
    gateway: str,
    mode: Mode,
    times_ms: NDArray[np.int64],
    points: NDArray[np.int32],
    values: NDArray[np.int64],
    qualities: NDArray[np.int8],
    readings_max: int = READINGS_MAX,
) -> list[bytes]:
    """Encodes readings of one gateway, in their order, as messages of at most `readings_max` readings.

    Args:
        site: site id.
        gateway: gateway id.
        mode: live or backfill.
        times_ms: UTC, milliseconds since 1970.
        points: numbers of the points in their site.
        values: smallest units of the medium, thousandths, or 1 (see the contract).
        qualities: indices into `QUALITIES`.
        readings_max: where to cut.

    Returns:
        The messages; none for no readings.

    Raises:
        DecodeError: the columns do not fit each other or the contract.
    """
    if mode not in MODES:
        raise DecodeError(f"mode {mode!r} is none of {', '.join(MODES)}")
    times_ms, points, values, qualities = _checked(times_ms, points, values, qualities)
    prefix = _prefix(site, gateway, mode)
    messages: list[bytes] = []
    # 256 messages at a time: 256 x 1000 x 26 bytes = 7 MB of buffer at most, whatever the import is.
    stride = 256 * readings_max
    for first in range(0, times_ms.size, stride):
        part = slice(first, min(first + stride, times_ms.size))
        size = part.stop - part.start
        count = -(-size // readings_max)
        out = np.empty(size * _READING_BYTES_MAX + count * (prefix.size + _BATCH_BYTES_MAX), np.uint8)
        ends = np.empty(count, np.int64)
        _encode(prefix, times_ms[part], points[part], values[part], qualities[part], readings_max, out, ends)
        start = 0
        for end in ends.tolist():
            messages.append(out[start:end].tobytes())
            start = end
    return messages


def encode_batch(
    site: str,
    gateway: str,
    mode: Mode,
    times_ms: NDArray[np.int64],
    points: NDArray[np.int32],
    values: NDArray[np.int64],
    qualities: NDArray[np.int8],
) -> bytes:
    """Encodes readings of one gateway as one message; arguments as in `encode_batches`.

    Raises:
        DecodeError: no readings, more than `READINGS_MAX`, or columns that do not fit the contract.
    """
    if not 0 < np.size(times_ms) <= READINGS_MAX:
        raise DecodeError(f"a batch has 1 to {READINGS_MAX} readings, this one {np.size(times_ms)}")
    return encode_batches(site, gateway, mode, times_ms, points, values, qualities)[0]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _encode_groups(
    prefixes: NDArray[np.uint8],
    bounds: NDArray[np.int64],
    groups: NDArray[np.int64],
    firsts: NDArray[np.int64],
    order: NDArray[np.int64],
    times_ms: NDArray[np.int64],
    points: NDArray[np.int32],
    values: NDArray[np.int64],
    qualities: NDArray[np.int8],
    cut: int,
    out: NDArray[np.uint8],
    ends: NDArray[np.int64],
    owners: NDArray[np.int64],
) -> int:
    at = 0
    message = 0
    for index in range(groups.size):
        group = groups[index]
        first = firsts[index]
        while first < firsts[index + 1]:
            end = min(first + cut, firsts[index + 1])
            for place in range(bounds[group], bounds[group + 1]):
                out[at] = prefixes[place]
                at += 1
            base_ms = times_ms[order[first]]
            at = _put_long(base_ms, out, at)
            at = _put_long(np.int64(end - first), out, at)
            for place in range(first, end):
                row = order[place]
                at = _put_long(np.int64(points[row]), out, at)
                at = _put_long(times_ms[row] - base_ms, out, at)
                at = _put_long(values[row], out, at)
                out[at] = np.uint8(qualities[row] << 1)
                at += 1
            out[at] = 0
            at += 1
            ends[message] = at
            owners[message] = group
            message += 1
            first = end
    return message


class GroupEncoder:
    """Encodes the readings of many gateways at once: no Python per reading or gateway, only per message.

    Attributes:
        mode: of all messages.
    """

    def __init__(self, mode: Mode) -> None:
        self.mode: Mode = mode
        self._prefixes = np.zeros(0, np.uint8)
        self._bounds: list[int] = [0]

    def add(self, site: str, gateway: str) -> None:
        """Adds a gateway; they are numbered from 0 in the order of the calls."""
        self._prefixes = np.concatenate([self._prefixes, _prefix(site, gateway, self.mode)])
        self._bounds.append(self._prefixes.size)

    def encode(
        self,
        groups: NDArray[np.int64],
        firsts: NDArray[np.int64],
        order: NDArray[np.int64],
        times_ms: NDArray[np.int64],
        points: NDArray[np.int32],
        values: NDArray[np.int64],
        qualities: NDArray[np.int8],
        readings_max: int = READINGS_MAX,
    ) -> list[tuple[int, bytes]]:
        """The messages with the number of their gateway.

        Args:
            groups: numbers of the gateways, in the order in which their messages are wanted.
            firsts: int64[groups + 1], where the readings of each begin in `order`.
            order: rows of the columns that follow.
            times_ms: as in `encode_batches`, like those that follow.
            points: numbers of the points in their site.
            values: what they read.
            qualities: indices into `QUALITIES`.
            readings_max: where to cut.

        Raises:
            DecodeError: the columns do not fit each other or the contract.
        """
        times_ms, points, values, qualities = _checked(times_ms, points, values, qualities)
        count = int((-(-np.diff(firsts) // readings_max)).sum())
        bounds = np.array(self._bounds, np.int64)
        longest = int(np.diff(bounds).max(initial=0)) + _BATCH_BYTES_MAX
        out = np.empty(order.size * _READING_BYTES_MAX + count * longest, np.uint8)
        ends, owners = np.empty(count, np.int64), np.empty(count, np.int64)
        made = _encode_groups(
            self._prefixes, bounds, groups, firsts, order, times_ms, points, values, qualities, readings_max, out, ends,
            owners,
        )  # fmt: skip
        assert made == count
        raw = out[: int(ends[-1]) if count else 0].tobytes()
        starts = [0, *ends.tolist()[:-1]]
        return [(owner, raw[a:b]) for owner, a, b in zip(owners.tolist(), starts, ends.tolist(), strict=True)]
