"""Everything together: Kafka, a worker, the sink and ClickHouse, fed as fast as it goes."""

import time
from typing import Final

import clickhouse_connect

from ganzhi.bench.figure import Bench, Options, Promise, Row
from ganzhi.bench.live import GATEWAYS, rooms_loads
from ganzhi.bench.rig import PARTITIONS, Rig, spent
from sinks.clickhouse.migrate import migrate

READINGS: Final = 10_000_000
PROCESSES: Final = ("worker", "sink", "kafka", "clickhouse")


def run(options: Options) -> list[Row]:
    """Readings and ledger in ClickHouse must be all of them, and the usage last minus first.

    Raises:
        StackError: it does not finish in time.
    """
    loads = rooms_loads(options.readings or READINGS)
    readings = sum(load.readings for load in loads)
    with Rig(options.report) as rig:
        migrate(rig.settings.clickhouse)
        rig.configure(loads)
        rig.start("worker", "worker")
        rig.start("sink", "sink")
        clickhouse = rig.settings.clickhouse
        client = clickhouse_connect.get_client(
            host=clickhouse.host,
            port=clickhouse.port,
            username=clickhouse.writer_user,
            password=clickhouse.writer_password.get_secret_value(),
            database=clickhouse.database,
            autogenerate_session_id=False,
        )

        def number(query: str) -> int:
            return int(client.query(query).result_rows[0][0])

        def through(readings: int) -> int:
            """Waits for the worker, then until its ledger and so many readings are stored; the rows of the ledger."""
            rig.reach(counts)
            ledger = rig.published_rows("ledger")
            rig.wait(lambda: number(count["readings"]) >= readings and number(count["ledger"]) >= ledger, "the sink")
            return ledger

        count = {name: f"SELECT count() FROM {name}" for name in ("readings", "ledger")}
        counts = dict.fromkeys(range(PARTITIONS), 1)
        streams = [load.batches() for load in loads]
        # Everything has compiled and connected once a first round is through: a tick and a batch of each gateway.
        rig.feed(loads, streams, counts, 1 + GATEWAYS)
        first = sum(load.gateways * load.per_gateway for load in loads)
        before_rows = through(first)
        before, begin_s = rig.cpu_s(), time.monotonic()
        rig.feed(loads, streams, counts)
        ledger = through(readings)
        wall_s, used = time.monotonic() - begin_s, spent(before, rig.cpu_s(), PROCESSES)
        stored = number(count["readings"]), number(count["ledger"])
        total = number("SELECT sum(quantity) FROM ledger")
        parts = "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = currentDatabase() AND table = "
        sizes = {name: number(f"{parts}'{name}'") for name in ("readings", "event_log")}
        client.close()
    correct = stored == (readings, ledger) and total == sum(load.expected() for load in loads)
    figures = {
        "wall_readings_per_s": int((readings - first) / wall_s),
        "sink_clickhouse_cpu_s_per_million_rows": round(
            (used["sink"] + used["clickhouse"]) / (readings - first + ledger - before_rows) * 1e6, 3
        ),
        "readings_bytes_per_reading": round(sizes["readings"] / readings, 2),
        "event_log_bytes_per_reading": round(sizes["event_log"] / readings, 2),
    }
    return [Row(correct, readings - first, used, figures)]


BENCH: Final = Bench(
    "pipeline",
    "Kafka, worker, sink and ClickHouse together, fed as fast as it goes, rules on",
    [
        Promise("wall_readings_per_s", "least", 3_000_000),
        Promise("sink_clickhouse_cpu_s_per_million_rows", "most", 0.25),
        Promise("readings_bytes_per_reading", "most", 4),
        Promise("event_log_bytes_per_reading", "most", 8),
    ],
    run,
)
