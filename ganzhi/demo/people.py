"""Where everybody is on one day: anonymous people with a place of work, who come, meet, eat and go home.

A day is a pure function of (seed, date): the same people make the same ways whatever was asked before. Nobody is in
two places at once.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ganzhi.demo.layout import BUILDINGS, zone_index, zones
from ganzhi.demo.spans import Ints, Spans

Bools = NDArray[np.bool_]


def clock_s(hours: int, minutes: int = 0) -> int:
    """Seconds since midnight."""
    return hours * 3600 + minutes * 60


TRANSIT_S: Final = (25, 45)
"""How long somebody is in the corridor on the way out, and on the way back."""
_BREAKS: Final = ((9, 5), (10, 0), (11, 10), (13, 35), (14, 30), (15, 42), (16, 15), (16, 41))
"""When a break of some minutes may begin; within the next 18 minutes."""
_MEETINGS: Final = (((9, 30), (10, 55)), ((14, 0), (15, 25)), ((15, 40), (17, 2)))


@dataclasses.dataclass(frozen=True, slots=True)
class Routine:
    """What differs on a day from every other day.

    Attributes:
        working: a working day of the calendar.
        home_by_s: zone → second by which everybody who works there has left.
        closed_s: zone → second from which nobody goes there.
    """

    working: bool
    home_by_s: Mapping[int, int] = dataclasses.field(default_factory=dict)
    closed_s: Mapping[int, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Day:
    """Spans of one day: people in zones, and draws of water (mL/min) at the fixtures of `fixtures()`."""

    people: Spans
    water: Spans


@dataclasses.dataclass(frozen=True, slots=True)
class Fixture:
    """A tap or a flush valve: its zone, kind, and flow when it runs, mL/min."""

    id: str
    zone: int
    kind: str
    flow_ml_min: int


@functools.cache
def fixtures() -> tuple[Fixture, ...]:
    """A tap and a flush valve for each toilet, a tap for each tea-room."""
    found = []
    for i, zone in enumerate(zones()):
        if zone.kind == "toilet":
            found += [Fixture(f"{zone.id}.tap", i, "tap", 4800), Fixture(f"{zone.id}.flush", i, "toilet", 7200)]
        if zone.kind == "tea_room":
            found.append(Fixture(f"{zone.id}.tap", i, "tap", 2400))
    return tuple(found)


@dataclasses.dataclass(frozen=True)
class _Staff:
    """Arrays int64[people]: place of work, and corridor, toilet, tea-room of its floor; `building` is a number."""

    home: Ints
    corridor: Ints
    toilet: Ints
    tea: Ints
    building: Ints


@functools.cache
def _staff() -> _Staff:
    rows: list[tuple[int, int, int, int, int]] = []
    at = zone_index()
    letters = [building.id for building in BUILDINGS]
    for i, zone in enumerate(zones()):
        for seat in range(zone.seats):
            floor = zone.id[:4]
            side = 1 if int(zone.id[4:]) <= 12 else 2
            rows.append(
                (
                    i,
                    at[f"{floor}0{side}"],
                    at[f"{floor}0{3 + seat % 2}"],
                    at[f"{floor}05"],
                    letters.index(zone.building),
                )
            )
    return _Staff(*np.asarray(rows, np.int64).T)


@functools.cache
def _taps() -> tuple[Ints, Ints]:
    """Column of the tap and of the flush valve of each zone, -1 where there is none."""
    tap, flush = np.full((2, len(zones())), -1, np.int64)
    for column, fixture in enumerate(fixtures()):
        (tap if fixture.kind == "tap" else flush)[fixture.zone] = column
    return tap, flush


def staff_count() -> int:
    """People who have a place of work here."""
    return len(_staff().home)


def day(seed: int, ordinal: int, routine: Routine) -> Day:
    """Everybody's day; seconds count from its midnight.

    Args:
        seed: of the world.
        ordinal: proleptic Gregorian ordinal of the date.
        routine: what is special about it.
    """
    return _Planner(seed, ordinal, routine).plan()


class _Planner:
    """Draws one day. `_free_s` is when each person is at the place of work again; no way out begins before."""

    def __init__(self, seed: int, ordinal: int, routine: Routine) -> None:
        self._random = np.random.Generator(np.random.PCG64([seed, ordinal, 1]))
        self._routine = routine
        self._people: list[Spans] = []
        self._water: list[Spans] = []
        staff = _staff()
        count = len(staff.home)
        if routine.working:
            self._present = self._random.random(count) < 0.93
            self._arrive = np.clip(
                self._random.normal(clock_s(8, 22), 560, count), clock_s(7, 30), clock_s(9, 0)
            ).astype(np.int64)
            leave = clock_s(17, 0) + np.minimum(self._random.exponential(540, count), 2400)
            late = (self._random.random(count) < 0.035) & self._unforced(staff)
            leave = np.where(late, self._random.integers(clock_s(18, 30), clock_s(20, 30), count), leave)
        else:
            self._present = self._random.random(count) < 0.02
            self._arrive = self._random.integers(clock_s(9, 0), clock_s(11, 0), count)
            leave = self._random.integers(clock_s(14, 0), clock_s(17, 0), count)
        latest = np.full(len(zones()), clock_s(24), np.int64)
        latest[list(routine.home_by_s)] = list(routine.home_by_s.values())
        # people drop out of a floor that closes one after the other, not as a crowd
        self._leave = np.minimum(leave.astype(np.int64), latest[staff.home] - self._random.integers(0, 420, count))
        self._free_s = self._arrive.copy()

    def _unforced(self, staff: _Staff) -> Bools:
        forced = np.zeros(len(zones()), bool)
        forced[list(self._routine.home_by_s)] = True
        return ~forced[staff.home]

    def plan(self) -> Day:
        """The whole day."""
        staff = _staff()
        here = self._present
        self._stay(staff.corridor[here], self._arrive[here] - 35, self._arrive[here])
        if self._routine.working:
            self._working_day(staff)
            self._visitors()
            self._cleaning()
        else:
            self._break(staff, clock_s(11, 0))
            self._break(staff, clock_s(13, 0))
        last = here & (self._leave > self._free_s)
        self._stay(staff.home[last], self._free_s[last], self._leave[last])
        self._stay(staff.corridor[here], self._leave[here], self._leave[here] + 40)
        self._garage()
        self._patrol()
        return Day(Spans.join(self._people), Spans.join(self._water))

    def _stay(self, zone: Ints, start_s: Ints, end_s: Ints) -> None:
        self._people.append(Spans.of(zone, start_s, end_s))

    def _working_day(self, staff: _Staff) -> None:
        breaks = [clock_s(*moment) for moment in _BREAKS]
        meetings = [(clock_s(*begin), clock_s(*end)) for begin, end in _MEETINGS]
        busy = self._meeting(staff, *meetings[0], breaks[0])
        self._break(staff, breaks[1], ~busy)
        self._break(staff, breaks[2])
        self._lunch(staff)
        busy = self._meeting(staff, *meetings[1], breaks[3])
        self._break(staff, breaks[4], ~busy)
        busy = self._meeting(staff, *meetings[2], None)
        self._break(staff, breaks[5], ~busy)
        self._break(staff, breaks[6], ~busy)
        self._break(staff, breaks[7], ~busy)

    def _away(self, staff: _Staff, who: Bools, start_s: Ints, target: Ints, stay_s: Ints) -> Bools:
        """Those of `who` that can go, go to `target` and come back; who went is returned."""
        closed = np.full(len(zones()), clock_s(48), np.int64)
        closed[list(self._routine.closed_s)] = list(self._routine.closed_s.values())
        out_s, back_s = TRANSIT_S
        end_s = start_s + out_s + stay_s + back_s
        went = (
            who
            & self._present
            & (start_s > self._free_s + 60)
            & (end_s < self._leave - 60)
            & (start_s < closed[target])
        )
        start, end = start_s[went], end_s[went]
        self._stay(staff.home[went], self._free_s[went], start)
        self._stay(staff.corridor[went], start, start + out_s)
        self._stay(target[went], start + out_s, end - back_s)
        self._stay(staff.corridor[went], end - back_s, end)
        self._free_s = np.where(went, end_s, self._free_s)
        return np.asarray(went, bool)

    def _break(self, staff: _Staff, from_s: int, who: Bools | None = None) -> None:
        count = len(staff.home)
        kind = self._random.random(count)
        start_s = from_s + self._random.integers(0, 1080, count)
        wash = kind < 0.45
        target = np.where(wash, staff.toilet, staff.tea)
        stay_s = np.where(wash, self._random.integers(80, 260, count), self._random.integers(50, 180, count))
        went = self._away(staff, (kind < 0.75) & (True if who is None else who), start_s, target, stay_s)
        self._draw(target[went], start_s[went] + TRANSIT_S[0], stay_s[went])

    def _draw(self, zone: Ints, start_s: Ints, stay_s: Ints) -> None:
        """Everybody who is in a toilet flushes and washes hands at the end, in a tea-room fills a cup."""
        tap, flush = _taps()
        flow = np.asarray([fixture.flow_ml_min for fixture in fixtures()], np.int64)
        toilet = flush[zone] >= 0
        wash_s = np.where(toilet, self._random.integers(8, 20, len(zone)), self._random.integers(15, 40, len(zone)))
        end_s = start_s + stay_s
        self._water.append(Spans.of(tap[zone], end_s - wash_s, end_s, flow[tap[zone]]))
        column, end_s = flush[zone[toilet]], end_s[toilet]
        self._water.append(Spans.of(column, end_s - 30, end_s + 15, flow[column]))

    def _meeting(self, staff: _Staff, start_s: int, end_s: int, break_s: int | None) -> Bools:
        """Meetings in some rooms of each building, with people of that building; the break before it is for all."""
        if break_s is not None:
            self._break(staff, break_s)
        busy = np.zeros(len(staff.home), bool)
        rooms = [(i, zone) for i, zone in enumerate(zones()) if zone.kind == "meeting"]
        closed = self._routine.closed_s
        for number, building in enumerate(BUILDINGS):
            free: Ints = self._random.permutation(
                np.flatnonzero((staff.building == number) & self._present & self._unforced(staff))
            )
            for i, zone in rooms:
                if (
                    zone.building != building.id
                    or self._random.random() > 0.45
                    or start_s >= closed.get(i, clock_s(48))
                ):
                    continue
                group, free = np.split(free, [int(self._random.integers(4, zone.guests))])
                busy |= self._meet(staff, group, i, start_s, end_s)
        return busy

    def _meet(self, staff: _Staff, group: Ints, room: int, start_s: int, end_s: int) -> Bools:
        count = len(staff.home)
        who = np.zeros(count, bool)
        who[group] = True
        begin = start_s + self._random.integers(-120, 180, count)
        stop = end_s - int(self._random.integers(0, 900)) + self._random.integers(-30, 90, count)
        # who leaves for home right after a meeting goes by the place of work
        self._leave = np.where(who & self._present, np.maximum(self._leave, stop + 300), self._leave)
        return self._away(staff, who, begin, np.full(count, room, np.int64), stop - begin)

    def _lunch(self, staff: _Staff) -> None:
        count = len(staff.home)
        canteen = np.full(count, zone_index()["C-0107"], np.int64)
        stay_s = self._random.integers(1200, 1900, count) + np.where(self._random.random(count) < 0.5, 1500, 0)
        self._away(
            staff, np.ones(count, bool), clock_s(11, 32) + self._random.integers(0, 1800, count), canteen, stay_s
        )

    def _visitors(self) -> None:
        for zone, count in (("B-0107", 420), ("B-0207", 260)):
            start_s = self._random.integers(clock_s(9), clock_s(16, 45), count)
            self._stay(
                np.full(count, zone_index()[zone], np.int64), start_s, start_s + self._random.integers(480, 2100, count)
            )

    def _cleaning(self) -> None:
        """From 18:20 on, a crew goes through the shared rooms of each building from the top, ten minutes a floor."""
        for building in BUILDINGS:
            for floor in range(1, building.floors + 1):
                start_s = clock_s(18, 20) + (building.floors - floor) * 600
                for order, slot in enumerate((1, 2, 3, 4, 5)):
                    zone = np.full(1, zone_index()[f"{building.id}-{floor:02d}{slot:02d}"], np.int64)
                    begin = np.full(1, start_s + order * 115, np.int64)
                    self._stay(zone, begin, begin + 110)
                    if slot > 2:
                        self._draw(zone, begin, np.full(1, 90, np.int64))

    def _garage(self) -> None:
        for moment, before_s in ((self._arrive, 300), (self._leave, -180)):
            drives = self._present & (self._random.random(len(moment)) < 0.25)
            zone = np.where(self._random.random(len(moment)) < 0.5, zone_index()["G-P1"], zone_index()["G-P2"])
            start_s = moment[drives] - before_s
            self._stay(zone[drives], start_s, start_s + 110)

    def _patrol(self) -> None:
        corridors = np.asarray(
            [i for i, zone in enumerate(zones()) if zone.kind == "corridor" and "emergency" not in zone.tags], np.int64
        )
        start_s = clock_s(22) + np.arange(len(corridors)) * 45
        self._stay(corridors, start_s, start_s + 45)
