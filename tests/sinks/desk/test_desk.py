"""The desk on the real Kafka: what is written comes back, a second reader sees the same, a new model is seen."""

import time
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicPartition

from schemas.errors import ActionError
from schemas.kafka import client_config
from schemas.settings import KafkaSettings
from schemas.topics import ALERT_ACTIONS, ALERT_PHOTOS, topic_name
from sinks.desk import photos
from sinks.desk.actions import Action, ActionWriter
from sinks.desk.desk import Desk
from sinks.desk.follower import reader
from tests.sinks.desk.world import ROOM, World, alert_row, now_ms

PHOTO = b"\x89PNG\r\n\x1a\n" + bytes(100_000)


def test_actions_and_alerts_come_back(kafka: KafkaSettings, tmp_path: Path) -> None:
    """One desk reads on, another begins afterwards: both have the same alerts, silences and histories."""
    world = World(kafka, tmp_path)
    world.fire()
    with Desk(kafka) as desk, ActionWriter(kafka) as writer:
        desk.catch_up()
        assert desk.alerts[ROOM].status == "firing"
        assert desk.names.subject("east", "E1-101", "zh") == "办公室101"
        silence = Action("silence", "liu", matcher="rule=X", until_ms=now_ms() + 60_000, comment="<script>")
        offsets = writer.write(
            [Action.on(ROOM, "acknowledge", "liu"), silence, Action.on(ROOM, "comment", "wang", photo=PHOTO)]
        )
        time.sleep(0.005)  # of one millisecond the rows of the engine come first
        world.resolve()
        until = now_ms() + 30_000
        while now_ms() < until and not (
            desk.alerts[ROOM].status == "resolved" and desk.alerts[ROOM].seen == offsets[2]
        ):
            desk.poll(0.2)

        assert [entry.what for entry in desk.alerts[ROOM].history] == ["firing", "acknowledge", "comment", "resolved"]
        assert desk.silences[silence.event_id].comment == "<script>"
        assert desk.photo(offsets[2]) == PHOTO
        assert desk.photo(offsets[0]) == b""
        actions, photos = (high_of(kafka, topic) for topic in (ALERT_ACTIONS, ALERT_PHOTOS))
        assert (actions, photos) == (3, 1)  # the photo is a message of its own; the action only names it
        assert sum(map(len, values_of(kafka, ALERT_ACTIONS))) < 2000
        with Desk(kafka) as other:
            other.catch_up()
            assert other.alerts == desk.alerts
            assert other.silences == desk.silences


def test_a_photo_of_before_is_shown(kafka: KafkaSettings, tmp_path: Path) -> None:
    """Actions that hold their photo themselves stay readable, and a name that lies shows nothing."""
    world = World(kafka, tmp_path)
    world.fire()
    producer = Producer(client_config(kafka))
    producer.produce(topic_name(kafka, ALERT_PHOTOS), PHOTO)
    small = PHOTO[:1000]
    for carried in (small, photos.name_of(PHOTO, 0), photos.name_of(small, 0), photos.name_of(PHOTO, 7)):
        producer.produce(
            topic_name(kafka, ALERT_ACTIONS), Action.on(ROOM, "comment", "wang", comment="x", photo=carried).raw
        )
    producer.flush(10)
    with Desk(kafka) as desk:
        desk.catch_up()
        assert [entry.photo for entry in desk.alerts[ROOM].history if entry.action] == [True] * 4
        assert [desk.photo(offset) for offset in range(3)] == [small, PHOTO, b""]


