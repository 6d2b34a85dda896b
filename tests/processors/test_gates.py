"""A gate that is shut means that the rule is not true; and what is looked at stays exactly what it was."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from processors.gates import GATE_SHIFT, INSTANCE_MASK, IS_WINDOW, OTHER_SHIFT, gate, gates_of
from processors.layout import LOOKS_ALWAYS, LOOKS_AT_VALUE, LOOKS_BACK, Layout
from processors.layout_build import build
from schemas.rules.program import TRUE, Op
from tests.processors.test_programs import FACT, code, reference_says
from tests.processors.world import T0, document, pack, point
from tests.support.patience import patient


def passes(bounds: tuple[int, int], value: int) -> bool:
    """As the docstring of `gate` has it."""
    low, high = bounds
    return low <= value <= high if low <= high else not high < value < low


@given(st.sampled_from([Op.LT, Op.LE, Op.GT, Op.GE, Op.EQ, Op.NE]), st.integers(-4, 4), st.integers(-5, 5))
def test_a_gate_is_its_comparison(op: Op, constant: int, value: int) -> None:
    """Values pass exactly where the comparison is true."""
    said = {
        Op.LT: value < constant, Op.LE: value <= constant, Op.GT: value > constant, Op.GE: value >= constant,
        Op.EQ: value == constant, Op.NE: value != constant,
    }  # fmt: skip
    assert passes(gate(op, constant), value) == said[op]


LEAF = st.tuples(
    st.integers(0, 2), st.sampled_from([Op.LT, Op.LE, Op.GT, Op.GE, Op.EQ, Op.NE]), st.integers(-5, 5), st.booleans()
)


@st.composite
def conjunction(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Comparisons of roles with constants, and any other program, in any order, tied by AND."""
    parts = []
    for role, op, constant, turned in draw(st.lists(LEAF, min_size=1, max_size=3)):
        sides = [(int(Op.LOAD), role), (int(Op.PUSH), constant)]
        parts.append([*(reversed(sides) if turned else sides), (int(op), 0)])
    parts.append([*draw(code(2)), (int(Op.PUSH), 0), (int(Op.NE), 0)])
    parts = draw(st.permutations(parts))
    program = list(parts[0])
    for part in parts[1:]:
        program += [*part, (int(Op.AND), 0)]
    return program


SMALL = st.tuples(st.integers(-6, 6), st.sampled_from([0, 10**7]), st.booleans())


@patient(max_examples=300)
@given(st.one_of(code(), conjunction()), st.lists(st.one_of(SMALL, SMALL, FACT), min_size=5, max_size=5))
def test_what_is_barred_is_not_true(program: list[tuple[int, int]], facts: list[tuple[int, int, bool]]) -> None:
    """Whatever else a program asks: where the value of a gated role does not pass, it is false or unknown."""
    values = [facts[0][0], facts[1][0] + facts[2][0], max(facts[3][0], facts[4][0]), 0]
    gates = gates_of([list(one) for one in program])
    shut = [
        argument for (op, argument), bounds in gates.items() if op == Op.LOAD and not passes(bounds, values[argument])
    ]
    if shut:
        assert reference_says(program, facts, T0, T0 - 1000) != TRUE


def built(*rules: str) -> Layout:
    """A room with a light (50 W and more burns), a register, and people."""
    points = [
        point(1, space="r1"),
        point(2, space="r1", role="occupancy", kind="state", unit="1"),
        point(3, space="r1", role="energy", kind="register", unit="kWh"),
        point(4, space="r2"),
        point(5, space="r2"),
    ]
    return build("meter.readings", {"s1": document(points, pack(*rules))}, {"s1": 1})


def edges(layout: Layout) -> dict[tuple[str, str, str], tuple[int, object, object, object]]:
    """(point, rule, subject) → (how it looks, its own gate, what else is asked, that gate); None: nothing."""
    lists, found = layout.arrays.lists, {}
    for row, meta in enumerate(layout.arrays.meta):
        for packed, look in lists[meta["edges"] : meta["edges_end"]].tolist():
            place, other = look >> GATE_SHIFT, (packed >> OTHER_SHIFT) - 1
            name = (
                f"window {other - IS_WINDOW}" if other >= IS_WINDOW else layout.point_ids[other] if other >= 0 else None
            )
            own, second = (tuple(lists[place].tolist()), tuple(lists[place + 1].tolist())) if place else (None, None)
            found[layout.point_ids[row], *layout.instance_names[packed & INSTANCE_MASK]] = (
                look & (LOOKS_AT_VALUE | LOOKS_ALWAYS | LOOKS_BACK), own, name, second,
            )  # fmt: skip
    return found


EMPTY = """Lights
        each: {space: [office]}
        roles: {light: light_power, people: occupancy}
        expr: light > 50 W and people == 0"""
PAST = """Past
        each: {space: [office]}
        roles: {meter: energy, people: occupancy}
        expr: increase(meter, 1h) > 2 kWh and people == 0"""
STUCK = """Stuck
        each: {space: [office]}
        roles: {meter: energy}
        expr: increase(meter, 1h) <= 0 kWh"""
EITHER = """Either
        each: {space: [office]}
        roles: {light: light_power, people: occupancy}
        expr: light > 50 W or people == 0"""


def test_edges_know_both_sides_of_a_rule() -> None:
    """Each reading asks its own value and the other one's; a sum of two lights has no gate."""
    found = edges(built(EMPTY))
    most = gate(Op.GT, 0)[1]
    bright, nobody = (50_001, most), (0, 0)
    assert found["p1", "Lights", "r1"] == (LOOKS_AT_VALUE, bright, "p2", nobody)
    assert found["p2", "Lights", "r1"] == (LOOKS_AT_VALUE, nobody, "p1", bright)
    assert ("p4", "Lights", "r2") not in found


def test_what_looks_back_is_asked_when_it_has_moved() -> None:
    """A register that moves wakes nobody between two cells; the window is the gate of the other side."""
    found = edges(built(PAST, STUCK))
    assert found["p3", "Past", "r1"][0] == LOOKS_BACK
    assert found["p3", "Past", "r1"][2:] == ("p2", (0, 0))
    assert found["p2", "Past", "r1"][:2] == (LOOKS_AT_VALUE, (0, 0))
    assert str(found["p2", "Past", "r1"][2]).startswith("window")
    assert found["p3", "Stuck", "r1"][3] == gate(Op.LE, 0)


def test_no_gate_where_nothing_has_to_hold() -> None:
    """Of an OR neither side must be true."""
    assert edges(built(EITHER))["p1", "Either", "r1"] == (LOOKS_AT_VALUE, None, None, None)


def test_a_sum_has_no_gate() -> None:
    """Two lights in a room: what one of them takes bars nothing."""
    found = edges(
        built("""Bright
        each: {space: [office]}
        roles: {light: light_power}
        expr: light > 50 W""")
    )
    assert found["p4", "Bright", "r2"] == found["p5", "Bright", "r2"] == (LOOKS_AT_VALUE, None, None, None)
    assert found["p1", "Bright", "r1"][1] == (50_001, gate(Op.GT, 0)[1])
    assert np.all(built(EMPTY).arrays.meta["always"] == 0)
