"""The judge itself: it is satisfied with a right run, and sees a row or a message that is missing, doubled or altered."""

import dataclasses
import hashlib

import pytest

from processors.advance import Processor
from processors.state import ENGINE
from schemas import codec
from schemas.record_batches import Slab
from schemas.topics import LEDGER, METER_READINGS, OUTPUTS
from tests.fault.checker import Evidence, Findings, Message, Tables, hold, judge, judge_tables
from tests.processors.logs import DOCUMENTS, eventful

PLACE = (METER_READINGS, 0)


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    """A history of two sites, bad messages and three documents, and what a processor publishes of it in two commits."""
    log = eventful(7, 120)
    processor = Processor(METER_READINGS, 0, DOCUMENTS.__getitem__)
    outputs: dict[str, list[Message]] = {topic: [] for topic in OUTPUTS}
    positions: list[Message] = []
    half = len(log) // 2
    for part in (log[:half], log[half:]):
        processor.advance(Slab.of(METER_READINGS, 0, part))
        for output in processor.take():
            outputs[output.topic].append((len(outputs[output.topic]), 0, None, output.value))
        record = {
            "topic": METER_READINGS, "partition": 0, "engine": ENGINE, "position": processor.position,
            "clock_ms": processor.clock_ms, "streams": processor.stream_heads(),
        }  # fmt: skip
        positions.append((len(positions), 0, b"meter.readings/0", codec.write("task_position", record)))
    return Evidence(
        {PLACE: log}, {PLACE: processor.position}, {(topic, 0): rows for topic, rows in outputs.items()}, {0: positions}
    )


def without(evidence: Evidence, index: int, again: bool = False) -> Evidence:
    """The same with a message of the ledger missing, or there twice."""
    rows = list(evidence.outputs[LEDGER, 0])
    rows[index : index + 1] = [rows[index]] * 2 if again else []
    return dataclasses.replace(evidence, outputs={**evidence.outputs, (LEDGER, 0): rows})


def test_a_right_run(evidence: Evidence) -> None:
    """Nothing is wrong, and every message has become exactly one thing."""
    found = judge(evidence, DOCUMENTS)
    assert found.right, found.told()
    assert found.messages == len(evidence.inputs[PLACE]) == sum(found.became.values())
    assert found.became["applied"] > 50
    assert found.became["rejected"] > 5


def test_what_is_missing_is_lost(evidence: Evidence) -> None:
    """A message of rows that is not there."""
    found = judge(without(evidence, 0), DOCUMENTS)
    assert found.lost > 0
    assert found.doubled == 0
    assert found.violations


def test_what_is_there_twice_is_doubled(evidence: Evidence) -> None:
    """A message of rows that is there twice."""
    found = judge(without(evidence, 0, again=True), DOCUMENTS)
    assert found.doubled > 0
    assert found.lost == 0


def test_a_position_that_lags_or_goes_back(evidence: Evidence) -> None:
    """Offsets behind the last position are lost; positions only grow."""
    first, last = evidence.positions[0]
    assert judge(dataclasses.replace(evidence, positions={0: [first]}), DOCUMENTS).lost > 0
    back = judge(dataclasses.replace(evidence, positions={0: [last, first]}), DOCUMENTS)
    assert any("after" in text for text in back.violations)


def test_an_altered_row(evidence: Evidence) -> None:
    """A row with another quantity is one that is lost, and one that is not of the log."""
    rows = list(evidence.outputs[LEDGER, 0])
    at = next(n for n, row in enumerate(rows) if codec.contract_of(row[3] or b"") == "ledger_rows")
    message = codec.read("ledger_rows", rows[at][3] or b"")
    listed = message["rows"]
    assert isinstance(listed, list)
    assert isinstance(listed[0], dict)
    listed[0]["quantity"] = 123_456_789
    rows[at] = (rows[at][0], 0, None, codec.write("ledger_rows", message))
    found = judge(dataclasses.replace(evidence, outputs={**evidence.outputs, (LEDGER, 0): rows}), DOCUMENTS)
    assert (found.lost, found.doubled) == (1, 1)


def test_tables(evidence: Evidence) -> None:
    """Tables without rows lack all of the log and of the outputs."""
    nothing = Tables(
        [], [], {stream: [] for stream in ("ledger", "gauges", "alerts", "episodes", "verdicts", "rejected")}
    )
    found = judge_tables(evidence, nothing, METER_READINGS)
    rows = sum(
        len(codec.read(codec.contract_of(value or b"") or "", value or b"")["rows"])  # type: ignore[arg-type]
        for messages in evidence.outputs.values()
        for _, _, _, value in messages
    )
    assert found.lost > rows + len(evidence.inputs[PLACE])
    log = [(*PLACE, offset, hashlib.sha256(value or b"").hexdigest()) for offset, _, _, value in evidence.inputs[PLACE]]
    again = judge_tables(evidence, dataclasses.replace(nothing, event_log=[*log, log[0]]), METER_READINGS)
    assert again.doubled == 1


def test_rows_are_counted() -> None:
    """Equal rows are held against each other by how often they are there."""
    found = Findings()
    hold("t", [1, 1, 2], [1, 2, 2, 3], found)
    assert (found.lost, found.doubled) == (1, 2)
