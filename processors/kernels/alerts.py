"""The life of a rule instance: idle → pending → firing → idle, by the time of the events.

An instance runs by its own clock: the task's, or for points that upload late the slowest clock of those points. `at`
is the event time of what woke it (a reading, or its timer); deadlines that lie before `at` are honoured first, so an
episode that began and ended in one late batch is found too, with the times at which it would have fired and ended.

While an alert fires its severity may step up: another row of the same episode that is firing, with the level that it
has reached. What is exempt for a while counts as false, what is inhibited as unknown.

Unknown neither raises nor clears: a pending condition waits (the time that is not known does not count), a firing
alert that is unknown for `stale_ms` ends as stale.
"""

import numpy as np
from numpy.typing import NDArray

from processors.kernels import waste
from processors.kernels.jit import inlined, inner
from processors.kernels.programs import Records, run, slot_latest
from processors.kernels.rows import Longs, alert_row
from processors.kernels.timers import cancel, wake_at
from processors.kernels.windows import schedule_place
from processors.layout import BY_TIME, HAS_SIBLINGS, USES_DATA_CLOCK
from processors.state import (
    BUSY,
    CLOCK,
    ESTIMATE,
    FAR,
    FIRING,
    IDLE,
    NEVER,
    NO_ESTIMATE,
    PENDING,
    RESUMED,
    SCRATCH,
    STATE_FIRING,
    STATE_RESOLVED,
    STATE_STALE,
    InstanceRow,
    RuleRow,
)
from schemas.rules.program import CELL_MS, FALSE, TRUE, UNKNOWN

INHIBITED_MS = 60_000
"""What is inhibited is looked at so often."""


@inner
def own_clock(rule: RuleRow, lists: Longs, meta: Records, points: Records, scalars: Longs) -> int:
    """The clock of an instance that USES_DATA_CLOCK: the task's, or the slowest fact of its points that run by data."""
    clock = scalars[CLOCK]
    for role in range(rule.roles, rule.roles_end):
        slot = lists[role, 0]
        if slot >= 0:
            for k in range(slot + 1, slot + 1 + lists[slot, 1]):
                row = lists[k, 0]
                if meta[row].data_clock:
                    clock = min(clock, points[row].fact_time)
    return clock


@inner
def _true_from(at: int, rule: RuleRow, lists: Longs, points: Records) -> int:
    """Since when a result that an event at `at` made true has been true: not before the values it rests on were so."""
    since = at
    for role in range(rule.roles, rule.roles_end):
        slot = lists[role, 0]
        if slot >= 0 and lists[role, 1]:
            for k in range(slot + 1, slot + 1 + lists[slot, 1]):
                since = max(since, points[lists[k, 0]].since)
    return since


@inner
def _deadlines(
    instance: int,
    upto: int,
    i: InstanceRow,
    rule: RuleRow,
    context: Longs,
    lists: Longs,
    meta: Records,
    points: Records,
    parts: Records,
    out: Longs,
) -> None:
    """Fires, resolves or ends as stale whatever was due by `upto`."""
    if i.phase == PENDING and i.unknown_since == NEVER and i.true_since + rule.for_ms <= upto:
        i.phase = FIRING
        i.episode += 1
        i.started = i.true_since
        i.false_since = NEVER
        i.level = 0
        alert_row(context, out, instance, i.episode, STATE_FIRING, i.true_since + rule.for_ms, i.started, 0)
    if i.phase != FIRING:
        return
    while i.false_since == NEVER and i.unknown_since == NEVER and rule.steps + i.level < rule.steps_end:
        after_ms = max(lists[rule.steps + i.level, 0], rule.for_ms)
        if i.started + after_ms > upto:
            break
        i.level += 1
        alert_row(context, out, instance, i.episode, STATE_FIRING, i.started + after_ms, i.started, i.level)
    ended = np.int64(NEVER)
    becomes = STATE_RESOLVED
    if i.false_since != NEVER and i.false_since + rule.keep_ms <= upto:
        ended = i.false_since
    elif i.false_since == NEVER and i.unknown_since != NEVER and i.unknown_since + rule.stale_ms <= upto:
        ended = i.unknown_since
        becomes = STATE_STALE
        waste.stop(ended, rule, lists, meta, points, parts)
    if ended != NEVER:
        alert_row(context, out, instance, i.episode, becomes, ended, i.started, i.level)
        waste.finish(instance, rule, context, lists, meta, points, parts, out)
        i.phase = IDLE
        i.false_since = NEVER
        i.unknown_since = NEVER


