"""How a worker is, from its tasks."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from schemas.vitals import Vital, Vitals
from streams.task import Task
from streams.watchdog import STUCK_S, Progress

_COUNTERS: Final = {
    "readings": "readings applied since the beginning of the log",
    "late": "readings at or behind their point's clock, left for settlement",
    "rejected": "input that could not be used, see ganzhi rejected",
}

Labelled = Sequence[tuple[Mapping[str, str], Task]]


def vitals_of(tasks: Labelled, progress: Mapping[str, Progress], still_s: float) -> Vitals:
    """What `/health` and `/metrics` say.

    Args:
        tasks: with the labels of each.
        progress: of the open ones, by `topic/partition`.
        still_s: the longest time that one has been behind without moving.
    """
    waiting = [f"{name} waits for {at.waits_for}" for name, at in progress.items() if at.waits_for]
    status: Literal["starting", "ok", "waiting", "stuck"] = "ok" if tasks else "starting"
    reason = ""
    if still_s > STUCK_S / 2 and not any(at.computing for at in progress.values()):
        status, reason = "stuck", f"no progress for {still_s:.0f} s"
    elif waiting:
        status, reason = "waiting", "; ".join(waiting)
    return Vitals(status, reason, [*_gauges(tasks, progress), *_counters(tasks)])


def _gauges(tasks: Labelled, progress: Mapping[str, Progress]) -> list[Vital]:
    named = {name: name.rpartition("/") for name in progress}
    lags = [({"topic": named[name][0], "partition": named[name][2]}, at.lag) for name, at in progress.items()]
    clocks = [(labels, task.clock_ms) for labels, task in tasks]
    ages = [(labels, round(task.snapshot_age_s, 1)) for labels, task in tasks]
    return [
        Vital("lag_messages", "offsets between the position and the end of the log", "gauge", lags),
        Vital(
            "watermark_seconds",
            "clock of the task: how far the time of its events has come, seconds since 1970",
            "gauge",
            [(labels, clock_ms / 1000) for labels, clock_ms in clocks if clock_ms is not None],
        ),
        Vital("snapshot_age_seconds", "since the last snapshot, or since the task was opened", "gauge", ages),
    ]


def _counters(tasks: Labelled) -> list[Vital]:
    commits = [(labels, task.commits) for labels, task in tasks]
    found = [(labels, task.counters()) for labels, task in tasks]
    return [
        Vital("transactions_total", "committed by this process", "counter", commits),
        *(
            Vital(f"{name}_total", about, "counter", [(labels, counts[name]) for labels, counts in found])
            for name, about in _COUNTERS.items()
        ),
    ]
