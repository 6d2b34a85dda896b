"""The HTTP interface as curl sees it: methods, bodies, compression, headers, status, and what a bad client gets."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import socket
import subprocess
import zlib
from collections.abc import Callable
from urllib.parse import quote

import lz4.frame
import pytest

from ganzhi.embedded.clickhouse import EmbeddedClickHouse
from ganzhi.embedded.clickhouse_server import frames
from tests.embedded.conftest import READER_PASSWORD, WRITER_PASSWORD, Answer

Curl = Callable[..., Answer]


def test_ping_and_the_root_need_no_login(curl: Curl) -> None:
    """/ping and / say Ok to anybody; another path does not exist."""
    for target in ("/ping", "/replicas_status", "/"):
        answer = curl(target, login=None)
        assert (answer.status, answer.body) == (200, b"Ok.\n")
    assert curl("/ping", "--head").status == 200
    assert curl("/nowhere").status == 404


def test_a_query_in_the_url_in_the_body_or_in_both(curl: Curl) -> None:
    """The text may be in the URL, in the body, or begin in the one and go on in the other."""
    assert curl("/?query=SELECT%201%20FORMAT%20CSV").body == b"1\n"
    assert curl("/", data=b"SELECT 'x' FORMAT JSONEachRow").body == b'{"\'x\'":"x"}\n'
    assert curl("/?query=SELECT%20number%20FROM", data=b"numbers(2)").body == b"0\n1\n"
    assert curl("/?default_format=JSONCompactEachRow", data=b"SELECT 1, 2;").body == b"[1, 2]\n"
    assert curl("/?param_a=5", data=b"SELECT {a:UInt8} + 1").body == b"6\n"
    assert curl("/?max_threads=1", data=b"SELECT getSetting('max_threads')").body == b"1\n"
    assert curl("/", "-F", "query=SELECT {a:String}", "-F", "param_a=it's").body == b"it\\'s\n"


def test_the_headers_that_clients_look_at(curl: Curl) -> None:
    """Query id, time zone, display name, format, summary."""
    answer = curl("/?query_id=my-id", data=b"SELECT number FROM numbers(3) FORMAT TSV")
    assert answer.headers["x-clickhouse-query-id"] == "my-id"
    assert answer.headers["x-clickhouse-server-display-name"] == "ganzhi"
    assert answer.headers["x-clickhouse-timezone"]
    assert answer.headers["x-clickhouse-format"] == "TSV"
    assert answer.headers["content-type"] == "text/tab-separated-values; charset=UTF-8"
    summary = json.loads(answer.headers["x-clickhouse-summary"])
    assert (summary["result_rows"], summary["read_rows"]) == ("3", "3")


def test_a_query_id_cannot_add_headers(curl: Curl) -> None:
    """Line ends in a query id do not get into the reply's head."""
    answer = curl("/?query_id=a%0d%0aX-Evil:%201", data=b"SELECT 1")
    assert "x-evil" not in answer.headers
    assert answer.body == b"1\n"


def test_get_only_reads(curl: Curl, database: str) -> None:
    """GET and HEAD never write: 164; POST does."""
    text = quote(f"CREATE TABLE {database}.g (a UInt8) ENGINE = Memory")
    answer = curl(f"/?query={text}")
    assert (answer.status, answer.code) == (403, 164)
    head = curl("/?query=SELECT+1", "--head")
    assert (head.status, head.headers["content-length"]) == (200, "2")
    assert curl(f"/?query={text}", "-X", "POST").status == 200
    assert curl(f"/?query=INSERT+INTO+{database}.g+VALUES+(1)").code == 164
    assert curl(f"/?query=SELECT+count()+FROM+{database}.g").body == b"0\n"


