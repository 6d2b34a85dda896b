"""Points as arrays: order, units, bounds, rollover and ages are what kernels are promised."""

from pathlib import Path

import numpy as np
import pytest

from schemas.errors import ContractError
from schemas.model.build import Deployment, build_documents
from schemas.model.check import check_folder
from schemas.model.document import Document
from schemas.model.points import FOREVER_MS, PointColumns, point_columns
from schemas.units import INT64_MAX, INT64_MIN
from tests.support.models import Tables, write_model

KEYS = [
    "kind",
    "topic",
    "interval_ms",
    "max_age_ms",
    "rate_max",
    "span",
    "low",
    "high",
    "data_clock",
    "integral_divisor",
]


@pytest.fixture
def document(tmp_path: Path) -> Document:
    """The document of site east."""
    model, faults = check_folder(write_model(tmp_path))
    assert faults == []
    return build_documents(model, Deployment({"east": 0, "west": 1}, {}, {}, {}))["east"]


def row(points: PointColumns, name: str) -> dict[str, int]:
    """What the arrays hold of a point."""
    at = points.ids.index(name)
    return {key: int(getattr(points, key)[at]) for key in KEYS}


def test_points_of_a_gateway_lie_side_by_side(document: Document) -> None:
    """Rows are ordered by gateway and number; generated points have the empty gateway."""
    points = point_columns(document)
    pairs = list(zip(points.gateway.tolist(), points.numbers.tolist(), strict=True))
    assert pairs == sorted(pairs)
    assert points.gateways == ("", "gw-e", "gw-e2")
    assert len(points) == len(set(points.ids)) == len(document.table("points")["id"])
    numbers = dict(zip(document.table("points")["id"], document.table("points")["number"], strict=True))
    assert all(numbers[name] == number for name, number in zip(points.ids, points.numbers.tolist(), strict=True))
    assert points.numbers.dtype == np.uint32
    assert points.kind.dtype == points.topic.dtype == points.data_clock.dtype == np.int8


def test_a_register_has_rate_and_rollover(document: Document) -> None:
    """100 kWh an hour is 100,000 Wh; 8 digits of 0.01 kWh through a 40:1 transformer roll over at 40,000,000 kWh."""
    found = row(point_columns(document), "e-main")
    assert found == {
        "kind": 0, "topic": 0, "interval_ms": 900_000, "max_age_ms": 2_700_000, "rate_max": 100_000,
        "span": 40_000_000_000, "low": INT64_MIN, "high": INT64_MAX, "data_clock": 0, "integral_divisor": 0,
    }  # fmt: skip


def test_a_gauge_has_bounds_and_a_divisor(document: Document) -> None:
    """Bounds are thousandths of the unit; a flow integrates to mL, a temperature does not; a clock may be its own."""
    points = point_columns(document)
    flow, temperature = row(points, "e-flow"), row(points, "e-temp")
    assert (flow["kind"], flow["low"], flow["high"], flow["integral_divisor"]) == (2, 0, 40_000, 60_000)
    assert (temperature["low"], temperature["high"], temperature["integral_divisor"]) == (-20_000, 60_000, 0)
    assert (temperature["data_clock"], temperature["max_age_ms"]) == (1, 3_600_000)
    assert row(points, "e-light")["rate_max"] == 400


def test_event_points_never_age(document: Document) -> None:
    """A point without interval and max_age is fed when something happens: its age says nothing."""
    points = point_columns(document)
    assert row(points, "vehicle:V1/on_trip")["max_age_ms"] == FOREVER_MS
    assert [row(points, name)["topic"] for name in ("e-main", "bin:B1/fill", "vehicle:V1/on_trip")] == [0, 1, 2]


def test_the_meter_installed_last_tells_the_rollover(tmp_path: Path) -> None:
    """After a swap it is the new meter's digits that count."""

    def swap(model: Tables) -> None:
        model["meter_install"][2]["valid_to"] = "2025-06-01"
        model["meter_install"].append({"meter": "M3", "point": "e-sub", "valid_from": "2025-06-01"})
        model["meters"].append({"id": "M3", "digits": 4, "resolution": "0.1"})

    model, faults = check_folder(write_model(tmp_path, swap))
    assert faults == []
    document = build_documents(model, Deployment({"east": 0, "west": 1}, {}, {}, {}))["east"]
    assert row(point_columns(document), "e-sub")["span"] == 1_000_000


def test_a_spoilt_document_is_refused(document: Document) -> None:
    """Points that apply would not have written raise an error of ours, not a stray one."""
    table = dict(document.table("points"))
    spoilt = [{**table, "kind": ["counter"] * len(table["id"])}, {key: table[key] for key in table if key != "number"}]
    for points in spoilt:
        document.tables["points"] = points
        with pytest.raises(ContractError):
            point_columns(document)
