"""A site model that is small and complete: two sites, every kind of point, meters, balance, waste, vehicles, calendars, tariffs."""

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Tables = dict[str, list[Row]]

TAP = """\
pack: taps
rules:
  - alert: Tap
    each: {space: [office]}
    roles: {flow: water_flow}
    expr: flow > 0.2 L/min
    estimate: flow
    annotations: {zh: {summary: 水, action: 关}, en: {summary: Water runs, action: Close it}}
    source: test
"""
LIGHTS = """\
pack: lighting
rules:
  - alert: LightsInEmptyRoom
    each: {space: [office]}
    roles: {light: light_power, people: occupancy}
    expr: light > 50 W and people == 0
    clear: light <= 50 W or people > 0
    for: 20m
    keep_firing_for: 2m
    wastes: [light]
    source: test
    labels: {severity: warning}
    annotations:
      zh: {summary: 空房间灯亮, action: 关灯}
      en: {summary: Lights on in an empty room, action: Switch them off}
"""


def tables() -> Tables:
    """Rows of every table, as `write_model` writes them. Site east has one of everything; west has a single room."""
    return {
        "institutions": [{"id": "centre", "name_zh": "市民中心", "name_en": "Civic Centre", "class": "organ", "admin_code": "320200"}],
        "sites": [
            {"id": "east", "institution": "centre", "time_zone": "Asia/Shanghai", "calendar": "cn", "domain": "live"},
            {"id": "west", "institution": "centre", "calendar": "cn"},
        ],
        "buildings": [
            {"id": "E1", "site": "east", "class": "A", "area_m2": 1200},
            {"id": "W1", "site": "west", "class": "A", "area_m2": "300.5"},
        ],
        "spaces": [
            {"id": "E1-1", "building": "E1", "kind": "floor"},
            {"id": "E1-101", "building": "E1", "parent": "E1-1", "kind": "office", "area_m2": 25, "name_zh": "办公室101"},
            {"id": "E1-102", "building": "E1", "parent": "E1-1", "kind": "office", "area_m2": 25, "tags": "crowded"},
            {"id": "E1-C1", "building": "E1", "parent": "E1-1", "kind": "corridor", "tags": "emergency"},
            {"id": "W1-101", "building": "W1", "kind": "office"},
        ],
        "departments": [
            {"id": "finance", "name_zh": "财政局", "institution": "centre"},
            {"id": "budget", "name_zh": "预算处", "institution": "centre", "parent": "finance"},
        ],
        "tenure": [
            {"space": "E1-101", "department": "finance", "share": 1},
            {"space": "E1-102", "department": "finance", "share": "1/3", "valid_from": "2025-01-01"},
            {"space": "E1-102", "department": "budget", "share": "2/3", "valid_from": "2025-01-01"},
        ],
        "gateways": [{"id": "gw-e", "site": "east"}, {"id": "gw-e2", "site": "east"}, {"id": "gw-w", "site": "west"}],
        "equips": [
            {"id": "ac-out", "kind": "ac_outdoor", "space": "E1", "rated_w": 8000, "serves": "E1-101;E1-102"},
            {"id": "ac-101", "kind": "ac_indoor", "parent": "ac-out", "space": "E1-101"},
        ],
        "points": [
            _point("e-main", "gw-e", "E1", "energy", "register", "kWh", medium="electricity", interval_s=900, rated=100, counts_in="electricity"),
            _point("e-sub", "gw-e", "E1-101", "energy", "register", "kWh", medium="electricity", interval_s=900, sub_item="A1"),
            _point("e-peak", "gw-e", "E1", "energy_tou", "register", "kWh", medium="electricity", interval_s=900, of="e-main"),
            _point("e-water", "gw-e", "E1", "water", "delta", "m3", medium="water", interval_s=3600),
            _point("e-flow", "gw-e2", "E1-101", "water_flow", "gauge", "L/min", medium="water", interval_s=60, min=0, max=40),
            _point("e-light", "gw-e2", "E1-101", "light_power", "gauge", "W", medium="electricity", interval_s=60, sub_item="A1", rated=400),
            _point("e-people", "gw-e2", "E1-101", "occupancy", "state", "", interval_s=60),
            _point("e-light2", "gw-e2", "E1-102", "light_power", "gauge", "W", medium="electricity", interval_s=60, sub_item="A1"),
            _point("e-temp", "gw-e2", "E1-101", "temperature", "gauge", "degC", interval_s=300, min=-20, max=60, clock="data", max_age_s=3600),
            _point("w-light", "gw-w", "W1-101", "light_power", "gauge", "kW", site="west", medium="electricity", interval_s=60),
        ],
        "meters": [
            {"id": "M1", "serial": "0001", "protocol": "DL/T 645", "digits": 8, "resolution": "0.01", "ct": 40},
            {"id": "M2", "serial": "0002", "digits": 6, "resolution": 1},
        ],
        "meter_install": [
            {"meter": "M1", "register": "total", "point": "e-main", "first": 0},
            {"meter": "M1", "register": "peak", "point": "e-peak", "first": 0},
            {"meter": "M2", "point": "e-sub", "first": "12.5"},
        ],
        "balance": [
            {"node": "E1", "point": "e-main", "sign": "+"},
            {"node": "E1", "point": "e-sub", "sign": "-1"},
        ],
        "stations": [
            {"id": "S1", "site": "east", "space": "E1-C1", "class": ["kitchen", "other"]},
            {"id": "S2", "site": "east", "class": ["recyclable"]},
        ],
        "bins": [{"id": "B1", "station": "S1", "class": "kitchen", "volume": 240}],
        "vehicles": [
            {"id": "V1", "site": "east", "energy": "electric", "institution": "centre"},
            {"id": "V2", "site": "west", "energy": "gasoline"},
        ],
        "tariffs": [
            {"id": "grid", "medium": "electricity", "slot": "day", "component": "energy", "price": "0.9", "source": "test"},
            {"id": "grid", "medium": "electricity", "component": "surcharge", "price": "0.05", "source": "test"},
            {"id": "tap", "medium": "water", "price": "4.1", "source": "test", "valid_from": "2025-01-01"},
        ],
        "calendars": [
            {"id": "cn", "date": "2026-01-01", "kind": "holiday"},
            {"id": "cn", "date": "2026-01-04", "kind": "workday"},
            {"id": "cn", "date": "2026-01-10", "kind": "restday"},
        ],
        "schedules": [
            {"name": "day", "day_kind": "any", "from": "08:00", "to": "22:00"},
            {"name": "office", "day_kind": "workday", "from": "08:30", "to": "17:30"},
        ],
    }  # fmt: skip


