"""The job in ganzhi: a site model with one rule, published with `ganzhi apply`, and the worker as anybody runs it.

A point is a gauge in thousandths on a grid of one minute, so a gauge row is a window; the rule's clock is the points'
own, since the history is of another day. What is behind its point's clock is marked for settlement and not counted.
"""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil

from ganzhi.embedded.children import Child
from ganzhi.embedded.stack import Stack
from replay.kafka_log import KafkaHistory
from schemas.errors import StackError
from schemas.topics import METER_READINGS, topic_name
from streams.kafka_admin import create_missing
from streams.published import read_documents
from tests.bench.peers.job import GATEWAY_POINTS, PARTITIONS, Input, Longs, truth
from tests.bench.peers.load import SITES, Message, closing, our_batches, produce
from tests.bench.peers.measure import Run, tree_cpu_s
from tests.bench.peers.verify import Verdict, Window, compare

RULE = """\
pack: job
rules:
  - alert: Hot
    each: {point: [temperature]}
    roles: {t: temperature}
    expr: t > 80 degC
    for: 3m
    labels: {severity: warning}
    annotations:
      zh: {summary: 高温, action: 查看}
      en: {summary: hot, action: look}
    source: the job
"""


def write_model(folder: Path, points: int) -> None:
    """The model folder: a site a partition, gateways of 500 points."""
    (folder / "rules").mkdir(parents=True, exist_ok=True)
    (folder / "rules" / "job.yaml").write_text(RULE, encoding="utf-8")
    (folder / "institutions.yaml").write_text("- {id: job}\n", encoding="utf-8")
    sites = "".join(f"- {{id: {site}, institution: job, time_zone: UTC, interval_s: 60}}\n" for site in SITES)
    (folder / "sites.yaml").write_text(sites, encoding="utf-8")
    gateways = ["id,site"]
    rows = ["id,site,gateway,role,kind,unit,interval_s,max_age_s,clock"]
    for gateway in range(points // GATEWAY_POINTS):
        site = SITES[gateway % PARTITIONS]
        gateways.append(f"g{gateway:03d},{site}")
        mine = range(gateway * GATEWAY_POINTS, (gateway + 1) * GATEWAY_POINTS)
        rows += [f"p{point},{site},g{gateway:03d},temperature,gauge,degC,10,3600,data" for point in mine]
    (folder / "gateways.csv").write_text("\n".join(gateways) + "\n", encoding="utf-8")
    (folder / "points.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


class Ours:
    """ganzhi with its worker, on a stack that is up.

    Args:
        stack: the embedded Kafka (and ClickHouse, which stays idle).
        folder: for the model and logs.
        data: the input.
    """

    def __init__(self, stack: Stack, folder: Path, data: Input) -> None:
        self._stack = stack
        self._data = data
        self._kafka = stack.kafka_settings
        create_missing(self._kafka)
        write_model(folder / "model", data.points)
        command = [sys.executable, "-m", "ganzhi"]
        applied = subprocess.run(
            [*command, "apply", str(folder / "model"), "--profile", stack.profile],
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if applied.returncode:
            raise StackError(f"apply failed: {applied.stderr}")
        self.worker = Child("worker", [*command, "worker", "--profile", stack.profile], folder / "worker.log")
        self._reach(dict.fromkeys(range(PARTITIONS), 1), 120)

    def numbers(self) -> Longs:
        """The number of every point, by `p<index>`."""
        found = np.zeros(self._data.points, np.int64)
        for document in read_documents(self._kafka).values():
            table = document.table("points")
            for name, number in zip(table["id"], table["number"], strict=True):
                found[int(str(name)[1:])] = int(str(number))
        return found

    def run(self, form: str, timeout_s: float) -> Run:
        """Batches of 500 into `meter.readings`; the worker's CPU time until its last commit."""
        assert form == "batches"
        numbers = self.numbers()
        messages = [*our_batches(self._data, numbers), *our_batches(closing(self._data), numbers)]
        return self._measure(messages, timeout_s)

    def _measure(self, messages: list[Message], timeout_s: float) -> Run:
        process = psutil.Process(self.worker.pid)
        ends = self._ends()
        before_s, began_s = tree_cpu_s(process), time.monotonic()
        produce(self._kafka.bootstrap, topic_name(self._kafka, METER_READINGS), iter(messages))
        for partition, _, _ in messages:
            ends[partition] += 1
        self._reach(ends, timeout_s)
        spent_s, wall_s = tree_cpu_s(process) - before_s, time.monotonic() - began_s
        peak_mb = process.memory_info().rss >> 20
        return Run(spent_s, wall_s, peak_mb, (), True)

    def verdict(self) -> Verdict:
        """The rows in Kafka against the truth; what is behind its point's clock is left to settlement."""
        expected = truth(self._data, with_behind=False)
        names = {
            (document.site, int(str(number))): int(str(name)[1:])
            for document in read_documents(self._kafka).values()
            for name, number in zip(document.table("points")["id"], document.table("points")["number"], strict=True)
        }
        history = KafkaHistory(self._kafka)
        last_minute = int(expected.windows[:, 1].max())
        windows: dict[tuple[int, int], Window] = {}
        alerts: set[tuple[int, int]] = set()
        doubled = 0
        for partition in range(PARTITIONS):
            for row in history.published((METER_READINGS, partition), "gauges"):
                point = names[(str(row["site"]), int(str(row["point"])))]
                key = (point, int(str(row["from_ms"])))
                if key[1] > last_minute:
                    continue
                window = tuple(int(str(row[name])) for name in ("count", "sum", "minimum", "maximum"))
                doubled += key in windows
                windows[key] = (window[0], window[1], window[2], window[3])
            for row in history.published((METER_READINGS, partition), "alerts"):
                if row["state"] == "firing":
                    alerts.add((int(str(row["subject"])[1:]), int(str(row["started_at"]))))
        return compare(expected, windows, alerts, doubled)

    def stop(self) -> None:
        """Ends the worker."""
        self.worker.stop()

    def _ends(self) -> dict[int, int]:
        return {
            partition: position.offset
            for (topic, partition), position in KafkaHistory(self._kafka).positions().items()
            if topic == METER_READINGS
        }

    def _reach(self, ends: dict[int, int], timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            self.worker.check()
            found = self._ends()
            if all(found.get(partition, -1) >= end for partition, end in ends.items()):
                return
            time.sleep(0.2)
        raise StackError(f"the worker did not come to its end in {timeout_s:.0f} s: {self.worker.log_tail()}")