@pytest.mark.parametrize(
    ("text", "code", "status"),
    [
        ("SELECT * FROM nowhere", 60, 404),
        ("SELECT * FROM nowhere.nothing", 81, 404),
        ("SELECT nothing", 47, 404),
        ("SELECT noFunction(1)", 46, 404),
        ("SELECT FROM WHERE", 62, 400),
        ("1 + 1", 62, 400),
        ("", 62, 400),
        ("SELECT 1; SELECT 2", 62, 400),
        ("SELECT 1 SETTINGS no_such_setting = 1", 115, 404),
        ("SELECT toUInt8('x')", 6, 400),
        ("SELECT {a:UInt8}", 456, 400),
        ("SELECT 1 FORMAT Nothing", 73, 404),
        ("SELECT throwIf(1, 'no')", 395, 500),
        ("SELECT sleepEachRow(0.5) FROM numbers(100) SETTINGS max_execution_time = 1, max_block_size = 1", 159, 408),
        ("SELECT groupArray(number) FROM numbers(100000000) SETTINGS max_memory_usage = 50000000", 241, 500),
        ("SELECT number FROM numbers(1000) SETTINGS max_result_rows = 10", 396, 500),
        ("CREATE DATABASE system", 82, 500),
        ("CREATE USER x", 497, 403),
    ],
)
def test_errors_have_code_and_status(curl: Curl, text: str, code: int, status: int) -> None:
    """Each error has ClickHouse's code in the header and in the body, and ClickHouse's status."""
    answer = curl("/", data=text.encode() or b" ")
    assert (answer.code, answer.status) == (code, status), answer.body
    assert answer.body.startswith(b"Code: %d. DB::Exception: " % code)
    assert b"(version " in answer.body


def test_logins(curl: Curl) -> None:
    """Basic, headers and URL all let in; a wrong password, a wrong user, or none is 516 with status 403."""
    ask = b"SELECT 1"
    assert curl("/", data=ask).body == b"1\n"
    headers = ("-H", "X-ClickHouse-User: reader", "-H", f"X-ClickHouse-Key: {READER_PASSWORD}")
    assert curl("/", *headers, data=ask, login=None).body == b"1\n"
    assert curl(f"/?user=default&password={quote(WRITER_PASSWORD, safe='')}", data=ask, login=None).body == b"1\n"
    for login in (
        None,
        "default:",
        "default:x",
        f"reader:{WRITER_PASSWORD}",
        f"nobody:{WRITER_PASSWORD}",
        ":",
        f"Default:{WRITER_PASSWORD}",
    ):
        answer = curl("/", data=ask, login=login)
        assert (answer.code, answer.status) == (516, 403), login
    assert curl("/", "-H", "Authorization: Bearer x", data=ask, login=None).status == 400


def test_foreign_host_names_get_no_answer(curl: Curl) -> None:
    """A page of elsewhere whose name was made to resolve to this machine is turned away, whoever asks."""
    for host in ("evil.example", "evil.example:18123", "127.0.0.1.evil.example", "localhost.evil.example"):
        assert curl("/", "-H", f"Host: {host}", data=b"SELECT 1").status == 421, host
    for host in ("localhost", "127.0.0.1:18123", "[::1]:18123", "x.localhost"):
        assert curl("/", "-H", f"Host: {host}", data=b"SELECT 1").status == 200, host


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "lz4"])
def test_compressed_bodies(curl: Curl, database: str, encoding: str) -> None:
    """A body in each encoding, several frames of it, large, and one that is cut short (271, nothing written)."""
    pack: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.compress,
        "deflate": zlib.compress,
        "lz4": lz4.frame.compress,
        "zstd": run_zstd,
    }
    header = ("-H", f"Content-Encoding: {encoding}")
    curl("/", data=f"CREATE TABLE {database}.z (s String) ENGINE = MergeTree ORDER BY s".encode())
    target = f"/?query=INSERT+INTO+{database}.z+FORMAT+TSV"
    first, second = b"a\n" * 3_000_000, b"b\nc\n"
    assert curl(target, *header, data=pack[encoding](first) + pack[encoding](second)).status == 200
    counted = curl("/", data=f"SELECT s, count() FROM {database}.z GROUP BY s ORDER BY s".encode())
    assert counted.body == b"a\t3000000\nb\t1\nc\t1\n"
    cut = curl(target, *header, data=pack[encoding](second)[:-5])
    assert (cut.code, cut.status) == (271, 400), cut.body
    assert curl("/", *header, data=b"not that").status == 400
    assert curl("/", data=f"SELECT count() FROM {database}.z".encode()).body == b"3000002\n"
    assert curl("/", *header, data=pack[encoding](b"SELECT 7")).body == b"7\n"


