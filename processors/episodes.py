"""Episodes as a task emits them, put together from its rows: when each began, fired and ended, and what it wasted."""

import dataclasses
from collections.abc import Iterable
from typing import Final

import numpy as np

from processors.kernels.rows import Longs
from processors.layout import Layout
from processors.outputs import Outbox, Rejected, severity
from processors.state import ALERTS, COLUMNS, HEAD_COLUMNS, PARTS, STATE_FIRING

STATES: Final = ("firing", "resolved", "stale")

Name = tuple[str, str]
"""(rule, subject)."""
Part = tuple[int, int, int]
"""(point, from, to)."""


@dataclasses.dataclass(frozen=True)
class Episode:
    """One spell in which a rule's expression held for long enough to fire.

    Attributes:
        name: rule and subject.
        number: 1, 2, 3 … per rule and subject where the live task has counted it.
        state: `firing` while it is open, `resolved` or `stale`.
        severity: that it reached.
        started_ms: when the expression became true, UTC.
        fired_ms: when the alert fired.
        ended_ms: when it ended; FIRING ones: of the last change.
        parts: what it wasted, in smallest units, by point and span; parts of nothing are left out.
    """

    name: Name
    number: int
    state: str
    severity: str
    started_ms: int
    fired_ms: int
    ended_ms: int
    parts: tuple[tuple[Part, int], ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether it goes on."""
        return self.state == STATES[STATE_FIRING]

    def said(self) -> tuple[object, ...]:
        """All that is said of it but its number: two episodes of which the same is said are the same one."""
        return (
            self.name, self.state, self.severity, self.started_ms, self.fired_ms, self.ended_ms, self.parts,
        )  # fmt: skip


class Book(Outbox):
    """An outbox that keeps rows of alerts and of what they wasted, compactly, and forgets all others."""

    def __init__(self, topic: str, partition: int) -> None:
        super().__init__(topic, partition)
        self._places: dict[tuple[str, str, str], int] = {}
        self._severities: dict[str, int] = {}
        self._of: tuple[Layout, Longs] | None = None
        self._alerts: list[Longs] = []
        self._parts: list[Longs] = []

    def drain(self, layout: Layout, out: Longs) -> None:
        """Takes rows of the kernels' buffer."""
        for stream, kept in ((ALERTS, self._alerts), (PARTS, self._parts)):
            chosen = out[:, 0] == stream
            if not chosen.any():
                continue
            rows = out[chosen, HEAD_COLUMNS : HEAD_COLUMNS + len(COLUMNS[stream])]
            if stream == ALERTS:
                for row in rows:
                    name = severity(layout, int(row[0]), int(row[5]))
                    row[5] = self._severities.setdefault(name, len(self._severities))
            rows[:, 0] = self._ids(layout)[rows[:, 0]]
            kept.append(rows)

    def reject(self, row: Rejected) -> None:
        """A rejected input is no episode."""

    def _ids(self, layout: Layout) -> Longs:
        if self._of is None or self._of[0] is not layout:
            ids = np.zeros(len(layout.instance_names), np.int64)
            sites = layout.arrays.rules["site"]
            for instance, (rule, subject) in enumerate(layout.instance_names):
                key = (layout.sites[sites[instance]], rule, subject)
                ids[instance] = self._places.setdefault(key, len(self._places))
            self._of = (layout, ids)
        return self._of[1]

    def of(self, site: str, names: Iterable[Name]) -> list[Episode]:
        """The episodes of some rules and subjects of a site, by rule, subject and number."""
        ids = {self._places[site, *name]: name for name in names if (site, *name) in self._places}
        alerts, parts = (_about(kept, list(ids), width) for kept, width in ((self._alerts, 7), (self._parts, 7)))
        severities = list(self._severities)
        found: dict[tuple[int, int], Episode] = {}
        for place, number, state, valid_at, started_at, level, _ in alerts.tolist():
            known = found.get((place, number))
            fired = valid_at if known is None else known.fired_ms
            found[place, number] = Episode(
                ids[place], number, STATES[state], severities[level], started_at, fired, valid_at
            )
        wasted: dict[tuple[int, int], dict[Part, int]] = {}
        for place, number, point, start, end, quantity, _ in parts.tolist():
            of = wasted.setdefault((place, number), {})
            of[point, start, end] = of.get((point, start, end), 0) + quantity
        return sorted(
            (
                dataclasses.replace(one, parts=some(wasted.get(key, {})))
                for key, one in found.items()
            ),
            key=lambda one: (one.name, one.number),
        )  # fmt: skip


def some(parts: dict[Part, int]) -> tuple[tuple[Part, int], ...]:
    """Parts in their order, without those of nothing."""
    return tuple(sorted((part, quantity) for part, quantity in parts.items() if quantity))


def _about(kept: list[Longs], ids: list[int], width: int) -> Longs:
    """Rows of some ids; what was kept is joined, so that it is done once."""
    kept[:] = [np.concatenate([np.zeros((0, width), np.int64), *kept])]
    return kept[0][np.isin(kept[0][:, 0], ids)]
