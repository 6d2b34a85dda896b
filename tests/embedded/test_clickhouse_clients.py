"""clickhouse-connect over HTTP against the embedded ClickHouse: everything that ganzhi and an analyst use of it."""

from __future__ import annotations

import datetime as dt
import gzip
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

from ganzhi.embedded.clickhouse_server import spool

TABLE = "CREATE TABLE t (k UInt32, s String, v Float64) ENGINE = MergeTree ORDER BY k"


def native(rows: list[tuple[int, str, float]]) -> bytes:
    """One Native block of TABLE, encoded by hand: the format that the sink writes."""
    keys, texts, values = zip(*rows, strict=True)
    columns = [
        (b"k", b"UInt32", np.array(keys, "<u4").tobytes()),
        (b"s", b"String", b"".join(bytes([len(text)]) + text.encode() for text in texts)),
        (b"v", b"Float64", np.array(values, "<f8").tobytes()),
    ]
    head = bytes([len(columns), len(rows)])
    return head + b"".join(bytes([len(n)]) + n + bytes([len(t)]) + t + data for n, t, data in columns)


def test_query_gives_rows_names_and_types(writer: Any) -> None:
    """query: values of many types arrive as Python has them."""
    text = (
        "SELECT toUInt8(1) a, 'ü''\\n' b, toDecimal64('1.25', 2) c, toDate('2026-01-02') d, [1, NULL] e, map('k', 2) f"
    )
    result = writer.query(text)
    assert result.column_names == ("a", "b", "c", "d", "e", "f")
    assert result.result_rows == [(1, "ü'\n", Decimal("1.25"), dt.date(2026, 1, 2), [1, None], {"k": 2})]


@pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip"])
def test_insert_and_query_with_each_compression(
    connect: Callable[..., Any], database: str, compress: str | bool
) -> None:
    """Insert and query: 200,000 rows survive both ways, with each compression of bodies and replies."""
    client = connect(database=database, compress=compress)
    client.command(TABLE)
    keys = list(range(200_000))
    summary = client.insert(
        "t",
        [keys, [f"name {key}" for key in keys], [key / 7 for key in keys]],
        column_names=["k", "s", "v"],
        column_oriented=True,
    )
    assert summary.written_rows == len(keys)
    result = client.query("SELECT k, s, v FROM t ORDER BY k")
    assert result.result_columns[0] == keys
    assert result.result_columns[1][-1] == "name 199999"
    assert result.result_columns[2][7] == 1.0


def test_frames_arrays_and_arrow(writer: Any) -> None:
    """query_df, query_np, query_arrow and their streams, insert_df and insert_arrow: the same numbers everywhere."""
    writer.command(TABLE)
    frame = pd.DataFrame({"k": np.arange(100_000, dtype="u4"), "s": "x", "v": np.arange(100_000) / 4})
    writer.insert_df("t", frame)
    table = pa.table({"k": pa.array(range(100_000, 200_000), pa.uint32()), "s": ["y"] * 100_000, "v": [0.5] * 100_000})
    writer.insert_arrow("t", table)

    total = sum(range(200_000))
    text = "SELECT k, v FROM t ORDER BY k"
    assert writer.query_df(text)["k"].sum() == total
    assert writer.query_np(text)["k"].sum() == total
    arrow = writer.query_arrow(text)
    assert arrow.num_rows == 200_000
    assert pc.sum(arrow["k"]).as_py() == total
    with writer.query_arrow_stream(text) as stream:
        assert sum(pc.sum(batch["k"]).as_py() for batch in stream) == total
    with writer.query_df_stream(text) as stream:
        assert sum(int(part["k"].sum()) for part in stream) == total
    with writer.query_np_stream(text) as stream:
        assert sum(int(part["k"].sum()) for part in stream) == total
    with writer.query_column_block_stream(text) as stream:
        assert sum(sum(block[0]) for block in stream) == total
    with writer.query_rows_stream(text) as stream:
        assert [row[0] for row in stream] == list(range(200_000))


