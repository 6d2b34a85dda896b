"""One Kafka transaction: outputs, position record and the group's offset, at once or not at all.

The transactional id names the task, so whoever opens a task fences every other process that still thinks it owns it.
The group's offset carries the generation of the assignment, so the group fences as well (KIP-447); it is for lag tools,
the position record decides.
"""

import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from processors.outputs import Output
from schemas.errors import Fenced, KafkaUnavailable, LogError
from schemas.kafka import client_config, group_name
from schemas.settings import KafkaSettings
from schemas.topics import TASKS, topic_name

TRANSACTION_S_MAX: Final = 60.0
"""After so long without an end the broker aborts a transaction, and read_committed readers go on."""

MESSAGE_BYTES_MAX: Final = 8 << 20

_CALL_S: Final = 1.0
_PAUSE_S_MAX: Final = 2.0
_WARN_S: Final = 5.0
_SILENT: Final = 0

_FENCES: Final = (
    KafkaError._FENCED,  # noqa: SLF001  librdkafka's own name
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
)
"""Somebody else has the task, or the assignment it belongs to is over: sending again cannot help."""

_REFUSALS: Final = (
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
)
"""A person has to change something first."""

_log = logging.getLogger("ganzhi.worker")

_calls: dict[int, int] = {}
_numbers = itertools.count(1)


@contextlib.contextmanager
def calling() -> Iterator[None]:
    """Numbers the call of librdkafka that this thread is in, see `oldest_call`."""
    thread = threading.get_ident()
    _calls[thread] = next(_numbers)
    try:
        yield
    finally:
        del _calls[thread]


def oldest_call() -> int:
    """Number of the oldest call of librdkafka, over all threads, that has not returned; 0: there is none."""
    return min(_calls.copy().values(), default=0)


class Message(NamedTuple):
    """A message to send.

    Attributes:
        topic: as the broker names it.
        partition: of it.
        key: None: none.
        value: its bytes; None: null.
        headers: name and bytes.
    """

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, str | bytes | None]] | None = None


@dataclass(frozen=True, slots=True)
class Commit:
    """What one transaction holds.

    Attributes:
        outputs: messages for the output topics, in order.
        position: the position record.
        offset: of the next input message, for the group.
    """

    outputs: Sequence[Output]
    position: bytes
    offset: int


