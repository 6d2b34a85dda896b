"""What runs beside the lights, sockets and air conditioning of rooms: lifts, pumps, kitchen, PV; and the weather.

A plant load has one power for each minute of a day, a pure function of (seed, date). Electricity is in mW, so that
sums are exact.
"""

import dataclasses
import functools
from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ganzhi.demo import faults
from ganzhi.demo.layout import BUILDINGS, GROUNDS
from ganzhi.demo.spans import Ints

MINUTES: Final = 1440
INVERTERS: Final = 3
"""On the roof of a building: enough for each to have two others to be held against."""
RUNNING_PERMILLE: Final = 100
"""From so much of full load on a fan says that it runs."""


@dataclasses.dataclass(frozen=True, slots=True)
class Load:
    """One load or generator with a meter of its own.

    Attributes:
        id: equip id.
        site: site id.
        building: building id; `G` for the grounds.
        kind: kind of the equip.
        profile: which shape its day has.
        sub_item: code of its sub-item.
        peak_w: power at full load.
        role: what its register counts: `energy`, `regeneration` or `pv_energy`.
        name_zh: name in Chinese.
        name_en: name in English.
    """

    id: str
    site: str
    building: str
    kind: str
    profile: str
    sub_item: str
    peak_w: int
    role: str
    name_zh: str
    name_en: str

    @property
    def sign(self) -> int:
        """1 when it uses electricity, -1 when it makes some."""
        return 1 if self.role == "energy" else -1


@functools.cache
def loads() -> tuple[Load, ...]:
    """Every plant load; the simulator has a column for each."""
    found: list[Load] = []
    for building in BUILDINGS:
        site, b = building.site, building.id
        for i in range(1, building.lifts + 1):
            found.append(
                Load(
                    f"{b}-lift{i}",
                    site,
                    b,
                    "lift",
                    "lift",
                    "C1",
                    11_000,
                    "energy",
                    f"{b}座{i}号电梯",
                    f"Lift {i}, building {b}",
                )
            )
            found.append(
                Load(
                    f"{b}-lift{i}r",
                    site,
                    b,
                    "lift",
                    "regeneration",
                    "C1",
                    11_000,
                    "regeneration",
                    f"{b}座{i}号电梯能量回馈",
                    f"Regeneration of lift {i}, building {b}",
                )
            )
        found += [
            Load(
                f"{b}-pump",
                site,
                b,
                "pump",
                "pump",
                "C2",
                7_500,
                "energy",
                f"{b}座生活水泵",
                f"Water pumps, building {b}",
            ),
            Load(
                f"{b}-fan",
                site,
                b,
                "fan",
                "office_hours",
                "C3",
                9_000,
                "energy",
                f"{b}座新风机",
                f"Fresh-air fans, building {b}",
            ),
            *(
                Load(
                    f"{b}-pv{i}",
                    site,
                    b,
                    "pv_inverter",
                    "pv",
                    "",
                    building.pv_w // INVERTERS,
                    "pv_energy",
                    f"{b}座屋顶光伏{i}号逆变器",
                    f"PV inverter {i}, roof of building {b}",
                )
                for i in range(1, INVERTERS + 1)
            ),
        ]
    found += [
        Load(
            "A-servers",
            "civic-a",
            "A",
            "server",
            "constant",
            "D1",
            18_000,
            "energy",
            "A座信息机房设备",
            "Servers, building A",
        ),
        Load(
            "C-kitchen",
            "civic-c",
            "C",
            "kitchen",
            "kitchen",
            "D3",
            65_000,
            "energy",
            "C座厨房设备",
            "Kitchen appliances, building C",
        ),
        Load(
            "C-boiler",
            "civic-c",
            "C",
            "boiler",
            "off",
            "B1",
            300_000,
            "energy",
            "C座蓄热电锅炉",
            "Electric boiler, building C",
        ),
        Load("G-fan1", GROUNDS, "G", "fan", "garage", "C3", 7_500, "energy", "车库1区排风机", "Garage fans, zone 1"),
        Load("G-fan2", GROUNDS, "G", "fan", "garage", "C3", 7_500, "energy", "车库2区排风机", "Garage fans, zone 2"),
        Load("G-pump1", GROUNDS, "G", "pump", "irrigation", "C2", 5_500, "energy", "绿化灌溉泵", "Irrigation pump"),
        Load("G-pump2", GROUNDS, "G", "pump", "constant", "C2", 750, "energy", "消防稳压泵", "Fire jockey pump"),
        Load(
            "G-heat",
            GROUNDS,
            "G",
            "heat_pump",
            "hot_water",
            "D6",
            24_000,
            "energy",
            "热水热泵",
            "Heat pump for hot water",
        ),
        Load("G-pv", GROUNDS, "G", "pv_inverter", "pv", "", 30_000, "pv_energy", "车棚光伏", "PV on the carport"),
    ]
    return tuple(found)


