"""Registers and deltas: from readings to usage, without inventing or losing a unit.

A register's usage is put on the grid by linear interpolation of its running total: the share of a step d over dt that
lies before a boundary b is floor(d (b - t0) / dt), and a row is the difference of two such totals. So rows between
any two boundaries sum to the difference of two interpolated totals, and over the whole life to last minus first,
exactly.
"""

import numpy as np

from processors.kernels.jit import inlined, inner
from processors.kernels.rows import Longs, ledger_row, verdict_row
from processors.layout import COUNTER_MAX, DAY_MS, RATE_MAX
from processors.state import (
    CAUSE_READING,
    CAUSE_RESET,
    CAUSE_ROLLOVER,
    HOW_DECLARED,
    HOW_ESTIMATED,
    HOW_GAP,
    HOW_MEASURED,
    SCALED,
    UNRECORDED,
    VERDICT_DIP,
    VERDICT_RATE,
    VERDICT_RESET,
    VERDICT_ROLLOVER,
    VERDICT_ZEROS,
    MetaRow,
    PointRow,
)

_PENDS_MAX = 32_000
"""int16"""
_SMALL = 1 << 31
"""Products of two such numbers are int64."""


@inlined
def plausible(step: int, elapsed_ms: int, meta: MetaRow) -> bool:
    """Whether a step is at most twice the rated one (technical guideline of 2008: twice the branch's maximum power).

    One interval is added to the time, since a register counts in whole units and a step may have been due since the
    last reading. Bounds keep the product inside int64: three years, 2^32 units an hour.
    """
    if step <= meta.step_sure or meta.rate_max <= 0 or meta.rate_max > RATE_MAX:
        return True
    seconds = min(elapsed_ms + meta.interval_ms, 100_000_000_000) // 1000 + 1
    return step <= meta.rate_max * 2 * seconds // 3600


@inner
def share(step: int, part_ms: int, whole_ms: int) -> int:
    """floor(step * part / whole) without overflow, for 0 <= part <= whole <= 2^31 (24 days)."""
    quotient = step // whole_ms
    return quotient * part_ms + (step - quotient * whole_ms) * part_ms // whole_ms


@inner
def set_aside(p: PointRow, time: int, value: int) -> None:
    """Remembers a reading on a lower level: the next ones tell a glitch from a new level."""
    if p.pends > 0 and value >= p.pend_value:
        p.pends = min(p.pends + 1, _PENDS_MAX)
    else:
        p.pends = 1
        p.pend_base = value
    p.pend_value = value
    p.pend_time = time


@inner
def _fraction(p: PointRow, raw: int) -> tuple[int, int]:
    """`product` where there is something to divide."""
    quotient = raw // p.denominator
    if abs(quotient) >= COUNTER_MAX // (p.numerator + 1):
        return np.int64(COUNTER_MAX + 1), np.int64(p.remainder)
    rest = (raw - quotient * p.denominator) * p.numerator + p.remainder
    whole = rest // p.denominator
    return quotient * p.numerator + whole, rest - whole * p.denominator


@inlined
def product(p: PointRow, raw: int) -> tuple[int, int]:
    """(usage, remainder in 1/denominator) of a difference of readings: exactly raw x numerator / denominator.

    Counts the remainder that is carried; usage beyond every counter is COUNTER_MAX + 1.
    """
    if p.flags & SCALED == 0:
        return raw, np.int64(0)
    # A whole multiplier, which nearly all are, needs none of the three divisions, and no call.
    if p.denominator == 1 and abs(raw) < _SMALL and (abs(raw) + 1) * (p.numerator + 1) <= COUNTER_MAX:
        return raw * p.numerator, np.int64(0)
    return _fraction(p, raw)


@inlined
def believable(p: PointRow, step: int, elapsed_ms: int, told: bool, meta: MetaRow) -> bool:
    """Whether a step is plausible once it is multiplied; `told`: whether there may be a multiplier."""
    if not told:
        return plausible(step, elapsed_ms, meta)
    used, _ = product(p, step)
    return used <= COUNTER_MAX and plausible(used, elapsed_ms, meta)


