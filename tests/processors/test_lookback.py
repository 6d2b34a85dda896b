"""What rules see of the past: windows, nights, usual hours, siblings; by hand and against the oracle."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors import snapshot
from processors.advance import Processor
from schemas.model.document import Document
from tests.processors.test_oracle import compare
from tests.processors.world import (
    DAY,
    HOUR,
    MIN,
    T0,
    Record,
    S,
    batch,
    config,
    document,
    fact,
    library,
    pack,
    point,
    records,
    run,
    slab,
    tick,
)
from tests.support.patience import patient

METER, POWER, PEOPLE, OTHER, THIRD, EXTRA = range(1, 7)
QUARTER = 15 * MIN
DAYS = [f"2026-01-{day:02}" for day in range(1, 29)]
CALENDAR = {day: "restday" if int(day[-2:]) % 7 in (3, 4) else "workday" for day in DAYS}


def points() -> list[dict[str, Any]]:
    """A meter and a power in either room, people in one, one more power."""
    power = {"role": "power", "kind": "gauge", "unit": "W", "interval_s": 900, "max_age_s": 3600}
    meter = {"role": "energy", "kind": "register", "unit": "Wh", "interval_s": 900}
    return [
        point(METER, space="r1", **meter),
        point(POWER, space="r1", **power),
        point(PEOPLE, space="r1", role="occupancy", kind="state", unit="1", interval_s=900, max_age_s=3600),
        point(OTHER, space="r2", rated="2000", **power),
        point(THIRD, space="r2", **meter),
        point(EXTRA, space="r1", **power),
    ]


def site(*rules: str, **more: Any) -> Document:
    """A document whose clock may jump by half a day without being an outage."""
    more.setdefault("limits", {"outage_ms": 12 * HOUR})
    return document(points(), pack(*rules), calendar=CALENDAR, **more)


def rule(expr: str, roles: str = "load: energy", each: str = "{space: [office]}", more: str = "") -> str:
    """A rule of one expression."""
    return f"Past\neach: {each}\nroles: {{{roles}}}\nexpr: {expr}\n{more}"


def quarters(*columns: tuple[int, list[int]], start: int = T0, imported: int = 0) -> list[tuple[int, bytes]]:
    """Readings of points every quarter of an hour, the first ones imported; a register's values are its steps."""
    found = []
    sums = {number: 0 for number, _ in columns}
    for place in range(max(len(values) for _, values in columns)):
        time = start + place * QUARTER
        rows = []
        for number, values in columns:
            if place < len(values) and values[place] is not None:
                sums[number] = sums[number] + values[place] if number in (METER, THIRD) else values[place]
                rows.append((number, time, sums[number]))
        if rows:
            mode = "backfill" if place < imported else "live"
            found.append((time + S, batch(rows, base_ms=time, mode=mode)))
    return found


def fired(doc: Document, log: list[tuple[int, bytes]]) -> list[tuple[str, float]]:
    """(state, hours after T0) of the alerts."""
    rows = run(records([(T0, config(doc)), *log]), library(doc))[1]["alerts"]
    return [(row["state"], (row["valid_at"] - T0) / HOUR) for row in rows]


def test_increase_needs_every_quarter() -> None:
    """An hour's usage is known once there are four whole quarters, and is theirs; it is counted when a quarter ends."""
    doc = site(rule("increase(load, 1h) > 100 Wh"))
    assert fired(doc, quarters((METER, [0, 10, 10, 40, 41, 0, 0]))) == [("firing", 1), ("resolved", 1.25)]
    assert fired(doc, quarters((METER, [0, 60, 60, 60]))) == []


def test_smallest_and_largest_are_rates_of_a_counter() -> None:
    """Wh of a quarter are four times as many W; a wider bucket takes quarters together."""
    steps = [0, 10, 10, 10, 10, 0, 10, 10, 10]
    assert fired(site(rule("min_over(load, 1h) >= 40 W")), quarters((METER, steps))) == [
        ("firing", 1),
        ("resolved", 1.25),
    ]
    assert fired(site(rule("max_over(load, 1h) < 40 W")), quarters((METER, steps))) == []
    assert fired(site(rule("min_over(load, 2h, 1h) >= 30 W")), quarters((METER, steps))) == [("firing", 2)]


def test_a_gap_is_no_evidence() -> None:
    """Usage that was spread over a gap counts in an increase, and says nothing of the smallest quarter."""
    log = quarters((METER, [0, 10, 10, None, None, None, None, 50, 10, 10]))
    assert fired(site(rule("min_over(load, 1h) > 0 W")), log) == []
    assert fired(site(rule("increase(load, 2h) > 79 Wh")), log) == [("firing", 2)]


