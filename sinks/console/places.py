"""The site model as pages need it: which rooms are on which floor, which points are in a room, what all is called.

Made from the documents in force, once for each set of them. Everything that a page shows by id goes through here, so
that one question, `sees`, decides what a user gets.
"""

import dataclasses
import datetime as dt
import functools
import zoneinfo
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Final

from schemas.codec import Json
from schemas.model.document import Document
from schemas.rules.parsed import Parsed, parse_rules
from schemas.rules.subjects import SiteView
from sinks.console.access import User
from sinks.console.texts import Language

FLOOR: Final = "floor"
PRESENCE: Final = frozenset({"register", "delta"})
"""Kinds of points of a sensitive room whose sums may be shown; all others tell who is there."""
NO_USAGE: Final = frozenset({"energy_tou", "energy_frozen", "regeneration", "pv_energy"})
"""Roles whose sums are a part of a usage, or the contrary of one."""
_PARENTS_MAX: Final = 64
Row = Mapping[str, Json]


@dataclasses.dataclass(frozen=True, slots=True)
class Named:
    """Something with a name in two languages."""

    id: str
    name_zh: str
    name_en: str

    def name(self, language: Language) -> str:
        """What it is called; its id where nobody named it."""
        return (self.name_zh if language == "zh" else self.name_en) or self.name_zh or self.name_en or self.id


@dataclasses.dataclass(frozen=True, slots=True)
class Space(Named):
    """A floor, room, corridor or area."""

    site: str
    building: str
    parent: str
    kind: str
    sensitive: bool
    area_m2: str
    tags: frozenset[str]


@dataclasses.dataclass(frozen=True, slots=True)
class Point(Named):
    """A measured series."""

    site: str
    number: int
    role: str
    kind: str
    medium: str
    unit: str
    space: str
    equip: str
    building: str
    gateway: str
    interval_s: int
    max_age_s: int
    station: str
    vehicle: str
    sub_item: str
    counts_in: str
    of: str
    sensitive: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Thing(Named):
    """A building, station, vehicle, equip, gateway or department; `building` is empty where it stands in none."""

    site: str
    building: str
    space: str
    kind: str


@dataclasses.dataclass
class Site:
    """One site, by id of what is in it."""

    id: str
    named: Named
    zone: zoneinfo.ZoneInfo
    simulated: bool
    document: Document
    buildings: dict[str, Thing] = dataclasses.field(default_factory=dict)
    spaces: dict[str, Space] = dataclasses.field(default_factory=dict)
    points: dict[str, Point] = dataclasses.field(default_factory=dict)
    equips: dict[str, Thing] = dataclasses.field(default_factory=dict)
    stations: dict[str, Thing] = dataclasses.field(default_factory=dict)
    vehicles: dict[str, Thing] = dataclasses.field(default_factory=dict)
    gateways: dict[str, Thing] = dataclasses.field(default_factory=dict)
    departments: dict[str, Thing] = dataclasses.field(default_factory=dict)
    by_number: dict[int, Point] = dataclasses.field(default_factory=dict)
    in_space: dict[str, list[Point]] = dataclasses.field(default_factory=dict)
    of_gateway: dict[str, list[Point]] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def rules(self) -> tuple[SiteView, list[Parsed]]:
        """What rules run on, and the rules; made once for a document: with 40,000 points it takes most of a second.

        Raises:
            ModelError: a rule pack that `check` would have refused.
        """
        return SiteView(self.document), parse_rules(self.document)

    @functools.cached_property
    def counted(self) -> dict[str, list[Point]]:
        """Medium → the points whose sums are a usage: no parts of a total, nothing that is made or fed back."""
        found: dict[str, list[Point]] = {}
        for point in self.points.values():
            if point.kind in PRESENCE and not point.of and point.role not in NO_USAGE:
                found.setdefault(point.medium, []).append(point)
        return found

    @functools.cached_property
    def shares(self) -> dict[str, list[tuple[str, Fraction, str, str]]]:
        """Space → (department, share, first day, day after the last; empty: open), of every row of `tenure`."""
        table = self.document.table("tenure")
        names = ("space", "department", "share", "valid_from", "valid_to")
        found: dict[str, list[tuple[str, Fraction, str, str]]] = {}
        for space, department, share, since, until in zip(*(table.get(name, []) for name in names), strict=True):
            row = (str(department), Fraction(str(share or 1)), str(since or ""), str(until or ""))
            found.setdefault(str(space), []).append(row)
        return found

    def thing(self, subject: str) -> Named | None:
        """What a subject of a rule is."""
        for table in (self.spaces, self.buildings, self.equips, self.stations, self.vehicles, self.points):
            found = table.get(subject)
            if found is not None:
                return found
        return None

    def building_of(self, subject: str) -> str:
        """Building that a subject stands in; empty: none."""
        found = self.thing(subject)
        if found is None:
            return ""
        return found.id if subject in self.buildings else str(getattr(found, "building", ""))

    def space_of(self, subject: str) -> Space | None:
        """Room or floor that a subject is or stands in."""
        if subject in self.spaces:
            return self.spaces[subject]
        found = self.thing(subject)
        return self.spaces.get(str(getattr(found, "space", ""))) if found is not None else None

    def path(self, space: str) -> list[Space]:
        """A space and what is around it, from the outside in."""
        found: list[Space] = []
        at = self.spaces.get(space)
        while at is not None and len(found) < _PARENTS_MAX:
            found.append(at)
            at = self.spaces.get(at.parent)
        return found[::-1]

    def floor_of(self, space: str) -> str:
        """Id of the floor that a space is on; its outermost space where no floor is around it; empty for none."""
        path = self.path(space)
        return next((one.id for one in path if one.kind == FLOOR), path[0].id if path else "")

    def today(self, now_ms: int) -> dt.date:
        """The local day of a time."""
        return dt.datetime.fromtimestamp(now_ms / 1000, self.zone).date()


