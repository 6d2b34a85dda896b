"""Single sign-on with OpenID Connect: authorization code, PKCE, nonce, by Authlib.

Who comes in that way must be a user here already (`ganzhi user add NAME --no-password`): the provider says who
somebody is, this console says what he may. What belongs to a sign-on on its way is kept in the store under a random
cookie, for ten minutes and for one use.
"""

import secrets
import threading
from typing import Any, Final, cast

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.starlette_client import OAuth, StarletteOAuth2App
from joserfc.errors import JoseError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response

from schemas.settings import OidcSettings
from sinks.console.asked import Asked
from sinks.console.audit import Event
from sinks.console.guard import set_cookie
from sinks.console.signin import admit

COOKIE: Final = "ganzhi-sso"
MINUTES: Final = 10
TIMEOUT_S: Final = 10.0
_known: dict[tuple[str, str], StarletteOAuth2App] = {}
_making: Final = threading.Lock()


def client(settings: OidcSettings) -> StarletteOAuth2App:
    """Authlib's client of a provider; its metadata and keys are fetched when first needed, and kept."""
    with _making:
        key = (settings.issuer, settings.client_id)
        if key not in _known:
            registry = OAuth()
            _known[key] = cast(
                "StarletteOAuth2App",
                registry.register(
                    "provider",
                    client_id=settings.client_id,
                    client_secret=settings.client_secret.get_secret_value(),
                    server_metadata_url=f"{settings.issuer.rstrip('/')}/.well-known/openid-configuration",
                    client_kwargs={"scope": settings.scope, "code_challenge_method": "S256", "timeout": TIMEOUT_S},
                ),
            )
        return _known[key]


async def begin(asked: Asked) -> Response:
    """Sends the browser to the provider."""
    settings = _settings(asked)
    kept: dict[str, Any] = {}
    asked.request.scope["session"] = kept
    back = f"{_base(asked)}/sso/back"
    try:
        response: Response = await client(settings).authorize_redirect(asked.request, back)
    except (AuthlibBaseError, JoseError, httpx2.HTTPError, ValueError) as error:
        raise HTTPException(503, asked.say("sso away", why=type(error).__name__)) from error
    key = secrets.token_urlsafe(32)
    await run_in_threadpool(asked.parts.store.keep_sign_on, key, kept)
    set_cookie(response, COOKIE, key, secure=asked.parts.secure, max_age_s=MINUTES * 60)
    return response


async def finish(asked: Asked) -> Response:
    """The browser comes back with a code; Authlib exchanges it and checks state, nonce, issuer, audience, signature."""
    settings = _settings(asked)
    kept = await run_in_threadpool(asked.parts.store.take_sign_on, asked.request.cookies.get(COOKIE, ""))
    if kept is None:
        raise HTTPException(403, asked.say("sso again"))
    asked.request.scope["session"] = kept
    try:
        token = await client(settings).authorize_access_token(asked.request)
    except (AuthlibBaseError, JoseError, httpx2.HTTPError, ValueError, KeyError) as error:
        await _note(asked, Event("", "sign_in", outcome="refused", detail=f"sso: {error}", address=asked.address))
        raise HTTPException(403, asked.say("sso again")) from error
    claims = token.get("userinfo") or {}
    name = claims.get(settings.user_claim)
    user = await run_in_threadpool(asked.parts.store.user, name) if isinstance(name, str) else None
    if user is None:
        await _note(asked, Event(str(name), "sign_in", outcome="refused", detail="sso: no user", address=asked.address))
        raise HTTPException(403, asked.say("sso unknown", name=str(name)))
    return await run_in_threadpool(admit, asked, user.name, f"sso {settings.issuer}", "/")


def _settings(asked: Asked) -> OidcSettings:
    settings = asked.parts.settings.console.oidc
    if not settings.issuer:
        raise HTTPException(404)
    return settings


def _base(asked: Asked) -> str:
    console = asked.parts.settings.console
    return console.public_url.rstrip("/") or str(asked.request.base_url).rstrip("/")


async def _note(asked: Asked, event: Event) -> None:
    await run_in_threadpool(asked.parts.audit.note, event)
