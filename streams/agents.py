"""The tasks of a worker, between Faust's event loop and the threads in which they work.

Each partition has a thread of its own, which puts opening, applying, committing and closing in one order, also when a
rebalance cancels what waits for it. The event loop only decides which slabs a task gets: those of its epoch that start
where the last one ended.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from faust.types import TP

from schemas.errors import EngineMismatch, Fenced, GanzhiError, LogCut, LogError
from schemas.kafka import group_metadata, group_name
from schemas.record_batches import Slab
from schemas.settings import Settings
from schemas.topics import INPUTS, bare_name
from schemas.vitals import Vitals
from streams.app import SlabApp
from streams.consumer import Seek, next_epoch
from streams.task import Surroundings, Task
from streams.transaction import oldest_call
from streams.vitals import vitals_of
from streams.watchdog import STUCK_EXIT, Progress, Watchdog

WAITING_MAX: Final = 2
"""Slabs given to a task's thread that it has not applied: the next is parsed while one is being applied."""

STALL_S: Final = 1.0
"""A task that takes no slab for so long (it waits for a document) no longer holds the others up: what comes for it is
dropped, and read again when it goes on."""

FINISH_S: Final = 5.0
"""How long a last commit may take when partitions are taken away; then it is aborted."""

HUNG_S: Final = 20.0
"""A call of librdkafka that has not returned after so long, whatever its timeout, never will: seen in 2.16 for minutes
after the broker had been out of reach for ten seconds. No thread can be got out of it, so the process ends at once; who
is started in its place fences it."""

REOPENINGS_MAX: Final = 20
"""Times that tasks are lost, with less than a minute in between, before the worker gives up."""

_LOOK_S: Final = 1.0
_REJOIN_S: Final = 0.5
_PACE_S_MAX: Final = 0.05
_QUIET_S: Final = 60.0

_log = logging.getLogger("ganzhi.worker")

R = TypeVar("R")


class _Running:
    """A task with what the event loop knows of it."""

    def __init__(self, task: Task, thread: ThreadPoolExecutor) -> None:
        self.task = task
        self.thread = thread
        self.epoch = -1
        self.expected = -1
        self.gap_at = -1
        self.dropped = False
        self.resting = False
        self.waiting: set[asyncio.Future[None]] = set()

    def call(self, function: Callable[..., R], *arguments: object) -> asyncio.Future[R]:
        """Calls in the task's thread, after whatever was called before."""
        return asyncio.get_running_loop().run_in_executor(self.thread, function, *arguments)


