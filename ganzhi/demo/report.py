"""The report at the end of the demo: worst room, what was found, whether it all adds up, and how to go on."""

import os
import sys
from collections import Counter
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ganzhi.cli.texts import text
from ganzhi.demo.layout import zone_index, zones
from ganzhi.demo.result import Result
from sinks.desk.desk import Desk

QUERIES = (
    "SELECT sub_item, sum(quantity) / 1000 AS kwh FROM usage_by_sub_item WHERE day = '2025-06-12' GROUP BY sub_item",
    "SELECT subject, rule, medium, quantity, round(cost, 2) AS yuan FROM episodes ORDER BY yuan DESC LIMIT 10",
)
"""They work on the demo's data."""


def command() -> str:
    """How this program was called, as it would be typed again."""
    called = Path(sys.argv[0])
    if called.name != "ganzhi":
        return "python -m ganzhi"
    path = os.environ.get("PATH", "").split(os.pathsep)
    if str(called.parent) in path:
        return "ganzhi"
    try:
        return str(called.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(called)


def worst_room(feed: Desk) -> tuple[str, str, int] | None:
    """(site, space, cost in 1/10000 yuan) of the room whose alerts have cost most; None: none has cost anything."""
    costs: Counter[tuple[str, str]] = Counter()
    for alert in feed.alerts.values():
        site, _, subject, _ = alert.key
        if alert.cost and subject in zone_index() and zones()[zone_index()[subject]].floor:
            costs[site, subject] += alert.cost
    if not costs:
        return None
    (site, subject), cost = costs.most_common(1)[0]
    return site, subject, cost


def show(result: Result, feed: Desk, profile: str, console: Console) -> None:
    """Prints the report."""
    if result.anomalies:
        console.print(_anomalies(result))
    for name, what in (("missed", result.missed), ("false alert", result.wrong)):
        for one in what[:10]:
            console.print(f"[yellow]{text(name)}[/]: {escape(one)}")
    worst = worst_room(feed)
    if worst is None:
        console.print(text("no cost yet"))
    else:
        site, subject, cost = worst
        theirs = [alert.key[1] for alert in feed.alerts.values() if alert.key[2] == subject and alert.cost]
        rules = ", ".join(dict.fromkeys(feed.names.rule(site, rule) for rule in theirs))
        where = escape(feed.names.subject(site, subject))
        assumed = text("prices assumed")
        console.print(
            f"{text('worst room')}: [bold]{where}  ¥{cost / 10_000:,.2f}[/]  {escape(rules)}  [dim]({assumed})[/]",
            soft_wrap=True,
        )
    _figures(result, console)
    _next(profile, console)


def _anomalies(result: Result) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(text("anomaly"))
    for name in ("injected", "found", "false"):
        table.add_column(text(name), justify="right")
    for name, one in result.anomalies.items():
        if any(one.values()):
            found = "green" if one["found"] == one["injected"] else "bold red"
            wrong = "bold red" if one["false"] else "green"
            table.add_row(
                text(name), str(one["injected"]), f"[{found}]{one['found']}[/]", f"[{wrong}]{one['false']}[/]"
            )
    return table


def _figures(result: Result, console: Console) -> None:
    def judged(name: str, value: str, good: bool) -> str:
        return f"{text(name)} [{'green' if good else 'bold red'}]{value}[/]"

    word = text("identical" if result.identical else "different")
    stored = f"{result.stored_rows:,}"
    console.print(
        f"replay verify: [{'bold green' if result.identical else 'bold red'}]{word}[/]  sha256 {result.sha256}",
        soft_wrap=True,
    )
    parts = [f"{text('readings')} {result.readings:,}", f"{text('published rows')} {result.published_rows:,}"]
    parts.append(judged("stored rows", stored, result.stored_rows == result.published_rows))
    if result.ledger_difference is not None:
        parts.append(judged("ledger difference", f"{result.ledger_difference:,}", result.ledger_difference == 0))
    parts.append(judged("rejected", f"{result.rejected:,}", result.rejected == 0))
    parts.append(f"{text('dirty')} {result.dirty:,}")
    if result.first_alert_s is not None:
        parts.append(f"{text('first alert')} {result.first_alert_s:g} s")
    console.print("   ".join(parts), highlight=False)


def _next(profile: str, console: Console) -> None:
    program = command()
    console.print()
    console.print(text("open again"), f"  [bold]{escape(program)} up --profile {profile}[/]", highlight=False)
    console.print(text("then ask"))
    for query in QUERIES:
        console.print(f'  {escape(program)} sql --profile {profile} "{escape(query)}"', highlight=False, soft_wrap=True)
    console.print(f"  {escape(program)} alerts --profile {profile} --all", highlight=False)
    console.print(text("replay again"), f"  {escape(program)} replay verify --profile {profile}", highlight=False)
