"""Events of the demo that are not readings: what a vehicle or a bin says."""

import dataclasses
from collections.abc import Mapping
from typing import Final

from schemas.codec import Value, schema


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """One event, ready to be sent.

    Attributes:
        time_s: when it is told; seconds from local midnight of the first simulated date.
        topic: input topic, without prefix.
        site: home site.
        contract: its Avro contract.
        value: all fields of the contract.
    """

    time_s: int
    topic: str
    site: str
    contract: str
    value: Mapping[str, Value]


_FIELDS: Final[dict[str, tuple[str, ...]]] = {}


def make(time_s: int, epoch_ms: int, topic: str, site: str, contract: str, **fields: Value) -> Event:
    """Makes an event of the fields that it has; the others of the contract are null."""
    if contract not in _FIELDS:
        listed = schema(contract)["fields"]
        fields_of = listed if isinstance(listed, list) else []
        _FIELDS[contract] = tuple(str(field["name"]) for field in fields_of if isinstance(field, dict))
    value: dict[str, Value] = dict.fromkeys(_FIELDS[contract])
    value.update(site=site, time_ms=epoch_ms + time_s * 1000, **fields)
    return Event(time_s, topic, site, contract, value)


def counted(event: Event) -> dict[str, int]:
    """What an event adds to the points that `apply` makes for stations, sites, vehicles (`schemas.model.generated`)."""
    said = {name: str(value) for name, value in event.value.items() if value is not None}
    kind = said["kind"]
    if event.contract == "vehicle_event":
        field = {"trip_end": ("distance", "distance_m"), "fuel": ("fuel", "fuel_ml"), "charge": ("charge", "energy_wh")}
        measure, column = field.get(kind, ("", ""))
        return {f"vehicle:{said['vehicle']}/{measure}": int(said[column])} if measure else {}
    if kind == "fill":
        return {}
    mass_g = int(said["mass_g"])
    if kind in ("deposit", "collected"):
        place = f"station:{said['station']}/{said['waste_class']}"
        wrong = {f"{place}/wrong": 1} if said.get("verdict") == "wrong_class" else {}
        return {f"{place}/{'deposited' if kind == 'deposit' else kind}": mass_g} | wrong
    return {f"site:{event.site}/{said['waste_class']}/{kind}": mass_g}
