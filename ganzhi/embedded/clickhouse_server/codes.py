"""ClickHouse's error codes: how the engine's messages are read, and which HTTP status each gets."""

import re

from schemas.errors import ClickHouseRefused

BAD_ARGUMENTS = 36
NOT_IMPLEMENTED = 48
SYNTAX_ERROR = 62
UNKNOWN_SETTING = 115
READONLY = 164
TOO_MANY_QUERIES = 202
SOCKET_TIMEOUT = 209
NOT_ENOUGH_SPACE = 243
CANNOT_DECOMPRESS = 271
QUERY_TOO_LARGE = 292
SESSION_NOT_FOUND = 372
SESSION_IS_LOCKED = 373
INVALID_SESSION_TIMEOUT = 374
QUERY_CANCELLED = 394
ACCESS_DENIED = 497
AUTHENTICATION_FAILED = 516
UNKNOWN_EXCEPTION = 1002

NAMES = {
    BAD_ARGUMENTS: "BAD_ARGUMENTS",
    NOT_IMPLEMENTED: "NOT_IMPLEMENTED",
    SYNTAX_ERROR: "SYNTAX_ERROR",
    UNKNOWN_SETTING: "UNKNOWN_SETTING",
    READONLY: "READONLY",
    TOO_MANY_QUERIES: "TOO_MANY_SIMULTANEOUS_QUERIES",
    SOCKET_TIMEOUT: "SOCKET_TIMEOUT",
    NOT_ENOUGH_SPACE: "NOT_ENOUGH_SPACE",
    CANNOT_DECOMPRESS: "CANNOT_DECOMPRESS",
    QUERY_TOO_LARGE: "QUERY_IS_TOO_LARGE",
    SESSION_NOT_FOUND: "SESSION_NOT_FOUND",
    SESSION_IS_LOCKED: "SESSION_IS_LOCKED",
    INVALID_SESSION_TIMEOUT: "INVALID_SESSION_TIMEOUT",
    QUERY_CANCELLED: "QUERY_WAS_CANCELLED",
    ACCESS_DENIED: "ACCESS_DENIED",
    AUTHENTICATION_FAILED: "AUTHENTICATION_FAILED",
    UNKNOWN_EXCEPTION: "UNKNOWN_EXCEPTION",
}

_BAD_REQUEST = (
    6,
    15,
    25,
    26,
    27,
    36,
    38,
    41,
    44,
    53,
    62,
    69,
    72,
    117,
    168,
    169,
    170,
    271,
    374,
    376,
    427,
    441,
    456,
    457,
    467,
    675,
    676,
)
_NOT_FOUND = (46, 47, 50, 56, 60, 63, 73, 81, 111, 115, 125, 336, 372)
_FORBIDDEN = (164, 192, 193, 452, 481, 497, 511, 516)
STATUS = {
    **dict.fromkeys(_BAD_REQUEST, 400),
    **dict.fromkeys(_NOT_FOUND, 404),
    **dict.fromkeys(_FORBIDDEN, 403),
    48: 501,
    159: 408,
    202: 503,
    209: 408,
    292: 413,
    373: 409,
}
DEFAULT_STATUS = 500

_CODE = re.compile(r"Code: (\d+)\. ")


def refused(code: int, text: str) -> ClickHouseRefused:
    """An error of the server itself, worded as ClickHouse words its own."""
    return ClickHouseRefused(f"Code: {code}. DB::Exception: {text}. ({NAMES[code]})", code)


def from_engine(error: BaseException) -> ClickHouseRefused:
    """The engine's exception with its code; what is not of the engine is UNKNOWN_EXCEPTION and tells its kind only."""
    if isinstance(error, ClickHouseRefused):
        return error
    text = str(error)
    found = _CODE.search(text)
    if found:
        return ClickHouseRefused(text[found.start() :].rstrip(), int(found.group(1)))
    if isinstance(error, RuntimeError):
        return refused(UNKNOWN_EXCEPTION, text.strip() or "the engine gave no reason")
    return refused(UNKNOWN_EXCEPTION, type(error).__name__)


def body(error: ClickHouseRefused, version: str) -> bytes:
    """The text of a reply that carries this error."""
    text = str(error)
    if "(version " not in text:
        text = f"{text} (version {version})"
    return f"{text}\n".encode(errors="replace")


def status(code: int) -> int:
    """The HTTP status for a code, as ClickHouse chooses it (refusals of rights are 403 throughout)."""
    return STATUS.get(code, DEFAULT_STATUS)
