"""Named schedules: from calendars and slots of local time to boundaries in UTC.

A schedule has slots, each for one kind of day (workday, holiday, restday) or for `any` day whose kind is known. A slot
belongs to the day on which it begins; one whose end is not after its start runs into the next morning, and `to: 24:00`
is the end of the day. Times are wall clock times of the site's zone; one that a change of the clocks skips counts with
the offset before the change, one that comes twice is the first. Where the kind of a day is not known, as for every day
after the last one of the calendar, the schedule is unknown, unless the slot of a known evening before still runs.
"""

import bisect
import dataclasses
import datetime as dt
import zoneinfo
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from schemas.errors import Fault, ModelError
from schemas.model.document import Document
from schemas.rules.program import FALSE, TRUE, UNKNOWN

WORKDAY: Final = "workday"
"""Name of the built-in schedule: all of every workday; `workday()` in expressions."""

KINDS: Final = ("workday", "holiday", "restday")
ANY: Final = "any"
DAY_MIN: Final = 1440
WINDOW_DAYS_MAX: Final = 400


@dataclasses.dataclass(frozen=True, slots=True)
class Slot:
    """A span of wall clock time on days of one kind.

    Attributes:
        kind: kind of the day on which it begins, or `any`.
        from_min: minutes after local midnight, 0 to 1439.
        to_min: minutes after the same midnight, more than `from_min` and at most 24 h later; beyond 1440 it is the next
            morning.
        valid_from: first day on which it can begin, "YYYY-MM-DD"; empty: always was.
        valid_to: first day on which it no longer does; empty: open.
    """

    kind: str
    from_min: int
    to_min: int
    valid_from: str = ""
    valid_to: str = ""

    def begins_on(self, day: str, kind: str) -> bool:
        """Whether it begins on a day of a kind."""
        return self.kind in (kind, ANY) and self.valid_from <= day and (not self.valid_to or day < self.valid_to)


BUILT_IN: Final = (Slot(WORKDAY, 0, DAY_MIN),)
NIGHT: Final = "night"
"""Name of the schedule of `night()` and `baseline()`."""
NIGHTS: Final = (Slot(ANY, 120, 240),)
"""02:00 to 04:00, the usual window of minimum night flow; a model that names a schedule `night` has its own."""


def parse_clock(text: str) -> int:
    """Minutes after midnight of `HH:MM`, 0 to 1440 (`24:00`).

    Raises:
        ValueError: it is none.
    """
    hours, colon, minutes = text.partition(":")
    if not (
        colon
        and hours.isascii()
        and hours.isdigit()
        and len(hours) <= 2
        and minutes.isascii()
        and minutes.isdigit()
        and len(minutes) == 2
    ):
        raise ValueError(f"{text!r} is not a time of day; write HH:MM, 00:00 to 24:00")
    found = int(hours) * 60 + int(minutes)
    if int(minutes) > 59 or found > DAY_MIN:
        raise ValueError(f"{text!r} is not a time of day; write HH:MM, 00:00 to 24:00")
    return found


def slot(kind: str, start: str, end: str, valid_from: str = "", valid_to: str = "") -> Slot:
    """A slot from the text of the model's table; an end at or before the start is on the next day.

    Raises:
        ValueError: a time or the kind of day is none.
    """
    if kind not in (*KINDS, ANY):
        raise ValueError(f"{kind!r} is not a kind of day; known are {', '.join((*KINDS, ANY))}")
    from_min, to_min = parse_clock(start), parse_clock(end)
    if from_min == DAY_MIN:
        raise ValueError("a slot cannot begin at 24:00; write 00:00")
    return Slot(kind, from_min, to_min if to_min > from_min else to_min + DAY_MIN, valid_from, valid_to)


