"""What is done once before a worker runs: wait for the broker, make the topics, check them."""

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from schemas.errors import ConfigurationError, KafkaUnavailable, LogError
from schemas.kafka import client_config
from schemas.settings import KafkaSettings
from schemas.topics import INPUTS, TOPICS, Topic

_REQUEST_S = 10.0
_SILENT = 0  # of a broker that is away we speak ourselves

_MUST_MATCH = ("message.timestamp.type", "cleanup.policy", "retention.ms", "retention.bytes")


def _admin(kafka: KafkaSettings) -> AdminClient:
    return AdminClient(client_config(kafka, log_level=_SILENT))


def wait_for_broker(kafka: KafkaSettings, timeout_s: float) -> None:
    """Waits until a broker answers, asking again after 0.1 s, 0.2 s, ... 2 s.

    Raises:
        KafkaUnavailable: none did within the time.
    """
    deadline_s = time.monotonic() + timeout_s
    pause_s = 0.1
    admin = _admin(kafka)
    while True:
        left_s = deadline_s - time.monotonic()
        try:
            admin.list_topics(timeout=max(0.1, min(2.0, left_s)))
        except KafkaException as error:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise KafkaUnavailable(kafka.bootstrap, _text(error)) from error
        else:
            return
        time.sleep(min(pause_s, left_s))
        pause_s = min(2.0, 2 * pause_s)


def create_missing(kafka: KafkaSettings, topics: Iterable[Topic] = TOPICS) -> list[str]:
    """Makes the topics that are not there; those that are stay as they are.

    Returns:
        The full names of those made, when every one of them can be written.

    Raises:
        KafkaUnavailable: no broker answers.
        LogError: the broker refuses one; the message says why.
    """
    admin = _admin(kafka)
    known = _list_topics(admin, kafka)
    missing = [topic for topic in topics if topic.full_name(kafka) not in known]
    if not missing:
        return []
    news = [
        NewTopic(t.full_name(kafka), t.partition_count(kafka), kafka.replication, config=t.broker_config(kafka))
        for t in missing
    ]
    made = []
    for name, future in admin.create_topics(news, request_timeout=_REQUEST_S).items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise LogError(f"topic {name} cannot be made: {_text(error)}") from error
        else:
            made.append(name)
    _wait_for_leaders(admin, kafka, {topic.full_name(kafka): topic.partition_count(kafka) for topic in missing})
    return sorted(made)


def partition_count(kafka: KafkaSettings, topic: str) -> int:
    """How many partitions a topic has, by its full name; 0: it is not there.

    Raises:
        KafkaUnavailable: no broker answers.
    """
    known = _list_topics(_admin(kafka), kafka)
    return len(known[topic].partitions) if topic in known else 0


def _wait_for_leaders(admin: AdminClient, kafka: KafkaSettings, wanted: Mapping[str, int]) -> None:
    deadline_s = time.monotonic() + _REQUEST_S
    while True:
        known = _list_topics(admin, kafka)
        waiting = [name for name, count in wanted.items() if name not in known or _led(known[name]) < count]
        if not waiting:
            return
        if time.monotonic() > deadline_s:
            raise LogError(f"no leader for {', '.join(waiting)} after {_REQUEST_S:.0f} s; look at the broker's log")
        time.sleep(0.05)


def _led(topic: Any) -> int:
    return sum(partition.leader >= 0 for partition in topic.partitions.values())


