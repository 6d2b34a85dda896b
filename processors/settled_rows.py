"""Ledger and gauge rows of some points of a site over their whole history, by the kernels that the live task uses.

Points do not depend on each other here (rules see nothing), so readings are fed point by point.
"""

import dataclasses
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from processors import facts
from processors.advance import Documents, Processor, buffer
from processors.arrivals import Placed, Readings, Version
from processors.kernels.rows import Longs
from processors.kernels.settle import GAUGE_KEY, LEDGER_KEY, is_sorted, rising
from processors.kernels.step import step
from processors.state import CLOCK, GAUGES, LEDGER, OUT_COLUMNS, POINT, REMOVED, SHARED, empty_state
from processors.transfer import transfer
from schemas.decode import BACKFILL, MESSAGE_COLUMNS, TIME_MAX, M

LEDGER_COLUMNS: Final = [4, 6, 5, 8, 7]
"""Of a kernel's row: point, to, from, how, quantity."""
GAUGE_COLUMNS: Final = [4, 6, 5, 7, 8, 9, 10, 11]
"""Of a kernel's row: point, to, from, count, sum, minimum, maximum, integral."""
_ROWS: Final = 65_536
_NOT_COUNTED: Final = ("settled", "fact_time", "fact_value", "since", "dirty_from", "dirty_to", "fact_good")
_END: Final = np.dtype(
    [(name, kind[0]) for name, kind in (POINT.fields or {}).items() if name not in _NOT_COUNTED and name not in SHARED]
)


@dataclasses.dataclass(frozen=True)
class Rows:
    """What a history gives.

    Attributes:
        ledger: int64[n, 5], point, to, from, how, quantity, ascending.
        gauges: int64[n, 8], point, to, from, count, sum, minimum, maximum, integral, ascending.
    """

    ledger: Longs
    gauges: Longs


def in_event_order(
    readings: Readings, placed: Sequence[Placed], versions: Sequence[Version]
) -> tuple[Readings, list[Placed]]:
    """Readings of points, one point after the other, in the order of their time; of equal times the last one.

    Args:
        readings: by point, within one in the order of arrival.
        placed: the facts that stand, in the order in which they happened.
        versions: of the site. Each reading and fact gets the one that is in force at its time, the first that knows the
            point before that, and the last that knows it after that.

    Returns:
        (readings, facts by version): a reading comes after the facts that happened before its time.
    """
    numbers, times = readings.numbers, readings.times
    bounds = np.flatnonzero(np.diff(numbers)) + 1
    kept: list[NDArray[np.int64]] = []
    for first, stop in zip([0, *bounds], [*bounds, len(numbers)], strict=True):
        own = times[first:stop]
        if rising(own):
            kept.append(np.arange(first, stop))
            continue
        order = np.argsort(own, kind="stable")
        last = np.ones(len(order), bool)
        last[:-1] = own[order[1:]] != own[order[:-1]]
        kept.append(order[last] + first)
    order = np.concatenate([np.zeros(0, np.int64), *kept])
    numbers, times = numbers[order], times[order]
    place = in_force(numbers, times, versions)
    moved = [
        dataclasses.replace(
            fact,
            # Those that stand have replaced whatever they could when they were told, not what happened before them.
            fact=dataclasses.replace(fact.fact, replaced=0),
            version=int(in_force(fact.numbers[:1].astype(np.int32), np.array([fact.fact.at]), versions)[0]),
        )
        for fact in placed
    ]
    moved.sort(key=lambda fact: fact.version)
    told = np.zeros(len(order), np.int32)
    for version in {fact.version for fact in moved}:
        happened = np.array([fact.fact.at for fact in moved if fact.version == version])
        own_readings = place == version
        told[own_readings] = np.searchsorted(happened, times[own_readings], "left")
    return Readings(numbers, times, readings.values[order], readings.qualities[order], place, told), moved


def in_force(numbers: NDArray[np.int32], times: Longs, versions: Sequence[Version]) -> NDArray[np.int32]:
    """Which version of a site computes points at times."""
    place = np.zeros(len(times), np.int32)
    if len(versions) == 1:
        return place
    for index, version in enumerate(versions):
        place[times >= version.since_ms] = index
    known = np.stack([version.row_of(numbers) >= 0 for version in versions])
    low = known.argmax(axis=0)
    high = len(versions) - 1 - known[::-1].argmax(axis=0)
    place = np.clip(place, low, high).astype(np.int32)
    while True:  # a point may have been left out for a time: the one before knows it
        lost = ~known[place, np.arange(len(place))]
        if not lost.any():
            return place
        place[lost] -= 1


