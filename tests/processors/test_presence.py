"""Who is in the room: the filter against a slow one in floating point, and its life in a task's state."""

import math
import random
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.advance import Processor
from processors.kernels import presence
from processors.snapshot import load, save
from schemas import topics
from schemas.errors import ContractError
from schemas.model.document import Document
from schemas.model.presence import NAT, ONE, estimators, in_steps, parameters
from tests.processors.world import MIN, T0, Record, batch, config, decode, document, library, pack, point, records, slab
from tests.support.oracle.presence import Room, follow
from tests.support.patience import patient

ROLES = ("co2", "motion", "wifi_clients", "door_open", "socket_power")
NUMBERS = {role: place + 1 for place, role in enumerate(ROLES)}
UNITS = {"co2": ("gauge", "ppm", 1000), "socket_power": ("gauge", "W", 1000)}
RULE = """Empty
each: {space: [office]}
roles: {there: presence}
expr: there == 0
for: 10m"""


def room(*roles: str, rules: str = "", **more: Any) -> Document:
    """An office with such sensors, each read every minute."""
    points = [
        point(NUMBERS.get(role, 9), space="r1", role=role, kind=UNITS.get(role, ("state",))[0],
              unit=UNITS.get(role, ("", "1"))[1], medium=None)
        for role in roles
    ]  # fmt: skip
    return document(points, pack(rules) if rules else "", tables={"points": points}, **more)


def message(minute: float, role: str, value: float) -> tuple[int, bytes]:
    """(time of arrival, message) of a reading."""
    time = T0 + round(minute * MIN)
    return time, batch([(NUMBERS[role], time, round(value * UNITS.get(role, ("", "", 1))[2]))])


def a_day(seed: int, roles: tuple[str, ...], minutes: int) -> list[tuple[float, str, float]]:
    """Somebody comes and goes; air, motion, phones, door and sockets follow, with noise."""
    dice = random.Random(seed)
    there, co2, rows = False, 450.0, []
    for minute in range(minutes):
        turned = dice.random() < 1 / 40
        there ^= turned
        co2 += (8.0 if there else 0.0) - 0.015 * (co2 - 430)
        values = {
            "co2": co2 + dice.gauss(0, 2),
            "motion": float(there and dice.random() < 0.4),
            "wifi_clients": 3.0 + (2 if there else 0),
            "door_open": float(turned and dice.random() < 0.5),
            "socket_power": 20.0 + (90 if there else 0) + dice.random(),
        }
        for place, role in enumerate(roles):
            rows.append((minute + place / 8, role, round(values[role], 3)))
    return rows


def told(doc: Document, log: list[Record]) -> dict[int, int]:
    """Time → thousandths of a per cent, of the probability's facts."""
    processor = Processor(topics.METER_READINGS, 0, library(doc).__getitem__)
    found: dict[int, int] = {}
    for one in log:
        processor.advance(slab([one]))
        if len(processor.layout.arrays.senses):
            row = processor.state.points[processor.layout.arrays.senses["likely"][0]]
            found[int(row["fact_time"])] = int(row["fact_value"])
    return found


@patient()
@given(st.floats(-12, 12))
def test_probability_of_log_odds(odds: float) -> None:
    """The table is right to 1 in 50,000."""
    assert presence.probability(round(odds * NAT)) / ONE == pytest.approx(1 / (1 + math.exp(-odds)), abs=2e-5)


@patient()
@given(st.integers(1, ONE))
def test_logarithm(value: int) -> None:
    """And so is the other one, to 2 in 10,000."""
    assert presence.logarithm(value) / NAT == pytest.approx(math.log(value / ONE), abs=2e-4)


@patient()
@given(st.floats(-9, 9), st.floats(0, 0.5), st.floats(0, 0.5))
def test_drift_is_a_step_of_a_markov_chain(odds: float, came: float, left: float) -> None:
    """Probabilities as fractions of one, not too near to 0 and 1."""
    p = 1 / (1 + math.exp(-odds))
    p = max(2**-14, min(p * (1 - left) + (1 - p) * came, 1 - 2**-14))
    found = presence.drift(round(odds * NAT), round(came * ONE), round(left * ONE))
    assert found / NAT == pytest.approx(math.log(p / (1 - p)), abs=0.3 if abs(math.log(p / (1 - p))) > 8 else 0.02)


