"""The simulator: thirty days of quarter-hours, then life in steps of ten seconds, from one state and without a seam.

Readings are exact functions of the world (`world`, `metering`); what is sent of them may be late or missing
(`faults`). The clock is simulated and advances only in `step`.
"""

import dataclasses
import datetime as dt
import heapq
from collections import Counter
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ganzhi.demo import faults
from ganzhi.demo.events import Event, counted
from ganzhi.demo.fleet import Fleet
from ganzhi.demo.metering import Meters, State
from ganzhi.demo.points import Observer, point_index, points
from ganzhi.demo.registers import register_index, registers
from ganzhi.demo.spans import Ints, Levels, Spans
from ganzhi.demo.truth import Truth
from ganzhi.demo.waste import Waste
from ganzhi.demo.world import CHANNELS, DAY_S, World, columns, is_workday

STEP_S: Final = 10
"""A step; a tick of the simulated clock follows each of them."""
GRID_S: Final = 60
"""In history the world is looked at every minute."""
QUARTER_S: Final = 900
LIVE_DATE: Final = dt.date(2025, 6, 13)
"""A Friday, of which the calendar is known, long before any clock that runs this."""


@dataclasses.dataclass(frozen=True)
class Batch:
    """Readings of one gateway, in order of time for each point.

    Attributes:
        site: site id.
        gateway: gateway id.
        times_ms: int64[n], UTC.
        points: int32[n], indices into `points()`.
        values: int64[n], as the log carries them.
    """

    site: str
    gateway: str
    times_ms: Ints
    points: NDArray[np.int32]
    values: Ints


@dataclasses.dataclass(frozen=True)
class Step:
    """What one step sends: readings first, then events, then a tick at `time_ms`."""

    time_ms: int
    batches: list[Batch]
    events: list[Event]


