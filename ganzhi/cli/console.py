"""`ganzhi console`: the web console in the foreground."""

import logging
from typing import Annotated

import typer

from ganzhi.cli.up import stop_event
from schemas.settings import load

app = typer.Typer()


@app.command()
def console(
    profile: Annotated[str | None, typer.Option(help="whose stack")] = None,
    host: Annotated[str | None, typer.Option(help="address to listen on; loopback unless told otherwise")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="port to listen on")] = None,
) -> None:
    """Serve the web console until SIGTERM or Ctrl-C; the first start makes an administrator."""
    from sinks.console.process import address_of, first_run, run

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    settings = load(profile=profile)
    flags = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    settings = settings.model_copy(update={"console": settings.console.model_copy(update=flags)})
    password = first_run(settings.profile)
    if password is not None:
        typer.echo(login_line(address_of(settings.console), password), err=True)
    run(settings, stop_event().is_set)


def login_line(address: str, password: str | None) -> str:
    """Where the console is, and how to come in the first time."""
    from ganzhi.cli.texts import text
    from sinks.console.store import FIRST_USER

    if password is None:
        return f"{text('console')}  {address}"
    return f"{text('console')}  {address}   {text('console user')} {FIRST_USER}   {text('console password')} {password}"
