"""`ganzhi bench`: the figures, each checked before it is printed, against what is promised."""

import json
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Annotated, Final

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from ganzhi.cli.texts import text
from schemas.errors import GanzhiError

app = typer.Typer()

_OWN_COLUMNS: Final = (
    "name",
    "readings",
    "cpu_s_per_million",
    "by_process",
    "readings_per_s",
    "correct",
    "promise",
    "met",
)
"""What has a column; what else a bench says goes into the last one."""


@app.command()
def bench(
    names: Annotated[list[str] | None, typer.Argument(help="which; all of them when none is named")] = None,
    readings: Annotated[int | None, typer.Option(min=100_000, help="about how many each measures")] = None,
    rate: Annotated[int | None, typer.Option(min=1000, help="readings a second, where a bench keeps a pace")] = None,
    seconds: Annotated[float | None, typer.Option("--for", min=1, help="seconds of a bench that keeps a pace")] = None,
    to: Annotated[str, typer.Option(help="where a latency ends, where a bench knows several ends")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="a list of objects")] = False,
    listed: Annotated[bool, typer.Option("--list", help="which there are, and what is promised")] = False,
) -> None:
    """Measure CPU-seconds per million readings and more. Exit status 1 when a result is wrong."""
    from ganzhi.bench.figure import Options, Row
    from ganzhi.bench.registry import MODULES, find

    benches = [find(name) for name in names or MODULES]
    if listed:
        _print_list([(one.name, one.measures, ", ".join(map(str, one.promises))) for one in benches])
        return
    console = Console(stderr=True)
    options = Options(readings, rate, seconds, to)
    rows: list[dict[str, object]] = []
    for one in benches:
        with console.status(f"{one.name} …") if console.is_terminal else nullcontext():
            try:
                rows += [one.judged(row) for row in one.run(options)]
            except GanzhiError as error:  # the others' figures are not thrown away with it
                console.print(f"{one.name}: {error}", style="red", markup=False)
                rows.append(one.judged(Row(False, labels={"error": str(error)[:500]})))
    if as_json:
        print(json.dumps(rows))
    else:
        _print(rows)
    if not all(row["correct"] for row in rows):
        raise typer.Exit(1)


def _print_list(benches: list[tuple[str, str, str]]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("bench", "measures", "promise"):
        table.add_column(text(column))
    for row in benches:
        table.add_row(*row)
    Console().print(table)


def _print(rows: list[dict[str, object]]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(text("bench"), no_wrap=True)
    for column in ("readings", "CPU-s/million", "readings/CPU-s"):
        table.add_column(text(column), justify="right", no_wrap=True)
    table.add_column(text("result"), no_wrap=True)
    table.add_column(f"{text('promise')}, {text('figures')}")
    for row in rows:
        table.add_row(
            str(row["name"]),
            _millions(row.get("readings")),
            f"{row['cpu_s_per_million']:.4f}" if "cpu_s_per_million" in row else "",
            _millions(row.get("readings_per_s")),
            _verdict(row),
            "\n".join(_notes(row)),
        )
    Console().print(table)


def _millions(value: object) -> str:
    return f"{value / 1e6:,.1f} M" if isinstance(value, int | float) else ""


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) else ""


def _verdict(row: Mapping[str, object]) -> str:
    if not row["correct"]:
        return f"[bold red]{text('problem')}[/]"
    if row.get("met", True):
        return f"[green]{text('met')}[/]" if "met" in row else text("ok")
    return f"[yellow]{text('not met')}[/]"


def _notes(row: Mapping[str, object]) -> list[str]:
    """The promise, CPU by process where there are several, and the bench's own figures."""
    found = str(row["promise"]).split(" and ") if "promise" in row else []
    parts = row.get("by_process")
    if isinstance(parts, dict) and len(parts) > 1:
        found.append(" + ".join(f"{name} {value:.4f}" for name, value in parts.items()))
    others = {name: value for name, value in row.items() if name not in _OWN_COLUMNS}
    found += [f"{name} {value if isinstance(value, str) else _shown(value)}" for name, value in others.items()]
    return found
