"""The known truth: which alerts ought to be raised, told from the simulated world itself and from no reading.

Each rule of the built-in packs that the demo can break is said here a second time, on the state of the world, with
its own `for` and `keep_firing_for`; a test keeps the numbers equal to those of the packs. An alert that is not here
is false, one that is here and was not raised is missed.
"""

import dataclasses
from collections.abc import Iterable
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ganzhi.demo import faults, fleet, people, waste
from ganzhi.demo.events import Event
from ganzhi.demo.layout import floor_id, zones
from ganzhi.demo.metering import State
from ganzhi.demo.past import WORKING_S, Finding, Past
from ganzhi.demo.points import BRIGHT, GAUGE_INTERVAL_S, POWERED, REGISTER_INTERVAL_S, SWITCHED, UNSEEN
from ganzhi.demo.present import COOLED, LIT, Present
from ganzhi.demo.registers import registers
from ganzhi.demo.spans import Ints
from ganzhi.demo.world import DAY_S, FLOORS, LANDSCAPE_S, World, is_workday

Bools = NDArray[np.bool_]
MISSED: Final = 2
"""Intervals without a reading until a meter counts as silent (the built-in pack says three)."""
TIMES: Final = 32
"""Wrong deposits of a week that a station is told for: the demo's people sort badly (the built-in pack says three)."""
BEHIND_S: Final = 600
"""How late a clock may be (the built-in pack says half an hour: a meter of the demo would be silent by then)."""
LOOK_FOR_S: Final = 1800
"""How long what a rule says of a day or of nights must hold: it held before the demo (packs: one to seven days)."""
TAP_FOR_S: Final = 2700
"""How long water must run in a room to be a major leak (the built-in pack: two hours)."""
OVERDUE_FOR_S: Final = 2700
"""How long a bin must be full to be overdue (the built-in pack: four hours)."""
UNUSUAL_FOR_S: Final = 900
"""How long a load must be unusual (the built-in pack: half an hour)."""
SOCKETS_FOR_S: Final = 1500
"""How long sockets must carry load for nobody (the built-in pack: an hour)."""
CLOCK_FOR_S: Final = 1800
"""How long a clock must be late (the built-in pack: four hours)."""
DOWN_S: Final = GAUGE_INTERVAL_S * 3 // 2
"""Silence after which a gateway counts as down: 1.5 times the shortest interval of its points."""
WEEK_CELLS: Final = 7 * 96
BRANCH_FOR_S: Final = 1800
"""How long water must run in a branch after hours (the demo's pack asks for less than the built-in two hours)."""
STEP_S: Final = 10
"""The world is looked at so often; changes are told at once."""
SETTLE_S: Final = 60
"""An alert that is due in the last minute need not have arrived."""


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """A rule: which anomaly it tells, how long it must hold until it fires, and not hold until it ends."""

    anomaly: str
    for_s: int
    keep_s: int


