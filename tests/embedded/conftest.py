"""A ClickHouse server that the tests of this folder share, clients of both users, and curl."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ganzhi.embedded.clickhouse import EmbeddedClickHouse

WRITER_PASSWORD = "writer's :pass/wörd"
READER_PASSWORD = "reader-password"
MEMORY_BYTES = 2 << 30


@dataclass(frozen=True)
class Answer:
    """What curl got: its own exit status, the last HTTP status, headers in small letters, body."""

    exit: int
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> int:
        """ClickHouse's error code, 0 where there is none."""
        return int(self.headers.get("x-clickhouse-exception-code", "0"))


def run_curl(port: int, target: str, *options: str, data: bytes | None = None, login: str | None = "") -> Answer:
    """Runs curl against a server; `login` is the writer's unless given, None sends none."""
    who = [] if login is None else ["--user", login or f"default:{WRITER_PASSWORD}"]
    body = [] if data is None else ["--data-binary", "@-"]
    command = [
        "curl",
        "--silent",
        "--globoff",
        "--max-time",
        "60",
        "--dump-header",
        "-",
        *who,
        *body,
        *options,
        f"http://127.0.0.1:{port}{target}",
    ]
    done = subprocess.run(command, input=data or b"", capture_output=True, timeout=90)
    head, _, rest = done.stdout.partition(b"\r\n\r\n")
    while head.startswith(b"HTTP/1.1 100"):
        head, _, rest = rest.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    return Answer(done.returncode, int(lines[0].split()[1]) if head else 0, headers, rest)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedClickHouse]:
    """The shared server; tests make databases of their own in it and never stop it."""
    folder = tmp_path_factory.mktemp("clickhouse")
    one = EmbeddedClickHouse(folder, 0, WRITER_PASSWORD, READER_PASSWORD, memory_bytes=MEMORY_BYTES)
    one.start()
    one.wait_ready()
    yield one
    one.kill()


@pytest.fixture
def connect(server: EmbeddedClickHouse) -> Iterator[Callable[..., Any]]:
    """Makes clickhouse-connect clients, the writer's unless told otherwise; closed at the end."""
    import clickhouse_connect

    made: list[Any] = []

    def make(**options: Any) -> Any:
        login = {"username": "default", "password": WRITER_PASSWORD}
        client = clickhouse_connect.get_client(host="127.0.0.1", port=server.port, **{**login, **options})
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


@pytest.fixture
def database(connect: Callable[..., Any]) -> Iterator[str]:
    """A database of this test's own."""
    name = f"t{uuid.uuid4().hex[:12]}"
    client = connect()
    client.command(f"CREATE DATABASE {name}")
    yield name
    client.command(f"DROP DATABASE {name} SYNC")


@pytest.fixture
def writer(connect: Callable[..., Any], database: str) -> Any:
    """The writer in this test's database."""
    return connect(database=database)


@pytest.fixture
def reader(connect: Callable[..., Any], database: str) -> Any:
    """The reader in this test's database."""
    return connect(database=database, username="reader", password=READER_PASSWORD)


@pytest.fixture
def curl(server: EmbeddedClickHouse) -> Callable[..., Answer]:
    """Asks with curl: `curl(target, *options, data=…, login=…)`."""
    return lambda target, *options, **more: run_curl(server.port, target, *options, **more)


@pytest.fixture
def free_folder(tmp_path: Path) -> Path:
    """A folder for a server of the test's own."""
    return tmp_path / "clickhouse"
