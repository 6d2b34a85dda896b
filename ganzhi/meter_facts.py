"""Meter facts as people say them: in the units of the points and the time of the site, to records that are signed."""

import dataclasses
import datetime as dt
import hashlib
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Final
from zoneinfo import ZoneInfo

from replay.kafka_log import KafkaHistory
from schemas import codec
from schemas.control import SigningKey, sign
from schemas.errors import ConfigurationError, UnitError
from schemas.model.document import Document
from schemas.settings import KafkaSettings
from schemas.topics import METER_READINGS
from schemas.units import Converter

_PARTS_MAX: Final = (1 << 31) - 1


@dataclasses.dataclass(frozen=True)
class Register:
    """A register of a meter: its name, the point that it feeds, that point's number and unit."""

    name: str
    point: str
    number: int
    unit: str

    def value(self, text: str) -> int:
        """A value of the register, in its smallest unit.

        Raises:
            ConfigurationError: it is no such value.
        """
        try:
            return Converter(self.unit, "register")(text)
        except UnitError as error:
            raise ConfigurationError(f"{self.name}: {error}") from error


@dataclasses.dataclass(frozen=True)
class Meter:
    """A meter of a published model.

    Attributes:
        site: the document of its site.
        id: of the meter.
        registers: those that count, by name.
    """

    site: Document
    id: str
    registers: tuple[Register, ...]

    @property
    def zone(self) -> ZoneInfo:
        """Time zone of its site."""
        zones = self.site.table("sites").get("time_zone", [])
        return ZoneInfo(str(zones[0]) if zones else "UTC")

    def time(self, text: str) -> int:
        """UTC ms of a time as people write it; without an offset it is the site's.

        Raises:
            ConfigurationError: no time, or one that the site's clocks showed twice or never.
        """
        try:
            said = dt.datetime.fromisoformat(text)
        except ValueError:
            raise ConfigurationError(f"{text!r} is no time; write it like 2026-05-04T10:30") from None
        if said.tzinfo is None:
            local = {said.replace(tzinfo=self.zone, fold=fold).astimezone(dt.UTC) for fold in (0, 1)}
            if len(local) > 1:
                raise ConfigurationError(f"clocks changed at {text} in {self.zone.key}; say the offset: {text}+02:00")
            (said,) = local
        return int(said.timestamp() * 1000)

    def by_register(self, given: Iterable[str], what: str) -> dict[str, int]:
        """Values by register, from `VALUE` where the meter has one, else `REGISTER=VALUE`.

        Raises:
            ConfigurationError: another register, none that is named, or no value.
        """
        found: dict[str, int] = {}
        for one in given:
            name, equals, value = one.rpartition("=")
            if not equals and len(self.registers) != 1:
                raise ConfigurationError(f"meter {self.id} has several registers; write {what} as {self._forms()}")
            register = next((r for r in self.registers if name in ("", r.name, r.point)), None)
            if register is None:
                raise ConfigurationError(f"meter {self.id} has no register {name!r}; it has {self._names()}")
            found[register.point] = register.value(value)
        return found

    def _names(self) -> str:
        return ", ".join(register.name for register in self.registers)

    def _forms(self) -> str:
        return " ".join(f"{register.name}=…" for register in self.registers)


def find(documents: Mapping[str, Document], meter: str, site: str | None = None) -> Meter:
    """A meter of the published models.

    Args:
        documents: by site.
        meter: its id, or its serial number.
        site: where to look; None: everywhere.

    Raises:
        ConfigurationError: there is none, or there are several.
    """
    found = []
    for name, document in sorted(documents.items()):
        if site not in (None, name):
            continue
        table = document.table("meters")
        for known, serial in zip(table.get("id", []), table.get("serial", []), strict=True):
            if meter in (known, serial):
                found.append((document, str(known)))
    if not found:
        where = f"site {site}" if site else "any published site"
        raise ConfigurationError(f"no meter {meter!r} in {where}; `ganzhi apply` a model whose meters.csv has it")
    if len(found) > 1:
        places = ", ".join(f"{document.site}/{name}" for document, name in found)
        raise ConfigurationError(f"several meters are called {meter!r}: {places}; say --site and the id")
    document, name = found[0]
    registers = _registers(document, name)
    if not registers:
        raise ConfigurationError(f"meter {name} feeds no register of the model; meter_install.csv says which it does")
    return Meter(document, name, registers)


