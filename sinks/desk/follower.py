"""Topics from their beginning and on, without a group: first what was there, then what comes."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, TypeAlias

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from schemas.errors import KafkaUnavailable, LogError
from schemas.kafka import client_config
from schemas.settings import KafkaSettings
from schemas.topics import bare_name, topic_name

Message: TypeAlias = Any
Place: TypeAlias = tuple[str, int]
"""Topic without prefix, partition."""

ASK_S: Final = 10.0
"""A broker that does not answer a question for so long is away; whoever typed a command waits for it."""
TIMEOUT_S: Final = 30.0
_BATCH: Final = 1000
_SILENT: Final = 0


def reader(kafka: KafkaSettings) -> Consumer:
    """A consumer that joins no group and sees only what was committed."""
    return Consumer(
        client_config(
            kafka,
            group_id=f"{kafka.prefix}desk",
            enable_auto_commit=False,
            enable_auto_offset_store=False,
            isolation_level="read_committed",
            auto_offset_reset="error",
            allow_auto_create_topics=False,
            fetch_wait_max_ms=50,
            log_level=_SILENT,
        )
    )


class Follower:
    """Reads topics from their beginning; partitions that are made later are not seen before the next start.

    Args:
        kafka: where.
        topics: without prefix; each must exist.
        starts: place → offset to begin at; places that it lacks begin with their first message. Where the log does not
            have one of these offsets, all begin with their first.

    Attributes:
        positions: place → offset of the next message.
        resumed: whether it begins at `starts`.

    Raises:
        KafkaUnavailable: no broker answers.
        LogError: a topic does not exist.
    """

    def __init__(self, kafka: KafkaSettings, topics: Sequence[str], starts: Mapping[Place, int] | None = None) -> None:
        self._kafka = kafka
        self._consumer = reader(kafka)
        self.positions: dict[Place, int] = {}
        self._ends: dict[Place, int] = {}
        self._ahead: list[Message] = []
        try:
            lows: dict[Place, int] = {}
            for topic in topics:
                full = topic_name(kafka, topic)
                known = self._consumer.list_topics(full, ASK_S).topics[full].partitions
                if not known:
                    raise LogError(f"the topic {full} does not exist; `ganzhi up` makes it")
                for partition in sorted(known):
                    low, high = self._consumer.get_watermark_offsets(TopicPartition(full, partition), ASK_S)
                    lows[topic, partition] = low
                    self._ends[topic, partition] = high
            self.resumed = bool(starts) and all(
                lows.get(place, -1) <= start <= self._ends.get(place, -1) for place, start in (starts or {}).items()
            )
            self.positions = lows | dict(starts if self.resumed and starts else {})
            self._consumer.assign(
                [TopicPartition(topic_name(kafka, topic), part, at) for (topic, part), at in self.positions.items()]
            )
        except KafkaException as error:
            self.close()
            raise KafkaUnavailable(kafka.bootstrap, error.args[0].str()) from error
        except LogError:
            self.close()
            raise

    @property
    def ahead(self) -> bool:
        """Whether messages were read that nobody was given yet: positions are beyond them."""
        return bool(self._ahead)

    @property
    def behind(self) -> bool:
        """Whether something is still to come of what was there when this was made."""
        return any(self.positions[place] < end for place, end in self._ends.items())

    def catch_up(self, ends: Mapping[Place, int] | None = None) -> Iterator[Message]:
        """Messages up to the ends of the partitions as they were when this was made.

        Args:
            ends: place → offset after the last one that is wanted, where it is another.

        Raises:
            KafkaUnavailable: they cannot be read in time.
        """
        until = dict(self._ends if ends is None else ends)
        left = dict(until)
        last_s = time.monotonic()
        while True:
            left = {place: end for place, end in left.items() if self.positions.get(place, end) < end}
            if not left:
                return
            ahead, self._ahead = self._ahead, []
            messages = self.poll(0.2)
            self._ahead = ahead
            now_s = time.monotonic()
            if messages:
                last_s = now_s
            elif now_s - last_s > TIMEOUT_S:
                raise KafkaUnavailable(self._kafka.bootstrap, "topics could not be read to their end")
            for message in messages:
                # What lies behind the end comes with the next poll: it is new.
                place = bare_name(self._kafka, message.topic()), message.partition()
                if ends is None or message.offset() < until.get(place, 0):
                    yield message
                else:
                    self._ahead.append(message)

    def poll(self, timeout_s: float) -> list[Message]:
        """What has come, in the order of each partition.

        Raises:
            LogError: the log does not have what comes next any more, or the broker denies it.
        """
        try:
            ahead, self._ahead = self._ahead, []
            # The first one at once, and what is there with it: `consume` alone would wait for a whole batch.
            first = self._consumer.poll(0.0 if ahead else timeout_s)
            more = self._consumer.consume(_BATCH, 0.0) if first is not None else []
            found = [*ahead, *([first] if first is not None else []), *more]
            messages = []
            for message in found:
                fault = message.error()
                if fault is None:
                    messages.append(message)
                elif fault.code() == KafkaError.UNKNOWN_TOPIC_OR_PART or fault.fatal():
                    raise KafkaUnavailable(self._kafka.bootstrap, fault.str())
                elif fault.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):  # noqa: SLF001
                    raise LogError(f"{message.topic()} partition {message.partition()}: {fault.str()}")
            # Markers of transactions have offsets too: the position goes past them, a message alone does not.
            for place in self._consumer.position(self._consumer.assignment()):
                if place.offset >= 0:
                    self.positions[bare_name(self._kafka, place.topic), place.partition] = place.offset
        except KafkaException as error:
            raise KafkaUnavailable(self._kafka.bootstrap, error.args[0].str()) from error
        return messages

    def close(self) -> None:
        """Leaves the broker."""
        with suppress(RuntimeError):
            self._consumer.close()
