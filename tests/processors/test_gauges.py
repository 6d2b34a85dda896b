"""Gauges and states: intervals against sums over every millisecond that counts."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.processors.world import DAY, HOUR, MIN, T0, Row, S, batch, config, document, library, point, records, run
from tests.support.patience import patient

GRID = 15 * MIN


def feed(readings: list[tuple[int, int]], **more: Any) -> list[Row]:
    """Gauge rows of readings (time, value)."""
    doc = document([point(1, **more)])
    log = [(T0, config(doc)), *((time, batch([(1, time, value)])) for time, value in readings)]
    return run(records(log), library(doc))[1]["gauges"]


def brief(rows: list[Row]) -> list[tuple[int, ...]]:
    """(from, to in minutes after T0, count, sum, minimum, maximum, integral in value x minutes)."""
    return [
        ((r["from_ms"] - T0) // MIN, (r["to_ms"] - T0) // MIN, r["count"], r["sum"], r["minimum"], r["maximum"], r["integral"] // MIN)
        for r in rows
    ]  # fmt: skip


def test_a_value_holds_until_the_next_one() -> None:
    """Count, sum, smallest and largest of the readings in (a, b]; the integral of what they held."""
    rows = feed([(T0 + 5 * MIN, 6), (T0 + 10 * MIN, 2), (T0 + 15 * MIN, 9), (T0 + 30 * MIN, 1)], max_age_s=3600)
    assert brief(rows) == [(0, 15, 3, 17, 2, 9, 5 * 6 + 5 * 2), (15, 30, 1, 1, 1, 1, 15 * 9)]


def test_a_value_holds_for_its_age_at_most() -> None:
    """After max_age nothing is known: intervals without reading and without held time have no row."""
    rows = feed([(T0 + 5 * MIN, 6), (T0 + 4 * HOUR, 2)], max_age_s=1200)
    assert brief(rows) == [(0, 15, 1, 6, 6, 6, 60), (15, 30, 0, 0, 0, 0, 60), (225, 240, 1, 2, 2, 2, 0)]


def test_a_reading_on_the_grid_closes_its_interval() -> None:
    """A reading at b belongs to (a, b], also the very first one."""
    assert brief(feed([(T0, 4)])) == [(-15, 0, 1, 4, 4, 4, 0)]


TIMES = st.lists(
    st.tuples(st.sampled_from([1, 7 * S, MIN, 14 * MIN, 15 * MIN, HOUR, 7 * HOUR, 3 * DAY]), st.integers(-(1 << 36), 1 << 36)),
    min_size=1, max_size=20,
)  # fmt: skip


@patient(max_examples=80)
@given(st.integers(0, GRID), TIMES, st.sampled_from([1, 90, 900, 3600, 40_000, 10**7]))
def test_intervals_equal_plain_sums(offset: int, found: list[tuple[int, int]], max_age_s: int) -> None:
    """Every row is what its own interval's readings and held spans give; what is known of the closed time is in some row."""
    readings, time = [], T0 + offset
    for wait, value in found:
        time += wait
        readings.append((time, value))
    rows = feed(readings, max_age_s=max_age_s)
    # A value is held over 96 intervals at most, so that a row of each of them has room.
    age = min(max_age_s * 1000, 96 * GRID)
    held = [(at, min(at + age, after), value) for (at, value), (after, _) in zip(readings, readings[1:], strict=False)]
    closed = readings[-1][0] // GRID * GRID
    seen = set()
    for row in rows:
        start, end = row["from_ms"], row["to_ms"]
        assert (end % GRID, end - start) == (0, GRID)
        assert end not in seen
        seen.add(end)
        values = [value for at, value in readings if start < at <= end]
        assert (row["count"], row["sum"]) == (len(values), sum(values))
        assert (row["minimum"], row["maximum"]) == (min(values, default=0), max(values, default=0))
        assert row["integral"] == sum(value * max(min(b, end) - max(a, start), 0) for a, b, value in held)
    assert sum(row["count"] for row in rows) == sum(at <= closed for at, _ in readings)
    assert sum(row["integral"] for row in rows) == sum(v * max(min(b, closed) - a, 0) for a, b, v in held)
    assert [row["to_ms"] for row in rows] == sorted(seen)


def test_out_of_range_values_are_verdicts() -> None:
    """What the model says cannot be is no reading of the gauge, and is told."""
    doc = document([point(1, unit="degC", min="-20", max="60")])
    values = [20_000, 60_000, 60_001, -20_000, -20_001, (1 << 63) - 1, -(1 << 63)]
    log = [(T0, config(doc)), *((T0 + k * MIN, batch([(1, T0 + k * MIN, value)])) for k, value in enumerate(values))]
    log.append((T0 + 15 * MIN, batch([(1, T0 + 15 * MIN, 0)])))
    _, rows = run(records(log), library(doc))
    assert [(row["value"], row["code"]) for row in rows["verdicts"]] == [
        (value, "out_of_range") for value in (60_001, -20_001, (1 << 63) - 1, -(1 << 63))
    ]
    assert [row["count"] for row in rows["gauges"]] == [1, 3]


def test_another_grid_gives_up_the_open_interval() -> None:
    """On another grid a gauge goes on with the first interval of it that ends after its clock, and counts from there."""
    first, second = document([point(1, max_age_s=7200)]), document([point(1, max_age_s=7200)], interval_s=3600)
    log = [(T0, config(first))]
    log += [(T0 + minute * MIN, batch([(1, T0 + minute * MIN, 10)])) for minute in range(1, 39)]
    log.append((T0 + 38 * MIN, config(second, 2, first.sha256)))
    log += [(T0 + minute * MIN, batch([(1, T0 + minute * MIN, 10)])) for minute in range(39, 181)]
    _, rows = run(records(log), library(first, second))
    assert brief(rows["gauges"]) == [
        (0, 15, 15, 150, 10, 10, 140), (15, 30, 15, 150, 10, 10, 150),
        (0, 60, 22, 220, 10, 10, 220), (60, 120, 60, 600, 10, 10, 600), (120, 180, 60, 600, 10, 10, 600),
    ]  # fmt: skip
