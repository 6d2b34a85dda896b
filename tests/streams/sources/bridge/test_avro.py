"""The Avro decoder against fastavro: the same fields for what it wrote, a refusal for what nobody wrote."""

import io
import json
import math
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import ConfigurationError
from schemas.record_batches import Slab
from streams.sources.bridge.avro_kernel import Avro
from streams.sources.bridge.avro_program import Program
from streams.sources.bridge.cells import ABSENT, BAD, Cells

SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Reading",
    "fields": [
        {"name": "tags", "type": {"type": "map", "values": ["null", "string"]}},
        {"name": "meter", "type": "string"},
        {"name": "history", "type": {"type": "array", "items": {"type": "array", "items": "double"}}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {
            "name": "body",
            "type": {
                "type": "record",
                "name": "Body",
                "fields": [
                    {"name": "value", "type": ["null", "long", "double", "string"]},
                    {"name": "flag", "type": {"type": "enum", "name": "Flag", "symbols": ["OK", "EST"]}},
                    {"name": "raw", "type": {"type": "fixed", "name": "Raw", "size": 3}},
                ],
            },
        },
        {"name": "on", "type": "boolean"},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 3}},
        {"name": "ratio", "type": "float"},
    ],
}
FIELDS = ["meter", "at", "body.value", "body.flag", "on", "price", "ratio"]


def write(message: dict[str, Any], schema: Any = SCHEMA) -> bytes:
    """A body by fastavro."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), message)
    return out.getvalue()


def read(folder: Path, *raws: bytes | None, wire: str = "plain") -> Cells:
    """The cells of messages."""
    path = folder / "schema.avsc"
    path.write_text(json.dumps(SCHEMA))
    slab = Slab.of("foreign", 0, [(offset, 0, None, raw) for offset, raw in enumerate(raws)])
    return Avro(FIELDS, path, wire).read(slab)


MESSAGES = st.fixed_dictionaries(
    {
        "tags": st.dictionaries(st.sampled_from(["a", "b", "\u7535"]), st.sampled_from([None, "", "x"])),
        "meter": st.sampled_from(["m1", "", "\u8868"]),
        "history": st.lists(st.lists(st.just(1.5), max_size=3), max_size=3),
        "at": st.integers(-(1 << 50), 1 << 50),
        "body": st.fixed_dictionaries(
            {
                "value": st.one_of(
                    st.none(),
                    st.floats(allow_nan=False, allow_infinity=False),
                    st.integers(-(1 << 63), (1 << 63) - 1),
                    st.sampled_from(["7", ""]),
                ),
                "flag": st.sampled_from(["OK", "EST"]),
                "raw": st.just(b"abc"),
            }
        ),
        "on": st.booleans(),
        "price": st.integers(-(10**11), 10**11).map(lambda n: Decimal(n).scaleb(-3)),
        "ratio": st.floats(allow_nan=False, allow_infinity=False, width=32),
    }
)


@settings(deadline=None)
@given(MESSAGES)
def test_what_fastavro_writes_is_read(tmp_path_factory: pytest.TempPathFactory, message: dict[str, Any]) -> None:
    """Texts as they are, numbers exactly: a double is the decimal that Python shows."""
    cells = read(tmp_path_factory.getbasetemp(), write(message))
    assert cells.status[0] != BAD, cells.details
    value = message["body"]["value"]
    assert cells.text(0, 0) == message["meter"]
    assert Fraction(cells.text(0, 1) or "") == Fraction(message["at"], 1000)
    shown = cells.text(0, 2)
    if value is None:
        assert shown is None
    elif isinstance(value, str):
        assert shown == value
    else:
        assert shown is not None
        assert Fraction(shown) == Fraction(repr(value) if isinstance(value, float) else value)
    assert cells.text(0, 3) == message["body"]["flag"]
    assert cells.text(0, 4) == ("true" if message["on"] else "false")
    assert Fraction(cells.text(0, 5) or "") == Fraction(str(message["price"]))
    assert float(cells.text(0, 6) or "nan") == pytest.approx(message["ratio"], rel=1e-6)


GOOD: dict[str, Any] = {
    "tags": {"a": None, "b": "x"},
    "meter": "m1",
    "history": [[1.0, 2.0], []],
    "at": 1_700_000_000_000_000,
    "body": {"value": 12.5, "flag": "EST", "raw": b"abc"},
    "on": True,
    "price": Decimal("1.234"),
    "ratio": 0.1,
}


def test_a_message_cut_anywhere_is_refused(tmp_path: Path) -> None:
    """Every prefix of a good message, and one byte more than it, beside the good one itself."""
    raw = write(GOOD)
    cells = read(tmp_path, *(raw[:end] for end in range(len(raw))), raw + b"\x00", raw)
    assert (cells.status[:-1] == BAD).all()
    assert (cells.kinds[:-1] == ABSENT).all()
    assert cells.status[-1] != BAD
    assert cells.text(len(raw) + 1, 6) == "0.1"


def test_every_bit_flipped_is_read_or_refused(tmp_path: Path) -> None:
    """No flip reads outside of the message, and a flip that fastavro reads gives fastavro's text."""
    raw = write(GOOD)
    spoilt = [bytes([*raw[:at], raw[at] ^ (1 << bit), *raw[at + 1 :]]) for at in range(len(raw)) for bit in range(8)]
    cells = read(tmp_path, *spoilt)
    good = 0
    for row, one in enumerate(spoilt):
        if cells.status[row] == BAD:
            continue
        stream = io.BytesIO(one)
        try:
            message: Any = fastavro.schemaless_reader(stream, fastavro.parse_schema(SCHEMA), None)
        except UnicodeDecodeError:
            continue  # texts are looked at where they are wanted
        assert stream.tell() == len(one)
        assert cells.text(row, 3) == message["body"]["flag"]
        good += 1
    assert good > 50, "most flips of a double or a text are good messages"