class Simulator:
    """The civic centre in time.

    Args:
        seed: of everything that happens.
        live: date of the live part, which begins at `faults.START_S`.
        days: dates of history before it.

    Attributes:
        world: the state at any moment.
        truth: what is wrong, so far.
        start_ms: when the live part begins, UTC.
        totals: what the events so far add up to, by the id of the point that `apply` makes for it.
    """

    def __init__(self, seed: int = 20250613, live: dt.date = LIVE_DATE, days: int = 30) -> None:
        self.world = World(seed, live, days)
        self.start_s = days * DAY_S + faults.START_S
        self.start_ms = self.world.epoch_ms + self.start_s * 1000
        self.truth = Truth(self.world, self.start_s)
        self.totals: Counter[str] = Counter()
        self._time_s = self.start_s
        self._meters = Meters()
        self._observer = Observer()
        self._counted: Ints = np.zeros(len(registers()), np.int64)
        self._quarters: list[Ints] = [self._counted[None, :]]
        self._stuck_s = {
            column: days * DAY_S + fault.start_s
            for fault in faults.of("stuck")
            for column, register in enumerate(registers())
            if register.meter == fault.where
        }
        self._stuck_at: dict[int, int] = {}
        self._levels = {name: Levels(count) for name, count in columns().items()}
        self._loaded = -1
        self._fleet = Fleet(seed, self.world.epoch_ms)
        self._waste = Waste(seed, self.world.epoch_ms)
        self._pending: list[tuple[int, int, Event]] = []
        self._past: list[Event] = []
        self._told = 0
        self._gauges: Ints | None = None
        self._late: list[tuple[int, int, Batch]] = []
        self._gateways = _gateways()
        self._script = [
            dataclasses.replace(fault, start_s=fault.start_s + days * DAY_S, end_s=fault.end_s + days * DAY_S)
            for fault in faults.SCRIPT
        ]
        self._behind_ms: Ints = np.zeros(len(points()), np.int64)
        for register in registers():
            self._behind_ms[point_index()[register.id]] = 1000 * faults.behind_s(register.meter)
        self._has_history = False

    @property
    def now_ms(self) -> int:
        """The simulated time, UTC."""
        return self.world.epoch_ms + self._time_s * 1000

    def history(self) -> Iterator[Batch]:
        """Quarter-hours from the first midnight to the start: registers, weather, PV; date by date, gateway by gateway.

        It must be read to its end before the first `step`.
        """
        carried = {name: Spans.of([], [], []) for name in CHANNELS}
        historic = np.asarray(
            [i for i, point in enumerate(points()) if point.in_history and point.kind != "register"], np.int64
        )
        gauge_at = np.searchsorted(self._observer.gauges, historic)
        chosen = np.concatenate([self._observer.registers, historic])
        first = self._observer.read_registers(self._counted)[None, :]
        yield from self._batches(np.asarray([self.world.epoch_ms]), self._observer.registers, first)
        for number in range(self.world.days + 1):
            begin_s = number * DAY_S
            end_s = min(begin_s + DAY_S, self.start_s)
            carried = self._join(carried, number)
            counted, state = self._count(carried, number, (end_s - begin_s) // GRID_S)
            self._quarters.append(counted)
            self._counted = counted[-1]
            ends_s = begin_s + QUARTER_S * np.arange(1, len(counted) + 1)
            heard = self._heard(ends_s, counted)
            self.truth.past.take(heard)
            shown = self._observer.read_registers(heard)
            gauges = self._observer.read_gauges(state.each(QUARTER_S // GRID_S))[:, gauge_at]
            times_ms = self.world.epoch_ms + ends_s * 1000
            yield from self._batches(times_ms, chosen, np.concatenate([shown, gauges], axis=1))
            self._tell(number)
            # what ends before the next date has no more to say
            carried = (
                {name: spans.where(spans.end_s > begin_s + DAY_S) for name, spans in carried.items()}
                if end_s % DAY_S == 0
                else carried
            )
        self._begin(carried)

    def history_events(self) -> list[Event]:
        """Events up to the start, in order of time; after `history`."""
        return self._past

    def step(self) -> Step:
        """Goes on by ten seconds."""
        if not self._has_history:
            for _ in self.history():
                pass
        self._time_s += STEP_S
        time_s = self._time_s
        self._load(time_s // DAY_S)
        for levels in self._levels.values():
            levels.advance(time_s)
        state = self._state_now(time_s)
        self._counted = self._counted + state.register_flow[0] * STEP_S
        if time_s % QUARTER_S == 0:
            self._quarters.append(self._counted[None, :])
            self.truth.past.take(self._heard(np.asarray([time_s]), self._counted[None, :]))
        self.truth.observe(time_s, state)
        batches = self._observe(time_s, state)
        events = self._due(time_s)
        for event in events:
            self.truth.hear(event)
            self.totals.update(counted(event))
        return Step(self.now_ms, batches, events)

    def register_at(self, point: str, time_ms: int) -> int:
        """Reading of a register, Wh or mL, at a quarter-hour that has passed.

        Raises:
            ValueError: no register, no quarter-hour, or outside of what was simulated.
        """
        if point not in register_index():
            raise ValueError(f"{point} is not a register of the demo")
        return registers()[register_index()[point]].shown(self._counted_at(point, time_ms))

    def usage(self, point: str, from_ms: int, to_ms: int) -> int:
        """What a register counted between two quarter-hours, Wh or mL: roll-over undone.

        Raises:
            ValueError: as `register_at`.
        """
        register = registers()[register_index()[point]]
        before, after = (self._counted_at(point, time_ms) // register.divisor for time_ms in (from_ms, to_ms))
        return (after - before) * register.step

    def read(self, point: str, until_ms: int) -> int:
        """What the ledger must have of a register up to a quarter-hour, Wh or mL, by the clock of its meter.

        Raises:
            ValueError: as `register_at`.
        """
        behind_ms = int(self._behind_ms[point_index()[point]])
        stuck_s = self._stuck_s.get(register_index()[point])
        until_ms += behind_ms
        if stuck_s is not None:
            until_ms = min(until_ms, self.world.epoch_ms + stuck_s * 1000)
        return self.usage(point, self.world.epoch_ms, until_ms)

    def _heard(self, times_s: Ints, counted: Ints) -> Ints:
        """Counts int64[times, registers] as the meters show them: a meter that is stuck stays at one quarter-hour."""
        if not self._stuck_s:
            return counted
        found = counted.copy()
        for column, stuck_s in self._stuck_s.items():
            late = times_s > stuck_s
            if late.any() and column not in self._stuck_at:
                before = counted[~late, column]
                self._stuck_at[column] = int(before[-1]) if len(before) else 0
            found[late, column] = self._stuck_at.get(column, 0)
        return found

    def _counted_at(self, point: str, time_ms: int) -> int:
        quarter, rest = divmod(time_ms - self.world.epoch_ms, QUARTER_S * 1000)
        if len(self._quarters) > 1:
            self._quarters = [np.concatenate(self._quarters)]
        if rest or not 0 <= quarter < len(self._quarters[0]):
            raise ValueError(f"{time_ms} is not a quarter-hour that was simulated")
        return int(self._quarters[0][quarter, register_index()[point]])

    def _join(self, carried: dict[str, Spans], number: int) -> dict[str, Spans]:
        channels = self.world.channels(number)
        return {name: Spans.join([carried[name], getattr(channels, name)]) for name in CHANNELS}

    def _count(self, spans: dict[str, Spans], number: int, minutes: int) -> tuple[Ints, State]:
        """Counts of all registers at the quarter-hours of a date, and the state at the beginning of its minutes."""
        begin_s = number * DAY_S
        levels = {name: spans[name].matrix(count, begin_s, GRID_S, minutes) for name, count in columns().items()}
        state = self._meters.state(levels, self.world.plant(number), np.arange(minutes))
        flow = state.register_flow.reshape(-1, QUARTER_S // GRID_S, state.register_flow.shape[1]).sum(axis=1) * GRID_S
        return self._counted + np.cumsum(flow, axis=0), state

    def _begin(self, spans: dict[str, Spans]) -> None:
        for name, levels in self._levels.items():
            levels.add(spans[name])
            levels.advance(self.start_s)
        self._loaded = self.start_s // DAY_S
        self._has_history = True
        self._past.sort(key=lambda event: event.time_s)
        for event in self._past:
            self.truth.hear(event)
            self.totals.update(counted(event))

    def _load(self, number: int) -> None:
        """Takes in what begins on the dates up to that one."""
        while self._loaded < number:
            self._loaded += 1
            channels = self.world.channels(self._loaded)
            for name, levels in self._levels.items():
                levels.add(getattr(channels, name))
            self._tell(self._loaded)

    def _tell(self, number: int) -> None:
        """Plans the events of a date: those up to the start are history."""
        live = number >= self.world.days
        ordinal, working = self.world.date(number).toordinal(), is_workday(self.world.date(number))
        script = faults.SCRIPT if number == self.world.days else ()
        told = self._fleet.day(number, ordinal, working, live, tuple(script))
        told += self._waste.day(number, ordinal, working, live, tuple(script))
        for event in told:
            if event.time_s > self.start_s:
                self._told += 1
                heapq.heappush(self._pending, (event.time_s, self._told, event))
            elif event.value["kind"] not in ("fill", "state"):
                self._past.append(event)

    def _due(self, time_s: int) -> list[Event]:
        due = []
        while self._pending and self._pending[0][0] <= time_s:
            due.append(heapq.heappop(self._pending)[2])
        return due

    def _state_now(self, time_s: int) -> State:
        number, second = divmod(time_s, DAY_S)
        levels = {name: level.now[None, :] for name, level in self._levels.items()}
        return self._meters.state(levels, self.world.plant(number), np.asarray([second // 60]))

    def _observe(self, time_s: int, state: State) -> list[Batch]:
        """What the gateways send now: changes, and on the minute everything."""
        gauges = self._observer.read_gauges(state)[0]
        whole = self._gauges is None or time_s % 60 == 0
        changed = np.ones(len(gauges), bool) if whole else gauges != self._gauges
        self._gauges = gauges
        chosen, values = self._observer.gauges[changed], gauges[changed]
        if time_s % 60 == 0:
            chosen = np.concatenate([chosen, self._observer.registers])
            heard = self._heard(np.asarray([time_s]), self._counted[None, :])[0]
            values = np.concatenate([values, self._observer.read_registers(heard)])
        keep = ~np.isin(chosen, self._silent(time_s))
        made = list(
            self._batches(np.asarray([self.world.epoch_ms + time_s * 1000]), chosen[keep], values[keep][None, :])
        )
        return self._delayed(time_s, made)

    def _silent(self, time_s: int) -> Ints:
        """Points that nothing is heard of: those of silent meters, and all of gateways that are down."""
        now = [fault for fault in self._script if fault.start_s <= time_s < fault.end_s]
        meters = {fault.where for fault in now if fault.effect == "silent"}
        gateways = {fault.where for fault in now if fault.effect == "down"}
        found = [point_index()[one.id] for one in registers() if one.meter in meters]
        found += [i for i, point in enumerate(points()) if point.gateway in gateways] if gateways else []
        return np.asarray(found, np.int64)

    def _delayed(self, time_s: int, made: list[Batch]) -> list[Batch]:
        """Holds back what late gateways send, and gives out what they have held back long enough."""
        delays = {
            fault.where: fault.amount
            for fault in self._script
            if fault.effect == "late" and fault.start_s <= time_s < fault.end_s
        }
        punctual = []
        for batch in made:
            if batch.gateway in delays:
                self._told += 1
                heapq.heappush(self._late, (time_s + delays[batch.gateway], self._told, batch))
            else:
                punctual.append(batch)
        while self._late and self._late[0][0] <= time_s:
            punctual.append(heapq.heappop(self._late)[2])
        return punctual

    def _batches(self, times_ms: Ints, chosen: Ints, values: Ints) -> Iterator[Batch]:
        """Cuts values[times, chosen points] into a batch for each gateway, ordered by time."""
        gateway = self._gateways[0][chosen]
        for number in np.unique(gateway):
            own = np.flatnonzero(gateway == number)
            site, name = self._gateways[1][number]
            # a meter stamps its readings by its own clock
            stamped_ms = times_ms[:, None] - self._behind_ms[chosen[own]]
            yield Batch(
                site,
                name,
                stamped_ms.ravel(),
                np.tile(chosen[own].astype(np.int32), len(times_ms)),
                values[:, own].ravel(),
            )


def _gateways() -> tuple[Ints, list[tuple[str, str]]]:
    """Number of the gateway of each point, and (site, gateway) of each number."""
    names: dict[tuple[str, str], int] = {}
    numbers = [names.setdefault((point.site, point.gateway), len(names)) for point in points()]
    return np.asarray(numbers, np.int64), list(names)
