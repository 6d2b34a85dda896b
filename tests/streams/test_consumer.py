"""Faust as transport, on the real Kafka: every message once through seeks and rebalances."""

import asyncio
import contextlib
import random
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
from confluent_kafka import KafkaException, TopicPartition
from faust.contrib.asgi import faust_app_running
from faust.types import TP

from schemas.errors import LogError
from schemas.kafka import group_metadata
from schemas.record_batches import Slab
from schemas.settings import KafkaSettings, Settings, WorkerSettings
from schemas.topics import METER_READINGS, TOPICS, WASTE_EVENTS, topic_name
from streams import app as streams_app
from streams import consumer as streams_consumer
from streams import kafka_admin
from streams.app import SlabApp, create_app
from streams.consumer import Seek, next_epoch
from tests.streams.log import producer

LIMIT_S = 60.0
Log = dict[TP, list[int]]


class Positions:
    """Tasks that only keep a position; `log`, shared by a group, gets the offset of every message applied."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.next: dict[TP, int] = {}
        self.epochs: dict[TP, int] = {}
        self.memberships: list[tuple[int, str]] = []
        self.revoked: list[set[TP]] = []
        self.stale = self.gaps = 0

    async def assign(self, partitions: set[TP], generation: int, member_id: str) -> Mapping[TP, Seek]:
        self.memberships.append((generation, member_id))
        self.epochs = {tp: next_epoch() for tp in partitions}
        self.next = {tp: (self.log.get(tp) or [-1])[-1] + 1 for tp in partitions}
        return {tp: Seek(self.next[tp], self.epochs[tp]) for tp in partitions}

    async def revoke(self, partitions: set[TP]) -> None:
        self.revoked.append(partitions)
        self.epochs = {}

    async def apply(self, app: SlabApp, tp: TP, slab: Slab) -> None:
        if self.epochs.get(tp) != slab.epoch:
            self.stale += 1
        elif slab.start != self.next[tp]:
            self.gaps += 1
            await self.seek(app, tp)
        else:
            self.log.setdefault(tp, []).extend(slab.offsets.tolist())
            self.next[tp] = slab.end

    async def seek(self, app: SlabApp, tp: TP) -> None:
        self.epochs[tp] = next_epoch()
        await app.slab_consumer.seek_tasks({tp: Seek(self.next[tp], self.epochs[tp])})


@contextlib.asynccontextmanager
async def member(kafka: KafkaSettings, tasks: Positions, instance: str = "", topics: int = 1) -> AsyncIterator[SlabApp]:
    """A running app whose agents apply slabs to the tasks."""
    worker = WorkerSettings(instance=instance, session_timeout_s=6, heartbeat_s=0.3)
    app = create_app(Settings(kafka=kafka, worker=worker), tasks)

    async def apply(stream: Any) -> None:
        async for event in stream.events():
            await tasks.apply(app, event.message.tp, event.value)

    for name in (METER_READINGS, WASTE_EVENTS)[:topics]:
        app.agent(app.input_topic(name), name=name)(apply)
    async with faust_app_running(app):
        yield app


async def until(condition: Callable[[], bool], *apps: SlabApp) -> None:
    """Waits for a condition; an app that crashed or a minute ends it."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            for app in apps:
                if app.crashed and app.crash_reason is not None:
                    raise app.crash_reason
            await asyncio.sleep(0.01)


def produce(kafka: KafkaSettings, count: int, topic: str = METER_READINGS) -> None:
    """Writes messages over the partitions, in batches of many sizes."""
    one = producer(kafka, compression_type="lz4")
    for i in range(count):
        one.produce(topic_name(kafka, topic), b"%d" % i, key=b"%d" % i)
        if i % 97 == 0:
            one.flush()
    one.flush()


def ends(kafka: KafkaSettings, topic: str = METER_READINGS) -> dict[TP, int]:
    """The offset behind the last message of each partition."""
    name = topic_name(kafka, topic)
    marks = kafka_admin.watermarks(kafka, name, range(kafka.partitions))
    return {TP(name, partition): high for partition, (_, high) in marks.items()}


def applied(log: Log) -> int:
    """How many messages were applied."""
    return sum(map(len, log.values()))


