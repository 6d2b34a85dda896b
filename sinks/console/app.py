"""The application: guard, routes, API and pages for what goes wrong, around the parts that a process gives."""

import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from schemas.errors import GanzhiError
from schemas.settings import Settings, data_home
from sinks.console.api import API_PATH, api
from sinks.console.asked import Asked, Parts
from sinks.console.audit import Audit
from sinks.console.behind import Behind
from sinks.console.guard import API, FEEDS, Guard
from sinks.console.history import Fresh, History
from sinks.console.live import Live
from sinks.console.routes import routes
from sinks.console.store import Store
from sinks.desk.checkpoint import file_of

KEEP_S: Final = 2.0
KEEP_HOURLY_S: Final = 30.0
"""Usage of full hours changes when late data come; nobody waits for that."""
STATIC: Final = Path(__file__).parent / "static"

log = logging.getLogger(__name__)


def create_parts(settings: Settings) -> Parts:
    """What the console is made of, from the settings; nothing runs yet.

    Raises:
        ConfigurationError: the file of users cannot be used.
    """
    console = settings.console
    secure = console.public_url.startswith("https:") or bool(console.tls_certificate)
    return Parts(
        settings,
        Store(data_home(settings.profile)),
        Audit(settings.kafka),
        Live(settings.kafka, file_of(settings.profile, "console")),
        History(settings.clickhouse),
        Fresh(KEEP_S),
        Fresh(KEEP_HOURLY_S),
        Behind(settings),
        secure,
    )


def create_app(parts: Parts) -> Guard:
    """The guarded application; its lifespan starts and stops the parts."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        del app
        parts.live.start()
        parts.behind.start()
        try:
            yield
        finally:
            parts.live.stop()
            parts.behind.stop()
            parts.audit.close()
            parts.history.close()

    program_side = api()
    app = Starlette(
        routes=[
            *routes(),
            Mount(API_PATH, program_side),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[Middleware(GZipMiddleware, minimum_size=2000, compresslevel=5)],
        exception_handlers={HTTPException: _refused, GanzhiError: _failed, Exception: _broken},
        lifespan=lifespan,
    )
    app.state.parts = parts
    program_side.state.parts = parts
    return Guard(app, parts.settings.console, parts.store)


def _answer(request: Request, status: int, said: str) -> Response:
    if request.url.path.startswith((API, FEEDS)):
        return JSONResponse({"error": said}, status)
    return Asked(request).page("error.html", status, status=status, said=said)


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = Asked(request).say("no such page") if error.status_code == 404 else error.detail
    return _answer(request, error.status_code, said)


def _failed(request: Request, error: Exception) -> Response:
    return _answer(request, 503, str(error))


def _broken(request: Request, error: Exception) -> Response:
    log.error("a request failed: %s %s", request.method, request.url.path, exc_info=error)
    return _answer(request, 500, Asked(request).say("broken"))
