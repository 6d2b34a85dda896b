"""Who is told of which alerts: routes, rosters and people of the model in force."""

import dataclasses
import datetime as dt
from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from typing import Final

from schemas.codec import Json
from schemas.errors import ActionError
from schemas.hours import Hours
from schemas.matchers import Labels, Matcher
from schemas.model.document import Document
from schemas.rules.format import parse_duration
from schemas.rules.schedules import parse_clock
from sinks.desk.projection import rank
from sinks.desk.sites import Language, Row, Site

MONEY_PER_YUAN: Final = 10_000


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """A channel, and whom to name there.

    Attributes:
        text: as the model has it: robot, robot@night, mail@liu.
        channel: name of the channel in the settings.
        who: roster or person; empty: nobody by name.
    """

    text: str
    channel: str
    who: str

    @classmethod
    def parse(cls, text: str) -> "Target":
        """Reads `channel` or `channel@roster`."""
        channel, _, who = text.partition("@")
        return cls(text, channel, who)


@dataclasses.dataclass(frozen=True, slots=True)
class Escalation:
    """Whom to tell where nobody took an alert in time."""

    after_ms: int
    target: Target


@dataclasses.dataclass(frozen=True, slots=True)
class Route:
    """One row of `routes`; see `schemas/model/columns.csv`. Money is in 1/10000 yuan, times in milliseconds."""

    id: str
    rank: int
    matcher: Matcher
    severity: str
    hours: Hours
    targets: tuple[Target, ...]
    language: Language
    group_by: tuple[str, ...]
    wait_ms: int
    every_ms: int
    escalations: tuple[Escalation, ...]
    resolved: bool
    below: int | None
    list_at_min: int | None
    confirm_after_ms: int
    further: bool

    def fits(self, labels: Labels, severity: str, site: Site, now_ms: int) -> bool:
        """Whether an alert goes this way now."""
        return (
            rank(severity) >= rank(self.severity)
            and self.hours.hold(now_ms, site.zone, site.calendar)
            and self.matcher.holds(labels)
        )


def routes_of(site: Site, now_ms: int) -> list[Route]:
    """The routes that hold today, the first one first; what cannot be read was refused by `ganzhi check`."""
    day = _day(site, now_ms)
    found = []
    for rows in site.rows("routes").values():
        for row in rows:
            route = _route(row) if _holds(row, day) else None
            if route is not None:
                found.append(route)
    return sorted(found, key=lambda route: (route.rank, route.id))


def fitting(routes: list[Route], labels: Labels, severity: str, site: Site, now_ms: int) -> Iterator[Route]:
    """The routes that an alert goes now: the first that fits, and on as long as they say so."""
    for route in routes:
        if route.fits(labels, severity, site, now_ms):
            yield route
            if not route.further:
                return


def named(site: Site, who: str, now_ms: int) -> list[str]:
    """Ids of the people behind a roster or person: of a roster, those on duty now; those whose right ended are not."""
    if not who:
        return []
    day = _day(site, now_ms)
    members = []
    for row in site.rows("rosters").get(who, []):
        try:
            hours = Hours.parse(str(row.get("hours") or ""))
        except ActionError:
            continue
        if _holds(row, day) and hours.hold(now_ms, site.zone, site.calendar):
            members.append(str(row.get("person")))
    if who in site.rows("person"):
        members.append(who)
    return sorted({person for person in members if _active(site.row("person", person, day), day)})


def named_channels(documents: Iterable[Document]) -> list[str]:
    """The channels that routes name, of any date."""
    found: set[str] = set()
    for document in documents:
        table = document.table("routes")
        for cells in (*table.get("send_to", ()), *table.get("escalate", ())):
            found.update(Target.parse(text.rpartition(">")[2]).channel for text in _texts(cells))
    return sorted(found)


def _day(site: Site, now_ms: int) -> str:
    return dt.datetime.fromtimestamp(now_ms / 1000, site.zone).date().isoformat()


def _holds(row: Row, day: str) -> bool:
    return str(row.get("valid_from") or "") <= day and (not row.get("valid_to") or day < str(row["valid_to"]))


def _active(row: Row, day: str) -> bool:
    return bool(row) and _holds(row, day) and (not row.get("expires") or day < str(row["expires"]))


def _route(row: Row) -> Route | None:
    try:
        escalations = []
        for step in _texts(row.get("escalate")):
            after, _, target = step.partition(">")
            escalations.append(Escalation(parse_duration(after), Target.parse(target)))
        below, list_at = row.get("below_yuan"), row.get("list_at")
        return Route(
            id=str(row["id"]),
            rank=int(str(row.get("rank") or 100)),
            matcher=Matcher.parse(str(row.get("matcher") or "")),
            severity=str(row.get("severity") or "info"),
            hours=Hours.parse(str(row.get("hours") or "")),
            targets=tuple(Target.parse(text) for text in _texts(row.get("send_to"))),
            language="en" if row.get("language") == "en" else "zh",
            group_by=tuple(_texts(row.get("group_by"))),
            wait_ms=parse_duration(str(row.get("wait") or "0s")),
            every_ms=parse_duration(str(row.get("every") or "0s")),
            escalations=tuple(sorted(escalations, key=lambda one: one.after_ms)),
            resolved=row.get("resolved") is not False,
            below=None if below is None else int(Decimal(str(below)) * MONEY_PER_YUAN),
            list_at_min=parse_clock(str(list_at)) if list_at else None,
            confirm_after_ms=parse_duration(str(row.get("confirm_after") or "60m")),
            further=bool(row.get("further")),
        )
    except (ActionError, ValueError, KeyError, InvalidOperation):
        return None


def _texts(value: Json) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []
