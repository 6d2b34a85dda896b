"""What the sink's tests put into the topics, and what must then be in the tables."""

import contextlib
import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Message, Producer

from schemas import codec, topics
from schemas.encode import encode_batches
from schemas.errors import KafkaUnavailable
from schemas.kafka import client_config
from schemas.settings import ClickHouseSettings, KafkaSettings, Settings, SinkSettings
from sinks.clickhouse.client import reader
from sinks.clickhouse.process import run
from sinks.clickhouse.progress import drained
from streams.kafka_admin import create_missing

START_MS = 1_767_225_600_000  # 2026-01-01 UTC
QUARTER_MS = 900_000
POINTS = 40
DEADLINE_S = 120.0


def settings_of(kafka: KafkaSettings, clickhouse: ClickHouseSettings, **sink: Any) -> Settings:
    """Settings with two partitions a topic and short ranges."""
    return Settings(
        kafka=kafka.model_copy(update={"partitions": 2}),
        clickhouse=clickhouse,
        sink=SinkSettings(**{"flush_interval_s": 0.2, "session_timeout_s": 6.0, **sink}),
    )


class World:
    """A log that grows, and what a correct sink makes of it."""

    def __init__(self, settings: Settings) -> None:
        create_missing(settings.kafka)
        self.settings = settings
        self.log: dict[tuple[str, int, int], bytes] = {}
        self.readings = 0
        self.reading_sum = 0
        self.ledger: list[tuple[Any, ...]] = []
        self.alerts: list[tuple[Any, ...]] = []
        self._round = 0
        self._sequence = {(kind, p): 0 for kind in ("ledger", "alerts") for p in (0, 1)}
        self._producer = Producer(
            client_config(settings.kafka, transactional_id=f"{settings.kafka.prefix}world", log_level=0)
        )
        self._producer.init_transactions(30)

    def grow(self, rounds: int = 1) -> None:
        """Adds batches, events, ledger rows, alerts to both partitions, a transaction a round, and an aborted one."""
        for _ in range(rounds):
            self._producer.begin_transaction()
            for partition in (0, 1):
                self._meter(partition)
                self._ledger(partition)
                self._alert(partition)
                self._waste(partition)
            self._producer.commit_transaction()
            self._producer.begin_transaction()
            self._producer.produce(self._name(topics.LEDGER), b"never to be seen", partition=self._round % 2)
            self._producer.abort_transaction()
            self._round += 1

    def send(self, topic: str, value: bytes | None, key: bytes | None = None, partition: int = 0) -> None:
        """One message in a transaction of its own."""
        self._producer.begin_transaction()
        self._produce(topic, value, key, partition)
        self._producer.commit_transaction()

    def sent(self, topic: str, value: bytes, partition: int = 0) -> int:
        """Like `send`; the offset of the message."""
        before = set(self.log)
        self.send(topic, value, partition=partition)
        return next(offset for name, number, offset in set(self.log) - before if (name, number) == (topic, partition))

    def _name(self, topic: str) -> str:
        return self.settings.kafka.prefix + topic

    def _produce(self, topic: str, value: bytes | None, key: bytes | None, partition: int) -> None:
        def delivered(error: object, message: Message) -> None:
            assert error is None, error
            self.log[topic, message.partition(), message.offset()] = value or b""

        self._producer.produce(self._name(topic), value, key, partition=partition, on_delivery=delivered)

    def _meter(self, partition: int) -> None:
        times = START_MS + self._round * 1000 + np.arange(POINTS)
        values = np.arange(POINTS, dtype=np.int64) * 7 + self._round * 1000 + partition
        arrays = (times, np.arange(POINTS, dtype=np.int32), values, np.zeros(POINTS, np.int8))
        for message in encode_batches(f"site-{partition}", "gw", "live", *arrays):
            self._produce(topics.METER_READINGS, message, f"site-{partition}".encode(), partition)
        self.readings += POINTS
        self.reading_sum += int(values.sum())

    def _ledger(self, partition: int) -> None:
        first = self._sequence["ledger", partition]
        rows = []
        for n in range(POINTS):
            end = START_MS + (self._round + 1) * QUARTER_MS
            row = {
                "site": 0,
                "offset": self._round,
                "known_at": end + 5,
                "point": n,
                "from_ms": end - QUARTER_MS,
                "to_ms": end,
                "quantity": n * 10 - self._round,
                "how": "gap" if n % 7 == 0 else "measured",
                "cause": "reading",
            }
            rows.append(row)
            self.ledger.append((partition, first + n, f"site-{partition}", n, end, row["quantity"], row["how"]))
        self._sequence["ledger", partition] += POINTS
        message = {
            "topic": topics.METER_READINGS,
            "partition": partition,
            "sequence": first,
            "sites": [f"site-{partition}"],
            "rows": rows,
        }
        self._produce(topics.LEDGER, codec.write("ledger_rows", message), None, partition)

    def _alert(self, partition: int) -> None:
        first = self._sequence["alerts", partition]
        self._sequence["alerts", partition] += 1
        at = START_MS + self._round * QUARTER_MS
        row = {
            "site": f"site-{partition}",
            "offset": self._round,
            "known_at": at + 5,
            "config_version": 1,
            "rule": "LightsInEmptyRoom",
            "subject": "room-1",
            "episode": self._round // 2 + 1,
            "state": ("firing", "resolved")[self._round % 2],
            "severity": "warning",
            "valid_at": at,
            "started_at": at,
            "estimate": -1,
        }
        self.alerts.append((partition, first, row["episode"], row["state"]))
        message = {"topic": topics.METER_READINGS, "partition": partition, "sequence": first, "rows": [row]}
        self._produce(topics.ALERTS, codec.write("alert_rows", message), None, partition)

    def _waste(self, partition: int) -> None:
        event = dict.fromkeys(
            (
                "station",
                "bin",
                "lot",
                "waste_class",
                "fill_permille",
                "verdict",
                "depositor",
                "manifest",
                "vehicle",
                "destination",
            )
        )
        event |= {
            "site": f"site-{partition}",
            "event_id": f"{partition}-{self._round}",
            "time_ms": START_MS,
            "kind": "deposit",
            "mass_g": self._round,
        }
        self._produce(topics.WASTE_EVENTS, codec.write("waste_event", event), None, partition)

    def check(self) -> None:
        """Asserts that the tables, those behind materialized views too, have what the log has, once."""
        client = reader(self.settings.clickhouse)
        try:
            rows = client.query(
                "SELECT topic, partition, offset, value FROM event_log ORDER BY ALL", column_formats={"value": "bytes"}
            ).result_rows
            archived = {
                place: value
                for place, value in self.log.items()
                if place[0] in (*topics.INPUTS, topics.ALERT_ACTIONS, topics.CONFIG)
            }
            places = [row[:3] for row in rows]
            assert sorted(places) == sorted(archived), "event_log"
            assert _digest({(t, p, o): v for t, p, o, v in rows}) == _digest(archived)
            assert client.query("SELECT count(), sum(value) FROM readings").result_rows == [
                (self.readings, self.reading_sum)
            ]
            columns = "partition, sequence, site, point, toUnixTimestamp64Milli(to_ts), quantity, how"
            wanted = f"SELECT {columns} FROM ledger ORDER BY partition, sequence"
            assert client.query(wanted).result_rows == sorted(self.ledger)
            usage = client.query(
                "SELECT sum(quantity), sum(not_measured), sum(ledger_rows) FROM usage_hourly"
            ).result_rows
            gaps = sum(row[5] for row in self.ledger if row[6] == "gap")
            assert usage == [(sum(row[5] for row in self.ledger), gaps, len(self.ledger))], "usage_hourly"
            alerts = client.query(
                "SELECT partition, sequence, episode, state FROM alert_events ORDER BY ALL"
            ).result_rows
            assert alerts == sorted(self.alerts)
            assert client.query("SELECT count() FROM waste_events").result_rows == [(2 * self._round,)]
            assert client.query("SELECT count() FROM latest").result_rows == [(2 * POINTS if self._round else 0,)]
            assert client.query("SELECT count() FROM unreadable").result_rows == [(0,)]
        finally:
            client.close()


