"""Every row of any history is what the oracle says."""

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from processors.state import LATE, READINGS, REPEATS
from schemas.model.document import Document
from tests.processors.logs import DOCUMENTS, FIRST, RECENT, busy, eventful, logs, site
from tests.processors.world import T0, Record, comparable, config, library, records, run
from tests.support.oracle.engine import Oracle
from tests.support.patience import patient


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


@patient(max_examples=60)
@given(logs())
def test_rows_of_any_history(log: list[Record]) -> None:
    """Ledger, gauges, alerts, verdicts and rejects of any history are the oracle's, row by row, and so are the counters."""
    compare(log, library(FIRST))


@patient(max_examples=8)
@given(st.integers(0, 10**9))
def test_rows_of_a_busy_day(seed: int) -> None:
    """The same for hours of sensors on their beat, with late gateways, repeats, faults and outages."""
    counts = compare(records([(T0, config(FIRST)), *busy(seed)]), library(FIRST))
    assert counts["ledger"] and counts["gauges"]


@patient(max_examples=8)
@given(st.integers(0, 10**9))
def test_rows_across_documents(seed: int) -> None:
    """The same for two sites in one partition, bad messages in between, and documents that replace each other."""
    counts = compare(eventful(seed), DOCUMENTS)
    assert counts["rejected"]


@patient(max_examples=8)
@given(st.integers(0, 10**9))
def test_ages_bounded_from_above(seed: int) -> None:
    """A rule that wants a role to be fresh is looked at when the role is read again, also when its value is the same."""
    fresh = site(RECENT, limits={"outage_ms": 10**12})
    compare(records([(T0, config(fresh)), *busy(seed, 120)]), library(fresh))
