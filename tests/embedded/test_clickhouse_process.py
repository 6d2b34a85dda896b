"""The process of the embedded ClickHouse: one per folder and port; what was acknowledged survives its end."""

from __future__ import annotations

import base64
import socket
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from ganzhi.embedded.clickhouse import EmbeddedClickHouse
from ganzhi.embedded.clickhouse_server import configuration, spool
from schemas.errors import ChildDied, FolderInUse, PortInUse
from tests.embedded.conftest import MEMORY_BYTES, READER_PASSWORD, WRITER_PASSWORD, run_curl
from tests.support.disk import fill

Make = Callable[..., EmbeddedClickHouse]


@pytest.fixture
def make(request: pytest.FixtureRequest, free_folder: Path) -> Make:
    """Makes servers of this test's own, on its own folder unless told otherwise; killed at the end."""

    def one(folder: Path | None = None, port: int = 0, **options: object) -> EmbeddedClickHouse:
        made = EmbeddedClickHouse(
            folder or free_folder, port, WRITER_PASSWORD, READER_PASSWORD, memory_bytes=MEMORY_BYTES, **options
        )  # type: ignore[arg-type]
        request.addfinalizer(made.kill)
        return made

    return one


def started(one: EmbeddedClickHouse) -> EmbeddedClickHouse:
    """Starts and waits."""
    one.start()
    one.wait_ready()
    return one


def ask(one: EmbeddedClickHouse, text: str, data: bytes = b"") -> bytes:
    """Runs a statement and gives the body of its reply, which must not be an error."""
    answer = run_curl(one.port, "/", data=text.encode() + data)
    assert answer.status == 200, answer.body
    return answer.body


def test_a_folder_has_one_server(make: Make) -> None:
    """A second server on the same folder is refused and named the first; the first goes on."""
    first = started(make())
    with pytest.raises(FolderInUse) as caught:
        make().start()
    assert caught.value.owner_pid == first.child.pid
    assert ask(first, "SELECT 1") == b"1\n"


def test_a_port_has_one_server(make: Make, tmp_path: Path) -> None:
    """A port that somebody listens on is refused with its number."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortInUse) as caught:
            make(tmp_path / "other", port).start()
    assert caught.value.port == port


def test_a_server_that_cannot_start_says_why(make: Make, free_folder: Path) -> None:
    """Data that the engine cannot open: ChildDied, with the engine's reason from the log."""
    free_folder.mkdir()
    (free_folder / "data").write_text("not a folder", encoding="utf-8")
    one = make()
    with pytest.raises(ChildDied, match="data"):
        started(one)


def test_it_listens_on_loopback_only(make: Make) -> None:
    """The only port is on 127.0.0.1."""
    one = started(make())
    listening = [
        c.laddr for c in psutil.Process(one.child.pid).net_connections("tcp") if c.status == psutil.CONN_LISTEN
    ]
    assert [(address.ip, address.port) for address in listening] == [("127.0.0.1", one.port)]


def test_databases_and_the_default_one(make: Make) -> None:
    """The databases asked for are there; who names none is in the first."""
    one = started(make(databases=("first", "second")))
    assert ask(one, "SELECT currentDatabase()") == b"first\n"
    assert (
        ask(one, "SELECT count() FROM system.databases WHERE name IN ('first', 'second') AND engine = 'Atomic'")
        == b"2\n"
    )


def test_data_and_new_passwords_after_a_clean_stop(make: Make, free_folder: Path) -> None:
    """Stop and start: tables are there; a started server knows the passwords it was given last."""
    one = started(make())
    ask(one, "CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a")
    ask(one, "INSERT INTO t VALUES (1)")
    one.stop()
    assert one.child.returncode == 0
    other = EmbeddedClickHouse(free_folder, 0, "new", "newer", memory_bytes=MEMORY_BYTES)
    try:
        started(other)
        assert run_curl(other.port, "/", data=b"SELECT count() FROM t", login="default:new").body == b"1\n"
        assert run_curl(other.port, "/", data=b"SELECT 1").code == 516
    finally:
        other.kill()


def test_a_stop_waits_for_what_runs(make: Make) -> None:
    """A statement that still takes seconds when the stop comes still gets its whole reply."""
    one = started(make())
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(
            run_curl, one.port, "/", data=b"SELECT sleepEachRow(0.5), 7 FROM numbers(6) SETTINGS max_block_size = 1"
        )
        while ask(one, "SELECT count() FROM system.processes WHERE query LIKE '%sleepEachRow%'") == b"1\n":
            pass  # 1: the asking query itself
        one.stop()
        assert running.result().body == b"0\t7\n" * 6


def test_the_memory_limit_holds(make: Make) -> None:
    """A query beyond the server's limit is refused with 241, and the server lives."""
    one = make()
    one._memory_bytes = 400 << 20
    started(one)
    answer = run_curl(one.port, "/", data=b"SELECT length(groupArray(number)) FROM numbers(1000000000)")
    assert answer.code == 241
    assert ask(one, "SELECT 1") == b"1\n"


