"""The whole history again: `replay verify` over what a worker has published, from Kafka."""

import time
from typing import Final

from ganzhi.bench.figure import Bench, Options, Promise, Row
from ganzhi.bench.live import rooms_loads
from ganzhi.bench.rig import PARTITIONS, Rig
from replay.kafka_log import KafkaHistory
from replay.verify import verify

READINGS: Final = 5_000_000


def run(options: Options) -> list[Row]:
    """Every hash chain must be that of the worker; the CPU time is that of reading, computing and comparing."""
    loads = rooms_loads(options.readings or READINGS)
    with Rig(options.report) as rig:
        rig.start("worker", "worker")
        rig.configure(loads)
        rig.reach({number: 1 + count for number, count in rig.produce(loads).items()})
        verify(KafkaHistory(rig.kafka))
        begin_s, wall_s = time.process_time(), time.monotonic()
        found = verify(KafkaHistory(rig.kafka))
        spent_s, wall_s = time.process_time() - begin_s, time.monotonic() - wall_s
    readings = sum(task.readings for task in found.tasks)
    complete = readings == sum(load.readings for load in loads) and len(found.tasks) >= PARTITIONS
    figures = {"wall_readings_per_s": int(readings / wall_s)}
    return [Row(found.identical and complete, readings, {"replay": spent_s}, figures)]


BENCH: Final = Bench(
    "replay",
    "replay verify from Kafka, rules on: every row computed again and compared",
    [Promise("readings_per_s", "least", 20_000_000)],
    run,
)
