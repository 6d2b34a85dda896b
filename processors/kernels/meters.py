"""What was said of a meter (swapped, another multiplier, another width, reset, removed), applied to its registers.

A fact is a reading that nobody sent: of the old meter's final value at the time of the fact, or, where the fact tells
no value, of the point on the straight line between what is known before and after it. What is used up to it counts
by the old meter, what comes after it by the new one. So usage is the sum of pieces, each its own last minus its own
first, times the multiplier that held, to the unit, with the remainder of the multiplication carried on.

A fact waits until a reading of its point passes its time; a reading at that very time is the old meter's. Facts of a
point are applied in the order of their times, one a call, so that the rows of each have room (`step.READING_ROWS`).
"""

import numpy as np
from numpy.typing import NDArray

from processors.kernels import waste
from processors.kernels.jit import inlined, inner, kernel
from processors.kernels.registers import (
    judge,
    product,
    register_accept,
    register_first,
    register_rows,
    register_step,
)
from processors.kernels.rows import Longs, ledger_row, verdict_row
from processors.layout import COUNTER_MAX, DAY_MS, DIPS, SPREAD_INTERVALS, SPREAD_MS
from processors.state import (
    APPLIED,
    BARE,
    CAUSE_READING,
    CAUSE_RESET,
    CAUSE_SWAP,
    CURSOR,
    FINAL,
    HOW_DECLARED,
    HOW_ESTIMATED,
    HOW_GAP,
    HOW_MEASURED,
    INITIAL,
    MULTIPLIER,
    NEVER,
    RATIO,
    RESET,
    SCALED,
    SITE,
    UNRECORDED,
    VERDICT_FACT,
    VERDICT_RESET,
    VERDICT_ROLLOVER,
    WAITS,
    WIDE,
    WIDTH,
    WIDTH_CHANGED,
    FactRow,
    MetaRow,
    PointRow,
)

Records = NDArray[np.void]

_RATIO_MAX = (1 << 31) - 1


@inner
def first_fact(row: int, facts: Records) -> int:
    """Index of the first fact of a point's row that was not applied, or -1."""
    low, high = 0, len(facts)
    while low < high:
        middle = (low + high) // 2
        if facts[middle].row < row:
            low = middle + 1
        else:
            high = middle
    while low < len(facts) and facts[low].row == row:
        if facts[low].done == 0:
            return low
        low += 1
    return -1


@kernel
def wide_share(step: int, part: int, whole: int) -> int:
    """floor(step * part / whole) for 0 <= part < whole <= 2^53: bit by bit, since a span of years leaves int64."""
    quotient = step // whole
    rest = step - quotient * whole
    found = quotient * part
    share, left = np.int64(0), np.int64(0)
    bit = np.int64(1) << 53
    while bit > 0:
        share *= 2
        left *= 2
        if left >= whole:
            left -= whole
            share += 1
        if rest & bit:
            left += part
            if left >= whole:
                left -= whole
                share += 1
        bit >>= 1
    return found + share


@inner
def _divisor(a: int, b: int) -> int:
    while b != 0:
        a, b = b, a - a // b * b
    return a


