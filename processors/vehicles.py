"""Vehicle events as readings: distance, fuel and charge as deltas; ignition, speed, trip, order as what rules see.

A charge session has no `counts_in`: the charger's meter counts (DESIGN section 14).
"""

from processors.events import Made, Pseudo
from processors.layout import Layout
from schemas.codec import Value
from schemas.reasons import Reason

_SWITCHES = {
    "trip_start": ("on_trip", 1),
    "trip_end": ("on_trip", 0),
    "order_start": ("order", 1),
    "order_end": ("order", 0),
}
_NEEDED = {"trip_end": "distance_m", "fuel": "fuel_ml", "charge": "energy_wh"}
_MEASURE = {"trip_end": "distance", "fuel": "fuel", "charge": "charge"}


def readings(event: dict[str, Value], layout: Layout) -> list[Pseudo] | Reason:
    """The readings that an event stands for, or why it is rejected."""
    site, kind, vehicle, time_ms, start_ms = (
        str(event["site"]),
        str(event["kind"]),
        str(event["vehicle"]),
        event["time_ms"],
        event["start_ms"],
    )
    assert isinstance(time_ms, int)
    if site not in layout.documents:
        return Reason.UNKNOWN_SITE
    made = Made(layout, site, time_ms)
    if vehicle not in made.places.vehicles:
        return Reason.UNKNOWN_VEHICLE
    span_ms = time_ms - start_ms if isinstance(start_ms, int) else 0
    if kind in _NEEDED:
        amount = event[_NEEDED[kind]]
        if not isinstance(amount, int) or amount < 0 or span_ms < 0:
            return Reason.MISSING_FIELD
        made.add(vehicle, "", _MEASURE[kind], amount, span_ms)
    if kind in _SWITCHES:
        measure, value = _SWITCHES[kind]
        made.add(vehicle, "", measure, value)
    if isinstance(event["odometer_m"], int):
        made.add(vehicle, "", "odometer", event["odometer_m"] * 1000)
    if event["ignition"] is not None:
        made.add(vehicle, "", "ignition", int(event["ignition"] is True))
    if isinstance(event["speed_mm_s"], int):
        made.add(vehicle, "", "speed", event["speed_mm_s"] * 36 // 10)  # mm/s to thousandths of km/h
    if isinstance(event["soc_permille"], int):
        made.add(vehicle, "", "soc", event["soc_permille"] * 100)  # per mille to thousandths of a per cent
    return made.readings