def test_an_average_of_a_gauge_is_weighted_by_time() -> None:
    """The mean of an hour of power, and of whether somebody was there."""
    power = [0, 40_000, 40_000, 40_000, 40_000, 0, 0, 0, 0]
    doc = site(rule("avg_over(load, 1h) >= 30 W", "load: {role: power}"))
    log = quarters((POWER, power), (EXTRA, [0] * 9))
    assert fired(doc, log) == [("firing", 1), ("resolved", 1.75)]
    doc = site(rule("avg_over(people, 1h) >= 0.75", "people: occupancy"))
    assert fired(doc, quarters((PEOPLE, [0, 1, 1, 1, 1, 0, 0, 0, 0, 0]))) == [("firing", 1), ("resolved", 1.75)]


def nights(values: list[int], imported: int = 0) -> list[tuple[int, bytes]]:
    """Days from midnight on with so much per quarter at night (02:00 to 04:00) and 100 Wh else."""
    steps = [0]
    for night in values:
        steps += [night if 8 <= quarter < 16 else 100 for quarter in range(96)]
    midnight = T0 + 15 * HOUR  # 00:00 in Shanghai
    return quarters((METER, steps), start=midnight, imported=imported)


def test_a_night_against_the_nights_before() -> None:
    """The median of the last night, held against the median of three before; unknown with fewer than half of them."""
    doc = site(rule("night(load) > 1.5 * baseline(load, 3) and night(load) > 20 W"))
    found = fired(doc, nights([10, 10, 30, 10, 10]))
    # the third night ends at 04:00 of the third day, and its last quarter is known when the meter says so
    assert found == [("firing", 15 + 48 + 4.25), ("resolved", 15 + 72 + 4.25)]
    assert fired(doc, nights([10, 30])) == []


def test_more_than_half_of_the_last_nights() -> None:
    """Three of five, in any order; a night that nobody read is not one of them."""
    doc = site(rule("night(load, 5) > 100 W"))
    third, fourth = 15 + 48 + 4.25, 15 + 72 + 4.25
    assert fired(doc, nights([30, 30, 30])) == [("firing", third)]
    assert fired(doc, nights([10, 30, 10, 30, 10])) == []
    # from the sixth night on only two of the last five are high
    assert fired(doc, nights([30, 10, 30, 30, 10, 10])) == [("firing", fourth), ("resolved", fourth + 48)]
    unread = nights([30, 30, 30, 30])
    night = slice(2 * 96 + 4, 2 * 96 + 20)
    assert fired(doc, unread[: night.start] + unread[night.stop :]) == [("firing", fourth)]


def test_what_was_imported_fills_what_looks_back() -> None:
    """Nights from a file and then a live one: the baseline is known at once, and the import itself wakes nobody."""
    doc = site(rule("night(load) > 1.5 * baseline(load, 2)"))
    values, live = [10, 10, 30, 10], 2 * 96 + 40
    assert [state for state, _ in fired(doc, nights(values)[live:])] == []
    log = nights(values, imported=live)
    found = fired(doc, log)
    # the high night was imported: the first quarter of an hour that is live and finished shows it
    assert found == [("firing", (log[live][0] - S - T0) / HOUR), ("resolved", 15 + 72 + 4.25)]
    assert fired(doc, log[:live]) == []
    compare(records([(T0, config(doc)), *log]), library(doc))


def test_the_usual_of_this_hour_on_working_days() -> None:
    """The quantile of the same hour of the working days before; nothing is usual on a day off."""
    steps = [0] + [10] * (96 * 2) + [10] * 40 + [50] * 8 + [10] * 48
    midnight = T0 + 4 * DAY - 9 * HOUR  # 00:00 on 5 January, a workday
    log = quarters((METER, steps), start=midnight)
    doc = site(rule("avg_over(load, 15 min) > 2 * quantile(load, 90 %, 2)"))
    hours = (midnight - T0) / HOUR
    assert fired(doc, log) == [("firing", hours + 58.25), ("resolved", hours + 60.25)]


def test_siblings_are_the_median_of_the_others_by_rated_power() -> None:
    """One of three that produces nothing while the others do; they differ in size, so shares of rated power count."""
    inverters = [
        point(n, equip=f"i{n}", role="pv_power", unit="W", interval_s=900, max_age_s=3600, rated=str(n * 1000))
        for n in (1, 2, 3)
    ]
    equips = [{"id": f"i{n}", "kind": "pv_inverter", "space": "b"} for n in (1, 2, 3)]
    text = rule("own < 1 % * siblings(own) and siblings(own) > 900 W", "own: pv_power", "{equip: [pv_inverter]}")
    doc = document(inverters, pack(text), tables={"equips": equips}, limits={"outage_ms": 12 * HOUR})
    log = quarters((1, [0, 0, 0]), (2, [0, 1_000_000, 2_000_000]), (3, [0, 1_500_000, 3_000_000]))
    rows = run(records([(T0, config(doc)), *log, (T0 + HOUR, tick())]), library(doc))[1]["alerts"]
    assert [(row["subject"], row["state"], row["valid_at"] - T0) for row in rows] == [("i1", "firing", 45 * MIN)]


