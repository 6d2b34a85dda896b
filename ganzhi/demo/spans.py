"""Spans of time in which something is somewhere, and the levels that they add up to.

Everything that happens in the demo's world is a span: a person in a room, a light that somebody wants on, a tap that
runs. Seconds count from midnight (local) of the first simulated day. The level of a column at time t is the sum of
the amounts of its spans with start <= t < end, so that the world at any moment can be told from the list alone,
without the moments before.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclasses.dataclass(frozen=True, slots=True)
class Spans:
    """Parallel arrays int64[n]: column, start_s (included), end_s (not included), amount."""

    column: Ints
    start_s: Ints
    end_s: Ints
    amount: Ints

    @classmethod
    def of(cls, column: object, start_s: object, end_s: object, amount: object = 1) -> "Spans":
        """Makes spans of anything that broadcasts to one length; empty ones (end <= start) are left out."""
        arrays = np.broadcast_arrays(
            *(np.atleast_1d(np.asarray(part, np.int64)) for part in (column, start_s, end_s, amount))
        )
        keep = arrays[2] > arrays[1]
        return cls(*(array[keep] for array in arrays))

    @classmethod
    def join(cls, parts: Iterable["Spans"]) -> "Spans":
        """All spans of several lists, in order."""
        found = list(parts)
        if not found:
            return cls.of([], [], [], [])
        return cls(
            *(
                np.concatenate([getattr(part, name) for part in found])
                for name in ("column", "start_s", "end_s", "amount")
            )
        )

    def where(self, keep: NDArray[np.bool_]) -> "Spans":
        """Those that are marked."""
        return Spans(self.column[keep], self.start_s[keep], self.end_s[keep], self.amount[keep])

    def later(self, by_s: int) -> "Spans":
        """The same, moved in time."""
        return Spans(self.column, self.start_s + by_s, self.end_s + by_s, self.amount)

    def longer(self, by_s: Ints) -> "Spans":
        """The same, each going on for `by_s[column]` seconds."""
        return Spans(self.column, self.start_s, self.end_s + by_s[self.column], self.amount)

    def matrix(self, columns: int, start_s: int, step_s: int, steps: int) -> Ints:
        """Levels int64[steps, columns] at start_s and every step_s after it."""
        grid = np.zeros((steps + 1, columns), np.int64)
        for moment, sign in ((self.start_s, 1), (self.end_s, -1)):
            row = np.clip(-(-(moment - start_s) // step_s), 0, steps)
            np.add.at(grid, (row, self.column), sign * self.amount)
        return np.cumsum(grid[:steps], axis=0)


class Levels:
    """The levels of all columns at one moment that moves forward.

    Attributes:
        now: int64[columns]; the levels at the time of the last `advance`.
    """

    def __init__(self, columns: int) -> None:
        self.now: Ints = np.zeros(columns, np.int64)
        self._time: Ints = np.zeros(0, np.int64)
        self._column: Ints = np.zeros(0, np.int64)
        self._change: Ints = np.zeros(0, np.int64)
        self._at = 0

    def add(self, spans: Spans) -> None:
        """Adds spans; those that have begun already count from the next `advance` on."""
        time = np.concatenate([self._time[self._at :], spans.start_s, spans.end_s])
        order = np.argsort(time, kind="stable")
        self._column = np.concatenate([self._column[self._at :], spans.column, spans.column])[order]
        self._change = np.concatenate([self._change[self._at :], spans.amount, -spans.amount])[order]
        self._time = time[order]
        self._at = 0

    def advance(self, time_s: int) -> None:
        """Moves to a time; it must not lie before the last one."""
        end = int(np.searchsorted(self._time, time_s, side="right"))
        np.add.at(self.now, self._column[self._at : end], self._change[self._at : end])
        self._at = max(self._at, end)
