"""What looks back: cells of what a point was, and windows over them.

A track keeps one measure of one point in a ring of finished cells. It is fed with the rows of the ledger and of the
gauges that a reading has just made, so it knows what they know and nothing else. A window combines the tracks of a
role's points over the cells that all of them have finished, and is computed once for each such cell; rules only load
its value. Everything goes by the clocks of the points: what a window says of a cell does not depend on when it came.

A point that counts what happens (a deposit in a wrong class) has no readings between: where it says nothing, nothing
has happened. It holds nobody up, and an increase counts what has happened so far in the cell that is being filled.
"""

import numpy as np
from numpy.typing import NDArray

from processors.kernels.jit import inner, kernel
from processors.kernels.registers import share
from processors.kernels.rows import Longs
from processors.layout import DAY_MS, GAUGE, STATE
from processors.lookback import TrackInfoRow, WindowInfoRow
from processors.state import (
    FAR,
    GAUGES,
    HOW_MEASURED,
    LEDGER,
    MEASURED_CELL,
    NEVER,
    SORTING,
    SPREAD_CELL,
    UNKNOWN_CELL,
    MetaRow,
    TrackRow,
    WindowRow,
)
from schemas.rules.program import TRUE, Agg, Fn, Measure

Records = NDArray[np.void]

_MAX = int(Agg.MAX)
_USAGE = int(Measure.USAGE)
_MEAN = int(Measure.MEAN)
_LOW = int(Measure.LOW)
_INCREASE = int(Fn.INCREASE)
_AVG = int(Fn.AVG)
_MIN = int(Fn.MIN)
_NIGHT = int(Fn.NIGHT)
_BASELINE = int(Fn.BASELINE)
_QUANTILE = int(Fn.QUANTILE)

HOUR_MS = 3_600_000


@kernel
def schedule_place(schedule: int, clock: int, lists: Longs) -> int:
    """Place in `lists` of the last boundary at or before the clock; `schedule` itself when there is none."""
    low = schedule + 1
    high = schedule + 1 + lists[schedule, 1]
    while low < high:
        middle = (low + high) // 2
        if lists[middle, 0] <= clock:
            low = middle + 1
        else:
            high = middle
    return low - 1


