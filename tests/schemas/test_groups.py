"""Groups of rows: what numpy finds at once is what a loop finds one by one."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from schemas.groups import codes_of, first_seen, gathered, starts, within

SMALL = st.integers(-3, 3)
LARGE = st.integers(-(1 << 62), 1 << 62)


@given(st.lists(st.tuples(SMALL, LARGE | SMALL, SMALL, LARGE), max_size=30), st.integers(0, 4))
def test_equal_rows_have_equal_codes(rows: list[tuple[int, ...]], copies: int) -> None:
    """And others have others, also where the numbers of many columns would not fit in one."""
    columns = np.array(rows, np.int64).reshape(-1, 4)
    codes = codes_of(*columns.T, *columns.T[:copies])
    for one, code in zip(rows, codes.tolist(), strict=True):
        assert [code == other for other in codes.tolist()] == [one == other for other in rows]


def test_many_columns_of_many_values_fit() -> None:
    """Seven columns of a thousand values each are 2^70 rows, if all of them were there."""
    columns = np.random.default_rng(1).permuted(np.tile(np.arange(1000), (7, 1)), axis=1)
    assert len(np.unique(codes_of(*columns))) == 1000


@given(st.lists(SMALL, max_size=30))
def test_numbers_are_given_in_the_order_of_coming(values: list[int]) -> None:
    """As a dict does."""
    known: dict[int, int] = {}
    numbers = [known.setdefault(value, len(known)) for value in values]
    firsts, found = first_seen(np.array(values, np.int64))
    assert found.tolist() == numbers
    assert [values[place] for place in firsts.tolist()] == list(known)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=10), st.data())
def test_members_of_groups(sizes: list[int], data: st.DataObject) -> None:
    """Those of the groups that are asked for, in that order, as often as they are."""
    start = starts(sizes)
    chosen = data.draw(st.lists(st.integers(0, len(sizes) - 1), max_size=10))
    places, lengths = gathered(start, np.array(chosen, np.int64))
    assert places.tolist() == [place for one in chosen for place in range(start[one], start[one + 1])]
    assert lengths.tolist() == [sizes[one] for one in chosen]
    assert within(lengths).tolist() == [place for one in chosen for place in range(sizes[one])]
