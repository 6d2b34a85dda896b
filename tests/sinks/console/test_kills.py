"""kill -9 of the console between any two steps of an action: the log has it once or not at all, and the page says which."""

import contextlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator

import httpx2
import pytest
from starlette.testclient import TestClient

from schemas.settings import Settings
from schemas.topics import ALERT_ACTIONS
from sinks.clickhouse.faults import KILLED
from sinks.console.guard import cookie_name
from sinks.desk.actions import Action
from tests.sinks.console.world import PASSWORD, World, key_of, until
from tests.sinks.desk.test_desk import values_of

pytestmark = [pytest.mark.kafka, pytest.mark.clickhouse]
POINTS = {"act-after-audit": False, "act-before-write": False, "act-after-write": True, "act-before-answer": True}
"""In their order; whether the log has the action then."""
QUICK = ("act-before-write", "act-after-write")


@contextlib.contextmanager
def serving(settings: Settings, **more: str) -> Iterator[tuple["subprocess.Popen[bytes]", httpx2.Client]]:
    """The console of these settings in a process of its own, and somebody who is signed in there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {
        "GANZHI_PROFILE": settings.profile,
        "GANZHI_KAFKA__BOOTSTRAP": settings.kafka.bootstrap,
        "GANZHI_KAFKA__PREFIX": settings.kafka.prefix,
        "GANZHI_CLICKHOUSE__HOST": settings.clickhouse.host,
        "GANZHI_CLICKHOUSE__PORT": str(settings.clickhouse.port),
        "GANZHI_CLICKHOUSE__DATABASE": settings.clickhouse.database,
        "GANZHI_CONSOLE__PORT": str(port),
    }
    child = subprocess.Popen(
        [sys.executable, "-m", "ganzhi", "console"],
        env={**os.environ, **told, **more},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            until(lambda: child.poll() is not None or current(client))
            assert child.poll() is None
            client.post("/sign-in", data={"user": "operator", "password": PASSWORD})
            yield child, client
    finally:
        child.kill()
        child.wait()


def current(client: httpx2.Client) -> bool:
    """Whether it answers, and has read the log to its end."""
    with contextlib.suppress(httpx2.TransportError):
        return client.get("/health").status_code == 200
    return False


def form_of(page: str) -> dict[str, str]:
    """The hidden fields of the first form for actions."""
    form = page.split('action="/actions"', 1)[1].split("</form>", 1)[0]
    return dict(re.findall(r'type="hidden" name="(csrf|once)" value="([^"]+)"', form))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.long]) for name in POINTS]
)
def test_killed_between_two_steps(world: World, name: str) -> None:
    """The process dies at its point. The next page shows what the log has; the form sent again makes it once."""
    written = POINTS[name]
    row = world.alert(rule="Killed", episode=940 + list(POINTS).index(name))
    address, key = f"/alert?{key_of(row)}", key_of(row)
    with serving(world.settings, GANZHI_FAULT=name) as (dying, client):
        form = form_of(client.get(address).text) | {"key": key, "do": "comment", "comment": f"said at {name}"}
        with pytest.raises(httpx2.TransportError):
            client.post("/actions", data=form)
        assert dying.wait(60) == KILLED
        secret = client.cookies[cookie_name(False, client.base_url.port or 0)]

    # Another console of the same profile, to which the browser goes with its session and the form that it still has.
    other = TestClient(world.client.app, base_url="http://localhost:18080", follow_redirects=False)
    other.cookies.set(world.parts.cookie, secret)
    assert told(world, row) == int(written)
    until(lambda: (f"said at {name}" in other.get(address).text) == written)
    for _ in range(2):
        assert other.post("/actions", data=form).status_code == 303
    until(lambda: f"said at {name}" in other.get(address).text)
    assert other.get(address).text.count(f"said at {name}") == 1
    assert told(world, row) == 1


def told(world: World, row: dict[str, object]) -> int:
    """How many messages of the log are about an alert."""
    actions = [Action.parse(value) for value in values_of(world.settings.kafka, ALERT_ACTIONS)]
    return sum(1 for one in actions if (one.rule, one.episode) == (row["rule"], row["episode"]))
