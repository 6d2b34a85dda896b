"""A console with a small model, users of every role, and a log in which alerts can be made to fire."""

import dataclasses
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import clickhouse_connect
import uvicorn
from confluent_kafka import Producer
from starlette.testclient import TestClient

from schemas import codec
from schemas.control import signing_key
from schemas.kafka import client_config
from schemas.model.check import check_folder
from schemas.settings import ConsoleSettings, Settings, data_home
from schemas.topics import ALERTS, METER_READINGS
from sinks.clickhouse.migrate import migrate
from sinks.console.access import Role
from sinks.console.app import create_app, create_parts
from sinks.console.asked import Parts
from sinks.console.history import midnight_ms
from streams.kafka_admin import create_missing
from streams.published import apply_model
from tests.support.models import LIGHTS, TAP, Tables, write_model

DEADLINE_S = 60.0
PASSWORD = "correct horse battery"
HOSTILE = "<script>window.pwned=1</script><img src=x onerror=window.pwned=1>\u202egnp.exe =cmd|'/c calc'!A1"
"""HTML, script, a direction override and a formula; as long as a name may be."""
PLACES = {
    Role.VIEWER: ["E1"],
    Role.OPERATOR: ["all"],
    Role.LIAISON: ["E1"],
    Role.CONTRACTOR: ["W1"],
    Role.AUDITOR: ["all"],
}


def model(tables: Tables) -> None:
    """The small model with a sensitive room, and names that try everything."""
    for space in tables["spaces"]:
        if space["id"] == "E1-102":
            space.update(sensitivity="sensitive", name_zh="心理咨询室", name_en="Counselling room")
        if space["id"] == "E1-101":
            space.update(name_en=HOSTILE)
    tables["points"].append(
        {"id": "e-sub2", "site": "east", "gateway": "gw-e", "space": "E1-102", "role": "energy", "kind": "register",
         "unit": "kWh", "medium": "electricity", "interval_s": 900}
    )  # fmt: skip
    tables["points"].append(
        {"id": "e-people2", "site": "east", "gateway": "gw-e2", "space": "E1-102", "role": "occupancy", "kind": "state",
         "unit": "", "interval_s": 60}
    )  # fmt: skip


@dataclasses.dataclass
class World:
    """What a test has: the parts, a way in for every role, and the log."""

    parts: Parts
    client: TestClient
    settings: Settings

    def __post_init__(self) -> None:
        self._producer = Producer(client_config(self.settings.kafka))
        self._offset = 0

    def enter(self, role: Role | str) -> TestClient:
        """A client of the application that is signed in as the user named like a role."""
        client = TestClient(self.client.app, base_url="http://localhost:18080", follow_redirects=False)
        answer = client.post("/sign-in", data={"user": str(role), "password": PASSWORD})
        assert answer.status_code == 303, answer.text
        return client

    def post(self, client: TestClient, path: str, **fields: Any) -> Any:
        """Posts a form with the word of the session."""
        secret = client.cookies[self.parts.cookie]
        session = self.parts.store.session(secret, 3600, 3600)
        assert session is not None
        return client.post(path, data={"csrf": session.csrf, **fields})

    def alert(self, state: str = "firing", **fields: Any) -> dict[str, Any]:
        """A row of `alerts`, as the worker writes it; returns once the console has it."""
        now = time.time_ns() // 1_000_000
        self._offset += 1
        row = {
            "site": "east", "offset": self._offset, "known_at": now, "config_version": 1, "rule": "LightsInEmptyRoom",
            "subject": "E1-101", "episode": 1, "state": state, "severity": "warning", "valid_at": now - 60_000,
            "started_at": now - 3_600_000, "estimate": -1,
        } | fields  # fmt: skip
        message = {"topic": METER_READINGS, "partition": 0, "sequence": self._offset, "rows": [row]}
        self._producer.produce(f"{self.settings.kafka.prefix}{ALERTS}", codec.write("alert_rows", message), partition=0)
        self._producer.flush(10)
        key = (row["site"], row["rule"], row["subject"], row["episode"])
        until(lambda: (one := self.parts.live.desk.alerts.get(key)) is not None and one.state == state)
        return row


