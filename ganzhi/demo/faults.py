"""What goes wrong in the demo, and when: the known truth that alerts are measured against.

Times are seconds from local midnight of the live day. A fault changes the world (a light stays on, a tap runs) or
what is heard of it (a meter falls silent, a gateway is late); nothing else in the demo goes wrong.
"""

import dataclasses
from typing import Final

from ganzhi.demo.people import clock_s

LIGHTS: Final = "lights"
AIR: Final = "air_conditioning"
WATER: Final = "water"
SILENT: Final = "meter_silent"
LATE: Final = "gateway_late"
BIN: Final = "bin_overfull"
IDLING: Final = "vehicle_idling"
GATEWAY: Final = "gateway_down"
CLOCK: Final = "clock_behind"
SORTING: Final = "wrong_sorting"
LEAK: Final = "leak"
STUCK: Final = "meter_stuck"
UNMETERED: Final = "unmetered"
LOAD: Final = "excess_load"
VOLTAGE: Final = "voltage"
PV: Final = "pv"
LIFT: Final = "lift"
COMFORT: Final = "comfort"
OFF_HOURS: Final = "off_hours"
ALWAYS_S: Final = clock_s(-24 * 365)
"""A beginning that lies before the history."""
OPEN_S: Final = clock_s(48)
"""An end that the demo does not reach."""


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """One injected fault.

    Attributes:
        name: which anomaly.
        effect: what it does. To rooms and water: light, ac, plug (a load in a socket), fixture, branch, main (a leak
            before the floors of a building), fills (a tank or tower takes at least so much). To electricity: hidden (a
            load that no meter of a room sees), runs (plant works at least so much), share (plant gives only so much),
            voltage. To what is heard: sensor, silent, stuck, clock (of meters), late, down (of gateways). Else: bin,
            sorting, idling, unordered (a trip), quota.
        where: the thing that it is about: zone, fixture, floor, building, load, phase, sensor, meter, gateway, bin,
            station or vehicle id.
        start_s: from when; before 0: on a day of the history.
        end_s: until when; `OPEN_S`: it stays.
        amount: flow in mL/min, load in W, delay in s, permille of a fill level or of full load, mV that are added,
            deposits, or kWh of a week.
    """

    name: str
    effect: str
    where: str
    start_s: int
    end_s: int = OPEN_S
    amount: int = 1


START_S: Final = clock_s(16, 45)
"""When the live part begins: a quarter-hour, so that history ends where live begins."""

