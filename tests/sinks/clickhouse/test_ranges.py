"""Ranges as text, and the order of rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import SinkError
from sinks.clickhouse.ranges import TEXT_BYTES_MAX, Range, cut, distinct, parse
from sinks.clickhouse.sorting import last_of_runs, order_of

PLACE = st.tuples(st.sampled_from(["meter.readings", "ledger", "alert.actions", "tasks"]), st.integers(0, 400))
SPANS = st.dictionaries(
    PLACE, st.tuples(st.integers(0, 1 << 62), st.integers(0, 1 << 30)).map(lambda s: (s[0], s[0] + s[1])), max_size=600
)


@given(SPANS, st.integers(0, 1 << 42))
@settings(max_examples=60, deadline=None)
def test_text_and_back(spans: dict[tuple[str, int], tuple[int, int]], opened_ms: int) -> None:
    """Ranges hold all spans once, fit into the broker's metadata, and are read as they were written."""
    ranges = cut(spans, opened_ms)
    together = [item for range_ in ranges for item in range_.spans.items()]
    assert sorted(together) == sorted((place, span) for place, span in spans.items() if span[1] > span[0])
    for range_ in ranges:
        assert len(range_.text) <= TEXT_BYTES_MAX
        assert parse(range_.text) == range_
    assert {r.identity for r in distinct([r.text for r in ranges] * 2 + [""])} == {r.identity for r in ranges}


def test_token_names_everything() -> None:
    """Another range, table, content or encoder is another token; another time of opening is not."""
    base = Range({("ledger", 0): (5, 9)}, 1)
    same = Range({("ledger", 0): (5, 9)}, 2)
    assert base.token("ledger", b"c") == same.token("ledger", b"c")
    others = [
        Range({("ledger", 0): (5, 10)}, 1),
        Range({("ledger", 1): (5, 9)}, 1),
        Range({("ledger", 0): (5, 9)}, 1, 0),
    ]
    tokens = {
        base.token("ledger", b"c"),
        base.token("gauges", b"c"),
        base.token("ledger", b"d"),
        *(o.token("ledger", b"c") for o in others),
    }
    assert len(tokens) == 6


@pytest.mark.parametrize(
    "text", ["x", "2 e1 t1 ledger=0:1+2", "1 e1 t1", "1 e1 t1 ledger", "1 e1 t1 ledger=a:1+2", "1 e1 t1 ledger=0:1"]
)
def test_foreign_text_is_refused(text: str) -> None:
    """Metadata of another program or release is an error, never an empty range."""
    with pytest.raises(SinkError):
        parse(text)


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_order_is_a_stable_sort(data: st.DataObject) -> None:
    """The counting sort gives what a stable sort gives, for few rows and for many, however they come."""
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 32)))
    n = data.draw(st.sampled_from([0, 1, 100, 4097, 20_000]))
    major, minor = (
        rng.integers(0, data.draw(st.sampled_from([1, 5, 1 << 30])), n),
        rng.integers(0, data.draw(st.sampled_from([1, 300, 1 << 32])), n),
    )
    time = np.sort(rng.integers(0, 50, n)) if data.draw(st.booleans()) else rng.integers(-(1 << 60), 1 << 60, n)
    order = order_of(major, minor, time)
    assert (order == np.lexsort((time, minor, major))).all()
    last = last_of_runs(major[order], minor[order])
    pairs = list(zip(major[order].tolist(), minor[order].tolist(), strict=True))
    assert [pairs[i] for i in last] == sorted(set(pairs))
