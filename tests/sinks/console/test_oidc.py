"""Single sign-on against a provider that behaves like a real one: code, PKCE, nonce, signed tokens."""

import base64
import dataclasses
import hashlib
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import uvicorn
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from schemas.settings import OidcSettings
from sinks.console.access import Role
from sinks.console.app import create_app
from tests.sinks.console.world import World, until

pytestmark = [pytest.mark.kafka, pytest.mark.clickhouse]
CLIENT = "ganzhi"


class Provider:
    """Who says who somebody is.

    Attributes:
        name: who signs in next.
        spoil: claims that are changed before the token is signed.
    """

    def __init__(self) -> None:
        self._key, self._other = (RSAKey.generate_key(2048, {"kid": "1"}) for _ in range(2))
        self._codes: dict[str, dict[str, str]] = {}
        self.name = ""
        self.spoil: dict[str, Any] = {}
        self.forge = False
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        routes = [
            Route("/.well-known/openid-configuration", self._metadata),
            Route("/jwks", self._keys),
            Route("/authorize", self._authorize),
            Route("/token", self._token, methods=["POST"]),
        ]
        self._server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_config=None, lifespan="off"))
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)

    def start(self) -> None:
        """Serves."""
        self._thread.start()
        until(lambda: self._server.started)

    def stop(self) -> None:
        """Ends."""
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()

    def answer(self, address: str) -> str:
        """What the browser is sent back to, after the person has signed in at the provider."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert query["client_id"] == CLIENT
        assert query["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self._codes[code] = query
        return f"{query['redirect_uri']}?code={code}&state={query['state']}"

    async def _metadata(self, request: Request) -> Response:
        del request
        return JSONResponse(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/jwks",
                "id_token_signing_alg_values_supported": ["RS256"],
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
            }
        )

    async def _keys(self, request: Request) -> Response:
        del request
        return JSONResponse({"keys": [self._key.as_dict(private=False)]})

    async def _authorize(self, request: Request) -> Response:
        return RedirectResponse(self.answer(str(request.url)))

    async def _token(self, request: Request) -> Response:
        form = await request.form()
        query = self._codes.pop(str(form["code"]), None)
        proof = base64.urlsafe_b64encode(hashlib.sha256(str(form.get("code_verifier")).encode()).digest()).rstrip(b"=")
        if query is None or proof.decode() != query["code_challenge"]:
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {
            "iss": self.url, "aud": CLIENT, "sub": "1", "iat": now, "exp": now + 60, "nonce": query["nonce"],
            "preferred_username": self.name,
        } | self.spoil  # fmt: skip
        token = jwt.encode({"alg": "RS256", "kid": "1"}, claims, self._other if self.forge else self._key)
        return JSONResponse({"access_token": "x", "token_type": "Bearer", "expires_in": 60, "id_token": token})


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    """A running one."""
    one = Provider()
    one.start()
    yield one
    one.stop()


@pytest.fixture
def client(world: World, provider: Provider) -> TestClient:
    """A browser at a console with single sign-on."""
    provider.name, provider.spoil, provider.forge = "", {}, False
    oidc = OidcSettings(issuer=provider.url, client_id=CLIENT, label="City account")
    console = world.settings.console.model_copy(update={"oidc": oidc})
    parts = dataclasses.replace(world.parts, settings=world.settings.model_copy(update={"console": console}))
    return TestClient(create_app(parts), base_url="http://localhost:18080", follow_redirects=False)


def go(client: TestClient, provider: Provider) -> Any:
    """From the button to where the browser comes back."""
    begun = client.get("/sso")
    assert begun.status_code in (302, 303)
    return client.get(provider.answer(begun.headers["location"]))


def test_known_user_comes_in(client: TestClient, provider: Provider, world: World) -> None:
    """The button leads there and back; the user has his own role, and no password."""
    world.parts.store.add_user("sun", Role.LIAISON, ["E1"], password=False)
    provider.name = "sun"
    assert "City account" in client.get("/sign-in").text
    answer = go(client, provider)

    assert answer.status_code == 303
    assert client.get("/api/v1/me").json() == {"user": "sun", "role": "liaison", "places": ["E1"]}
    assert world.parts.store.check_password("sun", "") is None
    world.parts.store.remove_user("sun")


def test_unknown_user_stays_outside(client: TestClient, provider: Provider) -> None:
    """The provider does not make users; neither does it bring in who is disabled."""
    provider.name = "<b>stranger</b>"
    answer = go(client, provider)

    assert answer.status_code == 403
    assert "<b>stranger" not in answer.text
    assert client.get("/api/v1/me").status_code == 401


@pytest.mark.parametrize(
    "spoil", [{"nonce": "another"}, {"aud": "somebody-else"}, {"iss": "https://evil.example"}, {"exp": 1}]
)
def test_wrong_tokens_are_refused(client: TestClient, provider: Provider, spoil: dict[str, Any]) -> None:
    """Of another sign-on, for another client, from another issuer, too old."""
    provider.name, provider.spoil = "admin", spoil
    assert go(client, provider).status_code == 403
    assert client.get("/api/v1/me").status_code == 401


def test_forged_signature_is_refused(client: TestClient, provider: Provider) -> None:
    """A key that the provider does not publish."""
    provider.name, provider.forge = "admin", True
    assert go(client, provider).status_code == 403


def test_sign_on_of_another_browser_is_refused(client: TestClient, provider: Provider, world: World) -> None:
    """A link with somebody else's code (login CSRF), a second use, and a state that was never given."""
    provider.name = "admin"
    begun = client.get("/sso")
    back = provider.answer(begun.headers["location"])
    other = TestClient(client.app, base_url="http://localhost:18080", follow_redirects=False)
    assert other.get(back).status_code == 403
    assert client.get(back.replace("state=", "state=x")).status_code == 403
    assert client.get(back).status_code == 403
    assert client.get("/sso/back?code=1&state=1").status_code == 403


def test_without_a_provider_there_is_no_such_page(world: World) -> None:
    """Off is off."""
    assert world.client.get("/sso").status_code == 404
    assert world.client.get("/sso/back").status_code == 404
