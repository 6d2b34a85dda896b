"""Gates: what a value must be before a rule can be true at all.

`light > 50 W and people == 0` is not true while a light takes 20 W, whatever the people do; and not while there are
three people, whatever the light does. So a reading of 20 W need not look at an idle instance of the rule, nor need a
reading of a light where somebody is: false and unknown both leave it idle. That is what a reading finds out from the
list of its point alone, 16 bytes an instance that lie side by side, where the instance, its rule, its slots and its
timer are ten places anywhere in memory.

A gate is a comparison with a constant that an AND carries to the result: of a role of one point, or of what a role was
over a span. Nothing is guessed: what has no such comparison is always looked at, and who passes the gates is evaluated
as ever.
"""

from typing import Final, NamedTuple

import numpy as np

from processors.shortcuts import right_sides
from schemas.groups import Ints, Longs, codes_of
from schemas.rules.program import ROLES_MAX, Op

LEAST: Final = -(1 << 62)
MOST: Final = 1 << 62
"""Bounds of a gate that lets everything through; values are below 2^53."""
OPEN: Final = (LEAST, MOST)

GATE_SHIFT: Final = 3
"""In an edge: above the bits that say how it looks at the point."""
OTHER_SHIFT: Final = 32
INSTANCE_MASK: Final = (1 << OTHER_SHIFT) - 1
IS_WINDOW: Final = 1 << 30
"""Added to what else an edge asks when that is a window; else it is the row of a point."""

_GATED: Final = (Op.LOAD, Op.WINDOW)
_TURNED: Final = {Op.LT: Op.GT, Op.LE: Op.GE, Op.GT: Op.LT, Op.GE: Op.LE, Op.EQ: Op.EQ, Op.NE: Op.NE}


def conjuncts(program: list[list[int]]) -> list[tuple[int, int]]:
    """[first, last) of the parts of a program that must all be true for it to be true."""
    rights = right_sides(program)
    found = []
    waiting = [(0, len(program))] if program else []
    while waiting:
        first, last = waiting.pop()
        if program[last - 1][0] == Op.AND:
            right = rights[last - 1]
            waiting += [(right, last - 1), (first, right)]
        else:
            found.append((first, last))
    return found


def gate(op: int, constant: int) -> tuple[int, int]:
    """(lowest, highest) of what makes `value op constant` true; where lowest > highest: all but what lies between."""
    constant = min(max(constant, LEAST + 1), MOST - 1)
    if op == Op.LT:
        return LEAST, constant - 1
    if op == Op.LE:
        return LEAST, constant
    if op == Op.GT:
        return constant + 1, MOST
    if op == Op.GE:
        return constant, MOST
    return (constant, constant) if op == Op.EQ else (constant + 1, constant - 1)


def gates_of(program: list[list[int]]) -> dict[tuple[int, int], tuple[int, int]]:
    """(LOAD or WINDOW, its argument) → its gate, of a program that raises; where there are several the first one."""
    found: dict[tuple[int, int], tuple[int, int]] = {}
    for first, last in conjuncts(program):
        part = program[first:last]
        if len(part) != 3 or part[2][0] not in _TURNED:
            continue
        (left, left_is), (right, right_is), (op, _) = part
        if left in _GATED and right == Op.PUSH:
            found.setdefault((left, left_is), gate(op, right_is))
        elif left == Op.PUSH and right in _GATED:
            found.setdefault((right, right_is), gate(_TURNED[Op(op)], left_is))
    return found


class Bound(NamedTuple):
    """What edges are made of, as the layout has it.

    Attributes:
        code: int64[m, 2], programs one after another.
        raise_span: [rule, 2], where the program that raises lies in `code`.
        inst_rule: rule of each instance.
        inst_slot: [instance, ROLES_MAX], slot of each role; -1: none.
        slot_start: rows of slot i are slot_row[slot_start[i]:slot_start[i + 1]].
        slot_row: see there.
        look_start: looks of instance i begin at look_start[i] in `look_refs`.
        look_refs: [n, 4], (sort, window or group, role, rated).
    """

    code: Longs
    raise_span: Ints
    inst_rule: Ints
    inst_slot: Ints
    slot_start: Ints
    slot_row: Ints
    look_start: Ints
    look_refs: Longs


def edge_gates(edges: Longs, bound: Bound) -> tuple[Longs, Longs, Longs]:
    """The gates of every edge: of its own point, and of one other point or window of the instance.

    Args:
        edges: [n, 3], (point row, instance, how it looks at it).
        bound: the rules and instances.

    Returns:
        (table, gate, other): table int64[2 k, 2] holds pairs of gates, the edge's own and the other's; gate[n] is the
        index of the first of its pair, -1 where neither bars anything; other[n] the row of the other point, a window
        + IS_WINDOW, or -1: neither.
    """
    count = len(bound.raise_span)
    roles = np.full((count, ROLES_MAX, 2), OPEN, np.int64)
    looks, look_of = np.full((count, 2), OPEN, np.int64), np.full(count, -1, np.int64)
    for rule, (first, last) in enumerate(bound.raise_span.tolist()):
        for (op, argument), bounds in gates_of(bound.code[first:last].tolist()).items():
            if op == Op.LOAD:
                roles[rule, argument] = bounds
            elif look_of[rule] < 0:
                look_of[rule], looks[rule] = argument, bounds
    gated = (roles != OPEN).any(axis=2)
    lengths = np.diff(bound.slot_start)
    own, second = np.full((len(edges), 2), OPEN, np.int64), np.full((len(edges), 2), OPEN, np.int64)
    other = np.full(len(edges), -1, np.int64)
    row, instance = edges[:, 0], edges[:, 1]
    rule_of = bound.inst_rule[instance]
    told = np.zeros(len(edges), bool)
    for role in range(ROLES_MAX):
        slot = bound.inst_slot[instance, role]
        single = gated[rule_of, role] & (slot >= 0)
        single[single] = lengths[slot[single]] == 1
        point = np.full(len(edges), -1, np.int64)
        point[single] = bound.slot_row[bound.slot_start[slot[single]]]
        mine = single & (point == row) & ~told
        own[mine] = roles[rule_of[mine], role]
        told |= mine
        its = single & (point != row) & (other < 0)
        second[its] = roles[rule_of[its], role]
        other[its] = point[its]
    back = (other < 0) & (look_of[rule_of] >= 0)
    second[back] = looks[rule_of[back]]
    other[back] = bound.look_refs[bound.look_start[instance[back]] + look_of[rule_of[back]], 1] + IS_WINDOW
    wanted = told | (other >= 0)
    both = np.concatenate([own[wanted], second[wanted]], axis=1)
    _, firsts, index = np.unique(codes_of(*both.T), return_index=True, return_inverse=True)
    pairs = both[firsts]
    place = np.full(len(edges), -1, np.int64)
    place[wanted] = 2 * index
    return pairs.reshape(-1, 2), place, other
