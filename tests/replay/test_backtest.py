"""A back-test: the life of alerts on the data's own clock, and waste that equals an independent integral."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from processors.advance import Processor
from replay.backtest import Backtest, Span, alerts_of, backtest, on_trial, start, whole_span
from replay.episodes import Collector, Episode
from replay.readings import Readings
from schemas.errors import ReplayError
from schemas.model.document import Document
from schemas.topics import METER_READINGS
from tests.processors.world import HOUR, MIN, T0, S, batch, config, document, library, pack, point, slab

LIGHT, PEOPLE, METER = 1, 2, 3
RULE = """LightsInEmptyRoom
each: {space: [office]}
roles: {light: light_power, people: occupancy}
expr: light > 50 W and people == 0
clear: light <= 50 W or people > 0
for: 20m
keep_firing_for: 2m
wastes: [light]"""


def room(rules: str = RULE, **more: object) -> Document:
    """An office with the power of its lights, a counter of people, and a price."""
    tariff = {"id": "t", "medium": "electricity", "component": "energy", "price": "0.6", "unit": "kWh", "slot": None}
    return document(
        [
            point(LIGHT, space="r1", medium="electricity"),
            point(PEOPLE, space="r1", role="occupancy", kind="state", unit="1", medium=None),
        ],
        pack(rules),
        tables={"tariffs": [{**tariff, "site": None, "valid_from": None, "valid_to": None, "months": None}]},
        **more,  # type: ignore[arg-type]
    )


def readings(*series: tuple[int, list[tuple[int, int]]]) -> Readings:
    """Readings of (point, [(time, value)])."""
    return Readings.of(
        [
            (
                np.full(len(rows), number),
                np.array([time for time, _ in rows]),
                np.array([value for _, value in rows]),
                np.zeros(len(rows)),
                np.zeros(len(rows)),
            )
            for number, rows in series
        ]
    )


def run(made: Document, own: Readings, until: int) -> tuple[Episode, ...]:
    """The episodes from the first reading to `until`."""
    trial = on_trial(made)
    return backtest({"s1": trial}, {METER_READINGS: {"s1": own}}, Span(T0, until)).episodes


def every_minute(values: list[int], first: int = T0) -> list[tuple[int, int]]:
    """A value a minute."""
    return [(first + i * MIN, value) for i, value in enumerate(values)]


def test_lights_left_on_are_an_episode_with_its_price() -> None:
    """On from 10:00 in an empty room for an hour: fires after 20 min, and costs what was used since the start."""
    own = readings(
        (LIGHT, every_minute([0] * 60 + [120_000] * 60 + [0] * 30)), (PEOPLE, every_minute([1] * 30 + [0] * 120))
    )
    (one,) = run(room(), own, T0 + 150 * MIN)
    assert (one.started_ms, one.fired_ms, one.ended_ms) == (T0 + HOUR, T0 + 80 * MIN, T0 + 2 * HOUR)
    assert one.state == "resolved"
    assert one.waste() == {("electricity", "Wh"): 120}
    assert one.cost() == 720  # 0.12 kWh x 0.6 yuan, in 1/10000 yuan


def test_what_goes_on_at_the_end_is_open_and_has_its_waste_so_far() -> None:
    """The history ends in the middle of an episode."""
    own = readings((LIGHT, every_minute([90_000] * 61)), (PEOPLE, every_minute([0] * 61)))
    (one,) = run(room(), own, T0 + 61 * MIN)
    assert (one.state, one.ended_ms) == ("open", None)
    assert one.waste() == {("electricity", "Wh"): 90}


def test_a_deadline_after_the_last_reading_is_met() -> None:
    """Time passes to the end of the span though nothing is read; the reading is old then, and holds till it expires."""
    made = room(limits={"stale_ms": HOUR})
    own = readings((LIGHT, every_minute([90_000] * 19)), (PEOPLE, every_minute([0] * 19)))
    assert not run(made, own, T0 + 19 * MIN)
    assert [one.fired_ms for one in run(made, own, T0 + 30 * MIN)] == [T0 + 20 * MIN]


def test_the_last_of_two_readings_of_a_time_counts_and_late_ones_come_where_they_belong() -> None:
    """The order of the log plays no part but for that."""
    light, people = every_minute([120_000] * 60), every_minute([0] * 60)
    ordered = run(room(), readings((LIGHT, light), (PEOPLE, people)), T0 + HOUR)
    shuffled = readings((PEOPLE, people[::-1]), (LIGHT, [(T0 + 5 * MIN, 0), *light[30:], *light[:30]]))
    assert run(room(), shuffled, T0 + HOUR) == ordered
    assert len(ordered) == 1


def test_live_and_back_test_agree_on_a_log_that_came_in_order() -> None:
    """The same readings as messages of a log: the same episodes, to the millisecond and the watt-hour."""
    made = room()
    light = every_minute([0] * 10 + [130_000] * 50 + [0] * 5 + [70_000] * 40 + [0] * 5)
    people = [(time + 20 * S, value) for time, value in every_minute([0] * 45 + [2] * 10 + [0] * 55)]
    processor = Processor(METER_READINGS, 0, library(made).__getitem__)
    records = [(0, T0, b"s1", config(made))]
    both = sorted([(time, LIGHT, value) for time, value in light] + [(time, PEOPLE, value) for time, value in people])
    for time, number, value in both:
        records.append((len(records), time, b"s1", batch([(number, time, value)])))
    processor.advance(slab(records))
    live = Collector({"s1": made})
    live.take(alerts_of(processor))
    tested = run(made, readings((LIGHT, light), (PEOPLE, people)), T0 + 110 * MIN)
    assert [one for one in tested if one.state == "resolved"] == [
        one for one in live.episodes() if one.state == "resolved"
    ]
    assert len(tested) >= 2


def test_it_does_not_depend_on_how_it_is_fed() -> None:
    """One time at a call or all at once: the same rows."""
    made = on_trial(room())
    own = readings((LIGHT, every_minute([120_000] * 90)), (PEOPLE, every_minute(([0] * 30 + [1] * 5) * 3)))
    outputs = []
    for step in (1, 7, 1000):
        processor = start(made, METER_READINGS)
        feed = own.bind(processor.layout, "s1")
        edges = np.flatnonzero(np.r_[True, feed.times_ms[1:] != feed.times_ms[:-1], True])
        cuts = [*edges[::step].tolist(), len(feed.rows)]
        for first, stop in pairwise(dict.fromkeys(cuts)):
            processor.feed(feed, first, stop)
        processor.take(publish=False)
        outputs.append(processor.stream_heads())
    assert outputs[0] == outputs[1] == outputs[2]


def test_nothing_to_test_is_said() -> None:
    """A history without a reading."""
    with pytest.raises(ReplayError, match="no reading"):
        whole_span({METER_READINGS: {"s1": readings()}})


def test_only_episodes_of_the_span_are_told() -> None:
    """An hour earlier and an hour later are other spans; an alert counts where it fired."""
    own = readings((LIGHT, every_minute([120_000] * 200)), (PEOPLE, every_minute([1] * 20 + [0] * 60 + [1] * 120)))
    trial = on_trial(room())

    def tested(span: Span) -> Backtest:
        return backtest({"s1": trial}, {METER_READINGS: {"s1": own}}, span)

    assert not tested(Span(T0 + 90 * MIN, T0 + 200 * MIN)).episodes
    late = tested(Span(T0 + 50 * MIN, T0 + 200 * MIN))
    assert len(late.episodes) == 1
    assert not late.alerts()  # it fired at 40 min


@st.composite
def lives(draw: st.DrawFn) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Power and people at irregular times, never so far apart that a value is too old."""
    series: list[list[tuple[int, int]]] = []
    for values in (st.sampled_from([0, 50_000, 50_001, 61_000, 119_999]), st.sampled_from([0, 0, 0, 1])):
        time, rows = T0 + draw(st.integers(0, 30_000)), []
        value = draw(values)
        for _ in range(draw(st.integers(30, 120))):
            rows.append((time, value))
            time += draw(st.integers(1, 3 * MIN - 1))
            if draw(st.integers(0, 7)) == 0:
                value = draw(values)
        series.append(rows)
    return series[0], series[1]


