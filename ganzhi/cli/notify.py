"""`ganzhi notify`: tells people about alerts, or tries a channel."""

import logging
from typing import Annotated

import typer

from ganzhi.cli.up import stop_event
from schemas.settings import load
from schemas.vitals import Pulse

app = typer.Typer()


@app.command()
def notify(
    profile: Annotated[str | None, typer.Option(help="whose stack")] = None,
    test: Annotated[
        str, typer.Option(metavar="CHANNEL", help="send one message through this channel, say what became of it, end")
    ] = "",
) -> None:
    """Tell people about alerts as the model's routes say, until SIGTERM; one is enough, and only one may run."""
    from ganzhi.vitals import serving
    from sinks.notify.process import run, try_channel

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    settings = load(profile=profile)
    if test:
        answer = try_channel(settings, test)
        print(f"{test}: {answer.outcome}  {answer.detail}".rstrip())
        raise typer.Exit(0 if answer.outcome == "sent" else 6)
    pulse = Pulse()
    with serving(settings.health, "notifier", pulse):
        run(settings, stop_event().is_set, pulse)
