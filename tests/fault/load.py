"""What gateways send while everything breaks: readings in order, late and again, lights that rules watch, and rubbish.

Every message is numbered by the log itself; what has to come of each is the oracle's to say, from the log.
"""

import random
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any, Final

import numpy as np

from schemas import codec
from schemas.encode import encode_batch
from schemas.model.check import check_folder
from schemas.model.document import Document
from schemas.settings import KafkaSettings
from schemas.topics import METER_READINGS, topic_name
from streams.published import apply_model, partition_of, read_documents
from tests.streams.log import producer
from tests.streams.pipeline import AT_ONCE, KEY
from tests.support.models import Tables, write_model

REGISTERS: Final = 6
START_MS: Final = 1_735_689_600_000
"""2025-01-01: registers count from there, a quarter of an hour a message."""
QUARTER_MS: Final = 900_000
THREE_HOURS: Final = 12
POISON: Final = 0.01


def sites_of(partitions: int, each: int = 2) -> list[str]:
    """Names of sites, as many in each partition."""
    found: dict[int, list[str]] = {}
    number = 0
    while sum(map(len, found.values())) < partitions * each:
        name = f"site{number}"
        number += 1
        listed = found.setdefault(partition_of(name, partitions), [])
        if len(listed) < each:
            listed.append(name)
    return sorted(name for names in found.values() for name in names)


def publish(kafka: KafkaSettings, folder: Path) -> dict[str, Document]:
    """Publishes a model of some sites; documents by site."""

    def change(tables: Tables) -> None:
        names = sites_of(kafka.partitions)
        tables["sites"] = [{"id": name, "institution": "centre", "calendar": "cn"} for name in names]
        tables["buildings"] = [{"id": f"{name}-b", "site": name, "class": "A"} for name in names]
        tables["spaces"] = [{"id": f"{name}-r", "building": f"{name}-b", "kind": "office"} for name in names]
        tables["gateways"] = [{"id": f"{name}-{which}", "site": name} for name in names for which in "ab"]
        tables["points"] = [row for name in names for row in _points(name)]
        for table in ("equips", "tenure", "meters", "meter_install", "balance", "stations", "bins", "vehicles"):
            tables[table] = []

    model, faults = check_folder(write_model(folder, change, packs={"lighting.yaml": AT_ONCE}))
    assert not faults, faults
    apply_model(kafka, model, KEY)
    return read_documents(kafka)


def _points(site: str) -> list[dict[str, Any]]:
    common = {"site": site, "space": f"{site}-r", "medium": "electricity"}
    registers = [
        {**common, "id": f"{site}-e{n}", "gateway": f"{site}-a", "role": "energy", "kind": "register", "unit": "kWh"}
        | {"interval_s": 900}
        for n in range(REGISTERS)
    ]
    light = {**common, "id": f"{site}-light", "gateway": f"{site}-b", "role": "light_power", "kind": "gauge"}
    people = {"site": site, "space": f"{site}-r", "id": f"{site}-people", "gateway": f"{site}-b", "role": "occupancy"}
    return [*registers, light | {"unit": "W", "interval_s": 60}, people | {"kind": "state", "interval_s": 60}]


