"""Hours of the week in words: `mon-fri 22:00-06:00; restday|holiday 00:00-24:00`.

Each part is days and a span of local time; parts are separated by `;`. Days are names (mon … sun), ranges of them,
kinds of a working calendar (workday, holiday, restday), or `any`; several are separated by `|`. A span belongs to the
day on which it begins; one whose end is not after its start runs into the next morning. A day that the calendar does
not know is of no kind, so that only names and `any` hold on it.
"""

import datetime as dt
import re
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from schemas.errors import ActionError
from schemas.rules.schedules import ANY, DAY_MIN, KINDS, parse_clock

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_PART: Final = re.compile(r"([a-z|\-]+)\s+([0-9:]{4,5})\s*-\s*([0-9:]{4,5})")


@dataclass(frozen=True, slots=True)
class Span:
    """One part: days (names, kinds or `any`) and minutes after local midnight; `to_min` may be in the next day."""

    days: frozenset[str]
    from_min: int
    to_min: int


@dataclass(frozen=True, slots=True)
class Hours:
    """When something holds; without any part it always does."""

    spans: tuple[Span, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Hours":
        """Reads hours; an empty text is always.

        Raises:
            ActionError: it is none; the message says which part.
        """
        return cls(tuple(_span(part.strip().lower()) for part in text.split(";") if part.strip()))

    def __str__(self) -> str:
        """As `parse` reads them, days and spans in one way of writing."""
        return "; ".join(
            f"{'|'.join(day for day in (ANY, *DAYS, *sorted(KINDS)) if day in span.days)} {_clock(span.from_min)}-"
            f"{_clock(span.to_min)}"
            for span in self.spans
        )

    def hold(self, at_ms: int, zone: zoneinfo.ZoneInfo, calendar: Mapping[str, str]) -> bool:
        """Whether they hold at a time.

        Args:
            at_ms: UTC, milliseconds since 1970.
            zone: whose clocks are meant.
            calendar: "YYYY-MM-DD" → workday, holiday or restday.
        """
        if not self.spans:
            return True
        local = dt.datetime.fromtimestamp(at_ms / 1000, zone)
        minute = local.hour * 60 + local.minute
        today, before = local.date(), local.date() - dt.timedelta(days=1)
        return any(
            (_is(today, span.days, calendar) and span.from_min <= minute < span.to_min)
            or (_is(before, span.days, calendar) and minute + DAY_MIN < span.to_min)
            for span in self.spans
        )


def _clock(minute: int) -> str:
    minute -= DAY_MIN if minute > DAY_MIN else 0
    return f"{minute // 60:02d}:{minute % 60:02d}"


def _is(day: dt.date, days: frozenset[str], calendar: Mapping[str, str]) -> bool:
    return ANY in days or DAYS[day.weekday()] in days or calendar.get(day.isoformat(), "") in days


def _span(part: str) -> Span:
    found = _PART.fullmatch(part)
    if not found:
        raise ActionError(f"{part!r} are no hours; write `mon-fri 22:00-06:00` or `workday 08:00-18:00`")
    try:
        start, end = parse_clock(found[2]), parse_clock(found[3])
    except ValueError as error:
        raise ActionError(str(error)) from error
    if start == DAY_MIN:
        raise ActionError(f"{part!r}: a span cannot begin at 24:00; write 00:00")
    days: set[str] = set()
    for word in found[1].split("|"):
        first, dash, last = word.partition("-")
        if dash and first in DAYS and last in DAYS:
            begin, length = DAYS.index(first), (DAYS.index(last) - DAYS.index(first)) % 7 + 1
            days.update(DAYS[(begin + n) % 7] for n in range(length))
        elif word in (*DAYS, *KINDS, ANY):
            days.add(word)
        else:
            raise ActionError(
                f"{word!r} is no day; known are {', '.join((*DAYS, *KINDS, ANY))}, and ranges like mon-fri"
            )
    return Span(frozenset(days), start, end if end > start else end + DAY_MIN)