class TransactionalProducer:
    """Transactions of messages and of a group's offsets. Used by one thread; making it fences whoever has its id.

    Args:
        kafka: where the log is.
        name: for messages to people.
        transactional_id: without the prefix; one owner at a time has it.
        give_up: set by another thread to end waiting and retries.

    Raises:
        Fenced: another process took the id at the same moment.
        KafkaUnavailable: given up before the broker answered.
        LogError: the broker refuses the transactional id.
    """

    def __init__(self, kafka: KafkaSettings, name: str, transactional_id: str, give_up: threading.Event) -> None:
        self._kafka = kafka
        self._give_up = give_up
        self._name = name
        self._warned_s = 0.0
        self._open = False
        config = client_config(
            kafka,
            transactional_id=group_name(kafka, transactional_id),
            transaction_timeout_ms=int(TRANSACTION_S_MAX * 1000),
            message_max_bytes=MESSAGE_BYTES_MAX,
            compression_type="lz4",
            linger_ms=0,
            # After a restart of the broker librdkafka 2.16 looks for the group's coordinator only when the metadata
            # change: without a refresh, send_offsets hung for 20 to 60 s in 6 of 9 restarts, whatever its timeout.
            topic_metadata_refresh_interval_ms=1000,
            log_level=_SILENT,
        )
        self._producer = Producer(config)
        try:
            self._finish("open", self._producer.init_transactions)
        except KafkaException as error:
            raise self._translated(error.args[0]) from error

    def send(self, messages: Sequence[Message], offsets: Sequence[TopicPartition], membership: bytes) -> None:
        """Sends a transaction until it is committed; aborts and sends the same again as long as that can help.

        Args:
            messages: in the order in which each partition is to have them.
            offsets: of the next input messages, for the group; empty: there is no group, and the id alone fences.
            membership: group metadata of the assignment (`schemas.kafka.group_metadata`).

        Raises:
            Fenced: the partitions are somebody else's, or the state here cannot be saved: forget it and open it again.
            KafkaUnavailable: given up; whether it was committed is not known.
            LogError: the broker refuses what is sent.
        """
        pause_s = 0.05
        while True:
            try:
                return self._send(messages, offsets, membership)
            except KafkaException as error:
                fault = error.args[0]
                if fault.code() in (*_FENCES, *_REFUSALS) or not fault.txn_requires_abort():
                    raise self._translated(fault) from error
                self._warn(f"a commit is sent again: {fault.str()}")
                self._abort()
            if self._give_up.wait(pause_s):
                raise KafkaUnavailable(self._kafka.bootstrap, f"{self._name} was given up before it could commit")
            pause_s = min(2 * pause_s, _PAUSE_S_MAX)

    def close(self) -> None:
        """Aborts what is open, as far as the broker answers, and lets the connections go."""
        with calling():
            if self._open:
                with contextlib.suppress(KafkaException):
                    self._producer.abort_transaction(_CALL_S)
            self._producer.purge()
            del self._producer

    def _send(self, messages: Sequence[Message], offsets: Sequence[TopicPartition], membership: bytes) -> None:
        self._producer.begin_transaction()
        self._open = True
        for message in messages:
            self._produce(message)
        wanted = list(offsets)
        if wanted:
            self._finish("offsets", lambda s: self._producer.send_offsets_to_transaction(wanted, membership, s))
        self._finish("commit", self._producer.commit_transaction)
        self._open = False

    def _produce(self, message: Message) -> None:
        while True:
            try:
                return self._producer.produce(
                    message.topic, message.value, message.key, message.partition, headers=message.headers
                )
            except BufferError:
                self._producer.poll(0.1)
                if self._give_up.is_set():
                    raise KafkaUnavailable(self._kafka.bootstrap, f"{self._name} was given up in a commit") from None

    def _finish(self, what: str, call: Callable[[float], object]) -> None:
        """Calls until it is done: what librdkafka calls retriable goes on where it stopped when it is called again."""
        while True:
            try:
                with calling():
                    call(_CALL_S)
            except KafkaException as error:
                fault = error.args[0]
                if not fault.retriable() or fault.fatal():
                    raise
                self._warn(f"{what} takes long: {fault.str()}")
                if self._give_up.wait(0.02):
                    raise KafkaUnavailable(self._kafka.bootstrap, f"{self._name}: {fault.str()}") from error
            else:
                return

    def _abort(self) -> None:
        try:
            self._finish("abort", self._producer.abort_transaction)
        except KafkaException as error:  # seen: INVALID_TXN_STATE after a time-out; only a new producer can go on
            raise Fenced(f"{self._name} cannot abort: {error.args[0].str()}") from error
        self._open = False

    def _translated(self, fault: KafkaError) -> LogError:
        if fault.code() in _REFUSALS:
            return LogError(f"{self._name} cannot be committed: {fault.str()} ({fault.name()})")
        return Fenced(f"{self._name} must be opened again: {fault.str()} ({fault.name()})")

    def _warn(self, text: str) -> None:
        now_s = time.monotonic()
        if now_s - self._warned_s >= _WARN_S:
            self._warned_s = now_s
            _log.warning("%s: %s", self._name, text)


class TaskProducer:
    """The transactional producer of one task. Used by one thread; making it fences whoever had the task.

    Args:
        kafka: where the log is.
        topic: input topic, without prefix.
        partition: of the input topic, and of everything that is written.
        membership: group metadata of the assignment (`schemas.kafka.group_metadata`); None: the task belongs to no
            group, and its transactional id alone fences.
        give_up: set by another thread to end waiting and retries.

    Raises:
        Fenced: another process opened the task at the same moment.
        KafkaUnavailable: given up before the broker answered.
        LogError: the broker refuses the transactional id.
    """

    def __init__(
        self, kafka: KafkaSettings, topic: str, partition: int, membership: bytes | None, give_up: threading.Event
    ) -> None:
        self._kafka = kafka
        self._membership = membership
        self._partition = partition
        self._name = f"{topic}/{partition}"
        self._input = topic_name(kafka, topic)
        self._producer = TransactionalProducer(kafka, self._name, f"ganzhi-{topic}-{partition}", give_up)

    def commit(self, commit: Commit) -> None:
        """Sends a transaction until it is committed.

        Raises:
            Fenced: the task is somebody else's, or its state here cannot be saved: forget it and open it again.
            KafkaUnavailable: given up; whether it was committed is not known.
            LogError: the broker refuses what is sent.
        """
        kafka, partition = self._kafka, self._partition
        messages = [Message(topic_name(kafka, one.topic), partition, None, one.value) for one in commit.outputs]
        messages.append(Message(topic_name(kafka, TASKS), partition, self._name.encode(), commit.position))
        offsets = [TopicPartition(self._input, partition, commit.offset)] if self._membership is not None else []
        self._producer.send(messages, offsets, self._membership or b"")

    def close(self) -> None:
        """Aborts what is open, as far as the broker answers, and lets the connections go."""
        self._producer.close()