def array_of(inverter: str) -> str:
    """Equip id of the modules of an inverter."""
    return f"{inverter}-array"


@functools.cache
def load_index() -> dict[str, int]:
    """Equip id → column."""
    return {load.id: i for i, load in enumerate(loads())}


@dataclasses.dataclass(frozen=True)
class PlantDay:
    """Minute values of a day.

    Attributes:
        power_mw: int64[1440, loads].
        expected_mw: int64[1440, loads]; what PV would give if nothing were wrong with it.
        temperature_mc: int64[1440], outdoors, thousandths of a degree.
        lux_ml: int64[1440], outdoors, thousandths of a lux.
        hot_water_ml_min: int64[1440], draw of hot water in the canteen.
        irrigation_ml_min: int64[1440], what the irrigation pump delivers.
        tank_ml_min: int64[1440], what fills the water tank.
        tower_ml_min: int64[1440], make-up water of the cooling tower.
    """

    power_mw: Ints
    expected_mw: Ints
    temperature_mc: Ints
    lux_ml: Ints
    hot_water_ml_min: Ints
    irrigation_ml_min: Ints
    tank_ml_min: Ints
    tower_ml_min: Ints


def _window(minute: Ints, *spans: tuple[int, int, int]) -> Ints:
    """Permille: the largest level of those spans (from minute, to minute, level) that hold the minute."""
    found = np.zeros(len(minute), np.int64)
    for start, end, level in spans:
        found = np.maximum(found, np.where((minute >= start) & (minute < end), level, 0))
    return found


def _profile(name: str, minute: Ints, working: bool, sun: Ints) -> Ints:
    """Permille of full load for each minute."""
    if name == "off":  # of the winter
        return np.zeros(len(minute), np.int64)
    if name == "constant":
        return np.full(len(minute), 1000, np.int64)
    if name == "pv":
        return sun
    if name == "hot_water":
        return _window(minute, (120, 330, 900), (660, 780, 850))
    if name == "irrigation":
        return _window(minute, (330, 375, 800))
    if name == "pump":
        return _window(minute, (0, 1440, 40), (480, 1080, 420 if working else 60), (700, 790, 600 if working else 60))
    if not working:
        return _window(minute, (0, 1440, 20), (540, 1020, 60))
    spans = {
        "lift": (
            (0, 1440, 25),
            (460, 1080, 220),
            (480, 540, 620),
            (690, 735, 560),
            (765, 810, 480),
            (1020, 1065, 640),
            (1065, 1230, 90),
        ),
        "office_hours": ((450, 1080, 750),),
        "kitchen": ((0, 1440, 30), (390, 500, 450), (570, 760, 850), (760, 840, 300)),
        "garage": ((0, 1440, 60), (450, 560, 700), (1005, 1090, 700)),
    }[name]
    return _window(minute, *spans)