def _registers(document: Document, meter: str) -> tuple[Register, ...]:
    points, installed = document.table("points"), document.table("meter_install")
    known = {
        point: (int(str(number)), str(unit))
        for point, number, unit, kind in zip(
            *(points.get(name, []) for name in ("id", "number", "unit", "kind")), strict=True
        )
        if kind == "register"
    }
    pairs = zip(*(installed.get(name, []) for name in ("meter", "register", "point")), strict=True)
    found = {
        point: Register(str(register or "total"), str(point), *known[point])
        for owner, register, point in pairs
        if owner == meter and point in known
    }
    return tuple(sorted(found.values(), key=lambda register: register.name))


def ratio(text: str) -> tuple[int, int]:
    """A multiplier as numerator and denominator, from `40`, `1.5`, `3/2` or `150/5`.

    Raises:
        ConfigurationError: it is none.
    """
    try:
        value = Fraction(text.strip())
    except (ValueError, ZeroDivisionError):
        raise ConfigurationError(f"{text!r} is no multiplier; write it like 40, 1.5 or 3/2") from None
    if not (0 < value.numerator <= _PARTS_MAX and value.denominator <= _PARTS_MAX):
        raise ConfigurationError(f"{text!r} is no multiplier: above 0, and a fraction of at most nine digits")
    return value.numerator, value.denominator


@dataclasses.dataclass(frozen=True)
class Said:
    """What is to be told of a meter; values by point, in smallest units."""

    kind: str
    at_ms: int
    final: Mapping[str, int] = dataclasses.field(default_factory=dict)
    initial: Mapping[str, int] = dataclasses.field(default_factory=dict)
    span: Mapping[str, int] = dataclasses.field(default_factory=dict)
    multiplier: tuple[int, int] | None = None
    serial_before: str = ""
    serial: str = ""
    replaces: str = ""
    comment: str = ""
    void: bool = False


def message(meter: Meter, said: Said, key: SigningKey) -> tuple[str, bytes]:
    """(event_id, the signed record). The same words give the same event_id: sent twice, they count once."""
    numerator, denominator = said.multiplier or (None, None)
    registers = [
        {
            "point": register.number,
            "final": said.final.get(register.point),
            "initial": said.initial.get(register.point),
            "numerator": numerator,
            "denominator": denominator,
            "span": said.span.get(register.point),
        }
        for register in meter.registers
    ]
    fields: dict[str, object] = {
        "site": meter.site.site,
        "event_id": "",
        "meter": meter.id,
        "kind": said.kind,
        "at_ms": said.at_ms,
        "registers": [] if said.void else registers,
        "comment": said.comment,
        "serial_before": said.serial_before,
        "serial": said.serial,
        "replaces": said.replaces,
        "key_id": "",
        "signature": b"",
    }
    digest = hashlib.sha256(codec.write("meter_fact", fields)).hexdigest()[:8]
    event_id = f"{said.kind}-{digest}"
    return event_id, sign("meter_fact", {**fields, "event_id": event_id}, key)


@dataclasses.dataclass(frozen=True)
class Told:
    """A fact of the log.

    Attributes:
        offset: in its partition.
        known_at: when the system knew, UTC ms.
        fields: of the record.
        state: waiting (not computed yet), counts, late (told late: what it changes comes with a settlement), replaced,
            or why it was rejected.
    """

    offset: int
    known_at: int
    fields: dict[str, codec.Value]
    state: str


def history(kafka: KafkaSettings, meter: Meter) -> list[Told]:
    """Every fact of a meter in the log, in the order in which it was told.

    Raises:
        HistoryIncomplete: nothing was ever computed here.
        KafkaUnavailable: nobody answers.
    """
    log = KafkaHistory(kafka)
    task = (METER_READINGS, meter.site.partition)
    position = log.positions().get(task)
    computed = position.offset if position else 0
    header = codec.header("meter_fact")
    found: list[tuple[int, int, dict[str, codec.Value]]] = []
    for slab in log.slabs(task, log.end(task)):
        for record in range(len(slab)):
            value = slab.value(record)
            if value is not None and value.startswith(header):
                fields = codec.read("meter_fact", value)
                if (fields["site"], fields["meter"]) == (meter.site.site, meter.id):
                    found.append((int(slab.offsets[record]), int(slab.timestamps_ms[record]), fields))
    refused = {row["offset"]: str(row["reason"]) for row in log.published(task, "rejected")}
    late = {row["offset"] for row in log.published(task, "verdicts") if row["code"] == "late_fact"}
    gone = {fields["replaces"] for offset, _, fields in found if fields["replaces"] and offset not in refused}

    def state(offset: int, fields: dict[str, codec.Value]) -> str:
        if offset in refused:
            return refused[offset]
        if offset >= computed:
            return "waiting"
        return "replaced" if fields["event_id"] in gone else "late" if offset in late else "counts"

    return [Told(offset, known_at, fields, state(offset, fields)) for offset, known_at, fields in found]
