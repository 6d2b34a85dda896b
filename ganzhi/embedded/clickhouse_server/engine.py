"""The chdb engine: one per process, a connection per request or per client session.

A connection costs 0.2 ms and 47 KB, and takes its settings, current database and temporary tables with it when it is
closed: nothing is left for the next request. The wheel's calls release the GIL.
"""

import contextlib
import importlib
import itertools
import json
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ganzhi.embedded.clickhouse_server import spool
from ganzhi.embedded.clickhouse_server.codes import (
    BAD_ARGUMENTS,
    SESSION_IS_LOCKED,
    SESSION_NOT_FOUND,
    UNKNOWN_SETTING,
    from_engine,
    refused,
)
from ganzhi.embedded.clickhouse_server.statements import Insert

SESSIONS_MAX = 256
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def literal(value: str) -> str:
    """A string literal of ClickHouse."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


@dataclass(slots=True)
class Piece:
    """A part of a result: bytes in the format asked for, rows in them, what was read for it."""

    data: bytes
    rows: int
    read_rows: int
    read_bytes: int


@dataclass(slots=True)
class Written:
    """What an insert wrote, views included, or what a statement read and wrote."""

    rows: int
    bytes: int


class Connection:
    """One connection of the engine; used by one request at a time.

    Args:
        inner: of the wheel.
        tmp: folder for large inserts.
    """

    def __init__(self, inner: Any, tmp: Path) -> None:
        self._inner = inner
        self._tmp = tmp

    def close(self) -> None:
        """Cancels what runs, and forgets settings and temporary tables."""
        self._inner.close()

    def run(
        self, text: str, output_format: str = "TabSeparated", params: Mapping[str, str] | None = None
    ) -> tuple[Piece, Written]:
        """Runs a statement to its end; its whole result is in memory.

        Raises:
            ClickHouseRefused: with the engine's code, as all methods here.
        """
        try:
            result = self._inner.query(text, output_format, params=dict(params or {}))
            return _piece(result), Written(result.rows_written(), result.bytes_written())
        except Exception as error:
            raise from_engine(error) from error

    def stream(self, text: str, output_format: str, params: Mapping[str, str]) -> Iterator[Piece]:
        """Runs a query and gives its result in pieces of one block each; the last has no rows, but the format's end.

        The engine works ahead by a few blocks only: who does not take the next piece holds it back. Closing the
        iterator cancels the query.
        """
        running = None
        try:
            running = self._inner.send_query(text, output_format, params=dict(params))
            while True:
                piece = _piece(self._inner.streaming_fetch_result(running))
                yield piece
                if piece.rows == 0:
                    running = None
                    return
        except Exception as error:
            running = None
            raise from_engine(error) from error
        finally:
            if running is not None:
                with contextlib.suppress(Exception):
                    self._inner.streaming_cancel_query(running)

    def insert(self, statement: Insert, data: Iterator[bytes]) -> Written:
        """Inserts data that comes in pieces.

        The data are gathered first, so that a client that goes away in the middle has inserted nothing.

        The engine reads them as a file, `FROM INFILE`. Its calls made for streams (`send_insert`, `insert_done`)
        answer "done, 1 row" to a block that could not be written: no space left, a constraint, too many parts.
        """
        with spool.gathered(data, self._tmp) as path:
            try:
                result = self._inner.query(statement.reading(path), "TabSeparated")
            except Exception as error:
                raise from_engine(error) from error
        return Written(result.rows_written(), result.bytes_written())

    def classify(self, text: str) -> tuple[str, int]:
        """The engine's own judgement.

        READ_ONLY, MUTATING, CONTROL, … or UNKNOWN (it does not parse), and the number of statements.
        """
        report = self._inner.classify_query(text)
        return str(report["query_class"]).rpartition(".")[2], int(report["statement_count"])

    def use(self, database: str) -> None:
        """Makes a database the current one."""
        self.run("USE `" + database.replace("\\", "\\\\").replace("`", "\\`") + "`")

    def set(self, settings: Mapping[str, str]) -> None:
        """Sets settings for the rest of the connection's life."""
        if settings:
            for name in settings:
                if not _NAME.fullmatch(name):
                    raise refused(UNKNOWN_SETTING, f"Unknown setting '{name[:100]}'")
            self.run("SET " + ", ".join(f"{name} = {literal(value)}" for name, value in settings.items()))

    def set_params(self, params: Mapping[str, str]) -> None:
        """Sets query parameters where a call takes none."""
        for name in params:
            if not _PLAIN_NAME.fullmatch(name):
                raise refused(BAD_ARGUMENTS, f"'{name[:100]}' cannot be the name of a parameter")
        self.set({f"param_{name}": value for name, value in params.items()})

    def get(self, names: list[str]) -> dict[str, str]:
        """The present values of settings, as `set` takes them."""
        if not names:
            return {}
        columns = ", ".join(f"toString(getSetting({literal(name)}))" for name in names)
        piece, _ = self.run(f"SELECT {columns}", "JSONCompactEachRow")
        return dict(zip(names, json.loads(piece.data), strict=True))


