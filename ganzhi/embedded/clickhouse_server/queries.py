"""Runs one statement of a request and writes its reply."""

import contextlib
import json
import time
from collections.abc import Generator, Iterator

from ganzhi.embedded.clickhouse_server import formats, native, statements, users
from ganzhi.embedded.clickhouse_server.codes import (
    INVALID_SESSION_TIMEOUT,
    READONLY,
    from_engine,
    refused,
)
from ganzhi.embedded.clickhouse_server.engine import Connection, Engine, Piece
from ganzhi.embedded.clickhouse_server.request import Request
from ganzhi.embedded.clickhouse_server.response import Reply, Summary
from ganzhi.embedded.clickhouse_server.statements import Statement
from ganzhi.embedded.clickhouse_server.work import Work

#: So much of a result is held before its reply begins: an error until then gets its own status, and the summary is
#: exact.
HOLD_BYTES = 1 << 20
HOLD_BYTES_WAITING = 16 << 20
#: A result in a format that cannot be put together from pieces is made in memory, and not beyond this.
WHOLE_BYTES_MAX = 1 << 30
SESSION_TIMEOUT_S = 60
SESSION_TIMEOUT_MAX_S = 3600


class Runner:
    """Runs prepared work for one request.

    Args:
        engine: the engine.
        request: what is asked.
        user: who asks.
        mark: by which the query can be found and stopped while it runs.
    """

    def __init__(self, engine: Engine, request: Request, user: users.User, mark: str) -> None:
        self._engine = engine
        self._request = request
        self._reader = user.role == "reader"
        self._mark = mark
        self._start_ns = time.monotonic_ns()

    def run(self, work: Work, reply: Reply) -> None:
        """Runs it and writes the whole reply, or raises before anything was written.

        Raises:
            ClickHouseRefused: nothing was written yet.
            OSError: the client is gone.
        """
        bounds = {} if work.streams or work.inserts else {"max_result_bytes": str(WHOLE_BYTES_MAX)}
        with self._connection(bounds) as connection:
            self._check_class(connection, work)
            if work.inserts:
                connection.set_params(self._request.params)
                written = connection.insert(work.insert, work.data)
                summary = Summary(written_rows=written.rows, written_bytes=written.bytes, elapsed_ns=self._elapsed_ns())
                reply.whole(b"", "", summary)
            elif work.streams:
                self._stream(connection, work, reply)
            else:
                self._whole(connection, work, reply)

    @contextlib.contextmanager
    def _connection(self, bounds: dict[str, str]) -> Iterator[Connection]:
        """A connection with the request's database and settings.

        `bounds` are settings that the request may override.
        """
        fields = self._request.fields
        asked = self._request.settings
        settings = users.reader_settings(asked) if self._reader else {**bounds, **asked}
        readonly = "1" if self._reader else settings.pop("readonly", "0")
        if self._reader or "log_comment" not in settings:
            settings["log_comment"] = self._mark
        database = fields.get("database", "")
        named = "" if self._reader else fields.get("session_id", "")
        if not named:
            with self._engine.connection() as connection:
                if database not in ("", "default"):  # `default` is the name of whatever is there when none is given
                    connection.use(database)
                connection.set(settings)
                if readonly not in ("", "0"):
                    connection.set({"readonly": readonly})
                yield connection
            return
        with self._engine.session(
            named, self._session_timeout_s(), fields.get("session_check", "0") == "1"
        ) as connection:
            if database not in ("", "default"):
                connection.use(database)
            before = connection.get(list(settings)) if settings else {}
            connection.set(settings)
            try:
                yield connection
            finally:
                # What a request sets in its URL ends with it; what it sets by SET stays in the session.
                with contextlib.suppress(Exception):
                    connection.set(before)

    def _session_timeout_s(self) -> float:
        text = self._request.fields.get("session_timeout", str(SESSION_TIMEOUT_S))
        if not text.isdecimal() or not 0 < int(text) <= SESSION_TIMEOUT_MAX_S:
            raise refused(
                INVALID_SESSION_TIMEOUT, f"Invalid session timeout: '{text[:100]}', at most {SESSION_TIMEOUT_MAX_S} s"
            )
        return float(text)

    def _check_class(self, connection: Connection, work: Work) -> None:
        """GET, `readonly` and readers only read: by the engine's own judgement of the statement."""
        readonly = self._request.fields.get("readonly", "0")
        must_read = self._reader or self._request.method != "POST" or readonly not in ("", "0")
        if not must_read:
            return
        kind, _ = connection.classify(work.text)
        settable = not self._reader and work.statement.kind in ("SET", "USE") and readonly != "1"
        unparsed = (
            kind == "UNKNOWN" and work.statement.kind in statements.READS
        )  # the engine will say what is wrong with it
        if kind != "READ_ONLY" and not settable and not unparsed:
            hint = (
                ""
                if self._request.method == "POST"
                else " For queries over HTTP, method GET implies readonly; use POST to modify"
            )
            raise refused(READONLY, f"Cannot execute query in readonly mode.{hint}")

    def _whole(self, connection: Connection, work: Work, reply: Reply) -> None:
        piece, written = connection.run(work.text, work.output_format, self._request.params)
        summary = Summary(
            read_rows=piece.read_rows,
            read_bytes=piece.read_bytes,
            written_rows=written.rows,
            written_bytes=written.bytes,
            result_rows=piece.rows,
            result_bytes=len(piece.data),
            elapsed_ns=self._elapsed_ns(),
        )
        data = self._for_client(piece.data, work.output_format)
        has_result = bool(piece.data) or work.statement.kind in statements.READS
        reply.whole(data, work.output_format if has_result else "", summary)

    def _stream(self, connection: Connection, work: Work, reply: Reply) -> None:
        """Holds the beginning of the result.

        If that is all, it goes out with its length, else the rest follows as it comes.
        """
        hold_bytes = HOLD_BYTES_WAITING if self._request.flag("wait_end_of_query") else HOLD_BYTES
        summary = Summary()
        pieces = _joined(
            connection.stream(work.text, work.output_format, self._request.params), work.output_format, summary
        )
        with contextlib.closing(pieces):
            held = bytearray()
            for piece in pieces:
                held += self._for_client(piece, work.output_format)
                if len(held) > hold_bytes:
                    break
            else:
                if not held and work.output_format == "Native":
                    header = formats.native_header(_columns(connection, work, self._request.params))
                    held += self._for_client(header, work.output_format)
                summary.elapsed_ns = self._elapsed_ns()
                summary.result_bytes = len(held)
                reply.whole(bytes(held), work.output_format, summary)
                return
            summary.elapsed_ns = self._elapsed_ns()
            reply.begin(work.output_format, summary)
            if not reply.wanted_body:
                return
            reply.piece(bytes(held))
            del held
            self._send(pieces, reply, work.output_format)

    def _send(self, pieces: Iterator[bytes], reply: Reply, output_format: str) -> None:
        while True:
            try:
                piece = next(pieces, None)
                piece = piece and self._for_client(piece, output_format)
            except Exception as error:  # noqa: BLE001 - whatever it is, the client must see it
                reply.abort(from_engine(error))
                return
            if piece is None:
                reply.end()
                return
            reply.piece(piece)

    def _for_client(self, data: bytes, output_format: str) -> bytes:
        """Native blocks as the client's protocol version has them; for older ones (clickhouse-connect) as they are."""
        version = self._request.fields.get("client_protocol_version", "0")
        newer = version.isdecimal() and int(version) >= native.CUSTOM_SERIALIZATION_VERSION
        return native.with_protocol(data) if newer and output_format == "Native" else data

    def _elapsed_ns(self) -> int:
        return time.monotonic_ns() - self._start_ns


