"""From ten thousand to ten million points: bytes of state a point, and what a reading costs.

The layout of a site of ten thousand points is put side by side as often as it takes: a document of ten million rows
would only measure JSON. Gateways have names, points have rows of their own, and the kernels look every one of them up.
"""

import dataclasses
import time
from collections.abc import Iterator, Sequence
from typing import Final, overload

import numpy as np

from ganzhi.bench.advance import TAKE_ROWS, ledger_sum
from ganzhi.bench.figure import Bench, Number, Options, Promise, Row
from ganzhi.bench.load import BEGIN_MS, INTERVAL_S, document
from processors.advance import Processor
from processors.layout import Layout
from processors.layout_build import build
from processors.layout_lists import gateway_table
from processors.state import READINGS as READINGS_APPLIED
from processors.state import empty_state
from schemas.encode import encode_batch
from schemas.model.document import Document
from schemas.record_batches import Slab
from schemas.topics import METER_READINGS

SIZES: Final = (10_000, 100_000, 1_000_000, 10_000_000)
READINGS: Final = 10_000_000
"""At each size at least; of ten million points this is one round beside the first."""
PER_GATEWAY: Final = 500
SITE: Final = "bench"
PER_INTERVAL: Final = 900 // INTERVAL_S
STEP: Final = 7
"""Every register goes on by so many Wh a round, so that the sum is known without keeping ten million numbers."""


class Ids(Sequence[str]):
    """Ids of points, made when they are asked for."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        """One id, or some."""
        if isinstance(index, slice):
            return [f"p{number}" for number in range(*index.indices(self._count))]
        return f"p{index}"


def tiled(layout: Layout, copies: int) -> Layout:
    """A layout with the points and gateways of another so many times, all of the same site."""
    arrays = layout.arrays
    points, gateways = len(arrays.meta), len(layout.gateways)
    shift = np.repeat(np.arange(copies), points)
    meta = np.tile(arrays.meta, copies)
    meta["number"] = np.arange(points * copies)
    meta["gateway"] += (shift * gateways).astype(np.int32)
    names = [(SITE, f"g{number:05d}") for number in range(gateways * copies)]
    table, pool, spans = gateway_table(names)
    return dataclasses.replace(
        layout,
        arrays=arrays._replace(
            gateway_table=table,
            gateway_bytes=pool,
            gateway_spans=spans,
            gateway_site=np.zeros(len(names), np.int32),
            number_start=np.array([0, points * copies], np.int64),
            number_row=np.arange(points * copies, dtype=np.int32),
            row_gateway=meta["gateway"].astype(np.int32),
            meta=meta,
        ),
        gateways=tuple(names),
        point_ids=Ids(points * copies),
        point_key=np.arange(points * copies),
    )


def run(options: Options) -> list[Row]:
    """A row a size; the ledger must be what the registers went on by."""
    base = document(SITE, 0, SIZES[0] // PER_GATEWAY, PER_GATEWAY)
    rows: list[Row] = []
    first = 0.0
    for size in SIZES:
        options.report("points", size, SIZES[-1])
        row = _measure(base, size, max((options.readings or READINGS) // size, 1))
        cost = sum(row.cpu_s.values()) / row.readings
        first = first or cost
        rows.append(dataclasses.replace(row, figures={**row.figures, "cost_ratio": round(cost / first, 2)}))
    return rows


def _measure(base: Document, size: int, rounds: int) -> Row:
    layout = tiled(build(METER_READINGS, {SITE: base}, {SITE: 1}), size // SIZES[0])
    processor = Processor(METER_READINGS, 0, lambda _: base)
    processor.restore(layout, empty_state(size, 0, 0))
    spent_s, total, offset = 0.0, 0, 0
    readings = 0
    # The first round makes the points known. Those that close an interval publish a row a point, and are not counted:
    # ten million points have one round only, and sizes are to be compared.
    for turn in range(1 + rounds):
        counted = turn % PER_INTERVAL != 0
        for slab in _slabs(size, turn, offset):
            begin_s = time.process_time()
            processor.advance(slab)
            spent_s += time.process_time() - begin_s if counted else 0.0
            if processor.outbox.rows > TAKE_ROWS:
                total += sum(ledger_sum(output.value) for output in processor.take())
            offset = slab.end
        readings += size if counted else 0
        total += sum(ledger_sum(output.value) for output in processor.take())
    points = processor.state.points
    correct = (
        int(processor.state.scalars[READINGS_APPLIED]) == (1 + rounds) * size
        and bool((points["last"] == rounds * STEP).all())
        and bool((points["total"] == rounds * STEP).all())
        and total == rounds // PER_INTERVAL * PER_INTERVAL * STEP * size
    )
    state_bytes = sum(array.nbytes for array in processor.state)
    figures: dict[str, Number] = {"points": size, "state_bytes_per_point": round(state_bytes / size, 1)}
    return Row(correct, readings, {"bench": spent_s}, figures)


def _slabs(size: int, turn: int, offset: int) -> Iterator[Slab]:
    good, numbers = np.zeros(PER_GATEWAY, np.int8), np.arange(PER_GATEWAY, dtype=np.int32)
    time_ms = BEGIN_MS + turn * INTERVAL_S * 1000
    times, values = np.full(PER_GATEWAY, time_ms, np.int64), np.full(PER_GATEWAY, turn * STEP, np.int64)
    rows: list[tuple[int, int, bytes | None, bytes | None]] = []
    for gateway in range(size // PER_GATEWAY):
        points = numbers + np.int32(gateway * PER_GATEWAY)
        message = encode_batch(SITE, f"g{gateway:05d}", "live", times, points, values, good)
        rows.append((offset + gateway, time_ms, None, message))
        if len(rows) == 256 or gateway == size // PER_GATEWAY - 1:
            yield Slab.of(METER_READINGS, 0, rows)
            rows = []


BENCH: Final = Bench(
    "cardinality",
    "state and cost of a reading from 10 thousand to 10 million points",
    [Promise("state_bytes_per_point", "most", 200), Promise("cost_ratio", "most", 1.3)],
    run,
)
