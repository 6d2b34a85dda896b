"""Waste and vehicle events as readings: mass, fill, distance, fuel and charge in the same ledger and the same rules."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.advance import Processor
from schemas import codec, topics
from schemas.model.document import Document
from tests.processors.world import (
    HOUR,
    MIN,
    T0,
    Row,
    comparable,
    config,
    decode,
    document,
    library,
    pack,
    records,
    run,
    slab,
    tick,
)
from tests.support.oracle.engine import Oracle
from tests.support.patience import patient

STATIONS = [
    {"id": "S1", "site": "s1", "space": None, "class": ["kitchen", "other"]},
    {"id": "S2", "site": "s1", "space": None, "class": ["recyclable"]},
]
BINS = [{"id": "B1", "station": "S1", "class": "kitchen"}, {"id": "B2", "station": "S1", "class": "kitchen"}]
VEHICLES = [
    {"id": "V1", "energy": "electric", "special_purpose": None},
    {"id": "V2", "energy": "gasoline", "special_purpose": None},
]
RULES = pack(
    """Overfull
    each: {station: [recyclable]}
    roles: {fill: fill_level}
    expr: fill >= 90 %
    clear: fill < 50 %
    for: 10m""",
    """Idling
    each: {vehicle: [gasoline]}
    roles: {ignition: ignition, speed: speed}
    expr: ignition and speed == 0 km/h
    for: 5m""",
    """Sorting
    each: {station: any}
    roles: {wrong: waste_wrong}
    expr: increase(wrong, 7d) >= 3
    clear: increase(wrong, 7d) < 3""",
)
DOC = document(
    [], RULES, tables={"stations": STATIONS, "bins": BINS, "vehicles": VEHICLES}, partitions={"s1": 0, "s2": 1}
)


def fields(contract: str) -> dict[str, Any]:
    """An event with nothing in its optional fields."""
    schema: Any = codec.schema(contract)
    return {field["name"]: None for field in schema["fields"]}


def waste(kind: str, time_ms: int = T0, **more: Any) -> bytes:
    """A waste event."""
    event = {**fields("waste_event"), "site": "s1", "event_id": "e", "time_ms": time_ms, "kind": kind, **more}
    return codec.write("waste_event", event)


def vehicle(kind: str, time_ms: int = T0, **more: Any) -> bytes:
    """A vehicle event."""
    event = {
        **fields("vehicle_event"),
        "site": "s1",
        "event_id": "e",
        "time_ms": time_ms,
        "kind": kind,
        "vehicle": "V2",
        **more,
    }
    return codec.write("vehicle_event", event)


def feed(topic: str, *values: bytes | tuple[int, bytes], doc: Document = DOC) -> dict[str, list[Row]]:
    """Rows of events; a pair says when the log got it, in ms after T0."""
    timed = [(T0, value) if isinstance(value, bytes) else (T0 + value[0], value[1]) for value in values]
    return run(records([(T0, config(doc)), *timed]), library(doc), topic)[1]


def ledger(rows: dict[str, list[Row]]) -> list[tuple[str, int, int, int]]:
    """(point id, from, to after T0, quantity)."""
    table = DOC.table("points")
    names = dict(zip(table["number"], map(str, table["id"]), strict=True))
    return [(names[row["point"]], row["from_ms"] - T0, row["to_ms"] - T0, row["quantity"]) for row in rows["ledger"]]


def test_mass_along_the_chain() -> None:
    """Every step of a lot is a row of the class: of the station where it has one, else of the site."""
    rows = feed(
        topics.WASTE_EVENTS,
        waste("deposit", station="S1", waste_class="kitchen", mass_g=1200),
        waste("collected", T0 + 1, station="S1", waste_class="kitchen", mass_g=1100),
        *(
            waste(kind, T0 + 2, waste_class="kitchen", mass_g=1000)
            for kind in ("transported", "received", "used", "disposed")
        ),
    )
    assert ledger(rows) == [
        ("station:S1/kitchen/deposited", -1, 0, 1200),
        ("station:S1/kitchen/collected", 0, 1, 1100),
        *((f"site:s1/kitchen/{kind}", 1, 2, 1000) for kind in ("transported", "received", "used", "disposed")),
    ]
    assert not rows["rejected"]


def test_wrong_sorting_is_counted() -> None:
    """A deposit of the wrong class counts its mass and one wrong deposit; a mixed one only its mass."""
    rows = feed(
        topics.WASTE_EVENTS,
        waste("deposit", station="S2", waste_class="recyclable", mass_g=10, verdict="wrong_class"),
        waste("deposit", T0 + 1, station="S2", waste_class="recyclable", mass_g=11, verdict="mixed"),
    )
    assert [(name, quantity) for name, _, _, quantity in ledger(rows)] == [
        ("station:S2/recyclable/deposited", 10), ("station:S2/recyclable/wrong", 1), ("station:S2/recyclable/deposited", 11),
    ]  # fmt: skip


def test_wrong_sorting_of_a_week() -> None:
    """The third wrong deposit counts at once, though another class was never wrong; a right one tells that it is over."""
    day = 24 * HOUR
    deposits = [
        (0, "kitchen", "wrong_class"), (day, "other", "wrong_class"), (day + HOUR, "other", "correct"),
        (2 * day + HOUR, "kitchen", "wrong_class"), (3 * day, "other", "correct"), (7 * day + HOUR, "other", "correct"),
    ]  # fmt: skip
    for classes in ({"kitchen": "kitchen", "other": "other"}, {"kitchen": "kitchen", "other": "kitchen"}):
        rows = feed(
            topics.WASTE_EVENTS,
            *(
                (at, waste("deposit", T0 + at, station="S1", waste_class=classes[name], mass_g=10, verdict=verdict))
                for at, name, verdict in deposits
            ),
        )
        told = [(row["rule"], row["subject"], row["state"], row["valid_at"] - T0) for row in rows["alerts"]]
        assert told == [
            ("Sorting", "S1", "firing", 2 * day + HOUR),
            ("Sorting", "S1", "resolved", 7 * day + HOUR),
        ]


def test_fill_levels_are_those_of_bins() -> None:
    """Each bin has its own level, also two of one class; a station without bins has one of its own."""
    log = records(
        [
            (T0, config(DOC)),
            (T0, waste("fill", station="S1", bin="B1", fill_permille=100)),
            (T0, waste("fill", station="S1", bin="B2", waste_class="kitchen", fill_permille=200)),
            (T0, waste("fill", station="S2", fill_permille=1000)),
            (T0, waste("fill", T0 + 1, station="S1", waste_class="kitchen", fill_permille=333)),
        ]
    )
    processor, rows = run(log, library(DOC), topics.WASTE_EVENTS)
    assert not rows["rejected"]
    known = {
        name: int(value)
        for name, value in zip(processor.layout.point_ids, processor.state.points["last"], strict=True)
        if name.endswith("fill")
    }
    assert known == {"bin:B1/fill": 33_300, "bin:B2/fill": 20_000, "station:S2/fill": 100_000}


def test_trips_fuel_and_charge() -> None:
    """Spans are as long as the event says; an electric car has no fuel, a gasoline one no charge, and both have a state."""
    rows = feed(
        topics.VEHICLE_EVENTS,
        vehicle("trip_start"),
        vehicle("trip_end", T0 + MIN, start_ms=T0 - HOUR, distance_m=12_345, odometer_m=99_000),
        vehicle("fuel", T0 + 2 * MIN, fuel_ml=40_000),
        vehicle("charge", T0, start_ms=T0 - 2 * HOUR, energy_wh=30_000, vehicle="V1", soc_permille=800),
    )
    assert ledger(rows) == [
        ("vehicle:V2/distance", -HOUR, MIN, 12_345),
        ("vehicle:V2/fuel", 2 * MIN - 1, 2 * MIN, 40_000),
        ("vehicle:V1/charge", -2 * HOUR, 0, 30_000),
    ]
    assert not rows["rejected"]


def test_states_of_a_vehicle() -> None:
    """Odometer, speed, charge, ignition, trip and order are what the last event said, in thousandths or as they are."""
    log = records(
        [
            (T0, config(DOC)),
            (T0, vehicle("state", vehicle="V1", odometer_m=1000, speed_mm_s=10_000, ignition=True, soc_permille=512)),
            (T0, vehicle("order_start", T0 + 1, vehicle="V1")),
            (T0, vehicle("trip_start", T0 + 2, vehicle="V1", ignition=False)),
        ]
    )
    processor, _ = run(log, library(DOC), topics.VEHICLE_EVENTS)
    known = dict(zip(processor.layout.point_ids, processor.state.points["fact_value"].tolist(), strict=True))
    values = {name.partition("/")[2]: value for name, value in known.items() if name.startswith("vehicle:V1")}
    assert values == {
        "odometer": 1_000_000, "speed": 36_000, "ignition": 0, "soc": 51_200, "order": 1, "on_trip": 1, "distance": 0, "charge": 0,
    }  # fmt: skip


def test_rules_of_stations_and_vehicles() -> None:
    """An overfull station and a car that idles raise alerts by the same rules as anything else."""
    ticks = [(minute * MIN, tick()) for minute in range(1, 12)]
    rows = feed(
        topics.WASTE_EVENTS,
        waste("fill", station="S2", fill_permille=950),
        *ticks,
        (12 * MIN, waste("fill", T0 + 12 * MIN, station="S2", fill_permille=10)),
    )
    assert [(r["rule"], r["subject"], r["state"]) for r in rows["alerts"]] == [
        ("Overfull", "S2", "firing"),
        ("Overfull", "S2", "resolved"),
    ]
    rows = feed(topics.VEHICLE_EVENTS, vehicle("state", ignition=True, speed_mm_s=0), *ticks)
    assert [(r["rule"], r["subject"], r["state"]) for r in rows["alerts"]] == [("Idling", "V2", "firing")]


WASTE_REASONS = {
    "unknown site": (waste("deposit", site="s9"), "unknown_site"),
    "no station": (waste("deposit", waste_class="kitchen", mass_g=1), "missing_field"),
    "unknown station": (waste("deposit", station="S9", waste_class="kitchen", mass_g=1), "unknown_station"),
    "unknown station to fill": (waste("fill", station="S9", fill_permille=1), "unknown_station"),
    "unknown bin": (waste("fill", station="S1", bin="B9", fill_permille=1), "unknown_station"),
    "no class": (waste("deposit", station="S1", mass_g=1), "missing_field"),
    "class of another station": (waste("deposit", station="S1", waste_class="recyclable", mass_g=1), "unknown_class"),
    "unknown class": (waste("used", waste_class="gold", mass_g=1), "unknown_class"),
    "no mass": (waste("deposit", station="S1", waste_class="kitchen"), "missing_field"),
    "negative mass": (waste("deposit", station="S1", waste_class="kitchen", mass_g=-1), "missing_field"),
    "mass over everything": (waste("deposit", station="S1", waste_class="kitchen", mass_g=(1 << 63) - 1), "malformed"),
    "unknown class of any mass": (
        waste("deposit", station="S1", waste_class="recyclable", mass_g=(1 << 62) + 1),
        "unknown_class",
    ),
    "no level": (waste("fill", station="S2"), "missing_field"),
    "level over full": (waste("fill", station="S2", fill_permille=1001), "missing_field"),
    "too old": (waste("fill", 5, station="S2", fill_permille=1), "too_old"),
    "before all times": (waste("fill", -(1 << 63), station="S2", fill_permille=1), "too_old"),
    "ahead": (
        waste("deposit", T0 + HOUR, station="S1", waste_class="kitchen", mass_g=1, verdict="wrong_class"),
        "future",
    ),
    "after all times": (waste("fill", (1 << 63) - 1, station="S2", fill_permille=1), "future"),
    "a vehicle's": (vehicle("trip_start"), "unknown_contract"),
}
VEHICLE_REASONS = {
    "unknown vehicle": (vehicle("trip_start", vehicle="V9"), "unknown_vehicle"),
    "no distance": (vehicle("trip_end"), "missing_field"),
    "negative fuel": (vehicle("fuel", fuel_ml=-1), "missing_field"),
    "ends before it starts": (vehicle("trip_end", start_ms=T0 + 1, distance_m=1), "missing_field"),
    "odometer over everything": (vehicle("state", odometer_m=(1 << 63) - 1), "malformed"),
    "speed over everything": (vehicle("state", speed_mm_s=(1 << 63) - 1), "malformed"),
    "speed under everything": (vehicle("state", speed_mm_s=-(1 << 63)), "malformed"),
    "a trip of all time": (vehicle("trip_end", start_ms=-(1 << 63), distance_m=1), "malformed"),
    "a trip to the end of time": (vehicle("trip_end", (1 << 63) - 1, start_ms=-(1 << 63), distance_m=1), "malformed"),
}


@pytest.mark.parametrize("case", WASTE_REASONS)
def test_waste_that_cannot_be_used(case: str) -> None:
    """The event is kept whole, with the reason, and nothing of it is in the ledger."""
    value, reason = WASTE_REASONS[case]
    rows = feed(topics.WASTE_EVENTS, value)
    assert [(row["reason"], row["raw"], row["readings"]) for row in rows["rejected"]] == [
        (_site_reason(case, reason), value, 0)
    ]
    assert not rows["ledger"]


def _site_reason(case: str, reason: str) -> str:
    """The message's key is of a site that is known, so its unknown site is told as an unknown sender."""
    return "unknown_gateway" if case == "unknown site" else reason


