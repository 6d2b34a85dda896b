"""The state of the civic centre at any moment, as a pure function of the seed and the time.

Levels of some channels (people, lights wanted on, air conditioning wanted on, flow at fixtures, power of chargers,
leaks, loads that somebody left on, deviations of voltage) are sums of spans (`spans`); powers and flows follow from
levels and from the plant (`plant`). Time is in seconds from local midnight of the first simulated date.
"""

import dataclasses
import datetime as dt
import functools
from collections.abc import Callable
from typing import Final
from zoneinfo import ZoneInfo

import chinese_calendar
import numpy as np

from ganzhi.demo import faults, fleet, people, plant
from ganzhi.demo.layout import BUILDINGS, zone_index, zones
from ganzhi.demo.sensors import sensor_index, sensors
from ganzhi.demo.spans import Ints, Spans

ZONE: Final = ZoneInfo("Asia/Shanghai")
DAY_S: Final = 86_400
FLOORS: Final = tuple((building, floor) for building in BUILDINGS for floor in range(1, building.floors + 1))
LANDSCAPE_S: Final = (people.clock_s(19, 10), people.clock_s(22, 30))
"""When the landscape lighting is meant to be on (the model's schedule `landscape`)."""
CHANNELS: Final = ("people", "light", "air", "water", "charger", "leak", "main", "hidden", "plug", "voltage", "sensor")
PHASES: Final = tuple(f"{letter}.U{phase}" for letter in "ABCG" for phase in (1, 2, 3))
"""Phases whose voltage is measured, three for each supply."""


@dataclasses.dataclass(frozen=True, slots=True)
class Channels:
    """Spans of every channel: people, light, air by zone; water by fixture and leak by floor, mL/min; charger, mW.

    And faults: main by supply, mL/min; hidden by floor and plug by zone, mW; voltage by phase, mV; sensor, as it shows.
    """

    people: Spans
    light: Spans
    air: Spans
    water: Spans
    charger: Spans
    leak: Spans
    main: Spans
    hidden: Spans
    plug: Spans
    voltage: Spans
    sensor: Spans


def columns() -> dict[str, int]:
    """How many columns each channel has."""
    count = len(zones())
    return {
        "people": count, "light": count, "air": count, "water": len(people.fixtures()),
        "charger": len(fleet.chargers()), "leak": len(FLOORS), "main": 4, "hidden": len(FLOORS), "plug": count,
        "voltage": len(PHASES), "sensor": len(sensors()),
    }  # fmt: skip


def is_workday(date: dt.date) -> bool:
    """Whether the Chinese calendar makes people work on that day."""
    return bool(chinese_calendar.is_workday(date))


