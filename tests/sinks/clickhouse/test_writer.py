"""What the server does with blocks that come more than once."""

import threading

import numpy as np

from schemas import topics
from schemas.encode import encode_batches
from schemas.settings import ClickHouseSettings
from sinks.clickhouse.blocks import blocks_of
from sinks.clickhouse.client import reader, writer
from sinks.clickhouse.messages import Run
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.ranges import Range
from sinks.clickhouse.tables import Block
from sinks.clickhouse.writer import Writer

MONTH_MS = 31 * 86_400_000
START_MS = 1_767_225_600_000
MONTHS = 12
READINGS = 1000


def made(months: int = MONTHS) -> tuple[Range, Block]:
    """A block of readings over many months."""
    times = START_MS - np.arange(READINGS, dtype=np.int64) % months * MONTH_MS
    points = np.arange(READINGS, dtype=np.int32)
    message = encode_batches("s", "g", "backfill", times, points, points.astype(np.int64), np.zeros(READINGS, np.int8))[
        0
    ]
    run = Run([7], [START_MS], [None], [message])
    blocks = blocks_of({(topics.METER_READINGS, 0): run})
    return Range({(topics.METER_READINGS, 0): (7, 8)}, START_MS), next(b for b in blocks if b.table == "readings")


def stored(settings: ClickHouseSettings) -> tuple[int, int]:
    """Rows and distinct points in `readings`."""
    client = reader(settings)
    try:
        rows = client.query("SELECT count(), uniqExact(point) FROM readings").result_rows
        return int(rows[0][0]), int(rows[0][1])
    finally:
        client.close()


def test_one_block_from_many_hands(clickhouse: ClickHouseSettings) -> None:
    """Four writers that send one block of twelve months at the same moment leave each row there once."""
    migrate(clickhouse)
    range_, block = made()
    barrier = threading.Barrier(4)

    def send() -> None:
        own = Writer(clickhouse)
        barrier.wait()
        own.insert(range_, block)
        own.close()

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stored(clickhouse) == (READINGS, READINGS)


def test_only_missing_months_are_inserted(clickhouse: ClickHouseSettings) -> None:
    """Of a block that is there in part, with another token, exactly the months that are missing are inserted, once."""
    migrate(clickhouse)
    range_, block = made()
    mine = Writer(clickhouse)
    mine.insert(range_, block)
    client = writer(clickhouse)
    for month in ("202601", "202511", "202506"):
        client.command(f"ALTER TABLE readings DROP PARTITION {month}")
    client.close()
    gone = READINGS - stored(clickhouse)[0]
    assert gone > 0
    other = Range(range_.spans, START_MS, encoder=0)
    assert mine.insert_missing(other, block) == gone
    assert mine.insert_missing(other, block) == 0
    assert stored(clickhouse) == (READINGS, READINGS)
    mine.close()


def test_compressed_way(clickhouse: ClickHouseSettings) -> None:
    """A block that is sent compressed, as to a server elsewhere, is the same block to the server."""
    migrate(clickhouse)
    range_, block = made()
    near, far = Writer(clickhouse), Writer(clickhouse)
    far._compress = True
    far.insert(range_, block)
    near.insert(range_, block)
    assert stored(clickhouse) == (READINGS, READINGS)
    near.close()
    far.close()