class Load:
    """Sends in a thread of its own, at a steady rate.

    Args:
        kafka: where to.
        documents: of the sites.
        seed: of what is sent.
        rate: messages a second.
    """

    def __init__(self, kafka: KafkaSettings, documents: dict[str, Document], seed: int, rate: float) -> None:
        self._kafka, self._documents, self._rate = kafka, documents, rate
        self._random = random.Random(seed)
        self._numbers = {
            site: dict(zip(map(str, one.table("points")["id"]), map(int, map(str, one.table("points")["number"])), strict=True))
            for site, one in documents.items()
        }  # fmt: skip
        self._steps = dict.fromkeys(documents, 0)
        self._values = {site: [0] * REGISTERS for site in documents}
        self._lit = dict.fromkeys(documents, 0)
        self._last: dict[str, deque[bytes]] = {site: deque(maxlen=THREE_HOURS) for site in documents}
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._producer = producer(kafka, enable_idempotence=True, message_timeout_ms=0, log_level=0)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def finish(self) -> None:
        """Ends, and waits until the broker has everything."""
        self._stop.set()
        self._thread.join()
        assert self._producer.flush(120) == 0, "the broker does not take what was sent"

    def send_again(self) -> None:
        """Every gateway sends its last three hours once more."""
        with self._lock:
            for site, batches in self._last.items():
                for value in batches:
                    self._send(site, value)

    def poison(self, count: int) -> None:
        """One partition gets nothing but rubbish for a while."""
        with self._lock:
            site = self._random.choice(sorted(self._documents))
            for _ in range(count):
                self._send(site, self._rubbish(site))

    def _run(self) -> None:
        sites = sorted(self._documents)
        due_s = time.monotonic()
        while not self._stop.is_set():
            with self._lock:
                site = self._random.choice(sites)
                self._send(site, self._next(site))
            due_s = max(due_s + 1 / self._rate, time.monotonic() - 1)
            time.sleep(max(0.0, due_s - time.monotonic()))

    def _send(self, site: str, value: bytes | None) -> None:
        topic, partition = topic_name(self._kafka, METER_READINGS), self._documents[site].partition
        while True:
            try:
                self._producer.produce(topic, value, site.encode(), partition)
                self._producer.poll(0)
            except BufferError:
                self._producer.poll(0.1)
            else:
                return

    def _next(self, site: str) -> bytes | None:
        chance = self._random.random()
        if chance < POISON:
            return self._rubbish(site)
        if chance < 0.15:
            return self._room(site)
        if chance < 0.16 and self._last[site]:
            return self._random.choice(self._last[site])  # again
        return self._meters(site, late=chance < 0.18)

    def _meters(self, site: str, late: bool) -> bytes:
        self._steps[site] += 1
        at_ms = START_MS + self._steps[site] * QUARTER_MS
        values = self._values[site]
        for n in range(REGISTERS):
            values[n] += self._random.choice((0, 3, 250))
        rows = [(f"{site}-e{n}", at_ms, values[n]) for n in range(REGISTERS)]
        if late:
            rows.append((f"{site}-e0", at_ms - 40 * 60_000, values[0] + 1))
        value = self._batch(site, "a", rows)
        self._last[site].append(value)
        return value

    def _room(self, site: str) -> bytes:
        self._lit[site] ^= 1
        now_ms = int(time.time() * 1000)
        rows = [(f"{site}-people", now_ms, 0), (f"{site}-light", now_ms, 200_000 * self._lit[site])]
        return self._batch(site, "b", rows)

    def _batch(self, site: str, gateway: str, rows: list[tuple[str, int, int]]) -> bytes:
        numbers = self._numbers[site]
        return encode_batch(
            site,
            f"{site}-{gateway}",
            "live",
            np.array([row[1] for row in rows], np.int64),
            np.array([numbers[row[0]] for row in rows], np.int32),
            np.array([row[2] for row in rows], np.int64),
            np.zeros(len(rows), np.int8),
        )

    def _rubbish(self, site: str) -> bytes | None:
        good = self._batch(site, "a", [(f"{site}-e0", START_MS, 1)])
        flipped = bytearray(good)
        flipped[self._random.randrange(len(good))] ^= 1 << self._random.randrange(8)
        one = np.array([START_MS], np.int64)
        stranger = encode_batch(site, f"{site}-a", "live", one, np.array([9999], np.int32), one, np.zeros(1, np.int8))
        return self._random.choice(
            (
                None,
                b"",
                b"rubbish",
                good[: self._random.randrange(len(good))],
                bytes(flipped),
                stranger,
                good + b"\x00",
                codec.header("tick") + b"\xff" * 11,
            )
        )
