"""A log with a published model, and alerts as a worker would write them."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from schemas import codec
from schemas.control import signing_key
from schemas.kafka import client_config
from schemas.model.build import Deployment, build_documents
from schemas.model.check import check_folder
from schemas.settings import KafkaSettings
from schemas.topics import ALERTS, METER_READINGS, topic_name
from sinks.desk.actions import Key
from sinks.desk.sites import Site
from streams.kafka_admin import create_missing
from streams.published import apply_model
from tests.support.models import write_model

NOON_MS = 1_767_499_200_000  # 2026-01-04 12:00 in Shanghai, a workday of the model's calendar
ROOM: Key = ("east", "LightsInEmptyRoom", "E1-101", 1)


def site_of(folder: Path, site: str = "east", **changes: Any) -> Site:
    """A site of the small model, without any broker."""
    model, faults = check_folder(write_model(folder, **changes))
    assert faults == []
    return Site(build_documents(model, Deployment({"east": 0, "west": 1}, {}, {}, {}))[site])


def alert_row(key: Key, state: str, known_at: int, severity: str = "warning", **more: Any) -> dict[str, Any]:
    """A row of `alert_rows`."""
    site, rule, subject, episode = key
    row = {"site": site, "rule": rule, "subject": subject, "episode": episode, "state": state, "severity": severity}
    return row | {
        "offset": known_at % 1_000_000, "known_at": known_at, "config_version": 1, "valid_at": known_at,
        "started_at": NOON_MS, "estimate": -1, **more,
    }  # fmt: skip


def part_row(key: Key, point: int, from_ms: int, quantity: int, final: bool = False) -> dict[str, Any]:
    """A row of `episode_rows`."""
    site, rule, subject, episode = key
    row = {"site": site, "rule": rule, "subject": subject, "episode": episode, "point": point, "quantity": quantity}
    times = {"from_ms": from_ms, "to_ms": from_ms + 900_000, "offset": 0, "known_at": from_ms + 900_000}
    return row | times | {"final": final}


class World:
    """Topics with a model in force; alerts are written in transactions, as a worker does."""

    def __init__(self, kafka: KafkaSettings, folder: Path, **changes: Any) -> None:
        create_missing(kafka)
        self.kafka = kafka
        self.folder = folder
        self.apply(**changes)
        self._sequence = 0
        self._producer = Producer(client_config(kafka, transactional_id=f"{kafka.prefix}world", log_level=0))
        self._producer.init_transactions(30)

    def apply(self, **changes: Any) -> None:
        """Publishes the model with some tables replaced."""
        model, faults = check_folder(write_model(self.folder, **changes))
        assert faults == []
        apply_model(self.kafka, model, signing_key(self.folder / "profile"))

    def alerts(self, *rows: Mapping[str, Any], contract: str = "alert_rows", partition: int = 0) -> None:
        """Writes rows of alerts in one transaction."""
        self._producer.begin_transaction()
        for start in range(0, len(rows), 1000):
            part = list(rows[start : start + 1000])
            message = {"topic": METER_READINGS, "partition": partition, "sequence": self._sequence, "rows": part}
            self._sequence += len(part)
            value = codec.write(contract, message)
            self._producer.produce(topic_name(self.kafka, ALERTS), value, b"east", partition=partition)
        self._producer.commit_transaction()

    def fire(self, key: Key = ROOM, severity: str = "warning") -> None:
        """An alert begins, or becomes more severe, now."""
        self.alerts(alert_row(key, "firing", now_ms(), severity))

    def resolve(self, key: Key = ROOM, severity: str = "warning") -> None:
        """An alert ends now."""
        self.alerts(alert_row(key, "resolved", now_ms(), severity))


def now_ms() -> int:
    """The time."""
    return time.time_ns() // 1_000_000
