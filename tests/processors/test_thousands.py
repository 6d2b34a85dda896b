"""What `make test` tries with a few dozen histories, with thousands; `make fault` runs it."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.processors import test_law, test_lookback, test_meters, test_oracle, test_settle
from tests.processors.logs import logs
from tests.support.patience import patient

SEED = st.integers(0, 10**9)
PROMISES: list[tuple[int, Callable[..., None], tuple[st.SearchStrategy[Any], ...]]] = [
    (3000, test_oracle.test_rows_of_any_history, (logs(),)),
    (1000, test_oracle.test_rows_of_any_history, (logs(150),)),
    (2000, test_oracle.test_rows_of_a_busy_day, (SEED,)),
    (1000, test_oracle.test_rows_across_documents, (SEED,)),
    (2000, test_oracle.test_ages_bounded_from_above, (SEED,)),
    (2000, test_oracle.test_meters_that_changed_without_a_record, (SEED,)),
    (200, test_lookback.test_rows_of_any_days, (SEED,)),
    (300, test_law.test_cuts_takes_and_snapshots_change_nothing, (SEED, SEED)),
    (300, test_law.test_suppressed_outputs_count, (SEED,)),
    (300, test_law.test_a_full_buffer_changes_nothing, (SEED,)),
    (1000, test_meters.test_nothing_is_invented_and_nothing_lost, (test_meters.MOVES, st.sampled_from([900, 86_400]))),
    (1000, test_settle.test_any_order_of_arrival, (st.data(),)),
    (1000, test_settle.test_facts_and_readings_in_any_order, (st.data(),)),
]
"""(examples, promise, what it is of)."""


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("examples", "promise", "histories"), PROMISES)
def test_thousands(examples: int, promise: Any, histories: tuple[st.SearchStrategy[Any], ...]) -> None:
    """What fails is printed as the smallest example that breaks it."""
    patient(max_examples=examples)(given(*histories)(promise.hypothesis.inner_test))()
