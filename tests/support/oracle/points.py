"""Usage and gauges from the whole history of a point: every row is computed from the readings themselves."""

import bisect
import dataclasses
import math
from fractions import Fraction
from typing import Any

Row = dict[str, Any]
DAY_MS = 86_400_000
HOWS = ("measured", "gap", "estimated", "declared")
MEASURED, GAP, ESTIMATED, DECLARED = range(4)


@dataclasses.dataclass
class Meta:
    """What the model says of a point."""

    site: str
    number: int
    id: str
    gateway: str
    kind: str
    interval_ms: int
    max_age_ms: int
    rate_max: int
    span: int
    low: int
    high: int
    data_clock: bool
    grid_ms: int
    divisor: int = 0

    @property
    def hold_ms(self) -> int:
        """For so long a gauge's value counts after its reading: at most a day of quarters of an hour."""
        return min(self.max_age_ms, 96 * self.grid_ms)


@dataclasses.dataclass
class Fact:
    """What rules see of a point."""

    time: int | None = None
    value: int = 0
    good: bool = False
    since: int | None = None


@dataclasses.dataclass
class Told:
    """What a meter fact says of one register."""

    event: str
    kind: str
    at: int
    final: int | None
    initial: int | None
    ratio: Fraction | None
    span: int | None

    @property
    def goes_on(self) -> bool:
        """Whether the same register counts on."""
        return self.kind in ("multiplier", "width")


