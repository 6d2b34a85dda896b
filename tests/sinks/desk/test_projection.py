"""The life of an alert: every status, two people at once, and no dependence on how the topics interleave."""

import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ActionError
from sinks.desk.actions import OF_ALERT, Action, check
from sinks.desk.projection import Projection
from sinks.desk.sites import Site
from sinks.notify.wording import LANGUAGES, flow
from tests.sinks.desk.world import NOON_MS, ROOM, alert_row, part_row, site_of
from tests.support.models import TAP
from tests.support.patience import patient

PHOTO = b"\xff\xd8\xff" + bytes(10)


class Story:
    """Rows and actions in the order of the log's time, a second apart."""

    def __init__(self) -> None:
        self.projection = Projection({})
        self.at = NOON_MS
        self.offset = -1

    def row(self, state: str, severity: str = "warning") -> "Story":
        self.at += 1000
        self.projection.take_row(alert_row(ROOM, state, self.at, severity))
        return self

    def act(self, kind: str, actor: str = "liu", **more: Any) -> Action:
        self.at += 1000
        self.offset += 1
        alert = self.projection.alerts.get(ROOM)
        more.setdefault("seen", alert.seen if alert else -1)
        action = Action.on(ROOM, kind, actor, **more)
        self.projection.take_action(action, self.offset, self.at)
        return action

    @property
    def status(self) -> str:
        return self.projection.alerts[ROOM].status


def test_the_life_of_an_alert() -> None:
    """Firing, acknowledged, in progress, resolved, closed, reopened."""
    story = Story().row("firing")
    seen = [story.status]
    for step in ("acknowledge", "start", "resolved", "close", "reopen", "start", "close"):
        story.row(step) if step == "resolved" else story.act(step)
        seen.append(story.status)

    assert seen == ["firing", "acknowledged", "in_progress", "resolved", "closed", "reopened", "in_progress", "closed"]
    assert [entry.what for entry in story.projection.alerts[ROOM].history] == [
        "firing", "acknowledge", "start", "resolved", "close", "reopen", "start", "close",
    ]  # fmt: skip


def test_a_close_waits_for_the_data() -> None:
    """Who closes what still burns has closed it when the data confirm it, not before."""
    story = Story().row("firing")
    story.act("close")

    assert story.status == "firing"
    assert story.row("resolved").status == "closed"


def test_a_higher_severity_needs_another_acknowledgement() -> None:
    """An acknowledgement is of the severity that it saw."""
    story = Story().row("firing")
    story.act("acknowledge")
    story.row("firing", "critical")

    assert story.status == "firing"
    story.act("acknowledge")
    assert story.status == "acknowledged"
    assert story.projection.alerts[ROOM].severity == "critical"


def test_two_people_at_once() -> None:
    """The last one wins, visibly; what the other one did is kept."""
    story = Story().row("firing")
    first = story.act("assign", "liu", assignee="wang")
    story.act("assign", "chen", assignee="zhao", seen=-1)
    alert = story.projection.alerts[ROOM]

    assert alert.assignee == "zhao"
    assert [entry.overlapped for entry in alert.history if entry.action] == [(), (first.event_id,)]


def test_a_work_order_closes_when_the_data_confirm_it() -> None:
    """Done is what somebody says; confirmed is what the meters say. A second `done` changes nothing and is kept."""
    story = Story().row("firing")
    order = story.act("work_order", assignee="wang", until_ms=NOON_MS + 3_600_000, comment="replace the valve")
    alert = story.projection.alerts[ROOM]
    states = [
        alert.work_orders[order.event_id].status(alert, NOON_MS),
        alert.work_orders[order.event_id].status(alert, NOON_MS + 3_600_001),
    ]
    story.act("work_done", "wang", refers=order.event_id, photo=PHOTO)
    story.act("work_done", "zhao", refers=order.event_id, comment="me too")
    states.append(alert.work_orders[order.event_id].status(alert, NOON_MS))
    story.row("resolved")
    states.append(alert.work_orders[order.event_id].status(alert, NOON_MS))

    assert states == ["open", "overdue", "done", "confirmed"]
    assert alert.work_orders[order.event_id].photo_offset == 1
    assert [entry.void for entry in alert.history if entry.what == "work_done"] == ["", "wang was first"]
    assert all(not entry.action.photo for entry in alert.history if entry.action)


def test_snooze_false_alarm_and_back() -> None:
    """A snooze ends by itself or by reopening; a false alarm may be taken back."""
    story = Story().row("firing")
    story.act("snooze", until_ms=story.at + 60_000)
    alert = story.projection.alerts[ROOM]
    quiet = [story.projection.quiet(alert, story.at), story.projection.quiet(alert, story.at + 60_000)]
    story.act("false_alarm", reason="sensor_fault")
    told = alert.false_alarm
    story.act("true_alarm")

    assert quiet == [True, False]
    assert told and told.action and told.action.reason == "sensor_fault"
    assert alert.false_alarm is None


