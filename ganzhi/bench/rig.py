"""What the benches with Kafka stand on: an own stack, child processes, their CPU time, and waiting for the end."""

import itertools
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Final, Protocol, Self

import psutil
from confluent_kafka import Producer

from ganzhi.bench.load import Load
from ganzhi.embedded.children import Child
from ganzhi.embedded.progress import Report
from ganzhi.embedded.stack import Stack
from replay.kafka_log import KafkaHistory
from schemas.errors import StackError
from schemas.kafka import client_config
from schemas.model.document import Document
from schemas.settings import KafkaSettings, Settings, load
from schemas.topics import CONFIG, METER_READINGS, topic_name
from streams.kafka_admin import create_missing
from streams.published import HEAD, Head

PROFILE: Final = f"bench-{os.getpid()}"
"""Of this run alone: benches in two terminals do not meet, and what a run leaves is removed at its end."""
TIMEOUT_S: Final = 300.0
PARTITIONS: Final = 4
_LOOK_S: Final = 0.3


class Configured(Protocol):
    """A site as far as its document goes."""

    @property
    def site(self) -> str:
        """Its id."""
        ...

    @property
    def partition(self) -> int:
        """Of the site."""
        ...

    @property
    def document(self) -> Document:
        """In force, or to be."""
        ...

    def config_record(self) -> bytes:
        """The record that puts the document into force."""
        ...


