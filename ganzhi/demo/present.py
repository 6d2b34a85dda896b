"""What the state of the world says of rules that look at this moment and that the screen's rooms do not show.

Sensors of single rooms, rooms that are measured in another way, sockets, voltage, PV; like `truth`, said a second time
on the world and on no reading.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ganzhi.demo import people, plant
from ganzhi.demo.layout import zone_index, zones
from ganzhi.demo.metering import State
from ganzhi.demo.past import Finding, Past
from ganzhi.demo.points import BRIGHT, POWERED, SWITCHED, UNSEEN, points
from ganzhi.demo.sensors import COOLING, sensors
from ganzhi.demo.spans import Ints
from ganzhi.demo.world import PHASES

COOLED: Final = ("office", "meeting", "hall", "canteen")
LIT: Final = ("office", "meeting", "hall", "canteen", "archive")


class Present:
    """The conditions of this moment.

    Args:
        past: which inverters are alike.
        first_s: the first quarter-hour of life: from it on what looks back is known.

    Attributes:
        subjects: rule → ids.
    """

    def __init__(self, past: Past, first_s: int) -> None:
        self._past = past
        self._first_s = first_s
        every = zones()
        ids = [zone.id for zone in every]
        unseen = [zone_index()[name] for name in UNSEEN]
        self._sockets = np.asarray(
            [zone_index()[one.space] for one in points() if one.role == "socket_power"], np.int64
        )
        self._switched, self._powered, self._bright = (
            np.asarray([zone_index()[one] for one in few], np.int64) for few in (SWITCHED, POWERED, BRIGHT)
        )
        self._dark = np.asarray([i for i in unseen if every[i].kind in LIT], np.int64)
        self._cold = np.asarray([i for i in unseen if every[i].kind in COOLED and every[i].ac_w], np.int64)
        self._wet = np.asarray([i for i in unseen if every[i].kind in ("toilet", "tea_room")], np.int64)
        self._fixtures = np.asarray([fixture.zone for fixture in people.fixtures()], np.int64)
        self._by_role = {
            role: np.asarray([i for i, one in enumerate(sensors()) if one.role == role], np.int64)
            for role in ("window_open", "ac_mode", "ac_setpoint", "temperature", "leak")
        }
        self._zone = np.asarray([one.zone for one in sensors()], np.int64)
        self._pv = np.asarray([i for i, load in enumerate(plant.loads()) if load.kind == "pv_inverter"], np.int64)

        def named(columns: NDArray[np.int64]) -> list[str]:
            return [ids[i] for i in columns]

        comfort = named(self._zone[self._by_role["window_open"]])
        self.subjects: dict[str, list[str]] = {
            "LoadNobody": named(self._sockets),
            "SwitchOnNobody": named(self._switched),
            "PowerStepNobody": named(self._powered),
            "BrightNobody": named(self._bright),
            "LightsAfterHours": named(self._dark),
            "AcOvernight": named(self._cold),
            "TapRunning": named(self._wet),
            "AcWindowOpen": comfort,
            "AcSetpointPolicy": comfort,
            "CrowdedTemperature": named(self._zone[self._by_role["temperature"]]),
            "WaterOnTheFloor": named(self._zone[self._by_role["leak"]]),
            "VoltageOutside": list(PHASES),
            "PhaseLost": list(PHASES),
            "PvNoOutput": [plant.loads()[i].id for i in self._pv],
        }

    def findings(self, time_s: int, state: State, working: bool) -> Iterator[tuple[str, Finding]]:
        """How every rule stands; the state has one moment, and `working` is what its schedule says."""
        empty, light, air = state.people[0] == 0, state.light_mw[0], state.air_on[0] > 0
        flow: Ints = np.zeros(len(zones()), np.int64)
        np.add.at(flow, self._fixtures, state.fixture_ml_min[0])
        shown = state.sensor[0]
        window, mode, setpoint, temperature, leak = (shown[columns] for columns in self._by_role.values())
        comfort = air[self._zone[self._by_role["window_open"]]]
        step = (state.room_mw[0] - state.standby_mw[0])[self._powered] > 100_000
        plain = {
            "LoadNobody": (state.socket_mw[0] > 150_000)[self._sockets] & empty[self._sockets] & (not working),
            "SwitchOnNobody": (light > 0)[self._switched] & empty[self._switched],
            "PowerStepNobody": step & empty[self._powered] & (time_s >= self._first_s),
            "BrightNobody": (state.room_lux_ml[0] > 100_000)[self._bright]
            & (state.lux_ml[0] < 50_000)
            & empty[self._bright],
            "LightsAfterHours": (light > 50_000)[self._dark] & (not working),
            "AcOvernight": air[self._cold] & (not working),
            "TapRunning": (flow > 200)[self._wet],
            "AcWindowOpen": comfort & (window > 0),
            "WaterOnTheFloor": leak > 0,
        }
        for rule, holds in plain.items():
            yield rule, Finding(holds, ~holds)
        cools = comfort & (mode == COOLING)
        yield "AcSetpointPolicy", Finding(cools & (setpoint < 25_500), ~(cools & (setpoint < 26_000)))
        right = (temperature <= 27_000) & (temperature >= 17_000)
        hot = (temperature > 28_000) | (temperature < 16_000)
        yield "CrowdedTemperature", Finding(hot & working, right | (not working))
        volts = state.voltage_mv[0]
        there = volts >= 50_000
        yield "PhaseLost", Finding(~there, there)
        outside = (volts < 198_000) | (volts > 235_400)
        yield "VoltageOutside", Finding(outside & there, ((volts >= 200_000) & (volts <= 234_000)) | ~there)
        power = state.plant_mw[0][self._pv]
        others = self._past.others(power)
        bright = others > 500_000
        yield "PvNoOutput", Finding((100 * power < others) & bright, (20 * power > others) | ~bright)
