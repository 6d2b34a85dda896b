"""The step alone: slabs to published rows and messages, registers read every minute, without rules."""

import time
from typing import Final

from ganzhi.bench.figure import Bench, Options, Promise, Row
from ganzhi.bench.load import Load
from processors.advance import Processor
from processors.outputs import Output
from processors.state import READINGS as READINGS_APPLIED
from schemas import codec
from schemas.record_batches import Slab
from schemas.topics import METER_READINGS

READINGS: Final = 5_000_000
POINTS: Final = 10_000
TAKE_ROWS: Final = 50_000
"""The worker takes what was published about every second; so many rows are that or less."""


def warm(slabs: list[Slab], load: Load) -> None:
    """Compiles, and touches the memory, outside of what is measured."""
    processor = Processor(METER_READINGS, 0, lambda _: load.document)
    processor.advance(slabs[0])
    processor.take()


def run(options: Options) -> list[Row]:
    """Applies; the ledger must be last minus first."""
    load = Load(POINTS // 500, 500, rounds(options.readings or READINGS, POINTS))
    slabs = load.slabs()
    warm(slabs, load)
    processor = Processor(METER_READINGS, 0, lambda _: load.document)
    processor.advance(slabs[0])
    outputs: list[Output] = processor.take()
    begin = int(processor.state.scalars[READINGS_APPLIED])
    begin_s = time.process_time()
    for slab in slabs[1:]:
        processor.advance(slab)
        if processor.outbox.rows > TAKE_ROWS:
            outputs += processor.take()
    outputs += processor.take()
    spent_s = time.process_time() - begin_s
    count = int(processor.state.scalars[READINGS_APPLIED]) - begin
    total = sum(ledger_sum(output.value) for output in outputs)
    arrays = processor.state
    size = sum(array.nbytes for array in arrays) / len(arrays.points)
    return [Row(total == load.expected(), count, {"bench": spent_s}, {"state_bytes_per_point": round(size, 1)})]


def rounds(readings: int, points: int) -> int:
    """So many rounds that at least `readings` come together, and the last one lies on the grid."""
    return max(-(-readings // points) // 15, 1) * 15 + 1


def ledger_sum(message: bytes) -> int:
    """Sum of the quantities in a message of the ledger; 0 for other messages."""
    if codec.contract_of(message) != "ledger_rows":
        return 0
    rows = codec.read("ledger_rows", message)["rows"]
    assert isinstance(rows, list)
    return sum(int(str(row["quantity"])) for row in rows if isinstance(row, dict))


BENCH: Final = Bench(
    "advance",
    "slabs to published rows, 10,000 registers, no rules",
    [Promise("readings_per_s", "least", 30_000_000), Promise("state_bytes_per_point", "most", 200)],
    run,
)