def test_silences_and_mutes(tmp_path: Path) -> None:
    """By matcher, until a time, in hours; of one site or of all; taken back by whoever may."""
    projection = Projection({"east": site_of(tmp_path)})
    alert = projection.take_row(alert_row(ROOM, "firing", NOON_MS))
    silence = Action(
        "silence", "liu", matcher="department=finance, building=E1", until_ms=NOON_MS + 1000, comment="cleaning"
    )
    elsewhere = Action("silence", "liu", site="west", matcher="rule=*", until_ms=NOON_MS + 1000, comment="x")
    mute = Action("mute", "liu", matcher="space=E1-1", hours="workday 08:00-13:00")
    held: list[str] = []

    def held_at(now_ms: int) -> None:
        found = projection.silenced_by(alert, now_ms)
        held.append(found.kind if found else "")

    projection.take_action(elsewhere, 0, NOON_MS)
    held_at(NOON_MS)
    projection.take_action(silence, 1, NOON_MS)
    held_at(NOON_MS)
    held_at(NOON_MS + 1000)
    projection.take_action(mute, 2, NOON_MS)
    held_at(NOON_MS + 1000)
    held_at(NOON_MS + 3_600_000)
    projection.take_action(Action("unsilence", "chen", refers=mute.event_id), 3, NOON_MS + 5)
    held_at(NOON_MS + 1000)

    assert held == ["", "silence", "", "mute", "", ""]
    assert projection.silences[mute.event_id].ended_by == "chen"


def test_what_was_wasted_and_what_it_costs(tmp_path: Path) -> None:
    """Energy and surcharge of the tariff at the time; a point that the model does not have has no unit and no cost."""
    site = site_of(tmp_path)
    light = site.document.table("points")["number"][site.document.table("points")["id"].index("e-light")]
    assert isinstance(light, int)
    projection = Projection({"east": site})
    projection.take_part(part_row(ROOM, light, NOON_MS, 1000))  # before the alert itself: another partition of time
    alert = projection.take_row(alert_row(ROOM, "firing", NOON_MS))
    projection.take_part(part_row(ROOM, light, NOON_MS + 900_000, 500))
    projection.take_part(part_row(ROOM, 4_000_000, NOON_MS, 7))

    assert alert.wasted == {("electricity", "Wh"): 1500, ("", ""): 7}
    assert alert.cost == 14_250  # 1.5 kWh at 0.95 yuan


KINDS_OF_STEPS = st.sampled_from(
    ["firing", "critical", "resolved", *sorted(OF_ALERT - {"work_done", "work_cancelled"})]
)


@patient(max_examples=60)
@given(steps=st.lists(KINDS_OF_STEPS, min_size=1, max_size=12), seed=st.integers(0, 1 << 30))
def test_the_interleaving_of_the_topics_changes_nothing(steps: list[str], seed: int) -> None:
    """Rows and actions in any interleaving, actions written twice as well, give one state and one history."""
    rows = [alert_row(ROOM, "firing", NOON_MS)]
    actions: list[tuple[Action, int, int]] = []
    for n, step in enumerate(steps):
        at = NOON_MS + 1 + n // 2  # also two at the same time
        if step in ("firing", "critical", "resolved"):
            state, severity = (
                ("resolved" if step == "resolved" else "firing"),
                ("critical" if step == "critical" else "warning"),
            )
            rows.append(alert_row(ROOM, state, at, severity, offset=n))
        else:
            more = {"until_ms": NOON_MS + 9_000_000} if step in ("snooze", "work_order") else {}
            actions.append((Action.on(ROOM, step, f"p{n}", event_id=str(n), time_ms=at, **more), n, at))
    orderly = Projection({})
    for row in rows:
        orderly.take_row(row)
    for action in actions:
        orderly.take_action(*action)
    mixed, chance = Projection({}), random.Random(seed)
    left, right = list(rows), list(actions)
    while left or right:
        if left and (not right or chance.random() < 0.5):
            mixed.take_row(left.pop(0))
        else:
            mixed.take_action(*right[0])
            mixed.take_action(*right.pop(0))

    assert mixed.alerts == orderly.alerts
    assert mixed.alerts[ROOM].status == orderly.alerts[ROOM].status


