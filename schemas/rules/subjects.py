"""What rules run on: the spaces, equips, points, stations and vehicles of a document, and whose points are whose."""

import dataclasses
import datetime as dt
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Final

from schemas.codec import Json
from schemas.errors import UnitError
from schemas.model.document import Document
from schemas.rules.format import ANYTHING, Binding, Each
from schemas.rules.quantities import Quantity, of_point
from schemas.topics import INPUTS, METER_READINGS
from schemas.units import rate_per_hour

_PARENTS_MAX: Final = 64
"""`check` refuses cycles; this keeps a document that was never checked from looping for ever."""

_TABLES: Final = {
    "space": "spaces", "equip": "equips", "station": "stations", "vehicle": "vehicles", "building": "buildings",
    "gateway": "gateways",
}  # fmt: skip
SUPPLY: Final = "supply"
"""The total that the points of a supply count in."""
Row = Mapping[str, Json]


@dataclasses.dataclass(frozen=True, slots=True)
class Subject:
    """One thing that a rule may run on; `kinds` and `tags` are what `each` selects by."""

    sort: str
    id: str
    kinds: frozenset[str]
    tags: frozenset[str]


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    """What rules need of a point; `topic` is the input topic of its readings."""

    id: str
    number: int
    role: str
    quantity: Quantity | None
    interval_ms: int
    sub_item: str
    equip: str
    equip_kind: str
    topic: str
    gateway: str = ""
    flow_use: str = ""
    rated: int = 0
    """the most that it can use in an hour, or the largest value; 0: not known"""
    counts_in: str = ""
    station: str = ""
    space: str = ""


