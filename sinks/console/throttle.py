"""Guessing passwords is slow: after a few failures one has to wait, each time twice as long.

Counted three ways, so that neither one guesser, nor many names from one address, nor many addresses at one name get
far, and nobody else's failures lock a user out for long.
"""

from typing import Final

from sinks.console.store import Store, now_ms

FORGET_MS: Final = 15 * 60_000
WAIT_MAX_S: Final = 15 * 60
_FREE: Final = {"both": 5, "address": 30, "user": 50}
"""Failures that cost nothing yet: of a name from an address, of an address, of a name."""


def _keys(user: str, address: str) -> dict[str, str]:
    name = user.lower()[:100]
    return {"both": f"both {address} {name}", "address": f"address {address}", "user": f"user {name}"}


def wait_s(store: Store, user: str, address: str) -> int:
    """Seconds until the next try is allowed; 0: now."""
    longest = 0
    for sort, key in _keys(user, address).items():
        count, last_ms = store.failures(key)
        beyond = count - _FREE[sort]
        if beyond >= 0 and last_ms > now_ms() - FORGET_MS:
            pause_s = min(2 ** min(beyond, 20), WAIT_MAX_S)
            longest = max(longest, -(-(last_ms + pause_s * 1000 - now_ms()) // 1000))
    return longest


def failed(store: Store, user: str, address: str) -> None:
    """Counts a wrong password."""
    for key in _keys(user, address).values():
        store.count_failure(key, FORGET_MS)


def succeeded(store: Store, user: str, address: str) -> None:
    """A right one: failures of this name from this address are forgotten."""
    store.clear_failures(_keys(user, address)["both"])
