"""`ganzhi worker`: one worker in the foreground; any number may run."""

import logging
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Annotated

import typer

from schemas.settings import Settings, load
from schemas.vitals import Pulse

app = typer.Typer()

Profile = Annotated[str | None, typer.Option(help="profile whose embedded stack is used")]
Instance = Annotated[
    str | None,
    typer.Option(help="static membership: under the same name a restarted worker keeps its partitions"),
]


@app.command()
def worker(profile: Profile = None, instance: Instance = None) -> None:
    """Run one worker: it computes the partitions that its group gives it. SIGTERM and Ctrl-C stop it in order."""
    settings = load(profile=profile)
    if instance is not None:
        settings = settings.model_copy(update={"worker": settings.worker.model_copy(update={"instance": instance})})
    configure_log()
    stop = threading.Event()

    def told(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop.set()

    signal.signal(signal.SIGTERM, told)
    signal.signal(signal.SIGINT, told)
    run(settings, stop.is_set)


def run(settings: Settings, stop: Callable[[], bool]) -> None:
    """Runs a worker until told to stop (see `streams.worker.run`), and serves how it is."""
    from ganzhi.vitals import serving  # these take a second that `--help` need not wait for
    from streams.worker import run as run_worker

    pulse = Pulse()
    with serving(settings.health, "worker", pulse):
        run_worker(settings, stop, pulse)


def configure_log() -> None:
    """A line on standard error for each notable event; of the libraries underneath only what is wrong."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    for name in ("faust", "mode", "aiokafka", "numba", "streams"):
        logging.getLogger(name).setLevel(logging.ERROR)
