"""What a document says about the subjects of alerts: their names, and the labels that matchers and routes select by."""

import datetime as dt
import functools
import threading
import zoneinfo
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final, Literal

from schemas.codec import Json
from schemas.errors import GanzhiError
from schemas.matchers import Labels
from schemas.model.document import Document
from schemas.prices import Prices, wasted_unit
from schemas.rules.parsed import Parsed, parse_rules
from schemas.rules.subjects import SiteView, Subject
from schemas.topics import INPUTS

Language = Literal["zh", "en"]
Row = Mapping[str, Json]

TABLES: Final = {
    "space": "spaces", "point": "points", "equip": "equips", "station": "stations", "vehicle": "vehicles",
    "gateway": "gateways", "building": "buildings", "department": "departments", "person": "people", "site": "sites",
}  # fmt: skip
_SORTS: Final = ("space", "equip", "point", "station", "vehicle", "building", "gateway", "site")
"""Where the id of a subject is looked for, in this order."""
_CLIMB_MAX: Final = 64


class Site:
    """One site, as its document in force has it.

    Args:
        document: in force.
    """

    def __init__(self, document: Document) -> None:
        self.document = document
        self.prices = Prices(document)
        self._tables: dict[str, dict[str, list[Row]]] = {}
        self._units: dict[int, tuple[str, str]] = {}
        self._wasting: dict[str, dict[str, Subject]] = {}
        self._binding: threading.Thread | None = None
        self._labels: dict[tuple[str, str], dict[str, frozenset[str]]] = {}
        self.rules = {str(rule.get("alert")): rule for rule in _rules(document)}
        site = self.row("site", document.site)
        self.zone = zoneinfo.ZoneInfo(str(site.get("time_zone") or "Asia/Shanghai"))
        self.calendar: Mapping[str, str] = document.calendars.get(str(site.get("calendar") or ""), {})

    def rows(self, sort: str) -> dict[str, list[Row]]:
        """Rows of a table by id, in the order of the file."""
        name = TABLES.get(sort, sort)
        if name not in self._tables:
            table = self.document.table(name)
            columns = [column for column in table if table[column]]
            found: dict[str, list[Row]] = {}
            for values in zip(*(table[column] for column in columns), strict=True):
                row = dict(zip(columns, values, strict=True))
                found.setdefault(str(row.get("id")), []).append(row)
            self._tables[name] = found
        return self._tables[name]

    def row(self, sort: str, id_: str, day: str = "") -> Row:
        """The row of an id that holds on a day (the last one without a day); empty where there is none."""
        rows = self.rows(sort).get(id_, [])
        return next((row for row in reversed(rows) if _holds(row, day)), rows[-1] if rows else {})

    def sort_of(self, subject: str) -> str:
        """Which sort of thing a subject is; empty where the document does not have it."""
        return next((sort for sort in _SORTS if subject in self.rows(sort)), "")

    def name(self, sort: str, id_: str, language: Language) -> str:
        """What something is called; its id where it has no name."""
        return str(self.row(sort, id_).get(f"name_{language}") or id_)

    def spaces(self, subject: str) -> list[str]:
        """The space of a subject and what is around it, from the inside out; the building last."""
        return list(self._around(self.sort_of(subject), subject))

    def labels(self, rule: str, subject: str, severity: str, at_ms: int) -> Labels:
        """Labels of an alert.

        Args:
            rule: name of its rule; the rule's own labels are labels of the alert.
            subject: what it is about.
            severity: of the alert now.
            at_ms: when; tells which department had the room.
        """
        day = dt.datetime.fromtimestamp(at_ms / 1000, self.zone).date().isoformat()
        key = (subject, day)
        if key not in self._labels:
            if len(self._labels) > 100_000:
                self._labels.clear()
            self._labels[key] = self._labels_of(subject, day)
        found = dict(self._labels[key])
        labels = self.rules.get(rule, {}).get("labels")
        if isinstance(labels, dict):
            for name, value in labels.items():
                found.setdefault(str(name), frozenset({str(value)}))
        return found | {"rule": frozenset({rule}), "severity": frozenset({severity})}

    def unit(self, point: int) -> tuple[str, str]:
        """(medium, unit) of what a point wastes; empty texts where the document does not have it."""
        if point not in self._units:
            try:
                self._units[point] = wasted_unit(self.document, point)
            except (ValueError, KeyError):
                self._units[point] = "", ""
        return self._units[point]

    def wasted(self, rule: str, subject: str) -> frozenset[int]:
        """Numbers of the points whose usage a rule counts as wasted; none where the document no longer has them."""
        if not self.rules.get(rule, {}).get("wastes"):
            return frozenset()
        try:
            view, parsed = self._bound
            one = parsed[rule].rule
            found = self._subjects(rule)[subject]
            roles = [one.roles[name] for name in one.wastes]
            return frozenset(
                point.number for role in roles for topic in INPUTS for point in view.bind(found, role, topic)[1]
            )
        except (GanzhiError, KeyError, ValueError):
            return frozenset()

    @property
    def bound(self) -> bool:
        """Whether `wasted` answers at once: what it needs is made, or nobody has begun to make it beforehand."""
        return self._binding is None or not self._binding.is_alive()

    def bind(self) -> None:
        """Begins, once, to make what `wasted` needs, in a thread of its own: with 10,000 rooms it takes seconds."""
        if self._binding is None:
            self._binding = threading.Thread(target=self._bind, name=f"bind-{self.document.site}", daemon=True)
            self._binding.start()

    def _bind(self) -> None:
        with suppress(GanzhiError, KeyError, ValueError):
            for rule in self._bound[1]:
                if self.rules.get(rule, {}).get("wastes"):
                    self._subjects(rule)

    def _subjects(self, rule: str) -> dict[str, Subject]:
        if rule not in self._wasting:
            view, parsed = self._bound
            self._wasting[rule] = {found.id: found for found in view.subjects(parsed[rule].rule.each)}
        return self._wasting[rule]

    def estimated(self, rule: str, subject: str) -> tuple[str, str]:
        """(medium, unit) of what a rule estimates an hour of; empty texts where it estimates nothing.

        Those of a point of its roles that belongs to the subject, or else of any: what a branch is fed with, all are.
        """
        known = self.rules.get(rule, {})
        bindings = known.get("roles")
        if not known.get("estimate") or not isinstance(bindings, dict):
            return "", ""
        roles: set[str] = set()
        for binding in bindings.values():
            named = binding.get("role") if isinstance(binding, dict) else binding
            roles.update(map(str, named) if isinstance(named, list) else [str(named)])
        points = [one for role in sorted(roles) for one in self._of_role.get(role, [])]
        own = [one for one in points if subject in (one.get("id"), one.get("space"), one.get("equip"))]
        number = next((one.get("number") for one in own or points), None)
        return self.unit(number) if isinstance(number, int) else ("", "")

    @functools.cached_property
    def _of_role(self) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = {}
        for rows in self.rows("point").values():
            for row in rows:
                found.setdefault(str(row.get("role")), []).append(row)
        return found

    @functools.cached_property
    def _bound(self) -> tuple[SiteView, dict[str, Parsed]]:
        """What rules run on, and the rules; only an end of an alert asks for it."""
        return SiteView(self.document), {one.rule.alert: one for one in parse_rules(self.document)}

    @functools.cached_property
    def _tenants(self) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = {}
        for rows in self.rows("tenure").values():
            for row in rows:
                found.setdefault(str(row.get("space")), []).append(row)
        return found

    def _labels_of(self, subject: str, day: str) -> dict[str, frozenset[str]]:
        sort = self.sort_of(subject)
        row = self.row(sort, subject, day) if sort else {}
        spaces = list(self._around(sort, subject))
        buildings = {str(self.row("space", space).get("building") or "") for space in spaces}
        buildings |= {space for space in spaces if space in self.rows("building")}
        departments: set[str] = set()
        for space in spaces:
            here = [str(one.get("department")) for one in self._tenants.get(space, []) if _holds(one, day)]
            if here:
                departments.update(here)
                break
        kind = {"point": "role", "vehicle": "energy", "station": "class"}.get(sort, "kind")
        return {
            "site": frozenset({self.document.site}),
            "subject": frozenset({subject}),
            "sort": frozenset({sort} - {""}),
            "kind": frozenset({str(row.get(kind) or "")} - {""}),
            "gateway": frozenset({str(row.get("gateway") or "")} - {""}),
            "space": frozenset(spaces),
            "building": frozenset(buildings - {""}),
            "department": frozenset(departments),
        }

    def _around(self, sort: str, id_: str) -> Iterator[str]:
        """Spaces from the inside out, the building last."""
        for _ in range(_CLIMB_MAX):
            row = self.row(sort, id_) if sort else {}
            if sort == "space":
                yield id_
                parent = str(row.get("parent") or "")
                if not parent:
                    if row.get("building"):
                        yield str(row["building"])
                    return
                id_ = parent
            elif sort == "building":
                yield id_
                return
            elif row.get("space"):
                id_ = str(row["space"])
                sort = "space" if id_ in self.rows("space") else "building"
            elif row.get("equip"):
                sort, id_ = "equip", str(row["equip"])
            elif sort == "equip" and row.get("parent"):
                id_ = str(row["parent"])
            else:
                return


