"""Alarm storms: digests, limits that are kept, and nothing that is not told."""

import collections
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ganzhi.demo.robot import RobotServer
from schemas.settings import KafkaSettings
from sinks.notify.outbox import MINUTE_MS, Outbox
from sinks.notify.records import Delivery, Notice, Outcome, name_of
from tests.sinks.desk.world import NOON_MS, alert_row, now_ms
from tests.sinks.notify.world import ALL, KEY, notifying, robot_channel, settings_of, wait_for, world_with
from tests.support.patience import patient

STORM = 10_000
ONE_BY_ONE = 40
"""More than a robot takes in a minute."""


def notice(number: int, at_ms: int, channel: str = "robot", **more: Any) -> Notice:
    """A notice of an alert of its own."""
    id_ = name_of(number)
    fields = {"group": id_, "due_ms": at_ms, "every_ms": 0} | more
    return Notice(
        id_,
        at_ms,
        "east",
        "R",
        f"room-{number}",
        1,
        "firing:warning",
        "warning",
        "all",
        channel,
        channel,
        (),
        "zh",
        **fields,
    )


class Run:
    """An outbox by a clock of its own; whatever is due is sent and answered at once."""

    def __init__(self, limit: int = 20, fallback: str = "", give_up_ms: int = 120_000) -> None:
        limits = {"robot": (limit, fallback)} | ({fallback: (limit, "")} if fallback else {})
        self.outbox = Outbox(limits, give_up_ms)
        self.now_ms = NOON_MS
        self.sent: list[tuple[int, str, tuple[str, ...]]] = []
        self.attempts: dict[str, list[int]] = collections.defaultdict(list)
        self.outcomes: dict[str, list[Outcome]] = collections.defaultdict(list)
        """channel → what it answers next; then it takes everything."""

    def turn(self, step_ms: int = 50) -> None:
        self.now_ms += step_ms
        self.outbox.judge(self.now_ms)
        for message, moved in self.outbox.moves(self.now_ms):
            self.outbox.take_message(message)
            self.outbox.take_delivery(moved)
        for message in self.outbox.form(self.now_ms, lambda *_: ("", "")):
            self.outbox.take_message(message)
        for channel in list(self.outbox.lanes):
            for sending in self.outbox.due(channel, self.now_ms):
                outcome = self.outcomes[channel].pop(0) if self.outcomes[channel] else "sent"
                self.attempts[channel].append(self.now_ms)
                if outcome == "sent":
                    self.sent.append((self.now_ms, channel, sending.message.notices))
                answer = Delivery(sending.message.id, self.now_ms, channel, outcome, sending.attempt + 1, "")
                self.outbox.take_delivery(answer)
                if outcome != "sent":
                    break

    def until_idle(self, deadline_ms: int) -> None:
        until = self.now_ms + deadline_ms
        while not self.outbox.idle:
            assert self.now_ms < until, "not everything was told"
            self.turn()

    def most_in_a_minute(self, channel: str = "robot") -> int:
        times = self.attempts[channel]
        return max((sum(start <= at < start + MINUTE_MS for at in times) for start in times), default=0)

    def told(self) -> list[str]:
        return [id_ for _, _, ids in self.sent for id_ in ids]


