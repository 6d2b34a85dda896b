"""kill -9 between every two steps: no message lost, and none shown twice where a channel can tell a repeat."""

import collections
import contextlib
import re
from pathlib import Path

from ganzhi.demo.robot import RobotServer
from schemas.settings import KafkaSettings
from sinks.clickhouse.faults import KILLED
from tests.sinks.desk.world import ROOM, alert_row, now_ms
from tests.sinks.notify.world import (
    ALL,
    KEY,
    Receiver,
    notifying,
    robot_channel,
    running,
    settings_of,
    wait_for,
    world_with,
)

POINTS = (
    "loop-after-read", "journal-before-commit", "journal-after-commit", "channel-before-send", "channel-after-send",
    "answers-before-commit",
)  # fmt: skip
"""In the order of a turn of the loop; see `sinks.notify.notifier`."""


def test_killed_between_any_two_steps(kafka: KafkaSettings, tmp_path: Path) -> None:
    """Each process dies at its point, the next one goes on: every step is told, by one message id each."""
    world = world_with(kafka, tmp_path, {**ALL, "send_to": ["hook", "robot"]})
    expected = []
    with Receiver() as receiver, RobotServer(KEY) as robot, contextlib.ExitStack() as ended:
        settings = settings_of(kafka, {"hook": receiver.channel(), "robot": robot_channel(robot, "feishu")})
        with notifying(settings):  # the first one of all: from now on there is a position
            world.alerts(alert_row((*ROOM[:3], 1), "firing", now_ms()))
            expected.append((ROOM[2], 1, "firing:warning"))
            wait_for(lambda: expected == receiver.steps() and len(ids(robot)) == 1, "not told")
        for episode, name in enumerate(POINTS, 2):
            key = (*ROOM[:3], episode)
            world.alerts(alert_row(key, "firing", now_ms()))
            dying = ended.enter_context(running(settings, GANZHI_FAULT=name))
            assert dying.wait(60) == KILLED, (name, dying.communicate()[0].decode())
            living = ended.enter_context(running(settings))
            expected.append((ROOM[2], episode, "firing:warning"))
            wait_for(lambda: expected[-1] in receiver.steps(), f"{name}: the beginning was not told")
            world.alerts(alert_row(key, "resolved", now_ms()))
            expected.append((ROOM[2], episode, "resolved"))
            wait_for(lambda: expected[-1] in receiver.steps(), f"{name}: the end was not told")
            wait_for(lambda episode=episode: len(ids(robot)) == 2 * episode - 1, f"{name}: the robot was not told")
            living.terminate()
            assert living.wait(30) == 0, (name, living.communicate()[0].decode())

        assert receiver.steps() == sorted(expected)
        assert len(receiver.shown) == len(expected)
        # The robot cannot tell a repeat, so the text of one says what it is, and under which id it may have come.
        for id_, texts in ids(robot).items():
            assert all("may be a repeat" in text for text in texts[1:]), (id_, texts)
        repeats = sum(len(texts) - 1 for texts in ids(robot).values())
        assert repeats <= len(POINTS)


def ids(robot: RobotServer) -> dict[str, list[str]]:
    """Message id → the texts under it, in their order."""
    found: dict[str, list[str]] = collections.defaultdict(list)
    for said in robot.said:
        match = re.search(r"#([0-9a-f]{8})", said.text)
        assert match, said.text
        found[match[1]].append(said.text)
    return found
