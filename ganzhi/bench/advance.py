"""The step alone: slabs to published rows and messages, registers read every minute, without rules."""

import dataclasses
import time
from typing import Final

import numpy as np

from ganzhi.bench.figure import Bench, Options, Promise, Row
from ganzhi.bench.load import BEGIN_MS, Load
from processors.advance import Processor
from processors.outputs import Output
from processors.state import READINGS as READINGS_APPLIED
from processors.state import SCALED
from schemas import codec
from schemas.control import SigningKey, sign
from schemas.record_batches import Slab
from schemas.topics import METER_READINGS

READINGS: Final = 5_000_000
POINTS: Final = 10_000
FACTS: Final = Promise("more_than_untold_percent", "most", 25)
_REGISTERS: Final = 500
_TURNS: Final = 3
_KEY: Final = SigningKey.of(bytes(32))
TAKE_ROWS: Final = 50_000
"""The worker takes what was published about every second; so many rows are that or less."""


def warm(slabs: list[Slab], load: Load) -> None:
    """Compiles, and touches the memory, outside of what is measured."""
    processor = Processor(METER_READINGS, 0, lambda _: load.document)
    processor.advance(slabs[0])
    processor.take()


def run(options: Options) -> list[Row]:
    """Applies readings of meters of which nothing was told, then the same ones after a fact about each of them.

    The second row says what facts cost more. Both are run in turns, and of each the fastest counts, since others work
    on the machine. The ledger must be last minus first in all of them.
    """
    runs = [(_apply(options, facts=False), _apply(options, facts=True)) for _ in range(_TURNS)]
    plain, told = (min(rows, key=lambda row: row.cpu_s["bench"]) for rows in zip(*runs, strict=True))
    correct = all(row.correct for pair in runs for row in pair)
    more = round(100 * (told.cpu_s["bench"] / plain.cpu_s["bench"] - 1), 1)
    figures = {**told.figures, "more_than_untold_percent": more}
    return [
        dataclasses.replace(plain, correct=correct),
        dataclasses.replace(told, correct=correct, figures=figures, promises=[FACTS]),
    ]


def _apply(options: Options, facts: bool) -> Row:
    load = Load(POINTS // 500, 500, rounds(options.readings or READINGS, POINTS))
    load.document = dataclasses.replace(
        load.document, tables={**load.document.tables, **_meters()}, keys={_KEY.key_id: _KEY.public}
    )
    slabs = load.slabs(first=_facts() if facts else [])
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
    known = int(np.count_nonzero(arrays.points["flags"] & SCALED))
    size = sum(array.nbytes for array in arrays) / len(arrays.points)
    correct = total == load.expected() and known == POINTS * facts
    labels = {"meters": "a fact each" if facts else "nothing told"}
    return Row(correct, count, {"bench": spent_s}, {"state_bytes_per_point": round(size, 1)}, labels)


def _meters() -> dict[str, dict[str, list[codec.Json]]]:
    """Meters of many registers, of twelve digits, so that none rolls over."""
    names: list[codec.Json] = [f"m{number}" for number in range(POINTS // _REGISTERS)]
    ones: list[codec.Json] = ["1"] * len(names)
    installed: dict[str, list[codec.Json]] = {
        "meter": [f"m{number // _REGISTERS}" for number in range(POINTS)],
        "register": [f"r{number % _REGISTERS}" for number in range(POINTS)],
        "point": [f"p{number}" for number in range(POINTS)],
        "valid_from": [None] * POINTS,
    }
    meters: dict[str, list[codec.Json]] = {
        "id": names,
        "digits": [12] * len(names),
        "resolution": ones,
        "ct": ones,
        "pt": ones,
    }
    return {"meters": meters, "meter_install": installed}


def _facts() -> list[bytes]:
    """Facts that every register is multiplied by one, and so goes the way of those of which something was told."""
    ratio = {"final": None, "initial": None, "numerator": 1, "denominator": 1, "span": None}
    about = {
        "site": "bench", "kind": "multiplier", "at_ms": BEGIN_MS - 1000, "comment": "", "serial_before": "",
        "serial": "", "replaces": "",
    }  # fmt: skip
    found = []
    for number in range(POINTS // _REGISTERS):
        registers = [{**ratio, "point": number * _REGISTERS + k} for k in range(_REGISTERS)]
        fields = {**about, "event_id": f"e{number}", "meter": f"m{number}", "registers": registers}
        found.append(sign("meter_fact", fields, _KEY))
    return found


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
