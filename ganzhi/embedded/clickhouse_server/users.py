"""Who may come in, and what a reader may ask for.

The engine has one user; the two users of the server are told apart here. The server knows salted digests only, so that
nothing in its memory or folder opens it.
"""

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ganzhi.embedded.clickhouse_server.codes import AUTHENTICATION_FAILED, BAD_ARGUMENTS, READONLY, refused

WRITER = "default"
READER = "reader"
Role = Literal["writer", "reader"]

#: Hard limits of a reader: it may ask for less, never for more, and never for 0, which would mean none.
READER_LIMITS = {
    "max_execution_time": 30,
    "max_memory_usage": 2_000_000_000,
    "max_threads": 2,
    "max_result_rows": 50_000_000,
    "max_result_bytes": 2_000_000_000,
    "max_rows_to_read": 20_000_000_000,
    "max_temporary_data_on_disk_size_for_query": 10_000_000_000,
}
#: What else a reader may set: how results look, and less of them.
READER_SETTINGS = frozenset(
    {
        "max_block_size",
        "limit",
        "offset",
        "extremes",
        "session_timezone",
        "date_time_input_format",
        "date_time_output_format",
        "bool_true_representation",
        "bool_false_representation",
        "output_format_json_quote_64bit_integers",
        "output_format_json_quote_64bit_floats",
        "output_format_json_quote_decimals",
        "output_format_json_quote_denormals",
        "output_format_arrow_string_as_string",
        "output_format_arrow_low_cardinality_as_dictionary",
        "output_format_parquet_string_as_string",
        "output_format_decimal_trailing_zeros",
        "output_format_native_write_json_as_string",
        "output_format_binary_write_json_as_string",
        "output_format_write_statistics",
        "join_use_nulls",
        "query_plan_enable_optimizations",
    }
)
#: Sent by clients out of habit; they mean nothing for a reader, or what is the case anyway.
READER_IGNORED = frozenset({"readonly", "async_insert", "wait_for_async_insert", "log_comment", "result_overflow_mode"})


@dataclass(frozen=True, slots=True)
class User:
    """One user: salted SHA-256 of the password, and what he is."""

    name: str
    role: Role
    salt: bytes
    digest: bytes


def make_user(name: str, role: Role, password: str) -> User:
    """A user with a fresh salt."""
    salt = secrets.token_bytes(16)
    return User(name, role, salt, _digest(salt, password))


def _digest(salt: bytes, password: str) -> bytes:
    return hashlib.sha256(salt + password.encode(errors="surrogatepass")).digest()


def write_users(file: Path, users: list[User]) -> None:
    """Writes the digests, readable by the owner only."""
    document = {user.name: {"role": user.role, "salt": user.salt.hex(), "sha256": user.digest.hex()} for user in users}
    fresh = file.with_name(file.name + ".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        json.dump(document, out)
    fresh.replace(file)


def read_users(file: Path) -> dict[str, User]:
    """Reads what `write_users` wrote."""
    document = json.loads(file.read_text(encoding="utf-8"))
    return {
        name: User(name, entry["role"], bytes.fromhex(entry["salt"]), bytes.fromhex(entry["sha256"]))
        for name, entry in document.items()
    }


_NOBODY = make_user("", "reader", secrets.token_hex())


def authenticate(users: Mapping[str, User], name: str, password: str) -> User:
    """Finds the user, in a time that tells neither how much of the password is right nor whether there is such a user.

    Raises:
        ClickHouseRefused: AUTHENTICATION_FAILED.
    """
    user = users.get(name, _NOBODY)
    right = hmac.compare_digest(user.digest, _digest(user.salt, password))
    if not right or user is _NOBODY:
        text = f"{name[:100]}: Authentication failed: password is incorrect, or there is no user with such name"
        raise refused(AUTHENTICATION_FAILED, text)
    return user


def reader_settings(asked: Mapping[str, str]) -> dict[str, str]:
    """The settings of a reader's query: the limits, lowered where asked, and the harmless ones.

    Raises:
        ClickHouseRefused: READONLY for any other setting, BAD_ARGUMENTS for a limit that is not a number.
    """
    settings = {name: str(limit) for name, limit in READER_LIMITS.items()}
    for name, value in asked.items():
        limit = READER_LIMITS.get(name)
        if limit is not None:
            settings[name] = str(_lowered(name, value, limit))
        elif name in READER_SETTINGS:
            settings[name] = value
        elif name not in READER_IGNORED:
            raise refused(READONLY, f"Cannot modify '{name[:100]}' setting in readonly mode")
    return settings


def _lowered(name: str, value: str, limit: int) -> int:
    try:
        number = int(float(value)) if value not in ("", "auto") else 0
    except (ValueError, OverflowError):
        raise refused(BAD_ARGUMENTS, f"'{value[:100]}' is not a number, for {name}") from None
    return min(number, limit) if number > 0 else limit
