"""A state as bytes: what comes back is the same, and spoilt bytes are refused before a kernel sees them."""

import json
import random
import struct
from typing import Any

import numpy as np
import pytest

from processors import snapshot
from processors.advance import Processor
from processors.state import ENGINE, FACT, INSTANCE, PART, POINT, SCALARS, SEEN, SENSE, TIMERS, TRACK, WINDOW
from schemas import topics
from schemas.errors import ContractError
from tests.processors.logs import DOCUMENTS, eventful
from tests.processors.world import Record, decode, slab

TOPIC = topics.METER_READINGS


@pytest.fixture(name="log", scope="module")
def _log() -> list[Record]:
    return eventful(11, 90)


@pytest.fixture(name="raw", scope="module")
def _raw(log: list[Record]) -> bytes:
    processor = Processor(TOPIC, 0, DOCUMENTS.__getitem__)
    processor.advance(slab(log[:200]))
    processor.take()
    return snapshot.save(processor)


def load(raw: bytes, topic: str = TOPIC, partition: int = 0) -> Processor:
    """Loads a snapshot of the log's task."""
    return snapshot.load(raw, topic, partition, DOCUMENTS.__getitem__)


def test_a_new_task() -> None:
    """A processor that has seen nothing can be kept as well."""
    raw = snapshot.save(Processor(TOPIC, 3, DOCUMENTS.__getitem__))
    again = load(raw, partition=3)
    assert (again.position, again.heads, again.outbox.rows) == (0, {}, 0)
    assert snapshot.save(again) == raw


def test_what_is_not_taken_cannot_be_kept(log: list[Record]) -> None:
    """Rows in the outbox are not part of a state: they have to be taken first."""
    processor = Processor(TOPIC, 0, DOCUMENTS.__getitem__)
    processor.advance(slab(log))
    assert processor.outbox.rows
    with pytest.raises(AssertionError):
        snapshot.save(processor)


@pytest.mark.parametrize("topic,partition", [(topics.WASTE_EVENTS, 0), (TOPIC, 1)])
def test_of_another_task(raw: bytes, topic: str, partition: int) -> None:
    """A snapshot is of one topic and partition."""
    with pytest.raises(ContractError):
        load(raw, topic, partition)


def edited(raw: bytes, **changes: Any) -> bytes:
    """The snapshot with other fields in its header."""
    (size,) = struct.unpack_from("<I", raw)
    header = {**json.loads(raw[4 : 4 + size]), **changes}
    text = json.dumps(header).encode()
    return struct.pack("<I", len(text)) + text + raw[4 + size :]


ARRAYS = ("scalars", "points", "instances", "parts", "queue", "facts", "seen", "senses", "tracks", "windows", "cells")


def arrays(raw: bytes) -> tuple[bytes, dict[str, Any]]:
    """(what is before the arrays, the arrays as copies by name)."""
    (size,) = struct.unpack_from("<I", raw)
    lengths, at = json.loads(raw[4 : 4 + size])["lengths"], 4 + size
    found = {}
    kinds = (
        ("scalars", np.dtype("<i8")),
        ("points", POINT),
        ("instances", INSTANCE),
        ("parts", PART),
        ("queue", np.dtype("<i4")),
        ("facts", FACT),
        ("seen", SEEN),
        ("senses", SENSE),
        ("tracks", TRACK),
        ("windows", WINDOW),
        ("cells", np.dtype((np.dtype("<i8"), (2,)))),
    )
    for (name, kind), length in zip(kinds, lengths, strict=True):
        found[name] = np.frombuffer(raw, kind, length, at).copy()
        at += kind.itemsize * length
    return raw[: 4 + size], found


HEADERS: dict[str, dict[str, Any]] = {
    "another engine": {"engine": ENGINE + 1},
    "sites that are a list": {"sites": ["s1"]},
    "sites that are a text": {"sites": {"s1": "x"}},
    "a hash that is none": {"sites": {"s1": [1, "zz"]}},
    "no sites": {"sites": {}},
    "lengths that are too few": {"lengths": [8]},
    "lengths that are negative": {"lengths": [-1] * 11},
    "lengths that are huge": {"lengths": [1 << 60] * 11},
    "lengths that are texts": {"lengths": ["8"] * 11},
    "lengths that are nothing": {"lengths": None},
    "chains that are none": {"chains": {}},
    "chains that are lists": {"chains": []},
    "position that is a text": {"position": "x"},
    "position that is nothing": {"position": None},
}


@pytest.mark.parametrize("case", HEADERS)
def test_spoilt_headers(raw: bytes, case: str) -> None:
    """Fields of any wrong kind are refused with a ContractError, not with whatever Python says of them."""
    with pytest.raises(ContractError):
        load(edited(raw, **HEADERS[case]))


