"""Real faults on the real stack: two workers, a sink, Kafka and ClickHouse, and a schedule that one seed makes.

Gateways go on sending all the while. After each fault every partition must move again; at the end the judge looks at
topics and tables.
"""

import contextlib
import dataclasses
import random
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from confluent_kafka import KafkaException, TopicPartition

from ganzhi.embedded.stack import Stack
from processors.state import ENGINE
from replay.kafka_log import KafkaHistory
from schemas import codec
from schemas.errors import KafkaUnavailable
from schemas.model.document import Document
from schemas.settings import Settings, SinkSettings, WorkerSettings
from schemas.topics import INPUTS, METER_READINGS, OUTPUTS, SNAPSHOTS, TASKS, topic_name
from sinks.clickhouse import log
from sinks.clickhouse.blocks import TOPICS
from sinks.clickhouse.client import writer
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.progress import drained, lag
from streams import kafka_admin
from streams.snapshots import Head, read_record
from streams.upgrade import request_upgrade
from tests.fault.checker import Evidence, Findings, Tables, judge, judge_tables
from tests.fault.load import KEY, Load, publish
from tests.fault.members import JUMPING_CLOCK, SINK, WORKER, Member, release_of
from tests.fault.watch import MOVE_S_MAX, Positions
from tests.sinks.clickhouse.proxy import BadNetwork, Fate
from tests.streams.log import messages_of, producer
from tests.support.disk import fill

SINK_POINTS: Final = (
    "sink.before_intent", "sink.after_intent", "sink.after_insert.event_log", "sink.after_insert.readings",
    "sink.after_insert.ledger", "sink.before_ends", "sink.after_ends",
)  # fmt: skip
SCHEDULE: Final = (
    "kill_worker", "zombie", "sink_killed", "spoilt_snapshots", "broker_killed", "poison_alone", "server_killed",
    "churn", "sent_again", "answer_lost", "upgraded", "kill_storm", "clock_jumps", "server_away", "disk_full",
)  # fmt: skip
"""Every kind of fault once."""
SHORT: Final = ("zombie", "spoilt_snapshots", "sent_again", "server_away")
"""What the other tests of whole systems do not have."""
SESSION_S: Final = 6.0
_OPENED: Final = re.compile(r"^(\S+ \S+) INFO meter\.readings/(\d+): opened", re.MULTILINE)
WAIT_S: Final = 240.0
TABLES: Final = {
    "ledger": "ledger", "gauges": "gauges", "alerts": "alert_events", "episodes": "episode_parts",
    "verdicts": "verdicts", "rejected": "rejected",
}  # fmt: skip


@dataclasses.dataclass
class Fault:
    """One kind of fault.

    Attributes:
        name: for the table.
        times: how often it was injected.
        moved_s: after each, how long until every partition had moved.
        note: what else there is to say.
    """

    name: str
    times: int = 0
    moved_s: list[float] = dataclasses.field(default_factory=list)
    note: str = ""


@dataclasses.dataclass
class Weather:
    """What came of a storm."""

    faults: list[Fault]
    findings: Findings
    fenced: int
    seconds: float

    @property
    def count(self) -> int:
        """Faults in all."""
        return sum(fault.times for fault in self.faults)

    @property
    def moves_s(self) -> list[float]:
        """Every time until the partitions moved."""
        return sorted(s for fault in self.faults for s in fault.moved_s)


