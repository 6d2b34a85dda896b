"""What system tests share: one recorded load, whole systems that are fed with it, and their rows to compare.

The load is an hour and more of the demo's city, recorded from the log of an undisturbed run. A run that is disturbed
gets the same bytes in the same order, so its rows must be the same, but for when a message came (`known_at`) and where
it lies (`offset`).
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import clickhouse_connect

from ganzhi.datasets.loading import apply_folder
from ganzhi.demo.feed import Feed
from ganzhi.demo.model import write_model
from ganzhi.demo.simulator import Simulator
from ganzhi.embedded.system import System
from replay.kafka_log import KafkaHistory
from replay.table_log import TableHistory
from replay.verify import Verification, verify
from schemas import codec
from schemas.control import signing_key
from schemas.errors import ChildDied
from schemas.settings import Settings, data_home
from schemas.topics import CONFIG, INPUTS, OUTPUTS, topic_name
from sinks.clickhouse import log
from sinks.clickhouse.blocks import TOPICS
from streams.kafka_admin import watermarks
from streams.published import read_documents
from streams.sources.batching import BatchWriter
from tests.streams.log import messages_of, producer

LIMIT_S: Final = 240.0
STEPS: Final = 240
"""Of ten seconds: forty minutes, in which lights, air conditioning and water are found."""

STREAM_OF: Final = {
    "ledger_rows": "ledger", "gauge_rows": "gauges", "alert_rows": "alerts", "episode_rows": "episodes",
    "verdict_rows": "verdicts", "rejected_rows": "rejected",
}  # fmt: skip
STORED: Final = {
    "ledger": "ledger", "gauges": "gauges", "alerts": "alert_events", "episodes": "episode_parts",
    "verdicts": "verdicts", "rejected": "rejected",
}  # fmt: skip
"""Stream → table."""
WHEN: Final = frozenset(("known_at", "offset"))
"""What differs between two runs of the same load."""

Rows = dict[str, list[tuple[Any, ...]]]
Place = tuple[str, int]
Messages = list[tuple[bytes | None, bytes | None]]


@dataclass(frozen=True)
class Load:
    """A recorded load: the messages of each partition of `config` and of the inputs, in their order."""

    messages: dict[Place, Messages]

    @classmethod
    def record(cls, settings: Settings) -> "Load":
        """Reads it from a log."""
        kafka = settings.kafka
        places = [(CONFIG, 0)] + [(topic, partition) for topic in INPUTS for partition in range(kafka.partitions)]
        return cls(
            {
                (name, partition): [(m[2], m[3]) for m in messages_of(kafka, topic_name(kafka, name), partition)]
                for name, partition in places
            }
        )

    @property
    def count(self) -> int:
        """Messages of the inputs."""
        return sum(len(messages) for (name, _), messages in self.messages.items() if name != CONFIG)


class Sender:
    """Sends a load into another log, part by part; what a broker that is away does not take waits."""

    def __init__(self, settings: Settings, load: Load) -> None:
        self._kafka = settings.kafka
        self._load = load
        self._sent = dict.fromkeys(load.messages, 0)
        self._producer = producer(settings.kafka, enable_idempotence=True, message_timeout_ms=0, log_level=0)
        self._send((CONFIG, 0), 1.0)

    def send(self, share: float) -> None:
        """Everything up to that share of each partition; does not wait for the broker."""
        for place in self._load.messages:
            if place[0] != CONFIG:
                self._send(place, share)

    def flush(self) -> None:
        """Waits until the broker has all that was sent."""
        assert self._producer.flush(LIMIT_S) == 0

    def _send(self, place: Place, share: float) -> None:
        messages = self._load.messages[place]
        end = round(len(messages) * share)
        for key, value in messages[self._sent[place] : end]:
            self._producer.produce(topic_name(self._kafka, place[0]), value, key, place[1])
            self._producer.poll(0)
        self._sent[place] = end


def feed_demo(settings: Settings, folder: Path, steps: int = STEPS) -> None:
    """Applies the demo's model and sends its city's first minutes."""
    write_model(folder)
    apply_folder(settings.kafka, folder, signing_key(data_home(settings.profile)))
    documents = read_documents(settings.kafka)
    with BatchWriter(settings.kafka, documents) as writer:
        feed = Feed(Simulator(days=0), writer, documents, settings.kafka.partitions)
        feed.begin()
        feed.backfill()
        for _ in range(steps):
            feed.step()


def until(done: Callable[[], bool], what: str, system: System) -> None:
    """Looks after a system until something is so.

    Raises:
        AssertionError: it is not so in time; with the last words of the children.
    """
    deadline_s = time.monotonic() + LIMIT_S
    while not done():
        system.keep()
        assert time.monotonic() < deadline_s, f"{what}: not within {LIMIT_S:.0f} s\n{last_words(system)}"
        time.sleep(0.1)


def last_words(system: System) -> str:
    """The ends of the children's logs."""
    files = sorted((system.stack.folder / "logs").glob("*.log"))
    return "\n".join(f"--- {file.name}\n" + "\n".join(file.read_text().splitlines()[-30:]) for file in files)


