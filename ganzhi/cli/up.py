"""`ganzhi up` keeps the whole system of a profile running; `ganzhi sink` is one of its processes."""

import logging
import signal
import threading
from typing import Annotated

import typer
from rich.console import Console

from ganzhi.cli.texts import text
from schemas.settings import load
from schemas.vitals import Pulse

app = typer.Typer()


def stop_event() -> threading.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


@app.command()
def up(
    profile: Annotated[str, typer.Option(help="whose data")] = "default",
    workers: Annotated[int, typer.Option(min=1, max=64, help="worker processes that share the partitions")] = 1,
) -> None:
    """Run Kafka, ClickHouse, workers, sink and console on this machine until Ctrl-C; data stays in the profile."""
    from ganzhi.cli.console import login_line
    from ganzhi.embedded import progress
    from ganzhi.embedded.system import System

    console = Console(stderr=True)
    stop = stop_event()
    with progress.bar() as report, System(profile, workers=workers, report=report, nightly=True) as system:
        settings = system.settings
        console.print(
            f"Kafka {settings.kafka.bootstrap}   ClickHouse http://{settings.clickhouse.host}:{settings.clickhouse.port}"
        )
        if not system.console_answers():
            console.print(text("console comes"))
        console.print(login_line(system.console, system.password), highlight=False, soft_wrap=True)
        console.print(text("stack is up"))
        while not stop.wait(0.5):
            system.keep(lambda name: console.print(f"{name}: {text('restarted')}"))
        console.print(text("stopping"))


@app.command()
def sink(profile: Annotated[str | None, typer.Option(help="whose stack")] = None) -> None:
    """Store what the topics hold in ClickHouse until SIGTERM; any number may share the partitions."""
    from ganzhi.vitals import serving
    from sinks.clickhouse.process import run

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    stop, settings, pulse = stop_event(), load(profile=profile), Pulse()
    with serving(settings.health, "sink", pulse):
        run(settings, stop.is_set, pulse)
