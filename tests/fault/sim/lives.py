"""Lives by their seeds, and what many of them come to."""

import dataclasses
import logging
from collections.abc import Callable, Iterable
from typing import Any, Final

from tests.fault.checker import Findings
from tests.fault.sim import sinks, slabs, tasks

KINDS: Final[dict[str, Callable[[int], Any]]] = {
    "tasks": tasks.Life, "tampered": tasks.Tampered, "upgraded": tasks.Upgraded, "sinks": sinks.Life, "slabs": slabs.Life
}  # fmt: skip


@dataclasses.dataclass
class Lived:
    """One life.

    Attributes:
        kind: of KINDS.
        seed: that made it.
        findings: of the judge.
        error: what ended it early; empty: nothing.
        steps: how many.
        fenced: commits that were refused.
        crash_points: where processes died.
        history: what happened.
    """

    kind: str
    seed: int
    findings: Findings
    error: str
    steps: int
    fenced: int
    crash_points: set[str]
    history: list[str]

    @property
    def right(self) -> bool:
        """Whether nothing is wrong with it."""
        return self.findings.right and not self.error

    def told(self) -> str:
        """What came of it, and how to see it again."""
        verdict = "right" if self.right else "WRONG"
        again = f"python -m tests.fault.sim {self.kind} --seed {self.seed}"
        return "\n".join([f"{verdict}: {again}", *([self.error] if self.error else []), self.findings.told()])


@dataclasses.dataclass
class Many:
    """What many lives come to.

    Attributes:
        seeds: how many were lived.
        wrong: those that went wrong; the search ends after a few.
    """

    kind: str
    seeds: int = 0
    steps: int = 0
    fenced: int = 0
    messages: int = 0
    deaths: int = 0
    crash_points: set[str] = dataclasses.field(default_factory=set)
    wrong: list[Lived] = dataclasses.field(default_factory=list)

    def add(self, other: "Many") -> None:
        """Adds those of another process."""
        self.seeds += other.seeds
        self.steps += other.steps
        self.fenced += other.fenced
        self.messages += other.messages
        self.deaths += other.deaths
        self.crash_points |= other.crash_points
        self.wrong += other.wrong

    @property
    def right(self) -> bool:
        """Whether nothing is wrong with any."""
        return not self.wrong

    def told(self) -> str:
        """In some lines."""
        head = (
            f"{self.kind}: {self.seeds} seeds, {self.steps} steps, {self.messages} messages, {self.deaths} deaths at "
            f"{len(self.crash_points)} points, {self.fenced} refused, {len(self.wrong)} wrong"
        )
        return "\n".join([head, *(one.told() for one in self.wrong)])


def live(kind: str, seed: int) -> Lived:
    """One life."""
    life = KINDS[kind](seed)
    findings, error = Findings(), ""
    quiet = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # what the code under test has to say is in the history of a seed that fails
    try:
        findings = life.run()
    except Exception as failure:  # noqa: BLE001  whatever it was, the seed is what one needs
        error = f"{type(failure).__name__}: {failure}"
    finally:
        logging.disable(quiet)
    scheduler = life.scheduler
    return Lived(
        kind, seed, findings, error, scheduler.steps, life.broker.fenced, scheduler.crash_points, scheduler.history
    )


def many(kind: str, seeds: Iterable[int], wrong_max: int = 3, told: Callable[[int], None] | None = None) -> Many:
    """Lives, one after another, until a few have gone wrong.

    Args:
        kind: of KINDS.
        seeds: of the lives.
        wrong_max: after so many that went wrong there is no need for more.
        told: is given the number of each life that is over.
    """
    total = Many(kind)
    for seed in seeds:
        one = live(kind, seed)
        total.seeds += 1
        total.steps += one.steps
        total.fenced += one.fenced
        total.messages += one.findings.messages
        total.deaths += len(one.crash_points)
        total.crash_points |= one.crash_points
        if told is not None:
            told(total.seeds)
        if not one.right:
            total.wrong.append(one)
            if len(total.wrong) >= wrong_max:
                break
    return total
