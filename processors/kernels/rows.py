"""Emitting rows: one function a stream, into one matrix in the order of emission.

`context` holds the message that is being applied and the next free row. Callers have made sure of room before they
began the reading (`step.READING_ROWS`).
"""

import numpy as np
from numpy.typing import NDArray

from processors.kernels.jit import inlined, inner
from processors.state import (
    ALERTS,
    CURSOR,
    ESTIMATE,
    GAUGES,
    KNOWN_AT,
    LEDGER,
    NO_ESTIMATE,
    OFFSET,
    PARTS,
    REJECTED,
    SITE,
    STATE_FIRING,
    VERDICTS,
)

Longs = NDArray[np.int64]


@inlined
def _next(stream: int, context: Longs, out: Longs) -> int:
    n = context[CURSOR]
    out[n, 0] = stream
    out[n, 1] = context[SITE]
    out[n, 2] = context[OFFSET]
    out[n, 3] = context[KNOWN_AT]
    context[CURSOR] = n + 1
    return n


@inner
def ledger_row(
    context: Longs, out: Longs, point: int, start: int, end: int, quantity: int, how: int, cause: int
) -> None:
    """One quantity of a point over (start, end]."""
    n = _next(LEDGER, context, out)
    out[n, 4] = point
    out[n, 5] = start
    out[n, 6] = end
    out[n, 7] = quantity
    out[n, 8] = how
    out[n, 9] = cause


@inner
def gauge_row(
    context: Longs,
    out: Longs,
    point: int,
    start: int,
    end: int,
    count: int,
    total: int,
    low: int,
    high: int,
    integral: int,
) -> None:
    """What a gauge did over (start, end]."""
    n = _next(GAUGES, context, out)
    out[n, 4] = point
    out[n, 5] = start
    out[n, 6] = end
    out[n, 7] = count
    out[n, 8] = total
    out[n, 9] = low
    out[n, 10] = high
    out[n, 11] = integral


@inner
def alert_row(
    context: Longs, out: Longs, instance: int, episode: int, state: int, valid_at: int, started_at: int, level: int
) -> None:
    """One change of an alert; `level`: how often its severity has stepped up. What fires has the context's estimate."""
    n = _next(ALERTS, context, out)
    out[n, 4] = instance
    out[n, 5] = episode
    out[n, 6] = state
    out[n, 7] = valid_at
    out[n, 8] = started_at
    out[n, 9] = level
    out[n, 10] = context[ESTIMATE] if state == STATE_FIRING else NO_ESTIMATE


@inner
def part_row(
    context: Longs, out: Longs, instance: int, episode: int, point: int, start: int, end: int, quantity: int, final: int
) -> None:
    """What an episode wasted at a point over (start, end]."""
    n = _next(PARTS, context, out)
    out[n, 4] = instance
    out[n, 5] = episode
    out[n, 6] = point
    out[n, 7] = start
    out[n, 8] = end
    out[n, 9] = quantity
    out[n, 10] = final


@inner
def verdict_row(context: Longs, out: Longs, point: int, time: int, value: int, code: int) -> None:
    """A reading that was accepted with a doubt, or set aside."""
    n = _next(VERDICTS, context, out)
    out[n, 4] = point
    out[n, 5] = time
    out[n, 6] = value
    out[n, 7] = code


@inner
def reject_row(
    context: Longs, out: Longs, message: int, reason: int, reading: int, point: int, time: int, value: int, quality: int
) -> None:
    """A message (reading -1) or a reading that cannot be used."""
    n = _next(REJECTED, context, out)
    out[n, 4] = message
    out[n, 5] = reason
    out[n, 6] = reading
    out[n, 7] = point
    out[n, 8] = time
    out[n, 9] = value
    out[n, 10] = quality
