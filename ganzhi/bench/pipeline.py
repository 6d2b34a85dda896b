"""Everything together: Kafka, a worker, the sink and ClickHouse, topics loaded before."""

import time
from typing import Final

import clickhouse_connect

from ganzhi.bench.figure import Bench, Options, Promise, Row
from ganzhi.bench.live import rooms_loads
from ganzhi.bench.rig import Rig, spent
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
        counts = rig.produce(loads)
        before = rig.cpu_s()
        begin_s = time.monotonic()
        rig.start("worker", "worker")
        rig.start("sink", "sink")
        rig.reach({number: 1 + count for number, count in counts.items()})
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

        ledger = rig.published_rows("ledger")
        count = {name: f"SELECT count() FROM {name}" for name in ("readings", "ledger")}
        rig.wait(lambda: number(count["readings"]) >= readings and number(count["ledger"]) >= ledger, "the sink")
        wall_s = time.monotonic() - begin_s
        used = spent(before | dict.fromkeys(("worker", "sink"), 0.0), rig.cpu_s(), PROCESSES)
        stored = number(count["readings"]), number(count["ledger"])
        total = number("SELECT sum(quantity) FROM ledger")
        parts = "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = currentDatabase() AND table = "
        sizes = {name: number(f"{parts}'{name}'") for name in ("readings", "event_log")}
        client.close()
    correct = stored == (readings, ledger) and total == sum(load.expected() for load in loads)
    figures = {
        "wall_readings_per_s": int(readings / wall_s),
        "sink_clickhouse_cpu_s_per_million_rows": round(
            (used["sink"] + used["clickhouse"]) / (readings + ledger) * 1e6, 3
        ),
        "readings_bytes_per_reading": round(sizes["readings"] / readings, 2),
        "event_log_bytes_per_reading": round(sizes["event_log"] / readings, 2),
    }
    return [Row(correct, readings, used, figures)]


BENCH: Final = Bench(
    "pipeline",
    "Kafka, worker, sink and ClickHouse together, topics loaded before, rules on",
    [
        Promise("wall_readings_per_s", "least", 3_000_000),
        Promise("sink_clickhouse_cpu_s_per_million_rows", "most", 0.25),
        Promise("readings_bytes_per_reading", "most", 4),
        Promise("event_log_bytes_per_reading", "most", 8),
    ],
    run,
)
