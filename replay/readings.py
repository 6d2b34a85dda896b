"""A site's readings by the time of the events: what a back-test runs on.

Live batches, backfilled ones and events of waste and vehicles come together, sorted by their own times; of several
readings of a point and time the last one in the log counts. What was rejected when it arrived (unknown point, wrong
gateway, time in the future) is left out here too.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from processors import facts, vehicles, waste
from processors.events import Feed, Pseudo
from processors.kernels.step import YEAR_2000_MS, resolve
from processors.layout import FUTURE_MS, Layout
from processors.layout_build import build
from replay.log import History, Position, Task
from schemas import codec
from schemas.decode import Columns, M, Status, batch_header, decode_batches
from schemas.errors import DecodeError
from schemas.groups import within
from schemas.model.document import Document
from schemas.reasons import Reason
from schemas.record_batches import Slab
from schemas.topics import METER_READINGS, VEHICLE_EVENTS, WASTE_EVENTS

ALL_FROM_MS: Final = -(1 << 62)
ALL_TO_MS: Final = 1 << 62

Watch = Callable[[Task, int, int], None]
"""Called with (task, messages read, messages to read)."""

_EVENTS: Final[dict[tuple[str, str], Callable[[dict[str, codec.Value], Layout], list[Pseudo] | Reason]]] = {
    (WASTE_EVENTS, "waste_event"): waste.readings,
    (VEHICLE_EVENTS, "vehicle_event"): vehicles.readings,
}


@dataclasses.dataclass(frozen=True)
class Readings:
    """Readings of one site and input topic, sorted by (time, point), one a point and time.

    Attributes:
        numbers: int32, of the points in their site.
        times_ms: int64, UTC.
        values: int64, as the log carries them.
        qualities: int8, 0 is good.
        spans_ms: int64, length of a delta; 0: by the model.
        facts: meter facts of the site that may count (swaps, multipliers …), in the order of the log.
    """

    numbers: NDArray[np.int32]
    times_ms: NDArray[np.int64]
    values: NDArray[np.int64]
    qualities: NDArray[np.int8]
    spans_ms: NDArray[np.int64]
    facts: tuple[bytes, ...] = ()

    def __len__(self) -> int:
        return len(self.numbers)

    @classmethod
    def of(cls, parts: list[tuple[NDArray[np.integer[Any]], ...]]) -> "Readings":
        """Sorts what was collected in the order of the log; (numbers, times, values, qualities, spans) a part."""
        types = (np.int32, np.int64, np.int64, np.int8, np.int64)
        columns = [
            np.concatenate([np.zeros(0, dtype), *(np.asarray(part[place], dtype) for part in parts)])
            for place, dtype in enumerate(types)
        ]
        order = np.lexsort((columns[0], columns[1]))
        columns = [column[order] for column in columns]
        last = np.ones(len(order), bool)
        last[:-1] = (columns[0][1:] != columns[0][:-1]) | (columns[1][1:] != columns[1][:-1])
        numbers, times_ms, values, qualities, spans_ms = (column[last] for column in columns)
        return cls(numbers, times_ms, values, qualities, spans_ms)

    def between(self, from_ms: int, to_ms: int) -> "Readings":
        """Those of [from_ms, to_ms)."""
        low, high = np.searchsorted(self.times_ms, (from_ms, to_ms), side="left").tolist()
        part = slice(low, high)
        columns = (self.numbers[part], self.times_ms[part], self.values[part], self.qualities[part])
        return Readings(*columns, self.spans_ms[part], self.facts)

    def bind(self, layout: Layout, site: str) -> Feed:
        """With the rows of a layout; readings of points that it does not have are left out."""
        index = layout.sites.index(site)
        start = int(layout.arrays.number_start[index])
        rows = layout.arrays.number_row[start : int(layout.arrays.number_start[index + 1])]
        known = (self.numbers >= 0) & (self.numbers < len(rows))
        row = np.where(known, rows[np.where(known, self.numbers, 0)] if len(rows) else -1, -1).astype(np.int32)
        kept = row >= 0
        columns = (self.numbers, self.times_ms, self.values, self.qualities, self.spans_ms)
        return Feed(row[kept], *(column[kept] for column in columns))  # type: ignore[arg-type]


def _nothing(task: Task, done: int, total: int) -> None:
    del task, done, total


def gather(
    history: History,
    documents: Mapping[str, Document],
    topic: str,
    from_ms: int = ALL_FROM_MS,
    to_ms: int = ALL_TO_MS,
    watch: Watch = _nothing,
) -> dict[str, Readings]:
    """The readings of some sites in an input topic, as far as the task of their partition has come.

    Args:
        history: the log.
        documents: by site id; whose points are whose.
        topic: an input topic, without prefix.
        from_ms: readings before it are left out.
        to_ms: and those at or after it.
        watch: is told how far it is.

    Raises:
        HistoryIncomplete: part of the log is missing.
    """
    positions = history.positions()
    found: dict[str, Readings] = {}
    for partition in sorted({document.partition for document in documents.values()}):
        own = {site: document for site, document in documents.items() if document.partition == partition}
        position = positions.get((topic, partition))
        parts: dict[str, list[tuple[NDArray[np.integer[Any]], ...]]] = {site: [] for site in own}
        told: dict[str, list[bytes]] = {site: [] for site in own}
        if position is not None:
            for site, part in _partition(history, (topic, partition), position, own, told, watch):
                times = part[1]
                kept = (times >= from_ms) & (times < to_ms)
                if kept.any():
                    parts[site].append(tuple(column[kept] for column in part))
        found |= {
            site: dataclasses.replace(Readings.of(collected), facts=tuple(told[site]))
            for site, collected in parts.items()
        }
    return found


Part = tuple[str, tuple[NDArray[np.integer[Any]], ...]]


def _partition(
    history: History,
    task: Task,
    position: Position,
    documents: Mapping[str, Document],
    told: dict[str, list[bytes]],
    watch: Watch,
) -> Iterator[Part]:
    layout = build(task[0], dict(documents), dict.fromkeys(documents, 1))
    reader = _Batches(layout)
    for slab in history.slabs(task, position.offset):
        at = 0
        while at < len(slab):
            done = at
            if task[0] == METER_READINGS:
                done, parts = reader.read(slab, at)
                yield from parts
            if done == at:
                _fact(slab, at, layout, told)
                yield from _event(slab, at, task[0], layout)
                done = at + 1
            at = done
        watch(task, slab.end, position.offset)


class _Batches:
    """Decodes meter batches as a task does (see `Processor`)."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._columns = Columns.empty()
        self._rows = np.zeros(len(self._columns.points), np.int32)
        self._gateways = np.zeros(len(self._columns.messages), np.int32)
        self._magic = batch_header()

    def read(self, slab: Slab, first: int) -> tuple[int, list[Part]]:
        """(index of the first record that is no batch, readings by site)."""
        c, layout = self._columns, self._layout
        done, count, _ = decode_batches(
            slab.data, slab.spans, first, len(slab), self._magic, c.messages, c.points, c.times, c.values, c.qualities
        )
        if not count:
            return int(done), []
        resolve(slab.data, c.messages, count, c.points, layout.arrays, self._gateways, self._rows)
        messages = c.messages[:count]
        good = (messages[:, M.STATUS] == Status.OK) & (self._gateways[:count] >= 0)
        lengths = np.where(good, messages[:, M.COUNT], 0)
        which = np.repeat(np.arange(count), lengths)
        at = messages[which, M.FIRST] + within(lengths)
        rows, times = self._rows[at], c.times[at]
        known = (rows >= 0) & (times >= YEAR_2000_MS)
        site = (
            layout.arrays.meta["site"][np.maximum(rows, 0)] if len(layout.point_ids) else np.zeros(len(rows), np.int32)
        )
        if not layout.simulated:
            arrived = slab.timestamps_ms[messages[which, M.RECORD]]
            known &= times <= arrived + layout.arrays.limits[site, FUTURE_MS]
        parts: list[Part] = []
        for index, name in enumerate(layout.sites):
            mine = at[known & (site == index)]
            if len(mine):
                spans = np.zeros(len(mine), np.int64)
                parts.append((name, (c.points[mine], c.times[mine], c.values[mine], c.qualities[mine], spans)))
        return int(done), parts


