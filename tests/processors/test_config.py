"""Documents one after another: what stays keeps its state, what is gone ends, and what does not follow is rejected."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.advance import Processor
from processors.layout_build import build
from processors.state import BUSY, POINT, empty_state
from processors.transfer import transfer
from schemas import topics
from schemas.errors import LogError
from schemas.model.document import Document
from tests.processors.logs import FIRST, SECOND_RULES, THIRD, busy, site
from tests.processors.world import (
    DAY,
    MIN,
    T0,
    Record,
    Row,
    batch,
    config,
    decode,
    document,
    library,
    pack,
    point,
    records,
    run,
    slab,
    tick,
)  # fmt: skip
from tests.support.patience import patient

LIGHT = pack(
    """Light
    each: {space: [office]}
    roles: {light: light_power}
    expr: light > 50 W
    for: 5m
    wastes: [light]"""
)


def room(rules: str = LIGHT, numbers: tuple[int, ...] = (1,), name: str = "s1", **more: Any) -> Document:
    """A room with lights."""
    return document([point(number, space="r1", max_age_s=600) for number in numbers], rules, site=name, **more)


def log_of(*parts: bytes | tuple[int, int], start: int = T0) -> list[Record]:
    """Messages a minute apart: records as they are, (point, value) as a reading of that minute."""
    found: list[tuple[int, bytes | None]] = []
    for place, part in enumerate(parts):
        time = start + place * 50_000
        found.append((time, part if isinstance(part, bytes) else batch([(part[0], time, part[1])])))
    return records(found)


def alerts(rows: dict[str, list[Row]]) -> list[tuple[str, str, str, int, int]]:
    """(rule, subject, state, episode, version) of alert rows."""
    return [(r["rule"], r["subject"], r["state"], r["episode"], r["config_version"]) for r in rows["alerts"]]


ON, OFF = (1, 60_000), (1, 0)


def test_state_goes_on_under_a_new_document() -> None:
    """Pending goes on pending, firing goes on firing, and the row that ends it names the version that was in force then."""
    second = room(LIGHT.replace("for: 5m", "for: 5m\n    labels: {severity: critical}"))
    first = room()
    log = log_of(config(first), *[ON] * 4, config(second, 2, first.sha256), *[ON] * 5, OFF, OFF)
    _, rows = run(log, library(first, second))
    assert alerts(rows) == [("Light", "r1", "firing", 1, 2), ("Light", "r1", "resolved", 1, 2)]
    assert rows["alerts"][0]["started_at"] == T0 + 50_000
    assert {row["severity"] for row in rows["alerts"]} == {"critical"}


def test_a_longer_for_holds_for_what_is_pending() -> None:
    """The new rule decides when a pending condition fires."""
    first, second = room(), room(LIGHT.replace("for: 5m", "for: 7m"))
    log = log_of(config(first), *[ON] * 4, config(second, 2, first.sha256), *[ON] * 6)
    _, rows = run(log, library(first, second))
    assert [(row["valid_at"] - T0) / MIN for row in rows["alerts"]] == [pytest.approx(7 + 50 / 60)]


def test_a_rule_that_is_gone_ends_as_stale() -> None:
    """A firing alert whose rule or subject is gone ends as stale at once, under the version that had it; a pending one just goes."""
    first, second = room(), room("")
    firing = log_of(config(first), *[ON] * 8, config(second, 2, first.sha256), ON)
    processor, rows = run(firing, library(first, second))
    assert alerts(rows) == [("Light", "r1", "firing", 1, 1), ("Light", "r1", "stale", 1, 1)]
    assert rows["alerts"][1]["offset"] == 9
    assert rows["alerts"][1]["valid_at"] == processor.clock_ms - 50_000
    pending = log_of(config(first), *[ON] * 3, config(second, 2, first.sha256), ON)
    assert alerts(run(pending, library(first, second))[1]) == []


def test_a_rule_that_comes_back_counts_from_one() -> None:
    """What is gone is forgotten: the rule that comes back begins anew, and is looked at without waiting for a reading."""
    docs = [room(), room(""), room()]
    docs[2] = dataclasses.replace(docs[2], next_number=50)
    log = log_of(
        config(docs[0]),
        *[ON] * 8,
        config(docs[1], 2, docs[0].sha256),
        ON,
        config(docs[2], 3, docs[1].sha256),
        *[tick()] * 8,
    )
    _, rows = run(log, library(*docs))
    assert alerts(rows) == [
        ("Light", "r1", "firing", 1, 1),
        ("Light", "r1", "stale", 1, 1),
        ("Light", "r1", "firing", 1, 3),
    ]


def test_a_new_rule_looks_at_once() -> None:
    """A rule that comes into a room whose lights are on and never change sees them with the next message."""
    first, second = room(""), room()
    log = log_of(config(first), ON, config(second, 2, first.sha256), *[ON] * 8)
    assert alerts(run(log, library(first, second))[1]) == [("Light", "r1", "firing", 1, 2)]


def test_points_keep_what_they_know() -> None:
    """Points that stay keep every field of their state, wherever their rows move; a point of another kind begins anew."""
    first = room(numbers=(1, 2, 9))
    rows = [
        *(point(number, space="r1", max_age_s=600, gateway="g0" if number < 3 else "g1") for number in (2, 4, 5, 9))
    ]
    second = document([*rows, point(1, kind="state", unit="1", role="motion", gateway="g0")])
    log = [(T0, config(first)), (T0, batch([(1, T0, 5), (2, T0, 6), (9, T0, 7)]))]
    before, _ = run(records(log), library(first))
    after, _ = run(records([*log, (T0, config(second, 2, first.sha256))]), library(first, second))
    old = {int(key): row for key, row in zip(before.layout.point_key, before.state.points, strict=True)}
    new = {int(key): row for key, row in zip(after.layout.point_key, after.state.points, strict=True)}
    fresh = empty_state(1, 0, 0).points[0]
    for row in (fresh, *old.values()):
        row["flags"] |= BUSY  # under a new document everything is looked at once
    for number in (2, 9):
        assert new[number] == old[number]
    for number in (1, 4, 5):
        assert new[number] == fresh
    assert POINT.itemsize <= 200


def test_sites_of_a_partition_do_not_disturb_each_other() -> None:
    """A second site that comes before the first by name moves every row; nothing of the first is lost."""
    first = room()
    other = room(name="a0", partitions={"a0": 0, "s1": 0})
    log = log_of(config(first), *[ON] * 4, config(other), *[ON] * 5)
    _, rows = run(log, library(first, other))
    assert alerts(rows) == [("Light", "r1", "firing", 1, 1)]
    assert {row["site"] for row in rows["alerts"]} == {"s1"}


def bad_documents() -> dict[str, Document]:
    """Documents that cannot be used."""
    good = room()
    points = good.tables["points"]

    def with_points(**columns: Any) -> Document:
        return dataclasses.replace(good, tables={**good.tables, "points": {**points, **columns}})

    return {
        "another site": room(name="s2"),
        "another partition": dataclasses.replace(good, partition=1),
        "interval of nothing": dataclasses.replace(good, interval_s=0),
        "interval of minus a minute": dataclasses.replace(good, interval_s=-60),
        "interval that does not divide a day": dataclasses.replace(good, interval_s=7 * 3600),
        "interval that is a text": dataclasses.replace(good, interval_s="x"),  # type: ignore[arg-type]
        "limit that is a text": dataclasses.replace(good, limits={"future_ms": "x"}),  # type: ignore[dict-item]
        "limit over int64": dataclasses.replace(good, limits={"future_ms": 1 << 70}),
        "kind that is none": with_points(kind=["odd"]),
        "unit that is none": with_points(unit=["ell"]),
        "topic that is none": with_points(topic=["news"]),
        "number that is none": with_points(number=["x"]),
        "number below nothing": with_points(number=[-1]),
        "columns of other lengths": with_points(kind=["gauge", "gauge"]),
        "a column is missing": dataclasses.replace(good, tables={**good.tables, "points": {"id": ["p1"]}}),
        "tables that are none": dataclasses.replace(good, tables=[]),  # type: ignore[arg-type]
        "rules that are none": dataclasses.replace(good, rules=[{"pack": "x", "odd": 1}]),
        "rule over an unknown role": room(LIGHT.replace("light > 50 W", "dark > 50 W")),
        "calendar of no dates": room(calendar={"soon": "workday"}, rules=LIGHT.replace("light > 50 W", "light > 50 W and workday()")),
        "zone that is none": dataclasses.replace(
            room(calendar={"2026-01-01": "workday"}, rules=LIGHT.replace("light > 50 W", "light > 50 W and workday()")),
            tables={**room(calendar={"2026-01-01": "workday"}).tables, "sites": {"id": ["s1"], "time_zone": ["Asia/Nowhere"], "calendar": ["cn"]}},
        ),
    }  # fmt: skip


@pytest.mark.parametrize("case", bad_documents())
def test_bad_documents_are_rejected(case: str) -> None:
    """A document that cannot be used changes nothing: the record is rejected, the version stays, the site goes on."""
    good, bad = room(), bad_documents()[case]
    record = config(bad, 2, good.sha256, "s1")
    log = log_of(config(good), ON, record, *[ON] * 7)
    processor, rows = run(log, library(good, bad))
    assert [(row["reason"], row["raw"]) for row in rows["rejected"]] == [("bad_document", record)]
    assert processor.heads == {"s1": (1, good.sha256)}
    assert alerts(rows) == [("Light", "r1", "firing", 1, 1)]


def test_a_partition_has_one_clock() -> None:
    """A site of another domain cannot come into a partition."""
    live, simulated = room(), room(name="s2", domain="demo")
    log = records([(T0, config(live)), (T0, config(simulated))])
    processor, rows = run(log, library(live, simulated))
    assert [row["reason"] for row in rows["rejected"]] == ["bad_document"]
    assert not processor.simulated


@pytest.mark.parametrize("version,follows", [(1, True), (2, False), (3, True), (3, False), (0, True), (-1, True)])
def test_a_chain_that_does_not_follow(version: int, follows: bool) -> None:
    """A repeat, a hole, and a record that names another predecessor are rejected; the right one is still taken after them."""
    first, second = room(), room("")
    wrong = config(second, version, first.sha256 if follows else second.sha256)
    log = records([(T0, config(first)), (T0, wrong), (T0, config(second, 2, first.sha256))])
    processor, rows = run(log, library(first, second))
    assert [row["reason"] for row in rows["rejected"]] == ["broken_chain"]
    assert processor.heads == {"s1": (2, second.sha256)}


def test_a_document_that_cannot_be_had_stops_the_task() -> None:
    """Whoever finds documents may fail: the error goes on, the position stays, and nothing is done twice afterwards."""
    first, second = room(), room("")
    shelf = library(first)

    def find(sha256: bytes) -> Document:
        if sha256 not in shelf:
            raise LogError("not there yet")
        return shelf[sha256]

    log = log_of(config(first), *[ON] * 8, config(second, 2, first.sha256), ON)
    processor = Processor(topics.METER_READINGS, 0, find)
    for _ in range(3):
        with pytest.raises(LogError):
            processor.advance(slab(log), processor.position)
        assert processor.position == 9
    shelf[second.sha256] = second
    processor.advance(slab(log), processor.position)
    _, rows = run(log, library(first, second))
    assert decode(processor.take()) == rows


@patient(max_examples=15)
@given(
    st.integers(0, 10**6),
    st.sampled_from([FIRST, site(SECOND_RULES), THIRD]),
    st.sampled_from([FIRST, site(SECOND_RULES), THIRD]),
)
def test_there_and_back(seed: int, start: Document, other: Document) -> None:
    """A state that is moved to its own layout differs in the queue of timers alone; there and back loses what the other lacks."""
    processor, _ = run(records([(T0, config(start)), *busy(seed, 60)]), library(start))
    one = build(topics.METER_READINGS, {"s1": start}, {"s1": 1})
    two = build(topics.METER_READINGS, {"s1": other}, {"s1": 2})
    same = transfer(one, processor.state, one)
    processor.state.points["flags"] |= BUSY  # a cache: under a new document everything is looked at once
    assert same.points.tobytes() == processor.state.points.tobytes()
    untimed = [name for name in same.instances.dtype.names or () if name not in ("due", "place")]
    assert same.instances[untimed].tolist() == processor.state.instances[untimed].tolist()
    assert same.parts.tolist() == processor.state.parts.tolist()
    there = transfer(one, processor.state, two)
    kept = [
        name
        for name in POINT.names or ()
        if name in ("clock", "last", "total", "settled", "row_from", "fact_time", "fact_value", "since")
    ]
    assert there.points[kept].tolist() == processor.state.points[kept].tolist()
    assert sorted(there.queue[: len(there.instances)].tolist()) == list(range(len(there.instances)))


def test_the_first_document_in_a_log_decides_the_clock() -> None:
    """Before any document time stands still; messages before it are rejected and keep the time at which they were known."""
    live = room()
    log = records(
        [(T0 - DAY, batch([(1, T0 - DAY, 5)])), (T0 - DAY, tick()), (T0, config(live)), (T0, batch([(1, T0, 5)]))]
    )
    processor, rows = run(log, library(live))
    assert [(row["reason"], row["known_at"]) for row in rows["rejected"]] == [("unknown_site", T0 - DAY)]
    assert processor.clock_ms == T0
