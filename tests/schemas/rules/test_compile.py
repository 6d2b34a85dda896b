"""Expressions become programs that mean the same, in exact arithmetic and three-valued logic."""

import dataclasses
from collections.abc import Callable
from fractions import Fraction
from typing import Final

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from schemas.errors import ExpressionError
from schemas.rules.compile import Program, Scope, compile_estimate, compile_expression, stack_depth
from schemas.rules.evaluate import INT64_MAX, INT64_MIN, evaluate
from schemas.rules.language import parse
from schemas.rules.program import FALSE, FLAGS, STACK_MAX, TRUE, UNKNOWN, Op
from schemas.rules.quantities import of_point

ROLES: Final = {
    "p": of_point("gauge", "W"),
    "q": of_point("gauge", "kW"),
    "n": of_point("state", "people"),
    "b": of_point("state", "1"),
    "f": of_point("gauge", "L/min"),
    "v": of_point("gauge", "m/s"),
    "t": of_point("gauge", "degC"),
    "any": None,
}
INDEX: Final = {name: index for index, name in enumerate(ROLES)}
SCOPE: Final = Scope(
    ROLES,
    {"limit": parse("50 W"), "on": parse("true")},
    {"workday": 0, "working": 1},
    {"p": 900_000, "any": 60_000},
)


@dataclasses.dataclass(frozen=True)
class Env:
    """What a role is: (internal integer or None for unknown); ages in ms or None; schedules."""

    values: dict[str, int | None]
    ages: dict[str, int | None]
    schedules: tuple[int, int]

    def real(self, name: str) -> Fraction | None:
        """The value in base units."""
        quantity, value = ROLES[name], self.values[name]
        return None if value is None or quantity is None else value * quantity.step

    def run(self, program: Program) -> bool | None:
        """What the reference evaluator makes of a program."""
        values = [self.values[name] or 0 for name in ROLES]
        known = [self.values[name] is not None for name in ROLES]
        ages = [-1 if self.ages[name] is None else int(self.ages[name] or 0) for name in ROLES]
        value, is_known = evaluate(program.code, values, known, ages, self.schedules)
        return bool(value) if is_known else None


def compiled(text: str, scope: Scope = SCOPE) -> Program:
    """A program that must exist."""
    program = compile_expression(parse(text), scope)
    assert program is not None
    return program


def env(**values: int | None) -> Env:
    """Unnamed roles are unknown."""
    return Env({name: values.get(name) for name in ROLES}, dict.fromkeys(ROLES), (UNKNOWN, UNKNOWN))


# Each strategy makes (text, meaning): the meaning is computed with fractions, without any code of the compiler.
Number = tuple[str, Callable[[Env], Fraction | None]]
Truth = tuple[str, Callable[[Env], bool | None]]


def _constant(value: Fraction) -> Callable[[Env], Fraction | None]:
    return lambda _: value


def _named(name: str) -> Number:
    return name, lambda where: where.real(name)


def _apply(left: Number, operator: str, right: Number) -> Number:
    function = {"+": Fraction.__add__, "-": Fraction.__sub__, "*": Fraction.__mul__, "/": Fraction.__truediv__}[
        operator
    ]

    def meaning(where: Env) -> Fraction | None:
        first, second = left[1](where), right[1](where)
        return None if first is None or second is None else Fraction(function(first, second))

    return f"({left[0]} {operator} {right[0]})", meaning


_decimals = st.tuples(st.integers(-2000, 2000), st.sampled_from([1, 10, 100]))
_watts = _decimals.flatmap(
    lambda pair: st.sampled_from(
        [
            (f"{pair[0] / pair[1]:.2f} W", _constant(Fraction(pair[0], pair[1]))),
            (f"{pair[0] / pair[1]:.2f} kW", _constant(Fraction(1000 * pair[0], pair[1]))),
        ]
    )
)
_counts = st.integers(-20, 20).map(lambda count: (str(count), _constant(Fraction(count))))
_factors = st.sampled_from(["2", "0.5", "3", "-1", "1.1", "-0.25"]).map(lambda text: (text, _constant(Fraction(text))))


def _arithmetic(leaves: st.SearchStrategy[Number]) -> st.SearchStrategy[Number]:
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.builds(_apply, inner, st.sampled_from(["+", "-"]), inner),
            st.builds(_apply, inner, st.sampled_from(["*", "/"]), _factors),
            st.builds(lambda one, other: _apply(other, "*", one), inner, _factors),
        ),
        max_leaves=4,
    )


_powers = _arithmetic(
    st.one_of(_watts, st.sampled_from([_named("p"), _named("q"), ("$limit", _constant(Fraction(50)))]))
)
_numbers = _arithmetic(
    st.one_of(_counts, st.sampled_from([_named("n"), _named("b"), _apply(_named("n"), "*", _named("b"))]))
)

