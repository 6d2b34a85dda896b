"""One console process: the application on an address, until it is told to stop."""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Final

import uvicorn

from schemas.errors import ConfigurationError, PortInUse
from schemas.settings import ConsoleSettings, Settings, data_home
from sinks.console.app import create_app, create_parts
from sinks.console.store import Store

LOOK_S: Final = 0.2
GRACE_S: Final = 2
"""Streams to browsers never end by themselves: they are cut after so long."""

log = logging.getLogger(__name__)


def address_of(settings: ConsoleSettings) -> str:
    """Where people find the console."""
    if settings.public_url:
        return settings.public_url
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http{'s' if settings.tls_certificate else ''}://{host}:{settings.port}"


def first_run(profile: str) -> str | None:
    """Makes the first administrator of a profile that has no users; returns the one-time password.

    Raises:
        ConfigurationError: the file of users cannot be used.
    """
    store = Store(data_home(profile))
    try:
        return store.first_run()
    finally:
        store.close()


def run(settings: Settings, stop: Callable[[], bool]) -> None:
    """Serves until told to stop.

    Raises:
        PortInUse: somebody else listens there.
        ConfigurationError: the file of users, or a TLS file, cannot be used.
    """
    console = settings.console
    listener = _listen(console)
    parts = create_parts(settings)
    app = create_app(parts)
    try:
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=bool(console.proxies),
                forwarded_allow_ips=list(console.proxies) or None,
                ssl_certfile=console.tls_certificate or None,
                ssl_keyfile=console.tls_key or None,
                timeout_graceful_shutdown=GRACE_S,
                h11_max_incomplete_event_size=16 << 10,
            )
        )
        log.info("console at %s", address_of(console))
        asyncio.run(_serve(server, listener, stop, parts.live.stop))
    except OSError as error:
        raise ConfigurationError(f"TLS files {console.tls_certificate}, {console.tls_key}: {error}") from error
    finally:
        listener.close()
        parts.store.close()


async def _serve(
    server: uvicorn.Server, listener: socket.socket, stop: Callable[[], bool], end_streams: Callable[[], None]
) -> None:
    """Uvicorn without its signal handlers: the command has its own."""

    async def watch() -> None:
        while not stop():
            await asyncio.sleep(LOOK_S)
        await asyncio.to_thread(end_streams)
        server.should_exit = True

    watching = asyncio.create_task(watch())
    await server._serve([listener])  # noqa: SLF001  `serve` would replace the handlers of SIGTERM and SIGINT
    watching.cancel()


def _listen(console: ConsoleSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in console.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((console.host, console.port))
    except OSError as error:
        listener.close()
        if console.port and error.errno is not None and "in use" in str(error).lower():
            raise PortInUse(console.port, "the console", "GANZHI_CONSOLE__PORT") from error
        raise ConfigurationError(f"the console cannot listen on {console.host}:{console.port}: {error}") from error
    listener.set_inheritable(True)
    return listener
