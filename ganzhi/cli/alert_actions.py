"""`ganzhi alerts ack|assign|silence|…`: what a person does about alerts, as events in `alert.actions`."""

import datetime as dt
import getpass
import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from ganzhi.cli.alerts import AsJson, Profile, app, find, group, local, opened, said
from ganzhi.cli.texts import text
from schemas.errors import ActionError
from schemas.rules.format import parse_duration
from schemas.settings import load
from sinks.desk.actions import REASONS, Action, ActionWriter, short_id
from sinks.desk.projection import Silence
from sinks.notify.clean import plain

__all__ = ["app"]

Ids = Annotated[list[str], typer.Argument(metavar="ID…", help="ids that the list shows")]
Id = Annotated[str, typer.Argument(metavar="ID", help="the id that the list shows")]
Comment = Annotated[str, typer.Option("--comment", "-m", help="what others should know")]
Reason = Annotated[str, typer.Option(help="one of " + ", ".join(REASONS))]
Photo = Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="JPEG, PNG or WebP")]
As = Annotated[str, typer.Option("--as", help="who does it; the user of this machine")]
Order = Annotated[str, typer.Argument(metavar="ORDER", help="the id of the work order, or its beginning")]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _until(written: str) -> int:
    """`2h`, `1d`, or a local time `2026-01-04 18:00`, as UTC ms."""
    try:
        return _now_ms() + parse_duration(written)
    except ValueError:
        pass
    try:
        return round(dt.datetime.fromisoformat(written).astimezone().timestamp() * 1000)
    except ValueError:
        raise ActionError(f"{written!r} is no end; write 2h, 1d or 2026-01-04T18:00") from None


def _photo(path: Path | None) -> bytes:
    return path.read_bytes() if path else b""


def _act(ids: list[str], kind: str, who: str, profile: str | None, as_json: bool, **more: Any) -> None:
    """Does one thing to several alerts: all of them, or none where one of them does not allow it."""
    settings = load(profile=profile)
    with opened(settings) as desk, ActionWriter(settings.kafka) as writer:
        desk.catch_up()
        actions = []
        for wanted in ids:
            alert = find(desk, wanted)
            order = more.get("refers")
            if order:
                more["refers"] = next((id_ for id_ in alert.work_orders if id_.startswith(order)), order)
            action = Action.on(alert.key, kind, who or getpass.getuser(), seen=alert.seen, **more)
            desk.projection.check(action, _now_ms())
            actions.append(action)
        _tell(actions, writer.write(actions), as_json)


def _tell(actions: list[Action], offsets: list[int], as_json: bool) -> None:
    for action, offset in zip(actions, offsets, strict=True):
        id_ = short_id(action.key) if action.episode else ""
        if as_json:
            print(json.dumps({"id": id_, "kind": action.kind, "event_id": action.event_id, "offset": offset}))
        else:
            made = action.event_id[:8] if action.kind in ("work_order", "silence", "mute") else ""
            Console().print("  ".join(filter(None, [id_, said(action.kind), made])))


@group.command()
def ack(ids: Ids, comment: Comment = "", who: As = "", profile: Profile = None, as_json: AsJson = False) -> None:
    """Acknowledge: somebody knows, and nobody else needs to be woken."""
    _act(ids, "acknowledge", who, profile, as_json, comment=comment)


@group.command()
def start(ids: Ids, comment: Comment = "", who: As = "", profile: Profile = None, as_json: AsJson = False) -> None:
    """Say that somebody works on it now."""
    _act(ids, "start", who, profile, as_json, comment=comment)


