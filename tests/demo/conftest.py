"""One simulation that has gone through its first ninety minutes."""

import functools

import numpy as np
import pytest

from ganzhi.demo.points import point_index
from ganzhi.demo.simulator import STEP_S, Batch, Simulator, Step
from ganzhi.demo.spans import Ints

DAYS = 30
"""As the demo has: rules that look at 28 nights have a truth."""
MINUTES = 90


class Run:
    """A simulation with everything that it sent."""

    def __init__(self, minutes: int, days: int = DAYS, seed: int = 20250613) -> None:
        self.simulator = Simulator(seed=seed, days=days)
        self.history: list[Batch] = list(self.simulator.history())
        self.events = list(self.simulator.history_events())
        self.steps: list[Step] = [self.simulator.step() for _ in range(minutes * 60 // STEP_S)]

    @functools.cached_property
    def batches(self) -> list[Batch]:
        """All readings, in the order in which they were sent."""
        return self.history + [batch for step in self.steps for batch in step.batches]

    @functools.cached_property
    def _sorted(self) -> tuple[Ints, Ints, Ints]:
        which = np.concatenate([batch.points for batch in self.batches])
        order = np.argsort(which, kind="stable")
        times = np.concatenate([batch.times_ms for batch in self.batches])[order]
        return which[order], times, np.concatenate([batch.values for batch in self.batches])[order]

    def series(self, point: str) -> tuple[Ints, Ints]:
        """Times and values of a point, as they were sent."""
        which, times, values = self._sorted
        begin, end = np.searchsorted(which, [point_index()[point], point_index()[point] + 1])
        return times[begin:end], values[begin:end]


@pytest.fixture(scope="package")
def run() -> Run:
    """Thirty days of history and ninety minutes of life."""
    return Run(MINUTES)
