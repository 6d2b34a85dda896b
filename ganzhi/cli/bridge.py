"""`ganzhi bridge`: readings of a foreign Kafka topic into the log, exactly once."""

import dataclasses
import datetime as dt
import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ganzhi.cli.data import REJECTED_EXIT
from ganzhi.cli.texts import text
from ganzhi.cli.up import stop_event
from ganzhi.cli.worker import configure_log
from schemas.settings import load
from schemas.vitals import Pulse

app = typer.Typer()


@app.command()
def bridge(
    mapping_file: Annotated[Path, typer.Argument(metavar="MAPPING", help="YAML file: topic, format, what fields mean")],
    instance: Annotated[str | None, typer.Option(help="of two bridges with one mapping each needs its own")] = None,
    again: Annotated[bool, typer.Option("--again", help="send again what it rejected so far, then end")] = False,
    rejected: Annotated[bool, typer.Option("--rejected", help="show what it rejected so far, and why")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="with --rejected: one object a message; else counts")] = False,
    last: Annotated[int, typer.Option(min=1, help="with --rejected: how many of the newest to show")] = 30,
    profile: Annotated[str | None, typer.Option(help="profile of the embedded stack")] = None,
) -> None:
    """Read a foreign topic of JSON or Avro messages as gateways' batches, until SIGTERM or Ctrl-C."""
    from ganzhi.vitals import serving
    from streams.sources.bridge import mapping as mappings
    from streams.sources.bridge.process import run

    settings = load(profile=profile)
    mapping = mappings.load(mapping_file)
    if rejected:
        _show_rejected(settings.kafka, mapping, as_json, last)
        return
    if instance is not None:
        settings = settings.model_copy(update={"bridge": settings.bridge.model_copy(update={"instance": instance})})
    configure_log()
    pulse = Pulse()
    with serving(settings.health, "bridge", pulse):
        counts = run(settings, mapping, stop_event().is_set, again, pulse=pulse)
    shown = {name: value for name, value in dataclasses.asdict(counts).items() if name != "reasons"}
    if as_json:
        print(json.dumps(shown | {"reasons": dict(counts.reasons)}, ensure_ascii=False))
    else:
        print("  ".join(f"{name}: {value:,}" for name, value in shown.items()))
        for reason, count in counts.reasons.most_common():
            print(f"{count:>10,}  {reason}")
    if again and counts.rejected:
        raise typer.Exit(REJECTED_EXIT)


def _show_rejected(kafka, mapping, as_json: bool, last: int) -> None:  # type: ignore[no-untyped-def]
    """Lists the bridge's topic of rejected messages."""
    from streams.sources.bridge.rejected import read

    found = list(read(kafka, mapping))
    if as_json:
        for one in found:
            fields = dataclasses.asdict(one) | {"key": (one.key or b"").hex(), "raw": (one.raw or b"").hex()}
            print(json.dumps(fields, ensure_ascii=False))
        return
    console = Console()
    if not found:
        console.print(text("nothing rejected"))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("time", "topic", "offset", "reason", "message"):
        table.add_column(text(name))
    for one in found[-last:]:
        when = dt.datetime.fromtimestamp(one.time_ms / 1000, dt.UTC).astimezone()
        raw = (one.raw or b"")[:60].decode("utf-8", "replace")
        place = f"{one.topic}/{one.partition}"
        table.add_row(f"{when:%m-%d %H:%M:%S}", place, str(one.offset), escape(one.reason), escape(raw))
    console.print(table)
    for reason, count in Counter(one.reason for one in found).most_common(10):
        console.print(f"{count:>8,}  {reason}", markup=False)