class SiteView:
    """The rows of a document that hold at a date, indexed for binding.

    Args:
        document: the site's document.
        at: local date; None: rows that have no end.
    """

    def __init__(self, document: Document, at: dt.date | None = None) -> None:
        self.site = document.site
        self._day = at.isoformat() if at else ""
        self._rows = {sort: self._table(document, table) for sort, table in _TABLES.items()}
        self._nodes = _nodes(self._table(document, "balance").values())
        self._site_row = self._table(document, "sites").get(document.site, {})
        self._subjects: dict[str, list[Subject]] = {}
        self._by_tag: dict[str, dict[str, list[Subject]]] = {}
        self._alike: dict[str, dict[tuple[frozenset[str], str], list[Subject]]] = {}
        self._climbed: dict[tuple[str, str], tuple[tuple[str, str], ...]] = {}
        self._calendars: dict[tuple[str, ...], str] = {}
        self._words: dict[tuple[str, ...], frozenset[str]] = {}
        self._numbers: dict[str, int] = {}
        self.ids: list[str] = []
        self.points: dict[str, Point] = {}
        self._owned: dict[tuple[str, str, str], dict[str, list[Point]]] = {}
        self._sent: dict[str, list[Point]] = {}
        self._read_points(document)

    @property
    def zone(self) -> str:
        """The site's time zone."""
        return str(self._site_row.get("time_zone") or "Asia/Shanghai")

    def subjects(self, each: Each) -> Iterator[Subject]:
        """What a rule selects, in the order of ids."""
        sort, lacks = each.sort, each.lacks
        wanted, tags, not_tags = set(each.kinds), set(each.tags), set(each.not_tags)
        for subject in self._tagged(sort, each.tags[0]) if tags else self._all(sort):
            if wanted and wanted.isdisjoint(subject.kinds):
                continue
            fits = tags <= subject.tags and not_tags.isdisjoint(subject.tags)
            if fits and not (lacks and self.has(subject, lacks)):
                yield subject

    def bind(self, subject: Subject, binding: Binding, topic: str) -> tuple[tuple[str, str], list[Point]]:
        """Points of a role, as seen from a subject.

        Returns:
            ((sort, id) of whose points they are, the points by number); none where there are none.
        """
        if subject.sort == "point" and binding.reach == "self":
            point = self.points[subject.id]
            fits = (
                (ANYTHING in binding.role or point.role in binding.role)
                and point.topic == topic
                and _narrow(binding, point)
            )
            return ("point", subject.id), [point] if fits else []
        if binding.reach == "serves":
            served = [
                owner
                for space in _listed(self._rows["equip"].get(subject.id, {}), "serves")
                for owner in (("space", space),)
            ]
            points = {point.number: point for owner in served for point in self._of(owner, binding, topic)}
            return ("serves", subject.id), [points[number] for number in sorted(points)]
        if binding.reach in ("plus", "minus"):
            points = {point.number: point for point in self._edges(subject, binding.reach, binding, topic)}
            return (binding.reach, subject.id), [points[number] for number in sorted(points)]
        for owner in self._owners(subject, binding.reach):
            found = self._of(owner, binding, topic)
            if found and subject.sort == "building":
                return ("building", subject.id), _whole_of(found)
            if found:
                return owner, found
        return (subject.sort, subject.id), []

    def number(self, id_: str) -> int:
        """A number for an id, of a subject or of what one belongs to; `ids` has it at that place."""
        found = self._numbers.get(id_)
        if found is None:
            found = self._numbers[id_] = len(self.ids)
            self.ids.append(id_)
        return found

    def around(self, subject: Subject) -> list[str]:
        """Ids of the subject and of what it belongs to: its gateway, equips, spaces and building, and the site."""
        gateway = self.points[subject.id].gateway if subject.sort == "point" else ""
        return [subject.id, gateway, *(id_ for _, id_ in self._parents(subject)), self.site]

    def alike(self, subject: Subject) -> Iterator[Subject]:
        """Subjects of the same sort and kinds in the same building, itself included, by id."""
        if subject.sort not in self._alike:
            found: dict[tuple[frozenset[str], str], list[Subject]] = {}
            for other in self._all(subject.sort):
                found.setdefault((other.kinds, self.place(other)), []).append(other)
            self._alike[subject.sort] = found
        yield from self._alike[subject.sort].get((subject.kinds, self.place(subject)), [])

    def place(self, subject: Subject) -> str:
        """The building of a subject, or the site: where its siblings are."""
        found = self.spaces_of(subject)
        return found[-1] if found and found[-1] else self.site

    def spaces_of(self, subject: Subject) -> list[str]:
        """The space of a subject and everything around it: spaces and the building, from the inside out."""
        own = "space" if subject.sort == "building" else subject.sort
        return [id_ for sort, id_ in ((own, subject.id), *self._parents(subject)) if sort == "space"]

    def calendar(self, subject: Subject) -> str:
        """Id of the calendar of a subject: of its space, the nearest space around it, or the site; empty: none."""
        spaces = tuple(self.spaces_of(subject))
        found = self._calendars.get(spaces)
        if found is None:
            named = (self._rows["space"].get(space, {}).get("calendar") for space in spaces)
            found = str(next(filter(None, named), None) or self._site_row.get("calendar") or "")
            self._calendars[spaces] = found
        return found

    def _all(self, sort: str) -> list[Subject]:
        """Everything of a sort, by id; made once."""
        if sort == "node":
            return [Subject(sort, id_, frozenset(), frozenset()) for id_ in sorted(self._nodes)]
        if sort not in self._subjects:
            if sort == "point":
                found = [self._of_point(self.points[id_]) for id_ in sorted(self.points)]
            else:
                rows = self._rows[sort]
                found = [
                    Subject(sort, id_, self._kinds(sort, rows[id_]), self._tags(sort, id_, rows[id_]))
                    for id_ in sorted(rows)
                ]
            self._subjects[sort] = found
        return self._subjects[sort]

    def _of_point(self, point: Point) -> Subject:
        """A point as a subject; its tags are those of the space that it or its equip is in."""
        space = point.space or next(
            (owner for kind, owner in self._climb("equip", point.equip or point.id) if kind == "space"), ""
        )
        return Subject("point", point.id, self._frozen(point.role), self._tags_of(space))

    def _tagged(self, sort: str, tag: str) -> list[Subject]:
        """Those of a sort that have a tag: a thousand rules do not look at a hundred thousand spaces each."""
        if sort not in self._by_tag:
            found: dict[str, list[Subject]] = {}
            for subject in self._all(sort):
                for one in subject.tags:
                    found.setdefault(one, []).append(subject)
            self._by_tag[sort] = found
        return self._by_tag[sort].get(tag, [])

    def _holding(self, table: Mapping[str, Sequence[Json]]) -> dict[str, int]:
        """The row of every id that holds at the date; of several the one that began last."""
        starts, ends = table.get("valid_from", []), table.get("valid_to", [])
        found: dict[str, int] = {}
        since: dict[str, str] = {}
        for row, id_ in enumerate(map(str, table.get("id", []))):
            start, end = str((starts and starts[row]) or ""), str((ends and ends[row]) or "")
            holds = start <= self._day and (not end or self._day < end) if self._day else not end
            if holds and start >= since.get(id_, ""):
                since[id_] = start
                found[id_] = row
        return found

    def _table(self, document: Document, name: str) -> dict[str, Row]:
        table = document.table(name)
        names, rows = list(table), list(zip(*table.values(), strict=True))
        return {id_: dict(zip(names, rows[row], strict=True)) for id_, row in self._holding(table).items()}

    def _read_points(self, document: Document) -> None:
        """Points and whose they are; by column, as rows as mappings would take most of the time."""
        table = document.table("points")
        held = self._holding(table)
        nothing: list[Json] = [None] * len(table.get("id", []))

        def column(name: str) -> list[Json]:
            cells = table.get(name, nothing)
            return [cells[row] for row in held.values()]

        def words(name: str) -> list[str]:
            return [cell if isinstance(cell, str) else "" for cell in column(name)]

        kinds, units = words("kind"), words("unit")
        equips, spaces, gateways = words("equip"), words("space"), words("gateway")
        stations, vehicles, roles = words("station"), words("vehicle"), words("role")
        equip_kinds = {id_: _word(row, "kind") for id_, row in self._rows["equip"].items()}
        for (
            id_, number, role, kind, unit, interval, item, equip, topic, gateway, use, rated, counts, station, space,
        ) in zip(
            held, column("number"), roles, kinds, units, column("interval_s"), words("sub_item"), equips,
            words("topic"), gateways, words("flow_use"), words("rated"), words("counts_in"), stations, spaces,
            strict=True,
        ):  # fmt: skip
            self.points[id_] = Point(
                id_,
                number if isinstance(number, int) else 0,
                role,
                _quantity(kind, unit or "1"),
                interval * 1000 if isinstance(interval, int) else 0,
                item,
                equip,
                equip_kinds.get(equip, ""),
                topic or METER_READINGS,
                gateway,
                use or "use",
                _rated(rated, unit or "1", kind),
                counts,
                station,
                space,
            )
        for point, vehicle in zip(self.points.values(), vehicles, strict=True):
            if point.gateway:
                self._sent.setdefault(point.gateway, []).append(point)
            owners = (("equip", point.equip), ("station", point.station), ("vehicle", vehicle), ("space", point.space))
            for sort, owner in owners:
                if owner:
                    self._own(sort, owner, point)
            if not (point.equip or point.station or vehicle or point.space):
                self._own("site", self.site, point)
        for owned in self._owned.values():
            for points in owned.values():
                if len(points) > 1:
                    points.sort(key=lambda one: one.number)

    def _own(self, sort: str, owner: str, point: Point) -> None:
        self._owned.setdefault((sort, point.role, point.topic), {}).setdefault(owner, []).append(point)

    def _of(self, owner: tuple[str, str], binding: Binding, topic: str) -> list[Point]:
        if ANYTHING in binding.role:
            points = self._sent.get(owner[1], []) if owner[0] == "gateway" else []
            return [point for point in points if point.topic == topic and _narrow(binding, point)]
        sort, id_ = owner
        for role in binding.role:
            found = self._owned.get((sort, role, topic), {}).get(id_, [])
            if found and not _plain(binding):
                found = [point for point in found if _narrow(binding, point)]
            if found:
                return found
        return []

    def has(self, subject: Subject, roles: Iterable[str]) -> bool:
        """Whether a subject has points of any of the roles."""
        return any(subject.id in self._owned.get((subject.sort, role, topic), {}) for role in roles for topic in INPUTS)

    def _owners(self, subject: Subject, reach: str) -> Iterator[tuple[str, str]]:
        if reach == "self":
            yield "space" if subject.sort == "building" else subject.sort, subject.id
        elif reach == "parent":
            yield from self._parents(subject)
            yield "site", self.site
        else:
            yield "site", self.site

    def _edges(self, node: Subject, reach: str, binding: Binding, topic: str) -> Iterator[Point]:
        """Points that a node of the balance adds or takes away; none of a node that takes parts of points."""
        for id_, sign, share in self._nodes[node.id]:
            if share not in ("", "1"):
                return
            point = self.points.get(id_)
            if point and point.topic == topic and (sign > 0) == (reach == "plus") and point.role in binding.role:
                yield point

    def _parents(self, subject: Subject) -> Iterator[tuple[str, str]]:
        """What is around a subject, nearest first, without the site."""
        if subject.sort in ("building", "gateway", "node"):
            return
        if subject.sort in ("space", "equip"):
            yield from self._climb(subject.sort, subject.id)
            return
        if subject.sort == "point":
            point = self.points[subject.id]
            owners = (("equip", point.equip), ("space", point.space))
        else:
            row = self._rows[subject.sort][subject.id]
            owners = (("equip", _word(row, "equip")), ("space", _word(row, "space")))
        for sort, owner in owners:
            if owner:
                yield sort, owner
                yield from self._climb(sort, owner)

    def _climb(self, sort: str, id_: str) -> tuple[tuple[str, str], ...]:
        """What is around a space or an equip, nearest first."""
        found = self._climbed.get((sort, id_))
        if found is None:
            found = self._climbed[sort, id_] = tuple(self._climbing(sort, id_))
        return found

    def _climbing(self, sort: str, id_: str) -> Iterator[tuple[str, str]]:
        start = id_
        for _ in range(_PARENTS_MAX):
            row = self._rows[sort].get(id_, {})
            parent = _word(row, "parent")
            if not parent:
                break
            id_ = parent
            yield sort, id_
        if sort == "space":
            building = _word(self._rows["space"].get(id_, {}), "building")
            if building:
                yield "space", building
            return
        space = next(
            (
                found
                for found in (_word(self._rows["equip"].get(equip, {}), "space") for equip in (start, id_))
                if found
            ),
            "",
        )
        if space:
            yield "space", space
            yield from self._climb("space", space)

    def _kinds(self, sort: str, row: Row) -> frozenset[str]:
        if sort == "station":
            return frozenset(_listed(row, "class"))
        column = {"vehicle": "energy", "building": "class"}.get(sort, "kind")
        return self._frozen(_word(row, column))

    def _tags(self, sort: str, id_: str, row: Row) -> frozenset[str]:
        if sort == "vehicle":
            return self._frozen(_word(row, "special_purpose"))
        if sort in ("building", "gateway"):
            return self._frozen()
        if sort == "space":
            return self._tags_of(id_)
        space = _word(row, "space") or next(
            (owner for kind, owner in self._climb("equip", _word(row, "equip") or id_) if kind == "space"), ""
        )
        return self._tags_of(space)

    def _tags_of(self, space: str) -> frozenset[str]:
        return self._frozen(*_listed(self._rows["space"].get(space, {}), "tags"))

    def _frozen(self, *words: str) -> frozenset[str]:
        """The set of some words; the same object for the same words, as a hundred thousand subjects have a few."""
        found = self._words.get(words)
        if found is None:
            found = self._words[words] = frozenset(words) - {""}
        return found


