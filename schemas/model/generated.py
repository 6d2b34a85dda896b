"""Points that nobody writes into a model: what stations, bins, sites and vehicles count. `apply` makes them.

| id | kind, unit | of |
|---|---|---|
| `station:S/CLASS/deposited`, `…/collected` | delta, g | mass of a class |
| `station:S/CLASS/wrong` | delta, 1 | deposits whose verdict was a wrong class |
| `bin:B/fill`; `station:S/fill` where a station has no bins | gauge, % | fill level |
| `site:X/CLASS/transported`, `…/received`, `…/used`, `…/disposed` | delta, g | mass of a class along the chain |
| `vehicle:V/distance`, `…/fuel`, `…/charge` | delta, m, mL, Wh | of trips and sessions |
| `vehicle:V/odometer`, `…/speed`, `…/soc` | gauge, m, km/h, % | |
| `vehicle:V/ignition`, `…/on_trip`, `…/order` | state | |
| `space:S/presence` | state | whether somebody is in a space, estimated (`presence`) |
| `space:S/presence_probability` | gauge, % | how likely that is |

They are fed by events or estimated, not sent by a gateway: gateway is empty and interval_s is 0. A charge counts in no
total: the charger's meter counts.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from schemas.codec import Json
from schemas.model.presence import PROBABILITY_ROLE, STATE_ROLE, estimated_spaces
from schemas.topics import METER_READINGS, VEHICLE_EVENTS, WASTE_EVENTS

STATION_MEASURES: Final = (
    ("deposited", "waste_deposited", "g"),
    ("collected", "waste_collected", "g"),
    ("wrong", "waste_wrong", "1"),
)
SITE_MEASURES: Final = (
    ("transported", "waste_transported", "g"),
    ("received", "waste_received", "g"),
    ("used", "waste_used", "g"),
    ("disposed", "waste_disposed", "g"),
)
VEHICLE_MEASURES: Final = (
    # measure (also the role), kind, unit
    ("distance", "delta", "m"),
    ("fuel", "delta", "mL"),
    ("charge", "delta", "Wh"),
    ("odometer", "gauge", "m"),
    ("speed", "gauge", "km/h"),
    ("soc", "gauge", "%"),
    ("ignition", "state", "1"),
    ("on_trip", "state", "1"),
    ("order", "state", "1"),
)
NO_FUEL: Final = ("electric",)
NO_CHARGE: Final = ("gasoline", "diesel", "gas")
FUELS: Final = {"diesel": "diesel", "gas": "gas"}
"""Medium of what is filled in; gasoline for the others."""

Row = dict[str, Json]


def generated_points(site: str, tables: Mapping[str, Mapping[str, list[Json]]]) -> Iterator[Row]:
    """Rows of points for what the site's tables `stations`, `bins` and `vehicles` have."""
    classes: set[str] = set()
    bins = _rows(tables.get("bins", {}))
    for station in _rows(tables.get("stations", {})):
        own = [row for row in bins if row["station"] == station["id"]]
        listed = station["class"] if isinstance(station["class"], list) else []
        taken = sorted({str(name) for name in listed} | {str(row["class"]) for row in own})
        classes.update(taken)
        yield from _of_station(site, station, taken, own)
    for waste_class in sorted(classes):
        for measure, role, unit in SITE_MEASURES:
            yield _waste(f"site:{site}/{waste_class}/{measure}", site, role, unit, measure, waste_class=waste_class)
    for vehicle in _rows(tables.get("vehicles", {})):
        yield from _of_vehicle(site, str(vehicle["id"]), str(vehicle["energy"] or ""))
    yield from _of_spaces(site, tables.get("points", {}))


def _rows(table: Mapping[str, list[Json]]) -> list[Row]:
    return [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]


def _waste(name: str, site: str, role: str, unit: str, measure: str, **more: Json) -> Row:
    kind = "gauge" if unit == "%" else "delta"
    return {
        "id": name, "site": site, "role": role, "kind": kind, "medium": "waste", "unit": unit, "measure": measure,
        "topic": WASTE_EVENTS, **more,
    }  # fmt: skip


def _of_station(site: str, station: Row, classes: list[str], bins: list[Row]) -> Iterator[Row]:
    name, space = station["id"], station["space"]
    for waste_class in classes:
        for measure, role, unit in STATION_MEASURES:
            point = f"station:{name}/{waste_class}/{measure}"
            yield _waste(point, site, role, unit, measure, station=name, space=space, waste_class=waste_class)
    for row in bins:
        more: Row = {"station": name, "space": space, "bin": row["id"], "waste_class": row["class"]}
        yield _waste(f"bin:{row['id']}/fill", site, "fill_level", "%", "fill", **more, min="0", max="100")
    if not bins:
        yield _waste(
            f"station:{name}/fill", site, "fill_level", "%", "fill", station=name, space=space, min="0", max="100"
        )


def _of_spaces(site: str, points: Mapping[str, Sequence[Json]]) -> Iterator[Row]:
    """An estimate is as old as its oldest evidence may be: then it is unknown."""
    for space, evidence in estimated_spaces(points).items():
        ages = [int(str(row.get("max_age_s") or 3 * int(str(row.get("interval_s") or 0)))) for row in evidence]
        common: Row = {"site": site, "space": space, "topic": METER_READINGS, "max_age_s": max(ages) or None}
        yield {"id": f"space:{space}/{STATE_ROLE}", "role": STATE_ROLE, "kind": "state", "unit": "1", **common}
        yield {
            "id": f"space:{space}/{PROBABILITY_ROLE}", "role": PROBABILITY_ROLE, "kind": "gauge", "unit": "%", **common,
        }  # fmt: skip


def _of_vehicle(site: str, name: str, energy: str) -> Iterator[Row]:
    for measure, kind, unit in VEHICLE_MEASURES:
        if (measure == "fuel" and energy in NO_FUEL) or (measure in ("charge", "soc") and energy in NO_CHARGE):
            continue
        media = {
            "distance": "travel",
            "odometer": "travel",
            "fuel": FUELS.get(energy, "gasoline"),
            "charge": "electricity",
        }
        yield {
            "id": f"vehicle:{name}/{measure}", "site": site, "role": measure, "kind": kind, "unit": unit,
            "medium": media.get(measure), "measure": measure, "topic": VEHICLE_EVENTS, "vehicle": name,
        }  # fmt: skip
