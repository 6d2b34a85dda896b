"""Random histories of a small site that has one of everything."""

import random
from typing import Any

from hypothesis import strategies as st

from schemas import codec
from schemas.control import SigningKey, sign
from schemas.model.document import Document
from tests.processors.world import (
    HOUR,
    KEY,
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
    tick,
)

RULES = pack(
    """Lights
    each: {space: [office]}
    roles: {light: light_power, people: occupancy}
    expr: light > 50 W and people == 0
    clear: light <= 40 W or people > 0
    for: 5m
    keep_firing_for: 2m
    stale_after: 10m
    wastes: [light]""",
    """Silent
    each: {point: [energy]}
    roles: {reading: any}
    expr: age(reading) > 2 * interval(reading)
    for: 3m""",
    """AfterHours
    each: {space: [office]}
    roles: {light: light_power}
    expr: light > 50 W and not schedule(work)
    wastes: [light]""",
    """Warm
    each: {space: [office]}
    roles: {warm: temperature}
    expr: warm > 26 degC
    for: 10m
    keep_firing_for: 5m""",
    """Flow
    each: {space: [office]}
    roles: {flow: water_flow, light: {role: light_power, optional: true}}
    expr: flow * 2 > 10 L/min or light / 3 > 100 W
    for: 0s
    stale_after: 3m
    wastes: [flow]
    estimate: flow - 1 L/min""",
    """Usage
    each: {space: [office]}
    roles: {load: energy, light: light_power}
    expr: increase(load, 30 min) > 100 Wh or min_over(light, 30 min) > 10 W
    for: 5m
    escalate: {critical: 20m}""",
)
RECENT = pack(
    """Recent
    each: {space: [office]}
    roles: {light: light_power, people: occupancy}
    expr: age(people) < 90 s and light > 10 W
    for: 1m"""
)
CHANGED = pack(
    """Changed
    each: {point: [energy, water]}
    roles: {reading: any}
    expr: flag(reading, changed_without_record)""",
    """ChangedInTheLight
    each: {space: [office]}
    roles: {load: energy, light: light_power}
    expr: light > 10 W and flag(load, changed_without_record)
    for: 2m
    keep_firing_for: 5m""",
)
CALENDAR = {"2026-01-01": "workday", "2026-01-02": "workday", "2026-01-03": "restday"}
SCHEDULES = [{"name": "work", "day_kind": "workday", "from": "08:30", "to": "09:40"}]

LIGHT, PEOPLE, MAIN, HAND, WATER, WARM, FLOW, SECOND = range(1, 9)
VALUES: dict[int, list[int]] = {
    LIGHT: [0, 45_000, 60_000, 400_000],
    SECOND: [0, 5_000, 30_000],
    PEOPLE: [0, 1, 3],
    MAIN: [0, 100, 150, 90, 2000, 99_000, 99_900, 5, 100_000, 300_000],
    HAND: [10, 20, 5, 1000],
    WATER: [0, 7, 1000, -5],
    WARM: [20_000, 27_000, 30_000, 90_000],
    FLOW: [0, 3_000, 6_000],
}
LAGS_MS = [0, 0, 0, 1, S, 30 * S, MIN, 3 * MIN, 10 * MIN, 40 * MIN, 3 * HOUR, -2 * MIN, -6 * MIN, 30 * 365 * 24 * HOUR]
STEPS_MS = [0, 0, S, 20 * S, 59 * S, MIN, 60 * S + 1, 5 * MIN, 15 * MIN, 2 * HOUR, 26 * HOUR]


def site(rules: str = RULES, interval_s: int = 900, **more: Any) -> Document:
    """A document with a point of every kind and rules of every sort."""
    points = [
        point(LIGHT, space="r1"),
        point(SECOND, space="r1", interval_s=300),
        point(PEOPLE, space="r1", role="occupancy", kind="state", unit="1", gateway="g2"),
        point(MAIN, space="r1", role="energy", kind="register", unit="Wh", interval_s=900, rated="200", gateway="g1"),
        point(HAND, space="r1", role="water", kind="register", unit="L", interval_s=86_400),
        point(WATER, space="r1", role="gas", kind="delta", unit="L", interval_s=3600, gateway="g2"),
        point(WARM, space="r1", role="temperature", unit="degC", clock="data", max_age_s=3600, max="60"),
        point(FLOW, space="r2", role="water_flow", unit="L/min", gateway="g2"),
    ]
    meters = {
        "meters": [
            {"id": "m", "digits": 5, "resolution": "1", "ct": "1", "pt": "1"},
            {"id": "h", "digits": None, "resolution": "1", "ct": "1", "pt": "1"},
        ],
        "meter_install": [
            {"meter": "m", "point": f"p{MAIN}", "valid_from": None},
            {"meter": "h", "point": f"p{HAND}", "valid_from": None},
        ],
    }
    more.setdefault("limits", {"outage_ms": 150 * S})  # there are messages once a minute, not ticks once a second
    return document(points, rules, interval_s=interval_s, calendar=CALENDAR, schedules=SCHEDULES, tables=meters, **more)


