"""What a log holds for good: which points have readings that did not come in order, and all readings of some points.

`Arrivals` is the processor of a task that looks at every reading before it applies it. What the documents and limits
refuse at arrival is no part of the history; it is in `rejected`, and counts when it is sent again.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from processors import facts
from processors.advance import Builder, Documents, Processor
from processors.kernels.rows import Longs
from processors.kernels.settle import SEEN_FACT, SEEN_MODEL, arrivals
from processors.layout import Layout
from processors.layout_build import build
from processors.outputs import Outbox
from processors.state import CLOCK, FAR, NEVER
from schemas import codec
from schemas.record_batches import Slab

_COMPUTED_BY: Final = ["kind", "interval_ms", "grid_ms", "hold_ms", "rate_max", "step_sure", "span", "low", "high"]
"""Fields of META that change a ledger or gauge row."""


@dataclasses.dataclass(frozen=True)
class Version:
    """A document of a site, in event time.

    Attributes:
        since_ms: from when on it computes; the first one of a point computes whatever was before.
        layout: of the site alone.
        known_ms: when it came.
    """

    since_ms: int
    layout: Layout
    known_ms: int

    def row_of(self, numbers: NDArray[np.int32]) -> NDArray[np.int32]:
        """Rows of points; -1: it has no such point."""
        known = self.layout.arrays.number_row
        if not len(known):
            return np.full(len(numbers), -1, np.int32)
        found: NDArray[np.int32] = np.where(numbers < len(known), known[np.minimum(numbers, len(known) - 1)], -1)
        return found


@dataclasses.dataclass(frozen=True)
class Readings:
    """Readings of some points of a site in the order of arrival, as columns of the same length.

    Attributes:
        numbers: of the points.
        times: UTC ms.
        values: in the points' units.
        qualities: 0 is good.
        versions: place of the version that was in force at arrival.
        facts: how many facts were known before it, of all those of the site; in a run, of those of its version that the
            run knows.
    """

    numbers: NDArray[np.int32]
    times: Longs
    values: Longs
    qualities: NDArray[np.int8]
    versions: NDArray[np.int32]
    facts: NDArray[np.int32]


@dataclasses.dataclass(frozen=True)
class Placed:
    """A meter fact that a task has taken in.

    Attributes:
        message: its bytes.
        fact: as the version that was in force at arrival reads it.
        numbers: of all points that it is about.
        source: the layout that `fact` is of.
        version: place of the version in which it is to be known; at arrival that of `source`.
        arrived: how many facts of the site came before it.
    """

    message: bytes
    fact: facts.Fact
    numbers: Longs
    source: Layout
    version: int
    arrived: int

    def fact_in(self, version: Version) -> facts.Fact:
        """The fact with the rows of another version; registers that it does not know are left out."""
        old, known = self.source.arrays.meta["number"], version.layout.arrays.number_row

        def rows_of(rows: NDArray[Any]) -> NDArray[np.int64]:
            numbers = old[rows]
            inside = numbers < len(known)
            found: NDArray[np.int64] = np.where(inside, known[np.where(inside, numbers, 0)], -1).astype(np.int64)
            return found

        rows, registers = self.fact.rows.copy(), rows_of(self.fact.registers)
        rows["row"] = rows_of(self.fact.rows["row"])
        return dataclasses.replace(self.fact, rows=rows[rows["row"] >= 0], registers=registers[registers >= 0])


class Arrivals(Processor):
    """The state of a task, and what settlement has to know of its history so far.

    Attributes:
        versions: of every site, in the order of the log.
        placed: meter facts of every site that were taken in, in the order of the log.
        mended: spans that a document changed after the fact and that nobody has settled yet, by site.
    """

    def __init__(self, topic: str, partition: int, documents: Documents, builder: Builder = build) -> None:
        super().__init__(topic, partition, documents, builder)
        self.versions: dict[str, list[Version]] = {}
        self.mended: dict[str, tuple[int, int]] = {}
        self.placed: dict[str, list[Placed]] = {}
        self._last_time = np.zeros(0, np.int64)
        self._last_value = np.zeros(0, np.int64)
        self._last_quality = np.zeros(0, np.int8)
        self._seen = np.zeros(0, np.int8)
        self._gaps = np.zeros((0, 2), np.int64)
        self._late = np.zeros((0, 2), np.int64)
        self._bounds = np.zeros((0, 2), np.int64)
        self._found = np.zeros((len(self._rows), 4), np.int64)

    def seen(self, site: str) -> NDArray[np.int8]:
        """SEEN_* flags by number of point."""
        return self._seen[self._places(site)].copy()

    def late(self, site: str) -> Longs:
        """By number of point: time of its earliest late reading or fact, and of its newest when the last came."""
        return self._late[self._places(site)].copy()

    def newest(self, site: str) -> Longs:
        """By number of point: time of its newest reading."""
        return self._last_time[self._places(site)].copy()

    def dirty(self, site: str) -> tuple[int, int] | None:
        """The span in which something of a site waits for settlement; None: nothing does."""
        rows = self.layout.arrays.meta["site"] == self.layout.sites.index(site)
        points, gaps = self.state.points[rows], self._gaps[self._places(site)]
        start = min(int(points["dirty_from"].min(initial=FAR)), int(gaps[:, 0].min(initial=FAR)))
        end = max(int(points["dirty_to"].max(initial=NEVER)), int(gaps[:, 1].max(initial=NEVER)))
        if site in self.mended:
            start, end = min(start, self.mended[site][0]), max(end, self.mended[site][1])
        return None if start == FAR else (start, max(end, start + 1))

    def dirty_points(self, site: str) -> int:
        """How many points of a site wait for settlement by what has arrived."""
        rows = self.layout.arrays.meta["site"] == self.layout.sites.index(site)
        numbers = self.layout.arrays.meta["number"][rows]
        waits = self.state.points["dirty_from"][rows] != FAR
        return int((waits | (self._gaps[self._places(site)][numbers, 0] != FAR)).sum())

    def _places(self, site: str) -> slice:
        index = self.layout.sites.index(site)
        start = self.layout.arrays.number_start
        return slice(int(start[index]), int(start[index + 1]))

    def forget_rows(self) -> None:
        """Throws away what control records have made for the outbox; rows of readings never get there."""
        self.outbox = Outbox(self.topic, self.partition)

    def _drain(self, count: int) -> None:
        """Rows of the live task are not wanted here: encoding and hashing them would cost half of the time."""

    def _step(self, slab: Slab, count: int, spans: Longs) -> None:
        self._look(slab, count)
        super()._step(slab, count, spans)

    def _look(self, slab: Slab, count: int) -> tuple[int, int]:
        c = self._columns
        return arrivals(
            c.messages,
            self._gateways,
            count,
            self._rows,
            c.times,
            c.values,
            c.qualities,
            slab.timestamps_ms,
            self.live,
            self.clock_ms,
            self.layout.arrays,
            self._bounds,
            self._last_time,
            self._last_value,
            self._last_quality,
            self._seen,
            self._gaps,
            self._late,
            self._found,
        )

    def _config(self, slab: Slab, record: int, fields: dict[str, codec.Value]) -> None:
        site, before = str(fields["site"]), self.heads.get(str(fields["site"]))
        super()._config(slab, record, fields)
        if self.heads.get(site) == before:
            return
        now_ms = self.clock_ms if self.simulated else int(slab.timestamps_ms[record])
        effective_ms = int(str(fields["effective_ms"]))
        document, number = self.layout.documents[site], self.layout.versions[site]
        version = Version(effective_ms or now_ms, self._build(self.topic, {site: document}, {site: number}), now_ms)
        known = self.versions.setdefault(site, [])
        if known:
            self._mark_changed(site, known[-1].layout, version.layout)
            if 0 < effective_ms < now_ms:
                start, end = self.mended.get(site, (effective_ms, now_ms))
                self.mended[site] = (min(start, effective_ms), max(end, now_ms))
        known.append(version)

    def _mark_changed(self, site: str, old: Layout, new: Layout) -> None:
        """Marks the points that the two documents compute otherwise."""
        before, after = old.arrays, new.arrays
        rows = before.number_row
        numbers = np.flatnonzero((rows >= 0) & (after.number_row[: len(rows)] >= 0))
        old_meta, new_meta = before.meta[rows[numbers]], after.meta[after.number_row[numbers]]
        changed = np.zeros(len(numbers), bool)
        for name in _COMPUTED_BY:
            changed |= old_meta[name] != new_meta[name]
        if not np.array_equal(before.limits, after.limits):
            changed[:] = True
        seen = self._seen[self._places(site)]
        seen[numbers[changed]] |= SEEN_MODEL

    def _fact(self, slab: Slab, record: int, value: bytes) -> None:
        known, layout, clock_ms = len(self.state.seen), self.layout, self.clock_ms
        super()._fact(slab, record, value)
        if len(self.state.seen) == known:
            return
        site = str(codec.read("meter_fact", value)["site"])
        version = self.versions[site][-1]
        fact = facts.read(value, layout, clock_ms)
        rows = np.union1d(fact.rows["row"], fact.registers).astype(np.int64)
        numbers = layout.arrays.meta["number"][rows].astype(np.int64)
        self._seen[self._places(site)][numbers] |= SEEN_FACT
        since = min([fact.at, *self.state.seen["at"][self.state.seen["event"] == np.uint64(fact.replaced)].tolist()])
        behind = numbers[since < self.state.points["clock"][rows]]
        late = self._late[self._places(site)]
        late[behind, 0] = np.minimum(late[behind, 0], since)
        late[behind, 1] = self._last_time[self._places(site)][behind]
        own = facts.read(value, version.layout, clock_ms)
        found = self.placed.setdefault(site, [])
        found.append(Placed(value, own, numbers, version.layout, len(self.versions[site]) - 1, len(found)))

    def _settle(self, slab: Slab, record: int, raw: bytes) -> None:
        before = dict(self.settlements)
        super()._settle(slab, record, raw)
        if self.settlements == before:
            return
        fields = codec.read("settle_record", raw)
        site, start, end = str(fields["site"]), int(str(fields["from_ms"])), int(str(fields["to_ms"]))
        self._settled(site, start, end, int(slab.offsets[record]), int(slab.timestamps_ms[record]))
        gaps = self._gaps[self._places(site)]
        covered = (gaps[:, 0] >= start) & (gaps[:, 1] <= end)
        gaps[covered] = [FAR, NEVER]
        if site in self.mended and start <= self.mended[site][0] and self.mended[site][1] <= end:
            del self.mended[site]

    def _settled(self, site: str, from_ms: int, to_ms: int, offset: int, known_at: int) -> None:
        """Called for each settlement that the log holds, when all messages before it have been applied."""

    def _replace(self, slab: Slab, record: int, layout: Layout) -> None:
        old = {site: self._places(site) for site in self.layout.sites}
        super()._replace(slab, record, layout)
        length = int(layout.arrays.number_start[-1])
        blank: dict[str, NDArray[Any]] = {
            "_last_time": np.full(length, NEVER, np.int64),
            "_last_value": np.zeros(length, np.int64),
            "_last_quality": np.zeros(length, np.int8),
            "_seen": np.zeros(length, np.int8),
            "_gaps": np.tile(np.array([[FAR, NEVER]], np.int64), (length, 1)),
            "_late": np.tile(np.array([[FAR, NEVER]], np.int64), (length, 1)),
            "_bounds": np.tile(np.array([[FAR, NEVER]], np.int64), (length, 1)),
        }
        for name, fresh in blank.items():
            kept = getattr(self, name)
            for site, places in old.items():
                start = self._places(site).start
                fresh[start : start + places.stop - places.start] = kept[places]
            setattr(self, name, fresh)


class _Collector(Arrivals):
    """Reads a log for the readings of some points, and computes nothing of it but the clock."""

    def __init__(
        self, topic: str, partition: int, documents: Documents, builder: Builder, site: str, bounds: Longs
    ) -> None:
        super().__init__(topic, partition, documents, builder)
        self._site = site
        self._wanted = bounds
        self._parts: list[Readings] = []

    def readings(self) -> Readings:
        """All that were found."""
        names = [field.name for field in dataclasses.fields(Readings)]
        kinds = (np.int32, np.int64, np.int64, np.int8, np.int32, np.int32)
        columns = []
        for name, kind in zip(names, kinds, strict=True):
            columns.append(np.concatenate([np.zeros(0, kind), *(getattr(part, name) for part in self._parts)]))
        return Readings(*columns)

    def _step(self, slab: Slab, count: int, spans: Longs) -> None:
        del spans
        found, clock = self._look(slab, count)
        self.state.scalars[CLOCK] = clock
        if not found:
            return
        rows = self._found[:found]
        start = self._places(self._site).start
        version = np.full(found, len(self.versions[self._site]) - 1, np.int32)
        self._parts.append(
            Readings(
                (rows[:, 0] - start).astype(np.int32),
                rows[:, 1].copy(),
                rows[:, 2].copy(),
                rows[:, 3].astype(np.int8),
                version,
                np.full(found, len(self.placed.get(self._site, [])), np.int32),
            )
        )

    def _replace(self, slab: Slab, record: int, layout: Layout) -> None:
        super()._replace(slab, record, layout)
        if self._site in layout.sites:
            places = self._places(self._site)
            count = min(len(self._wanted), places.stop - places.start)
            self._bounds[:] = [FAR, NEVER]
            self._bounds[places.start : places.start + count] = self._wanted[:count]


def collect(
    topic: str,
    partition: int,
    documents: Documents,
    builder: Builder,
    slabs: Iterable[Slab],
    site: str,
    bounds: Longs,
) -> Readings:
    """The readings of some points of a site, in the order of arrival.

    Args:
        topic: input topic.
        partition: of it.
        documents: finds documents.
        builder: makes layouts.
        slabs: the log from its start.
        site: whose points.
        bounds: by number of point: from when to when.
    """
    collector = _Collector(topic, partition, documents, builder, site, bounds)
    for slab in slabs:
        collector.advance(slab)
        collector.forget_rows()
    return collector.readings()