@inner
def _pending(
    instance: int,
    result: int,
    at: int,
    i: InstanceRow,
    rule: RuleRow,
    context: Longs,
    lists: Longs,
    meta: Records,
    points: Records,
    parts: Records,
    out: Longs,
) -> None:
    if result == UNKNOWN:
        if i.phase == PENDING and i.unknown_since == NEVER:
            i.unknown_since = max(at, i.true_since)
    elif result == FALSE:
        if i.phase == PENDING:
            waste.drop(rule, lists, parts)
        i.phase = IDLE
        i.unknown_since = NEVER
    elif i.phase == IDLE:
        i.phase = PENDING
        i.true_since = _true_from(at, rule, lists, points)
        i.unknown_since = NEVER
        waste.begin(instance, i.true_since, i.episode + 1, rule, context, lists, meta, points, parts, out)
    elif i.unknown_since != NEVER:
        i.true_since += max(at - i.unknown_since, 0)
        i.unknown_since = NEVER


@inner
def _firing(
    cleared: int, at: int, i: InstanceRow, rule: RuleRow, lists: Longs, meta: Records, points: Records, parts: Records
) -> None:
    if cleared == UNKNOWN:
        if i.unknown_since == NEVER:
            i.unknown_since = max(at, i.started)
        return
    i.unknown_since = NEVER
    if cleared == TRUE:
        if i.false_since == NEVER:
            i.false_since = max(at, i.started)
            waste.stop(i.false_since, rule, lists, meta, points, parts)
    elif i.false_since != NEVER:
        i.false_since = NEVER
        waste.resume(at, rule, lists, meta, points, parts)


@inner
def _next_change(schedule: int, clock: int, lists: Longs) -> int:
    """The next boundary of a schedule, or FAR."""
    following = schedule_place(schedule, clock, lists) + 1
    return lists[following, 0] if following <= schedule + lists[schedule, 1] else np.int64(FAR)


