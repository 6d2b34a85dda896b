"""The document of a site: everything that can change an output, in one canonical JSON, known by its sha256.

A document is written once by `ganzhi apply` and never changed. Its canonical bytes are UTF-8 JSON with sorted keys and
no spaces; equal models give equal bytes. Tables are columnar: {"points": {"id": [...], "number": [...], ...}}. Absent
files are absent tables.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, cast

from schemas.codec import Json
from schemas.errors import ContractError

FORMAT: Final = 1
Column = list[Json]
Table = dict[str, Column]


class LazyTables(Mapping[str, Table]):
    """Tables that are read when somebody asks: of 250,000 points that is a second, and who has the layout never asks.

    Args:
        raw: their JSON.

    Attributes:
        digest: sha256 of the JSON.
    """

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self.digest = hashlib.sha256(raw).digest()

    @functools.cached_property
    def _tables(self) -> dict[str, Table]:
        try:
            found: dict[str, Table] = json.loads(self._raw)
            if not isinstance(found, dict):
                raise ContractError("document cannot be read: its tables are none")
        except ValueError as error:
            raise ContractError(f"document cannot be read: {error}") from error
        return found

    def __getitem__(self, name: str) -> Table:
        """The columns of a table."""
        return self._tables[name]

    def __iter__(self) -> Iterator[str]:
        """Names."""
        return iter(self._tables)

    def __len__(self) -> int:
        """How many tables."""
        return len(self._tables)


_TABLES: Final = b',"tables":{'
"""How the tables begin; in canonical bytes they are the last member."""


def _apart(raw: bytes) -> dict[str, Any]:
    """The members of a document, its tables not read; whole where its bytes are not canonical."""
    at = raw.find(_TABLES) if raw.endswith(b"}}") else -1
    while at >= 0:
        try:
            fields: dict[str, Any] = json.loads(raw[:at] + b"}")
        except ValueError:  # in the middle of something, a rule that has tables of its own
            at = raw.find(_TABLES, at + 1)
        else:
            return fields | {"tables": LazyTables(raw[at + len(_TABLES) - 1 : -1])}
    found: dict[str, Any] = json.loads(raw)
    return found


@dataclasses.dataclass(frozen=True)
class Document:
    """One version of one site.

    Attributes:
        site: site id.
        domain: "live", or the name of a simulation.
        partition: the site's partition in every input topic, for ever.
        partitions: partition of every site of the deployment, so that an event that arrives elsewhere can be told.
        interval_s: length of a ledger interval; must divide a day.
        limits: numbers that change outputs (see `LIMITS`).
        tables: the site's rows of every entity of the model, columnar, dated; every column of `columns.csv` is there.
            `points` has more (`build.POINT_COLUMNS`: number, topic, station, …) and the points that apply makes;
            `retired_points` keeps the numbers of those that left.
        rules: rule packs as they were written (parsed YAML), in order.
        calendars: calendar id → {"YYYY-MM-DD": kind}; kinds are workday, holiday, restday; a date that is absent is
            unknown.
        keys: key id → Ed25519 public key, hex: who may sign control records.
        next_number: next free point number.
    """

    site: str
    domain: str
    partition: int
    partitions: dict[str, int]
    interval_s: int
    limits: dict[str, int]
    tables: Mapping[str, Table]
    rules: list[dict[str, Json]]
    calendars: dict[str, dict[str, str]]
    keys: dict[str, str]
    next_number: int

    @functools.cached_property
    def raw(self) -> bytes:
        """Canonical bytes."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        whole = {"format": FORMAT, **fields, "tables": dict(self.tables)}
        text = json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode()

    @functools.cached_property
    def sha256(self) -> bytes:
        """Name of the document: sha256 of its canonical bytes."""
        return hashlib.sha256(self.raw).digest()

    @functools.cached_property
    def registers(self) -> dict[str, list[int]]:
        """Numbers of the points that the registers of each meter feed, ascending; a meter without any is there."""
        installed, points = self.table("meter_install"), self.table("points")
        columns = (points.get(name, []) for name in ("id", "number", "kind"))
        numbers = {point: int(str(number)) for point, number, kind in zip(*columns, strict=True) if kind == "register"}
        found: dict[str, set[int]] = {str(meter): set() for meter in self.table("meters").get("id", [])}
        for meter, point in zip(installed.get("meter", []), installed.get("point", []), strict=True):
            if str(meter) in found and point in numbers:
                found[str(meter)].add(numbers[point])
        return {meter: sorted(own) for meter, own in found.items()}

    def table(self, name: str) -> Table:
        """Columns of an entity; empty where the model has no such file."""
        return self.tables.get(name, {})

    @classmethod
    def parse(
        cls, raw: bytes, sha256: bytes | None = None, *, known: bool = False, beside: "Iterable[Document]" = ()
    ) -> "Document":
        """Reads a document and, when its name is given, checks that the bytes are the ones that were named.

        Args:
            raw: its bytes.
            sha256: its name.
            known: that these bytes were read whole before, on this machine: the tables are read once somebody asks.
            beside: documents with whom it shares its tables where they are the same, byte by byte: then they are not
                read again, and what follows from them holds for this one too.

        Raises:
            ContractError: other bytes, other format, or fields that are missing.
        """
        if sha256 is not None and hashlib.sha256(raw).digest() != sha256:
            raise ContractError(
                f"document {sha256.hex()} has other bytes than its name says; the config topic was tampered with"
            )
        try:
            fields = _apart(raw)
            if fields.pop("format") != FORMAT:
                raise ContractError("document of another format; it needs another release of ganzhi")
            fields["tables"] = _shared(fields["tables"], beside, known and sha256 is not None)
            found = cls(**fields)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ContractError(f"document cannot be read: {error}") from error
        if sha256 is not None:
            found.__dict__["sha256"] = sha256  # encoding 250,000 points again only to hash them takes half a second
        return found


def _shared(tables: Mapping[str, Table], beside: Iterable[Document], known: bool) -> Mapping[str, Table]:
    """Tables, or the same ones of another document; read at once where nobody knows whether they can be."""
    if isinstance(tables, LazyTables):
        for other in beside:
            if isinstance(other.tables, LazyTables) and other.tables.digest == tables.digest:
                tables = other.tables
                break
        if not known:
            len(tables)
    return tables


LIMITS: Final = cast(
    "dict[str, int]",
    {
        "future_ms": 300_000,  # a reading further ahead of the task's clock is rejected (DESIGN section 5)
        "outage_ms": 60_000,  # a longer jump of the clock restarts staleness timers
        "spread_ms": 86_400_000,  # a longer gap becomes one row
        "spread_intervals": 100,  # and so does one over more intervals
        "stale_ms": 3_600_000,  # firing and unknown for so long ends as stale
        "dips": 3,  # so many plausible readings on a lower level are a new level, not a glitch
        "fact_ahead_ms": 2_678_400_000,  # a meter fact may be told so long before it happens: 31 days
    },
)
