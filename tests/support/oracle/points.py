"""Usage and gauges from the whole history of a point: every row is computed from the readings themselves."""

import bisect
import dataclasses
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


@dataclasses.dataclass
class Fact:
    """What rules see of a point."""

    time: int | None = None
    value: int = 0
    good: bool = False
    since: int | None = None


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

    def register(self, time: int, value: int, estimated: bool, limits: dict[str, int]) -> tuple[bool, list[Row], str]:
        """(accepted, ledger rows, verdict or empty)."""
        if not self.times:
            self._accept(time, value, 0, MEASURED)
            self.emitted_to = time
            return True, [], ""
        step, cause, verdict = self._step(time, value, limits["dips"])
        if step is None:
            self.aside_last = (time, value)
            return False, [], verdict
        how = ESTIMATED if estimated else MEASURED
        if self.meta.interval_ms >= DAY_MS:
            how = ESTIMATED if estimated else DECLARED
        elif not estimated and (time - self.times[-1] > 2 * self.meta.interval_ms or cause == "reset"):
            how = GAP
        self._accept(time, value, self.totals[-1] + step, how)
        return True, self._register_rows(cause, limits), verdict

    def _step(self, time: int, value: int, dips: int) -> tuple[int | None, str, str]:
        step, elapsed = value - self.values[-1], time - self.times[-1]
        if step >= 0:
            if self._plausible(step, elapsed):
                return step, "reading", ""
            self.aside = []
            return None, "", "rate"
        span = self.meta.span
        near = span > 0 and self.values[-1] > span - span // 20
        if near and step + span >= 0 and self._plausible(step + span, elapsed):
            return step + span, "rollover", "rollover"
        self.aside = [*self.aside, value] if self.aside and value >= self.aside[-1] else [value]
        if len(self.aside) < dips:
            return None, "", "dip"
        return value - self.aside[0], "reset", "reset"

    def _plausible(self, step: int, elapsed: int) -> bool:
        rate = self.meta.rate_max
        if rate <= 0 or rate > 1 << 32:
            return True
        seconds = min(elapsed + self.meta.interval_ms, 100_000_000_000) // 1000 + 1
        return step <= rate * 2 * seconds // 3600

    def _accept(self, time: int, value: int, total: int, how: int) -> None:
        self.times.append(time)
        self.values.append(value)
        self.totals.append(total)
        self.hows.append(how)
        self.aside, self.aside_last = [], None

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
        quantity = self.total_at(end) - self.total_at(start)
        return {"from_ms": start, "to_ms": end, "quantity": quantity, "how": HOWS[how], "cause": cause}

    def _register_rows(self, cause: str, limits: dict[str, int]) -> list[Row]:
        assert self.emitted_to is not None
        before, time, grid = self.times[-2], self.times[-1], self.meta.grid_ms
        if self.meta.interval_ms >= DAY_MS:
            return [self._ledger(time, cause)]
        boundary = (max(self.emitted_to, before) // grid + 1) * grid
        if boundary > time:
            return []
        if time - before > limits["spread_ms"] or time - before > limits["spread_intervals"] * grid:
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
            known_to = self.times[-2] + self.meta.max_age_ms + grid
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
            until = self.times[index] + self.meta.max_age_ms
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