def run_zstd(data: bytes) -> bytes:
    """One zstd frame."""
    from ganzhi.embedded.clickhouse_server.codecs import zstd

    return bytes(zstd.compress(data))


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "lz4"])
def test_compressed_replies(curl: Curl, encoding: str) -> None:
    """enable_http_compression=1 compresses, short and streamed replies; without it nothing is compressed."""
    from ganzhi.embedded.clickhouse_server.codecs import decompressed

    for count in (10, 400_000):
        ask = f"SELECT number FROM numbers({count})".encode()
        plain = curl("/", "-H", f"Accept-Encoding: {encoding}", data=ask)
        packed = curl("/?enable_http_compression=1", "-H", f"Accept-Encoding: br, {encoding};q=0.5", data=ask)
        assert "content-encoding" not in plain.headers
        assert packed.headers["content-encoding"] == encoding
        assert (
            b"".join(decompressed([packed.body], encoding)) == plain.body == b"".join(b"%d\n" % n for n in range(count))
        )


def test_a_stream_that_fails_is_cut(curl: Curl) -> None:
    """An error after the first megabytes: the exception stands behind the data, and curl itself reports a fault."""
    answer = curl("/", data=b"SELECT throwIf(number = 3000000, 'in the middle') FROM numbers(9000000)")
    assert answer.status == 200
    assert answer.exit == 18  # transfer closed with outstanding read data remaining
    tag = answer.headers["x-clickhouse-exception-tag"].encode()
    tail = answer.body[answer.body.rindex(b"__exception__", 0, -20) :]
    assert b"Code: 395. DB::Exception: " in tail
    assert tail.startswith(b"__exception__\r\n" + tag + b"\r\n")
    assert tail.endswith(tag + b"\r\n__exception__\r\n")
    waited = curl(
        "/?wait_end_of_query=1", data=b"SELECT throwIf(number = 3000000, 'in the middle') FROM numbers(9000000)"
    )
    assert (waited.status, waited.code) == (500, 395)


def test_inserts_by_curl(curl: Curl, database: str) -> None:
    """INSERT with the text in the URL, in the body, in both; VALUES with semicolons and expressions; from a query."""
    curl("/", data=f"CREATE TABLE {database}.i (a UInt32, s String) ENGINE = MergeTree ORDER BY a".encode())
    into = f"INSERT+INTO+{database}.i"
    assert curl(f"/?query={into}+FORMAT+CSV", data=b"1,a\n").status == 200
    assert (
        curl("/", data=f"INSERT INTO {database}.i (a, s) FORMAT JSONEachRow\n".encode() + b'{"a":2,"s":"x;y"}').status
        == 200
    )
    assert curl(f"/?query={into}+VALUES+(3,'b')", data=b",(4,'c')").status == 200
    assert curl("/", data=f"INSERT INTO {database}.i VALUES (5, concat('d', 'e')), (6, ';');".encode()).status == 200
    assert curl("/", data=f"INSERT INTO {database}.i SELECT 7, 'f'".encode()).status == 200
    assert curl(f"/?query={into}", data=b"(8, 'g')").status == 200
    assert curl(f"/?default_format=TSV&query={into}", data=b"9\th\n").status == 200
    summary = json.loads(curl(f"/?query={into}+FORMAT+TSV", data=b"10\ti\n11\tj\n").headers["x-clickhouse-summary"])
    assert summary["written_rows"] == "2"
    chunked = ("-H", "Transfer-Encoding: chunked")
    assert curl(f"/?query={into}+FORMAT+TSV", *chunked, data=b"12\tk\n").status == 200
    found = (
        curl("/", data=f"SELECT a, s FROM {database}.i ORDER BY a FORMAT CSV".encode())
        .body.decode()
        .replace('"', "")
        .split()
    )
    assert found == ["1,a", "2,x;y", "3,b", "4,c", "5,de", "6,;", "7,f", "8,g", "9,h", "10,i", "11,j", "12,k"]


def test_an_insert_that_is_refused_is_read_to_its_end(curl: Curl, database: str) -> None:
    """A large body for a table that is not there: the client gets the reply, not a reset connection, and can go on."""
    answer = curl(f"/?query=INSERT+INTO+{database}.nothing+FORMAT+TSV", data=b"x\n" * 10_000_000)
    assert (answer.exit, answer.status, answer.code) == (0, 404, 60)


