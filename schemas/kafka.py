"""From settings to the configuration of a Kafka client. Data only: no client is imported here."""

import struct
from typing import Any

from schemas.settings import KafkaSettings

RECEIVE_BYTES_MAX = 1 << 30
"""For consumers of `config`: librdkafka inflates a batch in a buffer that it doubles up to this limit.

A large site's document has 50 MB and more; the default of 100 MB refused one of 43 MB, which 0.2 MB of zstd held.
"""

_AS_THEY_ARE = ("log_level", "logger", "on_delivery", "on_commit")


def client_config(kafka: KafkaSettings, **more: Any) -> dict[str, Any]:
    """The configuration of a librdkafka client (confluent-kafka's Producer, Consumer, AdminClient).

    Args:
        kafka: address and security. A value of `security` is a secret until here.
        more: further settings; underscores stand for dots (`group_id="sink"` is `group.id`), but for callbacks
            (`error_cb`, `on_delivery`).

    Returns:
        A new dict. It holds secrets: never log it.
    """
    config: dict[str, Any] = {
        "bootstrap.servers": kafka.bootstrap,
        "client.id": "ganzhi",
        "socket.keepalive.enable": True,
        # A broker that comes back is found within a second (librdkafka's default waits up to ten).
        "reconnect.backoff.max.ms": 1000,
        "log.connection.close": False,
        # Notices and worse: a producer that is closed tells every time (level 6) that its queue is purged.
        "log_level": 5,
    }
    config.update((name, value.get_secret_value()) for name, value in kafka.security.items())
    for name, value in more.items():
        config[name if name.endswith("_cb") or name in _AS_THEY_ARE else name.replace("_", ".")] = value
    return config


def group_name(kafka: KafkaSettings, group: str) -> str:
    """A consumer group's name, or a transactional id, on the broker."""
    return kafka.prefix + group


def group_metadata(group: str, generation: int, member: str, instance: str = "") -> bytes:
    """Group metadata for confluent-kafka's `send_offsets_to_transaction`, of a member that another client is.

    confluent-kafka's own object is the bytes of librdkafka's `rd_kafka_consumer_group_metadata_write`, and those can be
    made from aiokafka's generation
    and member id: a transaction is then fenced by the group as well (KIP-447).

    Args:
        group: with the prefix.
        generation: of the assignment that the transaction belongs to.
        member: member id that the coordinator gave.
        instance: static member's name, empty for a dynamic one.

    Raises:
        ValueError: the generation is negative (not a member: the broker would accept it without a fence), or a text
            holds a NUL.
    """
    if generation < 0:
        raise ValueError(f"generation {generation} of group {group} is not that of a member")
    if "\0" in group + member + instance:
        raise ValueError("group metadata cannot hold a NUL")
    tail = b"\x00" + instance.encode() + b"\x00" if instance else b"\x01"
    return b"CGMDv2:" + struct.pack("<i", generation) + group.encode() + b"\x00" + member.encode() + b"\x00" + tail
