"""`ganzhi replay usage`: usage by hour held against the ledger, and made anew from it."""

import dataclasses
import json
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from ganzhi.cli.paper import paper
from ganzhi.cli.texts import text
from schemas.errors import Difference
from schemas.settings import load


def usage(
    anew: Annotated[
        bool, typer.Option("--anew", help="make what differs anew; stop every `ganzhi sink` first")
    ] = False,
    profile: Annotated[str | None, typer.Option(help="whose stack")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="a list of objects, one a month that differs")] = False,
) -> None:
    """Hold the usage by hour in ClickHouse against its ledger, month by month. Exit status 7 when one differs."""
    from sinks.clickhouse.usage import lacking, make_anew

    house = load(profile=profile).clickhouse
    found = lacking(house)
    if anew and found:
        make_anew(house, [one.month for one in found])
        found = lacking(house)
    if as_json:
        print(json.dumps([dataclasses.asdict(one) for one in found]))
    elif not found:
        print(text("usage is the ledger's"))
    else:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in ("month", "rows that lack", "quantity that lacks"):
            table.add_column(text(name), justify="right")
        for one in found:
            table.add_row(f"{one.month // 100}-{one.month % 100:02}", f"{one.rows:,}", f"{one.quantity:,}")
        paper().print(table)
    if found:
        raise typer.Exit(Difference.exit_code)
