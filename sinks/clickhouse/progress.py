"""How far ClickHouse is behind the log."""

import time
from collections.abc import Mapping
from typing import Final

from confluent_kafka import Consumer, TopicPartition

from schemas.settings import KafkaSettings, Settings
from schemas.topics import topic_name
from sinks.clickhouse import log
from sinks.clickhouse.blocks import TOPICS
from sinks.clickhouse.ranges import Place

_TIMEOUT_S: Final = 10.0
_LOOK_S: Final = 2.0
"""For the messages that wait longest: what is left of a partition may be nothing but marks of transactions."""


def lag(settings: Settings, topics: tuple[str, ...] = TOPICS) -> dict[Place, int]:
    """Offsets of each partition that are not stored yet; partitions without any are absent.

    A range that is being inserted counts whole: it is stored when its ends are committed.

    Args:
        settings: of Kafka and of the sink's group.
        topics: those to look at, without prefix; all that the sink reads.

    Raises:
        KafkaUnavailable: nobody answers.
    """
    consumer = log.observer(settings)
    try:
        return {place: high - next_ for place, (next_, high) in _waiting(consumer, settings, topics).items()}
    finally:
        consumer.close()


def waiting_since(settings: Settings, topics: tuple[str, ...] = TOPICS) -> tuple[int, int | None]:
    """(offsets that are not stored yet, when the log got the first of these messages, UTC ms; None: there is none).

    Raises:
        KafkaUnavailable: nobody answers.
    """
    consumer = log.observer(settings)
    try:
        waiting = _waiting(consumer, settings, topics)
        first_ms = _first_ms(consumer, settings.kafka, {place: next_ for place, (next_, _) in waiting.items()})
        return sum(high - next_ for next_, high in waiting.values()), first_ms
    finally:
        consumer.close()


def drained(settings: Settings, topics: tuple[str, ...] = TOPICS) -> bool:
    """Whether everything that was committed to the topics before this call is in ClickHouse, all tables of it.

    Raises:
        KafkaUnavailable: nobody answers.
    """
    return not lag(settings, topics)


def _waiting(consumer: Consumer, settings: Settings, topics: tuple[str, ...]) -> dict[Place, tuple[int, int]]:
    """Place → (first offset that is not stored, end), where these differ."""
    bounds = {place: (low, high) for place, low, high in log.ends(consumer, settings.kafka, topics, _TIMEOUT_S)}
    stored = log.committed(consumer, settings.kafka, sorted(bounds), _TIMEOUT_S)
    found = {place: (max(stored[place][0], low), high) for place, (low, high) in bounds.items()}
    return {place: (next_, high) for place, (next_, high) in found.items() if next_ < high}


def _first_ms(consumer: Consumer, kafka: KafkaSettings, starts: Mapping[Place, int]) -> int | None:
    """The least time of the first messages from some offsets on."""
    places = {(topic_name(kafka, topic), partition): start for (topic, partition), start in starts.items()}
    if not places:
        return None
    consumer.assign([TopicPartition(topic, partition, start) for (topic, partition), start in places.items()])
    first_ms: int | None = None
    until_s = time.monotonic() + _LOOK_S
    while places and (left_s := until_s - time.monotonic()) > 0:
        message = consumer.poll(left_s)
        if message is None or places.pop((str(message.topic()), int(message.partition() or 0)), None) is None:
            continue
        if message.error() is None:
            at_ms = int(message.timestamp()[1])
            first_ms = at_ms if first_ms is None else min(first_ms, at_ms)
        # One message of each will do: what else was fetched of it would only come before the others.
        consumer.pause([TopicPartition(str(message.topic()), int(message.partition() or 0))])
    return first_ms
