"""*Silences and mute hours*: what is kept quiet now and by whom, and a form for hours in which nobody is told."""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.responses import Response

from schemas.errors import ActionError
from schemas.hours import DAYS
from schemas.matchers import Matcher
from schemas.rules.schedules import KINDS
from sinks.console.access import Permission
from sinks.console.asked import Asked
from sinks.console.audit import Event
from sinks.desk.actions import REASONS, Action
from sinks.desk.projection import SEVERITIES

ENDS: Final = (0, 7, 30, 90)
"""Days after which a mute ends by itself; 0: never."""
DAY_MS: Final = 86_400_000
CHOICES: Final = (*DAYS, *sorted(KINDS))


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """The form, as it was filled in; its first state mutes what is small, at night."""

    place: str = ""
    rule: str = ""
    most: str = "warning"
    days: tuple[str, ...] = DAYS
    start: str = "22:00"
    stop: str = "06:00"
    ends: int = 30
    reason: str = ""
    comment: str = ""

    @classmethod
    def read(cls, asked: Asked) -> "Wanted":
        """Reads the form."""
        ends = asked.field("ends", 3)
        return cls(
            asked.field("place", 300),
            asked.field("rule", 200),
            asked.field("most", 20),
            tuple(str(one) for one in asked.form.getlist("day")),
            asked.field("from", 5),
            asked.field("to", 5),
            int(ends) if ends.isdecimal() else -1,
            asked.field("reason", 40),
            asked.field("comment").replace("\r\n", "\n").strip(),
        )


def show(asked: Asked) -> Response:
    """The page."""
    return _page(asked, Wanted())


def make(asked: Asked) -> Response:
    """Makes a mute.

    Raises:
        HTTPException: the place is none that the user may speak for.
    """
    wanted = Wanted.read(asked)
    places = dict(_places(asked))
    if wanted.place not in places:
        asked.parts.audit.note(Event(asked.user.name, "mute", wanted.place, "refused", address=asked.address))
        raise HTTPException(403, asked.say("not allowed"))
    try:
        action = _action(asked, wanted)
        asked.parts.audit.record(
            Event(asked.user.name, "mute", action.matcher, detail=action.hours, address=asked.address)
        )
        asked.parts.live.act([action])
    except ActionError as error:
        return _page(asked, wanted, str(error), 400)
    return asked.back("/silences")


def _action(asked: Asked, wanted: Wanted) -> Action:
    """The mute of a form.

    Raises:
        ActionError: no day, no such rule, an end or hours that are none.
    """
    if not wanted.days:
        raise ActionError(asked.say("mute no day"))
    if not set(wanted.days) <= set(CHOICES) or wanted.ends not in ENDS or wanted.most not in SEVERITIES:
        raise ActionError(asked.say("no such action"))
    if wanted.rule and wanted.rule not in _rules(asked):
        raise ActionError(asked.say("no such action"))
    site, _, building = wanted.place.partition("/")
    conditions = [f"site={site}"]
    conditions += [f"building={building}"] if building else []
    conditions += [f"rule={wanted.rule}"] if wanted.rule else []
    # A severity that rises above what was meant is told: it is another matter.
    below = SEVERITIES[: SEVERITIES.index(wanted.most) + 1]
    conditions += [f"severity={'|'.join(below)}"] if below != SEVERITIES else []
    matcher = ", ".join(conditions)
    values = {one.name: one.values for one in Matcher.parse(matcher).conditions}
    if values.get("building", (building,)) != (building,) or values["site"] != (site,) or "*" in site + building:
        raise ActionError(asked.say("no such action"))  # an id that means more than itself in a matcher
    hours = f"{'any' if set(DAYS) <= set(wanted.days) else '|'.join(wanted.days)} {wanted.start}-{wanted.stop}"
    until_ms = time.time_ns() // 1_000_000 + wanted.ends * DAY_MS if wanted.ends else 0
    return Action(
        "mute", asked.user.name, site, matcher=matcher, hours=hours, until_ms=until_ms, comment=wanted.comment,
        reason=wanted.reason, event_id=asked.event_id("mute", matcher, hours),
    )  # fmt: skip


def _places(asked: Asked) -> list[tuple[str, str]]:
    """(`site/building` or `site/`, name): buildings that a user sees, and whole sites of those who see all of one."""
    language, places = asked.language, asked.parts.live.places
    whole = [
        (f"{site.id}/", asked.say("all of", name=site.named.name(language)))
        for site in places.sites.values()
        if asked.user.sees(site.id, "")
    ]
    return whole + [
        (f"{site.id}/{building.id}", building.name(language)) for site, building in places.buildings(asked.user)
    ]


def _rules(asked: Asked) -> Mapping[str, str]:
    """Rules of the sites in force, and what they say."""
    desk = asked.parts.live.desk
    return {rule: desk.names.rule(site, rule, asked.language) for site, one in desk.sites.items() for rule in one.rules}


def _page(asked: Asked, wanted: Wanted, fault: str = "", code: int = 200) -> Response:
    more: dict[str, Any] = {}
    if asked.user.may(Permission.DIRECT):
        more = {"places": _places(asked), "rules": _rules(asked)}
    zones = [site.zone for site in asked.parts.live.places.sites.values()]
    return asked.page(
        "silenced.html",
        code,
        active="now",
        silences=asked.parts.live.silences(asked.user),
        zone=zones[0] if zones else None,
        wanted=wanted,
        fault=fault,
        days=CHOICES,
        ends=ENDS,
        reasons=REASONS,
        severities=SEVERITIES,
        **more,
    )
