"""From rules to instances: which points of a site a rule reads, in flat arrays for the kernel.

A rule makes one row of the arrays for every variant that needs other code: units of its points, thresholds of an
override, calendar, interval. Rows of one rule share its name, and the key of an instance is of rule and subject alone,
so state survives a new variant.
"""

import dataclasses
import datetime as dt
import functools
import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from schemas.errors import ExpressionError, Fault, ModelError
from schemas.model.document import LIMITS, Document
from schemas.roles import ROLES
from schemas.rules import schedules
from schemas.rules.compile import Program, Scope, compile_estimate, compile_expression
from schemas.rules.format import ANYTHING, Binding, Override, Rule, overrides_of, parse_pack
from schemas.rules.language import Call, Node, parse, walk
from schemas.rules.nearby import by_points
from schemas.rules.program import (
    GROUP,
    ROLES_MAX,
    SIBLINGS_MAX,
    WIN_COLUMNS,
    WINDOW,
    Agg,
    CompiledRules,
    Fn,
    Look,
    Measure,
    Op,
    cell_ms,
)
from schemas.rules.quantities import Quantity, mixed
from schemas.rules.subjects import Point, SiteView, Subject
from schemas.topics import INPUTS, METER_READINGS, VEHICLE_EVENTS, WASTE_EVENTS

NO_SLOT: Final = -1
_CALENDAR: Final = ("schedule", "workday", "night", "baseline", "quantile")
_TOPICS: Final = {"station": (WASTE_EVENTS,), "vehicle": (VEHICLE_EVENTS,), "point": INPUTS}


@dataclasses.dataclass(frozen=True)
class Settings:
    """A rule's adjustable parts for one subject, after its overrides."""

    params: tuple[tuple[str, str], ...]
    for_ms: int
    keep_ms: int
    severity: str


@dataclasses.dataclass(frozen=True)
class Parsed:
    """A rule with its expressions as trees; `path` is where it is in its pack, `timed` are the roles of interval()."""

    rule: Rule
    overrides: tuple[Override, ...]
    raising: Node
    clearing: Node | None
    estimating: Node | None
    timed: frozenset[str]
    scheduled: bool
    pack: int
    path: tuple[str | int, ...]

    @functools.cached_property
    def defaults(self) -> Settings:
        """What holds without overrides."""
        params = tuple(sorted(self.rule.params.items()))
        return Settings(params, self.rule.for_ms, self.rule.keep_ms, self.rule.severity)

    def settings(self, subject: Subject, view: SiteView) -> Settings | None:
        """What holds for a subject; None where an override disables the rule."""
        if not self.overrides:
            return self.defaults if self.rule.enabled else None
        params = dict(self.rule.params)
        found = Settings((), self.rule.for_ms, self.rule.keep_ms, self.rule.severity)
        enabled = self.rule.enabled
        spaces: Sequence[str] = view.spaces_of(subject) if any(one.space for one in self.overrides) else ()
        for one in self.overrides:
            if _fits(one, subject, view.site, spaces):
                enabled = one.enabled
                params.update(one.params)
                found = Settings(
                    (),
                    found.for_ms if one.for_ms is None else one.for_ms,
                    found.keep_ms if one.keep_ms is None else one.keep_ms,
                    one.severity or found.severity,
                )
        return dataclasses.replace(found, params=tuple(sorted(params.items()))) if enabled else None


@dataclasses.dataclass(frozen=True)
class Missing:
    """A subject that a rule selects and that lacks a role, so that it has no instance."""

    rule: str
    subject: str
    role: str


@dataclasses.dataclass(frozen=True)
class RuleFault:
    """What is wrong with a rule on real points."""

    pack: int
    path: tuple[str | int, ...]
    message: str


def parse_rules(document: Document) -> list[Parsed]:
    """The rules of a document, in order.

    Raises:
        ModelError: a pack that `check_packs` would have refused.
    """
    found = []
    for number, raw in enumerate(document.rules):
        try:
            pack = parse_pack(raw)
        except ValueError as error:
            raise ModelError([Fault(f"rules[{number}]", 0, f"not a rule pack: {error}")]) from error
        found += [
            parse_rule(rule, overrides_of(pack, rule), number, ("rules", index))
            for index, rule in enumerate(pack.rules)
        ]
    return found