@pytest.mark.parametrize(
    ("output_format", "header_lines"),
    [
        ("CSV", 0),
        ("CSVWithNames", 1),
        ("TSVWithNamesAndTypes", 2),
        ("JSONEachRow", 0),
        ("JSONCompactEachRowWithNamesAndTypes", 2),
    ],
)
def test_long_results_are_one_document(writer: Any, output_format: str, header_lines: int) -> None:
    """A result of several blocks has its header once, in each format that is sent in pieces."""
    raw = writer.raw_query("SELECT number AS n, 'a\nb' AS x FROM numbers(300000)", fmt=output_format)
    records = raw.decode().count("299999")
    names = raw.decode().count('"n"') + raw.decode().count("n\tx")
    assert records >= 1
    if output_format != "JSONEachRow":
        assert names == (1 if header_lines else 0)
    assert raw.endswith(b"\n")


def test_row_binary_with_types_is_one_document(writer: Any) -> None:
    """RowBinaryWithNamesAndTypes, which JDBC clients use: one header, then every row."""
    raw = writer.raw_query("SELECT number AS n FROM numbers(300000)", fmt="RowBinaryWithNamesAndTypes")
    header = b"\x01\x01n\x06UInt64"
    assert raw.startswith(header)
    assert np.array_equal(np.frombuffer(raw[len(header) :], "<u8"), np.arange(300_000, dtype="u8"))


def test_totals_come_behind_the_rows(writer: Any) -> None:
    """WITH TOTALS: the totals of a result that is sent in pieces are not lost."""
    raw = writer.raw_query(
        "SELECT number % 2 AS x, count() FROM numbers(10) GROUP BY x WITH TOTALS ORDER BY x", fmt="TSV"
    )
    assert raw == b"0\t5\n1\t5\n\n0\t10\n"


def test_empty_results_carry_names_and_types(writer: Any) -> None:
    """An empty Native result has its header; so have Arrow, CSVWithNames and RowBinaryWithNamesAndTypes."""
    writer.command(TABLE)
    assert writer.raw_query("SELECT k, s FROM t", fmt="Native") == b"\x02\x00\x01k\x06UInt32\x01s\x06String"
    result = writer.query("SELECT k, s AS `the s` FROM t WHERE k > {least:UInt32} -- nothing", parameters={"least": 3})
    assert result.column_names == ("k", "the s")
    assert result.row_count == 0
    operators = "SELECT k::UInt8 AS x, s || '!' AS y FROM t WHERE k != 3 AND k <= 9 AND arrayAll(n -> n != k, [1])"
    assert writer.query(operators).column_names == ("x", "y")
    assert writer.query_arrow("SELECT k, s FROM t").column_names == ["k", "s"]
    assert writer.raw_query("SELECT k, s FROM t", fmt="CSVWithNames") == b'"k","s"\n'
    assert writer.raw_query("SELECT k FROM t", fmt="RowBinaryWithNamesAndTypes") == b"\x01\x01k\x06UInt32"


def test_server_side_parameters(writer: Any) -> None:
    """{name:Type}: strings with every awkward character, arrays, dates, NULL and identifiers."""
    awkward = "a'b\\c\td\ne\"ü–{x:Y}"
    text = "SELECT {s:String} s, {a:Array(String)} a, {d:Date} d, {n:Nullable(Int32)} n, {i:Int64} i"
    values = {"s": awkward, "a": ["x'y", "z\\"], "d": dt.date(2026, 2, 3), "n": None, "i": -(2**62)}
    assert writer.query(text, parameters=values).first_row == (
        awkward,
        ["x'y", "z\\"],
        dt.date(2026, 2, 3),
        None,
        -(2**62),
    )
    writer.command(TABLE)
    assert writer.query("SELECT count() FROM {t:Identifier}", parameters={"t": "t"}).first_row == (0,)


def test_client_side_parameters(writer: Any) -> None:
    """%(name)s: put into the text by the client."""
    assert writer.query("SELECT %(s)s, %(n)s", parameters={"s": "it's", "n": 3}).first_row == ("it's", 3)


def test_forms(connect: Callable[..., Any], database: str) -> None:
    """A query and its parameters sent as multipart/form-data, as clients do when they are long."""
    client = connect(database=database, form_encode_query_params=True)
    long = "x'\\y\n" * 20_000
    assert client.query("SELECT {s:String} AS s, 1", parameters={"s": long}).first_row == (long, 1)


