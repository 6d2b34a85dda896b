"""Which rules look at a point, and what else they look at: whom a late reading may have misled.

A rule that asks for an age or a mark speaks of what the system knew (a meter gone silent, a meter changed without
record), not of what happened; no reading that comes later makes it untrue, so it is never settled.
"""

import numpy as np
from numpy.typing import NDArray

from processors.kernels.rows import Longs
from processors.layout import HAS_SIBLINGS, Layout
from processors.state import FAR, NEVER
from schemas.rules.program import ROLES_MAX, Op

_OF_KNOWLEDGE = (int(Op.AGE), int(Op.FLAG))


class Affected:
    """The rule instances of a layout of one site, and the points of each."""

    def __init__(self, layout: Layout) -> None:
        arrays = layout.arrays
        self.names = layout.instance_names
        self.index = {name: instance for instance, name in enumerate(layout.instance_names)}
        self._numbers = arrays.meta["number"]
        self._row_of = arrays.number_row
        self._rules, self._lists = arrays.rules, arrays.lists
        self._estimates = {
            int(row): self._listed(sense, "evidence")[:, 1]
            for sense in arrays.senses
            for row in (sense["state"], sense["likely"])
        }
        self._same_rule: dict[str, list[int]] = {}
        for instance, (rule, _) in enumerate(self.names):
            self._same_rule.setdefault(rule, []).append(instance)
        self._rows = [self._looks_at(instance) for instance in range(len(self.names))]

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
        found: dict[int, tuple[int, int]] = {}
        for instance, rows in enumerate(self._rows):
            start, end = int(row_spans[rows, 0].min(initial=FAR)), int(row_spans[rows, 1].max(initial=NEVER))
            if start != FAR:
                found[instance] = (start, end)
        waiting = list(found)
        while waiting:  # what an alert inhibits may have been held for too long, or not long enough
            one = waiting.pop()
            for instance in range(len(self.names)):
                if one in self._listed(self._rules[instance], "inhibitors")[:, 0]:
                    start, end = found.get(instance, (FAR, NEVER))
                    wider = (min(start, found[one][0]), max(end, found[one][1]))
                    if wider != (start, end):
                        found[instance] = wider
                        waiting.append(instance)
        return {instance: span for instance, span in found.items() if not self._of_knowledge(instance)}

    def numbers(self, instances: list[int]) -> set[int]:
        """Numbers of all points that have to be read to compute some instances."""
        rows: set[int] = set()
        seen, waiting = set(instances), list(instances)
        while waiting:
            one = waiting.pop()
            more = self._listed(self._rules[one], "inhibitors")[:, 0].tolist()
            if self._rules[one]["flags"] & HAS_SIBLINGS:
                more += self._same_rule[self.names[one][0]]
            waiting += [other for other in dict.fromkeys(more) if other not in seen]
            seen.update(more)
            rows.update(self._rows[one].tolist())
        for estimate, evidence in self._estimates.items():
            if estimate in rows:
                rows.update(evidence.tolist())
        return {int(self._numbers[row]) for row in rows}

    def _looks_at(self, instance: int) -> NDArray[np.int64]:
        rule = self._rules[instance]
        rows = [self._listed(rule, "parts")[:, 1]]
        slots = self._lists[rule["roles"] : rule["roles"] + ROLES_MAX, 0]
        rows += [self._lists[slot + 1 : slot + 1 + self._lists[slot, 1], 0] for slot in slots[slots >= 0].tolist()]
        return np.unique(np.concatenate(rows))

    def _of_knowledge(self, instance: int) -> bool:
        rule = self._rules[instance]
        operations = np.concatenate([self._listed(rule, name)[:, 0] for name in ("raises", "clears")])
        return bool(np.isin(operations, _OF_KNOWLEDGE).any())

    def _listed(self, row: np.void, name: str) -> Longs:
        found: Longs = self._lists[row[name] : row[f"{name}_end"]]
        return found