REFUSED = {
    "no such kind": Action("explode", "liu"),
    "nobody": Action.on(ROOM, "acknowledge", ""),
    "no alert": Action("acknowledge", "liu", site="east"),
    "silence without matcher": Action("silence", "liu", until_ms=NOON_MS + 1, comment="x"),
    "silence without end": Action("silence", "liu", matcher="rule=x", comment="x"),
    "silence without why": Action("silence", "liu", matcher="rule=x", until_ms=NOON_MS + 1),
    "an end that is over": Action("silence", "liu", matcher="rule=x", until_ms=NOON_MS - 1, comment="x"),
    "an end beyond a year": Action.on(ROOM, "snooze", "liu", until_ms=NOON_MS + 400 * 86_400_000),
    "assigned to nobody": Action.on(ROOM, "assign", "liu"),
    "an empty comment": Action.on(ROOM, "comment", "liu"),
    "an unknown reason": Action.on(ROOM, "comment", "liu", reason="because"),
    "a control character": Action.on(ROOM, "comment", "liu", comment="\x1b[31mred"),
    "a control character in a name": Action.on(ROOM, "assign", "liu", assignee="wang\nroot"),
    "a photo that is a script": Action.on(ROOM, "comment", "liu", photo=b"<script>"),
    "a photo that is too large": Action.on(ROOM, "comment", "liu", photo=PHOTO + bytes(700_000)),
    "a very long comment": Action.on(ROOM, "comment", "liu", comment="x" * 4001),
    "a matcher on an acknowledgement": Action.on(ROOM, "acknowledge", "liu", matcher="rule=x"),
    "an episode on a silence": Action.on(ROOM, "silence", "liu", matcher="rule=x", until_ms=NOON_MS + 1, comment="x"),
    "hours that are none": Action("mute", "liu", matcher="rule=x", hours="sometimes"),
    "done, but what": Action.on(ROOM, "work_done", "liu", comment="x"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_actions_are_refused(case: str) -> None:
    """Each with a sentence."""
    with pytest.raises(ActionError):
        check(REFUSED[case], NOON_MS)


def test_what_does_not_fit_the_state_is_refused() -> None:
    """No such alert, nothing to acknowledge, no such order, no such silence."""
    story = Story().row("firing")
    projection = story.projection
    for action in (
        Action.on((*ROOM[:3], 2), "acknowledge", "liu"),
        Action.on(ROOM, "reopen", "liu"),
        Action.on(ROOM, "work_done", "liu", refers="x", comment="x"),
        Action("unsilence", "liu", refers="x"),
    ):
        with pytest.raises(ActionError):
            projection.check(action, story.at)
    projection.check(Action.on(ROOM, "acknowledge", "liu"), story.at)
    story.row("resolved")
    with pytest.raises(ActionError, match="resolved already"):
        projection.check(Action.on(ROOM, "acknowledge", "liu"), story.at)


def test_the_end_waits_while_a_site_is_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Binding goes on beside the loop: until it is done no end is whole, then the same ones are as without it."""
    site, slow = site_of(tmp_path), threading.Event()
    light = site.document.table("points")["number"][site.document.table("points")["id"].index("e-light")]
    assert isinstance(light, int)
    projection = Projection({"east": site})
    alert = projection.take_row(alert_row(ROOM, "firing", NOON_MS))
    projection.take_part(part_row(ROOM, light, NOON_MS, 1000, final=True))
    projection.take_row(alert_row(ROOM, "resolved", NOON_MS + 1))
    monkeypatch.setattr(Site, "_subjects", held(Site._subjects, slow))

    site.bind()
    site.bind()
    waiting = [site.bound, projection.whole(alert)]
    slow.set()
    assert site._binding is not None
    site._binding.join(30)

    assert waiting == [False, False]
    assert site.bound
    assert projection.whole(alert)


def held(function: Callable[[Site, str], Any], go: threading.Event) -> Callable[[Site, str], Any]:
    """A function that waits before it begins."""

    def waiting(site: Site, rule: str) -> Any:
        assert go.wait(30)
        return function(site, rule)

    return waiting


@pytest.mark.parametrize("priced", [True, False])
def test_what_a_leak_costs_a_day(tmp_path: Path, priced: bool) -> None:
    """In L/h, and in yuan a day where a dated tariff has a price; a later row without an estimate keeps it."""
    model: dict[str, Any] = {"packs": {"taps.yaml": TAP}}
    if not priced:
        model["tariffs"] = [{"id": "grid", "medium": "electricity", "price": "0.9", "source": "test"}]
    site = site_of(tmp_path, **model)
    key = ("east", "Tap", "E1-101", 1)
    projection = Projection({"east": site})
    projection.take_row(alert_row(key, "firing", NOON_MS, estimate=18_000))
    alert = projection.take_row(alert_row(key, "firing", NOON_MS + 1, "critical", estimate=-1))

    assert alert.estimate is not None
    assert (alert.estimate.medium, alert.estimate.unit, alert.estimate.per_hour) == ("water", "mL", 18_000)
    # 0.432 m3 a day at 4.10 yuan
    assert alert.estimate.cost_per_day == (17_712 if priced else None)
    said = {language: flow(alert, language) for language in LANGUAGES}
    assert said == {
        "zh": "估计流量 18.0 L/h" + ("，每天约 1.77 元" if priced else ""),
        "en": "about 18.0 L/h" + (", about 1.77 yuan a day" if priced else ""),
    }


def test_most_rules_estimate_nothing(tmp_path: Path) -> None:
    """A number without a rule that means it is no flow."""
    projection = Projection({"east": site_of(tmp_path)})
    alert = projection.take_row(alert_row(ROOM, "firing", NOON_MS, estimate=5))
    assert alert.estimate is None
    assert flow(alert, "en") == ""
