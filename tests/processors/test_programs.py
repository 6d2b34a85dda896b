"""The kernel runs programs as the reference evaluator does, compiled and not."""

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.kernels import programs
from processors.layout_build import build
from processors.shortcuts import SKIP, with_shortcuts
from processors.state import CONTEXT, RESUMED, SCALED, UNRECORDED, empty_points, empty_state
from schemas.rules.evaluate import NEVER, evaluate
from schemas.rules.program import FALSE, FLAG_ROLES, FLAGS, STACK_MAX, TRUE, UNKNOWN, Op
from tests.processors.world import MIN, T0, document, pack, point
from tests.support.patience import patient

ROLES = 4
"""Roles of the instance: one point, two points summed, two of which the largest is taken, one that has never been read."""
DOC = document(
    [
        point(1, space="r1", max_age_s=60),
        point(2, space="r1", role="power", max_age_s=60),
        point(3, space="r1", role="power", max_age_s=60),
        point(4, space="r1", role="motion", kind="state", unit="1", max_age_s=60),
        point(5, space="r1", role="motion", kind="state", unit="1", max_age_s=60),
        point(6, space="r1", role="co2", unit="ppm", max_age_s=60),
    ],
    pack(
        """Any
        each: {space: [office]}
        roles: {a: light_power, b: power, c: motion, d: co2}
        expr: a > 1 W and b > 1 W and c == 1 and d > 1 ppm and schedule(work)"""
    ),
    calendar={"2026-01-01": "workday"},
    schedules=[{"name": "work", "day_kind": "workday", "from": "08:00", "to": "17:00"}],
)
LAYOUT = build("meter.readings", {"s1": DOC}, {"s1": 1})
SCHEDULE = int(LAYOUT.arrays.lists[LAYOUT.arrays.rules[0]["schedules"], 0])
BINARY = (Op.ADD, Op.SUB, Op.LT, Op.LE, Op.GT, Op.GE, Op.EQ, Op.NE)
INT64_MAX, INT64_MIN = (1 << 63) - 1, -(1 << 63)
WIDE = st.one_of(
    st.integers(-5, 5), st.integers(-(1 << 62), 1 << 62), st.sampled_from([INT64_MAX, INT64_MIN, INT64_MIN + 1, 1 << 32, -1]),
    st.integers(INT64_MIN, INT64_MAX),
)  # fmt: skip


@st.composite
def code(draw: st.DrawFn, depth: int = 4) -> list[tuple[int, int]]:
    """A well-formed program; its first operands may be nested further than its second ones."""
    if depth == 0 or draw(st.integers(0, 3)) == 0:
        leaf = draw(st.sampled_from([Op.PUSH, Op.LOAD, Op.LOAD, Op.AGE, Op.SCHEDULE, Op.FLAG]))
        role = st.integers(0, ROLES - 1)
        flags = role.map(lambda index: index + FLAG_ROLES * UNRECORDED)
        argument = {Op.PUSH: WIDE, Op.SCHEDULE: st.just(0), Op.FLAG: flags}.get(leaf, role)
        return [(int(leaf), draw(argument))]
    kind = draw(st.sampled_from(["binary", "binary", "scale", "logic", "not", "negate"]))
    first = draw(code(depth - 1))
    if kind == "negate":
        return [*first, (int(Op.NEG), 0)]
    if kind == "not":
        return [*first, (int(Op.PUSH), 0), (int(Op.NE), 0), (int(Op.NOT), 0)]
    second = draw(code(depth - 1))
    if kind == "logic":
        truths = [*first, (int(Op.PUSH), 0), (int(Op.GT), 0), *second, (int(Op.PUSH), 1), (int(Op.LE), 0)]
        return [*truths, (int(draw(st.sampled_from([Op.AND, Op.OR]))), 0)]
    if kind == "scale":
        return [
            *first,
            *second,
            (int(draw(st.sampled_from([Op.MUL, Op.DIV]))), draw(st.sampled_from([1, 7, 1000, 10**6]))),
        ]
    return [*first, *second, (int(draw(st.sampled_from(BINARY))), 0)]


