"""Rows of CSV files as readings: wide (a column is a point) and long (a row is a reading)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.encode import QUALITIES, Mode
from schemas.errors import ConfigurationError, UnitError
from streams.sources.catalog import Catalog, Point
from streams.sources.decimals import Style, Target, to_int64
from streams.sources.mapping import Number, Table, fill, places
from streams.sources.tokens import Rows, intern

EARLIEST_MS: Final = 946_684_800_000
"""2000-01-01: an earlier reading is from a clock that was never set."""

LATEST_MS: Final = 7_258_118_400_000
"""2200-01-01: nothing is planned for later."""

Fault = tuple[int, str, str]
"""Row (-1: the header), column, reason."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file and what its mapping says.

    Attributes:
        path: the file.
        parts: named parts of its path.
        table: the mapping.
        header: its columns.
        style: how its numbers are written.
    """

    path: Path
    parts: Mapping[str, str]
    table: Table
    header: tuple[str, ...]
    style: Style

    def place(self, column: str) -> int:
        """Which column that is.

        Raises:
            ConfigurationError: the file has none of that name.
        """
        if column not in self.header:
            has = ", ".join(map(repr, self.header))
            raise ConfigurationError(f"{self.path} has no column {column!r}, which the mapping names; it has {has}")
        return self.header.index(column)


@dataclass(slots=True)
class Columns:
    """Readings of one gateway, in parts: 21 bytes a reading."""

    times_ms: list[NDArray[np.int64]] = field(default_factory=list)
    points: list[NDArray[np.int32]] = field(default_factory=list)
    values: list[NDArray[np.int64]] = field(default_factory=list)
    qualities: list[NDArray[np.int8]] = field(default_factory=list)


class Readings:
    """What was read of all files, by site, gateway and mode.

    Args:
        latest_ms: a reading of a live site may not lie behind it.
        catalog: the published model.

    Attributes:
        columns: the readings, in the order in which they were read.
        empty: cells without a reading.
    """

    def __init__(self, catalog: Catalog, latest_ms: int) -> None:
        self.columns: dict[tuple[str, str, Mode], Columns] = {}
        self.empty = 0
        self.catalog = catalog
        self._latest_ms = latest_ms

    def take(
        self,
        source: Source,
        rows: Rows,
        column: int,
        times_ms: NDArray[np.int64],
        codes: NDArray[np.int64],
        targets: Sequence[tuple[Point, Target]],
    ) -> list[Fault]:
        """Reads the numbers of one column.

        Args:
            source: the file.
            rows: its cells.
            column: which column has the numbers.
            times_ms: time of each row.
            codes: which target each row is for; negative: none.
            targets: points, and how their numbers are converted.

        Returns:
            The cells that cannot be used.
        """
        values, there, refused = to_int64(rows, column, codes, [target for _, target in targets], source.style)
        faults = [(row, source.header[column], reason) for row, reason in refused]
        self.empty += int((codes >= 0).sum() - there.sum()) - len(refused)
        kept = np.nonzero(there)[0]
        if not kept.size:
            return faults
        points = [point for point, _ in targets]
        shift = 1000 if source.table.time.stamp == "start" else 0
        shifts_ms = np.array([shift * point.interval_s if point.kind == "delta" else 0 for point in points], np.int64)
        own_ms = times_ms[kept] + shifts_ms[codes[kept]]
        live = [self.catalog.documents[point.site].domain == "live" for point in points]
        latest_ms = np.where(live, self._latest_ms, LATEST_MS)
        early, late = own_ms < EARLIEST_MS, own_ms > latest_ms[codes[kept]]
        timed = source.table.time.column
        faults += [(row, timed, "the time is before 2000") for row in kept[early].tolist()]
        faults += [(row, timed, "the time lies in the future") for row in kept[late].tolist()]
        usable = ~(early | late)
        kept, own_ms = kept[usable], own_ms[usable]
        numbers = np.array([point.number for point in points], np.int32)[codes[kept]]
        self._keep(source, points, codes[kept], own_ms, numbers, values[kept], _qualities(source, rows)[kept])
        return faults

    def _keep(
        self,
        source: Source,
        points: Sequence[Point],
        codes: NDArray[np.int64],
        times_ms: NDArray[np.int64],
        numbers: NDArray[np.int32],
        values: NDArray[np.int64],
        qualities: NDArray[np.int8],
    ) -> None:
        """Sorts readings by gateway, in the order of the file."""
        senders = {(point.site, point.gateway): 0 for point in points}
        senders = {sender: index for index, sender in enumerate(senders)}
        of_row = np.array([senders[point.site, point.gateway] for point in points], np.int64)[codes]
        order = np.argsort(of_row, kind="stable")
        ends = np.searchsorted(of_row[order], np.arange(len(senders)), side="right")
        start = 0
        for (site, gateway), end in zip(senders, ends.tolist(), strict=True):
            chosen = order[start:end]
            start = end
            if chosen.size:
                into = self.columns.setdefault((site, gateway, source.table.mode), Columns())
                into.times_ms.append(times_ms[chosen])
                into.points.append(numbers[chosen])
                into.values.append(values[chosen])
                into.qualities.append(qualities[chosen])


class WideReader:
    """Reads files in which a column is a point.

    Attributes:
        faults: columns that are left out, found in the header.
    """

    def __init__(self, source: Source, readings: Readings) -> None:
        self.faults: list[Fault] = []
        self._source = source
        self._readings = readings
        self._targets: list[tuple[int, tuple[Point, Target]]] = []
        for column, number in source.table.wide.items():
            place = source.place(column)
            try:
                name = _filled(source, number.point, source.parts)
                found = readings.catalog.point(_filled(source, source.table.site, source.parts), name)
                self._targets.append((place, (found, _target(source, found, number))))
            except LookupError as error:
                self.faults.append((-1, column, f"{error.args[0]}; the whole column is left out"))

    def read(self, rows: Rows, times_ms: NDArray[np.int64], good: NDArray[np.bool_]) -> list[Fault]:
        """Reads rows; `good` are those whose shape and time are."""
        codes = np.where(good, 0, -1)
        faults: list[Fault] = []
        for place, target in self._targets:
            faults += self._readings.take(self._source, rows, place, times_ms, codes, [target])
        return faults


class LongReader:
    """Reads files in which a row is a reading; every different name of a point is looked up once."""

    def __init__(self, source: Source, readings: Readings) -> None:
        assert source.table.long is not None  # as the mapping was checked: one of three forms
        self.faults: list[Fault] = []
        self._source = source
        self._readings = readings
        self._long = source.table.long
        names = [*places(source.table.site), *places(self._long.point)]
        self._names = [name for name in dict.fromkeys(names) if name not in source.parts]
        self._places = [source.place(name) for name in self._names]
        self._value = source.place(self._long.value.column)
        self._targets: list[tuple[Point, Target]] = []
        self._known: dict[tuple[str, ...], int | str] = {}

    def read(self, rows: Rows, times_ms: NDArray[np.int64], good: NDArray[np.bool_]) -> list[Fault]:
        """Reads rows; `good` are those whose shape and time are."""
        codes, firsts = _combine(rows, self._places, good)
        found = [self._look_up(tuple(rows.text(row, place) for place in self._places)) for row in firsts.tolist()]
        targets = np.array([one if isinstance(one, int) else -1 for one in found] or [-1], np.int64)[codes]
        targets[~good] = -1
        column = ", ".join(self._names)
        faults: list[Fault] = [
            (row, column, str(found[int(codes[row])])) for row in np.nonzero(good & (targets < 0))[0].tolist()
        ]
        return faults + self._readings.take(self._source, rows, self._value, times_ms, targets, self._targets)

    def _look_up(self, texts: tuple[str, ...]) -> int | str:
        """The number of a point's target, or the reason why it has none."""
        known = self._known.get(texts)
        if known is None:
            cells = {**self._source.parts, **dict(zip(self._names, texts, strict=True))}
            name = _filled(self._source, self._long.point, cells)
            site = _filled(self._source, self._source.table.site, cells)
            try:
                point = self._readings.catalog.point(site, self._long.points.get(name, name))
                self._targets.append((point, _target(self._source, point, self._long.value)))
                known = len(self._targets) - 1
            except LookupError as error:
                known = str(error.args[0])
            self._known[texts] = known
        return known


