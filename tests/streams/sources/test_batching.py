"""What is sent is in the log: once, in order, in the pinned partition, also when the broker was away."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ganzhi.embedded.kafka import EmbeddedKafka
from ganzhi.embedded.ports import choose_free
from schemas import codec
from schemas.errors import ConfigurationError, DecodeError, KafkaUnavailable, LogError
from schemas.settings import KafkaSettings
from streams.sources.batching import BatchWriter
from streams.sources.catalog import Catalog
from streams.sources.csv_events import complete
from tests.streams.sources import sites


def send(writer: BatchWriter, count: int, first: int = 0, site: str = "here", gateway: str = "g1") -> None:
    """Sends readings whose value is their number."""
    values = np.arange(first, first + count, dtype=np.int64)
    points, qualities = np.full(count, 1, np.int32), np.zeros(count, np.int8)
    writer.send(site, gateway, "live", 1_600_000_000_000 + values * 1000, points, values, qualities)


def test_order_key_partition_and_cuts(kafka: KafkaSettings, tmp_path: Path) -> None:
    """2,500 readings, an event and a tick arrive in the order of the calls, 1,000 a message, keyed by site."""
    sites.topics(kafka)
    with BatchWriter(kafka, sites.documents(tmp_path)) as writer:
        send(writer, 2500)
        writer.add("here", "g1", 1, 5, 6)
        send(writer, 1, first=2500)
        writer.add("here", "g1", 1, 5, 7)
        writer.tick("meter.readings", 1, 77)
        send(writer, 1, site="there", gateway="g3")
    found = list(sites.messages(kafka, "meter.readings"))
    batches = [codec.read("meter_batch", raw) for _, _, raw in found if codec.contract_of(raw) == "meter_batch"]

    assert [(partition, key) for partition, key, _ in found] == [(1, b"here")] * 6 + [(1, None), (2, b"there")]
    assert [len(batch["readings"]) for batch in batches] == [1000, 1000, 500, 1, 1, 1, 1]  # type: ignore[arg-type]
    assert [reading[5] for reading in sites.readings(kafka)] == [*range(2500), 6, 2500, 7, 0]
    assert codec.read("tick", found[6][2]) == {"clock_ms": 77}
    assert (writer.readings, writer.messages) == (2504, 8)


def test_live_readings_are_collected_by_gateway(kafka: KafkaSettings, tmp_path: Path) -> None:
    """Single readings become one message a gateway and mode; the thousandth sends them, or what comes after."""
    sites.topics(kafka)
    event = {"site": "here", "event_id": "e", "time_ms": 10**12, "kind": "fill"}
    full = complete("waste_event", event, Catalog({})).value
    with BatchWriter(kafka, sites.documents(tmp_path)) as writer:
        for value in range(1001):
            writer.add("here", "g1", 1, 1_600_000_000_000 + value, value)
        writer.add("here", "g2", 3, 1_600_000_000_000, 7)
        writer.add("here", "g1", 1, 1_600_000_000_000, 8, mode="backfill")
        before = writer.messages
        writer.event("waste.events", "here", "waste_event", full)
        after = writer.messages

    assert (before, after) == (1, 5)
    assert [reading[5] for reading in sites.readings(kafka) if reading[1:3] == ("g1", "live")] == list(range(1001))


def test_a_live_reading_waits_a_second_at_most(
    kafka: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`poll` sends what has waited for a second, and nothing that has not."""
    sites.topics(kafka)
    now_s = 100.0
    monkeypatch.setattr("streams.sources.batching.time.monotonic", lambda: now_s)
    with BatchWriter(kafka, sites.documents(tmp_path)) as writer:
        writer.add("here", "g1", 1, 1_600_000_000_000, 1)
        now_s = 100.9
        writer.poll()
        before = writer.messages
        now_s = 101.0
        writer.poll()
        assert (before, writer.messages) == (0, 1)


def test_what_cannot_be_sent(kafka: KafkaSettings, tmp_path: Path) -> None:
    """An unknown site, an event that breaks its contract and a missing topic are errors that say what to do."""
    writer = BatchWriter(kafka, sites.documents(tmp_path))
    with pytest.raises(ConfigurationError, match="ganzhi apply"):
        send(writer, 1, site="nowhere")
    with pytest.raises(DecodeError):
        writer.event("waste.events", "here", "waste_event", {"site": "here"})
    send(writer, 1)
    with pytest.raises(LogError, match="ganzhi apply"):
        writer.flush()


def test_a_broker_that_is_away_is_waited_for(tmp_path: Path) -> None:
    """Killed in the middle of a run, the broker has all of it once and in order when it is back; the writer says so."""
    node = EmbeddedKafka(tmp_path / "kafka", choose_free())
    said: list[str] = []
    try:
        node.start()
        node.wait_ready()
        kafka = sites.topics(KafkaSettings(bootstrap=node.bootstrap))
        with BatchWriter(kafka, sites.documents(tmp_path / "model"), said.append) as writer:
            send(writer, 50_000)
            writer.flush(20)
            node.kill()
            send(writer, 50_000, first=50_000)
            until(lambda: bool(said), writer)
            node.start()
            node.wait_ready()

        assert [reading[5] for reading in sites.readings(kafka)] == list(range(100_000))
        assert "has taken nothing for" in said[0]
        assert "takes messages again" in said[-1]
    finally:
        node.kill()


def until(done: Callable[[], bool], writer: BatchWriter) -> None:
    """Flushes again and again; the broker is away, so that each try says that messages wait."""
    while not done():
        with pytest.raises(KafkaUnavailable, match="still wait"):
            writer.flush(0.2)
