"""Totals of the data sets by the csv module and Decimal alone: nothing of ganzhi is used here."""

import csv
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

Totals = dict[tuple[str, ...], int]


def data(name: str) -> Path:
    """Folder of a data set, beside the repository; the test is skipped where it is absent."""
    folder = Path(__file__).resolve().parents[3] / "shared" / "data" / name
    if not folder.is_dir():
        pytest.skip(f"the data set {name} is not at {folder}")
    return folder


def rows(path: Path) -> Iterator[dict[str, str]]:
    """Rows of a CSV file."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from csv.DictReader(file)


def campus_usage(folder: Path) -> Totals:
    """Wh by building, medium and month (YYYY-MM) of the published time."""
    totals: dict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    for medium, column in (("electricity", "equipment load [kWh]"), ("gas", "heating load [kWh]")):
        for path in sorted(folder.glob(f"*/{medium}/*.csv")):
            for row in rows(path):
                totals[path.parts[-3], medium, row["datetime"][:7]] += Decimal(row[column]) * 1000
    assert all(value == value.to_integral_value() for value in totals.values())
    return {key: int(value) for key, value in totals.items()}


def litter_mass(folder: Path) -> Totals:
    """Grams by station and local month: every row rounded half to even by itself."""
    totals: Totals = defaultdict(int)
    for row in rows(folder / "raw_bin_data.csv"):
        grams = (Decimal(row["Weight (kg)"]) * 1000).to_integral_value(ROUND_HALF_EVEN)
        totals[row["Site"], row["Date & Time of bin collection (Europe/London)"][:7]] += int(grams)
    return dict(totals)


def litter_times_ms(folder: Path) -> list[int]:
    """Times of the emptyings, ascending."""
    zone = ZoneInfo("Europe/London")
    column = "Date & Time of bin collection (Europe/London)"
    moments = [datetime.fromisoformat(row[column]) for row in rows(folder / "raw_bin_data.csv")]
    return sorted(int(moment.replace(tzinfo=zone).timestamp()) * 1000 for moment in moments)


def charged(folder: Path) -> Totals:
    """Wh by vehicle and month in which the session ended."""
    totals: dict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    for row in rows(folder / "station_data_dataverse.csv"):
        ended = datetime.fromisoformat("20" + row["ended"][2:]) - timedelta(milliseconds=1)
        totals["user-" + row["userId"], f"{ended:%Y-%m}"] += Decimal(row["kwhTotal"]) * 1000
    return {key: int(value) for key, value in totals.items()}
