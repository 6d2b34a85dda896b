"""*Waste*: how full the bins are, what was deposited today and how much of it wrongly, what burns at a station."""

import dataclasses

from starlette.responses import Response

from sinks.console import formatting
from sinks.console.asked import AWAY, Asked
from sinks.console.history import midnight_ms
from sinks.console.pages import rows
from sinks.console.places import Site
from sinks.desk.projection import rank

WEEK_MS = 7 * 86_400_000
FULL_PERMILLE = 800
"""From here a bin is shown as nearly full; alerts have thresholds of their own, in the rules."""


@dataclasses.dataclass(frozen=True, slots=True)
class Station:
    """A station with its fullest bin."""

    site: str
    id: str
    name: str
    where: str
    fill_permille: int | None
    at: str
    alert: str
    severity: str


@dataclasses.dataclass(frozen=True, slots=True)
class Deposits:
    """What was deposited of a class."""

    waste_class: str
    today: str
    week: str
    count: int
    wrong: int


def show(asked: Asked) -> Response:
    """The page."""
    places = asked.parts.live.places
    sites = [site for site in places.sites.values() if places.sees_site(asked.user, site) and site.stations]
    stations: list[Station] = []
    deposits: list[Deposits] = []
    missing = ""
    fills: dict[tuple[str, str], tuple[int, int]] = {}
    try:
        for site in sites:
            fills |= _fills(asked, site)
        deposits = _deposits(asked, sites)
    except AWAY:
        missing = asked.say("history away")
    burning: dict[tuple[str, str], tuple[str, str]] = {}
    for one in sorted(asked.parts.live.open_alerts(asked.user), key=lambda one: rank(one.severity)):
        burning[one.key[0], one.key[2]] = (rows.name_of(one.key), one.severity)
    for site in sites:
        for station in site.stations.values():
            if not asked.user.sees(site.id, station.building):
                continue
            fill = fills.get((site.id, station.id))
            space = site.spaces.get(station.space)
            building = site.buildings.get(station.building)
            where = [one.name(asked.language) for one in (building, space) if one is not None]
            alert, severity = burning.get((site.id, station.id), ("", ""))
            stations.append(
                Station(
                    site.id,
                    station.id,
                    station.name(asked.language),
                    " · ".join(where or [site.named.name(asked.language)]),
                    fill[0] if fill else None,
                    formatting.local(fill[1], site.zone) if fill else formatting.NONE,
                    alert,
                    severity,
                )
            )
    stations.sort(key=lambda one: (-rank(one.severity) if one.alert else 1, -(one.fill_permille or -1), one.name))
    return asked.page(
        "waste.html", active="waste", stations=stations, deposits=deposits, missing=missing, full=FULL_PERMILLE
    )


def _fills(asked: Asked, site: Site) -> dict[tuple[str, str], tuple[int, int]]:
    found = asked.parts.history.rows(
        "SELECT station, max(fill), max(at) FROM (SELECT station, bin, argMax(fill_permille, ts) AS fill,"
        " toUnixTimestamp64Milli(max(ts)) AS at FROM waste_events WHERE site = {site:String} AND kind = 'fill'"
        " AND ts > fromUnixTimestamp64Milli({start:Int64}) GROUP BY station, bin)"
        " WHERE station IS NOT NULL GROUP BY station",
        site=site.id,
        start=rows.clock_ms(asked, site.id) - WEEK_MS,
    )
    return {(site.id, str(station)): (int(fill or 0), int(at)) for station, fill, at in found}


def _deposits(asked: Asked, sites: list[Site]) -> list[Deposits]:
    """Deposits by class, of the sites that a user sees whole: an event outdoors belongs to no building."""
    summed: dict[str, list[int]] = {}
    for site in sites:
        stations = [one.id for one in site.stations.values() if asked.user.sees(site.id, one.building)]
        now_ms = rows.clock_ms(asked, site.id)
        found = asked.parts.history.rows(
            "SELECT ifNull(waste_class, ''), sumIf(mass_g, ts >= fromUnixTimestamp64Milli({day:Int64})), sum(mass_g),"
            " count(),"
            " countIf(verdict IN ('wrong_class', 'mixed')) FROM waste_events WHERE site = {site:String}"
            " AND kind = 'deposit' AND ts > fromUnixTimestamp64Milli({week:Int64}) AND station IN"
            " {stations:Array(String)} GROUP BY waste_class",
            site=site.id,
            day=midnight_ms(site.today(now_ms), site),
            week=now_ms - WEEK_MS,
            stations=stations,
        )
        for waste_class, *numbers in found:
            known = summed.setdefault(str(waste_class), [0, 0, 0, 0])
            for index, value in enumerate(numbers):
                known[index] += int(value or 0)
    return [
        Deposits(name, formatting.quantity(today, "g"), formatting.quantity(week, "g"), count, wrong)
        for name, (today, week, count, wrong) in sorted(summed.items(), key=lambda one: -one[1][1])
    ]
