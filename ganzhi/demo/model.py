"""Writes the demo's site model as a folder, as people would keep it in git: `ganzhi check` and `ganzhi apply` read it.

The same release writes the same bytes. Prices are assumptions and say so; factors name where they are published.
"""

import csv
import datetime as dt
import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

import chinese_calendar
import yaml

from ganzhi.demo import tables, truth
from ganzhi.demo.layout import SITES, zones
from ganzhi.demo.past import LIMIT_KW, QUOTAS_KWH, WORKING_S
from ganzhi.demo.world import LANDSCAPE_S, is_workday

ASSUMED: Final = "demo assumption"
YEARS: Final = (2025,)
"""Of which the calendar says every day."""
TARIFF_FROM: Final = "2025-06-01"

ROBOT: Final = "robot"
"""Channel of the demo: a group robot on this machine."""

Row = Mapping[str, str]
_CSV: Final[dict[str, Callable[[], Iterable[Row]]]] = {
    "spaces": tables.spaces, "tenure": tables.tenure_rows, "gateways": tables.gateways, "equips": tables.equips,
    "points": tables.point_rows, "meters": tables.meters, "meter_install": tables.meter_install,
    "balance": tables.balance, "apportion": tables.apportion, "vehicles": tables.vehicles,
}  # fmt: skip
_YAML: Final[dict[str, Callable[[], Iterable[Row]]]] = {
    "sites": tables.sites, "buildings": tables.buildings, "departments": tables.department_rows,
    "stations": tables.stations, "bins": tables.bins, "bays": tables.bays,
}  # fmt: skip


