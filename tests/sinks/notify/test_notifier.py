"""The notifier on the real Kafka: each step once, to the right channel, and quiet when it should be."""

from pathlib import Path

import pytest

from ganzhi.demo.robot import RobotServer
from schemas.errors import Fenced
from schemas.settings import KafkaSettings
from schemas.vitals import Pulse
from sinks.desk.actions import Action, ActionWriter
from sinks.desk.checkpoint import file_of
from tests.sinks.desk.world import ROOM, alert_row, now_ms
from tests.sinks.notify.world import (
    ALL,
    DEADLINE_S,
    KEY,
    Receiver,
    notifying,
    robot_channel,
    settings_of,
    wait_for,
    world_with,
)
from tests.support.models import tables

OTHER = ("east", "LightsInEmptyRoom", "E1-102", 1)


def test_begin_and_end_of_an_alert(kafka: KafkaSettings, tmp_path: Path) -> None:
    """What burns already when the first notifier starts is told; then its end, with how long it took."""
    world = world_with(kafka, tmp_path, ALL)
    world.fire()
    with RobotServer(KEY) as robot, notifying(settings_of(kafka, {"robot": robot_channel(robot)})):
        wait_for(lambda: len(robot.said) == 1, "the beginning was not told")
        world.resolve()
        wait_for(lambda: len(robot.said) == 2, "the end was not told")
    first, last = (said.text for said in robot.said)

    assert first.startswith("warning · E1 E1-1 E1-101: Lights on in an empty room")
    assert "to do: Switch them off" in first
    assert last.startswith("resolved · ")
    assert robot.refused == []