def day(seed: int, ordinal: int, working: bool, summer: int) -> PlantDay:
    """A day of the plant and its weather.

    Args:
        seed: of the world.
        ordinal: proleptic Gregorian ordinal of the date.
        working: a working day.
        summer: days since 1 May, which is how far the season is.
    """
    random = np.random.Generator(np.random.PCG64([seed, ordinal, 2]))
    minute = np.arange(MINUTES)
    height = np.sin(np.clip((minute - 302) / (1150 - 302), 0, 1) * np.pi)
    cloud = np.repeat(random.integers(500, 1000, 48), 30) * int(random.integers(650, 1000)) // 1000
    sun = np.round(height * cloud).astype(np.int64)
    peak_c = 25.0 + summer * 0.08 + random.normal(0, 1.3)
    temperature = peak_c - 7.5 + 7.5 * np.clip(np.sin((minute - 540) / 1440 * 2 * np.pi), -0.9, 1)
    power = np.zeros((MINUTES, len(loads())), np.int64)
    for i, load in enumerate(loads()):
        if load.profile == "regeneration":
            # a lift gives back about a quarter of what moves it, nothing of its stand-by
            power[:, i] = np.maximum(power[:, i - 1] - 25 * load.peak_w, 0) * int(random.integers(220, 330)) // 1000
            continue
        steady = load.profile in ("constant", "pv")
        noise = 1000 if steady else random.integers(700, 1300, MINUTES)
        power[:, i] = _profile(load.profile, minute, working, sun) * load.peak_w * noise // 1000
    meal = (
        _window(minute, (400, 500, 300), (690, 790, 1000), (790, 850, 500)) if working else np.zeros(MINUTES, np.int64)
    )
    return PlantDay(
        power_mw=power,
        expected_mw=np.where([load.profile == "pv" for load in loads()], power, 0),
        temperature_mc=np.round(temperature * 1000).astype(np.int64),
        lux_ml=sun * 100_000,
        hot_water_ml_min=meal * 14 * random.integers(600, 1400, MINUTES) // 1000,
        irrigation_ml_min=_irrigation(power),
        tank_ml_min=_window(minute, (360, 395, 1000)) * 20,
        tower_ml_min=_window(minute, (500, 1050, 1000)) * (9 if working else 0),
    )


def _irrigation(power_mw: Ints) -> Ints:
    """What the irrigation pump delivers, mL/min."""
    found: Ints = power_mw[:, load_index()["G-pump1"]] * 9 // 1000
    return found


def broken(day: PlantDay, script: Iterable[faults.Fault], midnight_s: int) -> PlantDay:
    """A day with what goes wrong: plant that runs when it need not, or gives less than it should.

    Args:
        day: as it would be.
        script: faults.
        midnight_s: of the day, in the seconds of the faults.
    """
    moment_s = midnight_s + np.arange(MINUTES) * 60
    power = day.power_mw.copy()
    filling = {"G-tank": day.tank_ml_min, "G-tower": day.tower_ml_min}
    for fault in script:
        if fault.effect == "fills":
            now = (moment_s >= fault.start_s) & (moment_s < fault.end_s)
            filling[fault.where] = np.where(now, np.maximum(filling[fault.where], fault.amount), filling[fault.where])
            continue
        column = load_index()[fault.where]
        now = (moment_s >= fault.start_s) & (moment_s < fault.end_s)
        own = power[:, column]
        if fault.effect == "runs":
            wrong = np.maximum(own, loads()[column].peak_w * fault.amount)
        else:
            wrong = own * fault.amount // 1000
        power[:, column] = np.where(now, wrong, own)
    return dataclasses.replace(
        day,
        power_mw=power,
        irrigation_ml_min=_irrigation(power),
        tank_ml_min=filling["G-tank"],
        tower_ml_min=filling["G-tower"],
    )


def air_conditioning_permille(temperature_mc: Ints) -> NDArray[np.int64]:
    """Part of its full load at which a unit that runs works, by the temperature outdoors."""
    return np.clip((temperature_mc - 20_000) * 60 // 1000, 250, 950)
