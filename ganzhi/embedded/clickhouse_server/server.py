"""The HTTP server: connections, places in the engine, clients that go away."""

import contextlib
import logging
import select
import socket
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedReader
from typing import Any, cast

from ganzhi.embedded.clickhouse_server import queries, users, work
from ganzhi.embedded.clickhouse_server.codes import TOO_MANY_QUERIES, from_engine, refused
from ganzhi.embedded.clickhouse_server.engine import Engine
from ganzhi.embedded.clickhouse_server.request import Request, host_allowed, make_request
from ganzhi.embedded.clickhouse_server.response import Reply

CONNECTIONS_MAX = 256
#: Statements at a time; readers together get half, so that they cannot keep the writer out.
PLACES = 16
READER_PLACES = 8
PLACE_WAIT_S = 30.0
#: A connection that is silent for this long, while a request is read or a reply is taken, is cut.
SILENCE_S = 60.0
WATCH_INTERVAL_S = 0.5
SOCKET_BYTES = 1 << 20

TOO_MANY_CONNECTIONS = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)

log = logging.getLogger(__name__)


class Running:
    """Statements that run now, so that one whose client has gone away is stopped."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._sockets: dict[str, socket.socket] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)
        self._thread.start()

    @contextlib.contextmanager
    def watched(self, mark: str, connection: socket.socket) -> Any:
        """Watches a client while its statement runs."""
        with self._lock:
            self._sockets[mark] = connection
        try:
            yield
        finally:
            with self._lock:
                self._sockets.pop(mark, None)

    def kill_all(self) -> None:
        """Stops everything that runs."""
        with self._lock:
            marks = list(self._sockets)
        for mark in marks:
            self._engine.kill(mark)

    def count(self) -> int:
        """How many run."""
        with self._lock:
            return len(self._sockets)

    def close(self) -> None:
        """Ends the watching."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(WATCH_INTERVAL_S):
            with self._lock:
                items = list(self._sockets.items())
            for mark, connection in items:
                if _gone(connection):
                    log.info("client of %s is gone", mark)
                    self._engine.kill(mark)


def _gone(connection: socket.socket) -> bool:
    """Whether the other side has closed; bytes that wait (a next request, the rest of a body) say that it has not."""
    try:
        readable, _, _ = select.select([connection], [], [], 0)
        return bool(readable) and connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except (OSError, ValueError):
        return False  # closed on our side meanwhile: nothing to stop


class Handler(BaseHTTPRequestHandler):
    """One connection of a client; a thread each."""

    protocol_version = "HTTP/1.1"
    timeout = SILENCE_S
    rbufsize = 64 << 10
    wbufsize = 256 << 10
    disable_nagle_algorithm = True

    @property
    def _owner(self) -> "Server":
        return cast("Server", self.server)

    def do_GET(self) -> None:
        """Answers a request of any method."""
        owner = self._owner
        request: Request | None = None
        reply = Reply(self, None, owner.engine.version, owner.engine.timezone)
        try:
            request = make_request(self.command, self.path, self.headers, cast("BufferedReader", self.rfile))
            reply = Reply(self, request, owner.engine.version, owner.engine.timezone)
            if not host_allowed(self.headers.get("Host", "localhost")):
                self.close_connection = True
                reply.text(421, b"This server answers to names of this machine only\n")
                return
            self._answer(request, reply)
            if not request.body.ended and not request.body.drain():
                self.close_connection = True
            self.wfile.flush()
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        except Exception as error:  # noqa: BLE001 - a fault in one request must not end the server
            self._fail(request, reply, error)

    do_POST = do_GET  # noqa: N815 - the names are http.server's
    do_HEAD = do_GET  # noqa: N815

    def _fail(self, request: Request | None, reply: Reply, error: Exception) -> None:
        translated = from_engine(error)
        if translated.code == 1002:
            log.warning("request failed", exc_info=error)
        if reply.started:
            self.close_connection = True
            return
        # The rest of the body is taken first: a client that still sends would see a reset instead of the reply.
        if request is None or not request.body.drain():
            self.close_connection = True
        with contextlib.suppress(OSError):
            reply.error(translated)
            self.wfile.flush()

    def _answer(self, request: Request, reply: Reply) -> None:
        if request.path in ("/ping", "/replicas_status"):
            reply.text(200, b"Ok.\n")
        elif request.path not in ("/", ""):
            known = b"Use / or /ping for health checks, or /?query=... for queries."
            reply.text(
                404, b"There is no handle " + request.path.encode(errors="replace")[:200] + b". " + known + b"\n"
            )
        elif request.method != "POST" and not request.fields.get("query"):
            reply.text(200, b"Ok.\n")
        else:
            user = users.authenticate(self._owner.users, *request.credentials())
            task = work.prepare(request, user)  # reads the text, so a slow client holds no place meanwhile
            with self._owner.place(user):
                mark = self._owner.engine.mark()
                with self._owner.running.watched(mark, self.connection):
                    queries.Runner(self._owner.engine, request, user, mark).run(task, reply)

    def version_string(self) -> str:
        """The Server header."""
        return "ClickHouse"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
        """Nothing: statements and addresses do not belong in a log by default."""


class Server(ThreadingHTTPServer):
    """Listens on loopback.

    Args:
        listener: a socket that is bound, and listens from here on.
        engine: the engine.
        known: the users.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, listener: socket.socket, engine: Engine, known: Mapping[str, users.User]) -> None:
        super().__init__(listener.getsockname()[:2], Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.engine = engine
        self.users = known
        self.running = Running(engine)
        self._connections = threading.BoundedSemaphore(CONNECTIONS_MAX)
        self._places = threading.BoundedSemaphore(PLACES)
        self._reader_places = threading.BoundedSemaphore(READER_PLACES)
        self.server_activate()

    @contextlib.contextmanager
    def place(self, user: users.User) -> Any:
        """A place in the engine.

        Raises:
            ClickHouseRefused: TOO_MANY_SIMULTANEOUS_QUERIES, when none is free within PLACE_WAIT_S.
        """
        with contextlib.ExitStack() as held:
            wanted = [self._reader_places, self._places] if user.role == "reader" else [self._places]
            for places in wanted:
                if not places.acquire(timeout=PLACE_WAIT_S):
                    raise refused(
                        TOO_MANY_QUERIES, f"Too many simultaneous queries, no place within {PLACE_WAIT_S:g} s"
                    )
                held.callback(places.release)
            yield

    def process_request(self, request: Any, client_address: Any) -> None:
        """Gives a connection its thread, or refuses it when there are too many."""
        if not self._connections.acquire(blocking=False):
            with contextlib.suppress(OSError):
                request.sendall(TOO_MANY_CONNECTIONS)
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no more threads
            self._connections.release()
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serves one connection to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke in a way nobody expected."""
        del request, client_address
        error = sys.exception()
        if not isinstance(error, OSError):  # a client may reset its connection when it likes
            log.warning("connection failed: %r", error)


def bind(port: int) -> socket.socket:
    """A socket on 127.0.0.1; port 0 takes a free one.

    Raises:
        OSError: the port is taken.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.close()
        raise
    return listener
