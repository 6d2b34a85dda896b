"""A task without Faust, on the real Kafka: fences, snapshots, replay, and what it refuses."""

import itertools
import random
import struct
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from processors import snapshot
from processors.outputs import Output
from processors.state import ENGINE
from schemas import codec
from schemas.errors import EngineMismatch, Fenced, LogCut, LogError
from schemas.kafka import client_config, group_metadata, group_name
from schemas.model.document import Document
from schemas.record_batches import Slab
from schemas.settings import KafkaSettings, WorkerSettings
from schemas.topics import ALERTS, METER_READINGS, SNAPSHOTS, TASKS, topic_name
from streams import kafka_admin
from streams.documents import Documents
from streams.snapshots import SnapshotWriter, read_record
from streams.task import Surroundings, Task
from streams.transaction import Commit, TaskProducer
from tests.streams.log import messages_of, producer
from tests.streams.pipeline import LIMIT_S, Feed, Watch, publish


class Bench:
    """One partition with a feed, and tasks over it that no group fences."""

    def __init__(self, kafka: KafkaSettings, documents: dict[str, Document], snapshots: SnapshotWriter) -> None:
        self.kafka = kafka
        self.feed = Feed(kafka, documents["east"])
        self.partition = self.feed.partition
        self.watch = Watch(kafka, self.partition)
        worker = WorkerSettings(commit_interval_s=30)
        self.shared = Surroundings(kafka, worker, Documents(kafka), snapshots)
        group = group_name(kafka, worker.group).encode()
        self.nobody = b"CGMDv2:" + struct.pack("<i", -1) + group + b"\0\0\1"

    def task(self) -> Task:
        return Task(self.shared, METER_READINGS, self.partition, self.nobody)

    def slabs(self, start: int, cuts: int = 1) -> Iterator[Slab]:
        """The log from an offset on, cut at random places."""
        topic = topic_name(self.kafka, METER_READINGS)
        found = [m for m in messages_of(self.kafka, topic, self.partition) if m[0] >= start]
        inside = random.Random(cuts).choices([m[0] for m in found] or [start], k=cuts)
        for low, high in itertools.pairwise(sorted({start, self.watch.end(), *inside})):
            yield Slab.of(topic, self.partition, [m for m in found if low <= m[0] < high], low, high)

    def run(self, cuts: int = 1, final: bool = True) -> Task:
        """Opens a task, applies the whole log, commits; a snapshot at the end where final."""
        task = self.task()
        for slab in self.slabs(task.open(), cuts):
            task.apply(slab)
        task.commit(final)
        return task

    def write(self, topic: str, key: str, value: bytes) -> None:
        """Writes into the partition, as somebody who spoils things."""
        one = producer(self.kafka)
        one.produce(topic_name(self.kafka, topic), value, key.encode(), self.partition)
        assert one.flush(LIMIT_S) == 0

    def written(self) -> None:
        """Waits until the snapshots so far are written."""
        self.shared.snapshots._thread.submit(int).result(LIMIT_S)

    def heads(self) -> dict[int, Any]:
        return read_record(self.kafka, METER_READINGS, self.partition, threading.Event()).heads

    def cut_log(self, offset: int) -> None:
        """Deletes the messages before an offset, as a retention would."""
        admin = AdminClient(client_config(self.kafka))
        place = TopicPartition(topic_name(self.kafka, METER_READINGS), self.partition, offset)
        for future in admin.delete_records([place]).values():
            future.result(LIMIT_S)


@pytest.fixture
def bench(kafka: KafkaSettings, tmp_path: Path) -> Iterator[Bench]:
    """A published model and its first site."""
    documents = publish(kafka, tmp_path)
    with closing(SnapshotWriter(kafka)) as writer:
        yield Bench(kafka, documents, writer)


def test_any_cuts_and_restarts_give_the_same_rows(bench: Bench) -> None:
    """However the log is cut and a task restarts, without snapshots, rows are those of a processor alone."""
    for round_ in range(4):
        bench.feed.send(150)
        bench.run(cuts=20 + round_, final=False).close()
        assert bench.watch.position == bench.watch.end()
    assert bench.heads() == {}
    assert len(bench.watch.exact()["alerts"]) > 20


