"""`ganzhi replay`: the group, and `verify`: the published rows follow from the log, bit for bit."""

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ganzhi.cli.occupancy import occupancy
from ganzhi.cli.paper import paper
from ganzhi.cli.settle import settle
from ganzhi.cli.texts import text
from ganzhi.cli.usage import usage
from ganzhi.cli.what_if import what_if
from replay.log import History
from replay.verify import Report, RowDifference, Verification
from schemas.errors import Difference
from schemas.settings import Settings, load

app = typer.Typer()
group = typer.Typer(
    no_args_is_help=True, help="The same history again: verify, settle, what-if, who was in a room, usage."
)
app.add_typer(group, name="replay")

group.command()(settle)
group.command("what-if")(what_if)
group.command("occupancy")(occupancy)
group.command("usage")(usage)

Source = Literal["kafka", "event_log"]


@group.callback()
def replay() -> None:
    """The same history again."""


@group.command()
def verify(
    source: Annotated[Source, typer.Option("--from", help="where the history is read from")] = "kafka",
    profile: Annotated[str | None, typer.Option(help="whose stack")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
) -> None:
    """Compute everything again from the log and compare with what was published. Exit status 7 when a row differs."""
    result = run(load(profile=profile), source, quiet=as_json)
    if as_json:
        print(json.dumps(as_dict(result), ensure_ascii=False))
    else:
        show(result, paper())
    if not result.identical:
        raise typer.Exit(Difference.exit_code)


def run(settings: Settings, source: Source, quiet: bool = False) -> Verification:
    """Verifies with a progress bar on standard error.

    Raises:
        ReplayError: the history is not complete.
    """
    from replay.verify import verify as verify_history

    with bar(quiet) as report:
        return verify_history(history(settings, source), report)


def history(settings: Settings, source: Source) -> History:
    """The history of a source."""
    if source == "kafka":
        from replay.kafka_log import KafkaHistory

        return KafkaHistory(settings.kafka)
    from replay.table_log import TableHistory

    return TableHistory(settings.clickhouse)


def as_dict(result: Verification) -> dict[str, object]:
    """The result for programs."""
    difference = result.difference
    return {
        "source": result.source,
        "identical": result.identical,
        "sha256": result.sha256,
        "messages": sum(task.messages for task in result.tasks),
        "readings": sum(task.readings for task in result.tasks),
        "rows": sum(task.rows for task in result.tasks),
        "tasks": [
            {"task": _name(task.task), "position": task.position, "rows": task.rows, "differs": task.differs}
            for task in result.tasks
        ],
        "difference": None
        if difference is None
        else {**dataclasses.asdict(difference), "task": _name(difference.task)},
    }


def _name(task: tuple[str, int]) -> str:
    return f"{task[0]}/{task[1]}"


def show(result: Verification, console: Console) -> None:
    """The result for people."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(text("task"))
    for name in ("messages", "readings", "rows"):
        table.add_column(text(name), justify="right")
    table.add_column(text("result"))
    for task in result.tasks:
        verdict = f"[red]{text('different')}[/]: {', '.join(task.differs)}" if task.differs else text("identical")
        table.add_row(
            f"{task.task[0]}/{task.task[1]}", f"{task.messages:,}", f"{task.readings:,}", f"{task.rows:,}", verdict
        )
    console.print(table)
    word = f"[bold green]{text('identical')}[/]" if result.identical else f"[bold red]{text('different')}[/]"
    console.print(f"{result.source}: {word}   sha256 {result.sha256}", soft_wrap=True)
    if result.difference is not None:
        _show_difference(result.difference, console)


def _show_difference(difference: RowDifference, console: Console) -> None:
    console.print(f"{text('first difference')}: {_name(difference.task)} {difference.stream} #{difference.sequence}")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    table.add_column(text("published"))
    table.add_column(text("computed"))
    old, new = difference.published or {}, difference.computed or {}
    for name in dict.fromkeys([*old, *new]):
        left, right = str(old.get(name, "–")), str(new.get(name, "–"))
        style = "bold red" if left != right else ""
        table.add_row(escape(name), escape(left), escape(right), style=style)
    console.print(table)


@contextmanager
def bar(quiet: bool) -> Iterator[Report]:
    """A progress bar on standard error, one a task."""
    console = Console(stderr=True, quiet=quiet)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        bars: dict[tuple[str, int], int] = {}

        def report(task: tuple[str, int], done: int, total: int) -> None:
            if task not in bars:
                bars[task] = progress.add_task(f"{text('replaying')} {task[0]}/{task[1]}", total=total)
            progress.update(bars[task], completed=done)  # type: ignore[arg-type]

        yield report
