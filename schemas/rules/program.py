"""Instructions of a compiled expression, and what a kernel needs to run rules: flat arrays, no strings.

A program is an int64 array of shape [n, 2]: (operation, argument). It runs on a stack of (value, known). Values are
int64: gauges in thousandths of their unit, states as they are, durations in milliseconds, truth as 0 and 1. An
unknown operand makes the result unknown, but for AND (false wins) and OR (true wins), as in SQL. Overflow and
division by zero are unknown.
"""

import dataclasses
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

STACK_MAX: Final = 16
ROLES_MAX: Final = 8
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


@dataclasses.dataclass(frozen=True)
class CompiledRules:
    """All rules of one site, bound to its points.

    Programs: `code` int64[n, 2] holds all programs one after another; rule r raises by code[raise_span[r,
    0]:raise_span[r, 1]] and clears by clear_span likewise (equal ends: clears when the raise expression is false).

    Rules (one row each): `names`, `severities`, `for_ms`, `keep_ms`, `stale_ms` (firing and unknown for so long:
    stale), `ages`: int64[m, 3] rows (rule, role index, threshold ms) of every `age(role)` that is compared with a
    constant, so that timers wake in time. `uses_schedule`: int64[k, 2] rows (rule, schedule index).

    Slots: a slot is the value of a role in a subject. `slot_agg` int8[s]; members of slot i are the point numbers
    slot_points[slot_start[i]:slot_start[i+1]].

    Instances: `inst_rule` int32[i], `inst_subject` int32[i] into `subjects` (ids), `inst_slot` int32[i, ROLES_MAX]
    (-1: unused); `inst_key` uint64[i]: a stable name of (rule, subject) so that state survives a new document; points
    whose usage counts as wasted are inst_waste[waste_start[i]:waste_start[i+1]] (point numbers).

    Schedules: boundaries of schedule j are bounds[bound_start[j]:bound_start[j+1]] (UTC ms, ascending) and what holds
    from each on is bound_state of the same index (FALSE, TRUE, UNKNOWN); before the first boundary: UNKNOWN.
    """

    names: tuple[str, ...]
    severities: tuple[str, ...]
    topics: tuple[str, ...]
    """input topic of each rule: a rule sees one topic"""
    subjects: tuple[str, ...]
    code: NDArray[np.int64]
    raise_span: NDArray[np.int32]
    clear_span: NDArray[np.int32]
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
    waste_start: NDArray[np.int32]
    inst_waste: NDArray[np.int32]
    bound_start: NDArray[np.int32]
    bounds: NDArray[np.int64]
    bound_state: NDArray[np.int8]
