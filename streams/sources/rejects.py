"""Rows that cannot be used: counted, shown with their place and reason, and kept in a file; the rest goes on."""

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

SHOWN_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class Reject:
    """One row that is not used, or one cell of it.

    Attributes:
        file: where it is from; `-` is standard input.
        line: its line, from 1.
        column: the column that is wrong; empty: the row as a whole.
        reason: what is wrong.
        raw: the row as it stands there.
    """

    file: str
    line: int
    column: str
    reason: str
    raw: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" + (f", column {self.column}" if self.column else "")
        return f"{where}: {self.reason}"


class Rejects:
    """Takes what was rejected, writes it to a CSV file (file, line, column, reason, row) and counts.

    Args:
        path: the file, made when something is rejected; None: nothing is kept but the first ones and the counts.

    Attributes:
        path: where they are.
        count: how many.
        first: the first 20.
        by_file: how many of each file.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.count = 0
        self.first: list[Reject] = []
        self.by_file: Counter[str] = Counter()
        self._file: IO[str] | None = None
        self._writer: Any = None

    def add(self, reject: Reject) -> None:
        """Takes one."""
        self.count += 1
        self.by_file[reject.file] += 1
        if len(self.first) < SHOWN_MAX:
            self.first.append(reject)
        if self.path is None:
            return
        if self._file is None:
            self._file = self._open(self.path)
            self._writer = csv.writer(self._file)
            self._writer.writerow(("file", "line", "column", "reason", "row"))
        self._writer.writerow((reject.file, reject.line, reject.column, reject.reason, reject.raw))

    def close(self) -> None:
        """Finishes the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, path: Path) -> IO[str]:
        try:
            return path.open("w", encoding="utf-8", newline="")
        except OSError:  # beside data that may only be read: here, then
            self.path = Path.cwd() / path.name
            return self.path.open("w", encoding="utf-8", newline="")
