"""The work of a bridge, in one thread: slabs to readings, readings and positions to a transaction."""

import dataclasses
import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from schemas.errors import KafkaUnavailable, LogCut, LogError
from schemas.kafka import client_config, group_name
from schemas.model.document import Document
from schemas.record_batches import Slab
from schemas.settings import KafkaSettings, Settings
from schemas.topics import CONFIG, METER_READINGS, Topic, topic_name
from streams.kafka_admin import watermarks
from streams.published import read_documents
from streams.sources.bridge.avro_kernel import Avro
from streams.sources.bridge.batches import Batches
from streams.sources.bridge.flat_json import FlatJson
from streams.sources.bridge.mapping import BridgeMapping
from streams.sources.bridge.readings import Converter
from streams.sources.catalog import Catalog
from streams.transaction import Message, TransactionalProducer

LOOK_S: Final = 5.0
"""Between two looks for a newer model."""

REJECTED_MAX: Final = 20_000
"""Rejected messages that wait for a commit, at most; more of them end the batch early."""

_SILENT: Final = 0
_log = logging.getLogger("ganzhi.bridge")


def group_of(mapping: BridgeMapping, again: bool = False) -> str:
    """The consumer group of a bridge, without the prefix."""
    return f"bridge-{mapping.name}" + ("-again" if again else "")


def rejected_topic(mapping: BridgeMapping) -> Topic:
    """Where a bridge puts messages that it cannot use: as they came, with headers that say where from and why."""
    forever = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
    return Topic(f"bridge.{mapping.name}.rejected", 1, forever | {"max.message.bytes": str(64 << 20)})


@dataclasses.dataclass(slots=True)
class Counts:
    """What a bridge has committed since its start."""

    messages: int = 0
    readings: int = 0
    batches: int = 0
    rejected: int = 0
    reasons: Counter[str] = dataclasses.field(default_factory=Counter)


