"""The seam below aiokafka: one record per partition and fetch, whose value is a slab.

Faust's cost is per event and aiokafka's per record (2 µs), so the cheapest place is below both: two names of aiokafka's
fetcher are replaced, for the whole process. What the replacement stands on is private to aiokafka, hence the exact
versions.
"""

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import aiokafka.consumer.fetcher as fetcher
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import ConsumerRecord

from schemas.errors import ConfigurationError
from schemas.record_batches import Slab, read_slabs, warm_up

VERSIONS = {"aiokafka": "0.14.0", "faust-streaming": "0.15.3", "mode-streaming": "0.7.1"}

_STOCK = (MemoryRecords, fetcher.PartitionRecords)


class RawRecords:
    """In the place of aiokafka's MemoryRecords: keeps the bytes of a fetch."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def size_in_bytes(self) -> int:
        """How many bytes came."""
        return len(self.data)

    def has_next(self) -> bool:
        """Whether there is a whole batch, or a length that is none, which is for the reader to refuse.

        aiokafka *skips an offset* where this is false and there are bytes.
        """
        return len(self.data) >= 12 and len(self.data) - 12 >= int.from_bytes(self.data[8:12], "big", signed=True)


class SlabRecords:
    """In the place of aiokafka's PartitionRecords: an iterator of slabs.

    Attributes:
        next_fetch_offset: where the next slab begins; aiokafka's position follows it.
    """

    def __init__(
        self,
        tp: Any,
        records: RawRecords,
        aborted_transactions: list[tuple[int, int]] | None,
        fetch_offset: int,
        _key_deserializer: object,
        _value_deserializer: object,
        check_crcs: bool,
        isolation_level: int,
    ) -> None:
        self.next_fetch_offset = fetch_offset
        committed_only = isolation_level == fetcher.READ_COMMITTED
        self._slabs = read_slabs(
            tp.topic,
            tp.partition,
            records.data,
            fetch_offset,
            aborted=aborted_transactions or () if committed_only else None,
            check_crc=check_crcs,
        )

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        slab = next(self._slabs)
        self.next_fetch_offset = slab.end
        return _record(slab)


def _record(slab: Slab) -> Any:
    time_ms = int(slab.timestamps_ms[-1]) if len(slab) else 0
    return ConsumerRecord(
        topic=slab.topic,
        partition=slab.partition,
        offset=slab.start,
        timestamp=time_ms,
        timestamp_type=1,
        key=None,
        value=slab,
        checksum=None,
        serialized_key_size=-1,
        serialized_value_size=len(slab.data),
        headers=(),
    )


def install() -> None:
    """Makes every aiokafka consumer of this process give slabs, and loads the kernels (the first call takes a second).

    Raises:
        ConfigurationError: another version of aiokafka, Faust or mode is installed than the one this was written for.
    """
    for package, wanted in VERSIONS.items():
        found = version(package)
        if found != wanted:
            raise ConfigurationError(
                f"{package} {found} is installed, but ganzhi replaces inner parts of {wanted}: install that one"
            )
    if (fetcher.MemoryRecords, fetcher.PartitionRecords) not in (_STOCK, (RawRecords, SlabRecords)):
        raise ConfigurationError(
            "something else in this process has replaced parts of aiokafka; ganzhi cannot share it"
        )
    fetcher.MemoryRecords, fetcher.PartitionRecords = RawRecords, SlabRecords
    warm_up()