_COMPARE: Final[dict[str, Callable[[Fraction, Fraction], bool]]] = {
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
    "==": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
}


def _compare(left: Number, operator: str, right: Number) -> Truth:
    def meaning(where: Env) -> bool | None:
        first, second = left[1](where), right[1](where)
        return None if first is None or second is None else _COMPARE[operator](first, second)

    return f"({left[0]} {operator} {right[0]})", meaning


def _connect(left: Truth, operator: str, right: Truth) -> Truth:
    def meaning(where: Env) -> bool | None:
        sides = {left[1](where), right[1](where)}
        wins = operator == "or"
        return wins if wins in sides else None if None in sides else not wins

    return f"({left[0]} {operator} {right[0]})", meaning


def _negate(inner: Truth) -> Truth:
    def meaning(where: Env) -> bool | None:
        value = inner[1](where)
        return None if value is None else not value

    return f"not {inner[0]}", meaning


def _same(left: Truth, right: Truth) -> Truth:
    def meaning(where: Env) -> bool | None:
        first, second = left[1](where), right[1](where)
        return None if first is None or second is None else first == second

    return f"({left[0]} == {right[0]})", meaning


def _scheduled(index: int) -> Callable[[Env], bool | None]:
    return lambda where: {FALSE: False, TRUE: True, UNKNOWN: None}[where.schedules[index]]


def _older(role: str, limit_ms: int) -> Callable[[Env], bool | None]:
    def meaning(where: Env) -> bool | None:
        age = where.ages[role]
        return None if age is None else age > limit_ms

    return meaning


def _present(where: Env) -> bool | None:
    value = where.values["b"]
    return None if value is None else value != 0


_truth_leaves: st.SearchStrategy[Truth] = st.one_of(
    st.builds(_compare, _powers, st.sampled_from(sorted(_COMPARE)), _powers),
    st.builds(_compare, _numbers, st.sampled_from(sorted(_COMPARE)), _numbers),
    st.sampled_from(
        [
            ("b", _present),
            ("workday()", _scheduled(0)),
            ("schedule(working)", _scheduled(1)),
            ("age(p) > 5 min", _older("p", 300_000)),
            ("(2 * age(any) > 6 * interval(any))", _older("any", 180_000)),
            ("true", lambda _: True),
            ("false", lambda _: False),
        ]
    ),
)
_truths = st.recursive(
    _truth_leaves,
    lambda inner: st.one_of(
        st.builds(_connect, inner, st.sampled_from(["and", "or"]), inner),
        st.builds(_negate, inner),
        st.builds(
            _same, inner.map(lambda one: (f"({one[0]})", one[1])), inner.map(lambda one: (f"({one[0]})", one[1]))
        ),
    ),
    max_leaves=6,
)
_envs = st.builds(
    Env,
    st.fixed_dictionaries(
        {name: st.one_of(st.none(), st.integers(0, 3), st.integers(-100_000, 100_000)) for name in ROLES}
    ),
    st.fixed_dictionaries({name: st.one_of(st.none(), st.integers(0, 1_000_000)) for name in ROLES}),
    st.tuples(st.sampled_from([FALSE, TRUE, UNKNOWN]), st.sampled_from([FALSE, TRUE, UNKNOWN])),
)


@settings(max_examples=300, deadline=None)
@given(truth=_truths, where=_envs)
def test_a_program_means_what_its_expression_says(truth: tuple[str, Callable[[Env], bool | None]], where: Env) -> None:
    """Random expressions: compiled and run, they give what fractions and three-valued logic give directly."""
    text, meaning = truth
    try:
        program = compiled(text)
    except ExpressionError as error:
        assert any(part in error.reason for part in ("always", "never be equal", "a stack of")), error.reason
        reject()
    assert where.run(program) == meaning(where), text
    assert stack_depth(program.code) <= STACK_MAX


@settings(max_examples=200, deadline=None)
@given(
    steps=st.integers(-5, 5),
    limit=st.integers(-6000, 6000),
    operator=st.sampled_from(["<", "<=", ">", ">="]),
)
def test_a_threshold_between_two_steps_compares_exactly(steps: int, limit: int, operator: str) -> None:
    """A speed in m/s against km/h compares as the fractions do, though 1 km/h is no whole number of steps."""
    program = compiled(f"v {operator} {limit} km/h")
    near = int(Fraction(limit * 1000 * 5, 18)) + steps
    expected = _COMPARE[operator](Fraction(near, 1000), Fraction(limit * 5, 18))
    assert env(v=near).run(program) == expected


