"""Logs with settlements: signed records, a settler over a log in memory, and what its rows and the live ones add up to."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from processors.settle import Settler
from schemas import topics
from schemas.control import settle_record
from schemas.model.document import Document
from schemas.record_batches import Slab
from tests.processors.world import DAY, KEY, T0, Record, Row, decode, run, slab

TASK: Final = topics.SETTLED + topics.METER_READINGS
LONG_AGO, LATER = T0 - 400 * DAY, T0 + 4000 * DAY

Sums = dict[tuple[int, int, int, str], int]
"""(point, from, to, how) → quantity."""


def signed(document: Document) -> Document:
    """The document with the key that may settle."""
    return dataclasses.replace(document, keys={KEY.key_id: KEY.public})


def settle(sequence: int = 1, from_ms: int = LONG_AGO, to_ms: int = LATER, site: str = "s1") -> bytes:
    """A settle record."""
    return settle_record(site, sequence, from_ms, to_ms, "test", KEY)


def settler(log: Sequence[Record], documents: Mapping[bytes, Document]) -> Settler:
    """The task that settles a log in memory."""

    def again(end: int) -> Iterator[Slab]:
        yield Slab.of(topics.METER_READINGS, 0, [record for record in log if record[0] < end], start=0, end=end)

    return Settler(TASK, 0, documents.__getitem__, again)


def settlements(log: Sequence[Record], documents: Mapping[bytes, Document]) -> dict[str, list[Row]]:
    """The rows of all settlements of a log."""
    made = settler(log, documents)
    made.advance(slab(log))
    return decode(made.take())


def ledger(rows: Iterable[Row]) -> Sums:
    """Ledger rows added up; intervals of which nothing is left are out."""
    found: defaultdict[tuple[int, int, int, str], int] = defaultdict(int)
    for row in rows:
        found[row["point"], row["from_ms"], row["to_ms"], row["how"]] += row["quantity"]
    return {key: quantity for key, quantity in found.items() if quantity}


def gauges(rows: Iterable[Row]) -> dict[tuple[int, int, int], tuple[Any, ...]]:
    """The newest figures of every interval; those without any are out."""
    found = {}
    for row in rows:
        figures = tuple(row[name] for name in ("count", "sum", "minimum", "maximum", "integral"))
        found[row["point"], row["from_ms"], row["to_ms"]] = figures
    return {key: figures for key, figures in found.items() if any(figures)}


def together(log: Sequence[Record], documents: Mapping[bytes, Document]) -> dict[str, list[Row]]:
    """Live rows, then those of settlements."""
    live, settled = run(log, documents)[1], settlements(log, documents)
    return {stream: live[stream] + settled[stream] for stream in ("ledger", "gauges")}