def write_model(folder: Path, spoken: Literal["zh", "en"] = "zh") -> None:
    """Writes every file of the model; the folder may exist, files of these names are replaced.

    Args:
        folder: where.
        spoken: language of the robot's messages.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in _CSV.items():
        _write_csv(folder / f"{name}.csv", list(rows()))
    _write_csv(folder / "calendars.csv", list(_calendar()))
    written = {name: list(rows()) for name, rows in _YAML.items()}
    written["institutions"] = [
        {
            "id": tables.INSTITUTION,
            "class": "organ",
            "admin_code": "320200",
            "name_zh": "市民中心",
            "name_en": "Civic centre",
        }
    ]
    written["schedules"] = list(_schedules())
    written["tariffs"] = list(_tariffs())
    written["factors"] = list(_factors())
    written["denominators"] = list(_denominators())
    written["routes"] = list(_routes(spoken))
    for name, listed in written.items():
        (folder / f"{name}.yaml").write_text(_dump([_plain(row) for row in listed]), "utf-8")
    (folder / "rules").mkdir(exist_ok=True)
    (folder / "rules" / "civic.yaml").write_text(_dump(_pack()), "utf-8")


def _routes(spoken: str) -> Iterable[Row]:
    """Everything goes to the robot that the demo starts; what ends together is told together."""
    yield {"id": "everything", "send_to": ROBOT, "language": spoken, "source": ASSUMED}


def _plain(row: Row) -> dict[str, str]:
    return {name: value for name, value in row.items() if value}


def _dump(value: object) -> str:
    return yaml.safe_dump(value, allow_unicode=True, sort_keys=False, width=160)


def _write_csv(file: Path, rows: list[Row]) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    file.write_text(out.getvalue(), "utf-8")


def _calendar() -> Iterable[Row]:
    source = "PyPI chinesecalendar"
    for year in YEARS:
        date = dt.date(year, 1, 1)
        while date.year == year:
            _, holiday = chinese_calendar.get_holiday_detail(date)
            kind = "workday" if is_workday(date) else "holiday" if holiday else "restday"
            yield {"id": tables.CALENDAR, "date": date.isoformat(), "kind": kind, "source": source}
            date += dt.timedelta(days=1)


def _clock(second: int) -> str:
    return f"{second // 3600:02d}:{second % 3600 // 60:02d}"


# name of the slot, months, from, to: slots of Jiangsu since 2025-06-01, summer and winter, spring and autumn
_SLOTS: Final = (
    ("hot_peak", "14:00", "22:00"), ("hot_flat", "06:00", "11:00"), ("hot_flat", "13:00", "14:00"),
    ("hot_flat", "22:00", "24:00"), ("hot_valley", "00:00", "06:00"), ("hot_valley", "11:00", "13:00"),
    ("mild_peak", "15:00", "22:00"), ("mild_flat", "06:00", "10:00"), ("mild_flat", "14:00", "15:00"),
    ("mild_flat", "22:00", "02:00"), ("mild_valley", "02:00", "06:00"), ("mild_valley", "10:00", "14:00"),
    ("old_peak", "08:00", "12:00"), ("old_peak", "17:00", "21:00"), ("old_flat", "12:00", "17:00"),
    ("old_flat", "21:00", "24:00"), ("old_valley", "00:00", "08:00"),
)  # fmt: skip
_PRICES: Final = {"peak": "1.0358", "flat": "0.7390", "valley": "0.4634"}


def _schedules() -> Iterable[Row]:
    yield {
        "name": "working",
        "day_kind": "workday",
        "from": _clock(WORKING_S[0]),
        "to": _clock(WORKING_S[1]),
        "name_zh": "工作时间",
        "name_en": "Working hours",
    }
    yield {
        "name": "cleaning",
        "day_kind": "workday",
        "from": "18:00",
        "to": "20:30",
        "name_zh": "保洁时间",
        "name_en": "Cleaning",
    }
    yield {
        "name": "landscape",
        "day_kind": "any",
        "from": _clock(LANDSCAPE_S[0]),
        "to": _clock(LANDSCAPE_S[1]),
        "name_zh": "景观照明",
        "name_en": "Landscape lighting",
    }
    yield {
        "name": "irrigation",
        "day_kind": "any",
        "from": "05:30",
        "to": "06:15",
        "name_zh": "绿化灌溉",
        "name_en": "Irrigation",
    }
    for name, begin, end in _SLOTS:
        number = "1183" if name.startswith("old") else "426"
        notice = f"苏发改价格发〔{'2020' if number == '1183' else '2025'}〕{number}号"
        yield {"name": name, "day_kind": "any", "from": begin, "to": end, "source": notice}


def _tariffs() -> Iterable[Row]:
    for season, months in (("hot", "6-8;12;1-2"), ("mild", "3-5;9-11"), ("old", "")):
        dates = {"valid_to": TARIFF_FROM} if season == "old" else {"valid_from": TARIFF_FROM}
        for part, price in _PRICES.items():
            yield {
                "id": "electricity", "medium": "electricity", "slot": f"{season}_{part}", "months": months,
                "component": "energy", "price": price, "unit": "kWh", "source": ASSUMED, **dates,
            }  # fmt: skip
    for medium in ("water", "hot_water"):
        yield {"id": medium, "medium": medium, "component": "energy", "price": "2.50", "unit": "m3", "source": ASSUMED}
        yield {
            "id": f"{medium}-sewage",
            "medium": medium,
            "component": "sewage",
            "price": "1.40",
            "unit": "m3",
            "source": ASSUMED,
        }


def _factors() -> Iterable[Row]:
    grid = {
        "medium": "electricity",
        "region": "Jiangsu",
        "basis": "co2",
        "scope": "average of the province",
        "unit": "kWh",
    }
    # the factor of a year holds until the next one is published
    yield {
        **grid,
        "year": "2022",
        "value": "0.5978",
        "valid_to": "2025-12-31",
        "source": "MEE and NBS: CO2 factors of electricity 2022",
    }
    yield {
        **grid,
        "year": "2023",
        "value": "0.5827",
        "valid_from": "2025-12-31",
        "source": "MEE and NBS: CO2 factors of electricity 2023, issued 2025-12-31",
    }
    coal = "GB/T 2589-2020, appendix A"
    yield {
        "medium": "electricity",
        "year": "2020",
        "basis": "equivalent",
        "value": "0.1229",
        "unit": "kWh",
        "source": coal,
    }
    yield {"medium": "heat", "year": "2020", "basis": "equivalent", "value": "0.03412", "unit": "MJ", "source": coal}
    for medium, value in (("gasoline", "1.4714"), ("diesel", "1.4571")):
        yield {"medium": medium, "year": "2020", "basis": "equivalent", "value": value, "unit": "kg", "source": coal}


def _denominators() -> Iterable[Row]:
    for site in SITES:
        own = [zone for zone in zones() if zone.site == site and zone.building != "G"]
        if own:
            method = "sum over the model's spaces"
            yield {"scope": site, "kind": "area", "value": str(sum(zone.area_m2 for zone in own)), "method": method}
            yield {
                "scope": site,
                "kind": "heads",
                "value": str(sum(zone.seats for zone in own)),
                "method": "places of work",
            }


_FOR: Final = MappingProxyType(
    {
        "BranchFlowAfterHours": truth.BRANCH_FOR_S,
        "MeterClockBehind": truth.CLOCK_FOR_S,
        "TapRunningLong": truth.TAP_FOR_S,
        "BinOverdue": truth.OVERDUE_FOR_S,
        "UnusualLoad": truth.UNUSUAL_FOR_S,
        "LoadNobody": truth.SOCKETS_FOR_S,
    }
    | dict.fromkeys(
        (
            "NightFlowRising", "WaterRemainder", "PartsExceedWhole", "UnmeteredRemainder", "PvUnderperforming",
            "PvBelowExpected", "CoolingMakeUpLong",
        ),
        truth.LOOK_FOR_S,
    )
)  # fmt: skip
"""Rule → seconds that its condition must last here. The demo is over before those of the packs have passed; what makes
the condition, nights and days of the history, is left as it is."""
_PARAMS: Final = MappingProxyType(
    {
        "MeterSilent": {"missed": str(truth.MISSED)},
        "MeterClockBehind": {"behind": f"{truth.BEHIND_S} s"},
        "WrongSorting": {"times": str(truth.TIMES)},
    }
)


def _pack() -> dict[str, object]:
    packs = (
        "lighting", "air_conditioning", "water", "electricity", "meters", "pv", "lifts", "waste", "vehicles",
    )  # fmt: skip
    quotas = [
        {"alert": "OverQuotaPace", "subject": [building], "params": {"weekly_quota": f"{kwh} kWh"}, "enabled": True}
        for building, kwh in QUOTAS_KWH.items()
    ]
    return {
        "pack": "civic",
        "include": [f"builtin/{pack}" for pack in packs],
        "overrides": [
            *({"alert": rule, "params": params} for rule, params in _PARAMS.items()),
            *({"alert": rule, "for": f"{seconds // 60}m"} for rule, seconds in _FOR.items()),
            *quotas,
            {"alert": "DemandOverLimit", "params": {"limit": f"{LIMIT_KW} kW"}, "enabled": True},
        ],
    }