@inner
def _due(
    clock: int, i: InstanceRow, rule: RuleRow, lists: Longs, meta: Records, points: Records, scalars: Longs
) -> int:
    """When an instance has to be looked at next, if no reading wakes it before."""
    due = np.int64(FAR)
    if i.phase == PENDING and i.unknown_since == NEVER:
        due = i.true_since + rule.for_ms
    elif i.phase == FIRING and i.false_since != NEVER:
        due = i.false_since + rule.keep_ms
    elif i.phase == FIRING and i.unknown_since != NEVER:
        due = i.unknown_since + rule.stale_ms
    elif i.phase == FIRING and rule.steps + i.level < rule.steps_end:
        due = i.started + max(lists[rule.steps + i.level, 0], rule.for_ms)
    if i.phase != IDLE and i.unknown_since == NEVER:  # values that grow too old
        for role in range(rule.roles, rule.roles_end):
            slot = lists[role, 0]
            if slot >= 0 and lists[role, 1]:
                for k in range(slot + 1, slot + 1 + lists[slot, 1]):
                    expiry = points[lists[k, 0]].fact_time + meta[lists[k, 0]].max_age_ms + 1
                    if expiry > clock:
                        due = min(due, expiry)
    for k in range(rule.ages, rule.ages_end):
        slot = lists[rule.roles + lists[k, 0], 0]
        latest = slot_latest(slot, lists, points) if slot >= 0 else np.int64(NEVER)
        if latest != NEVER:
            turn = max(latest, scalars[RESUMED]) + lists[k, 1]
            if turn > clock:
                due = min(due, turn)
            elif turn == clock:  # `>=` turns at the threshold, `>` a millisecond later
                due = min(due, turn + 1)
    for k in range(rule.schedules, rule.schedules_end):
        schedule = lists[k, 0]
        due = min(due, _next_change(schedule, clock, lists))
    if rule.exempt >= 0:
        due = min(due, _next_change(rule.exempt, clock, lists))
    if rule.flags & HAS_SIBLINGS:
        due = min(due, (clock // CELL_MS + 1) * CELL_MS)
    return due


@inner
def _inhibited(rule: RuleRow, lists: Longs, instances: Records) -> bool:
    """Whether an alert that explains this one is pending or firing."""
    found = False
    for k in range(rule.inhibitors, rule.inhibitors_end):
        found = found or instances[lists[k, 0]].phase != IDLE
    return found


@inner
def _busy(rule: RuleRow, lists: Longs, points: Records) -> None:
    """Marks the points that a busy instance reads or wastes: every reading of theirs looks at it."""
    for k in range(rule.parts, rule.parts_end):
        points[lists[k, 1]].flags |= BUSY
    for role in range(rule.roles, rule.roles_end):
        slot = lists[role, 0]
        if slot >= 0:
            for k in range(slot + 1, slot + 1 + lists[slot, 1]):
                points[lists[k, 0]].flags |= BUSY


@inlined
def evaluate(
    instance: int,
    at: int,
    clock: int,
    context: Longs,
    rules: Records,
    lists: Longs,
    meta: Records,
    points: Records,
    instances: Records,
    parts: Records,
    queue: NDArray[np.int32],
    scalars: Longs,
    out: Longs,
    windows: Records,
) -> None:
    """An event at `at`, or a timer, woke the instance; `clock` is the time by which values are known or unknown.

    Inlined: handing eleven arrays on, 77 words, takes a quarter of what a reading that wakes a rule costs.
    """
    rule = rules[instance]
    i = instances[instance]
    idle = i.phase == IDLE
    result = run(
        rule.raises,
        rule.raises_end,
        rule.roles,
        clock,
        lists,
        meta,
        points,
        scalars,
        context,
        rule.looks,
        windows,
        idle,
    )
    exempt = False
    if rule.exempt >= 0:
        place = schedule_place(rule.exempt, clock, lists)
        exempt = place != rule.exempt and lists[place, 1] == TRUE
    held = result == TRUE and not exempt and i.phase != FIRING and _inhibited(rule, lists, instances)
    if exempt:
        result = FALSE
    elif held:
        result = UNKNOWN
    if not idle or result == TRUE:
        context[ESTIMATE] = NO_ESTIMATE
        if rule.estimates_end > rule.estimates:
            known = run(
                rule.estimates,
                rule.estimates_end,
                rule.roles,
                clock,
                lists,
                meta,
                points,
                scalars,
                context,
                rule.looks,
                windows,
                False,
            )
            if known != UNKNOWN:  # the result of this program is a number, and lies where it was computed
                context[ESTIMATE] = max(context[SCRATCH], np.int64(0))
        if result != UNKNOWN and not idle:
            _deadlines(instance, min(at, clock), i, rule, context, lists, meta, points, parts, out)
        if i.phase == FIRING:
            cleared = result
            if exempt:
                cleared = TRUE
            elif rule.clears_end > rule.clears:
                cleared = run(
                    rule.clears,
                    rule.clears_end,
                    rule.roles,
                    clock,
                    lists,
                    meta,
                    points,
                    scalars,
                    context,
                    rule.looks,
                    windows,
                    False,
                )
            elif result != UNKNOWN:
                cleared = 1 - result
            _firing(cleared, at, i, rule, lists, meta, points, parts)
        else:
            _pending(instance, result, at, i, rule, context, lists, meta, points, parts, out)
        if i.phase == FIRING or (i.phase == PENDING and i.true_since + rule.for_ms <= clock):
            _deadlines(instance, clock, i, rule, context, lists, meta, points, parts, out)
        if idle and i.phase != IDLE:
            _busy(rule, lists, points)
    if rule.flags & USES_DATA_CLOCK == 0:
        due = np.int64(FAR)
        if i.phase != IDLE or rule.flags & BY_TIME:
            due = _due(clock, i, rule, lists, meta, points, scalars)
        if held:  # whether it still is shows when somebody looks
            due = min(due, clock + INHIBITED_MS)
        if due < FAR:
            wake_at(instance, due, scalars, queue, instances)
        elif i.phase == IDLE:
            cancel(instance, scalars, queue, instances)
