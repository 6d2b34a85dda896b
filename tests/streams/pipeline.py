"""What tests of the worker share: a published model, a feed, workers in this process and in others, and the judge.

The judge recomputes a partition from its log with a processor of its own, that nothing disturbs, and compares rows.
"""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Consumer, KafkaException, TopicPartition

from processors.advance import Processor
from schemas import codec
from schemas.canonical import STREAMS
from schemas.control import SigningKey
from schemas.encode import encode_batch
from schemas.kafka import client_config
from schemas.model.check import check_folder
from schemas.model.document import Document
from schemas.record_batches import Slab
from schemas.settings import KafkaSettings, Settings, WorkerSettings
from schemas.topics import METER_READINGS, OUTPUTS, TASKS, TOPICS, topic_name
from streams import kafka_admin
from streams.published import apply_model, fetch_document, read_documents
from streams.worker import run
from tests.streams.log import messages_of, producer
from tests.support.models import LIGHTS, write_model

LIMIT_S = 150.0  # the first worker process of a new release compiles for half a minute
KEY = SigningKey.of(bytes(range(32)))
AT_ONCE = LIGHTS.replace("for: 20m", "for: 0s").replace("keep_firing_for: 2m", "keep_firing_for: 0s")
STREAM_OF = {"ledger_rows": "ledger", "gauge_rows": "gauges", "alert_rows": "alerts", "episode_rows": "episodes",
             "verdict_rows": "verdicts", "rejected_rows": "rejected"}  # fmt: skip
Rows = dict[str, list[Any]]


def publish(kafka: KafkaSettings, folder: Path) -> dict[str, Document]:
    """Makes the topics and publishes the small model, with alerts that neither wait nor linger; documents by site."""
    kafka_admin.create_missing(kafka, TOPICS)
    model, faults = check_folder(write_model(folder, packs={"lighting.yaml": AT_ONCE}))
    assert not faults
    apply_model(kafka, model, KEY)
    return read_documents(kafka)


