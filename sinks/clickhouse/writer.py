"""Inserts: one Native block each, under its token, again and again until the server has it.

A block that is sent twice under one token is kept once, with everything that materialized views made of it, as
long as the table has not had ten thousand other blocks since. Where that may have happened (a range that was
opened long ago, or by another encoder), the server is asked first what it has, month by month, because a
month's part is what ClickHouse writes as one.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import lz4.frame
import numpy as np
from clickhouse_connect.driver.client import Client
from numpy.typing import NDArray

from schemas.errors import ClickHouseUnavailable
from schemas.settings import ClickHouseSettings
from sinks.clickhouse.client import is_near, translating, writer
from sinks.clickhouse.ranges import Range
from sinks.clickhouse.tables import Block, Origin

WAIT_FIRST_S: Final = 0.2
WAIT_LAST_S: Final = 5.0
SETTINGS: Final = {
    # Servers differ in their defaults, so all that an exact repeat depends on is said with each insert.
    "async_insert": 0,
    "insert_deduplicate": 1,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    # A backfill of many years is many months in one block; `tables.usable` bounds them.
    "max_partitions_per_insert_block": 0,
    "input_format_native_allow_types_conversion": 0,
}

Wait = Callable[[float], None]
"""Waits so many seconds, and raises when there is a reason to give the range up."""

_log = logging.getLogger("ganzhi.sink")


class Writer:
    """Writes blocks to one server.

    Args:
        settings: where.
        wait: called between attempts.
    """

    def __init__(self, settings: ClickHouseSettings, wait: Wait = time.sleep) -> None:
        self._settings = settings
        self._wait = wait
        self._client: Client | None = None
        self._compress = not is_near(settings)
        self._failures = 0

    def insert(self, range_: Range, block: Block) -> None:
        """Inserts a block; returns when the server has it.

        Raises:
            ClickHouseRefused: the server does not take it; trying again would not help.
            Whatever `wait` raises.
        """
        self._persist(f"insert of {block.rows} rows into {block.table}", lambda: self._insert(range_, block, None))

    def insert_missing(self, range_: Range, block: Block) -> int:
        """Inserts the months of a block of which the server has nothing yet; returns how many rows those were.

        A month that is there in part cannot be: a month of a block is one part. If it is all the same, somebody else
        wrote rows of these offsets, and the block's rows of that month are inserted under the block's token.

        Raises:
            As `insert`.
        """
        if block.origin is None:
            self.insert(range_, block)
            return block.rows
        origin = block.origin()
        missing: NDArray[np.bool_] = np.ones(block.rows, np.bool_)

        def step() -> None:
            missing[:] = self._missing(block, origin)
            if missing.any():
                self._insert(range_, block, None if missing.all() else missing)

        self._persist(f"question for {block.rows} rows of {block.table}", step)
        return int(missing.sum())

    def close(self) -> None:
        """Closes the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _persist(self, what: str, step: Callable[[], None]) -> None:
        wait_s = WAIT_FIRST_S
        while True:
            try:
                step()
            except ClickHouseUnavailable as error:
                self._failures += 1
                self.close()
                _log.warning("%s failed, next attempt in %.1f s: %s", what, wait_s, error)
                self._wait(wait_s)
                wait_s = min(wait_s * 2, WAIT_LAST_S)
            else:
                if self._failures:
                    _log.warning("ClickHouse answers again after %d failed attempts", self._failures)
                    self._failures = 0
                return

    def _connected(self) -> Client:
        if self._client is None:
            self._client = writer(self._settings)
        return self._client

    def _insert(self, range_: Range, block: Block, keep: NDArray[np.bool_] | None) -> None:
        raw = block.raw(keep)
        compression = None
        if self._compress:
            raw, compression = lz4.frame.compress(raw), "lz4"
        settings: dict[str, Any] = {**SETTINGS, "insert_deduplication_token": range_.token(block.table, block.content)}
        with translating(self._settings):
            self._connected().raw_insert(
                block.table, insert_block=raw, settings=settings, fmt="Native", compression=compression
            )

    def _missing(self, block: Block, origin: Origin) -> NDArray[np.bool_]:
        """Which rows are of months that the server has nothing of, by partition of the log."""
        missing = np.zeros(block.rows, np.bool_)
        places = [np.asarray(values) for values in origin.values]
        groups: dict[tuple[Any, ...], list[int]] = {}
        for i, place in enumerate(zip(*(values.tolist() for values in places[:-1]), strict=True)):
            groups.setdefault(place, []).append(i)
        for place, members in groups.items():
            rows = np.array(members)
            counter = places[-1][rows]
            there = self._months_there(block.table, origin, place, int(counter.min()), int(counter.max()))
            missing[rows] = ~np.isin(origin.months[rows], there)
        return missing

    def _months_there(self, table: str, origin: Origin, place: Sequence[Any], low: int, high: int) -> list[int]:
        *names, counter = origin.columns
        conditions = [
            f"{name} = {{p{i}:{'String' if isinstance(v, str) else 'UInt64'}}}"
            for i, (name, v) in enumerate(zip(names, place, strict=True))
        ]
        conditions.append(f"{counter} BETWEEN {{low:UInt64}} AND {{high:UInt64}}")
        query = f"SELECT DISTINCT {origin.month} FROM {table} WHERE {' AND '.join(conditions)}"
        parameters = {f"p{i}": value for i, value in enumerate(place)} | {"low": low, "high": high}
        with translating(self._settings):
            return [int(row[0]) for row in self._connected().query(query, parameters=parameters).result_rows]