def test_raw_insert_in_many_formats(writer: Any) -> None:
    """raw_insert: seven formats, from bytes and from generators of single bytes, compressed or not."""
    writer.command(TABLE)
    table = pa.table({"k": pa.array([60], pa.uint32()), "s": ["pq"], "v": [6.0]})
    parquet = io.BytesIO()
    pq.write_table(table, parquet)
    bodies: dict[str, bytes] = {
        "Native": native([(10, "n", 1.0), (11, "n", 1.0)]) + native([(12, "n", 1.0)]),
        "RowBinary": b"\x14\0\0\0" + b"\x01r" + np.float64(2).tobytes(),
        "CSV": b'30,"c,\n",3\n',
        "JSONEachRow": b'{"k":40,"s":"j","v":4}\n',
        "TSV": b"50\tt\t5\n",
        "Parquet": parquet.getvalue(),
        "Values": b"(70, 'v', 7), (71, upper('v'), 7)",
    }
    columns = ["k", "s", "v"]
    for name, body in bodies.items():
        writer.raw_insert("t", columns, body, fmt=name)
        writer.raw_insert("t", columns, (body[i : i + 1] for i in range(len(body))), fmt=name)
    gz = gzip.compress(bodies["CSV"])
    writer.raw_insert("t", columns, gz, fmt="CSV", compression="gzip")
    found = writer.query("SELECT k, count() FROM t GROUP BY k ORDER BY k").result_rows
    assert found == [(10, 2), (11, 2), (12, 2), (20, 2), (30, 3), (40, 2), (50, 2), (60, 2), (70, 2), (71, 2)]


def test_the_same_token_is_stored_once(writer: Any) -> None:
    """insert_deduplication_token: a second insert with the same token writes nothing, another token does."""
    writer.command(
        "CREATE TABLE d (k UInt32) ENGINE = MergeTree ORDER BY k SETTINGS non_replicated_deduplication_window = 100"
    )
    writer.command(
        "CREATE MATERIALIZED VIEW dv ENGINE = SummingMergeTree ORDER BY one "
        "SETTINGS non_replicated_deduplication_window = 100 AS SELECT 1 AS one, count() AS n FROM d GROUP BY one"
    )
    block = b"\x01\x02\x01k\x06UInt32" + np.array([1, 2], "<u4").tobytes()
    for token in ("range-1", "range-1", "range-2", "range-1"):
        writer.raw_insert("d", ["k"], block, fmt="Native", settings={"insert_deduplication_token": token})
    assert writer.query("SELECT count() FROM d").first_row == (4,)
    assert writer.query("SELECT sum(n) FROM dv").first_row == (4,)


def test_a_session_keeps_temporary_tables_and_settings(connect: Callable[..., Any], database: str) -> None:
    """A session: temporary tables and SET stay, settings of one request end with it, other sessions see none."""
    client = connect(database=database, session_id=f"s-{database}")
    client.command("CREATE TEMPORARY TABLE tt (a UInt8)")
    client.command("INSERT INTO tt VALUES (1), (2)")
    assert client.query("SELECT sum(a) FROM tt").first_row == (3,)
    client.command("SET max_block_size = 4321")
    assert client.command("SELECT getSetting('max_block_size')", settings={"max_block_size": 99}) == 99
    assert client.command("SELECT getSetting('max_block_size')") == 4321
    with pytest.raises(DatabaseError) as caught:
        connect(database=database, session_id=f"other-{database}").query("SELECT * FROM tt")
    assert caught.value.code == 60


def test_settings_in_url_and_text(writer: Any) -> None:
    """Settings of the request and SETTINGS in the text both count, and an unknown one is refused."""
    assert writer.command("SELECT getSetting('max_threads')", settings={"max_threads": 1}) == 1
    assert writer.command("SELECT getSetting('max_threads') SETTINGS max_threads = 2") == 2
    assert writer.raw_query("SELECT 1 AS a SETTINGS max_threads = 2 FORMAT JSONEachRow") == b'{"a":1}\n'
    assert writer.raw_query("SELECT 1 AS a FORMAT JSONEachRow SETTINGS max_threads = 2") == b'{"a":1}\n'