def test_severity_steps_up_within_the_episode() -> None:
    """A warning after half an hour, critical after two hours: rows of one episode, and it ends with what it became."""
    doc = site(rule("load > 50 W", "load: {role: power}", more="for: 30m\nescalate: {critical: 2h}"))
    log = quarters((POWER, [100_000] * 12 + [0] * 3), (EXTRA, [0] * 15))
    rows = run(records([(T0, config(doc)), *log]), library(doc))[1]["alerts"]
    assert [(r["state"], r["severity"], (r["valid_at"] - T0) / MIN, r["episode"]) for r in rows] == [
        ("firing", "warning", 30, 1), ("firing", "critical", 120, 1), ("resolved", "critical", 180, 1)
    ]  # fmt: skip


@pytest.mark.parametrize("told", [False, True])
def test_what_is_known_again_is_looked_at(told: bool) -> None:
    """A meter that was silent for so long that nothing is known of it, and whose next value nobody believes, is alive.

    What it has used until then holds again, and the rule from then on, whether something was said of the meter or not.
    """
    meters = {
        "meters": [{"id": "m", "digits": 6, "resolution": "1", "ct": "1", "pt": "1"}],
        "meter_install": [{"meter": "m", "point": f"p{METER}", "valid_from": None}],
    }
    doc = site(rule("increase(load, 30 min) > 100 Wh and power > 50 W", "load: energy, power: power"), tables=meters)
    log = quarters((METER, [5000, 500, 500]), (POWER, [0] * 8 + [60_000] * 8), (EXTRA, [0] * 16))
    log += [(T0 + S, fact("width", T0, {"point": METER, "span": 1_000_000}, meter="m"))] * told
    revived = T0 + 10 * QUARTER + MIN
    log += [(revived, batch([(METER, revived, 3)], base_ms=revived))]
    compare(records([(T0, config(doc)), *sorted(log)]), library(doc))
    assert fired(doc, sorted(log)) == [("firing", (revived - T0) / HOUR)]


SILENT = """Silent
each: {point: [power]}
roles: {reading: any}
expr: age(reading) > 2 * interval(reading)
inhibited_by: [GatewayDown]"""
DOWN = """GatewayDown
each: {gateway: any}
roles: {reading: any}
expr: age(reading) > 20 min"""


@pytest.mark.parametrize(("who", "expected"), [("all", {"g1"}), ("one", {"p2"})])
def test_a_gateway_that_is_down_explains_its_points(who: str, expected: set[str]) -> None:
    """All silent: one alert, of the gateway. One silent: that one."""
    doc = site(DOWN, SILENT, limits={"outage_ms": HOUR}, tables={"gateways": [{"id": "g1", "site": "s1"}]})
    both = [(POWER, [1] * 2), (EXTRA, [1] * (2 if who == "all" else 12)), (OTHER, [1] * (2 if who == "all" else 12))]
    log = [*quarters(*both), *((T0 + minute * MIN, tick()) for minute in range(16, 160, 2))]
    rows = run(records([(T0, config(doc)), *sorted(log)]), library(doc))[1]["alerts"]
    assert {row["subject"] for row in rows} == expected


def test_an_exemption_is_a_dated_row() -> None:
    """A meeting: nothing is raised between its times, what fires then ends, and the time after counts anew."""
    row = {
        "id": "x",
        "subjects": ["r1"],
        "from": "10:00",
        "to": "12:00",
        "valid_from": "2026-01-01",
        "valid_to": "2026-01-02",
    }
    doc = site(rule("load > 50 W", "load: {role: power}", more="for: 30m"), tables={"exemptions": [row]})
    log = quarters((POWER, [100_000] * 16), (EXTRA, [0] * 16))
    assert fired(doc, log) == [("firing", 0.5), ("resolved", 1), ("firing", 3.5)]


