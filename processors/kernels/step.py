"""The one loop: messages in the order of the log, each reading applied to the state, rows emitted.

`resolve` finds the rows of the readings; `step` applies them. Both stop where there is no room and are called again
from there; what they do does not depend on where they stopped.
"""

import numpy as np
from numpy.typing import NDArray

from processors.gates import GATE_SHIFT, INSTANCE_MASK, IS_WINDOW, OTHER_SHIFT
from processors.kernels import waste
from processors.kernels.alerts import evaluate, own_clock
from processors.kernels.gauges import gauge_step
from processors.kernels.jit import inlined, inner, kernel
from processors.kernels.meters import tell, told_register
from processors.kernels.presence import ESTIMATES, estimate, sense
from processors.kernels.programs import Records
from processors.kernels.registers import delta_row, register_accept, register_first, register_rows, register_step
from processors.kernels.rows import Longs, reject_row, verdict_row
from processors.kernels.timers import pop
from processors.kernels.windows import feed
from processors.layout import (
    DELTA,
    DIPS,
    FNV_OFFSET,
    FNV_PRIME,
    FUTURE_MS,
    GAUGE,
    LOOKS_ALWAYS,
    LOOKS_AT_VALUE,
    LOOKS_BACK,
    OUTAGE_MS,
    SPREAD_INTERVALS,
    SPREAD_MS,
    USES_DATA_CLOCK,
    LayoutArrays,
)
from processors.state import (
    BUSY,
    CAUSE_RESET,
    CLOCK,
    CLOSED,
    CURSOR,
    HOW_ESTIMATED,
    HOW_GAP,
    HOW_MEASURED,
    IDLE,
    KNOWN_AT,
    LATE,
    MESSAGES,
    NEVER,
    OFFSET,
    READINGS,
    REJECTS,
    REPEATS,
    RESUMED,
    SITE,
    TIMERS,
    TOLD,
    UNRECORDED,
    VERDICT_LATE,
    VERDICT_RANGE,
    WAITS,
    MetaRow,
    PointRow,
    StateArrays,
)
from schemas.decode import BACKFILL
from schemas.reasons import Reason

_UNKNOWN_GATEWAY = int(Reason.UNKNOWN_GATEWAY)
_UNKNOWN_POINT = int(Reason.UNKNOWN_POINT)
_WRONG_GATEWAY = int(Reason.WRONG_GATEWAY)
_TOO_OLD = int(Reason.TOO_OLD)
_FUTURE = int(Reason.FUTURE)

YEAR_2000_MS = 946_684_800_000
GENERATED = -2
"""Gateway of points that `apply` made (waste, vehicles): their rows come resolved."""

READING_ROWS = 512
"""Rows that one reading can emit by itself: a register over 200 intervals, or a gauge held over 96 and the two
estimates that it moves, held as long; and verdicts."""
INSTANCE_ROWS = 8
"""Alert rows that one look at an instance can emit."""
PART_ROWS = 104
"""Rows that one part can emit: `waste.CUTS_MAX` cuts and its end."""


@inner
def find_gateway(data: NDArray[np.uint8], message: NDArray[np.int64], layout: LayoutArrays) -> int:
    """Index of the message's gateway, or -1: FNV-1a of site, 0xFF, gateway, then the bytes themselves are compared."""
    site_at, site_bytes, gateway_at, gateway_bytes = message[2], message[3], message[4], message[5]
    value = np.uint64(FNV_OFFSET)
    for k in range(site_at, site_at + site_bytes):
        value = (value ^ np.uint64(data[k])) * np.uint64(FNV_PRIME)
    value = (value ^ np.uint64(0xFF)) * np.uint64(FNV_PRIME)
    for k in range(gateway_at, gateway_at + gateway_bytes):
        value = (value ^ np.uint64(data[k])) * np.uint64(FNV_PRIME)
    mask = np.uint64(len(layout.gateway_table) - 1)
    place = value & mask
    for _ in range(len(layout.gateway_table)):
        g = layout.gateway_table[place]
        if g < 0:
            return -1
        span = layout.gateway_spans[g]
        if span[1] == site_bytes and span[3] == gateway_bytes:
            same = True
            for k in range(site_bytes):
                if layout.gateway_bytes[span[0] + k] != data[site_at + k]:
                    same = False
                    break
            if same:
                for k in range(gateway_bytes):
                    if layout.gateway_bytes[span[2] + k] != data[gateway_at + k]:
                        same = False
                        break
            if same:
                return g
        place = (place + np.uint64(1)) & mask
    return -1


