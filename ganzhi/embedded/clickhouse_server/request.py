"""A request as the queries need it: parameters, credentials, the body in pieces."""

import base64
import binascii
import email.parser
import email.policy
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from io import BufferedReader
from urllib.parse import parse_qsl, urlsplit

from ganzhi.embedded.clickhouse_server.codecs import PIECE_BYTES, decompressed
from ganzhi.embedded.clickhouse_server.codes import (
    BAD_ARGUMENTS,
    NOT_IMPLEMENTED,
    QUERY_TOO_LARGE,
    SOCKET_TIMEOUT,
    refused,
)
from ganzhi.embedded.clickhouse_server.frames import unframed
from ganzhi.embedded.clickhouse_server.statements import TEXT_BYTES_MAX
from ganzhi.embedded.clickhouse_server.users import WRITER

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
FIELDS_MAX = 2000
#: A client that takes longer than this, in sum, to send a body is cut off: it must not hold a place in the engine.
BODY_WAIT_S = 600.0
#: After an error, up to this much of a body is read and thrown away, so that the client gets to read the reply.
DRAIN_BYTES = 256 << 20
DRAIN_S = 10.0


class Body:
    """The body of a request, read from the socket on demand, never as a whole.

    Raises:
        ClickHouseRefused: lengths that are not numbers, a chunk that is not one; SOCKET_TIMEOUT for a client that is
            too slow.
        ConnectionError: the client went away in the middle.
    """

    def __init__(self, source: BufferedReader, headers: Message) -> None:
        self._source = source
        self._pieces = self._read(headers)
        self._wait_s = 0.0
        self.ended = False

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def drain(self) -> bool:
        """Throws the rest away; False where it was too much or too slow, and the connection has to be closed."""
        deadline = time.monotonic() + DRAIN_S
        size = 0
        try:
            for piece in self._pieces:
                size += len(piece)
                if size > DRAIN_BYTES or time.monotonic() > deadline:
                    return False
        except Exception:  # noqa: BLE001 - whatever it is, the connection cannot be used again
            return False
        return self.ended

    def _read(self, headers: Message) -> Iterator[bytes]:
        encoding = headers.get("Transfer-Encoding", "").strip().lower()
        length = headers.get("Content-Length", "0").strip()
        if encoding not in ("", "chunked") or (encoding and "Content-Length" in headers) or not length.isdecimal():
            raise refused(BAD_ARGUMENTS, "Content-Length or Transfer-Encoding is not valid")
        if encoding:
            yield from self._chunked()
        else:
            yield from self._exactly(int(length))
        self.ended = True

    def _chunked(self) -> Iterator[bytes]:
        while True:
            line = self._line()
            try:
                size = int(line.split(b";")[0].strip() or b"-", 16)
            except ValueError:
                raise refused(BAD_ARGUMENTS, "a chunk of the body does not begin with its length") from None
            if size < 0:
                raise refused(BAD_ARGUMENTS, "a chunk of the body has a negative length")
            if size == 0:
                break
            yield from self._exactly(size)
            self._line()
        while self._line().strip():
            pass

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            piece = self._timed(min(size, PIECE_BYTES))
            if not piece:
                raise ConnectionError("the body was cut short")
            size -= len(piece)
            yield piece

    def _line(self) -> bytes:
        line = self._source.readline(8192)
        if not line:
            raise ConnectionError("the body was cut short")
        return line

    def _timed(self, size: int) -> bytes:
        start = time.monotonic()
        piece = self._source.read1(size)  # what is there, so that the time is looked at after each arrival
        self._wait_s += time.monotonic() - start
        if self._wait_s > BODY_WAIT_S:
            raise refused(SOCKET_TIMEOUT, f"the body did not come within {BODY_WAIT_S:g} s")
        return piece


