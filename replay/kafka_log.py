"""History from Kafka: the log itself."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from replay.chains import Chains, Heads
from replay.log import SLAB_MESSAGES, Position, Task, check_contiguous, input_tasks, position_of, remember, rows_of
from replay.settlements import Settlements
from schemas.errors import HistoryIncomplete, KafkaUnavailable
from schemas.kafka import RECEIVE_BYTES_MAX, client_config
from schemas.model.document import Document
from schemas.record_batches import Slab
from schemas.settings import KafkaSettings
from schemas.topics import (
    ALERTS,
    CONFIG,
    LEDGER,
    OUTPUTS,
    REJECTED,
    SETTLED,
    SETTLEMENTS,
    TASKS,
    VERDICTS,
    input_of,
    topic_name,
)

TIMEOUT_S: Final = 20.0
_END: Final = -191  # librdkafka's own code for the end of a partition; its Python binding has it under a private name

_TOPIC_OF: Final = {
    "ledger": LEDGER,
    "gauges": LEDGER,
    "alerts": ALERTS,
    "episodes": ALERTS,
    "verdicts": VERDICTS,
    "rejected": REJECTED,
}


class KafkaHistory:
    """Reads with a consumer that is no member of any group, and commits nothing."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self.name = "Kafka"
        self._kafka = kafka
        self._offsets: dict[bytes, tuple[int, int]] | None = None
        self._document = remember(self._fetch)

    def positions(self) -> dict[Task, Position]:
        """The last committed position of every task."""
        found: dict[Task, Position] = {}
        known = {f"{topic}/{partition}".encode() for topic, partition in input_tasks(self._count(TASKS))}
        for partition in range(self._count(TASKS)):
            for key, value in self._messages(TASKS, partition, 0):
                if key in known and value is not None:
                    task, position = position_of(value)
                    found[task] = position
        return found

    def ends(self) -> dict[Task, int]:
        """Where every partition of the input topics ends now, by the task that reads it."""
        consumer = self._consumer()
        try:
            return {
                task: consumer.get_watermark_offsets(
                    TopicPartition(topic_name(self._kafka, task[0]), task[1]), TIMEOUT_S
                )[1]
                for task in input_tasks(self._count(TASKS))
                if task[0] == input_of(task[0])  # who settles reads no partition to its end
            }
        except KafkaException as error:
            raise KafkaUnavailable(self._kafka.bootstrap, str(error)) from error
        finally:
            consumer.close()

    def slabs(self, task: Task, end: int, start: int = 0) -> Iterator[Slab]:
        """Slabs of at most SLAB_MESSAGES messages."""
        topic, partition = input_of(task[0]), task[1]
        consumer = self._consumer()
        try:
            low, high = consumer.get_watermark_offsets(
                TopicPartition(topic_name(self._kafka, topic), partition), TIMEOUT_S
            )
            check_contiguous(task, 0, low, "the log's start")
            if high < end:
                raise HistoryIncomplete(f"{topic}/{partition}: the log ends at {high}, the task had come to {end}")
            consumer.assign([TopicPartition(topic_name(self._kafka, topic), partition, start)])
            at = start
            while at < end:
                messages = _consume(consumer, self._kafka)
                rows = [m for m in messages if m.offset() < end]
                if not messages:
                    raise HistoryIncomplete(
                        f"{topic}/{partition}: no message after offset {at}, {end} has to be reached"
                    )
                if rows:
                    columns = (
                        [m.offset() for m in rows],
                        [m.timestamp()[1] for m in rows],
                        [m.key() for m in rows],
                        [m.value() for m in rows],
                    )
                    stop = end if len(rows) < len(messages) or rows[-1].offset() + 1 >= end else rows[-1].offset() + 1
                    yield Slab.of_columns(topic, partition, *columns, start=at, end=stop)
                    at = stop
                else:
                    at = end
        except KafkaException as error:
            raise KafkaUnavailable(self._kafka.bootstrap, str(error)) from error
        finally:
            consumer.close()

    def end(self, task: Task) -> int:
        """Where the log of a task ends now.

        Raises:
            KafkaUnavailable: nobody answers.
        """
        consumer = self._consumer()
        try:
            place = TopicPartition(topic_name(self._kafka, task[0]), task[1])
            return int(consumer.get_watermark_offsets(place, TIMEOUT_S)[1])
        except KafkaException as error:
            raise KafkaUnavailable(self._kafka.bootstrap, str(error)) from error
        finally:
            consumer.close()

    def document(self, sha256: bytes) -> Document:
        """From the topic `config`."""
        return self._document(sha256)

    def chains(self, positions: Mapping[Task, Position]) -> dict[Task, Heads]:
        """Of the rows in the output topics, read_committed, in one pass."""
        chains = Chains(positions)
        partitions = sorted({partition for _, partition in positions})
        for _, value in self._read([(name, partition) for name in OUTPUTS for partition in partitions]):
            if value is not None:
                chains.message(value)
        return {task: chains.heads(task) for task in positions}

    def published(self, task: Task, stream: str) -> Iterator[dict[str, object]]:
        """From the output topics, read_committed."""
        settles = task[0].startswith(SETTLED)
        for _, value in self._messages(SETTLEMENTS if settles else _TOPIC_OF[stream], task[1], 0):
            if value is not None:
                yield from rows_of(stream, value, task)

    def settlements(self, task: Task) -> Settlements:
        """What settlements of a task have published so far."""
        found = Settlements(task)
        for _, value in self._messages(SETTLEMENTS, task[1], 0):
            if value is not None:
                found.message(value)
        return found

    def _fetch(self, sha256: bytes) -> bytes:
        for key, value in self._messages(CONFIG, 0, 0):
            if key == sha256.hex().encode() and value is not None:
                return value
        raise HistoryIncomplete(
            f"document {sha256.hex()} is not in the topic {CONFIG}; publish that model again with `ganzhi apply`"
        )

    def _messages(self, name: str, partition: int, start: int) -> Iterator[tuple[bytes | None, bytes | None]]:
        """(key, value) of every message from `start` to the end as it is now."""
        return self._read([(name, partition)], start)

    def _read(self, places: list[tuple[str, int]], start: int = 0) -> Iterator[tuple[bytes | None, bytes | None]]:
        """(key, value) of every message of some partitions, each in its order, to the ends as they are now."""
        consumer = self._consumer()
        try:
            consumer.assign([TopicPartition(topic_name(self._kafka, name), number, start) for name, number in places])
            left = {(topic_name(self._kafka, name), number) for name, number in places}
            while left:
                for message in consumer.consume(SLAB_MESSAGES, 0.2):
                    error = message.error()
                    place = (str(message.topic()), int(str(message.partition())))
                    if error is None:
                        if place in left:  # else it came after the end was seen
                            yield message.key(), message.value()
                    elif error.code() == _END:
                        left.discard(place)
                    else:
                        raise KafkaUnavailable(self._kafka.bootstrap, error.str())
        except KafkaException as error:
            raise KafkaUnavailable(self._kafka.bootstrap, str(error)) from error
        finally:
            consumer.close()

    def _count(self, name: str) -> int:
        consumer = self._consumer()
        try:
            full = topic_name(self._kafka, name)
            found = consumer.list_topics(full, TIMEOUT_S).topics[full]
            if found.error is not None and found.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise HistoryIncomplete(f"there is no topic {full}; nothing was ever computed here")
            return len(found.partitions)
        except KafkaException as error:
            raise KafkaUnavailable(self._kafka.bootstrap, str(error)) from error
        finally:
            consumer.close()

    def _consumer(self) -> Consumer:
        return Consumer(
            client_config(self._kafka)
            | {
                "group.id": f"{self._kafka.prefix}replay",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "auto.offset.reset": "error",
                "allow.auto.create.topics": False,
                "fetch.wait.max.ms": 50,
                "receive.message.max.bytes": RECEIVE_BYTES_MAX,
                "queued.max.messages.kbytes": 65_536,
                "error_cb": _ignore,
            }
        )


def _ignore(error: KafkaError) -> None:
    """Connection faults are retried by librdkafka; what lasts shows as a time-out."""
    del error


def _consume(consumer: Consumer, kafka: KafkaSettings) -> list[Any]:
    """The next messages, waiting at most TIMEOUT_S; empty at the end of the partition."""
    for _ in range(int(TIMEOUT_S / 0.2)):
        found = consumer.consume(SLAB_MESSAGES, 0.2)
        faults = [fault for fault in (m.error() for m in found) if fault is not None]
        real = [fault for fault in faults if fault.code() != _END]
        if real:
            raise KafkaUnavailable(kafka.bootstrap, real[0].str())
        messages = [m for m in found if m.error() is None]
        if messages or faults:
            return messages
    raise KafkaUnavailable(kafka.bootstrap, f"no message within {TIMEOUT_S} s")
