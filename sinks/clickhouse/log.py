"""The sink's side of Kafka: consumers, reading a range exactly, and foreign errors translated."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from schemas.errors import Fenced, KafkaUnavailable, LogCut, LogError
from schemas.kafka import RECEIVE_BYTES_MAX, client_config, group_name
from schemas.settings import KafkaSettings, Settings
from schemas.topics import bare_name, topic_name
from sinks.clickhouse.messages import Run
from sinks.clickhouse.ranges import Place, Range

Message: TypeAlias = Any
"""A message that was consumed: it has a topic, a partition and an offset, which the binding's own types leave open."""

POLL_S: Final = 0.25
BATCH_MESSAGES: Final = 2000

#: Codes that librdkafka makes itself; its Python binding has them under private names only.
END_OF_PARTITION: Final = -191
_STATE: Final = -172
_NO_OFFSET: Final = -168
_AUTHENTICATION: Final = -169
_AUTO_OFFSET_RESET: Final = -140
_ASSIGNMENT_LOST: Final = -142

#: The group gave the partitions to somebody else, or is about to: the range is the next owner's.
MOVED: Final = frozenset({
    KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID, KafkaError.REBALANCE_IN_PROGRESS,
    _STATE, _ASSIGNMENT_LOST, _NO_OFFSET,
})  # fmt: skip
#: Somebody may not do what he asked for: waiting does not help.
_DENIED: Final = frozenset({
    KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED, KafkaError.SASL_AUTHENTICATION_FAILED, _AUTHENTICATION,
})  # fmt: skip


def member(settings: Settings, on_error: Callable[[KafkaError], None]) -> Consumer:
    """A member of the sink's group, which commits only what it is told to."""
    more: dict[str, Any] = {}
    if settings.sink.instance:
        more["group.instance.id"] = settings.sink.instance
    return Consumer(
        client_config(settings.kafka, error_cb=on_error)
        | {
            "group.id": group_name(settings.kafka, settings.sink.group),
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            # A position that the log does not have any more must be seen, never be moved.
            "auto.offset.reset": "error",
            "allow.auto.create.topics": False,
            "topic.metadata.refresh.interval.ms": 5000,
            # Eager, and by partition number: one sink has the same partitions of every topic.
            "partition.assignment.strategy": "range",
            "session.timeout.ms": int(settings.sink.session_timeout_s * 1000),
            "heartbeat.interval.ms": int(settings.sink.session_timeout_s * 1000 / 6),
            "max.poll.interval.ms": 300_000,
            "fetch.wait.max.ms": 100,
            "receive.message.max.bytes": RECEIVE_BYTES_MAX,
            "queued.max.messages.kbytes": 65_536,
        }
        | more
    )


def observer(settings: Settings) -> Consumer:
    """A consumer that never joins the group: it reads ranges, and what the group has committed."""
    return Consumer(
        client_config(settings.kafka)
        | {
            "group.id": group_name(settings.kafka, settings.sink.group),
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "auto.offset.reset": "error",
            "allow.auto.create.topics": False,
            "fetch.wait.max.ms": 100,
            "receive.message.max.bytes": RECEIVE_BYTES_MAX,
        }
    )


def take(runs: Mapping[Place, Run], place: Place, message: Message) -> int:
    """Adds a message to its run; returns how many bytes it has."""
    run = runs[place]
    run.offsets.append(message.offset())
    run.times_ms.append(message.timestamp()[1])
    key, value = message.key(), message.value()
    run.keys.append(key)
    run.values.append(value)
    return len(value or b"") + len(key or b"")


def read(settings: Settings, range_: Range, wait: Callable[[float], None]) -> dict[Place, Run]:
    """Reads exactly the messages of a range, whoever has its partitions.

    Args:
        settings: where.
        range_: what.
        wait: called again and again while this takes; raises to give up.

    Raises:
        LogCut: the log does not have all of it any more.
        LogError: the broker does not allow it.
        Whatever `wait` raises.
    """
    runs = {place: Run() for place in range_.spans}
    missing = dict(range_.spans)
    consumer = observer(settings)
    try:
        consumer.assign(
            [
                TopicPartition(topic_name(settings.kafka, topic), partition, start)
                for (topic, partition), (start, _) in range_.spans.items()
            ]
        )
        while missing:
            wait(0)
            for message in consumer.consume(BATCH_MESSAGES, POLL_S):
                place, offset, end = _where(settings.kafka, message)
                if place not in missing:
                    continue
                if not end and offset < missing[place][1]:
                    take(runs, place, message)
                if offset + (not end) >= missing[place][1]:
                    del missing[place]
    finally:
        consumer.close()
    return runs


