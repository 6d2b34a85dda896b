"""The process `ganzhi sink`: migrates the database, then stores until it is told to stop. Creates nothing in Kafka."""

import logging
import time
from collections.abc import Callable
from typing import Final

from schemas.errors import ClickHouseUnavailable
from schemas.settings import Settings
from schemas.vitals import Pulse
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.sink import Sink

WAIT_S: Final = 2.0

_log = logging.getLogger("ganzhi.sink")


def run(settings: Settings, stop: Callable[[], bool], pulse: Pulse | None = None) -> None:
    """Runs one sink; any number may run at the same time and share the partitions.

    Kafka or ClickHouse being away is waited for, with a line in the log. When it is told to stop it finishes
    the range at hand; where ClickHouse is away at that moment, the range stays open in the group's offsets, and
    the next start finishes it.

    Args:
        settings: of Kafka, ClickHouse and the sink.
        stop: asked several times a second; True ends it.
        pulse: told how to ask how the sink is.

    Raises:
        ClickHouseRefused: the server does not take a statement or a block.
        SinkError: the database was made by another release, or the group's offsets are not ours.
        LogCut: messages are gone from the log that were not stored yet.
        Fenced: another process runs under the same instance name.
    """
    while not stop():
        try:
            applied = migrate(settings.clickhouse)
        except ClickHouseUnavailable as error:
            _log.warning("waiting for ClickHouse: %s", error)
            until = time.monotonic() + WAIT_S
            while time.monotonic() < until and not stop():
                time.sleep(0.1)
            continue
        if applied:
            _log.info("applied migrations: %s", ", ".join(applied))
        sink = Sink(settings, stop)
        if pulse is not None:
            pulse.read = sink.vitals
        sink.run()
        return
