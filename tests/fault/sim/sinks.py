"""Lives of the ClickHouse sink: members that come, go, pause and die, and a server that forgets, dies and stays away."""

import dataclasses
import hashlib
import json
import random
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas.errors import GanzhiError, KafkaUnavailable
from schemas.settings import KafkaSettings, Settings, SinkSettings
from schemas.topics import ALERTS, LEDGER
from sinks.clickhouse import progress as progress_module
from sinks.clickhouse import sink as sink_module
from sinks.clickhouse.messages import Messages, Run, by_topic
from sinks.clickhouse.ranges import Place
from sinks.clickhouse.tables import Block, Origin
from tests.fault.checker import Findings, hold
from tests.fault.sim.broker import ABORTED, COMMITTED, Broker
from tests.fault.sim.clients import Coordinator, Network
from tests.fault.sim.scheduler import Process, Scheduler, Stuck
from tests.fault.sim.server import REQUESTING, Row, Server
from tests.fault.sim.world import simulated

TOPICS: Final = (ALERTS, LEDGER)
PARTITIONS: Final = 3
GROUP: Final = "sink-clickhouse"
SESSION_S: Final = 2.0
AGES_S: Final = 30 * 60.0
TURNS_MAX: Final = 40_000


@dataclasses.dataclass(frozen=True)
class RowBlock(Block):
    """A block of places; as bytes it is JSON, so that the simulated server can tell its rows."""

    places: tuple[Row, ...] = ()

    def raw(self, keep: NDArray[np.bool_] | None = None) -> bytes:
        """As it goes over the wire."""
        order = self.order if keep is None else self.order[keep[self.order]]
        return json.dumps([self.places[i] for i in order.tolist()]).encode()


def month_of(value: bytes | None) -> int:
    """The month that a message is kept under."""
    return 202601 + (value or b"\0")[0] % 3


def blocks_of(runs: Mapping[Place, Run]) -> list[Block]:
    """In the place of `blocks.blocks_of`: a table of everything, and one for each topic; a function of the messages."""
    found = by_topic(runs)
    blocks: list[Block] = [_block("event_log", list(found.values()), ("topic", "partition", "offset"))]
    return blocks + [_block(f"of_{topic}", [messages], ("partition", "offset")) for topic, messages in found.items()]


def _block(table: str, parts: list[Messages], columns: tuple[str, ...]) -> Block:
    rows = tuple(
        (part.topic, partition, offset, month_of(value))
        for part in parts
        for partition, offset, value in zip(part.partitions.tolist(), part.offsets.tolist(), part.values, strict=True)
    )
    content = hashlib.sha256(b"".join(part.digest for part in parts)).digest()
    by_name: dict[str, list[Any]] = {
        "topic": [row[0] for row in rows], "partition": [row[1] for row in rows], "offset": [row[2] for row in rows]
    }  # fmt: skip
    months = np.array([row[3] for row in rows], np.int64)

    def origin() -> Origin:
        return Origin(columns, tuple(by_name[name] for name in columns), months, "month")

    return RowBlock(table, (), np.arange(len(rows)), content, origin, rows)


