"""What a reader may not do, and what nobody may: refused with a code, and by the kernel where nothing else would."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ganzhi.embedded.clickhouse import EmbeddedClickHouse
from ganzhi.embedded.clickhouse_server import confine
from ganzhi.embedded.clickhouse_server.users import READER_LIMITS
from tests.embedded.conftest import READER_PASSWORD, Answer

Curl = Callable[..., Answer]
READER = f"reader:{READER_PASSWORD}"
DICTIONARY = "CREATE DICTIONARY out.d (k UInt64, s String) PRIMARY KEY k LAYOUT(FLAT()) LIFETIME(0) "
TABLE = "CREATE TABLE out.a (x UInt8) ENGINE = MergeTree ORDER BY x "


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file beside the server's folder that no statement may show."""
    file = tmp_path / "secret.csv"
    file.write_text("1,the-secret\n", encoding="utf-8")
    return file


def test_a_reader_reads(reader: Any, writer: Any) -> None:
    """SELECT, WITH, SHOW, DESCRIBE, EXPLAIN, EXISTS and the system tables that tools look at."""
    writer.command("CREATE TABLE t (k UInt32) ENGINE = MergeTree ORDER BY k")
    writer.command("INSERT INTO t SELECT number FROM numbers(100)")
    assert reader.query("SELECT count() FROM t").first_row == (100,)
    assert reader.query_df("WITH 3 AS x SELECT k FROM t WHERE k < x ORDER BY k")["k"].tolist() == [0, 1, 2]
    assert reader.query_arrow("(SELECT k FROM t LIMIT 2)").num_rows == 2
    assert reader.query("SHOW TABLES").result_rows == [("t",)]
    assert reader.query("DESCRIBE TABLE t").first_row[:2] == ("k", "UInt32")
    assert reader.query("EXPLAIN SELECT k FROM t").row_count > 0
    assert reader.command("EXISTS t") == 1
    assert reader.query("SELECT name FROM system.tables WHERE database = currentDatabase()").result_rows == [("t",)]
    with reader.query_column_block_stream("SELECT number FROM numbers(300000)") as stream:
        assert sum(len(block[0]) for block in stream) == 300_000


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO system.one VALUES (1)",
        "INSERT INTO FUNCTION null('a UInt8') SELECT 1",
        "CREATE TABLE x (a UInt8) ENGINE = Memory",
        "CREATE TEMPORARY TABLE x (a UInt8)",
        "CREATE DATABASE x",
        "CREATE FUNCTION x AS (a) -> a",
        "DROP DATABASE ganzhi",
        "TRUNCATE TABLE x",
        "ALTER TABLE x DELETE WHERE 1",
        "DELETE FROM x WHERE 1",
        "UPDATE x SET a = 1 WHERE 1",
        "OPTIMIZE TABLE x",
        "RENAME TABLE x TO y",
        "EXCHANGE TABLES x AND y",
        "ATTACH TABLE x",
        "DETACH TABLE x",
        "UNDROP TABLE x",
        "SYSTEM STOP MERGES",
        "SYSTEM SHUTDOWN",
        "SYSTEM DROP MARK CACHE",
        "KILL QUERY WHERE 1",
        "SET max_threads = 1",
        "SET profile = 'default'",
        "SET readonly = 0",
        "USE system",
        "GRANT ALL ON *.* TO default",
        "CREATE USER x",
        "BACKUP DATABASE ganzhi TO Memory('x')",
        "EXECUTE AS default SELECT 1",
        "CHECK TABLE x",
        "BEGIN TRANSACTION",
        "SELECT 1 INTO OUTFILE '/tmp/x.tsv'",
        "/* SELECT */ SYSTEM FLUSH LOGS",
        "-- SELECT\nSYSTEM FLUSH LOGS",
        "EXPLAIN SELECT 1; SYSTEM FLUSH LOGS",
        "SELECT 1; DROP DATABASE ganzhi",
        "SELECT 1 SETTINGS max_threads = 16",
        "SELECT 1 SETTINGS readonly = 0",
        "SELECT 1 SETTINGS max_execution_time = 0",
        "SELECT * FROM (SELECT 1 SETTINGS max_memory_usage = 0)",
        "SELECT * FROM file('/etc/passwd', 'LineAsString')",
        "SELECT file('/etc/passwd')",
        "SELECT `file`('/etc/passwd')",
        "SELECT \"fi\\x6ce\"('/etc/passwd')",
        "SELECT FILE /* x */ ('/etc/passwd')",
        "SELECT $$'$$, file('/etc/passwd') --'",
        "SELECT arrayMap(file, ['/etc/passwd'])",
        "SELECT * APPLY file FROM (SELECT '/etc/passwd')",
        "SELECT * FROM Python(x)",
        "SELECT * FROM `Python`(x)",
        "SELECT * FROM default.`/etc/passwd`",
        "SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a String')",
        "SELECT * FROM remote('127.0.0.1:1', system.one)",
        "SELECT * FROM s3('http://127.0.0.1:1/bucket/x', 'CSV')",
        "SELECT * FROM executable('id', 'TSV', 'a String')",
        "SELECT * FROM mysql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
        "SELECT * FROM sqlite('/etc/passwd', 'x')",
        "DESCRIBE TABLE file('/etc/passwd')",
        "SHOW USERS",
    ],
)
def test_a_reader_may_not(curl: Curl, text: str) -> None:
    """Whatever is not a read, or reaches outside, or lifts a limit, is refused with a code of refusal."""
    answer = curl("/", data=text.encode(), login=READER)
    assert answer.code in (164, 497, 62, 481), answer.body
    assert b"root:" not in answer.body


