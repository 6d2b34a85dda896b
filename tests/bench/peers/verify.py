"""Compares what a system wrote with the truth: no figure without a right result."""

import dataclasses
import json
from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaError, TopicPartition

from tests.bench.peers.job import Truth

_SUM_ERROR = 1e-6
"""Rivals add doubles."""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """How results differ from the truth.

    Attributes:
        windows: how many there should be.
        wrong: of those, missing or with another count, sum, minimum or maximum.
        doubled: written more than once with different contents, the last one counting.
        lost: readings that no window counts.
        alerts: how many there should be.
        alerts_wrong: missing or additional.
    """

    windows: int
    wrong: int
    doubled: int
    lost: int
    alerts: int
    alerts_wrong: int

    @property
    def right(self) -> bool:
        """Whether everything is as it must be."""
        return not (self.wrong or self.lost or self.alerts_wrong)


Window = tuple[int, float, float, float]
"""Count, sum, minimum, maximum; the values in thousandths."""


def compare(
    expected: Truth, windows: dict[tuple[int, int], Window], alerts: set[tuple[int, int]], doubled: int
) -> Verdict:
    """Compares (point, minute) → window and (point, since) with the truth."""
    wrong = lost = 0
    for point, minute, count, total, low, high in expected.windows.tolist():
        found = windows.get((point, minute))
        if found is None:
            wrong += 1
            lost += count
            continue
        lost += count - found[0]
        same = found[0] == count and abs(found[1] - total) <= _SUM_ERROR * max(abs(total), 1)
        if not (same and abs(found[2] - low) < 0.5 and abs(found[3] - high) < 0.5):
            wrong += 1
    return Verdict(len(expected.windows), wrong, doubled, lost, len(expected.alerts), len(expected.alerts ^ alerts))


def read_rival(bootstrap: str, rollups: str, alerts: str, expected: Truth) -> Verdict:
    """Reads a rival's two topics: JSON objects of `point, w, n, sum, min, max` and `point, ts, since`."""
    last_minute = int(expected.windows[:, 1].max())
    windows: dict[tuple[int, int], Window] = {}
    doubled = 0
    for row in _rows(bootstrap, rollups):
        if row["w"] > last_minute:  # the closing readings' own
            continue
        key = (int(row["point"]), int(row["w"]))
        window = (int(row["n"]), row["sum"] * 1000, row["min"] * 1000, row["max"] * 1000)
        doubled += key in windows and windows[key] != window
        windows[key] = window
    fired = {(int(row["point"]), int(row["since"])) for row in _rows(bootstrap, alerts)}
    return compare(expected, windows, fired, doubled)


def _rows(bootstrap: str, topic: str) -> Iterator[dict[str, float]]:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "peers-verify",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
        }
    )
    partitions = list(consumer.list_topics(topic, timeout=20).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    ended: set[int] = set()
    while len(ended) < len(partitions):
        for message in consumer.consume(10_000, 1.0):
            error = message.error()
            if error is None:
                yield json.loads(message.value() or b"{}")
            elif error.code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition() or 0)
    consumer.close()
