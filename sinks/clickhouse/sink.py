"""The sink: takes messages as a member of a group, cuts them into ranges, and inserts each range exactly once.

A range goes through three steps, and a crash between any two of them loses and doubles nothing:

1. commit the *start* of every partition of the range, with the whole range as metadata: from here on, whoever
   is given one of these partitions finishes this range first, message for message;
2. insert one block into each table, under a token that names the range, the encoder, the table and the messages;
3. commit the *ends*, without metadata.

One block per table over all partitions, rather than one per partition, because an insert costs 16 ms of the
server's CPU whatever its size: with four partitions of eleven topics it is some 5 inserts in two seconds and
not 60. The price is that partitions of one open range can come to different sinks. That is why the metadata
holds the whole range, and why reading it again does not need the partitions to be one's own: both sinks build
the same blocks and send the same tokens, and each commits the ends of what it has.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from confluent_kafka import Consumer, KafkaError, TopicPartition

from schemas.errors import KafkaUnavailable
from schemas.settings import Settings
from schemas.topics import bare_name, topic_name
from schemas.vitals import Vital, Vitals
from sinks.clickhouse import log
from sinks.clickhouse.blocks import TOPICS, blocks_of
from sinks.clickhouse.faults import point
from sinks.clickhouse.messages import Run
from sinks.clickhouse.ranges import ENCODER, Place, Range, cut, distinct
from sinks.clickhouse.tables import Block
from sinks.clickhouse.writer import Writer

TRUST_TOKENS_MS: Final = 20 * 60_000
"""A range that was opened longer ago is asked for before it is inserted again: the deduplication window of a table is
10,000 blocks, hours of flushing every two seconds, but a backfill of many months uses it up faster."""

ROW_BYTES: Final = 8
"""Smallest usual size of a row in a message: what bounds the rows of a range before anything is decoded."""

_log = logging.getLogger("ganzhi.sink")


class _Moved(Exception):
    """The group has taken the partitions away, or is about to."""


class _Stopped(Exception):
    """The process was asked to stop while it waited for ClickHouse; the range stays open for the next start."""


class Sink:
    """One member of the group.

    Args:
        settings: of Kafka, ClickHouse and the sink.
        stop: asked again and again; True ends `run` after the range at hand.
    """

    def __init__(self, settings: Settings, stop: Callable[[], bool]) -> None:
        self._settings = settings
        self._stop = stop
        self._consumer: Consumer | None = None
        self._writer = Writer(settings.clickhouse, self._wait)
        self._mine: list[Place] = []
        self._opened = True
        self._epoch = 0
        self._runs: dict[Place, Run] = {}
        self._starts: dict[Place, int] = {}
        self._next: dict[Place, int] = {}
        self._bytes = 0
        self._flush_at = 0.0
        self._paused = False
        self._told: set[str] = set()
        self._trusted_to_ms: int | None = None
        self._ranges = 0
        self._stored = 0
        self._asked = threading.Event()
        self._ends: dict[Place, int] = {}

    def run(self) -> None:
        """Works until it is told to stop.

        Raises:
            ClickHouseRefused: the server does not take a block; the range stays open.
            LogCut: messages are gone that were not stored yet.
            Fenced: another process has the same instance name.
        """
        self._consumer = log.member(self._settings, self._on_error)
        try:
            wanted = [topic_name(self._settings.kafka, topic) for topic in TOPICS]
            self._consumer.subscribe(
                wanted, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
            )
            while not self._stop():
                self._step()
            self._last_flush()
        finally:
            self._writer.close()
            self._consumer.close()

    def vitals(self) -> Vitals:
        """How the sink is, for any thread; the ends of topics are as old as the question before."""
        self._asked.set()
        ends = self._ends
        lags = [
            ({"topic": place[0], "partition": str(place[1])}, max(ends[place] - at, 0))
            for place, at in dict(self._next).items()
            if place in ends
        ]
        values = [
            Vital("lag_messages", "offsets between what is read and the end of the topic", "gauge", lags),
            Vital("waiting_bytes", "read and not yet stored", "gauge", [({}, self._bytes)]),
            Vital("ranges_total", "ranges stored by this process", "counter", [({}, self._ranges)]),
            Vital("stored_messages_total", "messages stored by this process", "counter", [({}, self._stored)]),
        ]
        if self._paused:
            return Vitals("waiting", "ClickHouse does not take what is read; history is late, alerts are not", values)
        told = "; ".join(sorted(self._told))
        return Vitals("waiting" if told else "ok" if self._mine else "starting", told, values)

    def _step(self) -> None:
        try:
            if not self._opened:
                self._member.poll(0)  # the group may have changed its mind; what this returns is read again
                self._open()
            self._take()
            if self._asked.is_set():
                self._look()
            if self._is_due():
                self._flush()
        except _Moved:
            self._forget()
            self._opened = not self._mine
        except KafkaUnavailable as error:
            self._tell(str(error))
        except _Stopped:
            self._forget()

    def _last_flush(self) -> None:
        """Finishes what is at hand; a server that does not answer now gets it at the next start."""
        try:
            if self._opened:
                self._flush()
        except (_Moved, _Stopped):
            self._forget()

    # The group.

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._epoch += 1
        self._forget()
        self._mine = sorted((bare_name(self._settings.kafka, part.topic), part.partition) for part in partitions)
        self._opened = not self._mine
        consumer.assign([])  # nothing is fetched before open ranges are finished
        _log.info("%d partitions are mine", len(self._mine))

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        del partitions
        self._epoch += 1
        self._forget()
        self._mine = []
        self._opened = True
        consumer.unassign()

    def _on_error(self, error: KafkaError) -> None:
        self._tell(f"Kafka at {self._settings.kafka.bootstrap}: {error.str()}")

    def _tell(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            _log.warning("%s", text)

    def _forget(self) -> None:
        self._runs, self._starts, self._next, self._bytes, self._paused = {}, {}, {}, 0, False

    @property
    def _member(self) -> Consumer:
        assert self._consumer is not None
        return self._consumer

    def _open(self) -> None:
        """Finishes the open ranges of the partitions, then takes up reading behind them."""
        epoch = self._epoch
        kafka = self._settings.kafka
        self._member.assign([])
        found = log.committed(self._member, kafka, self._mine)
        for range_ in distinct(metadata for _, metadata in found.values()):
            self._redo(range_, [place for place, (_, metadata) in found.items() if metadata and place in range_.spans])
        if self._epoch != epoch:
            raise _Moved
        positions = {}
        for place, (offset, metadata) in found.items():
            if metadata:
                positions[place] = distinct([metadata])[0].spans[place][1]
            else:
                positions[place] = offset if offset >= 0 else log.bounds(self._member, kafka, place)[0]
        self._starts, self._next = dict(positions), dict(positions)
        self._runs = {place: Run() for place in positions}
        self._bytes = 0
        self._flush_at = time.monotonic() + self._settings.sink.flush_interval_s
        self._member.assign(
            [
                TopicPartition(topic_name(kafka, topic), partition, offset)
                for (topic, partition), offset in positions.items()
            ]
        )
        self._member.resume(self._member.assignment())
        self._paused = False
        self._opened = True
        self._told.clear()

    def _redo(self, range_: Range, mine: list[Place]) -> None:
        age_ms = log.now_ms() - range_.opened_ms
        ask = range_.encoder != ENCODER or not 0 <= age_ms < TRUST_TOKENS_MS
        _log.warning("a range was left open %d s ago, finishing it: %s", age_ms // 1000, range_.identity)
        runs = log.read(self._settings, range_, self._wait)
        for block in blocks_of(runs):
            if ask:
                self._writer.insert_missing(range_, block)
            else:
                self._insert(range_, block)
        self._commit({place: range_.spans[place][1] for place in mine}, "")

    def _look(self) -> None:
        """Remembers where topics end, for `vitals`: a consumer lets no second thread in while one polls."""
        self._asked.clear()
        found = {}
        for topic, partition in self._next:
            full = TopicPartition(topic_name(self._settings.kafka, topic), partition)
            marks = self._member.get_watermark_offsets(full, cached=True)
            if marks is not None and marks[1] >= 0:
                found[topic, partition] = marks[1]
        self._ends = found

    # Messages.

    def _take(self) -> None:
        epoch = self._epoch
        timeout_s = min(max(self._flush_at - time.monotonic(), 0.01), log.POLL_S) if self._mine else log.POLL_S
        messages: list[log.Message] = self._member.consume(log.BATCH_MESSAGES, timeout_s)
        if self._epoch != epoch:
            return  # they belong to the assignment of before; none of the new one is fetched yet
        for message in messages:
            error = message.error()
            if error is not None and error.code() != log.END_OF_PARTITION:
                log.check(message, error)
                self._tell(error.str())
                continue
            place = (bare_name(self._settings.kafka, message.topic()), message.partition())
            if place not in self._next:
                continue
            if error is None:
                self._bytes += log.take(self._runs, place, message)
                self._next[place] = message.offset() + 1
            else:
                # Behind the last message there may be markers of transactions: they are passed as well, so that the
                # committed offsets reach the end of the log.
                self._next[place] = max(self._next[place], message.offset())

    def _is_due(self) -> bool:
        sink = self._settings.sink
        return (
            time.monotonic() >= self._flush_at
            or self._bytes >= sink.range_bytes_max
            or self._bytes // ROW_BYTES >= sink.range_rows_max
        )

    def _flush(self) -> None:
        self._flush_at = time.monotonic() + self._settings.sink.flush_interval_s
        spans = {place: (self._starts[place], end) for place, end in self._next.items() if end > self._starts[place]}
        if not spans:
            return
        runs, self._runs = self._runs, {place: Run() for place in self._runs}
        self._starts, self._bytes = dict(self._next), 0
        for range_ in cut(spans, log.now_ms()):
            part = {place: runs[place] for place in range_.spans}
            if any(run.offsets for run in part.values()):
                self._store(range_, part)
            else:
                self._commit({place: end for place, (_, end) in range_.spans.items()}, "")
        if self._paused:
            self._member.resume(self._member.assignment())
            self._paused = False
        self._told.clear()

    def _store(self, range_: Range, runs: dict[Place, Run]) -> None:
        point("sink.before_intent")
        self._commit({place: start for place, (start, _) in range_.spans.items()}, range_.text)
        point("sink.after_intent")
        blocks = blocks_of(runs)
        for block in blocks:
            self._insert(range_, block)
            point(f"sink.after_insert.{block.table}")
        point("sink.before_ends")
        self._commit({place: end for place, (_, end) in range_.spans.items()}, "")
        point("sink.after_ends")
        self._ranges += 1
        self._stored += sum(len(run.offsets) for run in runs.values())
        _log.debug("%d messages, %d inserts", sum(len(run.offsets) for run in runs.values()), len(blocks))

    def _insert(self, range_: Range, block: Block) -> None:
        """Inserts while the token can be trusted, each attempt; after that it is finished as any old range, by asking.

        An attempt whose answer was lost may have gone well, and this process may have slept, or been cut off from a
        server that took ten thousand blocks of others meanwhile.
        """
        self._trusted_to_ms = range_.opened_ms + TRUST_TOKENS_MS
        try:
            self._check_age()
            self._writer.insert(range_, block)
        finally:
            self._trusted_to_ms = None

    def _check_age(self) -> None:
        if self._trusted_to_ms is not None and log.now_ms() > self._trusted_to_ms:
            raise _Moved

    def _commit(self, offsets: dict[Place, int], metadata: str) -> None:
        if offsets and not log.commit(self._member, self._settings.kafka, offsets, metadata, self._wait):
            raise _Moved

    def _wait(self, seconds: float) -> None:
        """Waits, stays a member of the group, and raises when the range is not this process's any more."""
        epoch = self._epoch
        if self._stop():
            raise _Stopped
        if seconds and not self._paused and self._opened:
            self._member.pause(self._member.assignment())
            self._paused = True
        until = time.monotonic() + seconds
        while True:
            message: log.Message = self._member.poll(min(max(until - time.monotonic(), 0), log.POLL_S))
            if self._epoch != epoch:
                raise _Moved
            if message is not None and message.error() is None:
                place = (bare_name(self._settings.kafka, message.topic()), message.partition())
                self._bytes += log.take(self._runs, place, message)
                self._next[place] = message.offset() + 1
            if time.monotonic() >= until:
                return self._check_age()
            if self._stop():
                raise _Stopped
