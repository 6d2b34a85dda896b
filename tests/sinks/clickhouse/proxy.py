"""A bad network between the sink and ClickHouse: connections that break on the way there or on the way back."""

import http.client
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Literal, Self

Fate = Literal["pass", "cut body", "lose answer"]


class BadNetwork:
    """Listens on loopback and forwards to a server.

    Args:
        host: of the server.
        port: of the server.
        fate: told the number of an insert (from 0); says what becomes of it. Everything else passes.

    Attributes:
        port: where it listens.
        fates: what became of the inserts so far.
    """

    def __init__(self, host: str, port: int, fate: Callable[[int], Fate]) -> None:
        self.fates: list[Fate] = []
        network, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                doom: Fate = "pass"
                if body[:11] == b"INSERT INTO" and b"FORMAT Native\n" in body[:200]:
                    with lock:
                        doom = fate(len(network.fates))
                        network.fates.append(doom)
                if doom == "cut body":
                    self._send_half(body)
                    return self._hang_up()
                server = http.client.HTTPConnection(host, port)
                server.request(self.command, self.path, body, dict(self.headers.items()))
                answer = server.getresponse()
                data = answer.read()
                server.close()
                if doom == "lose answer":
                    return self._hang_up()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("transfer-encoding", "content-length", "connection", "server", "date"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
                return None

            do_GET = do_POST  # noqa: N815

            def _send_half(self, body: bytes) -> None:
                with socket.create_connection((host, port)) as server:
                    head = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
                    server.sendall(
                        f"{self.command} {self.path} HTTP/1.1\r\n{head}\r\n".encode() + body[: len(body) // 2]
                    )

            def _hang_up(self) -> None:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
