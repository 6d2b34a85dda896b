"""From cells to readings: which point, when, how much, and why not."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numba
import numpy as np
from numpy.typing import NDArray

from schemas.errors import UnitError
from schemas.record_batches import Slab
from schemas.units import INT64_MAX
from streams.sources.bridge.cells import (
    ABSENT,
    BAD,
    DECIMAL,
    FALSE,
    MILLISECONDS,
    NUMBER,
    TEXT,
    TRUE,
    Cells,
)
from streams.sources.bridge.mapping import KEY, TIME, BridgeMapping
from streams.sources.bridge.targets import REFUSED, Finder, Gateways
from streams.sources.catalog import Catalog, Point
from streams.sources.csv_readings import EARLIEST_MS, LATEST_MS
from streams.sources.decimals import Style, Target, to_int64
from streams.sources.times import to_ms
from streams.sources.tokens import Rows

_EPOCHS: Final = {"epoch_s": 3, "epoch_ms": 0}


@dataclass(slots=True)
class Readings:
    """Readings in the order of their messages.

    Attributes:
        gateways: int32[n], numbers of the bridge's list.
        points: int32[n].
        times_ms: int64[n].
        values: int64[n].
        qualities: int8[n].
    """

    gateways: NDArray[np.int32]
    points: NDArray[np.int32]
    times_ms: NDArray[np.int64]
    values: NDArray[np.int64]
    qualities: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.gateways)


class Converter:
    """Turns cells into readings.

    Args:
        mapping: of the bridge.

    Attributes:
        gateways: those met so far.
    """

    def __init__(self, mapping: BridgeMapping) -> None:
        self.gateways = Gateways()
        self._mapping = mapping
        self._fields = mapping.fields()
        self._time = self._fields.index(mapping.time.column)
        self._values = [
            (self._fields.index(field), Finder(mapping, template, number, self.gateways))
            for field, template, number in mapping.values()
        ]
        self._style = Style(nulls=tuple(mapping.nulls))
        self._time_style = mapping.time.style()

    def warm_up(self) -> Readings:
        """Compiles every kernel with messages of each kind of field; a converter that did this is not used further."""
        cells = Cells.empty(np.frombuffer(b"1", np.uint8), 3, len(self._fields))
        cells.kinds[:], cells.ends[:] = TEXT, 1
        cells.kinds[1], cells.mantissas[1] = NUMBER, 1
        cells.kinds[:2, self._time], cells.mantissas[:2, self._time] = MILLISECONDS, EARLIEST_MS
        found, _ = self.convert(Slab.of("", 0, [(row, 0, b"1", b"1") for row in range(3)]), cells, _Anything({}))
        return found

    def clear(self) -> None:
        """Forgets what the model said: it has changed."""
        for _, finder in self._values:
            finder.clear()

    def convert(self, slab: Slab, cells: Cells, catalog: Catalog) -> tuple[Readings, dict[int, str]]:
        """The readings of a slab's messages; and for each message that is of no use, or not in all parts, why."""
        refused = dict(cells.details)
        self._kafka_fields(slab, cells)
        good = cells.status != BAD
        times_ms = self._times(cells, good, refused)
        parts = []
        any_value = np.zeros(len(slab), np.bool_)
        for column, finder in self._values:
            present = cells.kinds[:, column] != ABSENT
            any_value |= present
            rows = np.nonzero(good & present)[0]
            if rows.size:
                parts.append(self._one(cells, rows, column, finder, catalog, times_ms, refused))
        for row in np.nonzero(good & ~any_value)[0].tolist():
            names = ", ".join(self._fields[column] for column, _ in self._values)
            refused[row] = f"no value: {names}"
        return _merged(parts), refused

    def _kafka_fields(self, slab: Slab, cells: Cells) -> None:
        """Puts in what is not in the message itself; its place is in the slab's bytes, with which the buffer begins."""
        if KEY in self._fields:
            column = self._fields.index(KEY)
            spans = slab.spans.astype(np.int64)
            cells.kinds[:, column] = np.where(spans[:, 1] >= 0, TEXT, ABSENT)
            cells.starts[:, column] = spans[:, 0]
            cells.ends[:, column] = spans[:, 0] + spans[:, 1].clip(0)
        if TIME in self._fields:
            column = self._fields.index(TIME)
            cells.kinds[:, column] = MILLISECONDS
            cells.mantissas[:, column] = slab.timestamps_ms
            cells.places[:, column] = 0

    def _times(self, cells: Cells, good: NDArray[np.bool_], refused: dict[int, str]) -> NDArray[np.int64]:
        """Times of all messages in ms; those without one are no longer good."""
        column, size = self._time, len(good)
        kinds = cells.kinds[:, column]
        times_ms = np.zeros(size, np.int64)
        written = np.nonzero(good & ((kinds == TEXT) | (kinds == DECIMAL)))[0]
        if written.size:
            times_ms[written], _, wrong = to_ms(_rows(cells, written, column), 0, self._time_style)
            for row, reason in wrong:
                refused[int(written[row])] = f"{self._fields[column]}: {reason}"
                good[written[row]] = False
        valued = np.nonzero(good & ((kinds == NUMBER) | (kinds == MILLISECONDS)))[0]
        if valued.size:
            more = np.where(kinds[valued] == NUMBER, _EPOCHS.get(self._time_style.format, -1), 0)
            fits = _milliseconds(cells.mantissas[valued, column], cells.places[valued, column], more, times_ms, valued)
            for row in valued[~fits].tolist():
                refused[row] = f"{self._fields[column]} is a number out of range, or format is iso"
                good[row] = False
        for row in np.nonzero(good & ((kinds == ABSENT) | (kinds == TRUE) | (kinds == FALSE)))[0].tolist():
            refused[row] = f"no time: {self._fields[column]}"
            good[row] = False
        for row in np.nonzero(good & ((times_ms < EARLIEST_MS) | (times_ms > LATEST_MS)))[0].tolist():
            refused[row] = "the time is before 2000" if times_ms[row] < EARLIEST_MS else "the time is after 2200"
            good[row] = False
        return times_ms

    def _one(
        self,
        cells: Cells,
        rows: NDArray[np.int64],
        column: int,
        finder: Finder,
        catalog: Catalog,
        times_ms: NDArray[np.int64],
        refused: dict[int, str],
    ) -> tuple[NDArray[np.int64], Readings]:
        """The readings of one value of the messages, with the message of each."""
        codes = finder.codes(cells, rows, catalog)[rows]
        points = finder.points
        known = points.gateways[codes] != REFUSED
        for row, code in zip(rows[~known].tolist(), codes[~known].tolist(), strict=True):
            refused[row] = finder.reasons[code]
        rows, codes = rows[known], codes[known]
        values, has, wrong = self._numbers(cells, rows, column, points.scales[codes], finder.targets)
        for row, reason in wrong:
            refused[int(rows[row])] = f"{self._fields[column]}: {reason}"
        if not has.all():
            rows, codes, values = rows[has], codes[has], values[has]
        found = Readings(points.gateways[codes], points.numbers[codes], times_ms[rows], values, points.qualities[codes])
        return rows, found

    def _numbers(
        self,
        cells: Cells,
        rows: NDArray[np.int64],
        column: int,
        scales: NDArray[np.int64],
        targets: list[Target],
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_], list[tuple[int, str]]]:
        kinds = cells.kinds[rows, column]
        if ((kinds == TEXT) | (kinds == DECIMAL)).all():
            return to_int64(_rows(cells, rows, column), 0, scales, targets, self._style)
        values, has = np.zeros(rows.size, np.int64), np.zeros(rows.size, np.bool_)
        wrong: list[tuple[int, str]] = []
        written = np.nonzero((kinds == TEXT) | (kinds == DECIMAL))[0]
        if written.size:
            part = _rows(cells, rows[written], column)
            values[written], has[written], refused = to_int64(part, 0, scales[written], targets, self._style)
            wrong += [(int(written[row]), reason) for row, reason in refused]
        valued = np.nonzero((kinds == NUMBER) | (kinds == TRUE) | (kinds == FALSE))[0]
        mantissas = cells.mantissas[rows[valued], column]
        places = cells.places[rows[valued], column]
        truth = kinds[valued] != NUMBER
        mantissas[truth], places[truth] = kinds[valued][truth] == TRUE, 0
        fits = [0 < target.converter.scale.numerator <= INT64_MAX for target in targets]
        small = [
            fit and target.converter.scale.denominator <= INT64_MAX for fit, target in zip(fits, targets, strict=True)
        ]
        numerators = [t.converter.scale.numerator if ok else 0 for t, ok in zip(targets, small, strict=True)]
        denominators = [t.converter.scale.denominator if ok else 1 for t, ok in zip(targets, small, strict=True)]
        scaled, done = _scaled(
            mantissas,
            places,
            scales[valued],
            np.array(numerators or [0], np.int64),
            np.array(denominators or [1], np.int64),
            np.array([target.converter.round_half_even for target in targets] or [False]),
        )
        values[valued], has[valued] = scaled, done
        for index in np.nonzero(~done)[0].tolist():  # not whole, or large: exactly, and with the reason
            row = int(valued[index])
            number = Fraction(int(mantissas[index]), 10 ** int(places[index]))
            try:
                values[row] = targets[int(scales[row])].converter.exact(number, str(number))
                has[row] = True
            except UnitError as error:
                wrong.append((row, str(error)))
        for row in np.nonzero(kinds == MILLISECONDS)[0].tolist():
            wrong.append((row, "a time is no value"))
        return values, has, wrong


