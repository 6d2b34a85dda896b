"""`/health` and `/metrics` over real HTTP: what a process says is what is served, and nothing else is."""

import json
import urllib.error
import urllib.request

import pytest

from ganzhi.embedded.ports import choose_free
from ganzhi.vitals import serving
from schemas.errors import ConfigurationError
from schemas.settings import HealthSettings
from schemas.vitals import Pulse, Vital, Vitals

LAG = Vital(
    "lag_messages", "behind", "gauge", [({"topic": "a", "partition": "0"}, 3), ({"topic": "a", "partition": "1"}, 4)]
)


def get(address: str) -> tuple[int, str]:
    """Status and body."""
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_health_and_metrics_say_what_the_process_says() -> None:
    """From starting over ok to stuck, with sums in /health and every label in /metrics."""
    pulse = Pulse()
    with serving(HealthSettings(port=choose_free()), "worker", pulse) as address:
        assert json.loads(get(f"{address}/health")[1])["status"] == "starting"
        pulse.read = lambda: Vitals("ok", "", [LAG, Vital("late_total", "late", "counter", [({}, 2)])])
        status, body = get(f"{address}/health")
        assert status == 200
        assert json.loads(body) == {"role": "worker", "status": "ok", "reason": "", "lag_messages": 7, "late_total": 2}
        status, text = get(f"{address}/metrics")
        assert status == 200
        assert 'ganzhi_lag_messages{partition="1",role="worker",topic="a"} 4.0' in text
        assert 'ganzhi_late_total{role="worker"} 2.0' in text
        assert "process_resident_memory_bytes" in text
        pulse.read = lambda: Vitals("stuck", "no progress for 20 s", [LAG])
        status, body = get(f"{address}/health")
        assert (status, json.loads(body)["reason"]) == (503, "no progress for 20 s")
        assert 'ganzhi_healthy{role="worker"} 0.0' in get(f"{address}/metrics")[1]
        assert get(f"{address}/secrets")[0] == 404


def test_nothing_listens_where_no_port_is_set() -> None:
    """The default: no address, no server."""
    with serving(HealthSettings(), "sink", Pulse()) as address:
        assert address == ""


def test_a_port_that_is_taken_is_named_with_the_setting() -> None:
    """Two processes with one port: the second says which setting to change."""
    health = HealthSettings(port=choose_free())
    with (
        serving(health, "worker", Pulse()),
        pytest.raises(ConfigurationError, match="GANZHI_HEALTH__PORT"),
        serving(health, "sink", Pulse()),
    ):
        pass
