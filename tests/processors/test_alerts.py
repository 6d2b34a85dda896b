"""The life of an alert, by hand: when it fires, when it ends, and what it says of when."""

from typing import Any

import pytest

from schemas.model.document import Document
from tests.processors.world import (
    HOUR,
    MIN,
    T0,
    Row,
    S,
    batch,
    config,
    document,
    library,
    pack,
    point,
    records,
    run,
    tick,
)

LIGHT, PEOPLE, DATA, METER = 1, 2, 3, 4
POINTS = [
    point(LIGHT, space="r1", max_age_s=180),
    point(PEOPLE, space="r1", role="occupancy", kind="state", unit="1", max_age_s=180),
    point(DATA, space="r2", role="temperature", unit="degC", clock="data", max_age_s=3600),
    point(METER, space="r2", role="energy", kind="register", unit="Wh", interval_s=900),
]
CALENDAR = {"2026-01-01": "workday", "2026-01-02": "workday"}
WORK = [{"name": "work", "day_kind": "workday", "from": "08:00", "to": "09:30"}]
LIGHTS = """Lights
each: {space: [office]}
roles: {light: light_power, people: occupancy}
expr: light > 50 W and people == 0
clear: light <= 40 W or people > 0
for: 5m
keep_firing_for: 2m
stale_after: 10m"""


def site(rule: str, **more: Any) -> Document:
    """A document with one rule; time may pass in steps of up to ten minutes without being an outage."""
    return document(POINTS, pack(rule), calendar=CALENDAR, schedules=WORK, limits={"outage_ms": 10 * MIN, **more})


def alerts(doc: Document, messages: list[tuple[float, bytes]]) -> list[tuple[str, float, float, float, int]]:
    """(state, known, valid, started in minutes after T0, episode) of what messages at such minutes make."""
    log = [(T0, config(doc)), *((T0 + round(minute * MIN), value) for minute, value in messages)]
    rows = run(records(log), library(doc))[1]["alerts"]
    return [brief(row) for row in rows]


def brief(row: Row) -> tuple[str, float, float, float, int]:
    """The columns that tell."""
    known, valid, started = ((row[name] - T0) / MIN for name in ("known_at", "valid_at", "started_at"))
    return row["state"], known, valid, started, row["episode"]


def at(minute: float, *readings: tuple[int, int] | tuple[int, int, str], late: float = 0) -> tuple[float, bytes]:
    """Readings (point, value[, quality]) of a minute, that arrive `late` minutes later."""
    time = T0 + round(minute * MIN)
    return minute + late, batch([(r[0], time, r[1], r[2] if len(r) > 2 else "good") for r in readings])


def steady(first: int, last: int, light: int, people: int) -> list[tuple[float, bytes]]:
    """The same two readings every minute."""
    return [at(minute, (LIGHT, light), (PEOPLE, people)) for minute in range(first, last + 1)]


def test_fires_after_for_and_resolves_after_keep() -> None:
    """True for five minutes: firing. False for two: resolved, valid since it was false."""
    log = [*steady(1, 10, 60_000, 0), *steady(11, 15, 30_000, 0)]
    assert alerts(site(LIGHTS), log) == [("firing", 6, 6, 1, 1), ("resolved", 13, 11, 1, 1)]


def test_a_condition_that_ends_early_never_was() -> None:
    """Anything shorter than `for` leaves nothing, and the next spell counts from its own beginning."""
    log = [*steady(1, 4, 60_000, 0), *steady(5, 5, 0, 0), *steady(6, 11, 60_000, 0)]
    assert alerts(site(LIGHTS), log) == [("firing", 11, 11, 6, 1)]


def test_hysteresis_keeps_between_the_thresholds() -> None:
    """Between the clearing and the raising threshold nothing changes: neither raised nor cleared."""
    log = [*steady(1, 8, 60_000, 0), *steady(9, 20, 45_000, 0), *steady(21, 24, 40_000, 0), *steady(25, 40, 50_000, 0)]
    assert alerts(site(LIGHTS), log) == [("firing", 6, 6, 1, 1), ("resolved", 23, 21, 1, 1)]


