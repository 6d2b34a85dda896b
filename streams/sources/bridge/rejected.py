"""What a bridge has rejected: its own topic, read back for people."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, TopicPartition

from schemas.errors import KafkaUnavailable, LogError
from schemas.kafka import client_config
from schemas.settings import KafkaSettings
from schemas.topics import topic_name
from streams.kafka_admin import watermarks
from streams.sources.bridge.mapping import BridgeMapping
from streams.sources.bridge.work import rejected_topic

_PATIENCE_S = 15.0


@dataclass(frozen=True, slots=True)
class Rejected:
    """A message that could not be used.

    Attributes:
        topic: it came from.
        partition: of it.
        offset: in it.
        time_ms: that Kafka gave it there.
        reason: why.
        key: as it came.
        raw: as it came.
    """

    topic: str
    partition: int
    offset: int
    time_ms: int
    reason: str
    key: bytes | None
    raw: bytes | None


def read(kafka: KafkaSettings, mapping: BridgeMapping) -> Iterator[Rejected]:
    """Everything that a bridge has rejected, oldest first; what was sent again since then is among it.

    Raises:
        KafkaUnavailable: no broker answers.
    """
    name = topic_name(kafka, rejected_topic(mapping).name)
    try:
        low, high = watermarks(kafka, name, [0], 5.0)[0]
    except LogError as error:
        if isinstance(error, KafkaUnavailable):
            raise
        return  # it never ran
    config = client_config(
        kafka,
        group_id=f"{kafka.prefix}bridge-list",
        enable_auto_commit=False,
        enable_partition_eof=True,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    with closing(Consumer(config)) as consumer:
        consumer.assign([TopicPartition(name, 0, low)])
        while low < high:
            message = consumer.poll(_PATIENCE_S)
            if message is None:
                raise KafkaUnavailable(kafka.bootstrap, f"{name} is not read to its end")
            if (fault := message.error()) is not None:
                if fault.code() == -191 and (message.offset() or 0) >= high:  # the end of the partition
                    return
                if fault.code() != -191 and not fault.retriable():
                    raise LogError(f"{name}: {KafkaException(fault)}")
                continue
            low = (message.offset() or 0) + 1
            headers = dict(message.headers() or [])
            texts = {
                key: value.decode("utf-8", "replace") for key, value in headers.items() if isinstance(value, bytes)
            }
            yield Rejected(
                texts.get("topic", "?"),
                int(texts.get("partition", "-1")),
                int(texts.get("offset", "-1")),
                int(texts.get("time_ms", "0")),
                texts.get("reason", "?"),
                message.key(),
                message.value(),
            )
