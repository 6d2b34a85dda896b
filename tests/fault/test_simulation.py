"""Lives of the simulated world: nothing is lost, doubled or contradicted, and everybody comes to an end."""

import pytest

from tests.fault.sim.lives import KINDS, live, many

SEEDS = {"tasks": 150, "sinks": 250, "tampered": 10, "upgraded": 25, "slabs": 30}


@pytest.mark.parametrize("kind", KINDS)
def test_lives(kind: str) -> None:
    """Some hundred lives of each kind; one that goes wrong prints its seed and the command that replays it."""
    total = many(kind, range(SEEDS[kind]))
    assert total.right, total.told()
    assert total.messages > SEEDS[kind]


def test_a_seed_replays() -> None:
    """The same seed is the same life: step for step, event for event."""
    first, second = live("tasks", 17), live("tasks", 17)
    assert first.history == second.history
    assert first.steps == second.steps
    assert live("tasks", 18).history != first.history


def test_processes_die_everywhere() -> None:
    """Deaths are spread over the steps of a commit, of a start, of a snapshot, and of a range."""
    tasks, sinks = many("tasks", range(250, 330)), many("sinks", range(250, 330))
    assert {"before commit", "after commit", "before send_offsets", "send", "before init_transactions", "fetch"} <= (
        tasks.crash_points
    )
    assert {"before commit offsets", "after commit offsets", "in insert", "after insert", "query"} <= sinks.crash_points
    assert tasks.fenced
    assert sinks.fenced
