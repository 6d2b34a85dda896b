"""Registers and deltas: nothing invented, nothing lost, and every row where it belongs."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.advance import Processor
from processors.state import POINT, UNRECORDED
from schemas.model.document import Document
from tests.processors.world import DAY, HOUR, MIN, T0, Row, batch, config, document, library, point, records, run, tick
from tests.support.patience import patient

REGISTER = 1
GRID = 15 * MIN
NO_DIPS = {"dips": 1 << 30}


def meter(
    interval_s: int = 900, rated: str | None = None, span: int = 0, limits: dict[str, int] | None = None, **more: Any
) -> Document:
    """A document with one register."""
    tables = {}
    if span:
        digits = len(str(span)) - 1
        tables = {
            "meters": [{"id": "m", "digits": digits, "resolution": "1", "ct": "1", "pt": "1"}],
            "meter_install": [{"meter": "m", "point": "p1", "valid_from": None}],
        }
    row = point(REGISTER, kind="register", role="energy", unit="Wh", interval_s=interval_s, rated=rated)
    return document([row], limits=limits, tables=tables, **more)


def feed(doc: Document, readings: list[tuple[int, int]], mode: str = "live") -> tuple[Processor, dict[str, list[Row]]]:
    """Readings (time, value), each in a message of its own that arrives a second later."""
    log = [(T0, config(doc))]
    log += [(time + 1000, batch([(REGISTER, time, value)], mode=mode)) for time, value in readings]
    return run(records(log), library(doc))


def state(processor: Processor) -> dict[str, int]:
    """What the processor knows of the register."""
    row = processor.state.points[0]
    return {str(name): int(row[name]) for name in POINT.names or ()}


def brief(rows: list[Row]) -> list[tuple[float, float, int, str, str]]:
    """(from, to, quantity, how, cause), in minutes after T0."""
    return [((r["from_ms"] - T0) / MIN, (r["to_ms"] - T0) / MIN, r["quantity"], r["how"], r["cause"]) for r in rows]


def tiled(rows: list[Row], start: int) -> None:
    """Rows begin at the first reading and follow each other without hole or overlap."""
    ends = [start, *(row["to_ms"] for row in rows)]
    assert [row["from_ms"] for row in rows] == ends[:-1]
    assert all(a < b for a, b in pairwise(ends))


STEPS = st.lists(
    st.tuples(
        st.sampled_from([1, 999, MIN, 7 * MIN, 15 * MIN, 16 * MIN, HOUR, 5 * HOUR, DAY, DAY + 1, 3 * DAY, 40 * DAY]),
        st.integers(0, 3) | st.integers(0, 1 << 40),
    ),
    max_size=25,
)
LOW_STEPS = st.lists(
    st.tuples(
        st.sampled_from([1, MIN, 15 * MIN, 17 * MIN, 5 * HOUR, 2 * DAY]),
        st.sampled_from([0, 1, 5, 100, 900, 960, 999, 10, 3, 5000, 10**7]),
    ),
    max_size=40,
)


@patient(max_examples=40)
@given(st.integers(0, GRID), st.integers(0, 1 << 40), STEPS, st.sampled_from([900, 60, 3600, 86_400]))
def test_growth_is_conserved(offset: int, first: int, steps: list[tuple[int, int]], interval_s: int) -> None:
    """Rows tile the time from the first reading; their sum and the open remainder are last minus first, to the unit."""
    start = time = T0 + offset
    value = first
    readings = [(time, value)]
    for wait, step in steps:
        time, value = time + wait, value + step
        readings.append((time, value))
    processor, rows = feed(meter(interval_s), readings)
    ledger, now = rows["ledger"], state(processor)
    tiled(ledger, start)
    assert sum(row["quantity"] for row in ledger) + now["total"] - now["settled"] == value - first
    assert all(row["quantity"] >= 0 for row in ledger)
    assert now["row_from"] == (ledger[-1]["to_ms"] if ledger else start) <= time
    assert not rows["verdicts"]
    if interval_s < 86_400:
        closed = [row for row in ledger if row["how"] != "gap"]
        assert all(row["to_ms"] % GRID == 0 and row["to_ms"] - row["from_ms"] <= GRID for row in closed)
        assert time - now["row_from"] < GRID, "an interval appears when the clock reaches its end"
    else:
        assert [row["to_ms"] for row in ledger] == [time for time, _ in readings[1:]]
        assert {row["how"] for row in ledger} <= {"declared"}


@patient(max_examples=60)
@given(LOW_STEPS, st.sampled_from([0, 1000]), st.sampled_from([None, "10"]), st.sampled_from([1, 2, 3, 1000]))
def test_conserved_through_rollovers_dips_spikes_and_new_levels(
    steps: list[tuple[int, int]], span: int, rated: str | None, dips: int
) -> None:
    """Whatever values come: the ledger is the sum of the believed steps, a verdict names each that was doubted, rows tile."""
    time = T0
    readings = [(time, 950)]
    for wait, value in steps:
        time += wait
        readings.append((time, value))
    processor, rows = feed(meter(rated=rated, span=span, limits={"dips": dips}), readings)
    ledger, now = rows["ledger"], state(processor)
    tiled(ledger, T0)
    codes = {row["time_ms"]: row["code"] for row in rows["verdicts"]}
    assert len(codes) == len(rows["verdicts"])
    total, last, low = 0, 950, 0
    level: list[int] = []
    for at, value in readings[1:]:
        code = codes.get(at)
        if code in ("dip", "zero_run"):
            level = [*level, value] if level and value >= level[-1] else [value]
        elif code == "rate":
            level = []
        else:
            low = level[0] if code == "reset" and level and value >= level[-1] else value
            total += {"rollover": value - last + span, "reset": value - low}.get(code or "", value - last)
            last, level = value, []
    assert sum(row["quantity"] for row in ledger) + now["total"] - now["settled"] == total
    assert (now["last"], now["total"]) == (last, total)
    assert all(row["quantity"] >= 0 for row in ledger)


def test_interpolation_and_labels() -> None:
    """Shares of a step are cut at the UTC grid and rounded down along the way; a gap is labelled on all that it touches."""
    _, rows = feed(meter(), [(T0 + 5 * MIN, 1000), (T0 + 20 * MIN, 1010), (T0 + 30 * MIN, 1010), (T0 + 75 * MIN, 1100)])
    assert brief(rows["ledger"]) == [
        (5, 15, 6, "measured", "reading"),
        (15, 30, 4, "measured", "reading"),
        (30, 45, 30, "gap", "reading"),
        (45, 60, 30, "gap", "reading"),
        (60, 75, 30, "gap", "reading"),
    ]


def test_a_gap_ends_where_readings_go_on() -> None:
    """The interval in which a gap ends is a gap as well, the one after it is measured."""
    _, rows = feed(meter(), [(T0, 0), (T0 + 50 * MIN, 50), (T0 + 60 * MIN, 60), (T0 + 75 * MIN, 90)])
    assert [row["how"] for row in rows["ledger"]] == ["gap", "gap", "gap", "gap", "measured"]
    assert [row["quantity"] for row in rows["ledger"]] == [15, 15, 15, 15, 30]


def test_a_gap_of_more_than_a_day_is_one_row() -> None:
    """Longer than a day, or over more intervals than the limit: one row, up to the reading itself; then the grid again."""
    for limits, wait, rows_of_gap in (
        ({}, DAY + MIN, 1),
        ({}, DAY, 96),
        ({"spread_intervals": 3}, HOUR, 1),
        ({"spread_intervals": 4}, HOUR, 4),
    ):
        _, rows = feed(meter(limits=limits), [(T0, 0), (T0 + wait, 700), (T0 + wait + 20 * MIN, 705)])
        gap = rows["ledger"][:rows_of_gap]
        assert {row["how"] for row in gap} == {"gap"}
        assert sum(row["quantity"] for row in gap) == 700
        assert gap[-1]["to_ms"] == T0 + wait
        assert rows["ledger"][rows_of_gap]["to_ms"] % GRID == 0


def test_rollover() -> None:
    """A register near its end that begins anew goes on counting; one that is not near it has dipped."""
    doc = meter(span=100_000)
    _, rows = feed(doc, [(T0, 99_990), (T0 + 15 * MIN, 20)])
    assert brief(rows["ledger"]) == [(0, 15, 30, "measured", "rollover")]
    assert [(row["code"], row["value"]) for row in rows["verdicts"]] == [("rollover", 20)]
    _, rows = feed(doc, [(T0, 90_000), (T0 + 15 * MIN, 20)])
    assert [row["code"] for row in rows["verdicts"]] == ["dip"]
    assert not rows["ledger"]


def test_an_implausible_rollover_is_a_dip() -> None:
    """The difference over a rollover has to be possible at twice the rated power as well."""
    doc = meter(span=100_000, rated="10")
    _, rows = feed(doc, [(T0, 99_990), (T0 + 15 * MIN, 20)])
    assert [row["code"] for row in rows["verdicts"]] == ["dip"]
    _, rows = feed(doc, [(T0, 99_999), (T0 + 15 * MIN, 4)])
    assert [row["code"] for row in rows["verdicts"]] == ["rollover"]


@pytest.mark.parametrize(("last", "next_one"), [(95_001, 0), (95_001, 400), (99_999, 0), (99_999, 95_000)])
def test_from_the_last_twentieth_a_rollover_counts_however_long_or_little(last: int, next_one: int) -> None:
    """Weeks of silence, a step of one unit and one of nearly the whole width: last minus first, over the end."""
    doc = meter(span=100_000, rated="40000")
    for silence in (15 * MIN, 21 * DAY):
        _, rows = feed(doc, [(T0, last), (T0 + silence, next_one), (T0 + silence + 15 * MIN, next_one)])
        over = next_one + 100_000 - last
        if over <= 2 * 40_000 * (silence + 15 * MIN) // HOUR:
            assert [row["code"] for row in rows["verdicts"]] == ["rollover"]
            assert sum(row["quantity"] for row in rows["ledger"]) == over
        else:
            assert [row["code"] for row in rows["verdicts"]] == ["dip", "dip"]


def test_a_rollover_from_below_the_last_twentieth_is_a_new_level() -> None:
    """After a long gap nothing tells it from a swap, so what was used over the end is not invented, and the flag is up."""
    doc = meter(span=100_000, rated="40000")
    later = T0 + 21 * DAY
    processor, rows = feed(doc, [(T0, 94_000), *((later + k * 15 * MIN, 400 + 10 * k) for k in range(4))])
    assert [row["code"] for row in rows["verdicts"]] == ["dip", "dip", "reset"]
    assert sum(row["quantity"] for row in rows["ledger"]) == 30
    assert state(processor)["flags"] & UNRECORDED


def test_a_glitch_loses_nothing() -> None:
    """A dip that recovers is set aside; the usage of the whole time is there when the register is back."""
    _, rows = feed(meter(), [(T0, 100), (T0 + 15 * MIN, 3), (T0 + 30 * MIN, 160)])
    assert brief(rows["ledger"]) == [(0, 15, 30, "measured", "reading"), (15, 30, 30, "measured", "reading")]
    assert [row["code"] for row in rows["verdicts"]] == ["dip"]


def test_a_new_level_after_three_readings() -> None:
    """Three readings in a row on a lower level make it the register: counted is what grew there, labelled as a gap."""
    readings = [(T0, 100), (T0 + 15 * MIN, 3), (T0 + 30 * MIN, 5), (T0 + 45 * MIN, 9), (T0 + 60 * MIN, 19)]
    _, rows = feed(meter(), readings)
    assert [row["code"] for row in rows["verdicts"]] == ["dip", "dip", "reset"]
    assert brief(rows["ledger"]) == [
        (0, 15, 2, "gap", "reset"), (15, 30, 2, "gap", "reset"), (30, 45, 2, "gap", "reset"), (45, 60, 10, "measured", "reading"),
    ]  # fmt: skip


def test_falling_again_begins_a_new_level() -> None:
    """Readings that keep falling are no level: the count of three starts anew with each lower one."""
    readings = [(T0, 100), (T0 + MIN, 9), (T0 + 2 * MIN, 8), (T0 + 3 * MIN, 7), (T0 + 4 * MIN, 7), (T0 + 5 * MIN, 8)]
    processor, rows = feed(meter(), readings)
    assert [row["code"] for row in rows["verdicts"]] == ["dip", "dip", "dip", "dip", "reset"]
    assert state(processor)["total"] == 1


def test_an_impossible_rate_waits_for_a_plausible_reading() -> None:
    """More than twice the rated power is set aside; its usage appears when the next reading makes it possible."""
    doc = meter(rated="100")  # 100 W: at most 50 Wh in a quarter, plus one interval of grace
    readings = [(T0, 0), (T0 + 15 * MIN, 100), (T0 + 30 * MIN, 500), (T0 + 60 * MIN, 150)]
    processor, rows = feed(doc, readings)
    assert [(row["code"], row["value"]) for row in rows["verdicts"]] == [("rate", 500)]
    assert state(processor)["total"] == 150
    assert sum(row["quantity"] for row in rows["ledger"]) == 150


def test_estimated_readings_are_labelled() -> None:
    """The worst way in which any part of an interval is known labels it."""
    doc = meter()
    log = [(T0, config(doc))]
    for minutes, value, quality in ((0, 0, "good"), (10, 10, "estimated"), (15, 15, "good"), (30, 30, "good")):
        time = T0 + minutes * MIN
        log.append((time, batch([(REGISTER, time, value, quality)])))
    _, rows = run(records(log), library(doc))
    assert [row["how"] for row in rows["ledger"]] == ["estimated", "measured"]


@pytest.mark.parametrize("value", [0, 100, 57])
def test_repeats_and_late_readings(value: int) -> None:
    """An exact repeat is nothing; another value at the same time, or any value before it, marks the span as dirty, once."""
    doc = meter()
    log = [(T0, config(doc)), (T0, batch([(REGISTER, T0, 100)])), (T0 + HOUR, batch([(REGISTER, T0 + HOUR, 160)]))]
    log += [
        (T0 + HOUR, batch([(REGISTER, T0 + HOUR, 160)])),
        (T0 + HOUR, batch([(REGISTER, T0 + 30 * MIN, value)])),
    ] * 2
    log += [(T0 + HOUR, batch([(REGISTER, T0 + HOUR, value)]))]
    processor, rows = run(records(log), library(doc))
    assert [(row["code"], row["time_ms"]) for row in rows["verdicts"]] == [("late", T0 + 30 * MIN)]
    assert [int(processor.state.scalars[place]) for place in (3, 4)] == [2, 3]
    assert (state(processor)["dirty_from"], state(processor)["dirty_to"]) == (T0 + 30 * MIN, T0 + HOUR)
    assert sum(row["quantity"] for row in rows["ledger"]) == 60


def test_backfill_moves_the_ledger_and_not_the_facts() -> None:
    """Backfilled readings make the same rows, and rules do not see them."""
    readings = [(T0 + place * 15 * MIN, place * 10) for place in range(5)]
    live, rows = feed(meter(), readings)
    back, others = feed(meter(), readings, "backfill")
    strip = ("offset", "known_at")
    assert [{k: v for k, v in row.items() if k not in strip} for row in rows["ledger"]] == [
        {k: v for k, v in row.items() if k not in strip} for row in others["ledger"]
    ]
    assert state(live)["fact_time"] == state(live)["clock"] == state(back)["clock"]
    assert state(back)["fact_time"] < 0


def test_another_interval_goes_on_without_holes() -> None:
    """A document with other intervals moves the open one to the new grid; rows tile across it, also from and to by hand."""
    versions = [meter(), meter(interval_s=86_400), meter(interval_s=900), meter(rated="999999")]
    versions[3] = document([point(REGISTER, kind="register", role="energy", unit="Wh", interval_s=300)], interval_s=300)
    log, time, value = [(T0, config(versions[0]))], T0, 0
    for place, doc in enumerate(versions):
        if place:
            log.append((time, config(doc, place + 1, versions[place - 1].sha256)))
        for _ in range(7):
            time, value = time + 7 * MIN, value + 13
            log.append((time, batch([(REGISTER, time, value)])))
    processor, rows = run(records(log), library(*versions))
    tiled(rows["ledger"], T0 + 7 * MIN)
    now = state(processor)
    assert sum(row["quantity"] for row in rows["ledger"]) + now["total"] - now["settled"] == value - 13
    assert all(row["quantity"] > 0 for row in rows["ledger"])
    last = [row for row in rows["ledger"] if row["known_at"] > time - 20 * MIN]
    assert all(row["to_ms"] % (5 * MIN) == 0 for row in last)
    assert last


def test_limits_of_a_document_are_bounded() -> None:
    """A gap over many thousand intervals stays one row whatever the document's limits say: rows of a reading have to have room."""
    doc = meter(limits={"spread_ms": 10**15, "spread_intervals": 10**9})
    _, rows = feed(doc, [(T0, 0), (T0 + 200 * GRID, 200), (T0 + 900 * GRID, 1600)])
    assert [row["quantity"] for row in rows["ledger"]] == [1] * 200 + [1400]