@inner
def set_ratio(p: PointRow, numerator: int, denominator: int, at: int) -> None:
    """Another multiplier from now on; a remainder is carried over in the common denominator.

    Where that is beyond 2^31 (two odd multipliers of five digits each), what is left of it is less than a unit and
    given up.
    """
    divisor = _divisor(numerator, denominator)
    numerator //= divisor
    denominator //= divisor
    rest = np.int64(0)
    if p.flags & SCALED and p.remainder > 0:
        divisor = _divisor(p.remainder, p.denominator)
        rest, before = p.remainder // divisor, p.denominator // divisor
        factor = before // _divisor(before, denominator)
        if factor * denominator <= _RATIO_MAX and factor * numerator <= _RATIO_MAX:
            numerator *= factor
            denominator *= factor
            rest = rest * (denominator // before)
        else:
            rest = rest * denominator // before
    p.flags |= SCALED
    p.numerator = numerator
    p.denominator = denominator
    p.remainder = rest
    p.ratio_since = at


@inner
def set_width(p: PointRow, span: int, at: int) -> None:
    """Another value at which the register rolls over."""
    p.flags |= WIDE
    p.span = span
    p.width_since = at


@inner
def _width(p: PointRow, meta: MetaRow) -> int:
    return p.span if p.flags & WIDE else meta.span


@inner
def begin(p: PointRow, time: int, value: int, grid_ms: int) -> None:
    """Counting goes on here after a time of which nothing is known: no row covers it."""
    p.settled = p.total
    p.row_from = time
    p.row_to = (time // grid_ms + 1) * grid_ms
    p.how = HOW_MEASURED
    p.flags &= ~BARE
    register_accept(p, time, value)


@inner
def _close(p: PointRow, meta: MetaRow, context: Longs, out: Longs) -> None:
    """Ends the open interval at the clock: after it nothing is known."""
    if p.clock > p.row_from or p.total != p.settled:
        start = min(p.row_from, p.clock - 1)  # usage in no time, at the very end of a row, gets a millisecond
        how = HOW_DECLARED if meta.interval_ms >= DAY_MS else p.how
        ledger_row(context, out, meta.number, start, p.clock, p.total - p.settled, how, CAUSE_SWAP)
    p.settled = p.total
    p.row_from = p.clock


@inlined
def _counted(
    p: PointRow,
    meta: MetaRow,
    at: int,
    level: int,
    raw: int,
    cause: int,
    least: int,
    limits: Longs,
    context: Longs,
    lists: Longs,
    instances: Records,
    parts: Records,
    out: Longs,
) -> None:
    """Counts up to a level of the register."""
    start = p.clock
    used, p.remainder = product(p, raw)
    register_rows(
        p,
        meta,
        at,
        used,
        cause,
        least,
        limits[meta.site, SPREAD_MS],
        limits[meta.site, SPREAD_INTERVALS],
        context,
        out,
    )
    register_accept(p, at, level)
    if at > start and meta.wastes_end > meta.wastes:
        waste.usage(meta, start, at, used, context, lists, parts, instances, out)


@inner
def _piece(
    p: PointRow,
    meta: MetaRow,
    at: int,
    level: int,
    raw: int,
    cause: int,
    least: int,
    limits: Longs,
    context: Longs,
    lists: Longs,
    instances: Records,
    parts: Records,
    out: Longs,
) -> None:
    """Counts up to a level of the register that nobody sent."""
    _counted(p, meta, at, level, raw, cause, least, limits, context, lists, instances, parts, out)


@inner
def _reach(p: PointRow, meta: MetaRow, at: int, level: int) -> tuple[int, int]:
    """(difference to a level that a fact tells, verdict): over a rollover, or below zero with VERDICT_FACT."""
    verdict, raw = judge(p, meta, _width(p, meta), True, at, level, 1 << 30)
    if verdict in (0, VERDICT_ROLLOVER):
        return raw, 0
    return level - p.last, VERDICT_FACT


@inner
def _continues(f: FactRow) -> bool:
    return f.kind == MULTIPLIER or f.kind == WIDTH_CHANGED


@inner
def tell(
    p: PointRow,
    meta: MetaRow,
    row: int,
    time: int,
    value: int,
    estimated: bool,
    limits: Longs,
    facts: Records,
    context: Longs,
    scalars: Longs,
    lists: Longs,
    instances: Records,
    parts: Records,
    out: Longs,
) -> bool:
    """Applies the next fact that lies before a reading; False when there is none.

    A fact that tells no value needs one behind it, a later fact's or the reading's: while the reading is not believed,
    it waits.
    """
    k = first_fact(row, facts)
    if k < 0:
        p.flags &= ~WAITS
        return False
    f = facts[k]
    if f.at >= time:
        return False
    known = f.has & FINAL != 0
    if p.clock == NEVER or p.flags & BARE:
        _settle_in(p, meta, f)
    elif known:
        raw, verdict = _reach(p, meta, f.at, f.final)
        if abs(product(p, raw)[0]) > COUNTER_MAX:
            raw = np.int64(0)
            verdict = VERDICT_FACT
        if verdict != 0:
            verdict_row(context, out, meta.number, f.at, f.final, verdict)
        cause = CAUSE_READING if _continues(f) else CAUSE_RESET if f.kind == RESET else CAUSE_SWAP
        _piece(p, meta, f.at, f.final, raw, cause, HOW_MEASURED, limits, context, lists, instances, parts, out)
        _turn(p, meta, f, context, out)
    elif _continues(f):
        if f.has & RATIO and not _bend(
            p, meta, row, k, time, value, estimated, limits, facts, context, lists, instances, parts, out
        ):
            return False
        _turn(p, meta, f, context, out)
    else:
        _close(p, meta, context, out)
        _adopt(p, f)
        p.flags &= ~UNRECORDED
        if f.has & INITIAL:
            begin(p, f.at, f.initial, meta.grid_ms)
        else:
            register_accept(p, f.at, p.last)
            p.row_to = (f.at // meta.grid_ms + 1) * meta.grid_ms
            p.flags |= BARE
    f.done = 1
    scalars[APPLIED] += 1
    return True


@inner
def _adopt(p: PointRow, f: FactRow) -> None:
    """Multiplier and width from the fact on."""
    if f.has & RATIO:
        set_ratio(p, f.numerator, f.denominator, f.at)
    if f.has & WIDTH:
        set_width(p, f.span, f.at)


@inner
def _settle_in(p: PointRow, meta: MetaRow, f: FactRow) -> None:
    """A fact where nothing is counted yet: what it says of the meter, and where counting begins if it tells."""
    _adopt(p, f)
    level = f.initial if f.has & INITIAL else f.final
    if f.has & INITIAL or (_continues(f) and f.has & FINAL):
        if p.clock == NEVER:
            register_first(p, f.at, level, meta.grid_ms)
        else:
            begin(p, f.at, level, meta.grid_ms)


@inner
def _turn(p: PointRow, meta: MetaRow, f: FactRow, context: Longs, out: Longs) -> None:
    """From the old meter to the new one, at the point's clock."""
    _adopt(p, f)
    if f.has & INITIAL:
        register_accept(p, f.at, f.initial)
    if not _continues(f):
        p.flags &= ~UNRECORDED
        if f.has & INITIAL == 0:
            _close(p, meta, context, out)
            p.flags |= BARE


@inner
def _bend(
    p: PointRow,
    meta: MetaRow,
    row: int,
    k: int,
    time: int,
    value: int,
    estimated: bool,
    limits: Longs,
    facts: Records,
    context: Longs,
    lists: Longs,
    instances: Records,
    parts: Records,
    out: Longs,
) -> bool:
    """Counts up to a fact that tells no value, on the line to the next one that is known; False: there is none yet."""
    at = facts[k].at
    span = _width(p, meta)
    end, raw, least = time, np.int64(-1), HOW_MEASURED
    j = k + 1
    while j < len(facts) and facts[j].row == row and facts[j].at < time:
        if facts[j].has & FINAL:
            end = facts[j].at
            raw, _ = _reach(p, meta, end, facts[j].final)
            break
        if not _continues(facts[j]):
            return True  # nothing is known of the time up to the next meter
        j += 1
    if end == time:
        verdict, step = judge(p, meta, span, True, time, value, limits[meta.site, DIPS])
        if verdict == VERDICT_RESET:
            return True  # nor of the time up to a new level
        if verdict not in (0, VERDICT_ROLLOVER):
            return False
        raw = step
        least = HOW_ESTIMATED if estimated else HOW_MEASURED
    if at <= p.clock:
        return True
    there = raw if end == at else wide_share(raw, at - p.clock, end - p.clock)
    level = p.last + there
    if span > 0 and level >= span:
        level -= span
    if meta.interval_ms >= DAY_MS:
        least = max(least, HOW_GAP)
    _piece(p, meta, at, level, there, CAUSE_READING, least, limits, context, lists, instances, parts, out)
    return True


@inlined
def told_register(
    p: PointRow,
    meta: MetaRow,
    time: int,
    value: int,
    estimated: bool,
    limits: Longs,
    context: Longs,
    lists: Longs,
    instances: Records,
    parts: Records,
    out: Longs,
) -> bool:
    """Feeds a register of whose meter something was said; False when its reading was set aside."""
    if p.clock == NEVER:
        register_first(p, time, value, meta.grid_ms)
        return True
    if p.flags & BARE:
        begin(p, time, value, meta.grid_ms)
        return True
    step, cause = register_step(p, meta, _width(p, meta), True, time, value, limits[meta.site, DIPS], context, out)
    if step < 0:
        return False
    least = HOW_ESTIMATED if estimated else HOW_GAP if cause == CAUSE_RESET else HOW_MEASURED
    # Not `_piece`, which is a call: it costs a third of such a reading.
    _counted(p, meta, time, value, step, cause, least, limits, context, lists, instances, parts, out)
    return True


@kernel
def adopt_late(points: Records, said: Records) -> None:
    """Multiplier and width of late facts hold from the clock on, where none that is younger is known."""
    for k in range(len(said)):
        f = said[k]
        p = points[f.row]
        if f.has & RATIO and f.at >= p.ratio_since:
            set_ratio(p, f.numerator, f.denominator, f.at)
        if f.has & WIDTH and f.at >= p.width_since:
            set_width(p, f.span, f.at)


@kernel
def tell_up_to(
    row: int,
    time: int,
    limits: Longs,
    facts: Records,
    context: Longs,
    scalars: Longs,
    meta: Records,
    points: Records,
    lists: Longs,
    instances: Records,
    parts: Records,
    out: Longs,
) -> bool:
    """Applies the next fact of a row that lies up to a time after which no reading will come; False: none is left."""
    p, m = points[row], meta[row]
    context[SITE] = m.site
    context[CURSOR] = 0
    return tell(
        p, m, row, time + 1, np.int64(-1), False, limits, facts, context, scalars, lists, instances, parts, out
    )  # fmt: skip