@kernel
def nth_of(count: int, thousandths: int, context: Longs) -> int:
    """The value at a share of `count` values at context[SORTING], the lower one of two; sorts them."""
    for k in range(1, count):
        value = context[SORTING + k]
        place = k
        while place > 0 and context[SORTING + place - 1] > value:
            context[SORTING + place] = context[SORTING + place - 1]
            place -= 1
        context[SORTING + place] = value
    return context[SORTING + thousandths * (count - 1) // 1000]


# -- tracks -----------------------------------------------------------------------------------------------------------


@inner
def _close(t: TrackRow, info: TrackInfoRow, m: MetaRow, cells: Longs) -> None:
    """Finishes the cell that is being filled."""
    place = info.start + t.cell % info.length
    value = t.amount
    if info.measure == _MEAN:  # value x ms of a gauge's thousandths; a state's mean is made thousandths
        value = t.amount // (info.cell_ms // 1000 if m.kind == STATE else info.cell_ms)
    if t.known_ms == info.cell_ms or info.events != 0:
        cells[place, 0] = value
        cells[place, 1] = SPREAD_CELL if t.spread else MEASURED_CELL
    else:
        cells[place, 0] = 0
        cells[place, 1] = UNKNOWN_CELL
    _open(t, t.cell + 1)


@inner
def _open(t: TrackRow, cell: int) -> None:
    t.cell = cell
    t.amount = 0
    t.known_ms = 0
    t.spread = 0


@inner
def _go_to(t: TrackRow, info: TrackInfoRow, m: MetaRow, cell: int, cells: Longs) -> None:
    """Goes on to a later cell; those between are unknown, or empty where a point counts what happens."""
    events = info.events != 0
    if t.cell == NEVER:
        if events:  # nothing had happened
            for place in range(info.start, info.start + info.length):
                cells[place, 0] = 0
                cells[place, 1] = MEASURED_CELL
        _open(t, cell)
        return
    if t.cell < cell and events:
        _close(t, info, m, cells)
    for skipped in range(max(t.cell, cell - info.length), cell):
        place = info.start + skipped % info.length
        cells[place, 0] = 0
        cells[place, 1] = MEASURED_CELL if events else UNKNOWN_CELL
    _open(t, cell)


@inner
def _add_usage(
    t: TrackRow, info: TrackInfoRow, m: MetaRow, start: int, end: int, used: int, spread: int, cells: Longs
) -> None:
    """Usage over (start, end], shared evenly among the cells that it touches."""
    for cell in range(start // info.cell_ms, (end - 1) // info.cell_ms + 1):
        if cell < t.cell:
            continue
        if cell != t.cell:
            _go_to(t, info, m, cell, cells)
        low = max(start, cell * info.cell_ms)
        high = min(end, (cell + 1) * info.cell_ms)
        t.amount += share(used, high - start, end - start) - share(used, low - start, end - start)
        t.known_ms += high - low
        t.spread |= spread
        if high == (cell + 1) * info.cell_ms:
            _close(t, info, m, cells)


@inner
def _add_gauge(t: TrackRow, info: TrackInfoRow, m: MetaRow, row: Longs, known: bool, cells: Longs) -> None:
    """What a gauge did over an interval of the ledger, which lies within one cell."""
    start, end = row[5], row[6]
    cell = start // info.cell_ms
    if cell < t.cell:
        return
    if cell != t.cell:
        _go_to(t, info, m, cell, cells)
    if known:
        if info.measure == _MEAN:
            t.amount += row[11]
        else:
            value = row[11] // (end - start)  # no reading in it: the value that was held
            if row[7] > 0:
                value = row[9] if info.measure == _LOW else row[10]
            if t.known_ms == 0 or (value < t.amount) == (info.measure == _LOW):
                t.amount = value
        t.known_ms += end - start
    if end == (cell + 1) * info.cell_ms:
        _close(t, info, m, cells)


@inner
def _feed_track(
    t: TrackRow, info: TrackInfoRow, m: MetaRow, before: int, time: int, first: int, last: int, out: Longs, cells: Longs
) -> None:
    gauge = m.kind >= GAUGE
    whole = before != NEVER and time - before <= m.hold_ms
    until = time if whole else before + m.hold_ms if before != NEVER else np.int64(NEVER)
    for n in range(first, last):
        stream, start, end = out[n, 0], out[n, 5], out[n, 6]
        if gauge and stream == GAUGES:
            _add_gauge(t, info, m, out[n], t.since != NEVER and t.since <= start and end <= until, cells)
        elif stream == LEDGER and not gauge and start < end <= start + DAY_MS:
            _add_usage(t, info, m, start, end, out[n, 7], 0 if out[n, 8] == HOW_MEASURED else 1, cells)
    if gauge and (not whole or t.since == NEVER):
        t.since = time


# -- windows ----------------------------------------------------------------------------------------------------------


@inner
def _cell(
    info: WindowInfoRow, cell: int, lists: Longs, track_infos: Records, tracks: Records, cells: Longs
) -> tuple[int, int]:
    """(value, UNKNOWN_CELL, MEASURED_CELL or SPREAD_CELL) of a role's points together in a cell."""
    value = np.int64(0)
    state = MEASURED_CELL
    for k in range(info.tracks, info.tracks_end):
        track = lists[k, 0]
        its = track_infos[track]
        newest = tracks[track].cell
        part = np.int64(0)
        if its.events != 0 and (newest == NEVER or cell >= newest):
            if cell == newest:
                part = tracks[track].amount
        elif newest == NEVER or cell >= newest or cell < newest - info.span:
            return np.int64(0), UNKNOWN_CELL
        else:
            place = its.start + cell % its.length
            if cells[place, 1] == UNKNOWN_CELL:
                return np.int64(0), UNKNOWN_CELL
            if cells[place, 1] == SPREAD_CELL:
                state = SPREAD_CELL
            part = cells[place, 0]
        if info.agg != _MAX:
            value += part
        elif k == info.tracks or part > value:
            value = part
    return value, state


@inner
def _sum(
    info: WindowInfoRow, end: int, lists: Longs, track_infos: Records, tracks: Records, cells: Longs
) -> tuple[int, int]:
    """Increase and average over the last cells."""
    total = np.int64(0)
    found = 0
    first = end - info.cells + 1
    oldest = UNKNOWN_CELL
    its = track_infos[lists[info.tracks, 0]]
    if info.tracks_end - info.tracks == 1 and its.events == 0:  # as mostly: no cell of a day has to be looked for
        place = its.start + first % its.length
        oldest = cells[place, 1]
        for _ in range(info.cells):
            if cells[place, 1] == MEASURED_CELL or (cells[place, 1] == SPREAD_CELL and info.fn == _INCREASE):
                total += cells[place, 0]
                found += 1
            place += 1
            if place == its.start + its.length:
                place = its.start
    else:
        _, oldest = _cell(info, first, lists, track_infos, tracks, cells)
        for cell in range(first, end + 1):
            value, state = _cell(info, cell, lists, track_infos, tracks, cells)
            if state == MEASURED_CELL or (state == SPREAD_CELL and info.fn == _INCREASE):
                total += value
                found += 1
    if info.fn == _INCREASE:
        return total, 1 if found == info.cells else 0
    # At least nine tenths, as measurement and verification asks of a baseline (CalTRACK), the oldest among them:
    # nothing is said of a span that has not been seen from its beginning.
    known = oldest == MEASURED_CELL and 10 * found >= 9 * info.cells
    return (total // found, 1) if known else (np.int64(0), 0)


@inner
def _extreme(
    info: WindowInfoRow, end: int, lists: Longs, track_infos: Records, tracks: Records, cells: Longs
) -> tuple[int, int]:
    """Smallest or largest of all buckets that lie in the last cells, wherever they begin."""
    best = np.int64(0)
    found = 0
    oldest = False
    count = info.cells - info.bucket + 1
    for first in range(end - info.cells + 1, end - info.cells + 1 + count):
        total = np.int64(0)
        whole = True
        for cell in range(first, first + info.bucket):
            value, state = _cell(info, cell, lists, track_infos, tracks, cells)
            total += value
            whole = whole and state == MEASURED_CELL
        if not whole:
            continue
        if first == end - info.cells + 1:
            oldest = True
        if info.measure != _USAGE:
            total = total // info.bucket
        if found == 0 or (total < best) == (info.fn == _MIN):
            best = total
        found += 1
    return best, 1 if oldest and 10 * found >= 9 * count else 0


@inner
def _take_night(
    w: WindowRow,
    info: WindowInfoRow,
    cell: int,
    lists: Longs,
    track_infos: Records,
    tracks: Records,
    cells: Longs,
    context: Longs,
) -> None:
    """Notes when a night begins; its median when it is over, unknown where less than half of it is known."""
    place = schedule_place(info.schedule, cell * info.cell_ms + info.cell_ms // 2, lists)
    inside = place != info.schedule and lists[place, 1] == TRUE
    if inside:
        if w.night == NEVER:
            w.night = cell
        return
    if w.night == NEVER:
        return
    first = max(w.night, cell - info.span)
    count = 0
    for one in range(first, cell):
        value, state = _cell(info, one, lists, track_infos, tracks, cells)
        if state == MEASURED_CELL:
            context[SORTING + count] = value
            count += 1
    w.last += 1
    at = info.start + w.last % info.length
    known = count > 0 and 2 * count >= cell - w.night
    cells[at, 0] = nth_of(count, 500, context) if known else 0
    cells[at, 1] = MEASURED_CELL if known else UNKNOWN_CELL
    w.night = NEVER


@inner
def _position(info: WindowInfoRow, cell: int, lists: Longs) -> int:
    """Place of a cell among those of all working days, from 1 on; 0 on other days."""
    start = cell * info.cell_ms
    place = schedule_place(info.schedule, start, lists)
    if place == info.schedule or lists[place, 1] != TRUE:
        return np.int64(0)
    return lists[info.before + place - info.schedule, 0] + (start - lists[place, 0]) // info.cell_ms + 1


@inner
def _take_workday(
    w: WindowRow, info: WindowInfoRow, cell: int, lists: Longs, track_infos: Records, tracks: Records, cells: Longs
) -> None:
    """Keeps a cell of a working day; those that were skipped are unknown."""
    position = _position(info, cell, lists)
    if position <= w.last:
        return
    for skipped in range(max(w.last + 1, position - info.length), position):
        cells[info.start + skipped % info.length, 1] = UNKNOWN_CELL
    value, state = _cell(info, cell, lists, track_infos, tracks, cells)
    cells[info.start + position % info.length, 0] = value
    cells[info.start + position % info.length, 1] = MEASURED_CELL if state == MEASURED_CELL else UNKNOWN_CELL
    w.last = position


@inner
def _nights(w: WindowRow, info: WindowInfoRow, cells: Longs, context: Longs) -> tuple[int, int]:
    """The last night, what more than half of the last nights reached, or the median of those before the last."""
    if info.fn == _NIGHT and info.days > 0:
        # Of nights that are not known nothing is believed: they count as if nothing had been used.
        for place in range(info.days):
            night = w.last - place
            at = info.start + night % info.length
            taken = night > 0 and cells[at, 1] == MEASURED_CELL
            context[SORTING + place] = cells[at, 0] if taken else NEVER
        value = nth_of(info.days, 500, context)
        return (value, 1) if value != NEVER else (np.int64(0), 0)
    if info.fn == _NIGHT:
        at = info.start + w.last % info.length
        return cells[at, 0], 1 if w.last > 0 and cells[at, 1] == MEASURED_CELL else 0
    count = 0
    for night in range(max(w.last - info.days, 1), w.last):
        at = info.start + night % info.length
        if cells[at, 1] == MEASURED_CELL:
            context[SORTING + count] = cells[at, 0]
            count += 1
    return (nth_of(count, 500, context), 1) if 2 * count >= info.days else (np.int64(0), 0)


@inner
def _same_hours(
    w: WindowRow, info: WindowInfoRow, end: int, lists: Longs, cells: Longs, context: Longs
) -> tuple[int, int]:
    """A quantile of the cells of this hour on the working days before."""
    position = _position(info, end, lists)
    if position == 0:
        return np.int64(0), 0
    per_day = DAY_MS // info.cell_ms
    per_hour = max(HOUR_MS // info.cell_ms, 1)
    hour = (position - 1) % per_day // per_hour * per_hour
    today = (position - 1) // per_day
    count = 0
    for day in range(max(today - info.days, 0), today):
        for one in range(per_hour):
            there = day * per_day + hour + one + 1
            at = info.start + there % info.length
            if there > w.last - info.length and cells[at, 1] == MEASURED_CELL:
                context[SORTING + count] = cells[at, 0]
                count += 1
    if 2 * count < info.days * per_hour:
        return np.int64(0), 0
    return nth_of(count, info.nth, context), 1


@inner
def _update(
    w: WindowRow,
    info: WindowInfoRow,
    live: bool,
    lists: Longs,
    track_infos: Records,
    tracks: Records,
    cells: Longs,
    context: Longs,
) -> bool:
    """Takes up the cells that all points have finished; whether what it says has changed.

    What was imported is taken up too, and wakes nobody: until a live reading finishes a cell nothing is known.
    """
    end = FAR
    filling = np.int64(NEVER)
    for k in range(info.tracks, info.tracks_end):
        cell = tracks[lists[k, 0]].cell
        if track_infos[lists[k, 0]].events != 0:
            filling = max(filling, cell)
        elif cell == NEVER:
            return False
        else:
            end = min(end, cell - 1)
    happens = end == FAR  # all of its points count what happens: the one that spoke last says how late it is
    if happens:
        end = filling - 1
    if end <= w.done and not happens:
        return False
    if info.length > 0:
        for cell in range(max(w.done + 1, end - info.span + 1), end + 1):
            if info.fn == _QUANTILE:
                _take_workday(w, info, cell, lists, track_infos, tracks, cells)
            else:
                _take_night(w, info, cell, lists, track_infos, tracks, cells, context)
    w.done = end
    if not live:
        w.value = 0
        w.known = 0
        return False
    value = w.value
    known = w.known
    if info.fn == _NIGHT or info.fn == _BASELINE:
        value, known = _nights(w, info, cells, context)
    elif info.fn == _QUANTILE:
        value, known = _same_hours(w, info, end, lists, cells, context)
    elif info.fn == _INCREASE or info.fn == _AVG:
        value, known = _sum(
            info, end + 1 if happens and info.fn == _INCREASE else end, lists, track_infos, tracks, cells
        )
    else:
        value, known = _extreme(info, end, lists, track_infos, tracks, cells)
    if known == 0:
        value = np.int64(0)
    changed = value != w.value or known != w.known
    w.value = value
    w.known = known
    return changed


@inner
def feed(
    m: MetaRow,
    before: int,
    time: int,
    first: int,
    last: int,
    live: bool,
    out: Longs,
    lists: Longs,
    track_infos: Records,
    window_infos: Records,
    tracks: Records,
    windows: Records,
    cells: Longs,
    context: Longs,
) -> bool:
    """Gives the rows out[first:last], which a reading of the point at `time` made, to what looks back at it.

    Args:
        m: the point.
        before: its clock before the reading.
        time: of the reading.
        first: of its rows.
        last: after them.
        live: whether the reading was, or else imported.
        out: rows.
        lists: of the layout.
        track_infos: of the layout.
        window_infos: of the layout.
        tracks: are changed.
        windows: are changed.
        cells: are changed.
        context: scratch.

    Returns:
        Whether a window says something else now.
    """
    for k in range(m.tracks, m.tracks_end):
        track = lists[k, 0]
        _feed_track(tracks[track], track_infos[track], m, before, time, first, last, out, cells)
    changed = False
    for k in range(m.windows, m.windows_end):
        window = lists[k, 0]
        if _update(windows[window], window_infos[window], live, lists, track_infos, tracks, cells, context):
            changed = True
    return changed