def test_ten_thousand_in_a_minute() -> None:
    """The first is told at once, everything within two minutes, each once, and never more than twenty in any minute."""
    run = Run()
    number = 0
    for tick in range(1200):
        for _ in range(STORM // 1200 + (tick < STORM % 1200)):
            run.outbox.take_notice(notice(number, run.now_ms))
            number += 1
        run.turn()
    run.until_idle(60_000)

    assert number == STORM
    assert sorted(run.told()) == sorted(map(name_of, range(STORM)))
    assert run.most_in_a_minute() <= 20
    assert run.sent[0][0] - NOON_MS <= 100
    assert run.now_ms - NOON_MS <= 120_000


@patient(max_examples=60)
@given(
    arrivals=st.lists(st.integers(0, 8000), max_size=60),
    answers=st.lists(st.sampled_from(["sent", "later", "unknown", "sent"]), max_size=30),
    limit=st.sampled_from([1, 2, 5, 20, 60]),
)
def test_whatever_comes_is_told_inside_the_limit(arrivals: list[int], answers: list[Outcome], limit: int) -> None:
    """Any arrivals and any faults: every notice is told once, and no minute has more attempts than the limit."""
    run = Run(limit)
    run.outcomes["robot"] = answers
    for number, gap_ms in enumerate(arrivals):
        run.turn(max(1, gap_ms))
        run.outbox.take_notice(notice(number, run.now_ms))
    run.until_idle(4 * 3_600_000)

    assert sorted(run.told()) == sorted(name_of(number) for number in range(len(arrivals)))
    assert run.most_in_a_minute() <= limit


def test_a_group_is_one_message_and_then_waits() -> None:
    """What comes within the wait is in the first message; what comes later waits for `every`; something urgent does not."""
    run = Run()
    more = {"group": "gateway", "every_ms": 300_000}
    for number in range(300):
        run.outbox.take_notice(notice(number, run.now_ms, **more | {"due_ms": run.now_ms + 300}))
        run.turn(1)
    run.until_idle(1000)
    assert [len(ids) for _, _, ids in run.sent] == [300]
    run.outbox.take_notice(notice(300, run.now_ms, **more))
    for _ in range(100):
        run.turn(1000)
    assert len(run.sent) == 1
    run.outbox.take_notice(notice(301, run.now_ms, **more | {"every_ms": 0}))
    run.until_idle(1000)
    assert len(run.sent) == 2


def test_a_channel_that_is_down() -> None:
    """Retries with back-off; then the fallback has it, is told of it, and of its end; nothing is lost or told twice."""
    run = Run(fallback="mail", give_up_ms=30_000)
    run.outcomes["robot"] = ["later"] * 5 + ["unknown"]
    run.outbox.take_notice(notice(0, run.now_ms))
    for _ in range(1000):
        run.turn()
    assert [channel for _, channel, _ in run.sent] == ["mail"]
    assert run.outbox.lanes["robot"].turns == [("down", run.attempts["robot"][0])]
    gaps = [after - before for before, after in zip(run.attempts["robot"], run.attempts["robot"][1:], strict=False)]
    assert gaps == sorted(gaps), "the pauses do not grow"
    run.outcomes["robot"].clear()  # it works again
    for number in (1, 2):
        run.outbox.take_notice(notice(number, run.now_ms))
        run.until_idle(5000)
        run.turn(70_000)
    assert [channel for _, channel, _ in run.sent] == ["mail", "mail", "robot"]
    assert run.outbox.lanes["robot"].turns[-1][0] == "back"
    assert sorted(run.told()) == sorted(map(name_of, range(3)))


def test_a_refusal_goes_to_the_fallback_at_once() -> None:
    """A wrong key does not become right by waiting."""
    run = Run(fallback="mail")
    run.outcomes["robot"] = ["refused"]
    run.outbox.take_notice(notice(0, run.now_ms))
    run.until_idle(5000)

    assert [channel for _, channel, _ in run.sent] == ["mail"]


def test_a_storm_on_the_real_log(kafka: KafkaSettings, tmp_path: Path) -> None:
    """Alerts one by one, then ten thousand at once: a robot that refuses the twenty-first message refuses nothing."""
    rooms = [{"id": f"E1-{n}", "building": "E1", "kind": "office"} for n in range(200, 210)]
    base = world_with(kafka, tmp_path, {**ALL, "language": "zh"})
    base.apply(spaces=[*_spaces(), *rooms], routes=[{**ALL, "language": "zh"}])
    keys = [("east", "LightsInEmptyRoom", f"E1-{200 + n % 10}", 1 + n // 10) for n in range(ONE_BY_ONE + STORM)]
    with RobotServer(KEY) as robot, notifying(settings_of(kafka, {"robot": robot_channel(robot)})):
        for number, key in enumerate(keys[:ONE_BY_ONE]):
            base.fire(key)
            # Half of what the robot takes in a minute is told one by one; from there on there are digests.
            wait_for(lambda number=number: len(robot.said) >= min(number + 1, 10), "not told")
        base.alerts(*(alert_row(key, "firing", now_ms()) for key in keys[ONE_BY_ONE:]))
        wait_for(lambda: sum(map(count, robot.said)) == len(keys), "not everything was told", 120)

    assert robot.refused == []
    assert len(robot.said) <= 20
    assert all(len(said.text.encode()) <= 2048 for said in robot.said)


def count(said: Any) -> int:
    """How many alerts a message says that it is about."""
    head = said.text.split("\n")[0]
    return int(head.rpartition("：")[2].split(" ")[0]) if "条告警" in head else 1


def _spaces() -> list[dict[str, Any]]:
    from tests.support.models import tables

    return tables()["spaces"]
