"""*Vehicles*: where each stands (on a trip, idling, parked), what it drove, tanked and charged, what burns."""

import dataclasses

from starlette.responses import Response

from sinks.console import formatting
from sinks.console.asked import AWAY, Asked
from sinks.console.history import midnight_ms
from sinks.console.pages import rows
from sinks.console.places import Site
from sinks.desk.projection import rank


@dataclasses.dataclass(frozen=True, slots=True)
class Vehicle:
    """One vehicle; `state` is a name of the catalogue."""

    id: str
    name: str
    energy: str
    state: str
    at: str
    today: str
    month: str
    fuel: str
    charge: str
    alert: str
    severity: str


def show(asked: Asked) -> Response:
    """The page. A vehicle stands in no building: only those who see the whole site see it."""
    sites = [one for one in asked.parts.live.places.sites.values() if asked.user.sees(one.id, "") and one.vehicles]
    found: list[Vehicle] = []
    missing = ""
    figures: dict[tuple[str, str], tuple[object, ...]] = {}
    try:
        for site in sites:
            figures |= _figures(asked, site)
    except AWAY:
        missing = asked.say("history away")
    burning = {
        (one.key[0], one.key[2]): (rows.name_of(one.key), one.severity)
        for one in sorted(asked.parts.live.open_alerts(asked.user), key=lambda one: rank(one.severity))
    }
    for site in sites:
        for one in site.vehicles.values():
            alert, severity = burning.get((site.id, one.id), ("", ""))
            state, at, today, month, fuel, charge = figures.get(
                (site.id, one.id), ("unknown", None, None, None, None, None)
            )
            found.append(
                Vehicle(
                    one.id,
                    one.name(asked.language),
                    one.kind,
                    str(state),
                    formatting.local(_whole(at), site.zone),
                    formatting.quantity(_whole(today), "m"),
                    formatting.quantity(_whole(month), "m"),
                    formatting.litres(_whole(fuel)),
                    formatting.quantity(_whole(charge), "Wh"),
                    alert,
                    severity,
                )
            )
    found.sort(key=lambda one: (not one.alert, -rank(one.severity), one.id))
    numbers = list(figures.values())
    sums = [
        (str(sum(1 for one in numbers if one[0] == "on trip")), asked.say("on the road")),
        (formatting.quantity(_sum(numbers, 2), "m"), asked.say("today")),
        (formatting.quantity(_sum(numbers, 3), "m"), asked.say("this month")),
        (formatting.litres(_sum(numbers, 4)), asked.say("fuel")),
        (formatting.quantity(_sum(numbers, 5), "Wh"), asked.say("charged")),
    ]
    return asked.page("vehicles.html", active="vehicles", vehicles=found, sums=sums, missing=missing)


def _sum(numbers: list[tuple[object, ...]], column: int) -> int | None:
    return sum(_whole(one[column]) or 0 for one in numbers) or None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and value else None


def _figures(asked: Asked, site: Site) -> dict[tuple[str, str], tuple[object, ...]]:
    now_ms = rows.clock_ms(asked, site.id)
    today = site.today(now_ms)
    found = asked.parts.history.rows(
        "SELECT vehicle, toUnixTimestamp64Milli(max(ts)), argMaxIf(kind, ts, kind IN ('trip_start', 'trip_end')),"
        " argMaxIf(ignition, ts, ignition IS NOT NULL), sumIf(distance_m, ts >= fromUnixTimestamp64Milli({day:Int64})),"
        " sum(distance_m), sum(fuel_ml), sum(energy_wh) FROM vehicle_events WHERE site = {site:String}"
        " AND ts >= fromUnixTimestamp64Milli({month:Int64}) GROUP BY vehicle",
        site=site.id,
        day=midnight_ms(today, site),
        month=midnight_ms(today.replace(day=1), site),
    )
    return {
        (site.id, str(vehicle)): (_state(str(trip), ignition), int(at), *(int(one or 0) for one in numbers))
        for vehicle, at, trip, ignition, *numbers in found
    }


def _state(trip: str, ignition: object) -> str:
    if trip == "trip_start":
        return "on trip"
    return "engine on" if ignition else "parked"
