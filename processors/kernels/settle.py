"""Kernels of settlement: which points a log holds in order, their readings by point, and what differs between two runs.

All are linear in their input; readings that come in any order are counted into place, not compared.
"""

import numpy as np
from numpy.typing import NDArray

from processors.kernels.jit import kernel
from processors.kernels.registers import plausible
from processors.kernels.rows import Longs
from processors.kernels.step import YEAR_2000_MS
from processors.layout import DAY_MS, FUTURE_MS, REGISTER, SPREAD_INTERVALS, SPREAD_MS, LayoutArrays
from processors.state import NEVER

SEEN_LATE = 1
"""A reading at or behind another one of its point, and not the same."""
SEEN_GAP = 2
"""A register was silent for longer than its rows are spread over."""
SEEN_MODEL = 4
"""What the document says of the point has changed."""

SEEN_ODD = 8
"""A register fell or leapt, so that a reading may have been set aside."""
SEEN_FACT = 16
"""A meter fact is about it."""

LEDGER_KEY = 4
"""Columns of a compared ledger row: point, to, from, how; then its quantity."""
GAUGE_KEY = 3
"""Columns of a compared gauge row: point, to, from; then its figures."""


@kernel
def arrivals(
    messages: Longs,
    gateways: NDArray[np.int32],
    count: int,
    rows: NDArray[np.int32],
    times: Longs,
    values: Longs,
    qualities: NDArray[np.int8],
    timestamps: Longs,
    live: bool,
    clock: int,
    layout: LayoutArrays,
    bounds: Longs,
    last_time: Longs,
    last_value: Longs,
    last_quality: NDArray[np.int8],
    seen: NDArray[np.int8],
    gaps: Longs,
    late: Longs,
    out: Longs,
) -> tuple[int, int]:
    """Looks at the readings of resolved messages as `step` does before it applies them.

    Those that the log holds for good are those that are not rejected and lie in the range of their point.

    Args:
        messages: of `decode`; `count` rows of it, resolved into `gateways` and `rows`.
        gateways: of `resolve`.
        count: messages.
        rows: of `resolve`.
        times: by reading, and so the next two.
        values: in the points' units.
        qualities: 0 is good.
        timestamps: by record of the slab.
        live: whether the log's time moves the clock.
        clock: the task's clock before the messages.
        layout: indices.
        bounds: by place of a point (`layout.number_start` of its site plus its number): from when to when its readings
            go to `out`.
        last_time: by place, of the newest reading; kept from call to call, and so the next three.
        last_value: its value.
        last_quality: its quality.
        seen: SEEN_* flags.
        gaps: start and end of the span in which long gaps wait to be spread.
        late: time of the earliest late reading, and of the newest reading when the last late one came.
        out: gets (place, time, value, quality); room for every reading.

    Returns:
        (rows in `out`, clock after the messages).
    """
    found = 0
    for m in range(count):
        stamp = timestamps[messages[m, 0]]
        if live and stamp > clock:
            clock = stamp
        if messages[m, 1] != 0 or gateways[m] == -1:
            continue
        first = messages[m, 7]
        for k in range(first, first + messages[m, 8]):
            row = rows[k]
            time = times[k]
            value = values[k]
            if row < 0 or time < YEAR_2000_MS:
                continue
            info = layout.meta[row]
            limits = layout.limits[info.site]
            if time > clock + limits[FUTURE_MS] or value < info.low or value > info.high:
                continue
            place = layout.number_start[info.site] + info.number
            newest = last_time[place]
            quality = qualities[k]
            if time > newest:
                if newest != NEVER and info.kind == REGISTER and info.interval_ms < DAY_MS:
                    silent = time - newest
                    step = value - last_value[place]
                    if step < 0 or not plausible(step, silent, info):
                        seen[place] |= SEEN_ODD
                    if silent > limits[SPREAD_MS] or silent > limits[SPREAD_INTERVALS] * info.grid_ms:
                        seen[place] |= SEEN_GAP
                        gaps[place, 0] = min(gaps[place, 0], newest)
                        gaps[place, 1] = max(gaps[place, 1], time)
                last_time[place] = time
                last_value[place] = value
                last_quality[place] = quality
            elif time != newest or value != last_value[place] or quality != last_quality[place]:
                seen[place] |= SEEN_LATE
                late[place, 0] = min(late[place, 0], time)
                late[place, 1] = newest
            if bounds[place, 0] <= time <= bounds[place, 1]:
                out[found, 0] = place
                out[found, 1] = time
                out[found, 2] = value
                out[found, 3] = quality
                found += 1
    return found, clock


