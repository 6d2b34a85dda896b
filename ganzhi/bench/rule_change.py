"""A rule is changed while a worker runs: from sending the new document until the alert that it makes can be read.

Nothing is restarted, and no reading comes in between: the new threshold is what raises or ends the alert, at the place
of its record in the log. The demo's largest site, and ten thousand offices under the packs for rooms, meters and water.
"""

import dataclasses
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition

from ganzhi.bench.figure import Bench, Options, Promise, Row
from ganzhi.bench.rig import Rig
from ganzhi.bench.rooms import PACKS, rooms_document
from ganzhi.demo.model import write_model
from schemas import codec
from schemas.encode import encode_batch
from schemas.kafka import client_config
from schemas.model.build import Deployment, build_documents
from schemas.model.check import check_folder
from schemas.model.document import Document
from schemas.settings import KafkaSettings
from schemas.topics import ALERTS, CONFIG, METER_READINGS, topic_name
from streams.published import HEAD, Head

RULE: Final = "Changed"
CHANGES: Final = 6
THRESHOLDS_W: Final = (150, 50)
LIGHT_MW: Final = 100_000
PROMISE: Final = Promise("max_s", "most", 1.0)
_TIMEOUT_S: Final = 120.0


def demo_document() -> Document:
    """The demo's site with most points, by the clock of the log."""
    with tempfile.TemporaryDirectory() as name:
        write_model(Path(name))
        model, faults = check_folder(Path(name))
        assert not faults, faults
        sites = model.rows("sites").texts("id")
        documents = build_documents(model, Deployment(dict.fromkeys(sites, 0), {}, {}, {}))
    largest = max(documents.values(), key=lambda one: len(one.table("points")["id"]))
    return dataclasses.replace(largest, domain="live", partitions={largest.site: 0})