@patient(max_examples=25)
@given(st.lists(st.tuples(st.sampled_from([0, 1, MIN, HOUR, 2 * DAY]), st.integers(-(1 << 53), 1 << 53)), max_size=20))
def test_deltas_go_to_the_ledger_as_they_are(found: list[tuple[int, int]]) -> None:
    """Every delta is one row at its native length, signed, ending at its time; what is at or behind the clock is late or a repeat."""
    doc = document([point(1, kind="delta", role="water", unit="L", interval_s=3600)])
    log, time = [(T0, config(doc))], T0
    kept: dict[int, int] = {}
    for wait, value in found:
        time += wait
        kept.setdefault(time, value)
        log.append((time, batch([(1, time, value)])))
    _, rows = run(records(log), library(doc))
    assert [(row["from_ms"], row["to_ms"], row["quantity"]) for row in rows["ledger"]] == [
        (time - HOUR, time, value) for time, value in kept.items()
    ]
    assert {row["how"] for row in rows["ledger"]} <= {"measured"}
    assert {row["code"] for row in rows["verdicts"]} <= {"late"}


def test_ticks_alone_make_no_rows() -> None:
    """A row appears when its point's own clock reaches the end of the interval, not when time passes."""
    doc = meter()
    log = [(T0, config(doc)), (T0, batch([(REGISTER, T0, 5)])), *((T0 + minute * MIN, tick()) for minute in range(60))]
    processor, rows = run(records(log), library(doc))
    assert not any(rows.values())
    assert processor.clock_ms == T0 + 59 * MIN


def test_zeros_that_cannot_be_true_are_no_new_level() -> None:
    """A file that writes 0 for what it does not know, for as long as it likes: when the register is back nothing is lost."""
    values = [5000, 5010, *[0] * 40, 5430, 5440]
    processor, rows = feed(meter(), [(T0 + place * GRID, value) for place, value in enumerate(values)])
    assert [row["code"] for row in rows["verdicts"]] == ["dip"] * 2 + ["zero_run"] * 38
    now = state(processor)
    assert sum(row["quantity"] for row in rows["ledger"]) + now["total"] - now["settled"] == 5440 - 5000


def test_a_register_that_was_reset_to_zero_counts_from_zero() -> None:
    """It stands at 0 for a night and then moves: what it has counted since the reset is there, to the unit."""
    values = [5000, 5010, *[0] * 20, 7, 12]
    processor, rows = feed(meter(), [(T0 + place * GRID, value) for place, value in enumerate(values)])
    assert [row["code"] for row in rows["verdicts"]] == ["dip"] * 2 + ["zero_run"] * 18 + ["reset"]
    now = state(processor)
    assert sum(row["quantity"] for row in rows["ledger"]) + now["total"] - now["settled"] == 10 + 12
