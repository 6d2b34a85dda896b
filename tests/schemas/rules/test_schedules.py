"""Schedules: local time, kinds of days, midnight, changes of the clocks, and days that nobody knows."""

import datetime as dt
import zoneinfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.rules.program import FALSE, TRUE, UNKNOWN
from schemas.rules.schedules import BUILT_IN, Slot, boundaries, parse_clock, slot, state_at

SHANGHAI = "Asia/Shanghai"
BERLIN = "Europe/Berlin"
WEEK = {
    "2026-03-06": "workday",
    "2026-03-07": "restday",
    "2026-03-08": "restday",
    "2026-03-09": "workday",
    "2026-03-10": "workday",
}


def at(text: str, zone: str = SHANGHAI, fold: int = 0) -> int:
    """UTC milliseconds of a local time."""
    wall = dt.datetime.fromisoformat(text).replace(tzinfo=zoneinfo.ZoneInfo(zone), fold=fold)
    return round(wall.timestamp() * 1000)


def test_a_slot_holds_from_its_start_up_to_its_end() -> None:
    """The start is inside, the end is not; days of another kind are outside."""
    bounds = boundaries([slot("workday", "08:30", "17:30")], WEEK, SHANGHAI)
    assert state_at(bounds, at("2026-03-06T08:29:59.999")) == FALSE
    assert state_at(bounds, at("2026-03-06T08:30")) == TRUE
    assert state_at(bounds, at("2026-03-06T17:29:59.999")) == TRUE
    assert state_at(bounds, at("2026-03-06T17:30")) == FALSE
    assert state_at(bounds, at("2026-03-07T12:00")) == FALSE
    assert state_at(bounds, at("2026-03-09T12:00")) == TRUE


def test_outside_of_the_calendar_nothing_is_known() -> None:
    """Before the first day, after the last and in a hole: unknown; within, known."""
    hole = {day: kind for day, kind in WEEK.items() if day != "2026-03-08"}
    bounds = boundaries([slot("workday", "08:30", "17:30")], hole, SHANGHAI)
    assert state_at(bounds, at("2026-03-05T12:00")) == UNKNOWN
    assert state_at(bounds, at("2026-03-06T00:00")) == FALSE
    assert state_at(bounds, at("2026-03-07T23:59")) == FALSE
    assert state_at(bounds, at("2026-03-08T00:00")) == UNKNOWN
    assert state_at(bounds, at("2026-03-08T23:59")) == UNKNOWN
    assert state_at(bounds, at("2026-03-09T00:00")) == FALSE
    assert state_at(bounds, at("2026-03-10T23:59:59")) == FALSE
    assert state_at(bounds, at("2026-03-11T00:00")) == UNKNOWN
    assert state_at(bounds, at("2030-01-01T12:00")) == UNKNOWN
    assert boundaries([slot("any", "00:00", "24:00")], {}, SHANGHAI) == []


def test_a_slot_over_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    """Friday night runs into Saturday; Saturday has none of its own; Sunday morning is outside."""
    bounds = boundaries([slot("workday", "22:00", "06:00")], WEEK, SHANGHAI)
    assert state_at(bounds, at("2026-03-06T23:00")) == TRUE
    assert state_at(bounds, at("2026-03-07T05:59")) == TRUE
    assert state_at(bounds, at("2026-03-07T06:00")) == FALSE
    assert state_at(bounds, at("2026-03-07T23:00")) == FALSE
    assert state_at(bounds, at("2026-03-09T03:00")) == FALSE
    assert state_at(bounds, at("2026-03-10T03:00")) == TRUE


def test_after_an_unknown_day_the_morning_is_unknown_only_where_a_night_could_run() -> None:
    """The first known morning may be the night of a day that nobody knows; the last known night is known to its end."""
    bounds = boundaries([slot("workday", "22:00", "06:00")], WEEK, SHANGHAI)
    assert state_at(bounds, at("2026-03-06T05:59")) == UNKNOWN
    assert state_at(bounds, at("2026-03-06T06:00")) == FALSE
    assert state_at(bounds, at("2026-03-11T05:59")) == TRUE
    assert state_at(bounds, at("2026-03-11T06:00")) == UNKNOWN


def test_a_whole_day_and_neighbouring_slots_have_no_seams() -> None:
    """`00:00-24:00` on consecutive days is one span, and so are slots that touch."""
    whole = boundaries([slot("any", "00:00", "24:00")], WEEK, SHANGHAI)
    assert whole == [(at("2026-03-06T00:00"), TRUE), (at("2026-03-11T00:00"), UNKNOWN)]
    touching = boundaries(
        [slot("any", "08:00", "12:00"), slot("any", "12:00", "17:00")], {"2026-03-06": "workday"}, SHANGHAI
    )
    assert [state for _, state in touching] == [FALSE, TRUE, FALSE, UNKNOWN]
    around = slot("any", "09:00", "09:00")
    assert around.to_min - around.from_min == 1440


