"""What pages ask ClickHouse: present values, series of a point, usage of days. Read-only, and bounded in time and rows.

ClickHouse may be away: every question raises `ClickHouseUnavailable` then, and the page says that history is missing.
Times are UTC milliseconds, quantities the smallest unit of a medium, values as they are stored (see `formatting`).
"""

import dataclasses
import datetime as dt
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from clickhouse_connect.driver.client import Client

from schemas.errors import ClickHouseUnavailable
from schemas.prices import Prices
from schemas.settings import ClickHouseSettings
from sinks.clickhouse.client import reader, translating
from sinks.console.places import Site

SECONDS_MAX: Final = 10
"""A page that waits longer is given up."""
PAUSE_S: Final = 2.0
"""After ClickHouse did not answer, pages do not wait for it again for so long."""
PRICE_OF: Final = 1_000_000
"""Smallest units that a price is taken for, so that rounding is below a millionth."""
HOUR_MS: Final = 3_600_000

Answer = TypeVar("Answer")
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Latest:
    """The newest reading of a point."""

    ts_ms: int
    value: int
    quality: str


@dataclasses.dataclass(frozen=True, slots=True)
class Bucket:
    """Readings of a span: mean, least, most, how many are not good, and whose time is the last."""

    start_ms: int
    mean: float
    least: int
    most: int
    doubtful: int
    last_ms: int


@dataclasses.dataclass(frozen=True, slots=True)
class Used:
    """What a point used in a span: quantity, the part that was not measured, cost in 1/10000 yuan (None: no price)."""

    quantity: int
    not_measured: int
    cost: int | None


