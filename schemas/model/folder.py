"""From a folder of files to tables of text, with file and line of every row.

Nothing is judged here but whether a file can be read.

Cells are text as it was written: in YAML `no` stays `no` and `007` stays `007`; a list becomes its items joined by
`;`, as in a CSV cell.
"""

import csv
import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from schemas.codec import Json
from schemas.errors import Fault, ModelError
from schemas.model.tables import RULES_FOLDER, TABLES
from schemas.rules.reading import CASES, Lines, read_pack

SUFFIXES: Final = (".csv", ".yaml", ".yml")
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass
class TextTable:
    """Rows of one table as text.

    Attributes:
        name: of the table.
        columns: name → cells, all of one length; an absent cell is empty.
        files: file of each row, relative to the folder.
        lines: line of each row in its file, from 1.
        headers: column → (file, line) where it was first named.
    """

    name: str
    columns: dict[str, list[str]] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    headers: dict[str, tuple[str, int]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.lines)

    def add(self, file: str, header: list[str], rows: list[list[str]], lines: list[int]) -> None:
        """Appends rows that have the cells of `header`."""
        before = len(self)
        for name in header:
            self.headers.setdefault(name, (file, 1))
            self.columns.setdefault(name, [""] * before)
        cells = dict(zip(header, zip(*rows, strict=True), strict=True)) if rows else {}
        for name, column in self.columns.items():
            column.extend(cells.get(name, ("",) * len(rows)))
        self.files.extend([file] * len(rows))
        self.lines.extend(lines)


@dataclass
class Folder:
    """What a folder holds.

    Attributes:
        path: the folder.
        tables: name → rows; only those that have a file.
        packs: rule packs, includes and all.
        pack_lines: where the parts of each were written.
        faults: what could not be read.
    """

    path: Path
    tables: dict[str, TextTable] = field(default_factory=dict)
    packs: list[dict[str, Json]] = field(default_factory=list)
    pack_lines: list[Lines] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def read_folder(path: Path) -> Folder:
    """Reads every file of a model.

    Raises:
        ModelError: there is no such folder, or it holds no table at all.
    """
    if not path.is_dir():
        raise ModelError([Fault(str(path), 0, "is not a folder; name the folder that holds sites.yaml, points.csv, …")])
    folder = Folder(path)
    found = sorted(_model_files(path, folder))
    for table, file in found:
        text = _text(folder, file)
        if text is None:
            continue
        rows = folder.tables.setdefault(table, TextTable(table))
        (_read_csv if file.suffix == ".csv" else _read_yaml)(folder, rows, str(file.relative_to(path)), text)
    for file in sorted((path / RULES_FOLDER).glob("*")):
        if file.suffix in (".yaml", ".yml") and file.is_file() and not file.name.endswith(CASES):
            _read_pack(folder, file)
    if not found and not folder.faults:
        names = ", ".join(f"{name}.{spec.usual}" for name, spec in list(TABLES.items())[:3])
        raise ModelError([Fault(str(path), 0, f"holds no file of a model ({names}, …)")])
    return folder


def suggestion(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, empty where nothing is near."""
    near = difflib.get_close_matches(word, list(known), 1, 0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def _model_files(path: Path, folder: Folder) -> Iterator[tuple[str, Path]]:
    for entry in sorted(path.iterdir()):
        if entry.name.startswith(".") or entry.name == RULES_FOLDER:
            continue
        if entry.is_dir() and entry.name in TABLES:
            yield from ((entry.name, file) for file in entry.rglob("*") if file.suffix in SUFFIXES and file.is_file())
        elif entry.suffix in SUFFIXES and entry.is_file():
            if entry.stem in TABLES:
                yield entry.stem, entry
            else:
                folder.faults.append(Fault(entry.name, 0, f"no such table{suggestion(entry.stem, TABLES)}"))


def _text(folder: Folder, file: Path) -> str | None:
    name = str(file.relative_to(folder.path))
    try:
        raw = file.read_bytes()
    except OSError as error:
        folder.faults.append(Fault(name, 0, f"cannot be read: {error.strerror}"))
        return None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        folder.faults.append(Fault(name, line, "is not UTF-8; save the file as UTF-8"))
        return None


def _read_csv(folder: Folder, table: TextTable, file: str, text: str) -> None:
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    header: list[str] = []
    start = 1
    try:
        header = [name.strip() for name in next(reader, [])]
        if len(set(header)) != len(header):
            twice = next(name for name in header if header.count(name) > 1)
            folder.faults.append(Fault(file, 1, f"column {twice!r} is there twice"))
            return
        start = reader.line_num + 1
        width = len(header)
        for row in reader:
            if len(row) == width:
                rows.append(row)
                lines.append(start)
            elif row:
                folder.faults.append(Fault(file, start, f"{len(row)} cells, the header has {width}"))
            start = reader.line_num + 1
    except csv.Error as error:
        folder.faults.append(Fault(file, start, f"is not CSV here: {error}"))
    table.add(file, header, [[cell.strip() for cell in row] for row in rows], lines)


def _compose(folder: Folder, file: str, text: str) -> Any:
    """The node tree of a YAML file, or None with a fault (or an empty file)."""
    try:
        return yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        folder.faults.append(Fault(file, line, f"is not YAML here: {error.problem or error}"))
    except (yaml.YAMLError, RecursionError) as error:
        folder.faults.append(Fault(file, 0, f"is not YAML: {str(error).splitlines()[0]}"))
    return None


def _read_yaml(folder: Folder, table: TextTable, file: str, text: str) -> None:
    root = _compose(folder, file, text)
    if root is None:
        return
    if not isinstance(root, yaml.SequenceNode):
        folder.faults.append(Fault(file, root.start_mark.line + 1, "is not a list of rows; begin each with `- id: …`"))
        return
    found: list[tuple[dict[str, str], int]] = []
    for node in root.value:
        line = node.start_mark.line + 1
        if not isinstance(node, yaml.MappingNode):
            folder.faults.append(Fault(file, line, "is not a row; write `- id: …`"))
            continue
        row: dict[str, str] = {}
        for key, value in node.value:
            cell = _cell(value)
            if not isinstance(key, yaml.ScalarNode) or cell is None:
                folder.faults.append(
                    Fault(file, value.start_mark.line + 1, f"{_cell(key)}: is neither a value nor a list of values")
                )
            elif key.value in row:
                folder.faults.append(Fault(file, key.start_mark.line + 1, f"column {key.value!r} is there twice"))
            else:
                row[key.value] = cell
                table.headers.setdefault(key.value, (file, key.start_mark.line + 1))
        found.append((row, line))
    header = list(dict.fromkeys(name for row, _ in found for name in row))
    table.add(file, header, [[row.get(name, "") for name in header] for row, _ in found], [line for _, line in found])


def _cell(node: Any) -> str | None:
    if isinstance(node, yaml.ScalarNode):
        empty = node.style is None and node.value in ("~", "null", "Null", "NULL")
        return "" if empty else str(node.value).strip()
    if isinstance(node, yaml.SequenceNode) and all(isinstance(item, yaml.ScalarNode) for item in node.value):
        return ";".join(str(item.value).strip() for item in node.value)
    return None


def _read_pack(folder: Folder, file: Path) -> None:
    try:
        pack, lines = read_pack(file, str(file.relative_to(folder.path)))
    except ModelError as error:
        folder.faults.extend(error.faults)
    else:
        folder.packs.append(pack)
        folder.pack_lines.append(lines)
