"""Documents of the topic config as rows of the model's tables: `model_points`, `model_spaces` and so on.

A row begins with the document (its sha256), the site that the document is of, and its number in the table; then
the columns of `schemas.model.tables`. Which type a column has in ClickHouse follows from its type there, so a
new column of the model needs a migration and nothing here. Rows are kept once by merges: a document that is
published twice, or read twice, is in the tables once.
"""

import datetime as dt
import functools
import zoneinfo
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

import numpy as np

from schemas.codec import Json
from schemas.model.build import POINT_COLUMNS
from schemas.model.document import Document
from schemas.model.tables import LIST_TYPES, TABLES
from sinks.clickhouse import native
from sinks.clickhouse.native import Column

SCALE: Final = 12
"""Digits after the point of decimals; a share of 1/3 is rounded to so many."""

ZONES_FROM: Final = 2000
ZONES_TO: Final = 2060
_EXTRA: Final = {"points": (("number", "uint32"), *((name, "text") for name in POINT_COLUMNS if name != "number"))}
_DAY_ZERO: Final = dt.date(1970, 1, 1)


def columns_of(table: str) -> tuple[tuple[str, str], ...]:
    """(name, type of the model) of the columns of a table, in the order of ClickHouse's."""
    spec = tuple((column.name, column.type) for column in TABLES[table].columns.values())
    return spec + _EXTRA.get(table, ())


def blocks(documents: Iterable[Document]) -> dict[str, list[Column]]:
    """Rows of the documents, by ClickHouse table; tables without rows are absent."""
    rows: dict[str, list[tuple[Document, int, Mapping[str, Json]]]] = {}
    zones: set[str] = set()
    for document in documents:
        for table in TABLES:
            for number, row in enumerate(_rows(document, table)):
                rows.setdefault(table, []).append((document, number, row))
        zones.update(str(zone) for zone in document.table("sites").get("time_zone", ()) if zone)
    found = {f"model_{table}": _encode(table, rows[table]) for table in sorted(rows)}
    offsets = [(zone, *moment) for zone in sorted(zones) for moment in zone_offsets(zone)]
    if offsets:
        found["zone_offsets"] = [
            native.names("zone", [zone for zone, _, _ in offsets]),
            native.number("from_ts", native.TIME, np.array([moment for _, moment, _ in offsets], np.int64)),
            native.number("offset_s", "Int32", np.array([seconds for _, _, seconds in offsets], np.int64)),
        ]
    return found


def _rows(document: Document, table: str) -> list[Mapping[str, Json]]:
    if table == "calendars" and document.calendars:
        return [
            {"id": calendar, "date": date, "kind": kind}
            for calendar, days in sorted(document.calendars.items())
            for date, kind in sorted(days.items())
        ]
    columns = document.table(table)
    length = max(map(len, columns.values()), default=0)
    return [{name: values[i] for name, values in columns.items() if i < len(values)} for i in range(length)]


def _encode(table: str, rows: Sequence[tuple[Document, int, Mapping[str, Json]]]) -> list[Column]:
    encoded = [
        native.fixed("document", 32, [document.sha256 for document, _, _ in rows]),
        native.names("model_site", [document.site for document, _, _ in rows]),
        native.number("row", "UInt32", np.array([number for _, number, _ in rows], np.int64)),
    ]
    for name, kind in columns_of(table):
        encoded.append(_column(name, kind, [row.get(name) for _, _, row in rows]))
    return encoded


def _column(name: str, kind: str, values: Sequence[Json]) -> Column:
    if kind in LIST_TYPES:
        lists = [[_text(item) for item in value] if isinstance(value, list) else [] for value in values]
        flat = native.strings(name, [item for items in lists for item in items])
        return native.array(flat, np.array([len(items) for items in lists], np.int64))
    convert = _CONVERTERS.get(kind)
    if convert is None:
        return native.strings(name, [_text(value) for value in values])
    found = [convert(value) for value in values]
    nulls = np.array([value is None for value in found])
    filled = [0 if value is None else value for value in found]
    if kind in ("number", "share"):
        return native.nullable(native.decimal(name, SCALE, filled), nulls)
    return native.nullable(native.number(name, _NUMBERS[kind], np.array(filled, np.int64)), nulls)


def _text(value: Json) -> str:
    return "" if value is None else str(value)


def _integer(low: int, high: int, value: Json) -> int | None:
    try:
        number = int(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if low <= number <= high else None


def _days(value: Json) -> int | None:
    try:
        days = (dt.date.fromisoformat(str(value)) - _DAY_ZERO).days
    except ValueError:
        return None
    return min(max(days, -25_567), 120_529)  # what a Date32 can hold: 1900-01-01 to 2299-12-31


def _decimal(value: Json) -> int | None:
    if value is None or isinstance(value, bool):
        return None
    try:
        number = round(Fraction(str(value)) * 10**SCALE)
    except (ValueError, ZeroDivisionError):
        return None
    return number if abs(number) < 10**38 else None


_CONVERTERS: Final[dict[str, Any]] = {
    "int": functools.partial(_integer, -(1 << 63), (1 << 63) - 1),
    "uint32": functools.partial(_integer, 0, (1 << 32) - 1),
    "sign": functools.partial(_integer, -1, 1),
    "bool": functools.partial(_integer, 0, 1),
    "date": _days,
    "number": _decimal,
    "share": _decimal,
}
_NUMBERS: Final = {"int": "Int64", "uint32": "UInt32", "sign": "Int8", "bool": "Bool", "date": "Date32"}


@functools.cache
def zone_offsets(zone: str) -> tuple[tuple[int, int], ...]:
    """(from when, milliseconds since 1970; offset from UTC, seconds) of a time zone; empty: there is no such zone."""
    try:
        info = zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return ()

    def offset(second: int) -> int:
        delta = dt.datetime.fromtimestamp(second, info).utcoffset()
        return int(delta.total_seconds()) if delta else 0

    start = int(dt.datetime(ZONES_FROM, 1, 1, tzinfo=dt.UTC).timestamp())
    stop = int(dt.datetime(ZONES_TO, 1, 1, tzinfo=dt.UTC).timestamp())
    week = 7 * 86_400
    found = [(0, offset(start))]  # before, as at the beginning: no event is older than 2000
    for second in range(start, stop, week):
        low, high = second, second + week
        if offset(low) == offset(high):
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if offset(middle) == offset(low) else (low, middle)
        found.append((high * 1000, offset(high)))
    return tuple(found)
