"""The watchdog: who is behind and does not move is told, nobody else is."""

from streams.watchdog import COMPUTING_S, STUCK_S, Progress, Watchdog


def looks(watchdog: Watchdog, seconds: float, *tasks: Progress) -> str | None:
    """Looks ten times a second for so long; what the last one says."""
    said = None
    for _ in range(round(seconds * 10)):
        said = watchdog.look(0.1, {f"meter.readings/{number}": task for number, task in enumerate(tasks)})
    return said


def test_a_task_that_is_behind_and_stands_still_is_told() -> None:
    """With its place, its lag and what it was at; the others do not hide it."""
    watchdog = Watchdog()
    moving = Progress(7, 7, "waiting for slabs")
    stuck = Progress(5, 9, "committing up to 5")
    assert looks(watchdog, STUCK_S - 1, moving, stuck) is None
    said = looks(watchdog, 2, moving, stuck)
    assert said is not None
    assert said.startswith("meter.readings/1 has not moved from offset 5 for 3")
    assert said.endswith("s, 4 behind: committing up to 5")


def test_who_moves_or_has_nothing_to_do_or_may_wait_is_not_told() -> None:
    """A step now and then is enough; the end of the log, an unknown end and a missing document are no fault."""
    watchdog = Watchdog()
    for position in range(5):
        assert looks(watchdog, STUCK_S - 1, Progress(position, 100, "")) is None
    for idle in (Progress(4, 4, ""), Progress(4, None, ""), Progress(4, 9, "", "document 12ab")):
        assert looks(watchdog, 3 * STUCK_S, idle) is None


def test_a_process_that_slept_is_not_judged_by_the_clock() -> None:
    """An hour between two looks counts as a second."""
    watchdog = Watchdog()
    stuck = {"t": Progress(1, 2, "")}
    watchdog.look(0.1, stuck)
    assert watchdog.look(3600, stuck) is None


def test_who_computes_has_longer() -> None:
    """A slab may take minutes on a busy machine, but not for ever; a task that waits beside it is told all the same."""
    watchdog, computing = Watchdog(), Progress(1, 9, "applying the slab at 1", computing=True)
    assert looks(watchdog, 3 * STUCK_S, computing) is None
    assert "meter.readings/1" in str(looks(watchdog, STUCK_S + 1, computing, Progress(1, 2, "committing up to 1")))
    assert "applying the slab at 1" in str(looks(Watchdog(), COMPUTING_S + 1, computing))


def test_moving_on_begins_anew() -> None:
    """What stood still for almost long enough, then moved, has all the time again."""
    watchdog = Watchdog()
    assert looks(watchdog, STUCK_S - 1, Progress(1, 9, "")) is None
    assert looks(watchdog, STUCK_S - 1, Progress(2, 9, "")) is None
    assert looks(watchdog, 2, Progress(2, 9, "")) is not None
