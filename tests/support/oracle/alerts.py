"""The life of a rule on a subject, with everything looked at again at every occasion: no idle ones skipped, no heap."""

import dataclasses
from collections.abc import Callable
from typing import Any

from schemas.rules.evaluate import NEVER as NO_AGE
from schemas.rules.evaluate import evaluate as run_program
from schemas.rules.program import FALSE, FLAG_ROLES, FLAGS, TRUE, UNKNOWN, Agg, CompiledRules, Op
from tests.support.oracle.looks import Window, median
from tests.support.oracle.points import History

Row = dict[str, Any]
IDLE, PENDING, FIRING = "idle", "pending", "firing"
Code = list[tuple[int, int]]


@dataclasses.dataclass
class Rule:
    """One instance's rule, out of the compiled arrays."""

    name: str
    subject: str
    severities: list[str]
    raising: Code
    clearing: Code
    estimating: Code
    for_ms: int
    keep_ms: int
    stale_ms: int
    slots: list[tuple[int, list[int]] | None]
    ages: list[tuple[int, int]]
    schedules: dict[int, list[tuple[int, int]]]
    wastes: list[int]
    steps: list[int]
    looks: list[tuple[int, int, int, int]]
    groups: list[list[tuple[list[int], int, int, int]]]
    inhibitors: list[int]
    exempt: list[tuple[int, int]]


def rules_of(compiled: CompiledRules) -> list[Rule]:
    """Every instance of a site, in order."""
    found = []
    groups = _groups(compiled)
    for index, row in enumerate(compiled.inst_rule.tolist()):
        slots: list[tuple[int, list[int]] | None] = []
        for slot in compiled.inst_slot[index].tolist():
            low, high = (compiled.slot_start[slot], compiled.slot_start[slot + 1]) if slot >= 0 else (0, 0)
            members = compiled.slot_points[low:high].tolist()
            slots.append((int(compiled.slot_agg[slot]), members) if slot >= 0 else None)
        codes = [
            [(int(op), int(argument)) for op, argument in compiled.code[span[row, 0] : span[row, 1]].tolist()]
            for span in (compiled.raise_span, compiled.clear_span, compiled.estimate_span)
        ]
        schedules = {}
        for number in compiled.uses_schedule[compiled.uses_schedule[:, 0] == row, 1].tolist():
            low, high = compiled.bound_start[number], compiled.bound_start[number + 1]
            pairs = zip(compiled.bounds[low:high].tolist(), compiled.bound_state[low:high].tolist(), strict=True)
            schedules[number] = list(pairs)
        ages = [(role, ms) for rule, role, ms in compiled.ages.tolist() if rule == row]
        wasted = compiled.inst_waste[compiled.waste_start[index] : compiled.waste_start[index + 1]].tolist()
        found.append(
            Rule(
                compiled.names[row],
                compiled.subjects[int(compiled.inst_subject[index])],
                list(compiled.severities[row]),
                *codes,
                int(compiled.for_ms[row]),
                int(compiled.keep_ms[row]),
                int(compiled.stale_ms[row]),
                slots,
                ages,
                schedules,
                wasted,
                [ms for rule, ms in compiled.steps.tolist() if rule == row],
                [
                    tuple(one)
                    for one in compiled.look_refs[compiled.look_start[index] : compiled.look_start[index + 1]].tolist()
                ],
                groups,
                compiled.inhibitors[compiled.inhibit_start[index] : compiled.inhibit_start[index + 1]].tolist(),
                _bounds(compiled, int(compiled.inst_exempt[index])),
            )
        )
    return found


def _bounds(compiled: CompiledRules, schedule: int) -> list[tuple[int, int]]:
    if schedule < 0:
        return []
    low, high = compiled.bound_start[schedule], compiled.bound_start[schedule + 1]
    return list(zip(compiled.bounds[low:high].tolist(), compiled.bound_state[low:high].tolist(), strict=True))


