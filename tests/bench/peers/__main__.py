"""`python -m tests.bench.peers [SYSTEM…]`: the same job in ganzhi and its rivals, one after another, one broker."""

import argparse
import dataclasses
import json
import signal
import sys
import tempfile
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from ganzhi.embedded.stack import Stack
from schemas.errors import ConfigurationError
from tests.bench.peers.job import Input, make, truth
from tests.bench.peers.load import closing, json_messages, make_topic, produce, rival_batches
from tests.bench.peers.measure import Run, run
from tests.bench.peers.ours import Ours
from tests.bench.peers.systems import RIVALS, Rival, command
from tests.bench.peers.verify import Verdict, read_rival

PROFILE = "peers"
OURS = ("json", "batches")


@dataclasses.dataclass(frozen=True)
class Figure:
    """One run of one system.

    Attributes:
        system: name.
        form: json (one message a reading) or batches (Avro, 500 readings).
        readings: of the input.
        cpu_s_per_million: CPU-seconds per million readings of all its processes; None: it did not end.
        readings_per_s: by the clock.
        peak_mb: resident memory.
        right: whether results are as they must be.
        differs: in what.
    """

    system: str
    form: str
    readings: int
    cpu_s_per_million: float | None
    readings_per_s: int | None
    peak_mb: int
    right: bool
    differs: str

    @classmethod
    def of(cls, system: str, form: str, data: Input, took: Run, verdict: Verdict | None) -> "Figure":
        """From what was measured and compared."""
        count = len(data.point)
        if not took.ended or verdict is None:
            return cls(system, form, count, None, None, took.peak_mb, False, "did not end in time")
        differs = (
            f"{verdict.wrong} of {verdict.windows} windows, {verdict.lost} readings lost, "
            f"{verdict.alerts_wrong} of {verdict.alerts} alerts"
        )
        cost, rate = round(took.cpu_s / count * 1e6, 3), int(count / took.wall_s)
        return cls(system, form, count, cost, rate, took.peak_mb, verdict.right, "" if verdict.right else differs)


def main() -> int:
    """Runs what is asked for; 1 when a result is wrong."""
    names = ["ganzhi", *(rival.name for rival in RIVALS)]
    parser = argparse.ArgumentParser(prog="python -m tests.bench.peers", description=__doc__)
    parser.add_argument("systems", nargs="*", help=f"of {', '.join(names)}; all of them when none is named")
    parser.add_argument("--form", choices=("json", "batches"), action="append", help="both when not given")
    parser.add_argument(
        "--rounds", type=int, help="readings of each point, a multiple of 6; 300 are 3 million readings"
    )
    parser.add_argument("--timeout-s", type=float, default=900.0)
    parser.add_argument("--json", action="store_true", help="one object a line")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that children are ended too
    unknown = sorted(set(arguments.systems) - set(names))
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(names)}")
    forms = arguments.form or ["json", "batches"]
    figures = []
    for name in arguments.systems or names:
        for form in forms:
            figure = _one(name, form, arguments.rounds, arguments.timeout_s)
            if figure is not None:
                figures.append(figure)
                if arguments.json:
                    print(json.dumps(dataclasses.asdict(figure)), flush=True)
    if not arguments.json:
        _show(figures)
    return 0 if all(figure.right for figure in figures) else 1


def _one(name: str, form: str, rounds: int | None, timeout_s: float) -> Figure | None:
    with tempfile.TemporaryDirectory() as folder, Stack(PROFILE, wipe=True, ports="free") as stack:
        if name == "ganzhi":
            data = make(10_000, rounds or 300)
            ours = Ours(stack, Path(folder), data)
            try:
                took = ours.run(form, timeout_s)
                ours.settle()
            finally:
                ours.stop()
            return Figure.of(name, form, data, took, ours.verdict())
        rival = next(rival for rival in RIVALS if rival.name == name)
        return _rival(rival, form, make(rival.points, rounds or rival.rounds), stack, Path(folder), timeout_s)


def _rival(rival: Rival, form: str, data: Input, stack: Stack, folder: Path, timeout_s: float) -> Figure | None:
    if form not in rival.forms:
        return None
    bootstrap = stack.kafka_settings.bootstrap
    try:
        words, environment = command(rival, bootstrap, form, folder)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return None
    topics = {"TOPIC": "readings", "ROLLUPS": "rollups", "ALERTS": "fired"}
    for topic in topics.values():
        make_topic(bootstrap, topic)
    messages = json_messages if form == "json" else rival_batches
    produce(bootstrap, topics["TOPIC"], messages(data))
    produce(bootstrap, topics["TOPIC"], messages(closing(data)))
    total = {"TOTAL": str(len(data.point) + data.points)}
    took = run(words, environment | topics | total, folder / "log", timeout_s)
    if not took.ended:
        sys.stderr.write((folder / "log").read_text(errors="replace")[-2000:])
        return Figure.of(rival.name, form, data, took, None)
    verdict = read_rival(bootstrap, topics["ROLLUPS"], topics["ALERTS"], truth(data))
    return Figure.of(rival.name, form, data, took, verdict)


def _show(figures: list[Figure]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("system", "input", "readings", "CPU-s/million", "readings/s", "MB", "results"):
        table.add_column(column, justify="left" if column in ("system", "input", "results") else "right")
    for f in figures:
        cost = "" if f.cpu_s_per_million is None else f"{f.cpu_s_per_million:.3f}"
        rate = "" if f.readings_per_s is None else f"{f.readings_per_s:,}"
        table.add_row(f.system, f.form, f"{f.readings:,}", cost, rate, f"{f.peak_mb:,}", f.differs or "right")
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
