"""JSON lines become readings and events; garbage is rejected with its line and reason, and the rest goes on."""

import csv
import json
from pathlib import Path
from typing import Any

from schemas.settings import KafkaSettings
from streams.sources.batching import BatchWriter
from streams.sources.catalog import Catalog
from streams.sources.json_lines import LineSender
from streams.sources.rejects import Rejects
from tests.streams.sources import sites

NOON_MS = 1_714_564_800_000
GOOD = '{"site":"here","point":"main","time":"2024-05-01T12:00:00Z","value":1}'


def sender(kafka: KafkaSettings, folder: Path, site: str | None = None) -> LineSender:
    """A sender whose writer is flushed by `run`."""
    documents = sites.documents(folder)
    return LineSender(BatchWriter(kafka, documents), Catalog(documents), Rejects(None), site=site)


def test_readings_of_every_form(kafka: KafkaSettings, tmp_path: Path) -> None:
    """Offsets and epochs, numbers and texts, units, qualities and states arrive exactly, in the order of the lines."""
    sites.topics(kafka)
    lines = [
        '{"site":"here","point":"main","time":"2024-05-01T20:00:00+08:00","value":1.1}',
        '{"point":"main","time":1714565700,"value":"1.2","quality":"estimated"}',
        '{"point":"main","time":1714566600123,"value":0.0013,"unit":"MWh"}',
        '{"point":"people","time":1714566600,"value":true}',
        '{"site":"there","point":"other","time":1714566600.5,"value":1234567890123.456789}',
        "",
    ]
    result = sender(kafka, tmp_path, "here").run(line.encode() + b"\n" for line in lines)
    by_gateway: dict[str, list[tuple[Any, ...]]] = {}
    for _, gateway, mode, time_ms, _, value, quality in sites.readings(kafka):
        by_gateway.setdefault(gateway, []).append((mode, time_ms - NOON_MS, value, quality))

    assert by_gateway == {
        "g1": [
            ("live", 0, 1100, "good"),
            ("live", 900_000, 1200, "estimated"),
            ("live", 1_800_123, 1300, "good"),
        ],
        "g2": [("live", 1_800_000, 1, "good")],
        "g3": [("live", 1_800_500, 1_234_567_890_123_456_789, "good")],
    }
    assert (result.lines, result.readings, result.rejected) == (6, 5, 0)


def test_events_of_waste_and_vehicles(kafka: KafkaSettings, tmp_path: Path) -> None:
    """Whole events keep every field; one without an id is named by its content: the same line is the same event."""
    sites.topics(kafka)
    fill = {"waste": {"time": "2024-05-01T12:00:00Z", "kind": "fill", "station": "S1", "fill_permille": 900}}
    trip = {
        "vehicle": {"event_id": "T", "time": NOON_MS, "start": "2024-05-01T11:00:00Z", "vehicle": "V1",
                    "kind": "trip_end", "distance_m": 1200, "ignition": False}, "site": "here",
    }  # fmt: skip
    work = sender(kafka, tmp_path, "here")
    result = work.run(json.dumps(line).encode() for line in (fill, trip, fill))
    fills = sites.values(kafka, "waste.events", "waste_event")
    trips = sites.values(kafka, "vehicle.events", "vehicle_event")

    assert (result.events, result.rejected) == (3, 0), work._rejects.first
    assert [(e["site"], e["time_ms"], e["fill_permille"], e["station"]) for e in fills] == [
        ("here", NOON_MS, 900, "S1")
    ] * 2
    assert fills[0]["event_id"] == fills[1]["event_id"] != ""
    assert [(e["event_id"], e["start_ms"], e["time_ms"], e["distance_m"], e["ignition"]) for e in trips] == [
        ("T", NOON_MS - 3_600_000, NOON_MS, 1200, False)
    ]


