"""The job in Quix Streams: exactly once, regrouped by point, tumbling windows with grace, as its documentation shows."""

import os
import sys
from datetime import timedelta

import orjson
import quixstreams.dataframe.windows.aggregations as agg
from quixstreams import Application
from quixstreams.models.serializers.avro import AvroDeserializer

sys.path.insert(0, os.path.dirname(__file__))
from common import GRACE_MS, WINDOW_MS, Marks, step

marks = Marks()
app = Application(
    broker_address=os.environ["BOOTSTRAP"],
    consumer_group=os.environ["NAME"],
    auto_offset_reset="earliest",
    state_dir=os.environ["FOLDER"],
    processing_guarantee="exactly-once",
    loglevel="WARNING",
)
if os.environ["FORM"] == "json":
    topic = app.topic(
        os.environ["TOPIC"], value_deserializer="json", timestamp_extractor=lambda value, h, t, tt: value["ts"]
    )
    readings = app.dataframe(topic).update(lambda value: marks.read(1))
else:
    topic = app.topic(os.environ["TOPIC"], value_deserializer=AvroDeserializer(orjson.loads(os.environ["SCHEMA"])))

    def unpack(value):
        marks.read(len(value["readings"]))
        return value["readings"]

    readings = app.dataframe(topic).apply(unpack, expand=True).set_timestamp(lambda value, k, t, h: value["ts"])
rollups = app.topic(os.environ["ROLLUPS"], value_serializer="json", key_serializer="str")
alerts = app.topic(os.environ["ALERTS"], value_serializer="json", key_serializer="str")
readings = readings.group_by(
    lambda value: str(value["point"]), name="point", key_serializer="str", key_deserializer="str"
)
windows = (
    readings.tumbling_window(timedelta(milliseconds=WINDOW_MS), grace_ms=timedelta(milliseconds=GRACE_MS))
    .agg(n=agg.Count(), sum=agg.Sum("value"), min=agg.Min("value"), max=agg.Max("value"))
    .final(closing_strategy="key")
)


def window_out(value, key, time_ms, headers):
    row = {name: value[name] for name in ("n", "sum", "min", "max")}
    return {"point": int(key), "w": value["start"], **row}


windows.apply(window_out, metadata=True).to_topic(rollups)


def alert(value, state):
    known = state.get("alert", None) or [-1, -1, False]
    since = step(known, value["ts"], value["value"])
    state.set("alert", known)
    if marks.processed(1):
        app.stop()
    return None if since is None else {"point": value["point"], "ts": value["ts"], "since": since}


readings.apply(alert, stateful=True).filter(lambda value: value is not None).to_topic(alerts)
app.run()
marks.end()
