"""Times of every form are read as Python's datetime reads them, and doubtful ones are refused."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.sources import times
from streams.sources.times import TimeStyle

MOMENT = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))  # noqa: DTZ001  the zone is the test's
LATER = st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 30))  # noqa: DTZ001  strftime pads no earlier years


def ms(moment: datetime) -> int:
    """UTC milliseconds, cut."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


@settings(deadline=None)
@given(MOMENT, st.sampled_from(["T", " "]), st.one_of(st.none(), st.integers(-14 * 60, 14 * 60)))
def test_iso_is_what_datetime_reads(moment: datetime, between: str, offset: int | None) -> None:
    """ISO 8601 with and without an offset, with any fraction, is the moment that datetime says."""
    zone = UTC if offset is None else timezone(timedelta(minutes=offset))
    text = moment.replace(tzinfo=None if offset is None else zone).isoformat(between)

    assert TimeStyle().one(text) == ms(moment.replace(tzinfo=zone))


@settings(deadline=None)
@given(LATER, st.sampled_from(["%d/%m/%Y %H:%M", "%Y%m%d%H%M%S", "%m-%d-%Y %H.%M.%S.%f", "%d %b %Y %I:%M %p"]))
def test_patterns_are_what_strptime_reads(moment: datetime, pattern: str) -> None:
    """Patterns of numbers (a kernel) and of words (datetime) give what strptime gives."""
    text = moment.strftime(pattern)

    assert TimeStyle(pattern).one(text) == ms(datetime.strptime(text, pattern).replace(tzinfo=UTC))


@settings(deadline=None)
@given(st.datetimes(datetime(1980, 1, 1), datetime(2037, 1, 1)), st.sampled_from(["Europe/London", "Asia/Shanghai"]))  # noqa: DTZ001
def test_local_times_are_those_of_the_zone(moment: datetime, name: str) -> None:
    """A local time is the moment that the zone's rules give; one that is there twice or never is refused."""
    moment = moment.replace(microsecond=0)
    first, second = (moment.replace(tzinfo=ZoneInfo(name), fold=fold) for fold in (0, 1))
    style = TimeStyle(zone=name)
    if first.utcoffset() == second.utcoffset():
        assert style.one(moment.isoformat()) == ms(first.astimezone(UTC))
    else:
        with pytest.raises(ValueError, match="twice or never"):
            style.one(moment.isoformat())


def test_the_hour_that_is_there_twice() -> None:
    """01:30 at the end of summer time is the first or the second where the mapping says so; the lost hour is none."""
    twice, never = "2016-10-30T01:30:00", "2016-03-27T01:30:00"
    first = TimeStyle(zone="Europe/London", fold="first").one(twice)

    assert TimeStyle(zone="Europe/London", fold="second").one(twice) - first == 3_600_000
    folds: tuple[times.Fold, ...] = ("reject", "first", "second")
    for fold in folds:
        with pytest.raises(ValueError, match="twice or never" if fold == "reject" else "never happens"):
            TimeStyle(zone="Europe/London", fold=fold).one(never)


def test_epochs() -> None:
    """Seconds and milliseconds since 1970, with fractions, before 1970 as well."""
    assert TimeStyle("epoch_s").one("1600000000") == 1_600_000_000_000
    assert TimeStyle("epoch_s").one("1600000000.1239") == 1_600_000_000_123
    assert TimeStyle("epoch_s").one("-5.5") == -5_500
    assert TimeStyle("epoch_ms").one("1600000000123.9") == 1_600_000_000_123


def test_years_that_lack_their_century() -> None:
    """Year 0014 becomes 2014 where 2000 is added, and 29 February is judged in the year that it becomes."""
    style = TimeStyle("%Y-%m-%d %H:%M:%S", add_years=2000)
    moment = ms(datetime(2014, 11, 18, 15, 40, 26, tzinfo=UTC))

    assert style.one("0014-11-18 15:40:26") == moment
    assert TimeStyle(add_years=2000).one("0014-11-18 15:40:26") == moment
    assert style.one("0016-02-29 00:00:00") == ms(datetime(2016, 2, 29, tzinfo=UTC))


def test_the_end_of_a_day_may_be_written_24_00() -> None:
    """24:00 is midnight of the next day, as meters write the end of the last interval; 24:01 is nothing."""
    assert TimeStyle().one("2016-08-09T24:00") == TimeStyle().one("2016-08-10")
    assert TimeStyle("%d/%m/%Y %H:%M").one("9/8/2016 24:00") == TimeStyle().one("2016-08-10")
    with pytest.raises(ValueError, match="not a time"):
        TimeStyle().one("2016-08-09T24:01")


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("", "iso"),
        ("2016", "iso"),
        ("2016-8-9", "iso"),
        ("2016-02-30", "iso"),
        ("1900-02-29", "iso"),
        ("2015-02-29", "iso"),
        ("2016-08-09T15", "iso"),
        ("2016-08-09T15:46:60", "iso"),
        ("2016-08-09T15:46:3x", "iso"),
        ("2016-08-09T15:46:30.", "iso"),
        ("2016-08-09T15:46:30+8", "iso"),
        ("２016-08-09", "iso"),
        ("31/04/2016 05:00", "%d/%m/%Y %H:%M"),
        ("1/4/16 05:00", "%d/%m/%Y %H:%M"),
        ("1/4/2016 05:00 ?", "%d/%m/%Y %H:%M"),
        ("1 Foo 2016", "%d %b %Y"),
        ("x", "epoch_s"),
        ("1.", "epoch_s"),
        ("-", "epoch_ms"),
        ("1e9", "epoch_s"),
    ],
)
def test_what_is_not_a_time_is_refused(text: str, pattern: str) -> None:
    """Nothing is guessed: every other text is refused with a reason."""
    with pytest.raises(ValueError, match=r"time"):
        TimeStyle(pattern).one(text)


def test_the_compiled_kernels_ran() -> None:
    """Numba was not switched off."""
    TimeStyle().one("2016-08-09")
    assert times._iso.signatures
