"""`make fault`: long tests, simulation, mutants, hostile bytes and a storm on the real stack; a table, and one JSON object.

The exit status is not 0 when anything was lost, doubled, contradicted or crashed, or when a mutant lives.
"""

import argparse
import dataclasses
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final

from tests.fault import hostile
from tests.fault.mutants import EQUIVALENT, MUTANTS, caught
from tests.fault.sim.lives import Many, many
from tests.fault.storm import SCHEDULE, Storm, Weather

MINUTES: Final = 55.0
SEEDS: Final = {"tasks": 5100, "sinks": 4000, "slabs": 300, "tampered": 100, "upgraded": 500}
"""At full length; a shorter run has fewer, in proportion."""
HOSTILE: Final = 1_000_000
PARTS: Final = 8
TESTS: Final = Path(__file__).parents[1]
ALONE_S: Final = 90.0
"""What the start of the stack, the judge and the end take of the time."""
RULE_OF_THREE: Final = 3
"""Of N that show nothing, 3/N is the upper bound at 95 %."""


@dataclasses.dataclass
class Outcome:
    """What everything came to."""

    many: list[Many] = dataclasses.field(default_factory=list)
    caught: dict[str, str] = dataclasses.field(default_factory=dict)
    alive: list[str] = dataclasses.field(default_factory=list)
    fuzzed: hostile.Fuzzed = dataclasses.field(default_factory=hostile.Fuzzed)
    weather: Weather | None = None
    broken: list[str] = dataclasses.field(default_factory=list)
    """long tests that failed, and why the storm could not be lived through"""

    @property
    def wrong(self) -> list[str]:
        """Every violation, as text."""
        texts = [one.told() for total in self.many for one in total.wrong]
        texts += self.fuzzed.wrong if not self.fuzzed.crashes else []
        texts += self.weather.findings.violations if self.weather else []
        return texts + self.broken

    def figures(self) -> dict[str, Any]:
        """The last line."""
        lived = [one.findings for total in self.many for one in total.wrong]
        if self.weather is not None:
            lived.append(self.weather.findings)
        moves = self.weather.moves_s if self.weather else []
        real = self.weather.findings if self.weather else None
        return {
            "faults": self.weather.count if self.weather else 0,
            "messages": real.messages if real else 0,
            "readings": real.readings if real else 0,
            "lost": sum(one.lost for one in lived),
            "doubled": sum(one.doubled for one in lived),
            "mutants": len(self.caught) + len(self.alive),
            "mutants_caught": len(self.caught),
            "hostile": self.fuzzed.hostile,
            "crashes": self.fuzzed.crashes,
            "seeds": sum(total.seeds for total in self.many),
            "violations": len(self.wrong),
            "move_p50_s": _quantile(moves, 0.5),
            "move_p99_s": _quantile(moves, 0.99),
        }


def _quantile(ordered: list[float], share: float) -> float | None:
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2) if ordered else None


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _minutes(since_s: float) -> str:
    return f"{(time.monotonic() - since_s) / 60:.0f} min"


