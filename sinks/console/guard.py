"""What every request passes before any page sees it: host, size, origin, session or token, and the headers of answers.

Nothing is public but the addresses in `PUBLIC`. A route that is not there, asked for without a session, gets the same
answer as one that is: sign in first.
"""

import ipaddress
import logging
from collections.abc import MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final
from urllib.parse import quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schemas.settings import ConsoleSettings
from sinks.console.store import Session, Store
from sinks.desk.actions import PHOTO_BYTES_MAX

SIGN_IN: Final = "/sign-in"
PASSWORD: Final = "/password"  # noqa: S105  the page where one is chosen
PUBLIC: Final = frozenset(
    {
        SIGN_IN,
        "/sso",
        "/sso/back",
        "/health",
        "/language",
        "/static/console.css",
        "/static/console.js",
        "/static/icon.svg",
    }
)
"""What is answered without a session."""
WITH_GIVEN_PASSWORD: Final = frozenset({PASSWORD, "/sign-out"})
"""What a user may do before having chosen a password."""
API: Final = "/api/"
FEEDS: Final = "/feeds/"
BODY_BYTES_MAX: Final = 256 << 10
PHOTO: Final = "/actions"
PHOTO_BODY_BYTES_MAX: Final = PHOTO_BYTES_MAX + (64 << 10)
"""Of the one address that takes a photo: the photo and the fields around it."""
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""No inline script or style, nothing from elsewhere."""

log = logging.getLogger(__name__)


class Guard:
    """The outermost part of the application.

    Args:
        app: what is guarded.
        settings: of the console.
        store: users, sessions, tokens.
    """

    def __init__(self, app: ASGIApp, settings: ConsoleSettings, store: Store) -> None:
        self._app = app
        self._settings = settings
        self._store = store
        self._public = urlsplit(settings.public_url)
        self.secure = self._public.scheme == "https" or bool(settings.tls_certificate)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._add_headers(scope, MutableHeaders(raw=message["headers"]))
            await send(message)

        refusal = await self._judge(scope)
        if refusal is not None:
            await refusal(scope, receive, answer)
        else:
            await self._app(scope, _limited(receive, _most(str(scope["path"]))), answer)

    async def _judge(self, scope: Scope) -> Response | None:
        """Why the request is not served; None: it is, and `scope["state"]` says who asks."""
        headers, path, method = Headers(scope=scope), str(scope["path"]), str(scope["method"])
        state = scope.setdefault("state", {})
        state.update(user=None, session=None)
        if not self._knows_host(headers.get("host", "")):
            return PlainTextResponse("this host is not the console's: set GANZHI_CONSOLE__PUBLIC_URL", 421)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > _most(path):
            return PlainTextResponse("too large", 413)
        if method not in SAFE and not self._same_origin(headers):
            return PlainTextResponse("this form came from another site", 403)
        await run_in_threadpool(self._identify, scope, headers, state)
        user = state["user"]
        if path in PUBLIC:
            return None
        if user is None:
            if path.startswith((API, FEEDS)) or method not in SAFE:
                return JSONResponse({"error": "sign in first"}, 401, {"WWW-Authenticate": "Bearer"})
            back = path + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
            return RedirectResponse(SIGN_IN if back == "/" else f"{SIGN_IN}?to={quote(back, safe='')}", 303)
        if user.must_change and path not in WITH_GIVEN_PASSWORD:
            return RedirectResponse(PASSWORD, 303) if method in SAFE else PlainTextResponse("choose a password", 403)
        return None

    def _identify(self, scope: Scope, headers: Headers, state: MutableMapping[str, Any]) -> None:
        """Who asks: by the cookie, or for programs by a token. A token has no session, so it can do nothing."""
        path = str(scope["path"])
        kind, _, secret = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and path.startswith(API):
            if scope["method"] in SAFE:
                state["user"] = self._store.token_user(secret.strip(), "api")
            return
        if path.startswith(FEEDS):
            state["user"] = self._store.token_user(path.rpartition("/")[2].partition(".")[0], "feed")
            return
        session = self.session(headers)
        if session is not None:
            state.update(user=session.user, session=session)

    def session(self, headers: Headers) -> Session | None:
        """The session of the cookie that a browser sent."""
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(cookie_name(self.secure, self._settings.port))
        except CookieError:
            return None
        if morsel is None or not morsel.value:
            return None
        return self._store.session(morsel.value, self._settings.session_idle_s, self._settings.session_max_s)

    def _knows_host(self, host: str) -> bool:
        """The public name, localhost, or an address: a name that somebody else points at us is none of them."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
            if name and name in (self._public.hostname, "localhost"):
                return True
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _same_origin(self, headers: Headers) -> bool:
        site = headers.get("sec-fetch-site")
        if site is not None and site not in ("same-origin", "none"):
            return False
        origin = headers.get("origin")
        if origin is None:
            return True
        # `null` (a page of a file, a sandboxed frame) has no netloc, and neither has a public address that is not set.
        netloc = urlsplit(origin).netloc
        return bool(netloc) and netloc in (headers.get("host"), self._public.netloc)

    def _add_headers(self, scope: Scope, headers: MutableHeaders) -> None:
        headers.setdefault("Content-Security-Policy", POLICY)
        headers["X-Content-Type-Options"] = "nosniff"
        headers["X-Frame-Options"] = "DENY"
        headers["Referrer-Policy"] = "same-origin"
        headers["Cross-Origin-Opener-Policy"] = "same-origin"
        headers["Cross-Origin-Resource-Policy"] = "same-origin"
        headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=()"
        if not str(scope["path"]).startswith("/static/"):
            headers["Cache-Control"] = "no-store"
        if self.secure:
            headers["Strict-Transport-Security"] = "max-age=31536000"


def cookie_name(secure: bool, port: int) -> str:
    """Name of the session's cookie. Cookies know no ports: two consoles on one machine need two names."""
    return "__Host-ganzhi" if secure else f"ganzhi-{port}"


def set_cookie(response: Response, name: str, value: str, *, secure: bool, max_age_s: int) -> None:
    """A cookie that scripts and other sites do not get."""
    response.set_cookie(name, value, max_age=max_age_s, path="/", secure=secure, httponly=True, samesite="lax")


def _most(path: str) -> int:
    return PHOTO_BODY_BYTES_MAX if path == PHOTO else BODY_BYTES_MAX


def _limited(receive: Receive, most: int) -> Receive:
    """Ends a body that is longer than it said, or that never said how long it is."""
    got = 0

    async def limited() -> Message:
        nonlocal got
        message = await receive()
        if message["type"] == "http.request":
            got += len(message.get("body", b""))
            if got > most:
                return {"type": "http.disconnect"}
        return message

    return limited
