"""Cold messages: what fastavro writes is read, and whatever it accepts wrongly or dies of is refused."""

import io
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import codec
from schemas.encode_rows import text, varint
from schemas.errors import DecodeError
from tests.support.patience import patient

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Valid values of a schema."""
    if isinstance(kind, list):
        return st.one_of([values(one) for one in kind])
    simple: dict[str, st.SearchStrategy[Any]] = {
        "null": st.none(), "boolean": st.booleans(), "int": st.integers(-(1 << 31), (1 << 31) - 1), "long": INT64,
        "string": st.text(max_size=6), "bytes": st.binary(max_size=6),
    }  # fmt: skip
    if isinstance(kind, str):
        return simple[kind]
    if kind["type"] == "record":
        return st.fixed_dictionaries({field["name"]: values(field["type"]) for field in kind["fields"]})
    if kind["type"] == "enum":
        return st.sampled_from(kind["symbols"])
    assert kind["type"] == "array"
    return st.lists(values(kind["items"]), max_size=2)


@pytest.mark.parametrize("name", codec.CONTRACTS)
@patient(max_examples=25)
@given(data=st.data())
def test_valid_values_of_every_contract(name: str, data: st.DataObject) -> None:
    """`write` writes what fastavro writes, `read` gives back what was written, and the header names the contract."""
    value = data.draw(values(codec.schema(name)))
    message = codec.write(name, value)
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(codec.schema(name)), value)
    assert message == codec.header(name) + out.getvalue()
    assert codec.contract_of(message) == name
    assert codec.read(name, message) == value


@pytest.mark.parametrize("name", codec.CONTRACTS)
@patient(max_examples=10)
@given(data=st.data())
def test_cut_and_flipped_messages(name: str, data: st.DataObject) -> None:
    """A cut message is refused; a flipped bit gives another valid message or is refused, and nothing else happens."""
    message = codec.write(name, data.draw(values(codec.schema(name))))
    cut = data.draw(st.integers(0, len(message) - 1))
    with pytest.raises(DecodeError):
        codec.read(name, message[:cut])
    with pytest.raises(DecodeError):
        codec.read(name, message + b"\0")
    raw = bytearray(message)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        read = codec.read(name, bytes(raw))
    except DecodeError:
        return
    assert codec.read(name, codec.write(name, read)) == read


@pytest.mark.parametrize("name", codec.CONTRACTS)
@patient(max_examples=30)
@given(body=st.binary(max_size=60))
def test_random_bodies(name: str, body: bytes) -> None:
    """Random bytes are a message or a DecodeError."""
    try:
        codec.read(name, codec.header(name) + body)
    except DecodeError as error:
        assert 0 <= error.position <= len(body) + codec.HEADER_BYTES


TICK, WASTE = codec.header("tick"), codec.header("waste_event")
LEDGER = codec.header("ledger_rows") + text("t") + varint(0) + varint(0)
VEHICLE = codec.header("vehicle_event") + text("s") + text("e") + varint(0) + text("v")
HOSTILE = {
    "over-long varint": TICK + b"\x80" * 10 + b"\x01",
    "varint of 200 bytes": TICK + b"\xff" * 200,
    "varint over 64 bits": TICK + b"\xff" * 9 + b"\x02",
    "padded varint": TICK + b"\x81\x00",
    "int of 2^40": codec.header("ledger_rows") + text("t") + varint(1 << 40) + varint(0) + b"\0\0",
    "truncated varint": TICK + b"\x80",
    "junk after the end": TICK + b"\0junk",
    "enum index -1": WASTE + text("s") + text("e") + varint(0) + varint(-1) + b"\0" * 11,
    "enum index beyond": WASTE + text("s") + text("e") + varint(0) + varint(7) + b"\0" * 11,
    "union index -1": WASTE + text("s") + text("e") + varint(0) + varint(0) + varint(-1) + b"\0" * 10,
    "union index 9": WASTE + text("s") + text("e") + varint(0) + varint(0) + varint(9) + b"\0" * 10,
    "boolean 7": VEHICLE + varint(0) + b"\0\0\0" + varint(1) + b"\x07" + b"\0" * 9,
    "negative length": codec.header("config_record") + varint(-5) + b"\0" * 20,
    "huge length": codec.header("config_record") + varint(1 << 62) + b"\0" * 20,
    "array of 2^62": LEDGER + varint(1 << 62) + b"\0" * 9,
    "array of 1e8": LEDGER + varint(100_000_000) + b"\0" * 9,
    "negative count": LEDGER + varint(-(1 << 62)) + varint(4) + b"\0" * 9,
    "smallest count": LEDGER + varint(-(1 << 63)) + varint(4) + b"\0" * 9,
    "negative block size": LEDGER + varint(-1) + varint(-1) + text("s") + b"\0\0",
    "text is not UTF-8": codec.header("config_record") + varint(2) + b"\xff\xfe" + b"\0" * 20,
    "surrogate": codec.header("config_record") + varint(3) + b"\xed\xa0\x80" + b"\0" * 20,
    "no body": TICK,
    "nothing": b"",
    "another contract": WASTE + b"\0",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_bytes_are_refused(case: str) -> None:
    """Everything that the stock decoders accept or die of is a DecodeError, at once: nothing is allocated by a count."""
    message = HOSTILE[case]
    name = codec.contract_of(message) or "tick"
    with pytest.raises(DecodeError):
        codec.read("tick" if case == "another contract" else name, message)


def test_a_message_over_the_limit_is_not_read() -> None:
    """Eight megabytes are the most."""
    with pytest.raises(DecodeError, match="limit"):
        codec.read("tick", TICK + bytes(codec.MESSAGE_BYTES_MAX))


def test_blocks_of_an_array() -> None:
    """An array may come in several blocks, and in blocks that say their size."""
    one = text("a")
    message = LEDGER + varint(1) + one + varint(-2) + varint(2 * len(one)) + one * 2 + b"\0" + b"\0"
    assert codec.read("ledger_rows", message)["sites"] == ["a", "a", "a"]


def test_values_that_do_not_fit_are_not_written() -> None:
    """`write` refuses missing fields, unknown symbols and numbers over 64 bits."""
    for value in ({}, {"clock_ms": "x"}, {"clock_ms": 1 << 63}, {"clock_ms": 1, "more": 2}):
        with pytest.raises(DecodeError):
            codec.write("tick", value)


def test_fingerprints_are_those_of_the_specification() -> None:
    """The header is C3 01 and the CRC-64-AVRO of the parsing canonical form, little-endian; contracts differ in it."""
    assert len({codec.header(name) for name in codec.CONTRACTS}) == len(codec.CONTRACTS)
    # The specification's own algorithm, byte by byte.
    empty = 0xC15D213AA4D7A795
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (empty & -(value & 1))
        table.append(value)
    for name in codec.CONTRACTS:
        value = empty
        for byte in fastavro.schema.to_parsing_canonical_form(codec.schema(name)).encode():
            value = (value >> 8) ^ table[(value ^ byte) & 0xFF]
        assert codec.header(name) == b"\xc3\x01" + value.to_bytes(8, "little")
