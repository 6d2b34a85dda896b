"""`ganzhi alerts`: what is burning, and what changes, straight from the log."""

import dataclasses
import datetime as dt
import json
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ganzhi.cli.texts import language, text
from ganzhi.cli.up import stop_event
from schemas.settings import load
from sinks.desk.desk import Desk
from sinks.desk.projection import Alert

app = typer.Typer()

STYLES = {"firing": "bold red", "resolved": "green", "stale": "yellow"}


@app.command()
def alerts(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on showing changes until Ctrl-C")] = False,
    every: Annotated[bool, typer.Option("--all", help="ended ones too")] = False,
    profile: Annotated[str | None, typer.Option(help="whose stack")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object an alert")] = False,
) -> None:
    """Show open alerts: where, since when, what it has cost so far."""
    feed = Desk(load(profile=profile).kafka, language())
    console = Console()
    try:
        feed.catch_up()
        shown = [alert for alert in feed.alerts.values() if every or alert.state == "firing"]
        shown.sort(key=lambda alert: alert.started_at)
        if as_json:
            for alert in shown:
                print(json.dumps(as_dict(alert, feed), ensure_ascii=False))
        elif shown:
            console.print(as_table(shown, feed))
        elif not follow:
            console.print(text("no alerts"))
        if follow:
            stop = stop_event()
            while not stop.is_set():
                for alert in feed.poll(0.5):
                    if as_json:
                        print(json.dumps(as_dict(alert, feed), ensure_ascii=False), flush=True)
                    else:
                        console.print(line(alert, feed), soft_wrap=True)
    finally:
        feed.close()


def as_dict(alert: Alert, feed: Desk) -> dict[str, object]:
    """An alert for programs: times are UTC ms, money 1/10000 yuan."""
    site, rule, subject, episode = alert.key
    fields = {name: value for name, value in dataclasses.asdict(alert).items() if name not in ("key", "wasted")}
    wasted = [
        {"medium": medium, "unit": unit, "quantity": quantity} for (medium, unit), quantity in alert.wasted.items()
    ]
    named = {"where": feed.names.subject(site, subject), "summary": feed.names.rule(site, rule)}
    return {"site": site, "rule": rule, "subject": subject, "episode": episode, **named, **fields, "wasted": wasted}


def amount(alert: Alert) -> str:
    """What was wasted: 1.24 kWh, 310 L."""
    scales = {"Wh": (1000, "kWh"), "mL": (1000, "L"), "g": (1000, "kg"), "m": (1000, "km")}
    parts = []
    for (_, unit), quantity in sorted(alert.wasted.items()):
        scale, shown = scales.get(unit, (1, unit))
        parts.append(f"{quantity / scale:,.2f} {shown}")
    return ", ".join(parts) or "–"


def money(alert: Alert) -> str:
    """Cost in yuan, or a dash where nothing has a price."""
    return "–" if alert.cost is None else f"¥{alert.cost / 10_000:,.2f}"


def local(time_ms: int) -> str:
    """A time in the zone of the terminal."""
    return f"{dt.datetime.fromtimestamp(time_ms / 1000, dt.UTC).astimezone():%m-%d %H:%M}"


def as_table(shown: list[Alert], feed: Desk) -> Table:
    """Alerts as rows."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("state", "since", "site", "where", "rule"):
        table.add_column(text(name))
    for name in ("wasted", "cost"):
        table.add_column(text(name), justify="right")
    for alert in shown:
        site, rule, subject, _ = alert.key
        state = f"[{STYLES.get(alert.state, '')}]{text(alert.state)}[/]"
        where, what = escape(feed.names.subject(site, subject)), escape(feed.names.rule(site, rule))
        table.add_row(state, local(alert.started_at), escape(site), where, what, amount(alert), money(alert))
    return table


def line(alert: Alert, feed: Desk) -> str:
    """A change as one line."""
    site, rule, subject, _ = alert.key
    state = f"[{STYLES.get(alert.state, '')}]{text(alert.state)}[/]"
    where, what = escape(feed.names.subject(site, subject)), escape(feed.names.rule(site, rule))
    return f"{local(alert.valid_at)}  {state}  {where}  {what}  {amount(alert)}  {money(alert)}"
