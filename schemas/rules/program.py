"""Instructions of a compiled expression, and what a kernel needs to run rules: flat arrays, no strings.

A program is an int64 array of shape [n, 2]: (operation, argument). It runs on a stack of (value, known). Values are
int64: gauges in thousandths of their unit, states as they are, durations in milliseconds, truth as 0 and 1. An
unknown operand makes the result unknown, but for AND (false wins) and OR (true wins), as in SQL. Overflow and
division by zero are unknown.
"""

import dataclasses
from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

STACK_MAX: Final = 16
ROLES_MAX: Final = 8
FLAG_ROLES: Final = 256
FLAGS: Final[Mapping[str, int]] = MappingProxyType({"changed_without_record": 16})
"""What `flag(role, NAME)` asks for, and the mark of a point that it means (`processors.state`: UNRECORDED)."""
FALSE: Final = 0
TRUE: Final = 1
UNKNOWN: Final = 2


class Op(IntEnum):
    """Operations; the argument is named where there is one."""

    PUSH = 0
    """argument: the constant"""
    LOAD = 1
    """argument: index of the role in the instance; unknown while older than the slot's max_age, estimated or suspect"""
    AGE = 2
    """argument: index of the role; ms since its last reading by the instance's clock; known once there was one"""
    SCHEDULE = 3
    """argument: index of the schedule; 1 inside, 0 outside, unknown where the calendar is not known"""
    WINDOW = 4
    """argument: index of the look in the instance; what a role was over a span, unknown while one of its points is too
    old"""
    SIBLINGS = 5
    """argument: index of the look in the instance; the median of the siblings' values, scaled by their rated power"""
    FLAG = 6
    """argument: index of the role + FLAG_ROLES x marks; 1 while one of its points has one of these marks"""
    ADD = 10
    SUB = 11
    MUL = 12
    """(a * b) / argument, exactly rounded towards minus infinity; the argument rescales thousandths"""
    DIV = 13
    """(a * argument) / b, rounded towards minus infinity"""
    NEG = 14
    LT = 20
    LE = 21
    GT = 22
    GE = 23
    EQ = 24
    NE = 25
    AND = 30
    OR = 31
    NOT = 32


class Agg(IntEnum):
    """How several points of one role in one subject become one value."""

    SUM = 0
    MAX = 1


class Fn(IntEnum):
    """What a look says of the past of a role, on a grid of cells of `cell_ms`."""

    NOW = 0
    """the value as it is (siblings of a plain role)"""
    INCREASE = 1
    """usage over the last `cells`; every one of them must be known, spread gaps count"""
    AVG = 2
    """mean of the last `cells`"""
    MIN = 3
    """smallest of the last `cells`, `bucket` of them taken together wherever they begin"""
    MAX = 4
    NIGHT = 5
    """median cell of the last night that is over; with `days`, what more than half of so many last nights reached:
    `night(x, 5) > y` is true when x was above y in three of the last five nights"""
    BASELINE = 6
    """median of the `days` nights before that one"""
    QUANTILE = 7
    """the `nth` thousandth of the cells of this hour on the last `days` working days; unknown on other days"""


class Measure(IntEnum):
    """What the cells of a track hold of a point."""

    USAGE = 0
    MEAN = 1
    """of a gauge in its thousandths, of a state in thousandths"""
    LOW = 2
    HIGH = 3


class Look(NamedTuple):
    """One way in which a rule looks at the past of a role, or at its siblings."""

    fn: int
    role: int
    cells: int = 0
    bucket: int = 1
    nth: int = 0
    days: int = 0
    siblings: int = 0


CELL_MS: Final = 900_000
LOOKS_MAX: Final = 8
"""of a rule"""
SIBLINGS_MAX: Final = 64
"""A subject is compared with so many siblings, the first ones by id."""
STEPS_MAX: Final = 2
"""A severity steps up so often at most."""
DAYS_MAX: Final = 60
"""nights or working days"""
CELLS_MAX: Final = 35 * 96


def cell_ms(interval_s: int) -> int:
    """Length of a cell for a site with this ledger interval: a quarter of an hour, or the interval."""
    return CELL_MS if CELL_MS % (interval_s * 1000) == 0 else interval_s * 1000