def test_a_start_reads_what_came_since_the_checkpoint(
    kafka: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With it, with a torn one, with one of a later position, of another topic or of other prices: the same desk."""
    world = World(kafka, tmp_path)
    keys = [(*ROOM[:3], episode) for episode in range(1, 41)]
    world.alerts(*(alert_row(key, "firing", now_ms()) for key in keys))
    file = tmp_path / "desk.checkpoint"
    with ActionWriter(kafka) as writer:
        mute = Action("mute", "liu", matcher="rule=X", hours="mon|holiday 22:00-06:00")
        writer.write([mute, *(Action.on(key, "acknowledge", "liu") for key in keys)])
        with Desk(kafka, file=file) as desk:
            desk.catch_up()
            desk.save(10_000)
            assert not file.exists()
            desk.save(1)
        writer.write([Action.on(key, "start", "wang") for key in keys[:5]])
    world.resolve(keys[0])

    def look(expected_read: int, at_most: dict[tuple[str, int], int] | None = None) -> None:
        with Desk(kafka) as whole, Desk(kafka, file=file, at_most=at_most) as desk:
            whole.catch_up()
            desk.catch_up()
            assert desk.alerts == whole.alerts
            assert desk.silences == whole.silences
            assert desk.positions == whole.positions
            assert desk._read == (expected_read or whole._read)

    assert file.stat().st_mode & 0o777 == 0o600
    look(6)
    look(0, {})  # a notifier that has no position yet
    raw = file.read_bytes()
    for torn in (b"", raw[:-1], raw[:40], raw[:-1] + bytes([raw[-1] ^ 1])):
        file.write_bytes(torn)
        look(0)
    file.write_bytes(raw)
    look(6)
    with monkeypatch.context() as other:
        other.setattr("sinks.desk.desk._ids", lambda _: {"alerts": "of another broker"})
        look(0)
    with Desk(kafka, file=file) as desk:  # prices change under a running desk: it keeps what it had
        desk.catch_up()
        world.apply(tariffs=[])
        until = now_ms() + 30_000
        while now_ms() < until and desk.sites["east"].document.table("tariffs").get("price"):
            desk.poll(0.2)
        desk.save(0)
    assert file.read_bytes() == raw
    look(0)


def values_of(kafka: KafkaSettings, topic: str) -> list[bytes]:
    """All messages of the only partition of a topic."""
    return [photos.value_at(kafka, topic, offset) for offset in range(high_of(kafka, topic))]


def high_of(kafka: KafkaSettings, topic: str) -> int:
    """The end of the only partition of a topic."""
    consumer = reader(kafka)
    found = consumer.get_watermark_offsets(TopicPartition(topic_name(kafka, topic), 0), 10)
    consumer.close()
    return int(found[1])


def test_nothing_is_written_when_one_is_wrong(kafka: KafkaSettings, tmp_path: Path) -> None:
    """A bulk action is all or nothing."""
    world = World(kafka, tmp_path)
    world.fire()
    with ActionWriter(kafka) as writer, pytest.raises(ActionError):
        writer.write([Action.on(ROOM, "acknowledge", "liu"), Action.on(ROOM, "assign", "liu")])
    with Desk(kafka) as desk:
        desk.catch_up()
        assert desk.alerts[ROOM].status == "firing"


def test_a_new_model_is_seen(kafka: KafkaSettings, tmp_path: Path) -> None:
    """Names follow the document in force, without a restart."""
    world = World(kafka, tmp_path)
    with Desk(kafka) as desk:
        desk.catch_up()
        world.apply(departments=[{"id": "finance", "name_zh": "财政局"}, {"id": "budget", "name_zh": "新名"}])
        until = now_ms() + 30_000
        while now_ms() < until and desk.sites["east"].name("department", "budget", "zh") != "新名":
            desk.poll(0.2)
        assert desk.sites["east"].name("department", "budget", "zh") == "新名"
        labels = desk.sites["east"].labels("LightsInEmptyRoom", "E1-101", "warning", now_ms())
        assert labels["space"] == {"E1-101", "E1-1", "E1"}
        assert labels["building"] == {"E1"}
        assert labels["department"] == {"finance"}
        assert desk.sites["east"].labels("MeterSilent", "e-light", "warning", now_ms())["gateway"] == {"gw-e2"}
