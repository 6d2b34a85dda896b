"""Documents: equal models give equal bytes, numbers are for ever, a site gets the rows that concern it."""

import dataclasses
import hashlib
import json
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import Json
from schemas.errors import ModelError
from schemas.model.build import RETIRED, Deployment, build_documents, known_numbers
from schemas.model.check import check_folder
from schemas.model.document import LIMITS, Document, LazyTables
from tests.support.models import Tables, write_model

PARTITIONS = {"east": 0, "west": 1}
FIRST = Deployment(PARTITIONS, {}, {}, {"k": "00"})


def build(path: Path, deployment: Deployment = FIRST) -> dict[str, Document]:
    """The documents of a model without fault."""
    model, faults = check_folder(path)
    assert faults == []
    return build_documents(model, deployment)


def after(documents: dict[str, Document]) -> Deployment:
    """A deployment in which they are published."""
    return dataclasses.replace(
        FIRST, previous=documents, domains={site: found.domain for site, found in documents.items()}
    )


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from(["csv", "yaml"]))
def test_order_and_format_of_files_change_no_byte(source: random.Random, suffix: str) -> None:
    """However rows are ordered, and in whichever format, the document is the same, numbers of points included."""

    def shuffle(model: Tables) -> None:
        for name in sorted(model):
            source.shuffle(model[name])
            model[name] = [dict(source.sample(sorted(row.items()), len(row))) for row in model[name]]

    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        expected = build(write_model(Path(one)))
        found = build(write_model(Path(two), shuffle, suffix=suffix))
    assert {site: document.raw for site, document in found.items()} == {
        site: document.raw for site, document in expected.items()
    }


def test_equal_numbers_are_equal_however_written(tmp_path: Path) -> None:
    """1200, 1200.0 and 1.2e3 are one area, no and false one truth, an absent column and an empty one the same."""

    def spell(model: Tables) -> None:
        model["buildings"][0]["area_m2"] = "1.2e3"
        model["points"][0]["rated"] = "100.00"
        model["points"][0]["writable"] = "false"
        model["points"][0]["safe_value"] = ""

    expected = build(write_model(tmp_path / "a"))
    assert build(write_model(tmp_path / "b", spell))["east"].sha256 == expected["east"].sha256


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sets(st.sampled_from([f"p{number}" for number in range(8)])), min_size=2, max_size=5))
def test_numbers_are_never_reused_or_changed(versions: list[set[str]]) -> None:
    """Over any versions a point has one number, no two share one, and one that comes back has its own again."""
    numbers: dict[str, int] = {}
    deployment = FIRST
    for names in versions:

        def change(model: Tables, names: set[str] = names) -> None:
            row = model["points"][7]
            model["points"] += [{**row, "id": name} for name in names]

        with tempfile.TemporaryDirectory() as folder:
            documents = build(write_model(Path(folder), change, packs={}), deployment)
        deployment = after(documents)
        table = documents["east"].table("points")
        for name, number in zip(table["id"], table["number"], strict=True):
            assert numbers.setdefault(str(name), int(str(number))) == number
        assert len(set(numbers.values())) == len(numbers)
        assert documents["east"].next_number == max(numbers.values()) + 1
        assert known_numbers(documents["east"]) == numbers


def test_a_retired_point_is_remembered(tmp_path: Path) -> None:
    """A point that leaves the model leaves the points and keeps its number aside."""
    first = build(write_model(tmp_path))
    number = known_numbers(first["east"])["e-light2"]
    second = build(write_model(tmp_path, lambda model: model["points"].pop(7)), after(first))
    assert second["east"].table(RETIRED) == {"id": ["e-light2"], "number": [number]}
    assert "e-light2" not in second["east"].table("points")["id"]


@pytest.mark.parametrize(
    ("row", "cells", "message"),
    [
        (0, {"kind": "delta"}, "'e-main' was a register in energy and cannot become a delta in energy"),
        (5, {"unit": "kW"}, "'e-light' was a gauge in W and cannot become a gauge in kW"),
    ],
)
def test_a_series_keeps_what_it_counts(tmp_path: Path, row: int, cells: dict[str, str], message: str) -> None:
    """The log holds numbers of a kind and unit: another kind, or another unit of a gauge, needs a new point."""

    def change(model: Tables) -> None:
        model["points"][row].update(cells)
        if "unit" in cells:
            model["points"][7]["unit"] = cells["unit"]

    first = build(write_model(tmp_path))
    with pytest.raises(ModelError, match=message):
        build(write_model(tmp_path, change), after(first))


def test_another_unit_of_the_same_quantity_is_the_same_series(tmp_path: Path) -> None:
    """The log counts Wh, be it written kWh or MWh."""
    first = build(write_model(tmp_path))
    second = build(
        write_model(tmp_path, lambda model: model["points"][0].update(unit="MWh", rated="0.1")), after(first)
    )
    assert known_numbers(first["east"]) == known_numbers(second["east"])