def test_large_results_are_streamed(server: EmbeddedClickHouse, curl: Curl) -> None:
    """A gigabyte goes through while the server's memory grows by a small part of it."""
    import psutil

    process = psutil.Process(server.child.pid)
    before = process.memory_info().rss
    command = [
        "curl",
        "-s",
        "-u",
        f"default:{WRITER_PASSWORD}",
        "--data-binary",
        "SELECT number, number FROM numbers(67108864) FORMAT RowBinary",
    ]
    with subprocess.Popen([*command, f"http://127.0.0.1:{server.port}/"], stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        size = peak = 0
        while piece := running.stdout.read(1 << 20):
            size += len(piece)
            if size >> 20 & 63 == 0:
                peak = max(peak, process.memory_info().rss)
    assert size == 1 << 30
    assert peak - before < 256 << 20


def test_a_client_that_goes_away_stops_its_query(server: EmbeddedClickHouse, curl: Curl) -> None:
    """A long aggregate without output ends soon after its client has closed the connection."""
    text = b"SELECT count() FROM numbers(100000000000000) WHERE sipHash64(number) = 1"
    running = (
        b"SELECT count() FROM system.processes WHERE query LIKE '%sipHash64(number) = 1' AND query NOT LIKE '%system%'"
    )
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        login = base64.b64encode(f"default:{WRITER_PASSWORD}".encode())
        connection.sendall(
            b"POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic %s\r\nContent-Length: %d\r\n\r\n%s"
            % (login, len(text), text)
        )
        wait_for(lambda: curl("/", data=running).body == b"1\n")
    wait_for(lambda: curl("/", data=running).body == b"0\n")


def wait_for(true: Callable[[], bool]) -> None:
    """Asks until it is so; the test's own time limit ends it otherwise."""
    while not true():
        pass


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"GET\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
        b"DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"GET /?" + b"&".join(b"a=1" for _ in range(3000)) + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nSELECT",
    ],
)
def test_hostile_bytes_get_an_error_or_a_closed_connection(server: EmbeddedClickHouse, curl: Curl, raw: bytes) -> None:
    """What is not HTTP, or is cut short, is answered with an error or not at all; the server serves on."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    # http.server answers a line without a version as HTTP/0.9: without a head.
    assert (
        answer[:12] in (b"", b"HTTP/1.1 400", b"HTTP/1.1 403", b"HTTP/1.1 414", b"HTTP/1.1 431", b"HTTP/1.1 501")
        or b"Error code: 400" in answer
    )
    assert curl("/", data=b"SELECT 1").body == b"1\n"


def test_a_connection_is_kept(server: EmbeddedClickHouse) -> None:
    """Several requests, with errors among them, go through one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    headers = {"X-ClickHouse-User": "default", "X-ClickHouse-Key": WRITER_PASSWORD.encode().decode("latin-1")}
    connection.connect()
    first = connection.sock
    for text, status in ((b"SELECT 1", 200), (b"SELEC 1", 400), (b"SELECT * FROM no", 404), (b"SELECT 2", 200)):
        connection.request("POST", "/", text, headers)
        reply = connection.getresponse()
        reply.read()
        assert reply.status == status, text
        assert connection.sock is first
    connection.close()


def test_frames_of_clickhouse_itself(curl: Curl, database: str) -> None:
    """compress=1 and decompress=1, which JDBC and Go drivers use: short and streamed replies, bodies, a broken body."""
    for count in (10, 400_000):
        answer = curl("/?compress=1", data=f"SELECT number FROM numbers({count})".encode())
        assert b"".join(frames.unframed([answer.body])) == b"".join(b"%d\n" % n for n in range(count))
    curl("/", data=f"CREATE TABLE {database}.z (s String) ENGINE = MergeTree ORDER BY s".encode())
    target = f"/?decompress=1&query=INSERT+INTO+{database}.z+FORMAT+TSV"
    body = frames.frame(b"a\n" * 100_000) + frames.frame(b"b\n")
    assert curl(target, data=body).status == 200
    for broken in (body[:-1], b"no frame at all, only a text that is long enough", body[:30] + bytes(20) + body[50:]):
        assert curl(target, data=broken).code == 271
    assert curl("/", data=f"SELECT count() FROM {database}.z".encode()).body == b"100001\n"
    packed = curl("/?compress=1", data=b"SELECT throwIf(number = 3000000, 'in the middle') FROM numbers(9000000)")
    assert packed.exit == 18
    assert b"in the middle" in b"".join(frames.unframed([packed.body]))[-2000:]


