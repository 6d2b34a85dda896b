"""Kafka's compression codecs, with a limit on what comes out.

A batch of one megabyte can inflate to gigabytes. Every codec here stops at the limit, and allocates in steps, so that a
hostile batch costs the limit and no more.
"""

import zlib
from collections.abc import Callable
from typing import Any

import lz4.frame

from schemas.errors import DecodeError

try:
    from compression import zstd  # Python 3.14
except ImportError:
    from backports import zstd

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
NAMES = ("none", "gzip", "snappy", "lz4", "zstd")
_STEP_BYTES = 1 << 18
_XERIAL = b"\x82SNAPPY\x00"


class _Gzip:
    """zlib's object behind the interface of the two others."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(31)

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def decompress(self, data: bytes | memoryview, max_length: int) -> bytes:
        return self._stream.decompress(self._stream.unconsumed_tail or data, max_length)


_STREAMS: dict[int, Callable[[], Any]] = {
    GZIP: _Gzip,
    LZ4: lz4.frame.LZ4FrameDecompressor,
    ZSTD: zstd.ZstdDecompressor,
}


def inflate(codec: int, body: memoryview, limit_bytes: int) -> bytes | None:
    """Decompresses the body of a record batch.

    Args:
        codec: the low three bits of the batch's attributes.
        body: the compressed bytes.
        limit_bytes: the most that may come out.

    Returns:
        The records, or None if they are larger than the limit.

    Raises:
        DecodeError: the bytes are not of this codec, are cut, or have something after their end; or the codec is
            unknown.
    """
    if codec == SNAPPY:
        return _snappy(bytes(body), limit_bytes)
    if codec not in _STREAMS:
        raise DecodeError(f"compression codec {codec} is unknown")
    stream = _STREAMS[codec]()
    # A first step of four times the input is enough for most batches, and asking for the limit at once costs 10 times
    # as much (lz4 allocates it).
    step = max(4 * len(body), _STEP_BYTES)
    parts: list[bytes] = []
    size = 0
    data: bytes | memoryview = body
    try:
        while True:
            part = stream.decompress(data, min(step, limit_bytes + 1 - size))
            parts.append(part)
            size += len(part)
            if size > limit_bytes:
                return None
            if stream.eof:
                break
            if not part:
                raise DecodeError(f"{NAMES[codec]} data are cut", len(body))
            data = b""
            step *= 2
    except (RuntimeError, EOFError, zlib.error, zstd.ZstdError) as error:
        raise DecodeError(f"{NAMES[codec]}: {error}") from error
    if stream.unused_data:
        raise DecodeError(
            f"{NAMES[codec]}: {len(stream.unused_data)} bytes after the end", len(body) - len(stream.unused_data)
        )
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _snappy(body: bytes, limit_bytes: int) -> bytes | None:
    """Snappy as librdkafka writes it (one block) or as Java does (xerial: 16 bytes, then length and block in turn)."""
    if not body.startswith(_XERIAL):
        return _snappy_block(body, limit_bytes)
    parts: list[bytes] = []
    position, size = 16, 0
    while position < len(body):
        length = int.from_bytes(body[position : position + 4], "big")
        position += 4
        if position + length > len(body):
            raise DecodeError("snappy data are cut", position)
        part = _snappy_block(body[position : position + length], limit_bytes - size)
        if part is None:
            return None
        parts.append(part)
        size += len(part)
        position += length
    return b"".join(parts)


def _snappy_block(block: bytes, limit_bytes: int) -> bytes | None:
    import pyarrow as pa  # here, because it takes a quarter of a second, and few topics use snappy

    size = shift = 0
    for byte in block[:5]:
        size |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            break
    else:
        raise DecodeError("snappy: no length")
    if size > limit_bytes:
        return None
    try:
        return bytes(pa.Codec("snappy").decompress(block, decompressed_size=size, asbytes=True))
    except (OSError, ValueError) as error:
        raise DecodeError(f"snappy: {error}") from error
