"""The public data sets that can be imported, and how each becomes a site model and a mapping."""

import csv
import datetime as dt
import importlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

from schemas.errors import ConfigurationError
from streams.sources.mapping import Table, load


@dataclass(frozen=True, slots=True)
class Dataset:
    """One data set.

    Attributes:
        name: its folder here, and its name on the command line.
        source: who published it.
        licence: under what terms.
        looks_like: pattern of files below its folder, at least one of which must be there.
        lists: writes the long lists of its model, which are made of the data, into a folder; None: the model has none.
    """

    name: str
    source: str
    licence: str
    looks_like: str
    lists: Callable[[Path, Path], None] | None = None

    @property
    def about(self) -> str:
        """What it is, what its publisher did to it, and how its faults are taken."""
        return importlib.import_module(f"ganzhi.datasets.{self.name}").__doc__ or ""

    def mapping(self) -> list[Table]:
        """What its columns mean."""
        with resources.as_file(resources.files("ganzhi.datasets") / self.name / "mapping.yaml") as path:
            return load(path)

    def write_model(self, data: Path, folder: Path) -> None:
        """Writes its site model into a folder.

        Raises:
            ConfigurationError: `data` does not hold the data set, or a list cannot be made of it.
        """
        if not data.is_dir() or next(data.glob(self.looks_like), None) is None:
            raise ConfigurationError(
                f"{data} does not hold {self.name}: no file {self.looks_like} below it; --path names the folder "
                f"of the data set ({self.source})"
            )
        with resources.as_file(resources.files("ganzhi.datasets") / self.name / "model") as own:
            shutil.copytree(own, folder, dirs_exist_ok=True)
        if self.lists is not None:
            try:
                self.lists(data, folder)
            except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
                raise ConfigurationError(f"no model can be made of {data}: {error}") from error


def _rows(data: Path) -> Iterator[dict[str, str]]:
    for path in sorted(data.glob("*.csv")):
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from csv.DictReader(file)


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def _litter_lists(data: Path, folder: Path) -> None:
    """A station a bin: it is emptied, and filled, as one."""
    names = {row["Site"]: row["Site name"] for row in _rows(data) if row["Site"]}
    header = ("id", "site", "class", "name_en", "source")
    stations = ((site, "edinburgh", "mixed", name, "aileenmcd/bin_project") for site, name in sorted(names.items()))
    _write(folder / "stations.csv", header, stations)


def _charging_lists(data: Path, folder: Path) -> None:
    """A vehicle a user, an equip and a bay a station."""
    rows = list(_rows(data))
    users = sorted({row["userId"] for row in rows if row["userId"]})
    stations = sorted({row["stationId"] for row in rows if row["stationId"]})
    source = "Shray-R-Gupta/Ev-data-analysis"
    _write(
        folder / "vehicles.csv",
        ("id", "site", "energy", "name_en", "source"),
        ((f"user-{user}", "workplaces", "electric", f"car of user {user}", source) for user in users),
    )
    _write(
        folder / "equips.csv",
        ("id", "site", "kind", "source"),
        ((f"station-{station}", "workplaces", "charger", source) for station in stations),
    )
    _write(
        folder / "bays.csv",
        ("id", "site", "charger", "source"),
        ((f"bay-{station}", "workplaces", f"station-{station}", source) for station in stations),
    )


def _weekdays(years: range) -> Callable[[Path, Path], None]:
    """A calendar that knows weekends alone: the data say nothing of holidays."""

    def write(data: Path, folder: Path) -> None:
        del data
        days = (dt.date(years.start, 1, 1) + dt.timedelta(day) for day in range(366 * len(years)))
        kinds = ((day, "restday" if day.weekday() >= 5 else "workday") for day in days if day.year in years)
        rows = (("weekdays", day.isoformat(), kind, "weekends alone") for day, kind in kinds)
        _write(folder / "calendars.csv", ("id", "date", "kind", "source"), rows)

    return write


DATASETS: Final = {
    dataset.name: dataset
    for dataset in (
        Dataset("campus_meters", "EECi/Cambridge-Estates-Building-Energy-Archive", "MIT", "*/electricity/*.csv"),
        Dataset(
            "litter_bins", "aileenmcd/bin_project", "Open Government Licence v3", "raw_bin_data.csv", _litter_lists
        ),
        Dataset(
            "occupancy",
            "LuisM78/Occupancy-detection-data (UCI 357)",
            "CC BY 4.0",
            "*.txt",
            _weekdays(range(2015, 2016)),
        ),
        Dataset(
            "water_fixtures",
            "AnnaDiMauro/WEUSEDTO-Data",
            "CC BY 4.0",
            "feed*.csv",
            _weekdays(range(2019, 2022)),
        ),
        Dataset("ev_charging", "Shray-R-Gupta/Ev-data-analysis", "CC0", "station_data_dataverse.csv", _charging_lists),
    )
}


def find(name: str) -> Dataset:
    """A data set by its name.

    Raises:
        ConfigurationError: there is none.
    """
    if name not in DATASETS:
        raise ConfigurationError(f"unknown data set {name!r}; known are {', '.join(DATASETS)}")
    return DATASETS[name]
