"""`ganzhi alerts`: what is burning, what changes, and everything about one alert, straight from the log."""

import dataclasses
import datetime as dt
import json
from typing import Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from ganzhi.cli.paper import paper
from ganzhi.cli.texts import has, language, text
from ganzhi.cli.up import stop_event
from schemas.errors import ActionError
from schemas.matchers import Matcher
from schemas.settings import Settings, load
from sinks.desk.actions import short_id
from sinks.desk.checkpoint import file_of
from sinks.desk.desk import Desk
from sinks.desk.projection import Alert, Entry, WorkOrder
from sinks.notify.clean import plain

app = typer.Typer()
group = typer.Typer(help=text("alerts help"), invoke_without_command=True, no_args_is_help=False)
app.add_typer(group, name="alerts")

STYLES = {
    "firing": "bold red", "reopened": "bold red", "acknowledged": "magenta", "in_progress": "cyan", "resolved": "green",
    "stale": "yellow", "closed": "dim",
}  # fmt: skip
Profile = Annotated[str | None, typer.Option(help="whose stack")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON, an object a line")]
Alert_ = Annotated[str, typer.Argument(metavar="ID", help="the id that the list shows, or SITE/RULE/SUBJECT/EPISODE")]


def opened(settings: Settings) -> Desk:
    """The desk of a command: it begins at the console's checkpoint, where there is one on this machine."""
    return Desk(settings.kafka, language(), file_of(settings.profile, "console"))


@group.callback()
def alerts(
    context: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on showing changes until Ctrl-C")] = False,
    every: Annotated[bool, typer.Option("--all", help="ended ones too")] = False,
    match: Annotated[str, typer.Option(help="only these: rule=A|B, building=b2, severity=critical")] = "",
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Show open alerts: where, since when, what it has cost so far; or do something about one."""
    if context.invoked_subcommand is not None:
        return
    matcher = Matcher.parse(match)
    console = paper()
    with opened(load(profile=profile)) as desk:
        desk.catch_up()
        fits = [alert for alert in desk.alerts.values() if matcher.holds(desk.projection.labels(alert))]
        shown = sorted((alert for alert in fits if every or alert.open), key=lambda alert: alert.started_at)
        if as_json:
            for alert in shown:
                print(json.dumps(as_dict(alert, desk), ensure_ascii=False))
        elif shown:
            console.print(as_table(shown, desk))
        elif not follow:
            console.print(text("no alerts"))
        stop = stop_event() if follow else None
        while stop is not None and not stop.is_set():
            for alert in desk.poll(0.5):
                if not matcher.holds(desk.projection.labels(alert)):
                    continue
                if as_json:
                    print(json.dumps(as_dict(alert, desk), ensure_ascii=False), flush=True)
                else:
                    console.print(line(alert, desk), soft_wrap=True)


@group.command()
def show(alert: Alert_, profile: Profile = None, as_json: AsJson = False) -> None:
    """Show one alert: its state, what it wasted, what people did, its work orders."""
    console = paper()
    with opened(load(profile=profile)) as desk:
        desk.catch_up()
        found = find(desk, alert)
        if as_json:
            print(json.dumps(as_dict(found, desk, whole=True), ensure_ascii=False))
            return
        site, rule, subject, episode = found.key
        console.print(as_table([found], desk))
        console.print(f"{text('key')}  {escape(plain('/'.join((site, rule, subject, str(episode)))))}")
        console.print(f"{text('action')}  {escape(plain(desk.names.action(site, rule)))}")
        now_ms = round(dt.datetime.now(dt.UTC).timestamp() * 1000)
        silence = desk.projection.silenced_by(found, now_ms)
        if silence is not None:
            console.print(f"{text('silenced')}  {escape(str(silence.matcher))}  {escape(plain(silence.by))}")
        for order in found.work_orders.values():
            console.print(escape(_order_line(order, found, now_ms)), soft_wrap=True)
        for entry in found.history:
            console.print(escape(entry_line(entry)), soft_wrap=True)


def find(desk: Desk, wanted: str) -> Alert:
    """The alert of an id or the beginning of one, or of SITE/RULE/SUBJECT/EPISODE.

    Raises:
        ActionError: there is none, or several begin so.
    """
    site, rule, *rest = [*wanted.split("/"), "", ""]
    if len(rest) > 2 and rest[1].isdecimal():
        alert = desk.alerts.get((site, rule, rest[0], int(rest[1])))
        found = [alert] if alert else []
    else:
        found = [alert for alert in desk.alerts.values() if wanted and short_id(alert.key).startswith(wanted.lower())]
    if len(found) != 1:
        raise ActionError(f"{len(found)} alerts have the id {wanted!r}; `ganzhi alerts --all` shows the ids")
    return found[0]


def as_dict(alert: Alert, desk: Desk, *, whole: bool = False) -> dict[str, object]:
    """An alert for programs: times are UTC ms, money 1/10000 yuan.

    Args:
        alert: which.
        desk: for names.
        whole: with its history and work orders.
    """
    site, rule, subject, episode = alert.key
    false_alarm = alert.false_alarm
    wasted = [
        {"medium": medium, "unit": unit, "quantity": quantity} for (medium, unit), quantity in alert.wasted.items()
    ]
    found: dict[str, object] = {
        "id": short_id(alert.key), "site": site, "rule": rule, "subject": subject, "episode": episode,
        "where": desk.names.subject(site, subject), "summary": desk.names.rule(site, rule), "state": alert.state,
        "status": alert.status, "severity": alert.severity, "valid_at": alert.valid_at, "started_at": alert.started_at,
        "known_at": alert.known_at, "cost": alert.cost, "wasted": wasted, "assignee": alert.assignee,
        "acknowledged_by": alert.acknowledged_by, "snoozed_until_ms": alert.snoozed_until_ms,
        "false_alarm": bool(false_alarm),
    }  # fmt: skip
    if alert.estimate is not None:
        found["estimate"] = dataclasses.asdict(alert.estimate)
    if whole:
        now_ms = round(dt.datetime.now(dt.UTC).timestamp() * 1000)
        found["work_orders"] = [
            {"id": order.id, "assignee": order.assignee, "due_ms": order.due_ms, "note": order.note, "by": order.by,
             "status": order.status(alert, now_ms), "done_by": order.done_by, "done_note": order.done_note}
            for order in alert.work_orders.values()
        ]  # fmt: skip
        found["history"] = [_entry_dict(entry) for entry in alert.history]
    return found


def _entry_dict(entry: Entry) -> dict[str, object]:
    found: dict[str, object] = {"known_at": entry.known_at, "what": entry.what}
    if entry.action is None:
        return found | {"severity": entry.severity}
    action = entry.action
    return found | {
        "by": action.actor, "event_id": action.event_id, "comment": action.comment, "reason": action.reason,
        "assignee": action.assignee, "until_ms": action.until_ms, "refers": action.refers, "photo": entry.photo,
        "overlapped": list(entry.overlapped), "void": entry.void,
    }  # fmt: skip


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


def said(word: str) -> str:
    """A word of the catalogue; one that it does not have as it is."""
    return text(word) if has(word) else word


def as_table(shown: list[Alert], desk: Desk) -> Table:
    """Alerts as rows."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("id", "state", "since", "site", "where", "rule"):
        table.add_column(text(name), no_wrap=name == "id")
    for name in ("wasted", "cost"):
        table.add_column(text(name), justify="right")
    table.add_column(text("assignee"))
    for alert in shown:
        site, rule, subject, _ = alert.key
        where, what = plain(desk.names.subject(site, subject)), plain(desk.names.rule(site, rule))
        cells = [short_id(alert.key), _state(alert), local(alert.started_at), *map(escape, (plain(site), where, what))]
        table.add_row(*cells, amount(alert), money(alert), escape(plain(alert.assignee)))
    return table


def _state(alert: Alert) -> str:
    return f"[{STYLES.get(alert.status, '')}]{said(alert.status)}[/]"


def line(alert: Alert, desk: Desk) -> str:
    """A change as one line."""
    site, rule, subject, _ = alert.key
    where, what = escape(plain(desk.names.subject(site, subject))), escape(plain(desk.names.rule(site, rule)))
    parts = (short_id(alert.key), local(alert.valid_at), _state(alert), where, what, amount(alert), money(alert))
    return "  ".join((*parts, escape(plain(alert.assignee)))).rstrip()


def entry_line(entry: Entry) -> str:
    """One line of a history."""
    parts = [local(entry.known_at), said(entry.what)]
    if entry.action is None:
        return "  ".join([*parts, said(entry.severity)])
    action = entry.action
    parts += [plain(action.actor), plain(action.assignee), said(action.reason), plain(action.comment, 500)]
    parts += [local(action.until_ms)] if action.until_ms else []
    parts += [text("photo")] if entry.photo else []
    parts += [f"({text('at the same time')})"] if entry.overlapped else []
    parts += [f"({plain(entry.void)})"] if entry.void else []
    return "  ".join(filter(None, parts))


def _order_line(order: WorkOrder, alert: Alert, now_ms: int) -> str:
    parts = [
        text("work_order"),
        order.id[:8],
        text(f"order {order.status(alert, now_ms)}"),
        plain(order.assignee),
        local(order.due_ms),
    ]
    return "  ".join([*parts, plain(order.note, 500), plain(order.done_by), plain(order.done_note, 500)]).rstrip()
