"""Settlement: a site's points computed again in event-time order, and what has to be added to what was published.

A settle record at offset X starts it: it sees the log before X, and X's time is its `known_at`. Both what the live task
has published of a point and what it should have published follow from the log alone, so a settlement is a pure
function of the log before X: done again, from the start or by somebody else, it gives the same rows.

Two sums of rows are compared by (point, from, to, how): `settled`, from readings in event-time order, and `live`, from
readings as they arrived. What earlier settlements added is `earlier`. A settlement publishes settled - live - earlier,
so after it the ledger's rows of the span add up to `settled`, row by row, and doing it twice adds nothing. Points whose
readings all came in order, under one document, have settled = live and are not computed at all.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from processors import facts
from processors.advance import Documents
from processors.affected import Affected
from processors.arrivals import Arrivals, Placed, Readings, collect
from processors.episodes import Book, Name
from processors.kernels.rows import Longs
from processors.kernels.settle import (
    GAUGE_KEY,
    LEDGER_KEY,
    count_places,
    gauge_differences,
    ledger_differences,
    order_by_place,
    reach,
)
from processors.layout import Layout
from processors.layout_build import build
from processors.narrowing import Windows, doubtful, windows
from processors.outputs import Outbox, Output
from processors.profiles import spread
from processors.settled_episodes import Changes, Rerun, known, unfinished
from processors.settled_episodes import rows as episode_rows
from processors.settled_rows import GAUGE_COLUMNS, LEDGER_COLUMNS, Rows, Runner, in_event_order
from processors.state import CAUSE_SETTLEMENT, FAR, GAUGES, HEAD_COLUMNS, LEDGER, NEVER, OUT_COLUMNS
from schemas.canonical import STREAMS, Chain
from schemas.model.document import Document
from schemas.record_batches import Slab
from schemas.topics import SETTLED, SETTLEMENTS, input_of

Log = Callable[[int], Iterable[Slab]]
"""Reads a partition again from its start to before an offset."""

_BLOCK_READINGS: Final = 1_000_000


def _none(columns: int) -> Longs:
    return np.zeros((0, columns), np.int64)


class Settler(Arrivals):
    """The task that settles the sites of a partition; it is advanced like any other, and reads the log again.

    Args:
        topic: `settled.` and the input topic.
        partition: of the input topic.
        documents: finds documents.
        log: reads the partition again.

    Attributes:
        settled: what its rows are published under: own streams, sequences and chains.
        skip: settlements at offsets before this one are published; see `resume`.
        last_settlement: offset and rows of the last one that was computed here.
        last_changes: what it changed of episodes.
    """

    def __init__(self, topic: str, partition: int, documents: Documents, log: Log) -> None:
        self._layouts: dict[tuple[tuple[str, int, bytes], ...], Layout] = {}
        super().__init__(input_of(topic), partition, documents, self._layout)
        assert topic == SETTLED + self.topic, topic
        self.settled = Outbox(topic, partition)
        self.skip = 0
        self.last_settlement: tuple[int, Rows] | None = None
        self.last_changes = Changes()
        self.outbox: Book = Book(self.topic, partition)
        self._log = log
        self._sources = documents
        self._ledger: dict[str, list[Longs]] = {}
        self._gauges: dict[str, list[Longs]] = {}
        self._changes: dict[str, list[Changes]] = {}
        self._waiting: dict[str, dict[tuple[Name, int], int]] = {}
        self._affected: dict[int, Affected] = {}

    def resume(
        self,
        position: int,
        chains: Mapping[str, Chain],
        ledger: Mapping[str, list[Longs]],
        gauges: Mapping[str, list[Longs]],
        changes: Mapping[str, list[Changes]],
    ) -> None:
        """Goes on after what is published, before the first slab.

        Args:
            position: of the task; settlements before it are published.
            chains: by stream.
            ledger: rows that settlements have published, by site, columns as in `Rows`.
            gauges: the same, in the order of their sequence.
            changes: of episodes, by site, in the order in which they were published.
        """
        self.skip = position
        self.settled.chains.update(chains)
        self._ledger = {site: list(rows) for site, rows in ledger.items()}
        self._gauges = {site: list(rows) for site, rows in gauges.items()}
        self._changes = {site: list(listed) for site, listed in changes.items()}

    def take(self, publish: bool = True) -> list[Output]:
        """The rows of settlements as messages; what the live task would publish is thrown away."""
        return [Output(SETTLEMENTS, output.value) for output in self.settled.take(publish)]

    def stream_heads(self) -> list[dict[str, object]]:
        """How far the streams of settlements have come."""
        chains = self.settled.chains
        return [{"stream": name, "sequence": chains[name].count, "head": chains[name].head()} for name in STREAMS]

    def difference(self, site: str, from_ms: int, to_ms: int) -> Rows:
        """What a settlement of a span would publish now.

        Args:
            site: whose points.
            from_ms: start of the span.
            to_ms: its end.

        Returns:
            Rows to add: ledger rows by point, gauge rows that replace older ones.
        """
        if site not in self.versions:
            return Rows(_none(len(LEDGER_COLUMNS)), _none(len(GAUGE_COLUMNS)))
        settled_before = _added(self._ledger.get(site, []))
        figures_before = _newest(self._gauges.get(site, []))
        wanted = self.seen(site) != 0
        wanted[settled_before[:, 0]] = True
        wanted[figures_before[:, 0]] = True
        ledger, gauges = [_none(len(LEDGER_COLUMNS))], [_none(len(GAUGE_COLUMNS))]
        if wanted.any():
            versions = self.versions[site]
            newest = versions[-1].layout
            runner = Runner(self.topic, self.partition, self._sources, versions)
            placed = self.placed.get(site, [])
            by_message = {one.message: one for one in placed}
            standing = [by_message[message] for message in facts.standing(by_message)]
            window: Windows | None = windows(self, site, wanted)
            while window is not None:
                log = self._log(self.position)
                readings = collect(self.topic, self.partition, self._sources, self._layout, log, site, window.bounds)
                doubted: list[NDArray[np.int64]] = []
                for block in _blocks(readings, len(wanted)):
                    numbers = np.unique(block.numbers).astype(np.int64)
                    live = runner.run(*_at_arrival(block, _about(placed, block.numbers)))
                    at_arrival = runner.ends(numbers)
                    settled = runner.run(*in_event_order(block, _about(standing, block.numbers), versions))
                    both = (live.ledger, settled.ledger)
                    doubted.append(doubtful(window, block, newest, both, (at_arrival, runner.ends(numbers))))
                    if len(doubted[-1]):
                        numbers = np.setdiff1d(numbers, doubted[-1])
                        live, settled = (
                            Rows(_of(rows.ledger, numbers), _of(rows.gauges, numbers)) for rows in (live, settled)
                        )
                    settled = Rows(spread(settled.ledger, newest), settled.gauges)
                    ledger.append(_ledger_part(settled.ledger, live.ledger, _of(settled_before, numbers)))
                    gauges.append(_gauge_part(settled.gauges, live.gauges, _of(figures_before, numbers)))
                again = np.concatenate([np.zeros(0, np.int64), *doubted])
                window = window.whole(again) if len(again) else None
        return Rows(_reached(_by_point(ledger), from_ms, to_ms), _overlapping(_by_point(gauges), from_ms, to_ms))

    def episodes(self, site: str, from_ms: int, to_ms: int) -> Changes:
        """What a settlement of a span would change of episodes now; see `settled_episodes`.

        Args:
            site: whose rules.
            from_ms: start of the span.
            to_ms: its end.
        """
        if site not in self.versions:
            return Changes()
        return self._rerun(site).difference(
            lambda names: known(self.outbox.of(site, names), self._changes.get(site, []), names),
            set(unfinished(self, site)),
            self.late(site),
            (from_ms, to_ms),
        )

    def _rerun(self, site: str) -> Rerun:
        placed = self.placed.get(site, [])
        by_message = {one.message: one for one in placed}
        versions = self.versions[site]
        for version in versions:
            if id(version.layout) not in self._affected:
                self._affected[id(version.layout)] = Affected(version.layout)

        def again(bounds: Longs) -> Readings:
            log = self._log(self.position)
            return collect(self.topic, self.partition, self._sources, self._layout, log, site, bounds)

        return Rerun(
            (self.topic, self.partition),
            self._sources,
            site,
            [(version, self._affected[id(version.layout)]) for version in versions],
            facts.standing(by_message),
            self.clock_ms,
            again,
        )

    def dirty(self, site: str) -> tuple[int, int] | None:
        """As `Arrivals.dirty`; an episode that went on when its span was settled waits from when it has ended."""
        found = super().dirty(site)
        waiting = self._waiting.get(site, {})
        going_on = unfinished(self, site) if waiting else {}
        over = [began for place, began in waiting.items() if place not in going_on]
        if not over:
            return found
        start, end = found or (FAR, NEVER)
        return min(start, *over), max(end, self.clock_ms)

    def forget_rows(self) -> None:
        """Nothing is kept but episodes, which every settlement needs."""

    def _drain(self, count: int) -> None:
        self.outbox.drain(self.layout, self._out[:count])

    def _layout(self, topic: str, documents: dict[str, Document], versions: dict[str, int]) -> Layout:
        """A layout that was built once: a settlement goes over the same records of the log several times."""
        key = tuple((site, versions[site], documents[site].sha256) for site in sorted(documents))
        if key not in self._layouts:
            self._layouts[key] = build(topic, documents, versions)
        return self._layouts[key]

    def _settled(self, site: str, from_ms: int, to_ms: int, offset: int, known_at: int) -> None:
        going_on = unfinished(self, site)
        misled = self._rerun(site).spans(self.late(site), (from_ms, to_ms))
        kept = {at: began for at, began in self._waiting.get(site, {}).items() if at in going_on or began > to_ms}
        self._waiting[site] = kept | {at: began for at, began in going_on.items() if at[0] in misled}
        if offset < self.skip:
            return
        rows = self.difference(site, from_ms, to_ms)
        self.last_settlement = (offset, rows)
        self.last_changes = self.episodes(site, from_ms, to_ms)
        self._changes.setdefault(site, []).append(self.last_changes)
        self._ledger.setdefault(site, []).append(rows.ledger)
        self._gauges.setdefault(site, []).append(rows.gauges)
        head = [self.layout.sites.index(site), offset, known_at]
        ledger = np.zeros((len(rows.ledger), OUT_COLUMNS), np.int64)
        ledger[:, :HEAD_COLUMNS] = [LEDGER, *head]
        ledger[:, LEDGER_COLUMNS] = rows.ledger
        ledger[:, HEAD_COLUMNS + 5] = CAUSE_SETTLEMENT
        gauges = np.zeros((len(rows.gauges), OUT_COLUMNS), np.int64)
        gauges[:, :HEAD_COLUMNS] = [GAUGES, *head]
        gauges[:, GAUGE_COLUMNS] = rows.gauges
        self.settled.drain(self.layout, ledger)
        self.settled.drain(self.layout, gauges)
        for named in episode_rows(self.last_changes, site, offset, known_at):
            self.settled.add(named)


def _by_point(parts: list[Longs]) -> Longs:
    """Rows of whole points, point by point."""
    rows = np.concatenate(parts)
    return rows[np.argsort(rows[:, 0], kind="stable")]


def _blocks(readings: Readings, numbers: int) -> Iterator[Readings]:
    """Readings by point, within one in the order of arrival, in blocks of whole points."""
    starts = np.zeros(numbers + 1, np.int64)
    count_places(readings.numbers, starts)
    order = np.zeros(len(readings.numbers), np.int64)
    order_by_place(readings.numbers, starts[:-1].copy(), order)
    first = 0
    while first < len(order):
        stop = int(starts[np.searchsorted(starts, first + _BLOCK_READINGS, "right") - 1])
        if stop <= first:
            stop = int(starts[np.searchsorted(starts, first, "right")])
        rows = order[first:stop]
        yield Readings(
            readings.numbers[rows],
            readings.times[rows],
            readings.values[rows],
            readings.qualities[rows],
            readings.versions[rows],
            readings.facts[rows],
        )
        first = stop


def _about(placed: Sequence[Placed], numbers: NDArray[np.int32]) -> list[Placed]:
    """Facts about any of the points."""
    return [fact for fact in placed if len(fact.numbers) and np.isin(fact.numbers, numbers).any()]


def _at_arrival(block: Readings, placed: Sequence[Placed]) -> tuple[Readings, Sequence[Placed]]:
    """Readings with how many of these facts were known before each, counted by the version in which they came."""
    if not placed:
        return block, placed
    told = np.zeros(len(block.numbers), np.int32)
    for version in {fact.version for fact in placed}:
        arrived = np.array([fact.arrived for fact in placed if fact.version == version])
        own = block.versions == version
        told[own] = np.searchsorted(arrived, block.facts[own], "left")
    return dataclasses.replace(block, facts=told), placed


def _of(rows: Longs, numbers: NDArray[np.integer[Any]]) -> Longs:
    return np.ascontiguousarray(rows[np.isin(rows[:, 0], numbers)])


def _added(parts: list[Longs]) -> Longs:
    """The sum of ledger rows, one a key; keys that sum to 0 stay, because their interval is known."""
    rows = np.concatenate([_none(len(LEDGER_COLUMNS)), *parts])
    rows = np.ascontiguousarray(rows[np.lexsort(rows[:, :LEDGER_KEY].T[::-1])])
    out = np.zeros_like(rows)
    return out[: ledger_differences(rows, rows[:0], out)]


def _newest(parts: list[Longs]) -> Longs:
    """The last of the gauge rows of each key."""
    rows = np.concatenate([_none(len(GAUGE_COLUMNS)), *parts])
    rows = rows[np.lexsort((np.arange(len(rows)), *rows[:, :GAUGE_KEY].T[::-1]))]
    last = np.ones(len(rows), bool)
    last[:-1] = (rows[1:, :GAUGE_KEY] != rows[:-1, :GAUGE_KEY]).any(axis=1)
    return np.ascontiguousarray(rows[last])


def _ledger_part(settled: Longs, live: Longs, earlier: Longs) -> Longs:
    """What `settled` has more than `live` and `earlier` together."""
    out = np.zeros((len(settled) + len(live), len(LEDGER_COLUMNS)), np.int64)
    change = out[: ledger_differences(settled, live, out)]
    left = np.zeros((len(change) + len(earlier), len(LEDGER_COLUMNS)), np.int64)
    return left[: ledger_differences(change, earlier, left)]


def _gauge_part(settled: Longs, live: Longs, earlier: Longs) -> Longs:
    """Rows that are newer than those of `live` with those of `earlier` over them."""
    known = _newest([live, earlier]) if len(earlier) else live
    out = np.zeros((len(settled) + len(known), len(GAUGE_COLUMNS)), np.int64)
    return out[: gauge_differences(settled, known, out)]


def _reached(rows: Longs, from_ms: int, to_ms: int) -> Longs:
    """The differences that a settlement of a span publishes, see `kernels.settle.reach`."""
    chosen = np.zeros(len(rows), bool)
    bounds = np.flatnonzero(np.diff(rows[:, 0])) + 1
    for first, stop in zip([0, *bounds], [*bounds, len(rows)], strict=True):
        reach(rows[first:stop], from_ms, to_ms, chosen[first:stop])
    return np.ascontiguousarray(rows[chosen])


def _overlapping(rows: Longs, from_ms: int, to_ms: int) -> Longs:
    return np.ascontiguousarray(rows[(rows[:, 2] < to_ms) & (rows[:, 1] > from_ms)])
