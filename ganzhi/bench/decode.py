"""The decoder alone: batches of 500 readings to columns, every check on."""

import time
from typing import Final

from ganzhi.bench.figure import Bench, Options, Promise, Row
from ganzhi.bench.load import Load
from schemas import codec
from schemas.decode import Columns, M, batch_header, decode_batches
from schemas.record_batches import Slab
from schemas.topics import METER_READINGS

READINGS: Final = 5_000_000


def run(options: Options) -> list[Row]:
    """Decodes; two runs must agree, and the first message with the strict reader."""
    load = Load(20, 500, max((options.readings or READINGS) // 10_000, 1))
    messages = [message for _, message in load.batches()]
    slab = Slab.of(METER_READINGS, 0, [(number, 0, None, message) for number, message in enumerate(messages)])
    columns, magic = Columns.empty(), batch_header()

    def once() -> tuple[int, int]:
        at = count = total = 0
        while at < len(slab):
            at, made, found = decode_batches(
                slab.data,
                slab.spans,
                at,
                len(slab),
                magic,
                columns.messages,
                columns.points,
                columns.times,
                columns.values,
                columns.qualities,
            )
            if not made or columns.messages[:made, M.STATUS].any():
                break
            count += found
            total += int(columns.points[found - 1])
        return count, total

    expected = once()
    begin_s = time.process_time()
    count, total = once()
    spent_s = time.process_time() - begin_s
    # The oracle: what the strict reader says of the first messages.
    sample = codec.read("meter_batch", messages[0])["readings"]
    assert isinstance(sample, list)
    decode_batches(
        slab.data,
        slab.spans,
        0,
        1,
        magic,
        columns.messages,
        columns.points,
        columns.times,
        columns.values,
        columns.qualities,
    )
    values = [row["value"] for row in sample if isinstance(row, dict)]
    correct = (count, total) == expected and count == load.readings and values == columns.values[: len(values)].tolist()
    return [Row(correct, count, {"bench": spent_s})]


BENCH: Final = Bench(
    "decode", "Avro batches of 500 to columns, every check on", [Promise("readings_per_s", "least", 60_000_000)], run
)