FUNCTIONS = [
    rule("increase(load, 1h) > 60 Wh or min_over(load, 2h) > 50 W", more="for: 5m\nkeep_firing_for: 20m"),
    rule("max_over(load, 1h) > 1.2 * avg_over(load, 3h)", "load: {role: power}").replace("Past", "Peak"),
    rule("min_over(load, 1h, 30 min) > 20 W and avg_over(people, 1h) < 0.5", "load: {role: power}, people: occupancy").replace("Past", "Low"),
    rule("night(load) > 1.1 * baseline(load, 2)", "load: energy").replace("Past", "Night"),
    rule("night(load, 3) >= 60 W", "load: energy", more="estimate: night(load, 3) - night(load)").replace("Past", "Half"),
    rule("avg_over(load, 15 min) > quantile(load, 75 %, 1)", "load: energy", more="estimate: avg_over(load, 2h) / 3").replace("Past", "Usual"),
    rule("load > 2 * siblings(load) and increase(meter, 30 min) > 0 Wh", "load: {role: power}, meter: energy", more="escalate: {critical: 1h}").replace("Past", "Alone"),
    rule("increase(load, 1h) > siblings(increase(load, 1h))").replace("Past", "Most"),
    SILENT, DOWN,
]  # fmt: skip


def history(seed: int, days: float) -> list[tuple[int, bytes]]:
    """Quarter-hourly readings with gaps, repeats, disorder, estimated values and meters that are swapped."""
    chooser = random.Random(seed)
    now, found = T0, []
    registers = {METER: 0, THIRD: 50}
    silent = dict.fromkeys(range(1, 7), 0)
    load = {METER: 10, THIRD: 30}
    for _ in range(int(days * 96)):
        now += QUARTER
        rows = []
        for number in silent:
            if chooser.random() < 0.02:
                silent[number] = chooser.choice([1, 3, 12, 40])
            if chooser.random() < 0.05:
                load[number] = chooser.choice([0, 10, 25, 60])
            silent[number] -= 1
            if silent[number] >= 0:
                continue
            time = now - chooser.choice([0, 0, 0, 0, 0, 1, 90 * S, 14 * MIN])
            if number in registers:
                registers[number] += load[number]
                if chooser.random() < 0.01:
                    registers[number] = 5
                value = registers[number]
            else:
                value = chooser.choice([0, 1]) if number == PEOPLE else load.get(number, 0) * 1000
            rows.append((number, time, value, "good" if chooser.random() < 0.97 else "estimated"))
        chooser.shuffle(rows)
        mode = "backfill" if chooser.random() < 0.1 else "live"
        found.append((now + chooser.choice([0, S, 5 * MIN]), batch(rows, base_ms=now, mode=mode)))
        found += [(now + 7 * MIN, tick())]
    return sorted(found, key=lambda one: one[0])


@patient(max_examples=6)
@given(st.integers(0, 10**9))
def test_rows_of_any_days(seed: int) -> None:
    """What every function over the past makes of random days is what the oracle makes of it."""
    tables = {"gateways": [{"id": "g1", "site": "s1"}]}
    doc = site(*FUNCTIONS, tables=tables)
    counts = compare(records([(T0, config(doc)), *history(seed, 2.5)]), library(doc))
    assert counts["alerts"]


@patient(max_examples=4)
@given(st.integers(0, 10**9))
def test_cuts_and_snapshots_change_nothing(seed: int) -> None:
    """A log in any slabs, with the state saved and loaded in between, gives the same chains."""
    doc = site(*FUNCTIONS)
    log: list[Record] = records([(T0, config(doc)), *history(seed, 1.5)])
    whole = Processor("meter.readings", 0, library(doc).__getitem__)
    whole.advance(slab(log))
    whole.take()
    chooser = random.Random(seed)
    processor, at = Processor("meter.readings", 0, library(doc).__getitem__), 0
    while at < len(log):
        size = chooser.choice([1, 7, 60])
        processor.advance(slab(log[at : at + size]))
        processor.take()
        at += size
        if chooser.random() < 0.2:
            processor = snapshot.load(snapshot.save(processor), "meter.readings", 0, library(doc).__getitem__)
    for name, chain in whole.outbox.chains.items():
        assert (chain.count, chain.head()) == (
            processor.outbox.chains[name].count,
            processor.outbox.chains[name].head(),
        )


def test_a_new_document_keeps_the_past() -> None:
    """What was kept of a point goes on under another document, also for a rule that is new."""
    first = site(rule("increase(load, 2h) > 70 Wh"))
    second = site(rule("increase(load, 1h) > 30 Wh").replace("Past", "New"))
    log = quarters((METER, [0] + [10] * 12))
    change = (T0 + 5 * QUARTER + 2 * S, config(second, 2, first.sha256))
    rows = run(records(sorted([(T0, config(first)), *log, change])), library(first, second))[1]["alerts"]
    assert [(row["rule"], row["state"], (row["valid_at"] - T0) / HOUR) for row in rows] == [("New", "firing", 1.5)]
