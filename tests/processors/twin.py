"""The processor with its kernels run by Python.

`NUMBA_DISABLE_JIT=1 python -m tests.processors.twin SEED MINUTES` prints its heads.
"""

import contextlib
import dataclasses
import json
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.advance import Processor
from schemas import topics
from schemas.record_batches import Slab
from tests.processors.logs import DOCUMENTS, eventful
from tests.processors.world import slab


class _Row:
    """A row of a structured array whose fields are attributes, as a kernel sees it."""

    def __init__(self, array: NDArray[np.void], place: int) -> None:
        self.__dict__.update(_array=array, _place=place)

    def __getattr__(self, name: str) -> int:
        return int(self.__dict__["_array"][name][self.__dict__["_place"]])

    def __setattr__(self, name: str, value: int) -> None:
        self.__dict__["_array"][name][self.__dict__["_place"]] = value


class _Rows:
    """A structured array, as a kernel sees it."""

    def __init__(self, array: NDArray[np.void]) -> None:
        self._array = array

    def __getitem__(self, place: int) -> _Row:
        return _Row(self._array, place)

    def __len__(self) -> int:
        return len(self._array)


class Twin(Processor):
    """A processor for a Python without compiler."""

    @contextlib.contextmanager
    def _as_rows(self) -> Iterator[None]:
        layout, state = self.layout, self.state
        rows: Any = _Rows
        named = ("meta", "rules", "senses", "track_infos", "window_infos")
        arrays = layout.arrays._replace(**{name: rows(getattr(layout.arrays, name)) for name in named})
        self.layout = dataclasses.replace(layout, arrays=arrays)
        names = ("points", "instances", "parts", "facts", "senses", "tracks", "windows")
        self.state = state._replace(**{name: rows(getattr(state, name)) for name in names})
        try:
            yield
        finally:
            self.layout, self.state = layout, state

    def _step(self, slab: Slab, count: int, spans: NDArray[np.int64]) -> None:
        with self._as_rows():
            super()._step(slab, count, spans)

    def _tell(self, adopted: NDArray[np.void], removed: list[int], at: int) -> None:
        wrapped: Any = _Rows(adopted)
        with self._as_rows():
            super()._tell(wrapped, removed, at)

    def _time(self, slab: Slab, record: int, clock: int, tick: bool = False) -> None:
        with self._as_rows():
            super()._time(slab, record, clock, tick)


def heads(processor: Processor, seed: int, minutes: int) -> dict[str, list[int | str]]:
    """Count and head of every stream after a history."""
    processor.advance(slab(eventful(seed, minutes)))
    processor.take()
    return {name: [chain.count, chain.head().hex()] for name, chain in processor.outbox.chains.items()}


if __name__ == "__main__":
    warnings.simplefilter("ignore", RuntimeWarning)  # hashes overflow on purpose
    twin = Twin(topics.METER_READINGS, 0, DOCUMENTS.__getitem__)
    sys.stdout.write(json.dumps(heads(twin, *map(int, sys.argv[1:]))))
