"""From topics to tables: equal, exactly once, whatever dies in between."""

from pathlib import Path

from schemas import codec, topics
from schemas.settings import ClickHouseSettings, KafkaSettings
from sinks.clickhouse.client import reader
from sinks.clickhouse.faults import KILLED
from sinks.clickhouse.progress import drained, lag
from tests.sinks.clickhouse.world import (
    DEADLINE_S,
    World,
    settings_of,
    sink_process,
    sink_thread,
    wait_drained,
    wait_until,
)

#: Between every two steps of a range: intent, a block into each table, ends.
FAULTS = (
    "sink.before_intent",
    "sink.after_intent",
    "sink.after_insert.event_log",
    "sink.after_insert.readings",
    "sink.after_insert.ledger",
    "sink.after_insert.alert_events",
    "sink.before_ends",
    "sink.after_ends",
)


def test_tables_equal_topics(kafka: KafkaSettings, clickhouse: ClickHouseSettings) -> None:
    """What is in the topics is in the tables, once, also after a stop in the middle; aborted messages are not."""
    settings = settings_of(kafka, clickhouse)
    world = World(settings)
    world.grow(3)
    with sink_thread(settings):
        wait_drained(settings)
        world.check()
        world.grow(5)
    with sink_thread(settings):
        world.grow(2)
        wait_drained(settings)
    world.check()
    assert lag(settings) == {}


def test_kill_between_every_two_steps(kafka: KafkaSettings, clickhouse: ClickHouseSettings, tmp_path: Path) -> None:
    """A sink that is killed between any two steps of a range, eight times on end, loses and doubles nothing."""
    settings = settings_of(kafka, clickhouse, instance="one")
    world = World(settings)
    for fault in FAULTS:
        world.grow(2)
        process = sink_process(settings, tmp_path, fault)
        assert process.wait(DEADLINE_S) == KILLED, fault
        assert fault == "sink.after_ends" or not drained(settings)
    world.grow()
    process = sink_process(settings, tmp_path)
    try:
        wait_drained(settings)
    finally:
        process.terminate()
    assert process.wait(DEADLINE_S) == 0
    assert "left open" in (tmp_path / "sink.log").read_text()
    world.check()


def test_input_that_cannot_be_read_is_archived(kafka: KafkaSettings, clickhouse: ClickHouseSettings) -> None:
    """Garbage, hostile times and tombstones in the inputs are in event_log byte for byte, and nowhere else."""
    settings = settings_of(kafka, clickhouse)
    world = World(settings)
    world.send(topics.METER_READINGS, b"\x00garbage", None)
    world.send(topics.METER_READINGS, codec.header("meter_batch") + b"\xff" * 40, b"")
    world.send(topics.METER_READINGS, None, b"site-0")
    reading = {"point": 1, "offset_ms": 0, "value": 5, "quality": "good"}
    for base_ms in (-(1 << 53), 0, 1 << 52):
        batch = {"site": "s", "gateway": "g", "mode": "live", "base_ms": base_ms, "readings": [reading]}
        world.send(topics.METER_READINGS, codec.write("meter_batch", batch), b"s")
    with sink_thread(settings):
        wait_drained(settings)
        world.check()
        client = reader(settings.clickhouse)
        assert client.query("SELECT sum(nulls = 1), sum(nulls = 2), count() FROM event_log").result_rows == [(1, 1, 6)]


def test_unreadable_output_is_kept(kafka: KafkaSettings, clickhouse: ClickHouseSettings) -> None:
    """A message in an output topic that is not ours is kept whole in `unreadable`, and the rest goes on."""
    settings = settings_of(kafka, clickhouse)
    world = World(settings)
    world.send(topics.LEDGER, codec.header("ledger_rows") + b"\x01", b"k")
    world.send(topics.ALERTS, b"no contract", None, partition=1)
    world.grow()
    with sink_thread(settings):
        wait_drained(settings)
    client = reader(settings.clickhouse)
    rows = client.query(
        "SELECT topic, partition, value FROM unreadable ORDER BY topic", column_formats={"value": "bytes"}
    ).result_rows
    assert rows == [("alerts", 1, b"no contract"), ("ledger", 0, codec.header("ledger_rows") + b"\x01")]
    assert client.query("SELECT count() FROM ledger").result_rows == [(len(world.ledger),)]


def test_two_sinks_share_and_take_over(kafka: KafkaSettings, clickhouse: ClickHouseSettings, tmp_path: Path) -> None:
    """Two sinks share partitions, one is killed, a third joins: the tables are as if one had run."""
    settings = settings_of(kafka, clickhouse)
    world = World(settings)
    world.grow(4)
    alone = sink_process(settings, tmp_path, "sink.after_insert.readings")
    assert alone.wait(DEADLINE_S) == KILLED  # a range over all partitions is open, some of its tables are done
    processes = [sink_process(settings, tmp_path) for _ in range(2)]
    try:
        for _ in range(10):
            world.grow()
        wait_drained(settings)
        processes[0].kill()
        processes[0].wait(DEADLINE_S)
        world.grow(4)
        processes.append(sink_process(settings, tmp_path))
        wait_drained(settings)
        for process in processes[1:]:
            process.terminate()
            assert process.wait(DEADLINE_S) == 0
    finally:
        for process in processes:
            process.kill()
    world.check()
    owners = (tmp_path / "sink.log").read_text()
    assert " 9 partitions are mine" in owners or "10 partitions are mine" in owners, "both had some"
    wait_until(lambda: not lag(settings), "no lag")