def _joined(pieces: Iterator[Piece], output_format: str, summary: Summary) -> Generator[bytes, None, None]:
    """The bytes of the one document that the pieces make; counts into `summary`."""
    join = formats.joiner(output_format)
    first = True
    for piece in pieces:
        summary.read_rows += piece.read_rows
        summary.read_bytes += piece.read_bytes
        summary.result_rows += piece.rows
        if not piece.data:
            continue
        # The last piece has no rows: totals and the like, or the header of a result that is empty.
        yield join(piece.data, first) if join and (piece.rows or first) else piece.data
        first = False
    end = formats.tail(output_format)
    if end and not first:
        yield end


def _columns(connection: Connection, work: Work, params: dict[str, str]) -> list[tuple[str, str]]:
    """Names and types of a query's result."""
    raw = work.text.encode()
    body = b""
    end = 0
    for token in _without_format(work.statement):
        if not token.is_sign(b";"):
            # Signs that touch stay together: `!=`, `<=`, `->` and `::` are one operator each.
            body += (b" " if token.start > end else b"") + raw[token.start : token.end]
            end = token.end
    described, _ = connection.run(f"DESCRIBE TABLE ({body.decode()})", "JSONCompactEachRow", params)
    rows = [json.loads(line) for line in described.data.decode(errors="surrogateescape").splitlines()]
    return [(row[0], row[1]) for row in rows]


def _without_format(statement: Statement) -> Iterator[statements.Token]:
    """The tokens of a query but for its FORMAT clause."""
    tokens = statement.tokens
    clause = -2
    if statement.format:
        name = statement.format.encode()
        found = [i for i in range(1, len(tokens)) if tokens[i - 1].is_word(b"FORMAT") and tokens[i].value == name]
        clause = found[-1] if found else clause
    return (token for position, token in enumerate(tokens) if position not in (clause, clause - 1))
