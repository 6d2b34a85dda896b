"""Lives of the tasks between Faust and their threads: slabs of this and of older seeks, stalls, assignments, gaps.

The code under test is `streams.agents.Tasks` on a real event loop. The log is simulated, and so is the consumer: what
it has fetched before a seek still comes afterwards, in any share, as Faust's queues have it.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, Final

from faust.types import TP

from schemas.record_batches import Slab
from schemas.settings import KafkaSettings, Settings
from schemas.topics import METER_READINGS
from streams import agents as agents_module
from tests.fault.checker import Findings

END: Final = 60
PLACE: Final = TP(METER_READINGS, 0)


class Threads:
    """In the place of a ThreadPoolExecutor: what is submitted is done later, in order, when the life says so."""

    waiting: list[tuple["Future[Any]", Callable[[], Any]]]

    def __init__(self, *_: object, **__: object) -> None:
        """All share one queue."""

    def submit(self, function: Callable[..., Any], *arguments: object) -> "Future[Any]":
        """Takes a piece of work."""
        future: Future[Any] = Future()
        self.waiting.append((future, lambda: function(*arguments)))
        return future

    def shutdown(self, wait: bool = True) -> None:
        """Nothing is left running."""
        del wait


class FakeTask:
    """In the place of `streams.task.Task`: keeps which offsets it was given."""

    life: "Life"

    def __init__(self, *_: object) -> None:
        self.name = "task"
        self.give_up = SimpleNamespace(set=lambda: None, is_set=lambda: False)
        self.since_s = None
        self.caught_up_to = -1
        self.wants_ticks = False
        self.position = -1

    def open(self) -> int:
        """Where to go on."""
        self.position = self.life.committed
        return self.position

    def apply(self, slab: Slab) -> None:
        """Applies and commits."""
        if slab.start != self.position:
            self.life.findings.wrong(f"a slab at {slab.start} was applied at position {self.position}")
        self.position = slab.end
        self.life.committed = max(self.life.committed, slab.end)

    def is_due(self, _now_s: float) -> bool:
        """Never."""
        return False

    def finish(self, _final: bool) -> None:
        """Nothing is left."""

    def close(self) -> None:
        """Nothing is open."""


class Life:
    """One life.

    Args:
        seed: makes it.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.findings = Findings()
        self.committed = 0
        self.scheduler = SimpleNamespace(steps=0, crash_points=set(), history=[])
        self.broker = SimpleNamespace(fenced=0)
        self._queue: list[Slab] = []
        self._position, self._epoch = 0, -1

    def run(self) -> Findings:
        """Lives it."""
        waiting: list[tuple[Future[Any], Callable[[], Any]]] = []
        replaced: dict[str, Any] = {
            "ThreadPoolExecutor": type("Threads", (Threads,), {"waiting": waiting}),
            "Task": type("FakeTask", (FakeTask,), {"life": self}),
            "STALL_S": 0.0,
        }
        before = {name: getattr(agents_module, name) for name in replaced}
        for name, value in replaced.items():
            setattr(agents_module, name, value)
        loop = asyncio.new_event_loop()
        loop.run_in_executor = _run_in_executor(loop)  # type: ignore[method-assign, assignment]
        try:
            loop.run_until_complete(self._live(waiting))
        finally:
            loop.close()
            for name, value in before.items():
                setattr(agents_module, name, value)
        return self.findings

    async def seek_tasks(self, seeks: Mapping[TP, Any]) -> None:
        """The consumer's part of a seek: what is fetched from now on carries the epoch."""
        await asyncio.sleep(0)
        for seek in seeks.values():
            self._position, self._epoch = seek.offset, seek.epoch
            self.scheduler.history.append(f"seek to {seek.offset}, epoch {seek.epoch}")

    async def _live(self, waiting: list[tuple["Future[Any]", Callable[[], Any]]]) -> None:
        shared: Any = None
        tasks = agents_module.Tasks(Settings(kafka=KafkaSettings(partitions=1)), shared)
        tasks.app = SimpleNamespace(slab_consumer=self)  # type: ignore[assignment]
        assigning: asyncio.Task[None] | None = None
        for step in range(600):
            self.scheduler.steps += 1
            calm = step > 300
            kind = self.random.random()
            if assigning is not None and assigning.done():
                assigning.result()
                assigning = None
            if step == 0 or (not calm and kind < 0.04 and assigning is None):
                assigning = asyncio.ensure_future(self._assign(tasks))
            elif kind < 0.4:
                self._fetch()
            elif kind < 0.75 and self._queue and assigning is None:
                slab = self._queue.pop(0)
                await tasks.take(PLACE, slab)
            elif waiting:
                for _ in range(self.random.choice((1, 1, 3))):
                    _do_first(waiting)
            if calm or self.random.random() < 0.5:
                await asyncio.sleep(0)
            if tasks.failure is not None:
                self.findings.wrong(f"the worker ends: {tasks.failure}")
                return
        for _ in range(400):
            _do_first(waiting)
            if assigning is not None:
                await asyncio.sleep(0)
                assigning = None if assigning.done() else assigning
                continue
            self._fetch()
            if self._queue:
                await tasks.take(PLACE, self._queue.pop(0))
            await asyncio.sleep(0)
        self.findings.messages = self.committed
        if self.committed != END:
            self.findings.wrong(f"it stands at {self.committed}, the log ends at {END}")

    async def _assign(self, tasks: Any) -> None:
        await self.seek_tasks(await tasks.assign({PLACE}, 1, "member"))

    def _fetch(self) -> None:
        """The next slab from where the consumer stands."""
        if self._epoch < 0 or len(self._queue) > 6 or self._position >= END:
            return
        end = min(END, self._position + self.random.choice((1, 2, 5)))
        rows = [(offset, 0, None, b"") for offset in range(self._position, end)]
        slab = Slab.of(METER_READINGS, 0, rows, self._position, end)
        self._queue.append(_tagged(slab, self._epoch))
        self._position = end


def _tagged(slab: Slab, epoch: int) -> Slab:
    return Slab(
        slab.topic, slab.partition, slab.start, slab.end, slab.data, slab.offsets, slab.timestamps_ms, slab.spans, epoch
    )


def _run_in_executor(loop: asyncio.AbstractEventLoop) -> Callable[..., Any]:
    def run(executor: Threads, function: Callable[..., Any], *arguments: object) -> Any:
        return asyncio.wrap_future(executor.submit(function, *arguments), loop=loop)

    return run


def _do_first(waiting: list[tuple["Future[Any]", Callable[[], Any]]]) -> None:
    if not waiting:
        return
    future, work = waiting.pop(0)
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work())
    except Exception as error:  # noqa: BLE001  as an executor does
        future.set_exception(error)
