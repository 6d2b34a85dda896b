"""What the demo sends is in the log: the start, the history, life, and a clock that never stands still for long."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ganzhi.demo.feed import Feed
from ganzhi.demo.model import write_model
from ganzhi.demo.points import points
from ganzhi.demo.simulator import Simulator
from schemas import codec
from schemas.control import signing_key
from schemas.errors import ConfigurationError
from schemas.model.build import known_numbers
from schemas.model.check import check_folder
from schemas.model.document import Document
from schemas.settings import KafkaSettings
from schemas.topics import INPUTS, METER_READINGS, VEHICLE_EVENTS, WASTE_EVENTS, topic_name
from streams.kafka_admin import create_missing
from streams.published import apply_model, read_documents
from streams.sources.batching import BatchWriter
from tests.streams.log import messages_of

PARTITIONS = 4
STEPS = 14


@pytest.fixture
def documents(kafka: KafkaSettings, tmp_path: Path) -> dict[str, Document]:
    """The demo's model, applied to a log of this test's own."""
    create_missing(kafka)
    write_model(tmp_path / "model")
    model, faults = check_folder(tmp_path / "model")
    assert faults == []
    apply_model(kafka, model, signing_key(tmp_path / "key"))
    return read_documents(kafka)


def _read(kafka: KafkaSettings, topic: str) -> Iterator[tuple[int, str, dict[str, codec.Value]]]:
    """(partition, contract, value) of every message of a topic, control records and all."""
    for partition in range(PARTITIONS):
        for _, _, _, raw in messages_of(kafka, topic_name(kafka, topic), partition):
            contract = codec.contract_of(raw or b"")
            assert raw is not None
            assert contract is not None
            yield partition, contract, codec.read(contract, raw)


def _check_clocks(kafka: KafkaSettings, simulator: Simulator, feed: Feed) -> None:
    events = 0
    for topic in INPUTS:
        clocks: dict[int, list[int]] = {partition: [] for partition in range(PARTITIONS)}
        for partition, contract, value in _read(kafka, topic):
            if contract == "tick":
                clocks[partition].append(int(str(value["clock_ms"])))
            elif contract in ("waste_event", "vehicle_event"):
                events += 1
                assert int(str(value["time_ms"])) <= clocks[partition][-1] + 10_000
        expected = [simulator.start_ms + 10_000 * i for i in range(STEPS + 1)]
        assert all(heard == expected for heard in clocks.values()), topic
    assert events == feed.events > 0
    assert {WASTE_EVENTS, VEHICLE_EVENTS} <= set(INPUTS)


def test_order_of_a_simulation(kafka: KafkaSettings, documents: dict[str, Document]) -> None:
    """In each partition: config, the start, backfill, then live; every reading of the simulator, by its number.

    And each partition of each input topic has the start and then a tick every ten seconds; events come before theirs.
    """
    simulator = Simulator(days=0)
    with BatchWriter(kafka, documents) as writer:
        feed = Feed(simulator, writer, documents, PARTITIONS)
        feed.begin()
        feed.backfill()
        for _ in range(STEPS):
            feed.step()
    again = Simulator(days=0)
    sent = list(again.history()) + [batch for _ in range(STEPS) for batch in again.step().batches]
    number = {site: known_numbers(document) for site, document in documents.items()}
    expected = {
        (batch.site, number[batch.site][points()[point].id], int(time_ms), int(value))
        for batch in sent
        for time_ms, point, value in zip(batch.times_ms, batch.points, batch.values, strict=True)
    }
    found: set[tuple[str, int, int, int]] = set()
    stages: dict[int, list[str]] = {partition: [] for partition in range(PARTITIONS)}
    for partition, contract, value in _read(kafka, METER_READINGS):
        stage = str(value["mode"]) if contract == "meter_batch" else contract
        if not stages[partition] or stages[partition][-1] != stage:
            stages[partition].append(stage)
        if contract == "meter_batch":
            readings = np.asarray([(r["point"], r["offset_ms"], r["value"]) for r in value["readings"]], np.int64)  # type: ignore[index, union-attr, call-overload]
            base_ms = int(str(value["base_ms"]))
            found |= {(str(value["site"]), int(p), base_ms + int(o), int(v)) for p, o, v in readings}
    assert found == expected
    assert feed.readings == len(expected)
    for partition, found_stages in stages.items():
        assert found_stages[:4] == ["config_record", "tick", "backfill", "live"], partition
        assert set(found_stages[4:]) == {"tick", "live"}
    _check_clocks(kafka, simulator, feed)


def test_run_ends_when_told_and_flushes(kafka: KafkaSettings, documents: dict[str, Document]) -> None:
    """A run that is told to stop ends with everything at the broker: the last tick is in every partition."""
    simulator = Simulator(days=0)
    stop = threading.Event()
    with BatchWriter(kafka, documents) as writer:
        feed = Feed(simulator, writer, documents, PARTITIONS)
        feed.begin()
        feed.backfill()
        runner = threading.Thread(target=feed.run, args=(stop, 1e9))
        runner.start()
        while feed.clock_ms < simulator.start_ms + 120_000:
            assert runner.is_alive()
            runner.join(0.01)
        stop.set()
        runner.join()
        last = [value["clock_ms"] for _, contract, value in _read(kafka, METER_READINGS) if contract == "tick"]
    assert last.count(feed.clock_ms) == PARTITIONS
    assert feed.clock_ms == simulator.now_ms


def test_another_model_is_refused(documents: dict[str, Document], kafka: KafkaSettings) -> None:
    """A published model without the demo's points is told, before anything is sent."""
    del documents["civic-c"]
    with BatchWriter(kafka, documents) as writer, pytest.raises(ConfigurationError, match="civic-c"):
        Feed(Simulator(days=0), writer, documents, PARTITIONS)
