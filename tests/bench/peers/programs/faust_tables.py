"""The job in plain faust-streaming, with its tables, as its user guide shows: one event a message, windowed tables.

A window is closed by the point's own clock, 30 s after its end: Faust's `on_window_close` compares with the clock of
the machine and would close history at once.
"""

import os
import sys

import faust

sys.path.insert(0, os.path.dirname(__file__))
from common import GRACE_MS, WINDOW_MS, Marks, step

marks = Marks()
app = faust.App(
    os.environ["NAME"],
    broker=f"kafka://{os.environ['BOOTSTRAP']}",
    store="memory://",
    topic_partitions=4,
    datadir=os.environ["FOLDER"],
    web_enabled=False,
    topic_disable_leader=True,
    consumer_auto_offset_reset="earliest",
)


class Reading(faust.Record, serializer="json"):
    site: str
    point: int
    ts: int
    value: float


readings = app.topic(os.environ["TOPIC"], value_type=Reading, key_type=bytes)
rollups = app.topic(os.environ["ROLLUPS"], value_serializer="json")
alerts = app.topic(os.environ["ALERTS"], value_serializer="json")
windows = app.Table("windows", default=dict, partitions=4)
states = app.Table("states", default=list, partitions=4)


@app.agent(readings)
async def process(stream):
    async for reading in stream:
        marks.read(1)
        point, value = reading.point, reading.value
        start = reading.ts - reading.ts % WINDOW_MS
        opened = dict(windows[point])
        n, total, low, high = opened.get(start) or (0, 0.0, value, value)
        opened[start] = (n + 1, total + value, min(low, value), max(high, value))
        for w in [w for w in opened if w + WINDOW_MS + GRACE_MS <= reading.ts]:
            n, total, low, high = opened.pop(w)
            await rollups.send(value={"point": point, "w": w, "n": n, "sum": total, "min": low, "max": high})
        windows[point] = opened
        state = list(states[point]) or [-1, -1, False]
        since = step(state, reading.ts, value)
        states[point] = state
        if since is not None:
            await alerts.send(value={"point": point, "ts": reading.ts, "since": since})
        if marks.processed(1):
            await app.producer.flush()
            marks.end()
