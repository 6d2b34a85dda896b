"""The public data sets arrive in the log whole: sums over the log equal sums over the files."""

from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from ganzhi.datasets.loading import import_dataset
from ganzhi.datasets.registry import find
from schemas.control import signing_key
from schemas.settings import KafkaSettings
from streams.published import Change, read_documents
from streams.sources.csv_files import Imported
from streams.sources.rejects import Rejects
from tests.datasets import sums
from tests.streams.sources import sites


def load(kafka: KafkaSettings, folder: Path, name: str, data: Path | None = None) -> tuple[list[Change], Imported]:
    """Imports a data set with a key of the test's own."""
    dataset = find(name)
    with Rejects(folder / f"{name}.rejected.csv") as rejects:
        return import_dataset(
            kafka, signing_key(folder), dataset, data or sums.data(name), rejects, lambda _what, _done, _total: None
        )


def month(time_ms: int, zone: str = "UTC") -> str:
    """YYYY-MM of the hour that ends at a time."""
    return f"{datetime.fromtimestamp((time_ms - 1) / 1000, UTC).astimezone(ZoneInfo(zone)):%Y-%m}"


def test_campus_meters(kafka: KafkaSettings, tmp_path: Path) -> None:
    """Usage per building, medium and month in the log equals the sum over the files to the watt-hour.

    A second import publishes no other model and sends the same readings again.
    """
    changes, first = load(kafka, tmp_path, "campus_meters")
    document = read_documents(kafka)["campus"]
    points = document.table("points")
    of_number: dict[int, tuple[str, str]] = {
        int(str(number)): (str(space), str(medium))
        for number, space, medium, kind in zip(
            points["number"], points["space"], points["medium"], points["kind"], strict=True
        )
        if kind == "delta"
    }
    totals: dict[tuple[str, ...], int] = defaultdict(int)
    clocks: dict[int, int] = {}
    for _, _, mode, time_ms, number, value, _ in sites.readings(kafka):
        assert mode == "backfill"
        assert time_ms > clocks.get(number, 0)  # each point in the order of time, across files
        clocks[number] = time_ms
        if number in of_number:
            totals[(*of_number[number], month(time_ms))] += value
    again, second = load(kafka, tmp_path, "campus_meters")

    assert dict(totals) == sums.campus_usage(sums.data("campus_meters"))
    assert (first.readings, first.rejected, first.empty, first.repeats, first.differing) == (666_216, 0, 0, 0, 0)
    assert len(clocks) == 19
    assert [change.published for change in changes + again] == [True, False]
    assert second.readings == first.readings


def test_litter_bins(kafka: KafkaSettings, tmp_path: Path) -> None:
    """Newest row first or not, events go out by time, two a row; masses equal the sum over the file."""
    _, result = load(kafka, tmp_path, "litter_bins")
    events: list[Any] = sites.values(kafka, "waste.events", "waste_event")
    collected = [event for event in events if event["kind"] == "collected"]
    totals: dict[tuple[str, ...], int] = defaultdict(int)
    for event in collected:
        totals[event["station"], month(event["time_ms"] + 1, "Europe/London")] += event["mass_g"]

    assert dict(totals) == sums.litter_mass(sums.data("litter_bins"))
    assert [event["time_ms"] for event in collected] == sums.litter_times_ms(sums.data("litter_bins"))
    assert (result.events, result.rejected) == (20_000, 0)
    assert max(event["fill_permille"] for event in events if event["kind"] == "fill") == 800
    assert len({event["event_id"] for event in events}) == 20_000


def test_ev_charging(kafka: KafkaSettings, tmp_path: Path) -> None:
    """All 3,395 sessions arrive as charges in 2014 and 2015, 55 of them of 0 kWh; energy equals the file's sum."""
    _, result = load(kafka, tmp_path, "ev_charging")
    events: list[Any] = sites.values(kafka, "vehicle.events", "vehicle_event")
    totals: dict[tuple[str, ...], int] = defaultdict(int)
    for event in events:
        totals[event["vehicle"], month(event["time_ms"])] += event["energy_wh"]

    assert dict(totals) == sums.charged(sums.data("ev_charging"))
    assert (result.events, result.rejected, len(events)) == (3395, 0, 3395)
    assert sum(event["energy_wh"] == 0 for event in events) == 55
    assert {datetime.fromtimestamp(event["time_ms"] / 1000, UTC).year for event in events} == {2014, 2015}
    assert [event["time_ms"] for event in events] == sorted(event["time_ms"] for event in events)


def test_spoilt_rows_of_a_data_set_are_rejected(kafka: KafkaSettings, tmp_path: Path) -> None:
    """A spoilt copy of the charging sessions loses its spoilt rows, each with line and reason, and no other."""
    data = tmp_path / "data"
    data.mkdir()
    lines = (sums.data("ev_charging") / "station_data_dataverse.csv").read_text().splitlines()[:8]
    for line, (old, new) in {2: ("7.78", "much"), 4: ("0014-11-21 16:46:04", "0014-11-20 16:46:04")}.items():
        assert old in lines[line - 1]
        lines[line - 1] = lines[line - 1].replace(old, new)
    lines[4] += ",1"
    (data / "station_data_dataverse.csv").write_text("\n".join(lines))
    _, result = load(kafka, tmp_path, "ev_charging", data)
    rejected = (tmp_path / "ev_charging.rejected.csv").read_text().splitlines()

    assert (result.events, result.rejected) == (4, 3)
    assert [word in row for row, word in zip(rejected[1:], ("much", "ends before", "cells"), strict=True)] == [True] * 3
