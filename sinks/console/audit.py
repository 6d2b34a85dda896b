"""Who did what, as events: every sign-in, refusal, action, export and change of a user goes to the topic `audit`.

Events are appended and never changed. What changes something is done only after its event was acknowledged by the
broker; a sign-in or a refusal is written without waiting, so that people can come in and read while Kafka is away.
"""

import dataclasses
import functools
import logging
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any, Final, Literal, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from schemas import codec
from schemas.errors import DecodeError, KafkaUnavailable
from schemas.kafka import client_config
from schemas.settings import KafkaSettings
from schemas.topics import AUDIT, topic_name

Outcome = Literal["done", "refused", "failed"]
TIMEOUT_S: Final = 10.0
PATIENCE_MS: Final = 3_600_000
"""A sign-in while Kafka is away is written when it comes back, within the hour."""
TEXT_CHARS_MAX: Final = 500

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """One event; see `schemas/avro/audit_event.avsc`."""

    actor: str
    action: str
    target: str = ""
    outcome: Outcome = "done"
    detail: str = ""
    address: str = ""
    event_id: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)
    time_ms: int = dataclasses.field(default_factory=lambda: time.time_ns() // 1_000_000)

    @property
    def raw(self) -> bytes:
        """As a message; long texts are cut."""
        fields = {
            name: value[:TEXT_CHARS_MAX] if isinstance(value, str) else value
            for name, value in dataclasses.asdict(self).items()
        }
        return codec.write("audit_event", fields)


class Audit:
    """Writes events, and reads the newest.

    Args:
        kafka: where.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._topic = topic_name(kafka, AUDIT)
        self._producers: dict[int, Producer] = {}
        self._lock = threading.Lock()

    def note(self, event: Event) -> None:
        """Writes without waiting; what the broker has not taken within an hour is in the log of the process only."""
        self._produce(
            event,
            PATIENCE_MS,
            functools.partial(_told, event),
        )

    def record(self, event: Event) -> None:
        """Writes, and returns when every replica that must has it.

        Raises:
            KafkaUnavailable: it may not be there; do not do what it says.
        """
        answers: list[KafkaError | None] = []
        producer = self._produce(event, int(TIMEOUT_S * 1000), answers.append)
        deadline_s = time.monotonic() + TIMEOUT_S
        while not answers and time.monotonic() < deadline_s:
            producer.poll(0.05)
        if not answers or answers[0] is not None:
            raise KafkaUnavailable(self._kafka.bootstrap, "the audit event was not acknowledged, so nothing was done")

    def newest(self, count: int) -> list[Event]:
        """The newest events, newest first.

        Raises:
            KafkaUnavailable: no broker answers.
        """
        consumer = Consumer(
            client_config(
                self._kafka, group_id=f"{self._kafka.prefix}audit-reader", enable_auto_commit=False, log_level=0
            )
        )
        try:
            place = TopicPartition(self._topic, 0)
            low, high = consumer.get_watermark_offsets(place, TIMEOUT_S)
            start = max(low, high - count)
            consumer.assign([TopicPartition(self._topic, 0, start)])
            found: list[Event] = []
            deadline_s = time.monotonic() + TIMEOUT_S
            while start < high and time.monotonic() < deadline_s:
                for message in consumer.consume(min(count, high - start), 0.5):
                    if message.error() is None:
                        start = cast("int", message.offset()) + 1
                        found += _events(message)
        except KafkaException as error:
            raise KafkaUnavailable(self._kafka.bootstrap, str(error)) from error
        finally:
            consumer.close()
        return found[::-1]

    def close(self) -> None:
        """Waits for what is on its way."""
        for producer in self._producers.values():
            producer.flush(5)

    def _produce(self, event: Event, patience_ms: int, told: Callable[[KafkaError | None], None]) -> Producer:
        with self._lock:
            if patience_ms not in self._producers:
                self._producers[patience_ms] = Producer(
                    client_config(
                        self._kafka,
                        enable_idempotence=True,
                        acks="all",
                        linger_ms=0,
                        message_timeout_ms=patience_ms,
                        log_level=0,
                    )
                )
        producer = self._producers[patience_ms]
        try:
            producer.produce(self._topic, event.raw, event.actor.encode(), on_delivery=lambda error, _: told(error))
            producer.poll(0)
        except (KafkaException, BufferError) as error:
            _told(event, error)
        return producer


def _told(event: Event, error: object) -> None:
    if error is not None:
        log.error("audit event is lost: %s: %s", event, error)


def _events(message: Any) -> list[Event]:
    try:
        return [Event(**cast("dict[str, Any]", codec.read("audit_event", message.value() or b"")))]
    except DecodeError:
        return []  # only the console writes here; what it did not write is no event of its