@kernel
def resolve(
    data: NDArray[np.uint8],
    messages: NDArray[np.int64],
    count: int,
    points: NDArray[np.int32],
    layout: LayoutArrays,
    gateways: NDArray[np.int32],
    rows: NDArray[np.int32],
) -> None:
    """Fills `gateways` (by message) and `rows` (by reading): the row of a point, or minus the reason for none."""
    for m in range(count):
        gateways[m] = -1
        if messages[m, 1] != 0:
            continue
        gateway = find_gateway(data, messages[m], layout)
        gateways[m] = gateway
        if gateway < 0:
            continue
        site = layout.gateway_site[gateway]
        start = layout.number_start[site]
        length = layout.number_start[site + 1] - start
        first = messages[m, 7]
        for k in range(first, first + messages[m, 8]):
            number = points[k]
            row = np.int32(-1)
            if 0 <= number < length:
                row = layout.number_row[start + number]
            if row < 0:
                rows[k] = -_UNKNOWN_POINT
            elif layout.row_gateway[row] != gateway:
                rows[k] = -_WRONG_GATEWAY
            else:
                rows[k] = row


@kernel
def move_clock(
    time: int,
    outage_ms: int,
    context: Longs,
    rules: Records,
    lists: Longs,
    meta: Records,
    points: Records,
    instances: Records,
    parts: Records,
    queue: NDArray[np.int32],
    scalars: Longs,
    out: Longs,
    windows: Records,
) -> bool:
    """Moves the task's clock on and wakes what is due; False when there was no room left (call again).

    After a jump of more than `outage_ms` values are judged by the new clock (old ones are unknown), and ages count
    from it: an outage of ours raises nothing.
    """
    if time > scalars[CLOCK]:
        if scalars[CLOCK] == NEVER or time - scalars[CLOCK] > outage_ms:
            scalars[RESUMED] = time
        scalars[CLOCK] = time
    clock = scalars[CLOCK]
    while scalars[TIMERS] > 0:
        first = queue[0]
        due = instances[first].due
        if due > clock:
            break
        if context[CURSOR] + READING_ROWS + PART_ROWS * (rules[first].parts_end - rules[first].parts) > len(out):
            return False
        pop(scalars, queue, instances)
        context[SITE] = rules[first].site
        by = clock if scalars[RESUMED] == clock else max(due, scalars[RESUMED])
        at = by if due == NEVER else due
        if rules[first].flags & USES_DATA_CLOCK:  # only a new document puts these into the queue
            by = own_clock(rules[first], lists, meta, points, scalars)
            at = by
        evaluate(first, at, by, context, rules, lists, meta, points, instances, parts, queue, scalars, out, windows)
    return True


@inner
def _late(p: PointRow, number: int, time: int, value: int, context: Longs, scalars: Longs, out: Longs) -> None:
    """A reading at or behind its point's clock never changes live state: it marks the span for settlement."""
    if (time == p.clock and value == p.last) or (time == p.pend_time and value == p.pend_value):
        scalars[REPEATS] += 1
        return
    scalars[LATE] += 1
    if time < p.dirty_from or time > p.dirty_to:
        verdict_row(context, out, number, time, value, VERDICT_LATE)
    p.dirty_from = min(p.dirty_from, time)
    p.dirty_to = max(p.dirty_to, p.clock)


@inlined
def _inside(gate: int, value: int, lists: Longs) -> bool:
    low, high = lists[gate, 0], lists[gate, 1]
    if low <= high:
        return low <= value <= high
    return value >= low or value <= high


