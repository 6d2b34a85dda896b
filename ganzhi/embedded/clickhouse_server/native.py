"""The Native format as clients of the newer protocol want it, clickhouse-go (and so Grafana) above all.

The engine writes Native as for a client of no protocol version. With `client_protocol_version` of 54454 or more, a
block begins with its info, and each column has a byte between type and data that says "no custom serialization". Where
a column ends follows from its type alone, so the data are walked over and never decoded.
"""

import re
from collections.abc import Callable
from functools import lru_cache

from ganzhi.embedded.clickhouse_server.codes import NOT_IMPLEMENTED, refused
from ganzhi.embedded.clickhouse_server.formats import read_varint

CUSTOM_SERIALIZATION_VERSION = 54454
#: is_overflows = 0, bucket_num = -1, end of the fields.
_BLOCK_INFO = b"\x01\x00\x02\xff\xff\xff\xff\x00"

#: Position behind what is skipped, from (data, position, rows).
_Skip = Callable[[memoryview, int, int], int]

_FIXED_BYTES = {
    **dict.fromkeys(("UInt8", "Int8", "Bool", "Enum8", "Nothing"), 1),
    **dict.fromkeys(("UInt16", "Int16", "Date", "Enum16", "BFloat16"), 2),
    **dict.fromkeys(("UInt32", "Int32", "Float32", "Date32", "DateTime", "IPv4", "Decimal32", "Time"), 4),
    **dict.fromkeys(("UInt64", "Int64", "Float64", "DateTime64", "Decimal64", "Time64"), 8),
    **dict.fromkeys(("UInt128", "Int128", "UUID", "IPv6", "Decimal128"), 16),
    **dict.fromkeys(("UInt256", "Int256", "Decimal256"), 32),
}
_ALIASES = {
    "Point": "Tuple(Float64, Float64)",
    "Ring": "Array(Point)",
    "LineString": "Array(Point)",
    "Polygon": "Array(Ring)",
    "MultiLineString": "Array(LineString)",
    "MultiPolygon": "Array(Polygon)",
}
_PIECES = re.compile(r"'(?:[^'\\]|\\.|'')*'|`(?:[^`\\]|\\.)*`|[(),]|[^(),'`]+")
_NAMED_ELEMENT = re.compile(r"^(?:`(?:[^`\\]|\\.)*`|\w+) +(?=[A-Z])")


def with_protocol(blocks: bytes) -> bytes:
    """Rewrites whole Native blocks for a client of version 54454 or newer.

    Raises:
        ClickHouseRefused: NOT_IMPLEMENTED for a column whose type does not tell its length (JSON, Dynamic, Variant,
            states of aggregate functions).
    """
    data = memoryview(blocks)
    parts: list[bytes | memoryview] = []
    position = 0
    while position < len(data):
        start = position
        columns, position = read_varint(data, position)
        rows, position = read_varint(data, position)
        parts += (_BLOCK_INFO, data[start:position])
        for _ in range(columns):
            start = position
            size, position = read_varint(data, position)
            size, type_start = read_varint(data, position + size)
            position = type_start + size
            prefix_bytes, skip = _walker(bytes(data[type_start:position]).decode())
            parts += (data[start:position], b"\x00")
            start = position
            if rows:
                position = skip(data, position + prefix_bytes, rows)
            parts.append(data[start:position])
    return b"".join(parts)


@lru_cache(maxsize=1024)
def _walker(kind: str) -> tuple[int, _Skip]:
    """Bytes of a column's state before its data, and how its data are skipped."""
    name, arguments = _parsed(kind)
    fixed = _fixed_bytes(name, arguments)
    if fixed:
        return 0, lambda _, position, rows: position + rows * fixed
    if name in _ALIASES:
        return _walker(_ALIASES[name])
    if name == "String":
        return 0, _skip_strings
    if name == "SimpleAggregateFunction":
        return _walker(arguments[-1])
    if name == "LowCardinality":
        return 8, _low_cardinality(arguments[0])
    if name == "Nested":
        return _array(f"Tuple({', '.join(arguments)})")
    if name == "Map":
        return _array(f"Tuple({', '.join(arguments)})")
    if name == "Array":
        return _array(arguments[0])
    if name == "Tuple":
        return _tuple(arguments)
    if name == "Nullable":
        prefix_bytes, inner = _walker(arguments[0])
        return prefix_bytes, lambda data, position, rows: inner(data, position + rows, rows)
    raise refused(
        NOT_IMPLEMENTED, f"a column of type {kind} cannot be sent in Native to this client; cast it to String"
    )


def _fixed_bytes(name: str, arguments: list[str]) -> int:
    """Bytes of a value, 0 where they differ."""
    if name == "FixedString":
        return int(arguments[0])
    if name == "Decimal":
        digits = int(arguments[0])
        return 4 if digits <= 9 else 8 if digits <= 18 else 16 if digits <= 38 else 32
    return 8 if name.startswith("Interval") else _FIXED_BYTES.get(name, 0)


def _parsed(kind: str) -> tuple[str, list[str]]:
    """`Name(a, b(c))` as name and arguments."""
    name, _, _ = kind.partition("(")
    arguments: list[str] = []
    depth = 0
    current = ""
    for piece in _PIECES.findall(kind[len(name) :]):
        depth += (piece == "(") - (piece == ")")
        if depth == 0 or (depth == 1 and piece in ("(", ",") and not current):
            continue
        if depth == 1 and piece == ",":
            arguments.append(current.strip())
            current = ""
        else:
            current += piece
    return name.strip(), [*arguments, current.strip()] if current.strip() else arguments


def _skip_strings(data: memoryview, position: int, rows: int) -> int:
    for _ in range(rows):
        size = data[position]
        position += 1
        if size > 127:
            size, position = read_varint(data, position - 1)
        position += size
    return position


def _array(inner_kind: str) -> tuple[int, _Skip]:
    prefix_bytes, inner = _walker(inner_kind)

    def skip(data: memoryview, position: int, rows: int) -> int:
        if rows == 0:
            return position
        end = position + 8 * rows
        return inner(data, end, int.from_bytes(data[end - 8 : end], "little"))

    return prefix_bytes, skip


def _tuple(kinds: list[str]) -> tuple[int, _Skip]:
    elements = [_walker(_NAMED_ELEMENT.sub("", kind)) for kind in kinds]

    def skip(data: memoryview, position: int, rows: int) -> int:
        for _, inner in elements:
            position = inner(data, position, rows)
        return position

    return sum(prefix_bytes for prefix_bytes, _ in elements), skip


def _low_cardinality(kind: str) -> _Skip:
    """Keys of the block, then an index per row; the keys of a nullable type have no map of nulls."""
    name, arguments = _parsed(kind)
    _, keys = _walker(arguments[0] if name == "Nullable" else kind)

    def skip(data: memoryview, position: int, rows: int) -> int:
        if rows == 0:
            return position
        index_bytes = 1 << (data[position] & 15)
        count = int.from_bytes(data[position + 8 : position + 16], "little")
        position = keys(data, position + 16, count)
        return position + 8 + index_bytes * int.from_bytes(data[position : position + 8], "little")

    return skip
