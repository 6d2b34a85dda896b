"""How far ClickHouse is behind the log."""

from typing import Final

from schemas.settings import Settings
from sinks.clickhouse import log
from sinks.clickhouse.blocks import TOPICS
from sinks.clickhouse.ranges import Place

_TIMEOUT_S: Final = 10.0


def lag(settings: Settings, topics: tuple[str, ...] = TOPICS) -> dict[Place, int]:
    """Offsets of each partition that are not stored yet; partitions without any are absent.

    A range that is being inserted counts whole: it is stored when its ends are committed.

    Args:
        settings: of Kafka and of the sink's group.
        topics: those to look at, without prefix; all that the sink reads.

    Raises:
        KafkaUnavailable: nobody answers.
    """
    consumer = log.observer(settings)
    try:
        bounds = {place: (low, high) for place, low, high in log.ends(consumer, settings.kafka, topics, _TIMEOUT_S)}
        stored = log.committed(consumer, settings.kafka, sorted(bounds), _TIMEOUT_S)
    finally:
        consumer.close()
    behind = {}
    for place, (low, high) in bounds.items():
        offset, _ = stored[place]
        missing = high - max(offset, low)
        if missing > 0:
            behind[place] = missing
    return behind


def drained(settings: Settings, topics: tuple[str, ...] = TOPICS) -> bool:
    """Whether everything that was committed to the topics before this call is in ClickHouse, all tables of it.

    Raises:
        KafkaUnavailable: nobody answers.
    """
    return not lag(settings, topics)
