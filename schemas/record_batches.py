"""Raw Kafka record batches as slabs: arrays over the bytes of a fetch, no Python object per message.

A slab is what every consumer of the log works on: the worker (through Faust), the sink and the replay.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas import record_kernels as kernels
from schemas.compression import inflate
from schemas.errors import DecodeError, LogCorrupt

SLAB_BYTES = 4 << 20
"""A slab is closed with the batch that reaches this many (decompressed) bytes."""

BATCH_BYTES_MAX = 64 << 20
"""A batch that inflates to more is not read; it becomes one record whose value has the length -2."""

_ROWS = 4096

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Slab:
    """A run of messages of one partition, in the order of the log.

    Attributes:
        topic: as the broker names it (with the prefix).
        partition: of the topic.
        start: first offset of the run.
        end: offset behind the run. The next slab of the partition starts there; offsets inside that have no message
            (transaction markers, aborted or compacted messages) are holes, not losses.
        data: uint8[], what the spans point into.
        offsets: int64[n], ascending, in start..end.
        timestamps_ms: int64[n], the log's own time under LogAppendTime, else the producer's.
        spans: int32[n, 4], key position, key length, value position, value length; length -1: null; value length -2:
            the message is in a batch that inflates to more than BATCH_BYTES_MAX.
        epoch: which seek it belongs to (streams), -1: none.
    """

    topic: str
    partition: int
    start: int
    end: int
    data: Bytes
    offsets: Ints
    timestamps_ms: Ints
    spans: NDArray[np.int32]
    epoch: int = -1

    def __len__(self) -> int:
        return len(self.offsets)

    def key(self, i: int) -> bytes | None:
        """The key of message i; None: null."""
        position, length = self.spans[i, 0], self.spans[i, 1]
        return self.data[position : position + length].tobytes() if length >= 0 else None

    def value(self, i: int) -> bytes | None:
        """The value of message i; None: null, or not readable."""
        position, length = self.spans[i, 2], self.spans[i, 3]
        return self.data[position : position + length].tobytes() if length >= 0 else None

    @classmethod
    def of(
        cls,
        topic: str,
        partition: int,
        records: Iterable[tuple[int, int, bytes | None, bytes | None]],
        start: int | None = None,
        end: int | None = None,
    ) -> "Slab":
        """Makes a slab from messages.

        Args:
            topic: of the messages.
            partition: of the messages.
            records: offset, timestamp in ms, key, value; in ascending order of offset.
            start: first offset of the run (default: of the first message, 0 if there is none).
            end: offset behind the run (default: behind the last message, or start).

        Raises:
            ValueError: offsets do not ascend, or lie outside start..end, or there are more than 2 GiB.
        """
        columns = tuple(zip(*records, strict=True)) or ((), (), (), ())
        offsets, timestamps_ms, keys, values = columns
        return cls.of_columns(topic, partition, offsets, timestamps_ms, keys, values, start, end)

    @classmethod
    def of_columns(
        cls,
        topic: str,
        partition: int,
        offsets: Sequence[int] | Ints,
        timestamps_ms: Sequence[int] | Ints,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        start: int | None = None,
        end: int | None = None,
    ) -> "Slab":
        """Like `of`, from columns of the same length: no Python code runs per message."""
        n = len(offsets)
        if not n == len(timestamps_ms) == len(keys) == len(values):
            raise ValueError(f"columns of {n}, {len(timestamps_ms)}, {len(keys)} and {len(values)} messages")
        parts: list[bytes | None] = [None] * (2 * n)
        parts[0::2], parts[1::2] = keys, values
        missing = np.fromiter(map(_is_none, parts), np.bool_, 2 * n)
        present = [part for part in parts if part is not None] if missing.any() else parts
        lengths = np.zeros(2 * n, np.int64)
        lengths[~missing] = np.fromiter(map(len, present), np.int64, len(present))  # type: ignore[arg-type]
        ends = np.cumsum(lengths)
        if n and ends[-1] >= 1 << 31:
            raise ValueError(f"{ends[-1]} bytes are too many for one slab")
        spans = np.empty((n, 4), np.int32)
        spans[:, 0::2] = (ends - lengths).reshape(n, 2)
        spans[:, 1::2] = np.where(missing, -1, lengths).reshape(n, 2)
        at = np.array(offsets, np.int64)
        first = int(at[0]) if n else 0
        low = first if start is None else start
        high = (int(at[-1]) + 1 if n else low) if end is None else end
        if low > high or (n and (first < low or at[-1] >= high or (np.diff(at) <= 0).any())):
            raise ValueError(f"{topic} partition {partition}: offsets do not ascend within {low}..{high}")
        data = np.frombuffer(b"".join(present), np.uint8)  # type: ignore[arg-type]
        return cls(topic, partition, low, high, data, at, np.array(timestamps_ms, np.int64), spans)


def _is_none(part: object) -> bool:
    return part is None


def read_slabs(
    topic: str,
    partition: int,
    data: bytes | memoryview,
    start: int,
    *,
    aborted: Sequence[tuple[int, int]] | None = None,
    check_crc: bool = True,
) -> Iterator[Slab]:
    """Reads the record batches of a fetch.

    Control batches are never messages. Batches of no message at all still move `end`, in a slab without messages. A
    last batch that the broker cut is left for the next fetch.

    Args:
        topic: for the slabs and for errors.
        partition: for the slabs and for errors.
        data: as the broker sent them; the slabs keep them alive.
        start: the offset that was asked for; messages before it are left out.
        aborted: under read_committed the aborted transactions of the fetch (producer id, first offset), whose messages
            are left out; None: read_uncommitted.
        check_crc: whether checksums are compared.

    Yields:
        Slabs that follow each other without a gap, the first from `start`.

    Raises:
        LogCorrupt: a batch is not what a broker writes. The slabs before it have been given.
    """
    buffer = np.frombuffer(data, np.uint8)
    transactions = sorted(aborted or (), key=_first_offset, reverse=True)
    open_aborted: set[int] = set()
    rows = np.empty((min(_ROWS, len(buffer) // 61 + 1), kernels.COLUMNS), np.int64)
    position, base, status = 0, -1, kernels.MORE
    while status == kernels.MORE:
        count, position, status = kernels.scan(buffer, position, base, check_crc, SLAB_BYTES, rows)
        batches = rows[:count]
        if count:
            end = max(start, int(batches[-1, kernels.BASE] + batches[-1, kernels.LAST] + 1))
            base = end
            if (batches[:, kernels.ATTRIBUTES] & (kernels.CODEC | kernels.TRANSACTIONAL | kernels.CONTROL)).any():
                batches = batches[_readable(batches, transactions, open_aborted if aborted is not None else None)]
            for slab in _slabs(topic, partition, buffer, batches, start, end):
                start = slab.end
                yield slab
    if status != kernels.CUT:
        offset = int.from_bytes(buffer[position : position + 8].tobytes(), "big", signed=True)
        raise LogCorrupt(topic, partition, offset, kernels.REASONS[status])


def _first_offset(transaction: tuple[int, int]) -> int:
    return transaction[1]


def _readable(batches: Ints, transactions: list[tuple[int, int]], open_aborted: set[int] | None) -> NDArray[np.bool_]:
    """Which batches hold messages: no markers, and under read_committed nothing of an aborted transaction.

    open_aborted is None under read_uncommitted.

    An aborted transaction reaches from its first offset to the producer's next marker; `transactions` (last first) and
    `open_aborted` carry on over the calls for one fetch.
    """
    keep = np.ones(len(batches), np.bool_)
    columns = batches[:, (kernels.BASE, kernels.LAST, kernels.PRODUCER, kernels.ATTRIBUTES)].tolist()
    for i, (base, last, producer, attributes) in enumerate(columns):
        if open_aborted is not None:
            while transactions and transactions[-1][1] <= base + last:
                open_aborted.add(transactions.pop()[0])
        if attributes & kernels.CONTROL:
            keep[i] = False
            if open_aborted is not None:
                open_aborted.discard(producer)
        elif open_aborted and attributes & kernels.TRANSACTIONAL and producer in open_aborted:
            keep[i] = False
    return keep


def _slabs(topic: str, partition: int, buffer: Bytes, batches: Ints, start: int, end: int) -> Iterator[Slab]:
    """Cuts batches into slabs: one over the fetch's own bytes, or several when compressed batches are large."""
    if not (batches[:, kernels.ATTRIBUTES] & kernels.CODEC).any():
        if len(batches) or end > start:
            yield _slab(topic, partition, buffer, batches, start, end)
        return
    raw = buffer.data
    parts: list[bytes | memoryview] = []
    first = size = 0
    for i in range(len(batches)):
        row = batches[i]
        codec, body = int(row[kernels.ATTRIBUTES]) & kernels.CODEC, raw[row[kernels.BODY] : row[kernels.END]]
        part = _inflate(topic, partition, int(row[kernels.BASE]), codec, body)
        if part is None:
            row[kernels.COUNT] = kernels.UNREADABLE
        else:
            row[kernels.BODY], row[kernels.END] = size, size + len(part)
            if row[kernels.COUNT] > len(part) // kernels.RECORD_BYTES_MIN:
                raise LogCorrupt(
                    topic, partition, int(row[kernels.BASE]), f"{row[kernels.COUNT]} records in {len(part)} bytes"
                )
            parts.append(part)
            size += len(part)
        if size >= SLAB_BYTES and i + 1 < len(batches):
            cut = int(row[kernels.BASE] + row[kernels.LAST] + 1)
            yield _slab(topic, partition, np.frombuffer(b"".join(parts), np.uint8), batches[first : i + 1], start, cut)
            parts, first, size, start = [], i + 1, 0, cut
    yield _slab(topic, partition, np.frombuffer(b"".join(parts), np.uint8), batches[first:], start, end)


