"""Shortcuts in programs: what cannot matter any more is not looked at.

`a and b` is never true where a is not, so the instructions of b are skipped when a is false; and when a is unknown too,
as long as the instance is idle: unknown and false both leave it so. `increase(reading, 1d) <= 0 Wh and siblings(...)`
asks the siblings of a meter that moves nothing, which was four fifths of the cost of the packs for rooms and meters.

Only what an AND or OR carries to the result is cut short: below a NOT, unknown is not as good as false.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.rules.program import Op

SKIP: Final = 40
"""Operation of the kernel alone; argument: how many instructions are left out, up to the AND and with it."""
_LEAVES: Final = (Op.PUSH, Op.LOAD, Op.AGE, Op.SCHEDULE, Op.WINDOW, Op.SIBLINGS, Op.FLAG)
_UNARY: Final = (Op.NEG, Op.NOT)

Code = NDArray[np.int64]


def with_shortcuts(code: Code, *spans: NDArray[np.int32]) -> tuple[Code, list[NDArray[np.int32]]]:
    """The programs with shortcuts in them, and where each of them lies now.

    Args:
        code: int64[n, 2], programs one after another.
        spans: int32[rules, 2] each: beginnings and ends of programs in `code`; programs may be shared, and empty.

    Returns:
        (code, spans), of the same shapes but for the length of the code.
    """
    made: list[tuple[int, int]] = []
    places: dict[tuple[int, int], tuple[int, int]] = {}
    moved = []
    for span in spans:
        rows = []
        for first, last in span.tolist():
            if (first, last) not in places:
                begin = len(made)
                made += _cut(code[first:last].tolist())
                places[first, last] = (begin, len(made))
            rows.append(places[first, last])
        moved.append(np.array(rows, np.int32).reshape(-1, 2))
    return np.array(made, np.int64).reshape(-1, 2), moved


def right_sides(program: list[list[int]]) -> dict[int, int]:
    """Place of each binary operation → where its right side begins; its left one ends there."""
    begins: list[int] = []  # where the part of each value on the stack begins
    rights: dict[int, int] = {}
    for at, (op, _) in enumerate(program):
        if op in _LEAVES:
            begins.append(at)
        elif op not in _UNARY:
            rights[at] = begins.pop()
    return rights


def _cut(program: list[list[int]]) -> list[tuple[int, int]]:
    """A program with a SKIP before the right side of each AND that carries its result."""
    rights = right_sides(program)
    skips: dict[int, list[int]] = {}  # by the instruction before which they stand: the ANDs, outer ones first
    carrying = [len(program) - 1] if program else []
    while carrying:
        at = carrying.pop()
        if program[at][0] in (Op.AND, Op.OR):
            if program[at][0] == Op.AND:
                skips.setdefault(rights[at], []).append(at)
            carrying += [rights[at] - 1, at - 1]
    places, place = [], 0
    for at in range(len(program)):
        place += len(skips.get(at, ()))
        places.append(place)
        place += 1
    found: list[tuple[int, int]] = []
    for at, (op, argument) in enumerate(program):
        found += [(SKIP, places[end] - len(found) - index) for index, end in enumerate(skips.get(at, ()))]
        found.append((op, argument))
    return found