@inlined
def _barred(edge: int, value: int, lists: Longs, points: Records, windows: Records) -> bool:
    """Whether a gate of an edge is shut: of its own point, which says `value`, or of the other one (`gates`)."""
    gate = lists[edge, 1] >> GATE_SHIFT
    if not _inside(gate, value, lists):
        return True
    other = (lists[edge, 0] >> OTHER_SHIFT) - 1
    if other < 0:
        return False
    if other < IS_WINDOW:
        return not _inside(gate + 1, points[other].fact_value, lists)
    window = other - IS_WINDOW
    return windows[window].known == 0 or not _inside(gate + 1, windows[window].value, lists)


@inlined
def _register(
    p: PointRow,
    m: MetaRow,
    time: int,
    value: int,
    quality: int,
    limits: Longs,
    context: Longs,
    lists: Longs,
    instances: Records,
    parts: Records,
    out: Longs,
) -> bool:
    """Feeds a register; False when its reading was set aside."""
    start = p.clock
    if start == NEVER:
        register_first(p, time, value, m.grid_ms)
        return True
    used, cause = register_step(p, m, m.span, False, time, value, limits[m.site, DIPS], context, out)
    if used < 0:
        return False
    least = HOW_ESTIMATED if quality > 0 else HOW_GAP if cause == CAUSE_RESET else HOW_MEASURED
    register_rows(
        p, m, time, used, cause, least, limits[m.site, SPREAD_MS], limits[m.site, SPREAD_INTERVALS], context, out
    )
    register_accept(p, time, value)
    if p.flags & BUSY and m.wastes_end > m.wastes:
        waste.usage(m, start, time, used, context, lists, parts, instances, out)
    return True


@inlined
def _quantity(
    p: PointRow,
    m: MetaRow,
    time: int,
    value: int,
    span_ms: int,
    quality: int,
    context: Longs,
    lists: Longs,
    instances: Records,
    parts: Records,
    out: Longs,
) -> None:
    """Feeds a delta, gauge or state."""
    if m.kind > DELTA:
        if p.flags & BUSY and m.wastes_end > m.wastes and p.clock != NEVER:
            waste.usage(m, p.clock, time, p.last, context, lists, parts, instances, out)
        gauge_step(p, m, time, value, context, out)
        return
    delta_row(p, m, time, value, span_ms, quality > 0, context, out)
    if p.flags & BUSY and m.wastes_end > m.wastes:
        waste.usage(m, time - max(span_ms, m.interval_ms, 1), time, value, context, lists, parts, instances, out)