def test_who_opens_a_task_fences_the_one_before(bench: Bench) -> None:
    """A task that another process has opened cannot commit what it has applied."""
    bench.feed.send(108)
    first = bench.task()
    slabs = list(bench.slabs(first.open(), cuts=3))
    first.apply(slabs[0])
    second = bench.run()
    bench.feed.send(100)
    with pytest.raises(Fenced):
        for slab in slabs[1:]:
            first.apply(slab)
        first.commit()
    first.close()
    for slab in bench.slabs(bench.watch.position):
        second.apply(slab)
    second.finish(final=False)
    bench.watch.exact()


def test_outputs_and_position_are_atomic(bench: Bench) -> None:
    """A transaction that the group refuses leaves neither outputs nor a position to a read_committed reader."""
    stranger = group_metadata(group_name(bench.kafka, "worker"), 3, "nobody")
    value = codec.write("tick", {"clock_ms": 0})
    places = [topic_name(bench.kafka, topic) for topic in (ALERTS, TASKS)]
    for _ in range(20):
        one = TaskProducer(bench.kafka, METER_READINGS, bench.partition, stranger, threading.Event())
        with pytest.raises(Fenced):
            one.commit(Commit([Output(ALERTS, value)], value, 7))
        one.close()
        assert [messages_of(bench.kafka, name, bench.partition) for name in places] == [[], []]
        # librdkafka may be refused before it has sent anything: then there was nothing to take back.
        if all(messages_of(bench.kafka, name, bench.partition, "read_uncommitted") for name in places):
            return
    pytest.fail("the group's refusal always came before the messages were sent")


def test_a_snapshot_shortens_the_replay(bench: Bench) -> None:
    """A task begins at the newest snapshot; positions after it are replayed, and the slots are written in turn."""
    for slot in range(3):
        bench.feed.send(60)
        bench.run().close()
        bench.written()
        assert set(bench.heads()) == set(range(slot + 1))
        assert bench.heads()[slot].offset == bench.watch.end()
    bench.feed.send(60)
    bench.run(final=False).close()
    task = bench.task()
    start = task.open()
    assert start == bench.heads()[2].offset
    assert start < bench.watch.position
    for slab in bench.slabs(start, cuts=7):
        task.apply(slab)
    task.finish(final=True)
    bench.written()
    bench.watch.exact()
    task = bench.task()
    assert task.open() == bench.watch.end()
    task.close()
    assert bench.heads()[0].offset == bench.watch.end()


@pytest.mark.parametrize("fault", ["chunk", "head", "another state"])
def test_a_spoilt_snapshot_is_ignored(bench: Bench, fault: str) -> None:
    """A snapshot whose chunks, head or content are wrong is not used; an older one is, and the rows are right."""
    for _ in range(2):
        bench.feed.send(60)
        bench.run().close()
        bench.written()
    old, new = bench.heads()[0], bench.heads()[1]
    name = f"{METER_READINGS}/{bench.partition}"
    if fault == "chunk":
        chunk = messages_of(bench.kafka, topic_name(bench.kafka, SNAPSHOTS), bench.partition)[-1][3] or b""
        at = len(chunk) // 2
        spoilt = chunk[:at] + bytes([chunk[at] ^ 1]) + chunk[at + 1 :]
        bench.write(SNAPSHOTS, f"{name}/1/0", spoilt)
        where = messages_of(bench.kafka, topic_name(bench.kafka, SNAPSHOTS), bench.partition)[-1][0]
        bench.write(TASKS, f"{name}/snapshot/1", _head_of(new, name, first_chunk=where, last_chunk=where))
    elif fault == "head":
        bench.write(TASKS, f"{name}/snapshot/1", _head_of(new, name, first_chunk=10_000, last_chunk=10_000))
    else:  # right bytes, at another offset
        state = snapshot.save(bench.task()._processor)
        assert bench.shared.snapshots.write(METER_READINGS, bench.partition, 1, new.offset, state).result(LIMIT_S)
    bench.feed.send(60)
    task = bench.task()
    assert task.open() == old.offset
    for slab in bench.slabs(old.offset):
        task.apply(slab)
    task.finish(final=False)
    bench.watch.exact()


def _head_of(head: Any, name: str, **changes: int) -> bytes:
    fields = {
        "topic": name.rpartition("/")[0], "partition": int(name.rpartition("/")[2]), "engine": head.engine,
        "offset": head.offset, "slot": head.slot, "chunks": head.chunks, "first_chunk": head.first_chunk,
        "last_chunk": head.last_chunk, "bytes": head.size, "sha256": head.sha256,
    }  # fmt: skip
    return codec.write("snapshot_head", fields | changes)


