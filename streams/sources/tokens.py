"""CSV text to the places of its cells: which bytes of the file are which column of which line.

A kernel finds cells without making a Python object for any of them; `decimals` and `times` read numbers and times at
those places. It keeps what a report of a bad row needs: the line on which a row begins and its bytes. RFC 4180 with
freedom: any delimiter, LF or CRLF, quoted cells with doubled quotes and line breaks, blank lines skipped. A quote that
is never closed, or text behind a closing quote, spoils its own line and no other.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numba
import numpy as np
from numpy.typing import NDArray

QUOTES_BAD: Final = 1
_QUOTE: Final = 0x22
_LF: Final = 0x0A
_CR: Final = 0x0D
_CELLS_AT_ONCE: Final = 1 << 21  # two int64 a cell: 32 MB of places, whatever the file is


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a file, as places in its bytes.

    Attributes:
        buffer: all bytes of the file, UTF-8.
        starts: int64[rows, columns], first byte of each cell, behind its quote if it has one.
        ends: int64[rows, columns], byte behind the last; equal to the start where a row has no such cell.
        counts: int32[rows], cells that the row has, which may be other than the number of columns.
        lines: int64[rows], line of the file on which the row begins, from 1.
        spans: int64[rows, 2], first byte of the row and the byte behind its last.
        flags: int8[rows], 0 or QUOTES_BAD.
    """

    buffer: NDArray[np.uint8]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    counts: NDArray[np.int32]
    lines: NDArray[np.int64]
    spans: NDArray[np.int64]
    flags: NDArray[np.int8]

    def __len__(self) -> int:
        return int(self.lines.size)

    def text(self, row: int, column: int) -> str:
        """Text of a cell, doubled quotes made single, without spaces around it."""
        start, end = int(self.starts[row, column]), int(self.ends[row, column])
        text = self.buffer[start:end].tobytes().decode("utf-8", "replace").strip()
        return text.replace('""', '"') if start and self.buffer[start - 1] == _QUOTE else text

    def raw(self, row: int) -> str:
        """The row as it stands in the file."""
        start, end = self.spans[row].tolist()
        return self.buffer[start:end].tobytes().decode("utf-8", "replace")


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _line_end(buffer: NDArray[np.uint8], at: int) -> int:
    while at < buffer.size and buffer[at] != 0x0A:
        at += 1
    return at


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _closing(buffer: NDArray[np.uint8], at: int) -> int:
    """The place of the quote that closes a cell whose text begins at `at`; the end of the file where none does."""
    while at < buffer.size:
        if buffer[at] == 0x22:
            if at + 1 < buffer.size and buffer[at + 1] == 0x22:
                at += 1
            else:
                return at
        at += 1
    return at


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _scan(  # noqa: C901  written for the compiler: plain branches
    buffer: NDArray[np.uint8],
    at: int,
    line: int,
    delimiter: int,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    counts: NDArray[np.int32],
    lines: NDArray[np.int64],
    spans: NDArray[np.int64],
    flags: NDArray[np.int8],
) -> tuple[int, int, int]:
    """Fills the arrays from byte `at` on; returns the rows found, the next byte and the next line."""
    rows = 0
    size = buffer.size
    columns = starts.shape[1]
    while at < size and rows < lines.size:
        first = at
        column = 0
        bad = False
        breaks = 0
        while True:  # one cell each time round
            start = at
            if at < size and buffer[at] == 0x22:
                start = at + 1
                end = _closing(buffer, start)
                at = end + 1
                for place in range(start, min(end, size)):
                    if buffer[place] == 0x0A:
                        breaks += 1
                if end >= size or (at < size and buffer[at] != delimiter and buffer[at] != 0x0A and buffer[at] != 0x0D):
                    bad = True
                    break
                while at < size and buffer[at] == 0x0D:
                    at += 1
                if at < size and buffer[at] != delimiter and buffer[at] != 0x0A:
                    bad = True
                    break
            else:
                while at < size and buffer[at] != delimiter and buffer[at] != 0x0A:
                    at += 1
                end = at
                if end > start and buffer[end - 1] == 0x0D and (at >= size or buffer[at] == 0x0A):
                    end -= 1
            if column < columns:
                starts[rows, column] = start
                ends[rows, column] = end
            column += 1
            if at >= size or buffer[at] == 0x0A:
                break
            at += 1
        if bad:
            at = _line_end(buffer, first)
            breaks = 0
        last = at
        if last > first and last <= size and buffer[last - 1] == 0x0D:
            last -= 1
        at += 1
        blank = column == 1 and not bad and last == first
        if not blank:
            counts[rows] = column
            lines[rows] = line
            spans[rows, 0] = first
            spans[rows, 1] = last
            flags[rows] = 1 if bad else 0
            for missing in range(0 if bad else column, columns):
                starts[rows, missing] = last
                ends[rows, missing] = last
            rows += 1
        line += 1 + breaks
    return rows, at, line