def gateway(number: int) -> str:
    """Who sends a point."""
    return "g2" if number in (PEOPLE, WATER, FLOW) else "g1"


@st.composite
def readings(draw: st.DrawFn, now_ms: int) -> bytes:
    """A batch of some gateway, mostly in order and on time."""
    sender = draw(st.sampled_from(["g1", "g2"]))
    own = [number for number in VALUES if gateway(number) == sender]
    lag = draw(st.sampled_from(LAGS_MS))
    rows = []
    for number in draw(st.lists(st.sampled_from(own), max_size=5)):
        time = now_ms - lag + draw(st.sampled_from([0, 0, 1, S, MIN, 7 * MIN]))
        quality = draw(st.sampled_from(["good"] * 8 + ["estimated", "suspect"]))
        rows.append((number, time, draw(st.sampled_from(VALUES[number])), quality))
    mode = draw(st.sampled_from(["live"] * 7 + ["backfill"]))
    return batch(rows, gateway=sender, mode=mode, base_ms=now_ms)


def said(chooser: random.Random, now_ms: int, levels: dict[int, int]) -> bytes:
    """A fact about a meter, near its register's level, told in time, late, before it happens, again, or in another's place."""
    number, meter = chooser.choice([(MAIN, "m"), (MAIN, "m"), (HAND, "h")])
    level = levels[number]
    kind = chooser.choice(["swapped"] * 3 + ["multiplier"] * 3 + ["installed", "width", "reset", "removed"])
    about: dict[str, int] = {"point": number}
    if kind in ("swapped", "removed", "reset", "multiplier") and chooser.random() < 0.6:
        about["final"] = max(0, level + chooser.choice([0, 0, 1, 3, 40, -2, 500]))
    if kind == "installed" or (kind in ("swapped", "reset") and chooser.random() < 0.8):
        about["initial"] = chooser.choice([0, 0, 3, 1000, level])
    if kind == "multiplier" or (kind == "swapped" and chooser.random() < 0.3):
        about["numerator"], about["denominator"] = chooser.choice([(1, 1), (3, 2), (40, 1), (2, 3), (5, 7), (1, 4)])
    if kind == "width" or (kind == "swapped" and chooser.random() < 0.2):
        about["span"] = chooser.choice([100_000, 1000, 1_000_000])
    at = now_ms + chooser.choice(
        [0, 0, 1, -S, -7 * MIN, -7 * MIN, -20 * MIN, -3 * HOUR, 4 * MIN, 12 * MIN, 40 * 24 * HOUR]
    )
    names = ["a", "b", "c"] if chooser.random() < 0.1 else [f"{at} {chooser.random()}"]
    more = {"replaces": chooser.choice(["a", "b"])} if chooser.random() < 0.1 else {}
    return fact(kind, at, about, meter=meter, event_id=chooser.choice(names), **more)


@st.composite
def messages(draw: st.DrawFn, size: int = 40, start_ms: int = T0) -> list[tuple[int, bytes]]:
    """Batches and ticks with the times at which the log got them."""
    now, found = start_ms, []
    for step in draw(st.lists(st.sampled_from(STEPS_MS), min_size=1, max_size=size)):
        now += step
        choice = draw(st.integers(0, 19))
        if choice < 3:
            levels = {number: draw(st.sampled_from(VALUES[number])) for number in (MAIN, HAND)}
            value = said(random.Random(draw(st.integers(0, 1 << 30))), now, levels)
        else:
            value = tick() if choice < 5 else draw(readings(now))
        found.append((now, value))
    return found


@st.composite
def logs(draw: st.DrawFn, size: int = 40) -> list[Record]:
    """A history under the document of `site`, its config first."""
    return records([(T0, config(site())), *draw(messages(size))])