def _point(
    name: str, gateway: str, space: str, role: str, kind: str, unit: str, site: str = "east", **more: Any
) -> Row:
    return {
        "id": name,
        "site": site,
        "gateway": gateway,
        "space": space,
        "role": role,
        "kind": kind,
        "unit": unit,
        **more,
    }


def write_model(
    folder: Path,
    change: Callable[[Tables], object] | None = None,
    *,
    packs: Mapping[str, str] | None = None,
    suffix: str = "csv",
    **changes: list[Row] | None,
) -> Path:
    """Writes the model into `folder/model` and returns that folder.

    Args:
        folder: usually pytest's tmp_path.
        change: is given the tables and may change them in place, before anything is written.
        packs: file name → text of rule packs; default: one pack about lights. `{}`: none.
        suffix: `csv` or `yaml`, for every table.
        changes: table=rows replaces a table; table=None leaves its file out.
    """
    model = tables()
    for name, rows in changes.items():
        if rows is None:
            model.pop(name, None)
        else:
            model[name] = rows
    if change is not None:
        change(model)
    path = folder / "model"
    (path / "rules").mkdir(parents=True, exist_ok=True)
    for old in [*path.glob("*.*"), *(path / "rules").glob("*")]:
        old.unlink()
    for name, rows in model.items():
        (path / f"{name}.{suffix}").write_text(_csv(rows) if suffix == "csv" else _yaml(rows), "utf-8")
    for name, text in ({"lighting.yaml": LIGHTS} if packs is None else packs).items():
        (path / "rules" / name).write_text(text, "utf-8")
    return path


def _cell(value: Any) -> str:
    return ";".join(map(str, value)) if isinstance(value, list) else str(value)


def _csv(rows: list[Row]) -> str:
    header = list(dict.fromkeys(name for row in rows for name in row))
    lines: list[str] = []
    csv.writer(_Lines(lines), lineterminator="\n").writerows(
        [header, *([_cell(row.get(name, "")) for name in header] for row in rows)]
    )
    return "".join(lines)


def _yaml(rows: list[Row]) -> str:
    out = []
    for row in rows:
        cells = [
            f"{name}: {value if isinstance(value, list) else repr(str(value))}"
            for name, value in row.items()
            if value != ""
        ]
        out.append("- " + "\n  ".join(cells) + "\n")
    return "".join(out)


class _Lines:
    def __init__(self, lines: list[str]) -> None:
        self.lines = lines

    def write(self, text: str) -> None:
        self.lines.append(text)
