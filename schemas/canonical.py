"""The hash chain over the rows of an output stream: what "identical" means.

A canonical row is a fixed number of little-endian int64: the fields of the row, with texts replaced by `key(text)`.
Rows are hashed in blocks of 256, each with the hash before it, so the head after n rows does not depend on how they
were cut into messages, and 20 kB of unfinished block are all that has to be kept.
"""

import dataclasses
import functools
import hashlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

BLOCK_ROWS: Final = 256

STREAMS: Final = ("ledger", "gauges", "alerts", "episodes", "verdicts", "rejected")


@functools.lru_cache(maxsize=65_536)
def key(text: str) -> int:
    """A stable int64 for a text: the first eight bytes of its sha256."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little", signed=True)


@dataclasses.dataclass
class Chain:
    """A running chain.

    Attributes:
        count: rows so far.
        tip: sha256 over the blocks that are full.
        rest: bytes of the rows after them.
    """

    count: int = 0
    tip: bytes = bytes(32)
    rest: bytes = b""

    def add(self, rows: NDArray[np.int64]) -> None:
        """Appends canonical rows, int64[n, k]; k is the same for all rows of a stream."""
        if not len(rows):
            return
        size = rows.shape[1] * 8
        data = self.rest + np.ascontiguousarray(rows, dtype="<i8").tobytes()
        block = size * BLOCK_ROWS
        full = len(data) // block
        for index in range(full):
            self.tip = hashlib.sha256(self.tip + data[index * block : (index + 1) * block]).digest()
        self.rest = data[full * block :]
        self.count += len(rows)

    def head(self) -> bytes:
        """sha256 that stands for all rows so far."""
        return hashlib.sha256(self.tip + self.rest).digest() if self.rest else self.tip