def _where(kafka: KafkaSettings, message: Message) -> tuple[Place, int, bool]:
    """(place, offset, whether it is the end of the partition so far); a place that is nowhere for other errors."""
    error = message.error()
    if error is None or error.code() == END_OF_PARTITION:
        return (bare_name(kafka, message.topic()), message.partition()), message.offset(), error is not None
    check(message, error)
    return ("", -1), 0, True


def check(message: Message, error: KafkaError) -> None:
    """Raises where waiting does not help.

    Raises:
        LogCut: the log starts after, or ends before, the position.
        Fenced: another process has the same instance name.
        LogError: the broker denies it, or the client is of no use any more.
    """
    if error.code() in (_AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
        raise LogCut(
            f"{message.topic()} partition {message.partition()}: {error.str()}; the log does not have what the sink was"
            " to read next. If the messages are lost, set the group's offset by hand to go on without them"
        )
    if error.code() == KafkaError.FENCED_INSTANCE_ID:
        raise Fenced(_FENCED)
    if error.code() in _DENIED:
        raise LogError(f"Kafka denies: {error.str()}")
    if error.fatal():
        raise LogError(f"the Kafka client cannot go on: {error.str()}")


_FENCED: Final = "another sink runs under the same instance name; give each its own (GANZHI_SINK__INSTANCE)"


def commit(
    consumer: Consumer, kafka: KafkaSettings, offsets: Mapping[Place, int], metadata: str, wait: Callable[[float], None]
) -> bool:
    """Commits offsets with one metadata text; returns False when the group has moved on.

    Raises:
        Fenced: another process has the same instance name.
        LogError: the broker denies it.
        Whatever `wait` raises.
    """
    wanted = [
        TopicPartition(topic_name(kafka, topic), partition, offset, metadata)
        for (topic, partition), offset in sorted(offsets.items())
    ]
    while True:
        try:
            done = consumer.commit(offsets=wanted, asynchronous=False)
            faults = [part.error for part in done if part.error is not None]
        except KafkaException as error:
            faults = [error.args[0]]
        if not faults:
            return True
        codes = {fault.code() for fault in faults}
        if KafkaError.FENCED_INSTANCE_ID in codes:
            raise Fenced(_FENCED)
        if codes & MOVED:
            return False
        if codes & _DENIED:
            raise LogError(f"Kafka denies: {faults[0].str()}")
        wait(0.2)


def committed(
    consumer: Consumer, kafka: KafkaSettings, places: list[Place], timeout_s: float = 10.0
) -> dict[Place, tuple[int, str]]:
    """Place → (offset, negative where there is none; metadata).

    Raises:
        KafkaUnavailable: the coordinator does not answer.
        LogError: the broker denies it.
    """
    wanted = [TopicPartition(topic_name(kafka, topic), partition) for topic, partition in places]
    with translating(kafka):
        found = consumer.committed(wanted, timeout=timeout_s) if wanted else []
        for part in found:
            if part.error is not None:
                raise KafkaException(part.error)
        return {(bare_name(kafka, part.topic), part.partition): (part.offset, part.metadata or "") for part in found}


class translating:  # noqa: N801 - reads as a statement
    """Turns KafkaException into `KafkaUnavailable`, or `LogError` where waiting does not help."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, KafkaException):
            fault = error.args[0]
            if fault.code() in _DENIED:
                raise LogError(f"Kafka denies: {fault.str()}") from error
            raise KafkaUnavailable(self._kafka.bootstrap, fault.str()) from error


def bounds(consumer: Consumer, kafka: KafkaSettings, place: Place, timeout_s: float = 10.0) -> tuple[int, int]:
    """(first offset, offset after the last one that is committed) of a partition.

    Raises:
        KafkaUnavailable: nobody answers.
    """
    with translating(kafka):
        found = consumer.get_watermark_offsets(TopicPartition(topic_name(kafka, place[0]), place[1]), timeout=timeout_s)
    if found is None:  # librdkafka's binding does not raise when the answer comes too late
        raise KafkaUnavailable(kafka.bootstrap, f"the ends of {place[0]} partition {place[1]} are not told in time")
    return int(found[0]), int(found[1])


def ends(
    consumer: Consumer, kafka: KafkaSettings, topics: tuple[str, ...], timeout_s: float = 10.0
) -> Iterator[tuple[Place, int, int]]:
    """(place, first offset, offset after the last one that is committed) of every partition of the topics that exist.

    Raises:
        KafkaUnavailable: nobody answers.
    """
    with translating(kafka):
        known = consumer.list_topics(timeout=timeout_s).topics
        for topic in topics:
            full = topic_name(kafka, topic)
            for partition in sorted(known[full].partitions) if full in known else ():
                yield (topic, partition), *bounds(consumer, kafka, (topic, partition), timeout_s)


def now_ms() -> int:
    """The clock of this process; only for the age of a range, which is no part of what is stored."""
    return time.time_ns() // 1_000_000
