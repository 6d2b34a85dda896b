"""The kernel of output rows against the slow reader: the same bytes accepted, the same values given."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import codec, decode_rows
from schemas.errors import DecodeError

LONG = st.integers(-(1 << 63), (1 << 63) - 1)
INT = st.integers(-(1 << 31), (1 << 31) - 1)


@st.composite
def messages(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """(contract, a value that keeps it)."""
    name = draw(st.sampled_from(decode_rows.CONTRACTS))
    shape = decode_rows.shape(name)
    sites = draw(st.lists(st.text(max_size=8), min_size=1, max_size=3))
    fields = {}
    for field, (low, high) in zip(shape.fields, shape.limits.tolist(), strict=True):
        fields[field] = st.sampled_from(shape.symbols[field]) if field in shape.symbols else st.integers(low, high)
    fields["site"] = st.integers(0, len(sites) - 1)
    rows = draw(st.lists(st.fixed_dictionaries(fields), max_size=40))
    head = {
        "topic": draw(st.text(max_size=20)),
        "partition": draw(INT),
        "sequence": draw(LONG),
        "sites": sites,
        "rows": rows,
    }
    return name, head


def as_dict(name: str, rows: decode_rows.Rows) -> dict[str, Any]:
    """What the slow reader would give."""
    shape = decode_rows.shape(name)
    found = [
        {f: shape.symbols[f][v] if f in shape.symbols else v for f, v in zip(shape.fields, row, strict=True)}
        for row in rows.matrix.tolist()
    ]
    return {
        "topic": rows.topic,
        "partition": rows.partition,
        "sequence": rows.sequence,
        "sites": list(rows.sites),
        "rows": found,
    }


@given(messages())
@settings(max_examples=150, deadline=None)
def test_values_are_those_that_were_written(case: tuple[str, dict[str, Any]]) -> None:
    """What fastavro writes comes back, to the last bit of every number."""
    name, value = case
    assert as_dict(name, decode_rows.read_rows(name, codec.write(name, value))) == value


@given(messages(), st.data())
@settings(max_examples=600, deadline=None)
def test_spoilt_bytes_fare_as_with_the_oracle(case: tuple[str, dict[str, Any]], data: st.DataObject) -> None:
    """Of a message with bytes changed, cut or added, both readers say the same: refused, or the same values."""
    name, value = case
    raw = bytearray(codec.write(name, value))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(codec.HEADER_BYTES, len(raw) - 1))
        match data.draw(st.integers(0, 3)):
            case 0:
                raw[at] = data.draw(st.sampled_from((0, 1, 2, 0x7F, 0x80, 0xFF, data.draw(st.integers(0, 255)))))
            case 1:
                raw[at:at] = data.draw(st.binary(max_size=11))
            case 2 if at > codec.HEADER_BYTES:
                del raw[at:]
            case _:
                raw[at : at + 1] = b""
        if len(raw) == codec.HEADER_BYTES:
            break
    message = bytes(raw)
    try:
        oracle: dict[str, Any] | None = codec.read(name, message)
        sites = len(oracle["sites"])  # type: ignore[index]
        if any(not 0 <= row["site"] < sites for row in oracle["rows"]):  # type: ignore[index]
            oracle = None
    except DecodeError:
        oracle = None
    try:
        found: dict[str, Any] | None = as_dict(name, decode_rows.read_rows(name, message))
    except DecodeError:
        found = None
    assert found == oracle


def test_blocks_of_an_array() -> None:
    """An array in several blocks, also those that name their bytes, is one array; room grows as the blocks come."""
    limits = np.array([[-8, 8]], np.int64)
    body = np.frombuffer(bytes((2, 4, 3, 4, 6, 8)) + bytes([2, 2]) * 40 + bytes((0, 99)), np.uint8)
    matrix, used = decode_rows.rows_to_matrix(body, limits)
    assert used == len(body) - 1
    assert matrix[:3, 0].tolist() == [2, 3, 4]
    assert matrix.shape == (43, 1)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x80",
        b"\x02",
        b"\xfe\xff\xff\xff\x0f",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00",
        b"\x02" + b"\x80" * 12,
    ],
)
def test_counts_that_lie(body: bytes) -> None:
    """A count beyond the bytes, cut short or over-long is refused without reading or reserving for it."""
    with pytest.raises(DecodeError):
        decode_rows.rows_to_matrix(np.frombuffer(body, np.uint8), np.array([[0, 9]] * 2, np.int64))
