"""Where presence is estimated, from what, and with which parameters: what `processors.kernels.presence` is told.

A space that has CO2 or Wi-Fi clients and no people counter gets two points when it is applied (`generated`): its
`presence` (state) and `presence_probability` (gauge, %). A counter wins where there is one. Light level and the power
of lights are no evidence: rules about light must not look at themselves.

Parameters are rows of the table `occupancy_models` (dated, with their source), by site, space or kind of space; the
most particular one counts, else `presence_defaults.csv`. A fit writes such rows.
"""

import csv
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from fractions import Fraction
from importlib import resources
from types import MappingProxyType
from typing import Final

from schemas.codec import Json
from schemas.model.document import Document
from schemas.rules.schedules import Bounds

STATE_ROLE: Final = "presence"
PROBABILITY_ROLE: Final = "presence_probability"
COUNTER_ROLE: Final = "occupancy"
EVIDENCE: Final = ("co2", "motion", "wifi_clients", "door_open", "socket_power")
"""Roles, by the number that kernels know them by."""
CO2: Final = 0
MOTION: Final = 1
WIFI: Final = 2
DOOR: Final = 3
PLUG: Final = 4
NEEDED: Final = ("co2", "wifi_clients")
"""One of these has to be there: they say something all the time."""
SCHEDULE: Final = "working"

NAT: Final = 1 << 16
"""Log-odds are in units of 2^-16."""
ONE: Final = 1 << 30
"""Probabilities are in units of 2^-30."""
_MIN: Final = 60_000
_STEPS: Final[Mapping[str, Fraction]] = MappingProxyType(
    {
        "min": Fraction(_MIN),
        "d": Fraction(1440 * _MIN),
        "ppm": Fraction(1000),
        "ppm/min": Fraction(1000),
        "W": Fraction(1000),
        "nat": Fraction(NAT),
        "nat/min": Fraction(NAT),
        "1/h": Fraction(10**9, 60),
        "1/h/min": Fraction(10**9, 60),
        "%": Fraction(ONE, 100),
        "1": Fraction(ONE),
    }
)
"""Kernel units in a unit: ms; thousandths of ppm and W; 2^-16 nat; 10^-9 a minute; 2^-30."""


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One parameter: `value`, `low` and `high` are in `unit`."""

    name: str
    value: Fraction
    low: Fraction
    high: Fraction
    unit: str
    note: str
    source: str


@functools.cache
def parameters() -> Mapping[str, Parameter]:
    """The parameters with their defaults, in the order in which kernels have them."""
    text = resources.files("schemas").joinpath("model/presence_defaults.csv").read_text("utf-8")
    return MappingProxyType(
        {
            row["parameter"]: Parameter(
                row["parameter"],
                Fraction(row["value"]),
                Fraction(row["min"]),
                Fraction(row["max"]),
                row["unit"],
                row["note"],
                row["source"],
            )
            for row in csv.DictReader(text.splitlines())
        }
    )


def in_steps(values: Mapping[str, Fraction]) -> tuple[int, ...]:
    """Parameters as a kernel takes them, rounded to its units."""
    return tuple(round(values.get(name, one.value) * _STEPS[one.unit]) for name, one in parameters().items())


@dataclasses.dataclass(frozen=True)
class Estimator:
    """Presence of one space.

    Attributes:
        space: which.
        state: number of its point `presence`.
        probability: number of its point `presence_probability`.
        evidence: (index in EVIDENCE, number of the point), by point.
        values: of the parameters, in the kernel's units.
        bounds: boundaries of the working schedule (UTC ms, state); empty where none is known.
    """

    space: str
    state: int
    probability: int
    evidence: tuple[tuple[int, int], ...]
    values: tuple[int, ...]
    bounds: tuple[tuple[int, int], ...]


Row = Mapping[str, Json]


def rows_of(table: Mapping[str, Sequence[Json]]) -> list[Row]:
    """The rows of a table that have no end."""
    found = [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]
    return [row for row in found if not row.get("valid_to")]


def estimated_spaces(points: Mapping[str, Sequence[Json]]) -> dict[str, list[Row]]:
    """Space → its evidence, of every space that has enough of it and no people counter."""
    rows: dict[str, list[Row]] = {}
    counted = set()
    for row in rows_of(points):
        space, role = row.get("space"), str(row.get("role"))
        if space and role == COUNTER_ROLE:
            counted.add(str(space))
        elif space and role in EVIDENCE and row.get("gateway"):
            rows.setdefault(str(space), []).append(row)
    return {
        space: found
        for space, found in sorted(rows.items())
        if space not in counted and any(row["role"] in NEEDED for row in found)
    }


def estimators(document: Document) -> list[Estimator]:
    """The estimators of a document, by space."""
    points = document.table("points")
    if not points:
        return []
    made: dict[tuple[str, str], int] = {
        (str(row.get("space")), str(row["role"])): int(str(row["number"]))
        for row in rows_of(points)
        if row.get("role") in (STATE_ROLE, PROBABILITY_ROLE) and not row.get("gateway")
    }
    if not made:
        return []
    spaces = {str(row["id"]): row for row in rows_of(document.table("spaces"))}
    site = next(iter(rows_of(document.table("sites"))), {})
    bounds = Bounds(document, str(site.get("time_zone") or "Asia/Shanghai"))
    rows = rows_of(document.table("occupancy_models"))
    found = []
    for space, evidence in estimated_spaces(points).items():
        if (space, STATE_ROLE) not in made or (space, PROBABILITY_ROLE) not in made:
            continue
        own = spaces.get(space, {})
        calendar = _calendar(space, spaces) or str(site.get("calendar") or "")
        known = SCHEDULE in bounds.known() and bool(calendar)
        found.append(
            Estimator(
                space,
                made[space, STATE_ROLE],
                made[space, PROBABILITY_ROLE],
                tuple(sorted((EVIDENCE.index(str(row["role"])), int(str(row["number"]))) for row in evidence)),
                in_steps(values_of(rows, document.site, space, str(own.get("kind") or ""))),
                tuple(bounds.found[bounds.number(SCHEDULE, calendar)]) if known else (),
            )
        )
    return found


def values_of(rows: Sequence[Row], site: str, space: str, kind: str) -> dict[str, Fraction]:
    """The parameters that rows say for a space; the most particular row counts, of equal ones the latest."""
    ranked: dict[str, tuple[int, str, Fraction]] = {}
    for row in rows:
        if any(
            row.get(name) not in (None, "", own) for name, own in (("site", site), ("space", space), ("kind", kind))
        ):
            continue
        rank = 4 * bool(row.get("space")) + 2 * bool(row.get("kind")) + bool(row.get("site"))
        name = str(row["parameter"])
        one = (rank, str(row.get("valid_from") or ""), Fraction(str(row["value"])))
        ranked[name] = max(ranked.get(name, one), one)
    return {name: value for name, (_, _, value) in ranked.items()}


def _calendar(space: str, spaces: Mapping[str, Row]) -> str:
    for _ in range(64):
        row = spaces.get(space)
        if row is None:
            return ""
        if row.get("calendar"):
            return str(row["calendar"])
        space = str(row.get("parent") or "")
    return ""
