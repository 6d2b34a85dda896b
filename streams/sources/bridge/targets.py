"""Which point a message means: a table from the bytes of its key fields to what the published model has for them.

Texts are looked up as bytes by a kernel; only what has not been seen before goes through the mapping's templates and
the model, once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

from schemas.encode import QUALITIES
from schemas.errors import UnitError
from streams.sources.bridge.cells import Cells
from streams.sources.bridge.mapping import BridgeMapping
from streams.sources.catalog import Catalog
from streams.sources.decimals import Target
from streams.sources.mapping import Number, fill, places

KEYS_MAX: Final = 4_000_000
"""Keys remembered; a topic that invents more empties the table."""

REFUSED: Final = -1
"""Gateway of a key that means no point."""

UNKNOWN: Final = -1
SKIPPED: Final = -2


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _class(kind: int) -> int:
    return 1 if kind == 2 else kind


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _hash(
    buffer: NDArray[np.uint8],
    kinds: NDArray[np.int8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    mantissas: NDArray[np.int64],
    columns: NDArray[np.int64],
) -> np.uint64:
    value = np.uint64(14695981039346656037)
    for column in columns:
        kind = _class(kinds[column])
        value = (value ^ np.uint64(kind)) * np.uint64(1099511628211)
        if kind == 1:
            for place in range(starts[column], ends[column]):
                value = (value ^ np.uint64(buffer[place])) * np.uint64(1099511628211)
        elif kind >= 5:
            value = (value ^ np.uint64(mantissas[column])) * np.uint64(1099511628211)
    return value ^ (value >> np.uint64(32))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _spell(
    buffer: NDArray[np.uint8],
    kinds: NDArray[np.int8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    mantissas: NDArray[np.int64],
    places_: NDArray[np.int8],
    columns: NDArray[np.int64],
    store: NDArray[np.uint8],
    at: int,
) -> int:
    """Writes a key to the store: kind, length or number, bytes of each column; returns the place behind it."""
    for column in columns:
        kind = _class(kinds[column])
        store[at] = kind
        at += 1
        number = np.uint64(ends[column] - starts[column]) if kind == 1 else np.uint64(mantissas[column])
        for index in range(8):
            store[at + index] = np.uint8((number >> np.uint64(8 * index)) & np.uint64(255))
        at += 8
        if kind == 1:
            for place in range(starts[column], ends[column]):
                store[at] = buffer[place]
                at += 1
        elif kind >= 5:
            store[at] = np.uint8(places_[column])
            at += 1
    return at


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _same(
    buffer: NDArray[np.uint8],
    kinds: NDArray[np.int8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    mantissas: NDArray[np.int64],
    places_: NDArray[np.int8],
    columns: NDArray[np.int64],
    store: NDArray[np.uint8],
    at: int,
) -> bool:
    """Whether the key in the store at a place is that of a message."""
    for column in columns:
        kind = _class(kinds[column])
        if store[at] != kind:
            return False
        at += 1
        number = np.uint64(ends[column] - starts[column]) if kind == 1 else np.uint64(mantissas[column])
        stored = np.uint64(0)
        for index in range(8):
            stored |= np.uint64(store[at + index]) << np.uint64(8 * index)
        if stored != number:
            return False
        at += 8
        if kind == 1:
            first = starts[column]
            for index in range(ends[column] - first):
                if store[at + index] != buffer[first + index]:
                    return False
            at += ends[column] - first
        elif kind >= 5:
            if store[at] != np.uint8(places_[column]):
                return False
            at += 1
    return True


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _find(
    buffer: NDArray[np.uint8],
    kinds: NDArray[np.int8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    mantissas: NDArray[np.int64],
    places_: NDArray[np.int8],
    columns: NDArray[np.int64],
    rows: NDArray[np.int64],
    table: NDArray[np.int64],
    store: NDArray[np.uint8],
    firsts: NDArray[np.int64],
    codes: NDArray[np.int64],
) -> int:
    """Fills the codes of the rows; returns how many are unknown."""
    mask = np.uint64(table.size - 1)
    unknown = 0
    for i in rows:
        slot = _hash(buffer, kinds[i], starts[i], ends[i], mantissas[i], columns) & mask
        codes[i] = -1
        while table[slot] >= 0:
            code = table[slot]
            if _same(buffer, kinds[i], starts[i], ends[i], mantissas[i], places_[i], columns, store, firsts[code]):
                codes[i] = code
                break
            slot = (slot + np.uint64(1)) & mask
        if codes[i] < 0:
            unknown += 1
    return unknown


class Keys:
    """Numbers the different keys of messages, over all slabs."""

    def __init__(self, columns: Sequence[int]) -> None:
        self._columns = np.array(columns, np.int64)
        self.clear()

    def clear(self) -> None:
        """Forgets all."""
        self.count = 0
        self._table = np.full(1 << 12, -1, np.int64)
        self._hashes: NDArray[np.uint64] = np.zeros(1 << 11, np.uint64)
        self._firsts = np.zeros(1 << 11, np.int64)
        self._store = np.zeros(1 << 16, np.uint8)
        self._used = 0

    def find(self, cells: Cells, rows: NDArray[np.int64], codes: NDArray[np.int64]) -> int:
        """Fills `codes` (int64[messages]) of the rows: the key's number, or UNKNOWN; returns how many are unknown."""
        return _find(
            cells.buffer,
            cells.kinds,
            cells.starts,
            cells.ends,
            cells.mantissas,
            cells.places,
            self._columns,
            rows,
            self._table,
            self._store,
            self._firsts,
            codes,
        )

    def add(self, cells: Cells, row: int) -> int:
        """Numbers the key of a message that `find` did not know."""
        own = cells.kinds[row], cells.starts[row], cells.ends[row], cells.mantissas[row]
        size = int((own[2] - own[1])[self._columns].clip(0).sum()) + 10 * self._columns.size
        while self._used + size > self._store.size:
            self._store = np.concatenate([self._store, np.zeros_like(self._store)])
        if self.count >= self._firsts.size:
            self._grow()
        code = self.count
        self._firsts[code] = self._used
        self._hashes[code] = _hash(cells.buffer, *own, self._columns)
        self._used = _spell(cells.buffer, *own, cells.places[row], self._columns, self._store, self._used)
        self._put(code)
        self.count += 1
        return code

    def _put(self, code: int) -> None:
        mask = self._table.size - 1
        slot = int(self._hashes[code]) & mask
        while self._table[slot] >= 0:
            slot = (slot + 1) & mask
        self._table[slot] = code

    def _grow(self) -> None:
        self._firsts = np.concatenate([self._firsts, np.zeros_like(self._firsts)])
        self._hashes = np.concatenate([self._hashes, np.zeros_like(self._hashes)])
        self._table = np.full(2 * self._table.size, -1, np.int64)
        for code in range(self.count):
            self._put(code)


