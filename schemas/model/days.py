"""Days of a site, by its own clock: where a time lies in its day, and which days are like it."""

import datetime as dt
import zoneinfo
from typing import Final

from schemas.model.document import Document

QUARTER_MS: Final = 900_000
"""Offsets of zones are whole quarter-hours, and change at them."""


class Days:
    """The days of a site.

    Two days are alike when the site's calendar gives both the same kind; days that it does not know are like others of
    the same half of the week.

    Args:
        document: of the site.
    """

    def __init__(self, document: Document) -> None:
        site = document.table("sites")
        zones, calendars = site.get("time_zone") or [None], site.get("calendar") or [None]
        self._zone = zoneinfo.ZoneInfo(str(zones[0] or "Asia/Shanghai"))
        self._calendar = document.calendars.get(str(calendars[0] or ""), {})
        self._known: dict[int, tuple[str, int]] = {}

    def place(self, time_ms: int) -> tuple[str, int]:
        """(what days are like that of a time, ms of the wall clock since its midnight)."""
        quarter = time_ms // QUARTER_MS
        if quarter not in self._known:
            local = dt.datetime.fromtimestamp(quarter * (QUARTER_MS // 1000), self._zone)
            kind = self._calendar.get(local.date().isoformat()) or ("weekend" if local.weekday() >= 5 else "weekday")
            self._known[quarter] = (kind, ((local.hour * 60 + local.minute) * 60 + local.second) * 1000)
        kind, within = self._known[quarter]
        return kind, within + time_ms % QUARTER_MS
