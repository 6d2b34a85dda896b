"""The topics as data: what each is for, how many partitions it has, how the broker keeps it.

| topic | key | holds |
|---|---|---|
| `meter.readings`, `waste.events`, `vehicle.events` | site | the inputs: events and control records, the history |
| `ledger`, `alerts`, `verdicts`, `rejected` | site | the outputs, with the partition numbers of the inputs |
| `settlements` | – | what settlements add to them, in the same partitions |
| `alert.actions` | alert | what people did: acknowledge, silence, assign, comment |
| `alert.photos` | action | the photos that actions name |
| `notifications` | alert or message | who was told what and when, and the position that it follows from |
| `audit` | user | who asked for what in the console, and whether it was done |
| `config` | sha256 | documents that control records name, compacted, never deleted |
| `tasks` | input topic and kind | positions and heads of snapshots, with the partition numbers of the inputs |
| `snapshots` | input topic, slot, chunk | a cache of states, with the partition numbers of the inputs |
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.settings import KafkaSettings

METER_READINGS = "meter.readings"
WASTE_EVENTS = "waste.events"
VEHICLE_EVENTS = "vehicle.events"
LEDGER = "ledger"
ALERTS = "alerts"
VERDICTS = "verdicts"
REJECTED = "rejected"
SETTLEMENTS = "settlements"
ALERT_ACTIONS = "alert.actions"
ALERT_PHOTOS = "alert.photos"
NOTIFICATIONS = "notifications"
AUDIT = "audit"
CONFIG = "config"
TASKS = "tasks"
SNAPSHOTS = "snapshots"

INPUTS = (METER_READINGS, WASTE_EVENTS, VEHICLE_EVENTS)
OUTPUTS = (LEDGER, ALERTS, VERDICTS, REJECTED, SETTLEMENTS)

SETTLED = "settled."
"""Before the name of an input topic: the task that settles its partitions, with streams and a position of its own."""

SNAPSHOT_CHUNK_BYTES = 900_000
"""A snapshot is written in chunks of at most this size: below the limit of librdkafka's producer as it comes."""

_FOREVER = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
_LOG_TIME = {"message.timestamp.type": "LogAppendTime"}
# An active segment is never compacted: with small segments the end of a compacted topic, which is read at every
# assignment, stays small.
_COMPACTED = {
    "cleanup.policy": "compact",
    "min.cleanable.dirty.ratio": "0.1",
    "segment.bytes": str(16 << 20),
    "segment.ms": "3600000",
}


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic.

    Attributes:
        name: without the prefix of the settings.
        partitions: 0: as many as the inputs have.
        config: settings of the broker for it.
    """

    name: str
    partitions: int = 0
    config: Mapping[str, str] = field(default_factory=dict)

    def full_name(self, kafka: KafkaSettings) -> str:
        """Its name on the broker."""
        return kafka.prefix + self.name

    def partition_count(self, kafka: KafkaSettings) -> int:
        """How many partitions it is made with."""
        return self.partitions or kafka.partitions

    def broker_config(self, kafka: KafkaSettings) -> dict[str, str]:
        """What it is made with: `config`, and of three replicas or more, two must have a message."""
        return dict(self.config) | ({"min.insync.replicas": "2"} if kafka.replication >= 3 else {})


def _input(name: str) -> Topic:
    # A batch of a producer is at most 1 MB; a larger limit would only serve hostile ones.
    return Topic(name, config=_FOREVER | _LOG_TIME | {"max.message.bytes": "1048588"})


def _output(name: str) -> Topic:
    return Topic(name, config=_FOREVER | _LOG_TIME | {"max.message.bytes": str(8 << 20)})


TOPICS = (
    *map(_input, INPUTS),
    *map(_output, OUTPUTS),
    Topic(ALERT_ACTIONS, 1, _FOREVER | _LOG_TIME),
    Topic(ALERT_PHOTOS, 1, _FOREVER | _LOG_TIME),
    Topic(NOTIFICATIONS, 1, _FOREVER | _LOG_TIME),
    Topic(AUDIT, 1, _FOREVER | _LOG_TIME),
    Topic(CONFIG, 1, _COMPACTED | {"max.message.bytes": str(16 << 20)}),
    Topic(TASKS, config=_COMPACTED),
    Topic(SNAPSHOTS, config=_COMPACTED | {"segment.bytes": str(64 << 20)}),
)


def topic_name(kafka: KafkaSettings, name: str) -> str:
    """The name of a topic on the broker: `topic_name(settings.kafka, LEDGER)`."""
    return kafka.prefix + name


def input_of(task_topic: str) -> str:
    """The input topic of a task: its own name, or for one that settles the name behind the prefix."""
    return task_topic.removeprefix(SETTLED)


def bare_name(kafka: KafkaSettings, topic: str) -> str:
    """The name of a topic without the prefix.

    Raises:
        ValueError: the topic does not begin with the prefix.
    """
    if not topic.startswith(kafka.prefix):
        raise ValueError(f"{topic} does not begin with {kafka.prefix}")
    return topic[len(kafka.prefix) :]
