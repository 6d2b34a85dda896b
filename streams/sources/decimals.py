"""Columns of decimal text to int64, exactly: `1.5` kWh is 1500 Wh, and no float is in between.

A kernel reads what numbers nearly always look like (up to 18 digits); what it does not decide goes, cell by cell,
through the exact arithmetic of `schemas.units`, which also words the reason of a refusal.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

import numba
import numpy as np
from numpy.typing import NDArray

from schemas.errors import UnitError
from schemas.units import INT64_MAX, Converter, parse_decimal, scale, unit
from streams.sources.tokens import Rows

_ODD: Final = 1
_EMPTY: Final = 2
_POWER_MAX: Final = 1 << 62
_ONE: Final = Fraction(1)
_NO_VALUES: Final = ("nan", "na", "n/a", "null", "none", "nil", "-", "--", "?", "#n/a", "missing")
_TRUTHS: Final = ("true", "false", "on", "off", "yes", "no", "t", "f", "y", "n", "open", "closed", "occupied", "vacant")


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _convert(  # noqa: C901  written for the compiler: plain branches
    buffer: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    codes: NDArray[np.int64],
    numerators: NDArray[np.int64],
    denominators: NDArray[np.int64],
    roundings: NDArray[np.bool_],
    point: int,
    group: int,
    values: NDArray[np.int64],
    states: NDArray[np.int8],
) -> None:
    for row in range(starts.size):
        at = starts[row]
        end = ends[row]
        while at < end and buffer[at] == 0x20:
            at += 1
        while end > at and buffer[end - 1] == 0x20:
            end -= 1
        if at == end:
            states[row] = 2
            continue
        states[row] = 1
        negative = buffer[at] == 0x2D
        if negative or buffer[at] == 0x2B:
            at += 1
        first = at
        mantissa = np.int64(0)
        digits = 0
        places = -1  # digits behind the point; -1: no point yet
        grouped = 0  # digits since the last mark of thousands; they come in threes
        marks = 0
        good = True
        while at < end:
            byte = np.int64(buffer[at])
            if 0x30 <= byte <= 0x39:
                mantissa = mantissa * 10 + (byte - 0x30)
                if mantissa or places >= 0:
                    digits += 1
                if places >= 0:
                    places += 1
                elif marks:
                    grouped += 1
                if digits > 18:
                    good = False
                    break
            elif byte == point and places < 0:
                places = 0
            elif byte == group and places < 0 and (grouped == 3 if marks else at > first):
                marks += 1
                grouped = 0
            else:
                good = False
                break
            at += 1
        last = buffer[end - 1]
        if not good or not 0x30 <= last <= 0x39 or (marks and grouped != 3):
            continue
        while places > 0 and mantissa % 10 == 0:
            mantissa //= 10
            places -= 1
        code = codes[row]
        numerator = numerators[code]
        divisor = denominators[code]
        for _ in range(max(places, 0)):
            if divisor > 400_000_000_000_000_000:  # ten times as much would pass 2^62
                divisor = np.int64(0)
                break
            divisor *= 10
        if numerator <= 0 or divisor <= 0 or mantissa > np.int64(9223372036854775807) // numerator:
            continue
        scaled = -mantissa * numerator if negative else mantissa * numerator
        whole = scaled // divisor
        rest = scaled - whole * divisor
        if rest:
            if not roundings[code]:
                continue
            if 2 * rest > divisor or (2 * rest == divisor and whole % 2 != 0):
                whole += 1
        values[row] = whole
        states[row] = 0


@dataclass(frozen=True, slots=True)
class Target:
    """What numbers become: those of one point, written in one unit.

    Attributes:
        converter: exact conversion to what the log carries.
    """

    converter: Converter

    @classmethod
    def of(
        cls, point_unit: str, kind: str, written_in: str = "", factor: Fraction = _ONE, round_half_even: bool = False
    ) -> "Target":
        """Conversion of numbers to a point's own.

        Args:
            point_unit: the point's unit.
            kind: the point's kind.
            written_in: unit of the numbers; empty: the point's.
            factor: every number is multiplied by it first.
            round_half_even: rounds what is not an integer.

        Raises:
            UnitError: a unit is unknown or does not fit the point.
        """
        own = unit(point_unit)
        other = unit(written_in or point_unit)
        if other.dimension != own.dimension:
            raise UnitError(
                f"numbers in {other.name} ({other.dimension}) do not fit a point in {own.name} ({own.dimension})"
            )
        if kind != "state":
            scale(other.name, kind)
        if kind in ("register", "delta"):  # carried in the smallest unit, whatever the point's own is
            return cls(Converter(other.name, kind, factor, round_half_even=round_half_even))
        return cls(Converter(own.name, kind, factor * other.ratio / own.ratio, round_half_even=round_half_even))


@dataclass(frozen=True, slots=True)
class Style:
    """How numbers are written.

    Attributes:
        point: the decimal mark.
        group: the mark of thousands; empty: none.
        nulls: texts that mean "no reading", beside the empty one.
        words: lower-case text → the number that it stands for, such as on and off of a state.
    """

    point: str = "."
    group: str = ""
    nulls: Collection[str] = ()
    words: Mapping[str, str] = field(default_factory=dict)

    def plain(self, text: str) -> str:
        """The number as exact arithmetic reads it.

        Raises:
            UnitError: thousands are not marked in threes, or a decimal point stands where a comma should.
        """
        whole, mark, part = text.partition(self.point)
        if self.group and self.group in whole:
            first, *threes = whole.lstrip("+-").split(self.group)
            if not first or any(len(three) != 3 for three in threes):
                raise UnitError(f"{text!r}: thousands are not in threes")
            whole = whole.replace(self.group, "")
        elif self.point != "." and "." in text:
            raise UnitError(f"{text!r} has a point; the decimal mark is {self.point!r}")
        return f"{whole}.{part}" if mark else whole


def _are(rows: Rows, column: int, texts: Collection[str]) -> NDArray[np.bool_]:
    """Which cells of a column are one of these texts, byte for byte."""
    starts, ends = rows.starts[:, column], rows.ends[:, column]
    found = np.zeros(len(rows), np.bool_)
    for text in texts:
        raw = np.frombuffer(text.encode(), np.uint8)
        alike = np.nonzero(ends - starts == raw.size)[0]
        cells = rows.buffer[starts[alike, None] + np.arange(raw.size)]
        found[alike[(cells == raw).all(axis=1)]] = True
    return found


def _hint(text: str) -> str:
    """What the mapping may say of a text that is no number."""
    if text.lower() in _NO_VALUES:
        return f"; if it stands for no value, the mapping says so: nulls: [{text!r}]"
    if text.lower() in _TRUTHS:
        return "; if it stands for a number, the mapping says so: words: {on: 1, off: 0}"
    return ""


def to_int64(
    rows: Rows, column: int, codes: NDArray[np.int64], targets: Sequence[Target], style: Style
) -> tuple[NDArray[np.int64], NDArray[np.bool_], list[tuple[int, str]]]:
    """Converts a column.

    Args:
        rows: where the cells are.
        column: which of them.
        codes: which target each row has, int64[rows]; negative: none, the cell is left alone.
        targets: conversions.
        style: how numbers are written.

    Returns:
        Values, which rows have one, and (row, reason) of every refused cell. Empty cells and nulls are neither.
    """
    size = len(rows)
    values = np.zeros(size, np.int64)
    states = np.full(size, _EMPTY, np.int8)
    scales = [target.converter.scale for target in targets]
    fits = [0 < scale.numerator <= INT64_MAX and scale.denominator <= _POWER_MAX for scale in scales]
    wanted = np.nonzero((codes >= 0) & ~_are(rows, column, style.nulls))[0]
    if wanted.size:
        part_values = np.zeros(wanted.size, np.int64)
        part_states = np.zeros(wanted.size, np.int8)
        _convert(
            rows.buffer,
            rows.starts[wanted, column],
            rows.ends[wanted, column],
            codes[wanted],
            np.array([s.numerator if fit else 0 for s, fit in zip(scales, fits, strict=True)], np.int64),
            np.array([s.denominator if fit else 0 for s, fit in zip(scales, fits, strict=True)], np.int64),
            np.array([target.converter.round_half_even for target in targets], np.bool_),
            ord(style.point),
            ord(style.group) if style.group else 0,
            part_values,
            part_states,
        )
        values[wanted], states[wanted] = part_values, part_states
    refused: list[tuple[int, str]] = []
    for row in np.nonzero(states == _ODD)[0].tolist():
        text = rows.text(row, column)
        if not text or text in style.nulls:  # with spaces or quotes around it
            states[row] = _EMPTY
            continue
        try:
            converter = targets[int(codes[row])].converter
            number = style.words.get(text.lower())
            values[row] = converter.exact(parse_decimal(style.plain(text) if number is None else number), text)
            states[row] = 0
        except UnitError as error:
            refused.append((row, f"{error}{_hint(text)}"))
    return values, states == 0, refused