@pytest.mark.parametrize(
    "case",
    [
        b"",
        b"\0",
        b"\0\0\0\0",
        b"\xff\xff\xff\xff{}",
        b"\2\0\0\0[]",
        b"\4\0\0\0null",
        struct.pack("<I", 200_000) + b"[" * 200_000,
    ],
)
def test_bytes_that_are_no_snapshot(case: bytes) -> None:
    """Nothing, a length alone, other JSON, JSON that is nested beyond reason."""
    with pytest.raises(ContractError):
        load(case)


def test_every_truncation_of_the_end_and_some_of_the_rest(raw: bytes) -> None:
    """A snapshot that is cut, or has bytes too many, is refused."""
    places = {*range(len(raw) - 300, len(raw)), *range(0, len(raw), 997)}
    for place in places:
        with pytest.raises(ContractError):
            load(raw[:place])
    with pytest.raises(ContractError):
        load(raw + b"\0")


def _queue_twice(found: dict[str, Any]) -> None:
    found["queue"][0] = found["queue"][1]


def _lost_from_queue(found: dict[str, Any]) -> None:
    found["scalars"][TIMERS] -= 1


def _longer_queue(found: dict[str, Any]) -> None:
    found["scalars"][TIMERS] = 1 << 40


def _wrong_place(found: dict[str, Any]) -> None:
    found["instances"]["place"][found["queue"][0]] = 1 << 20


def _wrong_member(found: dict[str, Any]) -> None:
    found["queue"][0] = -5


def _wrong_phase(found: dict[str, Any]) -> None:
    found["instances"]["phase"][0] = 3


def _wrong_part(found: dict[str, Any]) -> None:
    found["parts"]["open"][0] = -1


def _endless_interval(found: dict[str, Any]) -> None:
    read = np.flatnonzero(found["points"]["clock"] > 0)
    found["points"]["row_to"][read[0]] = -(1 << 62)


def _far_interval(found: dict[str, Any]) -> None:
    read = np.flatnonzero(found["points"]["clock"] > 0)
    found["points"]["row_to"][read[-1]] += 1 << 40


def _fewer_points(found: dict[str, Any]) -> None:
    found["points"] = found["points"][:-1]


def _wrong_level(found: dict[str, Any]) -> None:
    found["instances"]["level"][0] = 9


def _longer_ring(found: dict[str, Any]) -> None:
    found["cells"] = np.zeros((len(found["cells"]) + 1, 2), np.int64)


def _far_cell(found: dict[str, Any]) -> None:
    found["tracks"]["cell"][0] = 1 << 60


SPOILERS = (
    _wrong_level, _longer_ring, _far_cell,
    _queue_twice, _lost_from_queue, _longer_queue, _wrong_place, _wrong_member, _wrong_phase, _wrong_part, _endless_interval, _far_interval,
    _fewer_points,
)  # fmt: skip


@pytest.mark.parametrize("spoil", SPOILERS)
def test_spoilt_arrays(raw: bytes, spoil: Any) -> None:
    """Every index that a kernel would follow, and every interval that it would fill, is checked first."""
    head, found = arrays(raw)
    assert int(found["scalars"][TIMERS]) > 1
    spoil(found)
    lengths = [len(found[name]) for name in ARRAYS]
    body = b"".join(array.tobytes() for array in found.values())
    with pytest.raises(ContractError):
        load(edited(head + body, lengths=lengths))


def test_random_damage_never_crashes(raw: bytes, log: list[Record]) -> None:
    """Bytes changed at random: refused, or a state that goes on without any kernel leaving its arrays."""
    chooser, refused = random.Random(7), 0
    head, _ = arrays(raw)
    for _ in range(60):
        spoilt = bytearray(raw)
        for _ in range(chooser.choice([1, 3, 50])):
            spoilt[chooser.randrange(len(head) if chooser.random() < 0.2 else len(raw))] = chooser.randrange(256)
        try:
            processor = load(bytes(spoilt))
        except (ContractError, KeyError):  # KeyError: the library of the test has no such document
            refused += 1
            continue
        processor.advance(slab(log[200:260]))
        assert len(processor.state.scalars) == SCALARS
    assert refused


def test_an_earlier_state_goes_on_to_the_same_end(raw: bytes, log: list[Record]) -> None:
    """From the snapshot over the rest of the log: the rows that the whole run adds after it."""
    whole = Processor(TOPIC, 0, DOCUMENTS.__getitem__)
    whole.advance(slab(log))
    rows = decode(whole.take())
    later = load(raw)
    started = {name: chain.count for name, chain in later.outbox.chains.items()}
    part = slab(log)
    later.advance(part, 200)
    outputs = later.take()
    assert later.stream_heads() == whole.stream_heads()
    ends = {name: chain.count for name, chain in later.outbox.chains.items()}
    assert {name: len(listed) for name, listed in rows.items()} == ends
    assert any(ends[name] > started[name] for name in ends)
    assert outputs
