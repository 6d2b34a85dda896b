"""From the state of the world to the flow through every register.

All sums are exact integers: what a total counts is what its parts count, plus losses and loads without a meter of their
own, which are known here.
"""

import dataclasses
from typing import Final

import numpy as np

from ganzhi.demo import people, plant
from ganzhi.demo.layout import zone_index, zones
from ganzhi.demo.registers import FLOOR_SLICES, METERED_TOILETS, supplies
from ganzhi.demo.sensors import sensors
from ganzhi.demo.spans import Ints
from ganzhi.demo.world import FLOORS

SIGN_MW: Final = 20_000
"""Signs and clocks of a floor, which only the floor's meter sees."""
OUTDOOR_UNIT_MW: Final = 180_000
"""Stand-by of the outdoor unit of a floor."""
LAMPS_ML: Final = 350_000
"""How bright lamps make a room, thousandths of a lux."""
WINDOW_PART: Final = 100
"""What comes in of the light outdoors is a part of so many."""
NOMINAL_MV: Final = 226_000
"""Voltage of a phase that carries nothing; it falls by 2 V for 100 kW of its supply."""
_ZONES_OF_FLOOR: Final = 25
"""24 rooms and the emergency circuit, side by side."""


@dataclasses.dataclass(frozen=True)
class State:
    """Everything at some moments; arrays int64[moments, columns], power in mW, flow in mL/min."""

    people: Ints
    light_mw: Ints
    air_on: Ints
    air_mw: Ints
    fixture_ml_min: Ints
    branch_ml_min: Ints
    register_flow: Ints
    plant_mw: Ints
    plant_on: Ints
    expected_mw: Ints
    socket_mw: Ints
    demand_mw: Ints
    voltage_mv: Ints
    sensor: Ints
    light_on: Ints
    room_lux_ml: Ints
    room_mw: Ints
    standby_mw: Ints
    charger_mw: Ints
    temperature_mc: Ints
    lux_ml: Ints

    def each(self, count: int) -> "State":
        """The last of every `count` moments."""
        return State(*(getattr(self, field.name)[count - 1 :: count] for field in dataclasses.fields(self)))