def assert_once(kafka: KafkaSettings, log: Log, topic: str = METER_READINGS) -> None:
    """Every message of the topic was applied once and in order."""
    assert {tp: offsets for tp, offsets in log.items() if tp.topic == topic_name(kafka, topic)} == {
        tp: list(range(end)) for tp, end in ends(kafka, topic).items()
    }


@pytest.fixture
def topics(kafka: KafkaSettings) -> KafkaSettings:
    """Kafka with the topics made."""
    kafka_admin.create_missing(kafka, TOPICS)
    return kafka


def test_every_message_once_through_seeks(topics: KafkaSettings) -> None:
    """While seeks to the position of a task come at random, with slabs under way, each message is applied once.

    The slabs under way are stale and never look like a gap: the epochs tell them apart.
    """
    log: Log = {}
    tasks = Positions(log)
    chance = random.Random(5)
    done = threading.Event()

    def write() -> None:
        for _ in range(20):
            produce(topics, 1000)
        done.set()

    async def run() -> None:
        async with member(topics, tasks) as app:
            await until(lambda: len(tasks.epochs) == topics.partitions, app)
            thread = threading.Thread(target=write)
            thread.start()
            seeks = 0
            while not done.is_set() or seeks < 50:
                tp = chance.choice(list(tasks.epochs))
                await tasks.seek(app, tp)
                seeks += 1
                await asyncio.sleep(chance.random() * 0.02)
            await until(lambda: applied(log) >= 20_000, app)
            thread.join()

    asyncio.run(run())
    assert_once(topics, log)
    assert tasks.stale > 0
    assert tasks.gaps == 0


def test_a_seek_back_reads_again_from_there(topics: KafkaSettings) -> None:
    """A task that forgets and asks for an earlier offset gets everything from there on, once."""
    log: Log = {}
    tasks = Positions(log)
    produce(topics, 2000)

    async def run() -> None:
        async with member(topics, tasks) as app:
            await until(lambda: applied(log) == 2000, app)
            await asyncio.to_thread(produce, topics, 2000)  # the last slab does not start at 0
            await until(lambda: applied(log) == 4000, app)
            for tp in list(log):
                log[tp], tasks.next[tp] = log[tp][:7], 7
                await tasks.seek(app, tp)
            await until(lambda: applied(log) >= 4000, app)

    asyncio.run(run())
    assert_once(topics, log)


def test_members_come_and_go(topics: KafkaSettings) -> None:
    """While members join and leave a group, two topics are read once and in order, over all members together."""
    log: Log = {}
    first, second = Positions(log), Positions(log)
    count = 6000
    produce(topics, count)
    produce(topics, count, WASTE_EVENTS)

    async def run() -> None:
        async with member(topics, first, topics=2) as one:
            await until(lambda: applied(log) > 0, one)
            async with member(topics, second, topics=2) as two:
                await until(lambda: len(first.epochs) == len(second.epochs) == topics.partitions, one, two)
                await asyncio.to_thread(produce, topics, count)
                await until(lambda: applied(log) >= 3 * count, one, two)
            assert second.revoked[-1]
            await until(lambda: len(first.epochs) == 2 * topics.partitions, one)
            await asyncio.to_thread(produce, topics, count, WASTE_EVENTS)
            await until(lambda: applied(log) >= 4 * count, one)
            await one.slab_consumer.rejoin()
            await until(lambda: len(first.memberships) >= 4, one)

    asyncio.run(run())
    assert_once(topics, log)
    assert_once(topics, log, WASTE_EVENTS)
    generations = [generation for generation, _ in first.memberships]
    assert generations == sorted(set(generations))


def test_a_static_member_comes_back_without_a_rebalance(topics: KafkaSettings) -> None:
    """A member with an instance name that stops and starts again gets its partitions; the other is left alone."""
    log: Log = {}
    stays, restarts = Positions(log), Positions(log)

    async def run() -> None:
        async with member(topics, stays, instance="stays") as one:
            async with member(topics, restarts, instance="restarts") as two:
                await until(lambda: len(stays.epochs) == len(restarts.epochs) == 2, one, two)
                mine = set(restarts.epochs)
            calls = len(stays.memberships)
            again = Positions(log)
            async with member(topics, again, instance="restarts") as two:
                await until(lambda: len(again.epochs) == 2, one, two)
                assert set(again.epochs) == mine
                await asyncio.to_thread(produce, topics, 1000)
                await until(lambda: applied(log) >= 1000, one, two)
                assert len(stays.memberships) == calls

    asyncio.run(run())
    assert_once(topics, log)


