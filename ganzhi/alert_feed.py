"""Alerts as people read them: the topic `alerts` with names, waste and cost, without ClickHouse.

The feed reads the topic from its beginning (alerts are few), keeps the state of every episode, and goes on reading as
long as it is polled.
"""

import dataclasses
from contextlib import suppress
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from ganzhi.cli.texts import Language, language
from schemas import codec
from schemas.errors import KafkaUnavailable
from schemas.kafka import client_config
from schemas.model.document import Document
from schemas.prices import Prices, wasted_unit
from schemas.settings import KafkaSettings
from schemas.topics import ALERTS, topic_name
from streams.published import read_documents

Key = tuple[str, str, str, int]
"""Site, rule, subject, episode."""

TIMEOUT_S: Final = 20.0


@dataclasses.dataclass
class Alert:
    """One episode.

    Attributes:
        key: site, rule, subject, episode.
        state: firing, resolved, stale.
        severity: label of the rule.
        valid_at: since when the state holds, UTC ms.
        started_at: when the condition began.
        known_at: when the system knew of the last change.
        wasted: quantity by (medium, unit).
        cost: 1/10000 yuan, None where nothing that was wasted has a price.
    """

    key: Key
    state: str
    severity: str
    valid_at: int
    started_at: int
    known_at: int
    wasted: dict[tuple[str, str], int] = dataclasses.field(default_factory=dict)
    cost: int | None = None


class Names:
    """What rules and subjects are called, from the documents in force."""

    def __init__(self, documents: dict[str, Document], spoken: Language | None = None) -> None:
        self._spoken = spoken or language()
        self._subjects: dict[tuple[str, str], str] = {}
        self._rules: dict[tuple[str, str], tuple[str, str]] = {}
        self.units: dict[tuple[str, int], tuple[str, str]] = {}
        self.prices = {site: Prices(document) for site, document in documents.items()}
        self._documents = documents
        for site, document in documents.items():
            for table in ("vehicles", "stations", "equips", "points", "spaces"):
                self._add(site, document, table)
            for pack in document.rules:
                rules = pack.get("rules")
                for rule in rules if isinstance(rules, list) else []:
                    self._add_rule(site, rule)

    def _add(self, site: str, document: Document, table: str) -> None:
        columns = document.table(table)
        ids = columns.get("id", [])
        names = columns.get(f"name_{self._spoken}", [None] * len(ids))
        for identity, name in zip(ids, names, strict=True):
            self._subjects[(site, str(identity))] = str(name or identity)

    def _add_rule(self, site: str, rule: codec.Json) -> None:
        if isinstance(rule, dict):
            notes = rule.get("annotations")
            said = notes.get(self._spoken) if isinstance(notes, dict) else None
            summary, action = (said.get("summary"), said.get("action")) if isinstance(said, dict) else (None, None)
            self._rules[(site, str(rule.get("alert")))] = (str(summary or rule.get("alert")), str(action or ""))

    def subject(self, site: str, subject: str) -> str:
        """What a subject is called."""
        return self._subjects.get((site, subject), subject)

    def rule(self, site: str, rule: str) -> str:
        """What a rule says has happened."""
        return self._rules.get((site, rule), (rule, ""))[0]

    def action(self, site: str, rule: str) -> str:
        """What a rule says is to be done."""
        return self._rules.get((site, rule), ("", ""))[1]

    def unit(self, site: str, point: int) -> tuple[str, str]:
        """(medium, unit) of what a point wastes."""
        if (site, point) not in self.units:
            document = self._documents.get(site)
            self.units[(site, point)] = wasted_unit(document, point) if document else ("", "")
        return self.units[(site, point)]


class AlertFeed:
    """Reads `alerts`; `poll` returns what changed since the last call.

    Attributes:
        alerts: every episode seen so far.
        names: of rules and subjects.
    """

    def __init__(self, kafka: KafkaSettings, spoken: Language | None = None) -> None:
        self._kafka = kafka
        self.alerts: dict[Key, Alert] = {}
        self.names = Names(read_documents(kafka), spoken)
        self._consumer = Consumer(
            client_config(kafka)
            | {
                "group.id": f"{kafka.prefix}alert-feed",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "allow.auto.create.topics": False,
                "fetch.wait.max.ms": 50,
            }
        )
        full = topic_name(kafka, ALERTS)
        try:
            count = len(self._consumer.list_topics(full, TIMEOUT_S).topics[full].partitions)
            places = [TopicPartition(full, partition, 0) for partition in range(count)]
            self._left = {
                place.partition: self._consumer.get_watermark_offsets(place, TIMEOUT_S)[1] for place in places
            }
            self._consumer.assign(places)
        except KafkaException as error:
            raise KafkaUnavailable(kafka.bootstrap, str(error)) from error

    def catch_up(self) -> None:
        """Reads what was there when the feed was made.

        Raises:
            KafkaUnavailable: the broker went away.
        """
        waiting = {partition: end for partition, end in self._left.items() if end > 0}
        idle = 0
        while waiting:
            if not self.poll(0.2):
                idle += 1
            positions = {
                place.partition: place.offset for place in self._consumer.position(self._consumer.assignment())
            }
            waiting = {partition: end for partition, end in waiting.items() if positions.get(partition, -1) < end}
            if idle > TIMEOUT_S / 0.2:
                raise KafkaUnavailable(self._kafka.bootstrap, "the alerts could not be read to their end")

    def poll(self, timeout_s: float) -> list[Alert]:
        """The episodes that changed, each once, in the order of their last change."""
        changed: dict[Key, Alert] = {}
        for message in self._consumer.consume(1000, timeout_s):
            fault = message.error()
            if fault is not None:
                if fault.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise KafkaUnavailable(self._kafka.bootstrap, fault.str())
                continue
            value = message.value()
            contract = codec.contract_of(value) if value else None
            if value and contract in ("alert_rows", "episode_rows"):
                rows = codec.read(contract, value)["rows"]
                for row in rows if isinstance(rows, list) else []:
                    self._take(contract, row, changed)
        return list(changed.values())

    def close(self) -> None:
        """Leaves the broker."""
        with suppress(RuntimeError):
            self._consumer.close()

    def _take(self, contract: str, row: codec.Value, changed: dict[Key, Alert]) -> None:
        assert isinstance(row, dict)
        numbers = {name: value for name, value in row.items() if isinstance(value, int)}
        key = (str(row["site"]), str(row["rule"]), str(row["subject"]), numbers["episode"])
        alert = self.alerts.get(key)
        if contract == "alert_rows":
            if alert is None:
                started = numbers["started_at"]
                alert = self.alerts[key] = Alert(
                    key, "", str(row["severity"]), numbers["valid_at"], started, numbers["known_at"]
                )
            alert.state, alert.valid_at, alert.known_at = str(row["state"]), numbers["valid_at"], numbers["known_at"]
        elif alert is not None:
            medium, unit = self.names.unit(key[0], numbers["point"])
            alert.wasted[(medium, unit)] = alert.wasted.get((medium, unit), 0) + numbers["quantity"]
            prices = self.names.prices.get(key[0])
            paid = prices.cost(medium, numbers["from_ms"], numbers["quantity"]) if prices else None
            if paid is not None:
                alert.cost = (alert.cost or 0) + paid
        if alert is not None:
            changed.pop(key, None)
            changed[key] = alert
