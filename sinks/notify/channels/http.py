"""POST to an address that somebody else wrote down, without becoming his tool (CWE-918).

The name is resolved once, every address that it has is checked, and the connection goes to one that was checked: a name
that changes its mind between check and use reaches nothing. Only https, on ports that serve it; no redirects, no
proxies, no more of the answer than is needed, and no longer than the time-out in all.
"""

import dataclasses
import ipaddress
import logging
import socket
import ssl
import time
import urllib.parse
from collections.abc import Mapping
from typing import Final

import urllib3
import urllib3.exceptions

from schemas.errors import ChannelError

PORTS: Final = (443, 8443)
ANSWER_BYTES_MAX: Final = 64 << 10
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_METADATA: Final = ipaddress.IPv6Address("fd00:ec2::254")
_AGENT: Final = "ganzhi"


# Its debug lines hold the path of what it calls, and that is a robot's key.
logging.getLogger("urllib3").setLevel(logging.INFO)


class NotSentError(Exception):
    """Nothing was sent: nobody listens, or the name is not known."""


class NoAnswerError(Exception):
    """Something was sent, and no answer came; it may have arrived."""


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered; `body` has at most ANSWER_BYTES_MAX bytes."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def post(url: str, body: bytes, headers: Mapping[str, str], *, timeout_s: float, allow_private: bool) -> Reply:
    """Sends a body; blocks for at most about `timeout_s`.

    Args:
        url: where.
        body: what.
        headers: beside those of HTTP itself.
        timeout_s: for everything together.
        allow_private: private networks and this machine may be called, on any port and without TLS.

    Raises:
        ChannelError: the address may not be called.
        NotSentError: nobody took it.
        NoAnswerError: somebody may have taken it.
    """
    until_s = time.monotonic() + timeout_s
    parts = _checked(url, allow_private)
    host, secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    address = resolve(host, port, allow_private)
    timeout = urllib3.Timeout(total=max(0.1, until_s - time.monotonic()))
    pool: urllib3.HTTPConnectionPool
    if secure:
        pool = urllib3.HTTPSConnectionPool(
            address, port, timeout=timeout, retries=False, ssl_context=ssl.create_default_context(),
            server_hostname=host, assert_hostname=host,
        )  # fmt: skip
    else:
        pool = urllib3.HTTPConnectionPool(address, port, timeout=timeout, retries=False)
    path = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
    named = f"[{host}]" if ":" in host else host
    full = {"Host": named if port in (80, 443) else f"{named}:{port}", "User-Agent": _AGENT, **headers}
    try:
        with pool:
            answer = pool.urlopen("POST", path, body, full, redirect=False, preload_content=False, decode_content=False)
            try:
                return Reply(answer.status, dict(answer.headers.items()), _read(answer, until_s))
            finally:
                answer.close()
    except (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError) as error:
        raise NotSentError(f"{host} port {port} does not take a connection") from error
    except urllib3.exceptions.SSLError as error:
        raise NotSentError(f"{host}: TLS: {error}") from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise NoAnswerError(f"{host} did not answer: {type(error).__name__}") from error


def resolve(host: str, port: int, allow_private: bool) -> str:
    """An address of a host that may be called.

    Raises:
        ChannelError: one of its addresses may not.
        NotSentError: it has none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NotSentError(f"{host} cannot be resolved") from error
    addresses = [str(entry[4][0]) for entry in found]
    for address in addresses:
        why = forbidden(address, allow_private)
        if why:
            raise ChannelError(
                f"{host} is {address}, {why}; a channel that may be there says allow_private = true in the settings"
            )
    return addresses[0]


def forbidden(address: str, allow_private: bool) -> str:
    """Why an address may not be called; empty: it may."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    inside = [parsed]
    if isinstance(parsed, ipaddress.IPv6Address):
        inside += [one for one in (parsed.ipv4_mapped, parsed.sixtofour, (parsed.teredo or (None, None))[1]) if one]
        if parsed in _NAT64:
            inside.append(ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF))
    last = inside[-1]
    reserved = isinstance(last, ipaddress.IPv4Address) and last.is_reserved
    if last.is_link_local or last.is_multicast or last.is_unspecified or reserved or last == _METADATA:
        return "link-local, multicast or reserved"
    if not allow_private and not all(one.is_global for one in inside):
        return "in a private network"
    return ""


def _checked(url: str, allow_private: bool) -> urllib.parse.SplitResult:
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ChannelError("the address of the channel is no URL") from error
    if parts.scheme not in (("https", "http") if allow_private else ("https",)) or not parts.hostname:
        raise ChannelError("the address of a channel begins with https://")
    if parts.username or parts.password:
        raise ChannelError("the address of a channel has no user in it; use a secret")
    if not allow_private and port not in (None, *PORTS):
        raise ChannelError(f"port {port} is none that serves https; {PORTS[0]} and {PORTS[1]} are")
    return parts


def _read(answer: urllib3.BaseHTTPResponse, until_s: float) -> bytes:
    found = b""
    while len(found) < ANSWER_BYTES_MAX and time.monotonic() < until_s:
        part = answer.read1(ANSWER_BYTES_MAX - len(found))
        if not part:
            break
        found += part
    return found