def parse_rule(rule: Rule, overrides: tuple[Override, ...], pack: int, path: tuple[str | int, ...]) -> Parsed:
    """Parses the expressions of a rule.

    Raises:
        ExpressionError: one of them is wrong.
    """
    raising, clearing = parse(rule.expr), parse(rule.clear) if rule.clear else None
    estimating = parse(rule.estimate) if rule.estimate else None
    calls = [node for tree in (raising, clearing, estimating) if tree for node in walk(tree) if isinstance(node, Call)]
    return Parsed(
        rule,
        overrides,
        raising,
        clearing,
        estimating,
        frozenset(call.argument for call in calls if call.function == "interval"),
        any(call.function in _CALENDAR for call in calls),
        pack,
        path,
    )


def compile_rules(document: Document, topic: str, at: dt.date | None = None) -> CompiledRules:
    """All rules of a site that read a topic, bound to its points.

    Args:
        document: the site's document.
        topic: an input topic, without prefix.
        at: local date whose rows of the model hold; None: rows that have no end.

    Raises:
        ModelError: rules that `check_packs` would have refused.
    """
    binder = Binder(document, SiteView(document, at), topic)
    for parsed in parse_rules(document):
        binder.add(parsed)
    if binder.faults:
        raise ModelError([Fault(f"rules[{fault.pack}]", 0, fault.message) for fault in binder.faults])
    return by_points(binder.arrays())


def missing_roles(document: Document, at: dt.date | None = None) -> list[tuple[str, str, str]]:
    """(rule, subject, role) of every subject that a rule selects and that has no instance for want of the role."""
    view = SiteView(document, at)
    parsed = parse_rules(document)
    found: list[Missing] = []
    for topic in INPUTS:
        binder = Binder(document, view, topic)
        for one in parsed:
            if one.rule.each.sort != "point":
                binder.add(one)
        found += binder.missing
    return [(one.rule, one.subject, one.role) for one in found]


def instance_key(rule: str, subject: str) -> int:
    """Stable name of an instance: the first 8 bytes, big-endian, of sha256 over rule, a zero byte, subject."""
    return int.from_bytes(hashlib.sha256(f"{rule}\0{subject}".encode()).digest()[:8], "big")