class _World:
    """What the sensors of the site would say: values that stay for a while, registers that grow."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.values = {number: self.random.choice(values) for number, values in VALUES.items()}
        self.register = {MAIN: self.random.choice([0, 99_700]), HAND: 50}
        self.silent = {"g1": 0, "g2": 0}
        self.kept: dict[str, list[tuple[int, int, int, str]]] = {"g1": [], "g2": []}

    def value(self, number: int) -> int:
        """The next value of a point."""
        if number in self.register:
            self.register[number] += self.random.choice([0, 1, 3, 40])
            fault = self.random.random()
            if fault < 0.03:
                return self.random.choice(VALUES[number])
            if fault < 0.04:
                self.register[number] = self.random.choice([0, 10])
            if number == MAIN and self.register[number] >= 100_000:
                self.register[number] -= 100_000
            return self.register[number]
        if self.random.random() < 0.06:
            self.values[number] = self.random.choice(VALUES[number])
        return self.values[number]

    def minute(self, now: int) -> list[tuple[int, bytes]]:
        """Messages of one minute."""
        chance = self.random.random
        found: list[tuple[int, bytes]] = []
        if chance() < 0.3:
            found.append((now, tick()))
        if chance() < 0.04:
            found.append((now, said(self.random, now, self.register)))
            if chance() < 0.1:
                found.append(found[-1])
            if chance() < 0.5:
                self.register[MAIN] = self.random.choice([0, 3, 1000, self.register[MAIN]])
        for sender in ("g1", "g2"):
            if self.silent[sender] == 0 and chance() < 0.02:
                self.silent[sender] = self.random.choice([2, 8, 30, 90])
            due = [(number, every) for number, every in EVERY_MIN.items() if gateway(number) == sender]
            rows = [
                (
                    number,
                    now - self.random.choice([0, 0, 0, 1, 500, 20 * S]),
                    self.value(number),
                    "good" if chance() < 0.98 else "estimated",
                )
                for number, every in due
                if now // MIN % every == 0 and chance() < 0.97
            ]
            if self.silent[sender] > 0:
                self.silent[sender] -= 1
                self.kept[sender] += rows if chance() < 0.9 else []
                continue
            if self.kept[sender] and chance() < 0.7:
                rows = self.kept[sender] + rows
            self.kept[sender] = []
            if rows:
                mode = "backfill" if chance() < 0.01 else "live"
                found.append(
                    (now + self.random.choice([0, 0, 7, 900]), batch(rows, gateway=sender, mode=mode, base_ms=now))
                )
                if chance() < 0.02:
                    found.append((found[-1][0], found[-1][1]))
        return sorted(found)


EVERY_MIN = {LIGHT: 1, SECOND: 5, PEOPLE: 1, MAIN: 15, HAND: 120, WATER: 60, WARM: 1, FLOW: 1}


def busy(seed: int, minutes: int = 300) -> list[tuple[int, bytes]]:
    """Messages of some hours: sensors on their beat, gateways that fall silent and deliver late, repeats, faults, outages of the log."""
    world, now, found = _World(seed), T0, []
    for _ in range(minutes):
        now += MIN
        if world.random.random() < 0.004:
            now += world.random.choice([61 * S, 30 * MIN, 5 * HOUR])
        found += world.minute(now)
    return found


FIRST = site()
SECOND_RULES = (
    RULES.replace("for: 5m", "for: 7m")
    .replace("- alert: Flow", "- alert: Leak")
    .replace("wastes: [flow]", "wastes: [flow, light]")
)
THIRD = site(SECOND_RULES, interval_s=300)
OTHER = site(site="s2", partitions={"s2": 0, "s3": 1})
DOCUMENTS = library(FIRST, site(SECOND_RULES), THIRD, OTHER)


def spoilt(chooser: random.Random, now: int) -> bytes | None:
    """A message that cannot be used, or not all of it."""
    good = batch([(LIGHT, now, 5), (MAIN, now, 7)], base_ms=now)
    return chooser.choice(
        [
            None, b"", b"x", good[:-3], good + b"\0", codec.header("tick") + b"\xff" * 11, codec.header("alert_action"),
            batch([(LIGHT, now, 5), (99, now, 1), (PEOPLE, now, 1), (-3, now, 1), (MAIN, now + HOUR, 5), (77, now, 2)], base_ms=now),
            batch([(LIGHT, 5, 5), (SECOND, 6, 7)], base_ms=0), batch([(LIGHT, now, 5)], gateway="g9"), batch([(LIGHT, now, 5)], site="s3"),
            batch([(LIGHT, now, 5)], site="s9"), config(FIRST, 9), fact("reset", now, {"point": 99}), fact("reset", now, {"point": MAIN}, site="s9"),
            fact("reset", now, {"point": MAIN}, key=SigningKey.of(bytes(32))), fact("reset", now, {"point": MAIN}, meter="x"), codec.write("tick", {"clock_ms": -5}),
        ]
    )  # fmt: skip


def moved(value: bytes) -> bytes:
    """A message of s1 as one of s2."""
    if codec.contract_of(value) == "meter_fact":
        return sign("meter_fact", {**codec.read("meter_fact", value), "site": "s2"}, KEY)
    return value.replace(b"\x04s1", b"\x04s2", 1)


def eventful(seed: int, minutes: int = 240) -> list[Record]:
    """Two sites in one partition, bad messages in between, and three documents of one of them, one after another."""
    chooser = random.Random(seed)
    one, two = busy(seed, minutes), busy(seed + 1, minutes)
    two = [(at, moved(value)) for at, value in two]
    bad = [(at, spoilt(chooser, at)) for at, _ in one if chooser.random() < 0.1]
    versions = [FIRST, site(SECOND_RULES), THIRD]
    changes = sorted(chooser.sample(range(1, minutes), 2))
    configs = [(T0, config(FIRST)), (T0 + 10 * MIN, config(OTHER))]
    for place, minute in enumerate(changes, 2):
        configs.append((T0 + minute * MIN, config(versions[place - 1], place, versions[place - 2].sha256)))
    placed = sorted(
        [*enumerate_at(configs), *enumerate_at(one), *enumerate_at(two), *enumerate_at(bad)], key=lambda item: item[:2]
    )
    return [(3 * place, at, b"s1", value) for place, (at, _, value) in enumerate(placed)]


def enumerate_at(found: list[tuple[int, Any]]) -> list[tuple[int, int, Any]]:
    """Messages with their place, so that equal times keep their order."""
    return [(at, place, value) for place, (at, value) in enumerate(found)]
