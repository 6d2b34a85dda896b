"""Record batches as slabs, on batches that aiokafka's writer makes and on batches made here, good and bad."""

import gzip
import struct
import zlib
from collections.abc import Callable, Iterable
from typing import Any

import lz4.frame
import numpy as np
import pyarrow as pa
import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import record_batches, record_kernels
from schemas.compression import zstd
from schemas.errors import LogCorrupt
from schemas.record_batches import Slab, read_slabs

Record = tuple[int, int, bytes | None, bytes | None]
START_MS = 1_700_000_000_000
TRANSACTIONAL, CONTROL, LOG_APPEND = 16, 32, 8
blobs = st.none() | st.binary(max_size=40)


def varint(number: int) -> bytes:
    """Zigzag varint, as Kafka writes them."""
    number = (number << 1) ^ (number >> 63)
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def body(records: Iterable[tuple[int, int, bytes | None, bytes | None]]) -> bytes:
    """Records (offset delta, ms after the first, key, value) as in a batch."""
    out = []
    for delta, elapsed_ms, key, value in records:
        parts = [b"\0", varint(elapsed_ms), varint(delta)]
        for part in (key, value):
            parts += [varint(-1)] if part is None else [varint(len(part)), part]
        record = b"".join([*parts, b"\0"])
        out.append(varint(len(record)) + record)
    return b"".join(out)


def batch(
    base: int, records: bytes, count: int, last: int | None = None, attributes: int = 0, producer: int = -1
) -> bytes:
    """A batch with a right checksum around any bytes."""
    last = count - 1 if last is None else last
    tail = struct.pack(">hiqqqhii", attributes, last, START_MS, START_MS + 777, producer, 0, -1, count) + records
    crc = record_kernels.crc32c(np.frombuffer(tail, np.uint8), 0, len(tail))
    return struct.pack(">qiibI", base, len(tail) + 9, 0, 2, crc) + tail


def simple(base: int, values: list[bytes], **more: int) -> bytes:
    """A batch of values."""
    return batch(base, body((i, 0, None, value) for i, value in enumerate(values)), len(values), **more)


def marker(base: int, producer: int, commit: bool) -> bytes:
    """A transaction marker."""
    key = struct.pack(">hh", 0, int(commit))
    return batch(base, body([(0, 0, key, b"\0" * 6)]), 1, attributes=TRANSACTIONAL | CONTROL, producer=producer)


def read(data: bytes, start: int = 0, **more: Any) -> list[Slab]:
    """All slabs of a fetch; they follow each other."""
    slabs = list(read_slabs("t", 3, data, start, **more))
    assert [slab.start for slab in slabs] == [start, *(slab.end for slab in slabs)][: len(slabs)]
    return slabs


def records_of(slabs: Iterable[Slab]) -> list[Record]:
    """Messages of slabs."""
    return [
        (int(slab.offsets[i]), int(slab.timestamps_ms[i]), slab.key(i), slab.value(i))
        for slab in slabs
        for i in range(len(slab))
    ]


def values_of(slabs: Iterable[Slab]) -> list[bytes | None]:
    """Values of the messages of slabs."""
    return [value for _, _, _, value in records_of(slabs)]


@pytest.mark.parametrize("kernel", [record_kernels.crc32c, record_kernels._crc_tables])
def test_checksum_is_castagnoli(kernel: Callable[..., int]) -> None:
    """The check value of CRC-32C comes out, and every cut of a text gives what the definition gives, bit by bit."""
    assert kernel(np.frombuffer(b"123456789", np.uint8), 0, 9) == 0xE3069283
    data = np.frombuffer(bytes(range(7, 250, 3)), np.uint8)
    for begin in range(9):
        for end in range(begin, len(data)):
            crc = 0xFFFFFFFF
            for byte in data[begin:end].tolist():
                crc ^= byte
                for _ in range(8):
                    crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
            assert kernel(data, begin, end) == crc ^ 0xFFFFFFFF


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 10**6), blobs, blobs, st.booleans()), min_size=1, max_size=8), max_size=5
    ),
    st.sampled_from([0, 1]),
    st.integers(0, 2**40),
)
def test_batches_of_another_writer(
    batches: list[list[tuple[int, bytes | None, bytes | None, bool]]], codec: int, base: int
) -> None:
    """What aiokafka's writer wrote (null and empty keys and values, headers, gzip) is read back, field for field."""
    data, expected, offset = b"", [], base
    for messages in batches:
        builder = DefaultRecordBatchBuilder(
            magic=2,
            compression_type=codec,
            is_transactional=0,
            producer_id=-1,
            producer_epoch=-1,
            base_sequence=-1,
            batch_size=1 << 20,
        )
        for i, (ms, key, value, header) in enumerate(messages):
            builder.append(i, START_MS + ms, key, value, [("h", b"x")] if header else [])
            expected.append((offset + i, START_MS + ms, key, value))
        made = bytearray(builder.build())
        made[:8] = struct.pack(">q", offset)  # as a broker does: the checksum does not cover the base offset
        data, offset = data + bytes(made), offset + len(messages)
    assert records_of(read(data, base)) == expected


