"""The documents in force, followed as they change: the topic `config`, read without a group."""

import json
import time
from contextlib import suppress
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from schemas.errors import ContractError, KafkaUnavailable, LogError
from schemas.model.document import Document
from schemas.settings import KafkaSettings
from schemas.topics import CONFIG
from sinks.desk.follower import Follower, reader

_HEAD: Final = b"head/"
_TIMEOUT_S: Final = 20.0


class Documents:
    """What is in force for every site.

    Documents are kept as offsets and fetched when they come into force: the topic has every version that ever was.

    Attributes:
        found: site → document.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self.found: dict[str, Document] = {}
        self._kafka = kafka
        self._follower = Follower(kafka, (CONFIG,))
        self._places: dict[str, tuple[str, int, int]] = {}
        self._wanted: dict[str, str] = {}

    def catch_up(self) -> None:
        """Reads what was there when this was made.

        Raises:
            KafkaUnavailable: no broker answers.
            LogError: there is no topic `config`, or it lacks a document that a head names.
        """
        for message in self._follower.catch_up():
            self._take(message)
        self._fetch()

    def poll(self, timeout_s: float = 0.0) -> list[str]:
        """The sites whose document changed since the last call."""
        for message in self._follower.poll(timeout_s):
            self._take(message)
        return self._fetch()

    def close(self) -> None:
        """Leaves the broker."""
        self._follower.close()

    def _take(self, message: Any) -> None:
        key, value = message.key() or b"", message.value()
        if value is None:
            return
        if not key.startswith(_HEAD):
            self._places[key.decode("ascii", "replace")] = (message.topic(), message.partition(), message.offset())
            return
        with suppress(ValueError, KeyError, TypeError):
            # A head that cannot be read is no reason to go blind; `ganzhi doctor` tells about it.
            self._wanted[key.removeprefix(_HEAD).decode()] = str(json.loads(value)["sha256"])

    def _fetch(self) -> list[str]:
        changed = []
        for site, sha256 in list(self._wanted.items()):
            old = self.found.get(site)
            if old is None or old.sha256.hex() != sha256:
                self.found[site] = self._document(sha256)
                changed.append(site)
            del self._wanted[site]
        return changed

    def _document(self, sha256: str) -> Document:
        place = self._places.get(sha256)
        if place is None:
            raise LogError(f"the topic config lacks document {sha256}, which a head names")
        consumer = reader(self._kafka)
        try:
            consumer.assign([TopicPartition(*place)])
            until_s = time.monotonic() + _TIMEOUT_S
            while time.monotonic() < until_s:
                message = consumer.poll(1.0)
                # The copy that was seen may have been compacted away since: then a later one comes.
                if message is not None and message.error() is None and message.key() == sha256.encode():
                    return Document.parse(message.value() or b"", bytes.fromhex(sha256))
        except KafkaException as error:
            raise KafkaUnavailable(self._kafka.bootstrap, error.args[0].str()) from error
        except ValueError as error:
            raise ContractError(f"document {sha256}: {error}") from error
        finally:
            _close(consumer)
        raise KafkaUnavailable(self._kafka.bootstrap, f"document {sha256} could not be read in time")


def _close(consumer: Consumer) -> None:
    with suppress(RuntimeError):
        consumer.close()