class History:
    """Asks as the reader user.

    Args:
        settings: where ClickHouse is.
    """

    def __init__(self, settings: ClickHouseSettings) -> None:
        self._settings = settings
        self._client: Client | None = None
        self._lock = threading.Lock()
        self._away_until_s = 0.0

    def rows(self, statement: str, **values: object) -> Sequence[Sequence[Any]]:
        """Rows of a query with server-side parameters.

        Raises:
            ClickHouseUnavailable: nobody answers, or not in time.
            ClickHouseRefused: the statement or this user is refused.
        """
        if time.monotonic() < self._away_until_s:
            raise ClickHouseUnavailable("ClickHouse did not answer a moment ago")
        try:
            with translating(self._settings):
                client = self._connected()
                return client.query(statement, parameters=dict(values)).result_rows
        except ClickHouseUnavailable:
            with self._lock:
                self._client = None
                self._away_until_s = time.monotonic() + PAUSE_S
            raise

    def close(self) -> None:
        """Closes connections."""
        if self._client is not None:
            self._client.close()

    def now_ms(self, site: Site) -> int:
        """The time of a site: the clock, or in a simulation the time of its newest reading; 0: it has none."""
        if not site.simulated:
            return time.time_ns() // 1_000_000
        found = self.rows(
            "SELECT toUnixTimestamp64Milli(max(ts)) FROM latest_store WHERE site = {site:String}", site=site.id
        )
        return max(0, int(found[0][0])) if found else 0

    def latest(self, site: str, points: Iterable[int]) -> dict[int, Latest]:
        """The newest reading of each point that has one."""
        wanted = sorted(set(points))
        if not wanted:
            return {}
        found = self.rows(
            "SELECT point, toUnixTimestamp64Milli(ts), value, quality FROM latest_store FINAL"
            " WHERE site = {site:String} AND point IN {points:Array(UInt32)}",
            site=site,
            points=wanted,
        )
        return {point: Latest(ts_ms, value, str(quality)) for point, ts_ms, value, quality in found}

    def series(self, site: str, point: int, from_ms: int, to_ms: int, buckets: int = 400) -> list[Bucket]:
        """Readings of a point, at most so many spans of equal length; spans without readings are absent."""
        step = max(1000, -(-(to_ms - from_ms) // buckets))
        found = self.rows(
            "SELECT intDiv(toUnixTimestamp64Milli(ts) - {start:Int64}, {step:Int64}) AS span, avg(value), min(value),"
            " max(value), countIf(quality != 'good'), max(toUnixTimestamp64Milli(ts)) FROM readings"
            " WHERE site = {site:String} AND point = {point:UInt32} AND ts >= fromUnixTimestamp64Milli({start:Int64})"
            " AND ts <= fromUnixTimestamp64Milli({stop:Int64}) GROUP BY span ORDER BY span LIMIT 2000",
            site=site,
            point=point,
            start=from_ms,
            stop=to_ms,
            step=step,
        )
        return [
            Bucket(from_ms + span * step, mean, least, most, doubtful, last)
            for span, mean, least, most, doubtful, last in found
        ]

    def before(self, site: str, point: int, at_ms: int) -> Latest | None:
        """The last reading before a time, so that a state is known where a chart begins."""
        found = self.rows(
            "SELECT toUnixTimestamp64Milli(ts), value, quality FROM readings WHERE site = {site:String}"
            " AND point = {point:UInt32} AND ts < fromUnixTimestamp64Milli({at:Int64}) ORDER BY ts DESC LIMIT 1",
            site=site,
            point=point,
            at=at_ms,
        )
        return Latest(found[0][0], found[0][1], str(found[0][2])) if found else None

    def usage(self, site: Site, points: Iterable[int], from_ms: int, to_ms: int, span: str) -> list[tuple[int, Used]]:
        """Usage of points together, by hour, day or month of local time: (start, quantity).

        Args:
            site: whose points.
            points: numbers; all of one medium.
            from_ms: start, a full hour.
            to_ms: end.
            span: hour, day, month.
        """
        start_of = {"hour": "toStartOfHour", "day": "toStartOfDay", "month": "toStartOfMonth"}[span]
        found = self.rows(
            f"SELECT toUnixTimestamp(toDateTime({start_of}(toTimeZone(hour, {{zone:String}})), {{zone:String}}))"
            " AS start, sum(quantity), sum(not_measured) FROM usage_store WHERE site = {site:String}"
            " AND point IN {points:Array(UInt32)} AND hour >= toDateTime(intDiv({start:Int64}, 1000), 'UTC')"
            " AND hour < toDateTime(intDiv({stop:Int64}, 1000), 'UTC') GROUP BY start ORDER BY start LIMIT 5000",
            zone=site.zone.key,
            site=site.id,
            points=sorted(set(points)),
            start=from_ms,
            stop=to_ms,
        )
        return [(start * 1000, Used(quantity, doubtful, None)) for start, quantity, doubtful in found]

    def usage_by_point(self, site: Site, from_ms: int, to_ms: int) -> dict[int, Used]:
        """What every point of a site used between two full hours, with its cost.

        The cost is that of `schemas.prices`: prices hold for whole hours, so an hour's price times its quantity.
        """
        prices = _hourly_prices(site, from_ms, to_ms)
        media = sorted(prices)
        costs = "".join(
            f", sum(toInt128(quantity) * transform(toUnixTimestamp(hour), {{h{index}:Array(UInt32)}},"
            f" {{p{index}:Array(Int64)}}, toInt64(0)))"
            for index in range(len(media))
        )
        values: dict[str, object] = {}
        for index, medium in enumerate(media):
            values[f"h{index}"] = [at_ms // 1000 for at_ms in prices[medium]]
            values[f"p{index}"] = list(prices[medium].values())
        found = self.rows(
            f"SELECT point, sum(quantity), sum(not_measured){costs} FROM usage_store WHERE site = {{site:String}}"
            " AND hour >= toDateTime(intDiv({start:Int64}, 1000), 'UTC')"
            " AND hour < toDateTime(intDiv({stop:Int64}, 1000), 'UTC') GROUP BY point",
            site=site.id,
            start=from_ms,
            stop=to_ms,
            **values,
        )
        used: dict[int, Used] = {}
        for point, quantity, doubtful, *paid in found:
            known = site.by_number.get(point)
            medium = known.medium if known else ""
            cost = round(int(paid[media.index(medium)]) / PRICE_OF) if medium in media else None
            used[point] = Used(int(quantity), int(doubtful), cost)
        return used

    def _connected(self) -> Client:
        with self._lock:
            if self._client is None:
                self._client = reader(self._settings, SECONDS_MAX)
            return self._client


def _hourly_prices(site: Site, from_ms: int, to_ms: int) -> dict[str, dict[int, int]]:
    """Medium → hour → price of a million smallest units; a medium without a price in any hour is absent."""
    prices = Prices(site.document)
    media = {str(medium) for medium in site.document.table("tariffs").get("medium", [])}
    found: dict[str, dict[int, int]] = {}
    for medium in media:
        by_hour = {
            at_ms: price
            for at_ms in range(from_ms - from_ms % HOUR_MS, to_ms, HOUR_MS)
            if (price := prices.cost(medium, at_ms, PRICE_OF)) is not None
        }
        if by_hour:
            found[medium] = by_hour
    return found


def midnight_ms(day: dt.date, site: Site) -> int:
    """Start of a local day."""
    return int(dt.datetime.combine(day, dt.time(), site.zone).timestamp() * 1000)


class Fresh:
    """Keeps an answer for a few seconds, so that many open pages ask ClickHouse once.

    Args:
        seconds: how long.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._kept: dict[object, tuple[float, Any]] = {}
        self._lock = threading.Lock()

    def get(self, key: object, ask: Callable[[], Answer]) -> Answer:
        """The kept answer, or a new one."""
        now_s = time.monotonic()
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and now_s - kept[0] < self._seconds:
                found: Answer = kept[1]
                return found
        answer = ask()
        with self._lock:
            self._kept = {key: one for key, one in self._kept.items() if now_s - one[0] < self._seconds}
            self._kept[key] = (now_s, answer)
        return answer


def total(used: Mapping[int, Used], points: Iterable[int]) -> Used | None:
    """Sum of some points; None where none of them has used anything. The cost is None when one of them has none."""
    found = [used[point] for point in points if point in used]
    if not found:
        return None
    costs = [one.cost for one in found]
    cost = None if None in costs else sum(one for one in costs if one is not None)
    return Used(sum(one.quantity for one in found), sum(one.not_measured for one in found), cost)