def xerial(raw: bytes) -> bytes:
    """Snappy as Java writes it, in two blocks."""
    blocks = [pa.compress(part, "snappy", asbytes=True) for part in (raw[:50], raw[50:])]
    return b"\x82SNAPPY\0" + struct.pack(">ii", 1, 1) + b"".join(struct.pack(">i", len(b)) + b for b in blocks)


@pytest.mark.parametrize(
    ("codec", "compress"),
    [
        (1, gzip.compress),
        (2, lambda raw: pa.compress(raw, "snappy", asbytes=True)),
        (2, xerial),
        (3, lz4.frame.compress),
        (3, lambda raw: lz4.frame.compress(raw, store_size=False)),
        (4, zstd.compress),
    ],
)
def test_codecs(codec: int, compress: Callable[[bytes], bytes]) -> None:
    """Every codec is read, alone, and between batches that are not compressed."""
    values = [b"v%d" % i * 30 for i in range(200)]
    raw = body((i, 0, None, value) for i, value in enumerate(values))
    packed = batch(10, compress(raw), len(values), attributes=codec)
    assert values_of(read(packed, 10)) == values
    data = simple(8, [b"a", b"b"]) + packed + simple(210, [b"c"])
    assert values_of(read(data, 8)) == [b"a", b"b", *values, b"c"]


@pytest.mark.parametrize(("codec", "pack"), [(1, gzip.compress), (3, lz4.frame.compress), (4, zstd.compress)])
def test_a_bomb_costs_no_more_than_the_limit(codec: int, pack: Callable[[bytes], bytes]) -> None:
    """A batch that inflates to more than 64 MiB is one message without value, marked -2; others are read."""
    bomb = pack(bytes(record_batches.BATCH_BYTES_MAX + 1))
    data = simple(0, [b"a"]) + batch(1, bomb, 5, attributes=codec) + simple(6, [b"b"])
    (slab,) = read(data)
    assert (slab.offsets.tolist(), values_of([slab])) == ([0, 1, 6], [b"a", None, b"b"])
    assert slab.spans[:, 3].tolist() == [1, -2, 1]
    assert len(slab.data) < 1000


def test_a_codec_that_is_unknown_or_broken_is_corruption() -> None:
    """Compressed bytes that are cut, wrong, or of a codec nobody knows stop the reading with the place."""
    good = zstd.compress(body([(0, 0, None, b"value" * 50)]))
    lz = lz4.frame.compress(body([(0, 0, None, b"value" * 50)]))
    snappy = pa.compress(body([(0, 0, None, b"value" * 50)]), "snappy", asbytes=True)
    for codec, packed in [
        (4, good[:-3]),
        (4, good + b"x"),
        (4, b"no"),
        (3, lz[:-9]),
        (3, b"no"),
        (1, b"no"),
        (5, b"no"),
        (2, snappy[:-2]),
        (2, b"\xff" * 9),
        (2, xerial(b"x" * 200)[:-4]),
    ]:
        with pytest.raises(LogCorrupt) as caught:
            read(batch(44, packed, 1, attributes=codec), 44)
        assert (caught.value.topic, caught.value.partition, caught.value.offset) == ("t", 3, 44)


