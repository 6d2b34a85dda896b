"""A small model for the tests of sources, and what they left in the log."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from schemas import codec
from schemas.codec import Value
from schemas.kafka import client_config
from schemas.model.build import Deployment, build_documents
from schemas.model.check import check_folder
from schemas.model.document import Document
from schemas.settings import KafkaSettings
from schemas.topics import topic_name
from streams.kafka_admin import create_missing

FILES = {
    "sites.yaml": "- {id: here, time_zone: Europe/London}\n- {id: there}\n- {id: sim, domain: story}\n",
    "gateways.csv": "id,site\ng1,here\ng2,here\ng3,there\ng4,sim\n",
    "points.csv": (
        "id,site,gateway,role,kind,medium,unit,interval_s\n"
        "main,here,g1,energy,register,electricity,kWh,900\n"
        "hourly,here,g1,energy,delta,gas,kWh,3600\n"
        "lights,here,g2,light_power,gauge,,kW,60\n"
        "people,here,g2,occupancy,state,,1,0\n"
        "other,there,g3,water,register,water,m3,900\n"
        "old,sim,g4,energy,register,electricity,kWh,900\n"
    ),
    "stations.csv": "id,site,class\nS1,here,mixed\n",
    "vehicles.csv": "id,site,energy\nV1,here,electric\n",
}
PARTITIONS = {"here": 1, "there": 2, "sim": 3}


def documents(folder: Path) -> dict[str, Document]:
    """The documents of the model, as `apply` builds them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in FILES.items():
        (folder / name).write_text(text, "utf-8")
    model, faults = check_folder(folder)
    assert not faults, faults
    return build_documents(model, Deployment(PARTITIONS, {}, {}, {}))


def topics(kafka: KafkaSettings) -> KafkaSettings:
    """Makes the topics of the pipeline."""
    create_missing(kafka)
    return kafka


def messages(kafka: KafkaSettings, topic: str) -> Iterator[tuple[int, bytes | None, bytes]]:
    """Partition, key and value of every message of a topic, each partition from its beginning to its end."""
    name = topic_name(kafka, topic)
    consumer = Consumer(client_config(kafka, group_id="reader", enable_partition_eof=True, enable_auto_commit=False))
    try:
        count = len(consumer.list_topics(name, timeout=20).topics[name].partitions)
        consumer.assign([TopicPartition(name, partition, 0) for partition in range(count)])
        left = count
        while left:
            message = consumer.poll(20)
            assert message is not None, "the broker does not answer"
            if message.error():
                left -= 1
            else:
                yield message.partition() or 0, message.key(), message.value() or b""
    finally:
        consumer.close()


def values(kafka: KafkaSettings, topic: str, contract: str) -> list[dict[str, Value]]:
    """Decoded messages of a contract, in the order of their partitions."""
    return [codec.read(contract, raw) for _, _, raw in messages(kafka, topic) if codec.contract_of(raw) == contract]


def readings(kafka: KafkaSettings) -> list[tuple[Any, ...]]:
    """Site, gateway, mode, time, number, value and quality of every reading in the log, in its order."""
    batches: list[Any] = values(kafka, "meter.readings", "meter_batch")
    return [
        (b["site"], b["gateway"], b["mode"], b["base_ms"] + r["offset_ms"], r["point"], r["value"], r["quality"])
        for b in batches
        for r in b["readings"]
    ]


def numbers(found: dict[str, Document]) -> dict[str, int]:
    """Numbers of the points by their ids."""
    return {
        str(name): int(str(number))
        for document in found.values()
        for name, number in zip(document.table("points")["id"], document.table("points")["number"], strict=True)
    }
