"""The measured series of the civic centre: which point shows which quantity of the simulated world."""

import dataclasses
import functools
from typing import Final

import numpy as np

from ganzhi.demo import fleet, people, plant
from ganzhi.demo.layout import GROUNDS, SITES, floor_gateway, floor_id, zones
from ganzhi.demo.metering import State
from ganzhi.demo.registers import main_gateway, registers, supplies
from ganzhi.demo.sensors import sensors
from ganzhi.demo.spans import Ints
from ganzhi.demo.world import FLOORS, PHASES

REGISTER_INTERVAL_S: Final = 900
"""What meters promise; live, they are read every minute."""
GAUGE_INTERVAL_S: Final = 300
"""What sensors promise; they tell every change and, every minute, that they are there."""
GAUGE_MAX_AGE_S: Final = 900
UNSEEN: Final = ("A-0124", "C-0305", "C-0312")
"""Rooms where nothing tells whether somebody is there: an archive, a tea-room, a meeting room."""
SWITCHED: Final = ("A-0212",)
"""Offices whose lights say only that they are on."""
BRIGHT: Final = ("A-0214",)
"""Offices where only a sensor of brightness tells of the lights."""
POWERED: Final = ("A-0213",)
"""Offices with one power for lights and sockets together."""
SOCKET_FLOORS: Final = ("B-F02",)
"""Floors whose offices have a sensor of what their sockets carry."""


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    """One point.

    Attributes:
        id: point id.
        site: site id.
        gateway: who sends it.
        space: where it measures.
        equip: what it is of, or empty.
        role: role, as in `schemas/roles.csv`.
        kind: register, gauge or state.
        unit: unit of the model.
        medium: medium, or empty.
        rated: largest value in its unit (registers: per hour), or 0.
        channel: which array of `State` it shows.
        column: which column of it.
        in_history: whether the history has it.
    """

    id: str
    site: str
    gateway: str
    space: str
    equip: str
    role: str
    kind: str
    unit: str
    medium: str
    rated: float
    channel: str
    column: int
    in_history: bool


@functools.cache
def points() -> tuple[Point, ...]:
    """Every point, those of a gateway side by side."""
    found = [*_registers(), *_rooms(), *_sensors(), *_flows(), *_plant(), *_weather()]
    return tuple(sorted(found, key=lambda point: (SITES.index(point.site), point.gateway)))


@functools.cache
def point_index() -> dict[str, int]:
    """Point id → column of `observe`."""
    return {point.id: i for i, point in enumerate(points())}


def _registers() -> list[Point]:
    units = {"water": "m3", "hot_water": "m3"}
    return [
        Point(
            one.id,
            one.site,
            one.gateway,
            one.space,
            one.equip,
            one.role,
            "register",
            units.get(one.medium, "kWh"),
            one.medium,
            one.rated,
            "register",
            i,
            True,
        )
        for i, one in enumerate(registers())
    ]


def _rooms() -> list[Point]:
    found = []
    for i, zone in enumerate(zones()):
        where = (zone.site, zone.gateway, zone.id)
        if floor_id(zone.building, zone.floor) in SOCKET_FLOORS and zone.kind == "office":
            sockets = (f"{zone.id}.sockets", *where, "", "socket_power", "gauge", "W", "electricity", 0)
            found.append(Point(*sockets, "socket_mw", i, False))
        if zone.id in SWITCHED:
            found.append(Point(f"{zone.id}.on", *where, "", "light_on", "state", "bool", "", 0, "light_on", i, False))
        elif zone.id in BRIGHT:
            found.append(Point(f"{zone.id}.lux", *where, "", "lux", "gauge", "lux", "", 0, "room_lux_ml", i, False))
        elif zone.id in POWERED:
            power = (f"{zone.id}.power", *where, "", "power", "gauge", "W", "electricity", 0)
            found.append(Point(*power, "room_mw", i, True))
        else:
            light = (f"{zone.id}.light", *where, "", "light_power", "gauge", "W", "electricity", zone.light_w * 1.2)
            found.append(Point(*light, "light_mw", i, False))
        if zone.kind != "landscape" and zone.id not in UNSEEN:
            found.append(
                Point(f"{zone.id}.people", *where, "", "occupancy", "state", "people", "", 0, "people", i, False)
            )
        if zone.ac_w:
            unit = f"{zone.id}-ac"
            found.append(
                Point(f"{zone.id}.ac_on", *where, unit, "ac_running", "state", "bool", "", 0, "air_on", i, False)
            )
            found.append(
                Point(
                    f"{zone.id}.ac_power",
                    *where,
                    unit,
                    "ac_power",
                    "gauge",
                    "W",
                    "electricity",
                    zone.ac_w * 1.2,
                    "air_mw",
                    i,
                    False,
                )
            )
    return found


def _sensors() -> list[Point]:
    found = []
    for i, one in enumerate(sensors()):
        zone = zones()[one.zone]
        where = (zone.site, zone.gateway, zone.id)
        found.append(Point(one.id, *where, "", one.role, one.kind, one.unit, "", 0, "sensor", i, False))
    return found