@kernel
def count_places(places: NDArray[np.int32], starts: Longs) -> None:
    """Fills `starts` [places + 1] with where the readings of each place begin once they are sorted by place."""
    for k in range(len(places)):
        starts[places[k] + 1] += 1
    for place in range(1, len(starts)):
        starts[place] += starts[place - 1]


@kernel
def order_by_place(places: NDArray[np.int32], next_at: Longs, order: Longs) -> None:
    """Fills `order`: the readings by place, within one in the order of arrival. `next_at` is used up."""
    for k in range(len(places)):
        place = places[k]
        order[next_at[place]] = k
        next_at[place] += 1


@kernel
def rising(times: Longs) -> bool:
    """Whether each time is after the one before it."""
    for k in range(1, len(times)):  # noqa: SIM110  a kernel has no generators
        if times[k] <= times[k - 1]:
            return False
    return True


@kernel
def _compare(a: Longs, i: int, b: Longs, j: int, keys: int) -> int:
    for column in range(keys):
        if a[i, column] != b[j, column]:
            return -1 if a[i, column] < b[j, column] else 1
    return 0


@kernel
def is_sorted(rows: Longs, keys: int) -> bool:
    """Whether rows ascend by their first columns."""
    for i in range(1, len(rows)):  # noqa: SIM110  a kernel has no generators
        if _compare(rows, i - 1, rows, i, keys) > 0:
            return False
    return True


@kernel
def ledger_differences(a: Longs, b: Longs, out: Longs) -> int:
    """What has to be added to `b` so that it says what `a` says.

    Args:
        a: rows (point, to, from, how, quantity), ascending; rows of one key are added up.
        b: the same.
        out: gets such rows; room for both.

    Returns:
        Rows in `out`. One of quantity 0 says that an interval is known in which nothing was used.
    """
    i = j = found = 0
    while i < len(a) or j < len(b):
        side = -1 if j >= len(b) else 1
        if i < len(a) and j < len(b):
            side = _compare(a, i, b, j, 4)
        quantity = np.int64(0)
        if side <= 0:
            for column in range(4):
                out[found, column] = a[i, column]
            here = i
            while i < len(a) and _compare(a, i, a, here, 4) == 0:
                quantity += a[i, 4]
                i += 1
        if side >= 0:
            for column in range(4):
                out[found, column] = b[j, column]
            here = j
            while j < len(b) and _compare(b, j, b, here, 4) == 0:
                quantity -= b[j, 4]
                j += 1
        if quantity != 0 or side < 0:
            out[found, 4] = quantity
            found += 1
    return found


@kernel
def gauge_differences(a: Longs, b: Longs, out: Longs) -> int:
    """The rows of `a` that `b` lacks or has with other figures, and for rows that only `b` has, ones without figures.

    Args:
        a: rows (point, to, from, count, sum, minimum, maximum, integral), ascending, one a key.
        b: the same.
        out: gets such rows; room for both.

    Returns:
        Rows in `out`.
    """
    i = j = found = 0
    while i < len(a) or j < len(b):
        side = -1 if j >= len(b) else 1
        if i < len(a) and j < len(b):
            side = _compare(a, i, b, j, 3)
        if side <= 0:
            same = side == 0
            for column in range(8):
                out[found, column] = a[i, column]
                same = same and a[i, column] == b[j, column]
            i += 1
            j += side == 0
            found += not same
        else:
            empty = True
            for column in range(8):
                out[found, column] = b[j, column] if column < 3 else np.int64(0)
                empty = empty and (column < 3 or b[j, column] == 0)
            j += 1
            found += not empty
    return found


@kernel
def reach(rows: Longs, from_ms: int, to_ms: int, chosen: NDArray[np.bool_]) -> None:
    """Marks the differences of one point that a settlement of (from, to] has to publish.

    Where the differences before a time sum to 0 and none goes over it, both runs stand at the same register value:
    the rows on either side can be published without the others. A stretch that the span touches is taken whole.

    Args:
        rows: of one point, as `ledger_differences` gives them: ascending by their end.
        from_ms: start of the span.
        to_ms: its end.
        chosen: gets True for every row to publish.
    """
    before = np.int64(0)
    for i in range(len(rows)):
        before += rows[i, 4]
    last = len(rows)
    i = last - 1
    earliest = rows[i, 2] if last else np.int64(0)
    while i >= 0:
        before -= rows[i, 4]
        earliest = min(earliest, rows[i, 2])
        if before == 0 and (i == 0 or rows[i - 1, 1] <= earliest):
            touched = False
            for k in range(i, last):
                touched = touched or (rows[k, 2] < to_ms and rows[k, 1] > from_ms)
            for k in range(i, last):
                chosen[k] = touched
            last = i
            if i > 0:
                earliest = rows[i - 1, 2]
        i -= 1
