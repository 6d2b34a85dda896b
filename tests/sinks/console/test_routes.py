"""Default-deny: every address is refused without a session, and with one to those whose role does not allow it."""

import re
from typing import Any

import pytest
from starlette.testclient import TestClient

from sinks.console.access import Permission, Role
from sinks.console.api import _ROUTES, API_PATH
from sinks.console.guard import PUBLIC, cookie_name
from sinks.console.routes import ADDRESSES
from sinks.console.store import now_ms
from tests.sinks.console.world import PASSWORD, World, key_of

pytestmark = [pytest.mark.kafka, pytest.mark.clickhouse]
PRIVATE = [one for one in ADDRESSES if one.path not in PUBLIC]


def every_path(routes: list[Any], before: str = "") -> list[str]:
    """Paths of an application, those of mounted ones too."""
    found = []
    for route in routes:
        inner = getattr(route, "routes", None)
        found += every_path(inner, before + route.path) if inner else [before + route.path]
    return found


def test_no_address_is_forgotten(world: World) -> None:
    """What the application serves is what `ADDRESSES` and the API name, and static files."""
    served = set(every_path(world.client.app._app.routes))
    named = {one.path for one in ADDRESSES} | {API_PATH + path for path, *_ in _ROUTES} | {"/static"}

    assert served == named


def test_public_addresses_are_these(world: World) -> None:
    """Whoever adds one has to change this test too."""
    assert {
        "/sign-in", "/sso", "/sso/back", "/health", "/language",
        "/static/console.css", "/static/console.js", "/static/icon.svg",
    } == PUBLIC  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE, ids=lambda one: f"{one.method} {one.path}")
def test_nothing_without_a_session(world: World, address: Any) -> None:
    """Pages lead to the sign-in; programs, feeds and forms get 401; nothing of the site is in the answer."""
    for cookie in ("", "guessed"):
        stranger = TestClient(world.client.app, base_url="http://localhost:18080", follow_redirects=False)
        stranger.cookies.set(world.parts.cookie, cookie)
        answer = stranger.request(address.method, address.path.replace("{token}", "guessed"))

        assert answer.status_code in (303, 401)
        assert "E1-101" not in answer.text
        if answer.status_code == 303:
            assert answer.headers["location"].startswith("/sign-in")


@pytest.mark.parametrize(
    "path", [API_PATH + path for path, *_ in _ROUTES] + ["/no/such/page", "/static/secret", "/api/v1/nothing"]
)
def test_nothing_else_without_a_session(world: World, path: str) -> None:
    """Also what is not there, so that nobody learns what is."""
    stranger = TestClient(world.client.app, base_url="http://localhost:18080", follow_redirects=False)
    assert stranger.get(path).status_code in (303, 401)
    assert stranger.post(path).status_code == 401
    assert stranger.get(path, headers={"Authorization": "Bearer gza_guessed"}).status_code in (303, 401)


@pytest.mark.parametrize("role", list(Role))
def test_roles_open_what_they_may(world: World, role: Role) -> None:
    """403 where the permission is missing, and never where it is there."""
    client = world.enter(role)
    user = world.parts.store.user(str(role))
    assert user is not None
    for address in PRIVATE:
        if address.method != "GET" or "{" in address.path or address.path in ("/changes", "/sign-out"):
            continue
        status = client.get(address.path).status_code
        if address.needs is None or user.may(address.needs):
            assert status in (200, 404), (address.path, status)
        else:
            assert status == 403, (address.path, status)
    for path, _, needs, _ in _ROUTES:
        status = client.get(API_PATH + path).status_code
        assert (status == 403) == (needs is not None and not user.may(needs)), path


def test_forms_need_the_word_of_the_session(world: World) -> None:
    """Without it, with another's, and from another site nothing is done."""
    client, other = world.enter(Role.ADMIN), world.enter(Role.OPERATOR)
    form = {"change": "add", "name": "mallory", "role": "admin", "places": "all"}
    secret = other.cookies[world.parts.cookie]
    strange = world.parts.store.session(secret, 60, 60)
    assert strange is not None

    assert client.post("/users", data=form).status_code == 403
    assert client.post("/users", data=form | {"csrf": strange.csrf}).status_code == 403
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}):
        own = world.parts.store.session(client.cookies[world.parts.cookie], 60, 60)
        assert own is not None
        assert client.post("/users", data=form | {"csrf": own.csrf}, headers=headers).status_code == 403
    assert world.parts.store.user("mallory") is None


