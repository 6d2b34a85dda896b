"""What an episode wastes: parts against sums over the history of the points, to the unit."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.model.document import Document
from tests.processors.world import (
    HOUR,
    MIN,
    T0,
    Record,
    Row,
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
from tests.support.patience import patient

LIGHT, PEOPLE, METER, WATER, SECOND = 1, 2, 3, 4, 5
GRID = 15 * MIN
W_MS_PER_WH = 1000 * 3600 * 1000
"""Thousandths of a watt times milliseconds in a watt-hour."""


def site(*wastes: str, keep: str = "2m", wait: str = "5m", **more: Any) -> Document:
    """A room whose lights, meter and water may be wasted while nobody is there."""
    points = [
        point(LIGHT, space="r1", max_age_s=300),
        point(SECOND, space="r1", max_age_s=300),
        point(PEOPLE, space="r1", role="occupancy", kind="state", unit="1", max_age_s=36_000),
        point(METER, space="r1", role="energy", kind="register", unit="Wh", interval_s=900),
        point(WATER, space="r1", role="water", kind="delta", unit="L", interval_s=600),
    ]
    rule = f"""Waste
    each: {{space: [office]}}
    roles: {{light: light_power, people: occupancy, meter: energy, water: water}}
    expr: light > 50 W and people == 0
    clear: light <= 50 W or people > 0
    for: {wait}
    keep_firing_for: {keep}
    wastes: [{", ".join(wastes or ("light",))}]"""
    rules = pack(rule)
    # A role that is wasted has to be read: the counters stand in a comparison that is always true.
    rules = rules.replace("people == 0\n", "people == 0 and meter >= 0 Wh and water >= 0 L\n", 1)
    return document(points, rules, limits={"outage_ms": 10 * MIN}, **more)


def history(doc: Document, rows: list[tuple[int, int, int]], end: int) -> tuple[list[Record], dict[str, list[Row]]]:
    """Readings (minute, point, value), each in its own message, with ticks between."""
    ticks = [(T0 + minute * MIN + 30_000, tick()) for minute in range(end)]
    sent = [(T0 + minute * MIN, batch([(number, T0 + minute * MIN, value)])) for minute, number, value in rows]
    log = records([(T0 - MIN, config(doc)), *sorted([*sent, *ticks], key=lambda item: item[0])])
    return log, run(log, library(doc))[1]


def minutes(row: Row) -> tuple[float, float, int, bool]:
    """(from, to in minutes, quantity, final)."""
    return (row["from_ms"] - T0) / MIN, (row["to_ms"] - T0) / MIN, row["quantity"], row["final"]


def always(end: int, every: int, number: int, value: int) -> list[tuple[int, int, int]]:
    """A steady value."""
    return [(minute, number, value) for minute in range(0, end, every)]


def base(end: int) -> list[tuple[int, int, int]]:
    """Counters that stand still but are known."""
    return [*always(end, 15, METER, 0), *always(end, 10, WATER, 0), *always(end, 2, SECOND, 0)]


@pytest.fixture(name="doc", scope="module")
def _doc() -> Document:
    return site()


def test_parts_are_cut_at_the_grid(doc: Document) -> None:
    """600 W for forty minutes in an empty room: 400 Wh, in parts that end at quarters; the last one is final."""
    light = [(minute, LIGHT, 600_000 if 10 <= minute < 50 else 0) for minute in range(80)]
    _, rows = history(doc, [*base(80), *always(80, 5, PEOPLE, 0), *light], 80)
    parts = [row for row in rows["episodes"] if row["point"] == LIGHT]
    assert [minutes(row) for row in parts] == [
        (10, 15, 50, False), (15, 30, 150, False), (30, 45, 150, False), (45, 50, 50, True),
    ]  # fmt: skip
    assert [(row["state"], (row["valid_at"] - T0) // MIN) for row in rows["alerts"]] == [
        ("firing", 15),
        ("resolved", 50),
    ]


def test_what_ends_before_it_fires_wasted_nothing(doc: Document) -> None:
    """Four minutes of light leave no part."""
    light = [(minute, LIGHT, 600_000 if 10 <= minute < 14 else 0) for minute in range(40)]
    _, rows = history(doc, [*base(40), *always(40, 5, PEOPLE, 0), *light], 40)
    assert rows["episodes"] == rows["alerts"] == []


def test_an_interruption_does_not_count() -> None:
    """Somebody looks in for a minute: the episode goes on, their minute is not wasted."""
    people = [(minute, PEOPLE, int(minute == 30)) for minute in range(70)]
    light = [(minute, LIGHT, 600_000 if 10 <= minute < 50 else 0) for minute in range(70)]
    _, rows = history(site(), [*base(70), *people, *light], 70)
    parts = [row for row in rows["episodes"] if row["point"] == LIGHT]
    assert sum(row["quantity"] for row in parts) == 400 - 10
    assert [row["final"] for row in parts].count(True) == 1


def test_quantities_of_small_loads_do_not_get_lost() -> None:
    """51 W over a minute is less than a watt-hour: remainders are carried from part to part."""
    light = [(minute, LIGHT, 51_000 if 10 <= minute < 250 else 0) for minute in range(280)]
    _, rows = history(site(), [*base(280), *always(280, 5, PEOPLE, 0), *light], 280)
    assert sum(row["quantity"] for row in rows["episodes"] if row["point"] == LIGHT) == 51 * 4


def test_counters_are_shared_over_the_time_between_readings() -> None:
    """A register's and a delta's usage counts with the share of time that lies in the episode."""
    doc = site("light", "meter", "water")
    light = [(minute, LIGHT, 600_000 if 10 <= minute < 50 else 0) for minute in range(120)]
    meter = [(minute, METER, minute * 100) for minute in range(0, 120, 15)]
    water = [(minute, WATER, 30) for minute in range(0, 120, 10)]
    _, rows = history(doc, [*always(120, 2, SECOND, 0), *always(120, 5, PEOPLE, 0), *light, *meter, *water], 120)
    sums = {number: [row for row in rows["episodes"] if row["point"] == number] for number in (LIGHT, METER, WATER)}
    assert sum(row["quantity"] for row in sums[LIGHT]) == 400
    assert sum(row["quantity"] for row in sums[METER]) == 100 * 40
    assert sum(row["quantity"] for row in sums[WATER]) == 3 * 40
    for parts in sums.values():
        assert [row["final"] for row in parts] == [False] * (len(parts) - 1) + [True]
        assert (parts[0]["from_ms"], parts[-1]["to_ms"]) == (T0 + 10 * MIN, T0 + 50 * MIN)


SWITCHES = st.lists(
    st.tuples(st.sampled_from([LIGHT, PEOPLE, SECOND]), st.sampled_from([1, 2, 3, 5, 9, 20, 40])),
    min_size=1,
    max_size=14,
)


@patient(max_examples=40)
@given(SWITCHES, st.sampled_from(["0s", "2m", "30m"]), st.sampled_from(["0s", "5m", "12m"]))
def test_any_history_of_a_well_watched_room(switches: list[tuple[int, int]], keep: str, wait: str) -> None:
    """With readings every minute: of every episode and point the parts sum to the power that it held while it was true."""
    doc = site(keep=keep, wait=wait)
    values = {LIGHT: 0, SECOND: 0, PEOPLE: 0}
    levels = {LIGHT: [0, 60_000, 55_001, 400_000], SECOND: [0, 12_345, 70_000], PEOPLE: [0, 1]}
    seen: list[dict[int, int]] = []
    for number, length in switches:
        choices = levels[number]
        values[number] = choices[(choices.index(values[number]) + 1) % len(choices)]
        seen += [dict(values)] * length
    seen += [{LIGHT: 0, SECOND: 0, PEOPLE: 0}] * 90
    rows = [(minute, number, value) for minute, state in enumerate(seen) for number, value in state.items()]
    counters = [(minute, number, 0) for minute in range(len(seen)) for number in (METER, WATER)]
    _, found = history(doc, [*counters, *rows], len(seen))
    ends = {row["episode"]: row["valid_at"] for row in found["alerts"] if row["state"] == "resolved"}
    starts = {row["episode"]: row["started_at"] for row in found["alerts"] if row["state"] == "firing"}
    assert ends.keys() == starts.keys()
    for episode, start in starts.items():
        span = range((start - T0) // MIN, (ends[episode] - T0) // MIN)
        for number in (LIGHT, SECOND):
            parts = [row for row in found["episodes"] if (row["episode"], row["point"]) == (episode, number)]
            held = sum(
                seen[minute][number] * MIN
                for minute in span
                if seen[minute][LIGHT] + seen[minute][SECOND] > 50_000 and seen[minute][PEOPLE] == 0
            )
            assert sum(row["quantity"] for row in parts) == held // W_MS_PER_WH
            assert [row["final"] for row in parts] == [False] * (len(parts) - 1) + [True]
            assert parts[0]["from_ms"] == start
            assert [row["from_ms"] for row in parts[1:]] == [row["to_ms"] for row in parts[:-1]]
            assert all(row["to_ms"] % GRID == 0 for row in parts[:-1])


def test_a_part_waits_for_its_points_clock() -> None:
    """The last part of a meter that is read every quarter comes with the reading that passes the end of the episode."""
    doc = site("meter", keep="0s")
    light = [(minute, LIGHT, 600_000 if 10 <= minute < 50 else 0) for minute in range(62)]
    _, rows = history(
        doc,
        [
            *base(46),
            *always(62, 2, SECOND, 0),
            *always(62, 10, WATER, 0),
            *always(62, 5, PEOPLE, 0),
            *light,
            (60, METER, 150),
        ],
        62,
    )
    last = rows["episodes"][-1]
    assert (last["final"], last["known_at"], last["to_ms"]) == (True, T0 + 60 * MIN, T0 + 50 * MIN)
    resolved = rows["alerts"][-1]
    assert (resolved["state"], resolved["known_at"]) == ("resolved", T0 + 50 * MIN)
    assert sum(row["quantity"] for row in rows["episodes"]) == 50


def test_a_long_silence_counts_no_more_than_the_value_is_held() -> None:
    """A power is believed for its max_age; the silence after it wastes nothing that anybody knows of."""
    light = [(minute, LIGHT, 600_000) for minute in (*range(10, 31), 32)]
    quiet = [(100, LIGHT, 0)]
    doc = site(keep="0s")
    _, rows = history(doc, [*base(120), *always(120, 5, PEOPLE, 0), *light, *quiet], 120)
    parts = [row for row in rows["episodes"] if row["point"] == LIGHT]
    assert sum(row["quantity"] for row in parts) == 10 * (22 + 5)
    assert [row["state"] for row in rows["alerts"]] == ["firing", "stale"]


def test_a_point_that_a_new_document_adds_has_no_part_of_the_running_episode() -> None:
    """A rule that names another wasted point while it fires: that point counts from the next episode on."""
    first, second = site("light"), site("light", "meter")
    light = [(minute, LIGHT, 600_000 if 10 <= minute < 50 or 80 <= minute < 120 else 0) for minute in range(140)]
    meter = [(minute, METER, minute * 10) for minute in range(0, 140, 15)]
    log, _ = history(
        first, [*always(140, 2, SECOND, 0), *always(140, 10, WATER, 0), *always(140, 5, PEOPLE, 0), *light, *meter], 140
    )
    place = next(index for index, record in enumerate(log) if record[1] >= T0 + 30 * MIN)
    log = [*log[:place], (0, log[place][1], b"s1", config(second, 2, first.sha256)), *log[place:]]
    log = [(offset, *record[1:]) for offset, record in enumerate(log)]
    rows = run(log, library(first, second))[1]["episodes"]
    assert {(row["episode"], row["point"]) for row in rows} == {
        (1, LIGHT),
        (1, SECOND),
        (2, LIGHT),
        (2, SECOND),
        (2, METER),
    }
    assert all(row["from_ms"] > T0 - HOUR for row in rows)
    assert sum(row["quantity"] for row in rows if row["point"] == METER) == 400


def replaced(
    first: Document, second: Document, minute: int, rows: list[tuple[int, int, int]], end: int
) -> list[Record]:
    """A history in which another document comes at a minute."""
    log, _ = history(first, rows, end)
    place = next(index for index, record in enumerate(log) if record[1] > T0 + minute * MIN)
    log = [*log[:place], (0, T0 + minute * MIN, b"s1", config(second, 2, first.sha256)), *log[place:]]
    return [(offset, *record[1:]) for offset, record in enumerate(log)]


def test_a_rule_that_is_gone_ends_its_parts() -> None:
    """The episode of a rule that a new document drops has its last parts at once: what was wasted so far is not lost."""
    first = site("light", "meter")
    gone = dataclasses.replace(first, rules=[])
    light = [(minute, LIGHT, 600_000 if minute >= 10 else 0) for minute in range(70)]
    meter = [(minute, METER, minute * 10) for minute in range(0, 70, 15)]
    rest = [*always(70, 2, SECOND, 0), *always(70, 10, WATER, 0), *always(70, 5, PEOPLE, 0)]
    rows = run(replaced(first, gone, 40, [*rest, *light, *meter], 70), library(first, gone))[1]
    assert [row["state"] for row in rows["alerts"]] == ["firing", "stale"]
    for number, sum_to, last_ms in ((LIGHT, 10 * 30, 40), (METER, 200, 30)):
        parts = [row for row in rows["episodes"] if row["point"] == number]
        assert sum(row["quantity"] for row in parts) == sum_to
        assert [row["final"] for row in parts] == [False] * (len(parts) - 1) + [True]
        assert parts[-1]["to_ms"] == T0 + last_ms * MIN


def test_a_point_that_a_rule_no_longer_names_ends_its_part() -> None:
    """The episode goes on without it."""
    first, second = site("light", "meter"), site("light")
    light = [(minute, LIGHT, 600_000 if 10 <= minute < 50 else 0) for minute in range(70)]
    meter = [(minute, METER, minute * 10) for minute in range(0, 70, 15)]
    rest = [*always(70, 2, SECOND, 0), *always(70, 10, WATER, 0), *always(70, 5, PEOPLE, 0)]
    rows = run(replaced(first, second, 40, [*rest, *light, *meter], 70), library(first, second))[1]
    assert [row["state"] for row in rows["alerts"]] == ["firing", "resolved"]
    finals = [(row["point"], row["known_at"]) for row in rows["episodes"] if row["final"]]
    assert finals == [(METER, T0 + 40 * MIN), (LIGHT, T0 + 52 * MIN), (SECOND, T0 + 52 * MIN)]
    assert sum(row["quantity"] for row in rows["episodes"] if row["point"] == LIGHT) == 400


def test_a_pause_between_two_readings_takes_away_only_itself() -> None:
    """Somebody looks in for a minute between two readings: light counts 29 of 30 minutes, the meter 1400 of 1500 Wh."""
    rows = [*base(60), *always(60, 3, LIGHT, 60_000), (0, PEOPLE, 0), (31, PEOPLE, 1), (32, PEOPLE, 0), (45, PEOPLE, 1)]
    rows = [row for row in rows if row[1] != METER]
    rows += [(0, METER, 0), (15, METER, 0), (30, METER, 0), (45, METER, 1500), (60, METER, 1500)]
    _, found = history(site("light", "meter"), rows, 61)
    used = {number: sum(row["quantity"] for row in found["episodes"] if row["point"] == number) for number in (1, 3)}
    assert used == {LIGHT: 44, METER: 1400}
