"""Doubts about whole runs of readings: stuck, clipped and frozen ones, against a slow judge that reads the definitions."""

import datetime as dt
import random
from collections import defaultdict
from pathlib import Path
from typing import Final

import numpy as np

from schemas.encode import encode_batches
from schemas.model.check import check_folder
from schemas.model.tables import TABLES
from schemas.settings import ClickHouseSettings, KafkaSettings
from schemas.topics import METER_READINGS
from sinks.clickhouse.client import reader
from streams.published import apply_model, read_documents
from tests.processors.world import KEY
from tests.sinks.clickhouse.world import World, settings_of, sink_thread, wait_drained

HOUR: Final = 3_600_000
START: Final = int(dt.datetime(2026, 3, 2, tzinfo=dt.UTC).timestamp()) * 1000 - 8 * HOUR  # a Monday in Shanghai
DAYS: Final = 28
AFTER: Final = 14
HOLIDAY: Final = 17
"""A Thursday on which nobody works."""
METERS: Final = tuple(f"w{k}" for k in range(6))
FLOWS: Final = ("f0", "f1")
SHARE: Final = 0.6
POINTS: Final = (
    "id,site,gateway,role,kind,medium,unit,interval_s,of\n"
    + "".join(f"{name},s,g,water,register,water,m3,3600,\n" for name in METERS)
    + "".join(f"{name},s,g,water_flow,gauge,water,L/min,3600,\n" for name in FLOWS)
    + "main,s,g,energy,register,electricity,kWh,3600,\nend,s,g,energy_frozen,register,electricity,kWh,86400,main\n"
)
TARGETS: Final = (
    "id,indicator,scope,value,source\n"
    f"stuck,stuck_share,,{SHARE},test\nclip,clipped_run,water_flow,4,test\nfreeze,frozen_tolerance,,10,test\n"
)
Log = dict[str, list[tuple[int, int]]]
"""Point → (time, value)."""


def kind_of(day: int) -> str:
    """As the calendar says."""
    return "holiday" if day == HOLIDAY or day % 7 > 4 else "workday"


def meters(chance: random.Random) -> Log:
    """Water by day, none at night and on free days; the last one never moves; some are stuck for a day."""
    stuck = {(chance.choice(METERS[:5]), chance.randrange(AFTER, DAYS)) for _ in range(8)} | {("w0", 15)}
    found: Log = defaultdict(list)
    for name in METERS:
        level = 1000
        for hour in range(24 * DAYS):
            day = hour // 24
            busy = 8 <= hour % 24 < 18 and kind_of(day) == "workday" and name != "w5" and (name, day) not in stuck
            level += chance.randrange(1, 90) if busy else 0
            found[name].append((START + hour * HOUR + 1, level))
    return found


def stuck_by_definition(log: Log) -> set[tuple[str, int]]:
    """(point, day)."""
    values: dict[tuple[str, int], set[int]] = defaultdict(set)
    for name in METERS:
        for at, value in log[name]:
            values[name, (at - START) // (24 * HOUR)].add(value)
    moved = {place: len(own) > 1 for place, own in values.items()}
    found = set()
    for name, day in moved:
        others = [moved[other, day] for other in METERS if other != name]
        before = [moved[name, earlier] for earlier in range(day) if kind_of(earlier) == kind_of(day)]
        still = day >= AFTER and not moved[name, day] and before
        if still and sum(others) >= SHARE * len(others) and sum(before) >= SHARE * len(before):
            found.add((name, day))
    return found


def test_runs_that_are_doubted(kafka: KafkaSettings, clickhouse: ClickHouseSettings, tmp_path: Path) -> None:
    """What the definitions say, for a month of water; a flow at its top; what a meter froze against what it counted."""
    folder = tmp_path / "model"
    folder.mkdir()
    first = dt.date(2026, 3, 2)
    calendar = "".join(f"c,{first + dt.timedelta(days=day)},{kind_of(day)}\n" for day in range(DAYS))
    for name, text in {
        "sites.csv": "id,time_zone,calendar\ns,Asia/Shanghai,c\n",
        "buildings.csv": "id,site\nb,s\n",
        "gateways.csv": "id,site\ng,s\n",
        "points.csv": POINTS,
        "targets.csv": TARGETS,
        "calendars.csv": "id,date,kind\n" + calendar,
    }.items():
        assert name.removesuffix(".csv") in TABLES
        (folder / name).write_text(text)
    model, faults = check_folder(folder)
    assert not faults, faults
    log = meters(random.Random(3))
    for name, long in (("f0", 5), ("f1", 3)):
        tops = range(24 * 16 + 6, 24 * 16 + 6 + long)
        log[name] = [(START + hour * HOUR, 40_000 if hour in tops else 100 * (hour % 37)) for hour in range(24 * DAYS)]
    log["main"] = [(START + hour * HOUR, 700 * hour) for hour in range(24 * DAYS)]
    middles = [START + 24 * day * HOUR - HOUR // 2 for day in (15, 20, 25)]
    levels = [700 * (middle - START) // HOUR for middle in middles]
    log["end"] = [(middles[0], levels[0] - 355), (middles[1], levels[1] + 900), (middles[2], levels[2] - 365)]
    settings = settings_of(kafka, clickhouse)
    world = World(settings)
    apply_model(settings.kafka, model, KEY)
    table = read_documents(settings.kafka)["s"].table("points")
    numbers = dict(zip(map(str, table["id"]), (int(str(n)) for n in table["number"]), strict=True))
    for name, listed in log.items():
        times, values = (np.array(column, np.int64) for column in zip(*listed, strict=True))
        arrays = (times, np.full(len(listed), numbers[name], np.int32), values, np.zeros(len(listed), np.int8))
        for message in encode_batches("s", "g", "live", *arrays):
            world.send(METER_READINGS, message, b"s")
    with sink_thread(settings):
        wait_drained(settings)
    client = reader(settings.clickhouse)
    since, until = (
        dt.datetime.fromtimestamp(START / 1000 + 86_400 * day, dt.UTC).strftime("%F %T") for day in (AFTER, DAYS)
    )
    query = f"SELECT point, code, from_ts, to_ts, value FROM reading_doubts(after = '{since}', until = '{until}')"
    rows = client.query(query).result_rows
    client.close()
    names = {number: name for name, number in numbers.items()}
    told = [
        (names[point], code, round(a.timestamp() * 1000), round(b.timestamp() * 1000)) for point, code, a, b, _ in rows
    ]
    stuck = {(name, (a - START) // (24 * HOUR)) for name, code, a, _ in told if code == "stuck"}
    assert stuck == stuck_by_definition(log)
    assert ("w0", 15) in stuck
    assert not any(name == "w5" for name, _ in stuck)
    top = START + (24 * 16 + 6) * HOUR
    assert [one for one in told if one[1] == "clipped"] == [("f0", "clipped", top, top + 4 * HOUR)]
    assert sorted(one[2] for one in told if one[1] == "frozen_differs") == middles[1:]
    assert len(told) == len(stuck) + 3
