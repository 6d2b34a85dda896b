"""Binds a rule to the points of a site: an instance for every subject, in flat arrays.

A rule makes one row of the arrays for every variant that needs other code: units of its points, thresholds of an
override, calendar, interval. Rows of one rule share its name, and the key of an instance is of rule and subject alone,
so state survives a new variant.
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ExpressionError
from schemas.groups import Ints, Longs, codes_of, first_seen, gathered, starts
from schemas.model.document import Document
from schemas.rules import schedules
from schemas.rules.bound import DEFAULT, BoundRule, Missing, RuleFault
from schemas.rules.compile import Program, Scope, compile_estimate, compile_expression
from schemas.rules.format import ANYTHING, Binding
from schemas.rules.language import parse
from schemas.rules.members import NO_SLOT, Finder, Members, SlotArrays, find_members
from schemas.rules.parsed import Parsed, Settings
from schemas.rules.program import GROUP, ROLES_MAX, SIBLINGS_MAX, WIN_COLUMNS, WINDOW, Fn, Look, Measure, Op, cell_ms
from schemas.rules.subjects import SiteView, Subject
from schemas.topics import INPUTS, METER_READINGS, VEHICLE_EVENTS, WASTE_EVENTS

_TOPICS: Final[Mapping[str, Sequence[str]]] = {
    "station": (WASTE_EVENTS,), "vehicle": (VEHICLE_EVENTS,), "point": INPUTS,
}  # fmt: skip
_NOTHING: Final = np.zeros(0, np.int32)


def instance_key(rule: str, subject: str) -> int:
    """Stable name of an instance: the first 8 bytes, big-endian, of sha256 over rule, a zero byte, subject."""
    return int.from_bytes(hashlib.sha256(f"{rule}\0{subject}".encode()).digest()[:8], "big")


@dataclasses.dataclass(frozen=True)
class _Variant:
    """Programs of a rule, for one sort of its subjects."""

    settings: Settings
    calendar: str
    programs: tuple[Program | None, Program | None, Program | None]
    reads: frozenset[int]
    looks: tuple[Look, ...]


class Binder:
    """Binds rules to the points of a site.

    Args:
        document: the site's document; its rules and limits are not looked at.
        view: its rows.
        topic: only points of this input topic are bound.
    """

    def __init__(self, document: Document, view: SiteView, topic: str) -> None:
        self.view = view
        self.topic = topic
        self.schedules = schedules.Bounds(document, view.zone)
        self.exemptions = _exemptions(document)
        self.cell_ms = cell_ms(document.interval_s)
        self.members: dict[str, Members] = {}
        """by what `each` and `roles` say; whoever keeps a binder takes out what nobody needs any more"""

    def bind(self, parsed: Parsed) -> BoundRule:
        """The rule with an instance for every subject, in the order of their ids, and what is wrong with it."""
        return _Binding(self, parsed).bound()

    def concerns(self, parsed: Parsed) -> bool:
        """Whether a rule reads the topic."""
        return self.topic in _TOPICS.get(parsed.rule.each.sort, (METER_READINGS,))

    def members_of(self, parsed: Parsed) -> Members:
        """The subjects of a rule with their slots."""
        found = self.members.get(parsed.members)
        if found is None:
            rule = parsed.rule
            found = self.members[parsed.members] = find_members(self.view, self.topic, rule.each, rule.roles)
        return found


class _Binding:
    """One rule while it is being bound."""

    def __init__(self, binder: Binder, parsed: Parsed) -> None:
        self.binder = binder
        self.parsed = parsed
        self.rule = parsed.rule
        self.names = list(parsed.rule.roles)
        self.schedules = binder.schedules.fresh()
        self.faults: list[tuple[int, RuleFault]] = []
        self.missing: list[Missing] = []

    def bound(self) -> BoundRule:
        """The result."""
        rule = self.rule
        if not self.binder.concerns(self.parsed) or not (rule.enabled or self.parsed.overrides):
            return self._made([], _NOTHING, _NOTHING, None)
        members = self.binder.members_of(self.parsed)
        settings, which = self._settings(members)
        rows = np.flatnonzero(which >= 0)
        rows = rows[self._usable(members, rows)]
        firsts, variant_of = first_seen(self._shapes(members, rows, which))
        variants: list[_Variant] = []
        number = np.full(len(firsts), -1, np.int64)
        for place, row in enumerate(rows[firsts].tolist()):
            found = self._variant(members, row, settings[which[row]])
            if found is not None:
                number[place] = len(variants)
                variants.append(found)
        inst_variant = number[variant_of]
        return self._made(variants, rows[inst_variant >= 0], inst_variant[inst_variant >= 0], members)

    def _settings(self, members: Members) -> tuple[list[Settings], Longs]:
        """(settings, which of them holds for each member; -1: an override disables the rule there)."""
        parsed, view = self.parsed, self.binder.view
        known: dict[Settings, int] = {}
        if not parsed.overrides:
            known[parsed.defaults] = 0
            which = np.zeros(len(members.subjects), np.int64)
        else:
            found = [parsed.settings(subject, view) for subject in members.subjects]
            which = np.array([-1 if one is None else known.setdefault(one, len(known)) for one in found], np.int64)
        for subject, role in members.missing:
            if not parsed.overrides or parsed.settings(subject, view) is not None:
                self.missing.append(Missing(self.rule.alert, subject.id, role))
        return list(known), which

    def _usable(self, members: Members, rows: Longs) -> NDArray[np.bool_]:
        """Which members have points that the rule can be computed from, with faults of the others."""
        slots, table = members.slots[rows], members.table
        usable = np.ones(len(rows), bool)
        if not len(table):
            return usable if not self.parsed.scheduled else self._with_calendar(members, rows, usable)
        for role, name in enumerate(self.names):
            if name in self.parsed.timed:  # a point that reports when something happens has no interval to be late by
                usable &= ~((slots[:, role] >= 0) & (table.interval_ms[slots[:, role]] == 0))
        if members.broken:
            broken = np.zeros(len(table) + 1, bool)
            broken[list(members.broken)] = True
            wrong = usable & broken[slots].any(axis=1)
            for row in np.flatnonzero(wrong).tolist():
                role = int(np.flatnonzero(broken[slots[row]])[0])
                text = f"{self.names[role]}: {members.broken[int(slots[row, role])]}"
                self._fail(members, int(rows[row]), "roles", text)
            usable &= ~wrong
        return self._with_calendar(members, rows, usable) if self.parsed.scheduled else usable

    def _with_calendar(self, members: Members, rows: Longs, usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
        index, names = members.calendars
        none: NDArray[np.bool_] = np.array([not name for name in names] or [False], bool)[index[rows]]
        for row in rows[usable & none].tolist():
            text = "no calendar holds here, so its schedule would never be known; give the site a calendar"
            self._fail(members, row, "expr", text)
        return usable & ~none

    def _fail(self, members: Members, row: int, part: str, text: str) -> None:
        message = f"{self.rule.alert} on {members.subjects[row].id}: {text}"
        self.faults.append((row, RuleFault(self.parsed.pack, (*self.parsed.path, part), message)))

    def _shapes(self, members: Members, rows: Longs, which: Longs) -> Longs:
        """A number for each member, equal for those that one variant will do for."""
        slots, table = members.slots[rows], members.table
        columns: list[NDArray[np.generic]] = [which[rows]]
        if self.parsed.scheduled:
            columns.append(members.calendars[0][rows])
        for role, name in enumerate(self.names) if len(table) else ():
            there = slots[:, role] >= 0
            anything = ANYTHING in self.rule.roles[name].role
            columns.append(np.where(there, 0 if anything else table.quantity[slots[:, role]], -1))
            if name in self.parsed.timed:
                columns.append(np.where(there, table.interval_ms[slots[:, role]], -1))
        return codes_of(*columns)

    def _variant(self, members: Members, row: int, settings: Settings) -> _Variant | None:
        """The programs for a member and all that are like it; None where they say nothing or are wrong."""
        rule, parsed, table = self.rule, self.parsed, members.table
        slots = {name: int(slot) for name, slot in zip(self.names, members.slots[row], strict=True) if slot >= 0}
        calendar = members.calendars[1][members.calendars[0][row]] if parsed.scheduled else ""
        part = "expr"
        try:
            scope = Scope(
                {
                    name: members.quantities[table.quantity[slots[name]]]
                    if name in slots and ANYTHING not in rule.roles[name].role
                    else None
                    for name in rule.roles
                },
                {name: parse(text) for name, text in settings.params},
                self.schedules.names(calendar) if parsed.scheduled else {},
                {name: int(table.interval_ms[slot]) for name, slot in slots.items() if table.interval_ms[slot]},
                frozenset(rule.roles) - frozenset(slots),
                self.binder.cell_ms,
            )
            raising = compile_expression(parsed.raising, scope)
            part = "clear"
            clearing = compile_expression(parsed.clearing, scope) if parsed.clearing else None
            part = "estimate"
            estimate = compile_estimate(parsed.estimating, scope) if parsed.estimating else None
        except ExpressionError as error:
            self._fail(members, row, part, f"column {error.column}: {error.reason}")
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
        return _Variant(settings, calendar, (raising, clearing, estimate), reads, looks)

    # -- instances ----------------------------------------------------------------------------------------------------

    def _made(
        self,
        variants: Sequence[_Variant],
        rows: NDArray[np.generic],
        variant: NDArray[np.generic],
        members: Members | None,
    ) -> BoundRule:
        rule, count = self.rule, len(rows)
        chosen = rows.astype(np.int64)
        inst_variant = variant.astype(np.int32)
        inst_slot = np.full((count, ROLES_MAX), NO_SLOT, np.int32)
        looking = _Looking(self, variants, chosen, inst_variant, members)
        waste_start, inst_waste = starts([0] * count), _NOTHING
        around_start, around = starts([0] * count), _NOTHING
        subjects = [members.subjects[row] for row in chosen.tolist()] if members else []
        if members is not None and count:
            reads = np.array([[index in one.reads for index in range(len(self.names))] for one in variants], bool)
            inst_slot[:, : len(self.names)] = np.where(
                reads.reshape(len(variants), len(self.names))[inst_variant], members.slots[chosen], NO_SLOT
            )
            looking.look()
            waste_start, inst_waste = self._wasted(members, chosen)
            if rule.inhibited_by:
                places, lengths = gathered(members.around[0], chosen)
                around_start, around = starts(lengths), members.around[1][places]
        slots = looking.compact(inst_slot)
        exempt = [self._exempt(subject) for subject in subjects] if self.binder.exemptions else [-1] * count
        steps = [rule.steps(one.settings.severity) for one in variants]
        return BoundRule(
            alert=rule.alert,
            topic=self.binder.topic,
            severities=tuple(
                (one.settings.severity, *(name for name, _ in ups)) for one, ups in zip(variants, steps, strict=True)
            ),
            **_programs(variants)._asdict(),
            for_ms=np.array([one.settings.for_ms for one in variants], np.int64),
            keep_ms=np.array([one.settings.keep_ms for one in variants], np.int64),
            stale_ms=np.full(len(variants), DEFAULT if rule.stale_ms is None else rule.stale_ms, np.int64),
            steps=_rows(((row, after_ms) for row, ups in enumerate(steps) for _, after_ms in ups), 2),
            keys=self.schedules.keys,
            bounds=tuple(
                (np.array([at_ms for at_ms, _ in one], np.int64), np.array([state for _, state in one], np.int8))
                for one in self.schedules.found
            ),
            slot_agg=slots.agg,
            slot_start=slots.start,
            slot_points=slots.points,
            inst_variant=inst_variant,
            inst_subject=members.numbers[chosen] if members else _NOTHING,
            inst_slot=inst_slot,
            inst_key=np.array([instance_key(rule.alert, subject.id) for subject in subjects], np.uint64),
            waste_start=waste_start,
            inst_waste=inst_waste,
            **looking.arrays(slots)._asdict(),
            inhibited_by=rule.inhibited_by,
            around_start=around_start,
            around=around,
            inst_exempt=np.array(exempt, np.int32),
            faults=tuple(fault for _, fault in sorted(self.faults, key=lambda one: one[0])),
            missing=tuple(self.missing),
        )

    def _wasted(self, members: Members, chosen: Longs) -> tuple[Ints, Ints]:
        """Numbers of the points whose usage counts as wasted, of each instance, ascending."""
        found = [np.zeros((0, 2), np.int64)]
        for role, name in enumerate(self.names):
            slots = members.slots[chosen, role]
            there = np.flatnonzero(slots >= 0)
            if name in self.rule.wastes and len(there):
                places, lengths = gathered(members.table.start, slots[there])
                found.append(np.stack([np.repeat(there, lengths), members.table.points[places]], axis=1))
        pairs = np.concatenate(found)
        codes = np.unique((pairs[:, 0] << 32) | pairs[:, 1])
        return starts(np.bincount(codes >> 32, minlength=len(chosen))), (codes & 0xFFFFFFFF).astype(np.int32)

    def _exempt(self, subject: Subject) -> int:
        """Number of the schedule in which the rule is not looked at on a subject; -1: none."""
        view, alert = self.binder.view, self.rule.alert
        around = set(view.around(subject))
        rows = tuple(
            row
            for row, alerts, ids, tags in self.binder.exemptions
            if (not alerts or alert in alerts)
            and (not ids or not ids.isdisjoint(around))
            and (not tags or tags <= subject.tags)
        )
        return self.schedules.exempting(rows, view.calendar(subject)) if rows else -1


class _Looks(NamedTuple):
    """Fields of `BoundRule`."""

    look_start: Ints
    look_refs: Longs
    win_slot: Ints
    win_schedule: Ints
    win_args: Longs
    win_key: NDArray[np.uint64]
    group_start: Ints
    group_members: Longs


class _Looking:
    """What the instances of a rule look at: windows of their own points, and groups of siblings."""

    def __init__(
        self, binding: _Binding, variants: Sequence[_Variant], rows: Longs, variant: Ints, members: Members | None
    ) -> None:
        self.binding = binding
        self.variants = variants
        self.rows = rows
        self.variant = variant
        self.members = members
        lengths = np.array([len(one.looks) for one in variants], np.int64)
        self.start = starts(lengths[variant] if len(variants) else [])
        self.refs = np.zeros((int(self.start[-1]), 4), np.int64)
        self.windows: list[Longs] = []
        """[n, slot, schedule, WIN_COLUMNS]; one that several look at comes several times"""
        self.count = 0
        self.groups: dict[tuple[object, ...], int] = {}
        self.group_members: list[list[tuple[int, int, int]]] = []
        self.others = Finder(binding.binder.view, binding.binder.topic)
        self.first_other = len(members.table) if members else 0

    def look(self) -> None:
        """Fills in the references of all instances."""
        for number, variant in enumerate(self.variants):
            who = np.flatnonzero(self.variant == number)
            for place, look in enumerate(variant.looks):
                into = self.start[who] + place
                self.refs[into, 2] = look.role
                if look.siblings:
                    self.refs[into, 0] = GROUP
                    self.refs[into, 1], self.refs[into, 3] = self._grouped(who, look, variant.calendar)
                else:
                    self.refs[into, 0] = WINDOW
                    self.refs[into, 1] = self._over(who, look, variant.calendar)

    def _over(self, who: Longs, look: Look, calendar: str) -> Longs:
        """A window over the own slot of each instance; those of a variant have one quantity."""
        assert self.members is not None
        slots = self.members.slots[self.rows[who], look.role]
        counted = bool(self.members.table.counter[slots[0]])
        rows = np.empty((len(who), 2 + len(WIN_COLUMNS)), np.int64)
        rows[:, 0] = slots
        rows[:, 1:] = self._window(look, calendar, counted)
        return self._add(rows)

    def _add(self, rows: Longs) -> Longs:
        self.windows.append(rows)
        self.count += len(rows)
        return np.arange(self.count - len(rows), self.count)

    def _window(self, look: Look, calendar: str, counted: bool) -> tuple[int, ...]:
        """Schedule of a window, and the values of WIN_COLUMNS."""
        extreme = {Fn.MIN: Measure.LOW, Fn.MAX: Measure.HIGH}.get(Fn(look.fn), Measure.MEAN)
        measure = Measure.USAGE if counted else extreme if look.bucket == 0 else Measure.MEAN
        schedule = -1
        if look.fn in (Fn.NIGHT, Fn.BASELINE):
            schedule = self.binding.schedules.number(schedules.NIGHT, calendar)
        elif look.fn == Fn.QUANTILE:
            schedule = self.binding.schedules.number(schedules.WORKDAY, calendar)
        return (schedule, int(look.fn), int(measure), look.cells, max(look.bucket, 1), look.nth, look.days)

    def _grouped(self, who: Longs, look: Look, calendar: str) -> tuple[Longs, Longs]:
        """(number of the group, rated power of the subject) of each instance.

        A group is of the same sort and kind in the same building. Where one of them is not rated, all count as equal.
        """
        members = self.members
        assert members is not None
        binding = self.binding.rule.roles[self.binding.names[look.role]]
        flocks = members.flocks[self.rows[who]]
        firsts, number = first_seen(flocks)
        groups, all_equal = [], []
        for first in firsts.tolist():
            subject = members.subjects[int(self.rows[who[first]])]
            key = (int(flocks[first]), binding, look._replace(role=0), calendar)
            if key not in self.groups:
                self.groups[key] = len(self.group_members)
                self.group_members.append(list(self._siblings(subject, binding, look, calendar)))
            groups.append(self.groups[key])
            all_equal.append(all(rated == 1 for _, _, rated in self.group_members[groups[-1]]))
        own = members.table.rated[members.slots[self.rows[who], look.role]]
        return np.array(groups, np.int64)[number], np.where(np.array(all_equal)[number], 1, own)

    def _siblings(
        self, subject: Subject, binding: Binding, look: Look, calendar: str
    ) -> Iterator[tuple[int, int, int]]:
        """(slot, window or -1, rated power) of a subject's siblings and itself."""
        find, slots = self.others.of(binding), self.others.slots
        found = [find(other) for other in self.binding.binder.view.alike(subject)]
        whole = [slot for slot in found if slot != NO_SLOT and slot not in slots.broken][: SIBLINGS_MAX + 1]
        rated = all(slots.rated(slot) for slot in whole)
        for slot in whole:
            number = self.first_other + slot
            window = -1
            if look.fn != Fn.NOW:
                values = self._window(look, calendar, slots.counts(slot))
                window = int(self._add(np.array([[number, *values]], np.int64))[0])
            yield number, window, slots.rated(slot) if rated else 1

    def compact(self, inst_slot: Ints) -> SlotArrays:
        """The slots that are looked at, in the order in which they are; numbers in the arrays change to theirs."""
        members, others = self.members, self.others.slots.arrays()
        table = members.table if members else others
        self.window_rows = np.concatenate([np.zeros((0, 2 + len(WIN_COLUMNS)), np.int64), *self.windows])
        self.kept, self.window_of = first_seen(codes_of(*self.window_rows.T))
        self.window_rows = self.window_rows[self.kept]
        self.member_rows = _rows((one for group in self.group_members for one in group), 3)
        read = inst_slot >= 0
        used = np.concatenate([inst_slot[read], self.window_rows[:, 0], self.member_rows[:, 0]]).astype(np.int64)
        firsts, number = first_seen(used)
        parts = np.split(number, np.cumsum([int(read.sum()), len(self.window_rows)]))
        inst_slot[read], self.window_rows[:, 0], self.member_rows[:, 0] = parts
        windowed = self.refs[:, 0] == WINDOW
        self.refs[windowed, 1] = self.window_of[self.refs[windowed, 1]]
        windowed = self.member_rows[:, 1] >= 0
        self.member_rows[windowed, 1] = self.window_of[self.member_rows[windowed, 1]]
        return _chosen([table, others] if members else [others], used[firsts])

    def arrays(self, slots: SlotArrays) -> _Looks:
        """Windows, groups and what refers to them, once the slots are `compact`."""
        rows, start, points = self.window_rows, slots.start, slots.points
        cell = self.binding.binder.cell_ms
        keys = [_window_key(cell, row[2:], points[start[row[0]] : start[row[0] + 1]]) for row in rows]
        return _Looks(
            look_start=self.start,
            look_refs=self.refs,
            win_slot=rows[:, 0].astype(np.int32),
            win_schedule=rows[:, 1].astype(np.int32),
            win_args=np.ascontiguousarray(rows[:, 2:]),
            win_key=np.array(keys, np.uint64),
            group_start=starts([len(group) for group in self.group_members]),
            group_members=self.member_rows,
        )