def ends(settings: Settings) -> dict[Place, int]:
    """Where each input partition ends now."""
    kafka = settings.kafka
    return {
        (name, partition): high
        for name in INPUTS
        for partition, (_, high) in watermarks(kafka, topic_name(kafka, name), range(kafka.partitions)).items()
    }


def computed(settings: Settings) -> int:
    """How many input messages the workers have committed."""
    return sum(position.offset for position in KafkaHistory(settings.kafka).positions().values())


def settle(system: System) -> None:
    """Waits until everything that is in the log now is computed and stored."""
    settings = system.settings
    wanted = {place: end for place, end in ends(settings).items() if end}

    def is_computed() -> bool:
        found = KafkaHistory(settings.kafka).positions()
        return all(place in found and found[place].offset >= end for place, end in wanted.items())

    until(is_computed, "computed", system)
    consumer = log.observer(settings)
    try:
        # Where the topics end now, all of them: a live system's clock adds ticks for ever.
        highs = {place: high for place, _, high in log.ends(consumer, settings.kafka, TOPICS, LIMIT_S) if high}

        def is_stored() -> bool:
            stored = log.committed(consumer, settings.kafka, sorted(highs), LIMIT_S)
            return all(stored[place][0] >= high for place, high in highs.items())

        until(is_stored, "stored", system)
    finally:
        consumer.close()


def alive(system: System, name: str) -> bool:
    """Whether a child runs."""
    try:
        return system.child(name).alive()
    except ChildDied:
        return False


def published(settings: Settings) -> Rows:
    """The rows of each stream as a read_committed reader sees them, sorted, without `known_at` and `offset`.

    Sequences must have neither hole nor repeat.
    """
    kafka = settings.kafka
    rows: Rows = {stream: [] for stream in STORED}
    counts: dict[tuple[str, int, str], int] = {}
    for name in OUTPUTS:
        for partition in range(kafka.partitions):
            for _, _, _, value in messages_of(kafka, topic_name(kafka, name), partition):
                contract = codec.contract_of(value or b"") or ""
                stream = STREAM_OF[contract]
                message: dict[str, Any] = codec.read(contract, value or b"")
                task = (message["topic"], message["partition"], stream)
                assert message["partition"] == partition
                assert message["sequence"] == counts.get(task, 0), task
                counts[task] = message["sequence"] + len(message["rows"])
                rows[stream] += _named(message)
    return {stream: sorted(found) for stream, found in rows.items()}


def _named(message: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    sites = message.get("sites")
    for number, row in enumerate(message["rows"]):
        named = row | ({"site": sites[row["site"]]} if sites else {})
        fields = tuple(sorted((k, v) for k, v in named.items() if k not in WHEN))
        yield message["topic"], message["partition"], message["sequence"] + number, fields


class Store:
    """The writer's eyes on ClickHouse; a context manager."""

    def __init__(self, settings: Settings) -> None:
        house = settings.clickhouse
        self.client = clickhouse_connect.get_client(
            host=house.host,
            port=house.port,
            username=house.writer_user,
            password=house.writer_password.get_secret_value(),
            database=house.database,
            autogenerate_session_id=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.client.close()

    def rows(self) -> dict[str, list[str]]:
        """The rows of each stream's table, sorted, without `known_at` and `offset`; sequences as of `published`."""
        found = {}
        for stream, table in STORED.items():
            holes = self.client.query(
                f"SELECT topic, partition, count(), uniqExact(sequence), max(sequence) + 1 AS end FROM {table}"
                " GROUP BY topic, partition HAVING count() != end OR uniqExact(sequence) != end"
            ).result_rows
            assert not holes, (table, holes)
            raw = self.client.raw_query(f"SELECT * EXCEPT (known_at, offset) FROM {table}", fmt="TSV")
            found[stream] = sorted(raw.decode().splitlines())
        return found

    def inputs(self) -> dict[str, tuple[int, int]]:
        """Count and sum of hashes of the rows of the tables that hold input."""
        found = {}
        for table, without in (
            ("readings", "offset"),
            ("waste_events", "known_at, offset"),
            ("vehicle_events", "known_at, offset"),
            ("event_log", "timestamp"),
        ):
            where = " WHERE topic != 'config'" if table == "event_log" else ""
            ((count, total),) = self.client.query(
                f"SELECT count(), sum(sipHash64(tuple(* EXCEPT ({without})))) FROM {table}{where}"
            ).result_rows
            found[table] = (count, total)
        return found


@dataclass(frozen=True)
class Result:
    """All that a run left behind, in Kafka and in ClickHouse."""

    published: Rows
    stored: dict[str, list[str]]
    inputs: dict[str, tuple[int, int]]


def result(settings: Settings) -> Result:
    """What a settled run left behind."""
    with Store(settings) as store:
        return Result(published(settings), store.rows(), store.inputs())


def verified(settings: Settings) -> tuple[Verification, Verification]:
    """The replay of a settled run, from Kafka and from `event_log`."""
    return verify(KafkaHistory(settings.kafka)), verify(TableHistory(settings.clickhouse))
