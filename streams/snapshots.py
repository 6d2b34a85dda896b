"""What a task left in Kafka: its position, and copies of its state as a cache.

`tasks` holds, in the partition of the input, `TOPIC/PARTITION` → position record and `TOPIC/PARTITION/snapshot/SLOT` →
head of a snapshot; `snapshots` holds its chunks. A snapshot is a pure function of the log and its offset and carries
its sha256, so it needs no transaction and no fence: even a copy that a fenced worker wrote is true, and a spoilt one is
found out. Three slots are written in turn, the head last.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from processors.migrations import LAYOUTS
from processors.state import ENGINE
from schemas import codec
from schemas.errors import ContractError, DecodeError, KafkaUnavailable, LogError
from schemas.kafka import client_config
from schemas.settings import KafkaSettings
from schemas.topics import SNAPSHOT_CHUNK_BYTES, SNAPSHOTS, TASKS, topic_name

try:
    from compression import zstd  # Python 3.14
except ImportError:
    from backports import zstd

SLOTS: Final = 3
UPGRADE_SLOT: Final = SLOTS
"""A further slot: the state before the last `engine` record, from which the release after it goes on. Not overwritten
until the next one: an engine cannot replay what an older one computed."""

SNAPSHOT_BYTES_MAX: Final = 4 << 30
"""Before compression; 160 bytes a point make this 25 million points."""

_LEVEL: Final = 1
_WRITE_S: Final = 20.0
_SILENT: Final = 0
_COMMITTED: Final = "read_committed"
_UNCOMMITTED: Final = "read_uncommitted"

_log = logging.getLogger("ganzhi.worker")


@dataclass(frozen=True, slots=True)
class Head:
    """A snapshot that somebody has written; whether its chunks are still right shows when it is read.

    Attributes:
        slot: 0 .. SLOTS - 1, or UPGRADE_SLOT.
        offset: state after all messages before this offset.
        engine: engine number.
        first_chunk: offset of the first chunk in the partition of `snapshots`.
        last_chunk: offset of the last one.
        chunks: how many.
        size: bytes after decompression.
        sha256: of those.
    """

    slot: int
    offset: int
    engine: int
    first_chunk: int
    last_chunk: int
    chunks: int
    size: int
    sha256: bytes


@dataclass(slots=True)
class Record:
    """What `tasks` says of one task.

    Attributes:
        position: the last position record, decoded; None: the task never committed.
        heads: of the snapshots, by slot.
    """

    position: dict[str, codec.Value] | None = None
    heads: dict[int, Head] = field(default_factory=dict)


def read_record(kafka: KafkaSettings, topic: str, partition: int, give_up: threading.Event) -> Record:
    """Reads what `tasks` says of a task, to the end: also what was being committed when this was called.

    Args:
        kafka: where the log is.
        topic: input topic, without prefix.
        partition: of it.
        give_up: set by another thread to end the waiting.

    Raises:
        KafkaUnavailable: given up.
        LogError: the topic is not there, or a position record cannot be read.
    """
    name = topic_name(kafka, TASKS)
    # The end that counts transactions under way: what they commit must be read too. Our own were ended by the fence.
    end = _high_watermark(kafka, name, partition, give_up)
    position_key, prefix = f"{topic}/{partition}".encode(), f"{topic}/{partition}/snapshot/".encode()
    record = Record()
    for message in _read(kafka, name, partition, 0, end, _COMMITTED, give_up):
        key, value = message.key() or b"", message.value()
        if value is None:
            continue
        if key == position_key:
            try:
                record.position = codec.read("task_position", value)
            except DecodeError as error:
                raise LogError(
                    f"the position of {topic}/{partition} cannot be read ({error}); which release wrote it?"
                ) from error
        elif key.startswith(prefix):
            head = _head(value)
            if head is not None:
                record.heads[head.slot] = head
    return record


def read_state(kafka: KafkaSettings, topic: str, partition: int, head: Head, give_up: threading.Event) -> bytes:
    """Reads the bytes of a snapshot.

    Raises:
        ContractError: chunks are missing or other than those that the head names.
        KafkaUnavailable: given up.
        LogError: the topic is not there.
    """
    if head.size > SNAPSHOT_BYTES_MAX or (head.engine != ENGINE and head.engine not in LAYOUTS):
        raise ContractError(f"snapshot of {head.size} bytes, engine {head.engine}")
    name = topic_name(kafka, SNAPSHOTS)
    prefix = f"{topic}/{partition}/{head.slot}/"
    parts: dict[int, bytes] = {}
    # A topic that was made anew may end before the chunks that the head names: that is never waited for.
    end = min(head.last_chunk + 1, _high_watermark(kafka, name, partition, give_up))
    for message in _read(kafka, name, partition, head.first_chunk, end, _UNCOMMITTED, give_up):
        key = (message.key() or b"").decode("utf-8", "replace")
        number = key.removeprefix(prefix)
        if key.startswith(prefix) and number.isdecimal():
            parts[int(number)] = message.value() or b""
    if sorted(parts) != list(range(head.chunks)):
        raise ContractError(f"snapshot has {len(parts)} chunks of {head.chunks}")
    try:
        stream = zstd.ZstdDecompressor()
        raw: bytes = stream.decompress(b"".join(parts[i] for i in range(head.chunks)), head.size + 1)
    except zstd.ZstdError as error:
        raise ContractError(f"snapshot cannot be decompressed: {error}") from error
    if len(raw) != head.size or hashlib.sha256(raw).digest() != head.sha256:
        raise ContractError("snapshot has other bytes than its head says")
    return raw


class SnapshotWriter:
    """Writes snapshots, one after another, in a thread and with a producer of its own: no task waits for it.

    A snapshot that cannot be written is a line in the log: it is a cache.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="snapshots")
        self._producer = Producer(
            client_config(
                kafka,
                enable_idempotence=True,
                message_timeout_ms=int(_WRITE_S * 1000),
                message_max_bytes=2 * SNAPSHOT_CHUNK_BYTES,
                linger_ms=0,
                log_level=_SILENT,
            )
        )

    def write(self, topic: str, partition: int, slot: int, offset: int, raw: bytes) -> Future[bool]:
        """Writes one, later.

        Args:
            topic: input topic, without prefix.
            partition: of it.
            slot: which one is overwritten.
            offset: the state is that after all messages before this one, and this position is committed.
            raw: the state.

        Returns:
            Whether it is in the log, once that is known.
        """
        return self._thread.submit(self._write, topic, partition, slot, offset, raw)

    def close(self) -> None:
        """Waits for what is being written."""
        self._thread.shutdown(wait=True)

    def _write(self, topic: str, partition: int, slot: int, offset: int, raw: bytes) -> bool:
        try:
            packed = zstd.compress(raw, level=_LEVEL)
            chunks = [packed[at : at + SNAPSHOT_CHUNK_BYTES] for at in range(0, len(packed), SNAPSHOT_CHUNK_BYTES)]
            prefix = f"{topic}/{partition}/{slot}/"
            keyed = [(f"{prefix}{i}", chunk) for i, chunk in enumerate(chunks)]
            offsets = self._produce(SNAPSHOTS, partition, keyed)
            head = {
                "topic": topic, "partition": partition, "engine": ENGINE, "offset": offset, "slot": slot,
                "chunks": len(chunks), "first_chunk": min(offsets), "last_chunk": max(offsets),
                "bytes": len(raw), "sha256": hashlib.sha256(raw).digest(),
            }  # fmt: skip
            self._produce(
                TASKS, partition, [(f"{topic}/{partition}/snapshot/{slot}", codec.write("snapshot_head", head))]
            )
        except (KafkaException, LogError) as error:
            _log.warning("%s/%d: snapshot not written: %s", topic, partition, error)
            return False
        return True

    def _produce(self, topic: str, partition: int, messages: list[tuple[str, bytes]]) -> list[int]:
        """Writes messages and waits until they are in the log; their offsets."""
        offsets: list[int] = []
        faults: list[str] = []

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                faults.append(error.str())
            else:
                offsets.append(message.offset() or 0)

        for key, value in messages:
            while True:
                try:
                    self._producer.produce(
                        topic_name(self._kafka, topic), value, key.encode(), partition, on_delivery=delivered
                    )
                    break
                except BufferError:
                    self._producer.poll(0.1)
        self._producer.flush(_WRITE_S + 5)
        if faults or len(offsets) != len(messages):
            raise KafkaUnavailable(self._kafka.bootstrap, faults[0] if faults else "not acknowledged")
        return offsets


