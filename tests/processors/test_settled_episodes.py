"""Episodes after a settlement: those of the same readings in order, whatever the order in which they came."""

import dataclasses
import random
from typing import Any, Final

import yaml
from hypothesis import given
from hypothesis import strategies as st

from schemas import codec
from tests.processors.settling import settle, settlements, settler, signed
from tests.processors.test_settle import resume
from tests.processors.world import (
    MIN,
    T0,
    Record,
    Row,
    batch,
    config,
    decode,
    document,
    library,
    pack,
    point,
    records,
    run,
    slab,
    tick,
)
from tests.support.patience import patient

LIGHT, PEOPLE, METER, OTHER = 1, 2, 3, 4
LIGHTS: Final = """Lights
    each: {space: [office]}
    roles: {light: light_power, people: occupancy, meter: energy}
    expr: light > 50 W and people == 0 and meter >= 0 Wh
    clear: light <= 50 W or people > 0
    for: 5m
    keep_firing_for: 2m
    wastes: [light, meter]"""
SILENT: Final = """Silent
    each: {space: [office]}
    roles: {light: light_power}
    expr: age(light) > 20 min"""
SITE = signed(
    document(
        [
            point(LIGHT, space="r1", max_age_s=600),
            point(PEOPLE, space="r1", role="occupancy", kind="state", unit="1", max_age_s=36_000),
            point(METER, space="r1", role="energy", kind="register", unit="Wh", interval_s=900, max_age_s=36_000),
            point(OTHER, space="r2", max_age_s=600),
        ],
        pack(LIGHTS, SILENT),
        limits={"outage_ms": 10 * MIN},
        tables={
            "meters": [{"id": "m", "digits": 7, "resolution": "1", "ct": "1", "pt": "1"}],
            "meter_install": [{"meter": "m", "point": f"p{METER}", "valid_from": None}],
        },
    )
)
DOCUMENTS: Final = library(SITE)
Reading = tuple[int, int, int]
"""(minute, point, value)."""


def log_of(sent: list[tuple[int, list[Reading]]], *more: bytes, minutes: int) -> list[Record]:
    """A log of the site: batches by the minute in which they came, a tick each half minute, then what comes last."""
    ticks = [(T0 + minute * MIN + 30_000, tick()) for minute in range(minutes)]
    batches = [
        (T0 + came * MIN, batch([(number, T0 + minute * MIN, value) for minute, number, value in readings]))
        for came, readings in sent
    ]
    end = [(T0 + minutes * MIN + place, value) for place, value in enumerate(more)]
    return records([(T0 - MIN, config(SITE)), *sorted([*batches, *ticks], key=lambda item: item[0]), *end])


def told(rows: list[Row]) -> dict[tuple[str, int], tuple[Any, ...]]:
    """What alerts say: (rule, episode) → state, start, end."""
    found: dict[tuple[str, int], tuple[Any, ...]] = {}
    for row in rows:
        minutes = ((row["started_at"] - T0) / MIN, (row["valid_at"] - T0) / MIN)
        found[row["rule"], row["episode"]] = (row["state"], *minutes)
    return found


def stands(live: dict[str, list[Row]], settled: dict[str, list[Row]]) -> list[tuple[Any, ...]]:
    """Episodes that stand: (rule, state, start, end, what it wasted by point and span), in their order."""
    found = {place: list(one) for place, one in told(live["alerts"]).items()}
    for row in settled["alerts"]:
        place = (row["rule"], row["episode"])
        if row["change"] == "retracted":
            assert found.pop(place) is not None
        else:
            assert place not in found
            found[place] = [row["state"], (row["started_at"] - T0) / MIN, (row["valid_at"] - T0) / MIN]
    wasted: dict[tuple[str, int], dict[Any, int]] = {}
    for row in [*live["episodes"], *settled["episodes"]]:
        own = wasted.setdefault((row["rule"], row["episode"]), {})
        part = (row["point"], row["from_ms"], row["to_ms"])
        own[part] = own.get(part, 0) + row["quantity"]
    assert not any(any(own.values()) for place, own in wasted.items() if place not in found)
    return sorted(
        (place[0], *one, tuple(sorted((part, q) for part, q in wasted.get(place, {}).items() if q)))
        for place, one in found.items()
    )


def evening(lit: tuple[int, int], minutes: int = 240) -> list[Reading]:
    """A light of 600 W over some minutes in an empty room, and its meter."""
    light = [(minute, LIGHT, 600_000 if lit[0] <= minute < lit[1] else 0) for minute in range(0, minutes, 5)]
    meter = [(minute, METER, 10 * max(0, min(minute, lit[1]) - lit[0])) for minute in range(0, minutes, 15)]
    people = [(minute, PEOPLE, 0) for minute in range(0, minutes, 30)]
    return sorted([*light, *meter, *people])


def at_once(readings: list[Reading]) -> list[tuple[int, list[Reading]]]:
    """Each reading comes when it is read."""
    return [(reading[0], [reading]) for reading in readings]