def test_a_site_has_the_rows_that_concern_it(tmp_path: Path) -> None:
    """West has nothing of east but what all share: departments, tariffs, calendars."""
    documents = build(write_model(tmp_path))
    west = documents["west"]
    assert west.table("sites")["id"] == ["west"]
    assert west.table("spaces")["id"] == ["W1-101"]
    assert west.table("gateways")["id"] == ["gw-w"]
    assert west.table("vehicles")["id"] == ["V2"]
    assert {"equips", "meters", "meter_install", "balance", "tenure", "stations", "bins"}.isdisjoint(west.tables)
    assert west.table("departments") == documents["east"].table("departments")
    assert west.table("tariffs")["unit"] == ["kWh", "kWh", "m3"]
    assert west.calendars["cn"]["2026-01-01"] == "holiday"
    assert west.limits == LIMITS
    assert west.partitions == PARTITIONS
    assert documents["east"].table("meters")["id"] == ["M1", "M2"]
    assert documents["east"].table("equips")["id"] == ["ac-101", "ac-out"]


def test_limits_of_all_sites_and_of_one(tmp_path: Path) -> None:
    """A limit for all sites holds unless the site has its own."""
    limits = [{"name": "dips", "value": 5}, {"name": "dips", "site": "west", "value": 7}]
    documents = build(write_model(tmp_path, limits=limits))
    assert [documents[site].limits["dips"] for site in ("east", "west")] == [5, 7]


def test_waste_and_vehicles_get_points(tmp_path: Path) -> None:
    """Stations, bins, sites and vehicles get the points that their events feed, of one topic and without gateway."""
    table = build(write_model(tmp_path))["east"].table("points")
    rows = [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]
    made = {str(row["id"]): row for row in rows if row["topic"] != "meter.readings"}
    assert {name for name in made if name.startswith(("station:S1", "bin:"))} == {
        *(
            f"station:S1/{waste}/{measure}"
            for waste in ("kitchen", "other")
            for measure in ("deposited", "collected", "wrong")
        ),
        "bin:B1/fill",
    }
    assert {name.rpartition("/")[2] for name in made if name.startswith("site:east/recyclable")} == {
        "transported",
        "received",
        "used",
        "disposed",
    }
    assert {name.rpartition("/")[2] for name in made if name.startswith("vehicle:V1")} == {
        "distance", "charge", "odometer", "speed", "soc", "ignition", "on_trip", "order",
    }  # fmt: skip
    assert "station:S2/fill" in made
    assert "station:S1/fill" not in made
    deposited = made["station:S1/kitchen/deposited"]
    keys = ("kind", "unit", "interval_s", "station", "waste_class", "measure", "topic", "gateway", "space", "counts_in")
    assert [deposited[key] for key in keys] == [
        "delta",
        "g",
        0,
        "S1",
        "kitchen",
        "deposited",
        "waste.events",
        None,
        "E1-C1",
        None,
    ]
    assert made["vehicle:V1/charge"]["vehicle"] == "V1"
    assert made["vehicle:V1/charge"]["topic"] == "vehicle.events"


def test_one_partition_has_one_domain(tmp_path: Path) -> None:
    """A simulation and a live site may not share a partition, within a model or with what is published."""
    path = write_model(tmp_path, lambda model: model["sites"][1].update(domain="demo"))
    together = dataclasses.replace(FIRST, partitions={"east": 2, "west": 2})
    with pytest.raises(
        ModelError, match=r"sites\.csv:3: domain 'demo', but 'east' in the same partition 2 is of 'live'"
    ):
        build(path, together)
    elsewhere = dataclasses.replace(FIRST, partitions={**PARTITIONS, "north": 1}, domains={"north": "live"})
    with pytest.raises(ModelError, match="'north' in the same partition 1"):
        build(path, elsewhere)
    assert build(path)["west"].domain == "demo"


def test_a_document_reads_back_and_knows_its_name(tmp_path: Path) -> None:
    """Canonical bytes parse to the same document."""
    document = build(write_model(tmp_path))["east"]
    assert Document.parse(document.raw, document.sha256) == document
    later = Document.parse(document.raw, document.sha256, known=True)
    assert isinstance(later.tables, LazyTables)
    assert later == document
    assert later.raw == document.raw


def test_tables_are_found_behind_rules_that_have_tables(tmp_path: Path) -> None:
    """A member of the same name elsewhere is not taken for the tables; bytes that are not canonical are read whole."""
    one = build(write_model(tmp_path / "m"))["east"]
    fooling: list[dict[str, Json]] = [{"a": '","tables":{', "b": {"a": 1, "tables": {"x": 1}}, "tables": {"y": {}}}]
    document = dataclasses.replace(one, rules=fooling)
    assert Document.parse(document.raw, document.sha256, known=True) == document
    spaced = json.dumps({**json.loads(document.raw)}, indent=1).encode()
    assert Document.parse(spaced, hashlib.sha256(spaced).digest(), known=True).tables == document.tables