@dataclass(slots=True)
class Points:
    """What the codes mean: arrays with a row a key.

    Attributes:
        gateways: int32, number of the gateway in the bridge's list; REFUSED: none, `reasons` says why.
        numbers: int32, number of the point in its site.
        scales: int64, which of the targets converts its numbers.
        qualities: int8.
    """

    gateways: NDArray[np.int32]
    numbers: NDArray[np.int32]
    scales: NDArray[np.int64]
    qualities: NDArray[np.int8]

    @classmethod
    def room(cls, size: int) -> "Points":
        """So many rows, of nothing."""
        return cls(
            np.zeros(size, np.int32), np.zeros(size, np.int32), np.zeros(size, np.int64), np.zeros(size, np.int8)
        )

    def doubled(self) -> "Points":
        """Twice the room."""
        return Points(
            *(np.concatenate([a, np.zeros_like(a)]) for a in (self.gateways, self.numbers, self.scales, self.qualities))
        )


class Gateways:
    """The gateways that a bridge has met, numbered."""

    def __init__(self) -> None:
        self.names: list[tuple[str, str]] = []
        self._numbers: dict[tuple[str, str], int] = {}

    def number(self, site: str, gateway: str) -> int:
        """Number of a gateway."""
        found = self._numbers.setdefault((site, gateway), len(self.names))
        if found == len(self.names):
            self.names.append((site, gateway))
        return found


