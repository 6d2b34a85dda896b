"""The encoder of meter batches writes what fastavro writes."""

import io

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from schemas import codec, encode
from schemas.errors import DecodeError

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
READING = st.tuples(st.integers(-(1 << 52), 1 << 52), st.integers(-(1 << 31), (1 << 31) - 1), INT64, st.integers(0, 2))
Columns = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64], NDArray[np.int8]]


def columns(rows: list[tuple[int, int, int, int]]) -> Columns:
    """Readings as the four arrays that the encoder takes."""
    times_ms, points, values, qualities = zip(*rows, strict=True)
    return (
        np.array(times_ms, np.int64),
        np.array(points, np.int32),
        np.array(values, np.int64),
        np.array(qualities, np.int8),
    )


def oracle(site: str, gateway: str, mode: str, rows: list[tuple[int, int, int, int]]) -> bytes:
    """The same message by fastavro."""
    base_ms = rows[0][0]
    readings = [
        {"point": point, "offset_ms": time_ms - base_ms, "value": value, "quality": encode.QUALITIES[quality]}
        for time_ms, point, value, quality in rows
    ]
    out = io.BytesIO()
    value = {"site": site, "gateway": gateway, "mode": mode, "base_ms": base_ms, "readings": readings}
    fastavro.schemaless_writer(out, fastavro.parse_schema(codec.schema("meter_batch")), value, strict=True)
    return codec.header("meter_batch") + out.getvalue()


@settings(deadline=None)
@given(
    st.text(max_size=80),
    st.text(max_size=80),
    st.sampled_from(encode.MODES),
    st.lists(READING, min_size=1, max_size=40),
)
def test_one_message_is_what_fastavro_writes(
    site: str, gateway: str, mode: encode.Mode, rows: list[tuple[int, int, int, int]]
) -> None:
    """Any text and any numbers of the contract give the same bytes as fastavro."""
    assert encode.encode_batch(site, gateway, mode, *columns(rows)) == oracle(site, gateway, mode, rows)


@settings(deadline=None, max_examples=30)
@given(st.lists(READING, max_size=60), st.integers(1, 20))
def test_many_messages_are_cut_in_order(rows: list[tuple[int, int, int, int]], readings_max: int) -> None:
    """Each cut is the message that fastavro writes for those readings, in their order, and nothing is left out."""
    expected = [oracle("s", "g", "live", rows[at : at + readings_max]) for at in range(0, len(rows), readings_max)]
    arrays = columns(rows) if rows else columns([(0, 0, 0, 0)])
    arrays = arrays if rows else tuple(array[:0] for array in arrays)  # type: ignore[assignment]

    assert encode.encode_batches("s", "g", "live", *arrays, readings_max=readings_max) == expected


def test_more_than_one_buffer_of_messages() -> None:
    """A run longer than the kernel's buffer of 256 messages loses nothing at the seam."""
    size = 256 * 10 + 7
    rows = [(1_600_000_000_000 + 900_000 * row, row % 5, row * 1_000_003 - 7, row % 3) for row in range(size)]
    messages = encode.encode_batches("s", "g", "backfill", *columns(rows), readings_max=10)

    assert messages == [oracle("s", "g", "backfill", rows[at : at + 10]) for at in range(0, size, 10)]


def test_columns_that_do_not_fit_are_refused() -> None:
    """Lengths that differ, qualities that the contract lacks, no readings and too many are errors, not bytes."""
    good = columns([(1, 2, 3, 0), (2, 2, 3, 0)])
    with pytest.raises(DecodeError, match="different lengths"):
        encode.encode_batch("s", "g", "live", good[0], good[1][:1], good[2], good[3])
    with pytest.raises(DecodeError, match="quality"):
        encode.encode_batch("s", "g", "live", *good[:3], np.array([0, 3], np.int8))
    with pytest.raises(DecodeError, match="no clock"):
        encode.encode_batch("s", "g", "live", np.array([5, (1 << 52) + 1], np.int64), *good[1:])
    with pytest.raises(DecodeError, match="1 to 1000"):
        encode.encode_batch("s", "g", "live", *columns([(1, 2, 3, 0)] * 1001))
    with pytest.raises(DecodeError, match="mode"):
        encode.encode_batch("s", "g", "late", *good)  # type: ignore[arg-type]


def test_the_compiled_kernel_ran() -> None:
    """Numba was not switched off: the tests above judged the machine code."""
    encode.encode_batch("s", "g", "live", *columns([(1, 2, 3, 0)]))
    assert encode._encode.signatures
