"""Photos of actions: in the log like everything that people do, but in a topic of their own, `alert.photos`.

An action carries the sha256 of its photo and the offset where it is, 40 bytes, so that whoever reads what people did
reads no pictures. The photo is written, and acknowledged by the broker, before the action that names it: a crash in
between leaves a photo that nobody names, and never a name without a photo. Older actions hold the photo itself.
"""

import hashlib
import struct
from typing import Final

from confluent_kafka import TopicPartition

from schemas.settings import KafkaSettings
from schemas.topics import ALERT_PHOTOS, topic_name
from sinks.desk.follower import reader

_NAME: Final = struct.Struct(">32sq")
_WAIT_S: Final = 10.0


def name_of(photo: bytes, offset: int) -> bytes:
    """What an action carries of a photo that is at an offset."""
    return _NAME.pack(hashlib.sha256(photo).digest(), offset)


def is_name(carried: bytes) -> bool:
    """Whether an action carries such a name, and not the photo itself."""
    return len(carried) == _NAME.size


def fetch(kafka: KafkaSettings, name: bytes) -> bytes:
    """The photo of a name; empty where the log does not have that one."""
    digest, offset = _NAME.unpack(name)
    photo = value_at(kafka, ALERT_PHOTOS, offset)
    return photo if hashlib.sha256(photo).digest() == digest else b""


def value_at(kafka: KafkaSettings, topic: str, offset: int) -> bytes:
    """The value of one message of the only partition of a topic; empty where there is none."""
    consumer = reader(kafka)
    try:
        consumer.assign([TopicPartition(topic_name(kafka, topic), 0, offset)])
        message = consumer.poll(_WAIT_S)
        if message is None or message.error() is not None or message.offset() != offset:
            return b""
        return message.value() or b""
    finally:
        consumer.close()