def _inflate(topic: str, partition: int, offset: int, codec: int, body: memoryview) -> bytes | memoryview | None:
    if codec == 0:
        return body
    try:
        return inflate(codec, body, BATCH_BYTES_MAX)
    except DecodeError as error:
        raise LogCorrupt(topic, partition, offset, str(error)) from error


def _slab(topic: str, partition: int, data: Bytes, batches: Ints, start: int, end: int) -> Slab:
    n = int(np.abs(batches[:, kernels.COUNT]).sum())  # UNREADABLE is -1 and becomes one record
    offsets, timestamps_ms, spans = np.empty(n, np.int64), np.empty(n, np.int64), np.empty((n, 4), np.int32)
    k, fault = kernels.parse(data, batches, start, offsets, timestamps_ms, spans)
    if fault >= 0:
        raise LogCorrupt(
            topic, partition, int(batches[fault, kernels.BASE]), "a record leaves its batch, or offsets do not ascend"
        )
    return Slab(topic, partition, start, end, data, offsets[:k], timestamps_ms[:k], spans[:k])


def warm_up() -> None:
    """Loads or compiles the kernels now (a second), so that the first fetch does not wait for it."""
    crc_of_nothing = bytes.fromhex("00" * 8 + "00000031" + "00000000" + "02" + "00000000" + "00" * 40)
    for _ in read_slabs("", 0, crc_of_nothing, 0, check_crc=False):
        pass
    kernels.crc32c(np.zeros(1, np.uint8), 0, 1)