def test_acknowledged_rows_survive_kills_during_inserts(make: Make) -> None:
    """Five kill -9 during inserts: every acknowledged range is there once, and a retry completes the others."""
    one = started(make())
    ask(
        one,
        "CREATE TABLE t (w UInt32, n UInt32) ENGINE = MergeTree ORDER BY (w, n) "
        "SETTINGS non_replicated_deduplication_window = 10000",
    )
    rows = 2000
    sent: dict[tuple[int, int], bool] = {}

    def insert(round_: int, number: int) -> bool:
        body = b"".join(b"%d\t%d\n" % (round_ * 1000 + number, n) for n in range(rows))
        target = f"/?insert_deduplication_token={round_}-{number}&query=INSERT+INTO+t+FORMAT+TSV"
        return run_curl(one.port, target, data=body).status == 200

    for round_ in range(5):
        enough = threading.Event()

        def work(first: int, round_: int = round_, enough: threading.Event = enough) -> None:
            for number in range(first, 1000, 3):
                sent[round_, number] = insert(round_, number)
                if not sent[round_, number]:
                    return
                if number >= 9:
                    enough.set()

        with ThreadPoolExecutor(3) as pool:
            done = [pool.submit(work, first) for first in range(3)]
            enough.wait()
            one.kill()
            for future in done:
                future.result()
        started(one)
        found: dict[int, int] = {}
        for line in ask(one, "SELECT w, count(), uniqExact(n) FROM t GROUP BY w").decode().splitlines():
            key, count, distinct = map(int, line.split())
            assert count == distinct
            found[key] = count
        for (at, number), acknowledged in sent.items():
            if acknowledged:
                assert found[at * 1000 + number] == rows, (at, number)
        for (at, number), acknowledged in sent.items():
            if not acknowledged:
                assert insert(at, number)
                sent[at, number] = True
    assert int(ask(one, "SELECT count() FROM t")) == rows * len(sent)
    assert any(number >= 9 for _, number in sent)


def test_the_engine_took_its_configuration(make: Make) -> None:
    """Pool, memory, merge size and the writer's time limit are what the configuration says."""
    one = started(make())
    names = "('background_pool_size', 'max_server_memory_usage')"
    found = ask(one, f"SELECT name, value FROM system.server_settings WHERE name IN {names} ORDER BY name")
    assert found == f"background_pool_size\t2\nmax_server_memory_usage\t{MEMORY_BYTES}\n".encode()
    merge = ask(
        one, "SELECT value FROM system.merge_tree_settings WHERE name = 'max_bytes_to_merge_at_max_space_in_pool'"
    )
    assert int(merge) == configuration.EngineLimits(0).merge_bytes_max
    assert ask(one, "SELECT toUInt32(getSetting('max_execution_time'))") == b"3600\n"


def test_an_insert_on_a_full_disk_is_refused(make: Make, free_folder: Path) -> None:
    """No space left: an error and not an acknowledgement, for as long as it lasts; then the same insert is stored."""
    free_folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=96m", "none", str(free_folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"needs a file system of its own, and nothing can be mounted here: {mounted.stderr.strip()}")
    one = make()
    try:
        started(one)
        ask(one, "CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
        ballast = free_folder / "ballast"
        fill(ballast)
        for _ in range(3):
            refused = run_curl(one.port, "/?query=INSERT+INTO+t+FORMAT+TSV", data=b"1\n")
            assert refused.status == 500, refused.body
            assert b"Code: 243" in refused.body
            fill(ballast)
        large = b"1\n" * (spool.MEMORY_BYTES_MAX // 2 + 1)
        refused = run_curl(one.port, "/?query=INSERT+INTO+t+FORMAT+TSV", data=large)
        assert refused.status == 500, refused.body
        assert b"cannot be kept: No space left" in refused.body
        ballast.unlink()
        ask(one, "INSERT INTO t FORMAT TSV\n", b"1\n")
        assert ask(one, "SELECT count() FROM t") == b"1\n"
    finally:
        one.kill()
        subprocess.run(["umount", str(free_folder)], check=True)


def test_an_insert_whose_client_goes_away_is_not_stored(make: Make) -> None:
    """A body that ends before its announced length: nothing of it is stored, and the server serves on."""
    one = started(make())
    ask(one, "CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
    data = b"".join(b"%d\n" % n for n in range(1000))
    login = base64.b64encode(f"default:{WRITER_PASSWORD}".encode())
    line = b"POST /?query=INSERT+INTO+t+FORMAT+TSV HTTP/1.1\r\n"
    head = line + b"Host: localhost\r\nAuthorization: Basic %s\r\nContent-Length: %d\r\n\r\n"
    with socket.create_connection(("127.0.0.1", one.port), timeout=30) as connection:
        connection.sendall(head % (login, len(data) + 1) + data)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
    assert ask(one, "SELECT count() FROM t") == b"0\n"
