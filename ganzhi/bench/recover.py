"""A worker with a million points is killed -9 and started again: how long until it stands at its position."""

import re
import time
from typing import Final

from ganzhi.bench.figure import Bench, Options, Promise, Row
from ganzhi.bench.load import Load
from ganzhi.bench.rig import PARTITIONS, Rig
from ganzhi.embedded.children import Child
from schemas.topics import METER_READINGS

POINTS: Final = 1_000_000
PER_GATEWAY: Final = 500
ROUNDS: Final = 16
SETTINGS: Final = {
    "GANZHI_WORKER__INSTANCE": "bench-0",  # as `ganzhi up` does: the group waits for nobody
    "GANZHI_WORKER__SNAPSHOT_INTERVAL_S": "2",
    "GANZHI_WORKER__SNAPSHOT_REPLAY_S": "0.2",
}
_OPENED: Final = re.compile(METER_READINGS.replace(".", r"\.") + r"/(\d+): opened at .* (-?\d+) messages to replay")
_REPLAYED: Final = re.compile(METER_READINGS.replace(".", r"\.") + r"/(\d+): replayed ")
_SNAPSHOTS_S: Final = 4.0


def run(options: Options) -> list[Row]:
    """The ledger after the kill must be last minus first over the readings before and after it.

    Raises:
        StackError: a worker is not ready in time.
    """
    gateways = POINTS // PARTITIONS // PER_GATEWAY
    loads = [Load(gateways, PER_GATEWAY, ROUNDS, f"bench-{number}", number) for number in range(PARTITIONS)]
    streams = [load.batches() for load in loads]
    counts = dict.fromkeys(range(PARTITIONS), 1)
    with Rig(options.report) as rig:
        child = rig.start("worker", "worker", **SETTINGS)
        rig.configure(loads)
        rig.reach(counts)
        rig.feed(loads, streams, counts, (ROUNDS - 1) * gateways)
        rig.reach(counts)
        time.sleep(_SNAPSHOTS_S)
        child.kill()
        logged, begin_s = child.log_file.stat().st_size, time.monotonic()
        child = rig.start("worker", "worker", **SETTINGS)
        rig.wait(lambda: _ready(child, logged), "the restart", look_s=0.02)
        ready_s = time.monotonic() - begin_s
        used = rig.cpu_s()["worker"]
        rig.feed(loads, streams, counts, gateways)
        rig.reach(counts)
        correct = rig.ledger() == sum(load.expected() for load in loads)
    return [Row(correct, figures={"points": POINTS, "ready_s": round(ready_s, 2), "worker_cpu_s": round(used, 2)})]


def _ready(child: Child, logged: int) -> bool:
    """Whether every task has been opened, and what was to be replayed is."""
    text = child.log_file.read_bytes()[logged:].decode()
    opened = {found[1]: int(found[2]) for found in _OPENED.finditer(text)}
    replayed = {found[1] for found in _REPLAYED.finditer(text)}
    return len(opened) == PARTITIONS and all(left <= 0 or task in replayed for task, left in opened.items())


BENCH: Final = Bench(
    "recover",
    "a worker with 1 M points after kill -9: process start until its position is reached",
    [Promise("ready_s", "most", 5)],
    run,
)
