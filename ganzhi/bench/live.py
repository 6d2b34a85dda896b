"""Kafka and one real worker process, exactly once, rules on: from the topics to committed rows."""

import time
from typing import Final

from ganzhi.bench.figure import Bench, Options, Promise, Row
from ganzhi.bench.rig import PARTITIONS, Rig, spent
from ganzhi.bench.rooms import ROUNDS_MIN, Rooms

READINGS: Final = 5_000_000
GATEWAYS: Final = 5
BATCH: Final = 500


def rooms_loads(readings: int) -> list[Rooms]:
    """A site a partition, 2,500 points each, that send about so many readings together."""
    rounds = max(readings // PARTITIONS // (GATEWAYS * BATCH) // 15, ROUNDS_MIN // 15) * 15 + 1
    return [Rooms(GATEWAYS, BATCH, rounds, f"bench-{number}", number) for number in range(PARTITIONS)]


def run(options: Options) -> list[Row]:
    """Batches of 500 readings of 10,000 points; the ledger in Kafka must be last minus first, the alerts those meant.

    The promise is for the worker's CPU time, from when it is ready and idle until its last commit.

    Raises:
        StackError: the worker did not finish in time.
    """
    loads = rooms_loads(options.readings or READINGS)
    with Rig(options.report) as rig:
        rig.start("worker", "worker")
        rig.configure(loads)
        rig.reach(dict.fromkeys(range(PARTITIONS), 1))
        before, begin_s = rig.cpu_s(), time.monotonic()
        rig.reach({number: 1 + count for number, count in rig.produce(loads).items()})
        used, wall_s = spent(before, rig.cpu_s(), ["worker"]), time.monotonic() - begin_s
        fired, total = rig.fired(), rig.ledger()
    correct = total == sum(load.expected() for load in loads) and fired == sum(load.alerts for load in loads)
    readings = sum(load.readings for load in loads)
    return [Row(correct, readings, used, {"alerts": fired, "wall_readings_per_s": int(readings / wall_s)})]


BENCH: Final = Bench(
    "live",
    "Kafka and one worker process, exactly once, rules on, batches of 500",
    [Promise("cpu_s_per_million", "most", 0.10)],
    run,
)