def decode(raw: bytes, encoding: str) -> NDArray[np.uint8]:
    """The bytes of a file as UTF-8 without a byte-order mark; what is not in the encoding becomes U+FFFD.

    Raises:
        LookupError: there is no such encoding.
    """
    if encoding.lower().replace("_", "-") not in ("utf-8", "utf8", "utf-8-sig", "ascii"):
        raw = raw.decode(encoding, "replace").encode("utf-8")
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    if b"\n" not in raw and b"\r" in raw:
        raw = raw.replace(b"\r", b"\n")
    return np.frombuffer(raw, np.uint8)


def skip_lines(buffer: NDArray[np.uint8], count: int) -> int:
    """The byte behind the first `count` lines."""
    at = 0
    for _ in range(count):
        at = min(_line_end(buffer, at) + 1, buffer.size)
    return at


def scan(
    buffer: NDArray[np.uint8], delimiter: str, columns: int, at: int = 0, line: int = 1, rows_max: int = 0
) -> Iterator[tuple[Rows, int, int]]:
    """Finds the cells of a file, some rows at a time.

    Args:
        buffer: the bytes, UTF-8.
        delimiter: one ASCII character.
        columns: how many cells of a row to keep places of; more are counted only.
        at: byte to begin at.
        line: line on which it is.
        rows_max: rows at a time; 0: as many as fit into some 32 MB of places.

    Yields:
        Rows, the byte and the line behind them.
    """
    rows_max = rows_max or max(1, _CELLS_AT_ONCE // max(1, columns))
    while at < buffer.size:
        starts = np.zeros((rows_max, columns), np.int64)
        ends = np.zeros((rows_max, columns), np.int64)
        counts = np.zeros(rows_max, np.int32)
        lines = np.zeros(rows_max, np.int64)
        spans = np.zeros((rows_max, 2), np.int64)
        flags = np.zeros(rows_max, np.int8)
        found, at, line = _scan(buffer, at, line, ord(delimiter), starts, ends, counts, lines, spans, flags)
        if found:
            kept = slice(0, found)
            rows = Rows(buffer, starts[kept], ends[kept], counts[kept], lines[kept], spans[kept], flags[kept])
            yield rows, at, line


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _same(buffer: NDArray[np.uint8], first: int, first_end: int, second: int, second_end: int) -> bool:
    if first_end - first != second_end - second:
        return False
    for step in range(first_end - first):  # noqa: SIM110  Numba compiles no generator in all()
        if buffer[first + step] != buffer[second + step]:
            return False
    return True


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _intern(
    buffer: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    table: NDArray[np.int64],
    codes: NDArray[np.int64],
    firsts: NDArray[np.int64],
) -> int:
    known = 0
    mask = np.uint64(table.size - 1)
    for row in range(starts.size):
        value = np.uint64(14695981039346656037)
        for place in range(starts[row], ends[row]):
            value = (value ^ np.uint64(buffer[place])) * np.uint64(1099511628211)
        slot = (value ^ (value >> np.uint64(32))) & mask
        while True:
            code = table[slot]
            if code < 0:
                table[slot] = known
                firsts[known] = row
                codes[row] = known
                known += 1
                break
            first = firsts[code]
            if _same(buffer, starts[first], ends[first], starts[row], ends[row]):
                codes[row] = code
                break
            slot = (slot + np.uint64(1)) & mask
    return known


def intern(
    buffer: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers the different texts of a column in the order in which they appear.

    Returns:
        The number of each row's text, int64[rows], and the row in which each text appears first.
    """
    size = int(starts.size)
    table = np.full(1 << max(4, (2 * size).bit_length()), -1, np.int64)
    codes = np.empty(size, np.int64)
    firsts = np.empty(size, np.int64)
    known = _intern(buffer, np.ascontiguousarray(starts), np.ascontiguousarray(ends), table, codes, firsts)
    return codes, firsts[:known].copy()