def test_units_are_converted_to_the_points_own_steps() -> None:
    """The same threshold against W, kW, a ratio and a flow."""
    assert compiled("p > 50 W").code[1] == (Op.PUSH, 50_000)
    assert compiled("q > 50 W").code[1] == (Op.PUSH, 50)
    assert compiled("q > 1.5 kW").code[1] == (Op.PUSH, 1500)
    assert compiled("f > 0.6 m3/h").code[1] == (Op.PUSH, 10_000)
    scope = dataclasses.replace(SCOPE, roles={"fill": of_point("gauge", "%"), "soc": of_point("gauge", "1")})
    assert compiled("fill >= 80 %", scope).code[1] == (Op.PUSH, 80_000)
    assert compiled("soc >= 80 %", scope).code[1] == (Op.PUSH, 800)


def test_signs_survive_scaling() -> None:
    """A negative factor turns the sign and keeps the size; nothing minus a value is the negative value."""
    assert env(p=-30_000).run(compiled("p * -0.5 > 14 W")) is True
    assert env(p=-30_000).run(compiled("p * -0.5 > 15 W")) is False
    assert env(p=2000).run(compiled("0 W - p < -1 W")) is True
    assert env(p=2000).run(compiled("p - 0 W < -1 W")) is False


def test_ages_say_when_the_result_may_change() -> None:
    """Strict and inclusive comparisons change one millisecond apart; every threshold is listed with its role."""
    assert compiled("age(p) > 15 min").ages == ((INDEX["p"], 900_001),)
    assert compiled("age(p) >= 15 min").ages == ((INDEX["p"], 900_000),)
    assert compiled("15 min < age(p)").ages == ((INDEX["p"], 900_001),)
    assert compiled("age(p) < 1 s or age(any) <= 2 s").ages == ((INDEX["p"], 1000), (INDEX["any"], 2001))
    assert compiled("age(any) / 3 > interval(any)").ages == ((INDEX["any"], 180_001),)
    assert compiled("age(p) > 1 s").reads == (INDEX["p"],)


def test_a_quotient_of_measured_values_is_cut_to_a_millionth_downwards() -> None:
    """Thousandths of a watt by watts keep nine digits, rounded towards minus infinity; by zero it is unknown."""
    program = compiled("p / q > 0.333333333")
    assert env(p=1000, q=3).run(program) is False  # 1 W / 3 W
    assert env(p=1000, q=2).run(program) is True
    assert env(p=1000, q=0).run(program) is None
    assert env(p=-1000, q=3).run(compiled("p / q < -0.333333333")) is True
    assert env(p=600_000).run(compiled("1 kW / p > 1.6")) is True
    assert env(p=600_000).run(compiled("1 kW / p > 1.67")) is False


def test_overflow_is_unknown() -> None:
    """A product outside int64 does not wrap."""
    program = compiled("p * p > 0 W * 1 W or n > 0".replace("0 W * 1 W", "1 W * 1 W"))
    assert env(p=INT64_MAX, n=0).run(program) is None
    assert env(p=INT64_MAX, n=1).run(program) is True
    assert env(p=INT64_MIN).run(compiled("-p > 1 W")) is None


def test_an_absent_role_leaves_out_what_is_said_of_it() -> None:
    """and, or and not drop the operand that reads an optional role that the subject lacks."""
    scope = dataclasses.replace(SCOPE, absent=frozenset({"n"}))
    assert compiled("p > 1 W and n == 0", scope).code == compiled("p > 1 W").code
    assert compiled("not (n > 0) or p > 1 W", scope).code == compiled("p > 1 W").code
    assert compile_expression(parse("n == 0"), scope) is None
    assert compile_expression(parse("age(n) > 1 s and n + 1 > 2"), scope) is None


