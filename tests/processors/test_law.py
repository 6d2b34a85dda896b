"""The law: rows and chain heads are a function of the log and its documents, however the log is cut, taken and carried on."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors import advance, snapshot
from processors.advance import Processor
from processors.kernels.rows import Longs
from processors.kernels.step import INSTANCE_ROWS, PART_ROWS, READING_ROWS
from processors.layout import Layout
from processors.outputs import Output
from processors.state import OUT_COLUMNS
from schemas.record_batches import Slab
from tests.processors.logs import DOCUMENTS, eventful
from tests.processors.world import Record, Row, decode, slab
from tests.support.patience import patient

TOPIC = "meter.readings"


def whole(log: list[Record]) -> tuple[Processor, dict[str, list[Row]]]:
    """The log in one slab, taken once."""
    processor = Processor(TOPIC, 0, DOCUMENTS.__getitem__)
    processor.advance(slab(log))
    return processor, decode(processor.take())


def carried_on(log: list[Record], chooser: random.Random) -> tuple[Processor, list[Output]]:
    """The log in slabs of any size, applied in pieces, taken whenever, and put into a snapshot and back now and then."""
    processor, outputs, at = Processor(TOPIC, 0, DOCUMENTS.__getitem__), [], 0
    while at < len(log):
        end = min(len(log), at + chooser.choice([1, 1, 2, 7, 50, 400]))
        part = slab(log[at:end])
        first = 0
        while first < len(part):
            stop = min(len(part), first + chooser.choice([1, 3, 100, 1000]))
            processor.advance(part, first, stop)
            first = stop
            if chooser.random() < 0.5:
                outputs += processor.take()
        if chooser.random() < 0.4:
            outputs += processor.take()
            assert processor.position == log[end - 1][0] + 1
            processor = snapshot.load(snapshot.save(processor), TOPIC, 0, DOCUMENTS.__getitem__)
        at = end
    return processor, outputs + processor.take()


def narrow(layout: Layout) -> Longs:
    """A buffer that has to be emptied after every reading that makes two rows."""
    widest = READING_ROWS + INSTANCE_ROWS * layout.fanout + PART_ROWS * layout.wasted
    return np.zeros((widest + 1, OUT_COLUMNS), np.int64)


@patient(max_examples=12)
@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_cuts_takes_and_snapshots_change_nothing(seed: int, cuts: int) -> None:
    """Other slabs, other ranges, other moments of taking and snapshots in between: the same rows, heads and state."""
    log = eventful(seed, 90)
    once, rows = whole(log)
    often, outputs = carried_on(log, random.Random(cuts))
    assert decode(outputs) == rows
    assert often.stream_heads() == once.stream_heads()
    assert often.position == once.position
    assert snapshot.save(often) == snapshot.save(once)


@patient(max_examples=12)
@given(st.integers(0, 10**9))
def test_suppressed_outputs_count(seed: int) -> None:
    """A recovery that throws its rows away ends with the heads of the run that published them."""
    log = eventful(seed, 60)
    once, _ = whole(log)
    again = Processor(TOPIC, 0, DOCUMENTS.__getitem__)
    for record in log:
        again.advance(slab([record]))
        assert again.take(publish=False) == []
    assert again.stream_heads() == once.stream_heads()


@patient(max_examples=12)
@given(st.integers(0, 10**9))
def test_a_full_buffer_changes_nothing(seed: int) -> None:
    """The kernels' buffer may be full in the middle of a message or of a move of the clock: nothing shows it."""
    log = eventful(seed, 90)
    once, rows = whole(log)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(advance, "buffer", narrow)
        small, others = whole(log)
    assert len(small._out) < len(once._out)
    assert others == rows
    assert small.stream_heads() == once.stream_heads()


def test_offsets_without_messages() -> None:
    """Holes in the offsets are no messages: the position goes to the end of the slab, rows keep the offsets of theirs."""
    log = eventful(1, 30)
    processor = Processor(TOPIC, 0, DOCUMENTS.__getitem__)
    processor.advance(Slab.of(TOPIC, 0, log, end=log[-1][0] + 100))
    assert processor.position == log[-1][0] + 100
    offsets = {record[0] for record in log}
    assert {row["offset"] for rows in decode(processor.take()).values() for row in rows} <= offsets