def test_a_log_that_was_cut_is_refused(bench: Bench) -> None:
    """Without a snapshot the log must start at 0, with one it must reach the position; the error says what to do."""
    bench.feed.send(60)
    bench.run(final=False).close()
    bench.cut_log(10)
    with pytest.raises(LogCut, match=r"starts at offset 10 instead of 0; replay the archive"):
        bench.task().open()
    bench.cut_log(bench.watch.end())
    bench.feed.send(5)
    bench.cut_log(bench.watch.end())
    with pytest.raises(LogCut, match="stands at offset 61, but the log has 66 to 66"):
        bench.task().open()


def test_a_log_that_ends_before_the_position_is_refused(bench: Bench) -> None:
    """A topic that was made anew is not taken for the one that the position belongs to."""
    bench.feed.send(60)
    bench.run().close()
    name = topic_name(bench.kafka, METER_READINGS)
    admin = AdminClient(client_config(bench.kafka))
    admin.delete_topics([name])[name].result(LIMIT_S)
    _until_gone(bench.kafka, name)
    kafka_admin.create_missing(bench.kafka)
    with pytest.raises(LogCut, match="stands at offset 61, but the log has 0 to 0"):
        bench.task().open()


def _until_gone(kafka: KafkaSettings, name: str) -> None:
    admin = AdminClient(client_config(kafka))
    for _ in range(100):
        if name not in admin.list_topics(timeout=LIMIT_S).topics:
            return
        threading.Event().wait(0.05)
    raise AssertionError(name)


def test_a_replay_that_differs_is_refused(bench: Bench) -> None:
    """When the log no longer gives what was published, nothing more is published, and the stream is named."""
    bench.feed.send(60)
    bench.run(final=False).close()
    record = dict(bench.watch.records[-1]) if bench.watch.position >= 0 else {}
    streams = [dict(head) for head in record["streams"]]
    streams[2]["head"] = bytes(32)
    bench.write(
        TASKS, f"{METER_READINGS}/{bench.partition}", codec.write("task_position", record | {"streams": streams})
    )
    task = bench.task()
    with pytest.raises(LogError, match=r"the stream alerts has \d+ rows and another hash"):
        for slab in bench.slabs(task.open(), cuts=4):
            task.apply(slab)
    before = bench.watch.position
    bench.feed.send(60)
    for slab in bench.slabs(before):
        task.apply(slab)  # broken: it takes nothing more
    task.finish(final=True)
    assert bench.watch.position == before


def test_a_position_of_another_engine_is_refused(bench: Bench) -> None:
    """A task that another release computes is left alone."""
    bench.feed.send(10)
    bench.run().close()
    assert bench.watch.position > 0
    record = bench.watch.records[-1] | {"engine": ENGINE + 1}
    bench.write(TASKS, f"{METER_READINGS}/{bench.partition}", codec.write("task_position", record))
    with pytest.raises(EngineMismatch, match=f"engine {ENGINE + 1}"):
        bench.task().open()


def test_many_rows_commit_early(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for a commit is bounded by rows, not only by time."""
    monkeypatch.setattr("streams.task.ROWS_MAX", 10)
    bench.feed.send(9)
    task = bench.task()
    for slab in bench.slabs(task.open()):
        task.apply(slab)
    assert bench.watch.position == bench.watch.end()
    task.close()


def test_work_makes_a_snapshot(bench: Bench) -> None:
    """A snapshot is written when enough work lies behind the last one, not with every commit."""
    bench.feed.send(500)
    bench.run(final=False).close()
    assert bench.heads() == {}
    worker = bench.shared.worker.model_copy(update={"snapshot_replay_s": 1e-9})
    eager = Surroundings(bench.kafka, worker, bench.shared.documents, bench.shared.snapshots)
    task = Task(eager, METER_READINGS, bench.partition, bench.nobody)
    for slab in bench.slabs(task.open()):
        task.apply(slab)
    bench.feed.send(1)
    for slab in bench.slabs(bench.watch.position):
        task.apply(slab)
    task.commit()
    bench.feed.send(9)
    for slab in bench.slabs(bench.watch.end() - 9):
        task.apply(slab)
    task.finish(final=False)
    bench.written()
    assert [head.offset for head in bench.heads().values()] == [502]
