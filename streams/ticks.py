"""Time for quiet partitions: a tick each second, so that a rule's `for` ends also when no sensor speaks.

The clock of a live domain is the log's own (LogAppendTime of the tick); a simulated domain brings its ticks itself.
Ticks are written only where the worker has caught up: behind, the log itself still holds time to come.
"""

import asyncio
from typing import Final

from confluent_kafka import KafkaException, Producer

from schemas.codec import write
from schemas.kafka import client_config
from schemas.settings import Settings
from streams.agents import Tasks

_SILENT: Final = 0


async def tick(settings: Settings, tasks: Tasks) -> None:
    """Writes ticks to the partitions of this worker, for ever. A tick that cannot be written in time is not missed.

    Args:
        settings: where the log is, how often.
        tasks: whose partitions.
    """
    interval_s = settings.worker.tick_interval_s
    config = client_config(
        settings.kafka,
        enable_idempotence=True,
        # An old tick says nothing new: it is dropped rather than sent after an outage.
        message_timeout_ms=max(1000, int(2000 * interval_s)),
        linger_ms=0,
        log_level=_SILENT,
    )
    producer = Producer(config)
    value = write("tick", {"clock_ms": 0})
    loop = asyncio.get_running_loop()
    due_s = loop.time()
    try:
        while True:
            due_s = max(due_s + interval_s, loop.time())
            await asyncio.sleep(due_s - loop.time())
            for tp in tasks.caught_up():
                try:
                    producer.produce(tp.topic, value, None, tp.partition)
                except (KafkaException, BufferError):
                    break
            producer.poll(0)
    finally:
        producer.purge()
