"""Loads the input into a topic: one JSON message a reading, or Avro batches of one gateway."""

import io
from collections.abc import Iterator
from typing import Final

import fastavro
import numpy as np
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from schemas.encode import encode_batch
from streams.published import partition_of as partition_of_site
from tests.bench.peers.job import BEGIN_MS, GATEWAY_POINTS, PARTITIONS, Input, Longs, gateway_of, partition_of

BATCH: Final = 500
AVRO: Final = fastavro.parse_schema(
    {
        "type": "record",
        "name": "Batch",
        "fields": [
            {"name": "gateway", "type": "string"},
            {
                "name": "readings",
                "type": {
                    "type": "array",
                    "items": {
                        "type": "record",
                        "name": "Reading",
                        "fields": [
                            {"name": "point", "type": "int"},
                            {"name": "ts", "type": "long"},
                            {"name": "value", "type": "double"},
                            {"name": "quality", "type": "int"},
                        ],
                    },
                },
            },
        ],
    }
)
"""What the rivals get as batches: 17 bytes a reading or so."""

Message = tuple[int, bytes, bytes]
"""Partition, key, value."""


def _sites() -> tuple[str, ...]:
    """One site a partition, by name: `ganzhi apply` pins a site where Kafka's hash of its name says."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < PARTITIONS:
        found.setdefault(partition_of_site(f"s{number}", PARTITIONS), f"s{number}")
        number += 1
    return tuple(found[partition] for partition in range(PARTITIONS))


SITES: Final = _sites()


def json_messages(data: Input) -> Iterator[Message]:
    """One message a reading."""
    partitions = partition_of(data.point).tolist()
    rows = zip(data.point.tolist(), data.time_ms.tolist(), data.value.tolist(), partitions, strict=True)
    for point, time_ms, value, partition in rows:
        whole, part = divmod(value, 1000)
        text = f'{{"site": "{SITES[partition]}", "point": {point}, "ts": {time_ms}, "value": {whole}.{part:03d}}}'
        yield partition, SITES[partition].encode(), text.encode()


def rival_batches(data: Input) -> Iterator[Message]:
    """Batches of 500 readings of a gateway, for the rivals."""
    for gateway, rows in _batches(data):
        out = io.BytesIO()
        readings = [
            {"point": p, "ts": t, "value": v / 1000, "quality": 192}
            for p, t, v in zip(
                data.point[rows].tolist(), data.time_ms[rows].tolist(), data.value[rows].tolist(), strict=True
            )
        ]
        fastavro.schemaless_writer(out, AVRO, {"gateway": f"g{gateway:03d}", "readings": readings})
        yield gateway % PARTITIONS, f"g{gateway:03d}".encode(), out.getvalue()


def our_batches(data: Input, numbers: Longs) -> Iterator[Message]:
    """The same batches by ganzhi's contract.

    Args:
        data: the input.
        numbers: by point: what `ganzhi apply` gave it.
    """
    number = numbers[data.point].astype(np.int32)
    for gateway, rows in _batches(data):
        site = SITES[gateway % PARTITIONS]
        quality = np.zeros(len(rows), np.int8)
        value = encode_batch(
            site, f"g{gateway:03d}", "live", data.time_ms[rows], number[rows], data.value[rows], quality
        )
        yield gateway % PARTITIONS, site.encode(), value


def _batches(data: Input) -> Iterator[tuple[int, Longs]]:
    """(gateway, rows), the gateways taking turns as they would in time."""
    gateways = data.points // GATEWAY_POINTS
    mine = [np.flatnonzero(gateway_of(data.point) == gateway) for gateway in range(gateways)]
    for first in range(0, max(map(len, mine)), BATCH):
        for gateway in range(gateways):
            rows = mine[gateway][first : first + BATCH]
            if len(rows):
                yield gateway, rows


def closing(data: Input) -> Input:
    """A last reading of every point ten minutes later, which closes every window."""
    count = data.points
    point = np.arange(count, dtype=np.int64)
    return Input(
        count, 1, point, np.full(count, data.end_ms + 600_000), np.full(count, 20_000), np.zeros(count, np.bool_)
    )


def opening(data: Input) -> Input:
    """A first reading of every gateway ten minutes before the others: whoever gets it has started."""
    point = np.arange(0, data.points, GATEWAY_POINTS, dtype=np.int64)
    count = len(point)
    return Input(count, 1, point, np.full(count, BEGIN_MS - 600_000), np.full(count, 20_000), np.zeros(count, np.bool_))


def make_topic(bootstrap: str, name: str) -> None:
    """A topic with as many partitions as the job has."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for made in admin.create_topics([NewTopic(name, PARTITIONS, 1)]).values():
        made.result(30)


def produce(bootstrap: str, topic: str, messages: Iterator[Message]) -> int:
    """Sends all; how many."""
    producer = Producer(
        {"bootstrap.servers": bootstrap, "linger.ms": 20, "batch.size": 1_000_000, "enable.idempotence": True}
    )
    count = 0
    for partition, key, value in messages:
        while True:
            try:
                producer.produce(topic, value, key, partition, timestamp=BEGIN_MS)
                break
            except BufferError:
                producer.poll(0.1)
        count += 1
        if count % 10_000 == 0:
            producer.poll(0)
    producer.flush()
    return count
