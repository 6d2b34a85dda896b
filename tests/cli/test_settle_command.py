"""`ganzhi replay settle --nightly`: when a site is due."""

import datetime as dt
import zoneinfo

import pytest

from ganzhi.cli.settle import due


def looks(zone: str, day: dt.date, nightly: str, minutes: int = 10) -> list[str]:
    """Local times at which a site is settled when somebody looks every few minutes, from the day before to after it."""
    at = dt.datetime.combine(day - dt.timedelta(days=1), dt.time(12), dt.UTC)
    done: dt.date | None = None
    found = []
    for _ in range(48 * 60 // minutes):
        now = at.astimezone(zoneinfo.ZoneInfo(zone))
        if due(now, nightly, done):
            done = now.date()
            found.append(now.strftime("%d %H:%M"))
        at += dt.timedelta(minutes=minutes)
    return found


@pytest.mark.parametrize(
    ("zone", "day", "nightly", "wanted"),
    [
        ("Asia/Shanghai", dt.date(2026, 3, 3), "02:30", ["02 20:00", "03 02:30", "04 02:30"]),
        ("Europe/Berlin", dt.date(2026, 3, 29), "02:30", ["28 13:00", "29 03:00", "30 02:30"]),
        ("Europe/Berlin", dt.date(2026, 10, 25), "02:30", ["24 14:00", "25 02:30", "26 02:30"]),
        ("Australia/Lord_Howe", dt.date(2026, 10, 4), "02:20", ["03 22:30", "04 02:30", "05 02:20"]),
        ("Asia/Kathmandu", dt.date(2026, 3, 3), "00:00", ["02 17:45", "03 00:05", "04 00:05"]),
    ],
)
def test_once_a_night_by_the_clock_of_the_site(zone: str, day: dt.date, nightly: str, wanted: list[str]) -> None:
    """At its time, once where the hour comes twice, as soon as it is over where it is left out; at once after a start."""
    assert looks(zone, day, nightly) == wanted
