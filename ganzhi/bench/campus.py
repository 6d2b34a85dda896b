"""A campus as large as the console is promised for: 10,000 rooms with meters, 31 days of usage, 1,000 open alerts.

Documents and alerts come by Kafka, as they always do; usage and readings are put straight into ClickHouse's tables.
"""

import tempfile
import time
from pathlib import Path
from typing import Final

from clickhouse_connect.driver.client import Client
from confluent_kafka import Producer

from ganzhi.bench.rig import Rig
from schemas import codec
from schemas.control import signing_key
from schemas.errors import ModelError
from schemas.kafka import client_config
from schemas.model.check import check_folder
from schemas.settings import data_home
from schemas.topics import ALERTS, METER_READINGS, topic_name
from sinks.clickhouse.client import writer
from sinks.clickhouse.migrate import migrate
from streams.published import apply_model

SITE: Final = "campus"
BUILDINGS: Final = 10
FLOORS: Final = 10
DEPARTMENTS: Final = 40
GATEWAY_ROOMS: Final = 100
DAYS: Final = 31
HOUR_MS: Final = 3_600_000
RULE: Final = "LightsInEmptyRoom"
ZONE: Final = "Asia/Shanghai"
_ROOM_POINTS: Final = (
    ("energy", "energy", "register", "electricity", "kWh", 900, "A1"),
    ("light", "light_power", "gauge", "electricity", "W", 60, ""),
    ("people", "occupancy", "state", "", "1", 60, ""),
    ("ac", "ac_running", "state", "", "1", 60, ""),
)


def room_name(number: int, rooms: int) -> str:
    """Id of a room: building, floor, place on the floor."""
    a_floor = -(-rooms // (BUILDINGS * FLOORS))
    floor, place = divmod(number, a_floor)
    return f"B{floor // FLOORS:02d}-{floor % FLOORS + 1:02d}-{place:03d}"


def publish(rig: Rig, rooms: int) -> None:
    """Puts the model into force.

    Raises:
        ModelError: it is wrong.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder, rooms)
        model, faults = check_folder(folder)
    if faults:
        raise ModelError(faults)
    apply_model(rig.kafka, model, signing_key(data_home(rig.settings.profile)))


def fire(rig: Rig, rooms: int, alerts: int, first: int = 0, episode: int = 1) -> None:
    """So many rooms burn, spread over the campus, as a worker would tell it."""
    producer = Producer(client_config(rig.kafka))
    now_ms = time.time_ns() // 1_000_000
    rows = [
        {
            "site": SITE, "offset": number, "known_at": now_ms, "config_version": 1, "rule": RULE, "episode": episode,
            "subject": room_name((first + number) * 7919 % rooms, rooms), "state": "firing",
            "severity": ("warning", "critical", "info")[number % 3],
            "valid_at": now_ms - 60_000, "started_at": now_ms - 3_600_000, "estimate": -1,
        }
        for number in range(alerts)
    ]  # fmt: skip
    for start in range(0, alerts, 500):
        message = {"topic": METER_READINGS, "partition": 0, "sequence": start, "rows": rows[start : start + 500]}
        producer.produce(topic_name(rig.kafka, ALERTS), codec.write("alert_rows", message), SITE, 0)
    producer.flush()


def use(rig: Rig, points: int) -> None:
    """Every point has ledger rows of every hour of the last month, and readings of the last hour."""
    migrate(rig.settings.clickhouse)
    client = writer(rig.settings.clickhouse)
    try:
        _insert(client, points)
    finally:
        client.close()


def _insert(client: Client, points: int) -> None:
    hour_ms = time.time_ns() // 1_000_000 // HOUR_MS * HOUR_MS
    # Every point gets rows, gauges too: more than a campus would have, and no numbers have to be looked up.
    client.command(
        "INSERT INTO ledger (site, point, from_ts, to_ts, quantity, how, cause, topic, partition, sequence, offset,"
        f" known_at) SELECT '{SITE}', number % {points}, fromUnixTimestamp64Milli({hour_ms} - (intDiv(number, {points})"
        f" + 1) * {HOUR_MS}), fromUnixTimestamp64Milli({hour_ms} - intDiv(number, {points}) * {HOUR_MS}),"
        " 100 + cityHash64(number) % 500, if(cityHash64(number) % 50 = 0, 'gap', 'measured'), 'reading',"
        f" 'meter.readings', 0, number, number, now64(3) FROM numbers({points} * 24 * {DAYS})"
    )
    client.command(
        f"INSERT INTO readings SELECT '{SITE}', 'g', number % {points}, fromUnixTimestamp64Milli({hour_ms}"
        f" - intDiv(number, {points}) * 60000), 85000, 'good', 'live', 0, number FROM numbers({points} * 60)"
    )
    client.command(
        f"INSERT INTO latest_store SELECT '{SITE}', number, now64(3), 85000, 'good', 'live', 0, number"
        f" FROM numbers({points})"
    )


def points_of(rooms: int) -> int:
    """How many points a campus has: those of its rooms, and a supply meter a building."""
    return rooms * len(_ROOM_POINTS) + BUILDINGS


def _write(folder: Path, rooms: int) -> None:
    names = [room_name(number, rooms) for number in range(rooms)]
    floors = sorted({name.rpartition("-")[0] for name in names})
    buildings = sorted({name[:3] for name in names})
    gateways = [f"g{number:04d}" for number in range(-(-rooms // GATEWAY_ROOMS))]
    lines = {
        "sites": ["id,time_zone,name_zh,name_en", f"{SITE},{ZONE},大校园,A large campus"],
        "buildings": ["id,site,class,area_m2", *(f"{one},{SITE},A,30000" for one in buildings)],
        "gateways": ["id,site", *(f"{one},{SITE}" for one in gateways)],
        "departments": ["id,name_zh", *(f"d{one:02d},部门{one:02d}" for one in range(DEPARTMENTS))],
        "spaces": [
            "id,building,parent,kind,name_zh,name_en",
            *(f"{one},{one[:3]},,floor,{one} 层,Floor {one}" for one in floors),
            *(f"{one},{one[:3]},{one.rpartition('-')[0]},office,办公室 {one},Office {one}" for one in names),
        ],
        "tenure": [
            "space,department,share",
            *(f"{one},d{number % DEPARTMENTS:02d},1" for number, one in enumerate(names)),
        ],
        "points": [
            "id,site,gateway,space,role,kind,medium,unit,interval_s,sub_item,counts_in",
            *(
                f"{room}.{point},{SITE},{gateways[number // GATEWAY_ROOMS]},{room},{role},{kind},{medium},{unit},"
                f"{interval_s},{sub_item},"
                for number, room in enumerate(names)
                for point, role, kind, medium, unit, interval_s, sub_item in _ROOM_POINTS
            ),
            *(
                f"{one}.main,{SITE},{gateways[0]},{one},energy,register,electricity,kWh,900,A1,supply"
                for one in buildings
            ),
        ],
        "schedules": ["name,day_kind,from,to", "working,any,08:00,18:00"],
        "tariffs": [
            "id,medium,slot,component,price,unit,valid_from,source",
            "t1,electricity,working,energy,0.8,kWh,2020-01-01,bench assumption",
            "t2,electricity,,surcharge,0.1,kWh,2020-01-01,bench assumption",
        ],
    }
    for name, listed in lines.items():
        (folder / f"{name}.csv").write_text("\n".join(listed) + "\n", "utf-8")
    (folder / "rules").mkdir()
    (folder / "rules" / "bench.yaml").write_text("pack: bench\ninclude: [builtin/lighting]\n")
