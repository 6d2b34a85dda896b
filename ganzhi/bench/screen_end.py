"""Where a latency ends that goes to a screen: the console's page *Now*, asked for as a browser does.

A browser waits on the stream of changes and asks for the list again when one comes; this does the same over HTTP, with
a session, through everything that a request passes. An alert is on the screen when the HTML that shows it has arrived.
"""

import dataclasses
import http.client
import re
import threading
import time
from collections.abc import Sequence
from html import unescape
from typing import Final, Self
from urllib.parse import parse_qs, urlencode

from ganzhi.bench.load import Load
from ganzhi.bench.message_end import publish_heads
from ganzhi.bench.rig import PROFILE, Rig
from ganzhi.embedded.ports import choose_free
from schemas.errors import StackError
from schemas.settings import data_home
from sinks.console.access import Role
from sinks.console.store import Store

USER: Final = "bench"
PASSWORD: Final = "only while it is measured"  # noqa: S105  of a profile that is wiped
LIST: Final = "/now/list?show=all&sort=newest"
READY_S: Final = 60.0
_FOUND: Final = re.compile(r'data-found="(\d+)"')
_ROW: Final = re.compile(r'href="/alert\?([^"]+)".*?<time datetime="(\d+)"', re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Answer:
    """An answer of the console: its status, how many bytes it has, how long it took until the last of them."""

    status: int
    size: int
    ms: float
    text: str = dataclasses.field(repr=False)


class Visitor:
    """A console of its own, and somebody who is signed in; a context manager.

    Args:
        rig: with documents published.
        role: of the user.
    """

    def __init__(self, rig: Rig, role: Role = Role.ADMIN) -> None:
        self._rig = rig
        self._role = role
        self._port = choose_free()
        self.headers: dict[str, str] = {}

    def __enter__(self) -> Self:
        store = Store(data_home(PROFILE))
        store.add_user(USER, self._role, ["*"])
        store.set_password(USER, PASSWORD)
        store.close()
        self._rig.start("console", "console", GANZHI_CONSOLE__PORT=str(self._port))
        self._rig.wait(self._is_ready, "the start of the console", READY_S)
        self.headers = {"Cookie": self._sign_in()}
        return self

    def __exit__(self, *error: object) -> None:
        pass  # the rig ends its processes

    def connect(self) -> http.client.HTTPConnection:
        """A connection to the console."""
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=READY_S)

    def ask(self, path: str) -> Answer:
        """Asks for a page, on a connection of its own."""
        connection = self.connect()
        started_s = time.perf_counter()
        connection.request("GET", path, headers=self.headers)
        answer = connection.getresponse()
        body = answer.read()
        took_ms = (time.perf_counter() - started_s) * 1000
        connection.close()
        return Answer(answer.status, len(body), took_ms, body.decode())

    def wait_for(self, alerts: int) -> None:
        """Waits until the console has read so many open alerts."""
        self._rig.wait(lambda: str(alerts) in _FOUND.findall(self.ask("/now/list").text), "the console", READY_S)

    def _is_ready(self) -> bool:
        connection = self.connect()
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False
        finally:
            connection.close()

    def _sign_in(self) -> str:
        connection = self.connect()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", "/sign-in", urlencode({"user": USER, "password": PASSWORD}), headers)
        cookie = connection.getresponse().headers.get("Set-Cookie")
        connection.close()
        if cookie is None:
            raise StackError("the console does not let the bench in")
        return cookie.partition(";")[0]


class ScreenWatch:
    """Watches the page, in a thread; a context manager.

    Args:
        rig: with the loads' documents published.
        loads: what is in force.

    Attributes:
        seen: (site/space, time of the event) → wall time in ms at which the page showed it.
        doubled: always 0: a page shows what is, not what comes.
    """

    def __init__(self, rig: Rig, loads: Sequence[Load]) -> None:
        self.seen: dict[tuple[str, int], float] = {}
        self.doubled = 0
        self._rig = rig
        self._loads = loads
        self._visitor = Visitor(rig, Role.VIEWER)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="screen", daemon=True)

    def __enter__(self) -> Self:
        publish_heads(self._rig, self._loads)
        self._visitor.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join(30)

    def _watch(self) -> None:
        stream, page = self._visitor.connect(), self._visitor.connect()
        headers = self._visitor.headers
        stream.request("GET", "/changes", headers=headers)
        changes = stream.getresponse()
        while not self._end.is_set():
            if not changes.readline().startswith(b"data:"):
                continue
            page.request("GET", LIST, headers=headers)
            text = page.getresponse().read().decode()
            now_ms = time.time() * 1000
            for query, started in _ROW.findall(text):
                key = {name: values[0] for name, values in parse_qs(unescape(query)).items()}
                self.seen.setdefault((f"{key['site']}/{key['subject']}", int(started)), now_ms)
        stream.close()
        page.close()
