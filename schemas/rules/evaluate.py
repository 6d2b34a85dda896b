"""The reference evaluator: what a program means, in plain Python. Tests hold the kernel and the compiler against it."""

from collections.abc import Callable, Sequence
from typing import Final

from schemas.rules.program import FALSE, FLAG_ROLES, STACK_MAX, UNKNOWN, Op

INT64_MAX: Final = (1 << 63) - 1
INT64_MIN: Final = -(1 << 63)
NEVER: Final = -1
"""Age of a role that has never had a reading."""

_Operand = tuple[int, bool]
_UNKNOWN: Final[_Operand] = (0, False)

_COMPARE: Final[dict[Op, Callable[[int, int], bool]]] = {
    Op.LT: lambda left, right: left < right,
    Op.LE: lambda left, right: left <= right,
    Op.GT: lambda left, right: left > right,
    Op.GE: lambda left, right: left >= right,
    Op.EQ: lambda left, right: left == right,
    Op.NE: lambda left, right: left != right,
}


def evaluate(
    code: Sequence[tuple[int, int]],
    values: Sequence[int],
    known: Sequence[bool],
    ages: Sequence[int],
    schedules: Sequence[int],
    looks: Sequence[tuple[int, bool]] = (),
    flags: Sequence[int] = (),
) -> tuple[int, bool]:
    """Runs a program.

    Args:
        code: (operation, argument) of every instruction.
        values: value of each role, internal integers.
        known: whether it is known.
        ages: milliseconds since the last reading of each role, NEVER where there was none.
        schedules: FALSE, TRUE or UNKNOWN of each schedule.
        looks: (value, known) of what looks back or at siblings.
        flags: marks of each role; those of its points together.

    Returns:
        (value, known); the value of an unknown result is 0. A result outside int64, also of a * b before it is divided,
        is unknown.

    Raises:
        ValueError: the program is not well-formed: stack, operation or index.
    """
    stack: list[_Operand] = []
    for number, argument in code:
        op = Op(number)
        if op in (Op.WINDOW, Op.SIBLINGS):
            if not 0 <= argument < len(looks):
                raise ValueError(f"{op.name} of index {argument}, of {len(looks)}")
            stack.append(looks[argument] if looks[argument][1] else _UNKNOWN)
        elif op == Op.FLAG:
            if not 0 <= argument % FLAG_ROLES < len(flags):
                raise ValueError(f"{op.name} of index {argument % FLAG_ROLES}, of {len(flags)}")
            stack.append((int(flags[argument % FLAG_ROLES] & argument // FLAG_ROLES != 0), True))
        elif op in (Op.PUSH, Op.LOAD, Op.AGE, Op.SCHEDULE):
            stack.append(_leaf(op, argument, values, known, ages, schedules))
        else:
            needed = 1 if op in (Op.NEG, Op.NOT) else 2
            if len(stack) < needed:
                raise ValueError("the stack of the program is empty")
            operands = stack[-needed:]
            del stack[-needed:]
            stack.append(_apply(op, argument, operands))
        if len(stack) > STACK_MAX:
            raise ValueError("the stack of the program is too deep")
    if len(stack) != 1:
        raise ValueError("a program leaves one result")
    return stack[0]


def _leaf(
    op: Op,
    argument: int,
    values: Sequence[int],
    known: Sequence[bool],
    ages: Sequence[int],
    schedules: Sequence[int],
) -> _Operand:
    if op == Op.PUSH:
        return argument, True
    size = len(schedules) if op == Op.SCHEDULE else len(values)
    if not 0 <= argument < size:
        raise ValueError(f"{op.name} of index {argument}, of {size}")
    if op == Op.LOAD:
        return (values[argument], True) if known[argument] else _UNKNOWN
    if op == Op.AGE:
        return (ages[argument], True) if ages[argument] != NEVER else _UNKNOWN
    return (schedules[argument], True) if schedules[argument] != UNKNOWN else _UNKNOWN


def _apply(op: Op, argument: int, operands: Sequence[_Operand]) -> _Operand:
    if op in (Op.AND, Op.OR):
        return _logic(op, operands)
    if not all(is_known for _, is_known in operands):
        return _UNKNOWN
    first = operands[0][0]
    if op == Op.NOT:
        return int(first == FALSE), True
    if op == Op.NEG:
        return _bounded(-first)
    second = operands[1][0]
    if op in _COMPARE:
        return int(_COMPARE[op](first, second)), True
    if op == Op.ADD:
        return _bounded(first + second)
    if op == Op.SUB:
        return _bounded(first - second)
    product = first * (argument if op == Op.DIV else second)
    divisor = second if op == Op.DIV else argument
    if divisor == 0 or not _bounded(product)[1]:
        return _UNKNOWN
    return _bounded(product // divisor)


def _logic(op: Op, operands: Sequence[_Operand]) -> _Operand:
    wins = op == Op.OR
    if any(is_known and (value != FALSE) == wins for value, is_known in operands):
        return int(wins), True
    return (int(not wins), True) if all(is_known for _, is_known in operands) else _UNKNOWN


def _bounded(value: int) -> _Operand:
    return (value, True) if INT64_MIN <= value <= INT64_MAX else _UNKNOWN
