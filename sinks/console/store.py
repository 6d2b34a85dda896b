"""Users, sessions and tokens in one SQLite file, mode 0600; the console and `ganzhi user` have it open at once.

Secrets are stored as hashes only: passwords as argon2id, session ids and tokens (256 random bits each) as sha256. The
file is of this deployment's people and no part of the log; what was done to it is in the topic `audit`.
"""

import contextlib
import dataclasses
import hashlib
import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from schemas.errors import ConfigurationError
from sinks.console import passwords
from sinks.console.access import EVERYWHERE, Role, User

FILE: Final = "console.sqlite3"
FIRST_USER: Final = "admin"
NAME_MAX: Final = 64
SEEN_EVERY_MS: Final = 60_000
"""How often it is written that a session is in use."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS users (
    name TEXT PRIMARY KEY, role TEXT NOT NULL, places TEXT NOT NULL, password TEXT, must_change INTEGER NOT NULL,
    disabled INTEGER NOT NULL DEFAULT 0, language TEXT NOT NULL DEFAULT '', created_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY, user TEXT NOT NULL REFERENCES users(name) ON DELETE CASCADE, csrf TEXT NOT NULL,
    created_ms INTEGER NOT NULL, seen_ms INTEGER NOT NULL, address TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS tokens (
    id TEXT PRIMARY KEY, secret TEXT NOT NULL UNIQUE, user TEXT NOT NULL REFERENCES users(name) ON DELETE CASCADE,
    label TEXT NOT NULL, kind TEXT NOT NULL, created_ms INTEGER NOT NULL, expires_ms INTEGER, used_ms INTEGER
) STRICT;
CREATE TABLE IF NOT EXISTS failures (
    key TEXT PRIMARY KEY, count INTEGER NOT NULL, last_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS sign_ons (
    id TEXT PRIMARY KEY, content TEXT NOT NULL, created_ms INTEGER NOT NULL
) STRICT;
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Account:
    """A user as an administrator sees it."""

    user: User
    disabled: bool
    created_ms: int
    has_password: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Session:
    """A signed-in browser; `csrf` is the word that its forms carry."""

    id: str
    user: User
    csrf: str


@dataclasses.dataclass(frozen=True, slots=True)
class Token:
    """What lets a program in. `kind`: api, or feed (whose address holds the token, so it opens nothing else)."""

    id: str
    user: str
    label: str
    kind: str
    created_ms: int
    expires_ms: int | None
    used_ms: int | None


def now_ms() -> int:
    """Wall time; sessions and tokens are not part of any replay."""
    return time.time_ns() // 1_000_000


def digest(secret: str) -> str:
    """What is stored of a random secret. It has 256 bits: a slow hash would add nothing."""
    return hashlib.sha256(secret.encode()).hexdigest()


class Store:
    """The file of a profile.

    Args:
        folder: the profile's folder; made when it is absent.

    Raises:
        ConfigurationError: the file cannot be opened, or is no such file.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / FILE
        self._lock = threading.RLock()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.file.touch(mode=0o600)
            self.file.chmod(0o600)
            self._base = sqlite3.connect(self.file, timeout=10.0, isolation_level=None, check_same_thread=False)
            self._base.row_factory = sqlite3.Row
            self._base.execute("PRAGMA foreign_keys = ON")
            self._base.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(f"users are kept in {self.file}, which cannot be used: {error}") from error

    def close(self) -> None:
        """Closes the file."""
        self._base.close()

    # Users

    def first_run(self) -> str | None:
        """Makes the first administrator where there is no user at all.

        Returns:
            The one-time password; None where there are users.
        """
        password = passwords.one_time()
        kept = passwords.hashed(password)
        with self._writing():
            if self._one("SELECT 1 FROM users LIMIT 1") is not None:
                return None
            self._insert_user(FIRST_USER, Role.ADMIN, [EVERYWHERE], kept)
        return password

    def add_user(self, name: str, role: Role, places: Iterable[str], *, password: bool = True) -> str | None:
        """Makes a user.

        Args:
            name: letters, digits and `.-_@`, at most 64.
            role: what the user is.
            places: see `access.User`.
            password: False: the user comes by single sign-on only.

        Returns:
            The one-time password.

        Raises:
            ConfigurationError: an impossible name, or one that is taken.
        """
        if not name or len(name) > NAME_MAX or not all(sign.isalnum() or sign in ".-_@" for sign in name):
            raise ConfigurationError(f"{name!r} is no name for a user: letters, digits and .-_@, at most {NAME_MAX}")
        given = passwords.one_time() if password else None
        kept = passwords.hashed(given) if given else None
        with self._writing():
            if self._one("SELECT 1 FROM users WHERE name = ?", name) is not None:
                raise ConfigurationError(f"there is a user {name} already")
            self._insert_user(name, role, places, kept)
        return given

    def change_user(
        self,
        name: str,
        *,
        role: Role | None = None,
        places: Iterable[str] | None = None,
        disabled: bool | None = None,
    ) -> None:
        """Changes what is given; sessions of the user end when anything is taken away or changed.

        Raises:
            ConfigurationError: there is no such user, or nobody would be left who may make users.
        """
        with self._writing():
            self._must_exist(name)
            for column, value in (
                ("role", None if role is None else str(role)),
                ("places", None if places is None else _written(places)),
                ("disabled", None if disabled is None else int(disabled)),
            ):
                if value is not None:
                    self._base.execute(f"UPDATE users SET {column} = ? WHERE name = ?", (value, name))
            self._base.execute("DELETE FROM sessions WHERE user = ?", (name,))
            self._keep_an_admin()

    def remove_user(self, name: str) -> None:
        """Removes a user with sessions and tokens; what the user did stays in the log.

        Raises:
            ConfigurationError: there is no such user, or nobody would be left who may make users.
        """
        with self._writing():
            self._must_exist(name)
            self._base.execute("DELETE FROM users WHERE name = ?", (name,))
            self._keep_an_admin()

    def reset_password(self, name: str) -> str:
        """A new one-time password; the user's sessions end.

        Raises:
            ConfigurationError: there is no such user.
        """
        password = passwords.one_time()
        self._set_password(name, password, must_change=True)
        return password

    def set_password(self, name: str, password: str) -> None:
        """The user's own choice; sessions of the user end.

        Raises:
            ConfigurationError: there is no such user.
        """
        self._set_password(name, password, must_change=False)

    def set_language(self, name: str, language: str) -> None:
        """Remembers the language that a user chose."""
        with self._writing():
            self._base.execute("UPDATE users SET language = ? WHERE name = ?", (language, name))

    def check_password(self, name: str, password: str) -> User | None:
        """The user, if the password is right and the user not disabled."""
        row = self._one("SELECT * FROM users WHERE name = ?", name)
        stored = row["password"] if row is not None and not row["disabled"] else None
        if not passwords.matches(stored, password) or row is None:
            return None
        if passwords.is_outdated(str(stored)):
            again = passwords.hashed(password)
            with self._writing():
                self._base.execute("UPDATE users SET password = ? WHERE name = ?", (again, name))
        return _user(row)

    def user(self, name: str) -> User | None:
        """A user who is not disabled."""
        row = self._one("SELECT * FROM users WHERE name = ? AND NOT disabled", name)
        return None if row is None else _user(row)

    def accounts(self) -> list[Account]:
        """All users, by name."""
        rows = self._all("SELECT * FROM users ORDER BY name")
        return [
            Account(_user(row), bool(row["disabled"]), row["created_ms"], row["password"] is not None) for row in rows
        ]

    # Sessions

    def open_session(self, user: str, address: str) -> str:
        """Signs a user in; returns the secret of the cookie, which is stored nowhere."""
        secret = secrets.token_urlsafe(32)
        now = now_ms()
        with self._writing():
            self._base.execute(
                "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?)",
                (digest(secret), user, secrets.token_urlsafe(32), now, now, address),
            )
        return secret

    def session(self, secret: str, idle_s: int, max_s: int) -> Session | None:
        """The session of a cookie; None: there is none, it is over, or its user may no longer come in."""
        now = now_ms()
        row = self._one(
            "SELECT s.id AS id, s.csrf AS csrf, s.seen_ms AS seen_ms, u.* FROM sessions s JOIN users u"
            " ON u.name = s.user WHERE s.id = ? AND NOT u.disabled AND s.seen_ms > ? AND s.created_ms > ?",
            digest(secret),
            now - idle_s * 1000,
            now - max_s * 1000,
        )
        if row is None:
            return None
        if now - row["seen_ms"] > SEEN_EVERY_MS:
            with self._writing():
                self._base.execute("UPDATE sessions SET seen_ms = ? WHERE id = ?", (now, row["id"]))
        return Session(row["id"], _user(row), row["csrf"])

    def close_session(self, session: Session) -> None:
        """Signs out."""
        with self._writing():
            self._base.execute("DELETE FROM sessions WHERE id = ?", (session.id,))

    def forget_old(self, max_s: int) -> None:
        """Removes sessions, failures and unfinished sign-ons that are over."""
        now = now_ms()
        with self._writing():
            self._base.execute("DELETE FROM sessions WHERE created_ms < ?", (now - max_s * 1000,))
            self._base.execute("DELETE FROM failures WHERE last_ms < ?", (now - 86_400_000,))
            self._base.execute("DELETE FROM sign_ons WHERE created_ms < ?", (now - 600_000,))

    # Tokens

    def add_token(self, user: str, label: str, kind: str = "api", days: int | None = 365) -> tuple[Token, str]:
        """Makes a token; returns it with its secret, which is shown once and stored nowhere.

        Raises:
            ConfigurationError: there is no such user.
        """
        secret = f"gz{kind[0]}_{secrets.token_urlsafe(32)}"
        now = now_ms()
        token = Token(
            secrets.token_hex(4), user, label[:100], kind, now, None if days is None else now + days * 86_400_000, None
        )
        with self._writing():
            self._must_exist(user)
            self._base.execute(
                "INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (token.id, digest(secret), user, token.label, kind, now, token.expires_ms, None),
            )
        return token, secret

    def token_user(self, secret: str, kind: str) -> User | None:
        """Whose token it is; None: it is none of that kind, or no longer one."""
        now = now_ms()
        row = self._one(
            "SELECT t.id AS token, t.used_ms AS used_ms, u.* FROM tokens t JOIN users u ON u.name = t.user"
            " WHERE t.secret = ? AND t.kind = ? AND NOT u.disabled AND (t.expires_ms IS NULL OR t.expires_ms > ?)",
            digest(secret),
            kind,
            now,
        )
        if row is None:
            return None
        if now - (row["used_ms"] or 0) > SEEN_EVERY_MS:
            with self._writing():
                self._base.execute("UPDATE tokens SET used_ms = ? WHERE id = ?", (now, row["token"]))
        return _user(row)

    def tokens(self, user: str | None = None) -> list[Token]:
        """Tokens of a user, or of all."""
        rows = self._all("SELECT * FROM tokens WHERE ? IS NULL OR user = ? ORDER BY created_ms", user, user)
        names = [field.name for field in dataclasses.fields(Token)]
        return [Token(**{name: row[name] for name in names}) for row in rows]

    def revoke_token(self, token: str, user: str | None = None) -> bool:
        """Makes a token useless; only one of the user's, where a user is given."""
        with self._writing():
            done = self._base.execute(
                "DELETE FROM tokens WHERE id = ? AND (? IS NULL OR user = ?)", (token, user, user)
            )
            return done.rowcount > 0

    # Failed sign-ins

    def failures(self, key: str) -> tuple[int, int]:
        """(how many in a row, when the last was, ms)."""
        row = self._one("SELECT count, last_ms FROM failures WHERE key = ?", key)
        return (0, 0) if row is None else (row["count"], row["last_ms"])

    def count_failure(self, key: str, forget_ms: int) -> None:
        """Counts one more; those before count only if the last was within `forget_ms`."""
        now = now_ms()
        with self._writing():
            self._base.execute(
                "INSERT INTO failures VALUES (?, 1, ?) ON CONFLICT (key) DO UPDATE SET"
                " count = CASE WHEN last_ms > ? THEN count + 1 ELSE 1 END, last_ms = excluded.last_ms",
                (key, now, now - forget_ms),
            )

    def clear_failures(self, key: str) -> None:
        """Forgets them, after a success."""
        with self._writing():
            self._base.execute("DELETE FROM failures WHERE key = ?", (key,))

    # Sign-ons that are on their way through another server

    def keep_sign_on(self, key: str, content: dict[str, Any]) -> None:
        """Remembers what belongs to a sign-on until it comes back."""
        with self._writing():
            self._base.execute(
                "INSERT OR REPLACE INTO sign_ons VALUES (?, ?, ?)", (digest(key), json.dumps(content), now_ms())
            )

    def take_sign_on(self, key: str) -> dict[str, Any] | None:
        """What belongs to it, once."""
        with self._writing():
            row = self._base.execute("DELETE FROM sign_ons WHERE id = ? RETURNING content", (digest(key),)).fetchone()
        if row is None:
            return None
        content: dict[str, Any] = json.loads(row["content"])
        return content

    def _set_password(self, name: str, password: str, *, must_change: bool) -> None:
        kept = passwords.hashed(password)
        with self._writing():
            self._must_exist(name)
            self._base.execute(
                "UPDATE users SET password = ?, must_change = ? WHERE name = ?", (kept, int(must_change), name)
            )
            self._base.execute("DELETE FROM sessions WHERE user = ?", (name,))

    def _insert_user(self, name: str, role: Role, places: Iterable[str], kept: str | None) -> None:
        self._base.execute(
            "INSERT INTO users (name, role, places, password, must_change, created_ms) VALUES (?, ?, ?, ?, ?, ?)",
            (name, str(role), _written(places), kept, int(kept is not None), now_ms()),
        )

    def _must_exist(self, name: str) -> None:
        if self._one("SELECT 1 FROM users WHERE name = ?", name) is None:
            raise ConfigurationError(f"there is no user {name}; `ganzhi user list` shows them")

    def _keep_an_admin(self) -> None:
        if self._one("SELECT 1 FROM users WHERE role = ? AND NOT disabled", str(Role.ADMIN)) is None:
            raise ConfigurationError("this is the last administrator; make another one first")

    def _one(self, statement: str, *values: object) -> sqlite3.Row | None:
        with self._lock:
            row: sqlite3.Row | None = self._base.execute(statement, values).fetchone()
            return row

    def _all(self, statement: str, *values: object) -> list[sqlite3.Row]:
        with self._lock:
            return self._base.execute(statement, values).fetchall()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """One transaction; everything or nothing."""
        with self._lock:
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._base.execute("ROLLBACK")
                raise
            self._base.execute("COMMIT")


def _written(places: Iterable[str]) -> str:
    return json.dumps(sorted(places), ensure_ascii=False)


def _user(row: sqlite3.Row) -> User:
    return User(
        row["name"], Role(row["role"]), frozenset(json.loads(row["places"])), row["language"], bool(row["must_change"])
    )