def test_back_within_keep_firing_for_is_the_same_episode() -> None:
    """A short interruption does not end the episode."""
    log = [*steady(1, 8, 60_000, 0), *steady(9, 9, 0, 0), *steady(10, 20, 60_000, 0), *steady(21, 24, 0, 0)]
    assert alerts(site(LIGHTS), log) == [("firing", 6, 6, 1, 1), ("resolved", 23, 21, 1, 1)]


def test_episodes_are_numbered() -> None:
    """The second time is episode two."""
    log = [*steady(1, 8, 60_000, 0), *steady(9, 14, 0, 0), *steady(15, 22, 60_000, 0)]
    assert [(row[0], row[4]) for row in alerts(site(LIGHTS), log)] == [("firing", 1), ("resolved", 1), ("firing", 2)]


def test_timers_fire_between_readings() -> None:
    """Quiet sensors: the deadline comes with the clock, and the row says the time of the deadline."""
    log = [
        at(1, (LIGHT, 60_000), (PEOPLE, 0)),
        at(3, (LIGHT, 60_000), (PEOPLE, 0)),
        at(5, (LIGHT, 60_000), (PEOPLE, 0)),
    ]
    log += [(6.5, tick())]
    assert alerts(site(LIGHTS), log) == [("firing", 6.5, 6, 1, 1)]


@pytest.mark.parametrize("quality", ["estimated", "suspect"])
def test_doubtful_values_neither_raise_nor_clear(quality: str) -> None:
    """Estimated and suspect readings are unknown: a pending condition waits, and the time does not count."""
    doubted = [at(minute, (LIGHT, 0, quality), (PEOPLE, 0)) for minute in range(3, 6)]
    log = [*steady(1, 2, 60_000, 0), *doubted, *steady(6, 12, 60_000, 0)]
    assert alerts(site(LIGHTS), log) == [("firing", 9, 9, 4, 1)]
    log = [
        *steady(1, 7, 60_000, 0),
        *(at(m, (LIGHT, 0, quality), (PEOPLE, 0)) for m in range(8, 14)),
        *steady(14, 14, 60_000, 0),
    ]
    assert [row[0] for row in alerts(site(LIGHTS), log)] == ["firing"]


def test_firing_and_unknown_for_too_long_is_stale() -> None:
    """Sensors that fall silent end the alert as stale, by its last known time; what comes back is another episode."""
    log = [*steady(1, 7, 60_000, 0), *((minute, tick()) for minute in range(8, 30)), *steady(30, 36, 60_000, 0)]
    unknown = 10 + 1 / MIN  # three minutes after the last reading a value is too old
    assert alerts(site(LIGHTS), log) == [
        ("firing", 6, 6, 1, 1), ("stale", 21, pytest.approx(unknown), 1, 1), ("firing", 35, 35, 30, 2),
    ]  # fmt: skip


def test_false_wins_over_unknown() -> None:
    """People are there, whatever the light does: the alert is cleared though a role is unknown."""
    log = [*steady(1, 7, 60_000, 0), *(at(minute, (PEOPLE, 1)) for minute in range(8, 14))]
    assert alerts(site(LIGHTS), log) == [("firing", 6, 6, 1, 1), ("resolved", 10, 8, 1, 1)]


def test_an_episode_in_one_late_batch_is_found() -> None:
    """A gateway delivers half an hour at once: the alert fires and ends with the times at which it would have."""
    rows = [(minute, 60_000 if 5 <= minute < 20 else 0) for minute in range(1, 31)]
    late = batch(
        [r for minute, light in rows for r in ((PEOPLE, T0 + minute * MIN, 0), (LIGHT, T0 + minute * MIN, light))]
    )
    doc = document(
        [point(LIGHT, space="r1", max_age_s=7200), point(PEOPLE, space="r1", role="occupancy", kind="state", unit="1", max_age_s=7200)],
        pack(LIGHTS), limits={"outage_ms": HOUR},
    )  # fmt: skip
    assert alerts(doc, [(31, late)]) == [("firing", 31, 10, 5, 1), ("resolved", 31, 20, 5, 1)]


