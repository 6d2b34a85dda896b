"""How far history is behind the log, looked at in the background so that no page waits for it."""

import dataclasses
import logging
import threading
import time
from typing import Final

from schemas.errors import GanzhiError
from schemas.settings import Settings
from sinks.clickhouse.progress import waiting_since

LOOK_S: Final = 5.0
SHOWN_FROM_MS: Final = 60_000
"""A sink that keeps up is always a block behind, a few seconds; less than a minute is no reason to doubt a page."""

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Lag:
    """What ClickHouse has not stored: how many messages, and how long ago the log got the first of them."""

    messages: int
    age_ms: int

    @property
    def shown(self) -> bool:
        """Whether a page says so."""
        return self.messages > 0 and self.age_ms >= SHOWN_FROM_MS


class Behind:
    """What ClickHouse has not stored yet, as of a few seconds ago.

    Args:
        settings: of Kafka and of the sink's group.

    Attributes:
        lag: the latest look; None where it is not known.
    """

    def __init__(self, settings: Settings) -> None:
        self.lag: Lag | None = None
        self._settings = settings
        self._stopping = threading.Event()

    @property
    def shown(self) -> Lag | None:
        """What a page says; None where history keeps up or nothing is known."""
        return self.lag if self.lag is not None and self.lag.shown else None

    def start(self) -> None:
        """Begins to look."""
        self._stopping.clear()
        threading.Thread(target=self._run, name="behind", daemon=True).start()

    def stop(self) -> None:
        """Ends; a look that has begun is not waited for."""
        self._stopping.set()

    def look(self) -> None:
        """Looks once."""
        try:
            messages, first_ms = waiting_since(self._settings)
            now_ms = time.time_ns() // 1_000_000
            self.lag = Lag(messages, 0 if first_ms is None else max(0, now_ms - first_ms))
        except GanzhiError as error:
            log.info("how far history is behind is not known: %s", error)
            self.lag = None

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.look()
            self._stopping.wait(LOOK_S)
