"""The door to ClickHouse: clients from settings, and every foreign error translated into ours.

clickhouse-connect repeats a request by itself only where the connection closed under it, with the same bytes
and settings; an insert of ours carries a token, so that such a repeat changes nothing. Everything else (refused
connection, 5xx, too many parts) comes here at once.
"""

import contextlib
import ipaddress
import logging
import re
from collections.abc import Iterator
from typing import Any, Final

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from urllib3.exceptions import HTTPError

from schemas.errors import ClickHouseRefused, ClickHouseUnavailable
from schemas.settings import ClickHouseSettings

# Both tell every broken connection at length, with the whole address; `translating` tells it once.
for _name in ("urllib3.connectionpool", "clickhouse_connect"):
    logging.getLogger(_name).setLevel(logging.ERROR)

CONNECT_TIMEOUT_S: Final = 5
ANSWER_TIMEOUT_S: Final = 300

_LATER: Final = frozenset({
    3,    # UNEXPECTED_END_OF_FILE: a cut body or a cut answer
    33,   # CANNOT_READ_ALL_DATA: likewise
    74, 75, 76,  # CANNOT_READ/WRITE/OPEN_FILE: a full or failing disk may be mended
    159,  # TIMEOUT_EXCEEDED
    202,  # TOO_MANY_SIMULTANEOUS_QUERIES
    203,  # NO_FREE_CONNECTION
    209, 210,  # SOCKET_TIMEOUT, NETWORK_ERROR
    241,  # MEMORY_LIMIT_EXCEEDED
    242,  # TABLE_IS_READ_ONLY: a replica without its keeper
    243,  # NOT_ENOUGH_SPACE
    252,  # TOO_MANY_PARTS: merges are behind
    285,  # TOO_FEW_LIVE_REPLICAS
    319,  # UNKNOWN_STATUS_OF_INSERT: the token makes asking again safe
    373,  # SESSION_IS_LOCKED
    394,  # QUERY_WAS_CANCELLED
    425,  # SYSTEM_ERROR
    439,  # CANNOT_SCHEDULE_TASK
    999,  # KEEPER_EXCEPTION
    236, 1002,  # ABORTED, UNKNOWN_EXCEPTION: a server that is going down
})  # fmt: skip
_CODE: Final = re.compile(r"(?:Code: |code )(\d+)")
_STATUS: Final = re.compile(r"(?:HTTP (?:driver|status)[^\d]*|status )(\d{3})")


def writer(settings: ClickHouseSettings, *, database: bool = True) -> Client:
    """A client that may change data.

    Args:
        settings: address, user and password.
        database: whether to use the settings' database; without, it need not exist yet.

    Raises:
        ClickHouseUnavailable: nobody answers.
        ClickHouseRefused: the server does not let this user in, or there is no such database.
    """
    return _client(settings, settings.writer_user, settings.writer_password.get_secret_value(), database)


def reader(settings: ClickHouseSettings, answer_timeout_s: int = ANSWER_TIMEOUT_S) -> Client:
    """A client that may only read, within the limits of the reader user.

    Args:
        settings: address, user and password.
        answer_timeout_s: an answer that takes longer is given up.

    Raises:
        ClickHouseUnavailable: nobody answers.
        ClickHouseRefused: the server does not let this user in, or there is no such database.
    """
    password = settings.reader_password.get_secret_value()
    return _client(settings, settings.reader_user, password, True, answer_timeout_s)


def _client(
    settings: ClickHouseSettings, user: str, password: str, database: bool, answer_timeout_s: int = ANSWER_TIMEOUT_S
) -> Client:
    with translating(settings):
        return clickhouse_connect.get_client(
            host=settings.host,
            port=settings.port,
            interface="https" if settings.secure else "http",
            username=user,
            password=password,
            database=settings.database if database else "__default__",
            connect_timeout=CONNECT_TIMEOUT_S,
            send_receive_timeout=answer_timeout_s,
            compress=not is_near(settings),
            autogenerate_session_id=False,  # sessions allow one request at a time
            show_clickhouse_errors=True,
        )


def is_near(settings: ClickHouseSettings) -> bool:
    """Whether the server is on this machine, so that compressing what goes over the wire only costs time."""
    try:
        return ipaddress.ip_address(settings.host).is_loopback
    except ValueError:
        return settings.host == "localhost"


@contextlib.contextmanager
def translating(settings: ClickHouseSettings) -> Iterator[None]:
    """Turns what clickhouse-connect, urllib3 and sockets raise inside into one of our two errors."""
    try:
        yield
    except ClickHouseError as error:
        text = str(error).strip()
        code = _code(error, text)
        if code == 0 and _is_transport(error, text):
            raise ClickHouseUnavailable(_told(settings, _root(error))) from error
        if code in _LATER:
            raise ClickHouseUnavailable(_told(settings, text)) from error
        raise ClickHouseRefused(_told(settings, text), code) from error
    except (HTTPError, OSError) as error:
        raise ClickHouseUnavailable(_told(settings, _root(error))) from error


def _code(error: ClickHouseError, text: str) -> int:
    known: Any = getattr(error, "code", None)
    if isinstance(known, int):
        return known
    found = _CODE.search(text)
    return int(found[1]) if found else 0


def _is_transport(error: BaseException, text: str) -> bool:
    """Whether an error without a code came from the way and not from the server's answer to the statement."""
    if isinstance(error.__cause__, HTTPError | OSError) or isinstance(error.__context__, HTTPError | OSError):
        return True
    status = _STATUS.search(text)
    return status is not None and (status[1][0] == "5" or status[1] == "429")


def _root(error: BaseException) -> str:
    """What broke at the bottom of it: urllib3 tells the same several times over, with the whole address."""
    seen = error
    while True:
        below = seen.__cause__ or seen.__context__
        if below is None or isinstance(seen, OSError):
            break
        seen = below
    text = (seen.strerror if isinstance(seen, OSError) else None) or str(seen) or type(seen).__name__
    return f"{text} ({type(seen).__name__})"


def _told(settings: ClickHouseSettings, text: str) -> str:
    return f"ClickHouse at {settings.host}:{settings.port}: {text}"
