"""The desk: every alert, silence and document, read from the log to its end and kept current by polling."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self

from confluent_kafka import TopicPartition

from schemas import codec
from schemas.errors import DecodeError
from schemas.settings import KafkaSettings
from schemas.topics import ALERT_ACTIONS, ALERTS, topic_name
from sinks.desk.actions import OF_ALERT, Action, Key
from sinks.desk.documents import Documents
from sinks.desk.follower import Follower, Place, reader
from sinks.desk.projection import Alert, Projection, Silence
from sinks.desk.sites import Language, Names, Site

TOPICS: Final = (ALERTS, ALERT_ACTIONS)
_PHOTO_WAIT_S: Final = 10.0


class Desk:
    """Reads `alerts`, `alert.actions` and `config`; `poll` returns what changed since the last call.

    Not for several threads at once. What is priced is priced by the tariffs in force when it was read: after a model
    with other tariffs, the costs of what was read before are those of the next start.

    Args:
        kafka: where.
        language: of `names`, where a call does not say one.

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

    def __init__(self, kafka: KafkaSettings, language: Language = "en") -> None:
        self._kafka = kafka
        self.sites: dict[str, Site] = {}
        self.projection = Projection(self.sites)
        self.names = Names(self.sites, language)
        self.turned = False
        self._documents = Documents(kafka)
        self._follower = Follower(kafka, TOPICS)

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
        self._documents.catch_up()
        self._renew()
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
        consumer = reader(self._kafka)
        try:
            consumer.assign([TopicPartition(topic_name(self._kafka, ALERT_ACTIONS), 0, offset)])
            for message in consumer.consume(1, _PHOTO_WAIT_S):
                value = message.value()
                if message.error() is None and message.offset() == offset and value:
                    return Action.parse(value).photo
        except DecodeError:
            return b""
        finally:
            consumer.close()
        return b""

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

    def _renew(self, changed: list[str] | None = None) -> None:
        for site in self._documents.found if changed is None else changed:
            self.sites[site] = Site(self._documents.found[site])
            self.turned = True

    def _take(self, message: Any, changed: dict[Key, Alert]) -> None:
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


def _note(changed: dict[Key, Alert], alert: Alert | None) -> None:
    if alert is not None:
        changed.pop(alert.key, None)
        changed[alert.key] = alert