@pytest.mark.parametrize(
    "setting",
    [
        "readonly=0&max_threads=64",
        "max_execution_time=0",
        "max_memory_usage=0",
        "max_result_rows=999999999999",
        "max_threads=1e9",
        "max_rows_to_read=-1",
    ],
)
def test_a_reader_cannot_lift_its_limits(curl: Curl, setting: str) -> None:
    """Limits asked for in the URL are lowered to the reader's own; 0 is not unlimited."""
    for name, limit in READER_LIMITS.items():
        answer = curl(f"/?{setting}", data=f"SELECT toUInt64(getSetting('{name}'))".encode(), login=READER)
        assert 0 < int(answer.body) <= limit, (name, answer.body)
    assert curl(f"/?{setting}", data=b"SELECT getSetting('readonly')", login=READER).body == b"1\n"


@pytest.mark.parametrize(
    "setting", ["allow_ddl=1", "max_ast_depth=9", "profile=default", "log_queries=1", "x%20=1", "SQL_a=1"]
)
def test_a_reader_cannot_set_anything_else(curl: Curl, setting: str) -> None:
    """Settings that are not on the reader's list are refused with READONLY."""
    assert curl(f"/?{setting}", data=b"SELECT 1", login=READER).code == 164


def test_a_readers_limits_hold(curl: Curl) -> None:
    """Time, memory and rows: the query ends with the code of the limit, lowered here so that the test is short."""
    long = b"SELECT count() FROM numbers(10000000000) WHERE sipHash64(number) = 1"
    assert curl("/?max_execution_time=1", data=long, login=READER).code == 159
    assert (
        curl(
            "/?max_memory_usage=30000000", data=b"SELECT groupArray(number) FROM numbers(100000000)", login=READER
        ).code
        == 241
    )
    assert curl("/?max_result_rows=10", data=b"SELECT number FROM numbers(100000)", login=READER).code == 396
    assert curl("/?max_rows_to_read=10", data=b"SELECT count() FROM numbers(100000)", login=READER).code in (0, 158)


def test_a_reader_has_no_session(curl: Curl, database: str) -> None:
    """A reader that names a writer's session gets neither its temporary tables nor its settings."""
    session = f"session_id=shared-{database}"
    assert curl(f"/?{session}", data=b"CREATE TEMPORARY TABLE mine (a UInt8)").status == 200
    assert curl(f"/?{session}", data=b"SELECT count() FROM mine").body == b"0\n"
    assert curl(f"/?{session}", data=b"SELECT count() FROM mine", login=READER).code == 60


