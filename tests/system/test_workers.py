"""Several workers share the partitions."""

import re

import pytest

from ganzhi.embedded.system import System
from tests.system.conftest import Baseline
from tests.system.runs import Sender, result, settle, until, verified


@pytest.mark.timeout(500)
def test_two_workers_give_the_same_rows(baseline: Baseline) -> None:
    """Two workers open the partitions between them, none has all, and the rows are those of one worker alone."""
    with System("two-workers", wipe=True, ports="free", workers=2) as system:
        settings = system.settings
        logs = [system.child(f"worker-{number}").log_file for number in range(2)]
        opened = re.compile(r"(\S+/\d+): opened")
        until(lambda: all(opened.search(log.read_text()) for log in logs), "both have partitions", system)
        sender = Sender(settings, baseline.load)
        sender.send(1.0)
        sender.flush()
        settle(system)
        found = result(settings)
        from_kafka, from_table = verified(settings)
        last = [_last_opened(log.read_text()) for log in logs]
    assert found.published == baseline.result.published
    assert found.stored == baseline.result.stored
    assert from_kafka.identical, from_kafka.difference
    assert from_table.sha256 == from_kafka.sha256
    busy = {f"{result.task[0]}/{result.task[1]}" for result in from_kafka.tasks}
    assert all(tasks & busy for tasks in last)
    assert not last[0] & last[1]


def _last_opened(log: str) -> set[str]:
    """The tasks of a worker's newest assignment: those opened in the last burst."""
    found: dict[str, int] = {}
    for number, line in enumerate(log.splitlines()):
        if match := re.search(r"(\S+/\d+): opened", line):
            found[match[1]] = number
    last = max(found.values(), default=0)
    return {task for task, number in found.items() if number > last - 2 * len(found)}