@pytest.mark.parametrize("roles", [("co2",), ("co2", "motion"), ("wifi_clients",), ROLES], ids=" ".join)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_filter_says_what_a_slow_one_says(roles: tuple[str, ...], seed: int) -> None:
    """Probability after every reading of a day, within a hundredth; a schedule is not known."""
    rows = a_day(seed, roles, 300)
    doc = room(*roles)
    log = records([(T0 - MIN, config(doc)), *(message(*row) for row in rows)])
    found = told(doc, log)
    own = {name: float(one.value) for name, one in parameters().items()}
    expected = follow(Room(own, None, dict.fromkeys(ROLES, 3.0)), rows)
    pairs = [(found[T0 + round(minute * MIN)] / 100_000, p) for minute, p in expected]
    assert max(abs(got - p) for got, p in pairs) < 0.01
    assert min(p for _, p in pairs) < 0.1 and max(p for _, p in pairs) > 0.9


def test_the_working_schedule_is_a_prior() -> None:
    """The same air at 9:00 on a workday and on a day off: the odds are other ones."""
    rows = [(minute, "co2", 600.0) for minute in range(120)]
    schedule = {
        "name": "working",
        "day_kind": "workday",
        "from": "08:00",
        "to": "18:00",
        "valid_from": None,
        "valid_to": None,
    }
    last = []
    for kind in ("workday", "restday"):
        doc = room("co2", calendar={"2026-01-01": kind}, schedules=[schedule])
        found = told(doc, records([(T0 - MIN, config(doc)), *(message(*row) for row in rows)]))
        own = {name: float(one.value) for name, one in parameters().items()}
        oracle = follow(Room(own, dict.fromkeys(range(200), kind == "workday"), {"co2": 3.0}), rows)
        assert found[T0 + 119 * MIN] / 100_000 == pytest.approx(oracle[-1][1], abs=0.01)
        last.append(found[T0 + 119 * MIN])
    assert last[0] > last[1] + 1000


def test_rules_may_use_it_and_unknown_is_unknown() -> None:
    """Nothing fires while it warms up; an empty room's rule does; when the sensor falls silent the alert ends as stale."""
    doc = room("co2", rules=RULE, limits={"stale_ms": 5 * MIN, "outage_ms": 10**9})
    log = records([
        (T0 - MIN, config(doc)),
        *(message(minute, "co2", 450.0) for minute in range(60)),
        *((T0 + minute * MIN, b"") for minute in range(61, 80)),
    ])  # fmt: skip
    processor = Processor(topics.METER_READINGS, 0, library(doc).__getitem__)
    processor.advance(slab(log))
    rows = decode(processor.take())["alerts"]
    assert [row["state"] for row in rows] == ["firing", "stale"]
    assert rows[0]["valid_at"] >= T0 + 20 * MIN


def test_rules_look_back_over_it() -> None:
    """An hour's mean of who was there, quarter by quarter, is that of the estimates one by one."""
    rule = "Crowded\neach: {space: [office]}\nroles: {there: presence}\nexpr: avg_over(there, 1h) >= 0.75"
    doc = room("co2", rules=rule)
    air = [450.0 + 9 * min(minute, 150) - 9 * max(minute - 150, 0) for minute in range(300)]
    log = records([(T0 - MIN, config(doc)), *(message(minute, "co2", ppm) for minute, ppm in enumerate(air))])
    processor = Processor(topics.METER_READINGS, 0, library(doc).__getitem__)
    there: list[int] = []
    outputs = []
    for one in log:
        processor.advance(slab([one]))
        outputs += processor.take()
        if len(processor.layout.arrays.senses):
            there.append(int(processor.state.points[processor.layout.arrays.senses["state"][0]]["fact_value"]))
    there = there[-len(air) :]  # each holds until the next one
    crowded = [(end, sum(there[end - 60 : end]) >= 45) for end in range(60, len(air), 15)]
    turns = [end for (_, before), (end, now) in pairwise([(0, False), *crowded]) if now != before]
    assert len(turns) == 2
    assert [(row["state"], (row["valid_at"] - T0) / MIN) for row in decode(outputs)["alerts"]] == list(
        zip(("firing", "resolved"), turns, strict=True)
    )


