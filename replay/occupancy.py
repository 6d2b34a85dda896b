"""Who was in a room, minute by minute, over a history: counted where there is a people counter, else estimated.

A room that has motion alone is occupied while something moves and for the model's `motion_hold` after it: too little
for the estimate, which weighs several kinds of evidence.

The estimate is that of the engine (`processors.kernels.presence`), run by the time of the events (`backtest`) on a grid
as fine as is asked for: gauge rows of the space's points are the table.
"""

import dataclasses
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from processors.outputs import Output
from replay.backtest import Span, on_trial, start
from replay.readings import Readings
from schemas.codec import contract_of
from schemas.decode_rows import read_rows
from schemas.model.document import Document
from schemas.model.presence import COUNTER_ROLE, estimators, in_steps, parameters, rows_of, values_of
from schemas.topics import METER_READINGS

MOTION_ROLE: Final = "motion"
GAUGE_CONTRACT: Final = "gauge_rows"
_WARM_UP: Final = tuple(parameters()).index("warm_up")
_HOLD: Final = tuple(parameters()).index("motion_hold")
_POINT, _FROM, _TO, _COUNT, _MAXIMUM, _INTEGRAL = 3, 4, 5, 6, 9, 10


@dataclasses.dataclass(frozen=True)
class Presence:
    """A space over a history, an entry an interval of which something is known.

    Attributes:
        site: its site.
        space: its id.
        how: counted, estimated, or motion.
        from_ms: int64, start of each interval, UTC.
        every_ms: length of an interval.
        probability: that somebody was there, mean over the interval; 0 or 1 where it is not estimated.
        occupied: whether somebody was there for at least half of it.
        people: mean number; None where nobody is counted.
    """

    site: str
    space: str
    how: Literal["counted", "estimated", "motion"]
    from_ms: NDArray[np.int64]
    every_ms: int
    probability: NDArray[np.float64]
    occupied: NDArray[np.bool_]
    people: NDArray[np.float64] | None


def presence(document: Document, readings: Readings, span: Span, every_s: int = 60) -> list[Presence]:
    """The spaces of a site that have a counter, an estimate, or motion, by id.

    Args:
        document: of the site.
        readings: of its points, from a warm-up before the span on.
        span: which intervals are wanted.
        every_s: length of an interval; divides a day.
    """
    trial = dataclasses.replace(on_trial(document, []), interval_s=every_s)
    rows = _gauges(trial, readings)
    found: list[Presence] = []
    for one in estimators(trial):
        numbers = [number for _, number in one.evidence]
        seen = readings.times_ms[np.isin(readings.numbers, numbers)]
        if not len(seen):
            continue
        known_ms = int(seen[0]) + one.values[_WARM_UP]
        likely, state = (_of(rows, [number], span, known_ms) for number in (one.probability, one.state))
        at, mean, _ = likely
        found.append(
            Presence(document.site, one.space, "estimated", at, 1000 * every_s, mean / 100_000, state[1] >= 0.5, None)
        )
    known = {one.space for one in found}
    for space, points in _of_role(trial, COUNTER_ROLE).items():
        at, mean, most = _of(rows, points, span, span.from_ms)
        there = (most > 0).astype(np.float64)
        found.append(Presence(document.site, space, "counted", at, 1000 * every_s, there, most > 0, mean))
        known.add(space)
    for space, points in _of_role(trial, MOTION_ROLE).items():
        if space not in known:
            at, mean, _ = _of(rows, points, span, span.from_ms - _hold_ms(trial, space))
            moved = _held(at, mean > 0, _hold_ms(trial, space))
            wanted = at >= span.from_ms
            certain = moved[wanted].astype(np.float64)
            found.append(
                Presence(document.site, space, "motion", at[wanted], 1000 * every_s, certain, moved[wanted], None)
            )
    return sorted(found, key=lambda one: one.space)


def _hold_ms(document: Document, space: str) -> int:
    """For how long people who sit still are not seen, by the model of the space."""
    kind = next((row.get("kind") for row in rows_of(document.table("spaces")) if row.get("id") == space), None)
    values = values_of(rows_of(document.table("occupancy_models")), document.site, space, str(kind or ""))
    return in_steps(values)[_HOLD]


def _held(at: NDArray[np.int64], moved: NDArray[np.bool_], hold_ms: int) -> NDArray[np.bool_]:
    """Whether something moved in an interval, or in one that began at most `hold_ms` before it."""
    last = np.maximum.accumulate(np.where(moved, at, at[:1] - hold_ms - 1 if len(at) else at))
    held: NDArray[np.bool_] = at - last <= hold_ms
    return held


def _of_role(document: Document, role: str) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for row in rows_of(document.table("points")):
        if row.get("role") == role and row.get("space"):
            found.setdefault(str(row["space"]), []).append(int(str(row["number"])))
    return found


def _gauges(document: Document, readings: Readings) -> NDArray[np.int64]:
    processor = start(document, METER_READINGS)
    processor.expect(readings.facts)
    processor.take(publish=False)
    feed = readings.bind(processor.layout, document.site)
    edges = np.flatnonzero(np.r_[True, feed.times_ms[1:] != feed.times_ms[:-1]]) if len(feed.rows) else np.zeros(0, int)
    cuts = [*edges[::100_000].tolist(), len(feed.rows)]
    parts: list[NDArray[np.int64]] = [np.zeros((0, 11), np.int64)]
    for first, stop in pairwise(cuts):
        processor.feed(feed, first, stop)
        parts += [read_rows(GAUGE_CONTRACT, raw).matrix for raw in _messages(processor.take())]
    return np.concatenate(parts)


def _messages(outputs: Iterable[Output]) -> Iterator[bytes]:
    for output in outputs:
        if contract_of(output.value) == GAUGE_CONTRACT:
            yield output.value


def _of(
    rows: NDArray[np.int64], numbers: list[int], span: Span, known_ms: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """(start of each interval, mean of the points' sum, largest value) of the intervals that are known."""
    own = rows[np.isin(rows[:, _POINT], numbers)]
    own = own[(own[:, _FROM] >= max(span.from_ms, known_ms)) & (own[:, _FROM] < span.to_ms)]
    at, place = np.unique(own[:, _FROM], return_inverse=True)
    length = (own[:, _TO] - own[:, _FROM]).astype(np.float64)
    mean = np.zeros(len(at))
    np.add.at(mean, place, own[:, _INTEGRAL] / length)
    most = np.zeros(len(at), np.int64)
    np.maximum.at(most, place, own[:, _MAXIMUM])
    return at, mean, most
