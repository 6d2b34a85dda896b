"""The bench with Kafka: a real broker and one real worker process, exactly once, from topics to committed rows."""

import sys
import time
from typing import Final

import psutil
from confluent_kafka import Producer

from ganzhi.bench.figure import Bench, Options, Promise, Row
from ganzhi.bench.load import Load
from ganzhi.embedded.children import Child
from ganzhi.embedded.stack import Stack
from replay.kafka_log import KafkaHistory
from schemas.errors import StackError
from schemas.kafka import client_config
from schemas.settings import KafkaSettings
from schemas.topics import CONFIG, METER_READINGS, topic_name
from streams.kafka_admin import create_missing

PROFILE: Final = "bench"
READINGS: Final = 5_000_000
TIMEOUT_S: Final = 300.0
PARTITIONS: Final = 4


def run(options: Options) -> list[Row]:
    """Batches of 500 readings through Kafka and a worker; the ledger in Kafka must be last minus first.

    The CPU time is the worker's alone, from when it is ready and idle until its last commit; the broker's is not in it.

    Raises:
        StackError: the worker did not finish in time.
    """
    readings = options.readings or READINGS
    loads = [
        Load(5, 500, max(readings // PARTITIONS // 2500 // 15, 1) * 15 + 1, f"bench-{number}", number)
        for number in range(PARTITIONS)
    ]
    with Stack(PROFILE, wipe=True, ports="free", report=options.report) as stack:
        kafka = stack.kafka_settings
        create_missing(kafka)
        worker = Child(
            "worker", [sys.executable, "-m", "ganzhi", "worker", "--profile", PROFILE], stack.folder / "worker.log"
        )
        try:
            _configure(kafka, loads)
            _reach(kafka, dict.fromkeys(range(PARTITIONS), 1), worker)
            process = psutil.Process(worker.pid)
            before_s, begin_s = _cpu_s(process), time.monotonic()
            ends = _produce(kafka, loads)
            _reach(kafka, ends, worker)
            spent_s, wall_s = _cpu_s(process) - before_s, time.monotonic() - begin_s
        finally:
            worker.stop()
        history = KafkaHistory(kafka)
        total = sum(
            int(str(row["quantity"]))
            for number in range(PARTITIONS)
            for row in history.published((METER_READINGS, number), "ledger")
        )
    correct = total == sum(load.expected() for load in loads)
    readings = sum(load.readings for load in loads)
    return [Row(correct, readings, {"worker": spent_s}, {"wall_readings_per_s": int(readings / wall_s)})]


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _configure(kafka: KafkaSettings, loads: list[Load]) -> None:
    producer = Producer(client_config(kafka))
    for load in loads:
        producer.produce(topic_name(kafka, CONFIG), load.document.raw, load.document.sha256.hex())
    producer.flush()
    for load in loads:
        producer.produce(topic_name(kafka, METER_READINGS), load.config_record(), load.site, load.partition)
    producer.flush()


def _produce(kafka: KafkaSettings, loads: list[Load]) -> dict[int, int]:
    """Sends everything; partition → offset behind its last message."""
    producer = Producer(client_config(kafka) | {"linger.ms": 20, "batch.size": 1_000_000, "enable.idempotence": True})
    topic = topic_name(kafka, METER_READINGS)
    counts = dict.fromkeys(range(len(loads)), 0)
    streams = [load.batches() for load in loads]
    for load in range(len(loads)):
        for _, message in streams[load]:
            while True:
                try:
                    producer.produce(topic, message, loads[load].site, load)
                    break
                except BufferError:
                    producer.poll(0.1)
            counts[load] += 1
        producer.poll(0)
    producer.flush()
    return counts


def _reach(kafka: KafkaSettings, counts: dict[int, int], worker: Child) -> None:
    """Waits until every task stands behind so many messages; ticks are messages too, so offsets are at least that."""
    history = KafkaHistory(kafka)
    deadline_s = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline_s:
        worker.check()
        positions = history.positions()
        if all(_there(positions, number, count) for number, count in counts.items()):
            return
        time.sleep(0.3)
    raise StackError(
        f"the worker did not come to its end within {TIMEOUT_S:.0f} s; its last words:\n{worker.log_tail()}"
    )


def _there(positions: object, partition: int, count: int) -> bool:
    assert isinstance(positions, dict)
    position = positions.get((METER_READINGS, partition))
    return position is not None and position.offset >= count


BENCH: Final = Bench(
    "live",
    "Kafka and one worker process, exactly once, batches of 500",
    [Promise("cpu_s_per_million", "most", 0.10)],
    run,
)
