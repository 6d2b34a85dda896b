"""Benches without Kafka: the decoder, and the step from slabs to rows."""

import time
from typing import Final

from ganzhi.bench.load import Load
from ganzhi.bench.result import Result
from processors.advance import Processor
from processors.outputs import Output
from processors.state import READINGS
from schemas import codec
from schemas.decode import Columns, M, batch_header, decode_batches
from schemas.record_batches import Slab
from schemas.topics import METER_READINGS

ROUNDS: Final = 31


def _warm(slabs: list[Slab], load: Load) -> None:
    """Compiles, and touches the memory, outside of what is measured."""
    processor = Processor(METER_READINGS, 0, lambda _: load.document)
    processor.advance(slabs[0])
    processor.take()


def decode(readings: int) -> Result:
    """Batches of 500 readings to columns, every check on; the sum of values must be that of the batches."""
    load = Load(20, 500, max(readings // 10_000, 1))
    messages = [message for _, message in load.batches()]
    slab = Slab.of(METER_READINGS, 0, [(number, 0, None, message) for number, message in enumerate(messages)])
    columns, magic = Columns.empty(), batch_header()

    def run() -> tuple[int, int]:
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

    expected = run()
    begin_s = time.process_time()
    count, total = run()
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
    return Result.of("decode", count, spent_s, correct)


def advance(readings: int, points: int = 10_000) -> Result:
    """Slabs to rows and messages, registers read every minute, without rules; the ledger must be last minus first."""
    load = Load(max(points // 500, 1), 500, _rounds(readings, points))
    slabs = load.slabs()
    _warm(slabs, load)
    processor = Processor(METER_READINGS, 0, lambda _: load.document)
    processor.advance(slabs[0])
    outputs: list[Output] = processor.take()
    begin = int(processor.state.scalars[READINGS])
    begin_s = time.process_time()
    for slab in slabs[1:]:
        processor.advance(slab)
        if processor.outbox.rows > 50_000:
            outputs += processor.take()
    outputs += processor.take()
    spent_s = time.process_time() - begin_s
    count = int(processor.state.scalars[READINGS]) - begin
    total = sum(ledger_sum(output.value) for output in outputs)
    arrays = processor.state
    size = sum(array.nbytes for array in arrays) / len(arrays.points)
    return Result.of("advance", count, spent_s, total == load.expected(), round(size, 1))


def _rounds(readings: int, points: int) -> int:
    """So many rounds that at least `readings` come together, and the last one lies on the grid."""
    return max(-(-readings // points) // 15, 1) * 15 + 1


def ledger_sum(message: bytes) -> int:
    """Sum of the quantities in a message of the ledger; 0 for other messages."""
    if codec.contract_of(message) != "ledger_rows":
        return 0
    rows = codec.read("ledger_rows", message)["rows"]
    assert isinstance(rows, list)
    return sum(int(str(row["quantity"])) for row in rows if isinstance(row, dict))
