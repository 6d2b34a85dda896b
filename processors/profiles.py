"""How a long gap is spread: by the point's own profile of like days, in integers, so that the sum is exact.

`schemas.model.days` says which days are alike. The profile is the mean of what was measured in each slot of the local
day over the like days of the four weeks before the gap, or, where there is none, of the four weeks after it. A point
that has no like day there, or used nothing in them, is spread evenly. Only what was measured counts, so a gap is never
spread by another.
"""

import bisect
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from processors.kernels.rows import Longs
from processors.layout import DAY_MS, REGISTER, Layout
from processors.state import HOW_ESTIMATED, HOW_GAP, HOW_MEASURED, HOW_PROFILED
from schemas.model.days import Days

DAYS: Final = 28
_SCALE: Final = 1 << 20

Piece = tuple[int, int]
"""(from, to], UTC ms."""


def spread(rows: Longs, layout: Layout) -> Longs:
    """Cuts the rows of long gaps at the grid and shares them out.

    Args:
        rows: ledger rows (point, to, from, how, quantity) of whole points of one site, ascending.
        layout: of the site.

    Returns:
        The rows, ascending; those that were spread are `profiled`.
    """
    meta = layout.arrays.meta
    places = np.flatnonzero(is_long(rows, layout) & ((rows[:, 3] == HOW_GAP) | (rows[:, 3] == HOW_ESTIMATED)))
    if not len(places):
        return rows
    long = np.zeros(len(rows), bool)
    long[places] = True
    days = Days(layout.documents[layout.sites[0]])
    made = [rows[~long]]
    for index in places:
        point, to_ms, from_ms, _, quantity = (int(x) for x in rows[index])
        grid = int(meta["grid_ms"][layout.arrays.number_row[point]])
        first, last = np.searchsorted(rows[:, 0], [point, point + 1])
        pieces = _pieces(from_ms, to_ms, grid)
        shares = _shares(quantity, pieces, _profile(rows[first:last], pieces, grid, days), grid, days)
        piece = np.zeros((len(pieces), rows.shape[1]), np.int64)
        piece[:, 0], piece[:, 3] = point, HOW_PROFILED
        piece[:, 2], piece[:, 1] = np.array(pieces, np.int64).T
        piece[:, 4] = shares
        made.append(piece)
    whole = np.concatenate(made)
    return np.ascontiguousarray(whole[np.lexsort(whole[:, :4].T[::-1])])


def is_long(rows: Longs, layout: Layout) -> NDArray[np.bool_]:
    """Which ledger rows are of a register that is read often, and longer than its grid.

    Most rows are not longer than the smallest grid of the site, so few are looked up.
    """
    meta, known = layout.arrays.meta, layout.arrays.number_row
    found = rows[:, 1] - rows[:, 2] > int(meta["grid_ms"].min(initial=DAY_MS))
    places = np.flatnonzero(found)
    own = known[np.minimum(rows[places, 0], len(known) - 1)]
    info = meta[np.maximum(own, 0)]
    found[places] = (own >= 0) & (info["kind"] == REGISTER) & (info["interval_ms"] < DAY_MS)
    found[places] &= rows[places, 1] - rows[places, 2] > info["grid_ms"]
    return found


def _pieces(from_ms: int, to_ms: int, grid: int) -> list[Piece]:
    """A span cut at the grid."""
    inner = list(range((from_ms // grid + 1) * grid, to_ms, grid))
    return list(zip([from_ms, *inner], [*inner, to_ms], strict=True))


def _profile(rows: Longs, pieces: list[Piece], grid: int, days: Days) -> dict[tuple[str, int], int]:
    """(kind of day, slot of the local day) → mean of what was measured in it, times `_SCALE`."""
    from_ms, to_ms = pieces[0][0], pieces[-1][1]
    measured = rows[(rows[:, 3] == HOW_MEASURED) & (rows[:, 1] - rows[:, 2] == grid)]
    ends = measured[:, 1].tolist()
    wanted = {days.place(start)[0] for start, _ in pieces}
    found: dict[tuple[str, int], int] = {}
    before = (bisect.bisect_left(ends, from_ms - DAYS * DAY_MS), bisect.bisect_right(ends, from_ms))
    after = (bisect.bisect_right(ends, to_ms), bisect.bisect_right(ends, to_ms + DAYS * DAY_MS))
    for first, last in (before, after):
        sums: dict[tuple[str, int], list[int]] = {}
        for start, quantity in zip(measured[first:last, 2].tolist(), measured[first:last, 4].tolist(), strict=True):
            kind, within = days.place(start)
            if kind in wanted:
                entry = sums.setdefault((kind, within // grid), [0, 0])
                entry[0] += quantity
                entry[1] += 1
        kinds = {kind for kind, _ in sums}
        found |= {key: total * _SCALE // count for key, (total, count) in sums.items()}
        wanted -= kinds
    return found


def _shares(
    quantity: int, pieces: list[Piece], profile: Mapping[tuple[str, int], int], grid: int, days: Days
) -> list[int]:
    """What each piece gets: differences of floor(quantity * weight so far / whole weight), so that they sum to it."""
    weights = []
    kinds = {kind for kind, _ in profile}
    for start, end in pieces:
        kind, within = days.place(start)
        weights.append((end - start) * profile.get((kind, within // grid), 0) if kind in kinds else 0)
    if not sum(weights) or any(days.place(start)[0] not in kinds for start, _ in pieces):
        weights = [end - start for start, end in pieces]
    whole, so_far, given = sum(weights), 0, 0
    shares = []
    for weight in weights:
        so_far += weight
        now = quantity * so_far // whole
        shares.append(now - given)
        given = now
    return shares
