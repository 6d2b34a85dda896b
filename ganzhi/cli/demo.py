"""`ganzhi demo`: the main job on the embedded stack, with a simulated civic centre whose truth is known."""

import json
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from ganzhi.cli import replay, texts
from ganzhi.cli.texts import text
from ganzhi.embedded.progress import Report
from schemas.errors import Difference, PortInUse
from sinks.desk.projection import Alert

if TYPE_CHECKING:
    from ganzhi.demo.run import Demo, Options

STARTED_S: Final = time.monotonic()
"""This module is the first thing that the command loads."""
INTERRUPTED: Final = 130
FRAME_S: Final = 0.25
SEED: Final = 20250613
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|)")
_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600}

app = typer.Typer()


def seconds_of(words: str) -> float:
    """Seconds of 90, 90s, 2m, 1h.

    Raises:
        typer.BadParameter: it is no duration.
    """
    found = _DURATION.fullmatch(words.strip())
    if found is None or float(found[1]) <= 0:
        raise typer.BadParameter(f"{words!r} is no duration; write 90s, 2m or 1h")
    return float(found[1]) * _SECONDS[found[2]]


@app.command()
def demo(
    duration: Annotated[
        str | None,
        typer.Option("--for", help="live for so long (90s, 2m), counted from the first live event; else until Ctrl-C"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="no screen; the last line is one JSON object")] = False,
    keep: Annotated[
        bool, typer.Option(help="do not wipe the profile; a simulation that is there is opened again, not gone on with")
    ] = False,
    seed: Annotated[int, typer.Option(help="of the simulation; the same seed, the same events")] = SEED,
    profile: Annotated[str, typer.Option(help="whose data; wiped at the start unless --keep")] = "demo",
    workers: Annotated[int, typer.Option(min=1, max=16, help="worker processes that share the partitions")] = 1,
    speed: Annotated[float, typer.Option(min=1, max=600, help="simulated seconds in one of life")] = 60.0,
    free_ports: Annotated[
        bool, typer.Option("--free-ports", help="listen on free ports, not on 19092 and 18123")
    ] = False,
) -> None:
    """Watch a simulated civic centre go through Kafka, worker and ClickHouse, and prove the result by a replay.

    Ends with a report. Exit status 0 only if every injected anomaly was found and nothing else, the ledger equals the
    simulator's meters, everything published is stored, nothing was rejected, and the replay is identical; else 7.
    """
    stop = _stop_event()
    console = Console(stderr=as_json)
    lasts_s = None if duration is None else seconds_of(duration)
    try:
        from ganzhi.demo.run import Options

        ok = _run(Options(profile, keep, seed, workers, speed, free_ports), stop, console, lasts_s, as_json)
    except PortInUse as error:
        sys.stderr.write(f"ganzhi: {error}; {text('demo free ports')}\n")
        raise typer.Exit(error.exit_code) from None
    raise typer.Exit(0 if ok else Difference.exit_code)


def _run(options: "Options", stop: threading.Event, console: Console, lasts_s: float | None, as_json: bool) -> bool:
    from ganzhi.demo import report, result
    from ganzhi.demo.run import Demo, Ended

    def say(words: str) -> None:
        known = text(words) if texts.has(words) else words
        # Never folded: the link and the one-time password are to be copied whole.
        console.print(f"{time.monotonic() - STARTED_S:6.1f} s  {known}", highlight=False, markup=False, soft_wrap=True)

    run = Demo(options, stop, say)
    try:
        with _bars(console) as progress:
            run.prepare(progress)
        run.start()
        say("demo again" if run.is_again else "demo started")
        first_alert_s = _live(run, stop, console, lasts_s, as_json)
        say("demo draining")
        run.drain()
        say("demo verifying")
        verification = replay.run(run.settings, "kafka", quiet=as_json)
        outcome = result.evaluate(run.settings, run.alerts, run.lived, verification, first_alert_s, run.documents)
        report.show(outcome, run.alerts, options.profile, console)
    except Ended:
        raise typer.Exit(INTERRUPTED) from None
    finally:
        run.close()
    if as_json:
        print(json.dumps(outcome.as_dict(), ensure_ascii=False), flush=True)
    return outcome.ok


def _live(run: "Demo", stop: threading.Event, console: Console, lasts_s: float | None, as_json: bool) -> float | None:
    """Shows life until it ends; seconds from the command to the first alert."""
    from ganzhi.demo.screen import Screen, alert_line

    ends_at_s = None if lasts_s is None else time.monotonic() + lasts_s
    first_alert_s = None

    def over() -> bool:
        return stop.is_set() or (ends_at_s is not None and time.monotonic() >= ends_at_s)

    def watched(shown: Callable[[Alert], None], notice: Callable[[str], None]) -> None:
        nonlocal first_alert_s
        run.check(notice)
        for alert in run.alerts.poll(FRAME_S):
            if first_alert_s is None and alert.state == "firing":
                first_alert_s = time.monotonic() - STARTED_S
            shown(alert)

    if console.is_terminal and not as_json:
        with Live(Screen(run, ends_at_s), console=console, screen=True, auto_refresh=False) as live:
            while not over():
                watched(_nothing, _nothing)
                live.refresh()
        return first_alert_s

    told: dict[tuple[str, str, str, int], str] = {}

    def tell(alert: Alert) -> None:
        if told.get(alert.key) != alert.state:
            told[alert.key] = alert.state
            console.print(alert_line(alert, run.alerts, max(console.width, 100)), soft_wrap=True)

    shown = 0
    while not over():
        watched(tell, lambda name: console.print(f"{name}: {text('restarted')}"))
        for said in run.robot.said[shown:]:
            shown += 1
            console.print(f"{text('robot')}  {said.text.splitlines()[0]}", style="cyan", markup=False, soft_wrap=True)
    return first_alert_s


def _stop_event() -> threading.Event:
    """An event that the first Ctrl-C (or SIGTERM) sets, so that all ends in order; the second one ends at once."""
    stop = threading.Event()

    def told(number: int, frame: FrameType | None) -> None:
        del number, frame
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, told)
    return stop


def _nothing(what: object) -> None:
    del what


@contextmanager
def _bars(console: Console) -> Iterator[Report]:
    """Bars for what takes long at the start; they go when it is done. Calls come from several threads."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}
        lock = threading.Lock()

        def report(what: str, done: int, total: int) -> None:
            with lock:
                if what not in tasks:
                    tasks[what] = bars.add_task(escape(what), total=total)
                bars.update(tasks[what], completed=done)

        yield report
