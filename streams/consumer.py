"""Faust's consumer for slabs: it seeks where the tasks say, and tags every slab with the seek it belongs to.

Faust hands over messages through queues that a seek does not empty at once, so a task cannot know from an offset alone
whether a slab was read before or after it asked for another position. Hence epochs: a seek carries a number, the
consumer's thread (where seeks and fetches are in order) puts the number of the last seek on each slab, and the task
ignores slabs of other numbers.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import IllegalStateError
from faust.tables.manager import TableManager
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from schemas.errors import LogError

FETCH_WAIT_MS = 100
"""A seek on an idle partition waits for the fetch under way: with Faust's 1500 ms it took 1.1 s, with this 0.05 s."""

FETCH_BYTES = 8 << 20
PARTITION_FETCH_BYTES = 4 << 20
SLABS_MAX = 8
"""Slabs of one poll, over all partitions."""

RESTORE_S_MAX = 300.0
"""How long the tasks of an assignment may take to say where to seek to."""

SEEK_S_MAX = 30.0
_IDLE_S = 0.02

_epochs = itertools.count(1)


def next_epoch() -> int:
    """A number that no seek of this process has had."""
    return next(_epochs)


@dataclass(frozen=True, slots=True)
class Seek:
    """Where to read a partition from.

    Attributes:
        offset: first offset wanted.
        epoch: from `next_epoch()`; the slabs read after the seek carry it.
    """

    offset: int
    epoch: int


class Membership(NamedTuple):
    """What names a member at the time of an assignment."""

    generation: int
    member_id: str


class TaskManager(Protocol):
    """Who owns the tasks of the assigned partitions. Called from the event loop of the app, never two calls at once."""

    async def assign(self, partitions: set[TP], generation: int, member_id: str) -> Mapping[TP, Seek]:
        """Opens a task for each partition and says where to read from.

        It is called after every rebalance with all partitions that are assigned then, also those that were before;
        partitions left out of the answer are not read. A rebalance may cancel it at any await; then it is called again.
        Between `revoke` and the return of this no slab comes. An error stops the app.

        Args:
            partitions: topic (full name) and number.
            generation: of the group, for this assignment.
            member_id: ours, for this assignment.
        """
        ...

    async def revoke(self, partitions: set[TP]) -> None:
        """Finishes or aborts what is under way and forgets the tasks, also of partitions that it never opened.

        The queues of the agents are empty by then; the group waits for the return. An error stops the app.
        """
        ...


class _Forgetful(dict[TP, int | None]):
    """In the place of Faust's filter of repeated offsets, which races with seeks: it remembers nothing."""

    def __missing__(self, tp: TP) -> None:
        return None

    def __setitem__(self, tp: TP, offset: int | None) -> None:
        pass


class SlabListener(driver.ConsumerRebalanceListener):
    """Keeps generation and member id of each assignment: later ones belong to other assignments."""

    _thread: "SlabThread"

    async def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        """Called in the consumer's thread."""
        coordinator = self._thread._ensure_consumer()._coordinator  # noqa: SLF001
        self._thread.membership = Membership(coordinator.generation, coordinator.member_id)
        await super().on_partitions_assigned(assigned)


class SlabThread(driver.AIOKafkaConsumerThread):
    """aiokafka's consumer in a thread of its own; here seeks and fetches are in order.

    Attributes:
        membership: of the last assignment.
    """

    membership = Membership(-1, "")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._epochs: dict[TP, int] = {}

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        del transport
        self._assignor = RoundRobinPartitionAssignor
        return AIOKafkaConsumer(
            partition_assignment_strategy=[RoundRobinPartitionAssignor],
            enable_auto_commit=False,
            # A position that the log no longer has shows as a slab that does not start where the task stands. "none"
            # would also end the app before the first seek, when there is no position yet.
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            check_crcs=True,
            max_poll_records=SLABS_MAX,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            fetch_max_bytes=FETCH_BYTES,
            max_partition_fetch_bytes=PARTITION_FETCH_BYTES,
            **self.app.consumer_options,  # type: ignore[attr-defined]
        )

    async def seek_slabs(self, seeks: Mapping[TP, Seek]) -> None:
        """Seeks; slabs drained from now on carry the epochs. Partitions that are not ours (any more) are left out."""
        consumer = self._ensure_consumer()
        for tp, seek in seeks.items():
            try:
                consumer.seek(tp, seek.offset)
            except IllegalStateError:
                self.log.info("no seek in %s: another assignment is under way", tp)
            else:
                self._epochs[tp] = seek.epoch

    def stable_end(self, tp: TP) -> int | None:
        """The last stable offset that a fetch has told; None: none has yet."""
        end: int | None = self._ensure_consumer().last_stable_offset(tp)
        return end

    async def rejoin_group(self) -> None:
        """Asks for a new assignment."""
        self._ensure_consumer()._coordinator.request_rejoin()  # noqa: SLF001

    async def _fetch_records(self, *args: Any, **kwargs: Any) -> Any:
        records = await super()._fetch_records(*args, **kwargs)
        return {tp: [self._tagged(tp, record) for record in batch] for tp, batch in records.items()}

    def _tagged(self, tp: TP, record: Any) -> Any:
        return replace(record, value=replace(record.value, epoch=self._epochs.get(tp, -1)))