class Storm:
    """A stack under faults; use `run`.

    Args:
        stack: started, nobody else's.
        folder: for logs and the model.
        seed: of the schedule and the load.
        rate: messages a second.
        told: is given a line for each fault.
    """

    def __init__(
        self, stack: Stack, folder: Path, seed: int, rate: float = 120, told: Callable[[str], None] | None = None
    ) -> None:
        self.stack, self.folder = stack, folder
        self.random = random.Random(seed)
        self.settings = Settings(
            kafka=stack.kafka_settings,
            clickhouse=stack.clickhouse_settings,
            worker=WorkerSettings(
                commit_interval_s=0.2,
                heartbeat_s=0.5,
                session_timeout_s=SESSION_S,
                snapshot_interval_s=2,
                snapshot_replay_s=0.05,
            ),
            sink=SinkSettings(flush_interval_s=0.5, session_timeout_s=SESSION_S),
        )
        self.faults: dict[str, Fault] = {}
        self.findings = Findings()
        self._told = told or (lambda _text: None)
        self._workers: list[Member] = []
        self._engine, self._release = ENGINE, ""
        self._logs: set[Path] = set()
        self._sink: Member | None = None
        self._made = 0
        self._rate, self._seed = rate, seed

    # -- the run ------------------------------------------------------------------------------------------------------

    def run(self, schedule: Sequence[str], seconds: float = 0) -> Weather:
        """Lives through faults and judges what is left.

        Args:
            schedule: names of faults (methods of this class), in this order.
            seconds: while they are not over, the schedule is lived again, in another order.
        """
        began_s = time.monotonic()
        kafka = self.settings.kafka
        kafka_admin.create_missing(kafka)
        documents = publish(kafka, self.folder)
        migrate(self.settings.clickhouse)
        self.load = Load(kafka, documents, self._seed, self._rate)
        self.positions = Positions(kafka)
        try:
            self._workers = [self._worker(), self._worker()]
            self._sink = self._new_sink()
            self.load.start()
            self._until(lambda: all(self.positions.of(n) > 5 for n in range(kafka.partitions)), "work has begun")
            for name in self._names(schedule, began_s + seconds):
                fault = self.faults.setdefault(name, Fault(name.replace("_", " ")))
                self._told(fault.name)
                getattr(self, name)(fault)
                self._whole_again()
            self._settle()
            evidence = self._evidence()
        finally:
            for member in (*self._workers, *([self._sink] if self._sink else [])):
                member.kill()
            self.positions.close()
        self._judge(evidence, documents)
        return Weather(list(self.faults.values()), self.findings, self._fenced(), time.monotonic() - began_s)

    def _names(self, schedule: Sequence[str], until_s: float) -> Iterator[str]:
        yield from schedule
        while True:
            for name in self.random.sample(schedule, len(schedule)):
                if time.monotonic() > until_s:
                    return
                yield name

    def _judge(self, evidence: Evidence, documents: dict[str, Document]) -> None:
        self.findings.add(judge(evidence, {one.sha256: one for one in documents.values()}))
        tables = judge_tables(evidence, self._tables(), METER_READINGS)
        tables.messages = tables.readings = 0
        self.findings.add(tables)

    def _settle(self) -> None:
        """The load ends; everything is computed, then stored; everybody stops."""
        self.load.finish()
        kafka = self.settings.kafka
        self._ends = {
            (name, number): high
            for name in INPUTS
            for number, (_, high) in kafka_admin.watermarks(
                kafka, topic_name(kafka, name), range(kafka.partitions)
            ).items()
            if high
        }

        def computed() -> bool:
            found = KafkaHistory(kafka).positions()
            return all(place in found and found[place].offset >= end for place, end in self._ends.items())

        self._until(computed, "everything computed")
        for member in self._workers:
            member.stop()
        self._workers = []  # nobody starts them again while the sink is waited for: they would go on ticking
        self._until(lambda: drained(self.settings), "everything stored")
        assert self._sink is not None
        self._sink.stop()

    def _evidence(self) -> Evidence:
        kafka = self.settings.kafka
        places = range(kafka.partitions)

        def read(name: str, number: int) -> list[tuple[int, int, bytes | None, bytes | None]]:
            return messages_of(kafka, topic_name(kafka, name), number)

        return Evidence(
            inputs={(name, n): read(name, n) for name in INPUTS for n in places if (name, n) in self._ends},
            ends=self._ends,
            outputs={(name, n): read(name, n) for name in OUTPUTS for n in places},
            positions={n: read(TASKS, n) for n in places},
        )

    def _tables(self) -> Tables:
        client = writer(self.settings.clickhouse)
        try:
            archive = client.query(
                "SELECT topic, partition, offset, lower(hex(SHA256(value))) FROM event_log",
                column_formats={"topic": "string"},
            ).result_rows
            readings = client.query(
                "SELECT partition, offset, point, toUnixTimestamp64Milli(ts), value FROM readings"
            ).result_rows
            streams = {
                stream: client.query(f"SELECT topic, partition, sequence, offset FROM {table}").result_rows
                for stream, table in TABLES.items()
            }
        finally:
            client.close()
        return Tables(*([tuple(row) for row in rows] for rows in (archive, readings)), streams)  # type: ignore[arg-type]

    def _fenced(self) -> int:
        """Commits that were refused because somebody else had the task, as the workers' logs tell."""
        return sum(log.read_text("utf-8", "replace").count("must be opened again") for log in self._logs)

    # -- members ------------------------------------------------------------------------------------------------------

    def _worker(self, before: str = "") -> Member:
        self._made += 1
        member = Member(f"worker-{self._made}", before + self._release + WORKER, self.settings, self.folder)
        self._logs.add(member.log)
        return member

    def _new_sink(self, point: str = "", settings: Settings | None = None) -> Member:
        more = {"GANZHI_FAULT": point} if point else {}
        return Member("sink", SINK, settings or self.settings, self.folder, **more)

    def _whole_again(self) -> None:
        """As a supervisor does: who has ended is started again."""
        self._workers = [member if member.alive else self._worker() for member in self._workers]
        if self._sink is None or not self._sink.alive:
            self._sink = self._new_sink()

    def _until(self, done: Callable[[], bool], what: str) -> None:
        deadline_s = time.monotonic() + WAIT_S
        while True:
            with contextlib.suppress(KafkaUnavailable):
                if done():
                    return
            self._whole_again()
            if time.monotonic() > deadline_s:
                tails = "\n".join(f"--- {m.name}\n{m.tail()}" for m in (*self._workers, self._sink) if m is not None)
                raise AssertionError(f"{what}: not within {WAIT_S:.0f} s\n{tails}")
            time.sleep(0.1)

    def _moves(self, fault: Fault, since_s: float) -> None:
        """Waits until every partition has moved since a fault."""
        fault.times += 1
        deadline_s = time.monotonic() + MOVE_S_MAX
        while (moved_s := self.positions.moved_s(since_s)) is None:
            self._whole_again()
            if time.monotonic() > deadline_s:
                tails = "\n".join(f"--- {m.name}\n{m.tail()}" for m in self._workers)
                self.findings.wrong(f"a partition stands still after {fault.name}\n{tails}")
                return
            time.sleep(0.05)
        fault.moved_s.append(moved_s)
        self._told(f"{fault.name}: moved again after {moved_s:.2f} s")

    def _owner(self) -> Member:
        """A worker that has partitions, once both have some."""
        found: dict[str, Member] = {}

        def shared() -> bool:
            opened = sorted(
                (*match, number)
                for number, member in enumerate(self._workers)
                for match in _OPENED.findall(member.log.read_text("utf-8", "replace"))
            )
            found.clear()
            found.update({partition: self._workers[number] for _, partition, number in opened})
            return len({member.name for member in found.values()}) == len(self._workers)

        self._until(shared, "every worker has partitions")
        return found[self.random.choice(sorted(found))]

    # -- faults of workers --------------------------------------------------------------------------------------------

    def kill_storm(self, fault: Fault) -> None:
        """Kill -9 of one worker or the other every 0.1 to 5 s."""
        for _ in range(6):
            time.sleep(self.random.choice((0.1, 0.5, 2.0, 5.0)))
            victim = self.random.choice(self._workers)
            victim.kill()
            self._whole_again()
            fault.times += 1
        fault.times -= 1
        self._moves(fault, time.time())

    def kill_worker(self, fault: Fault) -> None:
        """Kill -9 of a worker that works; another takes over."""
        victim = self._owner()
        at_s = time.time()
        victim.kill()
        self._moves(fault, at_s)

    def zombie(self, fault: Fault) -> None:
        """SIGSTOP for longer than the session; what it commits when it wakes is refused.

        One that was stopped between two commits has nothing to commit: then another is stopped, three at most.
        """
        before = self._fenced()
        for _ in range(3):
            victim = self._owner()
            at_s = time.time()
            victim.signal(signal.SIGSTOP)
            self._moves(fault, at_s)
            time.sleep(max(0.0, SESSION_S + 2 - (time.time() - at_s)))
            victim.signal(signal.SIGCONT)
            woken_s = time.monotonic()
            while self._fenced() == before and time.monotonic() - woken_s < 20:
                time.sleep(0.1)
            if self._fenced() > before:
                break
        fault.note = f"refused {self._fenced() - before + int(fault.note.split()[1] if fault.note else 0)}"

    def churn(self, fault: Fault) -> None:
        """Workers join and leave every five seconds."""
        for _ in range(3):
            at_s = time.time()
            joined = self._worker()
            self._workers.append(joined)
            time.sleep(5)
            self._moves(fault, at_s)
            self._owner()
            leaving = self._workers.pop(0)
            at_s = time.time()
            leaving.stop()
            self._moves(fault, at_s)

    def clock_jumps(self, fault: Fault) -> None:
        """A worker whose clock jumps by an hour, to and fro, takes over."""
        at_s = time.time()
        for number, old in enumerate(self._workers):
            old.kill()
            self._workers[number] = self._worker(JUMPING_CLOCK if number == 0 else "")
        self._moves(fault, at_s)
        time.sleep(4)
        self._workers[0].kill()
        self._workers[0] = self._worker()  # of a right clock, and as many as before

    def upgraded(self, fault: Fault) -> None:
        """Another release takes over at a mark in the log: the older one hands over there, and ends."""
        self._engine += 1
        request_upgrade(self.settings.kafka, KEY, self._engine)
        deadline_s = time.monotonic() + WAIT_S
        while any(member.alive for member in self._workers):
            if time.monotonic() > deadline_s:
                tails = "\n".join(f"--- {m.name}\n{m.tail()}" for m in self._workers)
                self.findings.wrong(f"the older release does not end\n{tails}")
                break
            time.sleep(0.1)
        self._release = release_of(self._engine)
        at_s = time.time()
        for member in self._workers:
            member.kill()
        self._moves(fault, at_s)

    def spoilt_snapshots(self, fault: Fault) -> None:
        """Snapshots torn, flipped and deleted, and both workers killed: they restore from what is right, or replay."""
        kafka, give_up = self.settings.kafka, threading.Event()
        one = producer(kafka)
        spoilt = 0
        for number in range(kafka.partitions):
            record = read_record(kafka, METER_READINGS, number, give_up)
            chunks = {m[0]: m for m in messages_of(kafka, topic_name(kafka, SNAPSHOTS), number)}
            for slot, head in record.heads.items():
                found = chunks.get(head.first_chunk)
                if found is None or found[3] is None or self.random.random() < 0.3:
                    continue
                one.produce(topic_name(kafka, SNAPSHOTS), self._spoil(found[3]), found[2], number)
                assert one.flush(30) == 0
                end = kafka_admin.watermarks(kafka, topic_name(kafka, SNAPSHOTS), [number])[number][1]
                value = _head_at(head, number, end - 1)
                one.produce(
                    topic_name(kafka, TASKS), value, f"{METER_READINGS}/{number}/snapshot/{slot}".encode(), number
                )
                spoilt += 1
        assert one.flush(30) == 0
        fault.note = f"spoilt {spoilt + int(fault.note.split()[1] if fault.note else 0)}"
        at_s = time.time()
        for member in self._workers:
            member.kill()
        self._moves(fault, at_s)

    def _spoil(self, chunk: bytes) -> bytes | None:
        kind = self.random.choice(("torn", "flipped", "deleted"))
        if kind == "deleted":
            return None
        if kind == "torn":
            return chunk[: self.random.randrange(len(chunk))]
        at = self.random.randrange(len(chunk))
        return chunk[:at] + bytes([chunk[at] ^ (1 << self.random.randrange(8))]) + chunk[at + 1 :]

    # -- faults of input ----------------------------------------------------------------------------------------------

    def poison_alone(self, fault: Fault) -> None:
        """A partition gets nothing but rubbish for a while (1 % of the load is rubbish all the time)."""
        at_s = time.time()
        self.load.poison(300)
        self._moves(fault, at_s)

    def sent_again(self, fault: Fault) -> None:
        """Every gateway sends its last three hours again."""
        at_s = time.time()
        self.load.send_again()
        self._moves(fault, at_s)

    # -- faults of the broker -----------------------------------------------------------------------------------------

    def broker_killed(self, fault: Fault) -> None:
        """Kill -9 of the broker and a new start on the same folder."""
        server = self.stack.kafka
        at_s = time.time()
        server.kill()
        time.sleep(self.random.choice((0.0, 3.0)))
        server.start()
        server.wait_ready()
        self._moves(fault, at_s)

    # -- faults of the sink and its server ----------------------------------------------------------------------------

    def sink_killed(self, fault: Fault) -> None:
        """Kill -9 of the sink between every two of its steps."""
        for point in SINK_POINTS:
            self._stop_sink()
            self._sink = self._new_sink(point)
            deadline_s = time.monotonic() + 60
            while self._sink.alive and time.monotonic() < deadline_s:
                time.sleep(0.05)
            if self._sink.alive:
                self.findings.wrong(f"the sink did not come to {point}\n{self._sink.tail()}")
                self._sink.kill()
            fault.times += 1
        self._sink = self._new_sink()

    def server_killed(self, fault: Fault) -> None:
        """Kill -9 of ClickHouse while it is written to."""
        for _ in range(2):
            time.sleep(self.random.choice((0.5, 1.0, 2.0)))
            self.stack.clickhouse.kill()
            time.sleep(2)
            self.stack.clickhouse.start()
            self.stack.clickhouse.wait_ready()
            fault.times += 1

    def answer_lost(self, fault: Fault) -> None:
        """Between sink and server connections break: half of the inserts are cut or their answers lost."""
        fates: tuple[Fate, ...] = ("lose answer", "cut body", "pass", "pass")
        house = self.settings.clickhouse
        with BadNetwork(house.host, house.port, lambda n: fates[n % 4] if n < 24 else "pass") as network:
            self._stop_sink()
            near = self.settings.model_copy(update={"clickhouse": house.model_copy(update={"port": network.port})})
            self._sink = self._new_sink(settings=near)
            deadline_s = time.monotonic() + 60
            while len(network.fates) < 24 and time.monotonic() < deadline_s:
                time.sleep(0.1)
            fault.times += sum(fate != "pass" for fate in network.fates)
            self._stop_sink()
        self._sink = self._new_sink()

    def server_away(self, fault: Fault) -> None:
        """A range is left half inserted for longer than its tokens are known: it is asked for, not inserted again."""
        house = self.settings.clickhouse
        self._stop_sink()
        self._sink = self._new_sink("sink.after_insert.ledger")
        deadline_s = time.monotonic() + 60
        while self._sink.alive and time.monotonic() < deadline_s:
            time.sleep(0.05)
        self._sink.kill()
        client = writer(house)
        for table in ("event_log", "readings", "ledger"):
            # One other block is enough to use up a window of one.
            client.command(f"ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = 1")
            client.command(f"INSERT INTO {table} SELECT * FROM {table} WHERE 0")
        client.close()
        _age(self.settings)
        self._sink = self._new_sink()
        self._until(lambda: sum(lag(self.settings).values()) < 4000, "the sink has caught up")
        client = writer(house)
        for table in ("event_log", "readings", "ledger"):
            client.command(f"ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = 10000")
        client.close()
        fault.times += 1

    def disk_full(self, fault: Fault) -> None:
        """The disk of ClickHouse fills up while it is written to, and is mended; needs a file system of its own."""
        server, folder = self.stack.clickhouse, self.stack.folder / "clickhouse"
        aside = self.folder / "aside"
        server.stop()
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        shutil.copytree(folder, aside, symlinks=True)
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size + (96 << 20)}", "none", str(folder)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if mounted.returncode:
            fault.note = f"skipped: nothing can be mounted here ({mounted.stderr.strip()})"
            shutil.rmtree(aside)
            server.start()
            server.wait_ready()
            return
        try:
            shutil.copytree(aside, folder, symlinks=True, dirs_exist_ok=True)
            server.start()
            server.wait_ready()
            ballast = folder / "ballast"
            fault.times += 1
            assert self._sink is not None
            words = self._sink.log
            refused = words.read_text("utf-8", "replace").count("failed, next attempt")
            deadline_s = time.monotonic() + 60
            while words.read_text("utf-8", "replace").count("failed, next attempt") == refused:
                fill(ballast)  # again and again: merges give space back
                if time.monotonic() > deadline_s:
                    self.findings.wrong("no insert failed for want of space: where did the rows go?")
                    break
                time.sleep(0.2)
            time.sleep(3)
            ballast.unlink()
            self._until(lambda: sum(lag(self.settings).values()) < 4000, "the sink has caught up")
            server.stop()
            shutil.rmtree(aside)
            shutil.copytree(folder, aside, symlinks=True)
        finally:
            server.kill()
            subprocess.run(["umount", str(folder)], check=True)
        shutil.rmtree(folder)  # what was there before the other file system lay over it
        shutil.copytree(aside, folder, symlinks=True)
        shutil.rmtree(aside)
        server.start()
        server.wait_ready()

    def _stop_sink(self) -> None:
        if self._sink is not None:
            self._sink.stop()