@dataclass(slots=True)
class Request:
    """What a client asks for.

    Attributes:
        method: GET, HEAD or POST.
        path: without the query string.
        fields: parameters of the URL, and of a form; later ones win.
        headers: of HTTP.
        body: the raw body.
        query_id: the client's, or one made here.
    """

    method: str
    path: str
    fields: dict[str, str]
    headers: Message
    body: Body
    query_id: str

    @property
    def data(self) -> Iterator[bytes]:
        """The body, decompressed."""
        plain = decompressed(self.body, self.headers.get("Content-Encoding", "").strip().lower())
        return unframed(plain) if self.flag("decompress") else plain

    def flag(self, name: str) -> bool:
        """Whether a field of the interface is switched on."""
        return self.fields.get(name, "0") not in ("", "0", "false")

    @property
    def settings(self) -> dict[str, str]:
        """Fields that are settings of the engine."""
        return {
            name: value
            for name, value in self.fields.items()
            if name not in TRANSPORT_FIELDS and not name.startswith("param_")
        }

    @property
    def params(self) -> dict[str, str]:
        """Query parameters, without their prefix."""
        return {name.removeprefix("param_"): value for name, value in self.fields.items() if name.startswith("param_")}

    def credentials(self) -> tuple[str, str]:
        """User and password: from X-ClickHouse headers, Basic authorization, or the URL, in this order.

        Raises:
            ClickHouseRefused: an Authorization header that is not valid.
        """
        name = self.headers.get("X-ClickHouse-User")
        if name is not None:
            return _text(name), _text(self.headers.get("X-ClickHouse-Key", ""))
        authorization = self.headers.get("Authorization", "")
        if authorization:
            scheme, _, encoded = authorization.partition(" ")
            try:
                plain = base64.b64decode(encoded.strip() if scheme.lower() == "basic" else "-", validate=True).decode()
            except (ValueError, binascii.Error):
                raise refused(BAD_ARGUMENTS, "the Authorization header is not Basic") from None
            name, _, password = plain.partition(":")
            return name, password
        return self.fields.get("user", WRITER), self.fields.get("password", "")


def _text(value: str) -> str:
    """A header's value, which http.client reads as Latin-1, as the UTF-8 that it is where it is that."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


#: Fields of the interface itself; everything else is a setting or a query parameter.
TRANSPORT_FIELDS = frozenset(
    {
        *("query", "database", "default_format", "user", "password", "query_id", "quota_key", "role", "stacktrace"),
        *("session_id", "session_timeout", "session_check", "close_session"),
        *(
            "compress",
            "decompress",
            "enable_http_compression",
            "http_zlib_compression_level",
            "buffer_size",
            "wait_end_of_query",
        ),
        *(
            "client_protocol_version",
            "send_progress_in_http_headers",
            "http_headers_progress_interval_ms",
            "add_http_cors_header",
        ),
        *(
            "http_response_headers",
            "http_write_exception_in_output_format",
            "cancel_http_readonly_queries_on_client_close",
        ),
        *("http_wait_end_of_query", "http_response_buffer_size", "http_receive_timeout", "http_send_timeout"),
    }
)


def make_request(method: str, target: str, headers: Message, source: BufferedReader) -> Request:
    """Reads line and headers of a request; the body stays on the socket.

    Raises:
        ClickHouseRefused: more than FIELDS_MAX fields.
    """
    url = urlsplit(target)
    try:
        fields = dict(parse_qsl(url.query, keep_blank_values=True, max_num_fields=FIELDS_MAX))
    except ValueError:
        raise refused(BAD_ARGUMENTS, f"more than {FIELDS_MAX} parameters in the URL") from None
    if "X-ClickHouse-Database" in headers:
        fields.setdefault("database", headers["X-ClickHouse-Database"])
    if "X-ClickHouse-Format" in headers:
        fields.setdefault("default_format", headers["X-ClickHouse-Format"])
    query_id = "".join(c for c in fields.get("query_id", "")[:256] if c.isprintable() and c.isascii()) or str(
        uuid.uuid4()
    )
    return Request(method, url.path, fields, headers, Body(source, headers), query_id)


def host_allowed(host: str) -> bool:
    """Whether a Host header names this machine: a page of elsewhere, made to resolve here, must not get an answer."""
    name = urlsplit(f"//{host.strip()}").hostname or ""
    return name in LOOPBACK_NAMES or name.endswith(".localhost")


def read_form(request: Request) -> None:
    """Puts the fields of a multipart form into `request.fields`.

    Raises:
        ClickHouseRefused: a form longer than TEXT_BYTES_MAX, or with files in it (external tables).
    """
    head = b"Content-Type: " + request.headers.get("Content-Type", "").encode("latin-1", "replace") + b"\r\n\r\n"
    raw = bytearray(head)
    for piece in request.data:
        raw += piece
        if len(raw) > TEXT_BYTES_MAX:
            raise refused(QUERY_TOO_LARGE, f"the form is longer than {TEXT_BYTES_MAX} bytes")
    document: Message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(bytes(raw))
    for part in document.walk():
        name = part.get_param("name", header="content-disposition")
        if not isinstance(name, str):
            continue
        if part.get_filename() is not None:
            raise refused(
                NOT_IMPLEMENTED, "external tables are not supported by this server; use a temporary table in a session"
            )
        payload = part.get_payload(decode=True)
        if isinstance(payload, bytes):
            request.fields[name] = payload.decode(errors="surrogateescape")
