"""Replies.

The headers that ClickHouse's clients look at, compression, chunks, and an error in the middle of a stream.
"""

import json
import secrets
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler

from ganzhi.embedded.clickhouse_server import codecs, codes, formats
from ganzhi.embedded.clickhouse_server.frames import FrameCompressor
from ganzhi.embedded.clickhouse_server.request import Request
from schemas.errors import ClickHouseRefused

DISPLAY_NAME = "ganzhi"
FRAME_BYTES = 1 << 20


@dataclass(slots=True)
class Summary:
    """What X-ClickHouse-Summary says; what is not known yet is 0."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    result_bytes: int = 0
    elapsed_ns: int = 0

    def __str__(self) -> str:
        names = (
            "read_rows",
            "read_bytes",
            "written_rows",
            "written_bytes",
            "result_rows",
            "result_bytes",
            "elapsed_ns",
        )
        return json.dumps(
            {**{name: str(getattr(self, name)) for name in names}, "total_rows_to_read": "0"}, separators=(",", ":")
        )


class Reply:
    """Writes one reply through an HTTP handler.

    Args:
        handler: of the connection.
        request: what is answered; None where it could not be read.
        version: of the engine.
        timezone: of the engine.
    """

    def __init__(self, handler: BaseHTTPRequestHandler, request: Request | None, version: str, timezone: str) -> None:
        self._handler = handler
        self._request = request
        self._version = version
        self._timezone = timezone
        self._compressor: codecs.Compressor | None = None
        self._tag = ""
        self.started = False
        self.wanted_body = handler.command != "HEAD"

    def whole(self, data: bytes | memoryview, output_format: str = "", summary: Summary | None = None) -> None:
        """A result that is complete; `output_format` is empty for a statement that has none."""
        encoding, compressor = self._compression() if len(data) else ("", None)
        if compressor:
            data = compressor.compress(bytes(data)) + compressor.flush()
        self._head(200, output_format, summary or Summary(), {"Content-Length": str(len(data))}, encoding)
        if self.wanted_body:
            self._handler.wfile.write(data)

    def text(self, status: int, data: bytes) -> None:
        """A plain text."""
        self._head(status, "", None, {"Content-Length": str(len(data))}, "")
        if self.wanted_body:
            self._handler.wfile.write(data)

    def error(self, error: ClickHouseRefused) -> None:
        """An error before anything else was sent."""
        data = codes.body(error, self._version)
        extra = {"Content-Length": str(len(data)), "X-ClickHouse-Exception-Code": str(error.code)}
        if error.code == codes.TOO_MANY_QUERIES:
            extra["Retry-After"] = "1"
        self._head(codes.status(error.code), "", Summary(), extra, "")
        if self.wanted_body:
            self._handler.wfile.write(data)

    def begin(self, output_format: str, summary: Summary) -> None:
        """Begins a result that comes in pieces."""
        encoding, self._compressor = self._compression()
        self._tag = secrets.token_hex(8)
        extra = {"Transfer-Encoding": "chunked", "X-ClickHouse-Exception-Tag": self._tag}
        self._head(200, output_format, summary, extra, encoding)

    def piece(self, data: bytes) -> None:
        """Goes on with it; waits while the client does not take it."""
        self._chunk(self._compressor.compress(data) if self._compressor else data)

    def end(self) -> None:
        """Ends it."""
        if self._compressor:
            self._chunk(self._compressor.flush())
        if self.wanted_body:
            self._handler.wfile.write(b"0\r\n\r\n")
            self._handler.wfile.flush()

    def abort(self, error: ClickHouseRefused) -> None:
        """Too late for a status.

        The exception goes behind the data, between tags that the header announced, and the connection is cut
        without the last chunk, so that no client takes what it has for the whole result.
        """
        text = codes.body(error, self._version)
        tag = self._tag.encode()
        self.piece(b"\r\n__exception__\r\n%s\r\n%s%d %s\r\n__exception__\r\n" % (tag, text, len(text), tag))
        if self._compressor:
            self._chunk(self._compressor.flush())
        self._handler.wfile.flush()
        self._handler.close_connection = True

    def _compression(self) -> tuple[str, codecs.Compressor | None]:
        """What the client asked for: the Content-Encoding, and what compresses."""
        if self._request is None:
            return "", None
        if self._request.flag("compress"):  # ClickHouse's own frames: no encoding of HTTP
            return "", FrameCompressor()
        accepted = self._request.headers.get("Accept-Encoding", "")
        encoding = codecs.choose(accepted) if self._request.flag("enable_http_compression") else ""
        return encoding, codecs.compressor(encoding) if encoding else None

    def _chunk(self, data: bytes) -> None:
        if not data or not self.wanted_body:
            return
        for start in range(0, len(data), FRAME_BYTES):
            frame = data[start : start + FRAME_BYTES] if len(data) > FRAME_BYTES else data
            self._handler.wfile.write(b"%x\r\n" % len(frame))
            self._handler.wfile.write(frame)
            self._handler.wfile.write(b"\r\n")

    def _head(
        self, status: int, output_format: str, summary: Summary | None, extra: dict[str, str], encoding: str
    ) -> None:
        handler = self._handler
        self.started = True
        handler.send_response(status)
        handler.send_header("Content-Type", formats.content_type(output_format))
        handler.send_header("X-ClickHouse-Server-Display-Name", DISPLAY_NAME)
        handler.send_header("X-ClickHouse-Timezone", self._timezone)
        if self._request is not None:
            handler.send_header("X-ClickHouse-Query-Id", self._request.query_id)
        if output_format:
            handler.send_header("X-ClickHouse-Format", output_format)
        if summary is not None:
            handler.send_header("X-ClickHouse-Summary", str(summary))
        for name, value in extra.items():
            handler.send_header(name, value)
        if encoding:
            handler.send_header("Content-Encoding", encoding)
        handler.send_header("Connection", "close" if handler.close_connection else "Keep-Alive")
        handler.end_headers()
