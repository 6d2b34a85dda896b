"""Rows of CSV files as waste and vehicle events: a row makes one event or several, as the mapping says."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.codec import schema, write
from schemas.errors import DecodeError, UnitError
from schemas.topics import VEHICLE_EVENTS, WASTE_EVENTS
from schemas.units import parse_decimal
from streams.sources.catalog import Catalog
from streams.sources.csv_readings import EARLIEST_MS, LATEST_MS, Fault, Source
from streams.sources.decimals import Style
from streams.sources.mapping import Event, NumberField, Table, TextField, TimeField, fill, places
from streams.sources.tokens import Rows

TOPICS: Final = {"waste_event": WASTE_EVENTS, "vehicle_event": VEHICLE_EVENTS}
_KNOWN: Final = {"waste_event": (("station", "stations"), ("bin", "bins")), "vehicle_event": (("vehicle", "vehicles"),)}


@dataclass(frozen=True, slots=True)
class SiteEvent:
    """One event on its way.

    Attributes:
        site: its site.
        contract: waste_event or vehicle_event.
        time_ms: when.
        value: all fields of the contract.
    """

    site: str
    contract: str
    time_ms: int
    value: Mapping[str, object]

    @property
    def topic(self) -> str:
        """Where it goes."""
        return TOPICS[self.contract]


class EventError(ValueError):
    """A row makes no event; `column` is the one that is wrong, empty: none alone."""

    def __init__(self, reason: str, column: str = "") -> None:
        self.column = column
        super().__init__(reason)


def complete(contract: str, fields: Mapping[str, object], catalog: Catalog) -> SiteEvent:
    """An event with all fields of its contract, checked against the contract and the model.

    Raises:
        EventError: a field is unknown, missing or of another type, a span ends before it starts, or the model has no
            such station, bin or vehicle.
    """
    declared = schema(contract)["fields"]
    names = {str(f["name"]): f.get("default", ...) for f in declared if isinstance(f, dict)}  # type: ignore[union-attr]
    unknown = set(fields) - set(names)
    if unknown:
        raise EventError(f"{contract} has no field {', '.join(sorted(unknown))}")
    missing = [name for name, default in names.items() if default is ... and fields.get(name) in (None, "")]
    if missing:
        raise EventError(f"{contract} needs {', '.join(missing)}")
    value = {name: fields.get(name) for name in names}
    try:
        write(contract, value)
    except DecodeError as error:
        raise EventError(error.reason) from error
    site, time_ms = str(value["site"]), int(str(value["time_ms"]))
    if time_ms < EARLIEST_MS:
        raise EventError("the time is before 2000")
    if time_ms > LATEST_MS:
        raise EventError("the time is after 2200")
    start_ms = value.get("start_ms")
    if isinstance(start_ms, int) and start_ms > time_ms:
        raise EventError("it ends before it starts")
    try:
        for field, table in _KNOWN[contract]:
            name = value.get(field)
            if name is not None and not catalog.has(site, table, str(name)):
                raise EventError(f"unknown {field} {name!r} in site {site!r}")
    except LookupError as error:
        raise EventError(str(error)) from error
    return SiteEvent(site, contract, time_ms, value)


class EventReader:
    """Reads files in which a row is one event or several.

    Args:
        source: the file.
        catalog: the published model.
        events: what was read is added here.

    Attributes:
        faults: none; a header has only columns that are there or not.
    """

    def __init__(self, source: Source, catalog: Catalog, events: list[SiteEvent]) -> None:
        self.faults: list[Fault] = []
        self._source = source
        self._catalog = catalog
        self._events = events
        names = columns_of(source.table.events) | set(places(source.table.site))
        self._places = {name: source.place(name) for name in sorted(names - set(source.parts))}

    def read(self, rows: Rows, times_ms: NDArray[np.int64], good: NDArray[np.bool_]) -> list[Fault]:
        """Reads rows; `good` are those whose shape and time are. A row gives all its events, or none."""
        faults: list[Fault] = []
        for row in np.nonzero(good)[0].tolist():
            cells = {**self._source.parts, **{name: rows.text(row, place) for name, place in self._places.items()}}
            try:
                self._events += self._row(cells, int(times_ms[row]))
            except EventError as error:
                faults.append((row, error.column, str(error)))
        return faults

    def _row(self, cells: Mapping[str, str], time_ms: int) -> list[SiteEvent]:
        table = self._source.table
        site = fill(table.site, cells)
        made = []
        for event in table.events:
            fields: dict[str, object] = {"site": site, "time_ms": time_ms}
            for name, spec in event.fields.items():
                fields[name] = _field(spec, cells, table, self._source.style)
            made.append(complete(event.contract, fields, self._catalog))
        return made


def _field(
    spec: str | NumberField | TimeField | TextField, cells: Mapping[str, str], table: Table, style: Style
) -> object:
    if isinstance(spec, str):
        return fill(spec, cells) or None
    if isinstance(spec, TextField):
        text = fill(spec.text, cells)
        if spec.map and text not in spec.map:
            raise EventError(f"{text!r} is none of {', '.join(spec.map)}")
        return spec.map.get(text, text) or None
    if isinstance(spec, TimeField):
        try:
            return table.time.style().one(cells[spec.time])
        except ValueError as error:
            raise EventError(str(error), spec.time) from error
    text = cells[spec.number]
    if not text or text in style.nulls:
        return None
    try:
        scaled: Fraction = parse_decimal(style.plain(text)) * spec.factor
    except UnitError as error:
        raise EventError(str(error), spec.number) from error
    if scaled.denominator != 1 and not spec.round:
        raise EventError(f"{text} times {spec.factor} is not a whole number; say round: half_even", spec.number)
    return round(scaled)


def columns_of(events: Iterable[Event]) -> set[str]:
    """Columns and parts of the path that events are made of."""
    found: set[str] = set()
    for event in events:
        for spec in event.fields.values():
            if isinstance(spec, NumberField):
                found.add(spec.number)
            elif isinstance(spec, TimeField):
                found.add(spec.time)
            else:
                found.update(places(spec if isinstance(spec, str) else spec.text))
    return found


def fingerprint(value: Mapping[str, object]) -> str:
    """A name of an event by its content, for sources that give none: the same event sent again has the same name."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False, default=str).encode()).hexdigest()[:32]
