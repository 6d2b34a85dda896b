"""Where every source ends: readings become batches of a gateway and go, in order, to the pinned partition of a site.

One idempotent producer, so that what the broker has is what was sent, once and in order, also when the broker was away
in between: nothing times out, the writer waits and says so. Only what the broker refuses for good is an error.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

import numpy as np
from confluent_kafka import KafkaError, KafkaException, Producer
from numpy.typing import NDArray

from schemas.codec import write
from schemas.encode import MODES, READINGS_MAX, Mode, encode_batches
from schemas.errors import ConfigurationError, KafkaUnavailable, LogError
from schemas.kafka import client_config
from schemas.model.document import Document
from schemas.settings import KafkaSettings
from schemas.topics import METER_READINGS, topic_name

log = logging.getLogger(__name__)

LINGER_S: Final = 1.0
"""A live reading waits at most so long for others of its gateway (DESIGN section 4)."""
_SILENCE_S: Final = 3.0
_SILENCE_MAX_S: Final = 60.0


@dataclass(slots=True)
class _Pending:
    """Live readings of one gateway that are not sent yet."""

    since_s: float
    times_ms: list[int] = field(default_factory=list)
    points: list[int] = field(default_factory=list)
    values: list[int] = field(default_factory=list)
    qualities: list[int] = field(default_factory=list)


class BatchWriter:
    """Writes readings, events and ticks to the input topics.

    What is sent to one partition arrives in the order of the calls. Not safe for several threads at once. Leaving the
    `with` block sends what is pending and waits until the broker has everything.

    Args:
        kafka: where the log is.
        documents: the published document of every site that will be sent; may be replaced by newer ones (`documents`).
        notify: is told, in a sentence, when the broker takes nothing for 3 s, then after 6 s, 12 s, ... and when it is
            back; the default is a log record.

    Attributes:
        readings: readings handed to the producer so far.
        messages: messages handed to the producer so far.
    """

    def __init__(
        self, kafka: KafkaSettings, documents: Mapping[str, Document], notify: Callable[[str], None] | None = None
    ) -> None:
        self.documents = documents
        self.readings = 0
        self.messages = 0
        self._kafka = kafka
        self._errors: list[LogError] = []
        self._pending: dict[tuple[str, str, Mode], _Pending] = {}
        self._topics: dict[str, str] = {}
        self._producer = Producer(
            client_config(
                kafka,
                enable_idempotence=True,
                compression_type="lz4",
                linger_ms=5,
                batch_size=900_000,
                queue_buffering_max_kbytes=65_536,
                message_timeout_ms=0,  # never: a broker that is away is waited for
                topic_metadata_propagation_max_ms=5000,  # a topic unknown for so long does not exist
                delivery_report_only_error=True,
                on_delivery=self._failed,
                error_cb=self._error,
            )
            | {"log_level": 0}  # what librdkafka would print about a broker that is away, `notify` says
        )
        self._stall = _Stall(kafka.bootstrap, notify or log.warning)

    def send(
        self,
        site: str,
        gateway: str,
        mode: Mode,
        times_ms: NDArray[np.int64],
        points: NDArray[np.int32],
        values: NDArray[np.int64],
        qualities: NDArray[np.int8],
    ) -> None:
        """Sends readings of one gateway in their order, as messages of at most 1,000 readings.

        Args:
            site: site id.
            gateway: gateway id; the model must give it the points.
            mode: live, or backfill (feeds the ledger only).
            times_ms: UTC, milliseconds since 1970; in the order of time for each point.
            points: numbers of the points in their site.
            values: smallest unit of the medium, thousandths of a gauge's unit, or 1 of a state.
            qualities: indices into `schemas.encode.QUALITIES`.

        Raises:
            ConfigurationError: the site has not been applied.
            LogError: the broker refused something, now or earlier.
        """
        for waiting in MODES:
            self._send_pending((site, gateway, waiting))
        for message in encode_batches(site, gateway, mode, times_ms, points, values, qualities):
            self._produce(METER_READINGS, self.partition(site), site.encode(), message)
        self.readings += int(np.size(times_ms))

    def add(
        self,
        site: str,
        gateway: str,
        point: int,
        time_ms: int,
        value: int,
        quality: int = 0,
        mode: Mode = "live",
    ) -> None:
        """Takes one reading; it is sent with others of its gateway, at 1,000 of them or a second later.

        `poll` must be called in between, or the second passes unnoticed.

        Raises:
            ConfigurationError: the site has not been applied.
            LogError: the broker refused something, now or earlier.
        """
        key = (site, gateway, mode)
        pending = self._pending.get(key)
        if pending is None:
            self.partition(site)
            pending = self._pending[key] = _Pending(time.monotonic())
        pending.times_ms.append(time_ms)
        pending.points.append(point)
        pending.values.append(value)
        pending.qualities.append(quality)
        if len(pending.times_ms) >= READINGS_MAX:
            self._send_pending(key)

    def event(self, topic: str, site: str, contract: str, value: Mapping[str, object]) -> None:
        """Sends one event (`waste_event`, `vehicle_event`, `meter_fact`) after everything that its site sent before.

        Raises:
            DecodeError: the value does not fit the contract.
            ConfigurationError: the site has not been applied.
            LogError: the broker refused something, now or earlier.
        """
        message = write(contract, value)
        for key in [key for key in self._pending if key[0] == site]:
            self._send_pending(key)
        self._produce(topic, self.partition(site), site.encode(), message)

    def tick(self, topic: str, partition: int, clock_ms: int) -> None:
        """Sends a tick of a simulated domain, after everything that was sent to the partition before."""
        for key in [key for key in self._pending if self.partition(key[0]) == partition]:
            self._send_pending(key)
        self._produce(topic, partition, None, write("tick", {"clock_ms": clock_ms}))

    def raw(self, topic: str, partition: int, key: bytes, value: bytes) -> None:
        """Sends a message as it is: input that was rejected once, and may be good now.

        Raises:
            LogError: the broker refused something, now or earlier.
        """
        self._produce(topic, partition, key or None, value)

    def partition(self, site: str) -> int:
        """The partition of a site in every input topic.

        Raises:
            ConfigurationError: the site has not been applied.
        """
        document = self.documents.get(site)
        if document is None:
            raise ConfigurationError(f"site {site} is not published; run `ganzhi apply` with a model that has it")
        return document.partition

    def poll(self) -> None:
        """Sends live readings that have waited for a second, and raises what the broker has refused."""
        late_s = time.monotonic() - LINGER_S
        for key in [key for key, pending in self._pending.items() if pending.since_s <= late_s]:
            self._send_pending(key)
        self._producer.poll(0)
        self._raise()

    def flush(self, timeout_s: float | None = None) -> None:
        """Sends what is pending and waits until the broker has everything that was sent.

        Args:
            timeout_s: how long to wait; None: as long as it takes.

        Raises:
            KafkaUnavailable: not everything was taken within the time; the rest is still queued, flush again.
            LogError: the broker refused something for good.
        """
        for key in list(self._pending):
            self._send_pending(key)
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while left := self._producer.flush(0.25):
            self._raise()
            self._look()
            if deadline_s is not None and time.monotonic() > deadline_s:
                raise KafkaUnavailable(self._kafka.bootstrap, f"{left} messages still wait for it")
        self._look()
        self._raise()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.flush()
        else:
            self._producer.flush(5)  # what was sent before the error was meant; the error itself goes on

    def _send_pending(self, key: tuple[str, str, Mode]) -> None:
        pending = self._pending.pop(key, None)
        if pending is not None:
            self.send(
                *key,
                np.array(pending.times_ms, np.int64),
                np.array(pending.points, np.int32),
                np.array(pending.values, np.int64),
                np.array(pending.qualities, np.int8),
            )

    def _produce(self, topic: str, partition: int, key: bytes | None, value: bytes) -> None:
        name = self._topics.get(topic)
        if name is None:
            name = self._topics.setdefault(topic, topic_name(self._kafka, topic))
        while True:
            self._raise()
            try:
                self._producer.produce(name, value, key, partition)
            except BufferError:  # the queue is full: the broker is slower than the source, or away
                self._producer.poll(0.1)
                self._look()
            except KafkaException as error:
                raise LogError(f"{name}: {error.args[0].str()}") from error
            else:
                break
        self.messages += 1
        self._producer.poll(0)

    def _look(self) -> None:
        waiting = len(self._producer)
        self._stall.look(self.messages - waiting, waiting)

    def _failed(self, error: KafkaError | None, message: object) -> None:
        if error is not None:
            topic = message.topic() if hasattr(message, "topic") else "?"
            self._errors.append(LogError(f"the broker refused a message for {topic}: {error.str()}; {_advice(error)}"))

    def _error(self, error: KafkaError) -> None:
        if error.fatal():
            self._errors.append(LogError(f"the producer cannot go on: {error.str()}; start again"))

    def _raise(self) -> None:
        if self._errors:
            raise self._errors[0]


def _advice(error: KafkaError) -> str:
    if error.code() in (KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION, KafkaError.UNKNOWN_TOPIC_OR_PART):  # noqa: SLF001
        return "run `ganzhi apply`, which makes the topics"
    return "look at the broker's log"


class _Stall:
    """Tells when the broker has taken nothing for a while, ever more rarely, and when it takes again."""

    def __init__(self, bootstrap: str, notify: Callable[[str], None]) -> None:
        self._bootstrap = bootstrap
        self._notify = notify
        self._taken = 0
        self._since_s = time.monotonic()
        self._next_s = _SILENCE_S

    def look(self, taken: int, waiting: int) -> None:
        """Compares the number of messages taken so far with the last look's."""
        now_s = time.monotonic()
        if taken > self._taken or not waiting:
            if self._next_s > _SILENCE_S:
                self._notify(f"Kafka at {self._bootstrap} takes messages again")
            self._taken, self._since_s, self._next_s = taken, now_s, _SILENCE_S
            return
        silent_s = now_s - self._since_s
        if silent_s >= self._next_s:
            self._notify(
                f"Kafka at {self._bootstrap} has taken nothing for {silent_s:.0f} s; {waiting} messages wait, "
                "none is lost (is it up? `ganzhi doctor`)"
            )
            self._next_s += min(self._next_s, _SILENCE_MAX_S)
