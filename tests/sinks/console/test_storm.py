"""Ten thousand alerts at once: Now counts them all, shows a hundred, and whoever watches is told of them together."""

import re
import threading
import time
from typing import Any

import pytest
from confluent_kafka import Producer
from starlette.testclient import TestClient

from schemas import codec
from schemas.kafka import client_config
from schemas.topics import ALERTS, METER_READINGS, topic_name
from sinks.console.access import Role
from tests.sinks.console.world import World, until

pytestmark = [pytest.mark.kafka, pytest.mark.clickhouse]
ALERTS_COUNT = 10_000
ROWS = 500
RULE = "Storm"


def blow(world: World, state: str) -> None:
    """Rows of the storm, as a worker writes them; the last of them is the worst."""
    now_ms = time.time_ns() // 1_000_000
    producer = Producer(client_config(world.settings.kafka))
    for start in range(0, ALERTS_COUNT, ROWS):
        rows = [
            {
                "site": "west", "offset": episode, "known_at": now_ms, "config_version": 1, "rule": RULE,
                "subject": "W1-101", "episode": episode, "state": state, "started_at": now_ms - 3_600_000,
                "severity": "critical" if episode == ALERTS_COUNT else "info", "valid_at": now_ms, "estimate": -1,
            }
            for episode in range(start + 1, start + ROWS + 1)
        ]  # fmt: skip
        message = {"topic": METER_READINGS, "partition": 0, "sequence": start, "rows": rows}
        producer.produce(topic_name(world.settings.kafka, ALERTS), codec.write("alert_rows", message), partition=0)
    producer.flush(30)


def found(client: TestClient, **query: Any) -> int:
    """How many alerts a list says that it has."""
    said = re.search(r'data-found="(\d+)"', client.get("/now/list", params={"rule": RULE, **query}).text)
    return int(said[1]) if said else 0


def test_now_in_a_storm(world: World) -> None:
    """The worst first, a hundred a page, filters and the last page; pages are answered while it comes; then it ends."""
    operator, during = world.enter(Role.OPERATOR), list[int]()
    version = world.parts.live.version
    writing = threading.Thread(target=blow, args=(world, "firing"))
    writing.start()
    while found(operator) < ALERTS_COUNT:
        during.append(operator.get("/").status_code)
    writing.join()
    told = world.parts.live.version - version
    page = operator.get("/now/list", params={"rule": RULE}).text

    assert set(during) == {200}
    assert page.count('<td class="what">') == 100
    assert "episode=10000" in page.split('<td class="what">')[1]
    assert found(operator, severity="critical") == 1
    assert operator.get("/now/list", params={"rule": RULE, "page": 100}).text.count('<td class="what">') == 100
    # Whoever watches asks again once for many: a page is no slower to follow than its changes are told.
    assert told < ALERTS_COUNT / 50
    blow(world, "resolved")
    until(lambda: found(operator) == 0)
    assert found(operator, show="ended") == ALERTS_COUNT