def _digest(log: Mapping[tuple[str, int, int], bytes]) -> str:
    found = hashlib.sha256()
    for place, value in sorted(log.items()):
        found.update(repr((place, value)).encode())
    return found.hexdigest()


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Asks until it is so; the deadline only ends a test that has failed."""
    until = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < until, f"{what}: not within {DEADLINE_S} s"
        time.sleep(0.05)


def wait_drained(settings: Settings) -> None:
    """Waits until the sink has stored all that is in the topics, also while a broker is on its way up."""

    def stored() -> bool:
        try:
            return drained(settings)
        except KafkaUnavailable:
            return False

    wait_until(stored, "drained")


@contextlib.contextmanager
def sink_thread(settings: Settings) -> Iterator[threading.Thread]:
    """A sink in a thread of this process; stopped in order at the end, and its error raised."""
    stop, errors = threading.Event(), []

    def work() -> None:
        try:
            run(settings, stop.is_set)
        except BaseException as error:  # noqa: BLE001 - raised again in the test's thread
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        thread.join(DEADLINE_S)
    assert not thread.is_alive()
    if errors:
        raise errors[0]


def sink_process(settings: Settings, folder: Path, fault: str = "") -> subprocess.Popen[bytes]:
    """A sink as a process of its own, with the settings in its environment; its log is in `folder`."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GANZHI_")}
    kafka, clickhouse, sink = settings.kafka, settings.clickhouse, settings.sink
    env |= {
        "GANZHI_KAFKA__BOOTSTRAP": kafka.bootstrap,
        "GANZHI_KAFKA__PREFIX": kafka.prefix,
        "GANZHI_KAFKA__PARTITIONS": str(kafka.partitions),
        "GANZHI_CLICKHOUSE__HOST": clickhouse.host,
        "GANZHI_CLICKHOUSE__PORT": str(clickhouse.port),
        "GANZHI_CLICKHOUSE__DATABASE": clickhouse.database,
        "GANZHI_CLICKHOUSE__WRITER_USER": clickhouse.writer_user,
        "GANZHI_CLICKHOUSE__WRITER_PASSWORD": clickhouse.writer_password.get_secret_value(),
        "GANZHI_SINK__INSTANCE": sink.instance,
        "GANZHI_SINK__FLUSH_INTERVAL_S": str(sink.flush_interval_s),
        "GANZHI_SINK__SESSION_TIMEOUT_S": str(sink.session_timeout_s),
    }
    if fault:
        env["GANZHI_FAULT"] = fault
    with (folder / "sink.log").open("ab") as log:
        return subprocess.Popen([sys.executable, "-m", "sinks.clickhouse"], env=env, stdout=log, stderr=log)
