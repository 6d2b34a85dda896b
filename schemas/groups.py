"""Rows and groups of rows in flat arrays: where groups begin, which rows are equal, which come first."""

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Longs: TypeAlias = NDArray[np.int64]
Ints: TypeAlias = NDArray[np.int32]


def starts(sizes: ArrayLike) -> Ints:
    """Where groups of these sizes begin, one after another, and the end of the last one."""
    lengths = np.asarray(sizes, np.int64)
    found = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=found[1:])
    return found


def gathered(start: NDArray[np.generic], chosen: NDArray[np.generic]) -> tuple[Longs, Longs]:
    """Places of the members of some groups, and how many each group has.

    Args:
        start: of all groups, which lie one after another, and the end of the last one.
        chosen: numbers of groups.
    """
    bounds = start.astype(np.int64)
    lengths = np.diff(bounds)[chosen]
    return np.repeat(bounds[:-1][chosen], lengths) + within(lengths), lengths


def within(lengths: Longs) -> Longs:
    """0, 1, 2 … inside of each group of some lengths, one after another."""
    return np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def codes_of(*columns: NDArray[np.generic]) -> Longs:
    """A number for every row of some columns of one length, equal where the rows are."""
    found: Longs = np.zeros(len(columns[0]) if columns else 0, np.int64)
    for column in columns:
        if len(column) and (column == column[0]).all():
            continue
        values, places = np.unique(column, return_inverse=True)
        # Before it grows out of int64, what there is of it is numbered again.
        if len(values) and found.max(initial=0) >= (1 << 62) // len(values):
            found = np.unique(found, return_inverse=True)[1].astype(np.int64)
        found = found * len(values) + places
    return found


def first_seen(codes: NDArray[np.generic]) -> tuple[Longs, Longs]:
    """(place at which each different value comes first, in that order; the number of that value, by place)."""
    _, firsts, inverse = np.unique(codes, return_index=True, return_inverse=True)
    order = np.argsort(firsts, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return firsts[order].astype(np.int64), rank[inverse]
