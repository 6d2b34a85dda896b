"""What the system knows, for the screen: rooms, usage, stored rows and lags, asked once a second in a thread.

Rooms come from ClickHouse (`latest`: the newest reading of every point), so that what is shown has gone all the way
through Kafka and the sink. What cannot be asked just now keeps its last value.
"""

import dataclasses
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from ganzhi.demo.feed import numbers
from ganzhi.demo.layout import zone_index, zones
from ganzhi.demo.points import points
from ganzhi.demo.spans import Ints
from schemas.errors import GanzhiError
from schemas.model.document import Document
from schemas.settings import Settings
from schemas.topics import INPUTS
from sinks.clickhouse.client import reader, translating
from sinks.clickhouse.progress import lag

EVERY_S: Final = 1.0
USAGE_EVERY_S: Final = 10.0
TABLES: Final = (
    "readings", "ledger", "gauges", "alert_events", "episode_parts", "verdicts", "rejected", "waste_events",
    "vehicle_events", "event_log",
)  # fmt: skip
CHANNELS: Final = {
    "light_power": ("light", 20_000),
    "ac_running": ("air", 0),
    "occupancy": ("people", 0),
    "water_flow": ("water", 300),
}
"""Role of a point → what it tells of its room, and above which value (thousandths of W and L/min; runs, heads)."""

_COUNTS: Final = " UNION ALL ".join(f"SELECT '{name}', count() FROM {name}" for name in TABLES)
_USAGE: Final = """
SELECT item, day, used FROM
(
    SELECT sub_item AS item, day, sum(quantity) AS used FROM usage_by_sub_item
    WHERE medium = 'electricity' GROUP BY item, day
    UNION ALL
    SELECT 'water' AS item, day, sum(quantity) AS used FROM usage_by_total
    WHERE medium = 'water' AND counts_in = 'sub_items' GROUP BY day
)
ORDER BY item, day
"""


@dataclasses.dataclass(frozen=True)
class Figures:
    """What was known at a moment.

    Attributes:
        rooms: channel (light, air, people, water) → bool[zones], by column of `layout.zones()`.
        usage: sub-item (or `water`) → usage of each local day, Wh or mL, oldest first.
        stored: table → rows.
        worker_lag: messages of the input topics that no worker has committed.
        sink_lag: offsets of all topics that are not in ClickHouse.
        fault: why something could not be asked, or empty.
    """

    rooms: Mapping[str, Ints]
    usage: Mapping[str, list[int]]
    stored: Mapping[str, int]
    worker_lag: int = 0
    sink_lag: int = 0
    fault: str = ""

    @property
    def rows(self) -> int:
        """Stored rows of all tables."""
        return sum(self.stored.values())


def nothing() -> Figures:
    """Figures before the first answer."""
    return Figures({name: np.zeros(len(zones()), np.int64) for name, _ in CHANNELS.values()}, {}, {})


def worker_lag(settings: Settings) -> int:
    """Messages of the input topics that no worker has committed.

    Raises:
        KafkaUnavailable: nobody answers.
    """
    group = settings.model_copy(
        update={"sink": settings.sink.model_copy(update={"group": settings.worker.group, "instance": ""})}
    )
    return sum(lag(group, INPUTS).values())


class Watch:
    """Asks in a thread between `start` and `stop`.

    Args:
        settings: of a stack that is up.
        documents: the published documents of the demo's sites.

    Attributes:
        figures: the newest.
    """

    def __init__(self, settings: Settings, documents: Mapping[str, Document]) -> None:
        self.figures = nothing()
        self._settings = settings
        self._channels, self._zones = _places(documents)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Begins to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ends, after the question that is on its way."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        client: Any = None
        next_usage_s = 0.0
        while not self._stop.is_set():
            began_s = time.monotonic()
            try:
                with translating(self._settings.clickhouse):
                    client = client or reader(self._settings.clickhouse)
                    news: dict[str, Any] = self._ask(client)
                    if began_s >= next_usage_s:
                        news["usage"] = _usage(client)
                        next_usage_s = began_s + USAGE_EVERY_S
                self.figures = dataclasses.replace(self.figures, **news, fault="")
            except GanzhiError as error:
                client = None
                self.figures = dataclasses.replace(self.figures, fault=str(error).splitlines()[0])
            self._stop.wait(max(0.1, EVERY_S - (time.monotonic() - began_s)))
        if client is not None:
            client.close()

    def _ask(self, client: Any) -> dict[str, Any]:
        rooms = {name: np.zeros(len(zones()), np.int64) for name, _ in CHANNELS.values()}
        for site, number, value in client.query("SELECT site, point, value FROM latest").result_rows:
            found = self._channels.get((site, number))
            if found is not None and value > found[1]:
                rooms[found[0]][self._zones[site, number]] = 1
        stored = dict(client.query(_COUNTS).result_rows)
        behind = sum(lag(self._settings).values())
        return {"rooms": rooms, "stored": stored, "worker_lag": worker_lag(self._settings), "sink_lag": behind}


def _usage(client: Any) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for item, _, quantity in client.query(_USAGE).result_rows:
        found.setdefault(item, []).append(int(quantity))
    return found


def _places(
    documents: Mapping[str, Document],
) -> tuple[dict[tuple[str, int], tuple[str, int]], dict[tuple[str, int], int]]:
    """(site, number of a point) → (channel, threshold), and → column of its zone."""
    channels, columns = {}, {}
    for point, number in zip(points(), numbers(documents).tolist(), strict=True):
        if point.role in CHANNELS and point.space in zone_index():
            channels[point.site, number] = CHANNELS[point.role]
            columns[point.site, number] = zone_index()[point.space]
    return channels, columns