class Meters:
    """Turns levels of the world's channels into a `State`."""

    def __init__(self) -> None:
        every = zones()
        self._light_mw = np.asarray([zone.light_w * 1000 for zone in every], np.int64)
        self._air_mw = np.asarray([zone.ac_w for zone in every], np.int64)  # W: times permille is mW
        self._standby_mw = np.asarray([zone.seats * 6_000 for zone in every], np.int64)
        self._person_mw = np.asarray([70_000 if zone.kind == "office" else 2_000 for zone in every], np.int64)
        self._fixture_zone = np.asarray([fixture.zone for fixture in people.fixtures()], np.int64)
        self._fixture_floor = self._fixture_zone // _ZONES_OF_FLOOR
        self._toilets = [zone_index()[name] for name in METERED_TOILETS]
        self._signs = np.asarray([load.sign for load in plant.loads()], np.int64)
        self._sensors = np.asarray([one.value for one in sensors()], np.int64)
        self._running_mw = np.asarray([load.peak_w * plant.RUNNING_PERMILLE for load in plant.loads()], np.int64)
        self._load_building = np.asarray(["ABCG".index(load.building) for load in plant.loads()], np.int64)
        self._outdoors = zone_index()["G-P1"]

    def state(self, levels: dict[str, Ints], day: plant.PlantDay, minute: Ints) -> State:
        """The state at some moments of one day.

        Args:
            levels: int64[moments, columns] of every channel of the world.
            day: the plant on that day.
            minute: int64[moments], minute of the day of each moment.
        """
        light = (levels["light"] > 0) * self._light_mw
        air_on = (levels["air"] > 0).astype(np.int64)
        permille = plant.air_conditioning_permille(day.temperature_mc[minute])
        air = air_on * self._air_mw * permille[:, None]
        sockets = self._standby_mw + levels["people"] * self._person_mw + levels["plug"]
        rooms = light + sockets
        load = day.power_mw[minute]
        branch = self._branches(levels)
        electric, demand = self._electric(rooms, air, load, levels)
        water = self._water(branch, levels["water"], levels["main"], day, minute)
        return State(
            levels["people"], light, air_on, air, levels["water"], branch, np.concatenate([electric, water], axis=1),
            load, (load > self._running_mw).astype(np.int64), day.expected_mw[minute], sockets, demand,
            np.maximum(NOMINAL_MV - np.repeat(demand, 3, axis=1) // 50_000 + levels["voltage"], 0),
            self._sensors + levels["sensor"], (light > 0).astype(np.int64),
            (light > 0) * LAMPS_ML + day.lux_ml[minute][:, None] // WINDOW_PART, rooms,
            np.broadcast_to(self._standby_mw, rooms.shape),
            levels["charger"], day.temperature_mc[minute], day.lux_ml[minute],
        )  # fmt: skip

    def _electric(self, rooms: Ints, air: Ints, load: Ints, levels: dict[str, Ints]) -> tuple[Ints, Ints]:
        """Power through every register of electricity, and through the first transformer of each supply."""
        moments, charger = len(rooms), levels["charger"]
        by_floor = rooms[:, : self._outdoors].reshape(moments, len(FLOORS), _ZONES_OF_FLOOR)
        corridors = by_floor[:, :, 0] + by_floor[:, :, 1] + by_floor[:, :, -1]
        sockets = by_floor.sum(axis=2) - corridors + SIGN_MW + levels["hidden"]
        cooling = air[:, : self._outdoors].reshape(moments, len(FLOORS), _ZONES_OF_FLOOR).sum(axis=2) + OUTDOOR_UNIT_MW
        supply: list[Ints] = []
        for number, _, letter in supplies():
            plant_net = (load * self._signs)[:, self._load_building == number].sum(axis=1)
            if letter == "G":
                net = plant_net + rooms[:, self._outdoors :].sum(axis=1) + charger.sum(axis=1)
            else:
                net = plant_net + (sockets + corridors)[:, FLOOR_SLICES[letter]].sum(axis=1)
            net = net + 700_000 + np.abs(net) // 100  # no-load and load losses of the transformer
            supply += [np.maximum(net, 0), np.maximum(-net, 0)]
            if letter != "G":
                cold = cooling[:, FLOOR_SLICES[letter]].sum(axis=1)
                supply.append(cold + 700_000 + cold // 100)
        every = np.concatenate([rooms, sockets, corridors, cooling, load, charger, np.stack(supply, axis=1)], axis=1)
        return every, np.stack([supply[i] for i in (0, 3, 6, 9)], axis=1)

    def _branches(self, levels: dict[str, Ints]) -> Ints:
        branch = levels["leak"].copy()
        np.add.at(branch.T, self._fixture_floor, levels["water"].T)
        return branch

    def _water(self, branch: Ints, fixture: Ints, main: Ints, day: plant.PlantDay, minute: Ints) -> Ints:
        totals = [branch[:, FLOOR_SLICES[letter]].sum(axis=1) + main[:, i] for i, letter in enumerate("ABC")]
        hot, irrigation = day.hot_water_ml_min[minute], day.irrigation_ml_min[minute]
        heat_mw = day.power_mw[minute][:, plant.load_index()["G-heat"]] * 16 // 5  # coefficient of performance 3.2
        tank, tower = day.tank_ml_min[minute], day.tower_ml_min[minute]
        grounds = [hot + irrigation + tank + tower + main[:, 3], irrigation, hot, heat_mw]
        toilets = [fixture[:, self._fixture_zone == zone].sum(axis=1) for zone in self._toilets]
        return np.concatenate([branch, np.stack([*totals, *grounds, *toilets, tank, tower], axis=1)], axis=1)