def late_off() -> list[tuple[int, list[Reading]]]:
    """The light is off at 100, and the gateway says so only at 200; at 195 it says that it is off."""
    readings = evening((30, 100))
    held = [r for r in readings if r[1] == LIGHT and 100 <= r[0] < 195]
    # What the gateway sends meanwhile is what it believes: the light is on.
    belief = [(minute, LIGHT, 600_000) for minute in range(101, 195, 5)]
    return sorted(
        [*at_once([r for r in readings if r not in held] + belief), (200, [(r[0] + 1, LIGHT, 0) for r in held])]
    )


def test_a_late_reading_makes_an_episode_shorter() -> None:
    """The corrected values of the light end the episode at 101 minutes; who was paged is not rewritten, and nobody is again."""
    log = log_of(late_off(), settle(), settle(2), minutes=240)
    live, settled = run(log, DOCUMENTS)[1], settlements(log, DOCUMENTS)
    assert told(live["alerts"])["Lights", 1] == ("resolved", 30, 195)
    assert [row["change"] for row in settled["alerts"]] == ["retracted", "added"]
    assert [(row["rule"], row["subject"], row["episode"]) for row in settled["alerts"]] == [("Lights", "r1", 1)] * 2
    (one,) = [one for one in stands(live, settled) if one[0] == "Lights"]
    assert one[1:4] == ("resolved", 30, 101)
    assert sum(q for (number, _, _), q in one[4] if number == LIGHT) == 71 * 10
    assert {row["known_at"] for row in settled["alerts"] + settled["episodes"]} == {log[-2][1]}


def test_what_began_just_before_the_first_document_was_true() -> None:
    """The light goes on two minutes before the site is published; its readings come after that, its end comes late."""
    sent = [(came, readings) for came, readings in late_off() if came > 32]
    sent.insert(0, (33, [reading for came, readings in late_off() for reading in readings if came <= 32]))
    log = log_of(sent, settle(), minutes=240)
    published = [(T0 + 32 * MIN, config(SITE)), *((r[1], r[3]) for r in log[1:] if r[1] > T0 + 32 * MIN)]
    log = records(published)  # type: ignore[arg-type]
    live, settled = run(log, DOCUMENTS)[1], settlements(log, DOCUMENTS)
    assert told(live["alerts"])["Lights", 1] == ("resolved", 30, 195)
    (one,) = [one for one in stands(live, settled) if one[0] == "Lights"]
    assert one[1:4] == ("resolved", 30, 101)


def test_what_never_was_is_retracted_and_what_was_missed_is_added() -> None:
    """Somebody was there, which is told late; and in another hour nobody was, which is told late too."""
    readings = [r for r in evening((30, 70)) if r[1] != PEOPLE or r[0] == 0]
    more = [(minute, LIGHT, 600_000 if 120 <= minute < 160 else 0) for minute in range(72, 240, 5)]
    readings = [r for r in readings if not (r[1] == LIGHT and r[0] > 71)] + more
    sent = at_once([*readings, (110, PEOPLE, 1), (165, PEOPLE, 0)])
    sent += [(200, [(25, PEOPLE, 1), (75, PEOPLE, 0), (118, PEOPLE, 0)])]
    log = log_of(sorted(sent), settle(), minutes=240)
    live, settled = run(log, DOCUMENTS)[1], settlements(log, DOCUMENTS)
    assert [one[:2] for one in told(live["alerts"]).values()] == [("resolved", 30)]
    changes = [(row["change"], row["started_at"]) for row in settled["alerts"]]
    assert changes == [("retracted", T0 + 30 * MIN), ("added", T0 + 122 * MIN)]
    added = settled["alerts"][1]
    assert added["episode"] == added["started_at"]
    assert [one[2:4] for one in stands(live, settled)] == [(122, 162)]


def test_what_speaks_of_silence_stays() -> None:
    """That a meter said nothing for an hour is true, also when its readings of that hour come later."""
    light = [(minute, LIGHT, 0) for minute in range(0, 240, 5)]
    held = [r for r in light if 60 <= r[0] < 120]
    log = log_of(sorted([*at_once([r for r in light if r not in held]), (130, held)]), settle(), minutes=240)
    live, settled = run(log, DOCUMENTS)[1], settlements(log, DOCUMENTS)
    assert ("Silent", 1) in told(live["alerts"])
    assert not settled["alerts"]
    assert settled["gauges"]