def _chunks(total: int) -> Iterable[range]:
    """Parts of seeds, for two processes to share."""
    size = max(1, -(-total // PARTS))
    return [range(at, min(at + size, total)) for at in range(0, total, size)]


def _mutant(number: int) -> str:
    """What notices a mutant; empty: nothing."""
    one = caught(MUTANTS[number])
    return f"{one.kind}, seed {one.seed}" if one is not None else ""


def long_tests(outcome: Outcome, workers: int) -> None:
    """The tests marked `long`: thousands of random histories against the slow oracles, and under other cuts."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "long", "-n", str(workers), "--dist", "load"]
    if subprocess.run([*command, str(TESTS)], check=False).returncode:
        outcome.broken.append("long tests failed, see above")


def simulate(outcome: Outcome, share: float, workers: int) -> None:
    """Lives, mutants and hostile bytes, in a few processes."""
    totals = {kind: Many(kind) for kind in SEEDS}
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        works: dict[Future[Any], Callable[[Any], None]] = {}
        for kind, seeds in SEEDS.items():
            for part in _chunks(max(1, round(seeds * share))):
                works[pool.submit(many, kind, part)] = totals[kind].add
        for number, mutant in enumerate(MUTANTS):

            def take(by: str, name: str = mutant.name) -> None:
                if by:
                    outcome.caught[name] = by
                else:
                    outcome.alive.append(name)

            works[pool.submit(_mutant, number)] = take
        for seed in range(PARTS):
            count = max(1000, round(HOSTILE * share / PARTS))
            works[pool.submit(hostile.apart, count, seed, 3600)] = outcome.fuzzed.add
        for future, take_result in works.items():
            take_result(future.result())
    outcome.many = list(totals.values())


def storm(outcome: Outcome, seed: int, seconds: float) -> None:
    """Faults on a stack of our own; the data are removed where nothing was wrong."""
    from ganzhi.embedded.stack import Stack  # its libraries, and what it reads of the environment, come late

    folder = Path(tempfile.mkdtemp(prefix="ganzhi-fault-"))
    os.environ["XDG_DATA_HOME"] = str(folder / "data")
    with Stack("fault", ports="free") as stack:
        began_s = time.monotonic()
        one = Storm(stack, folder, seed, told=lambda text: _say(f"  {time.monotonic() - began_s:6.0f} s  {text}"))
        outcome.weather = one.run(SCHEDULE, seconds)
    if outcome.weather.findings.right:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        _say(f"what the members said is in {folder}")


def table(outcome: Outcome) -> None:
    """What happened, for people."""
    _say("\nsimulation            seeds      steps   messages   deaths  refused  wrong")
    for one in outcome.many:
        numbers = (one.seeds, one.steps, one.messages, one.deaths, one.fenced, len(one.wrong))
        _say("{:<18}{:>9}{:>11}{:>11}{:>9}{:>9}{:>7}".format(one.kind, *numbers))
    _say(f"\nrules broken on purpose: {len(outcome.caught)} of {len(outcome.caught) + len(outcome.alive)} noticed")
    for name, by in outcome.caught.items():
        _say(f"  {name:<52}{by}")
    for name in outcome.alive:
        _say(f"  {name:<52}ALIVE")
    for name, reason in EQUIVALENT.items():
        _say(f"  {name:<52}excluded: {reason}")
    fuzzed = outcome.fuzzed
    _say(
        f"\nhostile messages: {fuzzed.hostile}, refused {fuzzed.refused}, read as the oracles do {fuzzed.accepted},"
        f" otherwise {len(fuzzed.wrong)}, crashes {fuzzed.crashes}"
    )
    weather = outcome.weather
    if weather is not None:
        _say("\nfault                  times   moved again after, s (median, worst)")
        for fault in weather.faults:
            moves = sorted(fault.moved_s)
            told = f"{_quantile(moves, 0.5)}, {round(moves[-1], 2)}" if moves else ""
            _say(f"{fault.name:<22}{fault.times:>6}   {told:<16}{fault.note}")
        found = weather.findings
        became = ", ".join(f"{name} {count}" for name, count in sorted(found.became.items()))
        bound = f"{RULE_OF_THREE / found.messages:.1e}" if found.messages else "-"
        _say(f"\n{found.messages} messages ({became}), {found.readings} readings, {found.rows} rows judged")
        _say(f"lost {found.lost} of {found.messages}, doubled {found.doubled} of {found.messages} (at most {bound})")
        _say(f"commits of fenced workers refused: {weather.fenced}")
    for text in outcome.wrong:
        _say(f"WRONG: {text}")


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="make fault ARGS=...", description=__doc__)
    parser.add_argument(
        "--minutes", type=float, default=MINUTES, help="how long in all, about; a shorter run does less"
    )
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the storm")
    parser.add_argument("--workers", type=int, default=2, help="processes of the simulation")
    parser.add_argument("--no-tests", action="store_true", help="leave the long tests out")
    parser.add_argument("--no-storm", action="store_true", help="leave the real stack out")
    arguments = parser.parse_args()
    began_s, outcome = time.monotonic(), Outcome()
    share = min(1.0, arguments.minutes / MINUTES)
    if not arguments.no_tests:
        _say("long tests")
        long_tests(outcome, arguments.workers)
    _say(f"after {_minutes(began_s)} simulation, mutants and hostile bytes: {share:.0%} of the whole")
    simulate(outcome, share, arguments.workers)
    if not arguments.no_storm:
        left_s = arguments.minutes * 60 - (time.monotonic() - began_s) - ALONE_S
        _say(f"after {_minutes(began_s)} storm: seed {arguments.seed}")
        try:
            storm(outcome, arguments.seed, left_s)
        except Exception as error:  # noqa: BLE001  a storm that ends early is a violation, and the rest still counts
            outcome.broken.append(f"the storm ended early: {type(error).__name__}: {str(error)[:2000]}")
    table(outcome)
    figures = outcome.figures()
    _say(json.dumps(figures))
    bad = figures["lost"] or figures["doubled"] or figures["crashes"] or figures["violations"] or outcome.alive
    return int(bool(bad))