@group.command()
def assign(
    id_: Id,
    assignee: Annotated[str, typer.Argument(help="to whom")],
    comment: Comment = "",
    who: As = "",
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Give it to somebody, who is told."""
    _act([id_], "assign", who, profile, as_json, assignee=assignee, comment=comment)


@group.command()
def comment(
    id_: Id,
    words: Annotated[str, typer.Argument(help="what to say")] = "",
    reason: Reason = "",
    photo: Photo = None,
    who: As = "",
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Say why it is so: cleaning, a meeting, a broken sensor."""
    _act([id_], "comment", who, profile, as_json, comment=words, reason=reason, photo=_photo(photo))


@group.command()
def snooze(
    ids: Ids,
    until: Annotated[str, typer.Option("--for", help="2h, 1d, or a local time 2026-01-04T18:00")] = "1h",
    comment: Comment = "",
    who: As = "",
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Keep it quiet for a while; it is told again if it still burns then."""
    _act(ids, "snooze", who, profile, as_json, until_ms=_until(until), comment=comment)


@group.command()
def close(ids: Ids, comment: Comment = "", who: As = "", profile: Profile = None, as_json: AsJson = False) -> None:
    """Close it; what still burns is closed when the data confirm that it is over."""
    _act(ids, "close", who, profile, as_json, comment=comment)


@group.command()
def reopen(ids: Ids, comment: Comment = "", who: As = "", profile: Profile = None, as_json: AsJson = False) -> None:
    """Say that it is not over, or that nobody has it."""
    _act(ids, "reopen", who, profile, as_json, comment=comment)


@group.command("false-alarm")
def false_alarm(
    ids: Ids,
    reason: Reason = "",
    comment: Comment = "",
    undo: Annotated[bool, typer.Option("--undo", help="it was none: take the mark back")] = False,
    who: As = "",
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Mark it as a false alarm; the rule's health counts it."""
    kind = "true_alarm" if undo else "false_alarm"
    _act(ids, kind, who, profile, as_json, reason=reason, comment=comment)


@group.command()
def order(
    id_: Id,
    assignee: Annotated[str, typer.Argument(help="to whom")],
    by: Annotated[str, typer.Option("--by", help="when it is due: 2h, 3d, or a local time 2026-01-04T18:00")],
    comment: Comment = "",
    who: As = "",
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Make a work order; it is closed when somebody calls it done and the data confirm it."""
    _act([id_], "work_order", who, profile, as_json, assignee=assignee, until_ms=_until(by), comment=comment)


@group.command()
def done(
    id_: Id,
    order: Order,
    comment: Comment = "",
    photo: Photo = None,
    who: As = "",
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Call a work order done, with a note or a photo."""
    _act([id_], "work_done", who, profile, as_json, refers=order, comment=comment, photo=_photo(photo))


@group.command()
def cancel(
    id_: Id, order: Order, comment: Comment = "", who: As = "", profile: Profile = None, as_json: AsJson = False
) -> None:
    """Take a work order back."""
    _act([id_], "work_cancelled", who, profile, as_json, refers=order, comment=comment)


@group.command()
def silence(
    matcher: Annotated[str, typer.Argument(help="which alerts: rule=A|B, building=b2, space=b2-04*")],
    until: Annotated[str, typer.Option("--for", help="2h, 1d, or a local time 2026-01-04T18:00")] = "",
    hours: Annotated[str, typer.Option(help="mute in these hours instead: mon-fri 22:00-06:00")] = "",
    site: Annotated[str, typer.Option(help="only of this site")] = "",
    reason: Reason = "",
    comment: Comment = "",
    who: As = "",
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Keep all alerts quiet that fit, until a time (--for) or in certain hours (--hours)."""
    settings = load(profile=profile)
    kind = "mute" if hours else "silence"
    until_ms = _until(until) if until else 0
    action = Action(
        kind, who or getpass.getuser(), site, matcher=matcher, hours=hours, until_ms=until_ms, reason=reason,
        comment=comment,
    )  # fmt: skip
    with ActionWriter(settings.kafka) as writer:
        _tell([action], writer.write([action]), as_json)


@group.command()
def unsilence(
    id_: Annotated[str, typer.Argument(metavar="ID", help="the id that `silences` shows, or its beginning")],
    who: As = "",
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """End a silence or mute."""
    settings = load(profile=profile)
    with opened(settings) as desk, ActionWriter(settings.kafka) as writer:
        desk.catch_up()
        full = next((known for known in desk.silences if known.startswith(id_)), id_)
        action = Action("unsilence", who or getpass.getuser(), refers=full)
        desk.projection.check(action, _now_ms())
        _tell([action], writer.write([action]), as_json)


@group.command()
def silences(
    every: Annotated[bool, typer.Option("--all", help="ended ones too")] = False,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Show silences and mutes: which alerts, until when, who, why."""
    now_ms = _now_ms()
    with opened(load(profile=profile)) as desk:
        desk.catch_up()
        shown = [silence for silence in desk.silences.values() if every or silence.active(now_ms)]
        for one in shown:
            if as_json:
                print(json.dumps(_silence_dict(one, now_ms), ensure_ascii=False))
            else:
                end = local(one.until_ms) if one.until_ms else "–"
                parts = [one.id[:8], said(one.kind), str(one.matcher), one.site, end, one.by, one.reason, one.comment]
                Console().print(escape("  ".join(filter(None, (plain(part, 500) for part in parts)))), soft_wrap=True)
        if not shown and not as_json:
            Console().print(text("no silences"))


def _silence_dict(one: Silence, now_ms: int) -> dict[str, object]:
    return {
        "id": one.id, "kind": one.kind, "site": one.site, "matcher": str(one.matcher), "until_ms": one.until_ms,
        "by": one.by, "reason": one.reason, "comment": one.comment, "active": one.active(now_ms),
        "ended_by": one.ended_by,
    }  # fmt: skip