@kernel
def step(
    messages: Longs,
    gateways: NDArray[np.int32],
    count: int,
    first_message: int,
    first_reading: int,
    rows: NDArray[np.int32],
    numbers: NDArray[np.int32],
    times: Longs,
    values: Longs,
    qualities: NDArray[np.int8],
    spans: Longs,
    offsets: Longs,
    timestamps: Longs,
    live: bool,
    fanout: int,
    wasted: int,
    layout: LayoutArrays,
    state: StateArrays,
    context: Longs,
    out: Longs,
) -> tuple[int, int, int]:
    """Applies messages from (first_message, first_reading) on.

    Args:
        messages: matrix of `decode.M`; `count` rows of it.
        gateways: of `resolve`; GENERATED where rows come resolved.
        count: messages.
        first_message: where to begin.
        first_reading: of that message.
        rows: of `resolve`.
        numbers: of the points, by reading; and so the next three.
        times: UTC ms.
        values: in the points' units.
        qualities: 0 is good.
        spans: length of a delta in ms by reading, or empty: by the model.
        offsets: by record of the slab.
        timestamps: by record of the slab.
        live: whether the log's time moves the clock.
        fanout: instances that one reading may wake.
        wasted: parts that one reading may touch.
        layout: indices.
        state: is changed.
        context: int64[CONTEXT], scratch.
        out: gets rows.

    Returns:
        (message, reading, rows): where to go on when `out` has been emptied, (count, 0) at the end; and the rows in
        `out`.
    """
    meta, rules, lists, all_limits = layout.meta, layout.rules, layout.lists, layout.limits
    scalars, points, instances, parts, queue = state.scalars, state.points, state.instances, state.parts, state.queue
    facts = state.facts
    track_infos, window_infos = layout.track_infos, layout.window_infos
    tracks, windows, cells = state.tracks, state.windows, state.cells
    context[CURSOR] = 0
    outage_ms = np.int64(60_000) if len(all_limits) == 0 else all_limits[0, OUTAGE_MS]
    enough = len(out) - READING_ROWS - INSTANCE_ROWS * fanout - PART_ROWS * wasted
    for m in range(first_message, count):
        record = messages[m, 0]
        context[OFFSET] = offsets[record]
        context[KNOWN_AT] = timestamps[record]
        begin = first_reading if m == first_message else 0
        if begin == 0:
            if live and not move_clock(
                timestamps[record],
                outage_ms,
                context,
                rules,
                lists,
                meta,
                points,
                instances,
                parts,
                queue,
                scalars,
                out,
                windows,
            ):
                return m, 0, context[CURSOR]
            if context[CURSOR] > enough:
                return m, 0, context[CURSOR]
            status = messages[m, 1]
            if status == 0 and gateways[m] == -1:
                status = _UNKNOWN_GATEWAY
            if status != 0:
                reject_row(context, out, m, status, -1, 0, 0, 0, 0)
                scalars[REJECTS] += 1
                scalars[MESSAGES] += 1
                continue
        mode = messages[m, 6]
        first = messages[m, 7]
        clock = scalars[CLOCK]
        for k in range(first + begin, first + messages[m, 8]):
            if context[CURSOR] > enough:
                return m, k - first, context[CURSOR]
            row = rows[k]
            time = times[k]
            value = values[k]
            scalars[READINGS] += 1
            if row < 0 or time < YEAR_2000_MS:
                reject_row(
                    context, out, m, -row if row < 0 else _TOO_OLD, k - first, numbers[k], time, value, qualities[k]
                )
                scalars[REJECTS] += 1
                continue
            info = meta[row]
            p = points[row]
            context[SITE] = info.site
            if time > clock + all_limits[info.site, FUTURE_MS]:
                reject_row(context, out, m, _FUTURE, k - first, numbers[k], time, value, qualities[k])
                scalars[REJECTS] += 1
                continue
            if time <= p.clock or time <= p.pend_time:
                _late(p, info.number, time, value, context, scalars, out)
                continue
            if value < info.low or value > info.high:
                verdict_row(context, out, info.number, time, value, VERDICT_RANGE)
                continue
            quality = qualities[k]
            accepted = True
            before = p.clock
            rows_from = context[CURSOR]
            looks_changed = False
            unrecorded = p.flags & UNRECORDED
            if info.kind == 0 and p.flags & TOLD:
                waits = p.flags & WAITS
                while p.flags & WAITS and tell(
                    p, info, row, time, value, quality > 0, all_limits, facts, context, scalars, lists, instances,
                    parts, out,
                ):  # fmt: skip
                    if info.tracks_end > info.tracks:
                        feed(
                            info, before, time, rows_from, context[CURSOR], mode != BACKFILL, out, lists, track_infos,
                            window_infos, tracks, windows, cells, context,
                        )  # fmt: skip
                    rows_from = context[CURSOR]
                    if context[CURSOR] > enough:
                        scalars[READINGS] -= 1
                        return m, k - first, context[CURSOR]
                looks_changed = waits != 0  # what was fed before the buffer was full must not be forgotten
                accepted = told_register(
                    p, info, time, value, quality > 0, all_limits, context, lists, instances, parts, out
                )
            elif info.kind == 0:
                accepted = _register(p, info, time, value, quality, all_limits, context, lists, instances, parts, out)
            else:
                _quantity(
                    p,
                    info,
                    time,
                    value,
                    spans[k] if len(spans) > 0 else 0,
                    quality,
                    context,
                    lists,
                    instances,
                    parts,
                    out,
                )
            # A register between two boundaries has no row: nothing that looks back at it moves.
            fed = info.tracks_end > info.tracks and (info.kind >= GAUGE or context[CURSOR] > rows_from)
            if fed and feed(
                info, before, time, rows_from, context[CURSOR], mode != BACKFILL, out, lists, track_infos,
                window_infos, tracks, windows, cells, context,
            ):  # fmt: skip
                looks_changed = True
            if mode == BACKFILL:
                # What looks back knows of it as soon as the point is read again; it wakes nobody and is no fact.
                if unrecorded == 0:
                    p.flags &= ~UNRECORDED  # of what is imported the verdicts tell, and nobody is paged
                continue
            # What the rules see, and the rules that have to look.
            seen = p.fact_time
            p.fact_time = time
            expired = seen == NEVER or time - seen > info.max_age_ms
            # By the clock it may have been unknown when a rule last looked, though no reading is missing.
            # So may what looks back, which is unknown while one of its points is too old.
            moved = expired or clock - seen > info.max_age_ms or looks_changed or p.flags & UNRECORDED != unrecorded
            changed = moved
            if accepted:  # else the meter is alive, and what is known of it holds again, but the value is not believed
                good = 1 if quality == 0 else 0
                changed = changed or value != p.fact_value or good != p.fact_good
                if expired or value != p.fact_value:
                    p.since = time
                p.fact_value = value
                p.fact_good = good
            # Rules that look at the reading's point, then those that look at what it says of presence: one loop, since
            # each place that calls `evaluate` costs a second of compiling.
            who = np.int64(row)
            told = 0
            while True:
                # Where all are idle, no value has changed and none looks at every reading, there is nothing to look at:
                # an instance lies anywhere in memory, and ten of them would cost what thirty readings do.
                if who >= 0 and (changed or seen == NEVER or meta[who].always or points[who].flags & BUSY):
                    busy = False
                    idle = points[who].flags & BUSY == 0
                    for edge in range(meta[who].edges, meta[who].edges_end):
                        instance = lists[edge, 0] & INSTANCE_MASK
                        # An idle instance that looks at the value can only change when the value does; one that looks
                        # at the age, when there is one, or when it must not be too old. And none, while a gate is shut.
                        if seen != NEVER and (idle or instances[instance].phase == IDLE):
                            look = lists[edge, 1]
                            if not (
                                look & LOOKS_ALWAYS
                                or (changed and look & LOOKS_AT_VALUE)
                                or (moved and look & LOOKS_BACK)
                            ):
                                continue
                            if look >> GATE_SHIFT and _barred(edge, points[who].fact_value, lists, points, windows):
                                continue
                        by = clock
                        if rules[instance].flags & USES_DATA_CLOCK:
                            by = own_clock(rules[instance], lists, meta, points, scalars)
                        evaluate(
                            instance, time, by, context, rules, lists, meta, points, instances, parts, queue, scalars,
                            out, windows,
                        )  # fmt: skip
                        busy = busy or instances[instance].phase != IDLE
                    if not busy and points[who].flags & BUSY:
                        for k in range(meta[who].wastes, meta[who].wastes_end):
                            busy = busy or parts[lists[k, 0]].open != CLOSED
                        if not busy:
                            points[who].flags &= ~BUSY
                if info.sense < 0 or told == ESTIMATES:
                    break
                if told == 0 and not sense(
                    row, time, layout.sense_params, layout.senses, state.senses, context, lists, meta, points
                ):
                    break
                rows_from = context[CURSOR]
                who, before, seen, changed = estimate(
                    told, info.sense, time, layout.sense_params, layout.senses, state.senses, context, scalars, meta,
                    points, out,
                )  # fmt: skip
                if who >= 0 and meta[who].tracks_end > meta[who].tracks and feed(
                    meta[who], before, time, rows_from, context[CURSOR], True, out, lists, track_infos, window_infos,
                    tracks, windows, cells, context,
                ):  # fmt: skip
                    changed = True
                moved = changed
                told += 1
        scalars[MESSAGES] += 1
    return count, 0, context[CURSOR]
