"""Usage of today against yesterday, by building, sub-item, department and room; only what a user may see.

Both days are compared over the same full hours, so that a morning is held against a morning. A building's total is
what its points `counts_in` say: supply meters where there are any. Rooms and departments are the meters of rooms, by
the shares of tenure of today; they do not add up to the total where not every room is metered.
"""

import dataclasses
import datetime as dt
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Final, Literal

from sinks.console.access import User
from sinks.console.history import HOUR_MS, History, Used, midnight_ms
from sinks.console.places import FLOOR, Point, Site
from sinks.console.texts import Language, word

By = Literal["building", "sub_item", "department", "room"]
BYS: Final[tuple[By, ...]] = ("building", "sub_item", "department", "room")
SUPPLY: Final = "supply"
Amount = int | Fraction
"""Whole, but where a department has a share."""


@dataclasses.dataclass(frozen=True, slots=True)
class Days:
    """What every point of a site used today so far and yesterday until the same hour."""

    site: Site
    today: dt.date
    hours: int
    now: dict[int, Used]
    before: dict[int, Used]


@dataclasses.dataclass(slots=True)
class Group:
    """One line of a ranking; quantities may be parts of a unit where a department has a share. `cost` as in `Used`."""

    id: str
    name: str
    site: str
    now: Amount = 0
    before: Amount = 0
    not_measured: Amount = 0
    cost: Amount | None = None
    points: int = 0

    @property
    def change(self) -> float | None:
        """Part by which it is more (or less) than yesterday; None: nothing was used then."""
        return float(self.now / self.before - 1) if self.before else None


def days(history: History, site: Site, now_ms: int) -> Days:
    """Asks for both days; in the first hour of a day both are the whole days before.

    Raises:
        ClickHouseUnavailable: history is away.
    """
    today = site.today(now_ms)
    start = midnight_ms(today, site)
    hours = (now_ms - start) // HOUR_MS
    if hours == 0:
        today -= dt.timedelta(days=1)
        hours = (start - midnight_ms(today, site)) // HOUR_MS
        start = midnight_ms(today, site)
    before = midnight_ms(today - dt.timedelta(days=1), site)
    return Days(
        site,
        today,
        hours,
        history.usage_by_point(site, start, start + hours * HOUR_MS),
        history.usage_by_point(site, before, before + hours * HOUR_MS),
    )


def media(sites: Iterable[Site], user: User) -> list[str]:
    """Media that a user may see meters of: electricity first; waste and travel have pages of their own."""
    found = {
        medium
        for site in sites
        for medium, points in site.counted.items()
        if medium not in ("", "waste", "travel") and any(user.sees(site.id, point.building) for point in points)
    }
    return sorted(found, key=lambda medium: (medium != "electricity", medium != "water", medium))


def groups(by: By, found: Iterable[Days], medium: str, user: User, language: Language) -> list[Group]:
    """A ranking: the most first."""
    grouped: dict[tuple[str, str], Group] = {}
    for one in found:
        counted = _visible(one.site, medium, user)
        for point, (id_, name, share) in _parts(by, one, counted, language):
            key = ("" if by == "sub_item" else one.site.id, id_)
            group = grouped.setdefault(key, Group(id_, name, one.site.id))
            _add(group, share, one.now.get(point.number), one.before.get(point.number))
    return sorted(grouped.values(), key=lambda group: (-group.now, -group.before, group.name))


def totals(site: Site, medium: str, user: User) -> list[Point]:
    """The points that make the total of a medium."""
    named: dict[str, list[Point]] = {}
    for point in _visible(site, medium, user):
        if point.counts_in:
            named.setdefault(point.counts_in, []).append(point)
    if not named:
        return []
    return named.get(SUPPLY) or max(named.values(), key=len)


def _visible(site: Site, medium: str, user: User) -> list[Point]:
    seen = {building: user.sees(site.id, building) for building in (*site.buildings, "")}
    return [point for point in site.counted.get(medium, []) if seen.get(point.building, False)]


def _parts(
    by: By, one: Days, counted: list[Point], language: Language
) -> Iterable[tuple[Point, tuple[str, str, Amount]]]:
    """(point, (id, name, share)) of the groups that it is in."""
    site, whole = one.site, 1
    if by == "building":
        totals_of = {point.counts_in for point in counted if point.counts_in}
        wanted = SUPPLY if SUPPLY in totals_of else min(totals_of, default="")
        for point in counted:
            if wanted and point.counts_in == wanted:
                building = site.buildings.get(point.building)
                yield (
                    point,
                    (building.id, building.name(language), whole)
                    if building
                    else ("", site.named.name(language), whole),
                )
    elif by == "sub_item":
        for point in counted:
            if point.sub_item and point.counts_in:
                yield point, (point.sub_item, word(language, f"sub {point.sub_item}"), whole)
    elif by == "room":
        for point in counted:
            space = site.spaces.get(point.space)
            if space is not None and space.kind != FLOOR and not point.counts_in:
                yield point, (space.id, space.name(language), whole)
    else:
        day = one.today.isoformat()
        for point in counted:
            for department, share, since, until in site.shares.get(point.space, []):
                if since <= day and (not until or day < until):
                    known = site.departments.get(department)
                    yield point, (department, known.name(language) if known else department, share)


def _add(group: Group, share: Amount, now: Used | None, before: Used | None) -> None:
    group.points += 1
    if now is not None:
        group.now += share * now.quantity
        group.not_measured += share * now.not_measured
        if now.cost is not None:
            group.cost = (group.cost or 0) + share * now.cost
    if before is not None:
        group.before += share * before.quantity


@dataclasses.dataclass(frozen=True, slots=True)
class Quota:
    """A quota row of the model, and how much of it the year has used; None where the figures do not allow to say."""

    scope: str
    level: str
    per: str
    limit: str
    used: float | None
    source: str


def quotas(site: Site, used_year: Callable[[], int | None]) -> list[Quota]:
    """The quotas that are for the class of a site's institution.

    Args:
        site: whose.
        used_year: electricity of this year, Wh; asked only where a quota in kWh needs it.
    """
    table = site.document.table("quotas")
    rows = [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]
    kinds = {str(one) for one in site.document.table("institutions").get("class", []) if one}
    sizes = _denominators(site)
    found = []
    for row in rows:
        if str(row.get("class")) not in kinds:
            continue
        unit, per = str(row.get("unit") or ""), str(row.get("denominator"))
        size = Fraction(1) if per == "total" else sizes.get(per)
        part = None
        if size and unit.lower().startswith("kwh"):
            used = used_year()
            limit = Fraction(str(row["value"])) * size * 1000
            part = float(used / limit) if used is not None and limit else None
        limit_said = f"{row['value']} {unit}".strip()
        found.append(Quota(str(row["class"]), str(row["level"]), per, limit_said, part, str(row.get("source") or "")))
    return found


def _denominators(site: Site) -> dict[str, Fraction]:
    """Kind → size of the site: what is said for the site or its institution, else the sum of its buildings."""
    table = site.document.table("denominators")
    names = ("scope", "kind", "value", "valid_to")
    of_site: dict[str, Fraction] = {}
    of_buildings: dict[str, Fraction] = {}
    for scope, kind, value, until in zip(*(table.get(name, []) for name in names), strict=True):
        if until:
            continue
        if scope == site.id or scope in site.document.table("institutions").get("id", []):
            of_site[str(kind)] = Fraction(str(value))
        elif scope in site.buildings:
            of_buildings[str(kind)] = of_buildings.get(str(kind), Fraction(0)) + Fraction(str(value))
    return of_buildings | of_site
