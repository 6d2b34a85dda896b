"""Runs a program and counts the CPU time of its whole process tree, from its first reading to its last result.

A program prints `MARK start` when it has its first reading and `MARK end` when its results are in Kafka; other lines
that begin with `NOTE ` are kept. So neither the start of a JVM nor imports are counted, in any system.
"""

import dataclasses
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run took.

    Attributes:
        cpu_s: of the tree, between the marks.
        wall_s: between the marks.
        peak_mb: resident memory of the tree.
        notes: what the program said.
        ended: whether both marks came in time.
    """

    cpu_s: float
    wall_s: float
    peak_mb: int
    notes: tuple[str, ...]
    ended: bool


def tree_cpu_s(root: psutil.Process) -> float:
    """User and system time of a process, its living and its dead descendants."""
    total = 0.0
    for process in [root, *root.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def run(command: Sequence[str], environment: Mapping[str, str], log: Path, timeout_s: float) -> Run:
    """Runs a program until its end mark, or for `timeout_s`; it and its descendants are gone afterwards."""
    marks: dict[str, tuple[float, float]] = {}
    notes: list[str] = []
    peak = 0
    with (
        log.open("w") as errors,
        subprocess.Popen(command, env=dict(environment), stdout=subprocess.PIPE, stderr=errors, text=True) as child,
    ):
        root = psutil.Process(child.pid)
        timer = threading.Timer(timeout_s, _kill_tree, [root])
        sampling = threading.Event()

        def sample() -> None:
            nonlocal peak
            while not sampling.wait(0.5):
                with suppress(psutil.NoSuchProcess):
                    tree = [root, *root.children(recursive=True)]
                    peak = max(peak, sum(process.memory_info().rss for process in tree))

        sampler = threading.Thread(target=sample, daemon=True)
        timer.start()
        sampler.start()
        assert child.stdout is not None
        try:
            for line in child.stdout:
                word, _, rest = line.strip().partition(" ")
                if word == "MARK":
                    with suppress(psutil.NoSuchProcess):
                        marks[rest] = (time.monotonic(), tree_cpu_s(root))
                    if rest == "end":
                        break
                elif word == "NOTE":
                    notes.append(rest)
        finally:
            _kill_tree(root)
            timer.cancel()
        sampling.set()
        sampler.join()
    if "start" not in marks or "end" not in marks:
        return Run(0.0, 0.0, peak >> 20, tuple(notes), False)
    (began_s, cpu_before_s), (ended_s, cpu_after_s) = marks["start"], marks["end"]
    return Run(cpu_after_s - cpu_before_s, ended_s - began_s, peak >> 20, tuple(notes), True)


def _kill_tree(root: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        for process in [*root.children(recursive=True), root]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