def _age(settings: Settings) -> None:
    """Open ranges were opened long ago, by another release: their tokens are worth nothing."""
    kafka = settings.kafka
    consumer = log.observer(settings)
    existing = [place for place, _, _ in log.ends(consumer, kafka, TOPICS)]
    offsets = [
        TopicPartition(topic_name(kafka, topic), number, offset, re.sub(r" e\d+ t\d+ ", " e0 t1 ", text))
        for (topic, number), (offset, text) in log.committed(consumer, kafka, existing).items()
        if text
    ]
    assert offsets, "no range is open"
    deadline_s = time.monotonic() + WAIT_S
    while True:
        try:
            consumer.commit(offsets=offsets, asynchronous=False)
            break
        except KafkaException:  # the dead member is not given up yet
            assert time.monotonic() < deadline_s, "the group does not give the dead sink up"
            time.sleep(0.3)
    consumer.close()


def _head_at(head: Head, partition: int, chunk: int) -> bytes:
    """The head of a snapshot whose only chunk is elsewhere."""
    fields: dict[str, Any] = {
        "topic": METER_READINGS, "partition": partition, "engine": head.engine, "offset": head.offset,
        "slot": head.slot, "chunks": head.chunks, "first_chunk": chunk, "last_chunk": chunk, "bytes": head.size,
        "sha256": head.sha256,
    }  # fmt: skip
    return codec.write("snapshot_head", fields)
