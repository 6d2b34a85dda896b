"""What the benches feed: one site of registers, its gateways' batches over some rounds, and the sum that must come out.

Deterministic by its arguments; values are those of no real meter.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from schemas import codec
from schemas.encode import encode_batch
from schemas.model.document import LIMITS, Document
from schemas.record_batches import Slab
from schemas.topics import METER_READINGS

INTERVAL_S: Final = 60
BEGIN_MS: Final = 1_700_000_100_000
"""A boundary of the 15-minute grid."""


def document(site: str, partition: int, gateways: int, per_gateway: int) -> Document:
    """A site with so many registers (Wh), read every minute."""
    count = gateways * per_gateway
    names = [f"g{number:05d}" for number in range(gateways)]
    points: dict[str, list[codec.Json]] = {
        "id": [f"p{number}" for number in range(count)],
        "number": list(range(count)),
        "site": [site] * count,
        "gateway": [name for name in names for _ in range(per_gateway)],
        "role": ["energy"] * count,
        "kind": ["register"] * count,
        "medium": ["electricity"] * count,
        "unit": ["kWh"] * count,
        "interval_s": [INTERVAL_S] * count,
        "topic": [METER_READINGS] * count,
        "clock": ["live"] * count,
    }
    rest = (
        "space",
        "equip",
        "direction",
        "sub_item",
        "max_age_s",
        "rated",
        "of",
        "counts_in",
        "flow_use",
        "min",
        "max",
        "valid_from",
        "valid_to",
        "tags",
    )
    points |= {name: [None] * count for name in rest}
    points["rated"] = ["100"] * count
    sites: dict[str, list[codec.Json]] = {
        "id": [site],
        "time_zone": ["Asia/Shanghai"],
        "calendar": [None],
        "institution": [None],
    }
    tables = {"points": points, "sites": sites}
    return Document(site, "live", partition, {site: partition}, 900, dict(LIMITS), tables, [], {}, {}, count)


@dataclasses.dataclass
class Load:
    """Batches of a number of rounds, and what they must sum to.

    Attributes:
        document: of the site.
        gateways: how many.
        per_gateway: readings of a batch.
        rounds: batches of each gateway; 15 n + 1 of them end on the grid, so that nothing is left open.
        site: its name.
        partition: of the site.
    """

    gateways: int
    per_gateway: int
    rounds: int
    site: str = "bench"
    partition: int = 0

    def __post_init__(self) -> None:
        self.document = document(self.site, self.partition, self.gateways, self.per_gateway)
        self._random = np.random.default_rng(7)
        self._values = np.zeros(self.gateways * self.per_gateway, np.int64)
        self._first = self._values.copy()

    @property
    def readings(self) -> int:
        """How many there are in all rounds."""
        return self.gateways * self.per_gateway * self.rounds

    def batches(self) -> Iterator[tuple[int, bytes]]:
        """(time ms, message): every gateway's batch of every round; one call per object."""
        numbers = np.arange(self.gateways * self.per_gateway, dtype=np.int32)
        good = np.zeros(self.per_gateway, np.int8)
        for turn in range(self.rounds):
            time_ms = BEGIN_MS + turn * INTERVAL_S * 1000
            self._values += self._random.integers(0, 900, len(self._values))
            if turn == 0:
                self._first = self._values.copy()
            times = np.full(self.per_gateway, time_ms, np.int64)
            for gateway in range(self.gateways):
                mine = slice(gateway * self.per_gateway, (gateway + 1) * self.per_gateway)
                yield (
                    time_ms,
                    encode_batch(self.site, f"g{gateway:05d}", "live", times, numbers[mine], self._values[mine], good),
                )

    def expected(self) -> int:
        """Last minus first, over all points; after `batches` has been read to its end."""
        return int((self._values - self._first).sum())

    def end_ms(self) -> int:
        """Time of the last round."""
        return BEGIN_MS + (self.rounds - 1) * INTERVAL_S * 1000

    def config_record(self) -> bytes:
        """The control record that puts the document into force."""
        fields = {
            "site": self.site,
            "version": 1,
            "previous": b"",
            "document": self.document.sha256,
            "effective_ms": 0,
            "key_id": "",
            "signature": b"",
        }
        return codec.write("config_record", fields)

    def slabs(self, messages: int = 256, first: Sequence[bytes] = ()) -> list[Slab]:
        """The whole log as slabs: the config record, what is to come `first`, and the batches."""
        found: list[Slab] = []
        rows: list[tuple[int, int, bytes | None, bytes | None]] = [
            (place, BEGIN_MS, self.site.encode(), value) for place, value in enumerate([self.config_record(), *first])
        ]
        offset = len(rows)
        for time_ms, message in self.batches():
            rows.append((offset, time_ms, self.site.encode(), message))
            offset += 1
            if len(rows) >= messages:
                found.append(Slab.of(METER_READINGS, 0, rows))
                rows = []
        if rows:
            found.append(Slab.of(METER_READINGS, 0, rows))
        return found
