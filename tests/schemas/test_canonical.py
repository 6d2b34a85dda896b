"""The hash chain does not depend on how rows are cut, and on everything else."""

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from schemas.canonical import BLOCK_ROWS, Chain, key
from tests.support.patience import patient


def rows(seed: int, count: int, width: int = 7) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Random canonical rows."""
    return np.random.default_rng(seed).integers(-(1 << 63), (1 << 63) - 1, (count, width), np.int64)


def plain(matrix: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> bytes:
    """The head, computed row by row."""
    tip, block = bytes(32), b""
    for place, row in enumerate(matrix.tolist(), 1):
        block += b"".join(value.to_bytes(8, "little", signed=True) for value in row)
        if place % BLOCK_ROWS == 0:
            tip, block = hashlib.sha256(tip + block).digest(), b""
    return hashlib.sha256(tip + block).digest() if block else tip


@patient(max_examples=40)
@given(st.integers(0, 1000), st.integers(0, 3 * BLOCK_ROWS + 5), st.lists(st.integers(0, 700), max_size=6))
def test_cuts_change_nothing(seed: int, count: int, cuts: list[int]) -> None:
    """However rows are added, count and head are those of a plain loop over them."""
    matrix, chain = rows(seed, count), Chain()
    places = [0, *sorted(min(cut, count) for cut in cuts), count]
    for start, end in zip(places, places[1:], strict=False):
        chain.add(matrix[start:end])
    assert (chain.count, chain.head()) == (count, plain(matrix))
    assert len(chain.rest) < BLOCK_ROWS * 7 * 8


@patient(max_examples=40)
@given(st.integers(1, 2 * BLOCK_ROWS), st.data())
def test_any_change_changes_the_head(count: int, data: st.DataObject) -> None:
    """One value, two rows in another order, or one row less: another head."""
    matrix = rows(1, count)
    row, column = data.draw(st.integers(0, count - 1)), data.draw(st.integers(0, 6))
    changed = matrix.copy()
    changed[row, column] ^= 1 << data.draw(st.integers(0, 62))
    swapped = matrix[::-1]
    heads = set()
    for other in (matrix, changed, matrix[:-1], *([swapped] if count > 1 else [])):
        chain = Chain()
        chain.add(other)
        heads.add(chain.head())
    assert len(heads) == (4 if count > 1 else 3)


def test_carried_on_from_its_fields() -> None:
    """A chain that is put together again from count, tip and rest goes on as if nothing had been."""
    matrix = rows(2, 600)
    whole, first = Chain(), Chain()
    whole.add(matrix)
    first.add(matrix[:300])
    second = Chain(first.count, first.tip, first.rest)
    second.add(matrix[300:])
    assert second == whole


def test_rows_of_another_layout_in_memory() -> None:
    """Strided and big-endian views hash as what they hold."""
    matrix = rows(3, 20, 14)
    one, two, three = Chain(), Chain(), Chain()
    one.add(matrix[:, ::2])
    two.add(np.ascontiguousarray(matrix[:, ::2]))
    three.add(matrix[:, ::2].astype(">i8"))
    assert one.head() == two.head() == three.head()


def test_keys() -> None:
    """A text's key is the first eight bytes of its sha256, little-endian and signed."""
    assert key("") == int.from_bytes(bytes.fromhex("e3b0c44298fc1c14"), "little", signed=True)
    assert key("市民中心") != key("市民中心 ")
    assert Chain().head() == bytes(32)
