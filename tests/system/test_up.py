"""`ganzhi up` and the processes that it starts."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from ganzhi.embedded.ports import choose_free
from ganzhi.embedded.stack import Ports
from ganzhi.embedded.system import System
from schemas.settings import run_file

LIMIT_S = 120.0
PROCESSES = 12
"""JVM, ClickHouse, worker, sink, console and who settles at night, and a guard each."""
GONE_S = 15.0


def started(folder: Path, profile: str) -> tuple[subprocess.Popen[bytes], list[psutil.Process]]:
    """`ganzhi up` with all its children running, and every process below it."""
    ports = Ports.free()
    where = {
        "GANZHI_KAFKA__BOOTSTRAP": f"127.0.0.1:{ports.kafka}",
        "GANZHI_CLICKHOUSE__PORT": str(ports.clickhouse),
        "GANZHI_CONSOLE__PORT": str(choose_free((ports.kafka, ports.clickhouse))),
    }
    command = [sys.executable, "-m", "ganzhi", "up", "--profile", profile]
    with (folder / "up.log").open("wb") as log:
        up = subprocess.Popen(command, env=os.environ | where, stdout=log, stderr=log)
    deadline_s = time.monotonic() + LIMIT_S
    wanted = {"kafka.Kafka", "ganzhi.embedded.clickhouse_server", "worker", "sink", "console", "--nightly"}
    while True:
        below = psutil.Process(up.pid).children(recursive=True)
        words: set[str] = set()
        for process in below:
            try:
                words |= set(process.cmdline())
            except psutil.Error:  # it ended between the two lines
                continue
        if wanted <= words and len(below) >= PROCESSES:
            return up, below
        assert up.poll() is None, (folder / "up.log").read_text()
        assert time.monotonic() < deadline_s, (folder / "up.log").read_text()
        time.sleep(0.1)


@pytest.mark.timeout(180)
def test_killed_it_leaves_no_process(tmp_path: Path) -> None:
    """Kill -9 of `ganzhi up` ends JVM, ClickHouse, worker, sink, console and the nightly settlement, with all guards."""
    up, below = started(tmp_path, "up-killed")
    assert len(below) >= PROCESSES
    up.kill()
    up.wait()
    assert not psutil.wait_procs(below, timeout=GONE_S)[1]


@pytest.mark.timeout(360)
def test_it_says_how_its_processes_are() -> None:
    """Worker and sink answer `/health` and `/metrics` on free ports of loopback, and are well once they have partitions."""
    with System("up-health", ports="free") as system:
        assert set(system.health) >= {"worker-0", "sink"}
        deadline_s = time.monotonic() + 2 * LIMIT_S  # it may have to compile the kernels first
        for name, address in system.health.items():
            while True:
                try:
                    body = json.loads(urllib.request.urlopen(address, timeout=5).read())
                    if body["status"] == "ok":
                        break
                except OSError as error:
                    body = {"error": str(error)}
                assert time.monotonic() < deadline_s, (name, body)
                system.keep()
                time.sleep(0.2)
            assert body["lag_messages"] >= 0
            metrics = urllib.request.urlopen(address.replace("/health", "/metrics"), timeout=5).read().decode()
            assert 'ganzhi_healthy{role="' + name.partition("-")[0] + '"} 1.0' in metrics


@pytest.mark.timeout(180)
def test_told_to_end_it_ends_in_order(tmp_path: Path) -> None:
    """SIGTERM ends it with status 0; no process and no run file are left."""
    up, below = started(tmp_path, "up-stopped")
    up.terminate()
    assert up.wait(LIMIT_S) == 0, (tmp_path / "up.log").read_text()
    assert not psutil.wait_procs(below, timeout=GONE_S)[1]
    assert not run_file("up-stopped").exists()
