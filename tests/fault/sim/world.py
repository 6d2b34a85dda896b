"""Puts the simulated broker, server, clock and threads in the place of the real ones, for as long as one life lasts."""

import contextlib
import importlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, Final, TypeVar

from tests.fault.sim.clients import Network
from tests.fault.sim.scheduler import Scheduler

R = TypeVar("R")

CLIENTS: Final = {
    "streams.transaction": ("Producer",),
    "streams.snapshots": ("Producer", "Consumer"),
    "streams.kafka_admin": ("Consumer",),
    "sinks.clickhouse.log": ("Consumer",),
}
"""Module → classes of confluent_kafka that it uses."""

CLOCKS: Final = (
    "streams.task", "streams.transaction", "streams.snapshots", "streams.kafka_admin", "sinks.clickhouse.sink",
    "sinks.clickhouse.log",
)  # fmt: skip


class Clock:
    """In the place of the module `time`."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._work_s = 0.0

    def monotonic(self) -> float:
        """Virtual time."""
        return self._scheduler.now_s

    def thread_time(self) -> float:
        """Every piece of work takes as long."""
        self._work_s += 0.3
        return self._work_s

    def time_ns(self) -> int:
        """The clock on the wall."""
        return int(self._scheduler.now_s * 1e9)

    def sleep(self, seconds: float) -> None:
        """Waits."""
        self._scheduler.step("sleep")
        self._scheduler.sleep(seconds)


class Event:
    """In the place of threading.Event."""

    scheduler: Scheduler

    def __init__(self) -> None:
        self._set = False

    def set(self) -> None:
        """Sets it."""
        self._set = True

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._set

    def wait(self, timeout: float) -> bool:
        """Waits so long, or not at all where it is set."""
        if not self._set:
            self.scheduler.step("wait")
            self.scheduler.sleep(timeout)
        return self._set


class Promise(Future[Any]):
    """A future for which others have the word while it is waited for."""

    scheduler: Scheduler

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Waits."""
        self._wait(timeout)
        return super().exception(0)

    def result(self, timeout: float | None = None) -> Any:
        """Waits."""
        self._wait(timeout)
        return super().result(0)

    def _wait(self, timeout: float | None) -> None:
        until_s = self.scheduler.now_s + (timeout or 0)
        while not self.done():
            if timeout is not None and self.scheduler.now_s > until_s:
                raise TimeoutError
            self.scheduler.step("wait for a future")
            self.scheduler.sleep(0.05)


class Executor:
    """In the place of a ThreadPoolExecutor of one thread: a further actor of the process that made it."""

    scheduler: Scheduler
    promise: type[Promise]

    def __init__(self, *_: object, **__: object) -> None:
        self._jobs: list[tuple[Future[Any], Callable[[], Any]]] = []
        self._open = True
        self.scheduler.spawn(self.scheduler.process, self._work)

    def submit(self, function: Callable[..., R], *arguments: object) -> "Future[R]":
        """Does it later."""
        future = self.promise()
        self._jobs.append((future, lambda: function(*arguments)))
        return future

    def shutdown(self, wait: bool = True) -> None:
        """Ends when all is done."""
        self._open = False
        while wait and self._jobs:
            self.scheduler.step("shutdown")
            self.scheduler.sleep(0.05)

    def _work(self) -> None:
        while self._open or self._jobs:
            if not self._jobs:
                self.scheduler.step("idle thread")
                self.scheduler.sleep(0.05)
                continue
            future, job = self._jobs[0]
            try:
                future.set_result(job())
            except Exception as error:  # noqa: BLE001  as an executor does
                future.set_exception(error)
            del self._jobs[0]


@contextlib.contextmanager
def simulated(scheduler: Scheduler, network: Network, **more: Any) -> Iterator[None]:
    """The world is simulated inside.

    Args:
        scheduler: of this life.
        network: to the broker.
        more: further names, `module.name` with underscores doubled for dots: see `tests.fault.sim.sinks`.
    """
    clock = Clock(scheduler)
    event = type("Event", (Event,), {"scheduler": scheduler})
    promise = type("Promise", (Promise,), {"scheduler": scheduler})
    executor = type("Executor", (Executor,), {"scheduler": scheduler, "promise": promise})
    places: list[tuple[str, str, Any]] = [(module, "time", clock) for module in CLOCKS]
    for module, names in CLIENTS.items():
        places += [(module, name, network.producer if name == "Producer" else network.consumer) for name in names]
    places += [
        ("streams.task", "threading", SimpleNamespace(Event=event)),
        ("streams.snapshots", "ThreadPoolExecutor", executor),
        ("streams.snapshots", "SNAPSHOT_CHUNK_BYTES", 300),
    ]
    places += [(*name.rsplit(".", 1), value) for name, value in more.items()]  # type: ignore[misc]
    before = []
    for module, name, value in places:
        found = importlib.import_module(module)
        before.append((found, name, getattr(found, name)))
        setattr(found, name, value)
    try:
        yield
    finally:
        for found, name, value in before:
            setattr(found, name, value)
