"""The topic `notifications`: what was decided, sent and delivered, with the position in the log that it follows from.

Notices, messages, deliveries and the position of one turn of the loop are one Kafka transaction. A second notifier
fences the first: what the first has not committed by then it will not send.
"""

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from schemas import codec
from schemas.errors import DecodeError, Fenced, KafkaUnavailable, LogError
from schemas.kafka import client_config, group_name
from schemas.settings import KafkaSettings
from schemas.topics import NOTIFICATIONS, topic_name
from sinks.clickhouse.faults import point
from sinks.desk.follower import Follower, Place
from sinks.notify.records import Delivery, Message, Notice

TRANSACTION_S: Final = 30.0
_SILENT: Final = 0
_LOCAL_FENCED: Final = -144  # librdkafka's own code; its Python binding has it under a private name
_FENCED: Final = frozenset({_LOCAL_FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH})


class Journal:
    """Reads what the notifiers before this one wrote, and writes on.

    Args:
        kafka: where.

    Raises:
        KafkaUnavailable: no broker answers.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._topic = topic_name(kafka, NOTIFICATIONS)
        self._producer = Producer(
            client_config(
                kafka,
                transactional_id=group_name(kafka, "notifier"),
                transaction_timeout_ms=int(TRANSACTION_S * 1000),
                message_max_bytes=8 << 20,
                compression_type="zstd",
                linger_ms=0,
                log_level=_SILENT,
            )
        )
        self._call(self._producer.init_transactions, TRANSACTION_S)

    def read(self) -> tuple[list[Notice | Message | Delivery], dict[Place, int] | None]:
        """(every record in order, the last position; None: there was no notifier yet).

        Raises:
            KafkaUnavailable: the topic cannot be read to its end.
        """
        records: list[Notice | Message | Delivery] = []
        position: dict[Place, int] | None = None
        follower = Follower(self._kafka, (NOTIFICATIONS,))
        try:
            for message in follower.catch_up():
                value = message.value()
                contract = codec.contract_of(value) if value else None
                try:
                    if contract == "notice":
                        records.append(Notice.parse(value))
                    elif contract == "notice_message":
                        records.append(Message.parse(value))
                    elif contract == "notice_delivery":
                        records.append(Delivery.parse(value))
                    elif contract == "notifier_position":
                        places: Any = codec.read(contract, value)["places"]
                        position = {(one["topic"], one["partition"]): one["offset"] for one in places}
                except DecodeError:
                    continue  # not ours; the sink lists it
        finally:
            follower.close()
        return records, position

    def write(self, records: Iterable[Notice | Message | Delivery], position: Mapping[Place, int]) -> None:
        """Writes records and position; when it returns, they are there for ever.

        Raises:
            Fenced: another notifier runs now.
            KafkaUnavailable: whether they were written is not known; only a new start tells.
            LogError: the broker refuses them.
        """
        places = [{"topic": topic, "partition": part, "offset": at} for (topic, part), at in sorted(position.items())]
        now_ms = time.time_ns() // 1_000_000
        self._call(self._producer.begin_transaction)
        for record in records:
            key = record.id if isinstance(record, Message) else getattr(record, "message", "") or _alert(record)
            self._produce(key.encode(), record.raw)
        self._produce(b"position", codec.write("notifier_position", {"time_ms": now_ms, "places": places}))
        point("journal-before-commit")
        self._call(self._producer.commit_transaction, TRANSACTION_S)
        point("journal-after-commit")

    def close(self) -> None:
        """Gives up what was begun."""
        self._producer.purge()
        with suppress(KafkaException):  # one that was fenced says so here again
            self._producer.flush(1)

    def _produce(self, key: bytes, value: bytes) -> None:
        while True:
            try:
                return self._producer.produce(self._topic, value, key)
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                raise self._translated(error) from error

    def _call(self, call: Any, *arguments: object) -> None:
        """Calls librdkafka again where it says that this is safe."""
        until_s = time.monotonic() + TRANSACTION_S
        while True:
            try:
                call(*arguments)
            except KafkaException as error:
                if not error.args[0].retriable() or time.monotonic() >= until_s:
                    raise self._translated(error) from error
                time.sleep(0.05)
            else:
                return

    def _translated(self, error: KafkaException) -> Exception:
        fault = error.args[0]
        if fault.code() in _FENCED:
            return Fenced("another notifier runs under the same prefix; one is enough, and only one may")
        if fault.code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED):
            return LogError(f"Kafka denies: {fault.str()}")
        return KafkaUnavailable(self._kafka.bootstrap, fault.str())


def _alert(record: Notice | Message | Delivery) -> str:
    return "/".join(map(str, record.key)) if isinstance(record, Notice) else ""
