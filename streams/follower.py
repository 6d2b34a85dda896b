"""Documents as they are published: a consumer at the end of `config`, so that a new document is there when it is named.

The topic keeps every document that ever was, so reading it from its beginning takes longer with every change.
librdkafka fetches what comes while nobody asks, within its own bounds.
"""

import logging
import threading
import time
from collections import OrderedDict
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from schemas.kafka import RECEIVE_BYTES_MAX, client_config
from schemas.settings import KafkaSettings
from schemas.topics import CONFIG, topic_name

SEEN_BYTES_MAX: Final = 64 << 20
"""Documents kept that nobody has asked for yet: one apply may change many sites."""

_WAIT_S: Final = 5.0
_ON_ITS_WAY_S: Final = 0.03
"""A document is published before the record that names it, so it is there already, or nearly."""
_LONG_POLL_MS: Final = 100
_SILENT: Final = 0

_log = logging.getLogger("ganzhi.worker")


class Follower:
    """What is published from its start on; several threads may ask at once.

    It is a shortcut: what it does not have is to be looked for in the topic.

    Args:
        kafka: where the topic `config` is.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._topic = topic_name(kafka, CONFIG)
        self._lock = threading.Lock()
        self._consumer: Consumer | None = None
        self._next: dict[int, int] = {}
        self._seen: OrderedDict[str, bytes] = OrderedDict()
        self._closed = False

    def start(self) -> None:
        """Begins at the end of the topic. No broker: nothing happens."""
        with self._lock:
            if self._consumer is not None or self._closed:
                return
            consumer = Consumer(
                client_config(
                    self._kafka,
                    group_id=f"{self._kafka.prefix}published",
                    enable_auto_commit=False,
                    enable_partition_eof=True,
                    auto_offset_reset="latest",
                    fetch_wait_max_ms=_LONG_POLL_MS,
                    receive_message_max_bytes=RECEIVE_BYTES_MAX,
                    log_level=_SILENT,
                )
            )
            try:
                known = consumer.list_topics(self._topic, timeout=_WAIT_S).topics
                places = [TopicPartition(self._topic, number) for number in known[self._topic].partitions]
                self._next = {place.partition: self._end(consumer, place) for place in places}
                consumer.assign([TopicPartition(self._topic, number, at) for number, at in self._next.items()])
            except (KafkaException, LookupError) as error:
                _log.info("new documents are read when they are named: %s", error)
                consumer.close()
                return
            self._consumer = consumer

    def take(self, sha256: bytes, give_up: threading.Event) -> bytes | None:
        """The bytes of a document that has been published since; None: not since, or nobody can tell.

        Args:
            sha256: its name.
            give_up: set by another thread when nobody wants it any more.
        """
        name = sha256.hex()
        with self._lock:
            consumer = self._consumer
            if consumer is None:
                return None
            try:
                # What is asked of the broker waits behind the fetch that waits there for news: the news come first.
                while name not in self._seen and (message := consumer.poll(_ON_ITS_WAY_S)) is not None:
                    self._note(message)
                if name not in self._seen:
                    self._read_on(consumer, name, give_up)
            except KafkaException as error:
                _log.info("document %s is read from the beginning of the topic: %s", name[:12], error)
            return self._seen.pop(name, None)

    def _read_on(self, consumer: Consumer, name: str, give_up: threading.Event) -> None:
        """Reads what there is, up to a document."""
        ends = {number: self._end(consumer, TopicPartition(self._topic, number)) for number in self._next}
        deadline_s = time.monotonic() + _WAIT_S
        while name not in self._seen and any(self._next[number] < end for number, end in ends.items()):
            message = consumer.poll(0.1)
            if message is not None:
                self._note(message)
            if give_up.is_set() or time.monotonic() > deadline_s:
                break

    def close(self) -> None:
        """Leaves the broker."""
        with self._lock:
            consumer, self._consumer, self._closed = self._consumer, None, True
            if consumer is not None:
                consumer.close()

    @staticmethod
    def _end(consumer: Consumer, place: TopicPartition) -> int:
        ends = consumer.get_watermark_offsets(place, timeout=_WAIT_S)
        if ends is None:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001  librdkafka's own name
        return int(ends[1])

    def _note(self, message: Any) -> None:
        error = message.error()
        if error is None:
            self._next[message.partition()] = message.offset() + 1
            key, value = (message.key() or b"").decode("utf-8", "replace"), message.value()
            if value is not None and "/" not in key:  # heads and pending versions are of a site
                self._seen[key] = value
                while len(self._seen) > 1 and sum(map(len, self._seen.values())) > SEEN_BYTES_MAX:
                    self._seen.popitem(last=False)
        elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  librdkafka's own name
            self._next[message.partition()] = message.offset()
        else:
            raise KafkaException(error)
