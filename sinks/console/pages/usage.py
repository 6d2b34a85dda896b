"""*Usage*: today against yesterday, by building, sub-item, department and room; the last month; quotas."""

import datetime as dt
import functools
from typing import Final

from starlette.responses import Response

from sinks.console import charts, figures, formatting
from sinks.console.asked import AWAY, Asked
from sinks.console.history import midnight_ms
from sinks.console.pages import rows, space, spans
from sinks.console.places import Site

RANKED: Final = {"building": 40, "sub_item": 40, "department": 15, "room": 15}
"""Grouping → how many lines the page shows; an export has all."""
CUMULATIVE_MS: Final = 366 * 86_400_000


def show(asked: Asked) -> Response:
    """The page."""
    places = asked.parts.live.places
    sites = [site for site in places.sites.values() if places.sees_site(asked.user, site)]
    chosen = [site for site in sites if site.id == asked.query.get("site")] or sites
    media = figures.media(chosen, asked.user)
    medium = asked.query.get("medium", "")
    medium = medium if medium in media else media[0] if media else ""
    missing = ""
    tables: dict[str, list[figures.Group]] = {}
    monthly: list[tuple[Site, space.Usage]] = []
    quotas: list[tuple[Site, list[figures.Quota]]] = []
    found: list[figures.Days] = []
    try:
        if medium:
            found = both_days(asked, chosen)
            tables = {by: figures.groups(by, found, medium, asked.user, asked.language) for by in figures.BYS}
            monthly = [(site, bars) for site in chosen if (bars := _month(asked, site, medium)) is not None]
            quotas = [(site, figures.quotas(site, functools.partial(_year, asked, site))) for site in chosen]
    except AWAY:
        missing = asked.say("history away")
    unit = formatting.smallest_unit(medium)
    sums = tables.get("building", [])
    costs = [group.cost for group in sums if group.cost is not None]
    return asked.page(
        "usage.html",
        active="usage",
        sites=sites,
        site=chosen[0].id if len(chosen) == 1 and len(sites) > 1 else "",
        media=media,
        medium=medium,
        unit=unit,
        hours=found[0].hours if found else 0,
        day=found[0].today if found else None,
        tables={by: listed[: RANKED[by]] for by, listed in tables.items()},
        most={by: float(max((group.now for group in listed), default=0)) for by, listed in tables.items()},
        now=float(sum(group.now for group in sums)),
        before=float(sum(group.before for group in sums)),
        cost=int(sum(costs)) if costs else None,
        monthly=monthly,
        quotas=[(site, listed) for site, listed in quotas if listed],
        missing=missing,
        share=charts.share,
    )


def both_days(asked: Asked, sites: list[Site]) -> list[figures.Days]:
    """Today and yesterday of some sites; kept for a moment, since several groupings and people ask for the same.

    Raises:
        ClickHouseUnavailable: history is away.
    """
    return [asked.parts.hourly.get(("days", site.id), functools.partial(_days, asked, site)) for site in sites]


def _days(asked: Asked, site: Site) -> figures.Days:
    return figures.days(asked.parts.history, site, rows.clock_ms(asked, site.id))


def _month(asked: Asked, site: Site, medium: str) -> space.Usage | None:
    """The last month of a site, a bar a day."""
    points = figures.totals(site, medium, asked.user)
    if not points:
        return None
    span = spans.span_of(site, "month", rows.clock_ms(asked, site.id))
    return space.usage_bars(asked, site, medium, points, span, "day")


def _year(asked: Asked, site: Site) -> int | None:
    """Electricity of the calendar year so far, Wh."""
    points = figures.totals(site, "electricity", asked.user)
    now_ms = rows.clock_ms(asked, site.id)
    start = midnight_ms(dt.date(site.today(now_ms).year, 1, 1), site)
    found = asked.parts.history.usage(site, [one.number for one in points], start, start + CUMULATIVE_MS, "month")
    return sum(one.quantity for _, one in found) if found else None
