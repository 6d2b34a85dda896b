"""How far history is behind the log, looked at in the background so that no page waits for it."""

import logging
import threading
from typing import Final

from schemas.errors import GanzhiError
from schemas.settings import Settings
from sinks.clickhouse.progress import lag

LOOK_S: Final = 5.0
SHOWN_FROM: Final = 2_000
"""Messages. A sink that keeps up is always a block behind; fewer than these are no reason to doubt a page."""

log = logging.getLogger(__name__)


class Behind:
    """Messages that ClickHouse has not stored yet, as of a few seconds ago.

    Args:
        settings: of Kafka and of the sink's group.

    Attributes:
        messages: the latest count; None where it is not known.
    """

    def __init__(self, settings: Settings) -> None:
        self.messages: int | None = None
        self._settings = settings
        self._stopping = threading.Event()

    @property
    def shown(self) -> int:
        """What a page says: 0 where history keeps up or nothing is known."""
        return self.messages if self.messages is not None and self.messages >= SHOWN_FROM else 0

    def start(self) -> None:
        """Begins to look."""
        self._stopping.clear()
        threading.Thread(target=self._run, name="behind", daemon=True).start()

    def stop(self) -> None:
        """Ends; a look that has begun is not waited for."""
        self._stopping.set()

    def look(self) -> None:
        """Counts once."""
        try:
            self.messages = sum(lag(self._settings).values())
        except GanzhiError as error:
            log.info("how far history is behind is not known: %s", error)
            self.messages = None

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.look()
            self._stopping.wait(LOOK_S)
