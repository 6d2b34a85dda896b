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
from schemas.rules.compile import Program, Scope, compile_expression
from schemas.rules.format import ANYTHING, Override, Rule, overrides_of, parse_pack
from schemas.rules.language import Call, Node, parse, walk
from schemas.rules.program import ROLES_MAX, Agg, CompiledRules
from schemas.rules.quantities import Quantity, mixed
from schemas.rules.subjects import Point, SiteView, Subject
from schemas.topics import INPUTS, METER_READINGS, VEHICLE_EVENTS, WASTE_EVENTS

NO_SLOT: Final = -1
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
            return self.defaults
        params = dict(self.rule.params)
        found = Settings((), self.rule.for_ms, self.rule.keep_ms, self.rule.severity)
        enabled = True
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
    calls = [node for tree in (raising, clearing) if tree for node in walk(tree) if isinstance(node, Call)]
    return Parsed(
        rule,
        overrides,
        raising,
        clearing,
        frozenset(call.argument for call in calls if call.function == "interval"),
        any(call.function in ("schedule", "workday") for call in calls),
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
    return binder.arrays()


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
        self._programs: list[tuple[Parsed, Settings, Program, Program | None]] = []
        self._variants: dict[tuple[object, ...], _Variant | None] = {}
        self._slots: dict[tuple[object, ...], _Slot] = {}
        self._numbers: dict[_Slot, int] = {}
        self._subjects: dict[str, int] = {}
        self._instances: list[tuple[int, int, tuple[int, ...], int, tuple[int, ...]]] = []

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
            owner, points = self.view.bind(subject, binding, self.topic)
            if points:
                key = (owner, binding.role, binding.sub_item, binding.equip, binding.not_equip)
                found[name] = self._slots.get(key) or self._slots.setdefault(key, _slot(points))
            elif not binding.optional:
                self.missing.append(Missing(rule.alert, subject.id, name))
                return None
        return found

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
            self._numbers.setdefault(slots[name], len(self._numbers)) if index in variant.reads else NO_SLOT
            for index, name in enumerate(rule.roles)
        )
        wasted = sorted({point.number for name in rule.wastes if name in slots for point in slots[name].points})
        number = self._subjects.setdefault(subject.id, len(self._subjects))
        self._instances.append((variant.row, number, row, instance_key(rule.alert, subject.id), tuple(wasted)))

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
            )
            raising = compile_expression(parsed.raising, scope)
            part = "clear"
            clearing = compile_expression(parsed.clearing, scope) if parsed.clearing else None
        except ExpressionError as error:
            path = (*parsed.path, part)
            self.faults.append(
                RuleFault(parsed.pack, path, f"{rule.alert} on {subject.id}: column {error.column}: {error.reason}")
            )
            return None
        if raising is None:
            return None
        self._programs.append((parsed, settings, raising, clearing))
        reads = frozenset(raising.reads) | frozenset(clearing.reads if clearing else ())
        return _Variant(len(self._programs) - 1, reads)

    def arrays(self) -> CompiledRules:
        """Everything that was bound, as arrays."""
        code: list[tuple[int, int]] = []
        spans: list[tuple[int, int, int, int]] = []
        ages: set[tuple[int, int, int]] = set()
        uses: set[tuple[int, int]] = set()
        for row, (_, _, raising, clearing) in enumerate(self._programs):
            start = len(code)
            code += raising.code
            middle = len(code)
            code += clearing.code if clearing else ()
            spans.append((start, middle, middle, len(code)))
            for program in (raising, clearing) if clearing else (raising,):
                ages |= {(row, role, threshold_ms) for role, threshold_ms in program.ages}
                uses |= {(row, index) for index in program.schedules}
        span = np.asarray(spans, np.int32).reshape(-1, 4)
        slots = list(self._numbers)
        bounds = self._schedules.found
        rules = [(parsed.rule, settings) for parsed, settings, _, _ in self._programs]
        stale_ms = self.document.limits.get("stale_ms", LIMITS["stale_ms"])
        inst_slot = np.full((len(self._instances), ROLES_MAX), NO_SLOT, np.int32)
        for index, instance in enumerate(self._instances):
            inst_slot[index, : len(instance[2])] = instance[2]
        return CompiledRules(
            names=tuple(rule.alert for rule, _ in rules),
            severities=tuple(settings.severity for _, settings in rules),
            topics=tuple(self.topic for _ in rules),
            subjects=tuple(self._subjects),
            code=np.asarray(code, np.int64).reshape(-1, 2),
            raise_span=np.ascontiguousarray(span[:, :2]),
            clear_span=np.ascontiguousarray(span[:, 2:]),
            for_ms=np.asarray([settings.for_ms for _, settings in rules], np.int64),
            keep_ms=np.asarray([settings.keep_ms for _, settings in rules], np.int64),
            stale_ms=np.asarray([stale_ms if rule.stale_ms is None else rule.stale_ms for rule, _ in rules], np.int64),
            ages=np.asarray(sorted(ages), np.int64).reshape(-1, 3),
            uses_schedule=np.asarray(sorted(uses), np.int64).reshape(-1, 2),
            slot_agg=np.asarray([_aggregate(slot.points) for slot in slots], np.int8),
            slot_start=_starts(len(slot.points) for slot in slots),
            slot_points=np.asarray([point.number for slot in slots for point in slot.points], np.int32),
            inst_rule=np.asarray([instance[0] for instance in self._instances], np.int32),
            inst_subject=np.asarray([instance[1] for instance in self._instances], np.int32),
            inst_slot=inst_slot,
            inst_key=np.asarray([instance[3] for instance in self._instances], np.uint64),
            waste_start=_starts(len(instance[4]) for instance in self._instances),
            inst_waste=np.asarray([number for instance in self._instances for number in instance[4]], np.int32),
            bound_start=_starts(len(one) for one in bounds),
            bounds=np.asarray([at_ms for one in bounds for at_ms, _ in one], np.int64),
            bound_state=np.asarray([state for one in bounds for _, state in one], np.int8),
        )


def _slot(points: Sequence[Point]) -> _Slot:
    quantities = [point.quantity for point in points]
    broken = ""
    if any(quantity is None for quantity in quantities):
        broken = "a point has a unit that does not fit its kind"
    elif mixed(quantity for quantity in quantities if quantity):
        broken = f"its points {', '.join(point.id for point in points[:5])} have different units; give them one"
    intervals = [point.interval_ms for point in points]
    return _Slot(tuple(points), quantities[0], max(intervals) if all(intervals) else 0, broken)


def _aggregate(points: Sequence[Point]) -> int:
    role = ROLES.get(points[0].role)
    return Agg.SUM if role and role.aggregate == "sum" else Agg.MAX


def _starts(sizes: Iterable[int]) -> "np.ndarray[tuple[int], np.dtype[np.int32]]":
    return np.cumsum([0, *sizes]).astype(np.int32)
