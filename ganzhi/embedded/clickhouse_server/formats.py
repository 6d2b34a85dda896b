"""Output formats: their content type, which can be sent piece by piece, and how the pieces are put together.

The engine writes each piece as a document of its own. Where the format is rows and nothing else, the pieces simply
follow each other; where it begins with a header, the header of all pieces but the first is cut off; an Arrow stream
loses its end mark as well.
"""

import re
from collections.abc import Callable

_PLAIN = {
    *(
        "Native",
        "RowBinary",
        "TabSeparated",
        "TSV",
        "TabSeparatedRaw",
        "TSVRaw",
        "Raw",
        "CSV",
        "TSKV",
        "LineAsString",
        "RawBLOB",
    ),
    *("JSONEachRow", "JSONLines", "NDJSON", "JSONStringsEachRow", "JSONCompactEachRow", "JSONCompactStringsEachRow"),
}
_CONTENT = (
    (re.compile(r"JSON(EachRow|Lines|.*EachRow.*)$|NDJSON$"), "application/x-ndjson; charset=UTF-8"),
    (re.compile(r"JSON|GeoJSON"), "application/json; charset=UTF-8"),
    (re.compile(r"CSV.*WithNames"), "text/csv; charset=UTF-8; header=present"),
    (re.compile(r"CSV"), "text/csv; charset=UTF-8; header=absent"),
    (re.compile(r"(TabSeparated|TSV|TSKV)"), "text/tab-separated-values; charset=UTF-8"),
    (
        re.compile(r"(Native|RowBinary|Parquet|ORC|Avro|MsgPack|Npy|BSON|Protobuf|CapnProto)"),
        "application/octet-stream",
    ),
    (re.compile(r"Arrow"), "application/vnd.apache.arrow.file"),
    (re.compile(r"XML"), "application/xml; charset=UTF-8"),
)
_END_OF_ARROW = b"\xff\xff\xff\xff\x00\x00\x00\x00"


def content_type(name: str) -> str:
    """The Content-Type of a result in this format."""
    if name == "ArrowStream":
        return "application/vnd.apache.arrow.stream"
    return next((kind for pattern, kind in _CONTENT if pattern.match(name)), "text/plain; charset=UTF-8")


def joiner(name: str) -> Callable[[bytes, bool], bytes] | None:
    """How pieces in this format become one document.

    Returns:
        A function of (piece, first), to be called for each piece in order; None where pieces cannot be joined, and the
        result has to be made as a whole.
    """
    if name in _PLAIN:
        return lambda piece, _: piece
    if name == "ArrowStream":
        return _arrow_stream
    measure = _MEASURES.get(name)
    return None if measure is None else lambda piece, first: piece if first else piece[measure(piece) :]


def tail(name: str) -> bytes:
    """What ends a document that was put together by `joiner`."""
    return _END_OF_ARROW if name == "ArrowStream" else b""


def _arrow_stream(piece: bytes, first: bool) -> bytes:
    """A stream without its end mark, and, after the first, without its schema message (which has no body)."""
    end = len(piece) - len(_END_OF_ARROW) if piece.endswith(_END_OF_ARROW) else len(piece)
    start = 0 if first else 8 + int.from_bytes(piece[4:8], "little")
    return piece[start:end]


def _lines(count: int) -> Callable[[bytes], int]:
    def measure(piece: bytes) -> int:
        end = 0
        for _ in range(count):
            end = piece.index(b"\n", end) + 1
        return end

    return measure


def _csv(count: int) -> Callable[[bytes], int]:
    """Lines whose quoted fields may hold line ends."""
    line = re.compile(rb'(?:[^"\n]|"(?:[^"]|"")*")*\n')

    def measure(piece: bytes) -> int:
        end = 0
        for _ in range(count):
            match = line.match(piece, end)
            end = match.end() if match else len(piece)
        return end

    return measure


def varint(number: int) -> bytes:
    """LEB128, as in Native and RowBinary."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_varint(data: bytes | memoryview, position: int) -> tuple[int, int]:
    """Reads one: the number, and the position behind it."""
    number = shift = 0
    while True:
        byte = data[position]
        position += 1
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return number, position


def _row_binary(strings_a_column: int) -> Callable[[bytes], int]:
    def measure(piece: bytes) -> int:
        columns, position = read_varint(piece, 0)
        for _ in range(columns * strings_a_column):
            length, position = read_varint(piece, position)
            position += length
        return position

    return measure


_MEASURES: dict[str, Callable[[bytes], int]] = {
    **{
        f"{base}WithNames": _lines(1)
        for base in (
            "TabSeparated",
            "TSV",
            "TabSeparatedRaw",
            "TSVRaw",
            "JSONCompactEachRow",
            "JSONCompactStringsEachRow",
        )
    },
    **{
        f"{base}WithNamesAndTypes": _lines(2)
        for base in ("TabSeparated", "TSV", "TabSeparatedRaw", "TSVRaw", "JSONCompactEachRow")
    },
    "JSONCompactStringsEachRowWithNamesAndTypes": _lines(2),
    "CSVWithNames": _csv(1),
    "CSVWithNamesAndTypes": _csv(2),
    "RowBinaryWithNames": _row_binary(1),
    "RowBinaryWithNamesAndTypes": _row_binary(2),
}


def native_header(columns: list[tuple[str, str]]) -> bytes:
    """A Native block of no rows: names and types.

    The engine gives no bytes at all for an empty result, and clients want these.
    """
    parts = [varint(len(columns)), varint(0)]
    for column in columns:
        for text in column:
            raw = text.encode(errors="surrogateescape")
            parts.append(varint(len(raw)) + raw)
    return b"".join(parts)