def _fits(override: Override, subject: Subject, site: str, spaces: Iterable[str]) -> bool:
    return (
        (not override.site or site in override.site)
        and (not override.subject or subject.id in override.subject)
        and (not override.kind or not subject.kinds.isdisjoint(override.kind))
        and (not override.tags or set(override.tags) <= subject.tags)
        and (not override.space or not set(override.space).isdisjoint(spaces))
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Slot:
    points: tuple[Point, ...]
    quantity: Quantity | None
    interval_ms: int
    broken: str


@dataclasses.dataclass(frozen=True)
class _Variant:
    """A row of the rule arrays. `reads`: indices of the roles that its programs read."""

    row: int
    reads: frozenset[int]
    looks: tuple[Look, ...]


@dataclasses.dataclass(frozen=True)
class _Instance:
    rule: int
    subject: int
    slots: tuple[int, ...]
    key: int
    wasted: tuple[int, ...]
    looks: tuple[tuple[int, int, int, int], ...]
    exempt: int
    inhibited_by: tuple[tuple[str, str], ...]


_Window = tuple[int, tuple[int, ...], int]
"""slot, values of WIN_COLUMNS, schedule"""


class Binder:
    """Binds rules one after another and collects rows, faults and missing roles.

    Args:
        document: the site's document.
        view: its rows.
        topic: only points of this input topic are bound.
    """

    def __init__(self, document: Document, view: SiteView, topic: str) -> None:
        self.document = document
        self.view = view
        self.topic = topic
        self.faults: list[RuleFault] = []
        self.missing: list[Missing] = []
        self._schedules = schedules.Bounds(document, view.zone)
        self._programs: list[tuple[Parsed, Settings, Program, Program | None, Program | None]] = []
        self._variants: dict[tuple[object, ...], _Variant | None] = {}
        self._slots: dict[tuple[object, ...], _Slot] = {}
        self._numbers: dict[_Slot, int] = {}
        self._subjects: dict[str, int] = {}
        self._instances: list[_Instance] = []
        self._named: dict[tuple[str, str], int] = {}
        self._windows: dict[_Window, int] = {}
        self._groups: dict[tuple[object, ...], int] = {}
        self._members: list[list[tuple[int, int, int]]] = []
        self._exemptions = _exemptions(document)
        self.cell_ms = cell_ms(document.interval_s)

    def add(self, parsed: Parsed) -> None:
        """Makes the instances of a rule; subjects in the order of their ids."""
        rule = parsed.rule
        if self.topic not in _TOPICS.get(rule.each.sort, (METER_READINGS,)):
            return
        for subject in self.view.subjects(rule.each):
            settings = parsed.settings(subject, self.view)
            slots = self._bind(rule, subject) if settings else None
            if settings and slots is not None:
                self._instance(parsed, subject, settings, slots)

    def _bind(self, rule: Rule, subject: Subject) -> dict[str, _Slot] | None:
        """A slot for every role that the subject has; None where one is missing that must be there."""
        found: dict[str, _Slot] = {}
        for name, binding in rule.roles.items():
            slot = self.slot(subject, binding)
            if slot:
                found[name] = slot
            elif not binding.optional:
                self.missing.append(Missing(rule.alert, subject.id, name))
                return None
        return found

    def slot(self, subject: Subject, binding: Binding) -> _Slot | None:
        """The slot of a role in a subject; None where it has no such points."""
        owner, points = self.view.bind(subject, binding, self.topic)
        if not points:
            return None
        key = (
            owner,
            binding.role,
            binding.sub_item,
            binding.equip,
            binding.not_equip,
            binding.flow_use,
            binding.not_flow_use,
        )
        return self._slots.get(key) or self._slots.setdefault(key, _slot(points, ANYTHING in binding.role))

    def _instance(self, parsed: Parsed, subject: Subject, settings: Settings, slots: dict[str, _Slot]) -> None:
        rule = parsed.rule
        if any(not slots[name].interval_ms for name in parsed.timed if name in slots):
            return  # a point that reports when something happens has no interval to be late by
        broken = next((f"{name}: {slot.broken}" for name, slot in slots.items() if slot.broken), "")
        if broken:
            self.faults.append(
                RuleFault(parsed.pack, (*parsed.path, "roles"), f"{rule.alert} on {subject.id}: {broken}")
            )
            return
        calendar = self.view.calendar(subject) if parsed.scheduled else ""
        if parsed.scheduled and not calendar:
            message = f"{rule.alert} on {subject.id}: no calendar holds here, so its schedule would never be known"
            self.faults.append(RuleFault(parsed.pack, (*parsed.path, "expr"), f"{message}; give the site a calendar"))
            return
        key = (
            parsed.pack,
            parsed.path,
            settings,
            calendar,
            tuple((name, id(slots[name].quantity)) for name in rule.roles if name in slots),
            tuple(slots[name].interval_ms for name in sorted(parsed.timed) if name in slots),
        )
        if key not in self._variants:
            self._variants[key] = self._variant(parsed, subject, settings, slots, calendar)
        variant = self._variants[key]
        if variant is None:
            return
        row = tuple(
            self._number(slots[name]) if index in variant.reads else NO_SLOT for index, name in enumerate(rule.roles)
        )
        names = list(rule.roles)
        looks = tuple(
            (GROUP, *self._group(rule.roles[names[look.role]], slots[names[look.role]], look, subject, calendar))
            if look.siblings
            else (WINDOW, self._window(slots[names[look.role]], look, calendar), look.role, 0)
            for look in variant.looks
        )
        wasted = sorted({point.number for name in rule.wastes if name in slots for point in slots[name].points})
        number = self._subjects.setdefault(subject.id, len(self._subjects))
        inhibitors = tuple((name, id_) for name in rule.inhibited_by for id_ in self.view.around(subject) if id_)
        self._named[rule.alert, subject.id] = len(self._instances)
        self._instances.append(
            _Instance(
                variant.row,
                number,
                row,
                instance_key(rule.alert, subject.id),
                tuple(wasted),
                looks,
                self._exempt(rule.alert, subject),
                inhibitors,
            )
        )

    def _number(self, slot: _Slot) -> int:
        return self._numbers.setdefault(slot, len(self._numbers))

    def _window(self, slot: _Slot, look: Look, calendar: str) -> int:
        """Number of the window that a look needs over a slot."""
        counted = bool(slot.quantity and slot.quantity.counter)
        extreme = {Fn.MIN: Measure.LOW, Fn.MAX: Measure.HIGH}.get(Fn(look.fn), Measure.MEAN)
        measure = Measure.USAGE if counted else extreme if look.bucket == 0 else Measure.MEAN
        schedule = -1
        if look.fn in (Fn.NIGHT, Fn.BASELINE):
            schedule = self._schedules.number(schedules.NIGHT, calendar)
        elif look.fn == Fn.QUANTILE:
            schedule = self._schedules.number(schedules.WORKDAY, calendar)
        values = (look.fn, measure, look.cells, max(look.bucket, 1), look.nth, look.days)
        window = (self._number(slot), tuple(map(int, values)), schedule)
        return self._windows.setdefault(window, len(self._windows))

    def _group(self, binding: Binding, own: _Slot, look: Look, subject: Subject, calendar: str) -> tuple[int, int, int]:
        """(number, role, rated power of the subject) of a group: the same sort and kind in the same building.

        Where one of them is not rated, all count as equal.
        """
        place, kinds = self.view.place(subject), tuple(sorted(subject.kinds))
        key = (subject.sort, kinds, place, binding, look._replace(role=0), calendar)
        if key not in self._groups:
            members: list[tuple[int, int, int]] = []
            for other in self.view.alike(subject):
                slot = self.slot(other, binding)
                if slot and not slot.broken and len(members) <= SIBLINGS_MAX:
                    window = -1 if look.fn == Fn.NOW else self._window(slot, look, calendar)
                    members.append((self._number(slot), window, _rated(slot)))
            if not all(rated for _, _, rated in members):
                members = [(slot_number, window, 1) for slot_number, window, _ in members]
            self._groups[key] = len(self._members)
            self._members.append(members)
        number = self._groups[key]
        members = self._members[number]
        rated = _rated(own) if any(one != 1 for _, _, one in members) else 1
        return number, look.role, rated

    def _exempt(self, rule: str, subject: Subject) -> int:
        """Number of the schedule in which a rule is not looked at on a subject; -1: none."""
        if not self._exemptions:
            return -1
        around = set(self.view.around(subject))
        rows = tuple(
            row
            for row, alerts, ids, tags in self._exemptions
            if (not alerts or rule in alerts)
            and (not ids or not ids.isdisjoint(around))
            and (not tags or tags <= subject.tags)
        )
        return self._schedules.exempting(rows, self.view.calendar(subject)) if rows else -1

    def _variant(
        self, parsed: Parsed, subject: Subject, settings: Settings, slots: dict[str, _Slot], calendar: str
    ) -> _Variant | None:
        rule = parsed.rule
        part = "expr"
        try:
            scope = Scope(
                {
                    name: slots[name].quantity if name in slots and ANYTHING not in rule.roles[name].role else None
                    for name in rule.roles
                },
                {name: parse(text) for name, text in settings.params},
                self._schedules.names(calendar) if parsed.scheduled else {},
                {name: slot.interval_ms for name, slot in slots.items() if slot.interval_ms},
                frozenset(rule.roles) - frozenset(slots),
                self.cell_ms,
            )
            raising = compile_expression(parsed.raising, scope)
            part = "clear"
            clearing = compile_expression(parsed.clearing, scope) if parsed.clearing else None
            part = "estimate"
            estimate = compile_estimate(parsed.estimating, scope) if parsed.estimating else None
        except ExpressionError as error:
            path = (*parsed.path, part)
            self.faults.append(
                RuleFault(parsed.pack, path, f"{rule.alert} on {subject.id}: column {error.column}: {error.reason}")
            )
            return None
        if raising is None:
            return None
        others = [program for program in (clearing, estimate) if program]
        reads = frozenset(raising.reads).union(*(program.reads for program in others))
        looks = tuple(dict.fromkeys((*raising.looks, *(look for program in others for look in program.looks))))
        clearing, estimate = (
            dataclasses.replace(program, code=_renumbered(program, looks)) if program else None
            for program in (clearing, estimate)
        )
        self._programs.append((parsed, settings, raising, clearing, estimate))
        return _Variant(len(self._programs) - 1, reads, looks)

    def arrays(self) -> CompiledRules:
        """Everything that was bound, as arrays."""
        code: list[tuple[int, int]] = []
        spans: list[list[int]] = []
        ages: set[tuple[int, int, int]] = set()
        uses: set[tuple[int, int]] = set()
        for row, (_, _, *programs) in enumerate(self._programs):
            ends = [len(code)]
            for program in programs:
                code += program.code if program else ()
                ends.append(len(code))
            spans.append([ends[0], ends[1], ends[1], ends[2], ends[2], ends[3]])
            for program in filter(None, programs):
                ages |= {(row, role, threshold_ms) for role, threshold_ms in program.ages}
                uses |= {(row, index) for index in program.schedules}
        span = np.asarray(spans, np.int32).reshape(-1, 6)
        slots = list(self._numbers)
        bounds = self._schedules.found
        rules = [(parsed.rule, settings) for parsed, settings, *_ in self._programs]
        stale_ms = self.document.limits.get("stale_ms", LIMITS["stale_ms"])
        inst_slot = np.full((len(self._instances), ROLES_MAX), NO_SLOT, np.int32)
        for index, instance in enumerate(self._instances):
            inst_slot[index, : len(instance.slots)] = instance.slots
        steps = [rule.steps(settings.severity) for rule, settings in rules]
        looks = [look for instance in self._instances for look in instance.looks]
        inhibitors = [
            sorted({self._named[name] for name in instance.inhibited_by if name in self._named})
            for instance in self._instances
        ]
        windows = list(self._windows)
        return CompiledRules(
            names=tuple(rule.alert for rule, _ in rules),
            severities=tuple(
                (settings.severity, *(name for name, _ in ups)) for (_, settings), ups in zip(rules, steps, strict=True)
            ),
            topics=tuple(self.topic for _ in rules),
            subjects=tuple(self._subjects),
            code=np.asarray(code, np.int64).reshape(-1, 2),
            raise_span=np.ascontiguousarray(span[:, :2]),
            clear_span=np.ascontiguousarray(span[:, 2:4]),
            estimate_span=np.ascontiguousarray(span[:, 4:]),
            for_ms=np.asarray([settings.for_ms for _, settings in rules], np.int64),
            keep_ms=np.asarray([settings.keep_ms for _, settings in rules], np.int64),
            stale_ms=np.asarray([stale_ms if rule.stale_ms is None else rule.stale_ms for rule, _ in rules], np.int64),
            ages=np.asarray(sorted(ages), np.int64).reshape(-1, 3),
            uses_schedule=np.asarray(sorted(uses), np.int64).reshape(-1, 2),
            slot_agg=np.asarray([_aggregate(slot.points) for slot in slots], np.int8),
            slot_start=_starts(len(slot.points) for slot in slots),
            slot_points=np.asarray([point.number for slot in slots for point in slot.points], np.int32),
            inst_rule=np.asarray([instance.rule for instance in self._instances], np.int32),
            inst_subject=np.asarray([instance.subject for instance in self._instances], np.int32),
            inst_slot=inst_slot,
            inst_key=np.asarray([instance.key for instance in self._instances], np.uint64),
            inst_bound=np.arange(len(self._instances), dtype=np.int32),
            waste_start=_starts(len(instance.wasted) for instance in self._instances),
            inst_waste=np.asarray([number for instance in self._instances for number in instance.wasted], np.int32),
            bound_start=_starts(len(one) for one in bounds),
            bounds=np.asarray([at_ms for one in bounds for at_ms, _ in one], np.int64),
            bound_state=np.asarray([state for one in bounds for _, state in one], np.int8),
            steps=np.asarray(
                [(row, after_ms) for row, ups in enumerate(steps) for _, after_ms in ups], np.int64
            ).reshape(-1, 2),
            look_start=_starts(len(instance.looks) for instance in self._instances),
            look_refs=np.asarray(looks, np.int64).reshape(-1, 4),
            win_slot=np.asarray([slot for slot, _, _ in windows], np.int32),
            win_args=np.asarray([values for _, values, _ in windows], np.int64).reshape(-1, len(WIN_COLUMNS)),
            win_schedule=np.asarray([schedule for _, _, schedule in windows], np.int32),
            win_key=np.asarray([self._window_key(window, slots) for window in windows], np.uint64),
            group_start=_starts(len(members) for members in self._members),
            group_members=np.asarray([member for members in self._members for member in members], np.int64).reshape(
                -1, 3
            ),
            inhibit_start=_starts(len(found) for found in inhibitors),
            inhibitors=np.asarray([one for found in inhibitors for one in found], np.int32),
            inst_exempt=np.asarray([instance.exempt for instance in self._instances], np.int32),
        )

    def _window_key(self, window: _Window, slots: Sequence[_Slot]) -> int:
        """Stable name of a window: of its points and what it computes of them."""
        slot, values, _ = window
        words = [self.cell_ms, *values, *(point.number for point in slots[slot].points)]
        return int.from_bytes(hashlib.sha256(" ".join(map(str, words)).encode()).digest()[:8], "big")


def _rated(slot: _Slot) -> int:
    """Rated power of the points of a slot together; 0 where one of them is not rated."""
    rated = [point.rated for point in slot.points]
    return sum(rated) if all(rated) else 0


def _renumbered(program: Program, looks: Sequence[Look]) -> tuple[tuple[int, int], ...]:
    """Code of a program whose looks are among others."""
    return tuple(
        (op, looks.index(program.looks[argument]) if op in (Op.WINDOW, Op.SIBLINGS) else argument)
        for op, argument in program.code
    )


def _exemptions(document: Document) -> list[tuple[int, frozenset[str], frozenset[str], frozenset[str]]]:
    """(row, alerts, ids, tags) of every exemption; an empty set is all of them."""
    table = document.table("exemptions")
    columns = [table.get(name) or [None] * len(table.get("id", [])) for name in ("alerts", "subjects", "tags")]
    return [
        (row, *(frozenset(map(str, cell)) if isinstance(cell, list) else frozenset() for cell in cells))  # type: ignore[misc]
        for row, cells in enumerate(zip(*columns, strict=True))
    ]


def _slot(points: Sequence[Point], anything: bool) -> _Slot:
    """The slot of some points; of those that may be anything, only the age is looked at."""
    quantities = [point.quantity for point in points]
    broken = ""
    if anything:
        pass
    elif any(quantity is None for quantity in quantities):
        broken = "a point has a unit that does not fit its kind"
    elif mixed(quantity for quantity in quantities if quantity):
        broken = f"its points {', '.join(point.id for point in points[:5])} have different units; give them one"
    intervals = [point.interval_ms for point in points]
    longest = max(intervals) if all(intervals) else 0
    # The age of many points is that of the freshest: the shortest interval is what it is late by.
    shortest = min(filter(None, intervals), default=0)
    return _Slot(tuple(points), quantities[0], shortest if anything else longest, broken)


def _aggregate(points: Sequence[Point]) -> int:
    role = ROLES.get(points[0].role)
    return Agg.SUM if role and role.aggregate == "sum" else Agg.MAX


def _starts(sizes: Iterable[int]) -> "np.ndarray[tuple[int], np.dtype[np.int32]]":
    return np.cumsum([0, *sizes]).astype(np.int32)
