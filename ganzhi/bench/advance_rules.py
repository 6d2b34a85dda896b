"""The step with the packs that ganzhi brings: slabs to published rows, alerts and episodes."""

import time
from typing import Final

from ganzhi.bench.advance import TAKE_ROWS, ledger_sum, rounds, warm
from ganzhi.bench.figure import Bench, Options, Promise, Row
from ganzhi.bench.rooms import ALERT, ROUNDS_MIN, Rooms
from processors.advance import Processor
from processors.outputs import Output
from processors.state import READINGS as READINGS_APPLIED
from schemas import codec
from schemas.topics import METER_READINGS

READINGS: Final = 5_000_000
POINTS: Final = 10_000


def run(options: Options) -> list[Row]:
    """Applies; the ledger must be last minus first, and the alerts those of the forgotten offices."""
    turns = max(rounds(options.readings or READINGS, POINTS), ROUNDS_MIN)
    load = Rooms(POINTS // 500, 500, turns)
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
    correct = sum(ledger_sum(output.value) for output in outputs) == load.expected()
    fired = sum(fired_in(output.value) for output in outputs)
    figures = {"instances": len(processor.state.instances), "alerts": fired}
    return [Row(correct and fired == load.alerts, count, {"bench": spent_s}, figures)]


def fired_in(message: bytes) -> int:
    """How many alerts fire in a message; those of another rule than the one that is meant count a million."""
    if codec.contract_of(message) != "alert_rows":
        return 0
    rows = codec.read("alert_rows", message)["rows"]
    assert isinstance(rows, list)
    fired = [row["rule"] for row in rows if isinstance(row, dict) and row["state"] == "firing"]
    return sum(1 if rule == ALERT else 1_000_000 for rule in fired)


BENCH: Final = Bench(
    "advance-rules",
    "the same with the packs for rooms, meters and water",
    [Promise("readings_per_s", "least", 20_000_000)],
    run,
)
