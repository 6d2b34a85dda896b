"""Avro single-object encoding: which contract a message keeps, and strict reading and writing of the cold ones.

A message is C3 01, eight bytes of the fingerprint of its contract (CRC-64-AVRO of the parsing canonical form,
little-endian), then the Avro body (Avro specification, "Single-object encoding"). The eight bytes name the schema;
there is no registry. Batches of readings are read by the kernel in `decode`; everything else by `read`, which refuses
what fastavro 1.13 accepts or dies of: over-long and oversized varints, enum and union indices outside of the schema,
other bytes than 0 and 1 for a boolean, bytes after the end, and counts that the remaining bytes cannot hold.
"""

import functools
import io
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any, Final, TypeAlias

import fastavro
import fastavro.schema

from schemas.errors import DecodeError

Json: TypeAlias = str | int | float | bool | None | list["Json"] | dict[str, "Json"]
Value: TypeAlias = str | int | bytes | bool | None | list["Value"] | dict[str, "Value"]

MAGIC: Final = b"\xc3\x01"
HEADER_BYTES: Final = 10
MESSAGE_BYTES_MAX: Final = 8 << 20
"""A message beyond this is refused unread; sources write at most a thousand readings, some 12 kB."""

CONTRACTS: Final = (
    "meter_batch",
    "meter_fact",
    "tick",
    "config_record",
    "settle_record",
    "engine_record",
    "waste_event",
    "vehicle_event",
    "alert_action",
    "audit_event",
    "ledger_rows",
    "gauge_rows",
    "alert_rows",
    "episode_rows",
    "episode_changes",
    "verdict_rows",
    "rejected_rows",
    "task_position",
    "snapshot_head",
    "notice",
    "notice_message",
    "notice_delivery",
    "notifier_position",
)


@functools.cache
def schema(name: str) -> dict[str, Json]:
    """The contract as parsed JSON (`schemas/avro/NAME.avsc`)."""
    loaded: dict[str, Json] = json.loads(resources.files("schemas").joinpath(f"avro/{name}.avsc").read_text("utf-8"))
    return loaded


@functools.cache
def fingerprint(name: str) -> bytes:
    """Eight bytes that name the contract on the wire."""
    canonical = fastavro.schema.to_parsing_canonical_form(schema(name))
    return bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))


@functools.cache
def header(name: str) -> bytes:
    """The ten bytes before the body."""
    return MAGIC + fingerprint(name)


@functools.cache
def _names() -> dict[bytes, str]:
    return {header(name): name for name in CONTRACTS}


@functools.cache
def _parsed(name: str) -> Any:
    return fastavro.parse_schema(schema(name))


def contract_of(message: bytes | memoryview) -> str | None:
    """Name of the contract that a message says it keeps; None when it is none of ours."""
    return _names().get(bytes(message[:HEADER_BYTES]))


def write(name: str, value: Mapping[str, object]) -> bytes:
    """Encodes one message, header included.

    Raises:
        DecodeError: the value does not fit the contract.
    """
    out = io.BytesIO()
    out.write(header(name))
    try:
        fastavro.schemaless_writer(out, _parsed(name), value, strict=True)
    except (ValueError, TypeError, KeyError, OverflowError, AttributeError) as error:
        raise DecodeError(f"{name}: {error}") from error
    return out.getvalue()


def read(name: str, message: bytes) -> dict[str, Value]:
    """Decodes one message of a known contract, strictly and in bounded time and memory.

    Raises:
        DecodeError: the bytes do not keep the contract.
    """
    if len(message) > MESSAGE_BYTES_MAX:
        raise DecodeError(f"message of {len(message)} bytes, the limit is {MESSAGE_BYTES_MAX}")
    if bytes(message[:HEADER_BYTES]) != header(name):
        raise DecodeError(f"not a {name}")
    reader = _Reader(message, HEADER_BYTES)
    value = reader.value(schema(name), {})
    if reader.at != len(message):
        raise DecodeError(f"{len(message) - reader.at} bytes after the end", reader.at)
    assert isinstance(value, dict)
    return value


class _Reader:
    """Reads a body by its schema; every step is checked against the bytes that are left."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data = data
        self.at = at

    def long(self, low: int = -(1 << 63), high: int = (1 << 63) - 1) -> int:
        result = 0
        for shift in range(0, 70, 7):
            if self.at >= len(self.data):
                raise DecodeError("cut inside a number", self.at)
            byte = self.data[self.at]
            self.at += 1
            result |= (byte & 0x7F) << shift
            if byte < 0x80:
                if result >= 1 << 64 or (shift and not byte):
                    raise DecodeError("number over 64 bits or over-long", self.at)
                value = (result >> 1) ^ -(result & 1)
                if not low <= value <= high:
                    raise DecodeError(f"number {value} outside of {low}..{high}", self.at)
                return value
        raise DecodeError("number over ten bytes", self.at)

    def raw(self) -> bytes:
        length = self.long(0, len(self.data))
        if length > len(self.data) - self.at:
            raise DecodeError(f"{length} bytes wanted, {len(self.data) - self.at} left", self.at)
        self.at += length
        return bytes(self.data[self.at - length : self.at])

    def array(self, items: Json, names: dict[str, Json]) -> list[Value]:
        found: list[Value] = []
        while count := self.long():
            if count < 0:
                count = -count
                self.long(0)
            if count > len(self.data) - self.at:  # an item has at least one byte: no contract has empty items
                raise DecodeError(f"array block of {count} items, {len(self.data) - self.at} bytes left", self.at)
            found.extend(self.value(items, names) for _ in range(count))
        return found

    def value(self, kind: Json, names: dict[str, Json]) -> Value:
        if isinstance(kind, list):
            return self.value(kind[self.long(0, len(kind) - 1)], names)
        if isinstance(kind, str) and kind not in names:
            return self.primitive(kind)
        full = names[kind] if isinstance(kind, str) else kind
        assert isinstance(full, dict)
        if "name" in full:
            names[str(full["name"])] = full
        if full["type"] == "record":
            fields = full["fields"]
            assert isinstance(fields, list)
            return {str(field["name"]): self.value(field["type"], names) for field in fields if isinstance(field, dict)}
        if full["type"] == "enum":
            symbols = full["symbols"]
            assert isinstance(symbols, list)
            return str(symbols[self.long(0, len(symbols) - 1)])
        assert full["type"] == "array", full["type"]
        return self.array(full["items"], names)

    def primitive(self, kind: str) -> Value:
        if kind == "long":
            return self.long()
        if kind == "int":
            return self.long(-(1 << 31), (1 << 31) - 1)
        if kind == "null":
            return None
        if kind == "boolean":
            return bool(self.boolean())
        raw = self.raw()
        if kind == "bytes":
            return raw
        assert kind == "string", kind
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise DecodeError("text is not UTF-8", self.at) from None

    def boolean(self) -> int:
        if self.at >= len(self.data) or self.data[self.at] > 1:
            raise DecodeError("boolean is not 0 or 1", self.at)
        self.at += 1
        return self.data[self.at - 1]
