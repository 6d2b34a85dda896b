"""Hostile and useless input: the right reason, nothing lost, and what is sent again is taken once the model is mended."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.advance import Processor
from processors.state import ENGINE, LATE, READINGS, REJECTS, REPEATS
from schemas import codec, topics
from schemas.control import engine_record
from schemas.decode import TIME_MAX
from schemas.encode_rows import text, varint
from schemas.errors import EngineMismatch
from schemas.model.document import Document
from schemas.record_batches import Slab
from tests.processors.logs import DOCUMENTS, eventful, logs, site
from tests.processors.world import (
    HOUR,
    KEY,
    MIN,
    T0,
    Record,
    Row,
    batch,
    config,
    decode,
    document,
    library,
    point,
    records,
    run,
    slab,
    tick,
)  # fmt: skip
from tests.support.patience import patient

DOC = document(
    [point(1), point(2, gateway="g2"), point(3, topic=topics.WASTE_EVENTS, gateway=None)], partitions={"s1": 0, "s2": 3}
)
HEADER = codec.header("meter_batch")


def rejected(value: bytes | None, doc: Document = DOC, key: bytes = b"s1") -> list[Row]:
    """What a message after the config leaves in `rejected`."""
    log = [*records([(T0, config(doc))]), (1, T0, key, value)]
    return run(log, library(doc))[1]["rejected"]


def whole_messages() -> dict[str, tuple[bytes | None, str]]:
    """Messages of which nothing can be used, and why."""
    good = batch([(1, T0, 5)])
    return {
        "null": (None, "null_value"),
        "empty": (b"", "unknown_contract"),
        "one byte": (b"\xc3", "unknown_contract"),
        "another magic": (b"\xc3\x02" + good[2:], "unknown_contract"),
        "another fingerprint": (b"\xc3\x01" + bytes(8) + good[10:], "unknown_contract"),
        "header alone": (HEADER, "cut"),
        "cut": (good[:-4], "cut"),
        "trailing": (good + b"\0", "trailing"),
        "over-long": (HEADER + text("s1") + text("g1") + b"\0" + b"\x80" * 10 + b"\x01\0", "overlong"),
        "no such mode": (HEADER + text("s1") + text("g1") + varint(2) + b"\0\0", "out_of_range"),
        "huge count": (HEADER + text("s1") + text("g1") + b"\0\0" + varint(1 << 62) + b"\0" * 9, "cut"),
        "too many": (HEADER + text("s1") + text("g1") + b"\0\0" + varint(10_001) + b"\0" * 50_000, "too_many"),
        "unknown site": (batch([(1, T0, 5)], site="s9"), "unknown_site"),
        "site of another partition": (batch([(1, T0, 5)], site="s2"), "wrong_partition"),
        "unknown gateway": (batch([(1, T0, 5)], gateway="g9"), "unknown_gateway"),
        "empty names": (batch([(1, T0, 5)], site="", gateway=""), "unknown_site"),
        "names moved by a byte": (batch([(1, T0, 5)], site="s", gateway="1g1"), "unknown_site"),
        "site that is no text": (HEADER + varint(2) + b"\xff\xfe" + text("g1") + b"\0\0\0", "unknown_site"),
        "waste among readings": (codec.write("waste_event", waste()), "unknown_contract"),
        "output among inputs": (codec.header("ledger_rows") + b"\0\0\0\0\0", "unknown_contract"),
        "tick that is cut": (codec.header("tick"), "malformed"),
        "config that is cut": (config(DOC)[:-2], "malformed"),
        "settle record": (settle(), "bad_signature"),
    }  # fmt: skip


def waste() -> dict[str, Any]:
    """A waste event."""
    schema: Any = codec.schema("waste_event")
    event: dict[str, Any] = {field["name"]: field.get("default") for field in schema["fields"]}
    return {**event, "site": "s1", "event_id": "e", "time_ms": T0, "kind": "deposit"}


def settle() -> bytes:
    """A settle record."""
    fields = {"site": "s1", "sequence": 1, "from_ms": 0, "to_ms": 1, "reason": "", "key_id": "", "signature": b""}
    return codec.write("settle_record", fields)


@pytest.mark.parametrize("case", whole_messages())
def test_whole_messages(case: str) -> None:
    """The message is kept as it came, with its key, its place and the reason."""
    value, reason = whole_messages()[case]
    (row,) = rejected(value, key=b"\xffkey")
    assert (row["reason"], row["raw"], row["key"], row["readings"]) == (reason, value or b"", b"\xffkey", 0)
    assert (row["offset"], row["known_at"]) == (1, T0)
    assert row["site"] == b"\xffkey".decode("utf-8", "replace")


def test_a_message_that_could_not_be_read_is_too_large() -> None:
    """A record of a batch that inflates beyond bounds has no bytes; it is named all the same."""
    part = slab([*records([(T0, config(DOC))]), (1, T0, b"s1", b"x")])
    part.spans[1, 3] = -2
    processor = Processor(topics.METER_READINGS, 0, library(DOC).__getitem__)
    processor.advance(part)
    (row,) = decode(processor.take())["rejected"]
    assert (row["reason"], row["raw"]) == ("too_large", b"")


def test_readings_of_one_reason_go_together() -> None:
    """Good readings of a message are applied; the others become one batch a reason that can be sent as it is."""
    rows: list[Any] = [
        (1, T0, 5), (2, T0, 7), (99, T0, 1), (1, T0 + HOUR, 8, "suspect"), (3, T0, 4), (-1, T0, 2), (1, 1000, 9), (0, T0, 1),
        (1, T0 + 5 * MIN, 10), (1, T0 + 5 * MIN + 1, 11), ((1 << 31) - 1, T0, 1), (1, T0 + 6 * MIN, 12, "estimated"),
    ]  # fmt: skip
    log = records([(T0, config(DOC)), (T0, batch(rows))])
    processor, found = run(log, library(DOC))
    by_reason = {row["reason"]: row for row in found["rejected"]}
    assert [row["reason"] for row in found["rejected"]] == ["wrong_gateway", "unknown_point", "future", "too_old"]
    expected = {
        "wrong_gateway": [(2, T0, 7, "good")],
        "unknown_point": [(99, T0, 1, "good"), (3, T0, 4, "good"), (-1, T0, 2, "good"), (0, T0, 1, "good"), ((1 << 31) - 1, T0, 1, "good")],
        "future": [(1, T0 + HOUR, 8, "suspect"), (1, T0 + 5 * MIN + 1, 11, "good"), (1, T0 + 6 * MIN, 12, "estimated")],
        "too_old": [(1, 1000, 9, "good")],
    }  # fmt: skip
    for reason, members in expected.items():
        again: Any = codec.read("meter_batch", by_reason[reason]["raw"])
        assert (again["site"], again["gateway"], again["mode"]) == ("s1", "g1", "live")
        assert by_reason[reason]["readings"] == len(members)
        assert [
            (r["point"], again["base_ms"] + r["offset_ms"], r["value"], r["quality"]) for r in again["readings"]
        ] == members
    assert int(processor.state.scalars[REJECTS]) == 10


def resend(rows: list[Row], at: int) -> list[tuple[int, bytes | None]]:
    """Raw messages of rejected rows, to be sent at a time."""
    return [(at, row["raw"]) for row in rows]


def test_sent_again_after_the_model_is_mended() -> None:
    """Readings of a point, a gateway and a site that the model lacked are all taken when they are sent again."""
    mended = document(
        [point(1), point(2, gateway="g2"), point(7), point(8, gateway="g9")], partitions={"s1": 0, "s9": 0}
    )
    other = document([point(1)], site="s9", partitions={"s1": 0, "s9": 0})
    sent = [
        batch([(1, T0, 5), (7, T0, 6)]),
        batch([(8, T0, 7)], gateway="g9"),
        batch([(1, T0, 8)], site="s9", mode="backfill"),
    ]
    first = [(T0, config(DOC)), *((T0, value) for value in sent)]
    _, rows = run(records(first), library(DOC))
    assert [row["reason"] for row in rows["rejected"]] == ["unknown_point", "unknown_gateway", "unknown_site"]
    later = [(T0 + MIN, config(mended, 2, DOC.sha256)), (T0 + MIN, config(other)), *resend(rows["rejected"], T0 + MIN)]
    processor, after = run(records([*first, *later]), library(DOC, mended, other))
    assert after["rejected"] == rows["rejected"]
    values = dict(zip(processor.layout.point_key.tolist(), processor.state.points["last"].tolist(), strict=True))
    assert values == {1: 5, 2: 0, 7: 6, 8: 7, (1 << 40) | 1: 8}


@patient(max_examples=60)
@given(
    st.integers(-TIME_MAX, TIME_MAX),
    st.lists(
        st.tuples(st.sampled_from([1, 99]), st.sampled_from([TIME_MAX, -TIME_MAX]) | st.integers(-TIME_MAX, TIME_MAX)),
        min_size=1,
        max_size=6,
    ),
)
def test_what_is_rejected_can_be_read_again(base_ms: int, rows: list[tuple[int, int]]) -> None:
    """Whatever times a batch has, the raw bytes of its rejects are refused for the same reason and the same readings again."""
    value = batch([(number, base_ms + offset, 3) for number, offset in rows], base_ms=base_ms)
    found = [row for row in rejected(value) if row["readings"]]
    again = list(run(records([(T0, config(DOC)), *resend(found, T0)]), library(DOC))[1]["rejected"])
    assert [(row["reason"], row["raw"], row["readings"]) for row in again] == [
        (row["reason"], row["raw"], row["readings"]) for row in found
    ]


def accounted(log: list[Record], documents: dict[bytes, Document]) -> None:
    """Readings in = applied + repeats + late + set aside + refused; messages in = batches taken + control records + rejected."""
    processor, rows = run(log, documents)
    scalars = processor.state.scalars
    codes = [row["code"] for row in rows["verdicts"]]
    refused = sum(row["readings"] for row in rows["rejected"])
    aside = sum(code in ("dip", "rate", "out_of_range") for code in codes)
    whole = {row["offset"] for row in rows["rejected"] if not row["readings"]}
    sent = 0
    for offset, _, _, value in log:
        if value is not None and codec.contract_of(value) == "meter_batch" and offset not in whole:
            read: Any = codec.read("meter_batch", value)
            sent += len(read["readings"])
    assert int(scalars[READINGS]) == sent
    applied = sent - refused - aside - int(scalars[REPEATS]) - int(scalars[LATE])
    assert applied >= 0
    kinds = processor.layout.arrays.meta["kind"]
    gauges = processor.state.points[kinds >= 2]
    counted = sum(row["count"] for row in rows["gauges"]) + int(gauges["count"].sum())
    deltas = processor.layout.arrays.meta["number"][kinds == 1].tolist()
    counted += sum(row["point"] in deltas for row in rows["ledger"])
    assert counted <= applied
    if not (kinds == 0).any():
        assert counted == applied


@patient(max_examples=40)
@given(logs())
def test_every_reading_is_accounted_for_once(log: list[Record]) -> None:
    """Nothing is lost and nothing counts twice, whatever comes."""
    accounted(log, library(site()))


@patient(max_examples=6)
@given(st.integers(0, 10**9))
def test_every_reading_of_an_eventful_day(seed: int) -> None:
    """The same among bad messages and new documents."""
    log = eventful(seed, 60)
    accounted(log, DOCUMENTS)


@patient(max_examples=40)
@given(
    st.lists(st.tuples(st.sampled_from([0, 1, MIN, HOUR]), st.integers(-3, 3), st.sampled_from([5, 6])), max_size=30)
)
def test_gauges_are_accounted_for_to_the_last(found: list[tuple[int, int, int]]) -> None:
    """Of gauges alone: every reading is in a row, in the open interval, a repeat, late or refused."""
    log, time = [(T0, config(DOC))], T0
    for wait, lag, value in found:
        time += wait
        log.append((time, batch([(1, time + lag * 2 * MIN, value), (1, time, value)])))
    accounted(records(log), library(DOC))


@patient(max_examples=50)
@given(
    st.lists(
        st.binary(max_size=40)
        | st.builds(
            lambda name, body: codec.header(name) + body, st.sampled_from(codec.CONTRACTS), st.binary(max_size=60)
        ),
        max_size=12,
    )
)
def test_garbage_of_any_contract(values: list[bytes]) -> None:
    """Whatever bytes come in any input topic: every message is applied or in `rejected`, and the next good one is applied."""
    doc = document([point(1)])
    for topic in topics.INPUTS:
        log = records([(T0, config(doc)), *((T0, value) for value in values), (T0, tick())])
        processor = Processor(topic, 0, library(doc).__getitem__)
        try:
            processor.advance(slab(log, topic))
        except EngineMismatch:
            continue
        assert processor.position == len(log)
        rows = decode(processor.take())["rejected"]
        assert all(row["raw"] == log[row["offset"]][3] for row in rows if not row["readings"])


def test_other_engines_stop_the_task_where_they_begin() -> None:
    """An engine record of another release is an error at its offset, ours is none; what came before is applied."""
    log = records(
        [
            (T0, config(DOC)),
            (T0, engine_record(1, ENGINE, KEY)),
            (T0, batch([(1, T0, 5)])),
            (T0, engine_record(2, ENGINE + 1, KEY)),
            (T0, batch([(1, T0, 6)])),
        ]
    )
    processor = Processor(topics.METER_READINGS, 0, library(DOC).__getitem__)
    for _ in range(2):
        part = slab(log)
        with pytest.raises(EngineMismatch):
            processor.advance(part, processor.position)
        assert processor.position == 3
        assert int(processor.state.points["last"][0]) == 5


def test_hostile_ticks_do_not_move_a_simulated_clock() -> None:
    """A tick outside of all times is rejected; one in the past changes nothing."""
    doc = document([point(1)], domain="demo")
    log = records(
        [
            (5, config(doc)),
            (5, tick(T0)),
            *((5, tick(t)) for t in ((1 << 63) - 1, -(1 << 63), -1, (1 << 53) + 1, T0 - 1)),
        ]
    )
    processor, rows = run(log, library(doc))
    assert processor.clock_ms == T0
    assert [row["reason"] for row in rows["rejected"]] == ["malformed"] * 4


def test_many_rejects_are_cut_into_messages() -> None:
    """Thousands of rejects become several messages, none of them over some megabytes."""
    chooser = random.Random(1)
    big = [chooser.randbytes(1 << 20) for _ in range(9)]
    log = records([(T0, b"x" + bytes([k % 256])) for k in range(2500)] + [(T0, value) for value in big])
    processor = Processor(topics.METER_READINGS, 0, {}.__getitem__)
    processor.advance(Slab.of(topics.METER_READINGS, 0, log))
    outputs = processor.take()
    assert len(outputs) > 4
    assert max(len(output.value) for output in outputs) < 6 << 20
    assert len(decode(outputs)["rejected"]) == 2509