def check_topics(kafka: KafkaSettings, topics: Iterable[Topic] = TOPICS) -> None:
    """Checks that topics which somebody else may have made are what the pipeline needs.

    The inputs have one partition count, and so have all topics whose partitions stand for theirs; the broker stamps and
    keeps them as `TOPICS` says.

    Raises:
        KafkaUnavailable: no broker answers.
        ConfigurationError: with everything that is wrong and what to do about it.
    """
    topics = tuple(topics)
    admin = _admin(kafka)
    known = _list_topics(admin, kafka)
    missing = [topic.full_name(kafka) for topic in topics if topic.full_name(kafka) not in known]
    faults = [f"topic {name} is missing: run `ganzhi apply`, or create it" for name in missing]
    present = [topic for topic in topics if topic.full_name(kafka) in known]
    counts = {topic.name: len(known[topic.full_name(kafka)].partitions) for topic in present}
    wanted = next((counts[name] for name in INPUTS if name in counts), kafka.partitions)
    for topic in present:
        count = topic.partitions or wanted
        if counts[topic.name] != count:
            faults.append(
                f"topic {topic.full_name(kafka)} has {counts[topic.name]} partitions, not {count}: "
                "add partitions to those that have fewer (kafka-topics --alter --partitions)"
            )
    resources = [ConfigResource(ResourceType.TOPIC, topic.full_name(kafka)) for topic in present]
    answers = admin.describe_configs(resources, request_timeout=_REQUEST_S) if resources else {}
    found = {resource.name: future for resource, future in answers.items()}
    for topic in present:
        name = topic.full_name(kafka)
        values = {key: entry.value for key, entry in _result(found[name], f"settings of {name}").items()}
        faults += [
            f"topic {name} has {key}={values.get(key)}: kafka-configs --alter --topic {name} --add-config {key}={value}"
            for key, value in topic.config.items()
            if key in _MUST_MATCH and values.get(key) != value
        ]
    if faults:
        raise ConfigurationError("the topics are not as they must be:\n" + "\n".join(faults))


def watermarks(
    kafka: KafkaSettings, topic: str, partitions: Iterable[int], timeout_s: float = 30.0
) -> dict[int, tuple[int, int]]:
    """The first offset of the log and the offset behind its end, for partitions of a topic.

    Args:
        kafka: where.
        topic: its full name.
        partitions: numbers of partitions.
        timeout_s: in all, with tries again in between.

    Returns:
        partition → (low, high); high is where a read_committed reader ends: before the first open transaction.

    Raises:
        KafkaUnavailable: not answered within the time.
        LogError: the topic does not exist.
    """
    deadline_s = time.monotonic() + timeout_s
    # A consumer that has never asked for the topic's metadata answers "unknown partition" for ever after a restart of
    # the broker: hence list_topics.
    config = client_config(kafka, group_id=f"{kafka.prefix}watermarks", enable_auto_commit=False, log_level=_SILENT)
    consumer = Consumer(config)
    try:
        answers: dict[int, tuple[int, int]] = {}
        for partition in partitions:
            while partition not in answers:
                left_s = deadline_s - time.monotonic()
                try:
                    consumer.list_topics(topic, timeout=max(0.1, min(5.0, left_s)))
                    low, high = consumer.get_watermark_offsets(
                        TopicPartition(topic, partition), timeout=max(0.1, min(5.0, left_s))
                    )
                    answers[partition] = (low, high)
                except (KafkaException, TypeError) as error:  # TypeError: None, the answer did not come in time
                    if time.monotonic() > deadline_s:
                        if isinstance(error, KafkaException) and error.args[0].code() in _NOT_THERE:
                            raise LogError(f"{topic} has no partition {partition}: {_text(error)}") from error
                        raise KafkaUnavailable(kafka.bootstrap, str(error)) from error
                    time.sleep(0.1)
        return answers
    finally:
        consumer.close()


_NOT_THERE = (KafkaError._UNKNOWN_PARTITION, KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART)  # noqa: SLF001  librdkafka's own names


def _list_topics(admin: AdminClient, kafka: KafkaSettings) -> dict[str, Any]:
    try:
        return dict(admin.list_topics(timeout=_REQUEST_S).topics)
    except KafkaException as error:
        raise KafkaUnavailable(kafka.bootstrap, _text(error)) from error


def _result(future: Future[Any], complaint: str) -> Any:
    try:
        return future.result()
    except KafkaException as error:
        raise LogError(f"{complaint}: {_text(error)}") from error


def _text(error: KafkaException) -> str:
    return str(error.args[0].str()) if error.args and isinstance(error.args[0], KafkaError) else str(error)