RULES: Final = {
    "LightsInEmptyRoom": Rule(faults.LIGHTS, 1200, 120),
    "CorridorLightsNobody": Rule(faults.LIGHTS, 600, 60),
    "LandscapeOutsideSchedule": Rule(faults.LIGHTS, 600, 120),
    "AcInEmptyRoom": Rule(faults.AIR, 1200, 120),
    "TapRunningNobody": Rule(faults.WATER, 300, 60),
    "LightsAfterHours": Rule(faults.LIGHTS, 1200, 120),
    "SwitchOnNobody": Rule(faults.LIGHTS, 1200, 120),
    "PowerStepNobody": Rule(faults.LIGHTS, 1800, 300),
    "BrightNobody": Rule(faults.LIGHTS, 1200, 120),
    "AcOvernight": Rule(faults.AIR, 1800, 120),
    "AcWindowOpen": Rule(faults.COMFORT, 300, 60),
    "AcSetpointPolicy": Rule(faults.COMFORT, 600, 0),
    "CrowdedTemperature": Rule(faults.COMFORT, 1800, 600),
    "TapRunning": Rule(faults.WATER, 1800, 0),
    "TapRunningLong": Rule(faults.WATER, TAP_FOR_S, 0),
    "IrrigationOutsideSchedule": Rule(faults.WATER, 1800, 0),
    "WaterBurst": Rule(faults.WATER, 0, 0),
    "TankNeverFull": Rule(faults.WATER, 0, 0),
    "CoolingMakeUpLong": Rule(faults.WATER, LOOK_FOR_S, 0),
    "CisternRuns": Rule(faults.LEAK, 0, 1800),
    "WaterOnTheFloor": Rule(faults.LEAK, 60, 300),
    "BranchFlowAfterHours": Rule(faults.WATER, BRANCH_FOR_S, 0),
    "MeterSilent": Rule(faults.SILENT, 0, 0),
    "GatewayDown": Rule(faults.GATEWAY, 120, 0),
    "MeterClockBehind": Rule(faults.CLOCK, CLOCK_FOR_S, 0),
    "WrongSorting": Rule(faults.SORTING, 0, 0),
    "ContinuousFlow": Rule(faults.LEAK, 0, 0),
    "NightFlowRising": Rule(faults.LEAK, LOOK_FOR_S, DAY_S),
    "WaterRemainder": Rule(faults.LEAK, LOOK_FOR_S, 0),
    "MeterStuck": Rule(faults.STUCK, 300, 0),
    "PartsExceedWhole": Rule(faults.STUCK, LOOK_FOR_S, 0),
    "UnmeteredRemainder": Rule(faults.UNMETERED, LOOK_FOR_S, 0),
    "BaseLoadCreep": Rule(faults.LOAD, 0, 2 * DAY_S),
    "AlwaysOn": Rule(faults.LOAD, 3600, 0),
    "UnusualLoad": Rule(faults.LOAD, UNUSUAL_FOR_S, 1800),
    "OverQuotaPace": Rule(faults.LOAD, 0, 0),
    "DemandOverLimit": Rule(faults.LOAD, 0, 900),
    "LoadNobody": Rule(faults.LOAD, SOCKETS_FOR_S, 300),
    "VoltageOutside": Rule(faults.VOLTAGE, 300, 60),
    "PhaseLost": Rule(faults.VOLTAGE, 60, 0),
    "PvNoOutput": Rule(faults.PV, 1800, 900),
    "PvUnderperforming": Rule(faults.PV, LOOK_FOR_S, 2 * DAY_S),
    "PvBelowExpected": Rule(faults.PV, LOOK_FOR_S, 2 * DAY_S),
    "RegenerationLow": Rule(faults.LIFT, 3600, 0),
    "BinOverfull": Rule(faults.BIN, 0, 0),
    "BinOverflowing": Rule(faults.BIN, 0, 0),
    "BinOverdue": Rule(faults.BIN, OVERDUE_FOR_S, 0),
    "VehicleIdling": Rule(faults.IDLING, 600, 0),
    "OffHoursUse": Rule(faults.OFF_HOURS, 180, 0),
}
UNTOLD: Final = MappingProxyType(
    {
        "MeterChangedWithoutRecord": "what was used while nobody knew of the new meter is in no ledger until somebody "
        "tells of it, and the demo's ledger has to equal its meters to the unit",
    }
)
"""Rule of the packs that nothing in the demo breaks → why; an alert of it is false."""
ANOMALIES: Final = tuple(dict.fromkeys(rule.anomaly for rule in RULES.values()))


@dataclasses.dataclass(slots=True)
class Episode:
    """A spell in which a rule's condition held for long enough.

    Attributes:
        rule: name of the rule.
        subject: id of the space, equip, point, station or vehicle.
        started_ms: since when it held, UTC; not before the start of the live part, but for what events have told.
        fires_ms: when an alert is due.
        ended_ms: when it is over; None while it goes on.
    """

    rule: str
    subject: str
    started_ms: int
    fires_ms: int
    ended_ms: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Alert:
    """An alert that was raised: rule, subject, and since when by the time of the events, UTC."""

    rule: str
    subject: str
    started_ms: int


@dataclasses.dataclass(frozen=True, slots=True)
class Score:
    """How alerts compare with the truth.

    Attributes:
        injected: episodes that are due.
        found: those of them that an alert tells.
        false: alerts that tell no episode.
        missed: episodes that are due and that no alert tells.
        wrong: the false alerts.
    """

    injected: int
    found: int
    false: int
    missed: tuple[Episode, ...]
    wrong: tuple[Alert, ...]