def until(true: Callable[[], object]) -> None:
    """Waits for something."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def key_of(row: Mapping[str, Any]) -> str:
    """An alert as its form field has it."""
    return "&".join(f"{name}={row[name]}" for name in ("site", "rule", "subject", "episode"))


def settle(stack: Any, folder: Path) -> Settings:
    """Topics, tables, model and users of a console of its own."""
    name = f"c{uuid.uuid4().hex[:12]}"
    settings = Settings(
        profile=name,
        kafka=stack.kafka_settings.model_copy(update={"prefix": f"{name}.", "partitions": 1}),
        clickhouse=stack.clickhouse_settings.model_copy(update={"database": name}),
        console=ConsoleSettings(port=18080),
    )
    create_missing(settings.kafka)
    migrate(settings.clickhouse)
    home = data_home(name)
    home.mkdir(parents=True, mode=0o700)
    packs = {"lighting.yaml": LIGHTS, "taps.yaml": TAP}
    found, faults = check_folder(write_model(folder, model, packs=packs))
    assert not faults, faults
    apply_model(settings.kafka, found, signing_key(home))
    return settings


def people(parts: Parts) -> None:
    """An administrator and a user of every other role, with passwords of their own."""
    assert parts.store.first_run()
    parts.store.set_password("admin", PASSWORD)
    for role, places in PLACES.items():
        parts.store.add_user(str(role), role, ["*"] if places == ["all"] else places)
        parts.store.set_password(str(role), PASSWORD)


def readings(world: World) -> None:
    """Readings, present values and ledger rows of today and yesterday, as the sink stores them."""
    settings = world.settings.clickhouse
    client = clickhouse_connect.get_client(
        host=settings.host, port=settings.port, username=settings.writer_user,
        password=settings.writer_password.get_secret_value(), database=settings.database, autogenerate_session_id=False,
    )  # fmt: skip
    now = time.time_ns() // 1_000_000
    site = world.parts.live.places.sites["east"]
    for point in site.points.values():
        value = {"gauge": 85_000, "state": 1}.get(point.kind, 5_000)
        client.command(
            "INSERT INTO readings SELECT 'east', {gateway:String}, {point:UInt32}, fromUnixTimestamp64Milli({now:Int64} - number"
            " * 60000), {value:Int64}, if(number % 10 = 3, 'estimated', 'good'), 'live', 0, number FROM numbers(120)",
            parameters={"gateway": point.gateway, "point": point.number, "now": now, "value": value},
        )
        client.command(
            "INSERT INTO latest_store SELECT 'east', {point:UInt32}, fromUnixTimestamp64Milli({now:Int64}), {value:Int64},"
            " 'good', 'live', 0, 0",
            parameters={"point": point.number, "now": now, "value": value},
        )
        if point.kind in ("register", "delta"):
            start = midnight_ms(site.today(now), site) - 86_400_000
            client.command(
                "INSERT INTO ledger (site, point, from_ts, to_ts, quantity, how, cause, topic, partition, sequence, offset,"
                " known_at) SELECT 'east', {point:UInt32}, fromUnixTimestamp64Milli({start:Int64} + number * 900000),"
                " fromUnixTimestamp64Milli({start:Int64} + (number + 1) * 900000), 250, if(number % 8 = 0, 'gap', 'measured'),"
                " 'reading', 'meter.readings', 0, number, number, now64(3) FROM numbers({count:UInt32})",
                parameters={"point": point.number, "start": start, "count": (now - start) // 900_000},
            )
    client.close()


class Served:
    """The application on a port of its own, for a browser."""

    def __init__(self, parts: Parts) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        app = create_app(parts)
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        until(lambda: self._server.started)
        return self.url

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()


def build(settings: Settings) -> Parts:
    """The parts, with people."""
    parts = create_parts(settings)
    people(parts)
    return parts
