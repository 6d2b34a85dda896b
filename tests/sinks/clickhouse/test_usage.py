"""Usage by hour against the ledger: what a server lost between the two is found, and made anew to the unit."""

from schemas.settings import ClickHouseSettings, KafkaSettings
from sinks.clickhouse import usage
from sinks.clickhouse.client import reader, writer
from tests.sinks.clickhouse.world import World, settings_of, sink_thread, wait_drained

HOURLY = "SELECT site, point, hour, quantity, not_measured, ledger_rows FROM usage_hourly ORDER BY ALL"


def test_usage_that_lacks_is_found_and_made_anew(kafka: KafkaSettings, clickhouse: ClickHouseSettings) -> None:
    """A month that is gone, one with rows twice, and afterwards every hour as the view had made it."""
    world = World(settings_of(kafka, clickhouse))
    with sink_thread(world.settings):
        world.grow(4)
        wait_drained(world.settings)
    client, one = reader(clickhouse), writer(clickhouse)
    before = client.query(HOURLY).result_rows
    assert before
    assert usage.lacking(clickhouse) == []
    month = int(client.query("SELECT toYYYYMM(min(hour)) FROM usage_store").result_rows[0][0])
    one.command(f"INSERT INTO usage_store SELECT * FROM usage_store WHERE toYYYYMM(hour) = {month} LIMIT 1")
    (found,) = usage.lacking(clickhouse)
    assert (found.month, found.rows < 0) == (month, True)
    one.command(f"ALTER TABLE usage_store DROP PARTITION {month}")
    (found,) = usage.lacking(clickhouse)
    rows, quantity = client.query("SELECT count(), sum(quantity) FROM ledger").result_rows[0]
    assert (found.month, found.rows, found.quantity) == (month, rows, quantity)
    usage.make_anew(clickhouse, [month])
    assert usage.lacking(clickhouse) == []
    assert client.query(HOURLY).result_rows == before
    client.close()
    one.close()
