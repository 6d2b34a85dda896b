"""Every file and column of a site model, as data: `files.csv` and `columns.csv`.

A model is a folder. A table is in `NAME.csv`, `NAME.yaml`, or several such files in `NAME/`; which of the two is usual
is in `files.csv`. A file that a deployment does not need is absent. Lists in a CSV cell are separated by `;`.

| type | a cell is | in the document |
|---|---|---|
| id, text, zone, clock, sub_item | text | text |
| ref | the id of a row of one of the tables that are named | text |
| ids, texts, refs, media, months | several, separated by `;` | list, sorted |
| int | an integer within bounds | integer |
| number, share | a decimal; a share may be a fraction (`1/3`) | canonical text, exact |
| bool | yes or no | true or false |
| date | YYYY-MM-DD | text |
| sign | + or - | 1 or -1 |
| enum, role, unit, medium | one of those that are known | text |
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        name: its name.
        type: see the module.
        required: whether a cell may not be empty.
        argument: what `type` needs: tables of a ref, values of an enum, bounds of a number.
        default: what an empty cell means, as text; empty: nothing.
        note: what it holds.
    """

    name: str
    type: str
    required: bool
    argument: tuple[str, ...]
    default: str
    note: str


@dataclass(frozen=True, slots=True)
class TableSpec:
    """One table.

    Attributes:
        name: name of its file.
        usual: csv or yaml; the other is read as well.
        key: columns that tell rows apart; two rows of one key may not hold at the same time.
        scope: `shared` (all rows are in the document of every site), `site` (the row of the site), or `site:COLUMN`
            (rows that belong to the site through that column).
        note: what it holds.
        columns: name → column, in order.
    """

    name: str
    usual: str
    key: tuple[str, ...]
    scope: str
    note: str
    columns: Mapping[str, Column]

    @property
    def dated(self) -> bool:
        """Whether rows have a validity."""
        return "valid_from" in self.columns


def _rows(name: str) -> list[dict[str, str]]:
    text = resources.files("schemas").joinpath(f"model/{name}").read_text("utf-8")
    return list(csv.DictReader(text.splitlines()))


def _load() -> Mapping[str, TableSpec]:
    columns: dict[str, dict[str, Column]] = {}
    for row in _rows("columns.csv"):
        column = Column(
            row["column"],
            row["type"],
            row["required"] == "yes",
            tuple(row["argument"].split()),
            row["default"],
            row["note"],
        )
        columns.setdefault(row["table"], {})[column.name] = column
    return MappingProxyType(
        {
            row["table"]: TableSpec(
                row["table"],
                row["usual"],
                tuple(row["key"].split()),
                row["scope"],
                row["note"],
                MappingProxyType(columns[row["table"]]),
            )
            for row in _rows("files.csv")
        }
    )


TABLES: Final = _load()
LIST_TYPES: Final = ("ids", "texts", "refs", "media", "months")
RULES_FOLDER: Final = "rules"
"""Rule packs are the YAML files of this folder of a model; what they include may lie in folders below it."""