def _groups(compiled: CompiledRules) -> list[list[tuple[list[int], int, int, int]]]:
    """(points, aggregation, window, rated) of the members of every group."""
    found = []
    for group in range(len(compiled.group_start) - 1):
        members = []
        for slot, window, rated in compiled.group_members[
            compiled.group_start[group] : compiled.group_start[group + 1]
        ].tolist():
            points = compiled.slot_points[compiled.slot_start[slot] : compiled.slot_start[slot + 1]].tolist()
            members.append((points, int(compiled.slot_agg[slot]), window, rated))
        found.append(members)
    return found


class Instance:
    """The state of one rule on one subject.

    Args:
        rule: the rule.
        points: by number, of its site.
        emit: is given alert rows (episode, state, severity, valid_at, started_at).
        windows: of the site.
        others: instances of the site.
    """

    def __init__(
        self,
        rule: Rule,
        points: dict[int, History],
        emit: Callable[[Row], None],
        windows: list[Window],
        others: list["Instance"],
    ) -> None:
        self.rule, self.points, self.emit = rule, points, emit
        self.windows, self.others = windows, others
        self.level = 0
        self.estimate = -1
        self.phase = IDLE
        self.episode = 0
        self.true_since = 0
        self.false_since: int | None = None
        self.unknown_since: int | None = None
        self.started = 0
        self.due: int | None = None

    def follow(self, before: "Instance") -> None:
        """Takes over the state of the instance of the same name under the document before."""
        self.level = min(before.level, len(self.rule.steps))
        for name in ("phase", "episode", "true_since", "false_since", "unknown_since", "started"):
            setattr(self, name, getattr(before, name))

    # -- what it reads ------------------------------------------------------------------------------------------------

    @property
    def members(self) -> list[History]:
        """Points of all roles that a program reads."""
        return [self.points[number] for slot in self.rule.slots if slot for number in slot[1]]

    def loaded(self) -> list[History]:
        """Points whose value a program reads."""
        codes = self.rule.raising + self.rule.clearing
        roles = {argument % FLAG_ROLES for op, argument in codes if op in (Op.LOAD, Op.FLAG)}
        roles |= {role for _, _, role, _ in self.rule.looks}
        slots = [self.rule.slots[role] for role in roles]
        return [self.points[number] for slot in slots if slot for number in slot[1]]

    @property
    def by_data(self) -> bool:
        """Whether it runs by the clock of its points."""
        return any(point.meta.data_clock for point in self.members)

    def own_clock(self, clock: int) -> int | None:
        """Its clock; None before all of the points that upload late have been read."""
        times = [point.fact.time for point in self.members if point.meta.data_clock]
        known = [time for time in times if time is not None]
        return None if len(known) < len(times) else min([clock, *known])

    def latest(self, role: int) -> int | None:
        """Time of the freshest reading of a role."""
        slot = self.rule.slots[role]
        times = [self.points[number].fact.time for number in slot[1]] if slot else []
        return max((time for time in times if time is not None), default=None)

    def value(self, role: int, clock: int) -> tuple[int, bool]:
        """(value, known) of a role."""
        slot = self.rule.slots[role]
        return (0, False) if slot is None else self._together(slot[1], slot[0], clock)

    def flags(self, role: int) -> int:
        """Marks of the points of a role together."""
        slot = self.rule.slots[role]
        return FLAGS["changed_without_record"] * any(self.points[number].unrecorded for number in (slot or (0, []))[1])

    def _together(self, numbers: list[int], aggregate: int, clock: int) -> tuple[int, bool]:
        values = []
        for number in numbers:
            fact = self.points[number].fact
            if not self._young([number], clock) or not fact.good:
                return 0, False
            values.append(fact.value)
        return (max(values) if aggregate == Agg.MAX else sum(values)), True

    def _young(self, numbers: list[int], clock: int) -> bool:
        facts = [(self.points[number].fact, self.points[number].meta) for number in numbers]
        return all(fact.time is not None and clock - fact.time <= meta.max_age_ms for fact, meta in facts)

    def _seen(self, numbers: list[int], clock: int) -> bool:
        """Whether none of the points of a window is too old; one that counts what happens never is."""
        metas = [(number, self.points[number].meta) for number in numbers]
        return self._young(
            [number for number, meta in metas if meta.kind not in ("register", "delta") or meta.interval_ms > 0], clock
        )

    def look_at(self, sort: int, index: int, role: int, rated: int, clock: int) -> tuple[int, bool]:
        """(value, known) of what looks back, or at siblings."""
        slot = self.rule.slots[role]
        assert slot is not None
        if sort == 0:
            value, known = self.windows[index].value
            return (value, True) if known and self._seen(slot[1], clock) else (0, False)
        found = []
        for numbers, aggregate, window, their in self.rule.groups[index]:
            if numbers == slot[1]:
                continue
            value, known = self._together(numbers, aggregate, clock)
            if window >= 0:
                value, known = self.windows[window].value
                known = known and self._seen(numbers, clock)
            if known and their > 0:
                found.append(value * rated // their)
        return (median(found), True) if len(found) >= 2 else (0, False)

    @property
    def inhibited(self) -> bool:
        """Whether an alert that explains this one is pending or firing."""
        return any(self.others[other].phase != IDLE for other in self.rule.inhibitors)

    def exempt(self, clock: int) -> bool:
        """Whether an exemption holds."""
        past = [state for time, state in self.rule.exempt if time <= clock]
        return bool(past) and past[-1] == TRUE

    def result(self, code: Code, clock: int, resumed: int) -> int:
        """TRUE, FALSE or UNKNOWN."""
        value, known = self.computed(code, clock, resumed)
        return (TRUE if value else FALSE) if known else UNKNOWN

    def computed(self, code: Code, clock: int, resumed: int) -> tuple[int, bool]:
        """(value, known) of a program."""
        values = [self.value(role, clock) for role in range(len(self.rule.slots))]
        ages = []
        for role in range(len(self.rule.slots)):
            latest = self.latest(role)
            ages.append(NO_AGE if latest is None else max(clock - max(latest, resumed), 0))
        size = max(self.rule.schedules, default=-1) + 1
        schedules = [UNKNOWN] * size
        for number, bounds in self.rule.schedules.items():
            past = [state for time, state in bounds if time <= clock]
            schedules[number] = past[-1] if past else UNKNOWN
        looks = [self.look_at(*look, clock) for look in self.rule.looks]
        flags = [self.flags(role) for role in range(len(self.rule.slots))]
        return run_program(code, [v for v, _ in values], [k for _, k in values], ages, schedules, looks, flags)

    # -- its life -----------------------------------------------------------------------------------------------------

    def look(self, at: int, clock: int | None, resumed: int) -> None:
        """Something happened at `at`; values are judged by `clock`."""
        if clock is None:
            assert self.phase == IDLE
            return
        result = self.result(self.rule.raising, clock, resumed)
        held = False
        if self.exempt(clock):
            result = FALSE
        elif result == TRUE and self.phase != FIRING and self.inhibited:
            held, result = True, UNKNOWN
        if self.phase != IDLE or result == TRUE:
            self.estimate = -1
            if self.rule.estimating:
                value, known = self.computed(self.rule.estimating, clock, resumed)
                self.estimate = max(value, 0) if known else -1
            if result != UNKNOWN:
                self._deadlines(min(at, clock))
            if self.phase == FIRING:
                cleared = result
                if self.exempt(clock):
                    cleared = TRUE
                elif self.rule.clearing:
                    cleared = self.result(self.rule.clearing, clock, resumed)
                elif result != UNKNOWN:
                    cleared = TRUE if result == FALSE else FALSE
                self._fire(cleared, at)
            else:
                self._wait(result, at)
            self._deadlines(clock)
        if not self.by_data:
            due = min(self._dues(clock, resumed) + ([clock + 60_000] if held else []), default=None)
            if due is not None and (self.due is None or due < self.due):
                self.due = due
            elif due is None and self.phase == IDLE:  # it waits for nothing any more
                self.due = None

    def _deadlines(self, upto: int) -> None:
        if self.phase == PENDING and self.unknown_since is None and self.true_since + self.rule.for_ms <= upto:
            self.phase = FIRING
            self.episode += 1
            self.started = self.true_since
            self.false_since = None
            self.level = 0
            self._emit("firing", self.true_since + self.rule.for_ms)
        if self.phase != FIRING:
            return
        while self.false_since is None and self.unknown_since is None and self.level < len(self.rule.steps):
            at = self.started + max(self.rule.steps[self.level], self.rule.for_ms)
            if at > upto:
                break
            self.level += 1
            self._emit("firing", at)
        if self.false_since is not None:
            if self.false_since + self.rule.keep_ms <= upto:
                self._end("resolved", self.false_since)
        elif self.unknown_since is not None and self.unknown_since + self.rule.stale_ms <= upto:
            self._end("stale", self.unknown_since)

    def _end(self, state: str, at: int) -> None:
        self._emit(state, at)
        self.phase, self.false_since, self.unknown_since = IDLE, None, None

    def _emit(self, state: str, valid_at: int) -> None:
        severity = self.rule.severities[min(self.level, len(self.rule.severities) - 1)]
        self.emit(
            {
                "severity": severity,
                "episode": self.episode,
                "state": state,
                "valid_at": valid_at,
                "started_at": self.started,
                "estimate": self.estimate if state == "firing" else -1,
            }
        )

    def _wait(self, result: int, at: int) -> None:
        if result == UNKNOWN:
            if self.phase == PENDING and self.unknown_since is None:
                self.unknown_since = max(at, self.true_since)
        elif result == FALSE:
            self.phase, self.unknown_since = IDLE, None
        elif self.phase == IDLE:
            self.phase = PENDING
            self.true_since = max([at, *(point.fact.since for point in self.loaded() if point.fact.since is not None)])
            self.unknown_since = None
        elif self.unknown_since is not None:
            self.true_since += max(at - self.unknown_since, 0)
            self.unknown_since = None

    def _fire(self, cleared: int, at: int) -> None:
        if cleared == UNKNOWN:
            if self.unknown_since is None:
                self.unknown_since = max(at, self.started)
            return
        self.unknown_since = None
        if cleared == FALSE:
            self.false_since = None
        elif self.false_since is None:
            self.false_since = max(at, self.started)

    def _dues(self, clock: int, resumed: int) -> list[int]:
        """When something may be different, if no reading comes."""
        found = []
        if self.phase == PENDING and self.unknown_since is None:
            found.append(self.true_since + self.rule.for_ms)
        elif self.phase == FIRING and self.false_since is not None:
            found.append(self.false_since + self.rule.keep_ms)
        elif self.phase == FIRING and self.unknown_since is not None:
            found.append(self.unknown_since + self.rule.stale_ms)
        elif self.phase == FIRING and self.level < len(self.rule.steps):
            found.append(self.started + max(self.rule.steps[self.level], self.rule.for_ms))
        if self.phase != IDLE and self.unknown_since is None:
            expiries = [p.fact.time + p.meta.max_age_ms + 1 for p in self.loaded() if p.fact.time is not None]
            found += [expiry for expiry in expiries if expiry > clock]
        for role, threshold in self.rule.ages:
            latest = self.latest(role)
            if latest is not None:
                turn = max(latest, resumed) + threshold
                found += [turn] if turn > clock else [turn + 1] if turn == clock else []
        if any(sort == 1 for sort, *_ in self.rule.looks):
            found.append((clock // 900_000 + 1) * 900_000)
        for bounds in (*self.rule.schedules.values(), self.rule.exempt):
            found += [min(time for time, _ in bounds if time > clock)] if any(t > clock for t, _ in bounds) else []
        return found