@pytest.mark.parametrize("case", VEHICLE_REASONS)
def test_vehicle_events_that_cannot_be_used(case: str) -> None:
    """The same for vehicles."""
    value, reason = VEHICLE_REASONS[case]
    rows = feed(topics.VEHICLE_EVENTS, value)
    assert [(row["reason"], row["raw"], row["readings"]) for row in rows["rejected"]] == [(reason, value, 0)]
    assert not rows["ledger"]


NUMBER = st.none() | st.integers(-5, 2000) | st.integers(-(1 << 63), (1 << 63) - 1)
SMALL = st.none() | st.integers(-5, 1500)
TIME = st.integers(T0 - HOUR, T0 + 10 * MIN) | st.integers(-(1 << 63), (1 << 63) - 1)
WASTE = st.builds(
    waste, st.sampled_from(["deposit", "fill", "collected", "used"]), TIME, station=st.sampled_from([None, "S1", "S1", "S2", "S9"]),
    bin=st.sampled_from([None, None, "B1", "B2", "S1"]), waste_class=st.sampled_from([None, "kitchen", "kitchen", "other", "recyclable"]),
    mass_g=NUMBER, fill_permille=SMALL, verdict=st.sampled_from([None, "correct", "wrong_class"]),
)  # fmt: skip
VEHICLE = st.builds(
    vehicle, st.sampled_from(["trip_start", "trip_end", "state", "fuel", "charge", "order_end"]), TIME,
    vehicle=st.sampled_from(["V1", "V2", "V2", "V9"]), start_ms=st.none() | TIME, odometer_m=NUMBER, distance_m=NUMBER, speed_mm_s=NUMBER,
    ignition=st.sampled_from([None, True, False]), fuel_ml=NUMBER, energy_wh=NUMBER, soc_permille=SMALL,
)  # fmt: skip


def compare(topic: str, values: list[bytes]) -> None:
    """The rows of any events are the oracle's."""
    log = records([(T0, config(DOC)), *((T0 + place * MIN, value) for place, value in enumerate(values))])
    processor = Processor(topic, 0, library(DOC).__getitem__)
    processor.advance(slab(log, topic))
    oracle = Oracle(topic, 0, library(DOC))
    for record in log:
        oracle.feed(*record)
    found = comparable(decode(processor.take()))
    for stream, expected in oracle.rows.items():
        assert found[stream] == expected, stream


@patient(max_examples=80)
@given(st.lists(WASTE, max_size=12))
def test_any_waste(values: list[bytes]) -> None:
    """Waste events with anything in them."""
    compare(topics.WASTE_EVENTS, values)


@patient(max_examples=80)
@given(st.lists(VEHICLE, max_size=12))
def test_any_vehicle(values: list[bytes]) -> None:
    """Vehicle events with anything in them."""
    compare(topics.VEHICLE_EVENTS, values)