def test_actions_need_the_right_role_and_place(world: World) -> None:
    """A viewer does nothing; a liaison acknowledges and does not silence; a contractor of W1 does not see E1."""
    row = world.alert(episode=50)
    key = key_of(row)
    assert world.post(world.enter(Role.VIEWER), "/actions", do="acknowledge", key=key).status_code == 403
    assert world.post(world.enter(Role.CONTRACTOR), "/actions", do="acknowledge", key=key).status_code == 404
    assert world.post(world.enter(Role.AUDITOR), "/actions", do="acknowledge", key=key).status_code == 403
    liaison = world.enter(Role.LIAISON)
    assert world.post(liaison, "/actions", do="silence", hours="2", key=key).status_code == 403
    assert world.post(liaison, "/actions", do="acknowledge", key=key).status_code == 303
    alert = world.parts.live.desk.alerts[row["site"], row["rule"], row["subject"], 50]

    assert [(one.what, one.action.actor) for one in alert.history if one.action] == [("acknowledge", "liaison")]
    assert alert.status == "acknowledged"


def test_everything_leaves_an_audit_event(world: World) -> None:
    """Sign-ins, refusals, actions, exports: who, what, and whether it was done; never a password."""
    row = world.alert(episode=51)
    stranger = TestClient(world.client.app, base_url="http://localhost:18080", follow_redirects=False)
    stranger.post("/sign-in", data={"user": "admin", "password": "wrong-secret-7"})
    operator, viewer = world.enter(Role.OPERATOR), world.enter(Role.VIEWER)
    world.post(operator, "/actions", do="comment", comment="hidden words", key=key_of(row))
    operator.get("/export/alerts.csv")
    viewer.get("/users")
    world.post(operator, "/sign-out")
    world.parts.audit.close()
    events = [(one.actor, one.action, one.outcome) for one in world.parts.audit.newest(200)]

    for wanted in (
        ("admin", "sign_in", "refused"), ("operator", "sign_in", "done"), ("operator", "comment", "done"),
        ("operator", "export", "done"), ("viewer", "open", "refused"), ("operator", "sign_out", "done"),
    ):  # fmt: skip
        assert wanted in events
    assert not any("wrong-secret-7" in str(one) or PASSWORD in str(one) for one in world.parts.audit.newest(200))


def test_guessing_is_slowed_and_tells_nothing(world: World) -> None:
    """The same words for a wrong password and for nobody; after five tries one has to wait."""
    stranger = TestClient(world.client.app, base_url="http://localhost:18080", follow_redirects=False)
    answers = [stranger.post("/sign-in", data={"user": "nobody", "password": str(n)}) for n in range(7)]

    assert [one.status_code for one in answers[:5]] == [401] * 5
    assert 429 in [one.status_code for one in answers[5:]]
    wrong = stranger.post("/sign-in", data={"user": "auditor", "password": "wrong"})
    said = [re.search(r'role="alert">([^<]*)', one.text)[1] for one in (answers[0], wrong)]  # type: ignore[index]
    assert said[0] == said[1]


def test_one_time_password_must_be_replaced(world: World) -> None:
    """Until then nothing else opens; afterwards the old one and older sessions are worth nothing."""
    given = world.parts.store.add_user("fresh", Role.VIEWER, ["E1"])
    client = TestClient(world.client.app, base_url="http://localhost:18080", follow_redirects=False)
    assert client.post("/sign-in", data={"user": "fresh", "password": given}).status_code == 303
    assert client.get("/").headers["location"] == "/password"
    assert client.get("/api/v1/me").status_code == 303
    change = {"password": given, "new": "a better one 7", "again": "a better one 7"}
    assert world.post(client, "/password", **change | {"again": "another"}).status_code == 400
    assert world.post(client, "/password", **change | {"new": "short", "again": "short"}).status_code == 400
    old = client.cookies[world.parts.cookie]
    assert world.post(client, "/password", **change).status_code == 303

    assert client.get("/").status_code == 200
    assert world.parts.store.session(old, 60, 60) is None
    assert world.parts.store.check_password("fresh", str(given)) is None
    world.parts.store.remove_user("fresh")


def test_cookie_and_headers(world: World) -> None:
    """HttpOnly, SameSite; no script or style from inside or elsewhere; nothing kept by caches; no frame."""
    client = TestClient(world.client.app, base_url="http://localhost:18080", follow_redirects=False)
    answer = client.post("/sign-in", data={"user": "viewer", "password": PASSWORD})
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=lax" in cookie and "path=/" in cookie
    for page in ("/", "/sign-in", "/health", "/nothing"):
        headers = client.get(page).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
    assert cookie_name(True, 1) == "__Host-ganzhi"


