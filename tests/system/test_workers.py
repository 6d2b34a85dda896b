"""Several workers share the partitions."""

import re

import pytest

from ganzhi.embedded.system import System
from tests.system.conftest import Baseline
from tests.system.runs import Sender, result, settle, until, verified

OPENED = re.compile(r"^(\S+ \S+) INFO (\S+/\d+): opened", re.MULTILINE)


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
