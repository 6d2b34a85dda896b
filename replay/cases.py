"""Runs cases of rules through the real step: a small site, a log of its messages, and what the alerts then say."""

import dataclasses
import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from processors.advance import Processor
from processors.outputs import Output
from replay.case_files import Case, Series
from schemas import codec, topics, units
from schemas.codec import Json
from schemas.control import SigningKey, sign
from schemas.errors import ModelError
from schemas.model.document import LIMITS, Document, Table
from schemas.model.generated import generated_points
from schemas.model.tables import TABLES
from schemas.record_batches import Slab
from schemas.roles import ROLES
from schemas.rules.binding import instance_key
from schemas.rules.format import ANYTHING, Binding, Rule, parse_pack

SITE: Final = "site"
BUILDING: Final = "building"
GATEWAY: Final = "gateway"
METER: Final = "meter"
CALENDAR: Final = "calendar"
DAY_MS: Final = 86_400_000
BEFORE_DAYS: Final = 40
AFTER_DAYS: Final = 120
SCHEDULES: Final = (
    ("working", "workday", "08:00", "17:30"),
    ("landscape", "any", "18:30", "22:00"),
    ("cleaning", "workday", "18:00", "20:30"),
    ("irrigation", "any", "05:00", "07:00"),
)
"""Schedules of every case; Saturdays and Sundays are days of rest."""

_UNITS: Final = {
    "power": "W", "energy": "Wh", "flow": "L/min", "volume": "L", "temperature": "degC", "ppm": "ppm", "mass": "g",
    "illuminance": "lux", "speed": "km/h", "length": "m", "voltage": "V", "current": "A", "irradiance": "W/m2",
    "pressure": "kPa", "frequency": "Hz", "concentration": "ug/m3",
}  # fmt: skip
"""What a series without a unit is in, by the dimension of its role."""

Row = dict[str, Json]

_KEY: Final = SigningKey.of(bytes(32))
"""Who tells facts in a case; there is nobody to keep it from."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a case gave.

    Attributes:
        case: the case.
        found: (state or severity, ms after the start) of every change; None: no instance.
        error: why it could not be run; empty: it was.
    """

    case: Case
    found: tuple[tuple[str, int], ...] | None
    error: str = ""

    @property
    def passed(self) -> bool:
        """Whether it gave what was expected, to the second."""
        return not self.error and self.found == self.case.expected


