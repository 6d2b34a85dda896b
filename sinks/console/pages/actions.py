"""What a person does about alerts: acknowledge, start, assign, comment, silence … of one or of many, as events."""

import time
from typing import Final

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import Response

from schemas.errors import ActionError
from sinks.clickhouse.faults import point
from sinks.console.access import Permission
from sinks.console.asked import Asked
from sinks.console.audit import Event
from sinks.console.pages import rows
from sinks.desk.actions import PHOTO_BYTES_MAX, Action
from sinks.desk.projection import Alert

NEEDS: Final = {
    "acknowledge": Permission.ACKNOWLEDGE,
    "start": Permission.ACKNOWLEDGE,
    "comment": Permission.ACKNOWLEDGE,
    "false_alarm": Permission.ACKNOWLEDGE,
    "true_alarm": Permission.ACKNOWLEDGE,
    "work_done": Permission.ACKNOWLEDGE,
    "assign": Permission.DIRECT,
    "silence": Permission.DIRECT,
    "snooze": Permission.DIRECT,
    "close": Permission.DIRECT,
    "reopen": Permission.DIRECT,
    "work_order": Permission.DIRECT,
    "work_cancelled": Permission.DIRECT,
}
"""What can be done → who may."""
HOURS_MAX: Final = 24 * 31
ALERTS_MAX: Final = 200
"""More than two pages of alerts are not meant by one click."""


def act(asked: Asked) -> Response:
    """Does one thing with all the alerts that were chosen, or says why not and does nothing.

    Raises:
        HTTPException: not allowed, not there, or nothing chosen.
    """
    kind = asked.field("do", 40)
    needs = NEEDS.get(kind)
    alerts = _chosen(asked)
    if needs is None:
        raise HTTPException(400, asked.say("no such action"))
    if not asked.user.may(needs):
        asked.parts.audit.note(Event(asked.user.name, kind, _targets(alerts), "refused", address=asked.address))
        raise HTTPException(403, asked.say("not allowed"))
    actions = [_action(asked, kind, alert) for alert in alerts]
    if kind == "silence":
        actions = list({(one.site, one.matcher): one for one in actions}.values())
    asked.parts.audit.record(Event(asked.user.name, kind, _targets(alerts), address=asked.address))
    point("act-after-audit")
    try:
        asked.parts.live.act(actions)
    except ActionError as error:
        failed = Event(asked.user.name, kind, _targets(alerts), "failed", str(error), asked.address)
        asked.parts.audit.note(failed)
        raise HTTPException(400, str(error)) from error
    point("act-before-answer")
    return asked.back()


def end_silence(asked: Asked) -> Response:
    """Takes a silence back.

    Raises:
        HTTPException: there is none that the user may see.
    """
    silence = asked.field("silence", 100)
    if silence not in {one.id for one in asked.parts.live.silences(asked.user)}:
        raise HTTPException(404, asked.say("no such page"))
    asked.parts.audit.record(Event(asked.user.name, "unsilence", silence, address=asked.address))
    event_id = asked.event_id("unsilence", silence)
    asked.parts.live.act([Action("unsilence", asked.user.name, refers=silence, event_id=event_id)])
    return asked.back()


def _chosen(asked: Asked) -> list[Alert]:
    listed = [str(one) for one in asked.form.getlist("key")]
    if not listed:
        raise HTTPException(400, asked.say("nothing chosen"))
    if len(listed) > ALERTS_MAX:
        raise HTTPException(400, asked.say("too many chosen", most=ALERTS_MAX))
    found = []
    for text in dict.fromkeys(listed):
        key = rows.key_of(text)
        alert = asked.parts.live.alert(asked.user, key) if key else None
        if alert is None:
            raise HTTPException(404, asked.say("no such alert"))
        found.append(alert)
    return found


def _action(asked: Asked, kind: str, alert: Alert) -> Action:
    comment, reason = asked.field("comment").replace("\r\n", "\n").strip(), asked.field("reason", 40)
    actor, site = asked.user.name, alert.key[0]
    if kind == "silence":
        # A silence of one rule at one place: what else burns there is still told.
        matcher = f"rule={alert.key[1]}, subject={alert.key[2]}"
        return Action(
            kind, actor, site, matcher=matcher, until_ms=_until(asked), comment=comment, reason=reason or "known",
            event_id=asked.event_id(kind, site, matcher),
        )  # fmt: skip
    more: dict[str, object] = {
        "event_id": asked.event_id(kind, *alert.key),
        "seen": alert.seen,
        "comment": comment,
        "reason": reason,
    }
    if kind == "snooze":
        more["until_ms"] = _until(asked)
    if kind == "assign":
        more["assignee"] = asked.field("assignee", 100).strip()
    if kind == "work_order":
        # Fields of its own: the form of an alert has those of an assignment and of a silence beside it.
        more["until_ms"] = _until(asked, "order_hours")
        more["assignee"] = asked.field("order_to", 100).strip()
        more["comment"] = asked.field("order_note").replace("\r\n", "\n").strip()
    if kind in ("work_done", "work_cancelled"):
        more["refers"] = asked.field("refers", 100)
    if kind == "work_done":
        more["photo"] = _photo(asked)
    return Action.on(alert.key, kind, actor, **more)


def _photo(asked: Asked) -> bytes:
    """The photo of a form, empty where none was chosen; `Action` looks at its first bytes, not at its name or type."""
    sent = asked.form.get("photo")
    if not isinstance(sent, UploadFile):
        return b""
    # One byte more than may be: what is too large is refused with the limit, and never read whole.
    return sent.file.read(PHOTO_BYTES_MAX + 1)


def _until(asked: Asked, name: str = "hours") -> int:
    hours = asked.field(name, 5)
    if not hours.isdecimal() or not 0 < int(hours) <= HOURS_MAX:
        raise HTTPException(400, asked.say("hours wrong", most=HOURS_MAX))
    return time.time_ns() // 1_000_000 + int(hours) * 3_600_000


def _targets(alerts: list[Alert]) -> str:
    return ", ".join("/".join(map(str, one.key)) for one in alerts)