class Finder:
    """Finds the points of one value of the messages.

    Args:
        mapping: of the bridge.
        template: of the point.
        number: how the value is meant.
        gateways: shared by all values of the bridge.

    Attributes:
        points: what the codes mean.
        targets: conversions, as `points.scales` numbers them.
        reasons: code → why it means no point.
    """

    def __init__(self, mapping: BridgeMapping, template: str, number: Number, gateways: Gateways) -> None:
        self._mapping = mapping
        self._template = template
        self._number = number
        self._gateways = gateways
        fields = mapping.fields()
        self._fields = {name: fields.index(name) for name in mapping.key_fields(template)}
        self._keys = Keys(list(self._fields.values()))
        self.clear()

    def clear(self) -> None:
        """Forgets all: the model has changed."""
        self._keys.clear()
        self.points = Points.room(1 << 11)
        self.targets: list[Target] = []
        self.reasons: dict[int, str] = {}
        self._scales: dict[tuple[str, str], int] = {}

    def codes(self, cells: Cells, rows: NDArray[np.int64], catalog: Catalog) -> NDArray[np.int64]:
        """The code of each of the rows, int64[messages]; SKIPPED for the others."""
        if self._keys.count > KEYS_MAX:
            self.clear()
        codes = np.full(len(cells.status), SKIPPED, np.int64)
        while self._keys.find(cells, rows, codes):
            # One at a time would ask for each of a million new meters' first messages; all at once would number a key
            # twice. So: the first message of each new key among the unknown ones, found by their spelling.
            unknown = rows[codes[rows] == UNKNOWN]
            spellings: dict[tuple[Any, ...], int] = {}
            for row in unknown.tolist():
                spellings.setdefault(self._spelling(cells, row), row)
            for row in spellings.values():
                self._learn(cells, row, catalog)
            rows = unknown
        return codes

    def _spelling(self, cells: Cells, row: int) -> tuple[Any, ...]:
        found: list[object] = []
        for field in self._fields.values():
            kind = int(cells.kinds[row, field])
            found.append(1 if kind == 2 else kind)
            if kind in (1, 2):
                found.append(cells.buffer[cells.starts[row, field] : cells.ends[row, field]].tobytes())
            elif kind >= 5:
                found += [int(cells.mantissas[row, field]), int(cells.places[row, field])]
        return tuple(found)

    def _learn(self, cells: Cells, row: int, catalog: Catalog) -> None:
        code = self._keys.add(cells, row)
        while code >= self.points.gateways.size:
            self.points = self.points.doubled()
        try:
            self._resolve(cells, row, code, catalog)
        except (LookupError, UnitError, UnicodeDecodeError) as error:
            self.points.gateways[code] = REFUSED
            self.reasons[code] = str(error.args[0]) if isinstance(error, LookupError) else _why(error)

    def _resolve(self, cells: Cells, row: int, code: int, catalog: Catalog) -> None:
        texts = {name: cells.text(row, field) for name, field in self._fields.items()}
        given = {name: text for name, text in texts.items() if text is not None}
        absent = [name for name in (*places(self._mapping.site), *places(self._template)) if name not in given]
        if absent:
            raise LookupError(f"no field {absent[0]}")
        name = fill(self._template, given)
        if self._mapping.long is not None:
            name = self._mapping.long.points.get(name, name)
        point = catalog.point(fill(self._mapping.site, given), name)
        scale = self._scale(point.unit, point.kind)
        self.points.gateways[code] = self._gateways.number(point.site, point.gateway)
        self.points.numbers[code] = point.number
        self.points.scales[code] = scale
        self.points.qualities[code] = self._quality(given)

    def _scale(self, unit: str, kind: str) -> int:
        found = self._scales.get((unit, kind))
        if found is None:
            number = self._number
            self.targets.append(Target.of(unit, kind, number.unit, number.factor, round_half_even=bool(number.round)))
            found = self._scales[unit, kind] = len(self.targets) - 1
        return found

    def _quality(self, given: dict[str, str]) -> int:
        quality = self._mapping.quality
        text = given.get(quality.column) if quality is not None else None
        if quality is None or text is None:
            return 0
        meaning = "estimated" if text in quality.estimated else "suspect" if text in quality.suspect else "good"
        return QUALITIES.index(meaning)


def _why(error: Exception) -> str:
    return "a text is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