class Places:
    """All sites.

    Args:
        documents: in force, by site.

    Attributes:
        sites: by id.
    """

    def __init__(self, documents: Mapping[str, Document]) -> None:
        self.sites = {site: _site(document) for site, document in sorted(documents.items())}

    @functools.cached_property
    def spaces(self) -> dict[str, list[tuple[Site, Space]]]:
        """Space → where it is; ids are unique in a site only."""
        found: dict[str, list[tuple[Site, Space]]] = {}
        for site in self.sites.values():
            for space in site.spaces.values():
                found.setdefault(space.id, []).append((site, space))
        return found

    def buildings(self, user: User) -> list[tuple[Site, Thing]]:
        """Buildings that a user may see."""
        return [
            (site, building)
            for site in self.sites.values()
            for building in site.buildings.values()
            if user.sees(site.id, building.id)
        ]

    def sees(self, user: User, site: str, subject: str) -> bool:
        """Whether a user may see a subject of a site."""
        known = self.sites.get(site)
        return user.sees(site, known.building_of(subject) if known else "")

    def sees_site(self, user: User, site: Site) -> bool:
        """Whether a user may see anything of a site."""
        return user.sees(site.id, "") or any(user.sees(site.id, building) for building in site.buildings)


def _rows(document: Document, table: str) -> Iterable[Row]:
    """Rows that have no end, by id the one that began last."""
    columns = document.table(table)
    names = list(columns)
    found: dict[str, Row] = {}
    for values in zip(*columns.values(), strict=True):
        row = dict(zip(names, values, strict=True))
        known = found.get(str(row["id"]))
        if not row.get("valid_to") and str(row.get("valid_from") or "") >= str((known or {}).get("valid_from") or ""):
            found[str(row["id"])] = row
    return found.values()


def _word(row: Row, name: str) -> str:
    value = row.get(name)
    return "" if value is None else str(value)


def _whole(row: Row, name: str) -> int:
    value = row.get(name)
    return value if isinstance(value, int) else 0


def _listed(row: Row, name: str) -> frozenset[str]:
    value = row.get(name)
    return frozenset(map(str, value)) if isinstance(value, list) else frozenset()


def _names(row: Row) -> tuple[str, str, str]:
    return _word(row, "id"), _word(row, "name_zh"), _word(row, "name_en")


def _site(document: Document) -> Site:
    row = next((one for one in _rows(document, "sites") if one["id"] == document.site), {})
    zone = zoneinfo.ZoneInfo(_word(row, "time_zone") or "UTC")
    named = Named(document.site, _word(row, "name_zh"), _word(row, "name_en"))
    site = Site(document.site, named, zone, document.domain != "live", document)
    for one in _rows(document, "buildings"):
        site.buildings[_word(one, "id")] = Thing(*_names(one), site.id, _word(one, "id"), "", _word(one, "class"))
    for one in _rows(document, "spaces"):
        site.spaces[_word(one, "id")] = Space(
            *_names(one), site.id, _word(one, "building"), _word(one, "parent"), _word(one, "kind"),
            one.get("sensitivity") == "sensitive", _word(one, "area_m2"), _listed(one, "tags"),
        )  # fmt: skip
    _spread_sensitivity(site)
    for table, things in (("equips", site.equips), ("stations", site.stations), ("vehicles", site.vehicles),
                          ("gateways", site.gateways), ("departments", site.departments)):  # fmt: skip
        for one in _rows(document, table):
            space = _word(one, "space")
            building = space if space in site.buildings else _building(site, space)
            kind = _word(one, "kind") or _word(one, "energy")
            things[_word(one, "id")] = Thing(*_names(one), site.id, building, space, kind)
    for one in _rows(document, "points"):
        _add_point(site, one)
    return site


def _spread_sensitivity(site: Site) -> None:
    """What lies in a sensitive space is sensitive too."""
    for space in list(site.spaces.values()):
        if not space.sensitive and any(around.sensitive for around in site.path(space.id)):
            site.spaces[space.id] = dataclasses.replace(space, sensitive=True)


def _building(site: Site, space: str) -> str:
    found = site.spaces.get(space)
    return found.building if found else ""


def _add_point(site: Site, row: Row) -> None:
    equip, station = _word(row, "equip"), _word(row, "station")
    owner = site.equips.get(equip) or site.stations.get(station)
    space = _word(row, "space") or (owner.space if owner else "")
    building = space if space in site.buildings else _building(site, space)
    sensitive = space in site.spaces and site.spaces[space].sensitive
    point = Point(
        *_names(row), site.id, _whole(row, "number"), _word(row, "role"), _word(row, "kind"), _word(row, "medium"),
        _word(row, "unit"), space, equip, building or (owner.building if owner else ""), _word(row, "gateway"),
        _whole(row, "interval_s"), _whole(row, "max_age_s"), station, _word(row, "vehicle"), _word(row, "sub_item"),
        _word(row, "counts_in"), _word(row, "of"),
        sensitive and _word(row, "kind") not in PRESENCE,
    )  # fmt: skip
    site.points[point.id] = point
    site.by_number[point.number] = point
    site.in_space.setdefault(space, []).append(point)
    site.of_gateway.setdefault(point.gateway, []).append(point)
