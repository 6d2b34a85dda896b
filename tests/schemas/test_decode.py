"""The decoder of meter batches agrees with fastavro on what is valid, with a slow reader on everything else, and never dies."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from schemas import codec
from schemas.decode import READINGS_MAX, TIME_MAX, Columns, M, Status, batch_header, decode_batches
from schemas.encode_rows import text, varint
from schemas.errors import DecodeError
from schemas.record_batches import Slab
from tests.support.oracle import batches
from tests.support.patience import patient

HEADER = codec.header("meter_batch")
QUALITIES = ("good", "estimated", "suspect")
COLUMNS = Columns.empty()
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
SMALL = st.integers(-300, 300)
READING = st.fixed_dictionaries(
    {
        "point": st.integers(-(1 << 31), (1 << 31) - 1),
        "offset_ms": SMALL | st.integers(-TIME_MAX, TIME_MAX),
        "value": SMALL | INT64,
        "quality": st.sampled_from(QUALITIES),
    }
)
BATCH = st.fixed_dictionaries(
    {
        "site": st.text(max_size=8),
        "gateway": st.text(max_size=8),
        "mode": st.sampled_from(["live", "backfill"]),
        "base_ms": SMALL | st.integers(-TIME_MAX, TIME_MAX),
        "readings": st.lists(READING, max_size=12),
    }
)


def slab(*values: bytes | None) -> Slab:
    """Messages as a slab."""
    return Slab.of("meter.readings", 0, [(place, 0, b"s", value) for place, value in enumerate(values)])


def decode(*values: bytes | None) -> tuple[int, list[tuple[int, dict[str, Any]]]]:
    """(next record, (status, fields) of every message), in the form of the oracle."""
    part, c = slab(*values), COLUMNS
    done, count, _ = decode_batches(
        part.data, part.spans, 0, len(part), batch_header(), c.messages, c.points, c.times, c.values, c.qualities
    )
    found = []
    for m in c.messages[:count]:
        span = slice(int(m[M.FIRST]), int(m[M.FIRST] + m[M.COUNT]))
        columns = (c.points[span], c.times[span], c.values[span], c.qualities[span])
        texts = [part.data[m[at] : m[at] + m[at + 1]].tobytes() for at in (M.SITE_AT, M.GATEWAY_AT)]
        fields = {
            "site": texts[0], "gateway": texts[1], "mode": int(m[M.MODE]),
            "readings": list(zip(*(column.tolist() for column in columns), strict=True)),
        }  # fmt: skip
        status = int(m[M.STATUS])
        assert status == Status.OK or not len(columns[0]), "a message is taken whole or refused whole"
        found.append((status, fields if status == Status.OK else {}))
    return done, found


def expected(value: bytes) -> tuple[int, dict[str, Any]]:
    """What the oracle says."""
    status, fields = batches.decode(value)
    return status, {name: field for name, field in fields.items() if name != "base_ms"}


def check(*values: bytes) -> None:
    """Decoder and oracle say the same of every message, and the strict reader of the contract agrees where it must."""
    done, found = decode(*values)
    assert done == len(values)
    assert found == [expected(value) for value in values]
    for value, (status, fields) in zip(values, found, strict=True):
        strict(value, status, fields)


def strict(value: bytes, status: int, fields: dict[str, Any]) -> None:
    """`codec.read` refuses what is not Avro; the decoder also what is too much, and does not look into texts."""
    try:
        read: dict[str, Any] | None = codec.read("meter_batch", value)
    except DecodeError as error:
        read = None
        if "UTF-8" in error.reason:
            return
    if read is None:
        assert status != Status.OK
    elif status == Status.OK:
        assert (read["site"], read["gateway"]) == (fields["site"].decode(), fields["gateway"].decode())
        assert read["mode"] == ("live", "backfill")[fields["mode"]]
        assert fields["readings"] == [
            (r["point"], read["base_ms"] + r["offset_ms"], r["value"], QUALITIES.index(r["quality"]))
            for r in read["readings"]
        ]
    else:
        wide = max([abs(read["base_ms"]), *(abs(r["offset_ms"]) for r in read["readings"])]) > TIME_MAX
        assert wide or len(read["readings"]) > READINGS_MAX


@patient(max_examples=100)
@given(st.lists(BATCH, min_size=1, max_size=4))
def test_valid_batches_equal_fastavro(values: list[dict[str, Any]]) -> None:
    """What fastavro writes is read back field by field, whatever the texts, the numbers and the neighbours are."""
    written = [codec.write("meter_batch", value) for value in values]
    done, found = decode(*written)
    assert done == len(values)
    for value, (status, fields) in zip(values, found, strict=True):
        assert status == Status.OK
        assert fields == {
            "site": value["site"].encode(),
            "gateway": value["gateway"].encode(),
            "mode": ("live", "backfill").index(value["mode"]),
            "readings": [
                (r["point"], value["base_ms"] + r["offset_ms"], r["value"], QUALITIES.index(r["quality"]))
                for r in value["readings"]
            ],
        }


@patient(max_examples=15)
@given(BATCH)
def test_every_truncation(value: dict[str, Any]) -> None:
    """A message that ends at any byte is refused, and the whole one beside it is not touched."""
    whole = codec.write("meter_batch", value)
    cuts = [whole[:length] for length in range(len(HEADER), len(whole))]
    check(*cuts, whole)
    _, found = decode(*cuts, whole)
    assert [status for status, _ in found[:-1]] == [Status.CUT] * len(cuts)
    assert found[-1][0] == Status.OK


@patient(max_examples=8)
@given(BATCH)
def test_every_bit_flip(value: dict[str, Any]) -> None:
    """Any single bit of the body may be wrong: decoder, oracle and strict reader agree on what is left."""
    whole = codec.write("meter_batch", value)
    flipped = []
    for place in range(len(HEADER), len(whole)):
        for bit in range(8):
            raw = bytearray(whole)
            raw[place] ^= 1 << bit
            flipped.append(bytes(raw))
    check(*flipped)


@patient(max_examples=150)
@given(st.binary(max_size=120))
def test_random_bytes(body: bytes) -> None:
    """Random bytes behind the header."""
    check(HEADER + body)


NUMBERS = st.one_of(
    SMALL.map(varint),
    INT64.map(varint),
    st.sampled_from([b"\x80" * 9 + b"\x02", b"\x80" * 10 + b"\x01", b"\xff" * 9 + b"\x01", b"\x80\x00", b"\xff" * 200]),
)
COUNTS = st.one_of(
    st.integers(-4, 4).map(varint),
    st.sampled_from(
        [varint(1 << 62), varint(-(1 << 63)), varint(-(1 << 40)), varint(10_001), b"\x80\x00", varint((1 << 63) - 1)]
    ),
)


@patient(max_examples=150)
@given(
    st.binary(max_size=4), NUMBERS | st.just(b"\0"), NUMBERS,
    st.lists(st.tuples(COUNTS, st.binary(max_size=2), st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, st.just(b"\x02") | NUMBERS), max_size=4)), max_size=3),
    st.sampled_from([b"\0", b"", b"\0\0", b"\0junk"]),
)  # fmt: skip
def test_mutants_of_the_grammar(site: bytes, mode: bytes, base: bytes, blocks: list[Any], end: bytes) -> None:
    """Bodies in the right order of fields, with numbers, counts, sizes and ends that may be wrong."""
    body = varint(len(site)) + site + text("g") + mode + base
    for count, size, readings in blocks:
        body += count + size + b"".join(part for reading in readings for part in reading)
    check(HEADER + body + end)


def body_with(block: bytes) -> bytes:
    """A message with this array."""
    return HEADER + text("s") + text("g") + b"\0" + varint(5) + block


def test_counts_that_lie() -> None:
    """Negative counts carry a size; counts beyond the bytes or the limit are refused before anything is read."""
    reading = varint(1) + varint(2) + varint(3) + b"\0"
    cases = {
        varint(-2) + varint(8) + reading * 2 + b"\0": Status.OK,
        varint(-2) + varint(-8) + reading * 2 + b"\0": Status.OUT_OF_RANGE,
        varint(-(1 << 63)) + varint(8) + reading * 2 + b"\0": Status.OUT_OF_RANGE,
        varint(1 << 62) + reading * 2 + b"\0": Status.CUT,
        varint(2) + reading * 2 + b"\0x": Status.TRAILING,
        varint(1) + reading + varint(1) + reading + b"\0": Status.OK,
        varint(READINGS_MAX) + reading * READINGS_MAX + b"\0": Status.OK,
        varint(READINGS_MAX + 1) + reading * (READINGS_MAX + 1) + b"\0": Status.TOO_MANY,
        varint(READINGS_MAX) + reading * READINGS_MAX + varint(1) + reading + b"\0": Status.TOO_MANY,
        varint(1) + varint(1 << 31) + reading[1:] + b"\0": Status.OUT_OF_RANGE,
        varint(1) + reading[:-1] + varint(3) + b"\0": Status.OUT_OF_RANGE,
        varint(1) + reading[:-1] + varint(-1) + b"\0": Status.OUT_OF_RANGE,
    }
    for block, status in cases.items():
        check(body_with(block))
        assert decode(body_with(block))[1][0][0] == status


def test_a_message_over_the_limit_is_not_read() -> None:
    """Eight megabytes are the most."""
    value = body_with(b"\0") + bytes(codec.MESSAGE_BYTES_MAX)
    assert decode(value)[1] == [(Status.TOO_LARGE, {})]


def test_stops_at_what_is_no_batch() -> None:
    """Another contract, a null and a value shorter than a header end the run; what comes after them is another call's."""
    good = body_with(b"\0")
    for other in (codec.write("tick", {"clock_ms": 0}), None, b"", HEADER[:9]):
        done, found = decode(good, good, other, good)
        assert (done, len(found)) == (2, 2)
        assert decode(other, good) == (0, [])


