"""Runs compiled rules (`schemas.rules.program`): a stack of (value, known), three-valued as SQL is."""

import numpy as np
from numpy.typing import NDArray

from processors.kernels.jit import kernel
from processors.kernels.rows import Longs
from processors.kernels.windows import nth_of, schedule_place
from processors.layout import GAUGE
from processors.shortcuts import SKIP
from processors.state import NEVER, RESUMED, SCRATCH, SORTING
from schemas.rules.program import FALSE, FLAG_ROLES, TRUE, UNKNOWN, Agg, Op

_LOAD = int(Op.LOAD)
_AGE = int(Op.AGE)
_SCHEDULE = int(Op.SCHEDULE)
_WINDOW = int(Op.WINDOW)
_SIBLINGS = int(Op.SIBLINGS)
_FLAG = int(Op.FLAG)
_ADD = int(Op.ADD)
_MUL = int(Op.MUL)
_DIV = int(Op.DIV)
_NEG = int(Op.NEG)
_LT = int(Op.LT)
_LE = int(Op.LE)
_GT = int(Op.GT)
_GE = int(Op.GE)
_EQ = int(Op.EQ)
_AND = int(Op.AND)
_OR = int(Op.OR)
_NOT = int(Op.NOT)
_MAX = int(Agg.MAX)
_INT64_MIN = -(1 << 63)

Records = NDArray[np.void]


@kernel
def slot_value(slot: int, clock: int, lists: Longs, meta: Records, points: Records) -> tuple[int, int]:
    """(value, known) of a role in a subject: its points summed, or the largest; unknown when one of them is."""
    value = np.int64(0)
    largest = lists[slot, 0] == _MAX
    count = lists[slot, 1]
    for k in range(slot + 1, slot + 1 + count):
        row = lists[k, 0]
        p = points[row]
        if p.fact_time == NEVER or p.fact_good == 0 or clock - p.fact_time > meta[row].max_age_ms:
            return np.int64(0), 0
        if not largest:
            value += p.fact_value
        elif k == slot + 1 or p.fact_value > value:
            value = p.fact_value
    return value, 1 if count > 0 else 0


@kernel
def slot_latest(slot: int, lists: Longs, points: Records) -> int:
    """Time of the freshest reading of a slot, or NEVER."""
    latest = np.int64(NEVER)
    for k in range(slot + 1, slot + 1 + lists[slot, 1]):
        latest = max(latest, points[lists[k, 0]].fact_time)
    return latest


@kernel
def _flagged(slot: int, marks: int, lists: Longs, points: Records) -> int:
    """1 while a point of a slot has one of the marks; it stays known however old the point's last reading is."""
    for k in range(slot + 1, slot + 1 + lists[slot, 1]):
        if points[lists[k, 0]].flags & marks:
            return np.int64(1)
    return np.int64(0)


