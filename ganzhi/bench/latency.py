"""From an event to the alert that it raises, at a set rate, on a schedule that waits for nobody.

Batches are sent when their time has come, whether or not those before them have been answered, and every event carries
the time at which it was *to be* sent: what a slow moment holds up counts with all that had to wait behind it (no
coordinated omission).
"""

import threading
import time
from collections.abc import Callable
from typing import Final, Self

import numpy as np
from confluent_kafka import Consumer, TopicPartition

from ganzhi.bench.figure import Bench, Options, Promise, Row
from ganzhi.bench.live import BATCH
from ganzhi.bench.message_end import MessageWatch, with_route
from ganzhi.bench.rig import PARTITIONS, Rig
from ganzhi.bench.rooms import ROOM_POINTS, Rooms
from ganzhi.bench.screen_end import ScreenWatch
from schemas import codec
from schemas.encode import encode_batch
from schemas.errors import ConfigurationError
from schemas.kafka import client_config
from schemas.settings import KafkaSettings
from schemas.topics import ALERTS, METER_READINGS, topic_name

RATE: Final = 100_000
SECONDS: Final = 60.0
WARM_S: Final = 5.0
GATEWAYS: Final = 5
PROMISES: Final = {end: [Promise("p99_ms", "most", 1000)] for end in ("message", "screen")}
"""Of ends that are further away than the topic."""
EVENTS_PER_S: Final = 40
"""So many rooms a second change, each once: 2,400 alerts in a minute, of which 24 are beyond p99."""
PACK: Final = """
pack: bench
rules:
  - alert: LightsInEmptyRoom
    each: {space: [office]}
    roles: {light: light_power, people: occupancy}
    expr: light > 50 W and people == 0
    clear: light <= 50 W or people > 0
    labels: {severity: warning}
    annotations: {en: {summary: Lights, action: Switch}, zh: {summary: 灯, action: 关}}
    source: bench
"""


class _Live(Rooms):
    """Offices of the live domain, whose one rule needs no time."""

    domain = "live"
    pack = PACK


def run(options: Options) -> list[Row]:
    """Every event that was sent must raise its alert, once.

    Raises:
        ConfigurationError: the end that is asked for is not one that this bench knows.
    """
    loads = [_Live(GATEWAYS, BATCH, 1, f"bench-{number}", number) for number in range(PARTITIONS)]
    ends: dict[str, Callable[[Rig, set[str]], Watch | MessageWatch | ScreenWatch]] = {
        "topic": lambda rig, _: Watch(rig.kafka),
        "message": lambda rig, _: MessageWatch(rig, loads),
        "screen": lambda rig, _: ScreenWatch(rig, loads),
    }
    to = options.to or "topic"
    if to not in ends:
        raise ConfigurationError(f"latency ends at {', '.join(ends)}; not at {to}")
    if to == "message":
        loads = [with_route(load) for load in loads]
    rate, seconds = options.rate or RATE, options.seconds or SECONDS
    with Rig(options.report) as rig:
        rig.start("worker", "worker")
        rig.configure(loads)
        rig.reach(dict.fromkeys(range(PARTITIONS), 1))
        with ends[to](rig, set()) as watch:
            sent, late_ms = _feed(rig, loads, rate, WARM_S + seconds)
            rig.wait(lambda: len(watch.seen) >= len(sent), "the alerts", 60)
    measured = {key: at for key, at in sent.items() if at >= min(sent.values()) + WARM_S * 1000}
    waits = np.array([watch.seen[key] - at for key, at in measured.items()])
    correct = set(watch.seen) == set(sent) and watch.doubled == 0
    p50, p99, p999 = np.percentile(waits, [50, 99, 99.9])
    figures = {
        "rate": rate,
        "events": len(waits),
        "p50_ms": round(float(p50), 1),
        "p99_ms": round(float(p99), 1),
        "p999_ms": round(float(p999), 1),
        "max_ms": round(float(waits.max()), 1),
        "sender_late_max_ms": round(late_ms, 1),
    }
    return [Row(correct, figures=figures, labels={"to": to}, promises=PROMISES.get(to))]