def _plain(binding: Binding) -> bool:
    """Whether a binding takes all points of its roles."""
    return not (binding.sub_item or binding.equip or binding.not_equip or binding.flow_use or binding.not_flow_use)


def _narrow(binding: Binding, point: Point) -> bool:
    return (
        (not binding.sub_item or point.sub_item in binding.sub_item)
        and (not binding.equip or point.equip_kind in binding.equip)
        and point.equip_kind not in binding.not_equip
        and (not binding.flow_use or point.flow_use in binding.flow_use)
        and point.flow_use not in binding.not_flow_use
    )


def _whole_of(points: list[Point]) -> list[Point]:
    """What a building is measured by: its supply where points say that they count in it, else all of them.

    So its parts are not counted beside their whole, and what it gives back is not counted as used.
    """
    return [point for point in points if point.counts_in == SUPPLY] or points


def _nodes(rows: Iterable[Row]) -> dict[str, list[tuple[str, int, str]]]:
    """Node of the balance → (point, sign, share) of its edges."""
    found: dict[str, list[tuple[str, int, str]]] = {}
    for row in rows:
        edge = (_word(row, "point"), -1 if row.get("sign") in (-1, "-1", "-") else 1, _word(row, "share"))
        found.setdefault(_word(row, "node"), []).append(edge)
    return found


@functools.lru_cache(maxsize=4096)
def _rated(rated: str, unit: str, kind: str) -> int:
    try:
        return rate_per_hour(Fraction(rated or 0), unit, kind)
    except (UnitError, ValueError):
        return 0


def _quantity(kind: str, unit: str) -> Quantity | None:
    try:
        return of_point(kind, unit)
    except UnitError:
        return None


def _word(row: Row, column: str) -> str:
    value = row.get(column)
    return value if isinstance(value, str) else ""


def _listed(row: Row, column: str) -> Sequence[str]:
    value = row.get(column)
    if isinstance(value, str):
        return [part for part in value.split(";") if part]
    return [str(part) for part in value] if isinstance(value, list) else []


__all__ = ["Point", "SiteView", "Subject"]