def offices_document(rooms: int) -> Document:
    """Offices of a live site under the packs."""
    pack = "pack: bench\ninclude: [" + ", ".join(f"builtin/{name}" for name in PACKS) + "]\n"
    return rooms_document("bench", 0, max(rooms // 100, 1), min(rooms, 100), "live", pack)


def with_rule(document: Document, threshold_w: int, source: str = "bench") -> Document:
    """The document with one more rule, which is on every space that has a light.

    Args:
        document: without the rule.
        threshold_w: of the rule.
        source: what it says of its threshold; another one makes another document.
    """
    rule: dict[str, codec.Json] = {
        "alert": RULE,
        "each": {"space": ["any"]},
        "roles": {"light": "light_power"},
        "expr": f"light > {threshold_w} W",
        "source": source,
        "annotations": {name: {"summary": "-", "action": "-"} for name in ("zh", "en")},
    }
    return dataclasses.replace(document, rules=[*document.rules, {"pack": "change", "rules": [rule]}])


@dataclasses.dataclass
class Changing:
    """A site whose document changes.

    Attributes:
        base: without the rule.
        document: in force, or the last one sent.
        version: of it.
        run: tells the documents of this run from those of another.
    """

    base: Document
    version: int = 1
    previous: bytes = b""

    def __post_init__(self) -> None:
        self.run = f"bench of {time.time_ns()}"
        self.document = self.changed()
        points = self.base.table("points")
        lit = [place for place, role in enumerate(points["role"]) if role == "light_power" and points["space"][place]]
        self.gateway = str(points["gateway"][lit[0]])
        self.number = int(str(points["number"][lit[0]]))
        self.subject = str(points["space"][lit[0]])

    @property
    def site(self) -> str:
        """Its id."""
        return self.base.site

    @property
    def partition(self) -> int:
        """Of the site."""
        return self.base.partition

    def changed(self) -> Document:
        """The document of the version: one that nobody has seen, so that no cache of an earlier run has it."""
        return with_rule(self.base, THRESHOLDS_W[(self.version - 1) % 2], f"{self.run}, version {self.version}")

    def change(self) -> None:
        """The next version."""
        self.previous, self.version = self.document.sha256, self.version + 1
        self.document = self.changed()

    def config_record(self) -> bytes:
        """The record that puts the version into force."""
        fields = {"effective_ms": 0, "key_id": "", "signature": b"", "document": self.document.sha256}
        return codec.write(
            "config_record", {"site": self.site, "version": self.version, "previous": self.previous, **fields}
        )

    def reading(self) -> bytes:
        """The light is at 100 W, now."""
        times, good = np.array([time.time_ns() // 1_000_000], np.int64), np.zeros(1, np.int8)
        values, numbers = np.array([LIGHT_MW], np.int64), np.array([self.number], np.int32)
        return encode_batch(self.site, self.gateway, "live", times, numbers, values, good)


def run(options: Options) -> list[Row]:
    """Both sites, each on a stack of its own."""
    found = []
    for label, make in (("demo", demo_document), ("10,000 rooms", lambda: offices_document(10_000))):
        found.append(measure(Changing(make()), label, options))
    return found


def measure(site: Changing, label: str, options: Options) -> Row:
    """Changes the threshold to and fro; every change must make just its one row, at its own place in the log."""
    waits_s: list[float] = []
    correct = True
    with Rig(options.report) as rig:
        worker = rig.start("worker", "worker")
        rig.configure([site])
        rig.reach({site.partition: 1})
        pid = worker.pid
        producer = Producer(client_config(rig.kafka, log_level=0) | {"message.max.bytes": 1 << 29})
        rows = _rows(rig.kafka, site.partition)
        for number in range(CHANGES):
            rig.reach({site.partition: _send(rig.kafka, producer, site, site.reading()) + 1})
            site.change()
            _ = site.document.sha256  # a document is hashed by whoever sends it
            begin_s = time.monotonic()
            producer.produce(topic_name(rig.kafka, CONFIG), site.document.raw, site.document.sha256.hex())
            head = Head(site.version, site.document.sha256, site.previous, site.partition)
            producer.produce(topic_name(rig.kafka, CONFIG), head.raw, HEAD + site.site)
            producer.flush()
            offset = _send(rig.kafka, producer, site, site.config_record())
            row = next(rows)
            waits_s.append(time.monotonic() - begin_s)
            state = ("firing", "resolved")[number % 2]
            expected = (state, site.subject, site.version, offset)
            correct &= (row["state"], row["subject"], row["config_version"], row["offset"]) == expected
        correct &= worker.alive() and worker.pid == pid
        count = len(site.document.table("points")["id"])
    figures = {"median_s": round(sorted(waits_s)[len(waits_s) // 2], 2), "max_s": round(max(waits_s), 2)}
    return Row(correct, figures={"points": count, "changes": CHANGES, **figures}, labels={"model": label})


def _send(kafka: KafkaSettings, producer: Producer, site: Changing, value: bytes) -> int:
    """Sends a message to the site's partition; its offset."""
    offsets: list[int] = []
    producer.produce(
        topic_name(kafka, METER_READINGS), value, site.site, site.partition,
        on_delivery=lambda error, message: offsets.append(-1 if error else message.offset() or 0),
    )  # fmt: skip
    producer.flush()
    return offsets[0]


def _rows(kafka: KafkaSettings, partition: int) -> Iterator[dict[str, codec.Value]]:
    """Committed rows of the rule, as anybody could read them; each is waited for."""
    consumer = Consumer(
        client_config(
            kafka, group_id="bench-rule-change", enable_auto_commit=False, isolation_level="read_committed",
            fetch_wait_max_ms=10, auto_offset_reset="earliest",
        )
    )  # fmt: skip
    consumer.assign([TopicPartition(topic_name(kafka, ALERTS), partition, 0)])
    deadline_s = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < deadline_s:
        message = consumer.poll(0.1)
        if message is None or message.error() is not None:
            continue
        value = message.value() or b""
        if codec.contract_of(value) != "alert_rows":
            continue
        listed = codec.read("alert_rows", value)["rows"]
        assert isinstance(listed, list)
        for row in listed:
            assert isinstance(row, dict)
            if row["rule"] == RULE:
                yield row
                deadline_s = time.monotonic() + _TIMEOUT_S
    consumer.close()


BENCH: Final = Bench(
    "rule-change", "a rule changed on a running worker: until its alert can be read, no restart", [PROMISE], run
)
