"""What the past of the world says: rules that look back, said a second time on what every meter has counted.

The counts are those of the world (`metering`), by quarter-hour from the first midnight on, as the meters show them; no
reading is asked, and nothing of the system that is being watched. What cannot be known (a point that nothing is heard
of, a past that is too short) neither raises nor clears.
"""

import dataclasses
from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ganzhi.demo import faults, plant, tables
from ganzhi.demo.layout import BUILDINGS
from ganzhi.demo.people import clock_s
from ganzhi.demo.registers import METERED_TOILETS, register_index, registers
from ganzhi.demo.spans import Ints
from ganzhi.demo.world import DAY_S, World, is_workday

Bools = NDArray[np.bool_]
CELL_S: Final = 900
DAY: Final = DAY_S // CELL_S
"""Quarter-hours of a day, and so on."""
HOUR: Final = 4
NIGHT: Final = slice(8, 16)
"""02:00 to 04:00."""
IRRIGATION_S: Final = (clock_s(5, 30), clock_s(6, 15))
"""When it is meant to run (the model's schedule `irrigation`)."""
LONG_USES: Final = ("tank", "cooling", "irrigation")
"""What runs long without a leak."""
WORKING_S: Final = (clock_s(8), clock_s(17, 30))
"""The model's schedule `working`, on working days."""
BASELINE_NIGHTS: Final = 28
STUCK_NIGHTS: Final = 14
"""Of which half must be known before a meter can be told from one that counts nothing at night."""
USUAL_DAYS: Final = 10
QUOTAS_KWH: Final = {"A": 16_000, "B": 16_000, "C": 16_000, "G": 4_000} | {
    fault.where: fault.amount for fault in faults.of("quota")
}
"""Of a week, by building: assumptions of the demo; a fault is a quota that is too small for what its building needs."""
LIMIT_KW: Final = 250
"""Demand that the contract of a supply allows: likewise."""


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """How a rule stands with each of its subjects."""

    holds: Bools
    clears: Bools


