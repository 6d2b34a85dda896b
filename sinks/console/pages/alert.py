"""*Alert*: one episode with its evidence, its history, its cost, and what can be done about it."""

import dataclasses
import time
from typing import Final
from urllib.parse import unquote

from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from sinks.console import charts, formatting
from sinks.console.access import Permission
from sinks.console.asked import AWAY, Asked, url
from sinks.console.evidence import Seen, evidence
from sinks.console.pages import rows, series
from sinks.console.places import Point, Site
from sinks.desk.actions import REASONS, photo_type
from sinks.desk.projection import Alert

BEFORE_MS: Final = 45 * 60_000
AFTER_MS: Final = 15 * 60_000
PAST_MAX: Final = 20
POINTS_MAX: Final = 6
"""More lines in one chart cannot be told apart."""


@dataclasses.dataclass(frozen=True)
class Figure:
    """One chart: what it shows, its limits in words, and what goes with it."""

    title: str
    limits: str
    chart: Markup
    points: list[Point]


def show(asked: Asked) -> Response:
    """The page.

    Raises:
        HTTPException: there is no such alert, or the user may not see it.
    """
    alert = _alert(asked)
    site_id, rule, subject, _ = alert.key
    desk = asked.parts.live.desk
    site = asked.parts.live.places.sites.get(site_id)
    now_ms = rows.clock_ms(asked, site_id)
    end_ms = now_ms if alert.state == "firing" else alert.valid_at
    found = evidence(site, rule, subject) if site else None
    figures: list[Figure] = []
    missing = ""
    space = site.space_of(subject) if site else None
    hidden = bool(space and space.sensitive)
    if site and found and not hidden:
        span = charts.Span(alert.started_at - max(BEFORE_MS, found.for_ms), end_ms + AFTER_MS, site.zone)
        band = (alert.started_at, end_ms, asked.say("episode"))
        try:
            for role in found.roles:
                figures += _figures(asked, site, role, span, band)
        except AWAY:
            figures, missing = [], asked.say("history away")
    seen = asked.parts.live.alerts(asked.user)
    past = [one for one in seen if one.key[:3] == alert.key[:3] and one is not alert]
    past.sort(key=lambda one: -one.started_at)
    users = [one.user.name for one in asked.parts.store.accounts() if not one.disabled]
    return asked.page(
        "alert.html",
        active="now",
        row=rows.row(asked, alert, now_ms),
        alert=alert,
        advice=desk.names.action(site_id, rule, asked.language),
        evidence=found,
        figures=figures,
        missing=missing,
        hidden=hidden,
        site=site,
        space=space,
        flow="" if hidden else _flow(asked, alert),
        ended=formatting.local(alert.valid_at, site.zone) if site and alert.state != "firing" else "",
        history=alert.history[::-1],
        silence=asked.parts.live.silence_of(alert),
        counted=[rows.row(asked, one, now_ms) for one in rows.counted_by(alert, rows.by_place(seen), end_ms)],
        past=[rows.row(asked, one, now_ms) for one in past[:PAST_MAX]],
        reasons=REASONS,
        users=users if asked.user.may(Permission.DIRECT) else [],
        now_ms=now_ms,
        orders=[(order, order.status(alert, time.time_ns() // 1_000_000)) for order in alert.work_orders.values()],
    )


def _flow(asked: Asked, alert: Alert) -> str:
    """What the rule estimated, and what a day of it costs; empty where it estimates nothing."""
    found = alert.estimate
    if found is None:
        return ""
    name = "flow alone" if found.cost_per_day is None else "flow of a day"
    said = formatting.flow(found.per_hour, found.unit)
    return asked.say(name, flow=said, cost=formatting.money(found.cost_per_day))


def named(asked: Asked) -> Response:
    """From the address that messages carry, `/alert/SITE/RULE/SUBJECT/EPISODE`, to the page.

    Raises:
        HTTPException: it is no such address.
    """
    # The path as it was sent: a subject may hold a slash, which is escaped there and no longer in the decoded one.
    parts = asked.request.scope["raw_path"].decode("ascii", "replace").split("?")[0].split("/")[2:]
    if len(parts) != 4:
        raise HTTPException(404, asked.say("no such alert"))
    site, rule, subject, episode = map(unquote, parts)
    return RedirectResponse(url("/alert", site=site, rule=rule, subject=subject, episode=episode), 303)


def photo(asked: Asked) -> Response:
    """The photo of an action, as an image and nothing else.

    Raises:
        HTTPException: there is none, or the user may not see the alert.
    """
    alert = _alert(asked)
    offset = asked.query.get("offset", "")
    if not any(entry.photo and str(entry.offset) == offset for entry in alert.history):
        raise HTTPException(404)
    content = asked.parts.live.desk.photo(int(offset))
    kind = photo_type(content)
    if not kind:
        raise HTTPException(404)
    # A picture and nothing else, whatever its bytes say to a browser that opens it alone.
    headers = {
        "Content-Disposition": f'inline; filename="photo-{offset}.{kind.partition("/")[2]}"',
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    return Response(content, media_type=kind, headers=headers)


def _alert(asked: Asked) -> Alert:
    key = rows.key_from(asked.query)
    alert = asked.parts.live.alert(asked.user, key) if key else None
    if alert is None:
        raise HTTPException(404, asked.say("no such alert"))
    return alert


def _figures(asked: Asked, site: Site, role: Seen, span: charts.Span, band: tuple[int, int, str]) -> list[Figure]:
    """A chart for the points of a role that have one unit; points that a user may not see are left out."""
    points = [
        site.by_number[number]
        for number in role.points
        if number in site.by_number and asked.user.sees(site.id, site.by_number[number].building)
    ]
    points = [point for point in points if not point.sensitive][:POINTS_MAX]
    if not points:
        return []
    drawn = [series.line(asked, site, point, span) for point in points]
    unit = formatting.unit_of(points[0])
    thresholds = [(one.value, one.said) for one in role.thresholds]
    title = series.role_name(asked.language, points[0].role)
    chart = charts.lines(
        span, drawn, unit, label=title, thresholds=thresholds, bands=[band], gap_ms=series.gap_ms(points[0]), height=170
    )
    return [Figure(title, ", ".join(name for _, name in thresholds), chart, points)]