def run_case(case: Case, pack: Mapping[str, Json]) -> Outcome:
    """Runs a case with the rule out of a pack.

    Args:
        case: the case.
        pack: as `read_pack` gave it.
    """
    try:
        rules = {rule.alert: rule for rule in parse_pack(dict(pack)).rules}
        if case.rule not in rules:
            return Outcome(case, None, f"{pack.get('pack')} has no rule {case.rule!r}")
        prepared = prepare(case, pack)
        processor = Processor(prepared.topic, 0, {prepared.document.sha256: prepared.document}.__getitem__)
        log = prepared.log
        keys = [SITE.encode()] * len(log)
        times, values = [time for time, _ in log], [value for _, value in log]
        processor.advance(Slab.of_columns(prepared.topic, 0, list(range(len(log))), times, keys, values))
        keys_of = {instance_key(*names) for names in processor.layout.instance_names}
        if instance_key(case.rule, prepared.subject) not in keys_of:
            return Outcome(case, None)
        return Outcome(case, changes(prepared, _alerts(processor.take())))
    except (ModelError, ValueError, KeyError) as error:
        return Outcome(case, None, " ".join(str(error).split()))


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A case as a task meets it.

    Attributes:
        case: the case.
        topic: input topic.
        document: of the small site.
        subject: id of the subject that is looked at.
        log: (LogAppendTime, message), in order; offsets count from 0, the key is `SITE`.
    """

    case: Case
    topic: str
    document: Document
    subject: str
    log: tuple[tuple[int, bytes], ...]


def prepare(case: Case, pack: Mapping[str, Json]) -> Prepared:
    """The site and the log of a case.

    Args:
        case: the case; its rule must be in the pack.
        pack: as `read_pack` gave it.

    Raises:
        ModelError: the pack is wrong.
        ValueError: the case does not fit its rule.
    """
    rules = {rule.alert: rule for rule in parse_pack(dict(pack)).rules}
    site = _Site(case, rules[case.rule], pack)
    document = site.document()
    log = tuple(sorted(site.log(document), key=lambda one: one[0]))
    return Prepared(case, site.topic, document, site.subject(1), log)


def changes(prepared: Prepared, rows: Iterable[Mapping[str, Any]]) -> tuple[tuple[str, int], ...]:
    """(state or severity, ms after the start) of every change that rows of `alerts` tell of the case's subject."""
    fired: set[int] = set()
    found: list[tuple[str, int]] = []
    for row in rows:
        if (row["rule"], row["subject"]) != (prepared.case.rule, prepared.subject):
            continue
        state = row["severity"] if row["state"] == "firing" and row["episode"] in fired else row["state"]
        fired.add(row["episode"])
        found.append((str(state), (int(row["valid_at"]) - prepared.case.start_ms) // 1000 * 1000))
    return tuple(found)


class _Site:
    """The site of a case: one subject and its siblings, with a point for every role."""

    def __init__(self, case: Case, rule: Rule, pack: Mapping[str, Json]) -> None:
        self.case, self.rule = case, rule
        self.tables: dict[str, list[Row]] = {
            "sites": [{"id": SITE, "time_zone": "Asia/Shanghai", "calendar": CALENDAR}],
            "buildings": [{"id": BUILDING, "site": SITE, "class": case.kind if case.sort == "building" else "A"}],
            "gateways": [{"id": GATEWAY, "site": SITE}],
            "schedules": [
                {"name": name, "day_kind": kind, "from": start, "to": end} for name, kind, start, end in SCHEDULES
            ],
        }
        self.topic = {"station": topics.WASTE_EVENTS, "vehicle": topics.VEHICLE_EVENTS}.get(
            case.sort, topics.METER_READINGS
        )
        self.points: dict[tuple[str, int], Row] = {}
        self._sums: dict[tuple[str, int], list[int]] = {}
        subjects = max((number for _, number in case.series), default=1)
        for number in range(1, subjects + 1):
            self._subject(number)
        for role, number in sorted(case.series):
            if role not in case.without and case.sort not in ("station", "vehicle"):
                self._point(role, number)
        self.pack = self._alone(pack)

    # -- the model ----------------------------------------------------------------------------------------------------

    def _subject(self, number: int) -> None:
        case, id_ = self.case, self.subject(number)
        if case.sort == "space":
            row: Row = {"id": id_, "building": BUILDING, "kind": case.kind, "tags": list(self.rule.each.tags)}
            self.tables.setdefault("spaces", []).append(row)
        elif case.sort == "equip":
            served: Row = {"id": f"room{number}", "building": BUILDING, "kind": "office", "tags": []}
            self.tables.setdefault("spaces", []).append(served)
            self.tables.setdefault("equips", []).append(
                {"id": id_, "kind": case.kind, "space": BUILDING, "serves": [f"room{number}"]}
            )
        elif case.sort == "station":
            classes: Json = [case.kind if case.kind != ANYTHING else "other"]
            self.tables.setdefault("stations", []).append({"id": id_, "site": SITE, "space": None, "class": classes})
        elif case.sort == "vehicle":
            energy = case.kind if case.kind != ANYTHING else "gasoline"
            self.tables.setdefault("vehicles", []).append({"id": id_, "energy": energy, "special_purpose": None})

    def subject(self, number: int) -> str:
        """Id of a subject."""
        sort = self.case.sort
        if sort == "point":
            return f"{next(iter(self.rule.roles))}-{number}"
        return {"building": BUILDING, "gateway": GATEWAY, "node": "node"}.get(sort, f"{sort}{number}")

    def _point(self, role: str, number: int) -> None:
        if role not in self.rule.roles:
            raise ValueError(f"the rule has no role {role!r}")
        case, binding = self.case, self.rule.roles[role]
        own = case.columns.get(role, {})
        name = own.get("role") or (case.kind if ANYTHING in binding.role else binding.role[0])
        kind = own.get("kind") or ROLES[name].kinds[0]
        unit = case.series[role, number].unit or _UNITS.get(ROLES[name].dimension, "1")
        columns: Row = dict.fromkeys(TABLES["points"].columns)
        row: Row = {
            **columns, "id": f"{role}-{number}", "number": len(self.points) + 1, "site": SITE, "gateway": GATEWAY,
            "role": name, "kind": kind, "unit": unit, "interval_s": case.every_ms // 1000, "clock": "live",
            "topic": topics.METER_READINGS, "medium": None, "station": None, "vehicle": None, "bin": None,
            "waste_class": None, "measure": None,
        }  # fmt: skip
        place, where = self._place(binding, number)
        row[place] = where
        if binding.equip and place == "space":
            self._equip(row, binding.equip[0], role, number)
        if binding.sub_item:
            row["sub_item"] = binding.sub_item[0]
        if binding.flow_use:
            row["flow_use"] = binding.flow_use[0]
        for column, text in own.items():
            row[column] = int(text) if column.endswith("_s") else text
        if binding.reach in ("plus", "minus"):
            edge: Row = {"id": f"e{len(self.points)}", "node": "node", "point": row["id"], "share": "1"}
            edge["sign"] = 1 if binding.reach == "plus" else -1
            self.tables.setdefault("balance", []).append(edge)
        self.points[role, number] = row
        if case.told_ms and number == 1:
            self.tables["meters"] = [dict.fromkeys(TABLES["meters"].columns) | {"id": METER}]
            self.tables.setdefault("meter_install", []).append(
                dict.fromkeys(TABLES["meter_install"].columns) | {"meter": METER, "point": row["id"]}
            )

    def _equip(self, row: Row, kind: str, role: str, number: int) -> None:
        equip: Row = {"id": f"{role}-equip-{number}", "kind": kind, "space": row["space"], "serves": []}
        self.tables.setdefault("equips", []).append(equip)
        row["equip"] = equip["id"]

    def _place(self, binding: Binding, number: int) -> tuple[str, Json]:
        """(column, id): where the point of a role is."""
        sort = self.case.sort
        if binding.reach == "site":
            return "space", None
        if binding.reach == "serves":
            return "space", f"room{number}"
        if binding.reach == "parent" or sort in ("point", "gateway", "building", "node"):
            return "space", BUILDING
        return sort, self.subject(number)

    def _alone(self, pack: Mapping[str, Json]) -> dict[str, Json]:
        """The pack with this rule only, on, and with the thresholds of the case."""
        rules = pack.get("rules")
        wanted = {self.case.rule, *self.rule.inhibited_by}
        listed_rules = rules if isinstance(rules, list) else []
        found = [one for one in listed_rules if isinstance(one, dict) and one.get("alert") in wanted]
        override: dict[str, Json] = {"alert": self.case.rule, "enabled": True, "params": dict(self.case.params)}
        listed: list[Json] = [*_overrides(pack, self.case.rule), override]
        return {"pack": "case", "rules": list(found), "overrides": listed}

    def document(self) -> Document:
        """The document of the site."""
        tables = {name: _table(rows) for name, rows in self.tables.items()}
        generated: list[Row] = [dict(row) for row in generated_points(SITE, tables)]
        columns: Row = dict.fromkeys(TABLES["points"].columns)
        for place, row in enumerate(generated):
            generated[place] = {
                **columns, "gateway": None, "interval_s": 0, "clock": "live", "bin": None, "waste_class": None,
                "station": None, "vehicle": None, "measure": None, **row, "number": len(self.points) + 1 + place,
            }  # fmt: skip
        tables["points"] = _table([*self.points.values(), *generated])
        start = dt.datetime.fromtimestamp(self.case.start_ms / 1000, dt.UTC).date()
        days = [start + dt.timedelta(days=day) for day in range(-BEFORE_DAYS, AFTER_DAYS)]
        calendar = {day.isoformat(): "restday" if day.weekday() >= 5 else "workday" for day in days}
        return Document(
            site=SITE,
            domain="live",
            partition=0,
            partitions={SITE: 0},
            interval_s=900,
            limits={**LIMITS, "outage_ms": max(10 * self.case.every_ms, 60_000)},
            tables=tables,
            rules=[self.pack],
            calendars={CALENDAR: calendar},
            keys={_KEY.key_id: _KEY.public},
            next_number=len(self.points) + len(generated) + 1,
        )

    # -- the log ------------------------------------------------------------------------------------------------------

    def log(self, document: Document) -> Iterator[tuple[int, bytes]]:
        """(LogAppendTime, message), not yet in order."""
        case = self.case
        head: dict[str, Any] = {"site": SITE, "version": 1, "previous": b"", "document": document.sha256}
        yield (
            case.start_ms - 1,
            codec.write("config_record", {**head, "effective_ms": 0, "key_id": "", "signature": b""}),
        )
        length = max((len(series.values) for series in case.series.values()), default=0)
        make = {"station": self._waste, "vehicle": self._vehicle}.get(case.sort, self._readings)
        for step in range(length):
            yield from make(step)
            yield case.start_ms + step * case.every_ms + case.every_ms // 2, codec.write("tick", {"clock_ms": 0})
        yield case.start_ms + length * case.every_ms, codec.write("tick", {"clock_ms": 0})
        if case.told_ms and self.tables.get("meters"):
            yield case.start_ms + case.told_ms, self._swap()

    def _swap(self) -> bytes:
        """The fact that the meter was swapped, a second before the first reading of a lower level."""
        fallen = []
        for (role, number), series in self.case.series.items():
            if (role, number) in self.points and number == 1:
                steps = [
                    step for step, value in enumerate(series.values) if value is not None and value.startswith("-")
                ]
                fallen += [(role, step) for step in steps[:1]]
        if not fallen:
            raise ValueError("`told` needs a register that falls, as in `-500 Wh x15m`")
        values = dict.fromkeys(("final", "initial", "numerator", "denominator", "span"))
        registers = [{"point": self.points[role, 1]["number"], **values} for role, _ in fallen]
        at_ms = self.case.start_ms + fallen[0][1] * self.case.every_ms - 1000
        said = {
            "site": SITE,
            "event_id": "1",
            "meter": METER,
            "kind": "swapped",
            "at_ms": at_ms,
            "registers": registers,
        }
        words = {"comment": "", "serial_before": "", "serial": "", "replaces": ""}
        return sign("meter_fact", {**said, **words}, _KEY)

    def _time(self, step: int) -> int:
        wobble = self.case.jitter_ms * ((step * 7) % 11 - 5) // 5 if step else 0
        return self.case.start_ms + step * self.case.every_ms + wobble

    def _readings(self, step: int) -> Iterator[tuple[int, bytes]]:
        """Messages of one step: its readings, later if they are late, and once more if the gateway stutters."""
        case, time = self.case, self._time(step)
        late = case.late_ms if step % 3 == 1 else 0
        for first in (True, False):
            found = []
            for (role, number), row in self.points.items():
                value = self._value(role, number, step) if (number == 1) == first else None
                if value is not None:
                    found.append((int(str(row["number"])), value))
            arrival = max(time, case.start_ms) + late + (case.behind_ms if first else 0)
            if found:
                yield arrival, _batch(time, found)
            if found and case.twice:
                yield arrival, _batch(time, found)
                yield arrival, _batch(time, [(number, value + 1) for number, value in found])

    def _value(self, role: str, number: int, step: int) -> int | None:
        """The value that the log carries: of a register what it shows, of anything else the value."""
        row, series = self.points[role, number], self.case.series[role, number]
        if step >= len(series.values) or series.values[step] is None:
            return None
        convert = units.Converter(str(row["unit"]), str(row["kind"]))
        if row["kind"] == "register":
            return self._shown(role, number, series, step, convert)
        return convert(str(series.values[step]))

    def _shown(self, role: str, number: int, series: Series, step: int, convert: Callable[[str], int]) -> int:
        """What a register shows: the sum of its steps; while it is silent it counts on at its last pace."""
        shown = self._sums.setdefault((role, number), [0])
        while len(shown) <= step + 1:
            value = series.values[len(shown) - 1]
            pace = shown[-1] - shown[-2] if len(shown) > 1 else 0
            shown.append(shown[-1] + (pace if value is None else convert(value)))
        return shown[step + 1]

    def _waste(self, step: int) -> Iterator[tuple[int, bytes]]:
        """Fill levels, and as many deposits in a wrong class as are written; for none one in the right class."""
        for (role, number), series in sorted(self.case.series.items()):
            value = series.values[step] if step < len(series.values) else None
            if role in self.case.without or value is None:
                continue
            name = self.rule.roles[role].role[0]
            station = next(row for row in self.tables["stations"] if row["id"] == self.subject(number))
            of_class = station["class"][0] if isinstance(station["class"], list) else None
            event = {"station": station["id"], "waste_class": of_class}
            if name == "fill_level":
                yield from self._events(
                    step, "waste_event", kind="fill", fill_permille=round(float(value) * 10), **event
                )
            else:
                verdicts = ["wrong_class"] * int(float(value)) or ["correct"]
                for verdict in verdicts:
                    yield from self._events(step, "waste_event", kind="deposit", mass_g=100, verdict=verdict, **event)

    def _vehicle(self, step: int) -> Iterator[tuple[int, bytes]]:
        """Ignition and speed, trips and orders, when they change."""
        now = {
            role: series.values[step]
            for (role, number), series in self.case.series.items()
            if number == 1 and role not in self.case.without and step < len(series.values)
        }
        before = {role: self.case.series[role, 1].values[step - 1] if step else None for role in now}
        names = {role: self.rule.roles[role].role[0] for role in now}
        state: dict[str, Any] = {}
        for role, value in now.items():
            if value is None:
                continue
            if names[role] == "ignition":
                state["ignition"] = value != "0"
            elif names[role] == "speed":
                state["speed_mm_s"] = round(float(value) * 10_000 / 36)
            elif value != before[role]:
                what = {"on_trip": "trip", "order": "order"}[names[role]]
                more = {"distance_m": 0} if what == "trip" and value == "0" else {}
                kind = f"{what}_{'end' if value == '0' else 'start'}"
                yield from self._events(step, "vehicle_event", kind=kind, vehicle=self.subject(1), **more)
        if state:
            yield from self._events(step, "vehicle_event", kind="state", vehicle=self.subject(1), **state)

    def _events(self, step: int, contract: str, **fields: Any) -> Iterator[tuple[int, bytes]]:
        schema: Any = codec.schema(contract)
        empty = {field["name"]: None for field in schema["fields"]}
        event = {**empty, "site": SITE, "event_id": f"{step}", "time_ms": self._time(step), **fields}
        late = self.case.late_ms if step % 3 == 1 else 0
        arrival = max(self._time(step), self.case.start_ms) + late
        for _ in range(2 if self.case.twice else 1):
            yield arrival, codec.write(contract, event)


def _overrides(pack: Mapping[str, Json], rule: str) -> list[Json]:
    """The pack's own overrides of a rule, but for those of some subjects."""
    listed = pack.get("overrides")
    found = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return [{**one, "alert": rule} for one in found if rule in _named(one.get("alert")) and not _narrow(one)]


def _named(value: Json) -> list[str]:
    return [value] if isinstance(value, str) else [str(one) for one in value] if isinstance(value, list) else []


def _narrow(override: Mapping[str, Json]) -> bool:
    return any(name in override for name in ("site", "space", "subject", "kind", "tags"))


def _batch(time: int, found: Sequence[tuple[int, int]]) -> bytes:
    readings = [{"point": number, "offset_ms": 0, "value": value, "quality": "good"} for number, value in found]
    batch = {"site": SITE, "gateway": GATEWAY, "mode": "live", "base_ms": time, "readings": readings}
    return codec.write("meter_batch", batch)


def _table(rows: Sequence[Row]) -> Table:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _alerts(outputs: Sequence[Output]) -> Iterator[dict[str, Any]]:
    for output in outputs:
        if codec.contract_of(output.value) == "alert_rows":
            rows: Any = codec.read("alert_rows", output.value)["rows"]
            yield from rows


__all__ = ["Outcome", "Prepared", "changes", "prepare", "run_case"]