def _head(value: bytes) -> Head | None:
    """A head; None: of another release, whose snapshots are of no use here."""
    try:
        fields: dict[str, Any] = codec.read("snapshot_head", value)
    except DecodeError:
        return None
    if not 0 <= fields["slot"] <= UPGRADE_SLOT:
        return None
    names = ("slot", "offset", "engine", "first_chunk", "last_chunk", "chunks", "bytes", "sha256")
    return Head(*(fields[name] for name in names))


def _high_watermark(kafka: KafkaSettings, topic: str, partition: int, give_up: threading.Event) -> int:
    """The end of a partition, messages of open transactions included."""
    config = client_config(
        kafka,
        group_id=f"{kafka.prefix}tasks",
        enable_auto_commit=False,
        isolation_level=_UNCOMMITTED,
        log_level=_SILENT,
    )
    with closing(Consumer(config)) as consumer:
        while True:
            try:
                # Without the metadata a client that has never asked says "unknown partition" after a broker's restart.
                consumer.list_topics(topic, timeout=2.0)
                marks = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=2.0)
                if marks is not None:
                    return int(marks[1])
                text = "no answer"
            except KafkaException as error:
                text = str(error.args[0].str())
            if give_up.wait(0.1):
                raise KafkaUnavailable(kafka.bootstrap, text)


