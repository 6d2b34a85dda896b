"""Settlement: a month of 10,000 registers read every quarter of an hour, each with hours that came a day late."""

import dataclasses
import time
from collections.abc import Iterator
from typing import Final

import numpy as np

from ganzhi.bench.figure import Bench, Options, Promise, Row
from ganzhi.bench.load import BEGIN_MS, Load
from processors.settle import Settler
from processors.state import HOW_GAP, HOW_MEASURED
from schemas import codec
from schemas.control import SigningKey, settle_record
from schemas.encode import encode_batch
from schemas.record_batches import Slab
from schemas.topics import METER_READINGS, SETTLED

POINTS: Final = 10_000
ROUNDS: Final = 30 * 96
QUARTER_MS: Final = 900_000
LATE_ROUNDS: Final = 4
"""An hour of each gateway comes a day late."""
_PER_GATEWAY: Final = 500


class _Month:
    """A log in memory: nothing in it is in the future of its clock, and every point is dirty."""

    def __init__(self, rounds: int) -> None:
        self._key = SigningKey.of(bytes(32))
        load = Load(POINTS // _PER_GATEWAY, _PER_GATEWAY, 1)
        points: dict[str, list[codec.Json]] = {**load.document.tables["points"]}
        points["interval_s"] = [QUARTER_MS // 1000] * POINTS
        self.document = load.document = dataclasses.replace(
            load.document, tables={**load.document.tables, "points": points}, keys={self._key.key_id: self._key.public}
        )
        self.readings = POINTS * rounds
        self.end_ms = BEGIN_MS + rounds * QUARTER_MS
        random, values = np.random.default_rng(7), np.zeros(POINTS, np.int64)
        numbers, good = np.arange(POINTS, dtype=np.int32), np.zeros(_PER_GATEWAY, np.int8)
        messages: list[tuple[int, bytes]] = []
        for turn in range(rounds):
            values += random.integers(0, 900, POINTS)
            times = np.full(_PER_GATEWAY, BEGIN_MS + turn * QUARTER_MS, np.int64)
            for gateway in range(POINTS // _PER_GATEWAY):
                mine = slice(gateway * _PER_GATEWAY, (gateway + 1) * _PER_GATEWAY)
                late = rounds // 4 <= turn < rounds // 4 + LATE_ROUNDS
                raw = encode_batch("bench", f"g{gateway:05d}", "live", times, numbers[mine], values[mine], good)
                messages.append((turn + 96 * late, raw))
        messages.sort(key=lambda message: message[0])
        record = settle_record("bench", 1, BEGIN_MS, self.end_ms, "bench", self._key)
        listed = [load.config_record(), *(raw for _, raw in messages), record]
        self.offsets = len(listed)
        self._slabs = [
            Slab.of(
                METER_READINGS, 0, [(at + k, self.end_ms, b"bench", raw) for k, raw in enumerate(listed[at : at + 256])]
            )
            for at in range(0, len(listed), 256)
        ]

    def log(self, end: int) -> Iterator[Slab]:
        """The slabs before an offset; the last one may go over it by the record that starts the settlement."""
        for slab in self._slabs:
            if slab.end <= end:
                yield slab
            elif slab.start < end:
                count = end - slab.start
                yield dataclasses.replace(
                    slab, end=end, offsets=slab.offsets[:count], timestamps_ms=slab.timestamps_ms[:count],
                    spans=slab.spans[:count],
                )  # fmt: skip


def _settler(month: _Month) -> Settler:
    return Settler(SETTLED + METER_READINGS, 0, lambda _: month.document, month.log)


def run(options: Options) -> list[Row]:
    """Settles everything from an empty state: what was a gap is measured, and no unit comes or goes."""
    rounds = max((options.readings or POINTS * ROUNDS) // POINTS, 4 * LATE_ROUNDS + 96)
    small = _Month(4 * LATE_ROUNDS + 96)
    _advance(_settler(small), small)  # compiles
    month = _Month(rounds)
    settler = _settler(month)
    begin_s, begin_wall_s = time.process_time(), time.monotonic()
    _advance(settler, month)
    spent_s, wall_s = time.process_time() - begin_s, time.monotonic() - begin_wall_s
    assert settler.last_settlement is not None
    ledger = settler.last_settlement[1].ledger
    gaps, measured = (ledger[ledger[:, 3] == how] for how in (HOW_GAP, HOW_MEASURED))
    correct = (
        len(ledger) == 2 * (LATE_ROUNDS + 1) * POINTS
        and len(np.unique(ledger[:, 0])) == POINTS
        and int(ledger[:, 4].sum()) == 0
        and int(gaps[:, 4].max()) <= 0
        and int(measured[:, 4].min()) >= 0
    )
    figures = {"settle_cpu_s": round(spent_s, 2), "wall_s": round(wall_s, 2), "ledger_rows": len(ledger)}
    return [Row(correct, month.readings, {"bench": spent_s}, figures)]


def _advance(settler: Settler, month: _Month) -> None:
    for slab in month.log(month.offsets):
        settler.advance(slab)
        settler.take()


BENCH: Final = Bench(
    "settle",
    "a month of 10,000 registers, all of them late once, from nothing",
    [Promise("settle_cpu_s", "most", 10)],
    run,
)
