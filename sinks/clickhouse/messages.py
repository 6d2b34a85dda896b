"""Messages of a range, as arrays: what a block is made of, whoever read them and however they were fetched."""

import dataclasses
import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from schemas import codec
from sinks.clickhouse.ranges import Place


@dataclasses.dataclass
class Run:
    """Messages of one partition in the order of their offsets; lists that grow together.

    Attributes:
        offsets: of the messages; there are holes where transactions were marked or compaction removed something.
        times_ms: LogAppendTime.
        keys: None where a message has none.
        values: None where a message has none.
    """

    offsets: list[int] = dataclasses.field(default_factory=list)
    times_ms: list[int] = dataclasses.field(default_factory=list)
    keys: list[bytes | None] = dataclasses.field(default_factory=list)
    values: list[bytes | None] = dataclasses.field(default_factory=list)

    def until(self, start: int, end: int) -> "Run":
        """The messages with start ≤ offset < end."""
        first = int(np.searchsorted(self.offsets, start))
        stop = int(np.searchsorted(self.offsets, end))
        part = slice(first, stop)
        return Run(self.offsets[part], self.times_ms[part], self.keys[part], self.values[part])


@dataclasses.dataclass(frozen=True)
class Messages:
    """Messages of one topic, in the order of partition and offset.

    Attributes:
        topic: without prefix.
        partitions: int64[n].
        offsets: int64[n].
        times_ms: int64[n].
        keys: n keys.
        values: n values.
        contracts: name of the contract that each value says it keeps, None where it is none of ours.
        data: the values one after the other, uint8[m].
        starts: int64[n], where each value begins in data.
        lengths: int64[n], of the values; -1 where there is none.
    """

    topic: str
    partitions: NDArray[np.int64]
    offsets: NDArray[np.int64]
    times_ms: NDArray[np.int64]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    contracts: Sequence[str | None]
    data: NDArray[np.uint8]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.values)

    def of(self, contract: str) -> list[int]:
        """Indices of the messages that say they keep a contract."""
        return [i for i, name in enumerate(self.contracts) if name == contract]

    @functools.cached_property
    def digest(self) -> bytes:
        """sha256 over topic, places, lengths and values."""
        found = hashlib.sha256(self.topic.encode() + b"\0")
        for column in (self.partitions, self.offsets, self.lengths):
            found.update(np.ascontiguousarray(column).data)
        found.update(self.data.data)
        return found.digest()


def by_topic(runs: Mapping[Place, Run]) -> dict[str, Messages]:
    """Puts the partitions of each topic one after the other; topics without messages are absent."""
    topics: dict[str, list[tuple[int, Run]]] = {}
    for (topic, partition), run in sorted(runs.items()):
        if run.offsets:
            topics.setdefault(topic, []).append((partition, run))
    return {topic: _joined(topic, parts) for topic, parts in topics.items()}


def _joined(topic: str, parts: Iterable[tuple[int, Run]]) -> Messages:
    whole, partitions = Run(), []
    for partition, run in parts:
        partitions += [partition] * len(run.offsets)
        whole.offsets += run.offsets
        whole.times_ms += run.times_ms
        whole.keys += run.keys
        whole.values += run.values
    lengths = np.array([-1 if value is None else len(value) for value in whole.values], np.int64)
    sizes = np.maximum(lengths, 0)
    return Messages(
        topic,
        np.array(partitions, np.int64),
        np.array(whole.offsets, np.int64),
        np.array(whole.times_ms, np.int64),
        whole.keys,
        whole.values,
        [None if value is None else codec.contract_of(value) for value in whole.values],
        np.frombuffer(b"".join(value for value in whole.values if value is not None), np.uint8),
        np.cumsum(sizes) - sizes,
        lengths,
    )
