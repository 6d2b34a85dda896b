"""Kill -9 of each part in the middle of a run, and two workers: nothing is lost, doubled or computed otherwise.

All in one module, since the undisturbed run that they are held against takes minutes.
"""

import os
import re
import signal
from collections.abc import Callable

import pytest

from ganzhi.embedded.system import System
from schemas.topics import METER_READINGS
from sinks.clickhouse.progress import lag
from tests.system.conftest import Baseline
from tests.system.runs import Sender, alive, computed, ends, result, settle, until, verified

OPENED = re.compile(r"^(\S+ \S+) INFO (\S+/\d+): opened", re.MULTILINE)


def test_the_undisturbed_run(baseline: Baseline) -> None:
    """It has the three anomalies and more, as much stored as published, and its replays give the same rows."""
    published, stored = baseline.result.published, baseline.result.stored
    rules = {dict(row[3])["rule"] for row in published["alerts"]}
    assert rules >= {"LightsInEmptyRoom", "TapRunningNobody", "AcInEmptyRoom", "MeterSilent"}
    assert len(published["ledger"]) > 10_000
    assert len(published["gauges"]) > 1_000
    assert len(published["episodes"]) > 5
    assert {stream: len(rows) for stream, rows in stored.items()} == {s: len(rows) for s, rows in published.items()}
    from_kafka, from_table = baseline.replays
    assert from_kafka.identical
    assert from_table.identical
    assert from_kafka.sha256 == from_table.sha256
    replayed = sum(result.readings for result in from_kafka.tasks if result.task[0] == METER_READINGS)
    assert replayed == baseline.result.inputs["readings"][0] > 100_000


def kill_child(system: System, name: str) -> None:
    """Kill -9; `System.keep` starts it again, as it does for people."""
    pid = system.child(name).pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: alive(system, name) and system.child(name).pid != pid, f"a new {name}", system)


def kill_clickhouse(system: System) -> None:
    """Kill -9 and a new start on the same folder."""
    server = system.stack.clickhouse
    os.kill(server.child.pid, signal.SIGKILL)
    server.child.wait(30)
    server.start()
    server.wait_ready()


def kill_kafka(system: System) -> None:
    """Kill -9 and a new start on the same folder."""
    server = system.stack.kafka
    os.kill(server.child.pid, signal.SIGKILL)
    server.child.wait(30)
    server.start()
    server.wait_ready()


KILLS: dict[str, Callable[[System], None]] = {
    "worker": lambda system: kill_child(system, "worker-0"),
    "sink": lambda system: kill_child(system, "sink"),
    "clickhouse": kill_clickhouse,
    "kafka": kill_kafka,
}


@pytest.mark.timeout(500)
@pytest.mark.parametrize(
    "victim", ["worker", "sink", *(pytest.param(one, marks=pytest.mark.long) for one in ("clickhouse", "kafka"))]
)
def test_kill(baseline: Baseline, victim: str) -> None:
    """After kill -9 in the middle, rows in Kafka and in ClickHouse are those of the undisturbed run, each once.

    The replay says identical from both sources. The servers' kills are for `make fault`: else the sink's and the
    worker's tests kill them (`test_outage`, `test_worker`).
    """
    with System(f"kill-{victim}", wipe=True, ports="free") as system:
        settings = system.settings
        sender = Sender(settings, baseline.load)
        for share in (0.3, 0.6):
            sender.send(share)
            sender.flush()
            before = computed(settings)
            until(lambda before=before: computed(settings) > before, "some work", system)  # type: ignore[misc]
            sender.send(share + 0.2)
            if victim != "kafka":
                assert sum(lag(settings).values()) > 0
            KILLS[victim](system)
        sender.send(1.0)
        sender.flush()
        assert sum(ends(settings).values()) == baseline.load.count
        settle(system)
        found = result(settings)
        from_kafka, from_table = verified(settings)
    assert found.published == baseline.result.published
    assert found.stored == baseline.result.stored
    assert found.inputs == baseline.result.inputs
    assert from_kafka.identical, from_kafka.difference
    assert from_table.identical, from_table.difference
    assert from_kafka.sha256 == from_table.sha256


@pytest.mark.timeout(500)
def test_two_workers_give_the_same_rows(baseline: Baseline) -> None:
    """Two workers share the partitions that have work, and the rows are those of one worker alone."""
    with System("two-workers", wipe=True, ports="free", workers=2) as system:
        settings = system.settings
        logs = [system.child(f"worker-{number}").log_file for number in range(2)]
        until(lambda: all(OPENED.search(log.read_text()) for log in logs), "both have partitions", system)
        sender = Sender(settings, baseline.load)
        sender.send(1.0)
        sender.flush()
        settle(system)
        found = result(settings)
        from_kafka, from_table = verified(settings)
        opened = sorted(
            (*match, number) for number, log in enumerate(logs) for match in OPENED.findall(log.read_text())
        )
    assert found.published == baseline.result.published
    assert found.stored == baseline.result.stored
    assert from_kafka.identical, from_kafka.difference
    assert from_table.sha256 == from_kafka.sha256
    owners = {task: number for _, task, number in opened}  # who opened it last
    assert {owners[f"{topic}/{partition}"] for topic, partition in (one.task for one in from_kafka.tasks)} == {0, 1}
