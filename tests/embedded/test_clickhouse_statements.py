"""Reading statements, joining pieces of results, compression: the pure parts of the embedded ClickHouse."""

from __future__ import annotations

import io
import os
import zlib

import lz4.frame
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganzhi.embedded.clickhouse_server import codecs, codes, formats, statements, users
from ganzhi.embedded.clickhouse_server.work import Work
from schemas.errors import ClickHouseRefused


@pytest.mark.parametrize(
    ("text", "kind", "output_format"),
    [
        (b"SELECT 1", "SELECT", ""),
        (b"  -- SELECT\n/* x */ # y\nshow tables", "SHOW", ""),
        (b"((SELECT 1)) FORMAT JSON", "SELECT", "JSON"),
        (b"SELECT 1 format CSV;", "SELECT", "CSV"),
        (b"SELECT 1 FORMAT CSV SETTINGS a = 1", "SELECT", "CSV"),
        (b"SELECT format('FORMAT CSV'), format FROM t", "SELECT", ""),
        (b"SELECT * FROM (SELECT 1 FORMAT CSV)", "SELECT", ""),
        (b"SELECT 'it''s FORMAT CSV'", "SELECT", ""),
        (b"SELECT 'a\\' FORMAT CSV'", "SELECT", ""),
        (b"SELECT $x$ ' FORMAT CSV $x$ FORMAT TSV", "SELECT", "TSV"),
        (b"SELECT `a`` FORMAT CSV` FORMAT TSV", "SELECT", "TSV"),
        ("SELECT ‘ FORMAT CSV’ FORMAT TSV".encode(), "SELECT", "TSV"),
        (b"WITH 1 AS x SELECT x FORMAT Native -- done", "WITH", "Native"),
        (b"", "", ""),
        (b" -- nothing", "", ""),
    ],
)
def test_kind_and_format(text: bytes, kind: str, output_format: str) -> None:
    """The kind is the first word, the format that of the FORMAT clause, whatever strings, names and comments say."""
    found = statements.read(text)
    assert (found.kind, found.format, found.data_start) == (kind, output_format, -1)


@pytest.mark.parametrize(
    ("text", "output_format", "data"),
    [
        (b"INSERT INTO t FORMAT Native\n\x01\x00'", "Native", b"\x01\x00'"),
        (b"insert into t (a, `b)`) settings async_insert = 0 format CSV\r\n1,2\n", "CSV", b"1,2\n"),
        (b"INSERT INTO t VALUES (1, 'FORMAT CSV')", "Values", b" (1, 'FORMAT CSV')"),
        (b"INSERT INTO values (a) VALUES(1)", "Values", b"(1)"),
        (b"INSERT INTO d.values VALUES(1)", "Values", b"(1)"),
        (b"INSERT INTO t FORMAT Values (1)", "Values", b"(1)"),
        (b"INSERT INTO t (a) FORMAT TSV  \n\n1\n", "TSV", b"\n1\n"),
        (b"INSERT INTO t (from) FORMAT TSV\n1\n", "TSV", b"1\n"),
    ],
)
def test_where_the_data_of_an_insert_begin(text: bytes, output_format: str, data: bytes) -> None:
    """Data begin behind VALUES, or behind the format's name and one line end, and are bytes from there on."""
    found = statements.read(text)
    assert (found.kind, found.format, text[found.data_start :]) == ("INSERT", output_format, data)
    assert b"FORMAT" not in text[: found.text_end].upper()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("INSERT INTO t FORMAT CSV\n", "INSERT INTO t \nFROM INFILE 'x' COMPRESSION 'none'\n\nFORMAT CSV"),
        (
            "INSERT INTO `温度` (a) SETTINGS async_insert = 0 FORMAT CSV\n",
            "INSERT INTO `温度` (a) \nFROM INFILE 'x' COMPRESSION 'none'\nSETTINGS async_insert = 0 \nFORMAT CSV",
        ),
        (
            "INSERT INTO settings (settings) VALUES (1)",
            "INSERT INTO settings (settings) \nFROM INFILE 'x' COMPRESSION 'none'\n\nFORMAT Values",
        ),
    ],
)
def test_an_insert_reads_its_data_as_a_file(text: str, expected: str) -> None:
    """The file comes before SETTINGS, whatever is called so before it."""
    found = statements.read(text.encode())
    head = text.encode()[: found.text_end].decode()
    work = Work(head, found, iter(()), found.format)
    assert work.insert.reading("x") == expected


def test_an_insert_from_a_query_has_no_data() -> None:
    """INSERT … SELECT, also with VALUES in a table function, is run as a whole."""
    for text in (
        b"INSERT INTO t SELECT 1",
        b"INSERT INTO t WITH 1 AS x SELECT x",
        b"INSERT INTO t SELECT * FROM values('a UInt8', 1)",
    ):
        found = statements.read(text)
        assert found.selects
        assert found.data_start == -1


@given(st.binary(max_size=300))
def test_any_bytes_are_read(text: bytes) -> None:
    """Whatever bytes come, reading and checking end, with a refusal at most; tokens lie in order and inside."""
    found = statements.read(text)
    edges = [edge for token in found.tokens for edge in (token.start, token.end)]
    assert edges == sorted(edges)
    assert all(0 <= edge <= len(text) for edge in edges)
    for reader in (True, False):
        try:
            statements.check(found, reader)
        except ClickHouseRefused as error:
            assert error.code in (codes.ACCESS_DENIED, codes.READONLY)


