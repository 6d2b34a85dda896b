"""Every row of any history is what the oracle says."""

import random
from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from processors.state import LATE, READINGS, REPEATS
from schemas.model.document import Document
from tests.processors.logs import (
    CHANGED,
    DOCUMENTS,
    FIRST,
    HAND,
    LIGHT,
    MAIN,
    RECENT,
    busy,
    eventful,
    logs,
    said,
    site,
)
from tests.processors.world import MIN, T0, Record, batch, comparable, config, library, records, run
from tests.support.oracle.engine import Oracle
from tests.support.patience import patient

FALLS = site(CHANGED, limits={"outage_ms": 10**12, "dips": 2})


def compare(log: Sequence[Record], documents: Mapping[bytes, Document]) -> dict[str, int]:
    """Runs both, holds the rows of every stream and the counters against each other; how many rows there are."""
    processor, rows = run(log, documents)
    oracle = Oracle("meter.readings", 0, documents)
    for record in log:
        oracle.feed(*record)
    found = comparable(rows)
    for stream, expected in oracle.rows.items():
        assert found[stream] == expected, stream
    scalars, counts = processor.state.scalars, oracle.counts
    assert [int(scalars[place]) for place in (READINGS, REPEATS, LATE)] == [
        counts["readings"], counts["repeats"], counts["late"]
    ]  # fmt: skip
    return {stream: len(listed) for stream, listed in found.items()}


@patient(max_examples=150)
@given(logs())
def test_rows_of_any_history(log: list[Record]) -> None:
    """Ledger, gauges, alerts, verdicts and rejects of any history are the oracle's, row by row, and so are the counters."""
    compare(log, library(FIRST))


@patient(max_examples=28)
@given(st.integers(0, 10**9))
def test_rows_of_a_busy_day(seed: int) -> None:
    """The same for hours of sensors on their beat, with late gateways, repeats, faults and outages."""
    counts = compare(records([(T0, config(FIRST)), *busy(seed)]), library(FIRST))
    assert counts["ledger"] and counts["gauges"]


@patient(max_examples=20)
@given(st.integers(0, 10**9))
def test_rows_across_documents(seed: int) -> None:
    """The same for two sites in one partition, bad messages in between, and documents that replace each other."""
    counts = compare(eventful(seed), DOCUMENTS)
    assert counts["rejected"]


@patient(max_examples=24)
@given(st.integers(0, 10**9))
def test_ages_bounded_from_above(seed: int) -> None:
    """A rule that wants a role to be fresh is looked at when the role is read again, also when its value is the same."""
    fresh = site(RECENT, limits={"outage_ms": 10**12})
    compare(records([(T0, config(fresh)), *busy(seed, 120)]), library(fresh))


def falling(seed: int) -> list[Record]:
    """A day of a register that falls now and then, live or imported, and of what is told of it."""
    chance, level, log = random.Random(seed), 5000, [(T0, config(FALLS))]
    for step in range(96):
        now = T0 + step * 15 * MIN
        level += chance.randrange(40)
        if chance.random() < 0.1:
            level = chance.choice([0, 3, 90, level // 2])
        mode = "backfill" if chance.random() < 0.2 else "live"
        readings = [(MAIN, now, level), (HAND, now, 4 * level), (LIGHT, now, chance.choice([0, 60_000]))]
        log.append((now + 1000, batch(readings[: chance.choice([1, 3, 3])], mode=mode, base_ms=now)))
        if chance.random() < 0.1:
            log.append((now + 1000, said(chance, now, {MAIN: level, HAND: 4 * level})))
    return records(log)


@patient(max_examples=40)
@given(st.integers(0, 10**9))
def test_meters_that_changed_without_a_record(seed: int) -> None:
    """A register that fell raises what looks at it, unless it was imported, and the fact ends it."""
    compare(falling(seed), library(FALLS))