def test_a_last_batch_that_is_cut_is_left() -> None:
    """However many bytes of a fetch came, the whole batches among them are read and the rest is not an error."""
    first, second = simple(0, [b"a", b"b"]), simple(2, [b"c"])
    for size in range(len(first + second) + 1):
        whole = [b"a", b"b", b"c"] if size == len(first + second) else [b"a", b"b"] if size >= len(first) else []
        assert values_of(read((first + second)[:size])) == whole


def test_a_flipped_bit_is_found() -> None:
    """Any bit flipped under the checksum stops the reading at that batch, after the batches before it were given."""
    first, second = simple(0, [b"a"]), simple(1, [b"bbb"])
    for position in range(len(first) + 17, len(first + second)):
        data = bytearray(first + second)
        data[position] ^= 4
        given: list[Slab] = []
        with pytest.raises(LogCorrupt, match="batch at offset 1: checksum"):
            given.extend(read_slabs("t", 3, bytes(data), 0))
        assert values_of(given) == [b"a"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (struct.pack(">qi", 9, 48) + bytes(48), "length"),
        (struct.pack(">qi", 9, -1) + bytes(48), "length"),
        (batch(9, body([(0, 0, None, b"")]), 1)[:16] + b"\1" + batch(9, body([(0, 0, None, b"")]), 1)[17:], "magic"),
        (batch(9, b"", 1), "offsets or count"),
        (batch(9, b"", -1), "offsets or count"),
        (batch(9, body([(0, 0, None, b"")]), 1, last=-1), "offsets or count"),
        (simple(9, [b"a"]) + simple(9, [b"b"]), "offsets or count"),
        (batch(9, body([(0, 0, None, b"")] * 2), 1), "record"),
        (batch(9, body([(0, 0, None, b"")] * 2), 2), "record"),
        (batch(9, body([(0, 0, None, b""), (5, 0, None, b"")]), 2), "record"),
        (batch(9, body([(0, 0, None, b"")]) + bytes(9), 2), "record"),
        (batch(9, b"\x7f" + bytes(20), 1), "record"),
        (batch(9, b"\xff" * 30, 1), "record"),
        (batch(9, varint(10) + b"\0\0\0" + varint(100) + bytes(6), 1), "record"),
        (batch(9, varint(10) + b"\0\0\0" + varint(-2) + bytes(6), 1), "record"),
        (batch(9, varint(10) + b"\0\0\0" + varint(-1) + varint(6) + bytes(5), 1), "record"),
        (batch(9, zstd.compress(bytes(6)), 1, attributes=4), "1 records in 6 bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_impossible_batches(data: bytes, reason: str) -> None:
    """A batch that no broker writes, with a right checksum, stops the reading and says where and why."""
    with pytest.raises(LogCorrupt, match=reason) as caught:
        read(data, 9)
    assert caught.value.offset in (9, 10)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_no_bytes_lead_outside(data: st.DataObject) -> None:
    """Batches with any bytes changed, checksums off, give messages inside the buffer or an error, never a crash."""
    values = data.draw(st.lists(st.binary(max_size=12), min_size=1, max_size=4))
    fetch = bytearray(
        simple(0, values) + simple(len(values), values, attributes=LOG_APPEND) + marker(2 * len(values), 5, True)
    )
    for _ in range(data.draw(st.integers(1, 6))):
        fetch[data.draw(st.integers(0, len(fetch) - 1))] = data.draw(st.integers(0, 255))
    try:
        slabs = read(bytes(fetch), aborted=[(5, 0)], check_crc=False)
    except LogCorrupt:
        return
    for slab in slabs:
        ends = slab.spans[:, 0::2].astype(np.int64) + np.maximum(slab.spans[:, 1::2], 0)
        assert (ends <= len(slab.data)).all()
        assert (slab.spans[:, 0::2] >= 0).all()
        assert ((slab.offsets >= slab.start) & (slab.offsets < slab.end)).all()
        assert (np.diff(slab.offsets) > 0).all()


def test_aborted_messages_are_left_out() -> None:
    """Of interleaved producers the aborted transactions are left out and the rest stays; read_uncommitted keeps all."""
    data = b"".join(
        [
            simple(0, [b"a1"], attributes=TRANSACTIONAL, producer=1),
            simple(1, [b"b1"], attributes=TRANSACTIONAL, producer=2),
            simple(2, [b"plain"]),
            simple(3, [b"same producer, no transaction"], producer=2),
            marker(4, 2, commit=False),
            simple(5, [b"b2"], attributes=TRANSACTIONAL, producer=2),
            marker(6, 1, commit=True),
            marker(7, 2, commit=True),
        ]
    )
    (slab,) = read(data, aborted=[(2, 1)])
    assert values_of([slab]) == [b"a1", b"plain", b"same producer, no transaction", b"b2"]
    assert (slab.start, slab.end) == (0, 8)
    assert values_of(read(data)) == [b"a1", b"b1", b"plain", b"same producer, no transaction", b"b2"]


def test_markers_alone_move_the_end() -> None:
    """A fetch without any message gives an empty slab, so that positions go on."""
    (slab,) = read(marker(5, 1, commit=True), 5)
    assert (len(slab), slab.start, slab.end) == (0, 5, 6)


def test_the_time_of_the_log_wins() -> None:
    """Under LogAppendTime every message has the batch's time, whatever the producer wrote."""
    records = body([(0, 0, None, b""), (1, 5, None, b"")])
    assert read(batch(0, records, 2))[0].timestamps_ms.tolist() == [START_MS, START_MS + 5]
    assert read(batch(0, records, 2, attributes=LOG_APPEND))[0].timestamps_ms.tolist() == [START_MS + 777] * 2


def test_holes_and_a_start_inside_a_batch() -> None:
    """Offsets that compaction has taken out are holes, and messages before the start are left out."""
    data = batch(100, body([(1, 0, b"k", b"a"), (4, 0, b"k", None), (5, 0, b"k", b"c")]), 3, last=9)
    (slab,) = read(data, 103)
    assert (slab.offsets.tolist(), slab.start, slab.end) == ([104, 105], 103, 110)
    assert records_of([slab]) == [(104, START_MS, b"k", None), (105, START_MS, b"k", b"c")]


@pytest.mark.parametrize("attributes", [0, 3])
def test_large_fetches_are_cut_into_slabs(attributes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fetch is cut between batches once a slab is large enough, compressed or not; nothing is lost there."""
    monkeypatch.setattr(record_batches, "SLAB_BYTES", 500)
    values = [b"%03d" % i * 20 for i in range(100)]
    pack = lz4.frame.compress if attributes else bytes
    data = b"".join(
        batch(i, pack(body((j, 0, None, v) for j, v in enumerate(values[i : i + 5]))), 5, attributes=attributes)
        for i in range(0, 100, 5)
    )
    slabs = read(data)
    assert len(slabs) >= 10
    assert values_of(slabs) == values
    assert slabs[-1].end == 100


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 2**45), blobs, blobs), max_size=20), st.integers(0, 5))
def test_slabs_from_messages(parts: list[tuple[int, int, bytes | None, bytes | None]], before: int) -> None:
    """A slab made from messages gives them back, and starts and ends where it is told."""
    records, offset = [], before
    for step, ms, key, value in parts:
        offset += step
        records.append((offset, ms, key, value))
    slab = Slab.of("t", 3, records)
    assert records_of([slab]) == records
    assert (slab.start, slab.end) == ((records[0][0], offset + 1) if records else (0, 0))
    wide = Slab.of("t", 3, iter(records), start=0, end=offset + 7)
    assert (wide.start, wide.end, records_of([wide])) == (0, offset + 7, records)


@pytest.mark.parametrize(
    ("offsets", "start", "end"),
    [([3, 3], None, None), ([4, 3], None, None), ([3], 4, None), ([3], None, 3), ([], 4, 3)],
)
def test_slabs_from_impossible_messages(offsets: list[int], start: int | None, end: int | None) -> None:
    """Offsets that do not ascend or lie outside of the slab are refused."""
    with pytest.raises(ValueError, match="offsets do not ascend"):
        Slab.of("t", 3, [(offset, 0, None, b"") for offset in offsets], start, end)


def test_gzip_of_zlib_format_is_refused() -> None:
    """Framing of zlib's own is not gzip's: Kafka's gzip batches have gzip framing only."""
    with pytest.raises(LogCorrupt, match="gzip"):
        read(batch(0, zlib.compress(body([(0, 0, None, b"x")])), 1, attributes=1))
