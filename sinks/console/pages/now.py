"""*Now*: what burns, the worst first, live; filters, and actions on many alerts at once."""

import dataclasses
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from starlette.responses import HTMLResponse, Response, StreamingResponse

from sinks.console import formatting
from sinks.console.access import Permission
from sinks.console.asked import Asked, url
from sinks.console.pages import rows
from sinks.desk.actions import REASONS
from sinks.desk.projection import SEVERITIES, Alert

PAGE_ROWS: Final = 100
SHOWN: Final = ("open", "mine", "firing", "acknowledged", "in_progress", "quiet", "ended", "all")
SORTS: Final = ("worst", "newest")


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """The filter of the page, as its address says it."""

    show: str
    severity: str
    building: str
    rule: str
    text: str
    sort: str
    page: int

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> "Wanted":
        """Reads a filter; what it does not know is not filtered by."""
        show = query.get("show", "")
        page = query.get("page", "1")
        return cls(
            show if show in SHOWN else "open",
            query.get("severity", "") if query.get("severity") in SEVERITIES else "",
            query.get("building", ""),
            query.get("rule", ""),
            query.get("text", "").strip().lower()[:100],
            "newest" if query.get("sort") == "newest" else "worst",
            int(page) if page.isdecimal() and len(page) < 6 and int(page) else 1,
        )

    def address(self, page: int) -> str:
        """The address of a page of the same filter."""
        return url(
            "/",
            show="" if self.show == "open" else self.show,
            severity=self.severity,
            building=self.building,
            rule=self.rule,
            text=self.text,
            sort="" if self.sort == "worst" else self.sort,
            page=page if page > 1 else "",
        )


def show(asked: Asked) -> Response:
    """The whole page."""
    seen = asked.parts.live.alerts(asked.user)
    buildings = [
        (f"{site.id}/{building.id}", building.name(asked.language))
        for site, building in asked.parts.live.places.buildings(asked.user)
    ]
    rules = sorted({one.key[:2] for one in seen}, key=lambda one: one[1])
    named = {rule: asked.parts.live.desk.names.rule(site, rule, asked.language) for site, rule in rules}
    users = [one.user.name for one in asked.parts.store.accounts() if not one.disabled]
    return asked.page(
        "now.html",
        active="now",
        buildings=buildings,
        rules=named,
        severities=SEVERITIES[::-1],
        shown=SHOWN,
        sorts=SORTS,
        reasons=REASONS,
        users=users if asked.user.may(Permission.DIRECT) else [],
        **_list(asked, seen),
    )


def listed(asked: Asked) -> Response:
    """The list alone, as the page asks for it when something changed."""
    return HTMLResponse(asked.part("now_list.html", **_list(asked, asked.parts.live.alerts(asked.user))))


async def changes(asked: Asked) -> Response:
    """A stream of server-sent events: the version, whenever an alert changed. It says nothing of what changed."""
    live = asked.parts.live

    async def stream() -> AsyncIterator[str]:
        async for version in live.changes():
            yield f"event: changed\ndata: {version}\n\n"

    return StreamingResponse(stream(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


def _list(asked: Asked, seen: list[Alert]) -> dict[str, Any]:
    wanted = Wanted.parse(asked.query)
    known = [one for one in seen if one.open]
    fitting = rows.worst_first(one for one in seen if _fits(asked, one, wanted))
    if wanted.sort == "newest":
        fitting.sort(key=lambda one: -one.since_known_at)
    first = (wanted.page - 1) * PAGE_ROWS
    page = fitting[first : first + PAGE_ROWS]
    clocks = rows.clocks(asked, page)
    counting = rows.by_place(seen)
    costs = [one.cost for one in known if one.cost is not None]
    return {
        "rows": [rows.row(asked, one, clocks[one.key[0]], _counted(one, counting, clocks)) for one in page],
        "counts": [(severity, _count(known, severity)) for severity in SEVERITIES[::-1]],
        "states": Counter(one.status for one in known),
        "open_count": len(known),
        "cost": formatting.money(sum(costs)) if costs else formatting.NONE,
        "found": len(fitting),
        "first": first + 1,
        "pages": -(-len(fitting) // PAGE_ROWS),
        "wanted": wanted,
        "list_at": "/now/list" + wanted.address(wanted.page)[1:],
    }


def _counted(alert: Alert, counting: Mapping[tuple[str, str], list[Alert]], clocks: Mapping[str, int]) -> list[Alert]:
    end_ms = clocks[alert.key[0]] if alert.state == "firing" else alert.valid_at
    return rows.counted_by(alert, counting, end_ms)


def _count(alerts: list[Alert], severity: str) -> int:
    return sum(1 for one in alerts if one.severity == severity)


def _fits(asked: Asked, alert: Alert, wanted: Wanted) -> bool:
    live = asked.parts.live
    if wanted.show in ("ended", "all"):
        fits = wanted.show == "all" or not alert.open
    elif wanted.show == "quiet":
        fits = alert.open and live.silence_of(alert) is not None
    elif wanted.show == "mine":
        fits = alert.open and asked.user.name in (alert.assignee, alert.acknowledged_by)
    elif wanted.show == "open":
        fits = alert.open and live.silence_of(alert) is None
    else:
        fits = alert.open and alert.status == wanted.show
    if not fits or (wanted.severity and alert.severity != wanted.severity):
        return False
    site, rule, subject, _ = alert.key
    if wanted.rule and rule != wanted.rule:
        return False
    known = live.places.sites.get(site)
    if wanted.building and wanted.building != f"{site}/{known.building_of(subject) if known else ''}":
        return False
    if not wanted.text:
        return True
    names = live.desk.names
    said = (subject, rule, names.subject(site, subject, asked.language), names.rule(site, rule, asked.language))
    return any(wanted.text in one.lower() for one in said)
