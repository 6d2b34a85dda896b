"""Spans and the levels that they add up to."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ganzhi.demo.spans import Levels, Spans

COLUMNS = 3
SPAN = st.tuples(st.integers(0, COLUMNS - 1), st.integers(-50, 300), st.integers(-50, 300), st.integers(1, 5))


def _spans(listed: list[tuple[int, int, int, int]]) -> Spans:
    return Spans.of(*np.asarray(listed, np.int64).reshape(-1, 4).T)


def _level(listed: list[tuple[int, int, int, int]], column: int, time_s: int) -> int:
    return sum(amount for at, start_s, end_s, amount in listed if at == column and start_s <= time_s < end_s)


@given(st.lists(SPAN, max_size=20), st.integers(1, 40))
def test_matrix_is_the_sum_of_spans(listed: list[tuple[int, int, int, int]], step_s: int) -> None:
    """Each cell is the sum of the spans that hold at its time."""
    found = _spans(listed).matrix(COLUMNS, 0, step_s, 7)
    expected = [[_level(listed, column, row * step_s) for column in range(COLUMNS)] for row in range(7)]
    assert found.tolist() == expected


@given(st.lists(SPAN, max_size=20), st.lists(SPAN, max_size=20), st.lists(st.integers(0, 60), max_size=8))
def test_levels_move_forward_as_the_matrix_does(
    first: list[tuple[int, int, int, int]], more: list[tuple[int, int, int, int]], moves: list[int]
) -> None:
    """Wherever the clock stops, and whenever spans are added, the levels are the sums at that time."""
    levels, time_s = Levels(COLUMNS), 0
    levels.add(_spans(first))
    for i, move in enumerate(moves):
        if i == 2:
            levels.add(_spans(more))
        time_s += move
        levels.advance(time_s)
        listed = first + (more if i >= 2 else [])
        assert levels.now.tolist() == [_level(listed, column, time_s) for column in range(COLUMNS)]
