"""TCP ports on loopback: is one free, and which one could be taken."""

import os
import random
import socket
from collections.abc import Collection

from schemas.errors import PortInUse, StackError

HOST = "127.0.0.1"
#: Below the range from which systems take ports for outgoing connections (32768 on Linux): a server that is restarted
#: on its port must not find a client's connection there.
FREE_PORTS = range(20_000, 32_000)
TRIES = 200


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of the loopback address now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def require_free(port: int, purpose: str, setting: str) -> None:
    """Raises PortInUse if nobody could listen there; `setting` is what names another port."""
    if not is_free(port):
        raise PortInUse(port, purpose, setting)


def choose_free(taken: Collection[int] = ()) -> int:
    """Returns a free port at random that is not among `taken`.

    Raises:
        StackError: none was found.
    """
    source = random.Random(os.urandom(8))  # noqa: S311 - nothing secret: two sessions shall not choose alike
    for port in source.sample(FREE_PORTS, TRIES):
        if port not in taken and is_free(port):
            return port
    raise StackError(f"no free port between {FREE_PORTS.start} and {FREE_PORTS.stop} in {TRIES} tries")


def answers(port: int) -> bool:
    """Whether somebody accepts connections there."""
    try:
        socket.create_connection((HOST, port), timeout=1.0).close()
    except OSError:
        return False
    return True