def test_commands(writer: Any) -> None:
    """command: DDL says what it wrote, a query gives its value; views, dictionaries and functions can be made."""
    assert writer.command(TABLE).written_rows == 0
    assert (
        writer.command("INSERT INTO t SELECT number, toString(number), number FROM numbers(1000)").written_rows == 1000
    )
    assert writer.command("SELECT count() FROM t") == 1000
    assert writer.command("EXISTS TABLE t") == 1
    assert "MergeTree" in writer.command("SHOW CREATE TABLE t")
    writer.command("ALTER TABLE t ADD COLUMN w UInt8 DEFAULT 3")
    writer.command("ALTER TABLE t DELETE WHERE k >= 500", settings={"mutations_sync": 1})
    writer.command("OPTIMIZE TABLE t FINAL")
    assert writer.query("SELECT count(), sum(w) FROM t").first_row == (500, 1500)
    writer.command(
        "CREATE DICTIONARY names (k UInt32, s String) PRIMARY KEY k "
        f"SOURCE(CLICKHOUSE(TABLE 't' DB '{writer.database}')) LAYOUT(HASHED()) LIFETIME(0)"
    )
    assert writer.command("SELECT dictGet('names', 's', toUInt64(7))") == 7
    writer.command("CREATE VIEW half AS SELECT k FROM t WHERE k < 250")
    assert writer.command("SELECT count() FROM half") == 250
    writer.command("TRUNCATE TABLE t")
    assert writer.command("SELECT count() FROM t") == 0


def test_system_tables(writer: Any) -> None:
    """system.tables, columns, parts, merges, settings, databases: what tools look at is there."""
    writer.command(TABLE)
    writer.command("INSERT INTO t VALUES (1, 'a', 2)")
    where = {"d": writer.database}
    assert writer.query(
        "SELECT name, engine, total_rows FROM system.tables WHERE database = {d:String}", parameters=where
    ).result_rows == [("t", "MergeTree", 1)]
    assert writer.query(
        "SELECT count() FROM system.columns WHERE database = {d:String}", parameters=where
    ).first_row == (3,)
    assert writer.query(
        "SELECT sum(rows) FROM system.parts WHERE active AND database = {d:String}", parameters=where
    ).first_row == (1,)
    assert writer.query("SELECT count() FROM system.merges").row_count == 1
    assert writer.query("SELECT count() > 100 FROM system.settings").first_row == (1,)
    assert writer.database in [row[0] for row in writer.query("SHOW DATABASES").result_rows]


def test_errors_have_their_code(writer: Any) -> None:
    """Errors of the engine arrive as DatabaseError with ClickHouse's code."""
    for text, code in (
        ("SELECT * FROM nowhere", 60),
        ("SELECT FROM WHERE", 62),
        ("SELECT nothing", 47),
        ("SELECT toUInt8('x')", 6),
    ):
        with pytest.raises(DatabaseError) as caught:
            writer.query(text)
        assert caught.value.code == code, text


def test_an_error_in_mid_stream_is_an_error(connect: Callable[..., Any], database: str) -> None:
    """A query that fails after megabytes were sent raises in the client, compressed or not."""
    text = "SELECT number, throwIf(number = 9000000, 'in the middle') FROM numbers(20000000)"
    for compress in (False, "zstd", "lz4"):
        client = connect(database=database, compress=compress)
        seen = 0
        with pytest.raises(StreamFailureError, match="in the middle"), client.query_column_block_stream(text) as stream:
            for block in stream:
                seen += len(block[0])
        assert 0 < seen <= 9_000_000


def test_a_bad_insert_writes_nothing(writer: Any) -> None:
    """Data that do not fit, or end in the middle: the insert is refused and the table stays as it was."""
    writer.command(TABLE)
    for name, body, code in (
        ("Native", native([(1, "a", 1.0)])[:-3], 33),
        ("CSV", b"1,a,2\nx,b,3\n", 27),
        ("JSONEachRow", b'{"k":1}\n{"k":', None),
    ):
        with pytest.raises(DatabaseError) as caught:
            writer.raw_insert("t", ["k", "s", "v"] if name != "JSONEachRow" else None, body, fmt=name)
        assert code is None or caught.value.code == code, caught.value
    assert writer.command("SELECT count() FROM t") == 0