class _Anything(Catalog):
    """Has every point."""

    def point(self, site: str, name: str) -> Point:
        """A gauge of no unit."""
        return Point(site, name, 0, "gateway", "gauge", "1", 0)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _scaled(
    mantissas: NDArray[np.int64],
    places: NDArray[np.int8],
    codes: NDArray[np.int64],
    numerators: NDArray[np.int64],
    denominators: NDArray[np.int64],
    roundings: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Numbers times their scale where that is whole, or may be rounded (half to even), and nothing overflows."""
    values = np.zeros(mantissas.size, np.int64)
    done = np.zeros(mantissas.size, np.bool_)
    for row in range(mantissas.size):
        mantissa = mantissas[row]
        left = np.int64(places[row])
        while left > 0 and mantissa % 10 == 0:
            mantissa //= 10
            left -= 1
        numerator, divisor = numerators[codes[row]], denominators[codes[row]]
        while left > 0 and numerator % 10 == 0 and numerator:
            numerator //= 10
            left -= 1
        while left > 0 and divisor < 400_000_000_000_000_000:
            divisor *= 10
            left -= 1
        if left or numerator <= 0 or mantissa == -9223372036854775808:
            continue
        if abs(mantissa) > np.int64(9223372036854775807) // numerator:
            continue
        product = mantissa * numerator
        whole = product // divisor
        rest = product - whole * divisor
        if rest:
            if not roundings[codes[row]]:
                continue
            if rest > divisor - rest or (rest == divisor - rest and whole % 2 != 0):
                whole += 1
        values[row] = whole
        done[row] = True
    return values, done


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _milliseconds(
    mantissas: NDArray[np.int64],
    places: NDArray[np.int8],
    more: NDArray[np.int64],
    times_ms: NDArray[np.int64],
    rows: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Numbers to ms: times 10^more, cut; which of them could be."""
    fits = np.zeros(rows.size, np.bool_)
    for index in range(rows.size):
        value = mantissas[index]
        shift = more[index] - np.int64(places[index])
        if more[index] < 0 or value < 0 or value > np.int64(1) << 61:
            continue
        while shift < 0:
            value //= 10
            shift += 1
        while shift > 0 and value <= np.int64(1) << 58:
            value *= 10
            shift -= 1
        fits[index] = shift == 0
        times_ms[rows[index]] = value
    return fits


_NO_SPANS: Final = np.zeros((0, 2), np.int64)
"""Whole rows are for reports of files; a bridge keeps the message itself."""


def _rows(cells: Cells, rows: NDArray[np.int64], column: int) -> Rows:
    """One column of some messages, as the readers of texts want it."""
    whole = slice(None) if rows.size == len(cells.status) else rows
    starts, ends = cells.starts[whole, column], cells.ends[whole, column]
    size = rows.size
    return Rows(
        cells.buffer,
        starts[:, None],
        ends[:, None],
        np.ones(size, np.int32),
        rows,
        _NO_SPANS,
        np.zeros(size, np.int8),
    )


def _merged(parts: list[tuple[NDArray[np.int64], Readings]]) -> Readings:
    """The readings of all values, in the order of their messages."""
    if len(parts) == 1:
        return parts[0][1]
    if not parts:
        return Readings(
            np.zeros(0, np.int32),
            np.zeros(0, np.int32),
            np.zeros(0, np.int64),
            np.zeros(0, np.int64),
            np.zeros(0, np.int8),
        )
    order = np.argsort(np.concatenate([rows for rows, _ in parts]), kind="stable")
    found = [one for _, one in parts]
    return Readings(
        np.concatenate([one.gateways for one in found])[order],
        np.concatenate([one.points for one in found])[order],
        np.concatenate([one.times_ms for one in found])[order],
        np.concatenate([one.values for one in found])[order],
        np.concatenate([one.qualities for one in found])[order],
    )