FACT = st.tuples(
    WIDE.filter(lambda value: abs(value) <= 1 << 61),
    st.sampled_from([0, 1, 59_999, 60_000, 60_001, 10**7]),
    st.booleans(),
)


def mark(value: int) -> int:
    """Whether a point of that value fell without a record."""
    return UNRECORDED if value % 3 == 0 else 0


def kernel_says(
    program: list[tuple[int, int]],
    facts: list[tuple[int, int, bool]],
    clock: int,
    resumed: int,
    run: Any,
    idle: bool = False,
) -> int:
    """What the kernel makes of points with (value, age in ms, good); the last point has never been read."""
    state = empty_state(0, 0, 0)
    points = empty_points(6)
    state.scalars[RESUMED] = resumed
    for row, (value, age, good) in enumerate(facts):
        points["fact_value"][row], points["fact_time"][row], points["fact_good"][row] = value, clock - age, good
        points["flags"][row] = SCALED | mark(value)
    start = len(LAYOUT.arrays.lists)
    moved = [(op, SCHEDULE if op == Op.SCHEDULE else argument) for op, argument in program]
    lists = np.concatenate([LAYOUT.arrays.lists, np.array(moved, np.int64).reshape(-1, 2)])
    roles = int(LAYOUT.arrays.rules[0]["roles"])
    context = np.zeros(CONTEXT, np.int64)
    last, meta = start + len(program), LAYOUT.arrays.meta
    return int(run(start, last, roles, clock, lists, meta, points, state.scalars, context, 0, state.windows, idle))


def reference_says(program: list[tuple[int, int]], facts: list[tuple[int, int, bool]], clock: int, resumed: int) -> int:
    """The same by `schemas.rules.evaluate`."""
    good = [ok and age <= 60_000 for _, age, ok in facts]
    values = [facts[0][0], facts[1][0] + facts[2][0], max(facts[3][0], facts[4][0]), 0]
    known = [good[0], good[1] and good[2], good[3] and good[4], False]
    times = [clock - age for _, age, _ in facts]
    latest = [times[0], max(times[1:3]), max(times[3:5])]
    ages = [*(max(clock - max(time, resumed), 0) for time in latest), NEVER]
    marks = [mark(value) for value, _, _ in facts]
    flags = [marks[0], marks[1] | marks[2], marks[3] | marks[4], 0]
    value, is_known = evaluate(program, values, known, ages, [TRUE], (), flags)
    return (TRUE if value else FALSE) if is_known else UNKNOWN


@patient(max_examples=200)
@given(code(), st.lists(FACT, min_size=5, max_size=5), st.sampled_from([-(1 << 62), T0 - 1000, T0]))
def test_programs_equal_the_reference(
    program: list[tuple[int, int]], facts: list[tuple[int, int, bool]], resumed: int
) -> None:
    """Any program over known, estimated, old and missing values: true, false or unknown as the reference says."""
    expected = reference_says(program, facts, T0, resumed)
    assert kernel_says(program, facts, T0, resumed, programs.run) == expected
    cut = shortened(program)
    assert kernel_says(cut, facts, T0, resumed, programs.run) == expected
    said = kernel_says(cut, facts, T0, resumed, programs.run, idle=True)
    assert said == expected or {said, expected} == {FALSE, UNKNOWN}