def test_cuts_and_restarts_change_nothing() -> None:
    """One slab, or one message at a time through a snapshot each: the same heads, the same estimate."""
    doc = room(*ROLES, rules=RULE)
    log = records([(T0 - MIN, config(doc)), *(message(*row) for row in a_day(5, ROLES, 120))])
    whole = Processor(topics.METER_READINGS, 0, library(doc).__getitem__)
    whole.advance(slab(log))
    whole.take()
    cut = Processor(topics.METER_READINGS, 0, library(doc).__getitem__)
    for place, one in enumerate(log):
        cut.advance(slab([one]))
        cut.take()
        if place % 50 == 1:
            cut = load(save(cut), topics.METER_READINGS, 0, library(doc).__getitem__)
    assert cut.stream_heads() == whole.stream_heads()
    assert cut.state.senses.tobytes() == whole.state.senses.tobytes()


def test_a_new_document_keeps_what_is_known() -> None:
    """The estimate goes on when the model changes; it is gone when a counter takes its place."""
    before, after = room("co2"), room("co2", "motion")
    log = records([(T0 - MIN, config(before)), *(message(minute, "co2", 450.0 + 9 * minute) for minute in range(40))])
    processor = Processor(topics.METER_READINGS, 0, library(before).__getitem__)
    processor.advance(slab(log))
    odds = int(processor.state.senses["odds"][0])
    assert odds > NAT
    assert estimators(after)[0].state == estimators(before)[0].state + 1  # numbers of this test's documents move
    kept = room("co2", rules=RULE)
    processor.adopt({"s1": kept})
    assert int(processor.state.senses["odds"][0]) == odds
    processor.adopt({"s1": room("co2", "occupancy")})
    assert not len(processor.state.senses)


def test_who_gets_an_estimate() -> None:
    """A room with CO2 or Wi-Fi clients and no counter; light is no evidence."""
    assert [one.space for one in estimators(room("co2"))] == ["r1"]
    assert not estimators(room("co2", "occupancy"))
    assert not estimators(room("motion", "lux", "light_power", "door_open"))
    (one,) = estimators(room("co2", "motion", "lux", "light_power"))
    assert one.evidence == ((0, NUMBERS["co2"]), (1, NUMBERS["motion"]))


def test_parameters_are_rows_of_the_model() -> None:
    """The most particular row counts, and of equal ones the latest."""

    def row(value: str, **more: str) -> dict[str, Any]:
        columns = ("site", "space", "kind", "parameter", "value", "valid_from", "valid_to")
        return {**dict.fromkeys(columns), "parameter": "co2_source", "value": value, **more}

    for rows, expected in (
        ([row("2")], 2),
        ([row("2"), row("3", kind="office")], 3),
        ([row("4", space="r1"), row("3", kind="office")], 4),
        ([row("5", space="r2"), row("6", site="other")], 1),
        ([row("7", valid_from="2025-01-01"), row("8", valid_from="2026-01-01"), row("9", valid_to="2026-01-01")], 8),
    ):
        points = room("co2").table("points")
        doc = room("co2")
        table = {name: [one.get(name) for one in rows] for name in rows[0]}
        doc = Document(**{**doc.__dict__, "tables": {**doc.tables, "points": points, "occupancy_models": table}})
        (one,) = estimators(doc)
        assert one.values == in_steps({"co2_source": Fraction(expected)})


def test_a_snapshot_with_a_wrong_estimate_is_refused() -> None:
    """Another number of spaces, or a state that is neither."""
    doc = room("co2")
    log = records([(T0 - MIN, config(doc)), *(message(minute, "co2", 450.0) for minute in range(5))])
    processor = Processor(topics.METER_READINGS, 0, library(doc).__getitem__)
    processor.advance(slab(log))
    processor.take()
    processor.state.senses["occupied"] = 2
    with pytest.raises(ContractError, match="estimate"):
        load(save(processor), topics.METER_READINGS, 0, library(doc).__getitem__)
