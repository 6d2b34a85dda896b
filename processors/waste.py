"""Waste events as readings: masses as deltas of station and class, fill levels as gauges, wrong sorting as a count.

A lot's way (collected → transported → received → used or disposed) is in `waste_events`; its mass at every step is in
the ledger.
"""

from processors.events import Made, Pseudo
from processors.layout import Layout
from schemas.codec import Value
from schemas.reasons import Reason

_STATION_KINDS = {"deposit": "deposited", "collected": "collected"}
_WRONG = {"wrong_class": 1, "correct": 0}
"""What a verdict adds to the count of wrong deposits: one that was right says that time has passed without another."""
_SITE_KINDS = {"transported": "transported", "received": "received", "used": "used", "disposed": "disposed"}


def readings(event: dict[str, Value], layout: Layout) -> list[Pseudo] | Reason:
    """The readings that an event stands for, or why it is rejected."""
    site, kind, time_ms = str(event["site"]), str(event["kind"]), event["time_ms"]
    assert isinstance(time_ms, int)
    if site not in layout.documents:
        return Reason.UNKNOWN_SITE
    made = Made(layout, site, time_ms)
    station = event["station"]
    if (kind in _STATION_KINDS or kind == "fill") and (station is None or station not in made.places.stations):
        return Reason.MISSING_FIELD if station is None else Reason.UNKNOWN_STATION
    if kind == "fill":
        return _fill(event, made, str(station))
    waste_class, mass = event["waste_class"], event["mass_g"]
    if waste_class is None or not isinstance(mass, int) or mass < 0:
        return Reason.MISSING_FIELD
    where = str(station) if kind in _STATION_KINDS else ""
    measure = _STATION_KINDS.get(kind) or _SITE_KINDS[kind]
    if not made.has(where, str(waste_class), measure):  # said before a mass that no scale shows
        return Reason.UNKNOWN_CLASS
    made.add(where, str(waste_class), measure, mass)
    if kind == "deposit" and event["verdict"] in _WRONG:
        made.add(where, str(waste_class), "wrong", _WRONG[str(event["verdict"])])
    return made.readings


def _fill(event: dict[str, Value], made: Made, station: str) -> list[Pseudo] | Reason:
    level = event["fill_permille"]
    if not isinstance(level, int) or not 0 <= level <= 1000:
        return Reason.MISSING_FIELD
    where = "bin:" + str(event["bin"]) if event["bin"] is not None else station
    waste_class = str(event["waste_class"] or "")
    # per mille to thousandths of a per cent
    if not (made.add(where, waste_class, "fill", level * 100) or made.add(where, "", "fill", level * 100)):
        return Reason.UNKNOWN_STATION
    return made.readings
