"""Spans of time that charts offer: from the last hour to years."""

import dataclasses
import datetime as dt
from collections.abc import Mapping
from typing import Final

from starlette.exceptions import HTTPException

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


@dataclasses.dataclass(frozen=True, slots=True)
class Given:
    """The span that an address names by `from` and `to`.

    Attributes:
        from_ms: its start, UTC.
        to_ms: its end.
        around: what is drawn: half of its length before and after it, an hour at least.
        bar: the bars of usage.
        band: the span itself, to be marked in a chart.
    """

    from_ms: int
    to_ms: int
    around: charts.Span
    bar: str
    band: tuple[int, int, str]


def given(query: Mapping[str, str], site: Site, said: str) -> Given | None:
    """The span that an address names: ISO 8601, without an offset by the site's clock; None: it names none.

    Args:
        query: of the address.
        site: whose clock holds.
        said: what a mark over the span is called.

    Raises:
        HTTPException: 400, they are no times in order.
    """
    if "from" not in query or "to" not in query:
        return None
    try:
        ends = [dt.datetime.fromisoformat(query[name]) for name in ("from", "to")]
        start, end = (round((one if one.tzinfo else one.replace(tzinfo=site.zone)).timestamp() * 1000) for one in ends)
    except (ValueError, OverflowError) as error:
        raise HTTPException(400, f"from {query['from']!r} to {query['to']!r}") from error
    if not 0 <= start < end <= start + LENGTHS_S["years"] * 1000:
        raise HTTPException(400, f"from {query['from']!r} to {query['to']!r}")
    margin = max((end - start) // 2, 3_600_000)
    whole = end - start + 2 * margin
    bar = next(bar for name, bar in USAGE.items() if name == "years" or whole <= 3 * LENGTHS_S[name] * 1000)
    return Given(start, end, charts.Span(max(0, start - margin), end + margin, site.zone), bar, (start, end, said))


def end_of(start_ms: int, bar: str, site: Site) -> int:
    """Where the bar that begins at a local hour, day or month ends."""
    if bar == "hour":
        return start_ms + 3_600_000
    day = site.today(start_ms)
    following = (
        day + dt.timedelta(days=1) if bar == "day" else (day.replace(day=1) + dt.timedelta(days=32)).replace(day=1)
    )
    return midnight_ms(following, site)