class Feed:
    """Readings of a site: each message moves a register over some intervals, and some switch a light.

    Times of lights are close to now, as live rules need it; those of registers are long past.
    """

    def __init__(self, kafka: KafkaSettings, document: Document) -> None:
        points = document.table("points")
        self.numbers = dict(zip(points["id"], points["number"], strict=True))
        self.partition = document.partition
        self.site = document.site
        self.kafka = kafka
        self.sent = 0
        self.start_ms = int(time.time() * 1000) // 60_000 * 60_000 - 60_000
        self._producer = producer(kafka, enable_idempotence=True)

    def messages(self, count: int) -> list[bytes]:
        """The next messages."""
        made = []
        for i in range(self.sent, self.sent + count):
            if i % 10 == 9:
                # a light goes on and off in a room without people
                made.append(
                    self._batch("gw-e2", [("e-people", 0), ("e-light", 200_000 * (i // 10 % 2))], self.start_ms + i)
                )
            else:
                at = 1_767_225_600_000 + i * 900_000
                made.append(self._batch("gw-e", [("e-main", i * 1000), ("e-sub", i * 333)], at))
        self.sent += count
        return made

    def send(self, count: int, flush: bool = True) -> None:
        """Writes the next messages."""
        for value in self.messages(count):
            self._producer.produce(topic_name(self.kafka, METER_READINGS), value, self.site.encode(), self.partition)
            self._producer.poll(0)
        if flush:
            assert self._producer.flush(LIMIT_S) == 0

    def _batch(self, gateway: str, readings: list[tuple[str, int]], at_ms: int) -> bytes:
        size = len(readings)
        numbers = np.array([self.numbers[name] for name, _ in readings], np.int32)
        values = np.array([value for _, value in readings], np.int64)
        times_ms = np.full(size, at_ms, np.int64)
        return encode_batch(self.site, gateway, "live", times_ms, numbers, values, np.zeros(size, np.int8))


def settings_of(kafka: KafkaSettings, **worker: Any) -> Settings:
    """Settings of a worker that commits often."""
    return Settings(kafka=kafka, worker=WorkerSettings(**{"commit_interval_s": 0.05, "heartbeat_s": 0.3, **worker}))


class Local:
    """A worker in a thread of this process."""

    def __init__(self, settings: Settings) -> None:
        self.error: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(settings,))
        self._thread.start()

    def _run(self, settings: Settings) -> None:
        try:
            run(settings, self._stop.is_set)
        except BaseException as error:  # noqa: BLE001  told to the test's own thread
            self.error = error

    def check(self) -> None:
        """Raises what ended it."""
        if self.error is not None:
            raise self.error

    def wait(self) -> BaseException | None:
        """Waits until it ends by itself; why it did."""
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive()
        return self.error

    def stop(self) -> None:
        """A clean stop."""
        self._stop.set()
        self.wait()


@contextlib.contextmanager
def local_worker(settings: Settings) -> Iterator[Local]:
    """A worker in a thread, stopped cleanly at the end; what it raised is raised."""
    one = Local(settings)
    try:
        yield one
    finally:
        one.stop()
    one.check()


class Remote:
    """`ganzhi worker` in a process of its own."""

    def __init__(self, settings: Settings, log: Path) -> None:
        worker = settings.worker
        environment = {
            **os.environ,
            "GANZHI_KAFKA__BOOTSTRAP": settings.kafka.bootstrap,
            "GANZHI_KAFKA__PREFIX": settings.kafka.prefix,
            "GANZHI_WORKER__COMMIT_INTERVAL_S": str(worker.commit_interval_s),
            "GANZHI_WORKER__HEARTBEAT_S": str(worker.heartbeat_s),
            "GANZHI_WORKER__SESSION_TIMEOUT_S": str(worker.session_timeout_s),
            "GANZHI_WORKER__INSTANCE": worker.instance,
        }
        self.log = log
        with log.open("ab") as out:
            code = "from ganzhi.cli.worker import app; app()"
            self.process = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=out, stderr=out)

    def check(self) -> None:
        """Fails when it has ended."""
        assert self.process.poll() is None, self.log.read_text()

    def signal(self, number: int) -> None:
        """Sends it a signal."""
        self.process.send_signal(number)

    def end(self) -> None:
        """Kills it, whatever state it is in."""
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def remote_worker(settings: Settings, log: Path) -> Iterator[Remote]:
    """A worker in a process of its own, killed at the end."""
    one = Remote(settings, log)
    try:
        yield one
    finally:
        one.end()


def until(condition: Callable[[], bool], *workers: Local | Remote) -> None:
    """Waits for a condition; a worker that ended, or the time limit, ends it."""
    deadline_s = time.monotonic() + LIMIT_S
    while not condition():
        for one in workers:
            one.check()
        assert time.monotonic() < deadline_s, "waited in vain" + "".join(
            f"\n{one.log.read_text()}" for one in workers if isinstance(one, Remote)
        )
        time.sleep(0.02)


def _uncommitted(kafka: KafkaSettings) -> Consumer:
    """A client that sees where logs end, open transactions included."""
    return Consumer(
        client_config(kafka, group_id=f"{kafka.prefix}ends", isolation_level="read_uncommitted", log_level=0)
    )


class Watch:
    """Follows the committed position records of a meter task.

    Attributes:
        records: of the task, in order.
    """

    def __init__(self, kafka: KafkaSettings, partition: int) -> None:
        self.records: list[dict[str, Any]] = []
        self._kafka = kafka
        self._partition = partition
        self._key = f"{METER_READINGS}/{partition}".encode()
        self._consumer = Consumer(
            client_config(
                kafka,
                group_id=f"{kafka.prefix}watch",
                fetch_wait_max_ms=10,
                enable_auto_commit=False,
                enable_partition_eof=True,
                log_level=0,
            )
        )
        self._ends = _uncommitted(kafka)
        self._place = TopicPartition(topic_name(kafka, TASKS), partition, 0)
        self._consumer.assign([self._place])
        self._read = 0

    @property
    def position(self) -> int:
        """How far the task has come by now; -1: never committed. A broker that is away: what was known."""
        with contextlib.suppress(KafkaException, TypeError):
            # A commit is answered before its markers are written: messages may be visible a moment later.
            end = self._ends.get_watermark_offsets(self._place, timeout=1)[1]
            while self._read < end:
                message = self._consumer.poll(1)
                if message is None:
                    break
                if message.error() is not None:
                    self._read = message.offset() or 0  # the end of the partition, behind markers
                elif message.key() == self._key:
                    self.records.append(codec.read("task_position", message.value() or b""))
        return int(self.records[-1]["position"]) if self.records else -1

    def end(self) -> int:
        """The end of its input."""
        return kafka_admin.watermarks(self._kafka, topic_name(self._kafka, METER_READINGS), [self._partition])[
            self._partition
        ][1]

    def done(self) -> Callable[[], bool]:
        """Whether everything that is in the partition now has been committed."""
        end = self.end()
        return lambda: self.position >= end

    def exact(self) -> Rows:
        """What is published is what the log says, up to the committed position; the rows."""
        assert self.position >= 0
        record = self.records[-1]
        rows, heads = recomputed(self._kafka, self._partition, record["position"])
        assert record["streams"] == heads
        found = published(self._kafka, self._partition)
        for stream in STREAMS:
            for i, (ours, theirs) in enumerate(zip(found[stream], rows[stream], strict=False)):
                assert ours == theirs, (stream, i)
            assert len(found[stream]) == len(rows[stream]), stream
        return found


def _stable_end(kafka: KafkaSettings, place: TopicPartition) -> int:
    """The end of a partition for a read_committed reader."""
    return kafka_admin.watermarks(kafka, place.topic, [place.partition])[place.partition][1]


def published(kafka: KafkaSettings, partition: int, topic: str = METER_READINGS) -> Rows:
    """The rows of every stream as a read_committed reader sees them; sequences must have no hole and no repeat."""
    rows: Rows = {stream: [] for stream in STREAMS}
    ends = _uncommitted(kafka)
    for name in OUTPUTS:
        place = TopicPartition(topic_name(kafka, name), partition)
        end = ends.get_watermark_offsets(place, timeout=LIMIT_S)[1]
        until(lambda place=place, end=end: _stable_end(kafka, place) >= end)
        for _, _, _, value in messages_of(kafka, topic_name(kafka, name), partition):
            assert value is not None
            contract = codec.contract_of(value)
            assert contract is not None
            message: dict[str, Any] = codec.read(contract, value)
            if message["topic"] == topic:
                stream = rows[STREAM_OF[contract]]
                assert message["sequence"] == len(stream), (contract, message["sequence"], len(stream))
                stream.extend(message["rows"])
    return rows


def recomputed(kafka: KafkaSettings, partition: int, end: int) -> tuple[Rows, list[dict[str, Any]]]:
    """Rows and heads that an undisturbed processor makes of the messages before `end`."""
    processor = Processor(METER_READINGS, partition, lambda sha: fetch_document(kafka, sha))
    found = messages_of(kafka, topic_name(kafka, METER_READINGS), partition)
    processor.advance(Slab.of(METER_READINGS, partition, [m for m in found if m[0] < end]))
    rows: Rows = {stream: [] for stream in STREAMS}
    for output in processor.take():
        contract = codec.contract_of(output.value)
        assert contract is not None
        message: dict[str, Any] = codec.read(contract, output.value)
        rows[STREAM_OF[contract]].extend(message["rows"])
    return rows, processor.stream_heads()