class Truth:
    """Watches the world and keeps the episodes.

    Args:
        world: what is watched.
        start_s: start of the live part, seconds of the world.

    Attributes:
        episodes: all that have become due, in that order.
        past: what the meters have counted.
    """

    def __init__(self, world: World, start_s: int) -> None:
        self._world = world
        self._start_s = start_s
        self.past = Past(world)
        self._findings: dict[str, Finding] = {}
        self._present = Present(self.past, (start_s // REGISTER_INTERVAL_S + 1) * REGISTER_INTERVAL_S)
        self.episodes: list[Episode] = []
        self._last_s = start_s
        kinds = np.asarray([zone.kind for zone in zones()])
        free = np.asarray(["emergency" not in zone.tags and zone.id not in UNSEEN for zone in zones()])
        dimmed = np.asarray([zone.id in (*SWITCHED, *POWERED, *BRIGHT) for zone in zones()])
        self._lit = np.flatnonzero(np.isin(kinds, LIT) & free & ~dimmed)
        self._shared = np.flatnonzero(np.isin(kinds, ["corridor", "tea_room", "toilet"]) & free)
        self._landscape = np.flatnonzero(kinds == "landscape")
        exempt = {"server_room", "archive", "laboratory", "continuous_cooling"}
        cooled = np.asarray([zone.ac_w > 0 and not exempt & set(zone.tags) for zone in zones()])
        self._cooled = np.flatnonzero(np.isin(kinds, COOLED) & cooled & free)
        self._fixture_zone = np.asarray([fixture.zone for fixture in people.fixtures()], np.int64)
        self._wet = np.unique(self._fixture_zone)
        self._seen_wet = self._wet[free[self._wet]]
        midnight_s = world.days * DAY_S
        script = [
            dataclasses.replace(fault, start_s=fault.start_s + midnight_s, end_s=fault.end_s + midnight_s)
            for fault in faults.SCRIPT
        ]
        # what a gateway that is down says nothing of is not told point by point
        self._silent = _metered(script, "silent")
        self._late = [one for one in _metered(script, "clock") if one[1].amount > BEHIND_S]
        self._down = [fault for fault in script if fault.effect == "down"]
        ids = [zone.id for zone in zones()]
        stations = [station for station, _ in waste.stations()]
        self._stations = {station: i for i, station in enumerate(stations)}
        self._wrong: list[list[int]] = [[] for _ in stations]
        self._wrong_week = np.zeros(len(stations), np.int64)
        self._bin_level = np.zeros(len(waste.bins()), np.int64)
        self._bin_at = {one.id: i for i, one in enumerate(waste.bins())}
        self._idle, self._trip, self._order = np.zeros((3, fleet.VEHICLES), bool)
        self._watches = {
            "LightsInEmptyRoom": _Watch([ids[i] for i in self._lit]),
            "CorridorLightsNobody": _Watch([ids[i] for i in self._shared]),
            "LandscapeOutsideSchedule": _Watch([ids[i] for i in self._landscape]),
            "AcInEmptyRoom": _Watch([ids[i] for i in self._cooled]),
            "TapRunningNobody": _Watch([ids[i] for i in self._seen_wet]),
            "TapRunningLong": _Watch([ids[i] for i in self._wet]),
            "BranchFlowAfterHours": _Watch([floor_id(building.id, floor) for building, floor in FLOORS]),
            "MeterSilent": _Watch([point for point, _ in self._silent]),
            "MeterClockBehind": _Watch([point for point, _ in self._late]),
            "GatewayDown": _Watch([fault.where for fault in self._down]),
            "WrongSorting": _Watch(stations),
            "BinOverfull": _Watch(stations),
            "BinOverflowing": _Watch(stations),
            "BinOverdue": _Watch(stations),
            "VehicleIdling": _Watch([vehicle.id for vehicle in fleet.vehicles()]),
            "OffHoursUse": _Watch([vehicle.id for vehicle in fleet.vehicles()]),
            **{rule: _Watch(subjects) for rule, subjects in (self.past.subjects | self._present.subjects).items()},
        }

    def hear(self, event: Event) -> None:
        """Takes a deposit, the level of a bin or the state of a vehicle, which nothing but their events tells."""
        value = event.value
        if value["kind"] == "deposit":
            self._deposited(event.time_s, str(value["station"]), value["verdict"] == "wrong_class")
        if value["kind"] == "fill":
            self._bin_level[self._bin_at[str(value["bin"])]] = int(str(value["fill_permille"]))
        elif value["kind"] in ("trip_start", "trip_end", "order_start", "order_end"):
            what, _, when = str(value["kind"]).partition("_")
            state = self._trip if what == "trip" else self._order
            state[int(str(value["vehicle"])[2:]) - 1] = when == "start"
        elif value["kind"] == "state":
            self._idle[int(str(value["vehicle"])[2:]) - 1] = bool(value["ignition"]) and value["speed_mm_s"] == 0

    def _deposited(self, time_s: int, station: str, wrong: bool) -> None:
        """Counts the wrong deposits of a week, which goes by quarter-hours as the ledger does."""
        which = self._stations[station]
        cell = time_s // REGISTER_INTERVAL_S
        if wrong:
            self._wrong[which].append((time_s - 1) // REGISTER_INTERVAL_S)
        self._wrong[which] = [one for one in self._wrong[which] if one > cell - WEEK_CELLS]
        self._wrong_week[which] = len(self._wrong[which])
        many = self._wrong_week >= TIMES
        self._look("WrongSorting", time_s, many, ~many)

    def observe(self, time_s: int, state: State) -> None:
        """Looks at the world; the state has one moment."""
        self._last_s = time_s
        for rule, (holds, clears) in self._conditions(time_s, state).items():
            self._look(rule, time_s, holds, clears)
        if time_s % REGISTER_INTERVAL_S == 0:  # what looks back goes by quarter-hours
            self._findings = self.past.findings(time_s)
        now = self._present.findings(time_s, state, self._is_working(time_s))
        for rule, finding in (*self._findings.items(), *now):
            self._look(rule, time_s, finding.holds, finding.clears)

    def _is_working(self, time_s: int) -> bool:
        number, second = divmod(time_s, DAY_S)
        return is_workday(self._world.date(number)) and WORKING_S[0] <= second < WORKING_S[1]

    def _look(self, rule: str, time_s: int, holds: Bools, clears: Bools) -> None:
        """Moves the state of a rule on, and notes what begins and ends."""
        for subject, started_s in self._watches[rule].look(time_s, holds, clears, RULES[rule]):
            ms = self._world.epoch_ms
            self.episodes.append(Episode(rule, subject, ms + started_s * 1000, ms + time_s * 1000))
        for subject in self._watches[rule].ended:
            self._end(rule, subject, time_s)

    def _end(self, rule: str, subject: str, time_s: int) -> None:
        for episode in reversed(self.episodes):
            if (episode.rule, episode.subject) == (rule, subject):
                episode.ended_ms = self._world.epoch_ms + time_s * 1000
                return

    def _conditions(self, time_s: int, state: State) -> dict[str, tuple[Bools, Bools]]:
        """For each rule: where it holds, and where it clears."""
        second = time_s % DAY_S
        working = self._is_working(time_s)
        illuminated = LANDSCAPE_S[0] <= second < LANDSCAPE_S[1]
        empty = state.people[0] == 0
        light, air = state.light_mw[0], state.air_on[0] > 0
        flow = np.zeros(len(zones()), np.int64)
        np.add.at(flow, self._fixture_zone, state.fixture_ml_min[0])
        level = self._bin_level.reshape(-1, len(waste.CLASSES)).max(axis=1)
        silent = np.asarray(
            [
                fault.start_s <= time_s < fault.end_s
                and time_s - _minute_before(fault.start_s) > MISSED * REGISTER_INTERVAL_S
                for _, fault in self._silent
            ],
            bool,
        )
        down = np.asarray(
            [
                fault.start_s <= time_s < fault.end_s and time_s - (fault.start_s - STEP_S) > DOWN_S
                for fault in self._down
            ],
            bool,
        )
        runs = flow > 300
        plain = {
            "LightsInEmptyRoom": ((light > 50_000) & empty)[self._lit],
            "CorridorLightsNobody": ((light > 20_000) & empty)[self._shared],
            "LandscapeOutsideSchedule": ((light > 100_000) & (not illuminated))[self._landscape],
            "AcInEmptyRoom": (air & empty)[self._cooled],
            "TapRunningNobody": (runs & empty)[self._seen_wet],
            "TapRunningLong": runs[self._wet],
            "BranchFlowAfterHours": (state.branch_ml_min[0] > 1000) & (not working),
            "MeterSilent": silent,
            # ages count from the start of life: before it nobody was listening
            "MeterClockBehind": np.full(len(self._late), time_s - self._start_s > BEHIND_S),
            "GatewayDown": down,
            "VehicleIdling": self._idle,
            "OffHoursUse": self._trip & ~self._order & (not working),
        }
        found = {rule: (holds, ~holds) for rule, holds in plain.items()}
        for rule, full in (
            ("BinOverfull", level >= 800),
            ("BinOverflowing", level >= 950),
            ("BinOverdue", level > 900),
        ):
            found[rule] = full, level < 400
        return found

    def expected(self, until_ms: int) -> list[Episode]:
        """Episodes of which an alert is due by a time, UTC."""
        return [episode for episode in self.episodes if episode.fires_ms <= until_ms]

    def score(self, alerts: Iterable[Alert], until_ms: int) -> dict[str, Score]:
        """Compares alerts that were raised by a simulated time with the truth, for each anomaly.

        Args:
            alerts: every alert that became firing.
            until_ms: the newest time, UTC, that the system has seen; what is due later, or in the minute before it,
                is not asked for.
        """
        told = list(alerts)
        found: dict[str, Score] = {}
        for anomaly in ANOMALIES:
            due = [one for one in self.episodes if RULES[one.rule].anomaly == anomaly]
            raised = [alert for alert in told if alert.rule in RULES and RULES[alert.rule].anomaly == anomaly]
            asked = [one for one in due if one.fires_ms <= until_ms - SETTLE_S * 1000]
            missed = tuple(one for one in asked if not any(_tells(alert, one) for alert in raised))
            wrong = tuple(alert for alert in raised if not any(_tells(alert, one) for one in due))
            found[anomaly] = Score(len(asked), len(asked) - len(missed), len(wrong), missed, wrong)
        other = tuple(alert for alert in told if alert.rule not in RULES)
        found["other"] = Score(0, 0, len(other), (), other)
        return found


class _Watch:
    """The state machine of one rule over all its subjects."""

    def __init__(self, subjects: list[str]) -> None:
        self.subjects = subjects
        self.ended: list[str] = []
        self._since_s: Ints = np.full(len(subjects), -1, np.int64)
        self._clear_s: Ints = np.full(len(subjects), -1, np.int64)
        self._firing = np.zeros(len(subjects), bool)

    def look(self, time_s: int, holds: Bools, clears: Bools, rule: Rule) -> list[tuple[str, int]]:
        """Moves on; (subject, since) of what begins to fire, and `ended` are the subjects that stop."""
        self._since_s = np.where(holds, np.where(self._since_s < 0, time_s, self._since_s), -1)
        self._clear_s = np.where(clears, np.where(self._clear_s < 0, time_s, self._clear_s), -1)
        over = self._firing & clears & (time_s - self._clear_s >= rule.keep_s)
        begins = ~self._firing & holds & (time_s - self._since_s >= rule.for_s)
        self._firing = (self._firing & ~over) | begins
        self.ended = [self.subjects[i] for i in np.flatnonzero(over)]
        return [(self.subjects[i], int(self._since_s[i])) for i in np.flatnonzero(begins)]


def _metered(script: list[faults.Fault], effect: str) -> list[tuple[str, faults.Fault]]:
    """Points of the meters that a kind of fault is about, of the roles that are asked after."""
    roles = ("energy", "water", "heat", "pv_energy", "regeneration")
    found = [fault for fault in script if fault.effect == effect]
    return [(one.id, fault) for fault in found for one in registers() if one.meter == fault.where and one.role in roles]


def _minute_before(time_s: int) -> int:
    """The last minute before a moment: when a meter that is silent from then on was read for the last time."""
    return (time_s - 1) // 60 * 60


def _tells(alert: Alert, episode: Episode) -> bool:
    """Whether an alert is about an episode: same rule and subject, and begun in it (a step more or less)."""
    same = (alert.rule, alert.subject) == (episode.rule, episode.subject)
    after = alert.started_ms >= episode.started_ms - 60_000
    return same and after and (episode.ended_ms is None or alert.started_ms < episode.ended_ms)
