"""Everything that ClickHouse and the way to it can do to an insert."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from ganzhi.embedded.stack import Stack
from schemas import topics
from schemas.errors import ClickHouseRefused, ClickHouseUnavailable, LogCut, SinkError
from schemas.settings import ClickHouseSettings, KafkaSettings
from sinks.clickhouse import log
from sinks.clickhouse.client import translating, writer
from sinks.clickhouse.faults import KILLED
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.ranges import parse
from tests.sinks.clickhouse.proxy import BadNetwork, Fate
from tests.sinks.clickhouse.world import (
    DEADLINE_S,
    World,
    settings_of,
    sink_process,
    sink_thread,
    wait_drained,
    wait_until,
)


def test_broken_connections_double_nothing(kafka: KafkaSettings, clickhouse: ClickHouseSettings) -> None:
    """Of the first inserts some are cut half-way, and of some the answer is lost: each row is there once."""
    order: tuple[Fate, ...] = ("lose answer", "cut body", "pass")
    migrate(clickhouse)
    with BadNetwork(clickhouse.host, clickhouse.port, lambda n: order[n % 3] if n < 24 else "pass") as network:
        near = clickhouse.model_copy(update={"port": network.port})
        settings = settings_of(kafka, near)
        world = World(settings)
        world.grow(3)
        with sink_thread(settings):
            wait_drained(settings)
            world.grow(3)
            wait_drained(settings)
        assert network.fates[:4] == ["lose answer", "cut body", "pass", "lose answer"]
        world.check()


def test_servers_killed_in_inserts(own_stack: Callable[..., Stack]) -> None:
    """Kill -9 of ClickHouse again and again while the sink writes loses and doubles nothing."""
    stack = own_stack()
    settings = settings_of(
        stack.kafka_settings, stack.clickhouse_settings.model_copy(update={"database": "killed"}), flush_interval_s=0.05
    )
    world = World(settings)
    with sink_thread(settings):
        for _ in range(2):
            world.grow(8)
            wait_until(lambda: bool(log_started(settings.clickhouse)), "tables")
            stack.clickhouse.kill()
            world.grow(8)
            stack.clickhouse.start()
            stack.clickhouse.wait_ready()
        world.grow(8)
        wait_drained(settings)
    world.check()


def log_started(settings: ClickHouseSettings) -> int:
    """Rows of event_log; 0 while there is no such table."""
    client = writer(settings, database=False)
    try:
        rows = client.query(
            f"SELECT total_rows FROM system.tables WHERE database = '{settings.database}' AND name = 'event_log'"
        ).result_rows
        return int(rows[0][0]) if rows else 0
    finally:
        client.close()


def test_refused_block_stops_with_the_reason(kafka: KafkaSettings, clickhouse: ClickHouseSettings) -> None:
    """A table that is gone ends the sink with ClickHouse's own message; once it is mended nothing is missing."""
    settings = settings_of(kafka, clickhouse)
    world = World(settings)
    world.grow()
    migrate(clickhouse)
    client = writer(clickhouse)
    client.command("RENAME TABLE ledger TO ledger_elsewhere")
    with pytest.raises(ClickHouseRefused, match="ledger") as refused, sink_thread(settings) as thread:
        thread.join(DEADLINE_S)
    assert refused.value.code == 60
    client.command("RENAME TABLE ledger_elsewhere TO ledger")
    client.close()
    with sink_thread(settings):
        wait_drained(settings)
    world.check()


def test_old_range_is_asked_for(kafka: KafkaSettings, clickhouse: ClickHouseSettings, tmp_path: Path) -> None:
    """Where tokens cannot be trusted any more, an open range is completed by what is missing, and not doubled."""
    settings = settings_of(kafka, clickhouse, instance="one")
    world = World(settings)
    world.grow(3)
    process = sink_process(settings, tmp_path, "sink.after_insert.ledger")
    assert process.wait(DEADLINE_S) == KILLED
    consumer = log.observer(settings)
    places = [(topic, partition) for topic in (*topics.INPUTS, *topics.OUTPUTS) for partition in (0, 1)]
    found = log.committed(consumer, settings.kafka, places)
    # Another encoder's tokens are other tokens: without asking, every block would be inserted a second time.
    old = {place: (offset, re.sub(r" e\d+ t\d+ ", " e0 t1 ", text)) for place, (offset, text) in found.items() if text}
    assert len(old) >= 6
    assert parse(next(iter(old.values()))[1]).encoder == 0
    offsets = [TopicPartition(settings.kafka.prefix + t, p, offset, text) for (t, p), (offset, text) in old.items()]

    def rewritten() -> bool:
        try:
            consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException:  # the dead member is not given up yet
            return False
        return True

    wait_until(rewritten, "metadata of a time long past")
    consumer.close()
    with sink_thread(settings):
        wait_drained(settings)
    world.check()


def test_log_that_was_cut_is_refused(kafka: KafkaSettings, clickhouse: ClickHouseSettings) -> None:
    """A sink whose next messages were deleted from the log says so and stops; it never skips them."""
    settings = settings_of(kafka, clickhouse, instance="one")
    world = World(settings)
    world.grow()
    with sink_thread(settings):
        wait_drained(settings)
    world.grow(5)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    part = TopicPartition(kafka.prefix + topics.METER_READINGS, 0, 3)
    for deleted in admin.delete_records([part]).values():
        deleted.result(10)
    with pytest.raises(LogCut, match=r"meter\.readings"), sink_thread(settings) as thread:
        thread.join(DEADLINE_S)


def test_foreign_metadata_is_refused(kafka: KafkaSettings, clickhouse: ClickHouseSettings) -> None:
    """Metadata that no sink wrote stops the sink instead of being passed over: a range may be open behind it."""
    settings = settings_of(kafka, clickhouse)
    World(settings).grow()
    consumer = log.observer(settings)
    consumer.commit(offsets=[TopicPartition(kafka.prefix + topics.LEDGER, 0, 0, "someone else's")], asynchronous=False)
    consumer.close()
    with pytest.raises(SinkError, match="cannot read"), sink_thread(settings) as thread:
        thread.join(DEADLINE_S)


def test_nobody_listens(clickhouse: ClickHouseSettings) -> None:
    """No server, a wrong password and a wrong statement are three different errors."""
    with pytest.raises(ClickHouseUnavailable):
        writer(clickhouse.model_copy(update={"port": 1}))
    with pytest.raises(ClickHouseRefused) as refused:
        writer(clickhouse.model_copy(update={"writer_user": "nobody"}))
    assert refused.value.code == 516
    client = writer(clickhouse)
    with pytest.raises(ClickHouseRefused) as wrong, translating(clickhouse):
        client.command("SELECT nothing FROM nowhere")
    assert wrong.value.code == 60
    client.close()
