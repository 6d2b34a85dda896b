"""Readings of a point as a line of a chart, and what a role is called."""

from schemas.roles import ROLES
from sinks.console import charts, formatting
from sinks.console.asked import Asked
from sinks.console.places import Point, Site
from sinks.console.texts import Language

BUCKETS = 360


def role_name(language: Language, role: str) -> str:
    """What a role is called."""
    known = ROLES.get(role)
    return role if known is None else known.name_zh if language == "zh" else known.name_en


def gap_ms(point: Point) -> int:
    """How long a line goes on without a reading: as long as the point counts as known."""
    return (point.max_age_s or 3 * point.interval_s) * 1000


def line(asked: Asked, site: Site, point: Point, span: charts.Span, buckets: int = BUCKETS) -> charts.Line:
    """A point's readings in a span; a state also says what it was before.

    Raises:
        ClickHouseUnavailable: history is away.
    """
    step = point.kind == "state"
    found = asked.parts.history.series(site.id, point.number, span.from_ms, span.to_ms, buckets)
    points = [
        (
            one.last_ms if len(found) < buckets // 2 else one.start_ms,
            formatting.scaled(point, one.most if step else one.mean),
        )
        for one in found
    ]
    doubtful = frozenset(at_ms for (at_ms, _), one in zip(points, found, strict=True) if one.doubtful)
    if step:
        before = asked.parts.history.before(site.id, point.number, span.from_ms)
        if before is not None:
            points.insert(0, (span.from_ms, formatting.scaled(point, before.value)))
        return charts.Line(point.name(asked.language), points, True, doubtful)
    low = [formatting.scaled(point, one.least) for one in found]
    high = [formatting.scaled(point, one.most) for one in found]
    return charts.Line(point.name(asked.language), points, False, doubtful, low, high)
