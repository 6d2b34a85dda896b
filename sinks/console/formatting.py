"""Numbers, money and times as people read them."""

import datetime as dt
import unicodedata
import zoneinfo
from typing import Final

from schemas.units import MEDIA, UNITS
from sinks.console.places import Point
from sinks.console.texts import Language, text

NONE: Final = "–"
_LARGER: Final = {"Wh": (1000, "kWh"), "mL": (1_000_000, "m³"), "g": (1000, "kg"), "m": (1000, "km")}
"""Smallest unit of a dimension → (how many of them, the unit that people use)."""
_SMALLER: Final = {"mL": (1000, "L")}
"""Below a hundredth of the larger one."""
_DIRECTIONS: Final = frozenset(
    "\u061c\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"
)
"""They turn text around or hide it: a name could pretend to be another."""
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠")


def clean(value: str) -> str:
    """A text from outside without what cannot be seen: control and direction characters become `�`."""
    if value.isascii() and value.isprintable():
        return value
    return "".join(
        "�"
        if sign in _DIRECTIONS or (unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") and sign not in "\n\t")
        else sign
        for sign in value
    )


def cell(value: object) -> str:
    """A cell of a CSV file: a text that a spreadsheet would take for a formula gets a quote before it."""
    if isinstance(value, str):
        shown = clean(value)
        return f"'{shown}" if value.startswith(_FORMULA) or shown.lstrip().startswith(_FORMULA) else shown
    return "" if value is None else str(value)


def smallest_unit(medium: str) -> str:
    """Unit that quantities of a medium are counted in: Wh, mL, g, m."""
    known = MEDIA.get(medium)
    if known is None:
        return ""
    dimension = UNITS[known.price_unit].dimension
    return next((one.name for one in UNITS.values() if one.dimension == dimension and one.ratio == 1), "")


def larger(unit: str) -> tuple[int, str]:
    """(how many of a smallest unit make the unit that people use, that unit)."""
    return _LARGER.get(unit, (1, unit))


def quantity(amount: float | None, unit: str) -> str:
    """A quantity in the unit that people use: 12.40 kWh."""
    if amount is None:
        return NONE
    scale, name = _LARGER.get(unit, (1, unit))
    if unit in _SMALLER and abs(amount) * 100 < scale:
        scale, name = _SMALLER[unit]
    return f"{number(amount / scale)} {name}".strip()


def flow(per_hour: int, unit: str) -> str:
    """What flows in an hour; water in litres, as a leak of 18 L/h and one of 900 L/h are compared at a glance."""
    scale, name = _SMALLER.get(unit) or _LARGER.get(unit, (1, unit))
    return f"{number(per_hour / scale)} {name}/h"


def litres(millilitres: int | None) -> str:
    """Fuel, which is never counted in cubic metres."""
    return f"{number(millilitres / 1000)} L" if millilitres else NONE


def number(value: float) -> str:
    """Four digits that count, thousands apart: 0.041, 12.4, 1,234."""
    if value == 0:
        return "0"
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2 if abs(value) >= 0.1 else 3
    return f"{value:,.{digits}f}"


def change(now: float, before: float) -> str:
    """+12 %, −3 %; a dash where there is nothing to compare with."""
    if not before:
        return NONE
    percent = round(100 * (now / before - 1))
    return f"{'+' if percent > 0 else '−' if percent < 0 else '±'}{abs(percent):,} %"


def money(cost: int | None) -> str:
    """1/10000 yuan as yuan; a dash where there is no price."""
    return NONE if cost is None else f"¥{cost / 10_000:,.2f}"


def scaled(point: Point, value: float) -> float:
    """A stored value in the unit that `unit_of` says."""
    if point.kind == "gauge":
        return value / 1000
    return value / _LARGER.get(_counted(point), (1, ""))[0] if point.kind in ("register", "delta") else value


def unit_of(point: Point) -> str:
    """Unit that values of a point are shown in."""
    if point.kind == "gauge":
        return "" if point.unit in ("1", "bool") else point.unit
    if point.kind in ("register", "delta"):
        counted = _counted(point)
        return _LARGER.get(counted, (1, counted))[1]
    return ""


def reading(language: Language, point: Point, value: int | None) -> str:
    """A present value: 85.0 W, on, 3 people."""
    if value is None:
        return text(language, "unknown")
    if point.kind == "state" and point.role != "occupancy":
        return text(language, "on" if value else "off")
    return level(point, scaled(point, value))


def level(point: Point, value: float) -> str:
    """A value in the unit that `unit_of` says: 85.0 W, 3; states are whole."""
    return f"{value:,.0f}" if point.kind == "state" else f"{number(value)} {unit_of(point)}".strip()


def local(at_ms: int | None, zone: zoneinfo.ZoneInfo, form: str = "%m-%d %H:%M") -> str:
    """A time in the zone of a site."""
    return dt.datetime.fromtimestamp(at_ms / 1000, zone).strftime(form) if at_ms else NONE


def duration(language: Language, milliseconds: int) -> str:
    """3 min, 2 h 05 min, 4 d 3 h."""
    minutes = max(0, milliseconds) // 60_000
    if minutes < 60:
        return text(language, "minutes", minutes=minutes)
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return text(language, "hours", hours=hours, minutes=f"{minutes:02d}")
    days, hours = divmod(hours, 24)
    return text(language, "days", days=days, hours=hours)


def _counted(point: Point) -> str:
    dimension = UNITS[point.unit].dimension if point.unit in UNITS else ""
    return next((one.name for one in UNITS.values() if one.dimension == dimension and one.ratio == 1), point.unit)