class History:
    """A point: its accepted readings, what was set aside since the last one, and how far rows have been emitted."""

    def __init__(self, meta: Meta) -> None:
        self.meta = meta
        self.times: list[int] = []
        self.values: list[int] = []
        self.totals: list[int] = []
        self.hows: list[int] = []
        self.aside: list[int] = []
        self.aside_last: tuple[int, int] | None = None
        self.emitted_to: int | None = None
        self.fact = Fact()
        self.dirty: tuple[int, int] | None = None
        self.forgotten_to = -(1 << 62)
        self.told: list[Told] = []
        self.exact = Fraction(0)
        self.ratio = Fraction(1)
        self.width: int | None = None
        self.since = {"ratio": 0, "width": 0}
        self.bare = False
        self.unrecorded = False
        self.settled = 0

    def renew(self, meta: Meta) -> None:
        """Another document: on another grid, what a gauge has gathered in the open interval is given up."""
        by_hand = (self.meta.interval_ms >= DAY_MS) != (meta.interval_ms >= DAY_MS)
        if self.times and meta.kind in ("gauge", "state") and (self.meta.grid_ms != meta.grid_ms or by_hand):
            self.forgotten_to = self.times[-1]
            self.emitted_to = self.times[-1] // meta.grid_ms * meta.grid_ms
        self.meta = meta

    def behind(self, time: int) -> bool:
        """Whether a reading is at or behind the point's clock."""
        return bool(self.times) and time <= max(self.times[-1], self.aside_last[0] if self.aside_last else 0)

    def repeats(self, time: int, value: int) -> bool:
        """Whether it is exactly the last one, accepted or set aside."""
        return (time, value) in ((self.times[-1], self.values[-1]), self.aside_last)

    # -- registers ----------------------------------------------------------------------------------------------------

    def register(self, time: int, value: int, estimated: bool, limits: dict[str, int]) -> tuple[bool, list[Row], Row]:
        """(accepted, ledger rows, verdicts as {(time, value): code})."""
        rows, verdicts = self.before(time, value, estimated, limits)
        if not self.times:
            self._accept(time, value, 0, MEASURED)
            self.emitted_to = time
            return True, rows, verdicts
        if self.bare:
            self._begin(time, value)
            return True, rows, verdicts
        step, cause, verdict = self._step(time, value, limits["dips"])
        if verdict in ("dip", "reset", "zero_run"):
            self.aside = [*self.aside, value] if self.aside and value >= self.aside[-1] else [value]
        elif verdict == "rate":
            self.aside = []
        if verdict:
            verdicts[(time, value)] = verdict
        if step is None:
            self.aside_last = (time, value)
            return False, rows, verdicts
        how = ESTIMATED if estimated else GAP if cause == "reset" else MEASURED
        return True, rows + self._count(time, value, step, cause, how, limits), verdicts

    @property
    def span(self) -> int:
        """Value at which the register rolls over."""
        return self.meta.span if self.width is None else self.width

    def _step(self, time: int, value: int, dips: int) -> tuple[int | None, str, str]:
        step, elapsed = value - self.values[-1], time - self.times[-1]
        if step >= 0:
            return (step, "reading", "") if self._plausible(step, elapsed) else (None, "", "rate")
        over = self._over(step, elapsed)
        if over is not None:
            return over, "rollover", "rollover"
        aside = [*self.aside, value] if self.aside and value >= self.aside[-1] else [value]
        if len(aside) < dips:
            return None, "", "dip"
        if value == 0:
            return None, "", "zero_run"
        return value - aside[0], "reset", "reset"

    def _over(self, step: int, elapsed: int) -> int | None:
        span = self.span
        near = span > 0 and self.values[-1] > span - span // 20
        return step + span if near and step + span >= 0 and self._plausible(step + span, elapsed) else None

    def _plausible(self, step: int, elapsed: int) -> bool:
        used = math.floor(self.exact + step * self.ratio) - math.floor(self.exact)
        rate = self.meta.rate_max
        if used > 1 << 53:
            return self.ratio == 1
        if rate <= 0 or rate > 1 << 32:
            return True
        seconds = min(elapsed + self.meta.interval_ms, 100_000_000_000) // 1000 + 1
        return used <= rate * 2 * seconds // 3600

    def _accept(self, time: int, value: int, total: int, how: int) -> None:
        self.times.append(time)
        self.values.append(value)
        self.totals.append(total)
        self.hows.append(how)
        self.aside, self.aside_last = [], None

    def _count(self, time: int, value: int, step: int, cause: str, how: int, limits: dict[str, int]) -> list[Row]:
        """The register stands at `value`: what it has counted since, and the rows that this closes."""
        before = math.floor(self.exact)
        self.exact += step * self.ratio
        used = math.floor(self.exact) - before
        if time == self.times[-1]:
            self.values[-1] = value
            self.totals[-1] += used
            self.aside, self.aside_last = [], None
            return []
        if self.meta.interval_ms >= DAY_MS:
            how = DECLARED if how == MEASURED else how
        elif time - self.times[-1] > 2 * self.meta.interval_ms:
            how = max(how, GAP)
        self._accept(time, value, self.totals[-1] + used, how)
        return self._register_rows(cause, limits)

    def _begin(self, time: int, value: int) -> None:
        self._accept(time, value, self.totals[-1], MEASURED)
        self.emitted_to, self.settled = time, self.totals[-1]
        self.bare = False

    # -- what was said of the meter -----------------------------------------------------------------------------------

    def before(self, time: int, value: int | None, estimated: bool, limits: dict[str, int]) -> tuple[list[Row], Row]:
        """Facts that lie before a reading, each a reading that nobody sent."""
        rows: list[Row] = []
        verdicts: Row = {}
        while self.told and self.told[0].at < time:
            fact = self.told[0]
            if not self.times or self.bare:
                self._first(fact)
            elif fact.final is not None:
                step, over = fact.final - self.values[-1], None
                if step < 0:
                    over = self._over(step, fact.at - self.times[-1])
                if (step < 0 and over is None) or (step >= 0 and not self._plausible(step, fact.at - self.times[-1])):
                    verdicts[(fact.at, fact.final)] = "fact_differs"
                cause = "reading" if fact.goes_on else "reset" if fact.kind == "reset" else "swap"
                rows += self._count(fact.at, fact.final, step if over is None else over, cause, MEASURED, limits)
                rows += self._turn(fact)
            elif fact.goes_on:
                found = [] if fact.ratio is None else self._on_the_line(fact, time, value, estimated, limits)
                if found is None:
                    break
                rows += found + self._turn(fact)
            else:
                rows += self._close() + self._change(fact)
                if fact.initial is None:
                    self._accept(fact.at, self.values[-1], self.totals[-1], MEASURED)
                    self.bare = True
                else:
                    self._begin(fact.at, fact.initial)
            self.unrecorded = self.unrecorded and fact.goes_on
            self.told.pop(0)
        return rows, verdicts

    def _change(self, fact: Told) -> list[Row]:
        if fact.ratio is not None:
            self.ratio, self.since["ratio"] = fact.ratio, fact.at
        if fact.span is not None:
            self.width, self.since["width"] = fact.span, fact.at
        return []

    def late(self, fact: Told) -> None:
        """It comes too late: what it says of the time to come holds from now on."""
        if fact.ratio is not None and fact.at >= self.since["ratio"]:
            self.ratio, self.since["ratio"] = fact.ratio, fact.at
        if fact.span is not None and fact.at >= self.since["width"]:
            self.width, self.since["width"] = fact.span, fact.at

    def _first(self, fact: Told) -> None:
        self._change(fact)
        level = fact.final if fact.initial is None and fact.goes_on else fact.initial
        if level is None:
            return
        if self.times:
            self._begin(fact.at, level)
        else:
            self._accept(fact.at, level, 0, MEASURED)
            self.emitted_to = fact.at

    def _turn(self, fact: Told) -> list[Row]:
        self._change(fact)
        if fact.initial is not None:
            self.times[-1], self.values[-1] = fact.at, fact.initial
            self.aside, self.aside_last = [], None
        elif not fact.goes_on:
            self.bare = True
            return self._close()
        return []

    def _close(self) -> list[Row]:
        """After the last reading nothing is known: the open interval ends with it."""
        end, start = self.times[-1], self.emitted_to
        assert start is not None
        owed = self.totals[-1] - self.settled
        if end <= start and not owed:
            return []
        how = HOWS[self._worst(start, end)] if end > start else "measured"
        if self.meta.interval_ms >= DAY_MS:
            how = "declared"
        self.emitted_to, self.settled = end, self.totals[-1]
        return [{"from_ms": min(start, end - 1), "to_ms": end, "quantity": owed, "how": how, "cause": "swap"}]

    def _on_the_line(
        self, fact: Told, time: int, value: int | None, estimated: bool, limits: dict[str, int]
    ) -> list[Row] | None:
        """Counts up to a fact that tells no value; None: what comes after it is not known yet."""
        end, step, how = time, None, MEASURED
        for later in self.told[1:]:
            if later.at >= time:
                break
            if later.final is not None:
                end, step = later.at, later.final - self.values[-1]
                over = self._over(step, end - self.times[-1]) if step < 0 else None
                step = step if over is None else over
                break
            if not later.goes_on:
                return []
        if step is None:
            assert value is not None
            step, cause, _ = self._step(time, value, limits["dips"])
            if cause == "reset":
                return []
            if step is None:
                return None
            how = ESTIMATED if estimated else MEASURED
        start = self.times[-1]
        if fact.at == start:
            return []
        there = math.floor(Fraction(step * (fact.at - start), end - start))
        level = self.values[-1] + there
        level -= self.span if 0 < self.span <= level else 0
        how = max(how, GAP) if self.meta.interval_ms >= DAY_MS else how
        return self._count(fact.at, level, there, "reading", how, limits)

    def total_at(self, time: int) -> int:
        """The running total, interpolated between two readings and rounded down."""
        after = bisect.bisect_left(self.times, time)
        if self.times[after] == time:
            return self.totals[after]
        start, end = self.times[after - 1], self.times[after]
        step = self.totals[after] - self.totals[after - 1]
        return self.totals[after - 1] + step * (time - start) // (end - start)

    def _worst(self, start: int, end: int) -> int:
        """Of all steps that overlap (start, end]."""
        first = bisect.bisect_right(self.times, start)
        last = bisect.bisect_left(self.times, end)
        return max(self.hows[first : last + 1])

    def _ledger(self, end: int, cause: str, least: int = MEASURED) -> Row:
        start = self.emitted_to
        assert start is not None
        self.emitted_to = end
        how = max(self._worst(start, end), least)
        if self.meta.interval_ms >= DAY_MS:
            how = self.hows[-1]
        quantity, self.settled = self.total_at(end) - self.settled, self.total_at(end)
        return {"from_ms": start, "to_ms": end, "quantity": quantity, "how": HOWS[how], "cause": cause}

    def _register_rows(self, cause: str, limits: dict[str, int]) -> list[Row]:
        assert self.emitted_to is not None
        before, time, grid = self.times[-2], self.times[-1], self.meta.grid_ms
        if self.meta.interval_ms >= DAY_MS:
            return [self._ledger(time, cause)]
        boundary = (max(self.emitted_to, before) // grid + 1) * grid
        if boundary > time:
            return []
        falls = self.totals[-1] < self.totals[-2]
        if time - before > limits["spread_ms"] or time - before > limits["spread_intervals"] * grid or falls:
            return [self._ledger(time, cause, GAP)]
        return [self._ledger(end, cause) for end in range(boundary, time + 1, grid)]

    # -- deltas and gauges --------------------------------------------------------------------------------------------

    def delta(self, time: int, value: int, span_ms: int, estimated: bool) -> Row:
        """The ledger row of a delta."""
        self._accept(time, value, 0, MEASURED)
        length = span_ms if span_ms > 0 else max(self.meta.interval_ms, 1)
        how = "estimated" if estimated else "measured"
        return {"from_ms": time - length, "to_ms": time, "quantity": value, "how": how, "cause": "reading"}

    def gauge(self, time: int, value: int) -> list[Row]:
        """Rows of the intervals that a reading closes."""
        grid = self.meta.grid_ms
        if not self.times:
            self.emitted_to = -((-time) // grid) * grid - grid
        self._accept(time, value, 0, MEASURED)
        found = []
        assert self.emitted_to is not None
        for end in self._ends(self.emitted_to, time):
            row = self._interval(end - grid, end)
            if row is not None:
                found.append(row)
        self.emitted_to = time // grid * grid
        return found

    def _ends(self, start: int, time: int) -> list[int]:
        """Ends of the intervals up to `time` in which something may have been known."""
        grid = self.meta.grid_ms
        first = start + grid
        if len(self.times) > 1:
            known_to = self.times[-2] + self.meta.hold_ms + grid
            last = min(time // grid * grid, known_to)
        else:
            last = time
        ends = list(range(first, last + 1, grid))
        if time % grid == 0 and (not ends or ends[-1] < time) and first <= time:
            ends.append(time)
        return ends

    def _interval(self, start: int, end: int) -> Row | None:
        start = max(start, self.forgotten_to)
        first, last = bisect.bisect_right(self.times, start), bisect.bisect_right(self.times, end)
        values = self.values[first:last]
        integral = held = 0
        for index in range(max(first - 1, 0), last):
            until = self.times[index] + self.meta.hold_ms
            if index + 1 < len(self.times):
                until = min(until, self.times[index + 1])
            elif self.times[index] == self.times[-1]:
                until = self.times[index]
            length = min(until, end) - max(self.times[index], start)
            if length > 0:
                held += length
                integral += length * self.values[index]
        if not values and not held:
            return None
        return {
            "from_ms": end - self.meta.grid_ms,
            "to_ms": end,
            "count": len(values),
            "sum": sum(values),
            "minimum": min(values, default=0),
            "maximum": max(values, default=0),
            "integral": integral,
        }
