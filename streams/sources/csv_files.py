"""Import of CSV files, wide, long or events, as a mapping says.

Everything is read first: each point is sorted by time across all files, because a reading behind its point's clock
would only mark a span for settlement. Then it is sent, gateway by gateway, 1,000 readings a message. A row or cell that
cannot be used is rejected with its line and reason; the rest goes on.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.encode import READINGS_MAX, Mode
from schemas.errors import ConfigurationError
from schemas.model.document import LIMITS
from streams.sources import tokens
from streams.sources.catalog import Catalog
from streams.sources.csv_events import EventReader, SiteEvent
from streams.sources.csv_readings import Fault, LongReader, Readings, Source, WideReader
from streams.sources.decimals import Style
from streams.sources.mapping import Table
from streams.sources.rejects import Reject, Rejects
from streams.sources.times import to_ms

Progress = Callable[[str, int, int], None]
"""Is told what is done (reading, sending), how much of it and of how much."""
_SEND_AT_ONCE = 100 * READINGS_MAX
_LOOK_AT = 50
"""So many rows tell whether all have a cell that the header does not name."""


class Writer(Protocol):
    """Takes what was read; `BatchWriter` sends it."""

    def send(
        self,
        site: str,
        gateway: str,
        mode: Mode,
        times_ms: NDArray[np.int64],
        points: NDArray[np.int32],
        values: NDArray[np.int64],
        qualities: NDArray[np.int8],
    ) -> None:
        """Takes readings of one gateway."""

    def event(self, topic: str, site: str, contract: str, value: Mapping[str, object]) -> None:
        """Takes an event."""

    def flush(self) -> None:
        """Waits until all of it is where it belongs."""


def _silent(_what: str, _done: int, _total: int) -> None:
    return


@dataclass(slots=True)
class Imported:
    """What an import did.

    Attributes:
        files: files read.
        rows: rows in them, rejected ones included.
        readings: readings sent.
        events: events sent.
        empty: cells without a reading.
        repeats: readings that the files have twice, the same both times; they are sent, and count once.
        differing: readings of a point and time that the files have with several values; the last one counts.
        rejected: rows and cells rejected.
        first_ms: earliest time sent.
        last_ms: latest time sent.
    """

    files: int = 0
    rows: int = 0
    readings: int = 0
    events: int = 0
    empty: int = 0
    repeats: int = 0
    differing: int = 0
    rejected: int = 0
    first_ms: int | None = None
    last_ms: int | None = None

    def saw(self, first_ms: int, last_ms: int) -> None:
        """Takes the span of what is sent."""
        self.first_ms = first_ms if self.first_ms is None else min(self.first_ms, first_ms)
        self.last_ms = last_ms if self.last_ms is None else max(self.last_ms, last_ms)


class CsvImport:
    """One import: `read` all files, then `send`.

    Args:
        tables: the mapping.
        catalog: the published model.
        rejects: takes what cannot be used.
        progress: is told how far it is.
        now_ms: the wall clock, by which readings of live sites are in the future; None: this machine's.

    Attributes:
        result: what it did so far.
    """

    def __init__(
        self,
        tables: Sequence[Table],
        catalog: Catalog,
        rejects: Rejects,
        progress: Progress = _silent,
        now_ms: int | None = None,
    ) -> None:
        self.result = Imported()
        self._tables = tables
        self._rejects = rejects
        self._progress = progress
        latest_ms = (int(time.time() * 1000) if now_ms is None else now_ms) + LIMITS["future_ms"]
        self._readings = Readings(catalog, latest_ms)
        self._events: list[SiteEvent] = []

    def read(self, given: Sequence[Path]) -> None:
        """Reads files, and files below folders.

        Raises:
            ConfigurationError: there is nothing to read, a file cannot be read or lacks a column that the mapping
                names, or a unit does not fit its point.
        """
        missing = [str(path) for path in given if not path.exists()]
        if missing:
            raise ConfigurationError(f"{', '.join(missing)} does not exist")
        found = [(path, parts, table) for table in self._tables for path, parts in table.paths(list(given))]
        if not found:
            wanted = ", ".join(sorted({table.files or "a file" for table in self._tables}))
            raise ConfigurationError(f"no file to import in {', '.join(map(str, given))}; the mapping wants {wanted}")
        try:
            sizes = [path.stat().st_size for path, _, _ in found]
            done = 0
            for (path, parts, table), size in zip(found, sizes, strict=True):
                self._read_file(path, parts, table)
                self.result.files += 1
                done += size
                self._progress("reading", done, sum(sizes))
        except OSError as error:
            raise ConfigurationError(f"{error.filename} cannot be read: {error.strerror}") from error
        self.result.empty = self._readings.empty
        self.result.rejected = self._rejects.count

    def send(self, writer: "Writer") -> Imported:
        """Sends what was read and waits until the broker has all of it."""
        columns = sorted(self._readings.columns.items())
        total = sum(part.size for _, own in columns for part in own.times_ms) + len(self._events)
        done = 0
        for (site, gateway, mode), own in columns:
            times_ms, points = np.concatenate(own.times_ms), np.concatenate(own.points)
            values, qualities = np.concatenate(own.values), np.concatenate(own.qualities)
            order = np.lexsort((points, times_ms))  # stable: of equal ones, the later file and row stays behind
            times_ms, points, values, qualities = times_ms[order], points[order], values[order], qualities[order]
            self._count_doubles(times_ms, points, values, qualities)
            self.result.saw(int(times_ms[0]), int(times_ms[-1]))
            for first in range(0, times_ms.size, _SEND_AT_ONCE):
                part = slice(first, first + _SEND_AT_ONCE)
                writer.send(site, gateway, mode, times_ms[part], points[part], values[part], qualities[part])
                done += times_ms[part].size
                self._progress("sending", done, total)
            self.result.readings += times_ms.size
        for event in sorted(self._events, key=lambda event: event.time_ms):
            writer.event(event.topic, event.site, event.contract, event.value)
            self.result.saw(event.time_ms, event.time_ms)
            self.result.events += 1
            done += 1
            if done % READINGS_MAX == 0 or done == total:
                self._progress("sending", done, total)
        writer.flush()
        return self.result

    def _count_doubles(
        self,
        times_ms: NDArray[np.int64],
        points: NDArray[np.int32],
        values: NDArray[np.int64],
        qualities: NDArray[np.int8],
    ) -> None:
        again = (times_ms[1:] == times_ms[:-1]) & (points[1:] == points[:-1])
        same = again & (values[1:] == values[:-1]) & (qualities[1:] == qualities[:-1])
        self.result.repeats += int(same.sum())
        self.result.differing += int(again.sum() - same.sum())

    def _read_file(self, path: Path, parts: Mapping[str, str], table: Table) -> None:
        buffer = tokens.decode(path.read_bytes(), table.encoding)
        top = line = table.skip_lines + 1
        at = tokens.skip_lines(buffer, table.skip_lines)
        header = tuple(table.header)
        if not header:
            first = next(tokens.scan(buffer, table.delimiter, 1, at, line, rows_max=1), None)
            if first is None:
                self._rejects.add(Reject(str(path), line, "", "the file has no header", ""))
                return
            rows, at, line = next(tokens.scan(buffer, table.delimiter, int(first[0].counts[0]), at, line, rows_max=1))
            header = tuple(rows.text(0, column) for column in range(rows.starts.shape[1]))
            header = _widened(
                header, tokens.scan(buffer, table.delimiter, len(header) + 1, at, line, rows_max=_LOOK_AT)
            )
        style = Style(table.decimal, table.thousands, tuple(table.nulls), table.words)
        source = Source(path, parts, table, header, style)
        reader = self._reader(source)
        time_place = source.place(table.time.column)
        for _, column, reason in reader.faults:
            self._rejects.add(Reject(str(path), top, column, reason, table.delimiter.join(header)))
        for rows, _, _ in tokens.scan(buffer, table.delimiter, len(header), at, line):
            self.result.rows += len(rows)
            good, faults = _shapes(rows, len(header))
            times_ms, timed, refused = to_ms(rows, time_place, table.time.style())
            faults += [(row, table.time.column, reason) for row, reason in refused if good[row]]
            good &= timed
            faults += reader.read(rows, times_ms, good)
            for row, column, reason in sorted(faults, key=lambda fault: fault[0]):
                self._rejects.add(Reject(str(path), int(rows.lines[row]), column, reason, rows.raw(row)))

    def _reader(self, source: Source) -> WideReader | LongReader | EventReader:
        if source.table.wide:
            return WideReader(source, self._readings)
        if source.table.long:
            return LongReader(source, self._readings)
        return EventReader(source, self._readings.catalog, self._events)


def _widened(header: tuple[str, ...], first: Iterator[tuple[tokens.Rows, int, int]]) -> tuple[str, ...]:
    """The header with a column without a name, where the first rows have one cell more than it.

    R writes the numbers of rows before a header that does not name them; others end every row with a delimiter.
    """
    rows = next(first, None)
    if rows is None or not (rows[0].counts == len(header) + 1).all():
        return header
    trailing = all(not rows[0].text(row, len(header)) for row in range(len(rows[0])))
    return (*header, "") if trailing else ("", *header)


def _shapes(rows: tokens.Rows, width: int) -> tuple[NDArray[np.bool_], list[Fault]]:
    """Which rows have the shape of the header, and what is wrong with the others."""
    good = (rows.counts == width) & (rows.flags == 0)
    faults: list[Fault] = []
    for row in np.nonzero(~good)[0].tolist():
        spoilt = "a quote is not closed, or text follows one that closes"
        count = f"the row has {int(rows.counts[row])} cells, the header {width}"
        faults.append((row, "", spoilt if rows.flags[row] else count))
    return good, faults
