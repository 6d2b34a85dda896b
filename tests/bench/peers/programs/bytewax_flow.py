"""The job in Bytewax: event-time windows with its clock, recovery switched on, as its documentation shows."""

import io
import os
import sys
from datetime import datetime, timedelta, timezone

import bytewax.operators as op
import bytewax.operators.windowing as win
import fastavro
import orjson
from bytewax.connectors.kafka import KafkaSinkMessage
from bytewax.connectors.kafka import operators as kop
from bytewax.dataflow import Dataflow

sys.path.insert(0, os.path.dirname(__file__))
from common import GRACE_MS, WINDOW_MS, Marks, step

marks = Marks()
brokers = [os.environ["BOOTSTRAP"]]
align = datetime(2023, 1, 1, tzinfo=timezone.utc)
align_ms = int(align.timestamp() * 1000)
flow = Dataflow("rollup")
source = kop.input("in", flow, brokers=brokers, topics=[os.environ["TOPIC"]], tail=False, batch_size=1000)
schema = fastavro.parse_schema(orjson.loads(os.environ["SCHEMA"]))


def parse_json(message):
    marks.read(1)
    reading = orjson.loads(message.value)
    return [(str(reading["point"]), reading)]


def parse_avro(message):
    readings = fastavro.schemaless_reader(io.BytesIO(message.value), schema)["readings"]
    marks.read(len(readings))
    return [(str(reading["point"]), reading) for reading in readings]


readings = op.flat_map("parse", source.oks, parse_json if os.environ["FORM"] == "json" else parse_avro)
clock = win.EventClock(
    ts_getter=lambda reading: datetime.fromtimestamp(reading["ts"] / 1000, timezone.utc),
    wait_for_system_duration=timedelta(milliseconds=GRACE_MS),
)


def fold(window, reading):
    value = reading["value"]
    return [window[0] + 1, window[1] + value, min(window[2], value), max(window[3], value)]


def merge(a, b):
    return [a[0] + b[0], a[1] + b[1], min(a[2], b[2]), max(a[3], b[3])]


windowed = win.fold_window(
    "window",
    readings,
    clock,
    win.TumblingWindower(length=timedelta(milliseconds=WINDOW_MS), align_to=align),
    lambda: [0, 0.0, float("inf"), float("-inf")],
    fold,
    merge,
    ordered=False,
)


def window_out(item):
    point, (number, (n, total, low, high)) = item
    start = align_ms + number * WINDOW_MS
    row = {"point": int(point), "w": start, "n": n, "sum": total, "min": low, "max": high}
    return KafkaSinkMessage(None, orjson.dumps(row))


def alert(state, reading):
    state = state or [-1, -1, False]
    since = step(state, reading["ts"], reading["value"])
    return state, None if since is None else {"point": reading["point"], "ts": reading["ts"], "since": since}


def alert_out(item):
    return None if item[1] is None else KafkaSinkMessage(None, orjson.dumps(item[1]))


kop.output("rollups", op.map("format", windowed.down, window_out), brokers=brokers, topic=os.environ["ROLLUPS"])
fired = op.filter_map("fired", op.stateful_map("alert", readings, alert), alert_out)
kop.output("alerts", fired, brokers=brokers, topic=os.environ["ALERTS"])
