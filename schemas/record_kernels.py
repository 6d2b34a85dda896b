"""Kernels that read Kafka's record batches (magic 2): checksums, headers of batches, records.

They are in one file because Numba's disk cache sees a change of the file it compiles, not of one that this calls. Every
read is bounds-checked: no bytes, however made, read outside the buffer.
"""

import platform
from typing import Any

import llvmlite.binding  # type: ignore[import-untyped]
import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, config, types
from numba.extending import intrinsic
from numpy.typing import NDArray

# Columns of a batch row (int64).
BODY, END, COUNT, BASE, LAST, FIRST_MS, LOG_MS, PRODUCER, ATTRIBUTES = range(9)
COLUMNS = 9
UNREADABLE = -1
"""COUNT of a batch that is too large to inflate: it becomes one record without key, whose value has the length -2."""

CODEC, LOG_APPEND, TRANSACTIONAL, CONTROL = 7, 8, 16, 32

# What scan says when it stops.
MORE, CUT, BAD_LENGTH, BAD_MAGIC, BAD_CRC, BAD_HEADER = range(6)
REASONS = (
    "",
    "",
    "length below that of a header",
    "magic is not 2",
    "checksum is wrong",
    "offsets or count are impossible",
)

_HEADER = 61
_config: Any = config  # Numba fills it when it is imported
_cgutils: Any = cgutils
Int = Any  # inside a kernel: of the width that the code gives it
RECORD_BYTES_MIN = 7
_POLYNOMIAL = 0x82F63B78


def _hardware_crc() -> bool:
    """Whether kernels may use the crc32 instruction of SSE 4.2: compiled for this very machine, and the machine has it.

    LLVM ends the process on an instruction that the target lacks, so a target chosen by NUMBA_CPU_NAME gets the tables.
    """
    if (
        _config.DISABLE_JIT
        or _config.CPU_NAME
        or _config.CPU_FEATURES
        or platform.machine().lower() not in ("x86_64", "amd64")
    ):
        return False
    try:
        return bool(llvmlite.binding.get_host_cpu_features().get("sse4.2", False))
    except RuntimeError:
        return False


HARDWARE_CRC = _hardware_crc()


def _tables() -> NDArray[np.uint32]:
    """Tables for eight bytes at a time: row k holds the checksum of a byte that k zero bytes follow."""
    crc = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        crc = np.where(crc & 1, (crc >> 1) ^ np.uint32(_POLYNOMIAL), crc >> 1).astype(np.uint32)
    tables = [crc]
    for _ in range(7):
        tables.append((tables[-1] >> 8) ^ crc[tables[-1] & 255])
    return np.array(tables, dtype=np.uint32)


_TABLES = _tables()