@given(st.lists(st.binary(min_size=1, max_size=5000), max_size=6), st.integers(1, 700))
def test_what_was_compressed_comes_out(parts: list[bytes], cut: int) -> None:
    """Any data through each encoding, one frame a part, cut anywhere into pieces: the same bytes."""
    pack = {
        "gzip": lambda d: zlib.compress(d, wbits=31),
        "deflate": zlib.compress,
        "lz4": lz4.frame.compress,
        "zstd": codecs.zstd.compress,
    }
    for encoding, make in pack.items():
        whole = b"".join(make(part) for part in parts)
        pieces = [whole[i : i + cut] for i in range(0, len(whole), cut)]
        assert b"".join(codecs.decompressed(pieces, encoding)) == b"".join(parts)


@pytest.mark.parametrize("encoding", codecs.RESPONSE_ENCODINGS)
def test_a_compressor_and_a_bomb(encoding: str) -> None:
    """What our compressors write our decompressors read, and 64 MiB of zeros come out in bounded pieces."""
    packer = codecs.compressor(encoding)
    body = b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    sizes = [len(piece) for piece in codecs.decompressed([body], encoding)]
    assert sum(sizes) == 64 << 20
    assert max(sizes) <= codecs.PIECE_BYTES
    empty = codecs.compressor(encoding)
    assert b"".join(codecs.decompressed([empty.flush()], encoding)) == b""


@pytest.mark.parametrize(
    ("offer", "chosen"),
    [
        ("gzip", "gzip"),
        ("gzip, zstd", "zstd"),
        ("br;q=1, lz4;q=0.1", "lz4"),
        ("zstd;q=0, gzip", "gzip"),
        ("", ""),
        ("identity", ""),
        ("GZIP", "gzip"),
    ],
)
def test_the_encoding_of_a_reply(offer: str, chosen: str) -> None:
    """The best encoding that both know; one with q=0 is not wanted."""
    assert codecs.choose(offer) == chosen


def test_arrow_streams_are_joined() -> None:
    """Pieces that are whole Arrow streams become one stream with all batches."""
    join = formats.joiner("ArrowStream")
    assert join is not None
    out = b""
    for number in range(3):
        sink = io.BytesIO()
        batch = pa.record_batch({"n": [number, number + 10], "s": ["x", None]})
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        out += join(sink.getvalue(), number == 0)
    table = pa.ipc.open_stream(out + formats.tail("ArrowStream")).read_all()
    assert table["n"].to_pylist() == [0, 10, 1, 11, 2, 12]


def test_headers_are_cut_from_later_pieces() -> None:
    """CSV names with line ends and quotes in them are one header line."""
    join = formats.joiner("CSVWithNames")
    assert join is not None
    piece = b'"a\n""b","c"\n1,"x\ny"\n'
    assert join(piece, True) + join(piece, False) == piece + b'1,"x\ny"\n'
    assert formats.joiner("JSON") is None


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 16383, 16384, 1 << 40])
def test_varints(number: int) -> None:
    """LEB128: seven bits a byte, the lowest first."""
    raw = formats.varint(number)
    assert sum((byte & 127) << 7 * place for place, byte in enumerate(raw)) == number
    assert all(byte & 128 for byte in raw[:-1])
    assert raw[-1] < 128


def test_digests_of_passwords() -> None:
    """The same password has another digest each time; only the right one comes in."""
    password = os.urandom(8).hex()
    one, two = (users.make_user("default", "writer", password) for _ in range(2))
    assert one.digest != two.digest
    assert users.authenticate({"default": one}, "default", password) is one
    for name, tried in (("default", ""), ("default", password + "x"), ("other", password), ("", "")):
        with pytest.raises(ClickHouseRefused) as caught:
            users.authenticate({"default": one}, name, tried)
        assert caught.value.code == codes.AUTHENTICATION_FAILED


@pytest.mark.parametrize("value", ["0", "-1", "", "auto", "1e30", "99999999999999"])
def test_limits_are_never_lifted(value: str) -> None:
    """0, less, nothing and too much all give the reader's own limit."""
    assert users.reader_settings({"max_memory_usage": value})["max_memory_usage"] == str(
        users.READER_LIMITS["max_memory_usage"]
    )
    assert users.reader_settings({"max_memory_usage": "5"})["max_memory_usage"] == "5"


def test_engine_errors_are_translated() -> None:
    """The engine's text from `Code:` on, with its code; anything else is UNKNOWN_EXCEPTION without its text."""
    error = codes.from_engine(RuntimeError("Failed: Code: 60. DB::Exception: Unknown table. (UNKNOWN_TABLE)\n"))
    assert (error.code, str(error)) == (60, "Code: 60. DB::Exception: Unknown table. (UNKNOWN_TABLE)")
    assert codes.from_engine(KeyError("a secret")).code == codes.UNKNOWN_EXCEPTION
    assert "secret" not in str(codes.from_engine(KeyError("a secret")))
