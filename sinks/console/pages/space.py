"""*Space*: a room, floor or area: what is there now, what it used, what happened."""

import dataclasses

from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.responses import Response

from sinks.console import charts, formatting
from sinks.console.access import Permission
from sinks.console.asked import AWAY, Asked
from sinks.console.history import Latest
from sinks.console.pages import buildings, rows, series, spans
from sinks.console.places import NO_USAGE, PRESENCE, Point, Site, Space

PAST_MAX = 20
DRAWN_MAX = 8
"""More charts of one room are a page that nobody reads to its end."""


@dataclasses.dataclass(frozen=True, slots=True)
class Now:
    """A point's present value."""

    point: Point
    role: str
    value: str
    at: str
    old: bool
    quality: str


@dataclasses.dataclass(frozen=True, slots=True)
class Usage:
    """Usage of one medium as bars."""

    medium: str
    total: str
    chart: Markup


def show(asked: Asked) -> Response:
    """The page.

    Raises:
        HTTPException: there is no such space, or the user may not see it.
    """
    site = asked.parts.live.places.sites.get(asked.query.get("site", ""))
    space = site.spaces.get(asked.query.get("id", "")) if site else None
    if site is None or space is None or not asked.user.sees(site.id, space.building):
        raise HTTPException(404, asked.say("no such page"))
    name = spans.chosen(asked.query.get("span", ""), "week")
    name = name if name in spans.USAGE else "week"
    span = spans.given(asked.query, site, asked.say("span given"))
    points = [one for one in site.in_space.get(space.id, []) if not one.sensitive]
    now_ms = rows.clock_ms(asked, site.id)
    present: list[Now] = []
    used: list[Usage] = []
    drawn: list[tuple[Point, str, Markup]] = []
    missing = ""
    try:
        latest = asked.parts.history.latest(site.id, [one.number for one in points])
        present = [_now(asked, site, one, latest.get(one.number), now_ms) for one in points if one.kind not in PRESENCE]
        if asked.user.may(Permission.USAGE):
            used = _usage(asked, site, points, name, now_ms, span)
            drawn = _drawn(asked, site, points, span) if span else []
    except AWAY:
        missing = asked.say("history away")
    if span:
        name = ""
    here = [one for one in asked.parts.live.alerts(asked.user) if _is_here(site, space, one.key)]
    ended = sorted((one for one in here if not one.open), key=lambda one: -one.started_at)
    if span:
        ended = [one for one in ended if one.started_at < span.around.to_ms and one.valid_at > span.around.from_ms]
    return asked.page(
        "space.html",
        active="buildings",
        site=site,
        space=space,
        building=site.buildings.get(space.building),
        path=site.path(space.id)[:-1],
        floor=site.floor_of(space.id),
        span=name,
        spans=list(spans.USAGE),
        given=said(site, span) if span else "",
        drawn=drawn,
        present=present,
        used=used,
        missing=missing,
        open=[rows.row(asked, one, now_ms) for one in rows.worst_first(one for one in here if one.open)],
        ended=[rows.row(asked, one, now_ms) for one in ended[:PAST_MAX]],
    )


def _is_here(site: Site, space: Space, key: tuple[str, str, str, int]) -> bool:
    if key[0] != site.id:
        return False
    found = site.space_of(key[2])
    return found is not None and found.id == space.id


def _now(asked: Asked, site: Site, point: Point, newest: Latest | None, now_ms: int) -> Now:
    return Now(
        point,
        series.role_name(asked.language, point.role),
        formatting.reading(asked.language, point, newest.value if newest else None),
        formatting.local(newest.ts_ms, site.zone) if newest else formatting.NONE,
        newest is not None and buildings.is_old(point, newest, now_ms),
        newest.quality if newest else "",
    )


def said(site: Site, span: spans.Given) -> str:
    """A span as people read it, by the site's clock."""
    return " – ".join(formatting.local(at_ms, site.zone, "%Y-%m-%d %H:%M") for at_ms in (span.from_ms, span.to_ms))


def _drawn(asked: Asked, site: Site, points: list[Point], given: spans.Given) -> list[tuple[Point, str, Markup]]:
    """(point, role, chart) of what is measured here, around a span.

    Raises:
        ClickHouseUnavailable: history is away.
    """
    found = []
    for point in [one for one in points if one.kind not in PRESENCE][:DRAWN_MAX]:
        name = series.role_name(asked.language, point.role)
        line = series.line(asked, site, point, given.around)
        chart = charts.lines(
            given.around, [line], formatting.unit_of(point), label=name, bands=[given.band],
            gap_ms=series.gap_ms(point), height=150,
        )  # fmt: skip
        found.append((point, name, chart))
    return found


def _usage(
    asked: Asked, site: Site, points: list[Point], name: str, now_ms: int, given: spans.Given | None
) -> list[Usage]:
    """Bars for every medium; parts of a total (time-of-use registers, generation) are not added to it."""
    media: dict[str, list[Point]] = {}
    for point in points:
        if point.kind in PRESENCE and point.medium and point.role not in NO_USAGE:
            media.setdefault(point.medium, []).append(point)
    span, bar = (given.around, given.bar) if given else (spans.span_of(site, name, now_ms), spans.USAGE[name])
    return [usage_bars(asked, site, medium, listed, span, bar) for medium, listed in sorted(media.items())]


def usage_bars(asked: Asked, site: Site, medium: str, points: list[Point], span: charts.Span, bar: str) -> Usage:
    """Usage of points of a medium, a bar an hour, day or month; the part that was not measured is marked.

    Raises:
        ClickHouseUnavailable: history is away.
    """
    unit = formatting.smallest_unit(medium)
    scale, shown = formatting.larger(unit)
    hour = 3_600_000
    found = asked.parts.history.usage(
        site, [one.number for one in points], span.from_ms // hour * hour, span.to_ms + hour, bar
    )
    form = {"hour": "%m-%d %H:%M", "day": "%Y-%m-%d", "month": "%Y-%m"}[bar]
    drawn = [
        charts.Bar(
            start,
            spans.end_of(start, bar, site),
            one.quantity / scale,
            f"{formatting.local(start, site.zone, form)}: {formatting.quantity(one.quantity, unit)}",
            one.not_measured / scale,
        )
        for start, one in found
    ]
    whole = charts.Span(span.from_ms, max([span.to_ms, *(one.end_ms for one in drawn)]), span.zone)
    total = formatting.quantity(sum(one.quantity for _, one in found), unit)
    return Usage(medium, total, charts.bars(whole, drawn, shown, label=medium) if drawn else Markup(""))
