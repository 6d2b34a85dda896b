"""Events as readings: waste and vehicles have points too, so one family of kernels serves them (DESIGN section 14)."""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from processors.layout import Layout
from schemas.decode import TIME_MAX
from schemas.errors import DecodeError
from schemas.model.document import Document

VALUE_MAX = 1 << 62


class Pseudo(NamedTuple):
    """A reading that an event stands for."""

    row: int
    number: int
    time_ms: int
    value: int
    span_ms: int
    """length of a delta; 0: by the model"""


@dataclasses.dataclass(frozen=True)
class Feed:
    """Readings that know their rows, for `Processor.feed`; columns of one length.

    Attributes:
        rows: of the layout.
        numbers: of the points.
        times_ms: UTC.
        values: in the points' smallest units.
        qualities: 0 is good.
        spans_ms: length of a delta; 0: by the model.
    """

    rows: NDArray[np.int32]
    numbers: NDArray[np.int32]
    times_ms: NDArray[np.int64]
    values: NDArray[np.int64]
    qualities: NDArray[np.int8]
    spans_ms: NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Places:
    """Points that `apply` made for a site.

    `numbers`: (bin:BIN, station or vehicle; class; measure) → number of the point; empty texts where a part has none.
    """

    numbers: dict[tuple[str, str, str], int]
    stations: frozenset[str]
    vehicles: frozenset[str]
    classes: frozenset[str]


@functools.lru_cache(maxsize=1024)
def _places(sha256: bytes, holder: "_Holder") -> Places:
    del sha256
    table = holder.document.table("points")
    numbers: dict[tuple[str, str, str], int] = {}
    columns = [
        table.get(name, [None] * len(table.get("id", [])))
        for name in ("bin", "station", "vehicle", "waste_class", "measure", "number")
    ]
    for bin_, station, vehicle, waste_class, measure, number in zip(*columns, strict=True):
        if measure:
            key = (str(waste_class or ""), str(measure))
            numbers[(f"bin:{bin_}" if bin_ else str(station or vehicle or ""), *key)] = int(str(number))
            if bin_:  # its class need not be said; an event that names the station means its first bin of the class
                numbers.setdefault((f"bin:{bin_}", "", str(measure)), int(str(number)))
                numbers.setdefault((str(station), *key), int(str(number)))
    stations = frozenset(map(str, holder.document.table("stations").get("id", [])))
    vehicles = frozenset(map(str, holder.document.table("vehicles").get("id", [])))
    return Places(numbers, stations, vehicles, frozenset(key[1] for key in numbers if key[1]))


class _Holder:
    """Carries a document past the cache's key, which is its sha256."""

    def __init__(self, document: Document) -> None:
        self.document = document

    def __hash__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Holder)


def places(document: Document) -> Places:
    """The generated points of a document, remembered by its sha256."""
    return _places(document.sha256, _Holder(document))


class Made:
    """Collects the readings of one event; points that the model does not have are left out."""

    def __init__(self, layout: Layout, site: str, time_ms: int) -> None:
        self.places = places(layout.documents[site])
        self.readings: list[Pseudo] = []
        self._time_ms = time_ms
        index = layout.sites.index(site)
        start = int(layout.arrays.number_start[index])
        self._rows = layout.arrays.number_row[start : int(layout.arrays.number_start[index + 1])]

    def add(self, where: str, waste_class: str, measure: str, value: int, span_ms: int = 0) -> bool:
        """Adds a reading of (where, class, measure); False when the model has no such point.

        Raises:
            DecodeError: a value that no counter has; in the point's smallest unit it may be beyond int64.
        """
        if abs(value) > VALUE_MAX or abs(span_ms) > TIME_MAX:
            raise DecodeError(f"{measure} of {value} over {span_ms} ms")
        number = self._number(where, waste_class, measure)
        if number is None:
            return False
        self.readings.append(Pseudo(int(np.int64(self._rows[number])), number, self._time_ms, value, span_ms))
        return True

    def has(self, where: str, waste_class: str, measure: str) -> bool:
        """Whether the model has such a point."""
        return self._number(where, waste_class, measure) is not None

    def _number(self, where: str, waste_class: str, measure: str) -> int | None:
        number = self.places.numbers.get((where, waste_class, measure))
        known = number is not None and number < len(self._rows) and self._rows[number] >= 0
        return number if known else None