SCRIPT: Final = (
    Fault(LIGHTS, "light", "A-0309", clock_s(16, 30), clock_s(17, 40)),
    Fault(LIGHTS, "light", "B-0512", clock_s(16, 49)),
    Fault(LIGHTS, "light", "C-0701", clock_s(16, 46)),
    Fault(LIGHTS, "light", "C-0705", clock_s(16, 52)),
    Fault(LIGHTS, "light", "G-L3", clock_s(16, 47), clock_s(17, 50)),
    Fault(LIGHTS, "light", "A-0212", clock_s(16, 48)),
    Fault(LIGHTS, "light", "A-0213", clock_s(16, 50)),
    Fault(LIGHTS, "light", "A-0214", clock_s(17, 20)),
    Fault(LIGHTS, "light", "A-0124", clock_s(17, 5)),
    Fault(AIR, "ac", "C-0312", clock_s(16, 55)),
    Fault(AIR, "ac", "A-0614", clock_s(16, 30)),
    Fault(AIR, "ac", "B-0418", clock_s(16, 51), clock_s(17, 45)),
    Fault(AIR, "ac", "C-0212", clock_s(16, 47)),
    Fault(WATER, "fixture", "B-0603.tap", clock_s(16, 46), clock_s(17, 35), 4800),
    Fault(WATER, "fixture", "C-0704.flush", clock_s(16, 50), OPEN_S, 2600),
    Fault(WATER, "branch", "A-F09", clock_s(16, 55), OPEN_S, 3200),
    Fault(WATER, "fixture", "C-0305.tap", clock_s(16, 48), OPEN_S, 1800),
    Fault(WATER, "runs", "G-pump1", clock_s(16, 50), OPEN_S, 800),
    Fault(LEAK, "sensor", "A-1024.leak", clock_s(17, 3), clock_s(17, 40), 1),
    Fault(COMFORT, "sensor", "C-0212.window", clock_s(16, 57), clock_s(17, 30), 1),
    Fault(COMFORT, "sensor", "C-0212.setpoint", clock_s(16, 59), OPEN_S, -4000),
    Fault(COMFORT, "sensor", "B-0107.temperature", clock_s(16, 46), OPEN_S, 4500),
    Fault(LEAK, "branch", "A-F03", clock_s(-4 * 24 + 20), OPEN_S, 500),
    Fault(LEAK, "main", "B", clock_s(-6 * 24 + 13), OPEN_S, 1200),
    Fault(LEAK, "fixture", "B-0503.flush", clock_s(-24 + 15), OPEN_S, 180),
    Fault(WATER, "fixture", "B-0504.tap", clock_s(16, 58), OPEN_S, 4800),
    Fault(WATER, "fills", "G-tank", clock_s(-24 + 18), OPEN_S, 3000),
    Fault(WATER, "fills", "G-tower", clock_s(-24 + 16), OPEN_S, 4000),
    Fault(STUCK, "stuck", "M-B-F04", clock_s(-2 * 24 + 11)),
    Fault(UNMETERED, "hidden", "C-F04", ALWAYS_S, OPEN_S, 1200),
    Fault(LOAD, "plug", "B-0213", clock_s(-6 * 24 + 9), OPEN_S, 1000),
    Fault(LOAD, "runs", "C-fan", clock_s(-4 * 24 + 10), OPEN_S, 750),
    Fault(LOAD, "runs", "C-boiler", clock_s(16, 47), OPEN_S, 1000),
    Fault(LOAD, "quota", "B", ALWAYS_S, OPEN_S, 7000),
    Fault(VOLTAGE, "voltage", "B.U1", clock_s(16, 53), clock_s(17, 25), 13_000),
    Fault(VOLTAGE, "voltage", "G.U2", clock_s(16, 58), clock_s(17, 20), -240_000),
    Fault(PV, "share", "A-pv2", clock_s(16, 50), OPEN_S, 0),
    Fault(PV, "share", "B-pv1", clock_s(-8 * 24 + 8), OPEN_S, 450),
    Fault(LIFT, "share", "C-lift1r", clock_s(-4 * 24 + 7), OPEN_S, 0),
    Fault(SILENT, "silent", "M-A-F05", clock_s(16, 47)),
    Fault(LATE, "late", "gw-b-07", clock_s(16, 55), OPEN_S, 240),
    Fault(GATEWAY, "down", "gw-g-garage", clock_s(16, 49)),
    Fault(CLOCK, "clock", "M-B-0309", ALWAYS_S, OPEN_S, 900),
    Fault(BIN, "bin", "S-A-03-other", clock_s(16, 50), OPEN_S, 930),
    Fault(BIN, "bin", "S-C-07-kitchen", clock_s(16, 56), OPEN_S, 980),
    Fault(OFF_HOURS, "unordered", "V-023", clock_s(17, 36), clock_s(18, 20)),
    Fault(SORTING, "sorting", "S-B-04", clock_s(16, 50), clock_s(17, 10), 30),
    Fault(IDLING, "idling", "V-017", clock_s(16, 50), clock_s(17, 30)),
)

EMPTY_FROM: Final = {
    "A-0309": 1,
    "A-0614": 1,
    "A-0212": 1,
    "A-0213": 1,
    "A-0214": 1,
    "B-0213": 2,
    "B-0512": 2,
    "B-0418": 2,
    "C-07": 1,
}
"""Zone or floor that empties early on the live day, so that what is on there is on for nobody → which `HOME_BY_S`."""
HOME_BY_S: Final = {1: clock_s(16, 40), 2: clock_s(16, 50)}
CLOSED_S: Final = {
    "B-0503": clock_s(12, 0),
    "B-0504": clock_s(16, 25),
    "B-0603": clock_s(16, 25),
    "C-0703": clock_s(16, 10),
    "C-0704": clock_s(16, 10),
    "C-0705": clock_s(16, 10),
    "C-0212": clock_s(15, 30),
}
"""Rooms that nobody goes to any more from then on."""


def behind_s(meter: str) -> int:
    """How many seconds the clock of a meter is late, all the time."""
    return sum(fault.amount for fault in of("clock") if fault.where == meter)


def of(*effects: str) -> list[Fault]:
    """The faults of some effects."""
    return [fault for fault in SCRIPT if fault.effect in effects]