def _piece(result: Any) -> Piece:
    if result is None:
        return Piece(b"", 0, 0, 0)
    data = result.bytes()
    return Piece(
        bytes(data) if data else b"",
        result.rows_read(),
        result.storage_rows_read() or 0,
        result.storage_bytes_read() or 0,
    )


@dataclass(slots=True)
class _Session:
    connection: Connection
    expires: float
    lock: threading.Lock = field(default_factory=threading.Lock)


class Engine:
    """The engine and its sessions.

    Args:
        data: folder of the tables.
        tmp: folder for large inserts.
        config: the engine's configuration file.
        databases: made when they are missing; the first is where a client is that names none.

    Attributes:
        version: of the engine.
        timezone: of the engine.
        database: the first of `databases`.
    """

    def __init__(self, data: Path, tmp: Path, config: Path, databases: tuple[str, ...]) -> None:
        self._tmp = tmp
        # Loading the wheel starts threads, so it comes after `confine`, and not with the imports above.
        self._connect = importlib.import_module("chdb._chdb").connect
        self._url = f"{data}?config-file={config}"
        self._keep = self.connect()  # while one is open, the engine stays
        for name in databases:
            self._keep.run(f"CREATE DATABASE IF NOT EXISTS `{name}` ENGINE = Atomic")
        self.database = databases[0]
        about, _ = self._keep.run("SELECT version(), timezone()")
        self.version, self.timezone = about.data.decode().split()
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self._lock = threading.Lock()
        self._marks = itertools.count(1)

    def connect(self) -> Connection:
        """A fresh connection."""
        try:
            return Connection(self._connect(self._url), self._tmp)
        except Exception as error:
            raise from_engine(error) from error

    def mark(self) -> str:
        """A mark that tells one running query from all others."""
        return f"request-{next(self._marks)}"

    def kill(self, mark: str) -> None:
        """Stops the query whose setting `log_comment` is this mark."""
        with contextlib.suppress(Exception), self.connection() as connection:
            connection.run(f"KILL QUERY WHERE Settings['log_comment'] = {literal(mark)} ASYNC")

    @contextlib.contextmanager
    def connection(self) -> Iterator[Connection]:
        """A fresh connection, closed at the end."""
        connection = self.connect()
        try:
            connection.use(self.database)
            yield connection
        finally:
            connection.close()

    @contextlib.contextmanager
    def session(self, name: str, timeout_s: float, must_exist: bool) -> Iterator[Connection]:
        """The connection of a client's session, made when it is missing, kept for `timeout_s` after this use.

        Raises:
            ClickHouseRefused: SESSION_IS_LOCKED while another request uses it, SESSION_NOT_FOUND.
        """
        session = self._take(name, must_exist)
        try:
            yield session.connection
        finally:
            session.expires = time.monotonic() + timeout_s
            session.lock.release()

    def _take(self, name: str, must_exist: bool) -> _Session:
        with self._lock:
            self._expire()
            session = self._sessions.get(name)
            if session is None:
                if must_exist:
                    raise refused(SESSION_NOT_FOUND, f"Session {name[:100]} not found")
                connection = self.connect()
                connection.use(self.database)
                session = self._sessions[name] = _Session(connection, time.monotonic() + 60)
            if not session.lock.acquire(blocking=False):
                raise refused(SESSION_IS_LOCKED, f"Session {name[:100]} is locked by a concurrent client")
            self._sessions.move_to_end(name)
            return session

    def _expire(self) -> None:
        """Closes sessions whose time is over, and the ones unused for longest when there are too many."""
        now = time.monotonic()
        surplus = len(self._sessions) - SESSIONS_MAX + 1
        for name, session in list(self._sessions.items()):
            if (session.expires < now or surplus > 0) and session.lock.acquire(blocking=False):
                del self._sessions[name]
                surplus -= 1
                session.connection.close()

    def close(self) -> None:
        """Closes all sessions and the engine."""
        with self._lock:
            for session in self._sessions.values():
                session.connection.close()
            self._sessions.clear()
        self._keep.close()
