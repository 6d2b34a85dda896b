"""`ganzhi rejected list|requeue`: input that could not be used, and sending it again after the model was mended."""

import dataclasses
import datetime as dt
import json
from collections import Counter
from collections.abc import Iterator
from typing import Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from ganzhi.cli.paper import paper
from ganzhi.cli.texts import text
from schemas.settings import Settings, load

app = typer.Typer()
group = typer.Typer(no_args_is_help=True, help="Input that could not be used: list it, send it again.")
app.add_typer(group, name="rejected")

Profile = Annotated[str | None, typer.Option(help="whose stack")]
Wanted = Annotated[str | None, typer.Option(help="only this reason")]
Site = Annotated[str | None, typer.Option(help="only this site")]


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of `rejected` with the task that it came from."""

    topic: str
    partition: int
    offset: int
    known_at: int
    site: str
    reason: str
    detail: str
    readings: int
    key: bytes
    raw: bytes


def rows(settings: Settings, reason: str | None, site: str | None) -> Iterator[Row]:
    """Everything that was rejected, from the topic itself."""
    from replay.kafka_log import KafkaHistory

    history = KafkaHistory(settings.kafka)
    for task in sorted(history.positions()):
        for found in history.published(task, "rejected"):
            fields = {name: value for name, value in found.items() if name != "sequence"}
            row = Row(*task, **fields)  # type: ignore[arg-type]
            if reason in (None, row.reason) and site in (None, row.site):
                yield row


@group.callback()
def rejected() -> None:
    """Input that could not be used."""


@group.command("list")
def list_rows(
    reason: Wanted = None,
    site: Site = None,
    profile: Profile = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a row")] = False,
    last: Annotated[int, typer.Option(min=1, help="how many of the newest to show")] = 30,
) -> None:
    """Show what was rejected, why and where."""
    found = list(rows(load(profile=profile), reason, site))
    if as_json:
        for row in found:
            print(
                json.dumps({**dataclasses.asdict(row), "key": row.key.hex(), "raw": row.raw.hex()}, ensure_ascii=False)
            )
        return
    console = paper()
    if not found:
        console.print(text("nothing rejected"))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("time", "topic", "offset", "site", "reason", "detail"):
        table.add_column(text(name))
    for row in sorted(found, key=lambda row: row.known_at)[-last:]:
        when = dt.datetime.fromtimestamp(row.known_at / 1000, dt.UTC).astimezone()
        place = f"{row.topic}/{row.partition}"
        table.add_row(
            f"{when:%m-%d %H:%M:%S}", place, str(row.offset), escape(row.site), row.reason, escape(row.detail)
        )
    console.print(table)
    for name, count in Counter(row.reason for row in found).most_common():
        console.print(f"{count:>8,}  {name}")


@group.command()
def requeue(reason: Wanted = None, site: Site = None, profile: Profile = None) -> None:
    """Send rejected input again, as it was; what is still wrong is rejected again, a repeat changes nothing."""
    from streams.published import read_documents
    from streams.sources.batching import BatchWriter

    settings = load(profile=profile)
    documents = read_documents(settings.kafka)
    count = 0
    writer = BatchWriter(settings.kafka, documents)
    for row in list(rows(settings, reason, site)):
        if row.raw:
            home = documents.get(row.site)
            writer.raw(row.topic, row.partition if home is None else home.partition, row.key, row.raw)
            count += 1
    writer.flush()
    paper().print(f"{text('requeued')}: {count:,}")
