"""Spans of time that charts offer: from the last hour to years."""

import datetime as dt
from typing import Final

from sinks.console import charts
from sinks.console.history import midnight_ms
from sinks.console.places import Site

DAY_S: Final = 86_400
LENGTHS_S: Final = {
    "hour": 3600,
    "day": DAY_S,
    "week": 7 * DAY_S,
    "month": 31 * DAY_S,
    "year": 366 * DAY_S,
    "years": 5 * 366 * DAY_S,
}
USAGE: Final = {"day": "hour", "week": "day", "month": "day", "year": "month", "years": "month"}
"""Span → the bars that usage is shown in."""


def chosen(wanted: str, default: str) -> str:
    """A span that is offered."""
    return wanted if wanted in LENGTHS_S else default


def span_of(site: Site, name: str, now_ms: int) -> charts.Span:
    """The span that ends now; of days and more it begins at a local midnight, so that bars are whole."""
    start = now_ms - LENGTHS_S[name] * 1000
    if name != "hour" and name != "day":
        start = midnight_ms(site.today(start) + dt.timedelta(days=1), site)
    if name in ("year", "years"):
        start = midnight_ms(site.today(start).replace(day=1), site)
    return charts.Span(start, now_ms, site.zone)


def end_of(start_ms: int, bar: str, site: Site) -> int:
    """Where the bar that begins at a local hour, day or month ends."""
    if bar == "hour":
        return start_ms + 3_600_000
    day = site.today(start_ms)
    following = (
        day + dt.timedelta(days=1) if bar == "day" else (day.replace(day=1) + dt.timedelta(days=32)).replace(day=1)
    )
    return midnight_ms(following, site)