def test_late_gateways_do_not_hide_a_condition() -> None:
    """People's sensor reports eight minutes late, so it was unknown when the light came on; its unchanged value raises the alert."""
    people = [at(minute, (PEOPLE, 0), late=0) for minute in (1, 2)]
    light = [at(minute, (LIGHT, 60_000)) for minute in range(6, 22)]
    held = batch([(PEOPLE, T0 + minute * MIN, 0) for minute in range(3, 11)])
    after = [at(minute, (PEOPLE, 0)) for minute in range(11, 22)]
    log = sorted([*people, *light, (10.5, held), *after], key=lambda item: item[0])
    assert [row[0] for row in alerts(site(LIGHTS), log)] == ["firing"]


def test_true_since_the_last_value_that_it_needs() -> None:
    """A value that comes late does not date the condition before the other value it rests on."""
    log = [at(1, (PEOPLE, 1)), at(2, (LIGHT, 60_000)), at(3, (LIGHT, 60_000), late=0.1), at(2.5, (PEOPLE, 0), late=1.5)]
    log += steady(5, 9, 60_000, 0)
    assert alerts(site(LIGHTS), log) == [("firing", 8, 7.5, 2.5, 1)]


SILENT = """Silent
each: {point: [energy]}
roles: {reading: any}
expr: age(reading) > 30 min
for: 3m"""


def test_a_silent_meter() -> None:
    """No reading for more than the age: fires after `for`, and the next reading resolves it."""
    log = [at(1, (METER, 5)), *((minute, tick()) for minute in range(2, 50)), at(50, (METER, 6))]
    assert [(row[0], round(row[2], 2)) for row in alerts(site(SILENT), log)] == [("firing", 34), ("resolved", 50)]


def test_readings_that_nobody_believes_are_signs_of_life() -> None:
    """A meter that sends a dip is not silent any more."""
    log = [at(1, (METER, 500)), *((minute, tick()) for minute in range(2, 50)), at(50, (METER, 6))]
    assert [(row[0], round(row[2], 2)) for row in alerts(site(SILENT), log)] == [("firing", 34), ("resolved", 50)]


def test_an_outage_of_ours_pages_nobody() -> None:
    """A jump of the clock restarts ages: silence counts from the end of the outage on."""
    doc = document(POINTS, pack(SILENT))
    quiet = [(minute / 2, tick()) for minute in range(240, 360)]
    rows = alerts(doc, [at(1, (METER, 5)), *quiet])
    assert rows == [("firing", 153.5, pytest.approx(153 + 1 / MIN), pytest.approx(150 + 1 / MIN), 1)]
    rows = alerts(doc, [at(1, (METER, 5)), *quiet[:50], at(145, (METER, 6))])
    assert rows == []


def test_a_pending_condition_does_not_count_an_outage() -> None:
    """What was not known while the log stood still is not taken for true."""
    log = [*steady(1, 3, 60_000, 0), *steady(63, 70, 60_000, 0)]
    rows = alerts(
        document(POINTS, pack(LIGHTS)), [(m + k / 3, v) for m, v in log for k, v in ((0, v), (1, tick()), (2, tick()))]
    )
    assert len(rows) == 1
    state, known, valid, started, episode = rows[0]
    assert (state, episode) == ("firing", 1)
    assert 64 < known < 68, "some of five minutes before, the rest after"
    assert valid == started + 5


AFTER_HOURS = """AfterHours
each: {space: [office]}
roles: {light: light_power}
expr: light > 50 W and not schedule(work)"""


def test_a_schedule_turns_without_any_reading() -> None:
    """The end of working hours raises the alert by itself, at its own time; the next morning clears it."""
    log = [at(minute, (LIGHT, 60_000)) for minute in range(1, 60, 2)]
    assert alerts(site(AFTER_HOURS), log) == [("firing", 31, 30, 30, 1)]
    morning = 23 * 60  # 08:00 of the next day
    log = [at(minute, (LIGHT, 60_000)) for minute in range(1, morning + 9, 2)]
    assert alerts(site(AFTER_HOURS), log)[1] == ("resolved", morning + 1, morning, 30, 1)


