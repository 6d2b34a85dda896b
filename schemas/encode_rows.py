"""Rows of integers as an Avro array.

Every field of a ledger, gauge or verdict row is an int, long or enum, and so a zigzag varint.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from schemas.codec import header


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _encode(matrix: NDArray[np.int64], out: NDArray[np.uint8]) -> int:
    at = 0
    for i in range(matrix.shape[0]):
        for j in range(matrix.shape[1]):
            value = matrix[i, j]
            raw = np.uint64((value << 1) ^ (value >> 63))
            while raw >= np.uint64(128):
                out[at] = np.uint8(raw & np.uint64(127)) | np.uint8(128)
                raw >>= np.uint64(7)
                at += 1
            out[at] = np.uint8(raw)
            at += 1
    return at


def varint(value: int) -> bytes:
    """One zigzag varint."""
    raw = (value << 1) ^ (value >> 63)
    out = bytearray()
    while raw >= 0x80:
        out.append((raw & 0x7F) | 0x80)
        raw >>= 7
    out.append(raw)
    return bytes(out)


def text(value: str) -> bytes:
    """One Avro string."""
    raw = value.encode()
    return varint(len(raw)) + raw


def encode_rows(
    contract: str, topic: str, partition: int, sequence: int, sites: list[str], matrix: NDArray[np.int64]
) -> bytes:
    """A message of `ledger_rows`, `gauge_rows` or `verdict_rows`.

    Args:
        contract: which of them.
        topic: input topic of the task.
        partition: input partition of the task.
        sequence: number of the first row.
        sites: what the first column of the matrix counts in.
        matrix: int64[n, fields] in the order of the contract.

    Returns:
        The message, header included; equal to what fastavro writes.
    """
    body = np.empty(matrix.size * 10, np.uint8)
    length = _encode(np.ascontiguousarray(matrix), body)
    parts = [header(contract), text(topic), varint(partition), varint(sequence)]
    if sites:
        parts += [varint(len(sites)), *(text(site) for site in sites)]
    parts.append(b"\0")
    if len(matrix):
        parts += [varint(len(matrix)), body[:length].tobytes()]
    parts.append(b"\0")
    return b"".join(parts)
