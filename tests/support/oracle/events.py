"""Waste and vehicle events as readings, by the table of generated points."""

from typing import Any

from schemas.errors import DecodeError
from schemas.model.document import Document

Reading = tuple[int, int, int]
"""(point, value, length of a delta in ms)"""


def points_of(document: Document) -> dict[str, int]:
    """Point id → number."""
    table = document.table("points")
    return {str(name): int(str(number)) for name, number in zip(table["id"], table["number"], strict=True)}


def waste(event: dict[str, Any], document: Document) -> list[Reading] | str:
    """What a waste event says, or why it is rejected."""
    points, kind, station, waste_class = points_of(document), event["kind"], event["station"], event["waste_class"]
    stations = document.table("stations").get("id", [])
    if kind in ("deposit", "collected", "fill"):
        if station is None:
            return "missing_field"
        if station not in stations:
            return "unknown_station"
    if kind == "fill":
        return _fill(event, document, points)
    mass = event["mass_g"]
    if waste_class is None or mass is None or mass < 0:
        return "missing_field"
    where = f"station:{station}" if kind in ("deposit", "collected") else f"site:{event['site']}"
    measure = {"deposit": "deposited"}.get(kind, kind)
    number = points.get(f"{where}/{waste_class}/{measure}")
    if number is None:
        return "unknown_class"
    if mass > 1 << 62:
        raise DecodeError("a mass that nothing has")
    found = [(number, mass, 0)]
    if kind == "deposit" and event["verdict"] in ("wrong_class", "correct"):
        found.append((points[f"{where}/{waste_class}/wrong"], int(event["verdict"] == "wrong_class"), 0))
    return found


def _fill(event: dict[str, Any], document: Document, points: dict[str, int]) -> list[Reading] | str:
    level = event["fill_permille"]
    if level is None or not 0 <= level <= 1000:
        return "missing_field"
    names = [f"bin:{event['bin']}/fill" if event["bin"] is not None else f"station:{event['station']}/fill"]
    bins = document.table("bins")
    if event["bin"] is None:
        own = zip(bins.get("id", []), bins.get("station", []), bins.get("class", []), strict=True)
        names += [
            f"bin:{name}/fill" for name, at, kind in own if (at, kind) == (event["station"], event["waste_class"])
        ]
    number = next((points[name] for name in names if name in points), None)
    return "unknown_station" if number is None else [(number, level * 100, 0)]


def vehicle(event: dict[str, Any], document: Document) -> list[Reading] | str:
    """What a vehicle event says, or why it is rejected."""
    if event["vehicle"] not in document.table("vehicles").get("id", []):
        return "unknown_vehicle"
    kind, start, time = event["kind"], event["start_ms"], event["time_ms"]
    span = 0 if start is None else time - start
    found: list[tuple[str, int, int]] = []
    needed = {"trip_end": ("distance", "distance_m"), "fuel": ("fuel", "fuel_ml"), "charge": ("charge", "energy_wh")}
    if kind in needed:
        measure, field = needed[kind]
        if event[field] is None or event[field] < 0 or span < 0:
            return "missing_field"
        found.append((measure, event[field], span))
    switch = {
        "trip_start": ("on_trip", 1),
        "trip_end": ("on_trip", 0),
        "order_start": ("order", 1),
        "order_end": ("order", 0),
    }
    if kind in switch:
        found.append((*switch[kind], 0))
    scaled = (
        ("odometer", "odometer_m", 1000, 1),
        ("ignition", "ignition", 1, 1),
        ("speed", "speed_mm_s", 36, 10),
        ("soc", "soc_permille", 100, 1),
    )
    found += [
        (measure, int(event[field]) * up // down, 0) for measure, field, up, down in scaled if event[field] is not None
    ]
    if any(abs(value) > 1 << 62 or abs(length) > 1 << 53 for _, value, length in found):
        raise DecodeError("a value that no counter has")
    points = points_of(document)
    names = ((f"vehicle:{event['vehicle']}/{measure}", value, length) for measure, value, length in found)
    return [(points[name], value, length) for name, value, length in names if name in points]
