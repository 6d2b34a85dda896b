"""The process of a bridge: a member of a group that reads slabs, and hands them to its work.

The position is what the group has committed, and a commit is part of the transaction that holds the batches: nothing is
lost or doubled by a crash. A member that lost its partitions is refused by the group (its generation is old), one that
was restarted by its transactional id.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import IllegalStateError, KafkaError

from schemas.errors import ConfigurationError, Fenced, KafkaUnavailable, LogCut, LogError
from schemas.kafka import group_metadata
from schemas.settings import Settings
from schemas.topics import TOPICS
from schemas.vitals import Pulse, Vital, Vitals
from streams import kafka_admin, slabs
from streams.app import aiokafka_security
from streams.consumer import FETCH_BYTES, FETCH_WAIT_MS, PARTITION_FETCH_BYTES
from streams.kafka_admin import watermarks
from streams.sources.bridge.mapping import BridgeMapping
from streams.sources.bridge.work import Counts, Work, rejected_topic, warm_up

POLL_S: Final = 0.1
GAPS_MAX: Final = 3
"""Times that a partition may answer with another offset than was asked for, before it is believed."""

_ASK_S: Final = 2.0
_log = logging.getLogger("ganzhi.bridge")


def run(
    settings: Settings,
    mapping: BridgeMapping,
    stop: Callable[[], bool],
    again: bool = False,
    progress: Callable[[Counts], None] | None = None,
    pulse: Pulse | None = None,
) -> Counts:
    """Runs a bridge until it is told to stop; it then commits what it has.

    Args:
        settings: of Kafka and the bridge.
        mapping: what messages mean.
        stop: asked many times a second.
        again: reads the messages that this bridge has rejected so far, once, instead of the foreign topic.
        progress: told what is committed, now and then.
        pulse: told how to ask how the bridge is.

    Raises:
        ConfigurationError: the topic is not there, or a schema or other versions of libraries cannot be used.
        LogCut: the topic has lost messages that were not read yet.
        Fenced: another bridge runs under the same name and instance.
        LogError: the broker refuses something.
    """
    _wait_for_broker(settings, stop)
    if stop():
        return Counts()
    kafka_admin.create_missing(settings.kafka, [*TOPICS, rejected_topic(mapping)])
    slabs.install()
    warm_up(mapping)
    reader = _Reader(settings, mapping, stop, again, progress)
    if pulse is not None:
        pulse.read = reader.vitals
    return asyncio.run(reader.run())


def _wait_for_broker(settings: Settings, stop: Callable[[], bool]) -> None:
    while not stop():
        try:
            kafka_admin.wait_for_broker(settings.kafka, _ASK_S)
        except KafkaUnavailable as error:
            _log.warning("waiting for Kafka: %s", error)
        else:
            return


class _Reader(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Reads, in the event loop; the work has a thread of its own."""

    def __init__(
        self,
        settings: Settings,
        mapping: BridgeMapping,
        stop: Callable[[], bool],
        again: bool,
        progress: Callable[[Counts], None] | None,
    ) -> None:
        self._settings = settings
        self._mapping = mapping
        self._stop = stop
        self._again = again
        self._progress = progress
        self._give_up = threading.Event()
        self._thread = ThreadPoolExecutor(1, "bridge")
        self._ready = False
        self._failure: BaseException | None = None
        self._gaps: dict[int, int] = {}
        self._ends: dict[int, int] | None = None
        self._work: Work
        self._consumer: Any

    def vitals(self) -> Vitals:
        """How the bridge is, for any thread: offsets are those of the last answer of the broker."""
        if not self._ready:
            return Vitals("starting", "no partition is mine yet")
        work = self._work
        lags = []
        for partition, at in work.positions().items():
            end = self._consumer.highwater(TopicPartition(work.topic, partition))
            if end is not None:
                lags.append(({"topic": work.topic, "partition": str(partition)}, max(end - at, 0)))
        counts = work.counts
        told = (
            ("messages", "read and committed"),
            ("readings", "written"),
            ("rejected", "messages that it cannot use"),
        )
        values = [
            Vital("lag_messages", "offsets between what is read and the end of the foreign topic", "gauge", lags),
            *(Vital(f"{name}_total", text, "counter", [({}, getattr(counts, name))]) for name, text in told),
        ]
        waiting = work.waiting
        return Vitals("waiting" if waiting else "ok", waiting, values)

    async def run(self) -> Counts:
        loop = asyncio.get_running_loop()
        self._work = await loop.run_in_executor(
            self._thread, Work, self._settings, self._mapping, self._again, self._give_up
        )
        work = self._work
        self._consumer = self._make_consumer()
        try:
            await self._start()
            while not self._stop() and not self._finished():
                if self._failure is not None:
                    raise self._failure
                await self._step()
            await self._call(work.commit)
        except KafkaError as error:
            raise LogError(f"the bridge cannot go on: {error!r}") from error
        finally:
            self._ready = False
            await self._consumer.stop()
            self._give_up.set()
            await self._call(work.close)
            self._thread.shutdown()
        return work.counts

    def _make_consumer(self) -> Any:
        kafka, bridge = self._settings.kafka, self._settings.bridge
        return AIOKafkaConsumer(
            client_id="ganzhi",
            group_id=self._work.group,
            bootstrap_servers=[address.strip() for address in kafka.bootstrap.split(",")],
            partition_assignment_strategy=[RoundRobinPartitionAssignor],
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            check_crcs=True,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            fetch_max_bytes=FETCH_BYTES,
            max_partition_fetch_bytes=PARTITION_FETCH_BYTES,
            session_timeout_ms=int(bridge.session_timeout_s * 1000),
            heartbeat_interval_ms=int(bridge.session_timeout_s * 1000 / 6),
            max_poll_interval_ms=300_000,
            **aiokafka_security(kafka),
        )

    async def _start(self) -> None:
        kafka, topic = self._settings.kafka, self._work.topic
        count = await asyncio.to_thread(kafka_admin.partition_count, kafka, topic)
        if not count:
            raise ConfigurationError(f"there is no topic {topic}; `topic` in the mapping is its full name")
        await self._consumer.start()
        if self._again:
            marks = await asyncio.to_thread(watermarks, kafka, topic, range(count))
            self._ends = {partition: high for partition, (_, high) in marks.items()}
        self._consumer.subscribe([topic], listener=self)

    async def _step(self) -> None:
        """One poll, applied; a commit where it is due."""
        records = await self._consumer.getmany(timeout_ms=int(POLL_S * 1000))
        work = self._work
        for tp, batch in records.items():
            for record in batch:
                if not self._ready or self._failure is not None:
                    return
                if await self._call(work.take, record.value):
                    self._gaps.pop(tp.partition, None)
                elif self._ready:
                    self._seek_again(tp, record.value.start)
                    break
        if self._ready:
            await self._call(work.look)
            if work.is_due(time.monotonic()):
                await self._call(work.commit)
                if self._progress is not None:
                    self._progress(work.counts)

    def _seek_again(self, tp: Any, found: int) -> None:
        wanted = self._work.position(tp.partition)
        gaps = self._gaps[tp.partition] = self._gaps.get(tp.partition, 0) + 1
        if gaps > GAPS_MAX:
            raise LogCut(
                f"{tp.topic} partition {tp.partition}: asked for offset {wanted}, the topic answers with {found}; "
                "messages are gone that were not read yet"
            )
        self._consumer.seek(tp, wanted)

    def _finished(self) -> bool:
        """Whether what was rejected before the start has been read."""
        if self._ends is None:
            return False
        return all(self._work.position(partition) >= end for partition, end in self._ends.items())

    async def _call(self, function: Callable[..., Any], *arguments: object) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    # -- for aiokafka -------------------------------------------------------------------------------------------------

    async def on_partitions_revoked(self, revoked: Any) -> None:
        """Commits what there is: the generation still counts."""
        self._ready = False
        if not revoked:
            return
        try:
            await self._call(self._work.commit)
        except Fenced as error:
            _log.warning("%s", error)
        except Exception as error:  # noqa: BLE001  aiokafka would only log it
            self._failure = self._failure or error

    async def on_partitions_assigned(self, assigned: Any) -> None:
        """Reads the positions, once nobody else can change them, and seeks."""
        numbers = sorted(tp.partition for tp in assigned)
        try:
            coordinator = self._consumer._coordinator  # noqa: SLF001
            membership = group_metadata(self._work.group, coordinator.generation, coordinator.member_id)
            starts = await self._call(self._work.assign, numbers, membership)
            for partition, offset in starts.items():
                self._consumer.seek(TopicPartition(self._work.topic, partition), offset)
            self._gaps.clear()
            self._ready = True
            _log.info("%s: partitions %s from %s", self._work.topic, numbers, list(starts.values()))
        except IllegalStateError:
            _log.info("another assignment is under way")
        except Exception as error:  # noqa: BLE001  aiokafka would only log it
            self._failure = self._failure or error
