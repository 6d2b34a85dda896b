"""Passwords: argon2id hashes, and one-time passwords that people can type."""

import functools
import secrets
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

CHARS_MIN: Final = 10
CHARS_MAX: Final = 256
"""Longer ones only cost time."""
_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"
"""Without those that look alike; 31 letters, 16 of them: 79 bits."""

# argon2-cffi's defaults are the second choice of RFC 9106: 64 MiB, three passes, four lanes; some 50 ms.
_HASHER: Final = PasswordHasher()


def hashed(password: str) -> str:
    """Hash of a password, with its salt and parameters."""
    return _HASHER.hash(password)


def matches(stored: str | None, password: str) -> bool:
    """Whether a password is the one that was hashed; as slow for who has none, so that the time tells nothing."""
    try:
        _HASHER.verify(stored or _nobody(), password[:CHARS_MAX])
    except (VerificationError, InvalidHashError):
        return False
    return stored is not None


def is_outdated(stored: str) -> bool:
    """Whether a hash was made with weaker parameters than those of today."""
    return _HASHER.check_needs_rehash(stored)


def one_time() -> str:
    """A random password for the first sign-in: four groups of four letters."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(4))


def weakness(password: str, user: str) -> str | None:
    """Why a new password is refused, as a name of `texts`; None: it is not."""
    if len(password) < CHARS_MIN:
        return "password short"
    if len(password) > CHARS_MAX:
        return "password long"
    if password.lower() == user.lower() or len(set(password)) < 5:
        return "password simple"
    return None


@functools.cache
def _nobody() -> str:
    return _HASHER.hash(secrets.token_urlsafe(16))