def held(rows: list[tuple[int, int]], time: int) -> int | None:
    """The value that holds at a time; None before the first one."""
    before = [value for at, value in rows if at <= time]
    return before[-1] if before else None


def wasted(one: Episode, light: list[tuple[int, int]], people: list[tuple[int, int]]) -> Fraction:
    """Watt-hours of an episode from the raw readings: power times time wherever the expression holds.

    What the light uses after its last reading is not known yet.
    """
    total = Fraction(0)
    for low, high in pairwise(sorted({time for time, _ in (*light, *people)})):
        power, there = held(light, low), held(people, low)
        if power is not None and there == 0 and power > 50_000:
            first, last = max(low, one.started_ms), min(high, one.end_by(high), light[-1][0])
            total += Fraction(power * max(0, last - first), 3_600_000_000)
    return total


@settings(deadline=None, max_examples=40, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(lives())
def test_the_waste_of_an_episode_is_the_integral_of_the_raw_readings(
    life: tuple[list[tuple[int, int]], list[tuple[int, int]]],
) -> None:
    """Exactly, to the whole watt-hour: what is left below one is the episode's remainder."""
    light, people = life
    until = min(light[-1][0], people[-1][0])
    light, people = ([row for row in rows if row[0] <= until] for rows in (light, people))
    for one in run(room(), readings((LIGHT, light), (PEOPLE, people)), until + 1):
        total = int(wasted(one, light, people))
        assert one.waste() == ({("electricity", "Wh"): total} if total else {})