def test_bombs_are_refused_at_once(tmp_path: Path) -> None:
    """An array of 2^40 items in eleven bytes, of items without bytes too."""
    path = tmp_path / "bomb.avsc"
    nulls = {"type": "array", "items": "null"}
    path.write_text(json.dumps({"type": "record", "name": "R", "fields": [{"name": "n", "type": nulls}]}))
    raw = b"\x80\x80\x80\x80\x80\x40\x00"
    cells = Avro([], path, "plain").read(Slab.of("foreign", 0, [(0, 0, None, raw)]))
    assert cells.details == {0: "more items than bytes"}


def test_infinity_is_no_number(tmp_path: Path) -> None:
    """It has no decimal."""
    cells = read(tmp_path, write(GOOD | {"body": GOOD["body"] | {"value": math.inf}}))
    assert cells.details == {0: "inf is not a number that can be used"}


def test_confluents_format_finds_schemas_by_id(tmp_path: Path) -> None:
    """Files named by the id; one that comes later is found, until then its messages are refused with the file's name."""
    (tmp_path / "7.avsc").write_text(json.dumps(SCHEMA))
    reader = Avro(FIELDS, tmp_path, "confluent")
    raw = write(GOOD)
    rows = [b"\x00\x00\x00\x00\x07" + raw, b"\x00\x00\x00\x00\x08" + raw, raw]
    slab = Slab.of("foreign", 0, [(offset, 0, None, row) for offset, row in enumerate(rows)])
    cells = reader.read(slab)
    assert cells.text(0, 0) == "m1"
    assert cells.details == {1: f"no schema 8.avsc in {tmp_path.name}", 2: "no Confluent header"}
    (tmp_path / "8.avsc").write_text(json.dumps(SCHEMA))
    assert reader.read(slab).text(1, 0) == "m1"


def test_single_object_encoding_is_held_against_its_fingerprint(tmp_path: Path) -> None:
    """C3 01 and the schema's own eight bytes."""
    program = Program(SCHEMA, FIELDS, "x")
    raw = write(GOOD)
    cells = read(tmp_path, b"\xc3\x01" + program.fingerprint + raw, b"\xc3\x01" + bytes(8) + raw, wire="single")
    assert cells.text(0, 0) == "m1"
    assert cells.details == {1: "another fingerprint than the schema's"}


@pytest.mark.parametrize(
    ("schema", "fields", "words"),
    [
        ({"type": "record", "name": "R", "fields": [{"name": "r", "type": ["null", "R"]}]}, [], "contains itself"),
        (SCHEMA, ["nothing"], "has no field nothing"),
        (SCHEMA, ["tags"], "in an array or a map"),
        ({"type": "recor"}, [], "is no Avro schema"),
    ],
)
def test_schemas_that_cannot_be_used_are_refused_at_the_start(schema: Any, fields: list[str], words: str) -> None:
    """With the reason."""
    with pytest.raises(ConfigurationError, match=words):
        Program(schema, fields, "schema.avsc")
