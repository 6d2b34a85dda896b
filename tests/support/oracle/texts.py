"""What a rule says, read from its text: no tree and no program of the compiler's, Python's own parser and fractions.

Numbers with units become calls, and the tree of Python's `ast` is walked in three-valued logic (None is unknown). It
knows what the histories of the tests use: roles, arithmetic, comparisons, and/or/not, `age`, `interval`, `schedule`.
"""

import ast
import operator
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, Final

Value = Fraction | bool | None
_UNITS: Final[Mapping[str, Fraction]] = {
    "": Fraction(1), "W": Fraction(1), "kW": Fraction(1000), "L/min": Fraction(1), "degC": Fraction(1), "%": Fraction(1, 100),
    "s": Fraction(1000), "min": Fraction(60_000), "h": Fraction(3_600_000),
}  # fmt: skip
_NUMBER: Final = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)\s*(L/min|degC|kW|min|W|s|h|%)?(?![\w.])")
_ORDER: Final = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}  # fmt: skip
_SUMS: Final = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}


class Absent(Exception):
    """A role that the subject does not have."""


def holds(text: str, role: Callable[[str], Value], call: Callable[[str, str], Value]) -> bool | None:
    """What an expression says.

    Args:
        text: of the rule.
        role: value of a role in its unit; raises `Absent`.
        call: value of a function of one name.
    """
    marked = _NUMBER.sub(lambda found: f"U('{found.group(1)}','{found.group(2) or ''}')", text)
    found = _walk(ast.parse(marked.strip(), mode="eval").body, role, call)
    return None if found is None else bool(found)


def _walk(node: ast.expr, role: Callable[[str], Value], call: Callable[[str, str], Value]) -> Value:
    if isinstance(node, ast.Name):
        return role(node.id)
    if isinstance(node, ast.Call):
        assert isinstance(node.func, ast.Name)
        if node.func.id == "U":
            number, unit = (ast.literal_eval(argument) for argument in node.args)
            return Fraction(number) * _UNITS[unit]
        (argument,) = node.args
        assert isinstance(argument, ast.Name)
        return call(node.func.id, argument.id)
    if isinstance(node, ast.UnaryOp):
        inner = _walk(node.operand, role, call)
        return None if inner is None else not inner
    if isinstance(node, ast.BoolOp):
        return _joined(node, role, call)
    if isinstance(node, ast.Compare):
        left, right = _walk(node.left, role, call), _walk(node.comparators[0], role, call)
        return None if left is None or right is None else bool(_ORDER[type(node.ops[0])](left, right))
    assert isinstance(node, ast.BinOp)
    left, right = _walk(node.left, role, call), _walk(node.right, role, call)
    if left is None or right is None:
        return None
    if isinstance(node.op, ast.Div):
        return Fraction(left) / Fraction(right)
    found: Any = _SUMS[type(node.op)](left, right)
    return Fraction(found)


def _joined(node: ast.BoolOp, role: Callable[[str], Value], call: Callable[[str, str], Value]) -> Value:
    """Three-valued and/or: the winning truth wins over what is unknown."""
    wins = isinstance(node.op, ast.Or)
    parts: list[bool | None] = []
    for value in node.values:
        try:
            found = _walk(value, role, call)
        except Absent:
            continue
        parts.append(None if found is None else bool(found))
    if not parts:
        raise Absent
    return wins if wins in parts else None if None in parts else not wins