class Rig:
    """Kafka and ClickHouse of a profile of this run's own, and processes on them; a context manager.

    Attributes:
        stack: Kafka and ClickHouse.
        kafka: how to reach Kafka.
        settings: of the profile; there once started.
    """

    kafka: KafkaSettings
    settings: Settings

    def __init__(self, report: Report) -> None:
        self.stack = Stack(PROFILE, wipe=True, ports="free", report=report)
        self._children: dict[str, Child] = {}

    def __enter__(self) -> Self:
        self.stack.start()
        self.kafka = self.stack.kafka_settings
        self.settings = load(profile=PROFILE)
        create_missing(self.kafka)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for child in self._children.values():
                child.stop()
        finally:
            self.stack.stop()
            shutil.rmtree(self.stack.folder, ignore_errors=True)

    def start(self, name: str, *arguments: str, **settings: str) -> Child:
        """Starts `ganzhi ARGUMENTS` as a process of that name; `settings` are environment variables of it."""
        command = [sys.executable, "-m", "ganzhi", *arguments]
        # Where compiled Python is not kept, four seconds of each start would be its compilation.
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        env = kept | {"GANZHI_PROFILE": PROFILE} | settings
        child = self._children[name] = Child(name, command, self.stack.folder / "logs" / f"{name}.log", env=env)
        return child

    def cpu_s(self) -> dict[str, float]:
        """CPU-seconds that each process has spent so far; of Kafka and ClickHouse too."""
        pids = {"kafka": self.stack.kafka.child.pid, "clickhouse": self.stack.clickhouse.child.pid}
        pids |= {name: child.pid for name, child in self._children.items() if child.alive()}
        found = {}
        for name, pid in pids.items():
            times = psutil.Process(pid).cpu_times()
            found[name] = float(times.user + times.system)
        return found

    def configure(self, loads: Sequence[Configured]) -> None:
        """Publishes the documents and puts them into force."""
        producer = Producer(
            client_config(self.kafka, log_level=0) | {"compression.type": "zstd", "message.max.bytes": 1 << 29}
        )
        for one in loads:
            producer.produce(topic_name(self.kafka, CONFIG), one.document.raw, one.document.sha256.hex())
            head = Head(1, one.document.sha256, b"", one.partition)
            producer.produce(topic_name(self.kafka, CONFIG), head.raw, HEAD + one.site)
        producer.flush()
        for one in loads:
            producer.produce(topic_name(self.kafka, METER_READINGS), one.config_record(), one.site, one.partition)
        producer.flush()

    def feed(
        self,
        loads: Sequence[Load],
        streams: Sequence[Iterator[tuple[int, bytes]]],
        counts: dict[int, int],
        number: int | None = None,
    ) -> None:
        """Sends so many more messages of each load's `batches()`, or all that are left, and counts them."""
        sender = self.sender(topic_name(self.kafka, METER_READINGS))
        for one, stream in zip(loads, streams, strict=True):
            for _, message in itertools.islice(stream, number):
                sender.send(one.partition, message, one.site.encode())
                counts[one.partition] += 1
        sender.flush()

    def produce(self, loads: Sequence[Load]) -> dict[int, int]:
        """Sends the batches of all rounds; partition → messages."""
        counts = dict.fromkeys((one.partition for one in loads), 0)
        self.feed(loads, [one.batches() for one in loads], counts)
        return counts

    def reach(self, counts: Mapping[int, int], timeout_s: float = TIMEOUT_S) -> None:
        """Waits until every task stands behind so many messages; ticks are messages too, so offsets are at least that.

        Raises:
            StackError: it takes too long.
            ChildDied: a process has ended.
        """
        history = KafkaHistory(self.kafka)

        def there() -> bool:
            positions = history.positions()
            found = {number: positions.get((METER_READINGS, number)) for number in counts}
            return all(at is not None and at.offset >= counts[number] for number, at in found.items())

        self.wait(there, "the worker", timeout_s)

    def sender(self, topic: str, linger_ms: int = 20) -> "Sender":
        """A producer to a topic, by its full name."""
        return Sender(self.kafka, topic, linger_ms)

    def wait(self, done: Callable[[], bool], what: str, timeout_s: float = TIMEOUT_S, look_s: float = _LOOK_S) -> None:
        """Waits until something is done, as long as all processes run.

        Raises:
            StackError: it takes too long.
            ChildDied: a process has ended.
        """
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            for child in self._children.values():
                child.check()
            if done():
                return
            time.sleep(look_s)
        tails = "\n".join(child.log_tail(4) for child in self._children.values())
        raise StackError(f"{what} did not come to its end within {timeout_s:.0f} s; last words:\n{tails}")

    def published_rows(self, stream: str) -> int:
        """How many rows of a stream the tasks of the meters have published, by their positions."""
        positions = KafkaHistory(self.kafka).positions()
        return sum(at.heads[stream][0] for (topic, _), at in positions.items() if topic == METER_READINGS)

    def ledger(self) -> int:
        """Sum over all published ledger rows."""
        history = KafkaHistory(self.kafka)
        rows = (row for number in range(PARTITIONS) for row in history.published((METER_READINGS, number), "ledger"))
        return sum(int(str(row["quantity"])) for row in rows)

    def fired(self) -> int:
        """How many alerts have fired."""
        history = KafkaHistory(self.kafka)
        rows = (row for number in range(PARTITIONS) for row in history.published((METER_READINGS, number), "alerts"))
        return sum(row["state"] == "firing" for row in rows)


class Sender:
    """A quick producer to one topic."""

    def __init__(self, kafka: KafkaSettings, topic: str, linger_ms: int = 20) -> None:
        self._topic = topic
        self._producer = Producer(
            client_config(kafka, log_level=0)
            | {"linger.ms": linger_ms, "batch.size": 1_000_000, "enable.idempotence": True}
        )

    def send(self, partition: int, value: bytes, key: bytes | None = None) -> None:
        """Sends one message; waits where the queue is full."""
        while True:
            try:
                self._producer.produce(self._topic, value, key, partition)
            except BufferError:
                self._producer.poll(0.1)
            else:
                return

    def poll(self) -> None:
        """Lets the producer do what is due."""
        self._producer.poll(0)

    def flush(self) -> None:
        """Waits until the broker has everything."""
        self._producer.flush()


def spent(before: Mapping[str, float], after: Mapping[str, float], names: Iterable[str]) -> dict[str, float]:
    """CPU-seconds between two looks."""
    return {name: after[name] - before[name] for name in names}
