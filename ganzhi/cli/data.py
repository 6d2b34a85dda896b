"""`ganzhi import csv`, `ganzhi import dataset`, `ganzhi send`: people's own data, and public ones, into the log."""

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from ganzhi.datasets import registry
from ganzhi.datasets.loading import import_dataset
from schemas.control import signing_key
from schemas.encode import MODES
from schemas.errors import ConfigurationError, KafkaUnavailable
from schemas.settings import KafkaSettings, data_home, load
from streams.kafka_admin import wait_for_broker
from streams.published import read_documents
from streams.sources import csv_files, mapping
from streams.sources.batching import BatchWriter
from streams.sources.catalog import Catalog
from streams.sources.json_lines import LineSender
from streams.sources.rejects import Rejects

REJECTED_EXIT: Final = 8
"""Exit status when everything else was sent, and something was rejected."""

app = typer.Typer(no_args_is_help=True)
import_app = typer.Typer(no_args_is_help=True, help="Import data from files.")
app.add_typer(import_app, name="import")
console = Console(stderr=True)

Profile = Annotated[str | None, typer.Option(help="Profile of the embedded stack.")]
Bootstrap = Annotated[str | None, typer.Option(help="Kafka's address, instead of the settings'.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the counts as one JSON object.")]
RejectedPath = Annotated[
    Path | None, typer.Option("--rejected", help="File for the rows that cannot be used; absent: beside the input.")
]


@import_app.command("csv")
def import_csv(
    files: Annotated[
        list[Path], typer.Argument(help="CSV files, or folders that the mapping's patterns look through.")
    ],
    mapping_file: Annotated[Path, typer.Option("--mapping", "-m", help="YAML file that says what the columns mean.")],
    rejected: RejectedPath = None,
    check: Annotated[bool, typer.Option("--check", help="Read and judge everything, send nothing.")] = False,
    profile: Profile = None,
    bootstrap: Bootstrap = None,
    as_json: AsJson = False,
) -> None:
    """Imports CSV files in wide, long or event form. Rows that cannot be used are listed with line and reason."""
    settings = load(profile=profile, kafka={"bootstrap": bootstrap} if bootstrap else None)
    tables = mapping.load(mapping_file)
    _reach(settings.kafka)
    documents = read_documents(settings.kafka)
    with Rejects(rejected or _beside(files[0])) as rejects, _bars() as progress:
        work = csv_files.CsvImport(tables, Catalog(documents), rejects, progress)
        work.read(files)
        if not check:
            with BatchWriter(settings.kafka, documents, _notify) as writer:
                work.send(writer)
    _finish(work.result, rejects, as_json)


@import_app.command("dataset")
def import_public(
    name: Annotated[str, typer.Argument(help="campus_meters, litter_bins, ev_charging, occupancy or water_fixtures.")],
    path: Annotated[
        Path, typer.Option("--path", help="Folder that holds the data set; its data are not part of ganzhi.")
    ],
    rejected: RejectedPath = None,
    about: Annotated[
        bool, typer.Option("--about", help="Say what it is and how its faults are taken; do nothing.")
    ] = False,
    profile: Profile = None,
    bootstrap: Bootstrap = None,
    as_json: AsJson = False,
) -> None:
    """Applies the site model of a public data set and imports all its files. Importing again changes no total."""
    dataset = registry.find(name)
    if about:
        typer.echo(dataset.about)
        return
    settings = load(profile=profile, kafka={"bootstrap": bootstrap} if bootstrap else None)
    _reach(settings.kafka)
    key = signing_key(data_home(settings.profile))
    with Rejects(rejected or Path(f"{name}.rejected.csv").absolute()) as rejects, _bars() as progress:
        changes, result = import_dataset(settings.kafka, key, dataset, path, rejects, progress, _notify)
    for change in changes:
        state = f"version {change.version} published" if change.published else f"version {change.version}, unchanged"
        console.print(f"model of {change.site}: {state}, {change.points} points, partition {change.partition}")
    _finish(result, rejects, as_json)


@app.command()
def send(
    site: Annotated[str | None, typer.Option(help="Site of lines that name none.")] = None,
    mode: Annotated[str, typer.Option(help="live, or backfill: feeds the ledger only, never rules.")] = "live",
    rejected: Annotated[Path | None, typer.Option("--rejected", help="File for lines that cannot be used.")] = None,
    profile: Profile = None,
    bootstrap: Bootstrap = None,
    as_json: AsJson = False,
) -> None:
    """Sends JSON lines from standard input: {"point": "P", "time": "2026-05-01T08:00:00Z", "value": 12.5}."""
    found = next((known for known in MODES if known == mode), None)
    if found is None:
        raise ConfigurationError(f"mode {mode!r} is none of {', '.join(MODES)}")
    settings = load(profile=profile, kafka={"bootstrap": bootstrap} if bootstrap else None)
    _reach(settings.kafka)
    documents = read_documents(settings.kafka)
    own_site = site or (next(iter(documents)) if len(documents) == 1 else None)
    with Rejects(rejected) as rejects, BatchWriter(settings.kafka, documents, _notify) as writer:
        sender = LineSender(writer, Catalog(documents), rejects, found, own_site)
        sender.run(sys.stdin.buffer)
    _finish(sender.result, rejects, as_json)


def _finish(result: object, rejects: Rejects, as_json: bool) -> None:
    """Says what was done, shows what was not, and ends with the status that says so."""
    assert dataclasses.is_dataclass(result) and not isinstance(result, type)
    counts = dataclasses.asdict(result)
    if as_json:
        typer.echo(
            json.dumps(counts | {"rejected_file": str(rejects.path) if rejects.count and rejects.path else None})
        )
    else:
        typer.echo(
            "  ".join(
                f"{name.removesuffix('_ms')}: {_shown(name, value)}"
                for name, value in counts.items()
                if value is not None
            )
        )
    for reject in rejects.first:
        console.print(str(reject), style="yellow", markup=False, highlight=False, soft_wrap=True)
    if rejects.count > len(rejects.first):
        console.print(f"... and {rejects.count - len(rejects.first):,} more")
    if rejects.count:
        where = f"; all of them are in {rejects.path}" if rejects.path else ""
        _notify(f"{rejects.count:,} rejected{where}")
        raise typer.Exit(REJECTED_EXIT)


def _shown(name: str, value: object) -> str:
    if name.endswith("_ms") and isinstance(value, int):
        return datetime.fromtimestamp(value / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"{value:,}"


def _reach(kafka: KafkaSettings) -> None:
    """Waits for a broker, and says so ever more rarely."""
    patience_s = 3.0
    while True:
        try:
            wait_for_broker(kafka, patience_s)
        except KafkaUnavailable as error:
            _notify(f"{error}. Waiting; nothing has been read yet (Ctrl-C gives up)")
            patience_s = min(60.0, 2 * patience_s)
        else:
            return


def _notify(sentence: str) -> None:
    console.print(sentence, style="yellow", markup=False, highlight=False, soft_wrap=True)


def _beside(given: Path) -> Path:
    """Where rejected rows go: beside a file, or beside the folder that was given."""
    return given.absolute().with_name(f"{given.absolute().name.removesuffix('.csv')}.rejected.csv")


@contextmanager
def _bars() -> Iterator[Callable[[str, int, int], None]]:
    """Bars on standard error, one for reading and one for sending; none where it is no terminal."""
    columns = (TextColumn("{task.description:<8}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        tasks: dict[str, TaskID] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done, total=total)

        yield report