def _read(
    kafka: KafkaSettings, topic: str, partition: int, first: int, end: int, isolation: str, give_up: threading.Event
) -> Iterator[Message]:
    """Messages of a partition from `first` to before `end`; waits while transactions before `end` are open."""
    if first >= end:
        return
    config = client_config(
        kafka,
        group_id=f"{kafka.prefix}tasks",
        enable_auto_commit=False,
        enable_partition_eof=True,
        auto_offset_reset="earliest",
        isolation_level=isolation,
        fetch_wait_max_ms=20,
        queued_min_messages=10_000,
        log_level=_SILENT,
    )
    since_s = time.monotonic()
    with closing(Consumer(config)) as consumer:
        consumer.assign([TopicPartition(topic, partition, first)])
        while True:
            message = consumer.poll(0.2)
            if message is not None:
                error, offset = message.error(), message.offset() or 0
                # The end's offset is that of the next fetch: behind markers of transactions, which are no messages.
                ended = error is not None and error.code() == KafkaError._PARTITION_EOF  # noqa: SLF001  librdkafka's
                if (error is None or ended) and offset >= end:
                    return
                if error is None:
                    yield message
                elif not ended and (error.fatal() or not error.retriable()) and error.code() not in _PASSING:
                    raise LogError(f"{topic} partition {partition} cannot be read: {error.str()}")
            if give_up.is_set():
                raise KafkaUnavailable(
                    kafka.bootstrap, f"{topic} partition {partition} not read after {time.monotonic() - since_s:.0f} s"
                )


_PASSING: Final = (
    KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001  librdkafka's own names
    KafkaError._TRANSPORT,  # noqa: SLF001
    KafkaError._RESOLVE,  # noqa: SLF001
    KafkaError._TIMED_OUT,  # noqa: SLF001
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
)
"""A broker that is away or has not told its partitions yet."""
