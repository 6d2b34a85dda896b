"""Sends what the simulator makes to the log: a tick with the start time, the history, then life at 60 times its speed.

The order is DESIGN's (section 14): the configuration is there before, by `apply`; nothing is sent from a clock that
is ahead of the log's.
"""

import threading
import time
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ganzhi.demo.points import points
from ganzhi.demo.simulator import STEP_S, Batch, Simulator, Step
from schemas.errors import ConfigurationError
from schemas.model.build import known_numbers
from schemas.model.document import Document
from schemas.topics import INPUTS
from streams.sources.batching import BatchWriter

SPEED: Final = 60.0
SCRIPT_S: Final = 4 * 3600 + 900
"""Simulated seconds until everything of the script has happened; then time runs as in life."""


class Feed:
    """One simulation on its way into the log.

    Args:
        simulator: at its beginning.
        writer: into the log.
        documents: the published document of every site of the demo.
        partitions: of each input topic; each gets every tick.

    Attributes:
        readings: readings sent so far.
        events: waste and vehicle events sent so far.
        clock_ms: the last tick that was sent, UTC; 0 before the first.
    """

    def __init__(
        self, simulator: Simulator, writer: BatchWriter, documents: Mapping[str, Document], partitions: int
    ) -> None:
        self.readings = 0
        self.events = 0
        self.clock_ms = 0
        self._simulator = simulator
        self._writer = writer
        self._partitions = partitions
        self._numbers = numbers(documents)

    def begin(self) -> None:
        """Sends the tick that sets the clock of every partition to the start."""
        now_ms = int(time.time() * 1000)
        if self._simulator.start_ms + SCRIPT_S * 1000 > now_ms:
            raise ConfigurationError("the clock of this machine is before the end of the simulation; set it right")
        self._tick(self._simulator.start_ms)
        self._writer.flush()

    def backfill(self, history: Iterable[Batch] | None = None) -> None:
        """Sends the history: readings first, then waste and vehicle events; waits until the broker has all of it.

        Args:
            history: what `Simulator.history` gave, where it was simulated before; None: it is simulated now.
        """
        for batch in self._simulator.history() if history is None else history:
            qualities = np.zeros(len(batch.values), np.int8)
            self._writer.send(
                batch.site,
                batch.gateway,
                "backfill",
                batch.times_ms,
                self._numbers[batch.points],
                batch.values,
                qualities,
            )
            self.readings += len(batch.values)
        for event in self._simulator.history_events():
            self._writer.event(event.topic, event.site, event.contract, event.value)
            self.events += 1
        self._writer.flush()

    def step(self) -> Step:
        """Simulates ten seconds and sends what they brought, and a tick."""
        step = self._simulator.step()
        for batch in step.batches:
            qualities = np.zeros(len(batch.values), np.int8)
            self._writer.send(
                batch.site, batch.gateway, "live", batch.times_ms, self._numbers[batch.points], batch.values, qualities
            )
            self.readings += len(batch.values)
        for event in step.events:
            self._writer.event(event.topic, event.site, event.contract, event.value)
            self.events += 1
        self._tick(step.time_ms)
        self._writer.poll()
        return step

    def run(self, stop: threading.Event, speed: float = SPEED) -> None:
        """Goes on until it is told to stop; what it sent is then at the broker.

        A step that is late is not left out: the next ones follow without a pause until time is caught up with.

        Args:
            stop: ends the run at the next step.
            speed: simulated seconds in one of life, until the script is over.
        """
        due_s = time.monotonic()
        while not stop.is_set():
            scripted = self._simulator.now_ms < self._simulator.start_ms + SCRIPT_S * 1000
            due_s += STEP_S / (speed if scripted else 1.0)
            if stop.wait(max(0.0, due_s - time.monotonic())):
                break
            self.step()
        self._writer.flush()

    def _tick(self, clock_ms: int) -> None:
        for topic in INPUTS:
            for partition in range(self._partitions):
                self._writer.tick(topic, partition, clock_ms)
        self.clock_ms = clock_ms


def numbers(documents: Mapping[str, Document]) -> NDArray[np.int32]:
    """Number of each of the demo's points in its site."""
    known = {site: known_numbers(document) for site, document in documents.items()}
    try:
        return np.asarray([known[point.site][point.id] for point in points()], np.int32)
    except KeyError as error:
        raise ConfigurationError(
            f"the published model is not the demo's: {error.args[0]!r} is missing; apply the demo's model"
        ) from error