def test_a_reader_does_not_see_the_statements_of_others(curl: Curl) -> None:
    """system.processes is empty for a reader, however it is asked; the writer sees at least its own query there."""
    for text in (
        "SELECT count() FROM system.processes",
        "SELECT countIf(query != '') FROM merge('system', '^processes$')",
    ):
        assert curl("/", data=text.encode(), login=READER).body == b"0\n", text
    assert curl("/", data=b"SHOW PROCESSLIST", login=READER).body == b""
    assert int(curl("/", data=b"SELECT count() FROM system.processes").body) >= 1


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM file('{secret}', 'LineAsString')",
        "SELECT file('{secret}')",
        "SELECT arrayMap(file, ['{secret}'])",
        "SELECT arrayMap(x -> file(x), ['{secret}'])",
        "SELECT * APPLY(file) FROM (SELECT '{secret}')",
        "SELECT * FROM default.`{secret}`",
        "SELECT * FROM `default`.`{secret}` FORMAT Native",
        "INSERT INTO out.t FROM INFILE '{secret}' FORMAT CSV",
        "INSERT INTO out.t VALUES (1, file('{secret}'))",
        "INSERT INTO out.t SELECT 1, file('{secret}')",
        "CREATE TABLE out.a (x String) ENGINE = File(LineAsString, '{secret}')",
        "CREATE TABLE out.a (x String DEFAULT file('{secret}')) ENGINE = Memory",
        "CREATE DATABASE outfs ENGINE = Filesystem('/etc')",
        "CREATE DATABASE outfs ENGINE = SQLite('{secret}')",
        TABLE + "SETTINGS disk = disk(type = 'local', path = '/tmp/x/')",
        TABLE + "SETTINGS disk = disk(type = web, endpoint = 'http://127.0.0.1:1/')",
        "CREATE TABLE out.a (x String) ENGINE = URL('http://127.0.0.1:1/', CSV)",
        "CREATE TABLE out.a (x String) ENGINE = Executable('id', TSV)",
        "CREATE TABLE out.a (x String) ENGINE = Kafka('127.0.0.1:1', 'a', 'b', 'CSV')",
        "CREATE TABLE out.a (x String) ENGINE = S3('http://127.0.0.1:1/bucket/x', CSV)",
        "CREATE TABLE out.a AS remote('127.0.0.1:1', system.one)",
        DICTIONARY + "SOURCE(FILE(PATH '{secret}' FORMAT 'CSV'))",
        DICTIONARY + "SOURCE(EXECUTABLE(COMMAND 'id' FORMAT 'CSV'))",
        DICTIONARY + "SOURCE(HTTP(URL 'http://127.0.0.1:1/' FORMAT 'CSV'))",
        DICTIONARY + "SOURCE(CLICKHOUSE(QUERY 'SELECT 1 AS k, file(\\'{secret}\\') AS s'))",
        "SELECT * FROM Python(os)",
        "SELECT 1 INTO OUTFILE '{secret}'",
        "SELECT 1 INTO OUTFILE '{secret}' TRUNCATE FORMAT CSV",
        "BACKUP DATABASE ganzhi TO File('{secret}')",
        "CREATE NAMED COLLECTION n AS a = 1",
        "SYSTEM SHUTDOWN",
        "SYSTEM KILL",
        "SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a String')",
        "INSERT INTO FUNCTION file('{secret}', 'CSV', 'a String') VALUES ('x')",
        "INSERT INTO FUNCTION url('http://127.0.0.1:1/', 'CSV', 'a String') VALUES ('x')",
        "SELECT * FROM remote('127.0.0.1:1', system.one)",
        "SELECT * FROM s3('http://127.0.0.1:1/bucket/x', 'CSV')",
        "SELECT * FROM executable('id', 'TSV', 'a String')",
        "SELECT * FROM sqlite('{secret}', 'x')",
        "SELECT * FROM icebergLocal('/etc')",
    ],
)
def test_nobody_reaches_outside(curl: Curl, secret: Path, text: str) -> None:
    """The writer, too, can read and write no file, run no program, open no connection and stop no server."""
    curl("/", data=b"CREATE DATABASE IF NOT EXISTS out")
    curl("/", data=b"CREATE TABLE IF NOT EXISTS out.t (k UInt64, s String) ENGINE = MergeTree ORDER BY k")
    answer = curl("/", data=text.format(secret=secret).encode())
    assert answer.code in (497, 164, 62, 76, 481), answer.body
    assert b"the-secret" not in answer.body
    assert secret.read_text(encoding="utf-8") == "1,the-secret\n"
    assert curl("/", data=b"SELECT count() FROM out.t").body == b"0\n"


@pytest.mark.skipif(confine.landlock_version() == 0, reason="this system has no Landlock")
@pytest.mark.parametrize(
    "path", ["{secret}", "/etc/passwd", "{home}/users.json", "{home}/config/../users.json", "/proc/1/environ"]
)
def test_the_kernel_keeps_the_wall(
    curl: Curl, server: EmbeddedClickHouse, database: str, secret: Path, path: str
) -> None:
    """A read that no check of the text can see, an expression in inserted data, is refused by the kernel itself."""
    assert os.access(secret, os.R_OK)
    curl("/", data=f"CREATE TABLE {database}.w (s String) ENGINE = Memory".encode())
    file = path.format(secret=secret, home=server.folder)
    answer = curl(f"/?query=INSERT+INTO+{database}.w+FORMAT+Values", data=f"(file('{file}'))".encode())
    assert answer.code != 0
    assert b"Permission denied" in answer.body or b"Cannot open" in answer.body, answer.body
    assert curl("/", data=f"SELECT count() FROM {database}.w".encode()).body == b"0\n"


def test_names_that_only_look_like_it(curl: Curl, database: str) -> None:
    """A column called `file` and strings that mention file() are nothing special to the writer."""
    assert (
        curl("/", data=f"CREATE TABLE {database}.f (file String, python UInt8) ENGINE = Memory".encode()).status == 200
    )
    assert curl("/", data=f"INSERT INTO {database}.f (file, python) VALUES ('file(x)', 1)".encode()).status == 200
    assert (
        curl("/", data=f"SELECT file, python, length(file) FROM {database}.f WHERE file = 'file(x)'".encode()).body
        == b"file(x)\t1\t7\n"
    )


def test_the_server_knows_no_password(server: EmbeddedClickHouse) -> None:
    """Passwords are in no argument, environment or file of the server, and its files are the owner's only."""
    secrets = (READER_PASSWORD.encode(),)
    process = Path(f"/proc/{server.child.pid}")
    for content in ((process / "cmdline").read_bytes(), (process / "environ").read_bytes()):
        assert not any(secret in content for secret in secrets)
    for file in server.folder.rglob("*"):
        if file.is_file() and "data" not in file.relative_to(server.folder).parts:
            assert not any(secret in file.read_bytes() for secret in secrets), file
    assert server.folder.stat().st_mode & 0o077 == 0
    assert (server.folder / "users.json").stat().st_mode & 0o077 == 0
