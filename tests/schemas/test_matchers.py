"""Matchers and hours: what they mean, and what is refused."""

import datetime as dt
import zoneinfo

import pytest

from schemas.errors import ActionError
from schemas.hours import Hours
from schemas.matchers import Matcher

LABELS = {
    "rule": frozenset({"LightsInEmptyRoom"}),
    "space": frozenset({"b2-0405", "b2-04", "b2"}),
    "department": frozenset(),
    "severity": frozenset({"warning"}),
}  # fmt: skip
CHINA = zoneinfo.ZoneInfo("Asia/Shanghai")
CALENDAR = {"2026-01-01": "holiday", "2026-01-04": "workday"}  # 4 January is a Sunday that is worked


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("", True),
        ("rule=LightsInEmptyRoom", True),
        ("rule=LightsInEmptyRoom, severity=critical", False),
        ("rule=TapRuns|LightsInEmptyRoom", True),
        ("space=b2-04", True),
        ("space=b2-*", True),
        ("space=*05", True),
        ("space=b2-0*6", False),
        ("space!=b2-04", False),
        ("space!=b3", True),
        ("department=finance", False),
        ("department!=finance", True),
        ("unheard_of=x", False),
        ("rule=Lights", False),
    ],
)
def test_a_matcher_holds(text: str, holds: bool) -> None:
    """Alternatives, stars, negation, labels with several values, and labels that are not there."""
    matcher = Matcher.parse(text)

    assert matcher.holds(LABELS) is holds
    assert Matcher.parse(str(matcher)) == matcher


@pytest.mark.parametrize(
    "text", ["rule", "=x", "rule=", "rule=a,,b=c", "a b=c", 'rule="x"', "rule=a||b", "x=a*b*c*d*e", "r=x," * 17]
)
def test_what_is_no_matcher_is_refused(text: str) -> None:
    """A silence that nobody can read would silence nothing, or everything."""
    with pytest.raises(ActionError):
        Matcher.parse(text)


def test_stars_take_no_time() -> None:
    """A pattern of many stars cannot hang the notifier."""
    matcher = Matcher.parse("subject=" + "*" * 3 + "a" * 100)

    assert not matcher.holds({"subject": frozenset({"a" * 99 + "b"})})


@pytest.mark.parametrize(
    ("text", "local", "holds"),
    [
        ("", "2026-03-01 03:00", True),
        ("mon-fri 22:00-06:00", "2026-01-02 23:00", True),  # a Friday
        ("mon-fri 22:00-06:00", "2026-01-03 05:59", True),  # the night that began on it
        ("mon-fri 22:00-06:00", "2026-01-03 06:00", False),
        ("mon-fri 22:00-06:00", "2026-01-04 05:00", False),
        ("fri-mon 08:00-18:00", "2026-01-04 08:00", True),
        ("workday 08:00-18:00", "2026-01-04 08:00", True),
        ("workday 08:00-18:00", "2026-01-05 08:00", False),  # the calendar does not know the day
        ("holiday|sat 00:00-24:00", "2026-01-01 23:59", True),
        ("holiday|sat 00:00-24:00", "2026-01-02 00:00", False),
        ("any 12:00-13:00; sun 20:00-21:00", "2026-01-04 20:30", True),
    ],
)
def test_hours_hold(text: str, local: str, holds: bool) -> None:
    """Days by name and by the working calendar; nights belong to the day on which they begin."""
    at_ms = round(dt.datetime.fromisoformat(local).replace(tzinfo=CHINA).timestamp() * 1000)

    hours = Hours.parse(text)
    assert hours.hold(at_ms, CHINA, CALENDAR) is holds
    assert Hours.parse(str(hours)) == hours


@pytest.mark.parametrize(
    "text",
    ["22:00-06:00", "mon 25:00-06:00", "monday 1:00-2:00", "mon 24:00-06:00", "mon-workday 08:00-09:00", "mon 8-9"],
)
def test_what_are_no_hours_is_refused(text: str) -> None:
    """With the part that is wrong."""
    with pytest.raises(ActionError):
        Hours.parse(text)
