"""What tests read and write the log with: confluent-kafka as oracle, aiokafka for the bytes of a fetch."""

from collections.abc import Iterable

from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.structs import TopicPartition as Place
from confluent_kafka import Consumer, Producer, TopicPartition

from schemas.kafka import client_config
from schemas.record_batches import Slab
from schemas.settings import KafkaSettings
from schemas.topics import Topic
from streams import kafka_admin

Message = tuple[int, int, bytes | None, bytes | None]
WAIT_S = 30.0


def make_topic(kafka: KafkaSettings, name: str, partitions: int = 1, **config: str) -> str:
    """Makes a topic; its full name. Underscores in names of settings stand for dots."""
    topic = Topic(name, partitions, {key.replace("_", "."): value for key, value in config.items()})
    kafka_admin.create_missing(kafka, [topic])
    return topic.full_name(kafka)


def producer(kafka: KafkaSettings, **more: object) -> Producer:
    """A producer that writes at once."""
    return Producer(client_config(kafka, **{"linger_ms": 0} | more))


def messages_of(
    kafka: KafkaSettings, topic: str, partition: int = 0, isolation: str = "read_committed"
) -> list[Message]:
    """All messages of a partition as confluent-kafka reads them: offset, time, key, value."""
    consumer = Consumer(
        client_config(
            kafka,
            group_id=f"{kafka.prefix}oracle",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level=isolation,
            enable_partition_eof=True,
            check_crcs=True,
        )
    )
    consumer.assign([TopicPartition(topic, partition, 0)])
    messages: list[Message] = []
    while True:
        message = consumer.poll(WAIT_S)
        assert message is not None, "the oracle stands still"
        if message.error() is not None:  # the end of the partition
            break
        messages.append((message.offset(), message.timestamp()[1], message.key(), message.value()))
    consumer.close()
    return messages


def messages_in(slabs: Iterable[Slab]) -> list[Message]:
    """The same of slabs."""
    return [
        (int(slab.offsets[i]), int(slab.timestamps_ms[i]), slab.key(i), slab.value(i))
        for slab in slabs
        for i in range(len(slab))
    ]


async def fetch(
    kafka: KafkaSettings, topic: str, offset: int = 0, isolation: int = 1, max_bytes: int = 8 << 20
) -> tuple[bytes, list[tuple[int, int]]]:
    """The bytes that the broker answers to a fetch of partition 0, and the aborted transactions with them."""
    client = AIOKafkaClient(bootstrap_servers=kafka.bootstrap)
    await client.bootstrap()
    try:
        await client._wait_on_metadata(topic)
        node = client.cluster.leader_for_partition(Place(topic, 0))
        response = await client.send(
            node, FetchRequest(100, 1, max_bytes, isolation, [(topic, [(0, offset, max_bytes)])])
        )
        ((_, ((_, error, _, *rest),)),) = response.topics
        assert error == 0
        return rest[-1], rest[2] or []
    finally:
        await client.close()