@intrinsic
def _crc_word(typingctx, crc, address):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """The checksum after the eight bytes at an address; the caller has checked the bounds."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]  # noqa: ARG001
        word = ir.IntType(64)
        value = builder.load(builder.inttoptr(args[1], word.as_pointer()))
        value.align = 1
        function = _cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(word, [word, word]), "llvm.x86.sse42.crc32.64.64"
        )
        return builder.call(function, [args[0], value])

    return types.uint64(types.uint64, types.uint64), codegen


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _crc_hardware(data: NDArray[np.uint8], begin: Int, end: Int) -> Int:
    crc = np.uint64(0xFFFFFFFF)
    words = (end - begin) >> 3
    address = np.uint64(data.ctypes.data) + np.uint64(begin)
    for _ in range(words):
        crc = _crc_word(crc, address)  # type: ignore[call-arg]
        address += np.uint64(8)
    low = np.uint32(crc)
    for position in range(begin + (words << 3), end):
        low = (low >> np.uint32(8)) ^ _TABLES[0, (low ^ data[position]) & np.uint32(255)]
    return np.int64(low ^ np.uint32(0xFFFFFFFF))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _crc_tables(data: NDArray[np.uint8], begin: Int, end: Int) -> Int:
    crc = np.uint32(0xFFFFFFFF)
    position = begin
    while position + 8 <= end:
        word = (
            np.uint32(data[position])
            | np.uint32(data[position + 1]) << np.uint32(8)
            | np.uint32(data[position + 2]) << np.uint32(16)
            | np.uint32(data[position + 3]) << np.uint32(24)
        ) ^ crc
        crc = (
            _TABLES[7, word & np.uint32(255)]
            ^ _TABLES[6, (word >> np.uint32(8)) & np.uint32(255)]
            ^ _TABLES[5, (word >> np.uint32(16)) & np.uint32(255)]
            ^ _TABLES[4, word >> np.uint32(24)]
            ^ _TABLES[3, data[position + 4]]
            ^ _TABLES[2, data[position + 5]]
            ^ _TABLES[1, data[position + 6]]
            ^ _TABLES[0, data[position + 7]]
        )
        position += 8
    while position < end:
        crc = (crc >> np.uint32(8)) ^ _TABLES[0, (crc ^ data[position]) & np.uint32(255)]
        position += 1
    return np.int64(crc ^ np.uint32(0xFFFFFFFF))


_crc = _crc_hardware if HARDWARE_CRC else _crc_tables


@numba.njit(cache=True, nogil=True, error_model="numpy")
def crc32c(data: NDArray[np.uint8], begin: Int, end: Int) -> Int:
    """CRC-32C of `data[begin:end]`; the bounds must lie inside."""
    return _crc(data, begin, end)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _big(data: NDArray[np.uint8], position: Int, size: Int) -> Int:
    """A signed big-endian integer of `size` bytes; the caller has checked the bounds."""
    value = np.int64(np.int8(data[position]))
    for i in range(1, size):
        value = (value << 8) | np.int64(data[position + i])
    return value


@numba.njit(cache=True, nogil=True, error_model="numpy")
def scan(
    data: NDArray[np.uint8], position: int, offset: int, check_crc: bool, slab_bytes: int, rows: NDArray[np.int64]
) -> tuple[int, int, int]:
    """Reads the headers of batches from `position` on.

    Args:
        data: the bytes of a fetch.
        position: where a batch begins.
        offset: the least base offset that the batch may have (-1: any).
        check_crc: whether checksums are compared.
        slab_bytes: it stops after the batch with which the bodies reach this size.
        rows: int64[capacity, COLUMNS], filled; it also stops when all are used.

    Returns:
        How many rows were filled, the position behind the last of them, and why it stopped (MORE, CUT: nothing whole is
        left; else a fault of the batch at that position).
    """
    count = 0
    size = 0
    length_all = len(data)
    while count < len(rows) and size < slab_bytes:
        if position + 12 > length_all:
            return count, position, CUT
        length = _big(data, position + 8, 4)
        if length < _HEADER - 12:
            return count, position, BAD_LENGTH
        end = position + 12 + length
        if end > length_all:
            return count, position, CUT
        if data[position + 16] != 2:
            return count, position, BAD_MAGIC
        if check_crc and crc32c(data, position + 21, end) != (_big(data, position + 17, 4) & 0xFFFFFFFF):
            return count, position, BAD_CRC
        base = _big(data, position, 8)
        attributes = _big(data, position + 21, 2)
        last = _big(data, position + 23, 4)
        records = _big(data, position + 57, 4)
        whole = attributes & CODEC != 0 or records <= (length - (_HEADER - 12)) // RECORD_BYTES_MIN
        if base < 0 or base < offset or base > np.int64(1) << 62 or last < 0 or records < 0 or not whole:
            return count, position, BAD_HEADER
        row = rows[count]
        row[BODY] = position + _HEADER
        row[END] = end
        row[COUNT] = records
        row[BASE] = base
        row[LAST] = last
        row[FIRST_MS] = _big(data, position + 27, 8)
        row[LOG_MS] = _big(data, position + 35, 8) if attributes & LOG_APPEND != 0 else np.int64(-1)
        row[PRODUCER] = _big(data, position + 43, 8)
        row[ATTRIBUTES] = attributes
        count += 1
        size += end - position
        position = end
        offset = base + last + 1
    return count, position, MORE


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _varint(data: NDArray[np.uint8], position: Int, end: Int) -> tuple[Int, Int]:
    """A zigzag varint and the position behind it; position -1: it leaves the buffer or has more than 10 bytes."""
    value = np.uint64(0)
    shift = np.uint64(0)
    while position < end and shift < np.uint64(64):
        byte = np.uint64(data[position])
        position += 1
        value |= (byte & np.uint64(127)) << shift
        if byte < np.uint64(128):
            return np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1)), position
        shift += np.uint64(7)
    return np.int64(0), np.int64(-1)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def parse(
    data: NDArray[np.uint8],
    rows: NDArray[np.int64],
    first: int,
    offsets: NDArray[np.int64],
    timestamps_ms: NDArray[np.int64],
    spans: NDArray[np.int32],
) -> tuple[int, int]:
    """Reads the records of batches.

    Args:
        data: what BODY and END of the rows point into.
        rows: batches, from scan; COUNT is UNREADABLE for one that is not to be read.
        first: records before this offset are left out (a fetch may begin inside a batch).
        offsets: filled; as long as the counts together, like the two others.
        timestamps_ms: filled.
        spans: filled.

    Returns:
        How many records there are, and the row at which a fault was found (-1: none).
    """
    k = 0
    for i in range(len(rows)):
        row = rows[i]
        base, log_ms = row[BASE], row[LOG_MS]
        if row[COUNT] == UNREADABLE:
            if base >= first:
                offsets[k] = base
                timestamps_ms[k] = row[FIRST_MS] if log_ms < 0 else log_ms
                spans[k, 0], spans[k, 1], spans[k, 2], spans[k, 3] = 0, -1, 0, -2
                k += 1
            continue
        position, end = row[BODY], row[END]
        delta = np.int64(-1)
        for _ in range(row[COUNT]):
            length, position = _varint(data, position, end)
            if position < 0 or length < RECORD_BYTES_MIN - 1 or length > end - position:
                return k, i
            record_end = position + length
            elapsed_ms, position = _varint(data, position + 1, record_end)
            if position < 0:
                return k, i
            next_delta, position = _varint(data, position, record_end)
            if position < 0 or next_delta <= delta or next_delta > row[LAST]:
                return k, i
            delta = next_delta
            key_length, position = _varint(data, position, record_end)
            if position < 0 or key_length < -1 or key_length > record_end - position:
                return k, i
            key = position
            position += max(key_length, 0)
            value_length, position = _varint(data, position, record_end)
            if position < 0 or value_length < -1 or value_length > record_end - position:
                return k, i
            if base + delta >= first:
                offsets[k] = base + delta
                timestamps_ms[k] = row[FIRST_MS] + elapsed_ms if log_ms < 0 else log_ms
                spans[k, 0], spans[k, 1], spans[k, 2], spans[k, 3] = key, key_length, position, value_length
                k += 1
            position = record_end  # headers are not ours
        if position != end:
            return k, i
    return k, -1
