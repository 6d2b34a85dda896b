"""Expressions become trees, and mistakes are told with their place."""

from fractions import Fraction

import pytest

from schemas.errors import ExpressionError
from schemas.rules.language import (
    CHARS_MAX,
    DEPTH_MAX,
    Binary,
    Call,
    Node,
    Number,
    Param,
    Role,
    Truth,
    Unary,
    parse,
    walk,
)


def shape(node: Node) -> str:
    """A tree as text in which every operation has its parentheses."""
    match node:
        case Number(_, value, unit):
            return f"{value}{unit}"
        case Truth(_, value):
            return str(value).lower()
        case Role(_, name):
            return name
        case Param(_, name):
            return f"${name}"
        case Call(_, function, argument):
            return f"{function}({argument})"
        case Unary(_, operator, operand):
            return f"({operator} {shape(operand)})"
        case Binary(_, operator, left, right):
            return f"({shape(left)} {operator} {shape(right)})"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("light > 50 W and people == 0", "((light > 50W) and (people == 0))"),
        ("a or b and not c == d", "(a or (b and (not (c == d))))"),
        ("a - b - c * d / e", "((a - b) - ((c * d) / e))"),
        ("-a * -b + 1", "(((- a) * (- b)) + 1)"),
        ("not not a", "(not (not a))"),
        ("(a or b) and c", "((a or b) and c)"),
        ("age(reading) > 3*interval(reading)", "(age(reading) > (3 * interval(reading)))"),
        ("workday() and schedule(night)", "(workday() and schedule(night))"),
        ("2h>x", "(2h > x)"),
        ("0 < x", "(0 < x)"),
        ("x > 0 and y", "((x > 0) and y)"),
        ("x > 0or y", "((x > 0) or y)"),
        ("x / 3 L/min", "(x / 3L/min)"),
        ("5 min/x", "(5min / x)"),
        ("t > 26 °C", "(t > 26°C)"),
        ("$limit + 1.25 kW", "($limit + 5/4kW)"),
        ("fill >= 80%", "(fill >= 80%)"),
        ("true == a", "(true == a)"),
    ],
)
def test_operators_bind_as_in_arithmetic(text: str, expected: str) -> None:
    """Precedence, associativity, functions, parameters and units that touch their number or hold a slash."""
    assert shape(parse(text)) == expected


def test_a_decimal_is_exact() -> None:
    """0.1 is a tenth, not a float near it."""
    found = parse("0.1 kW")
    assert isinstance(found, Number)
    assert found.value == Fraction(1, 10)


def test_places_count_from_one_over_lines() -> None:
    """A node knows its line and column, also on the second line."""
    found = parse("a and\n  b > 3 W")
    places = {node.name: (node.place.line, node.place.column) for node in walk(found) if isinstance(node, Role)}
    assert places == {"a": (1, 1), "b": (2, 3)}


@pytest.mark.parametrize(
    ("text", "line", "column", "part"),
    [
        ("", 1, 1, "ends where a value is expected"),
        ("a and", 1, 6, "ends where a value is expected"),
        ("a = 1", 1, 3, "did you mean '=='?"),
        ("a && b", 1, 3, "did you mean 'and'?"),
        ("a ≥ 1", 1, 3, "did you mean '>='?"),
        ("a > 5 Wat", 1, 7, "unknown unit 'Wat'"),
        ("a > 5 kv", 1, 7, "did you mean 'kV'?"),
        ("a >\n 5 minn", 2, 4, "did you mean 'min'?"),
        ("(a or b", 1, 1, "not closed"),
        ("a or b)", 1, 7, "not expected here"),
        ("a andd b", 1, 3, "did you mean 'and'?"),
        ("1 < a < 5", 1, 7, "cannot be chained"),
        ("a == b == c", 1, 8, "cannot be chained"),
        ("agee(x) > 1", 1, 1, "did you mean 'age'?"),
        ("age() > 1", 1, 5, "needs a name"),
        ("schedule(a b)", 1, 12, "schedule(name)"),
        ("workday(x)", 1, 9, "is written workday()"),
        ("flag(x)", 1, 7, "flag(role, changed_without_record)"),
        ("flag(x, changed)", 1, 9, "unknown flag 'changed'"),
        ("flag(x, 3)", 1, 9, "unknown flag"),
        ("flag(x, changed_without_record", 1, 31, "is written flag("),
        ("a + * b", 1, 5, "a value is"),
        ("a > 'x'", 1, 5, "does not belong"),
        ("a > 12345678901234567890", 1, 5, "20 digits"),
    ],
)
def test_mistakes_have_a_place_and_a_hint(text: str, line: int, column: int, part: str) -> None:
    """Every mistake names line and column, and what may have been meant."""
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert (caught.value.line, caught.value.column) == (line, column)
    assert part in caught.value.reason
    assert f"column {column}" in str(caught.value.faults[0])


@pytest.mark.parametrize(
    "text",
    [
        "(" * (DEPTH_MAX + 1) + "a" + ")" * (DEPTH_MAX + 1),
        "not " * 100 + "a",
        "a+" * 900 + "a",
        "a" * (CHARS_MAX + 1),
        "-" * 300 + "a",
    ],
)
def test_size_and_depth_are_bounded(text: str) -> None:
    """No expression can exhaust the stack of the parser or of what walks its tree."""
    with pytest.raises(ExpressionError, match=r"levels|words and signs|characters"):
        parse(text)


def test_the_longest_chain_that_is_taken_can_be_walked() -> None:
    """A chain just below the limit is a tree that can still be walked."""
    found = parse("a" + " + a" * 195)
    assert sum(isinstance(node, Role) for node in walk(found)) == 196
