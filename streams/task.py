"""A task: one partition of an input topic, from the log to committed outputs, in one thread.

The state needs no transaction, because `advance` is deterministic: a transaction holds outputs and position, and a task
that is opened again replays from a snapshot at S to the position P with its outputs thrown away, which must end at the
heads that the position record holds.
"""

import dataclasses
import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, Final, cast

import numpy as np

from processors import snapshot
from processors.advance import Processor
from processors.migrations import LAYOUTS
from processors.state import ENGINE, LATE, NEVER, READINGS, REJECTS
from schemas import codec
from schemas.canonical import STREAMS
from schemas.errors import ContractError, EngineMismatch, KafkaUnavailable, LogCut, LogError
from schemas.model.document import Document
from schemas.record_batches import Slab
from schemas.settings import KafkaSettings, WorkerSettings
from schemas.topics import topic_name
from streams.documents import Documents
from streams.kafka_admin import watermarks
from streams.layouts import Layouts
from streams.snapshots import SLOTS, UPGRADE_SLOT, Head, SnapshotWriter, read_record, read_state
from streams.transaction import Commit, TaskProducer

ROWS_MAX: Final = 100_000
"""Rows that wait for a commit, at most (but for those of one slab)."""

HAND_OVER_S: Final = 60.0
"""How long the snapshot for the next engine may take: without it the next release cannot begin."""

