"""From tables of text to tables of values: missing and unknown columns, cells of the wrong type."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from schemas.codec import Json
from schemas.errors import Fault
from schemas.model.cells import CellError, convert
from schemas.model.folder import Folder, TextTable, suggestion
from schemas.model.tables import TABLES, Column, TableSpec
from schemas.rules.reading import Lines

ALWAYS: Final = ""
"""Before every date."""
OPEN: Final = "~"
"""After every date."""
HINTS_MAX: Final = 50
"""Hints for so many different wrong cells of a column; more have one cause, and each takes a millisecond."""


@dataclass
class Rows:
    """Rows of one table.

    Attributes:
        spec: what the table has.
        columns: every column of `spec` → values, all of one length.
        files: file of each row.
        lines: line of each row.
    """

    spec: TableSpec
    columns: dict[str, list[Json]]
    files: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.lines)

    def texts(self, column: str) -> list[str]:
        """A column whose cells are text; absent ones are empty."""
        return [value if isinstance(value, str) else "" for value in self.columns[column]]

    def fault(self, row: int, message: str) -> Fault:
        """A fault at a row."""
        return Fault(self.files[row], self.lines[row], message)

    def place(self, row: int) -> str:
        """Where a row is, for a message about another one."""
        return f"{self.files[row]}:{self.lines[row]}"

    def by_id(self) -> dict[str, int]:
        """First row that has an id, by id."""
        found: dict[str, int] = {}
        for row, name in enumerate(self.texts("id")):
            found.setdefault(name, row)
        return found

    def validity(self) -> list[tuple[str, str]]:
        """First day and first day after, of every row; texts that sort, `ALWAYS` and `OPEN` where there is none."""
        if not self.spec.dated:
            return [(ALWAYS, OPEN)] * len(self)
        pairs = zip(self.texts("valid_from"), self.texts("valid_to"), strict=True)
        return [(first or ALWAYS, last or OPEN) for first, last in pairs]

    def groups(self, columns: Iterable[str]) -> Iterator[tuple[tuple[Json, ...], list[int]]]:
        """Rows that agree in some columns: (their values, row numbers), in the order of first rows; alone ones too."""
        found: dict[tuple[str, ...], list[int]] = {}
        values: dict[tuple[str, ...], tuple[Json, ...]] = {}
        for row, key in enumerate(zip(*(self.columns[name] for name in columns), strict=True)):
            words = tuple(map(str, key))
            found.setdefault(words, []).append(row)
            values.setdefault(words, key)
        return ((values[words], rows) for words, rows in found.items())


@dataclass
class Model:
    """A site model whose cells have values. Whether it makes sense is for `check`.

    Attributes:
        path: its folder.
        tables: name → rows, of the tables that have a file.
        packs: rule packs, includes and all.
        pack_lines: where the parts of each were written.
    """

    path: Path
    tables: dict[str, Rows]
    packs: list[dict[str, Json]]
    pack_lines: list[Lines]

    def rows(self, name: str) -> Rows:
        """Rows of a table; none where it has no file."""
        found = self.tables.get(name)
        return found if found is not None else Rows(TABLES[name], {column: [] for column in TABLES[name].columns})


def type_tables(folder: Folder) -> tuple[Model, list[Fault]]:
    """Gives every cell its value. A cell with a fault counts as empty from here on."""
    faults = list(folder.faults)
    tables: dict[str, Rows] = {}
    for name, spec in TABLES.items():
        text = folder.tables.get(name)
        if text is not None:
            tables[name] = _typed(text, spec, faults)
    return Model(folder.path, tables, folder.packs, folder.pack_lines), faults


def _typed(text: TextTable, spec: TableSpec, faults: list[Fault]) -> Rows:
    rows = Rows(spec, {}, text.files, text.lines)
    for name, (file, line) in text.headers.items():
        if name not in spec.columns:
            faults.append(Fault(file, line, f"{spec.name} has no column {name!r}{suggestion(name, spec.columns)}"))
    for name, column in spec.columns.items():
        cells = text.columns.get(name)
        if cells is None:
            if column.required and len(text):
                faults.append(Fault(text.files[0], 1, f"{spec.name} needs a column {name!r}: {column.note}"))
            cells = [""] * len(text)
            rows.columns[name] = [_default(column)] * len(text)
        else:
            rows.columns[name] = _column(rows, column, cells, faults)
    if not spec.columns.get("id", _OPTIONAL).required and "id" in spec.columns:
        _make_ids(rows)
    return rows


_OPTIONAL: Final = Column("", "text", True, (), "", "")


def _default(column: Column) -> Json:
    return convert(column, "")


def _column(rows: Rows, column: Column, cells: list[str], faults: list[Fault]) -> list[Json]:
    values: dict[str, Json] = {}
    wrong: dict[str, str] = {}
    for text in dict.fromkeys(cells):
        if not text and column.required:
            wrong[text] = f"{column.name} is empty: {column.note}"
            values[text] = None
            continue
        try:
            values[text] = convert(column, text)
        except CellError as error:
            hint = error.hint() if len(wrong) < HINTS_MAX else ""
            wrong[text] = f"{'' if column.name in str(error) else f'{column.name}: '}{error}{hint}"
            values[text] = _default(column)
    if wrong:
        faults.extend(rows.fault(row, wrong[text]) for row, text in enumerate(cells) if text in wrong)
    return [values[text] for text in cells]


def _make_ids(rows: Rows) -> None:
    """Rows of lists like tenure need no id: it is made of their key and the day from which they hold."""
    keys = [rows.texts(name) if name != "sign" else list(map(str, rows.columns[name])) for name in rows.spec.key]
    dates = rows.texts("valid_from") if rows.spec.dated else [""] * len(rows)
    rows.columns["id"] = [
        given or "/".join([*(part for part in key if part), *([date] if date else [])])
        for given, date, *key in zip(rows.texts("id"), dates, *keys, strict=True)
    ]


def canonical(value: Json) -> tuple[int, int, str]:
    """Sorts values of a column: empty, then integers, then text."""
    if value is None:
        return 0, 0, ""
    if isinstance(value, int):
        return 1, int(value), ""
    return 2, 0, str(value)


def overlaps(spans: Mapping[int, tuple[str, str]]) -> Iterator[tuple[int, int]]:
    """Pairs of rows (upper, lower) that hold at the same time, at most one for each row.

    Args:
        spans: row → (first day, first day after).
    """
    ordered = sorted(spans.items(), key=lambda item: (item[1], item[0]))
    last_row, last_end = -1, ALWAYS
    for row, (begin, end) in ordered:
        if last_row >= 0 and begin < last_end:
            yield min(last_row, row), max(last_row, row)
        if last_row < 0 or end > last_end:
            last_row, last_end = row, end