class Runner(Processor):
    """Computes blocks of points of one site.

    Args:
        topic: input topic.
        partition: of it.
        documents: finds documents.
        versions: of the site.
    """

    def __init__(self, topic: str, partition: int, documents: Documents, versions: Sequence[Version]) -> None:
        super().__init__(topic, partition, documents)
        self._versions = versions
        self._ledger: list[Longs] = []
        self._gauges: list[Longs] = []
        self._bounds = [len(buffer(version.layout)) for version in versions]

    def run(self, readings: Readings, facts_of: Sequence[Placed]) -> Rows:
        """The rows of points, each from the start of its life.

        Args:
            readings: by point; the versions of a point's readings ascend, and within one their facts.
            facts_of: facts about the points, by version and in the order in which they are to be known.
        """
        self._ledger = [np.zeros((0, len(LEDGER_COLUMNS)), np.int64)]
        self._gauges = [np.zeros((0, len(GAUGE_COLUMNS)), np.int64)]
        present = np.unique([*np.unique(readings.versions).tolist(), *(fact.version for fact in facts_of)]).astype(int)
        for place in range(int(present[0]), int(present[-1]) + 1) if len(present) else ():
            self._enter(place, place == present[0])
            own = [fact for fact in facts_of if fact.version == place]
            part = readings if len(present) == 1 else _chosen(readings, readings.versions == place)
            if not own:
                self._feed(part)
                continue
            for known in range(len(own) + 1):
                if known:
                    self._learn(own[known - 1])
                self._feed(_chosen(part, part.facts == known))
        return Rows(
            _ordered(np.concatenate(self._ledger), LEDGER_KEY), _ordered(np.concatenate(self._gauges), GAUGE_KEY)
        )

    def ends(self, numbers: NDArray[np.int64]) -> NDArray[np.void]:
        """In what state points were left, but for what has been counted in all and what only rules see."""
        points = self.state.points[self.layout.arrays.number_row[numbers]]
        found = np.zeros(len(points), _END)
        for name in _END.names or ():
            found[name] = points[name]
        found["total"] -= points["settled"]
        return found

    def _enter(self, place: int, first: bool) -> None:
        layout = self._versions[place].layout
        arrays = layout.arrays
        if first:
            state = empty_state(len(arrays.meta), len(arrays.rules), len(arrays.part_row), len(arrays.senses))
        else:
            state = transfer(self.layout, self.state, layout)
        state.scalars[CLOCK] = TIME_MAX
        self.layout, self.state = layout, state
        if len(self._out) < max(self._bounds[place], _ROWS):
            self._out = np.zeros((max(self._bounds[place], _ROWS), OUT_COLUMNS), np.int64)

    def _learn(self, placed: Placed) -> None:
        """Takes in a fact as the task does when it comes."""
        fact = placed.fact_in(self._versions[placed.version])
        adopted = facts.adopted(self.state, fact)
        self.state, _ = facts.take_in(self.state, fact)
        self._tell(adopted, [int(said["row"]) for said in fact.rows if said["kind"] == REMOVED], fact.at)
        self._forget_applied()

    def _drain(self, count: int) -> None:
        found = self._out[:count]
        streams = found[:, 0]
        self._ledger.append(found[streams == LEDGER][:, LEDGER_COLUMNS])
        self._gauges.append(found[streams == GAUGES][:, GAUGE_COLUMNS])

    def _feed(self, readings: Readings) -> None:
        count = len(readings.numbers)
        if not count:
            return
        messages = np.zeros((1, MESSAGE_COLUMNS), np.int64)
        messages[0, M.MODE], messages[0, M.COUNT] = BACKFILL, count
        gateways, nothing = np.zeros(1, np.int32), np.zeros(1, np.int64)
        known = self.layout.arrays.number_row
        rows = known[readings.numbers].astype(np.int32)
        message = reading = 0
        while message < 1:
            message, reading, made = step(
                messages,
                gateways,
                1,
                message,
                reading,
                rows,
                readings.numbers,
                readings.times,
                readings.values,
                readings.qualities,
                nothing[:0],
                nothing,
                nothing,
                False,
                self.layout.fanout,
                self.layout.wasted,
                self.layout.arrays,
                self.state,
                self._context,
                self._out,
            )
            self._drain(made)
        self._forget_applied()


def _chosen(readings: Readings, chosen: NDArray[np.bool_]) -> Readings:
    if chosen.all():
        return readings
    return Readings(*(getattr(readings, field.name)[chosen] for field in dataclasses.fields(Readings)))


def _ordered(rows: Longs, keys: int) -> Longs:
    """Rows in the order of their first columns; rows of one point come in it already, but for several versions."""
    if is_sorted(rows, keys):
        return np.ascontiguousarray(rows)
    return np.ascontiguousarray(rows[np.lexsort(rows[:, :keys].T[::-1])])
