"""Forty stations with a bin of each of four classes: levels rise through the day, lots leave in the evening."""

import dataclasses
import functools
from typing import Final

import numpy as np

from ganzhi.demo import events, faults
from ganzhi.demo.layout import SITES
from ganzhi.demo.people import clock_s
from schemas.topics import WASTE_EVENTS

CLASSES: Final = ("recyclable", "hazardous", "kitchen", "other")
STATIONS_PER_SITE: Final = 10
# deposits of a working day, typical mass in g, capacity of the bin in g
_HABITS: Final = {
    "recyclable": (11, 350, 14_000),
    "hazardous": (0.3, 120, 4_000),
    "kitchen": (9, 420, 14_000),
    "other": (13, 260, 14_000),
}
_COLLECTED_S: Final = clock_s(19, 30)
_LEVEL_S: Final = 900
"""A bin tells its level every quarter of an hour."""
_FATE: Final = {
    "recyclable": ("used", "recycling"),
    "hazardous": ("disposed", "licensed disposal"),
    "kitchen": ("used", "composting"),
    "other": ("disposed", "incineration"),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Bin:
    """One bin: id, station, site, class, and what fills it."""

    id: str
    station: str
    site: str
    waste_class: str
    capacity_g: int


@functools.cache
def stations() -> tuple[tuple[str, str], ...]:
    """(station, site) of all stations."""
    return tuple((f"S-{site[-1].upper()}-{i:02d}", site) for site in SITES for i in range(1, STATIONS_PER_SITE + 1))


@functools.cache
def bins() -> tuple[Bin, ...]:
    """All bins, four to a station."""
    return tuple(
        Bin(f"{station}-{waste_class}", station, site, waste_class, int(_HABITS[waste_class][2]))
        for station, site in stations()
        for waste_class in CLASSES
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Deposit:
    """Something that was brought: bin, second of the day, mass, how well it was sorted."""

    bin: int
    time_s: int
    mass_g: int
    verdict: str


@functools.lru_cache(4)
def deposits(seed: int, ordinal: int, working: bool) -> tuple[Deposit, ...]:
    """Deposits of a date in order of time; all before the bins are emptied, and two in a bin never in one second."""
    random = np.random.Generator(np.random.PCG64([seed, ordinal, 6]))
    found = []
    for i, one in enumerate(bins()):
        mean, mass_g, _ = _HABITS[one.waste_class]
        taken: set[int] = set()
        for _ in range(int(random.poisson(mean if working else mean * 0.06))):
            verdict = "correct" if random.random() < 0.92 else "wrong_class"
            time_s = int(random.integers(clock_s(7, 30), clock_s(19)))
            while time_s in taken:
                time_s += 1
            taken.add(time_s)
            found.append(Deposit(i, time_s, int(mass_g * random.uniform(0.3, 1.9)), verdict))
    return tuple(sorted(found, key=lambda deposit: deposit.time_s))


def _with_wrong(held: tuple[Deposit, ...], script: list[faults.Fault]) -> tuple[Deposit, ...]:
    """Deposits of a date, and those that somebody brings to the wrong bins of a station, evenly over its time."""
    taken = {(deposit.bin, deposit.time_s) for deposit in held}
    found = list(held)
    for fault in script:
        own = [i for i, one in enumerate(bins()) if one.station == fault.where and one.waste_class != "hazardous"]
        for k in range(fault.amount):
            which, time_s = own[k % len(own)], fault.start_s + k * (fault.end_s - fault.start_s) // fault.amount
            while (which, time_s) in taken:
                time_s += 1
            taken.add((which, time_s))
            found.append(Deposit(which, time_s, 90, "wrong_class"))
    return tuple(sorted(found, key=lambda deposit: deposit.time_s))


class Waste:
    """Tells what happens to waste, day by day in order.

    Args:
        seed: of the world.
        epoch_ms: local midnight of the first date.
    """

    def __init__(self, seed: int, epoch_ms: int) -> None:
        self._seed = seed
        self._epoch_ms = epoch_ms

    def day(
        self, number: int, ordinal: int, working: bool, levels: bool, script: tuple[faults.Fault, ...] = ()
    ) -> list[events.Event]:
        """Events of a date in order of time.

        Args:
            number: of the date; 0 is the first.
            ordinal: proleptic Gregorian ordinal of the date.
            working: a working day.
            levels: with the level of each bin every quarter of an hour (a history has only what is counted).
            script: faults of bins (`amount` is the level, permille) and of sorting (so many deposits).
        """
        told: list[events.Event] = []
        at = number * 86_400
        held = _with_wrong(
            deposits(self._seed, ordinal, working), [fault for fault in script if fault.effect == "sorting"]
        )
        overfull = tuple(fault for fault in script if fault.effect == "bin")
        mass_g = [0] * len(bins())
        for i, deposit in enumerate(held):
            mass_g[deposit.bin] += deposit.mass_g
            told.append(
                self._make(
                    bins()[deposit.bin],
                    at + deposit.time_s,
                    "deposit",
                    f"d{ordinal}-{i}",
                    mass_g=deposit.mass_g,
                    verdict=deposit.verdict,
                )
            )
        if levels:
            told += self._levels(held, at, ordinal, overfull)
        told += self._lots(mass_g, at, ordinal)
        return sorted(told, key=lambda event: event.time_s)

    def _levels(
        self, held: tuple[Deposit, ...], at: int, ordinal: int, overfull: tuple[faults.Fault, ...]
    ) -> list[events.Event]:
        told = []
        for i, one in enumerate(bins()):
            own = [deposit for deposit in held if deposit.bin == i]
            broken = next((fault for fault in overfull if fault.where == one.id), None)
            for k in range(86_400 // _LEVEL_S):
                # bins of a station do not speak in the same second
                time_s = k * _LEVEL_S + i * 5 % _LEVEL_S
                inside = (
                    sum(deposit.mass_g for deposit in own if deposit.time_s <= time_s) if time_s < _COLLECTED_S else 0
                )
                level = min(inside * 1000 // one.capacity_g, 1000)
                if broken and time_s >= broken.start_s:
                    level = max(level, broken.amount)
                told.append(self._make(one, at + time_s, "fill", f"l{ordinal}-{i}-{k}", fill_permille=level))
            if broken:
                told.append(
                    self._make(one, at + broken.start_s, "fill", f"l{ordinal}-{i}-full", fill_permille=broken.amount)
                )
        return told

    def _lots(self, mass_g: list[int], at: int, ordinal: int) -> list[events.Event]:
        """What is in the bins at half past seven becomes one lot for each site and class."""
        told = []
        sums: dict[tuple[str, str], int] = {}
        for i, one in enumerate(bins()):
            if mass_g[i]:
                key = (one.site, one.waste_class)
                sums[key] = sums.get(key, 0) + mass_g[i]
                lot = f"L-{ordinal}-{one.site}-{one.waste_class}"
                told.append(
                    self._make(
                        one, at + _COLLECTED_S + i * 6, "collected", f"k{ordinal}-{i}", lot=lot, mass_g=mass_g[i]
                    )
                )
        for (site, waste_class), mass in sums.items():
            lot = f"L-{ordinal}-{site}-{waste_class}"
            fate, destination = _FATE[waste_class]
            for kind, later_s in (("transported", 3600), ("received", 6300), (fate, 50_000)):
                told.append(
                    events.make(
                        at + _COLLECTED_S + later_s,
                        self._epoch_ms,
                        WASTE_EVENTS,
                        site,
                        "waste_event",
                        event_id=f"{kind}-{lot}",
                        kind=kind,
                        lot=lot,
                        waste_class=waste_class,
                        mass_g=mass,
                        manifest=f"M-{lot}",
                        destination=destination,
                    ),
                )
        return told

    def _make(self, one: Bin, time_s: int, kind: str, name: str, **fields: int | str) -> events.Event:
        return events.make(
            time_s, self._epoch_ms, WASTE_EVENTS, one.site, "waste_event", event_id=name, kind=kind,
            station=one.station, bin=one.id, waste_class=one.waste_class, **fields,
        )  # fmt: skip