class Work:
    """Applies slabs and commits. Everything but the attributes belongs to one thread.

    Args:
        settings: of Kafka and the bridge.
        mapping: what messages mean.
        again: whether it reads its own topic of rejected messages, instead of the foreign one.
        give_up: set by another thread to end waiting.

    Attributes:
        topic: that is read, full name.
        group: consumer group, full name.
        counts: what is committed.
        since_s: monotonic time of the first message that is not committed; None: all are.

    Raises:
        Fenced, KafkaUnavailable, LogError: as `TransactionalProducer`.
        ConfigurationError: a schema cannot be used.
    """

    def __init__(self, settings: Settings, mapping: BridgeMapping, again: bool, give_up: threading.Event) -> None:
        kafka = settings.kafka
        self.topic = topic_name(kafka, rejected_topic(mapping).name) if again else mapping.topic
        self.group = group_name(kafka, group_of(mapping, again))
        self.counts = Counts()
        self.since_s: float | None = None
        self._settings = settings
        self._mapping = mapping
        self._rejected_topic = topic_name(kafka, rejected_topic(mapping).name)
        fields = mapping.fields()
        self._reader: FlatJson | Avro = (
            FlatJson(fields) if mapping.schema_path is None else Avro(fields, mapping.schema_path, mapping.wire)
        )
        self._converter = Converter(mapping)
        self._batches = Batches(self._converter.gateways, mapping.mode)
        self._positions: dict[int, int] = {}
        self._committed: dict[int, int] = {}
        self._membership = b""
        self._pending = Counts()
        self._rejects: list[Message] = []
        self._config_end = -1
        self._looked_s = 0.0
        self._documents: Mapping[str, Document] = {}
        self._catalog = Catalog({})
        name = group_of(mapping, again) + (f"-{settings.bridge.instance}" if settings.bridge.instance else "")
        self._producer = TransactionalProducer(kafka, name, name, give_up)
        self._give_up = give_up
        self.look(True)

    # -- positions ----------------------------------------------------------------------------------------------------

    def assign(self, partitions: list[int], membership: bytes) -> dict[int, int]:
        """Takes partitions over: forgets what is not committed, and says where to read from.

        Raises:
            LogCut: the topic has lost messages that were not read yet.
            KafkaUnavailable: given up.
        """
        self.forget()
        self._membership = membership
        self._committed = committed(self._settings.kafka, self.group, self.topic, partitions, self._give_up)
        ends = watermarks(self._settings.kafka, self.topic, partitions)
        for partition, (low, high) in ends.items():
            at = self._committed.get(partition)
            if at is None:
                self._committed[partition] = low if self._mapping.start == "earliest" else high
            elif not low <= at <= high:
                raise LogCut(
                    f"{self.topic} partition {partition}: the bridge stands at offset {at}, but the topic has {low} to "
                    f"{high}; what is in between is lost to it. To go on without it, set the offset of group "
                    f"{self.group} by hand (kafka-consumer-groups --reset-offsets)"
                )
        self._positions = dict(self._committed)
        return dict(self._positions)

    def forget(self) -> None:
        """Forgets what is not committed."""
        self._batches.clear()
        self._rejects.clear()
        self._pending = Counts()
        self._positions = dict(self._committed)
        self.since_s = None

    def position(self, partition: int) -> int:
        """Where the next slab of a partition must start; -1: it is not ours."""
        return self._positions.get(partition, -1)

    def positions(self) -> dict[int, int]:
        """Partition → where its next slab starts; for any thread."""
        return dict(self._positions)

    @property
    def waiting(self) -> str:
        """What it waits for, for any thread; empty: nothing."""
        return "" if self._documents else "no site is published yet"

    # -- work ---------------------------------------------------------------------------------------------------------

    def take(self, slab: Slab) -> bool:
        """Applies a slab, and commits when enough has come together; False: it is not the next one, and is left."""
        if slab.start != self.position(slab.partition):
            return False
        if self.since_s is None:
            self.since_s = time.monotonic()
        if len(slab):
            cells = self._reader.read(slab)
            readings, refused = self._converter.convert(slab, cells, self._catalog)
            self._batches.add(readings)
            self._pending.messages += len(slab)
            for row, reason in refused.items():
                self._reject(slab, row, reason)
        self._positions[slab.partition] = slab.end
        if self._batches.readings >= self._settings.bridge.readings_max or len(self._rejects) >= REJECTED_MAX:
            self.commit()
        return True

    def is_due(self, now_s: float) -> bool:
        """Whether a commit is due."""
        return self.since_s is not None and now_s - self.since_s >= self._settings.bridge.commit_interval_s

    def commit(self) -> None:
        """Commits batches, rejected messages and positions, all in one transaction.

        Raises:
            Fenced: the partitions, or the bridge's name, are somebody else's now.
            KafkaUnavailable: given up.
            LogError: the broker refuses it.
        """
        self.since_s = None
        moved = {at: offset for at, offset in self._positions.items() if offset != self._committed.get(at)}
        if not moved:
            return
        readings = self._batches.readings
        homes = {site: document.partition for site, document in self._documents.items()}
        batches = self._batches.take(topic_name(self._settings.kafka, METER_READINGS), homes)
        offsets = [TopicPartition(self.topic, partition, offset) for partition, offset in moved.items()]
        self._producer.send(batches + self._rejects, offsets, self._membership)
        self._committed.update(moved)
        counts, pending = self.counts, self._pending
        counts.messages += pending.messages
        counts.readings += readings
        counts.batches += len(batches)
        counts.rejected += len(self._rejects)
        counts.reasons.update(pending.reasons)
        self._pending = Counts()
        self._rejects.clear()

    def look(self, now: bool = False) -> None:
        """Takes a newer model, if there is one.

        Raises:
            KafkaUnavailable: nobody answers (only with `now`; else it is looked for again later).
        """
        if not now and time.monotonic() - self._looked_s < LOOK_S:
            return
        self._looked_s = time.monotonic()
        kafka = self._settings.kafka
        try:
            _, end = watermarks(kafka, topic_name(kafka, CONFIG), [0], 10.0 if now else 1.0)[0]
            if end == self._config_end:
                return
            documents = read_documents(kafka)
        except (KafkaUnavailable, LogError):
            if now:
                raise
            return
        self.commit()  # what waits was packed by the model that was
        self._config_end, self._documents, self._catalog = end, documents, Catalog(documents)
        self._converter.clear()
        _log.info("model: %s", ", ".join(sorted(documents)) or "no site is published yet")

    def close(self) -> None:
        """Lets the connections go."""
        self._producer.close()

    def _reject(self, slab: Slab, row: int, reason: str) -> None:
        headers: list[tuple[str, str | bytes | None]] = [
            ("reason", reason[:1000].encode()),
            ("topic", slab.topic.encode()),
            ("partition", str(slab.partition).encode()),
            ("offset", str(int(slab.offsets[row])).encode()),
            ("time_ms", str(int(slab.timestamps_ms[row])).encode()),
        ]
        self._rejects.append(Message(self._rejected_topic, 0, slab.key(row), slab.value(row), headers))
        self._pending.reasons[_kind(reason)] += 1


def _kind(reason: str) -> str:
    """A reason without what is particular to one message, for counting."""
    words = reason.split("'")
    return "…".join(words[::2]) if len(words) > 2 else reason


def committed(
    kafka: KafkaSettings, group: str, topic: str, partitions: list[int], give_up: threading.Event
) -> dict[int, int]:
    """What a group has committed, once no transaction is open that could change it; without those it never has.

    Raises:
        KafkaUnavailable: given up before the broker answered.
    """
    config = client_config(
        kafka,
        group_id=group,
        enable_auto_commit=False,
        isolation_level="read_committed",  # librdkafka then asks for stable offsets
        log_level=_SILENT,
    )
    consumer = Consumer(config)
    wanted = [TopicPartition(topic, partition) for partition in partitions]
    try:
        while True:
            try:
                found = consumer.committed(wanted, timeout=5.0)
                if all(one.error is None for one in found):
                    return {one.partition: one.offset for one in found if one.offset >= 0}
                text = str(next(one.error for one in found if one.error is not None))
            except KafkaException as error:
                text = str(error.args[0].str())
            if give_up.wait(0.2):
                raise KafkaUnavailable(kafka.bootstrap, text)
    finally:
        consumer.close()


def warm_up(mapping: BridgeMapping) -> None:
    """Loads or compiles the kernels before the group is joined, which waits for nobody."""
    fields = mapping.fields()
    reader = FlatJson(fields) if mapping.schema_path is None else Avro(fields, mapping.schema_path, mapping.wire)
    reader.read(Slab.of("", 0, [(0, 0, b"", b'{"a":1}')]))
    converter = Converter(mapping)
    batches = Batches(converter.gateways, mapping.mode)
    batches.add(converter.warm_up())
    batches.take("", dict.fromkeys((site for site, _ in converter.gateways.names), 0))
