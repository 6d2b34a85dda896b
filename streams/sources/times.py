"""Columns of times as text to UTC milliseconds: ISO 8601, epoch seconds or milliseconds, and strptime patterns.

Kernels read ISO, epochs and patterns of plain numbers (`%d/%m/%Y %H:%M`); other patterns go through
`datetime.strptime`, once for each different text. A time without an offset is in the zone of the mapping; where that
zone has it twice or never it is refused, unless the mapping says which of the two it is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

import numba
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from streams.sources.tokens import Rows, intern

_LOCAL: Final = 1
_UTC: Final = 2
_DIRECTIVES: Final = {"Y": 4, "m": 2, "d": 2, "H": 2, "M": 2, "S": 2, "f": 6}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Fold = Literal["reject", "first", "second"]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _digits(buffer: NDArray[np.uint8], at: int, end: int, least: int, most: int) -> tuple[int, int]:
    """A number of `least` to `most` digits and the byte behind it; -1 where it is not one."""
    value = 0
    first = at
    while at < end and at - first < most and 0x30 <= buffer[at] <= 0x39:
        value = value * 10 + int(np.int64(buffer[at])) - 0x30
        at += 1
    return (value if at - first >= least else -1), at


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _civil_ms(year: int, month: int, day: int, hour: int, minute: int, second: int, micro: int) -> int:
    """Milliseconds since 1970 of a proleptic Gregorian date, -1 << 62 where there is no such date; 24:00 ends a day."""
    none = -(1 << 62)
    if year < 1 or year > 9999 or month < 1 or month > 12 or day < 1:
        return none
    leap = (year % 4 == 0 and year % 100 != 0) or year % 400 == 0
    longest = 30 if month in (4, 6, 9, 11) else 31
    if month == 2:
        longest = 29 if leap else 28
    midnight = hour == 24 and minute == 0 and second == 0 and micro == 0
    if day > longest or minute > 59 or second > 59 or (hour > 23 and not midnight):
        return none
    shifted = year - 1 if month <= 2 else year
    era = shifted // 400
    of_era = shifted - era * 400
    of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    days = era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468
    return ((days * 24 + hour) * 60 + minute) * 60_000 + second * 1000 + micro // 1000


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _iso_zone(buffer: NDArray[np.uint8], at: int, end: int) -> tuple[int, int]:
    """State and offset in minutes of `Z`, `+08:00`, `+0800` or `+08` that ends a text; state 0: none of them."""
    if at == end:
        return 1, 0
    if end - at == 1 and buffer[at] in (0x5A, 0x7A):
        return 2, 0
    sign = 1 if buffer[at] == 0x2B else -1
    if buffer[at] not in (0x2B, 0x2D):
        return 0, 0
    hours, at = _digits(buffer, at + 1, end, 2, 2)
    if at < end and buffer[at] == 0x3A:
        at += 1
    minutes = 0
    if at < end:
        minutes, at = _digits(buffer, at, end, 2, 2)
    if hours < 0 or hours > 18 or minutes < 0 or minutes > 59 or at != end:
        return 0, 0
    return 2, sign * (hours * 60 + minutes)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _iso_one(buffer: NDArray[np.uint8], at: int, end: int, add_years: int) -> tuple[int, int]:
    year, at = _digits(buffer, at, end, 4, 4)
    if year < 0 or at >= end or buffer[at] != 0x2D:
        return 0, 0
    month, at = _digits(buffer, at + 1, end, 2, 2)
    if month < 0 or at >= end or buffer[at] != 0x2D:
        return 0, 0
    day, at = _digits(buffer, at + 1, end, 2, 2)
    hour = minute = second = micro = 0
    state, offset = 1, 0
    if at < end:
        if buffer[at] not in (0x54, 0x74, 0x20):
            return 0, 0
        hour, at = _digits(buffer, at + 1, end, 2, 2)
        if hour < 0 or at >= end or buffer[at] != 0x3A:
            return 0, 0
        minute, at = _digits(buffer, at + 1, end, 2, 2)
        if at < end and buffer[at] == 0x3A:
            second, at = _digits(buffer, at + 1, end, 2, 2)
            if at < end and buffer[at] in (0x2E, 0x2C):
                first = at + 1
                micro, at = _digits(buffer, first, end, 1, 6)
                for _ in range(6 - (at - first)):
                    micro *= 10
                while at < end and 0x30 <= buffer[at] <= 0x39:  # finer than a microsecond: cut
                    at += 1
        if minute < 0 or second < 0 or micro < 0:
            return 0, 0
        state, offset = _iso_zone(buffer, at, end)
    if day < 0 or state == 0:
        return 0, 0
    time_ms = _civil_ms(year + add_years, month, day, hour, minute, second, micro)
    return (0, 0) if time_ms == -(1 << 62) else (time_ms - offset * 60_000, state)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _iso(
    buffer: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    add_years: int,
    times_ms: NDArray[np.int64],
    states: NDArray[np.int8],
) -> None:
    for row in range(starts.size):
        times_ms[row], states[row] = _iso_one(buffer, starts[row], ends[row], add_years)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _pattern(
    buffer: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    steps: NDArray[np.int64],
    add_years: int,
    times_ms: NDArray[np.int64],
    states: NDArray[np.int8],
) -> None:
    parts = np.zeros(7, np.int64)
    for row in range(starts.size):
        at = starts[row]
        end = ends[row]
        parts[:] = 0
        parts[1] = parts[2] = 1
        good = True
        for step in range(steps.shape[0]):
            part, most = steps[step]
            if part < 0:  # a character that must stand here
                good = at < end and buffer[at] == most
                at += 1
            else:
                first = at
                parts[part], at = _digits(buffer, at, end, 4 if part == 0 else 1, most)
                good = parts[part] >= 0
                if part == 6:
                    for _ in range(6 - (at - first)):
                        parts[part] *= 10
            if not good:
                break
        if good and at == end:
            time_ms = _civil_ms(parts[0] + add_years, parts[1], parts[2], parts[3], parts[4], parts[5], parts[6])
            if time_ms != -(1 << 62):
                times_ms[row] = time_ms
                states[row] = 1


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _epoch(
    buffer: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    places: int,
    times_ms: NDArray[np.int64],
    states: NDArray[np.int8],
) -> None:
    """Seconds (`places` 3) or milliseconds (0) since 1970; what is finer than a millisecond is cut."""
    for row in range(starts.size):
        at = starts[row]
        end = ends[row]
        negative = at < end and buffer[at] == 0x2D
        value, at = _digits(buffer, at + 1 if negative else at, end, 1, 14)
        if value < 0:
            continue
        for _ in range(places):
            value *= 10
        if at < end and buffer[at] == 0x2E:
            first = at + 1
            part, at = _digits(buffer, first, end, 1, max(places, 1))
            if part < 0:
                continue
            for _ in range(places - (at - first)):
                part *= 10
            value += part if places else 0
            while at < end and 0x30 <= buffer[at] <= 0x39:
                at += 1
        if at == end:
            times_ms[row] = -value if negative else value
            states[row] = 2


def _steps(pattern: str) -> NDArray[np.int64] | None:
    """A strptime pattern of plain numbers as rows (part or -1, digits or byte); None for any other."""
    steps: list[tuple[int, int]] = []
    characters = iter(pattern)
    for character in characters:
        if character != "%":
            if not character.isascii() or (character.isspace() and character != " "):
                return None
            steps.append((-1, ord(character)))
            continue
        directive = next(characters, "")
        if directive not in _DIRECTIVES:
            return None
        steps.append((list(_DIRECTIVES).index(directive), _DIRECTIVES[directive]))
    return np.array(steps, np.int64) if {0, 1, 2} <= {part for part, _ in steps} else None


@dataclass(frozen=True, slots=True)
class TimeStyle:
    """How times are written.

    Attributes:
        format: `iso`, `epoch_s`, `epoch_ms` or a strptime pattern.
        zone: IANA zone of times that carry no offset.
        fold: what a local time is that the zone has twice: refused, the first or the second.
        add_years: added to every year that is read (files exist that write 0014).
    """

    format: str = "iso"
    zone: str = "UTC"
    fold: Fold = "reject"
    add_years: int = 0

    def one(self, text: str) -> int:
        """UTC milliseconds of one text.

        Raises:
            ValueError: the reason for which it is refused.
        """
        buffer = np.frombuffer(text.strip().encode(), np.uint8)
        bounds = np.array([[0]], np.int64), np.array([[buffer.size]], np.int64)
        one = np.zeros(1, np.int64)
        rows = Rows(buffer, *bounds, one.astype(np.int32), one, np.zeros((1, 2), np.int64), one.astype(np.int8))
        times_ms, _, refused = to_ms(rows, 0, self)
        if refused:
            raise ValueError(refused[0][1])
        return int(times_ms[0])


def to_ms(
    rows: Rows, column: int, style: TimeStyle
) -> tuple[NDArray[np.int64], NDArray[np.bool_], list[tuple[int, str]]]:
    """Reads a column of times.

    Returns:
        UTC milliseconds since 1970 (cut, not rounded), which rows have one, and (row, reason) of all the others.
    """
    size = len(rows)
    times_ms = np.zeros(size, np.int64)
    states = np.zeros(size, np.int8)
    starts, ends = np.ascontiguousarray(rows.starts[:, column]), np.ascontiguousarray(rows.ends[:, column])
    _trim(rows.buffer, starts, ends)
    steps = _steps(style.format) if "%" in style.format else None
    if style.format == "iso":
        _iso(rows.buffer, starts, ends, style.add_years, times_ms, states)
    elif style.format in ("epoch_s", "epoch_ms"):
        _epoch(rows.buffer, starts, ends, 3 if style.format == "epoch_s" else 0, times_ms, states)
    elif steps is not None:
        _pattern(rows.buffer, starts, ends, steps, style.add_years, times_ms, states)
    else:
        _each(rows, column, starts, ends, _strptime(style), times_ms, states)
    refused = [
        (
            row,
            f"{rows.text(row, column)[:60]!r} is not a time ({style.format})" if ends[row] > starts[row] else "no time",
        )
        for row in np.nonzero(states == 0)[0].tolist()
    ]
    local = np.nonzero(states == _LOCAL)[0]
    if local.size and style.zone != "UTC":
        times_ms[local], good = _localize(times_ms[local], style)
        advice = "happens twice or never; say fold: first or second" if style.fold == "reject" else "never happens"
        for row in local[~good].tolist():
            states[row] = 0
            refused.append((row, f"{rows.text(row, column)!r} in {style.zone} {advice}"))
    return times_ms, states > 0, refused


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _trim(buffer: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
    for row in range(starts.size):
        while starts[row] < ends[row] and buffer[starts[row]] == 0x20:
            starts[row] += 1
        while starts[row] < ends[row] and buffer[ends[row] - 1] == 0x20:
            ends[row] -= 1


Reader = Callable[[str], tuple[int, int]]
"""Text to milliseconds and state (`_LOCAL`, `_UTC`, 0)."""


def _each(
    rows: Rows,
    column: int,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    reader: Reader,
    times_ms: NDArray[np.int64],
    states: NDArray[np.int8],
) -> None:
    """Reads every different text once; times repeat over the points of a long file."""
    codes, firsts = intern(rows.buffer, starts, ends)
    found = [reader(rows.text(row, column)) for row in firsts.tolist()]
    times_ms[:] = np.array([time_ms for time_ms, _ in found], np.int64)[codes]
    states[:] = np.array([state for _, state in found], np.int8)[codes]


def _strptime(style: TimeStyle) -> Reader:
    def read(text: str) -> tuple[int, int]:
        try:
            found = datetime.strptime(text, style.format)  # noqa: DTZ007  the zone is the mapping's
            found = found.replace(year=found.year + style.add_years)
        except ValueError:
            return 0, 0
        state = _LOCAL if found.tzinfo is None else _UTC
        aware = found.replace(tzinfo=UTC) if found.tzinfo is None else found
        return (aware - _EPOCH) // timedelta(milliseconds=1), state

    return read


def _localize(local_ms: NDArray[np.int64], style: TimeStyle) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """UTC milliseconds of local ones, and which of them the zone has."""
    index = pd.DatetimeIndex(local_ms.astype("datetime64[ms]"))
    # pandas calls the first of two equal local times the one in summer time: True.
    zone = ZoneInfo(style.zone)
    if style.fold == "reject":
        zoned = index.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
    else:
        summer = np.full(local_ms.size, style.fold == "first")
        zoned = index.tz_localize(zone, ambiguous=summer, nonexistent="NaT")
    good = np.asarray(zoned.notna())
    utc = zoned.tz_convert("UTC").tz_localize(None).to_numpy().astype("datetime64[ms]").astype(np.int64)
    return np.where(good, utc, 0), good