@pytest.mark.parametrize("checkpoint", [False, True])
def test_a_second_start_tells_nothing_twice(
    kafka: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoint: bool
) -> None:
    """The next notifier goes on where the last one was; what began and ended meanwhile is told by it."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    file = file_of("default", "notify")
    file.parent.mkdir(parents=True)
    monkeypatch.setattr("sinks.notify.notifier.SAVED_FROM", 1 if checkpoint else 1000)
    world = world_with(kafka, tmp_path / "model", ALL)
    with Receiver() as receiver:
        settings = settings_of(kafka, {"robot": receiver.channel()})
        world.fire()
        with notifying(settings):
            wait_for(lambda: len(receiver.came) == 1, "not told")
        assert file.exists() == checkpoint
        world.alerts(alert_row(OTHER, "firing", now_ms()), alert_row(OTHER, "resolved", now_ms() + 1))
        with notifying(settings):
            wait_for(lambda: len(receiver.steps()) == 3, "what began and ended while nobody looked was not told")
            world.resolve()
            wait_for(lambda: len(receiver.steps()) == 4, "the end was not told")

    assert len(receiver.came) == len(receiver.shown)
    assert receiver.steps() == sorted([
        (ROOM[2], 1, "firing:warning"), (ROOM[2], 1, "resolved"), (OTHER[2], 1, "firing:warning"), (OTHER[2], 1, "resolved"),
    ])  # fmt: skip


def test_silenced_acknowledged_and_more_severe(kafka: KafkaSettings, tmp_path: Path) -> None:
    """A silence keeps quiet until it is taken back; an acknowledgement stops escalation; a higher severity is told."""
    route = {**ALL, "escalate": ["1500ms>boss"]}
    world = world_with(kafka, tmp_path, route)
    with Receiver() as receiver, Receiver() as boss, ActionWriter(kafka) as writer:
        settings = settings_of(kafka, {"robot": receiver.channel(), "boss": boss.channel()})
        silence = Action("silence", "liu", matcher="space=E1-102", until_ms=now_ms() + 600_000, comment="painting")
        writer.write([silence])
        with notifying(settings):
            world.fire(OTHER)
            world.fire(ROOM)
            wait_for(lambda: (ROOM[2], 1, "firing:warning") in receiver.steps(), "not told")
            wait_for(lambda: (ROOM[2], 1, "escalate:warning:1") in boss.steps(), "nobody took it, and nobody was told")
            assert all(step[0] == ROOM[2] for step in receiver.steps()), "silenced, and told"
            writer.write([Action.on(ROOM, "acknowledge", "wang"), Action("unsilence", "liu", refers=silence.event_id)])
            wait_for(lambda: (OTHER[2], 1, "firing:warning") in receiver.steps(), "not told after the silence")
            writer.write([Action.on(OTHER, "acknowledge", "wang")])
            world.fire(ROOM, "critical")
            wait_for(lambda: (ROOM[2], 1, "firing:critical") in receiver.steps(), "a higher severity was not told")
            wait_for(lambda: (ROOM[2], 1, "escalate:critical:1") in boss.steps(), "critical, and nobody took it")
            writer.write([Action.on(ROOM, "assign", "liu", assignee="wang", comment="please")])
            wait_for(
                lambda: any(step[2].startswith("assign:") for step in receiver.steps()), "an assignment was not told"
            )
            world.resolve(ROOM, "critical")
            wait_for(
                lambda: (ROOM[2], 1, "resolved") in boss.steps(), "who was told of the beginning is told of the end"
            )

    assert not [step for step in boss.steps() if step[0] == OTHER[2]], "acknowledged in time, and escalated"


def test_only_one_notifier_tells(kafka: KafkaSettings, tmp_path: Path) -> None:
    """A second one fences the first, which ends with a sentence and has told nothing that the second tells too."""
    world = world_with(kafka, tmp_path, ALL)
    with Receiver() as receiver:
        settings = settings_of(kafka, {"robot": receiver.channel()})
        episodes = 0
        with pytest.raises(Fenced, match="another notifier"), notifying(settings) as first:
            world.fire()
            wait_for(lambda: len(receiver.came) == 1, "not told")
            with notifying(settings):
                # When the second takes over is not seen from here: there is always something to tell.
                while first.is_alive():
                    episodes += 1
                    assert episodes < DEADLINE_S / 0.05, "the first was not fenced"
                    world.fire((*OTHER[:3], episodes))
                    first.join(0.05)
                told = [(OTHER[2], number, "firing:warning") for number in range(1, episodes + 1)]
                wait_for(lambda: set(told) <= set(receiver.steps()), "not told by the second")

    # What the first was sending when it was fenced may come twice, under one id.
    assert sorted(receiver.steps()) == sorted([(ROOM[2], 1, "firing:warning"), *told])


def test_a_channel_that_is_down(kafka: KafkaSettings, tmp_path: Path) -> None:
    """The fallback gets the message and is told why; when the channel works again it is told that as well."""
    world = world_with(kafka, tmp_path, ALL)
    with RobotServer(KEY) as robot, Receiver() as receiver:
        robot.faults.extend([lambda handler: handler.answer(500, {}) or True] * 3)
        channels = {"robot": robot_channel(robot, fallback="mail"), "mail": receiver.channel()}
        pulse = Pulse()
        assert pulse.read().status == "starting"
        with notifying(settings_of(kafka, channels, give_up_s=1.0), pulse):
            wait_for(lambda: pulse.read().status == "ok", "it does not say that it is well")
            world.fire()
            wait_for(lambda: "channel robot takes nothing" in pulse.read().reason, "it does not say what is down")
            wait_for(lambda: len(receiver.shown) == 2, "the fallback was not told")

    texts = sorted(data["text"] for data in receiver.shown.values())
    assert any("channel robot is down" in text for text in texts)
    assert any("Lights on in an empty room" in text for text in texts)


def test_programs_get_names_that_do_nothing(kafka: KafkaSettings, tmp_path: Path) -> None:
    """The name of a room with script, link, formula and direction characters, through the whole way."""
    wrong = "<script>x</script>\u202e[x](http://evil.example)=cmd|'/c calc'!A1"
    spaces = [
        row | ({"name_zh": wrong, "name_en": wrong} if row["id"] == "E1-101" else {}) for row in tables()["spaces"]
    ]
    world = world_with(kafka, tmp_path, {**ALL, "send_to": ["hook"]}, spaces=spaces)
    world.fire()
    with Receiver() as receiver, notifying(settings_of(kafka, {"hook": receiver.channel()})):
        wait_for(lambda: len(receiver.shown) == 1, "not told")
    (data,) = receiver.shown.values()

    (alert,) = data["alerts"]
    assert alert["subject"] == "E1-101"
    assert "<script>x</script>" in alert["where"]  # JSON for programs: what was written, but for what cannot be seen
    for said in (data["title"], data["text"], alert["where"], alert["summary"]):
        assert not set(said) & set("\u202e\x1b\r\x00")
    assert not set(data["text"]) & set("<>|`[]")