def _fact(slab: Slab, record: int, layout: Layout, told: dict[str, list[bytes]]) -> None:
    """Keeps a meter fact that a task would have taken in."""
    raw = slab.value(record)
    if raw is None or codec.contract_of(raw) != "meter_fact":
        return
    try:
        site = str(codec.read("meter_fact", raw)["site"])
        if site in layout.documents:
            facts.read(raw, layout, int(slab.timestamps_ms[record]))
            told[site].append(raw)
    except (DecodeError, facts.Refused):
        return


def _event(slab: Slab, record: int, topic: str, layout: Layout) -> Iterator[Part]:
    """The readings that an event stands for; nothing for control records and what cannot be read."""
    raw = slab.value(record)
    contract = codec.contract_of(raw) if raw is not None else None
    convert = _EVENTS.get((topic, contract or ""))
    if raw is None or contract is None or convert is None:
        return
    try:
        event = codec.read(contract, raw)
        made = convert(event, layout)
    except DecodeError:
        return
    if isinstance(made, Reason) or not made:
        return
    time_ms = made[0].time_ms
    if time_ms < YEAR_2000_MS or (
        not layout.simulated and time_ms > int(slab.timestamps_ms[record]) + int(layout.arrays.limits[0, FUTURE_MS])
    ):
        return
    columns = zip(*((one.number, one.time_ms, one.value, 0, one.span_ms) for one in made), strict=True)
    yield str(event["site"]), tuple(np.array(column) for column in columns)
