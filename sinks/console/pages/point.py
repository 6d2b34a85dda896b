"""*Point*: one measured series, from the last hour to years, with its quality marked."""

from starlette.exceptions import HTTPException
from starlette.responses import Response

from sinks.console import charts, formatting
from sinks.console.asked import AWAY, Asked
from sinks.console.pages import rows, series, space, spans
from sinks.console.places import PRESENCE, Point, Site


def show(asked: Asked) -> Response:
    """The page.

    Raises:
        HTTPException: there is no such point, or the user may not see it.
    """
    site, point = wanted(asked)
    counts = point.kind in PRESENCE
    name = spans.chosen(asked.query.get("span", ""), "week" if counts else "day")
    if counts and name not in spans.USAGE:
        name = "day"
    now_ms = rows.clock_ms(asked, site.id)
    given = spans.given(asked.query, site, asked.say("span given"))
    span = given.around if given else spans.span_of(site, name, now_ms)
    bar = given.bar if given else spans.USAGE[name] if counts else ""
    missing, chart, total, line, newest = "", None, "", None, None
    try:
        newest = asked.parts.history.latest(site.id, [point.number]).get(point.number)
        if counts:
            found = space.usage_bars(asked, site, point.medium, [point], span, bar)
            chart, total = found.chart, found.total
        else:
            line = series.line(asked, site, point, span)
            chart = charts.lines(
                span, [line], formatting.unit_of(point), label=point.name(asked.language),
                bands=[given.band] if given else [],
                gap_ms=max(series.gap_ms(point), 3 * (span.to_ms - span.from_ms) // series.BUCKETS), height=280,
            )  # fmt: skip
    except AWAY:
        missing = asked.say("history away")
    shown = [value for _, value in line.points] if line else []
    return asked.page(
        "point.html",
        active="buildings",
        site=site,
        point=point,
        room=site.spaces.get(point.space),
        path=site.path(point.space),
        building=site.buildings.get(site.building_of(point.id)),
        equip=site.equips.get(point.equip),
        role=series.role_name(asked.language, point.role),
        span="" if given else name,
        given=space.said(site, given) if given else "",
        spans=[one for one in spans.LENGTHS_S if not counts or one in spans.USAGE],
        counts=counts,
        chart=chart,
        total=total,
        least=min([*line.low, *shown]) if line and shown else None,
        most=max([*line.high, *shown]) if line and shown else None,
        doubtful=len(line.doubtful) if line else 0,
        empty=not counts and not shown,
        unit=formatting.unit_of(point),
        newest=newest,
        value=formatting.reading(asked.language, point, newest.value if newest else None),
        missing=missing,
    )


def wanted(asked: Asked) -> tuple[Site, Point]:
    """The point that an address names.

    Raises:
        HTTPException: there is none, the user may not see it, or it would tell who is in a sensitive room.
    """
    site = asked.parts.live.places.sites.get(asked.query.get("site", ""))
    point = site.points.get(asked.query.get("id", "")) if site else None
    if site is None or point is None or not asked.user.sees(site.id, point.building):
        raise HTTPException(404, asked.say("no such page"))
    if point.sensitive:
        raise HTTPException(403, asked.say("sensitive hint"))
    return site, point
