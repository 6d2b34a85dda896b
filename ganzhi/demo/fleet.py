"""Sixty vehicles: their trips, orders, refuelling, and the charge sessions that the chargers' meters see.

A day is a pure function of (seed, date); only the odometers add up from day to day.
"""

import dataclasses
import functools
from typing import Final

import numpy as np

from ganzhi.demo import events, faults
from ganzhi.demo.layout import SITES
from ganzhi.demo.spans import Spans
from schemas.topics import VEHICLE_EVENTS

VEHICLES: Final = 60
CHARGERS: Final = 12
CHARGER_W: Final = 6600
CHARGE_EFFICIENCY_PERCENT: Final = 93
"""What reaches the battery of what the charger's meter counts."""
STATE_S: Final = 60
"""A vehicle with the ignition on says so every minute."""


@dataclasses.dataclass(frozen=True, slots=True)
class Vehicle:
    """One vehicle: id, home site, what drives it, and its reading on the first day."""

    id: str
    site: str
    energy: str
    odometer_m: int

    @property
    def plugs_in(self) -> bool:
        """Whether it charges."""
        return self.energy in ("electric", "hybrid")


@dataclasses.dataclass(frozen=True, slots=True)
class Trip:
    """One trip: which vehicle, from when to when (seconds of the day), how far."""

    vehicle: int
    start_s: int
    end_s: int
    distance_m: int


@dataclasses.dataclass(frozen=True, slots=True)
class Session:
    """One charge session: vehicle, charger, seconds of the day (the end may be on the next)."""

    vehicle: int
    charger: int
    start_s: int
    end_s: int

    @property
    def energy_wh(self) -> int:
        """Energy into the battery."""
        return CHARGER_W * (self.end_s - self.start_s) * CHARGE_EFFICIENCY_PERCENT // 360_000


@functools.cache
def vehicles() -> tuple[Vehicle, ...]:
    """The fleet; every third plugs in."""
    energies = ("electric", "gasoline", "gasoline", "hybrid", "gasoline", "diesel")
    return tuple(
        Vehicle(f"V-{i:03d}", SITES[i % len(SITES)], energies[i % len(energies)], 8_000_000 + i * 1_234_567)
        for i in range(1, VEHICLES + 1)
    )


@functools.cache
def chargers() -> tuple[str, ...]:
    """Equip ids of the chargers, all in the grounds."""
    return tuple(f"G-charger{i:02d}" for i in range(1, CHARGERS + 1))


def bay(charger: int) -> str:
    """Id of the bay of a charger."""
    return f"bay-{charger + 1:02d}"


def _random(seed: int, ordinal: int, what: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([seed, ordinal, what]))


@functools.lru_cache(8)
def sessions(seed: int, ordinal: int, working: bool) -> tuple[Session, ...]:
    """Charge sessions that begin on a date: at noon, when electricity is cheap, and in the evening."""
    random = _random(seed, ordinal, 4)
    plugs = [i for i, vehicle in enumerate(vehicles()) if vehicle.plugs_in]
    found = []
    for moment, chance, longest in ((11 * 3600 + 1800, 0.6, 5400), (17 * 3600 + 2400, 0.75, 14_400)):
        for charger, vehicle in enumerate(random.permutation(plugs)[:CHARGERS]):
            start_s = moment + int(random.integers(0, 2400))
            length_s = int(random.integers(1800, longest))
            if random.random() < (chance if working else 0.15):
                found.append(Session(int(vehicle), charger, start_s, start_s + length_s))
    return tuple(found)


def charging(seed: int, ordinal: int, working: bool) -> Spans:
    """Power of the chargers as spans: column, seconds of the day, mW."""
    held = sessions(seed, ordinal, working)
    return Spans.of([s.charger for s in held], [s.start_s for s in held], [s.end_s for s in held], CHARGER_W * 1000)


@functools.lru_cache(8)
def trips(seed: int, ordinal: int, working: bool) -> tuple[Trip, ...]:
    """Trips of a date, each on an order, none of them after working hours."""
    random = _random(seed, ordinal, 5)
    found = []
    windows = ((8 * 3600 + 2400, 11 * 3600), (13 * 3600 + 2400, 15 * 3600 + 1800), (15 * 3600 + 4500, 16 * 3600 + 1800))
    for vehicle in range(VEHICLES):
        for (first, last), chance in zip(windows, (0.5, 0.4, 0.35), strict=True):
            start_s, length_s = int(random.integers(first, last)), int(random.integers(900, 2700))
            kept = random.random() < (chance if working else 0.02)
            idle = f"V-{vehicle + 1:03d}" in {fault.where for fault in faults.SCRIPT if fault.effect == "idling"}
            if kept and not (idle and first > 15 * 3600):
                found.append(Trip(vehicle, start_s, start_s + length_s, length_s * int(random.integers(6, 13))))
    return tuple(found)


