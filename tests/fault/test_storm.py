"""A short storm on a stack of its own; `make fault` has the long one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ganzhi.embedded.stack import Stack
from tests.fault.storm import SCHEDULE, SHORT, Storm


@pytest.mark.timeout(600)
def test_a_short_storm(own_stack: Callable[..., Stack], tmp_path: Path) -> None:
    """A worker paused past its session, snapshots spoilt, all workers killed, three hours sent again: 0 lost, 0 doubled."""
    weather = Storm(own_stack(), tmp_path, seed=11, rate=40).run(SHORT)
    assert weather.findings.right, weather.findings.told()
    assert weather.findings.lost == weather.findings.doubled == 0
    assert {fault.name for fault in weather.faults} == {name.replace("_", " ") for name in SHORT}
    assert weather.fenced >= 1, "the zombie's commit was not refused"
    assert weather.findings.became["late"] > 0
    assert weather.findings.became["rejected"] > 0


def test_every_fault_is_there() -> None:
    """The names of the schedules are methods."""
    assert all(callable(getattr(Storm, name)) for name in (*SCHEDULE, *SHORT))
