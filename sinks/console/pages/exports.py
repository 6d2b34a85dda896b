"""Figures as CSV files: UTF-8 with a mark that spreadsheets know, exact decimals, no cell that is a formula."""

import csv
import io
from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction

from starlette.exceptions import HTTPException
from starlette.responses import Response

from sinks.console import figures, formatting
from sinks.console.asked import Asked
from sinks.console.audit import Event
from sinks.console.pages import point as point_page
from sinks.console.pages import rows, spans, usage

ROWS_MAX = 200_000
MARK = "\ufeff"


def usage_days(asked: Asked) -> Response:
    """A ranking of today and yesterday, whole.

    Raises:
        HTTPException: there is no such grouping.
    """
    by = next((one for one in figures.BYS if one == asked.query.get("by")), None)
    if by is None:
        raise HTTPException(404, asked.say("no such page"))
    places, medium = asked.parts.live.places, asked.query.get("medium", "")
    sites = [site for site in places.sites.values() if places.sees_site(asked.user, site)]
    chosen = [site for site in sites if site.id == asked.query.get("site")] or sites
    found = usage.both_days(asked, chosen)
    unit = formatting.smallest_unit(medium)
    header = ["site", by, "name", "day", "hours", "today", "yesterday", "not_measured", "unit", "cost_yuan"]
    lines = [
        [
            group.site,
            group.id,
            group.name,
            one.today.isoformat(),
            one.hours,
            _decimal(group.now),
            _decimal(group.before),
            _decimal(group.not_measured),
            unit,
            None if group.cost is None else _decimal(Fraction(group.cost) / 10_000),
        ]
        for one in found
        for group in figures.groups(by, [one], medium, asked.user, asked.language)
    ]
    return _file(asked, f"usage-{by}", header, lines)


def alerts(asked: Asked) -> Response:
    """Alerts that the user may see, open and ended."""
    header = [
        "site",
        "rule",
        "subject",
        "name",
        "episode",
        "severity",
        "state",
        "status",
        "started_at",
        "since",
        "assignee",
        "wasted",
        "cost_yuan",
    ]
    desk = asked.parts.live.desk
    lines = []
    for one in rows.worst_first(asked.parts.live.alerts(asked.user))[:ROWS_MAX]:
        site = asked.parts.live.places.sites.get(one.key[0])
        times = [
            formatting.local(at, site.zone, "%Y-%m-%d %H:%M:%S%z") if site else at
            for at in (one.started_at, one.valid_at)
        ]
        name = desk.names.subject(one.key[0], one.key[2], asked.language)
        cost = None if one.cost is None else _decimal(Fraction(one.cost, 10_000))
        told = [one.severity, one.state, one.status, *times, one.assignee, rows.wasted(one), cost]
        lines.append([*one.key[:3], name, one.key[3], *told])
    return _file(asked, "alerts", header, lines)


def point_readings(asked: Asked) -> Response:
    """Readings of a point in a span, as they came.

    Raises:
        HTTPException: as the page of a point.
    """
    site, point = point_page.wanted(asked)
    span = spans.span_of(site, spans.chosen(asked.query.get("span", ""), "day"), rows.clock_ms(asked, site.id))
    found = asked.parts.history.rows(
        "SELECT toUnixTimestamp64Milli(ts), value, quality, mode FROM readings WHERE site = {site:String}"
        " AND point = {point:UInt32} AND ts >= fromUnixTimestamp64Milli({start:Int64})"
        " AND ts <= fromUnixTimestamp64Milli({stop:Int64}) ORDER BY ts LIMIT 200000",
        site=site.id,
        point=point.number,
        start=span.from_ms,
        stop=span.to_ms,
    )
    scale = 1000 if point.kind == "gauge" else 1
    unit = point.unit if scale > 1 else formatting.smallest_unit(point.medium) or "1"
    lines = [
        [formatting.local(at, site.zone, "%Y-%m-%d %H:%M:%S%z"), _decimal(Fraction(value, scale)), unit, quality, mode]
        for at, value, quality, mode in found
    ]
    return _file(asked, "readings", ["time", "value", "unit", "quality", "mode"], lines, point.id)


def _decimal(value: Fraction | int) -> Decimal:
    """At most six places: a share of a third is cut there."""
    value = Fraction(value)
    return (Decimal(value.numerator) / Decimal(value.denominator)).quantize(Decimal("0.000001")).normalize() + 0


def _file(
    asked: Asked, name: str, header: Sequence[str], lines: Iterable[Sequence[object]], target: str = ""
) -> Response:
    """Writes the audit event, then the file."""
    asked.parts.audit.record(Event(asked.user.name, "export", target or name, address=asked.address))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(header)
    for line in lines:
        writer.writerow([f"{one:f}" if isinstance(one, Decimal) else formatting.cell(one) for one in line])
    headers = {"Content-Disposition": f'attachment; filename="ganzhi-{name}.csv"'}
    return Response(MARK + out.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)
