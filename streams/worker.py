"""The worker process: Kafka awaited, kernels loaded, then the Faust app until told to stop."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Final

import numpy as np
from faust.contrib.asgi import faust_app_running

from processors.advance import Processor
from schemas.codec import write
from schemas.encode import encode_batch
from schemas.encode_rows import encode_rows
from schemas.errors import GanzhiError, HistoryIncomplete, KafkaUnavailable, LogError
from schemas.record_batches import Slab
from schemas.settings import KafkaSettings, Settings
from schemas.topics import METER_READINGS
from schemas.vitals import Pulse
from streams import kafka_admin
from streams.agents import Tasks, add_agents
from streams.app import create_app
from streams.documents import Documents
from streams.snapshots import SnapshotWriter
from streams.task import Surroundings
from streams.ticks import tick

ASK_S: Final = 2.0
"""Between two looks for a broker that is away."""

_POLL_S: Final = 0.05

_log = logging.getLogger("ganzhi.worker")


def run(settings: Settings, stop: Callable[[], bool], pulse: Pulse | None = None) -> None:
    """Runs one worker; any number may run at the same time and share the partitions.

    Kafka being away is waited for, with a line in the log. Told to stop, it commits what it has applied, writes
    snapshots and leaves the group.

    Args:
        settings: of Kafka and the worker.
        stop: asked many times a second; True ends it.
        pulse: told how to ask how the worker is.

    Raises:
        ConfigurationError: topics are not as they must be, or other versions of Faust and aiokafka are installed.
        LogCut: history is missing between the log and a position.
        EngineMismatch: another release must go on with a task.
        LogError: the log cannot be used, or a replay does not give what was published.
    """
    _wait_for_broker(settings.kafka, stop)
    if stop():
        return
    made = kafka_admin.create_missing(settings.kafka)
    if made:
        _log.info("topics made: %s", ", ".join(made))
    kafka_admin.check_topics(settings.kafka)
    began_s = time.monotonic()
    compile_kernels()
    _log.info("kernels loaded in %.1f s", time.monotonic() - began_s)
    asyncio.run(_serve(settings, stop, pulse or Pulse()))


async def _serve(settings: Settings, stop: Callable[[], bool], pulse: Pulse) -> None:
    snapshots = SnapshotWriter(settings.kafka)
    shared = Surroundings(settings.kafka, settings.worker, Documents(settings.kafka), snapshots)
    tasks = Tasks(settings, shared)
    app = create_app(settings, tasks)
    tasks.app = app
    add_agents(app, tasks)
    try:
        async with faust_app_running(app), _beside(tasks.pace(), tick(settings, tasks)) as failed:
            _log.info("worker started, group %s", app.conf.id)
            pulse.read = tasks.vitals
            while not stop():
                if app.crashed:
                    raise _reason(app.crash_reason)
                if tasks.failure is not None or failed():
                    raise _reason(tasks.failure or failed())
                await asyncio.sleep(_POLL_S)
            tasks.stopping = True
            _log.info("worker stops")
    finally:
        tasks.shut_down()
        await asyncio.to_thread(snapshots.close)
        await asyncio.to_thread(shared.close)
    if tasks.failure is not None:
        raise _reason(tasks.failure)


@contextlib.asynccontextmanager
async def _beside(*loops):  # type: ignore[no-untyped-def]
    """Runs endless coroutines beside the app; what is yielded says why one has ended."""
    running = [asyncio.create_task(loop) for loop in loops]

    def failed() -> BaseException | None:
        for one in running:
            if one.done() and not one.cancelled():
                return one.exception()
        return None

    try:
        yield failed
    finally:
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _reason(error: BaseException | None) -> BaseException:
    """What the caller sees: our own errors as they are, Faust's and others' as a LogError that names them."""
    if isinstance(error, GanzhiError):
        return error
    failure = LogError(f"the worker cannot go on: {error!r}")
    failure.__cause__ = error
    return failure


def _wait_for_broker(kafka: KafkaSettings, stop: Callable[[], bool]) -> None:
    while not stop():
        try:
            kafka_admin.wait_for_broker(kafka, ASK_S)
        except KafkaUnavailable as error:
            _log.warning("waiting for Kafka: %s", error)
        else:
            return


def compile_kernels() -> None:
    """Loads the kernels, or compiles them once a machine (half a minute): a task must not wait for it."""

    def nobody(sha256: bytes) -> None:
        raise HistoryIncomplete(sha256.hex())

    one = np.zeros(1, np.int64)
    batch = encode_batch("site", "gateway", "live", one, one.astype(np.int32), one, one.astype(np.int8))
    processor = Processor(METER_READINGS, 0, nobody)  # type: ignore[arg-type]
    records = [(0, 1, b"site", batch), (1, 2, None, write("tick", {"clock_ms": 0}))]
    processor.advance(Slab.of(METER_READINGS, 0, records))
    processor.take()
    encode_rows("ledger_rows", METER_READINGS, 0, 0, [], np.zeros((1, 1), np.int64))