def boundaries(slots: Sequence[Slot], calendar: Mapping[str, str], zone: str) -> list[tuple[int, int]]:
    """Where the schedule changes: (UTC milliseconds, what holds from then on: FALSE, TRUE or UNKNOWN).

    Args:
        slots: of one schedule.
        calendar: "YYYY-MM-DD" → kind of day.
        zone: IANA time zone.

    Returns:
        Ascending, without repeats of a state; the last one is UNKNOWN. Before the first: UNKNOWN. Empty for an empty
        calendar.

    Raises:
        ValueError: no such zone, or a date that is none.
    """
    try:
        tz = zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"unknown time zone {zone!r}") from error
    if not calendar:
        return []
    days = sorted((dt.date.fromisoformat(day), kind) for day, kind in calendar.items())
    known: list[tuple[int, int]] = []
    inside: list[tuple[int, int]] = []
    doubtful: list[tuple[int, int]] = []
    spill_min = max((one.to_min - DAY_MIN for one in slots), default=0)
    previous: dt.date | None = None
    for day, kind in days:
        begin, end = _utc_ms(day, 0, tz), _utc_ms(day, DAY_MIN, tz)
        known.append((begin, end))
        inside.extend(
            (_utc_ms(day, one.from_min, tz), _utc_ms(day, one.to_min, tz))
            for one in slots
            if one.begins_on(day.isoformat(), kind)
        )
        if spill_min > 0 and previous != day - dt.timedelta(days=1):
            doubtful.extend((begin, _utc_ms(day, one.to_min - DAY_MIN, tz)) for one in slots if one.to_min > DAY_MIN)
        previous = day
    return _states(known, inside, doubtful)


class Bounds:
    """Boundaries of the schedules of a document that are used, numbered as they are asked for.

    Args:
        document: with its calendars and its table of schedules.
        zone: the site's time zone.
        slots: of the schedules by name; None: as the document's table says.
        made: boundaries that are known already, by (name, calendar); more are put there.
    """

    def __init__(
        self,
        document: Document,
        zone: str,
        slots: Mapping[str, tuple[Slot, ...]] | None = None,
        made: dict[tuple[str, str], list[tuple[int, int]]] | None = None,
    ) -> None:
        self._document = document
        self._zone = zone
        self._slots = read_slots(document) if slots is None else slots
        self._made = {} if made is None else made
        self._index: dict[tuple[str, str], int] = {}
        self.found: list[list[tuple[int, int]]] = []
        """Boundaries of each number."""

    def fresh(self) -> "Bounds":
        """The same, with numbers of its own; what one of them makes the other has."""
        return Bounds(self._document, self._zone, self._slots, self._made)

    @property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """(name, calendar) of each number."""
        return tuple(self._index)

    def names(self, calendar: str) -> "Names":
        """Name of a schedule → number, on a calendar; boundaries are made when a name is looked up."""
        return Names(self, calendar)

    def known(self) -> tuple[str, ...]:
        """Names of all schedules."""
        return tuple(sorted(self._slots))

    def exempting(self, rows: tuple[int, ...], calendar: str) -> int:
        """Number of the schedule that holds while any of some rows of `exemptions` does, on a calendar."""
        key = (f"\0{rows}", calendar)
        return self._number(key, lambda: self._exempting(rows, calendar))

    def _exempting(self, rows: tuple[int, ...], calendar: str) -> list[tuple[int, int]]:
        table = self._document.table("exemptions")
        days = self._document.calendars.get(calendar, {})
        slots: list[Slot] = []
        for row in rows:
            name, day_kind, start, end, *dates = (
                str(cells[row] or "") if (cells := table.get(column)) else ""
                for column in ("schedule", "day_kind", "from", "to", "valid_from", "valid_to")
            )
            first, last = dates
            if name:
                slots += [
                    dataclasses.replace(
                        one,
                        valid_from=max(one.valid_from, first),
                        valid_to=min(filter(None, (one.valid_to, last)), default=""),
                    )
                    for one in self._slots.get(name, ())
                ]
            else:
                slots.append(slot(day_kind or ANY, start or "00:00", end or "24:00", first, last))
            if first and last and (day_kind or ANY) == ANY and not name:  # a window with dates needs no calendar
                days = {**_days(first, last), **days}
        return boundaries(slots, days, self._zone)

    def number(self, name: str, calendar: str) -> int:
        """Number of a schedule on a calendar."""
        days = self._document.calendars.get(calendar, {})
        return self._number((name, calendar), lambda: boundaries(self._slots[name], days, self._zone))

    def _number(self, key: tuple[str, str], make: Callable[[], list[tuple[int, int]]]) -> int:
        if key not in self._index:
            if key not in self._made:
                self._made[key] = make()
            self._index[key] = len(self.found)
            self.found.append(self._made[key])
        return self._index[key]


