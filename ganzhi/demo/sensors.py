"""Sensors of single rooms that show one value until a fault adds to it: windows, set-points, temperatures, leaks."""

import dataclasses
import functools
from typing import Final

from ganzhi.demo.layout import zones

COMFORT_ROOMS: Final = tuple(f"C-02{slot:02d}" for slot in range(6, 15))
"""Meeting rooms with a window contact and a thermostat."""
COOLING: Final = 1
"""What the mode of a thermostat says when it cools."""


@dataclasses.dataclass(frozen=True, slots=True)
class Sensor:
    """One sensor.

    Attributes:
        id: point id.
        zone: column of its zone.
        role: role of the point.
        kind: gauge or state.
        unit: unit of the model.
        value: what it shows, as the log carries it.
    """

    id: str
    zone: int
    role: str
    kind: str
    unit: str
    value: int


@functools.cache
def sensors() -> tuple[Sensor, ...]:
    """Every sensor of that kind."""
    found = []
    for i, zone in enumerate(zones()):
        if zone.id in COMFORT_ROOMS:
            found.append(Sensor(f"{zone.id}.window", i, "window_open", "state", "bool", 0))
            found.append(Sensor(f"{zone.id}.mode", i, "ac_mode", "state", "1", COOLING))
            found.append(Sensor(f"{zone.id}.setpoint", i, "ac_setpoint", "gauge", "degC", 26_000))
        if "crowded" in zone.tags:
            found.append(Sensor(f"{zone.id}.temperature", i, "temperature", "gauge", "degC", 25_500))
        if zone.kind in ("server_room", "kitchen"):
            found.append(Sensor(f"{zone.id}.leak", i, "leak", "state", "bool", 0))
    return tuple(found)


@functools.cache
def sensor_index() -> dict[str, int]:
    """Point id → column."""
    return {sensor.id: i for i, sensor in enumerate(sensors())}