class World:
    """One civic centre.

    Args:
        seed: of everything that happens.
        live: the date on which the live part takes place and faults are injected.
        days: how many dates of history come before it.
    """

    def __init__(self, seed: int, live: dt.date, days: int) -> None:
        self.seed = seed
        self.live = live
        self.days = days
        self.first = live - dt.timedelta(days=days)
        midnight = dt.datetime.combine(self.first, dt.time(), ZONE)
        self.epoch_ms = int(midnight.timestamp()) * 1000
        kinds = [zone.kind for zone in zones()]
        # a sensor holds the light for minutes after the last movement, a card switch the air conditioning for eight
        hold = {"office": 300, "meeting": 300, "corridor": 90, "tea_room": 120, "toilet": 150, "garage": 120}
        self._light_hold_s = np.asarray([hold.get(kind, 240) for kind in kinds], np.int64)
        self._air_hold_s = np.full(len(kinds), 480, np.int64)
        self._cooled = np.asarray([zone.ac_w > 0 for zone in zones()])
        self._emergency = np.asarray([i for i, zone in enumerate(zones()) if "emergency" in zone.tags], np.int64)
        self._landscape = np.asarray([i for i, kind in enumerate(kinds) if kind == "landscape"], np.int64)
        self._servers = np.asarray([i for i, kind in enumerate(kinds) if kind == "server_room"], np.int64)
        self.channels = functools.lru_cache(4)(self._channels)
        self.plant = functools.lru_cache(4)(self._plant)

    def date(self, number: int) -> dt.date:
        """The date with that number; 0 is the first."""
        return self.first + dt.timedelta(days=number)

    def routine(self, number: int) -> people.Routine:
        """What is special about a date."""
        working = is_workday(self.date(number))
        if number != self.days:
            return people.Routine(working)
        by = {
            i: faults.HOME_BY_S[when]
            for i, zone in enumerate(zones())
            for prefix, when in faults.EMPTY_FROM.items()
            if zone.id.startswith(prefix)
        }
        return people.Routine(working, by, {zone_index()[zone]: at for zone, at in faults.CLOSED_S.items()})

    def _plant(self, number: int) -> plant.PlantDay:
        date = self.date(number)
        day = plant.day(self.seed, date.toordinal(), is_workday(date), (date - dt.date(date.year, 5, 1)).days)
        return plant.broken(day, faults.of("runs", "share", "fills"), (number - self.days) * DAY_S)

    def _channels(self, number: int) -> Channels:
        """Spans that begin on a date."""
        date = self.date(number)
        random = np.random.Generator(np.random.PCG64([self.seed, date.toordinal(), 3]))
        day = people.day(self.seed, date.toordinal(), self.routine(number))
        spans = day.people
        lit = random.random(len(zones())) < 0.88
        shared = np.asarray([zone.seats == 0 for zone in zones()])
        hot = bool(self._plant(number).temperature_mc.max() > 24_000)
        cooled = self._cooled & (random.random(len(zones())) < 0.85) & hot
        light = [
            spans.where((lit | shared)[spans.column]).longer(self._light_hold_s),
            Spans.of(self._emergency, 0, DAY_S),
            Spans.of(self._landscape, *LANDSCAPE_S),
        ]
        air = [spans.where(cooled[spans.column]).longer(self._air_hold_s), Spans.of(self._servers, 0, DAY_S)]
        if number < self.days and is_workday(date):
            light.append(Spans.of(self._forgotten(random, 6), people.clock_s(16, 30), people.clock_s(22)))
            air.append(Spans.of(self._forgotten(random, 4), people.clock_s(16, 30), people.clock_s(22)))
        charger = fleet.charging(self.seed, date.toordinal(), is_workday(date))
        wrong = self._wrong(number)
        by = number * DAY_S
        return Channels(
            spans.later(by),
            Spans.join([*light, *wrong["light"]]).later(by),
            Spans.join([*air, *wrong["air"]]).later(by),
            Spans.join([day.water, *wrong["water"]]).later(by),
            charger.later(by),
            *(Spans.join(wrong[name]).later(by) for name in CHANNELS[5:]),
        )

    def _wrong(self, number: int) -> dict[str, list[Spans]]:
        """Spans of the faults that begin on a date, by channel; those that are older begin on the first one."""
        found: dict[str, list[Spans]] = {name: [] for name in CHANNELS}
        for fault in faults.SCRIPT:
            if fault.effect not in _WRONG or max(self.days + fault.start_s // DAY_S, 0) != number:
                continue
            channel, place, scale = _WRONG[fault.effect]
            by_s = (self.days - number) * DAY_S
            span = (max(fault.start_s + by_s, 0), fault.end_s + by_s, fault.amount * scale)
            found[channel].append(Spans.of(place(fault.where), *span))
        return found

    def _forgotten(self, random: np.random.Generator, count: int) -> Ints:
        offices = np.asarray([i for i, zone in enumerate(zones()) if zone.kind == "office"], np.int64)
        return random.choice(offices, count, replace=False)


@functools.cache
def _floor_ids() -> dict[str, int]:
    return {f"{building.id}-F{floor:02d}": i for i, (building, floor) in enumerate(FLOORS)}


def floor_index(space: str) -> int:
    """Column of a floor by its space id (`A-F05`)."""
    return _floor_ids()[space]


def _fixture(name: str) -> int:
    return [fixture.id for fixture in people.fixtures()].index(name)


_WRONG: Final[dict[str, tuple[str, Callable[[str], int], int]]] = {
    "light": ("light", lambda zone: zone_index()[zone], 1),
    "ac": ("air", lambda zone: zone_index()[zone], 1),
    "plug": ("plug", lambda zone: zone_index()[zone], 1000),
    "fixture": ("water", _fixture, 1),
    "branch": ("leak", floor_index, 1),
    "main": ("main", "ABCG".index, 1),
    "hidden": ("hidden", floor_index, 1000),
    "voltage": ("voltage", PHASES.index, 1),
    "sensor": ("sensor", lambda name: sensor_index()[name], 1),
}
"""Effect of a fault → its channel, the column of what it is about, and what one of its amount is there."""