class SlabConsumer(driver.Consumer):
    """Faust's consumer with the tasks in charge of positions."""

    RebalanceListener = SlabListener
    _thread: SlabThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_offset = _Forgetful()
        # One of assign and revoke at a time: a call that a rebalance has cancelled may still be ending.
        self._task_lock = asyncio.Lock()

    @property
    def tasks(self) -> TaskManager:
        """Who owns the tasks."""
        tasks: TaskManager = self.app.tasks  # type: ignore[attr-defined]
        return tasks

    def _new_consumer_thread(self) -> SlabThread:
        return SlabThread(self, loop=self.loop, beacon=self.beacon)

    def on_buffer_full(self, tp: TP) -> None:
        """Nothing: a full queue holds the fetcher back by itself, and leaving a partition out can cost a second."""

    def on_buffer_drop(self, tp: TP) -> None:
        """Nothing, as above."""

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Nothing: Faust looks at commits, and there are none."""

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:
        """Gives what was fetched. What it drops when a rebalance has begun, the seek after that brings again."""
        if not (self.flow_active and self._active_partitions):
            await asyncio.sleep(_IDLE_S)
            return
        records = await self._getmany(self._active_partitions, timeout)
        for tp, record in self.scheduler.iterate(records):
            if not self.flow_active or self.should_stop:
                return
            if tp in self._active_partitions:
                yield tp, self._to_message(tp, record)

    async def perform_seek(self) -> None:
        """Opens the tasks and seeks to where they say; Faust calls it as the last step of a rebalance.

        Raises:
            LogError: the tasks took longer than RESTORE_S_MAX. Faust's own limit is longer: at that one it would go on
                *without* having sought.
        """
        async with self._task_lock:
            partitions = set(self.assignment())
            membership = self._thread.membership
            if not partitions:
                return
            try:
                async with asyncio.timeout(RESTORE_S_MAX):
                    seeks = await self.tasks.assign(partitions, membership.generation, membership.member_id)
                    await self.seek_tasks(seeks)
            except TimeoutError as error:
                names = ", ".join(f"{tp.topic}-{tp.partition}" for tp in sorted(partitions))
                raise LogError(f"no positions of {names} after {RESTORE_S_MAX:.0f} s; is the broker slow?") from error

    async def seek_tasks(self, seeks: Mapping[TP, Seek]) -> None:
        """Seeks. The caller counts slabs with another epoch as stale before it calls this.

        Raises:
            LogError: the consumer's thread did not do it within SEEK_S_MAX.
        """
        try:
            async with asyncio.timeout(SEEK_S_MAX):
                await self._thread.call_thread(self._thread.seek_slabs, dict(seeks))
        except TimeoutError as error:
            raise LogError(f"the consumer did not seek within {SEEK_S_MAX:.0f} s") from error

    async def rejoin(self) -> None:
        """Asks the group for a new assignment: all partitions are revoked and assigned anew."""
        await self._thread.call_thread(self._thread.rejoin_group)

    def end_seen(self, tp: TP) -> int | None:
        """The end of a partition as the last fetch told it; None: not fetched yet, or not ours.

        It is where a read_committed reader ends: what an open transaction has written behind it cannot be had yet.
        """
        try:
            end: int | None = self._thread.stable_end(tp)
        except (AssertionError, AttributeError):  # aiokafka's ways to say that another assignment is under way
            return None
        return end

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Stops the flow and empties the queues, then tells the tasks."""
        await super().on_partitions_revoked(revoked)
        await self._revoke(revoked)

    async def on_stop(self) -> None:
        """Tells the tasks before the group is left; their failure is kept as the crash reason, the stop goes on."""
        try:
            await self._revoke(self._assigned())
        except Exception:
            self.log.exception("the tasks could not be finished")
        await super().on_stop()

    def _assigned(self) -> set[TP]:
        thread_consumer = self._thread._consumer  # noqa: SLF001
        return set(self.assignment()) if thread_consumer is not None else set()

    async def _revoke(self, partitions: set[TP]) -> None:
        if not partitions:
            return
        try:
            async with self._task_lock:
                await self.tasks.revoke(partitions)
        except Exception as error:
            await self.crash(error)
            raise


class SlabTransport(driver.Transport):
    """aiokafka's transport with our consumer."""

    Consumer = SlabConsumer


class NoTables(TableManager):
    """Faust's table manager, which also resumes the flow after a rebalance, without its wait of one second."""

    async def on_start(self) -> None:
        """Starts at once: there are no tables."""
        await self._update_channels()
        await self.recovery.start()
