"""Making and checking topics, on the real Kafka."""

import time

import pytest
from confluent_kafka import Consumer, TopicPartition

from schemas.errors import ConfigurationError, KafkaUnavailable, LogError
from schemas.kafka import client_config, group_metadata
from schemas.settings import KafkaSettings
from schemas.topics import ALERT_ACTIONS, LEDGER, METER_READINGS, TOPICS, Topic, bare_name, topic_name
from streams import kafka_admin
from tests.streams.log import make_topic, messages_of, producer

WAIT_S = 30.0


def test_missing_topics_are_made_once(kafka: KafkaSettings) -> None:
    """All topics are made with the prefix, pass the check, and a second run makes none."""
    assert kafka_admin.create_missing(kafka) == sorted(topic_name(kafka, topic.name) for topic in TOPICS)
    assert kafka_admin.create_missing(kafka) == []
    kafka_admin.check_topics(kafka)
    low_high = kafka_admin.watermarks(kafka, topic_name(kafka, LEDGER), range(kafka.partitions))
    assert low_high == dict.fromkeys(range(kafka.partitions), (0, 0))
    assert list(kafka_admin.watermarks(kafka, topic_name(kafka, ALERT_ACTIONS), [0])) == [0]


def test_the_broker_stamps_what_it_takes(kafka: KafkaSettings) -> None:
    """An input message has the broker's time, whatever its producer says."""
    kafka_admin.create_missing(kafka)
    before_ms = time.time_ns() // 1_000_000
    one = producer(kafka)
    one.produce(topic_name(kafka, METER_READINGS), b"old", partition=0, timestamp=1000)
    one.flush()
    ((_, stamp_ms, _, value),) = messages_of(kafka, topic_name(kafka, METER_READINGS))
    assert value == b"old"
    assert before_ms - 1000 <= stamp_ms <= time.time_ns() // 1_000_000 + 1000


def test_topics_of_others_are_checked(kafka: KafkaSettings) -> None:
    """Missing topics, partition counts, another clock and compaction are named in one error, with the remedy."""
    make_topic(kafka, METER_READINGS, 3)
    make_topic(kafka, LEDGER, 2, message_timestamp_type="LogAppendTime", cleanup_policy="compact", retention_ms="-1")
    wanted = [topic for topic in TOPICS if topic.name in (METER_READINGS, LEDGER, ALERT_ACTIONS)]
    with pytest.raises(ConfigurationError) as caught:
        kafka_admin.check_topics(kafka, wanted)
    lines = str(caught.value).splitlines()[1:]
    assert [line.split()[1] for line in lines] == [
        topic_name(kafka, name) for name in (ALERT_ACTIONS, LEDGER, METER_READINGS, LEDGER)
    ]
    text = "\n".join(lines)
    for expected in (
        "is missing",
        "has 2 partitions, not 3",
        "message.timestamp.type=CreateTime",
        "cleanup.policy=compact",
    ):
        assert expected in text


def test_a_broker_that_is_away(kafka: KafkaSettings) -> None:
    """Nobody there is one error that says where was asked; somebody there is none."""
    kafka_admin.wait_for_broker(kafka, WAIT_S)
    nowhere = kafka.model_copy(update={"bootstrap": "127.0.0.1:1"})
    with pytest.raises(KafkaUnavailable, match=r"127\.0\.0\.1:1"):
        kafka_admin.wait_for_broker(nowhere, 0.3)
    with pytest.raises(KafkaUnavailable):
        kafka_admin.watermarks(nowhere, "any", [0], timeout_s=0.3)


def test_watermarks_of_what_is_not_there(kafka: KafkaSettings) -> None:
    """A topic that does not exist is said to be missing, not the broker."""
    with pytest.raises(LogError, match="has no partition 0") as caught:
        kafka_admin.watermarks(kafka, topic_name(kafka, "nothing"), [0], timeout_s=0.3)
    assert not isinstance(caught.value, KafkaUnavailable)


def test_a_refusal_of_the_broker_is_told(kafka: KafkaSettings) -> None:
    """A topic that the broker refuses is an error with its reason."""
    with pytest.raises(LogError, match=r"cannot be made: .*cleanup\.policy"):
        kafka_admin.create_missing(kafka, [Topic("odd", 1, {"cleanup.policy": "never"})])


@pytest.mark.parametrize("instance", ["", "left wing"])
def test_group_metadata_is_what_the_client_makes(kafka: KafkaSettings, instance: str) -> None:
    """The bytes equal those that confluent-kafka's own consumer gives of itself, for dynamic and static members."""
    topic = make_topic(kafka, "one")
    group = f"{kafka.prefix}group"
    more = {"group_instance_id": instance} if instance else {}
    consumer = Consumer(client_config(kafka, group_id=group, auto_offset_reset="earliest", **more))
    consumer.subscribe([topic])
    one = producer(kafka)
    one.produce(topic, b"x")
    one.flush()
    assert consumer.poll(WAIT_S) is not None
    own = consumer.consumer_group_metadata()
    assert consumer.position([TopicPartition(topic, 0)])[0].offset == 1
    generation = int.from_bytes(own[7:11], "little")
    assert generation >= 1
    assert group_metadata(group, generation, consumer.memberid(), instance) == own
    consumer.close()


@pytest.mark.parametrize(("generation", "member"), [(-1, "m"), (1, "a\0b")])
def test_group_metadata_that_would_not_fence(generation: int, member: str) -> None:
    """A generation of no member, which a broker takes without a fence, is refused."""
    with pytest.raises(ValueError, match=r"generation|NUL"):
        group_metadata("g", generation, member)


def test_names_and_settings_of_clients() -> None:
    """Prefixes go on and off, secrets reach the client only, and names of settings get their dots."""
    kafka = KafkaSettings.model_validate({"prefix": "x.", "security": {"sasl.password": "s3cret"}})
    assert bare_name(kafka, topic_name(kafka, LEDGER)) == LEDGER
    with pytest.raises(ValueError, match="does not begin"):
        bare_name(kafka, LEDGER)
    config = client_config(kafka, group_id="g", error_cb=print, log_level=0)
    assert (config["sasl.password"], config["group.id"], config["error_cb"], config["log_level"]) == (
        "s3cret",
        "g",
        print,
        0,
    )
    assert "s3cret" not in repr(kafka)
