"""Cells of CSV text are found where Python's csv module finds them, with their lines."""

import csv
import io

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.sources import tokens

CELL = st.text(st.sampled_from('ab1 ,;"\n\r.é'), max_size=6)


def cells(raw: bytes, columns: int, rows_max: int = 0) -> list[list[str]]:
    """All rows by the kernel, as lists of texts."""
    found = []
    for rows, _, _ in tokens.scan(tokens.decode(raw, "utf-8"), ",", columns, rows_max=rows_max):
        found += [[rows.text(row, column) for column in range(columns)] for row in range(len(rows))]
    return found


@settings(deadline=None)
@given(st.lists(st.tuples(CELL, CELL, CELL), max_size=12), st.sampled_from(["\n", "\r\n"]), st.integers(0, 3))
def test_cells_are_those_of_the_csv_module(rows: list[tuple[str, str, str]], ends: str, rows_max: int) -> None:
    """What csv.writer writes is read back cell by cell, however few rows are read at a time."""
    out = io.StringIO()
    csv.writer(out, lineterminator=ends, quoting=csv.QUOTE_ALL).writerows(rows)

    assert cells(out.getvalue().encode(), 3, rows_max) == [[cell.strip() for cell in row] for row in rows]


@settings(deadline=None)
@given(st.lists(st.lists(st.text(st.sampled_from("ab1 .-é"), max_size=5), min_size=1, max_size=5), max_size=12))
def test_unquoted_rows_are_those_of_the_csv_module(rows: list[list[str]]) -> None:
    """Rows of any width have the cells and the counts that csv.reader finds; blank lines are no rows."""
    text = "\n".join(",".join(row) for row in rows)
    expected = [row for row in csv.reader(io.StringIO(text)) if row]
    found = [
        (int(rows.counts[row]), [rows.text(row, c) for c in range(min(5, int(rows.counts[row])))])
        for rows, _, _ in tokens.scan(tokens.decode(text.encode(), "utf-8"), ",", 5)
        for row in range(len(rows))
    ]

    assert found == [(len(row), [cell.strip() for cell in row]) for row in expected]


def test_lines_count_breaks_inside_cells_and_blank_lines() -> None:
    """A row is reported with the line on which it begins, in files with quoted line breaks and blank lines."""
    raw = b'h\r\n"one\nmore",2\r\n\r\n3,4\n'
    rows, _, _ = next(tokens.scan(tokens.decode(raw, "utf-8"), ",", 2))

    assert rows.lines.tolist() == [1, 2, 5]
    assert rows.raw(1) == '"one\nmore",2'


def test_a_bad_quote_spoils_its_own_line_only() -> None:
    """A quote that is never closed, or text behind a closing one, flags one row; the next lines are read as usual."""
    raw = b'1,"open\n2,ok\n3,"a"b\n4,ok\n'
    rows, _, _ = next(tokens.scan(tokens.decode(raw, "utf-8"), ",", 2))

    assert rows.flags.tolist() == [tokens.QUOTES_BAD, 0, tokens.QUOTES_BAD, 0]
    assert [rows.text(row, 1) for row in (1, 3)] == ["ok", "ok"]
    assert rows.raw(0) == '1,"open'


def test_other_encodings_marks_and_line_ends() -> None:
    """GB 18030, a byte-order mark and lines that end with CR alone are read as the same text."""
    assert tokens.decode("点,1\n".encode("gb18030"), "gb18030").tobytes() == "点,1\n".encode()
    assert tokens.decode(b"\xef\xbb\xbfa\r\nb", "utf-8").tobytes() == b"a\r\nb"
    assert cells(b"a,1\rb,2\r", 2) == [["a", "1"], ["b", "2"]]


@settings(deadline=None)
@given(st.lists(st.text(max_size=4), max_size=60))
def test_texts_are_numbered_in_the_order_of_their_first_appearance(texts: list[str]) -> None:
    """Equal texts have equal numbers, different ones different numbers, and each points to its first row."""
    raws = [text.encode() for text in texts]
    ends = [sum(map(len, raws[: index + 1])) for index in range(len(raws))]
    starts = [end - len(raw) for raw, end in zip(raws, ends, strict=True)]
    buffer = np.frombuffer(b"".join(raws), np.uint8)
    codes, firsts = tokens.intern(buffer, np.array(starts, np.int64), np.array(ends, np.int64))
    order = list(dict.fromkeys(texts))

    assert codes.tolist() == [order.index(text) for text in texts]
    assert [texts[row] for row in firsts.tolist()] == order


def test_texts_of_one_length_are_told_apart() -> None:
    """Ten thousand texts of four digits, many of which meet in one slot of the table, keep numbers of their own."""
    texts = [f"{number * 7919 % 10_000:04d}" for number in range(10_000)] * 2
    starts = np.arange(len(texts), dtype=np.int64) * 4
    codes, firsts = tokens.intern(np.frombuffer("".join(texts).encode(), np.uint8), starts, starts + 4)

    assert codes.tolist() == list(range(10_000)) * 2
    assert firsts.size == 10_000


def test_the_compiled_kernels_ran() -> None:
    """Numba was not switched off."""
    cells(b"a,b\n", 2)
    assert tokens._scan.signatures