@pytest.mark.parametrize(
    ("table", "before", "data", "code"),
    [
        ("k UInt32, CONSTRAINT small CHECK k < 5) ENGINE = MergeTree ORDER BY k", 0, b"7\n", 469),
        ("k UInt32) ENGINE = MergeTree ORDER BY k SETTINGS parts_to_throw_insert = 1", 1, b"3\n", 252),
        ("k UInt32) ENGINE = MergeTree PARTITION BY k ORDER BY k", 0, b"".join(b"%d\n" % k for k in range(200)), 252),
    ],
)
def test_an_insert_that_cannot_be_written_is_refused(
    writer: Any, table: str, before: int, data: bytes, code: int
) -> None:
    """Data that can be read and not be written, for a constraint, many parts or many partitions: an error, no row."""
    writer.command(f"CREATE TABLE w ({table}")
    for k in range(before):
        writer.raw_insert("w", ["k"], b"%d\n" % k, fmt="TSV")
    with pytest.raises(DatabaseError) as caught:
        writer.raw_insert("w", ["k"], data, fmt="TSV")
    assert caught.value.code == code, caught.value
    assert writer.command("SELECT count() FROM w") == before


def test_an_insert_whose_view_fails_is_refused(writer: Any) -> None:
    """A materialized view that throws is an error of the insert."""
    writer.command("CREATE TABLE source (k UInt32) ENGINE = MergeTree ORDER BY k")
    writer.command(
        "CREATE MATERIALIZED VIEW v ENGINE = MergeTree ORDER BY k AS SELECT throwIf(k = 3) + k AS k FROM source"
    )
    writer.raw_insert("source", ["k"], b"1\n", fmt="TSV")
    with pytest.raises(DatabaseError) as caught:
        writer.raw_insert("source", ["k"], b"3\n", fmt="TSV")
    assert caught.value.code == 395
    assert writer.command("SELECT count() FROM v") == 1


def test_a_large_insert(writer: Any) -> None:
    """Data that are larger than what is held in memory."""
    writer.command("CREATE TABLE large (k UInt32, s String) ENGINE = MergeTree ORDER BY k")
    line = b"x" * 1000
    rows = spool.MEMORY_BYTES_MAX // 1000 + 5000
    writer.raw_insert("large", ["k", "s"], (b"%d\t%s\n" % (k, line) for k in range(rows)), fmt="TSV")
    assert writer.query("SELECT count(), sum(k), min(length(s)) FROM large").first_row == (
        rows,
        rows * (rows - 1) // 2,
        1000,
    )


def test_an_insert_from_input_is_refused(writer: Any) -> None:
    """What the engine would answer with "no rows" and no error."""
    writer.command("CREATE TABLE i (k UInt32) ENGINE = MergeTree ORDER BY k")
    with pytest.raises(DatabaseError) as caught:
        writer.command("INSERT INTO i SELECT k FROM input('k UInt32') FORMAT TSV\n1\n")
    assert caught.value.code == 48


def test_many_at_once(connect: Callable[..., Any], database: str) -> None:
    """Twelve clients at once, writing and reading: every row arrives, every answer is its own."""
    connect(database=database).command(TABLE)
    clients = [connect(database=database) for _ in range(12)]

    def work(number: int) -> int:
        client = clients[number]
        for round_ in range(5):
            client.insert("t", [[number * 1000 + round_, "x", 0.0]], column_names=["k", "s", "v"])
            assert client.command(f"SELECT {number} + {round_}") == number + round_
        return int(client.command(f"SELECT count() FROM t WHERE intDiv(k, 1000) = {number}"))

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(work, range(12))) == [5] * 12


def test_sqlalchemy_and_dbapi(server: Any, database: str) -> None:
    """The DB-API of clickhouse-connect, which BI tools come through, works."""
    from clickhouse_connect import dbapi

    from tests.embedded.conftest import WRITER_PASSWORD

    connection = dbapi.connect(
        host="127.0.0.1", port=server.port, username="default", password=WRITER_PASSWORD, database=database
    )
    cursor = connection.cursor()
    cursor.execute("SELECT number FROM numbers(3)")
    assert cursor.fetchall() == [(0,), (1,), (2,)]
    connection.close()
