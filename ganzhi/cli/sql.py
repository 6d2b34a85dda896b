"""`ganzhi sql`: a query by the reader user."""

import csv
import datetime as dt
import json
import sys
from typing import Annotated, Any

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from ganzhi.cli.paper import paper
from schemas.settings import load

app = typer.Typer()

SHOWN_MAX = 200
"""A person reads no more rows at once; --csv and --json have all of them."""


@app.command()
def sql(
    query: Annotated[str, typer.Argument(help="a SELECT, SHOW, DESCRIBE or EXPLAIN; - reads it from standard input")],
    profile: Annotated[str | None, typer.Option(help="whose stack")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a row")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="comma-separated values with a heading")] = False,
) -> None:
    """Ask ClickHouse, read-only and with limits on time, memory and rows."""
    from sinks.clickhouse.client import reader, translating
    from sinks.console.formatting import cell

    text = sys.stdin.read() if query == "-" else query
    settings = load(profile=profile).clickhouse
    client = reader(settings)
    with translating(settings):
        result = client.query(text)
    names, rows = result.column_names, result.result_rows
    if as_json:
        for row in rows:
            print(json.dumps({name: _plain(value) for name, value in zip(names, row, strict=True)}, ensure_ascii=False))
    elif as_csv:
        writer = csv.writer(sys.stdout)
        writer.writerow([cell(name) for name in names])
        writer.writerows([[cell(_plain(value)) for value in row] for row in rows])
    else:
        _show(names, rows)


def _plain(value: Any) -> Any:
    """A value that JSON and CSV can hold."""
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    return value if isinstance(value, str | int | float | bool | list | dict | None) else str(value)


def _show(names: tuple[str, ...], rows: Any) -> None:
    from sinks.console.formatting import clean

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    numeric = [all(isinstance(row[i], int | float) for row in rows) for i in range(len(names))]
    for name, right in zip(names, numeric, strict=True):
        table.add_column(escape(clean(name)), justify="right" if right else "left")
    for row in rows[:SHOWN_MAX]:
        table.add_row(*(escape(clean(str(_plain(value)))) for value in row))
    console = paper()
    console.print(table)
    if len(rows) > SHOWN_MAX:
        console.print(f"… {len(rows) - SHOWN_MAX:,} more rows: --csv or --json has all of them, or LIMIT")