def test_a_transaction_is_fenced_by_the_group(topics: KafkaSettings) -> None:
    """Offsets go into a transaction with this member's generation and id; older generations and others are refused."""
    tasks = Positions({})
    group = f"{topics.prefix}{WorkerSettings().group}"
    offset = [TopicPartition(topic_name(topics, METER_READINGS), 0, 1)]
    one = producer(topics, transactional_id=f"{topics.prefix}t")
    one.init_transactions(LIMIT_S)

    def send(generation: int, member_id: str) -> None:
        one.begin_transaction()
        try:
            one.send_offsets_to_transaction(offset, group_metadata(group, generation, member_id), LIMIT_S)
            one.commit_transaction(LIMIT_S)
        except KafkaException:
            one.abort_transaction(LIMIT_S)
            raise

    async def run() -> None:
        async with member(topics, tasks) as app:
            await until(lambda: bool(tasks.memberships), app)
            await app.slab_consumer.rejoin()
            await until(lambda: len(tasks.memberships) == 2, app)
            generation, member_id = tasks.memberships[-1]
            await asyncio.to_thread(send, generation, member_id)
            with pytest.raises(KafkaException, match="ILLEGAL_GENERATION"):
                await asyncio.to_thread(send, generation - 1, member_id)
            with pytest.raises(KafkaException, match="UNKNOWN_MEMBER"):
                await asyncio.to_thread(send, generation, "somebody else")

    asyncio.run(run())


def test_a_restore_that_takes_too_long_ends_the_app(topics: KafkaSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The flow is never resumed without a seek: the app ends with an error that names the partitions."""
    monkeypatch.setattr(streams_consumer, "RESTORE_S_MAX", 0.2)

    class Slow(Positions):
        async def assign(self, partitions: set[TP], generation: int, member_id: str) -> Mapping[TP, Seek]:
            await asyncio.sleep(LIMIT_S)
            return {}

    async def run() -> None:
        async with member(topics, Slow({})) as app:
            await until(lambda: False, app)

    with pytest.raises(LogError, match=r"no positions of .*meter\.readings-0"):
        asyncio.run(run())


def test_a_failure_of_the_tasks_ends_the_app(topics: KafkaSettings) -> None:
    """An error out of revoke is not swallowed."""

    class Broken(Positions):
        async def revoke(self, partitions: set[TP]) -> None:
            raise LogError("cannot finish")

    async def run() -> None:
        tasks = Broken({})
        async with member(topics, tasks) as app:
            await until(lambda: bool(tasks.memberships), app)
            await app.slab_consumer.rejoin()
            await until(lambda: False, app)

    with pytest.raises(LogError, match="cannot finish"):
        asyncio.run(run())


def test_faust_takes_nothing_from_the_environment(topics: KafkaSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust's own environment variables, which win over its arguments, change nothing."""
    monkeypatch.setenv("BROKER_URL", "kafka://127.0.0.1:1")
    monkeypatch.setenv("WEB_ENABLED", "true")
    app = create_app(Settings(kafka=topics), Positions({}))
    assert app.conf.broker_consumer[0].port == int(topics.bootstrap.rpartition(":")[2])
    assert app.conf.web_enabled is False


def test_security_settings_in_the_worker(topics: KafkaSettings) -> None:
    """The names of librdkafka for SASL become aiokafka's; one without a counterpart is refused by name alone."""
    secure = topics.model_validate(
        topics.model_dump()
        | {"security": {"security.protocol": "sasl_ssl", "sasl.mechanism": "PLAIN", "sasl.password": "s3cret"}}
    )
    options = streams_app.aiokafka_security(secure)
    assert (options["security_protocol"], options["sasl_mechanism"], options["sasl_plain_password"]) == (
        "SASL_SSL",
        "PLAIN",
        "s3cret",
    )
    assert options["ssl_context"].check_hostname
    foreign = topics.model_validate(topics.model_dump() | {"security": {"ssl.keystore.location": "s3cret"}})
    with pytest.raises(streams_app.ConfigurationError, match=r"ssl\.keystore\.location") as caught:
        streams_app.aiokafka_security(foreign)
    assert "s3cret" not in str(caught.value)
