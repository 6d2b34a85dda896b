"""What rules run on: the spaces, equips, points, stations and vehicles of a document, and whose points are whose."""

import dataclasses
import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Final

from schemas.codec import Json
from schemas.errors import UnitError
from schemas.model.document import Document
from schemas.rules.format import ANYTHING, Binding, Each
from schemas.rules.quantities import Quantity, of_point
from schemas.topics import METER_READINGS
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
        self._point_rows = self._table(document, "points")
        self._subjects: dict[str, list[Subject]] = {}
        self._by_tag: dict[str, dict[str, list[Subject]]] = {}
        self._alike: dict[str, dict[tuple[frozenset[str], str], list[Subject]]] = {}
        self.points: dict[str, Point] = {}
        self._owned: dict[tuple[str, str, str], list[Point]] = {}
        self._sent: dict[str, list[Point]] = {}
        for id_, row in self._point_rows.items():
            self._add_point(id_, row)

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
        last = next(iter(reversed(self.spaces_of(subject))), "")
        return last or self.site

    def spaces_of(self, subject: Subject) -> list[str]:
        """The space of a subject and everything around it: spaces and the building, from the inside out."""
        own = "space" if subject.sort == "building" else subject.sort
        return [id_ for sort, id_ in ((own, subject.id), *self._parents(subject)) if sort == "space"]

    def calendar(self, subject: Subject) -> str:
        """Id of the calendar of a subject: of its space, the nearest space around it, or the site; empty: none."""
        for space in self.spaces_of(subject):
            calendar = self._rows["space"].get(space, {}).get("calendar")
            if calendar:
                return str(calendar)
        return str(self._site_row.get("calendar") or "")

    def _all(self, sort: str) -> list[Subject]:
        """Everything of a sort, by id; made once."""
        if sort == "node":
            return [Subject(sort, id_, frozenset(), frozenset()) for id_ in sorted(self._nodes)]
        if sort not in self._subjects:
            rows = self._point_rows if sort == "point" else self._rows[sort]
            self._subjects[sort] = [
                Subject(sort, id_, self._kinds(sort, rows[id_]), self._tags(sort, id_, rows[id_]))
                for id_ in sorted(rows)
            ]
        return self._subjects[sort]

    def _tagged(self, sort: str, tag: str) -> list[Subject]:
        """Those of a sort that have a tag: a thousand rules do not look at a hundred thousand spaces each."""
        if sort not in self._by_tag:
            found: dict[str, list[Subject]] = {}
            for subject in self._all(sort):
                for one in subject.tags:
                    found.setdefault(one, []).append(subject)
            self._by_tag[sort] = found
        return self._by_tag[sort].get(tag, [])

    def _table(self, document: Document, name: str) -> dict[str, Row]:
        table = document.table(name)
        ids, starts, ends = table.get("id", []), table.get("valid_from", []), table.get("valid_to", [])
        names = list(table)
        found: dict[str, Row] = {}
        since: dict[str, str] = {}
        for index, (id_, *values) in enumerate(zip(ids, *(table[column] for column in names), strict=True)):
            start, end = str((starts and starts[index]) or ""), str((ends and ends[index]) or "")
            holds = start <= self._day and (not end or self._day < end) if self._day else not end
            if holds and start >= since.get(str(id_), ""):
                since[str(id_)] = start
                found[str(id_)] = dict(zip(names, values, strict=True))
        return found

    def _add_point(self, id_: str, row: Row) -> None:
        equip, station, vehicle = _word(row, "equip"), _word(row, "station"), _word(row, "vehicle")
        space = _word(row, "space")
        try:
            quantity = of_point(_word(row, "kind"), _word(row, "unit") or "1")
        except UnitError:
            quantity = None
        point = Point(
            id_,
            _whole(row, "number"),
            _word(row, "role"),
            quantity,
            _whole(row, "interval_s") * 1000,
            _word(row, "sub_item"),
            equip,
            _word(self._rows["equip"].get(equip, {}), "kind"),
            _word(row, "topic") or METER_READINGS,
            _word(row, "gateway"),
            _word(row, "flow_use") or "use",
            _rated(row),
            _word(row, "counts_in"),
        )
        self.points[id_] = point
        owners = (("equip", equip), ("station", station), ("vehicle", vehicle), ("space", space))
        if point.gateway:
            self._sent.setdefault(point.gateway, []).append(point)
        for sort, owner in owners:
            if owner:
                self._owned.setdefault((sort, owner, point.role), []).append(point)
        if not (equip or station or vehicle or space):
            self._owned.setdefault(("site", self.site, point.role), []).append(point)

    def _of(self, owner: tuple[str, str], binding: Binding, topic: str) -> list[Point]:
        if ANYTHING in binding.role:
            points = self._sent.get(owner[1], []) if owner[0] == "gateway" else []
            return [point for point in points if point.topic == topic and _narrow(binding, point)]
        for role in binding.role:
            points = self._owned.get((*owner, role), [])
            plain = not (
                binding.sub_item or binding.equip or binding.not_equip or binding.flow_use or binding.not_flow_use
            )
            found = [point for point in points if point.topic == topic and (plain or _narrow(binding, point))]
            if found:
                return found if len(found) == 1 else sorted(found, key=lambda point: point.number)
        return []

    def has(self, subject: Subject, roles: Iterable[str]) -> bool:
        """Whether a subject has points of any of the roles."""
        return any((subject.sort, subject.id, role) in self._owned for role in roles)

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
        row = self._point_rows[subject.id] if subject.sort == "point" else self._rows[subject.sort][subject.id]
        for sort in ("equip", "space"):
            owner = _word(row, sort)
            if owner:
                yield sort, owner
                yield from self._climb(sort, owner)

    def _climb(self, sort: str, id_: str) -> Iterator[tuple[str, str]]:
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
        column = {"point": "role", "vehicle": "energy", "building": "class"}.get(sort, "kind")
        return frozenset({_word(row, column)} - {""})

    def _tags(self, sort: str, id_: str, row: Row) -> frozenset[str]:
        if sort == "vehicle":
            return frozenset({_word(row, "special_purpose")} - {""})
        if sort in ("building", "gateway"):
            return frozenset()
        if sort == "space":
            return frozenset(_listed(row, "tags"))
        space = _word(row, "space") or next(
            (owner for kind, owner in self._climb("equip", _word(row, "equip") or id_) if kind == "space"), ""
        )
        return frozenset(_listed(self._rows["space"].get(space, {}), "tags"))


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


def _rated(row: Row) -> int:
    try:
        return rate_per_hour(Fraction(_word(row, "rated") or 0), _word(row, "unit") or "1", _word(row, "kind"))
    except (UnitError, ValueError):
        return 0


def _word(row: Row, column: str) -> str:
    value = row.get(column)
    return value if isinstance(value, str) else ""


def _whole(row: Row, column: str) -> int:
    value = row.get(column)
    return value if isinstance(value, int) else 0


def _listed(row: Row, column: str) -> Sequence[str]:
    value = row.get(column)
    if isinstance(value, str):
        return [part for part in value.split(";") if part]
    return [str(part) for part in value] if isinstance(value, list) else []


__all__ = ["Point", "SiteView", "Subject"]