def test_beyond_the_calendar_nothing_is_known() -> None:
    """After the last day of the calendar the rule says nothing, and a firing alert ends as stale."""
    end = 39 * 60  # midnight after 2026-01-02 in Shanghai
    log = [at(minute, (LIGHT, 60_000)) for minute in range(end - 60, end + 90, 2)]
    rows = alerts(site(AFTER_HOURS), [at(1, (LIGHT, 0)), *log])
    assert [(row[0], row[2]) for row in rows] == [("firing", end - 60), ("stale", end)]


WARM = """Warm
each: {space: [office]}
roles: {warm: temperature}
expr: warm > 26 degC
for: 20m
keep_firing_for: 10m"""


def test_rules_run_by_the_clock_of_late_data() -> None:
    """A point that uploads once a day: the rule runs by its own time, as if it had come in time."""
    rows = [(DATA, T0 + minute * MIN, 27_000 if 60 <= minute < 120 else 20_000) for minute in range(0, 240, 5)]
    late = [(26 * 60, batch(rows[:30])), (26 * 60, batch(rows[30:]))]
    assert alerts(site(WARM), late) == [("firing", 1560, 80, 60, 1), ("resolved", 1560, 120, 60, 1)]


def test_a_new_document_does_not_judge_late_data_by_the_live_clock() -> None:
    """A document in the middle of a pending condition of late data changes nothing."""
    doc = site(WARM)
    again = site(WARM, future_ms=300_001)
    rows = [
        batch([(DATA, T0 + minute * MIN, 27_000) for minute in minutes])
        for minutes in (range(5, 20, 5), range(20, 40, 5))
    ]
    log = [
        (T0, config(doc)),
        (T0 + 5 * HOUR, rows[0]),
        (T0 + 5 * HOUR + S, config(again, 2, doc.sha256)),
        (T0 + 5 * HOUR + 2 * S, tick()),
    ]
    found = run(records([*log, (T0 + 6 * HOUR, rows[1])]), library(doc, again))[1]["alerts"]
    assert [brief(row)[2:] for row in found] == [(25, 5, 1)]


FRESH = """Fresh
each: {space: [office]}
roles: {light: light_power, people: occupancy}
expr: age(people) <= 2 min and light > 50 W"""


def test_an_age_bounded_from_above() -> None:
    """Somebody was seen a moment ago: true as soon as the sensor speaks again, though its value is what it was."""
    log = [
        at(1, (PEOPLE, 1)),
        *(at(minute, (LIGHT, 60_000)) for minute in range(4, 12)),
        at(12, (PEOPLE, 1)),
        (15, tick()),
    ]
    rows = [(row[0], row[2]) for row in alerts(site(FRESH), log)]
    assert rows == [("firing", 12), ("resolved", pytest.approx(14 + 1 / MIN))]


def test_a_simulated_clock_is_its_ticks() -> None:
    """In a simulated domain in the past only ticks move time: deadlines come with them, whatever the log's time is."""
    doc = document(POINTS, pack(LIGHTS), domain="demo", limits={"outage_ms": 10 * MIN})
    now = T0 + 5000 * HOUR
    log = [(now, config(doc)), (now + 1, tick(T0))]
    for minute in range(1, 8):
        log += [(now + minute, at(minute, (LIGHT, 60_000), (PEOPLE, 0))[1]), (now + minute, tick(T0 + minute * MIN))]
    processor, rows = run(records(log), library(doc))
    assert processor.clock_ms == T0 + 7 * MIN
    assert [(row["state"], row["valid_at"], row["known_at"]) for row in rows["alerts"]] == [
        ("firing", T0 + 6 * MIN, now + 6)
    ]
    ahead = batch([(LIGHT, T0 + 13 * MIN, 1)])
    _, rows = run(records([*log, (now + 9, ahead)]), library(doc))
    assert [row["reason"] for row in rows["rejected"]] == ["future"]
