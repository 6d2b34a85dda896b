"""Hot rows are written byte for byte as fastavro writes them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import codec
from schemas.encode_rows import encode_rows, text, varint
from tests.support.patience import patient

CONTRACTS = ("ledger_rows", "gauge_rows", "verdict_rows")
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)


def fields(contract: str) -> list[tuple[str, Any]]:
    """(name, type) of a row's fields."""
    schema: Any = codec.schema(contract)
    rows = next(field for field in schema["fields"] if field["name"] == "rows")
    return [(field["name"], field["type"]) for field in rows["type"]["items"]["fields"]]


def cell(kind: Any) -> st.SearchStrategy[int]:
    """Values of a field, as integers."""
    if kind == "int":
        return st.integers(-(1 << 31), (1 << 31) - 1)
    return INT64 | st.integers(-200, 200) if kind == "long" else st.integers(0, len(kind["symbols"]) - 1)


@pytest.mark.parametrize("contract", CONTRACTS)
@patient(max_examples=60)
@given(data=st.data())
def test_equal_to_fastavro(contract: str, data: st.DataObject) -> None:
    """Any rows, none at all too, and any texts: the bytes are fastavro's."""
    columns = fields(contract)
    rows = data.draw(st.lists(st.tuples(*(cell(kind) for _, kind in columns)), max_size=8))
    sites = data.draw(st.lists(st.text(max_size=5), max_size=3))
    topic, partition, sequence = data.draw(st.text(max_size=9)), data.draw(cell("int")), data.draw(INT64)
    named = [
        {
            name: value if isinstance(kind, str) else kind["symbols"][value]
            for (name, kind), value in zip(columns, row, strict=True)
        }
        for row in rows
    ]
    value = {"topic": topic, "partition": partition, "sequence": sequence, "sites": sites, "rows": named}
    matrix = np.array(rows, np.int64).reshape(-1, len(columns))
    assert encode_rows(contract, topic, partition, sequence, sites, matrix) == codec.write(contract, value)


def test_columns_cut_out_of_a_wider_matrix() -> None:
    """A view with strides is written as its rows."""
    width = len(fields("verdict_rows"))
    wide = np.arange(40 * (width + 5), dtype=np.int64).reshape(40, width + 5) % 7
    view = wide[::2, 2 : 2 + width]
    assert encode_rows("verdict_rows", "t", 0, 0, ["s"], view) == encode_rows(
        "verdict_rows", "t", 0, 0, ["s"], view.copy()
    )


@patient(max_examples=50)
@given(INT64, st.text(max_size=300))
def test_parts_of_a_message(number: int, words: str) -> None:
    """A number and a text by themselves are what fastavro puts into a message."""
    fields = {
        "site": words,
        "version": number,
        "previous": b"",
        "document": b"",
        "effective_ms": 0,
        "key_id": "",
        "signature": b"",
    }
    assert codec.write("config_record", fields).startswith(codec.header("config_record") + text(words) + varint(number))