def _holds(row: Row, day: str) -> bool:
    if not day:
        return not row.get("valid_to")
    return str(row.get("valid_from") or "") <= day and (not row.get("valid_to") or day < str(row["valid_to"]))


def _rules(document: Document) -> Iterator[dict[str, Json]]:
    for pack in document.rules:
        rules = pack.get("rules")
        for rule in rules if isinstance(rules, list) else []:
            if isinstance(rule, dict):
                yield rule


class Names:
    """What rules and subjects are called.

    Args:
        sites: site → what its document says; shared, so a new document is seen at once.
        language: used where a call does not say one.
    """

    def __init__(self, sites: Mapping[str, Site], language: Language = "en") -> None:
        self._sites = sites
        self.language: Language = language

    def subject(self, site: str, subject: str, language: Language | None = None) -> str:
        """What a subject is called."""
        found = self._sites.get(site)
        sort = found.sort_of(subject) if found else ""
        return found.name(sort, subject, language or self.language) if found and sort else subject

    def site(self, site: str, language: Language | None = None) -> str:
        """What a site is called."""
        found = self._sites.get(site)
        return found.name("site", site, language or self.language) if found else site

    def rule(self, site: str, rule: str, language: Language | None = None) -> str:
        """What a rule says has happened."""
        return self._note(site, rule, "summary", language) or rule

    def action(self, site: str, rule: str, language: Language | None = None) -> str:
        """What a rule says is to be done."""
        return self._note(site, rule, "action", language)

    def _note(self, site: str, rule: str, field: str, language: Language | None) -> str:
        found = self._sites.get(site)
        notes = found.rules.get(rule, {}).get("annotations") if found else None
        said = notes.get(language or self.language) if isinstance(notes, dict) else None
        return str(said.get(field) or "") if isinstance(said, dict) else ""
