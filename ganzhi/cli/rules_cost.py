"""`ganzhi rules cost`: what the rules of a site model cost, and the smallest leak that each meter can show."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ganzhi.cli.paper import paper
from ganzhi.cli.texts import text
from ganzhi.rule_costs import costs, smallest_leaks, total_past_bytes
from schemas.errors import ModelError
from schemas.model.build import Deployment, build_documents
from schemas.model.check import check_folder

Folder = Annotated[Path, typer.Argument(help="folder of the site model", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="one JSON object on standard output")]


def cost(folder: Folder, as_json: Json = False) -> None:
    """What every rule costs: instances, bytes of state and of what it looks back at, looks a day. Nothing is sent."""
    model, faults = check_folder(folder)
    if faults:
        raise ModelError(faults)
    found = {}
    partitions = {site: place for place, site in enumerate(model.rows("sites").texts("id"))}
    for site, document in build_documents(model, Deployment(partitions, {}, {}, {})).items():
        leaks = list(smallest_leaks(document))
        found[site] = (costs(document), total_past_bytes(document), leaks)
    if as_json:
        print(
            json.dumps(
                {
                    site: {
                        "rules": [dataclasses.asdict(one) for one in rules],
                        "past_bytes": past,
                        "smallest_leaks": [
                            {**dataclasses.asdict(leak), "litres_per_h": leak.litres_per_h and float(leak.litres_per_h)}
                            for leak in leaks
                        ],
                    }
                    for site, (rules, past, leaks) in found.items()
                },
                ensure_ascii=False,
            )
        )
        return
    console = paper()
    for site, (rules, past, leaks) in found.items():
        table = Table("rule", "instances", "points", "state B", "past B", "looks/day", box=None, header_style="dim")
        for one in rules:
            numbers = (one.instances, one.points, one.state_bytes, one.past_bytes, one.looks_per_day)
            table.add_row(one.rule, *(f"{number:,}" for number in numbers))
        console.print(f"[bold]{site}[/]")
        console.print(table)
        console.print(f"{text('past_total')}: {past:,} B")
        for leak in leaks:
            least = f"{float(leak.litres_per_h):g} L/h ({leak.because})" if leak.litres_per_h else leak.because
            console.print(f"{text('smallest_leak')}: {leak.rule} {leak.point}: {least}", highlight=False)
