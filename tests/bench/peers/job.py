"""The job, its input and what must come out of it.

Points report a value every 10 s. Wanted: count, sum, minimum and maximum of every point and minute, and an alert when a
point has been over 80 for three minutes. One in a hundred of a gateway's rounds arrives up to 20 s late, in order; one
reading in a thousand changes places with the point's next one, so that it arrives behind its point's clock.

The truth is computed here by numpy over whole arrays; no system shares code with it.
"""

import dataclasses
from typing import Final

import numpy as np
from numpy.typing import NDArray

BEGIN_MS: Final = 1_700_000_040_000
"""A whole minute."""
STEP_MS: Final = 10_000
WINDOW_MS: Final = 60_000
LATE_MS: Final = 20_000
HOLD_MS: Final = 180_000
THRESHOLD: Final = 80_000
"""Values are thousandths: integers in ganzhi, decimals with three places in JSON, doubles in the rivals' Avro."""
GATEWAY_POINTS: Final = 500
PARTITIONS: Final = 4
SITE_POINTS: Final = 2_500
"""Every partition has a quarter of 10,000 points: a site of five gateways."""

Longs = NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Input:
    """Readings in the order in which they arrive.

    Attributes:
        points: number of points; a multiple of PARTITIONS x GATEWAY_POINTS.
        rounds: readings of each.
        point: by reading.
        time_ms: by reading.
        value: by reading, thousandths.
        behind: whether a later reading of its point arrived before it.
    """

    points: int
    rounds: int
    point: Longs
    time_ms: Longs
    value: Longs
    behind: NDArray[np.bool_]

    @property
    def end_ms(self) -> int:
        """Behind all readings; a multiple of a minute after the begin when rounds are a multiple of six."""
        return BEGIN_MS + self.rounds * STEP_MS


def gateway_of(points: Longs) -> Longs:
    """Gateway of each point."""
    return points // GATEWAY_POINTS


def partition_of(points: Longs) -> Longs:
    """Partition of each point: gateways take turns."""
    return gateway_of(points) % PARTITIONS


def make(points: int, rounds: int, seed: int = 1) -> Input:
    """The input; the same for the same arguments."""
    if points % (PARTITIONS * GATEWAY_POINTS) or rounds % 6:
        raise ValueError(f"{points} points must be a multiple of {PARTITIONS * GATEWAY_POINTS}, {rounds} rounds of 6")
    random = np.random.default_rng(seed)
    point = np.tile(np.arange(points, dtype=np.int64), rounds)
    turn = np.repeat(np.arange(rounds, dtype=np.int64), points)
    time_ms = BEGIN_MS + turn * STEP_MS + (point * 7919) % (STEP_MS - 1) + 1  # never on a boundary of a minute
    value = 25_000 + (turn * 131 + point * 977) % 10_000 + random.integers(-1_000, 1_000, len(point))
    value[random.random(len(point)) < 0.001] = 95_000
    # Hot for four of ten minutes, in whole spells only: what a cut one does at exactly three minutes is a matter of taste.
    place = (turn + point) % 60
    whole = (turn >= place) & (turn - place + 24 < rounds)
    value[(point % 100 == 7) & (place < 24) & whole] = 90_000
    value[turn == rounds - 1] = 20_000
    late = random.random((rounds, points // GATEWAY_POINTS)) < 0.01
    delay = np.where(late, random.integers(1, LATE_MS, late.shape), 0)
    arrival = time_ms + delay[turn, gateway_of(point)]
    # A point's order is kept: a reading arrives no sooner than the one before it.
    arrival = np.maximum.accumulate(arrival.reshape(rounds, points), axis=0).reshape(-1)
    order = np.lexsort((turn, arrival))
    point, time_ms, value, turn = point[order], time_ms[order], value[order], turn[order]
    behind = _swap(point, turn, time_ms, value, rounds, random)
    return Input(points, rounds, point, time_ms, value, behind)


def _swap(
    point: Longs, turn: Longs, time_ms: Longs, value: Longs, rounds: int, random: np.random.Generator
) -> NDArray[np.bool_]:
    """Lets a reading in a thousand change places with the next one of its point; which are behind now."""
    place = np.lexsort((turn, point)).reshape(-1, rounds)  # [point, turn] -> place in the order of arrival
    behind = np.zeros(len(point), np.bool_)
    chosen = random.random((place.shape[0], rounds // 2)) < 0.002
    for p, pair in zip(*np.nonzero(chosen), strict=True):
        a, b = place[p, 2 * pair], place[p, 2 * pair + 1]
        for column in (turn, time_ms, value):
            column[a], column[b] = column[b], column[a]
        behind[b] = True
    return behind


@dataclasses.dataclass(frozen=True)
class Truth:
    """What must come out.

    Attributes:
        windows: [n, 6]: point, begin of the minute, count, sum, minimum, maximum.
        alerts: (point, since).
    """

    windows: Longs
    alerts: set[tuple[int, int]]


def truth(data: Input) -> Truth:
    """Windows of all readings, in whatever order they arrived, and alerts."""
    point, time_ms, value = data.point, data.time_ms, data.value
    minute = time_ms - time_ms % WINDOW_MS
    order = np.lexsort((minute, point))
    point, minute, value = point[order], minute[order], value[order]
    first = np.flatnonzero(np.concatenate([[True], (np.diff(point) != 0) | (np.diff(minute) != 0)]))
    windows = np.column_stack(
        [
            point[first],
            minute[first],
            np.diff(np.append(first, len(point))),
            np.add.reduceat(value, first),
            np.minimum.reduceat(value, first),
            np.maximum.reduceat(value, first),
        ]
    )
    return Truth(windows, _alerts(data))


def _alerts(data: Input) -> set[tuple[int, int]]:
    """Spells over the threshold, in the order of arrival without what is behind."""
    found: set[tuple[int, int]] = set()
    order = np.argsort(data.point, kind="stable")
    order = order[~data.behind[order]]
    since, fired, last = -1, False, -1
    for point, time_ms, value in zip(
        data.point[order].tolist(), data.time_ms[order].tolist(), data.value[order].tolist(), strict=True
    ):
        if point != last:
            since, fired, last = -1, False, point
        if value <= THRESHOLD:
            since, fired = -1, False
        elif since < 0:
            since = time_ms
        elif not fired and time_ms - since >= HOLD_MS:
            fired = True
            found.add((point, since))
    return found