@dataclasses.dataclass(frozen=True)
class CompiledRules:
    """All rules of one site, bound to its points.

    Programs: `code` int64[n, 2] holds all programs one after another; rule r raises by code[raise_span[r,
    0]:raise_span[r, 1]] and clears by clear_span likewise (equal ends: clears when the raise expression is false).
    estimate_span: its estimate of a flow, whose result is a number and no truth (equal ends: it makes none).

    Rules (one row each): `names`, `severities`, `for_ms`, `keep_ms`, `stale_ms` (firing and unknown for so long:
    stale), `ages`: int64[m, 3] rows (rule, role index, threshold ms) of every `age(role)` that is compared with a
    constant, so that timers wake in time. `uses_schedule`: int64[k, 2] rows (rule, schedule index).

    Slots: a slot is the value of a role in a subject. `slot_agg` int8[s]; members of slot i are the point numbers
    slot_points[slot_start[i]:slot_start[i+1]].

    Instances: `inst_rule` int32[i], `inst_subject` int32[i] into `subjects` (ids), `inst_slot` int32[i, ROLES_MAX]
    (-1: unused); `inst_key` uint64[i]: a stable name of (rule, subject) so that state survives a new document; points
    whose usage counts as wasted are inst_waste[waste_start[i]:waste_start[i+1]] (point numbers). `inst_bound[i]` is its
    place where instances are in the order of the rules.

    Severities: `severities` of a rule are its first one and those that it steps up to; rows (rule, ms after the start)
    of `steps` int64[n, 2] say when.

    Looks: those of instance i are (sort, index, role, rated power) in look_refs[look_start[i]:look_start[i+1]], in the
    order of the arguments of WINDOW and SIBLINGS: sort 0 a window, 1 a group. Window w is `win_args`
    int64[w, WIN_COLUMNS] over slot `win_slot[w]`, its days by schedule `win_schedule[w]` (-1: none), and `win_key[w]`
    names it for the next document. The members of group g are rows (slot, window or -1, rated) of
    group_members[group_start[g]:group_start[g+1]].

    Inhibition: instance i is not raised while one of inhibitors[inhibit_start[i]:inhibit_start[i+1]] is pending or
    firing. `inst_exempt[i]`: the schedule in which it counts as false, -1: none.

    Schedules: boundaries of schedule j are bounds[bound_start[j]:bound_start[j+1]] (UTC ms, ascending) and what holds
    from each on is bound_state of the same index (FALSE, TRUE, UNKNOWN); before the first boundary: UNKNOWN.
    """

    names: tuple[str, ...]
    severities: tuple[tuple[str, ...], ...]
    topics: tuple[str, ...]
    """input topic of each rule: a rule sees one topic"""
    subjects: tuple[str, ...]
    code: NDArray[np.int64]
    raise_span: NDArray[np.int32]
    clear_span: NDArray[np.int32]
    estimate_span: NDArray[np.int32]
    for_ms: NDArray[np.int64]
    keep_ms: NDArray[np.int64]
    stale_ms: NDArray[np.int64]
    ages: NDArray[np.int64]
    uses_schedule: NDArray[np.int64]
    slot_agg: NDArray[np.int8]
    slot_start: NDArray[np.int32]
    slot_points: NDArray[np.int32]
    inst_rule: NDArray[np.int32]
    inst_subject: NDArray[np.int32]
    inst_slot: NDArray[np.int32]
    inst_key: NDArray[np.uint64]
    inst_bound: NDArray[np.int32]
    waste_start: NDArray[np.int32]
    inst_waste: NDArray[np.int32]
    bound_start: NDArray[np.int32]
    bounds: NDArray[np.int64]
    bound_state: NDArray[np.int8]
    steps: NDArray[np.int64]
    look_start: NDArray[np.int32]
    look_refs: NDArray[np.int64]
    win_slot: NDArray[np.int32]
    win_args: NDArray[np.int64]
    win_schedule: NDArray[np.int32]
    win_key: NDArray[np.uint64]
    group_start: NDArray[np.int32]
    group_members: NDArray[np.int64]
    inhibit_start: NDArray[np.int32]
    inhibitors: NDArray[np.int32]
    inst_exempt: NDArray[np.int32]


WINDOW: Final = 0
GROUP: Final = 1
"""Sorts of `look_refs`."""
WIN_COLUMNS: Final = ("fn", "measure", "cells", "bucket", "nth", "days")
