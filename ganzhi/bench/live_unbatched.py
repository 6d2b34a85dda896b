"""One message a reading in a foreign topic, through a bridge and a worker, JSON and Avro."""

import dataclasses
import io
import json
import threading
import time
from collections.abc import Iterator
from typing import Final

import fastavro

from ganzhi.bench.figure import Bench, Options, Promise, Row
from ganzhi.bench.live import BATCH, GATEWAYS
from ganzhi.bench.rig import PARTITIONS, Rig, spent
from ganzhi.bench.rooms import POINT_NAMES, ROOM_POINTS, Rooms
from schemas.encode import QUALITIES
from schemas.topics import METER_READINGS, Topic
from streams.kafka_admin import create_missing, watermarks
from streams.sources.bridge.work import committed

READINGS: Final = 1_500_000
GRID_S: Final = 60
TOPIC: Final = "bench.foreign"
SCHEMA: Final = {
    "type": "record",
    "name": "Reading",
    "fields": [
        {"name": "site", "type": "string"},
        {"name": "point", "type": "string"},
        {"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "value", "type": "double"},
        {"name": "quality", "type": {"type": "enum", "name": "Quality", "symbols": list(QUALITIES)}},
    ],
}
MAPPING: Final = """
topic: {topic}
name: bench
format: {format}
{schema}
site: "{{site}}"
time: {{column: time, format: epoch_ms}}
long: {{point: "{{point}}", value: {{column: value}}}}
quality: {{column: quality, estimated: [estimated], suspect: [suspect]}}
"""
PROMISED: Final = {"json": 0.45, "avro": 0.35}


class Now(Rooms):
    """Offices of the live domain, with a round every second from now on, on a grid of minutes.

    A foreign topic has no ticks, so time is the log's. Every register counts one Wh a second, so that what the ledger
    has at a boundary of the grid is known.
    """

    domain = "live"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.document = dataclasses.replace(self.document, interval_s=GRID_S)
        self.begin_s = int(time.time())

    def expected(self) -> int:
        """What has come together up to the last boundary, over all registers."""
        last_s = self.begin_s + self.rounds - 1
        return (last_s // GRID_S * GRID_S - self.begin_s) * self.numbers.size // ROOM_POINTS

    def readings_of(self, first: int, stop: int) -> Iterator[dict[str, object]]:
        """The readings of some rounds, one at a time, numbers in the points' own units."""
        ids = [f"g{g:05d}-{r:03d}.{p}" for g in range(self.gateways) for r in range(self.rooms) for p in POINT_NAMES]
        for turn in range(first, stop):
            values = self.step(turn).reshape(-1)
            values.reshape(-1, ROOM_POINTS)[:, 0] = 1000 + turn
            for index, (name, value) in enumerate(zip(ids, values.tolist(), strict=True)):
                state = index % ROOM_POINTS in (2, 3)
                yield {
                    "site": self.site,
                    "point": name,
                    "time": (self.begin_s + turn) * 1000,
                    "value": float(value) if state else value / 1000,
                    "quality": "good",
                }


def run(options: Options) -> list[Row]:
    """JSON, then Avro; a row each."""
    return [_run(options, form) for form in PROMISED]


def _run(options: Options, form: str) -> Row:
    """The ledger in Kafka must be what the registers counted, and no message rejected."""
    rounds = max((options.readings or READINGS) // PARTITIONS // (GATEWAYS * BATCH), GRID_S + 1)
    with Rig(options.report) as rig:
        create_missing(rig.kafka, [Topic(TOPIC, PARTITIONS)])
        folder = rig.stack.folder
        (folder / "reading.avsc").write_text(json.dumps(SCHEMA))
        schema = "schema: reading.avsc" if form == "avro" else ""
        (folder / "mapping.yaml").write_text(MAPPING.format(topic=TOPIC, format=form, schema=schema))
        loads = [Now(GATEWAYS, BATCH, rounds, f"bench-{number}", number) for number in range(PARTITIONS)]
        rig.configure(loads)  # before the bridge starts: it looks for newer models only every few seconds
        rig.start("worker", "worker")
        rig.start("bridge", "bridge", str(folder / "mapping.yaml"))
        first = [list(messages(load.readings_of(0, 1), form)) for load in loads]
        rest = [list(messages(load.readings_of(1, rounds), form)) for load in loads]
        # Both have compiled, joined and read what they read once when the first round is through.
        sent = _through(rig, loads, first, 0)
        before, begin_s = rig.cpu_s(), time.monotonic()
        _through(rig, loads, rest, sent)
        used, wall_s = spent(before, rig.cpu_s(), ["bridge", "worker"]), time.monotonic() - begin_s
        correct = rig.ledger() == sum(load.expected() for load in loads) and rig.published_rows("rejected") == 0
    readings = sum(map(len, rest))
    figures = {"wall_readings_per_s": int(readings / wall_s)}
    promise = [Promise("cpu_s_per_million", "most", PROMISED[form])]
    return Row(correct, readings, used, figures, {"format": form}, promise)


def _through(rig: Rig, loads: list[Now], parts: list[list[bytes]], before: int) -> int:
    """Sends messages and waits until bridge and worker are through; how many have been sent in all."""
    sender = rig.sender(TOPIC)
    for load, part in zip(loads, parts, strict=True):
        for message in part:
            sender.send(load.partition, message)
    sender.flush()
    sent = before + sum(map(len, parts))
    rig.wait(lambda: _bridged(rig, sent), "the bridge")
    ends = watermarks(rig.kafka, METER_READINGS, range(PARTITIONS))
    # The last thing in a partition may be a transaction's marker, behind which a task's position is.
    rig.reach({number: high - 1 for number, (_, high) in ends.items()})
    return sent


def _bridged(rig: Rig, readings: int) -> bool:
    """Whether the bridge has committed its position behind all messages."""
    found = committed(rig.kafka, "bridge-bench", TOPIC, list(range(PARTITIONS)), threading.Event())
    return sum(found.values()) >= readings


def messages(readings: Iterator[dict[str, object]], form: str) -> Iterator[bytes]:
    """Readings as messages."""
    parsed = fastavro.parse_schema(SCHEMA)
    for fields in readings:
        if form == "json":
            yield json.dumps(fields, separators=(",", ":")).encode()
        else:
            out = io.BytesIO()
            fastavro.schemaless_writer(out, parsed, fields)
            yield out.getvalue()


BENCH: Final = Bench(
    "live-unbatched",
    "one JSON or Avro message a reading, through a bridge and a worker, rules on",
    [Promise("cpu_s_per_million", "most", PROMISED["json"])],
    run,
)