class Fleet:
    """Tells what the vehicles do, day by day in order.

    Args:
        seed: of the world.
        epoch_ms: local midnight of the first date.
    """

    def __init__(self, seed: int, epoch_ms: int) -> None:
        self._seed = seed
        self._epoch_ms = epoch_ms
        self._distance_m = [0] * VEHICLES
        self._since_fuel_m = [0] * VEHICLES

    def day(
        self, number: int, ordinal: int, working: bool, states: bool, script: tuple[faults.Fault, ...] = ()
    ) -> list[events.Event]:
        """Events of a date in order of time; a session is told when it ends, even if that is on the next day.

        Args:
            number: of the date; 0 is the first.
            ordinal: proleptic Gregorian ordinal of the date.
            working: a working day.
            states: with ignition and speed every minute (a history has only what is counted).
            script: faults of vehicles: one that idles, one that is under way without an order.
        """
        told: list[events.Event] = []
        at = number * 86_400
        for i, trip in enumerate(trips(self._seed, ordinal, working)):
            told += self._trip(trip, at, f"{ordinal}-{i}", states)
        for i, session in enumerate(sessions(self._seed, ordinal, working)):
            told.append(
                self._make(
                    session.vehicle,
                    at + session.end_s,
                    "charge",
                    f"c{ordinal}-{i}",
                    start_ms=self._epoch_ms + (at + session.start_s) * 1000,
                    energy_wh=session.energy_wh,
                    charger=bay(session.charger),
                ),
            )
        for fault in (fault for fault in script if fault.effect == "unordered" and states):
            vehicle = int(fault.where[2:]) - 1
            trip = Trip(vehicle, fault.start_s, fault.end_s, (fault.end_s - fault.start_s) * 8)
            told += self._trip(trip, at, f"{ordinal}-x{vehicle}", states, ordered=False)
        for fault in (fault for fault in script if fault.effect == "idling" and states):
            vehicle = int(fault.where[2:]) - 1
            for k, time_s in enumerate(range(fault.start_s, min(fault.end_s, fault.start_s + 7200), STATE_S)):
                told.append(self._state(vehicle, at + time_s, True, 0, f"i{ordinal}-{k}"))
            told.append(self._state(vehicle, at + fault.end_s, False, 0, f"i{ordinal}-end"))
        return sorted(told, key=lambda event: event.time_s)

    def _trip(self, trip: Trip, at: int, name: str, states: bool, ordered: bool = True) -> list[events.Event]:
        vehicle = trip.vehicle
        self._distance_m[vehicle] += trip.distance_m
        order = f"O-{name}" if ordered else None
        told = [self._make(vehicle, at + trip.start_s, "trip_start", f"ts{name}", order=order)]
        if ordered:
            told.insert(0, self._make(vehicle, at + trip.start_s - 60, "order_start", f"os{name}", order=order))
        if states:
            speed = trip.distance_m * 1000 // (trip.end_s - trip.start_s)
            moments = range(trip.start_s, trip.end_s, STATE_S)
            told += [self._state(vehicle, at + time_s, True, speed, f"s{name}-{k}") for k, time_s in enumerate(moments)]
        told.append(
            self._make(
                vehicle,
                at + trip.end_s,
                "trip_end",
                f"te{name}",
                order=order,
                start_ms=self._epoch_ms + (at + trip.start_s) * 1000,
                odometer_m=vehicles()[vehicle].odometer_m + self._distance_m[vehicle],
                distance_m=trip.distance_m,
            ),
        )
        if states:
            told.append(self._state(vehicle, at + trip.end_s, False, 0, f"s{name}-end"))
        if ordered:
            told.append(self._make(vehicle, at + trip.end_s + 30, "order_end", f"oe{name}", order=order))
        self._since_fuel_m[vehicle] += trip.distance_m
        if vehicles()[vehicle].energy != "electric" and self._since_fuel_m[vehicle] > 250_000:
            fuel_ml = self._since_fuel_m[vehicle] * 8 // 100  # 8 L for 100 km
            self._since_fuel_m[vehicle] = 0
            told.append(self._make(vehicle, at + trip.end_s + 20, "fuel", f"f{name}", fuel_ml=fuel_ml))
        return told

    def _state(self, vehicle: int, time_s: int, ignition: bool, speed_mm_s: int, name: str) -> events.Event:
        return self._make(vehicle, time_s, "state", name, ignition=ignition, speed_mm_s=speed_mm_s)

    def _make(self, vehicle: int, time_s: int, kind: str, name: str, **fields: int | str | bool | None) -> events.Event:
        which = vehicles()[vehicle]
        return events.make(
            time_s,
            self._epoch_ms,
            VEHICLE_EVENTS,
            which.site,
            "vehicle_event",
            event_id=name,
            vehicle=which.id,
            kind=kind,
            **fields,
        )
