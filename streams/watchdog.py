"""A worker that has work and does not get on with it is noticed, whatever the reason, and says what it was at."""

import dataclasses
from collections.abc import Mapping
from typing import Final

STUCK_S: Final = 30.0
"""A task that is behind and has not moved for so long, and does not compute, is stuck."""

COMPUTING_S: Final = 300.0
"""A task that computes has so long for one slab: the document of a very large site, on a machine that others use, took
more than half a minute."""

STUCK_EXIT: Final = 75
"""Exit status of a worker that ends because of it (EX_TEMPFAIL): its supervisor starts it again."""

_PASSED_S_MAX: Final = 1.0
"""A process that was stopped, or a machine that slept, has not waited for longer than this between two looks."""


@dataclasses.dataclass(frozen=True, slots=True)
class Progress:
    """Where a task is.

    Attributes:
        position: of the next message to apply.
        end: of the log, as far as it can be read; None: not known.
        doing: what its thread is at, in words.
        waits_for: something outside that it may wait for as long as it takes (a document); empty: nothing.
        computing: whether its thread is at a slab.
    """

    position: int
    end: int | None
    doing: str
    waits_for: str = ""
    computing: bool = False

    @property
    def patience_s(self) -> float:
        """For how long it may stand still."""
        return COMPUTING_S if self.computing else STUCK_S

    @property
    def lag(self) -> int:
        """Offsets left to apply."""
        return max((self.end or 0) - self.position, 0)


class Watchdog:
    """Counts for how long each task has been behind without moving.

    Attributes:
        still_s: that of the task which is nearest to being stuck.
    """

    def __init__(self) -> None:
        self.still_s = 0.0
        self._still: dict[str, tuple[int, float]] = {}

    def look(self, passed_s: float, tasks: Mapping[str, Progress]) -> str | None:
        """Takes a look; says which task is stuck at what, or None.

        Args:
            passed_s: time since the last look.
            tasks: those that are open, by name.
        """
        found: dict[str, tuple[int, float]] = {}
        for name, at in tasks.items():
            position, still_s = self._still.get(name, (at.position, 0.0))
            idle = at.position == position and at.lag > 0 and not at.waits_for
            found[name] = at.position, (still_s + min(passed_s, _PASSED_S_MAX) if idle else 0.0)
        self._still = found
        name, (position, self.still_s) = max(
            found.items(), key=lambda one: one[1][1] - tasks[one[0]].patience_s, default=("", (0, 0.0))
        )
        if not name or self.still_s < tasks[name].patience_s:
            return None
        at = tasks[name]
        return f"{name} has not moved from offset {position} for {self.still_s:.0f} s, {at.lag} behind: {at.doing}"