def _lower_median(values: Ints) -> Ints:
    """Along the first axis: of an even number the lower one of the two in the middle."""
    found: Ints = np.sort(values, axis=0)[(len(values) - 1) * 500 // 1000]
    return found


class Past:
    """The counts of the world and what follows from them.

    Args:
        world: whose.

    Attributes:
        subjects: rule → ids.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._found: list[Ints] = [np.zeros((1, len(registers())), np.int64)]
        self._divisor = np.asarray([one.divisor for one in registers()], np.int64)
        self._step = np.asarray([one.step for one in registers()], np.int64)
        columns = register_index()
        roles = [one.role for one in registers()]
        uses = [one.use for one in registers()]
        self._water = [i for i, role in enumerate(roles) if role == "water" and uses[i] not in LONG_USES]
        self._irrigation, self._tanks, self._towers = (
            [i for i, one in enumerate(uses) if one == use] for use in ("irrigation", "tank", "cooling")
        )
        self._toilets = [columns[f"{zone}.water"] for zone in METERED_TOILETS]
        self._energy = [i for i, role in enumerate(roles) if role == "energy"]
        self._stuck = [
            (i, fault) for fault in faults.of("stuck") for i in self._energy if registers()[i].meter == fault.where
        ]
        self._fans = [i for i, load in enumerate(plant.loads()) if load.kind == "fan"]
        self._pv = [i for i, load in enumerate(plant.loads()) if load.kind == "pv_inverter"]
        self._pv_meters = [columns[f"{plant.loads()[i].id}.pv_energy"] for i in self._pv]
        self._lifts = [load.id for load in plant.loads() if load.kind == "lift" and load.profile == "lift"]
        self._supply = {
            letter: [
                columns[f"{letter}.{name}"] for name in ("T1.import", "T2.import") if f"{letter}.{name}" in columns
            ]
            for letter in (*(building.id for building in BUILDINGS), "G")
        }
        self._nodes = _nodes()
        ids = [one.id for one in registers()]
        electric = [name for name, (_, _, water) in self._nodes.items() if not water]
        loads = plant.loads()
        self.subjects: dict[str, list[str]] = {
            "ContinuousFlow": [ids[i] for i in self._water],
            "NightFlowRising": [ids[i] for i in self._water],
            "IrrigationOutsideSchedule": [ids[i] for i in self._irrigation],
            "TankNeverFull": [ids[i] for i in self._tanks],
            "CoolingMakeUpLong": [ids[i] for i in self._towers],
            "WaterBurst": list(METERED_TOILETS),
            "CisternRuns": list(METERED_TOILETS),
            "BaseLoadCreep": [ids[i] for i in self._energy],
            "MeterStuck": [ids[i] for i, _ in self._stuck],
            "UnmeteredRemainder": electric,
            "PartsExceedWhole": electric,
            "WaterRemainder": [name for name, (_, _, water) in self._nodes.items() if water],
            "AlwaysOn": [loads[i].id for i in self._fans],
            "UnusualLoad": list(self._supply),
            "OverQuotaPace": list(self._supply),
            "DemandOverLimit": [f"{letter}.power" for letter in self._supply],
            "PvUnderperforming": [loads[i].id for i in self._pv],
            "PvBelowExpected": [loads[i].id for i in self._pv],
            "RegenerationLow": self._lifts,
        }

    def take(self, counted: Ints) -> None:
        """Takes the counts int64[quarters, registers] of the next quarter-hours."""
        self._found.append(counted)

    def findings(self, time_s: int) -> dict[str, Finding]:
        """How every rule stands at a quarter-hour; empty for what the past is too short for."""
        self._found = [np.concatenate(self._found)]
        shown = self._found[0] // self._divisor * self._step
        now = time_s // CELL_S
        deaf = self._deaf(time_s)
        found = self._flows(shown, now) | self._nights(shown, now) | self._remainders(shown, now, deaf)
        found |= self._stuck_meters(time_s) | self._buildings(shown, now) | self._plant(shown, now, time_s)
        for rule, finding in found.items():
            unheard = np.asarray([subject in deaf for subject in self.subjects[rule]], bool)
            found[rule] = Finding(finding.holds & ~unheard, finding.clears & ~unheard)
        return found

    def _deaf(self, time_s: int) -> set[str]:
        """Registers of which nothing is heard at a time."""
        midnight_s = self._world.days * DAY_S
        now = [one for one in faults.of("silent", "down") if one.start_s < time_s - midnight_s <= one.end_s]
        where = {fault.where for fault in now}
        return {one.id for one in registers() if where & {one.meter, one.gateway}}

    def _flows(self, shown: Ints, now: int) -> dict[str, Finding]:
        date = self._world.date(now * CELL_S // DAY_S)
        working = is_workday(date) and WORKING_S[0] <= now * CELL_S % DAY_S < WORKING_S[1]
        found: dict[str, Finding] = {}
        half, quarter = ((shown[now] - shown[now - n])[self._irrigation] for n in (2, 1))
        allowed = IRRIGATION_S[0] <= now * CELL_S % DAY_S < IRRIGATION_S[1]
        found["IrrigationOutsideSchedule"] = Finding(
            (half * 2 > 30_000) & (not allowed), (quarter * HOUR <= 30_000) | allowed
        )
        last, before = (shown[now] - shown[now - n] for n in (1, 2))
        burst, dry = before[self._toilets] >= 60_000, last[self._toilets] <= 1000
        found["WaterBurst"] = Finding(burst & (not working), dry | working)
        if now < DAY:
            return found
        halves, many, hours = (
            self._buckets(shown, now, 12, 2),
            self._buckets(shown, now, 48, 2),
            self._buckets(shown, now, DAY, HOUR),
        )
        toilets = halves[:, self._toilets] * 2
        small = (toilets.min(axis=0) > 5000) & (toilets.max(axis=0) < 200_000)
        found["CisternRuns"] = Finding(small & (not working), (toilets[-1] <= 5000) | working)
        tanks, towers = many[:, self._tanks], hours[:, self._towers]
        found["TankNeverFull"] = Finding(tanks.min(axis=0) > 0, tanks[-1] <= 0)
        found["CoolingMakeUpLong"] = Finding(towers.min(axis=0) > 0, towers[-1] <= 0)
        own = shown[:, self._water]
        found["ContinuousFlow"] = Finding(hours[:, self._water].min(axis=0) > 0, own[now] <= own[now - HOUR])
        return found

    def _buckets(self, shown: Ints, now: int, cells: int, bucket: int) -> Ints:
        """What was used in every bucket of some quarter-hours that lies in the last `cells`."""
        return shown[now - cells + bucket : now + 1] - shown[now - cells : now - bucket + 1]

    def _nights(self, shown: Ints, now: int) -> dict[str, Finding]:
        cells = np.diff(shown[: now // DAY * DAY + NIGHT.stop + 1], axis=0)
        nights = np.stack([_lower_median(cells[d * DAY :][NIGHT]) for d in range(now // DAY + 1)])
        before = nights[:-1][-BASELINE_NIGHTS:]
        if 2 * len(before) < BASELINE_NIGHTS:
            return {}
        last, usual = nights[-1], _lower_median(before)
        water, energy = self._water, self._energy
        over = (last - usual)[water] * HOUR > 6000  # mL/h
        rising = (2 * last > 3 * usual)[water] & over
        back = (10 * last <= 11 * usual)[water] | ~over
        five = _lower_median(nights[-5:])
        creeps = (100 * five > 115 * usual)[energy] & (five[energy] * HOUR > 500) & (100 * last >= 108 * usual)[energy]
        return {
            "NightFlowRising": Finding(rising, back),
            "BaseLoadCreep": Finding(creeps, (100 * last < 108 * usual)[energy]),
        }

    def _remainders(self, shown: Ints, now: int, deaf: set[str]) -> dict[str, Finding]:
        if now < DAY:
            return {}
        used = shown[now] - shown[now - DAY]
        ids = [one.id for one in registers()]
        rules: dict[str, tuple[list[bool], list[bool]]] = {
            rule: ([], []) for rule in ("UnmeteredRemainder", "PartsExceedWhole", "WaterRemainder")
        }
        for plus, minus, water in self._nodes.values():
            known = not deaf & {ids[i] for i in (*plus, *minus)}
            supply, parts = int(used[plus].sum()), int(used[minus].sum())
            checks = {"WaterRemainder": 20 * (supply - parts) > supply} if water else {
                "UnmeteredRemainder": 20 * (supply - parts) > supply,
                "PartsExceedWhole": 50 * (parts - supply) > supply,
            }  # fmt: skip
            for rule, holds in checks.items():
                rules[rule][0].append(known and holds)
                rules[rule][1].append(known and not holds)
        return {
            rule: Finding(np.asarray(holds, bool), np.asarray(clears, bool)) for rule, (holds, clears) in rules.items()
        }

    def _stuck_meters(self, time_s: int) -> dict[str, Finding]:
        if 2 * self._world.days < STUCK_NIGHTS:
            return {}
        since_s = [self._world.days * DAY_S + fault.start_s for _, fault in self._stuck]
        holds = np.asarray([time_s - begin_s >= DAY_S for begin_s in since_s], bool)
        return {"MeterStuck": Finding(holds, np.zeros(len(holds), bool))}

    def _buildings(self, shown: Ints, now: int) -> dict[str, Finding]:
        """Rules of buildings and their supplies, in Wh."""
        found: dict[str, Finding] = {}
        supply = np.stack([shown[:, columns].sum(axis=1) for columns in self._supply.values()], axis=1)
        first = shown[:, [columns[0] for columns in self._supply.values()]]
        over = (first[now] - first[now - 1]) * HOUR > LIMIT_KW * 1000
        found["DemandOverLimit"] = Finding(over, ~over)
        if now >= 7 * DAY:
            quota = np.asarray([QUOTAS_KWH[letter] * 1000 for letter in self._supply], np.int64)
            over = supply[now] - supply[now - 7 * DAY] > quota
            found["OverQuotaPace"] = Finding(over, ~over)
        today, place = divmod(now - 1, DAY)
        days = [d for d in range(today) if is_workday(self._world.date(d))][-USUAL_DAYS:]
        if is_workday(self._world.date(today)) and 2 * len(days) >= USUAL_DAYS:
            cells = np.diff(supply, axis=0)
            hour = place // HOUR * HOUR
            values = np.sort(np.concatenate([cells[d * DAY + hour : d * DAY + hour + HOUR] for d in days]), axis=0)
            usual = values[900 * (len(values) - 1) // 1000] * HOUR
            load = supply[now] - supply[now - HOUR]
            found["UnusualLoad"] = Finding((2 * load > 3 * usual) & (load > 5000), 2 * load <= 3 * usual)
        return found

    def _plant(self, shown: Ints, now: int, time_s: int) -> dict[str, Finding]:
        found: dict[str, Finding] = {}
        if now < DAY:
            return found
        power, expected = self._minutes(time_s)
        loads = plant.loads()
        runs = power[:, self._fans] > np.asarray([loads[i].peak_w for i in self._fans]) * plant.RUNNING_PERMILLE
        most = 100 * runs.sum(axis=0) >= 95 * len(runs)
        found["AlwaysOn"] = Finding(most, 100 * runs[-60:].sum(axis=0) < 95 * 60)
        gives, should = power[:, self._pv].sum(axis=0), expected[:, self._pv].sum(axis=0)
        below = 100 * gives < 80 * should
        found["PvBelowExpected"] = Finding(below & (should > 100_000 * len(power)), ~below)
        made = shown[now, self._pv_meters] - shown[now - DAY, self._pv_meters]
        others = self.others(made)
        low = 100 * made < 60 * others
        found["PvUnderperforming"] = Finding(low & (others > 5000), ~low & (others >= 0))
        if now >= 28 * DAY:
            columns = register_index()
            energy, back = (
                shown[:, [columns[f"{lift}{name}"] for lift in self._lifts]] for name in (".energy", "r.regeneration")
            )
            three, four = ({n: one[now] - one[now - n * DAY] for n in (3, 28)} for one in (energy, back))
            low = 2 * four[3] * three[28] < four[28] * three[3]
            found["RegenerationLow"] = Finding(low & (three[3] > 5000), ~low)
        return found

    def others(self, values: Ints) -> Ints:
        """For each inverter the median of the others in its building; -1 where there are not two of them."""
        sites = [plant.loads()[i].building for i in self._pv]
        found = []
        for i, site in enumerate(sites):
            rest = [values[k] for k, other in enumerate(sites) if other == site and k != i]
            found.append(int(_lower_median(np.asarray(rest))) if len(rest) >= 2 else -1)
        return np.asarray(found, np.int64)

    def _minutes(self, time_s: int) -> tuple[Ints, Ints]:
        """Power of the plant in the minutes of the last 24 hours, and what PV should have given."""
        number, minute = time_s // DAY_S, time_s % DAY_S // 60
        days = [self._world.plant(number - 1), self._world.plant(number)]
        power, expected = (np.concatenate([getattr(day, name) for day in days]) for name in ("power_mw", "expected_mw"))
        return power[minute : minute + plant.MINUTES], expected[minute : minute + plant.MINUTES]


def _nodes() -> dict[str, tuple[list[int], list[int], bool]]:
    """Node of the balance → registers that it adds, that it takes away, and whether it is of water; by id."""
    columns = register_index()
    found: dict[str, tuple[list[int], list[int], bool]] = {}
    for row in _sorted(tables.balance()):
        column = columns[row["point"]]
        plus, minus, _ = found.setdefault(row["node"], ([], [], registers()[column].role == "water"))
        (plus if row["sign"] == "+" else minus).append(column)
    return found


def _sorted(rows: Iterable[tables.Row]) -> list[tables.Row]:
    return sorted(rows, key=lambda row: row["node"])


__all__ = ["LIMIT_KW", "QUOTAS_KWH", "Finding", "Past"]