def _target(source: Source, point: Point, number: Number) -> Target:
    """How numbers become what the log carries.

    Raises:
        ConfigurationError: the unit does not fit the point, or a delta stamped at its start has no length.
    """
    if source.table.time.stamp == "start" and point.kind == "delta" and not point.interval_s:
        raise ConfigurationError(f"point {point.id} has no interval_s; stamp: start needs one")
    try:
        return Target.of(point.unit, point.kind, number.unit, number.factor, round_half_even=bool(number.round))
    except UnitError as error:
        raise ConfigurationError(f"mapping of point {point.id}: {error}") from error


def _filled(source: Source, template: str, cells: Mapping[str, str]) -> str:
    try:
        return fill(template, cells)
    except KeyError as error:
        raise ConfigurationError(
            f"{template!r} names {error.args[0]!r}, which is neither a part of the path nor a column of {source.path}"
        ) from error


def _qualities(source: Source, rows: Rows) -> NDArray[np.int8]:
    quality = source.table.quality
    if quality is None:
        return np.zeros(len(rows), np.int8)
    place = source.place(quality.column)
    codes, firsts = _combine(rows, [place], np.ones(len(rows), np.bool_))
    meanings = dict.fromkeys(quality.estimated, "estimated") | dict.fromkeys(quality.suspect, "suspect")
    found = [QUALITIES.index(meanings.get(rows.text(row, place), "good")) for row in firsts.tolist()]
    return np.array(found, np.int8)[codes]


def _combine(
    rows: Rows, columns: Sequence[int], good: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers the different combinations of texts of some columns; rows that are not good have any number.

    Returns:
        The number of each row, and for each number a good row that has it.
    """
    codes = np.zeros(len(rows), np.int64)
    for place in columns:
        own, firsts = intern(rows.buffer, rows.starts[:, place], rows.ends[:, place])
        codes = codes * max(1, firsts.size) + own
        _, codes = np.unique(codes, return_inverse=True)  # dense again: never beyond rows x rows
    if not good.any():
        return np.zeros(len(rows), np.int64), np.zeros(0, np.int64)
    chosen = np.nonzero(good)[0]
    _, firsts, dense = np.unique(codes[chosen], return_index=True, return_inverse=True)
    numbers = np.zeros(len(rows), np.int64)
    numbers[chosen] = dense
    return numbers, chosen[firsts]
