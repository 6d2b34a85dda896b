"""The job in ganzhi: a site model with one rule, published with `ganzhi apply`, and the worker as anybody runs it.

A point is a gauge in thousandths on a grid of one minute, so a gauge row is a window; the rule's clock is the points'
own, since the history is of another day. What is behind its point's clock is marked, and counted by a settlement, which
runs after the measurement and is no part of it.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil

from ganzhi.embedded.children import Child
from ganzhi.embedded.stack import Stack
from replay.kafka_log import KafkaHistory
from schemas.errors import StackError
from schemas.topics import METER_READINGS, SETTLED, Topic, topic_name
from streams.kafka_admin import create_missing, watermarks
from streams.published import read_documents
from streams.sources.bridge.work import committed
from tests.bench.peers.job import GATEWAY_POINTS, PARTITIONS, Input, Longs, truth
from tests.bench.peers.load import SITES, Message, closing, json_messages, opening, our_batches, produce
from tests.bench.peers.measure import Run, tree_cpu_s
from tests.bench.peers.verify import Verdict, Window, compare

FOREIGN = "foreign"
MAPPING = """\
topic: {topic}
name: foreign
format: json
site: "{{site}}"
time: {{column: ts, format: epoch_ms}}
long: {{point: "p{{point}}", value: {{column: value}}}}
"""
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
        self._folder = folder
        self._children: list[Child] = []
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
        self._child("worker", "worker")
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
        """The input through the worker, and for JSON through a bridge before it; their CPU time until the last commit.

        A first reading a gateway, ten minutes before the others, is not measured: by then both have joined and loaded.
        """
        return self._batches(timeout_s) if form == "batches" else self._json(timeout_s)

    def stop(self) -> None:
        """Ends the processes."""
        for child in self._children:
            child.stop()

    def _batches(self, timeout_s: float) -> Run:
        numbers = self.numbers()
        messages = [*our_batches(self._data, numbers), *our_batches(closing(self._data), numbers)]
        topic = topic_name(self._kafka, METER_READINGS)

        def through() -> None:
            self._reach(self._high(), timeout_s)

        return self._measure(topic, messages, through)

    def _json(self, timeout_s: float) -> Run:
        create_missing(self._kafka, [Topic(FOREIGN, PARTITIONS)])
        topic = topic_name(self._kafka, FOREIGN)
        mapping = self._folder / "mapping.yaml"
        mapping.write_text(MAPPING.format(topic=topic), encoding="utf-8")
        self._child("bridge", "bridge", str(mapping))
        sent = 0

        def through() -> None:
            deadline_s = time.monotonic() + timeout_s
            group = f"{self._kafka.prefix}bridge-{FOREIGN}"
            partitions = list(range(PARTITIONS))
            while sum(committed(self._kafka, group, topic, partitions, threading.Event()).values()) < sent:
                if time.monotonic() > deadline_s:
                    raise StackError(f"the bridge did not come to its end: {self._children[-1].log_tail()}")
                time.sleep(0.2)
            self._reach(self._high(), timeout_s)

        sent += produce(self._kafka.bootstrap, topic, json_messages(opening(self._data)))
        through()
        messages = [*json_messages(self._data), *json_messages(closing(self._data))]
        sent += len(messages)
        return self._measure(topic, messages, through)

    def _measure(self, topic: str, messages: list[Message], through: Callable[[], None]) -> Run:
        processes = [psutil.Process(child.pid) for child in self._children]
        before_s, began_s = sum(map(tree_cpu_s, processes)), time.monotonic()
        produce(self._kafka.bootstrap, topic, iter(messages))
        through()
        spent_s, wall_s = sum(map(tree_cpu_s, processes)) - before_s, time.monotonic() - began_s
        peak_mb = sum(process.memory_info().rss for process in processes) >> 20
        return Run(spent_s, wall_s, peak_mb, (), True)

    def _high(self) -> dict[int, int]:
        """Where the log ends; the last thing in a partition may be a marker, behind which a position is."""
        ends = watermarks(self._kafka, topic_name(self._kafka, METER_READINGS), range(PARTITIONS))
        return {partition: high - 1 for partition, (_, high) in ends.items()}

    def _child(self, name: str, *arguments: str) -> None:
        command = [sys.executable, "-m", "ganzhi", *arguments, "--profile", self._stack.profile]
        self._children.append(Child(name, command, self._folder / f"{name}.log"))

    def settle(self) -> None:
        """Settles what is behind its point's clock, as anybody does.

        Raises:
            StackError: it did not go well.
        """
        command = [
            sys.executable,
            "-m",
            "ganzhi",
            "replay",
            "settle",
            "--profile",
            self._stack.profile,
            "--reason",
            "peers",
        ]
        settled = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if settled.returncode:
            raise StackError(f"settle failed: {settled.stderr}")

    def verdict(self) -> Verdict:
        """The rows in Kafka, settled ones over those published first, against the truth."""
        expected = truth(self._data)
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
            for topic in (METER_READINGS, SETTLED + METER_READINGS):
                once: set[tuple[int, int]] = set()
                for row in history.published((topic, partition), "gauges"):
                    point = names[(str(row["site"]), int(str(row["point"])))]
                    key = (point, int(str(row["from_ms"])))
                    if key[1] > last_minute:
                        continue
                    window = tuple(int(str(row[name])) for name in ("count", "sum", "minimum", "maximum"))
                    doubled += key in once
                    once.add(key)
                    windows[key] = (window[0], window[1], window[2], window[3])
            for row in history.published((METER_READINGS, partition), "alerts"):
                if row["state"] == "firing":
                    alerts.add((int(str(row["subject"])[1:]), int(str(row["started_at"]))))
        return compare(expected, windows, alerts, doubled)

    def _ends(self) -> dict[int, int]:
        return {
            partition: position.offset
            for (topic, partition), position in KafkaHistory(self._kafka).positions().items()
            if topic == METER_READINGS
        }

    def _reach(self, ends: dict[int, int], timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            for child in self._children:
                child.check()
            found = self._ends()
            if all(found.get(partition, -1) >= end for partition, end in ends.items()):
                return
            time.sleep(0.2)
        raise StackError(f"the worker did not come to its end in {timeout_s:.0f} s: {self._children[0].log_tail()}")
