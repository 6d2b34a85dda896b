"""What must hold in `points`: role, kind, medium and unit fit, and a point is of one site with what it names."""

import functools
from collections.abc import Iterator
from fractions import Fraction
from typing import Final

from schemas.errors import Fault, UnitError
from schemas.model.sense import DAY_S
from schemas.model.typed import Model, Rows
from schemas.roles import ROLES
from schemas.units import MEDIA, UNITS, Converter, fits_medium, kinds_text, units_of

GENERATED: Final = ("station:", "bin:", "vehicle:", "site:")
"""Ids of points that `apply` makes begin so."""
COUNTED: Final = ("energy", "reactive_energy", "volume", "mass", "length")
"""Registers and deltas of these are of a medium."""


def check_points(model: Model) -> Iterator[Fault]:
    """Every fault of the points."""
    points = model.rows("points")
    yield from _kinds(points)
    yield from _numbers(points)
    yield from _neighbours(model, points)
    yield from _one_unit(points)
    for row, name in enumerate(points.texts("id")):
        if name.startswith(GENERATED):
            yield points.fault(row, f"id {name!r}: {', '.join(GENERATED)} begin the ids of points that apply makes")


def _kinds(points: Rows) -> Iterator[Fault]:
    """Thousands of points share one combination: each is judged once."""
    judged: dict[tuple[str, str, str, str], str] = {}
    columns = (points.texts(name) for name in ("role", "kind", "unit", "medium"))
    for row, key in enumerate(zip(*columns, strict=True)):
        if key not in judged:
            judged[key] = _misfit(*key)
        if judged[key]:
            yield points.fault(row, judged[key])


def _misfit(role_name: str, kind: str, unit: str, medium: str) -> str:
    if not role_name or not kind:
        return ""
    role = ROLES[role_name]
    fitting = ", ".join(units_of(role.kinds[0] if kind not in role.kinds else kind, role.dimension, medium)[:8])
    if kind not in role.kinds:
        return f"role {role_name} does not fit a {kind}; it fits a {kinds_text(role.kinds)}"
    if not unit:
        return "" if kind == "state" else f"unit is empty; a {kind} of role {role_name} has {fitting}"
    if kind not in UNITS[unit].kinds:
        return f"unit {unit} does not fit a {kind}; for role {role_name} there are {fitting}"
    if UNITS[unit].dimension != role.dimension:
        return f"unit {unit} does not fit role {role_name}; there are {fitting}"
    if medium and not fits_medium(unit, kind, medium):
        return f"unit {unit} does not fit medium {medium}; it is counted in {', '.join(MEDIA[medium].dimensions)}"
    if not medium and kind in ("register", "delta") and role.dimension in COUNTED:
        return f"medium is empty; a {kind} in {unit} is of a medium"
    return ""


def _numbers(points: Rows) -> Iterator[Fault]:
    columns = points.columns
    for row, (kind, interval_s) in enumerate(zip(columns["kind"], columns["interval_s"], strict=True)):
        if kind == "delta" and interval_s is None:
            yield points.fault(row, "interval_s is empty; a delta is the usage of an interval (0: of an event)")
        if kind == "delta" and isinstance(interval_s, int) and interval_s and DAY_S % interval_s and interval_s % DAY_S:
            yield points.fault(row, f"interval_s {interval_s} neither divides a day of {DAY_S} s nor is whole days")
    for row, (low, high) in enumerate(zip(columns["min"], columns["max"], strict=True)):
        if low is not None and high is not None and _above(str(low), str(high)):
            yield points.fault(row, f"min {low} is above max {high}")
    for name in ("min", "max", "safe_value"):
        for row, value in enumerate(columns[name]):
            reason = (
                _inexact(str(columns["unit"][row] or "1"), str(columns["kind"][row]), str(value))
                if value is not None
                else ""
            )
            if reason:
                yield points.fault(row, f"{name}: {reason}")


@functools.lru_cache(maxsize=4096)
def _above(low: str, high: str) -> bool:
    return Fraction(low) > Fraction(high)


# A hundred thousand points have a few hundred different bounds.
@functools.lru_cache(maxsize=4096)
def _inexact(unit: str, kind: str, value: str) -> str:
    try:
        Converter(unit, kind)(value)
    except UnitError as error:
        # What unit and kind have to do with each other is said by `_kinds`.
        return str(error) if "integer" in str(error) or "64 bits" in str(error) else ""
    return ""


def _neighbours(model: Model, points: Rows) -> Iterator[Fault]:
    sites = points.texts("site")
    for column, table in (("gateway", "gateways"), ("of", "points")):
        other = dict(zip(model.rows(table).texts("id"), model.rows(table).texts("site"), strict=True))
        for row, name in enumerate(points.texts(column)):
            if name and sites[row] and other.get(name, sites[row]) not in ("", sites[row]):
                yield points.fault(row, f"{column} {name!r} is of site {other[name]!r}, the point of {sites[row]!r}")
    places = site_of_places(model)
    for row, name in enumerate(points.texts("space")):
        if name in places and sites[row] and places[name] not in ("", sites[row]):
            yield points.fault(row, f"space {name!r} is of site {places[name]!r}, the point of {sites[row]!r}")
    first, media = points.by_id(), points.texts("medium")
    for row, total in enumerate(points.texts("of")):
        if total in first and media[first[total]] != media[row]:
            yield points.fault(row, f"is a part of {total!r}, which is of medium {media[first[total]] or 'none'!r}")


def site_of_places(model: Model) -> dict[str, str]:
    """Site of every building and space."""
    buildings, spaces = model.rows("buildings"), model.rows("spaces")
    of_building = dict(zip(buildings.texts("id"), buildings.texts("site"), strict=True))
    of_space = {
        name: of_building.get(building, "")
        for name, building in zip(spaces.texts("id"), spaces.texts("building"), strict=True)
    }
    return of_space | of_building


def _one_unit(points: Rows) -> Iterator[Fault]:
    """Rules add the gauges of a role: within a site they must be in one unit."""
    first: dict[tuple[str, str], int] = {}
    columns = (points.texts(name) for name in ("site", "role", "kind", "unit"))
    units = points.texts("unit")
    for row, (site, role, kind, unit) in enumerate(zip(*columns, strict=True)):
        if kind != "gauge" or not role or not unit:
            continue
        other = first.setdefault((site, role), row)
        if units[other] != unit:
            yield points.fault(
                row,
                f"role {role} is in {unit} here and in {units[other]} at {points.place(other)}; use one unit in a"
                " site, so that rules can add them",
            )
