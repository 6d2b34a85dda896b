"""`/health` and `/metrics` of a process, over HTTP on loopback unless told otherwise.

`/health` is JSON with status 200, or 503 while the process is stuck; `/metrics` is Prometheus' text format, with what
prometheus_client knows of any process (memory, CPU, descriptors). Nothing secret is in either.
"""

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, GCCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from schemas.errors import ConfigurationError
from schemas.settings import HealthSettings
from schemas.vitals import Pulse, Vital

PREFIX: Final = "ganzhi_"
_SICK: Final = 503

_log = logging.getLogger("ganzhi.health")


class _Vitals(Collector):
    """What the process says of itself, read when it is asked."""

    def __init__(self, role: str, pulse: Pulse) -> None:
        self._role = role
        self._pulse = pulse

    def collect(self) -> Iterator[Metric]:
        """A family a metric, and whether the process is well."""
        vitals = self._pulse.read()
        up = GaugeMetricFamily(f"{PREFIX}healthy", "1 unless the process is stuck", labels=["role"])
        up.add_metric([self._role], float(vitals.status != "stuck"))
        yield up
        for vital in vitals.values:
            yield _family(vital, self._role)


def _family(vital: Vital, role: str) -> Metric:
    labels = sorted({name for found, _ in vital.samples for name in found})
    kind = CounterMetricFamily if vital.kind == "counter" else GaugeMetricFamily
    family = kind(PREFIX + vital.name, vital.help, labels=["role", *labels])
    for found, value in vital.samples:
        family.add_metric([role, *(found.get(name, "") for name in labels)], value)
    return family


def _handler(role: str, pulse: Pulse, registry: CollectorRegistry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Answers GET /health and GET /metrics."""

        timeout = 10

        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, CONTENT_TYPE_LATEST, generate_latest(registry))
            elif self.path == "/health":
                vitals = pulse.read()
                totals = {vital.name: sum(value for _, value in vital.samples) for vital in vitals.values}
                body = {"role": role, "status": vitals.status, "reason": vitals.reason, **totals}
                status = _SICK if vitals.status == "stuck" else 200
                self._answer(status, "application/json", json.dumps(body, ensure_ascii=False).encode() + b"\n")
            else:
                self._answer(404, "text/plain", b"/health or /metrics\n")

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is the base class's
            """Nothing: a scrape every few seconds is no event."""

    return Handler


@contextmanager
def serving(health: HealthSettings, role: str, pulse: Pulse) -> Iterator[str]:
    """Serves a process's vitals while it runs; yields the address, or an empty text where no port is set.

    Args:
        health: where to listen.
        role: worker, sink, …: a label of every metric.
        pulse: tells how the process is.

    Raises:
        ConfigurationError: the port cannot be had.
    """
    if not health.port:
        yield ""
        return
    registry = CollectorRegistry()
    registry.register(_Vitals(role, pulse))
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    try:
        server = ThreadingHTTPServer((health.host, health.port), _handler(role, pulse, registry))
    except OSError as error:
        raise ConfigurationError(
            f"health of the {role} cannot be served at {health.host}:{health.port}: {error.strerror}; choose another "
            "GANZHI_HEALTH__PORT"
        ) from error
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="health", daemon=True)
    thread.start()
    address = f"http://{health.host}:{health.port}"
    _log.info("%s/health and %s/metrics", address, address)
    try:
        yield address
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
