"""Gauges and states: count, sum, minimum, maximum and integral of every interval (a, b].

A value holds until the next reading, at most `hold_ms`. The integral is value x milliseconds; with values of at most
2^40 and intervals of at most a day it cannot overflow.
"""

from processors.kernels.jit import inlined
from processors.kernels.rows import Longs, gauge_row
from processors.state import NEVER, MetaRow, PointRow


@inlined
def _open(p: PointRow, end: int) -> None:
    p.row_to = end
    p.count = 0
    p.sum = 0
    p.minimum = 0
    p.maximum = 0
    p.integral = 0


@inlined
def _close(p: PointRow, meta: MetaRow, context: Longs, out: Longs) -> None:
    gauge_row(
        context, out, meta.number, p.row_to - meta.grid_ms, p.row_to, p.count, p.sum, p.minimum, p.maximum, p.integral
    )


@inlined
def gauge_step(p: PointRow, meta: MetaRow, time: int, value: int, context: Longs, out: Longs) -> None:
    """Takes a reading: closes the intervals that its time has reached, and opens the next one.

    `row_to` is the end of its open interval. At most 100 intervals are filled with a held value: max_age is bounded
    by the layout.
    """
    grid = meta.grid_ms
    if p.clock == NEVER:
        _open(p, -((-time) // grid) * grid)
    else:
        held_until = min(time, p.clock + meta.hold_ms)
        at = p.clock
        while p.row_to < time:
            seen = min(held_until, p.row_to) - at
            if seen > 0:
                p.integral += p.last * seen
                at += seen
            if p.count > 0 or seen > 0:
                _close(p, meta, context, out)
            following = p.row_to + grid
            if following - grid >= held_until:
                following = -((-time) // grid) * grid
            _open(p, following)
        if held_until > at:
            p.integral += p.last * (held_until - at)
    if p.count == 0:
        p.minimum = value
        p.maximum = value
    else:
        p.minimum = min(p.minimum, value)
        p.maximum = max(p.maximum, value)
    p.count += 1
    p.sum += value
    p.clock = time
    p.last = value
    if p.row_to == time:
        _close(p, meta, context, out)
        _open(p, time + grid)