@pytest.mark.parametrize(
    ("text", "column", "part"),
    [
        ("p > 50", 3, "power > a number: the dimensions do not fit; a number needs a unit here"),
        ("p > 3 L", 3, "power > volume"),
        ("p + f > 1 W", 3, "power + flow"),
        ("t > 3 K", 3, "temperature > temperature difference"),
        ("p * 2 h > 1 kWh", 9, "power times time > energy"),
        ("p", 1, "not a truth"),
        ("n > 0 and p", 11, "not a truth"),
        ("3 W", 1, "not a truth"),
        ("not p", 5, "not a truth"),
        ("(n > 0) + 1 > 2", 4, "a truth cannot be used with '+'"),
        ("(n > 0) < b", 9, "truths have no order"),
        ("-(n > 0)", 1, "write `not`"),
        ("peple > 0", 1, "unknown role 'peple'"),
        ("age(nn) > 1 s", 1, "unknown role 'nn'; did you mean 'n'?"),
        ("schedule(workin)", 1, "did you mean 'working'?"),
        ("p > $limt", 5, "did you mean 'limit'?"),
        ("any > 3", 1, "only age(any) and interval(any)"),
        ("age(f) > interval(f)", 10, "no interval"),
        ("age(p) + 1 min > 5 min", 16, "only be compared with a constant"),
        ("age(p) > age(f)", 8, "only be compared with a constant"),
        ("-age(p) < 5 min * -1", 9, "only be compared with a constant"),
        ("v == 10 km/h", 3, "never be equal"),
        ("p / 0 > 1 W", 3, "divided by zero"),
        ("p * 0 > 1 W", 3, "multiplied by zero"),
        ("n >= 0 or true", 8, "always true"),
        ("1 W > 2 W", 5, "always false"),
        ("p > 10000000000000000 MW", 3, "outside of int64"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(text: str, column: int, part: str) -> None:
    """Unknown names, dimensions that do not fit, results that are no truth or never change."""
    with pytest.raises(ExpressionError) as caught:
        compiled(text)
    assert part in caught.value.reason
    assert caught.value.column == column


def test_a_stack_that_is_too_deep_is_refused() -> None:
    """Nesting to the right needs a place on the stack for every level."""
    deep = "n + (" * 16 + "b" + ")" * 16 + " > 1"
    with pytest.raises(ExpressionError, match="a stack of 17"):
        compiled(deep)
    assert stack_depth(compiled("n + (" * 15 + "b" + ")" * 15 + " > 1").code) == STACK_MAX


def test_flags_of_a_role() -> None:
    """A mark is a truth of its own, of a role that may be anything, known whatever its value is."""
    program = compiled("flag(any, changed_without_record) and not flag(p, changed_without_record)")
    assert program.reads == (INDEX["p"], INDEX["any"])
    marks = [0] * len(ROLES)
    for marked, expected in (((), False), (("any",), True), (("any", "p"), False)):
        flags = [FLAGS["changed_without_record"] * (name in marked) for name in ROLES]
        found = evaluate(program.code, marks, [False] * len(ROLES), [-1] * len(ROLES), (UNKNOWN, UNKNOWN), (), flags)
        assert found == (int(expected), True)


@pytest.mark.parametrize(
    "code",
    [
        [],
        [(Op.AND, 0)],
        [(Op.PUSH, 1), (Op.PUSH, 2)],
        [(Op.LOAD, 9)],
        [(Op.SCHEDULE, -1)],
        [(Op.FLAG, 0)],
        [(Op.PUSH, 1)] * (STACK_MAX + 1),
        [(99, 0)],
    ],
)
def test_the_evaluator_refuses_programs_that_are_not_well_formed(code: list[tuple[int, int]]) -> None:
    """Wrong stacks, indices and operations are errors, never a result."""
    with pytest.raises(ValueError, match=r"."):
        evaluate(code, [0], [True], [0], [0])


def test_a_span_in_minutes_may_be_written_as_durations_are() -> None:
    """`30m` is half an hour where a span is asked for, also out of a parameter; elsewhere `m` is a metre."""
    roles = {"light": of_point("gauge", "W")}
    for text in ("avg_over(light, 30m) > 50 W", "avg_over(light, 30 min) > 50 W", "avg_over(light, $span) > 50 W"):
        program = compile_expression(parse(text), Scope(roles, {"span": parse("30m")}, {}, {}))
        assert program is not None
        assert [look.cells for look in program.looks] == [2]
    with pytest.raises(ExpressionError):
        compile_expression(parse("light > 30m"), Scope(roles, {}, {}, {}))


@pytest.mark.parametrize(
    ("text", "values", "per_hour"),
    [
        ("f", {"f": 300}, 18_000),  # 0.3 L/min
        ("f - 0.2 L/min", {"f": 300}, 6_000),
        ("p", {"p": 1500}, 1),  # 1.5 W in whole Wh an hour
        ("q", {"q": 1500}, 1500),
    ],
)
def test_an_estimate_is_an_hour_in_the_smallest_unit(text: str, values: dict[str, int], per_hour: int) -> None:
    """Millilitres or watt hours, rounded down; unknown where a role is."""
    program = compile_estimate(parse(text), SCOPE)
    assert program is not None
    row = [values.get(name, 0) for name in ROLES]
    assert evaluate(program.code, row, [True] * len(row), [0] * len(row), (0, 0)) == (per_hour, True)
    assert not evaluate(program.code, row, [False] * len(row), [0] * len(row), (0, 0))[1]


@pytest.mark.parametrize("text", ["f > 1 L/min", "t", "f * f", "5 L/min", "age(p)"])
def test_an_estimate_that_is_no_flow_is_refused(text: str) -> None:
    """A truth, a temperature, a square, a constant, an age."""
    with pytest.raises(ExpressionError, match="estimate"):
        compile_estimate(parse(text), SCOPE)
