"""Rubbish of every kind between good readings: rejected with reason and place, the rest goes on, mended input comes in."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from ganzhi.cli import build
from ganzhi.cli.data import REJECTED_EXIT
from ganzhi.embedded.system import System
from schemas import codec
from schemas.decode import READINGS_MAX
from schemas.encode import encode_batch, encode_batches
from schemas.model.document import Document
from schemas.settings import Settings
from schemas.topics import METER_READINGS, WASTE_EVENTS, topic_name
from streams.published import read_documents
from tests.streams.log import producer
from tests.support.models import Tables, write_model
from tests.system.runs import settle

PROFILE: Final = "bad-input"
START_MS: Final = 1_767_225_600_000
HOUR_MS: Final = 3_600_000
RUN = CliRunner()
WEST: Final = {"sites": "id", "buildings": "site", "gateways": "site", "points": "site", "vehicles": "site"}
"""Table → column that says whether a row belongs to the site west."""


def with_west_water(tables: Tables) -> None:
    """The whole model, and in the site west a meter of cold water, its first point."""
    water = next(row for row in tables["points"] if row["id"] == "e-water")
    tables["points"].insert(0, water | {"id": "w-cold", "site": "west", "gateway": "gw-w", "space": "W1"})


def without(tables: Tables) -> None:
    """The model of somebody who forgot a meter and a whole site."""
    for table, column in WEST.items():
        tables[table] = [row for row in tables[table] if row[column] != "west" and row["id"] != "e-water"]
    tables["spaces"] = [row for row in tables["spaces"] if row["building"] != "W1"]


def ganzhi(*arguments: str, text: str | None = None, status: int = 0) -> Result:
    """A command of the profile, as people type it."""
    result = RUN.invoke(build(arguments[0]), [*arguments, "--profile", PROFILE], input=text)
    assert result.exit_code == status, result.output
    return result


def batch(document: Document, gateway: str, rows: list[tuple[str | int, int, int]], site: str = "") -> bytes:
    """A message of readings (point or its number, time, value)."""
    points = document.table("points")
    numbers = dict(zip(points["id"], points["number"], strict=True))
    named = [numbers[name] if isinstance(name, str) else name for name, _, _ in rows]
    columns = (
        np.array([row[1] for row in rows], np.int64),
        np.array(named, np.int32),
        np.array([row[2] for row in rows], np.int64),
        np.zeros(len(rows), np.int8),
    )
    return encode_batch(site or document.site, gateway, "live", *columns)


def rubbish(east: Document) -> list[tuple[str, str, bytes, bytes | None]]:
    """(expected reason, topic, key, value) of everything that somebody may send by mistake."""
    good = batch(east, "gw-e", [("e-sub", START_MS, 5)])
    largest = batch(east, "gw-e", [("e-sub", START_MS, 2**63 - 1)])
    end = b"\xfe" + b"\xff" * 8
    assert largest.count(end + b"\x01") == 1
    many = READINGS_MAX + 1
    columns = (np.arange(many) + START_MS, np.full(many, 1, np.int32), np.arange(many), np.zeros(many, np.int8))
    (too_many,) = encode_batches("east", "gw-e", "live", *columns, readings_max=many)
    west = batch(east, "gw-w", [(1, START_MS + HOUR_MS, 7_000)], site="west")
    far_ms = START_MS + 50 * 365 * 24 * HOUR_MS
    event = dict.fromkeys(field for field in _fields("waste_event"))
    event |= {"site": "east", "event_id": "1", "time_ms": START_MS, "kind": "deposit", "station": "S9", "mass_g": 1}
    return [
        ("cut", METER_READINGS, b"east", good[:-3]),
        ("trailing", METER_READINGS, b"east", good + b"\x00"),
        ("overlong", METER_READINGS, b"east", largest.replace(end + b"\x01", end + b"\x02")),
        ("unknown_contract", METER_READINGS, b"east", good[:2] + bytes(8) + good[10:]),
        ("unknown_contract", METER_READINGS, b"east", b"rubbish"),
        ("null_value", METER_READINGS, b"east", None),
        ("too_many", METER_READINGS, b"east", too_many),
        ("unknown_site", METER_READINGS, b"west", west),
        ("unknown_gateway", METER_READINGS, b"east", batch(east, "gw-x", [("e-sub", START_MS, 5)])),
        ("wrong_gateway", METER_READINGS, b"east", batch(east, "gw-e2", [("e-sub", START_MS, 5)])),
        (
            "unknown_point",
            METER_READINGS,
            b"east",
            batch(east, "gw-e", [(east.next_number, START_MS + HOUR_MS, 11_000)]),
        ),
        ("too_old", METER_READINGS, b"east", batch(east, "gw-e", [("e-sub", 900_000_000_000, 5)])),
        ("future", METER_READINGS, b"east", batch(east, "gw-e", [("e-sub", far_ms, 5)])),
        ("unknown_contract", WASTE_EVENTS, b"east", good),
        ("unknown_station", WASTE_EVENTS, b"east", codec.write("waste_event", event)),
    ]


def _fields(contract: str) -> list[str]:
    listed: Any = codec.schema(contract)["fields"]
    return [str(field["name"]) for field in listed]


@dataclass(frozen=True)
class Sent:
    """A system that got rubbish between good readings."""

    system: System
    settings: Settings
    east: Document
    bad: list[tuple[str, str, int]]
    good: int


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sent]:
    """After each bad message comes a good one; the worker and the sink have taken all of them."""
    with System(PROFILE, wipe=True, ports="free") as system:
        settings = system.settings
        ganzhi("apply", str(write_model(tmp_path_factory.mktemp("first"), without)))
        east = read_documents(settings.kafka)["east"]
        one = producer(settings.kafka, enable_idempotence=True)
        placed: list[tuple[str, str, int]] = []
        listed = rubbish(east)
        for number, (reason, topic, key, value) in enumerate(listed):

            def told(error: object, message: Any, reason: str = reason, topic: str = topic) -> None:
                assert error is None
                placed.append((reason, topic, message.offset()))

            one.produce(topic_name(settings.kafka, topic), value, key, east.partition, on_delivery=told)
            reading = batch(east, "gw-e", [("e-main", START_MS + number * 900_000, number * 1000)])
            one.produce(topic_name(settings.kafka, METER_READINGS), reading, b"east", east.partition)
            assert one.flush(60) == 0
        settle(system)
        yield Sent(system, settings, east, placed, len(listed))


def test_each_is_rejected_with_reason_and_place(sent: Sent) -> None:
    """`rejected list` names every bad message by its offset with the right reason, and nothing else."""
    listed = [json.loads(line) for line in ganzhi("rejected", "list", "--json").stdout.splitlines()]
    assert sorted((row["reason"], row["topic"], row["offset"]) for row in listed) == sorted(sent.bad)
    assert {row["partition"] for row in listed} == {sent.east.partition}
    assert all(row["detail"] for row in listed)
    shown = ganzhi("rejected", "list").stdout
    assert all(reason in shown for reason, _, _ in sent.bad)


def test_they_are_stored_too(sent: Sent) -> None:
    """`ganzhi sql` counts the same reasons."""
    told = ganzhi("sql", "SELECT reason, count() AS n FROM rejected GROUP BY reason", "--json").stdout
    stored = {row["reason"]: row["n"] for row in map(json.loads, told.splitlines())}
    assert stored == Counter(reason for reason, _, _ in sent.bad)


def usage(point: str) -> int:
    """What the ledger has of a point."""
    query = (
        "SELECT sum(l.quantity) AS n FROM ledger AS l JOIN points AS p ON p.number = l.point AND p.site = l.site"
        f" WHERE p.id = '{point}'"
    )
    (line,) = ganzhi("sql", query, "--json").stdout.splitlines()
    return int(json.loads(line)["n"])


def test_the_rest_goes_on(sent: Sent) -> None:
    """The good readings between them are all counted, to the watt-hour; nothing of the bad ones is."""
    assert usage("e-main") == (sent.good - 1) * 1000
    assert usage("e-sub") == 0


def test_garbage_on_standard_input(sent: Sent) -> None:
    """`ganzhi send` tells line and reason of what it cannot use, and sends the rest; status 8."""
    time = '"time":"2026-03-01T00:00:00Z"'
    lines = [
        '{"site":"east","point":"e-peak",' + time + ',"value":1.5}',
        "garbage",
        '{"site":"east","point":"nobody",' + time + ',"value":1}',
        '{"site":"east","point":"e-peak",' + time + ',"value":1e30}',
        '{"site":"east","point":"e-peak","time":"1999-01-01T00:00:00Z","value":1}',
        "\udcff\udcfe",
        '{"site":"east","point":"e-peak","time":"2026-03-01T00:15:00Z","value":4}',
    ]
    raw = "\n".join(lines).encode("utf-8", "surrogateescape")
    result = RUN.invoke(build("send"), ["send", "--profile", PROFILE, "--json"], input=raw)
    assert result.exit_code == REJECTED_EXIT, result.output
    counts = json.loads(result.stdout)
    assert (counts["lines"], counts["readings"], counts["rejected"]) == (7, 2, 5)
    assert all(f"-:{line}: " in result.stderr for line in (2, 3, 4, 5, 6))
    settle(sent.system)
    assert usage("e-peak") == 2500


def test_mended_input_comes_in(sent: Sent, tmp_path: Path) -> None:
    """With the forgotten meter and site in the model, `rejected requeue` counts their readings, once however often."""
    assert sent.east.site == "east"
    folder = write_model(tmp_path, with_west_water)
    told = json.loads(ganzhi("apply", str(folder), "--json").stdout)
    assert {site["site"]: site["version"] for site in told["sites"]} == {"east": 2, "west": 1}
    points = read_documents(sent.settings.kafka)["east"].table("points")
    assert dict(zip(points["id"], points["number"], strict=True))["e-water"] == sent.east.next_number
    for _ in range(2):
        for reason in ("unknown_point", "unknown_site"):
            assert "1" in ganzhi("rejected", "requeue", "--reason", reason).stdout
        settle(sent.system)
        assert (usage("e-water"), usage("w-cold")) == (11_000, 7_000)
    listed = [json.loads(line) for line in ganzhi("rejected", "list", "--json").stdout.splitlines()]
    assert Counter(row["reason"] for row in listed)["unknown_point"] == 1
