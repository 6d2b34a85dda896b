"""Compression of bodies and replies, a piece at a time."""

import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import lz4.frame

from ganzhi.embedded.clickhouse_server.codes import CANNOT_DECOMPRESS, NOT_IMPLEMENTED, refused

if sys.version_info >= (3, 14):
    from compression import zstd as zstd
else:
    from backports import zstd as zstd

#: No piece is larger after decompression: a small body that swells to gigabytes passes through in pieces of this size.
PIECE_BYTES = 1 << 20
#: In the order in which a client's offer is taken up.
RESPONSE_ENCODINGS = ("zstd", "lz4", "gzip", "deflate")


class Compressor(Protocol):
    """What `compressor` gives: bytes in, bytes out, `flush` once at the end."""

    def compress(self, data: bytes, /) -> bytes:
        """Compresses a piece; may keep it for later."""

    def flush(self) -> bytes:
        """Ends the stream."""


class _Lz4:
    def __init__(self) -> None:
        self._inner = lz4.frame.LZ4FrameCompressor()
        self._started = False

    def compress(self, data: bytes, /) -> bytes:
        return self._begin() + bytes(self._inner.compress(data))

    def flush(self) -> bytes:
        return self._begin() + bytes(self._inner.flush())

    def _begin(self) -> bytes:
        if self._started:
            return b""
        self._started = True
        return bytes(self._inner.begin())


def compressor(encoding: str) -> Compressor:
    """A compressor for one of RESPONSE_ENCODINGS, at the cheapest level that still pays on loopback."""
    if encoding == "zstd":
        return zstd.ZstdCompressor(level=1)  # type: ignore[no-any-return, unused-ignore]
    if encoding == "lz4":
        return _Lz4()
    return zlib.compressobj(1, zlib.DEFLATED, 31 if encoding == "gzip" else 15)


def choose(accept_encoding: str) -> str:
    """The encoding for an Accept-Encoding header; empty where there is none in common."""
    offered = {
        part.split(";")[0].strip().lower()
        for part in accept_encoding.split(",")
        if not part.replace(" ", "").endswith(";q=0")
    }
    return next((encoding for encoding in RESPONSE_ENCODINGS if encoding in offered), "")


def decompressed(pieces: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Decompresses a body; frames that follow each other count as one.

    Raises:
        ClickHouseRefused: an encoding that is not known (48), bytes that are not of that encoding, or that end too
            early (271).
    """
    if encoding in ("", "identity"):
        return iter(pieces)
    makers: dict[str, Callable[[], Any]] = {
        "zstd": zstd.ZstdDecompressor,
        "lz4": lz4.frame.LZ4FrameDecompressor,
        "gzip": lambda: _Zlib(47),
        "deflate": lambda: _Zlib(47),
    }
    maker = makers.get(encoding)
    if maker is None:
        raise refused(NOT_IMPLEMENTED, f"Unknown Content-Encoding '{encoding}'; known are {', '.join(makers)}")
    return _frames(pieces, maker, encoding)


class _Zlib:
    """zlib with the interface that the other decompressors share."""

    def __init__(self, window: int) -> None:
        self._inner = zlib.decompressobj(window)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data


def _frames(pieces: Iterable[bytes], maker: Callable[[], Any], encoding: str) -> Iterator[bytes]:
    inner = maker()
    fresh = True
    try:
        for piece in pieces:
            while piece or not inner.needs_input:
                if inner.eof:
                    inner = maker()
                fresh = False
                out = inner.decompress(piece, PIECE_BYTES)
                piece = b""
                if out:
                    yield out
                if inner.eof:
                    piece = inner.unused_data or b""
                    inner = maker()
                    fresh = True
    except (zlib.error, zstd.ZstdError, RuntimeError, EOFError) as error:
        if isinstance(error, RuntimeError) and "LZ4" not in str(error):
            raise
        raise refused(CANNOT_DECOMPRESS, f"The body is not {encoding}: {error}") from error
    if not fresh:
        raise refused(CANNOT_DECOMPRESS, f"The {encoding} body ends in the middle")
