"""The desk: every alert, silence and document, read from the log to its end and kept current by polling."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from schemas import codec
from schemas.errors import DecodeError
from schemas.kafka import client_config
from schemas.settings import KafkaSettings
from schemas.topics import ALERT_ACTIONS, ALERTS, topic_name
from sinks.desk import checkpoint, photos
from sinks.desk.actions import OF_ALERT, Action, Key
from sinks.desk.documents import Documents
from sinks.desk.follower import ASK_S, Follower, Place
from sinks.desk.projection import Alert, Projection, Silence
from sinks.desk.sites import Language, Names, Site

TOPICS: Final = (ALERTS, ALERT_ACTIONS)
SAVED_EVERY: Final = 20_000
"""Messages after which a process that has a checkpoint writes a newer one: so many a start reads again at most."""
SAVED_FROM: Final = 1000
"""Messages that are worth a checkpoint when a process ends."""


class Desk:
    """Reads `alerts`, `alert.actions` and `config`; `poll` returns what changed since the last call.

    Not for several threads at once. What is priced is priced by the tariffs in force when it was read: after a model
    with other tariffs, the costs of what was read before are those of the next start.

    Args:
        kafka: where.
        language: of `names`, where a call does not say one.
        file: where a checkpoint is read, and written by `save`; None: the log is read from its beginning.
        at_most: positions that a checkpoint must not be beyond.

    Attributes:
        projection: alerts and silences.
        names: of sites, rules and subjects.
        sites: site → what its document says.
        turned: set when a document or a silence has come, which concerns alerts that did not change themselves; whoever
            looks at it clears it.

    Raises:
        KafkaUnavailable: no broker answers.
        LogError: a topic is missing.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        language: Language = "en",
        file: Path | None = None,
        at_most: Mapping[Place, int] | None = None,
    ) -> None:
        self._kafka = kafka
        self.sites: dict[str, Site] = {}
        self.names = Names(self.sites, language)
        self.turned = False
        self._file = file
        self._documents = Documents(kafka)
        self._documents.catch_up()
        self._renew()
        self._topics = _ids(kafka) if file else {}
        known = checkpoint.load(file) if file else None
        if known and (known.topics != self._topics or not _within(known.positions, at_most)):
            known = None
        thawed = checkpoint.thaw(known.content, self.sites) if known else None
        self._follower = Follower(kafka, TOPICS, known.positions if known and thawed else None)
        self.projection = thawed if thawed and self._follower.resumed else Projection(self.sites)
        self._saved = self._read = 0
        self._prices = self._pricing() if file else {}

    @property
    def alerts(self) -> dict[Key, Alert]:
        """Every episode."""
        return self.projection.alerts

    @property
    def silences(self) -> dict[str, Silence]:
        """Silences and mutes by id, ended ones too."""
        return self.projection.silences

    @property
    def positions(self) -> dict[Place, int]:
        """(topic, partition) → offset of the next message of alerts and actions."""
        return self._follower.positions

    @property
    def behind(self) -> bool:
        """Whether something that was in the log when this was made has not been read yet."""
        return self._follower.behind

    def catch_up(self, ends: Mapping[Place, int] | None = None) -> None:
        """Reads what was there when this was made, or up to some offsets.

        Raises:
            KafkaUnavailable: the broker went away.
        """
        for message in self._follower.catch_up(ends):
            self._take(message, {})

    def poll(self, timeout_s: float) -> list[Alert]:
        """The alerts that changed, each once, in the order of their last change.

        Raises:
            KafkaUnavailable: the broker went away.
        """
        self._renew(self._documents.poll())
        changed: dict[Key, Alert] = {}
        for message in self._follower.poll(timeout_s):
            self._take(message, changed)
        return list(changed.values())

    def photo(self, offset: int) -> bytes:
        """The photo of an action by its offset; empty where there is none."""
        try:
            carried = Action.parse(photos.value_at(self._kafka, ALERT_ACTIONS, offset)).photo
        except DecodeError:
            return b""
        return photos.fetch(self._kafka, carried) if photos.is_name(carried) else carried

    def save(self, least: int = SAVED_EVERY) -> None:
        """Writes the checkpoint if at least so many messages came since the last one.

        None is written once prices have changed: what was priced before is not what the next start makes of it.
        """
        if self._file is None or self._read - self._saved < least or self._follower.ahead:
            return
        self._saved = self._read
        if self._prices == self._pricing():
            checkpoint.save(self._file, self.projection, self.positions, self._topics)

    def close(self) -> None:
        """Leaves the broker."""
        self._follower.close()
        self._documents.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _pricing(self) -> dict[str, str]:
        return {name: checkpoint.pricing(site) for name, site in self.sites.items()}

    def _renew(self, changed: list[str] | None = None) -> None:
        for site in self._documents.found if changed is None else changed:
            self.sites[site] = Site(self._documents.found[site])
            self.turned = True

    def _take(self, message: Any, changed: dict[Key, Alert]) -> None:
        self._read += 1
        value = message.value()
        contract = codec.contract_of(value) if value else None
        try:
            if contract == "alert_action":
                action, known_at = Action.parse(value), message.timestamp()[1]
                self.turned = self.turned or action.kind not in OF_ALERT
                _note(changed, self.projection.take_action(action, message.offset(), known_at))
            elif contract in ("alert_rows", "episode_rows"):
                rows: Any = codec.read(contract, value)["rows"]
                take = self.projection.take_row if contract == "alert_rows" else self.projection.take_part
                for row in rows:
                    _note(changed, take(row))
        except DecodeError:
            return  # such a message is in the sink's table `unreadable`


def _ids(kafka: KafkaSettings) -> dict[str, str]:
    """Topic → the broker's id of it; empty where it does not say."""
    admin = AdminClient(client_config(kafka))
    wanted = TopicCollection([topic_name(kafka, topic) for topic in TOPICS])
    try:
        found = admin.describe_topics(wanted, request_timeout=ASK_S)
        return {name: str(future.result().topic_id) for name, future in found.items()}
    except KafkaException:
        return {}


def _within(positions: Mapping[Place, int], at_most: Mapping[Place, int] | None) -> bool:
    return at_most is None or all(position <= at_most.get(place, -1) for place, position in positions.items())


def _note(changed: dict[Key, Alert], alert: Alert | None) -> None:
    if alert is not None:
        changed.pop(alert.key, None)
        changed[alert.key] = alert
