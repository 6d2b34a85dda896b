"""`ganzhi bench`: the figures, each checked before it is printed."""

import json
from contextlib import nullcontext
from typing import Annotated, Final

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from ganzhi.cli.texts import text

app = typer.Typer()

NAMES: Final = ("decode", "advance", "live")


@app.command()
def bench(
    names: Annotated[
        list[str] | None, typer.Argument(help="decode, advance, live; all of them when none is named")
    ] = None,
    readings: Annotated[int, typer.Option(min=100_000, help="how many readings each measures")] = 5_000_000,
    as_json: Annotated[bool, typer.Option("--json", help="a list of objects")] = False,
) -> None:
    """Measure CPU-seconds per million readings. Exit status 1 when a result is wrong."""
    from ganzhi.bench.kernels import advance, decode
    from ganzhi.bench.live import live

    chosen = names or list(NAMES)
    unknown = sorted(set(chosen) - set(NAMES))
    if unknown:
        raise typer.BadParameter(f"there is no bench {', '.join(unknown)}; there are {', '.join(NAMES)}")
    runs = {"decode": decode, "advance": advance, "live": live}
    results = []
    console = Console(stderr=True)
    for name in chosen:
        with console.status(f"{name} …") if console.is_terminal else nullcontext():
            results.append(runs[name](readings))
    if as_json:
        print(json.dumps([result.as_dict() for result in results]))
    else:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for column in ("bench", text("readings"), "readings/CPU-s", "CPU-s/million", "bytes/point", text("result")):
            table.add_column(column, justify="left" if column == "bench" else "right")
        for result in results:
            size = "" if result.state_bytes_per_point is None else f"{result.state_bytes_per_point:g}"
            verdict = text("ok") if result.correct else f"[bold red]{text('problem')}[/]"
            table.add_row(
                result.name,
                f"{result.readings:,}",
                f"{result.readings_per_s:,}",
                f"{result.cpu_s_per_million:.4f}",
                size,
                verdict,
            )
        Console().print(table)
    if not all(result.correct for result in results):
        raise typer.Exit(1)