def shortened(program: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The program with its shortcuts."""
    code, _ = with_shortcuts(np.array(program, np.int64).reshape(-1, 2), np.array([[0, len(program)]], np.int32))
    return [(op, argument) for op, argument in code.tolist()]


def test_shortcuts_stand_where_an_and_carries_the_result() -> None:
    """Before the right side of each AND, up to it and with it; none below a NOT, where unknown is not as good as false."""
    a, b, c = [(int(Op.LOAD), role) for role in range(3)]
    both, either, turned = (int(Op.AND), 0), (int(Op.OR), 0), (int(Op.NOT), 0)
    assert shortened([a, b, both, c, both]) == [a, (SKIP, 2), b, both, (SKIP, 2), c, both]
    assert shortened([a, b, c, both, both]) == [a, (SKIP, 5), b, (SKIP, 2), c, both, both]
    assert shortened([a, b, both, c, either]) == [a, (SKIP, 2), b, both, c, either]
    assert shortened([a, b, both, turned]) == [a, b, both, turned]


def test_what_is_skipped_is_not_looked_at() -> None:
    """False and, while idle, unknown: the result is that of the left side, and what stands behind does not run."""
    both = (int(Op.AND), 0)
    known, unknown = (5, 0, True), (5, 0, False)
    for fact, idle, expected in (((0, 0, True), False, FALSE), (unknown, True, UNKNOWN), (unknown, False, FALSE)):
        program = [(int(Op.LOAD), 0), (SKIP, 2), (int(Op.PUSH), 0), both]
        assert kernel_says(program, [fact, *[known] * 4], T0, 0, programs.run, idle=idle) == expected
    program = [(int(Op.LOAD), 0), (SKIP, 2), (int(Op.PUSH), 1), (int(Op.OR), 0)]
    assert kernel_says(program, [(0, 0, True), *[known] * 4], T0, 0, programs.run) == FALSE
    assert kernel_says(program, [known, *[known] * 4], T0, 0, programs.run) == TRUE


def test_the_python_twin_says_the_same() -> None:
    """The kernel's source, run by Python with the same cases, gives what the compiled one gives."""
    chooser = random.Random(3)
    for _ in range(300):
        facts = [
            (chooser.randrange(-100, 100), chooser.choice([0, 60_000, 60_001]), chooser.random() < 0.9)
            for _ in range(5)
        ]
        program = [
            (int(Op.LOAD), chooser.randrange(4)),
            (int(Op.PUSH), chooser.randrange(-99, 99)),
            (int(chooser.choice(BINARY)), 0),
        ]
        program += [
            (int(Op.AGE), chooser.randrange(4)),
            (int(Op.PUSH), 60_000),
            (int(Op.GT), 0),
            (int(chooser.choice([Op.AND, Op.OR])), 0),
            (int(Op.FLAG), chooser.randrange(4) + FLAG_ROLES * UNRECORDED),
            (int(chooser.choice([Op.AND, Op.OR])), 0),
        ]
        said = kernel_says(program, facts, T0, T0 - MIN, programs.run)
        assert said == kernel_says(program, facts, T0, T0 - MIN, programs.run.py_func)


def test_what_flags_are_called_is_what_points_are_marked_with() -> None:
    """The names of the language and the bits of the state."""
    assert dict(FLAGS) == {"changed_without_record": UNRECORDED}


def test_the_deepest_stack() -> None:
    """A program that needs all of the stack has room for it."""
    deep = (
        [(int(Op.PUSH), 1)] * STACK_MAX
        + [(int(Op.ADD), 0)] * (STACK_MAX - 1)
        + [(int(Op.PUSH), STACK_MAX), (int(Op.EQ), 0)]
    )
    facts = [(0, 0, True)] * 5
    assert kernel_says(deep, facts, T0, 0, programs.run) == TRUE


def test_an_empty_program_is_unknown() -> None:
    """Nothing said is nothing known."""
    assert kernel_says([], [(0, 0, True)] * 5, T0, 0, programs.run) == UNKNOWN


@pytest.mark.parametrize("clock", [-(1 << 61), T0 - 400 * 86_400_000, T0, T0 + 9 * 3_600_000, T0 + 400 * 86_400_000])
def test_schedules(clock: int) -> None:
    """The last boundary at or before the clock says what holds; before the first and after the last nothing is known."""
    lists = LAYOUT.arrays.lists
    bounds = [tuple(pair) for pair in lists[SCHEDULE + 1 : SCHEDULE + 1 + lists[SCHEDULE, 1]].tolist()]
    past = [state for time, state in bounds if time <= clock]
    expected = past[-1] if past else UNKNOWN
    said = kernel_says([(int(Op.SCHEDULE), 0)], [(0, 0, True)] * 5, clock, clock, programs.run)
    assert said == expected
    assert (expected == UNKNOWN) == (abs(clock - T0) > 86_400_000)
