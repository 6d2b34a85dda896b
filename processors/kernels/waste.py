"""What an episode wastes: the usage of the points that its rule names, from its start to its end.

A part counts from the start of the condition, also while it is pending, and is cut at the ledger's grid once it
fires, so that tariffs can be applied. The last part is final when the point's clock has passed the end. A gauge of
power or flow is integrated (value x ms, divided by the unit's divisor with the remainder carried); a register's or
delta's usage is shared evenly over the time between its readings.
"""

import numpy as np
from numpy.typing import NDArray

from processors.kernels.jit import inner
from processors.kernels.registers import share
from processors.kernels.rows import Longs, part_row
from processors.layout import GAUGE
from processors.state import CLOSED, CLOSING, COUNTING, FIRING, NEVER, MetaRow, PartRow, RuleRow

Records = NDArray[np.void]

CUTS_MAX = 100
"""A reading after a longer silence cuts its part no more often."""


@inner
def _emit(x: PartRow, meta: MetaRow, instance: int, end: int, final: int, context: Longs, out: Longs) -> None:
    quantity = x.amount
    if meta.kind >= GAUGE:
        quantity = x.amount // meta.divisor if meta.divisor > 0 else np.int64(0)
        x.amount -= quantity * meta.divisor
    else:
        x.amount = 0
    part_row(context, out, instance, x.episode, meta.number, x.start, max(end, x.start), quantity, final)
    x.start = end


@inner
def begin(
    instance: int,
    start: int,
    episode: int,
    rule: RuleRow,
    context: Longs,
    lists: Longs,
    meta: Records,
    points: Records,
    parts: Records,
    out: Longs,
) -> None:
    """The condition became true at `start`: what the points have used since then counts.

    A gauge whose clock is ahead of `start` has held its value since `since` <= start (see `alerts.evaluate`), so the
    time between counts too.
    """
    for k in range(rule.parts, rule.parts_end):
        x = parts[lists[k, 0]]
        if x.open == CLOSING:
            _emit(x, meta[lists[k, 1]], instance, x.end, 1, context, out)
        p = points[lists[k, 1]]
        x.open = COUNTING
        x.start = start
        x.live_from = start
        x.end = NEVER
        x.episode = episode
        x.amount = 0
        x.before_ms = 0
        if meta[lists[k, 1]].kind >= GAUGE and p.clock > start:
            x.amount = p.last * (p.clock - max(start, p.since))


@inner
def drop(rule: RuleRow, lists: Longs, parts: Records) -> None:
    """A pending condition ended before it fired: nothing of it counts."""
    for k in range(rule.parts, rule.parts_end):
        parts[lists[k, 0]].open = CLOSED


@inner
def stop(end: int, rule: RuleRow, lists: Longs, meta: Records, points: Records, parts: Records) -> None:
    """The condition ended at `end`; usage after it that was counted already is taken back."""
    for k in range(rule.parts, rule.parts_end):
        x = parts[lists[k, 0]]
        if x.open == CLOSED:  # a new document made the rule name this point in the middle of the episode
            continue
        p = points[lists[k, 1]]
        x.end = end
        if meta[lists[k, 1]].kind >= GAUGE and p.clock > end:
            x.amount -= p.last * (p.clock - max(end, p.since, x.live_from))


@inner
def resume(start: int, rule: RuleRow, lists: Longs, meta: Records, points: Records, parts: Records) -> None:
    """The condition came back before the alert was resolved: the episode goes on, the time between does not count.

    What the point used before the pause and since its last reading is known with its next one (`usage`).
    """
    for k in range(rule.parts, rule.parts_end):
        x = parts[lists[k, 0]]
        if x.open == CLOSED:
            continue
        clock = points[lists[k, 1]].clock
        held = x.end
        if meta[lists[k, 1]].kind >= GAUGE:
            held = min(held, clock + meta[lists[k, 1]].hold_ms)
        if clock != NEVER and held > max(clock, x.live_from):
            x.before_ms += held - max(clock, x.live_from)
        x.open = COUNTING
        x.end = NEVER
        x.live_from = start


@inner
def finish(
    instance: int,
    rule: RuleRow,
    context: Longs,
    lists: Longs,
    meta: Records,
    points: Records,
    parts: Records,
    out: Longs,
) -> None:
    """The alert ended: parts whose point has passed the end are final now, the others when it has."""
    for k in range(rule.parts, rule.parts_end):
        x = parts[lists[k, 0]]
        if x.open == CLOSED:
            continue
        if points[lists[k, 1]].clock >= x.end:
            _emit(x, meta[lists[k, 1]], instance, x.end, 1, context, out)
            x.open = CLOSED
        else:
            x.open = CLOSING


@inner
def _count(x: PartRow, low: int, high: int, start: int, end: int, used: int, gauge: bool) -> None:
    """Adds the usage of (low, high], a part of (start, end] in which `used` (a gauge: the value held) was used."""
    if gauge:
        x.amount += used * (high - low)
    elif end - start <= 2_147_483_648:
        x.amount += share(used, high - start, end - start) - share(used, low - start, end - start)


@inner
def usage(
    m: MetaRow,
    start: int,
    end: int,
    used: int,
    context: Longs,
    lists: Longs,
    parts: Records,
    instances: Records,
    out: Longs,
) -> None:
    """A point used `used` over (start, end] (a gauge: held that value): counts it in the open parts.

    Must come before the reading at `end` wakes any rule: what the reading changes holds from `end` on.
    """
    gauge = m.kind >= GAUGE
    held = min(end, start + m.hold_ms) if gauge else end
    for k in range(m.wastes, m.wastes_end):
        x = parts[lists[k, 0]]
        instance = lists[k, 1]
        if x.open == CLOSED:
            continue
        if x.before_ms > 0:
            _count(x, start, start + x.before_ms, start, end, used, gauge)
            x.before_ms = 0
        low = max(start, x.live_from)
        high = held if x.end == NEVER else min(held, x.end)
        if high > low:
            if x.open == COUNTING and instances[instance].phase == FIRING:
                boundary = (max(low, x.start) // m.grid_ms + 1) * m.grid_ms
                cuts = 0
                while boundary <= high and cuts < CUTS_MAX:
                    if boundary > low:
                        _count(x, low, boundary, start, end, used, gauge)
                        low = boundary
                    _emit(x, m, instance, boundary, 0, context, out)
                    boundary += m.grid_ms
                    cuts += 1
            _count(x, low, high, start, end, used, gauge)
        if x.open == CLOSING and end >= x.end:
            _emit(x, m, instance, x.end, 1, context, out)
            x.open = CLOSED