GARBAGE: list[tuple[str | bytes, str]] = [
    ("hello", "not JSON"),
    ('{"site":"here"', "not JSON"),
    ("[1,2]", "object"),
    ("7", "object"),
    ("[" * 100_000, "JSON"),
    (b"\xff\xfe{}", "UTF"),
    ('{"a":1,"a":2}', "twice"),
    (GOOD.replace("here", "nowhere"), "unknown site 'nowhere'"),
    (GOOD.replace("main", "mein"), "unknown point 'mein'"),
    (GOOD.replace("main", "station:S1/fill"), "by events"),
    (GOOD.replace('"main"', "3"), "point must be a text"),
    (GOOD.replace('"value":1', '"value":"many"'), "not a decimal"),
    (GOOD.replace('"value":1', '"value":null'), "must be a number"),
    (GOOD.replace('"value":1', '"value":NaN'), "NaN"),
    (GOOD.replace('"value":1', '"value":0.0001'), "not an integer"),
    (GOOD.replace('"value":1', '"value":1e300'), "not a decimal"),
    (GOOD.replace('"value":1', '"value":9300000000000000000'), "64 bits"),
    (GOOD.replace('"value":1', '"value":1,"unit":"m3"'), "do not fit"),
    (GOOD.replace('"value":1', '"value":1,"unit":"furlong"'), "unknown unit"),
    (GOOD.replace('"value":1', '"value":1,"quality":"fine"'), "quality"),
    (GOOD.replace('"value":1', '"value":1,"valu":2'), "unknown: valu"),
    (GOOD.replace(',"value":1', ""), "needs value"),
    (GOOD.replace("2024-05-01T12:00:00Z", "2024-05-01T12:00:00"), "no offset"),
    (GOOD.replace("2024-05-01T12:00:00Z", "noon Z"), "not a time"),
    (GOOD.replace("2024-05-01", "1999-12-31"), "before 2000"),
    (GOOD.replace('"2024-05-01T12:00:00Z"', "99999999999999"), "after 2200"),
    (GOOD.replace('"2024-05-01T12:00:00Z"', "true"), "time must be a text"),
    ('{"waste":7}', "object"),
    ('{"waste":{"site":"here"},"point":"x"}', "unknown beside"),
    ('{"waste":{"site":"here","kind":"fill"}}', "needs time_ms"),
    ('{"waste":{"site":"here","kind":"burnt","time":1714566600}}', "waste_event"),
    ('{"waste":{"site":"here","kind":"fill","time":1714566600,"station":"S9"}}', "unknown station"),
    ('{"waste":{"site":"here","kind":"fill","time":1714566600,"level":9}}', "no field level"),
    ('{"vehicle":{"site":"here","kind":"fuel","time":1714566600,"vehicle":"V1","fuel_ml":0.5}}', "whole number"),
    ('{"vehicle":{"site":"here","kind":"fuel","time":1714566600,"vehicle":"V1","order":["a"]}}', "vehicle_event"),
]


def test_garbage_is_rejected_and_the_rest_goes_on(kafka: KafkaSettings, tmp_path: Path) -> None:
    """Every unusable line has its number and a reason; the good lines between them are all sent."""
    sites.topics(kafka)
    work = sender(kafka, tmp_path / "model")
    work._rejects.path = tmp_path / "lines.rejected.csv"
    lines = [line if isinstance(line, bytes) else line.encode() for line, _ in GARBAGE]
    result = work.run(line for bad in lines for line in (bad, GOOD.encode()))

    work._rejects.close()
    with work._rejects.path.open(encoding="utf-8", newline="") as file:
        kept = list(csv.DictReader(file))

    assert [(row["file"], int(row["line"])) for row in kept] == [("-", 1 + 2 * n) for n in range(len(GARBAGE))]
    for row, (_, word) in zip(kept, GARBAGE, strict=True):
        assert word in row["reason"]
    assert (result.lines, result.rejected, result.readings) == (2 * len(GARBAGE), len(GARBAGE), len(GARBAGE))
    assert len(sites.readings(kafka)) == len(GARBAGE)
