"""Notifiers that run against a real Kafka and a robot that answers as the real ones do."""

import contextlib
import json
import os
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from pydantic import SecretStr
from standardwebhooks import Webhook

from ganzhi.demo.robot import RobotServer
from schemas.settings import ChannelSettings, KafkaSettings, NotifySettings, Settings
from schemas.vitals import Pulse
from sinks.notify.process import run
from tests.sinks.desk.world import World

KEY = "693axxx6-7aoc-4bc4-97a0-canary"
SECRET = "SEC-canary-4b1d7a"
WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PEOPLE = [
    {"id": "liu", "role": "manager", "name_zh": "刘洋", "scope": "east"},
    {"id": "wang", "role": "duty", "name_zh": "王强", "scope": "east"},
]
ALL = {"id": "all", "send_to": ["robot"], "language": "en", "wait": "0s", "every": "0s"}
DEADLINE_S = 60.0


def robot_channel(robot: RobotServer, maker: str = "wecom", **more: Any) -> ChannelSettings:
    """The channel of a robot on this machine."""
    secret = "" if maker == "wecom" else robot.secret
    return ChannelSettings(
        **{
            "kind": maker,
            "url": SecretStr(robot.url(maker)),
            "secret": SecretStr(secret),
            "allow_private": True,
            **more,
        }
    )


def settings_of(kafka: KafkaSettings, channels: dict[str, ChannelSettings], **more: Any) -> Settings:
    """Settings of a notifier with channels."""
    return Settings(
        kafka=kafka, notify=NotifySettings(channels=channels, **{"timeout_s": 3.0, "cost_wait_s": 0.0, **more})
    )


def world_with(kafka: KafkaSettings, folder: Path, *routes: dict[str, Any], **more: Any) -> World:
    """A log whose model has routes."""
    return World(kafka, folder, routes=list(routes), people=PEOPLE, **more)


@contextlib.contextmanager
def notifying(settings: Settings, pulse: Pulse | None = None) -> Iterator[threading.Thread]:
    """A notifier in a thread, which is given, until the end of the block; what it raises is raised."""
    stop, raised = threading.Event(), list[BaseException]()

    def work() -> None:
        try:
            run(settings, stop.is_set, pulse)
        except BaseException as error:  # noqa: BLE001
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        thread.join(DEADLINE_S)
    if raised:
        raise raised[0]


def environment(settings: Settings, **more: str) -> dict[str, str]:
    """The environment of a process with these settings."""
    channels = {
        name: {**one.model_dump(), "url": one.url.get_secret_value(), "secret": one.secret.get_secret_value()}
        for name, one in settings.notify.channels.items()
    }
    return {
        **os.environ,
        "GANZHI_KAFKA__BOOTSTRAP": settings.kafka.bootstrap,
        "GANZHI_KAFKA__PREFIX": settings.kafka.prefix,
        "GANZHI_NOTIFY__CHANNELS": json.dumps(channels),
        "GANZHI_NOTIFY__TIMEOUT_S": str(settings.notify.timeout_s),
        "GANZHI_NOTIFY__GIVE_UP_S": str(settings.notify.give_up_s),
        "GANZHI_NOTIFY__COST_WAIT_S": str(settings.notify.cost_wait_s),
        **more,
    }


def process(settings: Settings, **more: str) -> "subprocess.Popen[bytes]":
    """A notifier in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "sinks.notify"],
        env=environment(settings, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@contextlib.contextmanager
def running(settings: Settings, **more: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A notifier in a process of its own that does not outlive the block, whatever is asserted in it."""
    child = process(settings, **more)
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()


def wait_for(ready: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Waits until something is so."""
    until_s = time.monotonic() + deadline_s
    while not ready():
        assert time.monotonic() < until_s, what
        time.sleep(0.02)


class Receiver:
    """A receiver of webhooks that checks signatures, and shows a message once however often it comes.

    Attributes:
        came: ids in the order of their coming, repeats included.
        shown: id → data, once each.
        wrong: what did not verify.
        statuses: answers to the next requests, 0: none at all; then 204.
    """

    def __init__(self, secret: str = WEBHOOK_SECRET, tls: Path | None = None) -> None:
        self.came: list[str] = []
        self.shown: dict[str, Any] = {}
        self.wrong: list[str] = []
        self.statuses: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                try:
                    data = Webhook(secret).verify(raw, dict(self.headers.items()))["data"]
                except Exception as error:  # noqa: BLE001
                    receiver.wrong.append(str(error))
                    data = None
                status = receiver.statuses.pop(0) if receiver.statuses else 204
                if data is not None and status in (0, 204):
                    receiver.came.append(self.headers["webhook-id"])
                    receiver.shown.setdefault(self.headers["webhook-id"], data)
                if status == 0:
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Location", "http://127.0.0.1:1/")
                self.send_header("Retry-After", "1")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook-canary"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def channel(self, secret: str = WEBHOOK_SECRET, **more: Any) -> ChannelSettings:
        """Its channel."""
        return ChannelSettings(
            **{
                "kind": "webhook",
                "url": SecretStr(self.url),
                "secret": SecretStr(secret),
                "allow_private": True,
                **more,
            }
        )

    def steps(self) -> list[tuple[str, int, str]]:
        """(subject, episode, step) of everything that was shown."""
        return sorted(
            (one["subject"], one["episode"], one["step"]) for data in self.shown.values() for one in data["alerts"]
        )
