"""What a statement is, read from its text: its kind, its format, where inline data begins, and what nobody may write.

ClickHouse's own parser has the last word on everything; this one only has to cut at the same places (strings, quoted
names, heredocs, comments) and to recognise a few words.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ganzhi.embedded.clickhouse_server.codes import ACCESS_DENIED, NOT_IMPLEMENTED, READONLY, refused

#: A statement's text, without the data of an INSERT, is read up to this length.
TEXT_BYTES_MAX = 4 << 20

_TOKEN = re.compile(
    rb"""
    (?P<blank> [\s\xa0]+ | --[^\n]* | \#[!\ ][^\n]* | /\*.*?(?:\*/|\Z) )
  | (?P<text> '(?:[^'\\]|\\.|'')*' | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ | \xe2\x80\x98.*?\xe2\x80\x99 )
  | (?P<name> `(?:[^`\\]|\\.|``)*` | "(?:[^"\\]|\\.|"")*" | \xe2\x80\x9c.*?\xe2\x80\x9d )
  | (?P<word> [A-Za-z_][A-Za-z0-9_$]* )
  | (?P<number> [0-9][\w.]* )
  | (?P<sign> . )
    """,
    re.DOTALL | re.VERBOSE,
)
_ESCAPE = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_DATA_GAP = re.compile(rb"[ \t\f]*\r?\n?")

#: Kinds that only read. readonly = 1 alone lets SYSTEM, KILL QUERY and INTO OUTFILE through.
READS = frozenset({"SELECT", "WITH", "FROM", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "EXISTS"})
#: Of those, what the engine can give piece by piece.
STREAMS = frozenset({"SELECT", "WITH", "FROM"})
_INSERT_SOURCES = (b"SELECT", b"WITH", b"WATCH", b"FROM")
#: Functions that reach outside: any file of the machine, objects of this process, programs.
_OUTSIDE = frozenset({b"file", b"python", b"executable"})
_DATABASE_ENGINES = frozenset({b"atomic", b"memory"})
_DICTIONARY_SOURCES = frozenset({b"clickhouse", b"null"})


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the text that is neither blank nor comment.

    Its kind, its value with quotes and escapes undone, its place.
    """

    kind: str
    value: bytes
    start: int
    end: int

    def is_word(self, *words: bytes) -> bool:
        """Whether it is one of these keywords (in capitals)."""
        return self.kind == "word" and self.value.upper() in words

    def is_sign(self, sign: bytes) -> bool:
        """Whether it is this character."""
        return self.kind == "sign" and self.value == sign


@dataclass(frozen=True, slots=True)
class Statement:
    """What `read` found.

    Attributes:
        kind: the first word in capitals; empty for an empty text.
        format: the name after FORMAT, with the capitals it has; empty where there is none.
        data_start: where inline data begins (after `FORMAT name` or VALUES of an INSERT); -1 where there is none.
        text_end: end of the statement without FORMAT and data, for an INSERT that has them; else the length of the
            text.
        selects: an INSERT that takes its rows from a query.
        tokens: all tokens before the data.
    """

    kind: str
    format: str
    data_start: int
    text_end: int
    selects: bool
    tokens: tuple[Token, ...]


@dataclass(frozen=True, slots=True)
class Insert:
    """An INSERT whose data come apart from its text.

    Attributes:
        table: its text up to the settings.
        settings: its SETTINGS clause; empty where it has none.
        format: of the data.
    """

    table: str
    settings: str
    format: str

    def reading(self, path: str) -> str:
        """The statement that takes its data from a file; the order of clauses is ClickHouse's."""
        return f"{self.table}\nFROM INFILE '{path}' COMPRESSION 'none'\n{self.settings}\nFORMAT {self.format}"


def settings_start(statement: Statement) -> int:
    """Where the SETTINGS clause of an INSERT with data begins, in bytes; at the text's end where it has none."""
    depth = 0
    for position, token in enumerate(statement.tokens[:-2]):
        if token.kind == "sign":
            depth += {b"(": 1, b")": -1}.get(token.value, 0)
        name, sign = statement.tokens[position + 1 : position + 3]
        if depth == 0 and token.is_word(b"SETTINGS") and name.kind in ("word", "name") and sign.is_sign(b"="):
            return token.start
    return statement.text_end


def read(text: bytes) -> Statement:
    """Reads a statement; for an INSERT with data, the text may go on with any bytes after it."""
    kind = ""
    tokens: list[Token] = []
    depth = 0
    selects = False
    for token in _tokens(text):
        tokens.append(token)
        if token.kind == "sign":
            depth += {b"(": 1, b")": -1}.get(token.value, 0)
        if not kind:
            kind = token.value.decode(errors="replace").upper() if not token.is_sign(b"(") else ""
            continue
        if kind != "INSERT" or token.kind != "word":
            continue
        selects = selects or (token.is_word(*_INSERT_SOURCES) and len(tokens) > 2)
        is_name = tokens[-2].is_sign(b".") or tokens[-2].is_word(b"FORMAT")  # a table, or the format, of this name
        if depth == 0 and token.is_word(b"VALUES") and not selects and not is_name and len(tokens) > 3:
            return Statement(kind, "Values", token.end, token.start, selects, tuple(tokens))
        if depth == 0 and tokens[-2].is_word(b"FORMAT") and len(tokens) > 4:
            gap = _DATA_GAP.match(text, token.end)
            start = gap.end() if gap else token.end
            return Statement(kind, token.value.decode(), start, tokens[-2].start, selects, tuple(tokens))
    named = "" if kind == "INSERT" else _format(tokens)
    return Statement(kind, named, -1, len(text), selects, tuple(tokens))


def _format(tokens: list[Token]) -> str:
    """The FORMAT clause of a query: at its end, or before a SETTINGS clause."""
    depth = 0
    for position, token in enumerate(tokens[:-1]):
        if token.kind == "sign":
            depth += {b"(": 1, b")": -1}.get(token.value, 0)
        follower = tokens[position + 2] if position + 2 < len(tokens) else None
        ends = follower is None or follower.is_sign(b";") or follower.is_word(b"SETTINGS")
        if (
            depth == 0
            and position
            and ends
            and token.is_word(b"FORMAT")
            and tokens[position + 1].kind in ("word", "name")
        ):
            return tokens[position + 1].value.decode(errors="replace")
    return ""


def _tokens(text: bytes) -> Iterator[Token]:
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "sign"
        kind = "text" if kind == "tag" else kind
        if kind != "blank":
            yield Token(kind, _plain(kind, match.group()), match.start(), match.end())


def _plain(kind: str, raw: bytes) -> bytes:
    if kind not in ("text", "name"):
        return raw
    if raw[:1] == b"$":
        return raw[raw.index(b"$", 1) + 1 : raw.rindex(b"$", 0, -1)]
    if raw[:1] == b"\xe2":
        return raw[3:-3]
    return _ESCAPE.sub(lambda m: bytes.fromhex(m.group(1).decode()) if m.group(1) else m.group(2), raw[1:-1])


def check(statement: Statement, reader: bool) -> None:
    """Refuses what reaches outside the database.

    Args:
        statement: what `read` gave.
        reader: also anything that is not a read, and any mention of a name that could reach outside.

    Raises:
        ClickHouseRefused: ACCESS_DENIED, or READONLY for settings in a reader's text.
    """
    if reader and statement.kind and statement.kind not in READS:
        raise refused(
            ACCESS_DENIED,
            f"reader: Not enough privileges. {statement.kind} is not among the statements that a reader may use",
        )
    tokens = statement.tokens
    if reader:
        _check_settings(tokens)
    if statement.kind == "INSERT" and statement.selects and statement.data_start >= 0:
        _check_input(tokens)
    _check_functions(tokens, strict=reader)
    if statement.kind in ("CREATE", "ATTACH", "REPLACE", "ALTER"):
        _check_storage(tokens)


def _check_functions(tokens: tuple[Token, ...], strict: bool) -> None:
    for position, token in enumerate(tokens):
        if token.kind not in ("word", "name"):
            continue
        after = tokens[position + 1] if position + 1 < len(tokens) else None
        before = tokens[position - 1] if position else None
        if token.is_word(b"OUTFILE", b"INFILE") and before is not None and before.is_word(b"INTO", b"FROM"):
            raise refused(
                ACCESS_DENIED, f"{before.value.decode()} {token.value.decode()} is not allowed on this server"
            )
        if token.value.lower() not in _OUTSIDE:
            continue
        called = after is not None and after.is_sign(b"(")
        if strict or called or _passed(tokens[max(0, position - 2) : position]):
            raise refused(ACCESS_DENIED, f"{token.value.decode()} is not allowed on this server")


def _check_input(tokens: tuple[Token, ...]) -> None:
    """The engine would take no row of the data, and say that all went well."""
    if any(token.is_word(b"INPUT") and after.is_sign(b"(") for token, after in itertools.pairwise(tokens)):
        raise refused(
            NOT_IMPLEMENTED,
            "INSERT … SELECT from input() is not there on this server; insert the data, and select from them",
        )


def _passed(before: tuple[Token, ...]) -> bool:
    """Whether a function's name is handed over without a call: `APPLY file`, `APPLY(file)`, `arrayMap(file, …)`."""
    taker = before[-2] if len(before) == 2 and before[-1].is_sign(b"(") else before[-1] if before else None
    if taker is None:
        return False
    return taker.is_word(b"APPLY") or (before[-1].is_sign(b"(") and taker.value.lower().startswith((b"array", b"map")))


def _check_settings(tokens: tuple[Token, ...]) -> None:
    """The engine refuses a reader's SETTINGS at the end of a statement, but not all that stand in a subquery."""
    for position, token in enumerate(tokens[:-2]):
        if token.is_word(b"SETTINGS") and tokens[position + 1].kind != "sign" and tokens[position + 2].is_sign(b"="):
            name = tokens[position + 1].value.decode(errors="replace")
            raise refused(READONLY, f"Cannot modify '{name}' setting in readonly mode")


def _check_storage(tokens: tuple[Token, ...]) -> None:
    database = len(tokens) > 1 and tokens[1].is_word(b"DATABASE")
    dictionary = any(token.is_word(b"DICTIONARY") for token in tokens[:4])
    for position, token in enumerate(tokens[:-1]):
        following = tokens[position + 1 : position + 3]
        named = following[-1] if following[0].is_sign(b"=") or following[0].is_sign(b"(") else following[0]
        name = named.value.decode(errors="replace")
        if token.is_word(b"DISK") and following[0].is_sign(b"("):
            raise refused(ACCESS_DENIED, "a disk of its own is not allowed on this server")
        if token.is_word(b"ENGINE") and database and name.lower().encode() not in _DATABASE_ENGINES:
            raise refused(ACCESS_DENIED, f"database engine {name} is not allowed on this server")
        if token.is_word(b"ENGINE") and name.lower().startswith("executable"):
            raise refused(ACCESS_DENIED, f"table engine {name} is not allowed on this server")
        if (
            dictionary
            and token.is_word(b"SOURCE")
            and following[0].is_sign(b"(")
            and name.lower().encode() not in _DICTIONARY_SOURCES
        ):
            raise refused(ACCESS_DENIED, f"dictionary source {name} is not allowed on this server")
        if dictionary and token.kind == "text":
            _check_functions(read(token.value).tokens, strict=False)