def _feed(rig: Rig, loads: list[_Live], rate: int, seconds: float) -> tuple[dict[tuple[str, int], float], float]:
    """Sends on schedule; (space, time of the event) → when it was to be sent in ms, and how late a sending was."""
    sender = rig.sender(topic_name(rig.kafka, METER_READINGS), linger_ms=1)
    values = {load.partition: np.zeros((load.gateways, load.per_gateway), np.int64) for load in loads}
    for table in values.values():
        table.reshape(-1, ROOM_POINTS)[:, 2] = 1
    good = np.zeros(BATCH, np.int8)
    gap_s = BATCH / rate
    every = max(round(rate / BATCH / EVENTS_PER_S), 1)
    sent: dict[tuple[str, int], float] = {}
    dark: dict[tuple[int, int], int] = {}
    late_s = 0.0
    begin_s = time.time() + 0.5
    for turn in range(int(seconds / gap_s)):
        due_s = begin_s + turn * gap_s
        load = loads[turn % len(loads)]
        round_, gateway = divmod(turn // len(loads), load.gateways)
        row = values[load.partition][gateway].reshape(-1, ROOM_POINTS)
        due_ms = int(due_s * 1000)
        row[:, 0] += 1
        lit = dark.pop((load.partition, gateway), None)
        if lit is not None:
            row[lit, 1:3] = (0, 1)
        if turn % every == 0:
            room = round_ % len(row)
            row[room, 1:3] = (100_000, 0)
            dark[load.partition, gateway] = room
            sent[f"{load.site}/g{gateway:05d}-{room:03d}", due_ms] = float(due_ms)
        message = encode_batch(
            load.site,
            f"g{gateway:05d}",
            "live",
            np.full(BATCH, due_ms, np.int64),
            load.numbers[gateway],
            row.reshape(-1),
            good,
        )
        wait_s = due_s - time.time()
        if wait_s > 0:
            time.sleep(wait_s)
        late_s = max(late_s, time.time() - due_s)
        sender.send(load.partition, message, load.site.encode())
        sender.poll()
    sender.flush()
    return sent, late_s * 1000


class Watch:
    """Reads the alerts as anybody would, committed ones only, and notes when it had each.

    Attributes:
        seen: (site/space, time of the event) → wall time in ms at which the firing alert could be read.
        doubled: alerts that came more than once.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self.seen: dict[tuple[str, int], float] = {}
        self.doubled = 0
        self._end = threading.Event()
        self._consumer = Consumer(
            client_config(
                kafka, group_id="bench-latency", enable_auto_commit=False, isolation_level="read_committed",
                fetch_wait_max_ms=10, auto_offset_reset="earliest",
            )
        )  # fmt: skip
        self._consumer.assign([TopicPartition(topic_name(kafka, ALERTS), number, 0) for number in range(PARTITIONS)])
        self._thread = threading.Thread(target=self._read, name="watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join()
        self._consumer.close()

    def _read(self) -> None:
        while not self._end.is_set():
            message = self._consumer.poll(0.1)
            if message is None or message.error() is not None:
                continue
            now_ms = time.time() * 1000
            value = message.value() or b""
            if codec.contract_of(value) != "alert_rows":
                continue
            rows = codec.read("alert_rows", value)["rows"]
            assert isinstance(rows, list)
            for row in rows:
                assert isinstance(row, dict)
                if row["state"] == "firing":
                    key = f"{row['site']!s}/{row['subject']!s}", int(str(row["started_at"]))
                    self.doubled += key in self.seen
                    self.seen.setdefault(key, now_ms)


BENCH: Final = Bench(
    "latency",
    "event to alert readable, 100,000 readings a second, open loop",
    [Promise("p99_ms", "most", 250)],
    run,
)
