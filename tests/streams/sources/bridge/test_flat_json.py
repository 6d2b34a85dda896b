"""The JSON kernel: what it takes is what the library takes, and what it leaves the library decides."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.record_batches import Slab
from streams.sources.bridge import flat_json
from streams.sources.bridge.cells import ABSENT, BAD, DECIMAL, FALSE, TEXT, TRUE
from streams.sources.bridge.flat_json import FlatJson, parse

FIELDS = ["id", "ts", "value", "a.b"]


def slab(*values: bytes | None) -> Slab:
    """Messages of these values."""
    return Slab.of("foreign", 0, [(offset, 0, None, value) for offset, value in enumerate(values)])


def found(raw: bytes) -> dict[str, object] | None:
    """The fields of one message; None: it is refused."""
    cells = FlatJson(FIELDS).read(slab(raw))
    if cells.status[0] == BAD:
        return None
    kinds = {TEXT: "text", DECIMAL: "number", TRUE: True, FALSE: False}
    return {
        name: (kinds[kind], cells.text(0, field)) if kind in (TEXT, DECIMAL) else kinds[kind]
        for field, name in enumerate(FIELDS)
        if (kind := int(cells.kinds[0, field])) != ABSENT
    }


def library(raw: bytes) -> dict[str, object] | None:
    """The same by json alone; None: refused."""
    try:
        message = parse(raw)
    except ValueError:
        return None
    fields: dict[str, object] = {}
    for name in FIELDS:
        value = message
        for part in [name] if name in message else name.split("."):
            value = value.get(part) if isinstance(value, dict) else None  # type: ignore[assignment]
        if isinstance(value, bool):
            fields[name] = value
        elif isinstance(value, flat_json._Number):
            fields[name] = ("number", str(value))
        elif isinstance(value, str):
            fields[name] = ("text", value)
        elif value is not None:
            return None
    return fields


def taken(raw: bytes) -> bool:
    """Whether the kernel itself took the message."""
    cells_status = np.zeros(1, np.int8)
    reader = FlatJson(FIELDS)
    one = slab(raw)
    shape = (1, len(FIELDS))
    places = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    flat_json._messages(
        one.data, one.spans, reader._names, reader._bounds, np.zeros(shape, np.int8), *places, cells_status
    )
    return bool(cells_status[0] == 0)


USUAL = [
    b'{"id":"m1","ts":"2026-05-01T08:00:00Z","value":12.5}',
    b' {\n "value" : -0.5e+3 , "x":null, "id":"\xe7\x94\xb5\xe8\xa1\xa8","ts":1700000000 } ',
    b'{"id":"m1","value":true,"ts":false}',
    b"{}",
]
ODD = [
    b'{"id":"m\\u0031","value":1}',
    b'{"a":{"b":7},"id":"m"}',
    b'{"x":[1,2],"id":"m"}',
    b'{"id":"m","id":"n"}',
    b'{"id":{"b":1}}',
    b'{"value":01}',
    b'{"value":1.}',
    b'{"value":NaN}',
    b'{"id":"m"} x',
    b'{"id":"m",}',
    b'{"id":"\xff"}',
    b'{"id":"\xed\xa0\x80"}',
    b'{"id":"a\x01"}',
    b"[1]",
    b"",
    b'{"id"',
    b'{"value":-}',
    b'{"id":tru}',
]


@pytest.mark.parametrize("raw", USUAL)
def test_the_kernel_takes_what_messages_look_like(raw: bytes) -> None:
    """No library is asked, and the fields are the library's."""
    assert taken(raw)
    assert found(raw) == library(raw)


@pytest.mark.parametrize("raw", ODD)
def test_the_rest_is_the_librarys(raw: bytes) -> None:
    """Escapes, objects within, two of a name, and whatever is not JSON."""
    assert not taken(raw)
    assert found(raw) == library(raw)


def test_reasons_are_for_people() -> None:
    """A bad message says what is wrong with it; its neighbours are read."""
    cells = FlatJson(FIELDS).read(slab(b'{"id":"a"}', b"no", None, b'{"id":"b"}'))
    assert cells.details == {1: "not JSON: Expecting value at character 1", 2: "a message without value"}
    assert (cells.text(0, 0), cells.text(3, 0)) == ("a", "b")


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text('a1\u7535"\\\n/', max_size=6),
)


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from([*FIELDS, "x", "\u7535", 'q"']), VALUES), st.booleans(), st.sampled_from([None, 1])
)
def test_any_flat_object_is_read_as_the_library_reads_it(
    message: dict[str, object], ascii_: bool, indent: int | None
) -> None:
    """Whoever reads it, kernel or library: the same fields."""
    raw = json.dumps(message, ensure_ascii=ascii_, indent=indent).encode("utf-8", "surrogatepass")
    assert found(raw) == library(raw)


@settings(deadline=None)
@given(st.sampled_from(USUAL + ODD), st.data())
def test_spoilt_messages_are_judged_as_the_library_judges_them(raw: bytes, data: st.DataObject) -> None:
    """Bytes cut, changed and put in: never another answer, and nothing read outside of the message."""
    spoilt = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(spoilt)))
        change = data.draw(st.sampled_from(["cut", "byte", "put"]))
        if change == "cut":
            del spoilt[at:]
        elif change == "byte" and at < len(spoilt):
            spoilt[at] = data.draw(st.integers(0, 255))
        else:
            spoilt[at:at] = data.draw(
                st.sampled_from([b'"', b"{", b"}", b",", b":", b"\\", b"1", b"e", b"\xe7\x94\xb5", b" "])
            )
    assert found(bytes(spoilt)) == library(bytes(spoilt))
