"""How long partitions stand still: every position that is committed, with the moment at which it was written."""

import threading
from typing import Final

from confluent_kafka import Consumer, TopicPartition

from schemas import codec
from schemas.kafka import client_config
from schemas.settings import KafkaSettings
from schemas.topics import METER_READINGS, TASKS, topic_name

MOVE_S_MAX: Final = 150.0
"""A partition that has not moved for so long stands still for ever."""


class Positions:
    """Follows the positions of the meter tasks in a thread of its own; a broker that is away is waited for."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._seen: dict[int, list[tuple[float, int]]] = {n: [] for n in range(kafka.partitions)}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends."""
        self._stop.set()
        self._thread.join()

    def of(self, partition: int) -> int:
        """The last position of a partition; -1: none yet."""
        seen = self._seen[partition]
        return seen[-1][1] if seen else -1

    def moved_s(self, since_s: float) -> float | None:
        """How long after a moment (`time.time`) every partition had moved; None: one has not yet."""
        firsts = [next((at for at, _ in list(seen) if at > since_s), None) for seen in self._seen.values()]
        return None if any(at is None for at in firsts) else max(at - since_s for at in firsts if at is not None)

    def _run(self) -> None:
        config = client_config(
            self._kafka,
            group_id=f"{self._kafka.prefix}fault-watch",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_wait_max_ms=20,
            log_level=0,
        )
        consumer = Consumer(config)
        topic = topic_name(self._kafka, TASKS)
        consumer.assign([TopicPartition(topic, number, 0) for number in self._seen])
        while not self._stop.is_set():
            for message in consumer.consume(100, 0.1):
                value = message.value()
                if message.error() is not None or value is None or codec.contract_of(value) != "task_position":
                    continue
                record = codec.read("task_position", value)
                if record["topic"] == METER_READINGS:
                    written_s = (
                        message.timestamp()[1] / 1000
                    )  # by the writer: how late this reader sees it does not count
                    self._seen[int(message.partition() or 0)].append((written_s, int(str(record["position"]))))
        consumer.close()
