"""What looks back, by hand: segments of what was counted, cut into cells again and again."""

import bisect
import dataclasses
import functools
import itertools
import statistics
from collections.abc import Sequence
from typing import Any

from schemas.rules.program import TRUE, Agg, CompiledRules, Fn, Measure

Row = dict[str, Any]
DAY_MS = 86_400_000
UNKNOWN, MEASURED, SPREAD = "unknown", "measured", "spread"
SPARE = 8


@dataclasses.dataclass
class Track:
    """One measure of one point: what is known of it, (start, end, value, spread) in the order of time."""

    measure: int
    cell_ms: int
    kind: str
    events: bool
    length: int = 0
    newest: int | None = None
    since: int | None = None
    segments: list[tuple[int, int, Row, bool]] = dataclasses.field(default_factory=list)
    fresh: int | None = None
    latest_ms: int | None = None

    def counted(self, row: Row) -> None:
        """A row of the ledger."""
        start, end = row["from_ms"], row["to_ms"]
        if not start < end <= start + DAY_MS:
            return
        for cell in range(start // self.cell_ms, (end - 1) // self.cell_ms + 1):
            if self.newest is None or cell > self.newest:
                low, high = max(start, cell * self.cell_ms), min(end, (cell + 1) * self.cell_ms)
                part = _until(row["quantity"], high - start, end - start) - _until(
                    row["quantity"], low - start, end - start
                )
                self.segments.append((low, high, {"value": part}, row["how"] != "measured"))
        self._reach(start, end)

    def gauged(self, row: Row, known: bool) -> None:
        """A row of a gauge."""
        cell = row["from_ms"] // self.cell_ms
        if self.newest is not None and cell <= self.newest:
            return
        if known:
            self.segments.append((row["from_ms"], row["to_ms"], row, False))
        self._reach(row["from_ms"], row["to_ms"])

    def _reach(self, start: int, end: int) -> None:
        if self.fresh is None:
            self.fresh = start // self.cell_ms
        self.latest_ms = max(end, end if self.latest_ms is None else self.latest_ms)
        newest = end // self.cell_ms - 1
        if newest >= self.fresh or self.newest is not None:
            self.newest = max(newest, self.newest if self.newest is not None else newest)
        elif self.newest is None:
            self.newest = self.fresh - 1
        oldest = ((self.newest or 0) - self.length) * self.cell_ms
        self.segments = [one for one in self.segments if one[1] > oldest]

    def cell(self, cell: int) -> tuple[int, str]:
        """(value, how it is known)."""
        if not self.events and (self.newest is None or cell > self.newest or self.fresh is None or cell < self.fresh):
            return 0, UNKNOWN
        low, high = cell * self.cell_ms, (cell + 1) * self.cell_ms
        first = bisect.bisect_left(self.segments, low, key=lambda one: one[0])
        inside = list(itertools.takewhile(lambda one: one[1] <= high, itertools.islice(self.segments, first, None)))
        if sum(end - start for start, end, _, _ in inside) != self.cell_ms and not self.events:
            return 0, UNKNOWN
        return self._value(inside), SPREAD if any(spread for *_, spread in inside) else MEASURED

    def _value(self, inside: Sequence[tuple[int, int, Row, bool]]) -> int:
        if self.measure == Measure.USAGE:
            return sum(row["value"] for _, _, row, _ in inside)
        if self.measure == Measure.MEAN:
            total: int = sum(row["integral"] for _, _, row, _ in inside)
            return total * 1000 // self.cell_ms if self.kind == "state" else total // self.cell_ms
        name = "minimum" if self.measure == Measure.LOW else "maximum"
        found = [row[name] if row["count"] else row["integral"] // (end - start) for start, end, row, _ in inside]
        return int(min(found) if self.measure == Measure.LOW else max(found))


def _until(value: int, part: int, whole: int) -> int:
    return value * part // whole


@dataclasses.dataclass
class Window:
    """What a rule asks of the past of a role."""

    fn: int
    measure: int
    cells: int
    bucket: int
    nth: int
    days: int
    agg: int
    members: list[int]
    bounds: list[tuple[int, int]]
    cell_ms: int
    done: int | None = None
    value: tuple[int, bool] = (0, False)
    night: int | None = None
    nights: list[int | None] = dataclasses.field(default_factory=list)
    workdays: dict[int, int | None] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> tuple[object, ...]:
        """What makes it the same window under another document."""
        values = (self.fn, self.measure, self.cells, self.bucket, self.nth, self.days, self.cell_ms)
        return (*values, tuple(self.members))

    @functools.cached_property
    def needed(self) -> int:
        """Finished cells that it reads of a point."""
        if self.fn in (Fn.NIGHT, Fn.BASELINE):
            spells = [
                end - start
                for (start, state), (end, _) in zip(self.bounds, self.bounds[1:], strict=False)
                if state == TRUE
            ]
            return min(-(-max(spells, default=0) // self.cell_ms), 96) + SPARE
        return max(self.cells, 1) + SPARE

    def update(self, tracks: dict[tuple[int, int], Track], live: bool) -> None:
        """Takes up what its points have finished; what was imported makes it unknown until a live reading does."""
        mine = [tracks[number, self.measure] for number in self.members]
        happens = all(track.events for track in mine)
        if any(track.newest is None for track in mine if not track.events):
            return
        if happens:
            end = max(track.latest_ms for track in mine if track.latest_ms is not None) // self.cell_ms - 1
        else:
            end = min(track.newest for track in mine if track.newest is not None and not track.events)
        if self.done is not None and end <= self.done and not happens:
            return
        first = end - self.needed + 1
        for cell in range(first if self.done is None else max(first, self.done + 1), end + 1):
            self._day(cell, mine)
        self.done = end
        until = end + 1 if happens and self.fn == Fn.INCREASE else end
        value, known = self._compute(until, mine) if live else (0, False)
        self.value = (value, True) if known else (0, False)

    def cell(self, cell: int, mine: Sequence[Track]) -> tuple[int, str]:
        """A cell of all points together."""
        found = [
            track.cell(cell)
            if track.events or (track.newest is not None and cell >= track.newest + 1 - self.needed)
            else (0, UNKNOWN)
            for track in mine
        ]
        if any(how == UNKNOWN for _, how in found):
            return 0, UNKNOWN
        values = [value for value, _ in found]
        how = SPREAD if any(how == SPREAD for _, how in found) else MEASURED
        return max(values) if self.agg == Agg.MAX else sum(values), how

    def _state(self, time: int) -> int:
        past = [state for bound, state in self.bounds if bound <= time]
        return past[-1] if past else -1

    def _day(self, cell: int, mine: Sequence[Track]) -> None:
        if self.fn == Fn.QUANTILE:
            place = self._place(cell)
            if place is not None:
                value, how = self.cell(cell, mine)
                self.workdays[place] = value if how == MEASURED else None
            return
        if self.fn not in (Fn.NIGHT, Fn.BASELINE):
            return
        if self._state(cell * self.cell_ms + self.cell_ms // 2) == TRUE:
            self.night = cell if self.night is None else self.night
            return
        if self.night is not None:
            found = [self.cell(one, mine) for one in range(max(self.night, cell - self.needed), cell)]
            values = [value for value, how in found if how == MEASURED]
            known = values and 2 * len(values) >= cell - self.night
            self.nights.append(statistics.median_low(values) if known else None)
            self.night = None

    def _place(self, cell: int) -> int | None:
        """How many cells of working days come before a cell of one."""
        start = cell * self.cell_ms
        if self._state(start) != TRUE:
            return None
        count = 0
        for (low, state), (high, _) in zip(self.bounds, [*self.bounds[1:], (1 << 62, -1)], strict=True):
            if state == TRUE and low <= start:
                count += (min(high, start) - low) // self.cell_ms
        return count

    def _compute(self, end: int, mine: Sequence[Track]) -> tuple[int, bool]:
        if self.fn == Fn.NIGHT:
            if self.days:
                reached = sorted((night for night in self.nights[-self.days :] if night is not None), reverse=True)
                return (reached[self.days // 2], True) if len(reached) > self.days // 2 else (0, False)
            last = self.nights[-1] if self.nights else None
            return last or 0, last is not None
        if self.fn == Fn.BASELINE:
            before = [night for night in self.nights[:-1][-self.days :] if night is not None]
            return (statistics.median_low(before), True) if 2 * len(before) >= self.days else (0, False)
        if self.fn == Fn.QUANTILE:
            return self._same_hours(end)
        found = [self.cell(cell, mine) for cell in range(end - self.cells + 1, end + 1)]
        if self.fn == Fn.INCREASE:
            return sum(value for value, _ in found), all(how != UNKNOWN for _, how in found)
        measured = [value for value, how in found if how == MEASURED]
        if self.fn == Fn.AVG:
            known = found[0][1] == MEASURED and 10 * len(measured) >= 9 * self.cells
            return sum(measured) // len(measured) if known else 0, known
        buckets = [found[at : at + self.bucket] for at in range(self.cells - self.bucket + 1)]
        whole = [[value for value, _ in one] for one in buckets if all(how == MEASURED for _, how in one)]
        values = [sum(one) if self.measure == Measure.USAGE else sum(one) // self.bucket for one in whole]
        if 10 * len(values) < 9 * len(buckets) or any(how != MEASURED for _, how in buckets[0]):
            return 0, False
        return min(values) if self.fn == Fn.MIN else max(values), True

    def _same_hours(self, end: int) -> tuple[int, bool]:
        place = self._place(end)
        if place is None:
            return 0, False
        per_day, per_hour = DAY_MS // self.cell_ms, max(3_600_000 // self.cell_ms, 1)
        today, hour = place // per_day, place % per_day // per_hour * per_hour
        wanted = [
            day * per_day + hour + one for day in range(max(today - self.days, 0), today) for one in range(per_hour)
        ]
        values = sorted(value for value in map(self.workdays.get, wanted) if value is not None)
        if 2 * len(values) < self.days * per_hour:
            return 0, False
        return values[self.nth * (len(values) - 1) // 1000], True


def windows_of(compiled: CompiledRules, cell_ms: int) -> list[Window]:
    """The windows of a site, in order."""
    found = []
    for place, values in enumerate(compiled.win_args.tolist()):
        slot, schedule = int(compiled.win_slot[place]), int(compiled.win_schedule[place])
        members = compiled.slot_points[compiled.slot_start[slot] : compiled.slot_start[slot + 1]].tolist()
        bounds: list[tuple[int, int]] = []
        if schedule >= 0:
            low, high = compiled.bound_start[schedule], compiled.bound_start[schedule + 1]
            bounds = list(zip(compiled.bounds[low:high].tolist(), compiled.bound_state[low:high].tolist(), strict=True))
        found.append(Window(*values, int(compiled.slot_agg[slot]), members, bounds, cell_ms))
    return found


def median(values: list[int]) -> int:
    """The lower median."""
    return statistics.median_low(values)
