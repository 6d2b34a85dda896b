"""The end of an alert says what the whole of it cost, also where the last of that is known later than the end."""

from pathlib import Path
from typing import Any

import pytest

from schemas.settings import KafkaSettings
from sinks.clickhouse.faults import KILLED
from tests.sinks.desk.world import NOON_MS, ROOM, World, part_row, site_of
from tests.sinks.notify.world import ALL, Receiver, notifying, running, settings_of, wait_for, world_with

OTHER = ("east", "LightsInEmptyRoom", "E1-102", 1)
LONG_S = 600.0
"""Longer than any of these tests: what is told before it was not told because the time was up."""


@pytest.fixture
def light(tmp_path: Path) -> int:
    """Number of the point that the rule wastes in `ROOM`."""
    (number,) = site_of(tmp_path / "numbers").wasted(*ROOM[1:3])
    return number


def last(receiver: Receiver) -> str:
    """The text of the newest message."""
    return str(receiver.shown[receiver.came[-1]]["text"])


def part(world: World, point: int, quantity: int, *, final: bool, from_ms: int = NOON_MS) -> None:
    """A part of what the room wastes becomes known."""
    world.alerts(part_row(ROOM, point, from_ms, quantity, final), contract="episode_rows")


def test_the_end_waits_for_its_last_part(kafka: KafkaSettings, tmp_path: Path, light: int) -> None:
    """Nothing is told of the end before the last part is there; another alert, which is whole, does not wait for it."""
    world = world_with(kafka, tmp_path, ALL)
    (other,) = site_of(tmp_path / "numbers").wasted(*OTHER[1:3])
    with Receiver() as receiver, notifying(settings_of(kafka, {"robot": receiver.channel()}, cost_wait_s=LONG_S)):
        world.fire()
        world.fire(OTHER)
        wait_for(lambda: len(receiver.steps()) == 2, "not told")
        part(world, light, 4000, final=False)
        world.resolve()
        world.resolve(OTHER)
        world.alerts(part_row(OTHER, other, NOON_MS, 1000, final=True), contract="episode_rows")
        wait_for(lambda: (OTHER[2], 1, "resolved") in receiver.steps(), "what is whole was not told")
        assert (ROOM[2], 1, "resolved") not in receiver.steps(), "told before its cost was known"
        part(world, light, 8400, final=True, from_ms=NOON_MS + 900_000)
        wait_for(lambda: (ROOM[2], 1, "resolved") in receiver.steps(), "the end was not told")

    assert "wasted 12.40 kWh, about 11.78 yuan" in last(receiver)
    assert "so far" not in last(receiver)


@pytest.mark.parametrize("parts", [[], [4000]])
def test_what_is_missing_is_said(kafka: KafkaSettings, tmp_path: Path, light: int, parts: list[int]) -> None:
    """After the time of the setting the end is told with what is known, and it says that this is not all."""
    world = world_with(kafka, tmp_path, ALL)
    with Receiver() as receiver, notifying(settings_of(kafka, {"robot": receiver.channel()}, cost_wait_s=0.2)):
        world.fire()
        wait_for(lambda: len(receiver.came) == 1, "not told")
        for quantity in parts:
            part(world, light, quantity, final=False)
        world.resolve()
        wait_for(lambda: len(receiver.came) == 2, "the end was not told")

    assert ("wasted 4.00 kWh, about 3.80 yuan so far" if parts else "usage not known yet") in last(receiver)


@pytest.mark.parametrize("fault", ["journal-before-commit", "journal-after-commit"])
def test_killed_while_an_end_waits(kafka: KafkaSettings, tmp_path: Path, light: int, fault: str) -> None:
    """The next notifier waits on and tells the end once, with what came while nobody ran, although the time is over."""
    world = world_with(kafka, tmp_path, ALL)
    with Receiver() as receiver:
        channels: dict[str, Any] = {"robot": receiver.channel()}
        with notifying(settings_of(kafka, channels, cost_wait_s=LONG_S)):
            world.fire()
            wait_for(lambda: len(receiver.came) == 1, "not told")
        world.resolve()
        with running(settings_of(kafka, channels, cost_wait_s=LONG_S), GANZHI_FAULT=fault) as dying:
            assert dying.wait(60) == KILLED, dying.communicate()[0].decode()
        part(world, light, 12_400, final=True)
        with notifying(settings_of(kafka, channels, cost_wait_s=0.0)):
            wait_for(lambda: len(receiver.came) == 2, "the end was not told")

    assert receiver.steps() == [(ROOM[2], 1, "firing:warning"), (ROOM[2], 1, "resolved")]
    assert "wasted 12.40 kWh, about 11.78 yuan" in last(receiver)
    assert "so far" not in last(receiver)


def test_which_points_a_rule_wastes(tmp_path: Path) -> None:
    """Those of its roles in `wastes`; none of a rule or a subject that the document does not have."""
    site = site_of(tmp_path)
    points = site.document.table("points")
    number = points["number"][points["id"].index("e-light")]

    assert site.wasted(*ROOM[1:3]) == {number}
    assert site.wasted("NoSuchRule", "E1-101") == frozenset()
    assert site.wasted(ROOM[1], "no such room") == frozenset()