def test_the_hash_of_frames_is_the_engines(server: EmbeddedClickHouse, curl: Curl, database: str) -> None:
    """CityHash128 of the frames in the engine's own files, of many lengths, is what stands before each of them."""
    small = "min_bytes_for_wide_part = 1, min_compress_block_size = 1, max_compress_block_size = 3000"
    create = f"CREATE TABLE {database}.h (s String, u UInt8) ENGINE = MergeTree ORDER BY tuple() "
    curl(
        "/",
        data=f"{create} SETTINGS {small}".encode(),
    )
    for size in (0, 1, 5, 12, 30, 70, 130, 300, 5000):
        insert = f"INSERT INTO {database}.h SELECT randomString({size}), 1 FROM numbers({1 + size % 7})"
        assert curl("/", data=insert.encode()).status == 200
    where = f"SELECT path FROM system.parts WHERE database = '{database}' AND table = 'h' AND active"
    sizes = set()
    for part in curl("/", data=where.encode()).body.decode().split():
        for file in (server.folder / part).glob("*.bin"):
            data = file.read_bytes()
            while data:
                size = int.from_bytes(data[17:21], "little")
                assert frames.city_hash_128(data[16 : 16 + size]) == data[:16], (file, size)
                sizes.add(size)
                data = data[16 + size :]
    assert min(sizes) < 16 < 128 < max(sizes)


@pytest.mark.parametrize(
    "expression",
    [
        "toString(number * 1000000)",
        "repeat('x', number % 300)",
        "toFixedString('abc', 5)",
        "toDecimal128(number, 3)",
        "toDateTime64(number, 3, 'UTC')",
        "CAST(number % 2, 'Enum8(\\'a, (b\\' = 0, \\'c\\' = 1)')",
        "if(number % 3 = 0, NULL, toString(number))",
        "range(number % 5)",
        "arrayMap(x -> [toString(x), ''], range(number % 4))",
        "map('k', number, toString(number), 2)",
        "tuple(number, 'x', [NULL, 1])",
        "CAST((1, 'y'), 'Tuple(`a b` UInt8, c String)')",
        "toLowCardinality(toString(number % 50))",
        "CAST(if(number % 2, NULL, 'z'), 'LowCardinality(Nullable(String))')",
        "[toLowCardinality(toString(number % 3))]",
        "CAST(map('a', 'b'), 'Map(LowCardinality(String), LowCardinality(String))')",
        "tuple(toLowCardinality('p'), toLowCardinality('q'))",
        "toUUID('61f0c404-5cb3-11e7-907b-a6006ad3dba0')",
        "toIPv6('::1')",
        "[CAST((1., 2.), 'Point')]",
        "CAST([], 'Array(LowCardinality(String))')",
        "toIntervalDay(number)",
        "CAST([(1, 'x')], 'Nested(a UInt8, b String)')",
        "NULL",
    ],
)
def test_native_for_newer_clients(curl: Curl, expression: str) -> None:
    """A Go driver's client_protocol_version: block info, and a byte behind the type of every column."""
    count = 1000
    ask = f"SELECT {expression} AS c, toUInt8(77) AS m FROM numbers({count}) FORMAT Native".encode()
    old = curl("/", data=ask).body
    new = curl("/?client_protocol_version=54460", data=ask)
    assert new.status == 200, new.body
    info, marker = b"\x01\x00\x02\xff\xff\xff\xff\x00", b"\x01m\x05UInt8"
    assert new.body.startswith(info + old[:5])
    assert new.body.endswith(marker + b"\x00" + b"M" * count)
    assert len(new.body) == len(old) + len(info) + 2
    assert (
        new.body.replace(marker + b"\x00", marker)[len(info) :]
        == old[: 3 + 2 + 1 + old[5]] + b"\x00" + old[3 + 2 + 1 + old[5] :]
    )


def test_native_for_newer_clients_in_many_blocks(curl: Curl) -> None:
    """Streamed results, statements that are run as a whole, empty results; a type of unknown length is refused."""
    ask = b"SELECT toString(number) s FROM numbers(300000) FORMAT Native"
    old, new = (curl(f"/?client_protocol_version={version}", data=ask).body for version in (54405, 54460))
    blocks = new.count(b"\x01\x00\x02\xff\xff\xff\xff\x00\x01")
    assert blocks > 2
    assert len(new) == len(old) + 9 * blocks
    empty = curl("/?client_protocol_version=54460", data=b"SELECT 1 AS a WHERE 0 FORMAT Native").body
    assert empty == b"\x01\x00\x02\xff\xff\xff\xff\x00\x01\x00\x01a\x05UInt8\x00"
    assert curl("/?client_protocol_version=54460", data=b"EXISTS system.one FORMAT Native").body.endswith(
        b"\x05UInt8\x00\x01"
    )
    state = curl("/?client_protocol_version=54460", data=b"SELECT sumState(1) FORMAT Native")
    assert (state.code, state.status) == (48, 501)
