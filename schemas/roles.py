"""Roles: what a point tells about its subject. `roles.csv` is the table.

A rule names roles, not points: `light_power` of a room is the sum of the room's points of that role, `window_open` the
largest of them.
"""

import csv
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Role:
    """One role.

    Attributes:
        name: as it is written in models and rules.
        kinds: kinds of points that may have it.
        dimension: dimension of their unit (`schemas.units`).
        aggregate: how several points of one subject become one value: `sum` (power, flow, people) or `max`.
        name_zh: Chinese name.
        name_en: English name.
    """

    name: str
    kinds: tuple[str, ...]
    dimension: str
    aggregate: str
    name_zh: str
    name_en: str


def _load() -> Mapping[str, Role]:
    rows = csv.DictReader(resources.files("schemas").joinpath("roles.csv").read_text("utf-8").splitlines())
    return MappingProxyType(
        {
            row["role"]: Role(
                row["role"],
                tuple(row["kinds"].split()),
                row["dimension"],
                row["aggregate"],
                row["name_zh"],
                row["name_en"],
            )
            for row in rows
        }
    )


ROLES: Final = _load()


def suggest(name: str) -> str:
    """`; did you mean 'x'?` for the nearest role, empty where none is near."""
    near = difflib.get_close_matches(name, ROLES, 1, 0.6)
    return f"; did you mean {near[0]!r}?" if near else ""
