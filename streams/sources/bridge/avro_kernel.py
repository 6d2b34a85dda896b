"""The kernel that runs a schema's program over messages, and what surrounds it: headers and schemas by their id.

Every read is bounded by the end of the message, a varint by ten bytes and 64 bits in its shortest form, an index by its
union or enum, a block by the bytes that are left; a message must be used up to its last byte. A double is taken as the
shortest decimal that reads as it: m / 10^k is correctly rounded where both are exact, so the m found with the least k
for which the quotient is the double again is that decimal.
"""

import math
import struct
from pathlib import Path
from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

from schemas.errors import ConfigurationError
from schemas.record_batches import Slab
from streams.sources.bridge.avro_program import (
    BOOLEAN,
    BYTES,
    DECIMAL_BYTES,
    DECIMAL_FIXED,
    DOUBLE,
    END,
    ENUM,
    FIXED,
    FLOAT,
    JUMP,
    LONG,
    LOOP,
    LOOPS_MAX,
    NULL,
    UNION,
    Program,
    load_schema,
)
from streams.sources.bridge.cells import BAD, DECIMAL, SYMBOL, TAKEN, TEXT, Cells

CUT, OVERLONG, OUT_OF_RANGE, TRAILING, TOO_LONG = range(1, 6)
_REASONS: Final = (
    "",
    "it ends too early",
    "a number is over 64 bits or not in its shortest form",
    "an index, a length or a boolean is out of range",
    "bytes are left over",
    "more items than bytes",
)
_PLACES_MAX: Final = 9
_STEPS_MAX: Final = 1 << 22
"""Operations of one message: a record of optional fields has about three a byte; no meter's message comes near."""


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _varint(data: NDArray[np.uint8], at: int, end: int) -> tuple[int, int]:
    """(value, next position); a negative position is minus the fault."""
    result = np.uint64(0)
    shift = np.uint64(0)
    while shift < np.uint64(64):
        if at >= end:
            return np.int64(0), -CUT
        byte = np.uint64(data[at])
        at += 1
        result |= (byte & np.uint64(127)) << shift
        if byte < np.uint64(128):
            if (shift == np.uint64(63) and byte > np.uint64(1)) or (byte == np.uint64(0) and shift > np.uint64(0)):
                return np.int64(0), -OVERLONG
            return np.int64(result >> np.uint64(1)) ^ -np.int64(result & np.uint64(1)), at
        shift += np.uint64(7)
    return np.int64(0), -OVERLONG


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _decimal(value: float) -> tuple[int, int]:
    """(m, k) of the shortest decimal m / 10^k that reads as the double; k -1: not one of few digits."""
    power = 1.0
    for places in range(_PLACES_MAX + 1):
        scaled = value * power
        if not abs(scaled) < 1e15:
            return np.int64(0), -1
        mantissa = np.rint(scaled)
        if mantissa / power == value:
            return np.int64(mantissa), places
        power *= 10.0
    return np.int64(0), -1


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _big_endian(data: NDArray[np.uint8], at: int, size: int) -> tuple[int, bool]:
    """A two's-complement integer, and whether it fits 64 bits."""
    if size == 0:
        return np.int64(0), True
    negative = data[at] >= 0x80
    fill = np.uint8(0xFF) if negative else np.uint8(0)
    while size > 8:
        if data[at] != fill:
            return np.int64(0), False
        at += 1
        size -= 1
    if (data[at] >= 0x80) != negative:
        return np.int64(0), False
    value = np.int64(-1) if negative else np.int64(0)
    for step in range(size):
        value = (value << 8) | np.int64(data[at + step])
    return value, True


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _message(
    data: NDArray[np.uint8],
    bits: NDArray[np.float64],
    singles: NDArray[np.float32],
    at: int,
    end: int,
    code: NDArray[np.int64],
    left: NDArray[np.int64],
    kinds: NDArray[np.int8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    mantissas: NDArray[np.int64],
    places: NDArray[np.int8],
) -> int:
    """Reads one message; 0, or a fault, or -1: left to the library."""
    raw = bits.view(np.uint8)
    raw_single = singles.view(np.uint8)
    begin = at
    step = 0
    depth = 0
    result = 0
    for _ in range(_STEPS_MAX):
        operation, field, argument = code[step, 0], code[step, 1], code[step, 2]
        step += 1
        if operation == END:
            return result if at == end else TRAILING
        if operation == NULL:
            continue
        if operation == JUMP:
            step = field
        elif operation == LONG or operation == ENUM:
            value, at = _varint(data, at, end)
            if at < 0:
                return -at
            if operation == ENUM:
                if value < 0 or value >= argument & 0xFFFF:
                    return OUT_OF_RANGE
                if field >= 0:
                    kinds[field], mantissas[field] = 7, value + (argument >> 16)
            elif field >= 0:
                kinds[field] = 6 if argument else 5
                mantissas[field], places[field] = value, max(argument - 1, 0)
        elif operation == UNION:
            value, at = _varint(data, at, end)
            if at < 0:
                return -at
            if value < 0 or value >= argument:
                return OUT_OF_RANGE
            step = code[step + value, 1]
        elif operation == BYTES or operation == DECIMAL_BYTES:
            length, at = _varint(data, at, end)
            if at < 0:
                return -at
            if length < 0 or length > end - at:
                return CUT
            if operation == DECIMAL_BYTES:
                value, fits = _big_endian(data, at, length)
                if not fits:
                    return OUT_OF_RANGE
                kinds[field], mantissas[field], places[field] = 5, value, argument
            elif field >= 0:
                kinds[field], starts[field], ends[field] = 1, at, at + length
            at += length
        elif operation == FIXED:
            if argument > end - at:
                return CUT
            if field >= 0:
                kinds[field], starts[field], ends[field] = 1, at, at + argument
            at += argument
        elif operation == DECIMAL_FIXED:
            size = argument >> 8
            if size > end - at:
                return CUT
            value, fits = _big_endian(data, at, size)
            if not fits:
                return OUT_OF_RANGE
            kinds[field], mantissas[field], places[field] = 5, value, argument & 255
            at += size
        elif operation == BOOLEAN:
            if at >= end:
                return CUT
            if data[at] > 1:
                return OUT_OF_RANGE
            if field >= 0:
                kinds[field] = 3 if data[at] == 1 else 4
            at += 1
        elif operation == DOUBLE or operation == FLOAT:
            size = 8 if operation == DOUBLE else 4
            if size > end - at:
                return CUT
            if field >= 0:
                if operation == DOUBLE:
                    for index in range(8):
                        raw[index] = data[at + index]
                    mantissa, count = _decimal(bits[0])
                else:
                    for index in range(4):
                        raw_single[index] = data[at + index]
                    mantissa, count = np.int64(0), -1
                starts[field], ends[field] = at, at + size
                kinds[field], mantissas[field], places[field] = 5, mantissa, count
                if count < 0:
                    kinds[field] = 2
                    result = -1
            at += size
        elif operation == LOOP:
            count, at = _varint(data, at, end)
            if at < 0:
                return -at
            if count < 0:
                size, at = _varint(data, at, end)
                if at < 0:
                    return -at
                if size < 0 or count == -9223372036854775808:
                    return OUT_OF_RANGE
                count = -count
            if count > (end - begin) // argument:
                return TOO_LONG
            if count == 0:
                step = field
            else:
                left[depth] = count
                depth += 1
        else:  # AGAIN: the next item, or the next block
            left[depth - 1] -= 1
            if left[depth - 1] > 0:
                step = field + 1
            else:
                depth -= 1
                step = field
    return TOO_LONG


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _messages(
    data: NDArray[np.uint8],
    spans: NDArray[np.int32],
    rows: NDArray[np.int64],
    skip: int,
    code: NDArray[np.int64],
    kinds: NDArray[np.int8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    mantissas: NDArray[np.int64],
    places: NDArray[np.int8],
    faults: NDArray[np.int8],
) -> None:
    """Reads the messages `rows`, whose first `skip` bytes are their header."""
    bits = np.zeros(1, np.float64)
    singles = np.zeros(1, np.float32)
    left = np.zeros(LOOPS_MAX, np.int64)
    for index in range(rows.size):
        i = rows[index]
        first = np.int64(spans[i, 2])
        faults[i] = _message(
            data,
            bits,
            singles,
            first + skip,
            first + np.int64(spans[i, 3]),
            code,
            left,
            kinds[i],
            starts[i],
            ends[i],
            mantissas[i],
            places[i],
        )


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _ids(data: NDArray[np.uint8], spans: NDArray[np.int32], ids: NDArray[np.int64]) -> None:
    """The schema's id of each message in Confluent's wire format; -1: it has no such header."""
    for i in range(len(spans)):
        at = np.int64(spans[i, 2])
        ids[i] = -1
        if spans[i, 3] >= 5 and data[at] == 0:
            ids[i] = (
                np.int64(data[at + 1]) << 24
                | np.int64(data[at + 2]) << 16
                | np.int64(data[at + 3]) << 8
                | np.int64(data[at + 4])
            )


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _begins(
    data: NDArray[np.uint8], spans: NDArray[np.int32], magic: NDArray[np.uint8], same: NDArray[np.bool_]
) -> None:
    for i in range(len(spans)):
        at = np.int64(spans[i, 2])
        same[i] = spans[i, 3] >= magic.size
        for index in range(magic.size if same[i] else 0):
            if data[at + index] != magic[index]:
                same[i] = False
                break


class Avro:
    """Reads Avro messages.

    Args:
        fields: names that are wanted.
        path: the schema, or with `confluent` the folder of ID.avsc; files that come later are found.
        wire: plain, confluent or single.

    Raises:
        ConfigurationError: a schema cannot be used.
    """

    def __init__(self, fields: list[str], path: Path, wire: str) -> None:
        self._fields = fields
        self._path = path
        self._wire = wire
        self._programs: dict[int, Program | None] = {}
        if wire == "confluent":
            for file in sorted(path.glob("*.avsc")):
                if file.stem.isdecimal():
                    self._program(int(file.stem))
            if not any(self._programs.values()):
                raise ConfigurationError(f"{path} has no schema; its files are named by the id: 17.avsc")
        else:
            self._programs[0] = Program(load_schema(path), fields, path.name)

    def _program(self, number: int) -> Program | None:
        """The schema of an id; None: there is none (yet)."""
        found = self._programs.get(number)
        if found is None and (file := self._path / f"{number}.avsc").is_file():
            found = self._programs[number] = Program(load_schema(file), self._fields, file.name)
        return found

    def read(self, slab: Slab) -> Cells:
        """The wanted fields of every message of a slab."""
        cells = Cells.empty(slab.data, len(slab), len(self._fields))
        cells.status[:] = BAD
        if self._wire == "confluent":
            ids = np.empty(len(slab), np.int64)
            _ids(slab.data, slab.spans, ids)
            for number in np.unique(ids).tolist():
                rows = np.nonzero(ids == number)[0]
                program = self._program(number) if number >= 0 else None
                if program is None:
                    why = f"no schema {number}.avsc in {self._path.name}" if number >= 0 else "no Confluent header"
                    cells.details.update(dict.fromkeys(rows.tolist(), why))
                else:
                    self._run(slab, cells, rows, 5, program)
            return cells
        program = self._programs[0]
        assert program is not None
        magic = b"\xc3\x01" + program.fingerprint if self._wire == "single" else b""
        same = slab.spans[:, 3] >= 0
        if magic:
            _begins(slab.data, slab.spans, np.frombuffer(magic, np.uint8), same)
        why = "another fingerprint than the schema's" if magic else "a message without value"
        cells.details.update(dict.fromkeys(np.nonzero(~same)[0].tolist(), why))
        self._run(slab, cells, np.nonzero(same)[0], len(magic), program)
        return cells

    def _run(self, slab: Slab, cells: Cells, rows: NDArray[np.int64], skip: int, program: Program) -> None:
        faults = np.zeros(len(slab), np.int8)
        _messages(
            slab.data,
            slab.spans,
            rows,
            skip,
            program.code,
            cells.kinds,
            cells.starts,
            cells.ends,
            cells.mantissas,
            cells.places,
            faults,
        )
        cells.status[rows] = TAKEN
        for i in np.nonzero(faults > 0)[0].tolist():
            cells.status[i], cells.details[i] = BAD, _REASONS[faults[i]]
            cells.kinds[i] = 0
        self._floats(cells, np.nonzero(faults < 0)[0])
        self._symbols(cells, rows, program)

    def _floats(self, cells: Cells, rows: NDArray[np.int64]) -> None:
        """Floats, and doubles of many digits: the shortest decimal, by the library."""
        texts: list[tuple[int, int, int, bytes]] = []
        for i in rows.tolist():
            for field in np.nonzero(cells.kinds[i] == DECIMAL)[0].tolist():
                raw = cells.buffer[cells.starts[i, field] : cells.ends[i, field]].tobytes()
                value: Any = struct.unpack("<d" if len(raw) == 8 else "<f", raw)[0]
                if not math.isfinite(value):
                    cells.status[i], cells.details[i] = BAD, f"{value} is not a number that can be used"
                    break
                shortest = np.format_float_positional(value if len(raw) == 8 else np.float32(value), trim="-")
                texts.append((i, field, DECIMAL, shortest.encode()))
        cells.put_texts(texts)

    def _symbols(self, cells: Cells, rows: NDArray[np.int64], program: Program) -> None:
        """Enums as their texts."""
        for field, symbols in program.symbols.items():
            mine = rows[cells.kinds[rows, field] == SYMBOL]
            if not mine.size:
                continue
            raw = [symbol.encode() for symbol in symbols]
            bounds = np.cumsum([0, *map(len, raw)]) + cells.append(b"".join(raw))
            chosen = cells.mantissas[mine, field]
            cells.kinds[mine, field] = TEXT
            cells.starts[mine, field], cells.ends[mine, field] = bounds[chosen], bounds[chosen + 1]
