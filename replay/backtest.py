"""Back-test: what a rule set would have done on a history, with the real step and the real life of alerts.

By event time: the site's readings, live and backfilled, run through a `Processor` in the order of their own times,
which are its clock, under one document for the whole span: the model in force and the rules that are tried. So an
imported history can be tested though its backfill has never fed a rule, late readings come where they belong, and the
result depends on the readings, the model and the rules alone. A silence of everything counts as silence: an outage of
the system cannot be told from one of the meters by the data alone.

Nothing is sent or published: rows stay in memory.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from processors.advance import Processor
from processors.layout import DAY_MS
from replay.episodes import Collector, Episode
from replay.readings import Readings
from schemas.codec import Json
from schemas.errors import ReplayError
from schemas.model.document import Document
from schemas.topics import ALERTS

WARM_UP_MS: Final = 35 * DAY_MS
"""What is read before a span: the longest look back that rules have is 28 nights."""
NO_OUTAGE_MS: Final = 1 << 52
_FEED_AT_ONCE: Final = 200_000

Sources = Mapping[str, Mapping[str, Readings]]
"""Topic → site → readings."""
Watch = Callable[[str, int, int], None]
"""Called with (site, readings done, readings to do)."""


@dataclasses.dataclass(frozen=True)
class Span:
    """What is tested: [from_ms, to_ms), UTC."""

    from_ms: int
    to_ms: int

    @property
    def days(self) -> float:
        """Its length."""
        return (self.to_ms - self.from_ms) / DAY_MS


@dataclasses.dataclass(frozen=True)
class Backtest:
    """What came of it.

    Attributes:
        span: what was tested.
        documents: by site, as they were used.
        readings: how many were applied, those of the warm-up included.
        episodes: those that overlap the span, by start.
    """

    span: Span
    documents: Mapping[str, Document]
    readings: int
    episodes: tuple[Episode, ...]

    def alerts(self) -> tuple[Episode, ...]:
        """Episodes whose alert fired within the span."""
        return tuple(one for one in self.episodes if self.span.from_ms <= one.fired_ms < self.span.to_ms)


def on_trial(document: Document, rules: Sequence[dict[str, Json]] | None = None) -> Document:
    """The document that a back-test runs: its own clock, no outages, and other rules where they are given."""
    return dataclasses.replace(
        document,
        domain="live",
        limits={**document.limits, "outage_ms": NO_OUTAGE_MS},
        rules=list(document.rules if rules is None else rules),
    )


def whole_span(sources: Sources) -> Span:
    """From the first reading to the last one.

    Raises:
        ReplayError: there is none.
    """
    found = [readings for sites in sources.values() for readings in sites.values() if len(readings)]
    if not found:
        raise ReplayError("the history holds no reading of these sites; import some with `ganzhi import csv`")
    return Span(min(int(r.times_ms[0]) for r in found), max(int(r.times_ms[-1]) for r in found) + 1)


def _quiet(site: str, done: int, total: int) -> None:
    del site, done, total


def backtest(documents: Mapping[str, Document], sources: Sources, span: Span, watch: Watch = _quiet) -> Backtest:
    """Runs the rules of documents over a span.

    Args:
        documents: by site, of `on_trial`.
        sources: their readings, from a warm-up before the span on; later ones are not looked at.
        span: which episodes are wanted.
        watch: is told how far it is.
    """
    episodes: list[Episode] = []
    total = 0
    for site, document in sorted(documents.items()):
        collector = Collector({site: document})
        for topic, sites in sources.items():
            readings = sites.get(site)
            if readings is not None and len(readings):
                total += _run(
                    document, topic, readings.between(span.from_ms - WARM_UP_MS, span.to_ms), span, collector, watch
                )
        episodes += [
            one for one in collector.episodes() if one.started_ms < span.to_ms and one.end_by(span.to_ms) > span.from_ms
        ]
    episodes.sort(key=lambda one: (one.started_ms, one.key))
    return Backtest(span, documents, total, tuple(episodes))


def _run(document: Document, topic: str, readings: Readings, span: Span, collector: Collector, watch: Watch) -> int:
    processor = start(document, topic)
    processor.expect(readings.facts)
    feed = readings.bind(processor.layout, document.site)
    count = len(feed.rows)
    at = 0
    while at < count:
        stop = min(at + _FEED_AT_ONCE, count)
        while stop < count and feed.times_ms[stop] == feed.times_ms[stop - 1]:
            stop += 1
        processor.feed(feed, at, stop)
        collector.take(alerts_of(processor))
        at = stop
        watch(document.site, at, count)
    if count:
        processor.wait(span.to_ms)
        collector.take(alerts_of(processor))
        processor.adopt({document.site: dataclasses.replace(document, rules=[])}, span.to_ms)
        collector.take(alerts_of(processor), over=True)
    return count


def start(document: Document, topic: str) -> Processor:
    """A processor on which a document is in force and nothing has happened."""
    processor = Processor(topic, document.partition, _none)
    processor.adopt({document.site: document})
    return processor


def alerts_of(processor: Processor) -> list[bytes]:
    """Takes the processor's rows; the messages of alerts and episodes."""
    return [output.value for output in processor.take() if output.topic == ALERTS]


def _none(sha256: bytes) -> Document:
    raise AssertionError(f"a back-test reads no record that names a document: {sha256.hex()}")
