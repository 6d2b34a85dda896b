"""`ganzhi upgrade`: from a mark in the log on, this release computes what an older one has computed so far."""

from typing import Annotated

import typer

from processors.state import ENGINE
from schemas.control import signing_key
from schemas.settings import data_home, load
from streams.upgrade import request_upgrade

app = typer.Typer()


@app.command()
def upgrade(
    profile: Annotated[str | None, typer.Option(help="profile whose stack and signing key are used")] = None,
) -> None:
    """Hand the log over to this release: workers of the older one stop at a mark, those of this one go on from it."""
    settings = load(profile=profile)
    count = request_upgrade(settings.kafka, signing_key(data_home(settings.profile)))
    print(f"engine {ENGINE}: marked in {count} partitions")
    print("workers of an older engine hand over and end there; then start workers of this release")