_log = logging.getLogger("ganzhi.worker")


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What the tasks of a worker share.

    Attributes:
        kafka: where the log is.
        worker: how often to commit and to write snapshots.
        documents: finds documents.
        snapshots: writes snapshots.
        layouts: builds layouts.
    """

    kafka: KafkaSettings
    worker: WorkerSettings
    documents: Documents
    snapshots: SnapshotWriter
    layouts: Layouts = dataclasses.field(default_factory=Layouts)

    def close(self) -> None:
        """Lets go of what they shared, but for the writer of snapshots."""
        self.documents.close()
        self.layouts.close()


class Task:
    """One partition of an input topic.

    `open`, `apply`, `commit`, `finish` and `close` belong to one thread; the attributes may be read, and `give_up` set,
    by any.

    Args:
        shared: what the tasks of a worker share.
        topic: input topic, without prefix.
        partition: of it.
        membership: group metadata of the assignment.

    Attributes:
        name: `TOPIC/PARTITION`.
        give_up: when set, whatever the task waits for ends with an error, and nothing is committed any more.
        since_s: monotonic time of the first message applied that is not committed; None: all are.
        caught_up_to: position, as far as it may be compared with the end of the log; -1 while replaying.
        wants_ticks: whether the partition holds sites of the live domain.
        doing: what its thread is at, in words.
        computing: whether that is a slab.
        waits_for: the document that it lacks, in words; empty: none.
        commits: transactions so far.
    """

    def __init__(self, shared: Surroundings, topic: str, partition: int, membership: bytes) -> None:
        self.name = f"{topic}/{partition}"
        self.give_up = threading.Event()
        self.since_s: float | None = None
        self.caught_up_to = -1
        self.wants_ticks = False
        self.doing = "waiting for slabs"
        self.computing = False
        self.waits_for = ""
        self.commits = 0
        self._shared = shared
        self._topic = topic
        self._partition = partition
        self._membership = membership
        self._producer: TaskProducer | None = None
        self._processor = self._fresh()
        self._committed = 0
        self._heads: Mapping[str, tuple[int, bytes]] = {}
        self._broken = False
        self._engine = ENGINE
        self._replaying = False
        self._replayed = 0
        self._opened_s = 0.0
        self._slot = 0
        self._snapshot_at = 0
        self._snapshot_s = 0.0
        self._work_s = 0.0
        self._writing: Future[bool] | None = None

    def open(self) -> int:
        """Fences whoever had the task, finds its position and the newest snapshot that is right.

        Returns:
            The offset to read from.

        Raises:
            Fenced: another process opened it at the same moment.
            LogCut: history is missing between the log and the position.
            EngineMismatch: another release must go on.
            LogError: positions cannot be read, or a snapshot contradicts them.
            KafkaUnavailable: given up.
        """
        began_s = self._opened_s = time.monotonic()
        kafka = self._shared.kafka
        self._producer = TaskProducer(kafka, self._topic, self._partition, self._membership, self.give_up)
        record = read_record(kafka, self._topic, self._partition, self.give_up)
        position = self._read_position(record.position)
        low, high = self._log_ends()
        if not low <= position <= high:
            raise LogCut(
                f"{self.name} stands at offset {position}, but the log has {low} to {high}; restore the topic, "
                "or replay the archive into a new one"
            )
        self._restore(record.heads, low, position)
        self._slot = self._next_slot(record.heads)
        self._committed = position
        self._replaying = True
        start = self._processor.position
        if start >= position:
            self._verify()
        _log.info(
            "%s: opened at position %d, snapshot %s, %d messages to replay, %.2f s",
            self.name, position, start if self._snapshot_at else "none", position - start, time.monotonic() - began_s,
        )  # fmt: skip
        return start

    def apply(self, slab: Slab) -> None:
        """Applies a slab that starts at the position, and commits when something must not wait.

        Raises:
            EngineMismatch: the log wants another release from here on.
            LogError: the replay does not give what was published.
            Fenced, KafkaUnavailable: as `commit`.
        """
        if self._broken or self.give_up.is_set():
            return
        self._broken = True  # until this has gone well: a state that is half a step ahead must not be committed
        self.doing, self.computing = f"applying the slab at {slab.start}", True
        began_s = time.thread_time()
        first = 0
        if self._replaying:
            first = self._replay(slab)
        if not self._replaying:
            try:
                self._processor.advance(slab, first)
            except EngineMismatch:
                self._hand_over()
                raise
            self._tell()
        self._work_s += time.thread_time() - began_s
        self._broken = False
        self.doing, self.computing = "waiting for slabs", False
        if self._replaying or self._processor.position == self._committed:
            return
        if self.since_s is None:
            self.since_s = time.monotonic()
        outbox = self._processor.outbox
        if outbox.urgent or outbox.rows > ROWS_MAX or self.is_due(time.monotonic()):
            self.commit()

    def is_due(self, now_s: float) -> bool:
        """Whether a commit is due."""
        since_s = self.since_s
        return since_s is not None and now_s - since_s >= self._shared.worker.commit_interval_s

    def commit(self, final: bool = False) -> None:
        """Commits what was applied: outputs, position, group offset. Nothing to commit: nothing happens.

        Args:
            final: whether the worker stops, so that a snapshot makes the next start quick.

        Raises:
            Fenced: the task must be opened again, here or elsewhere.
            KafkaUnavailable: given up; what was committed shows when it is opened again.
            LogError: the broker refuses what is sent.
        """
        if self._broken or self._replaying or self._producer is None or self.give_up.is_set():
            return
        processor = self._processor
        position = processor.position
        if position != self._committed:
            self._broken = True
            self.doing = f"committing up to {position}"
            outputs = processor.take()
            record: dict[str, object] = {
                "topic": self._topic,
                "partition": self._partition,
                "engine": ENGINE,
                "position": position,
                "clock_ms": processor.clock_ms,
                "streams": processor.stream_heads(),
            }
            self._producer.commit(Commit(outputs, codec.write("task_position", record), position))
            self._committed = position
            self.commits += 1
            self.doing = "waiting for slabs"
            self._broken = False
        self.since_s = None
        # After the commit: a snapshot is never ahead of the position. Nothing was applied in between.
        if self._wants_snapshot(final):
            self._write_snapshot()

    def finish(self, final: bool) -> None:
        """Commits what is left and lets go.

        Args:
            final: whether the worker stops.
        """
        try:
            self.commit(final)
        finally:
            self.close()

    def _hand_over(self) -> None:
        """Commits up to the record that wants another engine, and leaves the state for the release that has it."""
        self._broken = False  # the step ended between two messages
        try:
            self.commit()
            if self._writing is not None:
                self._writing.exception(HAND_OVER_S)
            if self._committed:
                written = self._write_snapshot(UPGRADE_SLOT)
                if not written.result(HAND_OVER_S):
                    _log.error("%s: no snapshot for the next engine; start this release once more", self.name)
        except TimeoutError:
            _log.error("%s: no snapshot for the next engine in time; start this release once more", self.name)
        finally:
            self._broken = True

    def close(self) -> None:
        """Aborts what is under way and lets the connections go."""
        self._broken = True
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.close()

    # -- for other threads --------------------------------------------------------------------------------------------

    @property
    def position(self) -> int:
        """Offset of the next message to apply."""
        return self._processor.position

    @property
    def clock_ms(self) -> int | None:
        """The task's clock; None: it has none yet."""
        clock_ms = self._processor.clock_ms
        return None if clock_ms == NEVER else clock_ms

    @property
    def snapshot_age_s(self) -> float:
        """Time since the last snapshot, or since it was opened."""
        return time.monotonic() - (self._snapshot_s or self._opened_s)

    def counters(self) -> dict[str, int]:
        """Since the beginning of the log: readings, late ones, and input that was rejected."""
        scalars = self._processor.state.scalars
        return {"readings": int(scalars[READINGS]), "late": int(scalars[LATE]), "rejected": int(scalars[REJECTS])}

    # -- opening ------------------------------------------------------------------------------------------------------

    def _fresh(self) -> Processor:
        return Processor(self._topic, self._partition, self._document, self._shared.layouts.build)

    def _document(self, sha256: bytes) -> Document:
        self.waits_for = f"document {sha256.hex()[:12]}, which nobody has published"
        try:
            return self._shared.documents.get(sha256, self.give_up)
        finally:
            self.waits_for = ""

    def _log_ends(self) -> tuple[int, int]:
        kafka = self._shared.kafka
        while True:
            try:
                ends = watermarks(kafka, topic_name(kafka, self._topic), [self._partition], 5.0)
            except KafkaUnavailable as error:
                _log.warning("%s: %s", self.name, error)
                if self.give_up.wait(0.2):
                    raise
            else:
                return ends[self._partition]

    def _read_position(self, record: Mapping[str, codec.Value] | None) -> int:
        if record is None:
            self._heads = {}
            return 0
        engine = cast("int", record["engine"])
        if engine != ENGINE and engine not in LAYOUTS:
            raise EngineMismatch(engine, ENGINE, self.name)
        self._engine = engine
        streams = cast("list[dict[str, Any]]", record["streams"])
        self._heads = {head["stream"]: (head["sequence"], head["head"]) for head in streams}
        return cast("int", record["position"])

    def _restore(self, heads: Mapping[int, Head], low: int, position: int) -> None:
        """Takes the newest snapshot that is right and not ahead of the position; else begins at the log's start."""
        usable = [head for head in heads.values() if low <= head.offset <= position and self._fits(head, position)]
        for head in sorted(usable, key=lambda head: head.offset, reverse=True):
            try:
                raw = read_state(self._shared.kafka, self._topic, self._partition, head, self.give_up)
                builder, own = self._shared.layouts.build, self._document
                processor = snapshot.load(raw, self._topic, self._partition, own, builder, head.engine)
                if processor.position != head.offset:
                    raise ContractError(f"snapshot at {processor.position}, its head says {head.offset}")
            except ContractError as error:
                _log.warning("%s: snapshot at %d is not used: %s", self.name, head.offset, error)
                continue
            self._processor, self._snapshot_at = processor, head.offset
            return
        if self._engine != ENGINE:
            raise EngineMismatch(self._engine, ENGINE, f"{self.name}, which has not been handed over at {position},")
        if low > 0:
            raise LogCut(
                f"{self.name} has no usable snapshot, and the log starts at offset {low} instead of 0; replay the "
                "archive into a new topic"
            )

    def _fits(self, head: Head, position: int) -> bool:
        """Whether this engine can go on from a snapshot: from its own, or from where an older one handed over."""
        if self._engine != ENGINE:
            return head.slot == UPGRADE_SLOT and head.engine == self._engine and head.offset == position
        return head.engine == ENGINE or head.slot == UPGRADE_SLOT

    def _next_slot(self, heads: Mapping[int, Head]) -> int:
        """Not the one that was used: a writer that dies midway spoils its slot."""
        for slot in range(SLOTS):
            if slot not in heads:
                return slot
        used = self._snapshot_at
        turning = [head for head in heads.values() if head.slot < SLOTS]
        return min((head for head in turning if head.offset != used), key=_age, default=turning[0]).slot

    def _replay(self, slab: Slab) -> int:
        """Applies the messages of a slab before the position; the index of the first one after them."""
        cut = int(np.searchsorted(slab.offsets, self._committed))
        self._processor.advance(slab, 0, cut)
        self._processor.take(publish=False)
        self._replayed += cut
        if slab.end >= self._committed:
            self._verify()
        return cut

    def _verify(self) -> None:
        """Ends the replay: what was recomputed must be what was published."""
        if self._heads:
            ours = {str(h["stream"]): (h["sequence"], h["head"]) for h in self._processor.stream_heads()}
            for stream in STREAMS:
                if ours[stream] != self._heads.get(stream):
                    theirs = self._heads.get(stream, (0, b""))
                    raise LogError(
                        f"{self.name}: replayed to offset {self._committed}, the stream {stream} has {ours[stream][0]} "
                        f"rows and another hash than the {theirs[0]} rows that were published; nothing more is "
                        "published. Has the log or a document changed? `ganzhi replay verify` shows where"
                    )
        self._replaying = False
        self._tell()
        if self._replayed:
            _log.info(
                "%s: replayed %d messages up to %d, %.2f s after it was opened",
                self.name, self._replayed, self._committed, time.monotonic() - self._opened_s,
            )  # fmt: skip

    def _tell(self) -> None:
        """Says how far it has come, for those who write ticks."""
        self.caught_up_to = self._processor.position
        self.wants_ticks = bool(self._processor.heads) and not self._processor.simulated

    # -- snapshots ----------------------------------------------------------------------------------------------------

    def _wants_snapshot(self, final: bool) -> bool:
        if self._committed == self._snapshot_at or (self._writing is not None and not self._writing.done()):
            return False
        worker = self._shared.worker
        rested = not self._snapshot_s or time.monotonic() - self._snapshot_s >= worker.snapshot_interval_s
        return final or (self._work_s > worker.snapshot_replay_s and rested)

    def _write_snapshot(self, slot: int | None = None) -> Future[bool]:
        """Into the slot whose turn it is, or into another."""
        raw = snapshot.save(self._processor)
        into = self._slot if slot is None else slot
        self._writing = self._shared.snapshots.write(self._topic, self._partition, into, self._committed, raw)
        if slot is None:
            self._slot = (self._slot + 1) % SLOTS
        self._snapshot_at, self._snapshot_s, self._work_s = self._committed, time.monotonic(), 0.0
        return self._writing


def _age(head: Head) -> int:
    return head.offset