class Tasks:
    """Owns the tasks of the assigned partitions (see `streams.consumer.TaskManager`).

    Attributes:
        app: set once it is made; asked for seeks and rejoins.
        failure: why the worker must stop; None: it need not.
        stopping: set when the worker stops, so that the last commits end with a snapshot.
        watchdog: ends the process when a task is stuck.
    """

    app: SlabApp

    def __init__(self, settings: Settings, shared: Surroundings) -> None:
        self.failure: BaseException | None = None
        self.stopping = False
        self._settings = settings
        self._shared = shared
        self._group = group_name(settings.kafka, settings.worker.group)
        self._running: dict[TP, _Running] = {}
        self._threads: dict[TP, ThreadPoolExecutor] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._rejoining = False
        self._reopenings = 0
        self._lost_s = 0.0
        self._call = 0
        self._hung_s = 0.0
        self.watchdog = Watchdog()

    # -- for Faust's consumer -----------------------------------------------------------------------------------------

    async def assign(self, partitions: set[TP], generation: int, member_id: str) -> Mapping[TP, Seek]:
        """Opens a task for each partition; those that another process took at the same moment are left out."""
        await self._drop(list(self._running), finish=False)
        membership = group_metadata(self._group, generation, member_id, self._settings.worker.instance)
        made = {tp: self._make(tp, membership) for tp in sorted(partitions)}
        self._running.update(made)
        starts = await asyncio.gather(*(one.call(one.task.open) for one in made.values()), return_exceptions=True)
        seeks: dict[TP, Seek] = {}
        for (tp, one), start in zip(made.items(), starts, strict=True):
            if isinstance(start, Fenced):
                self._lose(tp, one, start)
            elif isinstance(start, BaseException):
                raise start
            else:
                seeks[tp] = self._seek(one, start)
        return seeks

    async def revoke(self, partitions: set[TP]) -> None:
        """Commits what is left and forgets the tasks."""
        await self._drop([tp for tp in partitions if tp in self._running], finish=True)

    # -- for the agents -----------------------------------------------------------------------------------------------

    async def take(self, tp: TP, slab: Slab) -> None:
        """Hands a slab to its task; waits while the task is busy. Stale slabs are left. Never raises."""
        one = self._running.get(tp)
        if one is None or slab.epoch != one.epoch:
            return
        if slab.start != one.expected:
            self._gap(tp, one, slab)
            return
        if len(one.waiting) >= WAITING_MAX:
            await asyncio.wait(one.waiting, timeout=STALL_S, return_when=asyncio.FIRST_COMPLETED)
            if self._running.get(tp) is not one or slab.epoch != one.epoch:
                return
            if len(one.waiting) >= WAITING_MAX:
                one.epoch, one.dropped = -1, True
                return
        one.expected = slab.end
        self._submit(tp, one, one.task.apply, slab)

    # -- for the worker -----------------------------------------------------------------------------------------------

    async def pace(self) -> None:
        """Commits what is due, for ever: a task that gets no more slabs does not notice by itself."""
        pause_s = min(_PACE_S_MAX, self._settings.worker.commit_interval_s / 10)
        looked_s = time.monotonic()
        while True:
            await asyncio.sleep(pause_s)
            now_s = time.monotonic()
            if now_s - looked_s >= _LOOK_S:
                reason = self.watchdog.look(now_s - looked_s, self.progress())
                if reason is not None:
                    _log.critical("%s; the worker ends, start it again", reason)
                    os._exit(STUCK_EXIT)
                looked_s = now_s
            if self.hangs(pause_s):
                _log.critical("a call of librdkafka has hung for %.0f s; the worker ends, start it again", HUNG_S)
                os._exit(LogError.exit_code)
            for tp, one in list(self._running.items()):
                if not one.waiting and one.task.is_due(now_s):
                    self._submit(tp, one, one.task.commit)

    def hangs(self, passed_s: float) -> bool:
        """Whether one call of librdkafka has lasted for longer than HUNG_S.

        Args:
            passed_s: time since the last call of this; a process that was stopped meanwhile has not waited for longer.
        """
        call = oldest_call()
        self._hung_s = self._hung_s + passed_s if call and call == self._call else 0.0
        self._call = call
        return self._hung_s > HUNG_S

    def progress(self) -> dict[str, Progress]:
        """How far each open task is; those that are being opened are left out, the consumer has a limit for that."""
        consumer = self.app.slab_consumer
        return {
            one.task.name: Progress(
                one.task.position, consumer.end_seen(tp), one.task.doing, one.task.waits_for, one.task.computing
            )
            for tp, one in list(self._running.items())
            if one.expected >= 0
        }

    def vitals(self) -> Vitals:
        """How the worker is, for any thread."""
        tasks = [(self._labels(tp), one.task) for tp, one in list(self._running.items())]
        return vitals_of(tasks, self.progress(), self.watchdog.still_s)

    def _labels(self, tp: TP) -> dict[str, str]:
        return {"topic": bare_name(self._settings.kafka, tp.topic), "partition": str(tp.partition)}

    def caught_up(self) -> list[TP]:
        """Partitions with sites of the live domain that stand at the end of the log as the consumer last saw it."""
        consumer = self.app.slab_consumer
        found = []
        for tp, one in self._running.items():
            task = one.task
            if one.epoch >= 0 and task.wants_ticks and task.caught_up_to >= 0:
                end = consumer.end_seen(tp)
                if end is not None and task.caught_up_to >= end:
                    found.append(tp)
        return found

    def shut_down(self) -> None:
        """Lets the threads end."""
        for one in self._running.values():
            one.task.give_up.set()
        for thread in self._threads.values():
            thread.shutdown(wait=False)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _make(self, tp: TP, membership: bytes) -> _Running:
        thread = self._threads.get(tp)
        if thread is None:
            thread = self._threads[tp] = ThreadPoolExecutor(1, thread_name_prefix=f"task-{tp.topic}-{tp.partition}")
        task = Task(self._shared, bare_name(self._settings.kafka, tp.topic), tp.partition, membership)
        return _Running(task, thread)

    def _seek(self, one: _Running, offset: int) -> Seek:
        """A new epoch: what is under way for the task is stale from now on."""
        one.epoch, one.expected, one.dropped = next_epoch(), offset, False
        return Seek(offset, one.epoch)

    def _submit(self, tp: TP, one: _Running, function: Callable[..., None], *arguments: object) -> None:
        future = one.call(function, *arguments)
        one.waiting.add(future)

        def done(ended: asyncio.Future[None]) -> None:
            one.waiting.discard(ended)
            error = None if ended.cancelled() else ended.exception()
            if error is not None:
                self._failed(tp, one, error)
            elif one.dropped and not one.waiting and self._running.get(tp) is one:
                self._spawn(self._seek_again(tp, one))

        future.add_done_callback(done)

    def _failed(self, tp: TP, one: _Running, error: BaseException) -> None:
        if one.task.give_up.is_set() and isinstance(error, GanzhiError):
            return  # it was told to end
        if isinstance(error, Fenced):
            self._lose(tp, one, error)
        elif isinstance(error, EngineMismatch):
            self._rest(one, error)
        else:
            one.epoch = -1
            self.failure = self.failure or error

    def _rest(self, one: _Running, error: EngineMismatch) -> None:
        """A task has been handed over to another release; the worker ends when all of its tasks have."""
        _log.warning("%s has been handed over: %s", one.task.name, error)
        one.epoch, one.resting = -1, True
        if all(other.resting for other in self._running.values()):
            self.failure = self.failure or error

    def _gap(self, tp: TP, one: _Running, slab: Slab) -> None:
        if one.gap_at == one.expected:
            one.epoch = -1
            self.failure = self.failure or LogCut(
                f"{tp.topic} partition {tp.partition}: asked for offset {one.expected}, the log answers with "
                f"{slab.start}; messages are missing. Restore the topic, or replay the archive into a new one"
            )
            return
        one.gap_at = one.expected
        _log.warning("%s: slab at %d instead of %d; read again", one.task.name, slab.start, one.expected)
        self._spawn(self._seek_again(tp, one))
        one.epoch = -1

    async def _seek_again(self, tp: TP, one: _Running) -> None:
        if self._running.get(tp) is one:
            await self.app.slab_consumer.seek_tasks({tp: self._seek(one, one.expected)})

    def _lose(self, tp: TP, one: _Running, error: BaseException) -> None:
        """Forgets a task that another process has, and asks for a new assignment."""
        one.epoch = -1
        if self._running.get(tp) is not one:
            return
        _log.warning("%s", error)
        del self._running[tp]
        one.task.give_up.set()
        one.call(one.task.close)
        now_s = time.monotonic()
        self._reopenings = self._reopenings + 1 if now_s - self._lost_s < _QUIET_S else 1
        self._lost_s = now_s
        if self._reopenings > REOPENINGS_MAX:
            self.failure = self.failure or error
        if not self._rejoining and not self.stopping:
            self._rejoining = True
            self._spawn(self._rejoin())

    async def _rejoin(self) -> None:
        await asyncio.sleep(_REJOIN_S)
        self._rejoining = False
        await self.app.slab_consumer.rejoin()

    async def _drop(self, partitions: Iterable[TP], finish: bool) -> None:
        """Ends tasks, all at once; they are forgotten even when this is cancelled."""
        dropped = [self._running.pop(tp) for tp in partitions]
        ending = []
        for one in dropped:
            one.epoch = -1
            if finish:
                ending.append(one.call(one.task.finish, self.stopping))
            else:
                one.task.give_up.set()
                ending.append(one.call(one.task.close))
        if not ending:
            return
        try:
            _, late = await asyncio.wait(ending, timeout=FINISH_S)
        finally:
            for one in dropped:
                one.task.give_up.set()
        for one, future in zip(dropped, ending, strict=True):
            if future in late:
                _log.warning("%s: not committed within %.0f s; given up", one.task.name, FINISH_S)
        for error in await asyncio.gather(*ending, return_exceptions=True):
            if isinstance(error, GanzhiError):
                _log.warning("%s", error)
            elif error is not None:
                raise error

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)

        def done(ended: asyncio.Task[None]) -> None:
            self._background.discard(ended)
            if not ended.cancelled() and (error := ended.exception()) is not None:
                self.failure = self.failure or error

        task.add_done_callback(done)


def add_agents(app: SlabApp, tasks: Tasks) -> None:
    """Makes an agent for every input topic that hands its slabs to the tasks."""

    async def hand_over(stream: Any) -> None:
        async for event in stream.events():
            await tasks.take(event.message.tp, event.value)

    for name in INPUTS:
        app.agent(app.input_topic(name), name=name)(hand_over)