@inlined
def judge(p: PointRow, meta: MetaRow, span: int, told: bool, time: int, value: int, dips: int) -> tuple[int, int]:
    """(verdict, difference) of a reading; it changes nothing.

    A value below the last one is a rollover (last over 95 % of the span and a plausible difference), else a dip:
    discarded if the register recovers, and a new level (VERDICT_RESET) when `dips` readings in a row stay on it. A
    level of 0 is none before it moves: files and gateways write 0 where they know nothing, and a meter that was reset
    to 0 has used nothing until then. A difference counts with the verdicts 0, VERDICT_ROLLOVER and VERDICT_RESET.
    """
    step = value - p.last
    elapsed = time - p.clock
    if step >= 0:
        return (0 if believable(p, step, elapsed, told, meta) else VERDICT_RATE), step
    over = step + span
    if over >= 0 and p.last > span - span // 20 and span > 0 and believable(p, over, elapsed, told, meta):
        return VERDICT_ROLLOVER, over
    stays = p.pends > 0 and value >= p.pend_value
    if (p.pends + 1 if stays else 1) < dips:
        return VERDICT_DIP, step
    if value == 0:
        return VERDICT_ZEROS, step
    return VERDICT_RESET, (value - p.pend_base if stays else 0)


@inlined
def register_step(
    p: PointRow, meta: MetaRow, span: int, told: bool, time: int, value: int, dips: int, context: Longs, out: Longs
) -> tuple[int, int]:
    """The difference to the last accepted reading, or (-1, cause) when this reading is set aside (see `judge`)."""
    verdict, step = judge(p, meta, span, told, time, value, dips)
    if verdict == 0:
        return step, CAUSE_READING
    verdict_row(context, out, meta.number, time, value, verdict)
    if verdict == VERDICT_ROLLOVER:
        return step, CAUSE_ROLLOVER
    if verdict == VERDICT_RESET:
        p.flags |= UNRECORDED
        return step, CAUSE_RESET
    if verdict == VERDICT_DIP or verdict == VERDICT_ZEROS:
        set_aside(p, time, value)
    else:
        p.pend_time = time
        p.pend_value = value
        p.pends = 0
    return -1, CAUSE_READING


@inlined
def register_rows(
    p: PointRow,
    meta: MetaRow,
    time: int,
    step: int,
    cause: int,
    least: int,
    spread_ms: int,
    spread_intervals: int,
    context: Longs,
    out: Longs,
) -> None:
    """Puts usage over (clock, time] on the grid and emits the rows of the intervals that it closes.

    `least` is the best way in which the usage may be known. Usage in no time (a final read at the time of the last
    reading) waits in the open interval; usage below zero (a final read below it) is one row.
    """
    start = p.clock
    elapsed = time - start
    grid = meta.grid_ms
    total = p.total + step
    if elapsed == 0:
        p.total = total
        return
    if meta.interval_ms >= DAY_MS:  # read by hand: the span between two readings is all that is known
        how = HOW_DECLARED if least == HOW_MEASURED else least
        ledger_row(context, out, meta.number, p.row_from, time, total - p.settled, how, cause)
        p.row_from = time
        p.settled = total
        p.total = total
        return
    how = max(least, HOW_GAP) if elapsed > 2 * meta.interval_ms else least
    worst = max(how, p.how)
    if time >= p.row_to:
        if elapsed > spread_ms or elapsed > spread_intervals * grid or step < 0:
            ledger_row(context, out, meta.number, p.row_from, time, total - p.settled, max(worst, HOW_GAP), cause)
            p.row_from = time
            p.row_to = (time // grid + 1) * grid
            p.settled = total
            worst = HOW_MEASURED
        else:
            while p.row_to <= time:
                there = p.total + share(step, p.row_to - start, elapsed)
                ledger_row(context, out, meta.number, p.row_from, p.row_to, there - p.settled, worst, cause)
                p.row_from = p.row_to
                p.settled = there
                worst = how if p.row_to < time else HOW_MEASURED
                p.row_to += grid
    p.how = worst
    p.total = total


@inlined
def register_accept(p: PointRow, time: int, value: int) -> None:
    """Makes a reading the last accepted one."""
    p.clock = time
    p.last = value
    p.pends = 0
    p.pend_time = time
    p.pend_value = value


@inner
def register_first(p: PointRow, time: int, value: int, grid_ms: int) -> None:
    """The first reading of a life: usage counts from here."""
    p.total = 0
    p.settled = 0
    p.row_from = time
    p.row_to = (time // grid_ms + 1) * grid_ms
    p.how = HOW_MEASURED
    register_accept(p, time, value)


@inner
def delta_row(
    p: PointRow, meta: MetaRow, time: int, value: int, span_ms: int, estimated: bool, context: Longs, out: Longs
) -> None:
    """The usage of an interval that ends at `time`, at its native length; an event has one millisecond."""
    length = span_ms if span_ms > 0 else max(meta.interval_ms, 1)
    ledger_row(
        context,
        out,
        meta.number,
        time - length,
        time,
        value,
        HOW_ESTIMATED if estimated else HOW_MEASURED,
        CAUSE_READING,
    )
    p.clock = time
    p.last = value
