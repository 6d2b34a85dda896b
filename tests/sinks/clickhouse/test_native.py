"""Native blocks against the engine itself: what is encoded is what a query gives back."""

import datetime as dt
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.settings import ClickHouseSettings
from sinks.clickhouse import native
from sinks.clickhouse.client import writer

INTS = {
    "UInt8": (0, 8),
    "UInt16": (0, 16),
    "UInt32": (0, 32),
    "UInt64": (0, 64),
    "Int8": (1, 8),
    "Int16": (1, 16),
    "Int32": (1, 32),
    "Int64": (1, 64),
}
ENUM = "Enum8('a' = 0, 'b' = 1)"
SAVED = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def client(clickhouse: ClickHouseSettings) -> Iterator[Client]:
    """A writer on a database of this test's own."""
    made = writer(clickhouse)
    yield made
    made.close()


def stored(client: Client, columns: list[native.Column]) -> list[tuple[Any, ...]]:
    """Makes a table of the columns' types, inserts the block, and returns the rows in order."""
    kinds = ", ".join(f"`{column.name}` {column.type}" for column in columns)
    client.command(f"CREATE OR REPLACE TABLE t (n UInt32, {kinds}) ENGINE = MergeTree ORDER BY n")
    numbered = [native.number("n", "UInt32", np.arange(columns[0].rows)), *columns]
    client.raw_insert(
        "t",
        insert_block=native.block(numbered),
        fmt="Native",
        settings={"input_format_native_allow_types_conversion": 0},
    )
    return list(client.query("SELECT * EXCEPT n FROM t ORDER BY n", query_formats={"*String": "bytes"}).result_rows)


@given(st.data())
@SAVED
def test_numbers(client: Client, data: st.DataObject) -> None:
    """Integers of every width to their ends, floats, booleans, enums, days and times come back as they were."""
    n = data.draw(st.integers(1, 30))
    columns, wanted = [], []
    for kind, (signed, bits) in INTS.items():
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        values = data.draw(st.lists(st.integers(low, high) | st.sampled_from((low, high)), min_size=n, max_size=n))
        columns.append(native.number(f"c{kind}", kind, np.array(values, np.int64 if signed else np.uint64)))
        wanted.append(values)
    floats = data.draw(st.lists(st.floats(allow_nan=False), min_size=n, max_size=n))
    days = data.draw(st.lists(st.integers(-25_567, 120_529), min_size=n, max_size=n))
    times = data.draw(st.lists(st.integers(-(10**12), 9 * 10**12), min_size=n, max_size=n))
    bits = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
    epoch = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - the client gives times in UTC without a zone
    columns += [
        native.number("f", "Float64", np.array(floats)),
        native.number("d", "Date32", np.array(days)),
        native.number("t", native.TIME, np.array(times)),
        native.number("e", ENUM, np.array(bits, np.int64)),
        native.number("b", "Bool", np.array(bits)),
    ]
    wanted += [floats, [dt.date(1970, 1, 1) + dt.timedelta(day) for day in days]]
    wanted += [[epoch + dt.timedelta(milliseconds=t) for t in times], ["ab"[bit] for bit in bits], bits]
    assert stored(client, columns) == list(zip(*wanted, strict=True))


@given(st.data())
@SAVED
def test_texts(client: Client, data: st.DataObject) -> None:
    """Bytes of any length, dictionaries, fixed strings, arrays, nulls and decimals come back as they were."""
    n = data.draw(st.integers(1, 20))
    blobs = data.draw(st.lists(st.binary(max_size=300), min_size=n, max_size=n))
    lists = data.draw(st.lists(st.lists(st.text(max_size=5), max_size=4), min_size=n, max_size=n))
    keys = data.draw(st.lists(st.text(max_size=5), min_size=n, max_size=n))
    nulls = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
    cents = data.draw(st.lists(st.integers(-(10**30), 10**30), min_size=n, max_size=n))
    lengths = np.array([len(blob) for blob in blobs])
    flat = native.strings("a", [text for texts in lists for text in texts])
    columns = [
        native.strings("s", blobs),
        native.blobs("v", np.frombuffer(b"".join(blobs), np.uint8), np.cumsum(lengths) - lengths, lengths),
        native.fixed("x", 4, [blob[:4].ljust(4, b"_") for blob in blobs]),
        native.names("l", keys),
        native.array(flat, np.array([len(texts) for texts in lists])),
        native.nullable(native.number("o", "Int64", np.array(range(n))), np.array(nulls)),
        native.nullable(native.strings("p", blobs), np.array(nulls)),
        native.decimal("d", 12, cents),
    ]
    rows = stored(client, columns)
    for i, row in enumerate(rows):
        s, v, x, name, texts, o, p, d = row
        assert (s, v, x) == (blobs[i], blobs[i], blobs[i][:4].ljust(4, b"_"))
        assert (_text(name), [_text(t) for t in texts]) == (keys[i], lists[i])
        assert (o, p) == ((None, None) if nulls[i] else (i, blobs[i]))
        assert Fraction(d) * 10**12 == cents[i]


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()


@pytest.mark.parametrize("size", [1, 256, 257, 65_536, 65_537])
def test_dictionaries_of_every_width(client: Client, size: int) -> None:
    """Indices of one, two and four bytes are read as they are written, at the edges too."""
    keys = [f"k{i}" for i in range(size)]
    index = np.array([0, size - 1, size // 2])
    rows = stored(client, [native.low_cardinality("l", keys, index)])
    assert [_text(row[0]) for row in rows] == [keys[i] for i in index]


def test_wrong_type_is_refused(client: Client) -> None:
    """A block whose type is not the table's is refused and not converted."""
    client.command("CREATE TABLE wrong (a Int64) ENGINE = MergeTree ORDER BY a")
    block = native.block([native.number("a", "Int32", np.array([1]))])
    with pytest.raises(Exception, match=r"Int32|type"):
        client.raw_insert(
            "wrong", insert_block=block, fmt="Native", settings={"input_format_native_allow_types_conversion": 0}
        )
