"""`ganzhi rules health`: whether people can still trust the alarm system."""

import json
import time
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ganzhi.cli.paper import paper
from ganzhi.cli.texts import text
from ganzhi.trial import instant, iso
from schemas.errors import ConfigurationError
from schemas.settings import load

DAY_MS = 86_400_000


def health(
    since: Annotated[str | None, typer.Option("--from", help="UTC; absent: seven days before --to")] = None,
    until: Annotated[str | None, typer.Option("--to", help="UTC; absent: now")] = None,
    profile: Annotated[str | None, typer.Option(help="whose stack")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
) -> None:
    """Alerts a day, share acknowledged and marked false, floods, what chatters, what stands, who makes the most."""
    from ganzhi.alarm_health import health as ask

    to_ms = int(time.time() * 1000) if until is None else instant(until, "UTC")
    from_ms = to_ms - 7 * DAY_MS if since is None else instant(since, "UTC")
    if from_ms >= to_ms:
        raise ConfigurationError(f"--from {iso(from_ms)} is not before --to {iso(to_ms)}")
    found = ask(load(profile=profile).clickhouse, from_ms, to_ms)
    share = found.acknowledged_share
    figures: dict[str, Any] = {
        "alerts": found.alerts,
        "alerts_per_day": round(found.alerts_per_day, 3),
        "acknowledged_share": None if share is None else round(share, 4),
        "false_alarms": found.false_alarms,
        "true_alarms": found.true_alarms,
        "floods": found.floods,
        "top_share": round(found.top_share, 4),
    }
    lists = {
        "by_day": [{"day": day, "alerts": count} for day, count in found.by_day],
        "by_rule": [
            {"rule": rule, "alerts": count, "acknowledged": acknowledged, "false_alarms": false}
            for rule, count, acknowledged, false in found.by_rule
        ],
        "top": [{**_subject(row), "alerts": row[3]} for row in found.top],
        "chattering": [{**_subject(row), "alerts_in_an_hour": row[3]} for row in found.chattering],
        "standing": [{**_subject(row), "since": row[3].isoformat()} for row in found.standing],
    }
    if as_json:
        print(json.dumps({"from": iso(from_ms), "to": iso(to_ms), **figures, **lists}, ensure_ascii=False))
        return
    console = paper()
    console.print(f"{iso(from_ms)} – {iso(to_ms)}")
    for name, value in figures.items():
        console.print(f"{text(name.replace('_', ' ')):<24} {'–' if value is None else value}", highlight=False)
    for name in ("by_rule", "top", "chattering", "standing"):
        if lists[name]:
            _show(text(name.replace("_", " ")), lists[name], console)


def _subject(row: Any) -> dict[str, Any]:
    return {"site": row[0], "rule": row[1], "subject": row[2]}


def _show(title: str, rows: list[dict[str, Any]], console: Console) -> None:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name, value in rows[0].items():
        table.add_column(name.replace("_", " "), justify="left" if isinstance(value, str) else "right")
    for row in rows[:20]:
        table.add_row(*(escape(str(value)) for value in row.values()))
    console.print(table)
