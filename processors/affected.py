"""Which rules look at a point, and what else they look at: whom a late reading may have misled.

A rule that asks for an age or a mark speaks of what the system knew (a meter gone silent, a meter changed without
record), not of what happened; no reading that comes later makes it untrue, so it is never settled.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.kernels.rows import Longs
from processors.layout import HAS_SIBLINGS, Layout
from processors.state import FAR, NEVER
from schemas.groups import within
from schemas.rules.program import Op

_OF_KNOWLEDGE = (int(Op.AGE), int(Op.FLAG))


class Affected:
    """The rule instances of a layout of one site, and the points of each."""

    def __init__(self, layout: Layout) -> None:
        arrays = layout.arrays
        rules, lists = arrays.rules, arrays.lists
        self.names = layout.instance_names
        self.index = {name: instance for instance, name in enumerate(layout.instance_names)}
        self._numbers = arrays.meta["number"]
        self._siblings = rules["flags"] & HAS_SIBLINGS != 0
        places: dict[str, int] = {}
        self._rule = np.array([places.setdefault(rule, len(places)) for rule, _ in self.names], np.int64)
        self._estimates = {
            int(row): lists[sense["evidence"] : sense["evidence_end"], 1]
            for sense in arrays.senses
            for row in (sense["state"], sense["likely"])
        }
        whose, roles = _expanded(np.arange(len(rules)), rules["roles"], rules["roles_end"])
        whose, heads = whose[lists[roles, 0] >= 0], lists[roles, 0][lists[roles, 0] >= 0]
        of_slots = _expanded(whose, heads + 1, heads + 1 + lists[heads, 1])
        of_parts = _expanded(np.arange(len(rules)), rules["parts"], rules["parts_end"])
        pairs = np.concatenate(
            [np.stack([of_slots[0], lists[of_slots[1], 0]]), np.stack([of_parts[0], lists[of_parts[1], 1]])], axis=1
        )
        self._owner, self._row = pairs[:, np.argsort(pairs[0], kind="stable")]
        held, by = _expanded(np.arange(len(rules)), rules["inhibitors"], rules["inhibitors_end"])
        self._inhibits, self._inhibited = lists[by, 0], held
        told = np.zeros(len(rules), bool)
        for name in ("raises", "clears"):
            owner, at = _expanded(np.arange(len(rules)), rules[name], rules[f"{name}_end"])
            told[owner[np.isin(lists[at, 0], _OF_KNOWLEDGE)]] = True
        self._of_knowledge = told

    def spans(self, stirred: Longs) -> dict[int, tuple[int, int]]:
        """When the instances may have been misled.

        Args:
            stirred: by number of point, from when to when it was not what the live task took it for; FAR to NEVER:
                it always was.

        Returns:
            By instance; those that are not there were not misled.
        """
        row_spans = np.tile(np.array([[FAR, NEVER]], np.int64), (len(self._numbers), 1))
        known = self._numbers < len(stirred)
        row_spans[known] = stirred[self._numbers[known]]
        for estimate, evidence in self._estimates.items():
            row_spans[estimate] = [row_spans[evidence, 0].min(initial=FAR), row_spans[evidence, 1].max(initial=NEVER)]
        start, end = np.full(len(self.names), FAR, np.int64), np.full(len(self.names), NEVER, np.int64)
        np.minimum.at(start, self._owner, row_spans[self._row, 0])
        np.maximum.at(end, self._owner, row_spans[self._row, 1])
        compared = np.flatnonzero(self._siblings)
        for sides, ufunc, empty in ((start, np.minimum, FAR), (end, np.maximum, NEVER)):
            of_rule = np.full(len(self.names), empty, np.int64)
            ufunc.at(of_rule, self._rule, sides)
            sides[compared] = of_rule[self._rule[compared]]
        while True:  # what an alert inhibits may have been held for too long, or not long enough
            before = (start.copy(), end.copy())
            np.minimum.at(start, self._inhibited, start[self._inhibits])
            np.maximum.at(end, self._inhibited, end[self._inhibits])
            if np.array_equal(before[0], start) and np.array_equal(before[1], end):
                break
        misled = np.flatnonzero((start != FAR) & ~self._of_knowledge)
        return {instance: (int(start[instance]), int(end[instance])) for instance in misled.tolist()}

    def numbers(self, instances: list[int]) -> set[int]:
        """Numbers of all points that have to be read to compute some instances."""
        wanted = np.zeros(len(self.names), bool)
        wanted[instances] = True
        while True:
            count = int(wanted.sum())
            wanted[self._inhibits[wanted[self._inhibited]]] = True
            wanted |= np.isin(self._rule, self._rule[wanted & self._siblings])
            if int(wanted.sum()) == count:
                break
        rows = set(self._row[wanted[self._owner]].tolist())
        for estimate, evidence in self._estimates.items():
            if estimate in rows:
                rows.update(evidence.tolist())
        return {int(self._numbers[row]) for row in rows}


def _expanded(whose: NDArray[np.int64], start: NDArray[Any], end: NDArray[Any]) -> tuple[Longs, Longs]:
    """(whose, place) of every place of ranges."""
    first = start.astype(np.int64)
    lengths = end.astype(np.int64) - first
    return np.repeat(whose, lengths), np.repeat(first, lengths) + within(lengths)