def test_another_host_is_not_ours(world: World) -> None:
    """A name that somebody points at this address (DNS rebinding) gets nothing, not even the sign-in."""
    for host in ("evil.example", "localhost.evil.example", "", "evil.example:18080"):
        assert world.client.get("/sign-in", headers={"Host": host}).status_code == 421
    for host in ("localhost", "127.0.0.1:18080", "[::1]:18080", "192.0.2.7"):
        assert world.client.get("/sign-in", headers={"Host": host}).status_code == 200


def test_large_bodies_are_refused(world: World) -> None:
    """Whatever they say of their length."""
    assert world.client.post("/sign-in", content=b"x" * (1 << 19)).status_code == 413
    assert world.client.post("/sign-in", headers={"Content-Length": "-5"}, content=b"").status_code == 413
    big = iter([b"user=" + b"x" * (1 << 18), b"x" * (1 << 18)])
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    with pytest.raises(Exception):  # noqa: B017  the connection is given up; each server says so in its own way
        assert world.client.post("/sign-in", content=big, headers=headers).status_code >= 400
        raise RuntimeError


@pytest.mark.parametrize(
    "to", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "/a\nb"]
)
def test_sign_in_leads_nowhere_else(world: World, to: str) -> None:
    """Where one goes after the sign-in is a page of the console."""
    client = TestClient(world.client.app, base_url="http://localhost:18080", follow_redirects=False)
    answer = client.post("/sign-in", data={"user": "viewer", "password": PASSWORD, "to": to})

    assert answer.headers["location"] == "/"


def test_tokens_read_and_do_nothing(world: World) -> None:
    """A token opens the API for reading, with the places of its user; a feed's address opens the feed alone."""
    _, secret = world.parts.store.add_token("liaison", "test")
    _, feed = world.parts.store.add_token("liaison", "test", "feed")
    world.alert(episode=52)
    world.alert(site="west", subject="W1-101", episode=53)
    stranger = TestClient(world.client.app, base_url="http://localhost:18080", follow_redirects=False)
    headers = {"Authorization": f"Bearer {secret}"}
    alerts = stranger.get("/api/v1/alerts", headers=headers).json()

    assert {one["site"] for one in alerts} == {"east"}
    assert stranger.get("/api/v1/me", headers=headers).json()["user"] == "liaison"
    assert stranger.get("/", headers=headers).status_code == 303
    assert stranger.post("/actions", headers=headers).status_code == 401
    assert stranger.get("/api/v1/alerts", headers={"Authorization": f"Bearer {feed}"}).status_code == 401
    assert stranger.get(f"/feeds/{secret}.atom").status_code == 401
    text = stranger.get(f"/feeds/{feed}.atom").text
    assert "E1-101" in text and "W1-101" not in text
    assert stranger.get("/api/v1/spaces?site=west", headers=headers).status_code == 404


def test_users_are_made_by_administrators(world: World) -> None:
    """The page does what the command line does; nobody changes himself, and the last administrator stays."""
    admin = world.enter(Role.ADMIN)
    page = world.post(admin, "/users", change="add", name="zhao", role="viewer", places="E1 site:west")
    assert page.status_code == 200
    given = re.search(r"<code>([a-z2-9-]{19})</code>", page.text)
    assert given
    assert world.parts.store.check_password("zhao", given[1])
    assert world.parts.store.user("zhao").places == {"E1", "site:west"}  # type: ignore[union-attr]
    assert world.post(admin, "/users", change="role", name="zhao", role="auditor", places="").status_code == 303
    assert world.parts.store.user("zhao").places == set()  # type: ignore[union-attr]
    assert world.post(admin, "/users", change="disable", name="zhao").status_code == 303
    assert world.parts.store.user("zhao") is None
    assert world.post(admin, "/users", change="disable", name="admin").status_code == 400
    assert world.post(admin, "/users", change="add", name="a b", role="viewer").status_code == 400
    assert world.post(admin, "/users", change="add", name="x", role="emperor").status_code == 400
    world.parts.store.remove_user("zhao")


def test_permission_of_every_address_is_meant(world: World) -> None:
    """Only what a person does with himself needs no permission."""
    assert {one.path for one in PRIVATE if one.needs is None} == {
        "/account", "/account/tokens", "/password", "/sign-out", "/api", "/api/openapi.json",
    }  # fmt: skip
    assert {one.path for one in PRIVATE if one.needs is Permission.USERS} == {"/users"}
    assert now_ms() > 0