def _chosen(tables: Sequence[SlotArrays], slots: Longs) -> SlotArrays:
    """Some slots of several tables, which are numbered one after another."""
    start = starts(np.concatenate([np.diff(one.start) for one in tables]))
    places, lengths = gathered(start, slots)
    return SlotArrays(
        agg=np.concatenate([one.agg for one in tables])[slots],
        start=starts(lengths),
        points=np.concatenate([one.points for one in tables])[places],
        interval_ms=np.concatenate([one.interval_ms for one in tables])[slots],
        quantity=np.concatenate([one.quantity for one in tables])[slots],
        counter=np.concatenate([one.counter for one in tables])[slots],
        rated=np.concatenate([one.rated for one in tables])[slots],
    )


class _Code(NamedTuple):
    """Fields of `BoundRule`."""

    code: Longs
    spans: Ints
    ages: Longs
    uses: Longs


def _programs(variants: Sequence[_Variant]) -> _Code:
    """Programs one after another, where each of them is, and what they wait for."""
    code: list[tuple[int, int]] = []
    spans: list[list[int]] = []
    ages: set[tuple[int, int, int]] = set()
    uses: set[tuple[int, int]] = set()
    for row, variant in enumerate(variants):
        ends = [len(code)]
        for program in variant.programs:
            code += program.code if program else ()
            ends.append(len(code))
        spans.append([ends[0], ends[1], ends[1], ends[2], ends[2], ends[3]])
        for program in filter(None, variant.programs):
            ages |= {(row, role, threshold_ms) for role, threshold_ms in program.ages}
            uses |= {(row, index) for index in program.schedules}
    return _Code(
        _rows(code, 2), np.array(spans, np.int32).reshape(-1, 6), _rows(sorted(ages), 3), _rows(sorted(uses), 2)
    )


def _rows(values: Iterable[Sequence[int]], width: int) -> Longs:
    return np.array(list(values), np.int64).reshape(-1, width)


def _window_key(cell: int, values: Longs, points: Ints) -> int:
    """Stable name of a window: of its points and what it computes of them."""
    words = " ".join(map(str, [cell, *values.tolist(), *points.tolist()]))
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:8], "big")


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