def test_what_goes_on_waits_until_it_has_ended() -> None:
    """An episode that is open when its start is corrected is settled after its end, and the site waits for that."""
    readings = [r for r in evening((30, 200)) if not (r[1] == LIGHT and 30 <= r[0] < 50)]
    sent = [*at_once([*readings, (30, LIGHT, 0)]), (90, [(minute, LIGHT, 600_000) for minute in range(31, 50, 5)])]
    log = log_of(sorted(sent), minutes=240)
    middle = next(k for k, record in enumerate(log) if record[1] >= T0 + 120 * MIN)
    log = records([(r[1], r[3]) for r in [*log[:middle], (0, log[middle][1], b"", settle(1)), *log[middle:]]])  # type: ignore[list-item]
    made = settler(log, DOCUMENTS)
    made.advance(slab(log[: middle + 1]))
    assert made.dirty("s1") is None
    assert not decode(made.take())["alerts"]
    made.advance(slab(log[middle + 1 :]))
    waits = made.dirty("s1")
    assert waits is not None
    last = records([*((r[1], r[3]) for r in log), (T0 + 250 * MIN, settle(2, *waits))])  # type: ignore[misc]
    live, settled = run(last, DOCUMENTS)[1], settlements(last, DOCUMENTS)
    assert told(live["alerts"])["Lights", 1][1] == 50
    assert [one[2:4] for one in stands(live, settled) if one[0] == "Lights"] == [(31, 200)]
    after = settler(last, DOCUMENTS)
    after.advance(slab(last))
    assert after.dirty("s1") is None


def test_a_mended_rule_changes_the_past() -> None:
    """A threshold that was wrong from minute 60 on, told at 170: what it made fire since then was never meant."""
    mended = dataclasses.replace(
        SITE, rules=[yaml.safe_load(pack(LIGHTS.replace("> 50 W and", "> 900 W and"), SILENT))]
    )
    readings = evening((30, 55)) + [(m, LIGHT, 600_000 if 80 <= m < 120 else 0) for m in range(56, 240, 5)]
    readings = [r for r in readings if r[1] != LIGHT or r[0] < 56 or r[0] % 5 == 1]
    change = codec.write(
        "config_record",
        {
            "site": "s1", "version": 2, "previous": SITE.sha256, "document": mended.sha256,
            "effective_ms": T0 + 60 * MIN, "key_id": "", "signature": b"",
        },
    )  # fmt: skip
    log = log_of(at_once(sorted(readings)), settle(), minutes=240)
    place = next(k for k, record in enumerate(log) if record[1] >= T0 + 170 * MIN)
    log = records([(r[1], r[3]) for r in [*log[:place], (0, log[place][1], b"", change), *log[place:]]])
    documents = library(SITE, mended)
    live, settled = run(log, documents)[1], settlements(log, documents)
    assert [one[:3] for one in told(live["alerts"]).values()] == [("resolved", 30, 55), ("resolved", 81, 121)]
    assert [one[1:4] for one in stands(live, settled)] == [("resolved", 30, 55)]


@st.composite
def rooms(draw: st.DrawFn) -> list[Reading]:
    """Half a day of a light, people and a meter, read all the time."""
    chance = random.Random(draw(st.integers(0, 10**9)))
    lit, there, level = 0, 0, 0
    found: list[Reading] = []
    for minute in range(0, 720, 5):
        if chance.random() < 0.12:
            lit = 600_000 - lit
        if chance.random() < 0.06:
            there = 1 - there
        level += lit // 12_000
        found.append((minute, LIGHT, lit))
        if minute % 10 == 0:
            found.append((minute + 1, PEOPLE, there))
        if minute % 15 == 0:
            found.append((minute + 2, METER, level))
    return sorted([*found, (722, LIGHT, 0), (722, METER, level), (729, PEOPLE, 0), (735, METER, level)])


@patient(max_examples=15)
@given(st.data())
def test_any_order_of_arrival(data: st.DataObject) -> None:
    """Live episodes and what settlements make of them are those of the same readings in order, part by part."""
    readings = data.draw(rooms())
    chance = random.Random(data.draw(st.integers(0, 10**9)))
    wrong = {r: 600_000 - r[2] for r in chance.sample([r for r in readings if r[1] == LIGHT], 8) if r[0] < 700}
    sent = []
    for reading in readings:
        late = reading[0] < 700 and chance.random() < 0.15
        if reading in wrong:
            sent.append((reading[0], [(*reading[:2], wrong[reading])]))
        came = min(740, reading[0] + chance.choice([7, 40, 300])) if late or reading in wrong else reading[0]
        sent.append((came, [reading]))
    log = log_of(sorted(sent), settle(), minutes=780)
    ordered = log_of(at_once(readings), minutes=780)
    settled = settlements(log, DOCUMENTS)
    wanted = [one for one in stands(run(ordered, DOCUMENTS)[1], settlements(ordered, DOCUMENTS)) if one[0] == "Lights"]
    found = [one for one in stands(run(log, DOCUMENTS)[1], settled) if one[0] == "Lights"]
    assert found == wanted
    twice = records([*((r[1], r[3]) for r in log), (T0 + 790 * MIN, settle(2))])  # type: ignore[misc]
    assert settlements(twice, DOCUMENTS)["alerts"] == settled["alerts"]
    part = settler(twice, DOCUMENTS)
    part.advance(slab(log))
    outputs = part.take()
    again = settler(twice, DOCUMENTS)
    resume(again, log[-1][0] + 1, outputs)
    again.advance(slab(twice))
    assert not decode(again.take())["alerts"]
    whole = settler(twice, DOCUMENTS)
    whole.advance(slab(twice))
    whole.take()
    assert again.stream_heads() == whole.stream_heads()
