"""Where a latency ends that goes to a message: a receiver of webhooks, told by a notifier of its own."""

import base64
import dataclasses
import json
import secrets
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, Self, TypeVar

from confluent_kafka import Producer
from standardwebhooks import Webhook

from ganzhi.bench.load import Load
from ganzhi.bench.rig import Rig
from schemas.codec import Json
from schemas.kafka import client_config
from schemas.topics import CONFIG, topic_name

PER_MINUTE: Final = 6000
"""The receiver is a program: every alert is a message of its own."""
ROUTE: Final[dict[str, Json]] = {
    "id": "all",
    "send_to": ["hook"],
    "wait": "0s",
    "every": "0s",
    "language": "en",
    "resolved": True,
}
READY: Final = "tells people through hook"
READY_S: Final = 60.0

Loads = TypeVar("Loads", bound=Load)


def with_route(load: Loads) -> Loads:
    """The load with a route in its document, by which everything is told at once."""
    tables = {**load.document.tables, "routes": {name: [value] for name, value in ROUTE.items()}}
    load.document = dataclasses.replace(load.document, tables=tables)
    return load


def publish_heads(rig: Rig, loads: Sequence[Load]) -> None:
    """Says in `config` which documents are in force, for those who follow it and not the control records."""
    producer = Producer(client_config(rig.kafka))
    for load in loads:
        head = {"version": 1, "sha256": load.document.sha256.hex(), "previous": "", "partition": load.partition}
        producer.produce(topic_name(rig.kafka, CONFIG), json.dumps(head), f"head/{load.site}")
    producer.flush()


class MessageWatch:
    """Receives what the notifier sends, verified, and notes when it had each alert; a context manager.

    Args:
        rig: with the loads' documents in force.
        loads: made by `with_route`.

    Attributes:
        seen: (site/space, time of the event) → wall time in ms at which the message about it had come.
        doubled: alerts that came in more than one message.
    """

    def __init__(self, rig: Rig, loads: Sequence[Load]) -> None:
        self.seen: dict[tuple[str, int], float] = {}
        self.doubled = 0
        self._rig = rig
        self._loads = loads
        self._lock = threading.Lock()
        self._secret = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.watch = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        publish_heads(self._rig, self._loads)
        channel = {
            "KIND": "webhook", "URL": f"http://127.0.0.1:{self._server.server_address[1]}/", "SECRET": self._secret,
            "ALLOW_PRIVATE": "true", "PER_MINUTE": str(PER_MINUTE),
        }  # fmt: skip
        settings = {f"GANZHI_NOTIFY__CHANNELS__HOOK__{name}": value for name, value in channel.items()}
        child = self._rig.start("notifier", "notify", **settings)
        self._rig.wait(lambda: READY in child.log_tail(), "the start of the notifier", READY_S)
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take(self, raw: bytes, headers: dict[str, str]) -> None:
        """Notes what a message tells.

        Raises:
            WebhookVerificationError: it is not the notifier's.
        """
        now_ms = time.time() * 1000
        data = Webhook(self._secret).verify(raw, headers)["data"]
        with self._lock:
            for row in data["alerts"]:
                if row["step"].startswith("firing:"):
                    key = f"{row['site']}/{row['subject']}", int(row["started_at"])
                    self.doubled += key in self.seen
                    self.seen.setdefault(key, now_ms)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Takes a message and says so."""
        watch: MessageWatch = self.server.watch  # type: ignore[attr-defined]
        watch.take(self.rfile.read(int(self.headers["Content-Length"])), dict(self.headers.items()))
        self.send_response(204)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is the base class's
        """Says nothing."""