class Names(Mapping[str, int]):
    """The schedules of a document on one calendar, as a mapping for the compiler."""

    def __init__(self, bounds: Bounds, calendar: str) -> None:
        self._bounds = bounds
        self._calendar = calendar

    def __getitem__(self, name: str) -> int:
        if name not in self._bounds.known():
            raise KeyError(name)
        return self._bounds.number(name, self._calendar)

    def __contains__(self, name: object) -> bool:
        return name in self._bounds.known()

    def __iter__(self) -> Iterator[str]:
        return iter(self._bounds.known())

    def __len__(self) -> int:
        return len(self._bounds.known())


def read_slots(document: Document) -> dict[str, tuple[Slot, ...]]:
    """Schedules of a document by name, the built-in one included; a schedule that is named `workday` replaces it.

    Raises:
        ModelError: a row that `ganzhi check` would have refused.
    """
    table = document.table("schedules")
    found: dict[str, list[Slot]] = {}
    names = table.get("name", [])
    columns = [
        table.get(column) or [None] * len(names) for column in ("day_kind", "from", "to", "valid_from", "valid_to")
    ]
    for name, *values in zip(names, *columns, strict=True):
        try:
            found.setdefault(str(name), []).append(slot(*(str(value or "") for value in values)))
        except ValueError as error:
            raise ModelError([Fault("schedules", 0, f"{name}: {error}")]) from error
    return {WORKDAY: BUILT_IN, NIGHT: NIGHTS, **{name: tuple(slots) for name, slots in found.items()}}


def _within(one: Slot, first: str, last: str) -> Slot:
    """A slot, only from a first day on and up to the one before a last day; empty: open."""
    ends = [day for day in (one.valid_to, last) if day]
    return dataclasses.replace(one, valid_from=max(one.valid_from, first), valid_to=min(ends, default=""))


def _days(first: str, last: str) -> dict[str, str]:
    """Days from `first` on to the one before `last`, of no particular kind; at most 400."""
    begin, end = dt.date.fromisoformat(first), dt.date.fromisoformat(last)
    count = min((end - begin).days, WINDOW_DAYS_MAX)
    return {(begin + dt.timedelta(days=day)).isoformat(): ANY for day in range(count)}


def state_at(bounds: Sequence[tuple[int, int]], at_ms: int) -> int:
    """What holds at a time: FALSE, TRUE or UNKNOWN."""
    index = bisect.bisect_right(bounds, at_ms, key=lambda bound: bound[0])
    return bounds[index - 1][1] if index else UNKNOWN


def _utc_ms(day: dt.date, minutes: int, tz: zoneinfo.ZoneInfo) -> int:
    days, rest = divmod(minutes, DAY_MIN)
    wall = dt.datetime.combine(day + dt.timedelta(days=days), dt.time(rest // 60, rest % 60), tz)
    return round(wall.timestamp()) * 1000


def _states(
    known: Iterable[tuple[int, int]], inside: Iterable[tuple[int, int]], doubtful: Iterable[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Sweeps over the ends of all spans, counting how many of each sort are open."""
    changes: dict[int, list[int]] = {}
    for sort, spans in enumerate((known, inside, doubtful)):
        for begin, end in spans:
            if begin < end:
                changes.setdefault(begin, [0, 0, 0])[sort] += 1
                changes.setdefault(end, [0, 0, 0])[sort] -= 1
    open_ = [0, 0, 0]
    found: list[tuple[int, int]] = []
    state = UNKNOWN
    for at_ms in sorted(changes):
        open_ = [count + change for count, change in zip(open_, changes[at_ms], strict=True)]
        now = TRUE if open_[1] else UNKNOWN if open_[2] or not open_[0] else FALSE
        if now != state:
            found.append((at_ms, now))
            state = now
    return found