@kernel
def _fits(a: int, b: int) -> bool:
    """Whether a * b is inside of int64; counted with negative magnitudes, of which int64 has one more."""
    if a == 0 or b == 0:
        return True
    less_a = a if a < 0 else -a
    less_b = b if b < 0 else -b
    same_sign = (a < 0) == (b < 0)
    if less_b == -1:
        return not (same_sign and less_a == _INT64_MIN)
    return less_a >= -((_INT64_MIN + 1 if same_sign else _INT64_MIN) // less_b)


@kernel
def _fresh(slot: int, clock: int, lists: Longs, meta: Records, points: Records) -> bool:
    """Whether no point of a slot is too old; one that counts what happens never is."""
    for k in range(slot + 1, slot + 1 + lists[slot, 1]):
        time = points[lists[k, 0]].fact_time
        info = meta[lists[k, 0]]
        if (time == NEVER or clock - time > info.max_age_ms) and (info.kind >= GAUGE or info.interval_ms > 0):
            return False
    return True


@kernel
def _window(
    window: int, slot: int, clock: int, lists: Longs, meta: Records, points: Records, windows: Records
) -> tuple[int, int]:
    """(value, known) of a window; unknown while one of its points is too old."""
    if windows[window].known == 0 or not _fresh(slot, clock, lists, meta, points):
        return np.int64(0), 0
    return windows[window].value, 1


@kernel
def _siblings(
    group: int,
    own_slot: int,
    own_rated: int,
    clock: int,
    lists: Longs,
    meta: Records,
    points: Records,
    windows: Records,
    context: Longs,
) -> tuple[int, int]:
    """(value, known): the median of what the others say, each scaled by rated power; known from two of them on."""
    count = 0
    for k in range(lists[group, 1] // 2):
        member = group + 1 + 2 * k
        slot, window, rated = lists[member, 0], lists[member, 1], lists[member + 1, 0]
        if slot == own_slot:
            continue
        if window >= 0:
            value, known = _window(window, slot, clock, lists, meta, points, windows)
        else:
            value, known = slot_value(slot, clock, lists, meta, points)
        if known and rated > 0 and _fits(value, own_rated):
            context[SORTING + count] = value * own_rated // rated
            count += 1
    return (nth_of(count, 500, context), 1) if count >= 2 else (np.int64(0), 0)


@kernel
def _arithmetic(op: int, a: int, b: int, scale: int) -> tuple[int, int]:
    """(value, known) of + - * /; overflow and division by zero are unknown."""
    if op == _MUL or op == _DIV:
        other = b if op == _MUL else scale
        by = scale if op == _MUL else b
        if by == 0 or not _fits(a, other) or (by == -1 and a * other == _INT64_MIN):
            return np.int64(0), 0
        return (a * other) // by, 1
    if op == _ADD:
        value = a + b
        return value, 0 if (a ^ value) & (b ^ value) < 0 else 1
    value = a - b
    return value, 0 if (a ^ b) & (a ^ value) < 0 else 1


@kernel
def _compare(op: int, a: int, b: int) -> int:
    if op == _LT:
        return np.int64(a < b)
    if op == _LE:
        return np.int64(a <= b)
    if op == _GT:
        return np.int64(a > b)
    if op == _GE:
        return np.int64(a >= b)
    if op == _EQ:
        return np.int64(a == b)
    return np.int64(a != b)


@kernel
def run(
    first: int,
    last: int,
    roles: int,
    clock: int,
    lists: Longs,
    meta: Records,
    points: Records,
    scalars: Longs,
    context: Longs,
    looks: int,
    windows: Records,
    idle: bool,
) -> int:
    """TRUE, FALSE or UNKNOWN: what lists[first:last] says at a time of the instance with these `roles` and `looks`.

    With `idle`, for which FALSE and UNKNOWN are the same, either may stand for the other.
    """
    top = SCRATCH - 2
    following = first
    while following < last:
        op = lists[following, 0]
        argument = lists[following, 1]
        following += 1
        if op <= _FLAG:
            value = argument
            known = 1
            if op == _LOAD:
                value, known = slot_value(lists[roles + argument, 0], clock, lists, meta, points)
            elif op == _AGE:
                latest = slot_latest(lists[roles + argument, 0], lists, points)
                known = 0 if latest == NEVER else 1
                value = max(clock - max(latest, scalars[RESUMED]), 0) if known else np.int64(0)
            elif op == _SCHEDULE:
                place = schedule_place(argument, clock, lists)
                value = np.int64(UNKNOWN) if place == argument else lists[place, 1]
                known = 0 if value == UNKNOWN else 1
            elif op == _WINDOW:
                look = looks + 2 * argument
                value, known = _window(lists[look, 0], lists[look, 1], clock, lists, meta, points, windows)
            elif op == _FLAG:
                value = _flagged(lists[roles + argument % FLAG_ROLES, 0], argument // FLAG_ROLES, lists, points)
            elif op == _SIBLINGS:
                look = looks + 2 * argument
                value, known = _siblings(
                    lists[look, 0],
                    lists[look, 1],
                    lists[look + 1, 0],
                    clock,
                    lists,
                    meta,
                    points,
                    windows,
                    context,
                )
            top += 2
            context[top] = value
            context[top + 1] = known
        elif op == SKIP:
            if (context[top + 1] and context[top] == FALSE) or (idle and not context[top + 1]):
                following += argument
        elif op == _NEG:
            if context[top] == _INT64_MIN:
                context[top + 1] = 0
            else:
                context[top] = -context[top]
        elif op == _NOT:
            context[top] = 1 - context[top]
        else:
            a = context[top - 2]
            b = context[top]
            known_a = context[top - 1]
            known_b = context[top + 1]
            known = known_a & known_b
            value = np.int64(0)
            top -= 2
            if op == _AND or op == _OR:
                wins = np.int64(FALSE) if op == _AND else np.int64(TRUE)
                if (known_a and a == wins) or (known_b and b == wins):
                    value = wins
                    known = np.int64(1)
                else:
                    value = 1 - wins
            elif known and op >= _LT:
                value = _compare(op, a, b)
            elif known:
                value, known = _arithmetic(op, a, b, argument)
            context[top] = value
            context[top + 1] = known
    if top < SCRATCH or context[top + 1] == 0:
        return UNKNOWN
    return TRUE if context[top] != 0 else FALSE