def test_stops_where_there_is_no_room() -> None:
    """A message that does not fit any more is left whole for the next call, which begins with it."""
    reading = varint(1) + varint(2) + varint(3) + b"\0"
    many = body_with(varint(6000) + reading * 6000 + b"\0")
    part, c = slab(*[many] * 5), Columns.empty(readings=10_000)
    first, done = 0, []
    while first < 5:
        first, count, readings = decode_batches(
            part.data, part.spans, first, 5, batch_header(), c.messages, c.points, c.times, c.values, c.qualities
        )
        done.append((first, count, readings))
    assert done == [(place, 1, 6000) for place in range(1, 6)]
    narrow = Columns.empty(messages=2)
    good = slab(*[body_with(b"\0")] * 5)
    ends = decode_batches(
        good.data, good.spans, 1, 5, batch_header(), narrow.messages, narrow.points, narrow.times, narrow.values, narrow.qualities
    )  # fmt: skip
    assert ends == (3, 2, 0)


def test_reads_only_its_own_bytes() -> None:
    """A message that is cut anywhere is refused though the bytes behind it, of another message, would make sense of it."""
    good = body_with(varint(1) + varint(1) + varint(2) + varint(1 << 40) + b"\0\0")
    for cut in range(len(HEADER), len(good)):
        assert decode(good[:cut], good[cut:] + good)[1][0][0] == Status.CUT