def test_working_days_are_built_in() -> None:
    """`workday()` is all of every workday, and a shifted weekend is none."""
    bounds = boundaries(BUILT_IN, WEEK, SHANGHAI)
    assert bounds == [
        (at("2026-03-06T00:00"), TRUE),
        (at("2026-03-07T00:00"), FALSE),
        (at("2026-03-09T00:00"), TRUE),
        (at("2026-03-11T00:00"), UNKNOWN),
    ]


def test_days_of_changing_clocks_are_as_long_as_they_are() -> None:
    """In Berlin 2026-03-29 has 23 hours and 2026-10-25 has 25; office hours keep to the wall clock."""
    days = {"2026-03-28": "workday", "2026-03-29": "workday", "2026-10-25": "workday", "2026-10-26": "workday"}
    bounds = boundaries([slot("any", "00:00", "24:00")], {"2026-03-29": "workday"}, BERLIN)
    assert bounds[1][0] - bounds[0][0] == 23 * 3_600_000
    bounds = boundaries([slot("any", "00:00", "24:00")], {"2026-10-25": "workday"}, BERLIN)
    assert bounds[1][0] - bounds[0][0] == 25 * 3_600_000
    office = boundaries([slot("any", "08:00", "18:00")], days, BERLIN)
    starts = [at_ms for at_ms, state in office if state == TRUE]
    assert starts == [at(f"{day}T08:00", BERLIN) for day in sorted(days)]
    assert starts[1] - starts[0] == 23 * 3_600_000
    assert starts[3] - starts[2] == 24 * 3_600_000


def test_a_time_that_is_skipped_and_one_that_comes_twice() -> None:
    """02:30 is skipped on 2026-03-29 (it counts as 03:30); on 2026-10-25 it comes twice and the first one counts."""
    skipped = boundaries([slot("any", "02:30", "05:00")], {"2026-03-29": "workday"}, BERLIN)
    assert skipped[1] == (at("2026-03-29T03:30", BERLIN), TRUE)
    twice = boundaries([slot("any", "02:30", "05:00")], {"2026-10-25": "workday"}, BERLIN)
    assert twice[1] == (at("2026-10-25T02:30", BERLIN), TRUE)
    assert at("2026-10-25T02:30", BERLIN, fold=1) - twice[1][0] == 3_600_000


def test_a_slot_holds_only_within_its_validity() -> None:
    """A dated slot begins on days from valid_from up to, not including, valid_to."""
    bounds = boundaries([slot("any", "08:00", "09:00", "2026-03-07", "2026-03-09")], WEEK, SHANGHAI)
    assert [at_ms for at_ms, state in bounds if state == TRUE] == [at("2026-03-07T08:00"), at("2026-03-08T08:00")]


@pytest.mark.parametrize("text", ["", "8", "24:01", "12:60", "1:2", "12:345", "-1:00", "ab:cd", "１2:00"])
def test_what_is_no_time_of_day_is_refused(text: str) -> None:
    """Times are HH:MM in ASCII digits, 00:00 to 24:00."""
    with pytest.raises(ValueError, match="not a time of day"):
        parse_clock(text)


def test_wrong_kinds_zones_and_starts_are_refused() -> None:
    """A kind of day, a time zone and a start that are none."""
    with pytest.raises(ValueError, match="not a kind of day"):
        slot("weekday", "08:00", "09:00")
    with pytest.raises(ValueError, match="cannot begin at 24:00"):
        slot("any", "24:00", "09:00")
    for zone in ("Asia/Wuxi", "../../etc/passwd", ""):
        with pytest.raises(ValueError, match="unknown time zone"):
            boundaries(BUILT_IN, WEEK, zone)


_slots = st.builds(
    lambda kind, start, length: Slot(kind, start, start + length),
    st.sampled_from(["workday", "restday", "any"]),
    st.integers(0, 1439),
    st.integers(1, 1440),
)


@settings(max_examples=150, deadline=None)
@given(
    slots=st.lists(_slots, max_size=3),
    kinds=st.lists(st.sampled_from(["workday", "restday", None]), min_size=1, max_size=5),
    minute=st.integers(-1440, 6 * 1440),
)
def test_every_minute_is_what_its_days_say(slots: list[Slot], kinds: list[str | None], minute: int) -> None:
    """Inside if a known day's slot runs, else unknown if an unknown day's might or today is unknown, else outside."""
    first = dt.date(2026, 5, 1)
    known = {first + dt.timedelta(days=index): kind for index, kind in enumerate(kinds) if kind}
    bounds = boundaries(slots, {day.isoformat(): kind for day, kind in known.items()}, SHANGHAI)
    now = dt.datetime.combine(first, dt.time(), zoneinfo.ZoneInfo(SHANGHAI)) + dt.timedelta(minutes=minute)
    today, of_day = now.date(), now.hour * 60 + now.minute
    days = ((today, of_day), (today - dt.timedelta(days=1), of_day + 1440))
    inside = any(
        one.from_min <= at_min < one.to_min
        for day, at_min in days
        for one in slots
        if day in known and one.kind in (known[day], "any")
    )
    night = days[1][0] not in known and any(days[1][1] < one.to_min for one in slots)
    expected = TRUE if inside else UNKNOWN if today not in known or night else FALSE
    assert state_at(bounds, round(now.timestamp() * 1000)) == expected
