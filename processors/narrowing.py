"""How much of a point's history a settlement computes: from shortly before its first late reading to after its last.

What came in order before the first late reading leaves the live run and the settled one in the same state, and what
comes in order after the last one leaves them so once they have met. So both runs may start at a reading before the
first, and stop at one after the last, if three things hold, which are looked at and not assumed: enough came before
that nothing of how the run began is left in the open interval; both runs end in the same state, or with the last
reading of the point; and no gap has to be spread, for which weeks around it are needed. Rows at the start of the window
may differ from those that were published, but they are the same in both runs, and only differences are published. A
point for which one of the three fails is computed as a whole.
"""

import dataclasses
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from processors.arrivals import Arrivals, Readings
from processors.kernels.rows import Longs
from processors.kernels.settle import SEEN_LATE
from processors.layout import DAY_MS, Layout
from processors.profiles import is_long
from processors.state import FAR, NEVER

_MARGIN: Final = 4
"""intervals before and after"""

Flags = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class Windows:
    """What is to be read of each point of a site, by its number.

    Attributes:
        bounds: from when to when; FAR to NEVER: nothing.
        narrow: whether that is only a part of its history.
        late_ms: time of the earliest late reading.
        ends: whether the window holds the point's newest reading.
    """

    bounds: Longs
    narrow: Flags
    late_ms: Longs
    ends: Flags

    def whole(self, numbers: NDArray[np.int64]) -> "Windows":
        """All of the history of these points, and nothing of others."""
        bounds = np.tile(np.array([[FAR, NEVER]], np.int64), (len(self.bounds), 1))
        bounds[numbers] = [NEVER, FAR]
        return Windows(bounds, np.zeros(len(bounds), bool), self.late_ms, np.ones(len(bounds), bool))


def windows(arrivals: Arrivals, site: str, wanted: Flags) -> Windows:
    """What a settlement has to read of the points of a site.

    Args:
        arrivals: at the settlement.
        site: whose points.
        wanted: by number of point.
    """
    layout = arrivals.versions[site][-1].layout
    rows = layout.arrays.number_row
    grid, interval = (_by_number(layout, name, len(wanted)) for name in ("grid_ms", "interval_ms"))
    known = np.zeros(len(wanted), bool)
    known[: len(rows)] = rows[: len(wanted)] >= 0
    narrow = wanted & known & (arrivals.seen(site) == SEEN_LATE)
    late, margin = arrivals.late(site), _MARGIN * np.maximum(grid, interval)
    bounds = np.tile(np.array([[FAR, NEVER]], np.int64), (len(wanted), 1))
    bounds[wanted] = [NEVER, FAR]
    bounds[narrow, 0] = late[narrow, 0] - margin[narrow]
    bounds[narrow, 1] = late[narrow, 1] + margin[narrow]
    return Windows(bounds, narrow, late[:, 0], arrivals.newest(site) <= bounds[:, 1])


def _by_number(layout: Layout, name: str, count: int) -> Longs:
    rows = layout.arrays.number_row[:count]
    found = np.full(count, DAY_MS, np.int64)
    found[: len(rows)] = np.where(rows >= 0, layout.arrays.meta[name][np.maximum(rows, 0)], DAY_MS)
    return found


def doubtful(
    window: Windows, block: Readings, layout: Layout, ledgers: tuple[Longs, Longs], ends: tuple[NDArray[Any], ...]
) -> NDArray[np.int64]:
    """Points of a block whose window was too narrow.

    Args:
        window: that was read.
        block: whole points, in the order of arrival.
        layout: the newest of the site.
        ledgers: ledger rows of both runs.
        ends: `Runner.ends` of both runs, for the points of the block in the order of their numbers.

    Returns:
        Their numbers.
    """
    starts = np.flatnonzero(np.diff(block.numbers, prepend=-1))
    numbers = block.numbers[starts].astype(np.int64)
    narrow = window.narrow[numbers]
    if not narrow.any():
        return numbers[:0]
    grid = _by_number(layout, "grid_ms", len(window.narrow))[numbers]
    early = block.times < window.late_ms[block.numbers]
    first = np.minimum.reduceat(block.times, starts)
    last = np.maximum.reduceat(np.where(early, block.times, NEVER), starts)
    warm = (np.add.reduceat(early.astype(np.int64), starts) > 1) & (last // grid * grid - grid >= first)
    met = window.ends[numbers] | (ends[0] == ends[1])
    spread = np.isin(numbers, np.concatenate([rows[is_long(rows, layout), 0] for rows in ledgers]))
    found: NDArray[np.int64] = numbers[narrow & ~(warm & met & ~spread)]
    return found