class Life:
    """One life.

    Args:
        seed: makes it.
    """

    def __init__(self, seed: int) -> None:
        self.scheduler = Scheduler(seed)
        self.random: random.Random = self.scheduler.random
        self.broker = Broker()
        self.network = Network(self.scheduler, self.broker)
        self.server = Server(self.network)
        self.places = [(topic, partition) for topic in TOPICS for partition in range(PARTITIONS)]
        self.coordinator = Coordinator(self.broker, GROUP, self.places, SESSION_S)
        self.broker.coordinator = self.coordinator  # type: ignore[attr-defined]
        self.settings = Settings(
            kafka=KafkaSettings(partitions=PARTITIONS),
            sink=SinkSettings(flush_interval_s=self.random.choice((0.05, 0.5, 2.0)), session_timeout_s=SESSION_S),
        )
        self.rounds = self.random.choice((3, 6, 12))
        self.death = self.random.choice((0.0, 0.003, 0.01, 0.03))
        self.loss = self.random.choice((0.0, 0.02, 0.1))
        self.processes: list[Process] = []
        self.refused: list[str] = []
        self._drained = False

    def run(self) -> Findings:
        """Lives it; what is wrong with what is left."""
        replaced = {
            "sinks.clickhouse.sink.TOPICS": TOPICS,
            "sinks.clickhouse.progress.TOPICS": TOPICS,
            "sinks.clickhouse.sink.blocks_of": blocks_of,
            "sinks.clickhouse.writer.writer": self.server.client,
        }
        with simulated(self.scheduler, self.network, **replaced):
            try:
                self._live()
            finally:
                self.scheduler.end()
        return self._judge()

    def _judge(self) -> Findings:
        findings = Findings()
        findings.violations += self.refused
        rows: dict[str, list[Row]] = {}
        for topic, partition in self.places:
            log = self.broker.log((topic, partition))
            for record in log.read(0, committed=True):
                row = (topic, partition, record.offset, month_of(record.value))
                rows.setdefault("event_log", []).append(row)
                rows.setdefault(f"of_{topic}", []).append(row)
                findings.messages += 1
            offset, metadata = self.broker.offsets.get((GROUP, topic, partition), (-1, ""))
            if log.high and (offset, metadata) != (log.high, ""):
                findings.wrong(f"{topic}/{partition}: committed {offset} {metadata!r}, the log ends at {log.high}")
        for table in sorted({*rows, *self.server.rows}):
            hold(table, rows.get(table, []), self.server.rows.get(table, []), findings)
        return findings

    # -- the world ----------------------------------------------------------------------------------------------------

    def _live(self) -> None:
        self._start()
        for number in range(self.rounds):
            self.scheduler.death = self.death if number else 0.0
            self.network.loss = self.loss
            self._grow()
            self._turns(self.random.choice((10, 60, 200)))
            self._event()
        self.scheduler.calm = True
        self.scheduler.switch = 0.05
        self.scheduler.death = self.network.loss = self.server.down_until_s = 0.0
        for process in self.processes:
            process.paused_until = 0.0
        if not any(process.alive and not process.stopping for process in self.processes):
            self._start()
        watcher = Process("watcher")
        self.scheduler.spawn(watcher, self._watch)
        self._until(lambda: self._drained, "everything stored")
        for process in self.processes:
            process.stopping = True
        self._until(lambda: not any(process.alive for process in self.processes), "everybody stopped")

    def _watch(self) -> None:
        """Asks as `ganzhi` does how far ClickHouse is behind."""
        while not self._drained:
            try:
                self._drained = progress_module.drained(self.settings)
            except KafkaUnavailable:
                self._drained = False
            self.scheduler.step("watch")
            self.scheduler.sleep(0.5)

    def _grow(self) -> None:
        """Messages, some in transactions, some of those aborted."""
        for _ in range(self.random.choice((1, 3, 8))):
            place = self.random.choice(self.places)
            value = bytes([self.random.randrange(256)]) + self.random.randbytes(3)
            if self.random.random() < 0.5:
                self.broker.append(place, b"k", value, None)
                continue
            epoch = self.broker.initialise("writer")
            transaction = self.broker.begin("writer", epoch, self.scheduler.now_s)
            self.broker.append(place, b"k", value, transaction)
            self.broker.end(transaction, self.random.choice((COMMITTED, COMMITTED, ABORTED)))

    def _turns(self, count: int) -> None:
        for _ in range(count):
            self.coordinator.tick(self.scheduler.now_s)
            if not self.scheduler.turn():
                return

    def _until(self, done: Callable[[], bool], what: str) -> None:
        for _ in range(TURNS_MAX):
            if done():
                return
            self.coordinator.tick(self.scheduler.now_s)
            if not any(process.alive for process in self.processes):
                if len(self.processes) > 40:
                    raise Stuck(f"{what}: every sink ends; {self.refused[-1:]}")
                self._start()
            self.scheduler.turn()
        raise Stuck(f"{what}: not within {TURNS_MAX} turns")

    def _event(self) -> None:
        """Something from outside."""
        alive = [process for process in self.processes if process.alive]
        kind = self.random.choice(("kill", "zombie", "second", "stop", "down", "age", "age", ""))
        self.scheduler.tell(f"event: {kind}")
        if kind == "kill" and alive:
            self.scheduler.kill(self.random.choice(alive), "from outside")
        elif kind == "zombie" and alive:
            self.random.choice(alive).paused_until = self.scheduler.now_s + self.random.choice((0.5, 5.0, 30.0))
        elif kind == "stop" and alive:
            self.random.choice(alive).stopping = True
        elif kind == "down":
            self.server.down_until_s = self.scheduler.now_s + self.random.choice((1.0, 10.0, 60.0))
        elif kind == "age":
            # A request takes minutes at most: none is under way for as long as this.
            for process in alive:
                if process.point in REQUESTING:
                    self.scheduler.kill(process, "a request that never ends")
            self.scheduler.now_s += AGES_S
            self.server.forget()
        if kind in ("zombie", "second") or not any(process.alive for process in self.processes):
            self._start()

    def _start(self) -> None:
        process = Process(f"sink-{len(self.processes)}")
        self.processes.append(process)
        self.scheduler.spawn(process, lambda: self._work(process))

    def _work(self, process: Process) -> None:
        try:
            sink_module.Sink(self.settings, lambda: process.stopping).run()
        except GanzhiError as error:
            self.refused.append(f"a sink refuses to work: {error}")
        process.alive = False
