"""The statement of a request, found and checked before the engine sees it."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from ganzhi.embedded.clickhouse_server import formats, statements, users
from ganzhi.embedded.clickhouse_server.codes import BAD_ARGUMENTS, QUERY_TOO_LARGE, SYNTAX_ERROR, refused
from ganzhi.embedded.clickhouse_server.request import Request, read_form
from ganzhi.embedded.clickhouse_server.statements import Insert, Statement

#: The head of a body in which the statement of an INSERT must be complete.
HEAD_BYTES = 256 << 10


@dataclass(slots=True)
class Work:
    """A statement ready to run.

    Attributes:
        text: its SQL, without the data of an INSERT.
        statement: what was read from it.
        data: of an INSERT.
        output_format: of the result, when it has one.
    """

    text: str
    statement: Statement
    data: Iterator[bytes]
    output_format: str

    @property
    def inserts(self) -> bool:
        """Whether it is an INSERT that comes with data."""
        return self.statement.kind == "INSERT" and (self.statement.data_start >= 0 or not self.statement.selects)

    @property
    def insert(self) -> Insert:
        """The statement of an INSERT that comes with data."""
        raw, at = self.text.encode(), statements.settings_start(self.statement)
        return Insert(raw[:at].decode(), raw[at:].decode(), self.output_format)

    @property
    def streams(self) -> bool:
        """Whether its result can be sent piece by piece."""
        return self.statement.kind in statements.STREAMS and formats.joiner(self.output_format) is not None


def prepare(request: Request, user: users.User) -> Work:
    """Finds the statement and checks what can be checked before the engine sees it.

    Raises:
        ClickHouseRefused: no statement, too long a one, one that is not allowed, unsupported framing.
    """
    form = request.headers.get_content_type() == "multipart/form-data"
    if form:
        read_form(request)
    url_text = request.fields.get("query", "").encode(errors="surrogateescape")
    pieces: Iterator[bytes] = iter(()) if form else request.data
    data: Iterator[bytes] = iter(())
    head = url_text if url_text.strip() else _up_to(pieces, HEAD_BYTES)
    statement = statements.read(head)
    if url_text.strip() and statement.kind == "INSERT" and (statement.data_start >= 0 or not statement.selects):
        # The statement is in the URL; the body is data, behind what may stand there already.
        inline = head[statement.data_start :] if statement.data_start >= 0 else b""
        data = itertools.chain((inline,), pieces)
    elif statement.data_start >= 0:
        data = itertools.chain((head[statement.data_start :],), pieces)
    else:
        head += (b"\n" if url_text.strip() else b"") + _up_to(pieces, statements.TEXT_BYTES_MAX)
        if next(pieces, b""):
            raise refused(QUERY_TOO_LARGE, f"the statement is longer than {statements.TEXT_BYTES_MAX} bytes")
        statement = statements.read(head)
    if not statement.kind:
        raise refused(SYNTAX_ERROR, "Empty query")
    statements.check(statement, reader=user.role == "reader")
    try:
        text = head[: statement.text_end].decode()
    except UnicodeDecodeError:
        raise refused(BAD_ARGUMENTS, "the statement is not UTF-8") from None
    default = request.fields.get("default_format", "")
    return Work(
        text,
        statement,
        data,
        statement.format or default or ("Values" if statement.kind == "INSERT" else "TabSeparated"),
    )


def _up_to(pieces: Iterator[bytes], size: int) -> bytes:
    """Reads pieces until there are at least `size` bytes, or no more."""
    out = bytearray()
    while len(out) < size and (piece := next(pieces, None)) is not None:
        out += piece
    return bytes(out)
