"""The public data sets through the whole system: totals by SQL equal totals of the files."""

import time
from collections.abc import Callable
from datetime import date
from importlib import resources

import clickhouse_connect
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from ganzhi.datasets.loading import import_dataset
from ganzhi.datasets.registry import find
from ganzhi.embedded.system import System
from schemas.codec import contract_of
from schemas.control import signing_key
from schemas.decode_rows import read_rows
from schemas.kafka import client_config, group_name
from schemas.settings import Settings, data_home
from schemas.topics import INPUTS, topic_name
from streams.kafka_admin import watermarks
from streams.sources.rejects import Rejects
from tests.datasets import sums
from tests.streams.sources import sites

LIMIT_S = 120.0
SUMS = {"campus_meters": sums.campus_usage, "litter_bins": sums.litter_mass, "ev_charging": sums.charged}


def load(settings: Settings, name: str) -> None:
    """Imports a data set; nothing of it may be rejected."""
    with Rejects(None) as rejects:
        key = signing_key(data_home(settings.profile))
        import_dataset(settings.kafka, key, find(name), sums.data(name), rejects, lambda _what, _done, _total: None)
        assert rejects.first == []


def totals(settings: Settings, name: str) -> sums.Totals:
    """What the query of the data set answers to a reader, with months as YYYY-MM."""
    house = settings.clickhouse
    client = clickhouse_connect.get_client(
        host=house.host,
        port=house.port,
        username=house.reader_user,
        password=house.reader_password.get_secret_value(),
        database=house.database,
        autogenerate_session_id=False,
    )
    rows = client.query(resources.files(f"ganzhi.datasets.{name}").joinpath("usage.sql").read_text("utf-8")).result_rows
    client.close()
    found: sums.Totals = {}
    for *names, month, quantity in rows:
        assert isinstance(month, date)
        found[(*names, f"{month:%Y-%m}")] = quantity
    return found


def until(system: System, done: Callable[[], bool], what: str) -> None:
    """Looks after the system until something is so."""
    deadline_s = time.monotonic() + LIMIT_S
    while not done():
        system.keep()
        assert time.monotonic() < deadline_s, f"{what}: not within {LIMIT_S:.0f} s"
        time.sleep(0.2)


def applied(settings: Settings) -> Callable[[], bool]:
    """Whether the worker has committed all that is in the input topics now."""
    kafka = settings.kafka
    ends: dict[TopicPartition, int] = {}
    for topic in INPUTS:
        name = topic_name(kafka, topic)
        highs = watermarks(kafka, name, range(kafka.partitions)).items()
        ends |= {TopicPartition(name, partition): high for partition, (_, high) in highs if high}
    admin = AdminClient(client_config(kafka))
    group = ConsumerGroupTopicPartitions(group_name(kafka, settings.worker.group), list(ends))

    def done() -> bool:
        answer = next(iter(admin.list_consumer_group_offsets([group]).values())).result()
        return all(
            place.offset >= ends[TopicPartition(place.topic, place.partition)] for place in answer.topic_partitions
        )

    return done


def ledger_rows(settings: Settings) -> int:
    """Rows that the worker has published in the topic ledger."""
    raws = (raw for _, _, raw in sites.messages(settings.kafka, "ledger"))
    own = (raw for raw in raws if contract_of(raw) == "ledger_rows")
    return sum(read_rows("ledger_rows", raw).matrix.shape[0] for raw in own)


def test_totals_by_sql_equal_totals_of_the_files() -> None:
    """All three data sets, each imported by one call: every total equals the csv module's, to the watt-hour and gram.

    A second import of all of them gives no row of the ledger and changes no total.
    """
    wanted = {name: total(sums.data(name)) for name, total in SUMS.items()}
    with System("datasets", wipe=True, ports="free") as system:
        settings = system.settings
        for name in SUMS:
            load(settings, name)
        for name in SUMS:
            until(system, lambda name=name: totals(settings, name) == wanted[name], name)  # type: ignore[misc]
        until(system, applied(settings), "the first import")
        rows = ledger_rows(settings)
        for name in SUMS:
            load(settings, name)
        until(system, applied(settings), "the second import")

        assert ledger_rows(settings) == rows == 561_024 + 10_000 + 3_395
        assert {name: totals(settings, name) for name in SUMS} == wanted