def _flows() -> list[Point]:
    found = []
    for i, fixture in enumerate(people.fixtures()):
        zone = zones()[fixture.zone]
        found.append(
            Point(
                f"{fixture.id}.flow",
                zone.site,
                zone.gateway,
                zone.id,
                fixture.id,
                "water_flow",
                "gauge",
                "L/min",
                "water",
                0,
                "fixture_ml_min",
                i,
                False,
            )
        )
    for i, (building, floor) in enumerate(FLOORS):
        place = floor_id(building.id, floor)
        gateway = floor_gateway(building.id, floor)
        found.append(
            Point(
                f"{place}.flow",
                building.site,
                gateway,
                place,
                f"{place}-branch",
                "water_flow",
                "gauge",
                "L/min",
                "water",
                0,
                "branch_ml_min",
                i,
                False,
            )
        )
    return found


def _plant() -> list[Point]:
    found = []
    roles = {
        "lift": "lift_power",
        "pump": "pump_power",
        "fan": "fan_power",
        "heat_pump": "heat_pump_power",
        "pv_inverter": "pv_power",
    }
    for i, load in enumerate(plant.loads()):
        if load.kind in roles and load.profile != "regeneration":
            found.append(
                Point(
                    f"{load.id}.power",
                    load.site,
                    main_gateway(load.site),
                    load.building,
                    load.id,
                    roles[load.kind],
                    "gauge",
                    "W",
                    "electricity",
                    load.peak_w * 1.5,
                    "plant_mw",
                    i,
                    load.kind == "pv_inverter",
                ),
            )
        where = (load.site, main_gateway(load.site), load.building)
        if load.kind == "fan":
            on = (f"{load.id}.running", *where, load.id, "fan_running", "state", "bool", "", 0)
            found.append(Point(*on, "plant_on", i, True))
        if load.kind == "pv_inverter":
            should = (f"{load.id}.expected", *where, plant.array_of(load.id), "pv_expected", "gauge", "W", "", 0)
            found.append(Point(*should, "expected_mw", i, True))
    for i, charger in enumerate(fleet.chargers()):
        found.append(
            Point(
                f"{charger}.power",
                GROUNDS,
                "gw-g-garage",
                "G",
                charger,
                "charger_power",
                "gauge",
                "W",
                "electricity",
                8000,
                "charger_mw",
                i,
                False,
            )
        )
    return found


def _weather() -> list[Point]:
    """Weather, and what the switch room of a supply sees: power and the voltage of three phases."""
    found = []
    for number, site, letter in supplies():
        where = (site, main_gateway(site), letter, "")
        power = (f"{letter}.power", *where, "power", "gauge", "W", "electricity", 0)
        found.append(Point(*power, "demand_mw", number, True))
        found += [
            Point(phase, *where, "voltage", "gauge", "V", "", 0, "voltage_mv", i, False)
            for i, phase in enumerate(PHASES)
            if phase[0] == letter
        ]
        found.append(
            Point(
                f"{letter}.temperature",
                *where,
                "outdoor_temperature",
                "gauge",
                "degC",
                "",
                0,
                "temperature_mc",
                0,
                True,
            )
        )
        found.append(Point(f"{letter}.lux", *where, "outdoor_lux", "gauge", "lux", "", 0, "lux_ml", 0, True))
    return found


class Observer:
    """Reads points off a state.

    Attributes:
        gauges: int64[n], columns of `points()` that are gauges or states.
        registers: int64[m], columns of `points()` that are registers, in the order of `registers()`.
    """

    def __init__(self) -> None:
        kinds = np.asarray([point.kind for point in points()])
        self.gauges: Ints = np.flatnonzero(kinds != "register")
        found = np.flatnonzero(kinds == "register")
        self.registers: Ints = found[np.argsort([points()[i].column for i in found])]
        self._channels: dict[str, tuple[Ints, Ints]] = {}
        for channel in sorted({points()[i].channel for i in self.gauges}):
            at = np.asarray([k for k, i in enumerate(self.gauges) if points()[i].channel == channel], np.int64)
            self._channels[channel] = at, np.asarray([points()[self.gauges[k]].column for k in at], np.int64)
        self._divisor = np.asarray([one.divisor for one in registers()], np.int64)
        self._step = np.asarray([one.step for one in registers()], np.int64)
        self._first = np.asarray([one.first for one in registers()], np.int64)
        self._span = np.asarray([10**one.digits for one in registers()], np.int64)

    def read_gauges(self, state: State) -> Ints:
        """Values int64[moments, n] of `gauges`, as the log carries them."""
        found = np.zeros((len(state.people), len(self.gauges)), np.int64)
        for channel, (at, columns) in self._channels.items():
            values = getattr(state, channel)
            found[:, at] = values[:, None] if values.ndim == 1 else values[:, columns]
        return found

    def read_registers(self, counted: Ints) -> Ints:
        """Readings int64[…, m] of `registers`, Wh or mL, when they have counted so many internal units."""
        return (self._first + counted // self._divisor) % self._span * self._step
