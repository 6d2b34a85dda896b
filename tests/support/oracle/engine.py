"""One task, message by message: the rows that `processors.advance` has to emit, as the dictionaries that contracts hold."""

import hashlib
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from schemas import codec, topics
from schemas.control import verify
from schemas.errors import DecodeError, SignatureError
from schemas.model.document import LIMITS, Document
from schemas.model.points import point_columns
from schemas.rules.instances import compile_rules
from schemas.rules.program import CompiledRules
from tests.support.oracle import batches, events
from tests.support.oracle.alerts import FIRING, IDLE, Instance, rules_of
from tests.support.oracle.looks import Track, windows_of
from tests.support.oracle.points import Fact, History, Meta, Told

Row = dict[str, Any]
YEAR_2000_MS = 946_684_800_000
KINDS = ("register", "delta", "gauge", "state")
QUALITIES = ("good", "estimated", "suspect")
STATUSES = ("", "cut", "overlong", "out_of_range", "too_many", "trailing", "too_large")
STREAMS = ("ledger", "gauges", "alerts", "verdicts", "rejected")
COUNTERS = ("readings", "repeats", "late", "refused", "out_of_range", "set_aside", "applied")


def _metas(document: Document, topic: str) -> dict[int, Meta]:
    columns = point_columns(document)
    found = {}
    grid = document.interval_s * 1000
    for row, number in enumerate(columns.numbers.tolist()):
        if topics.INPUTS[columns.topic[row]] != topic:
            continue
        kind = KINDS[columns.kind[row]]
        widest = {"register": (0, 1 << 53), "delta": (-(1 << 53), 1 << 53)}.get(kind, (-(1 << 40), 1 << 40))
        found[number] = Meta(
            document.site,
            number,
            columns.ids[row],
            columns.gateways[columns.gateway[row]],
            kind,
            int(columns.interval_ms[row]),
            int(columns.max_age_ms[row]),
            int(columns.rate_max[row]),
            int(columns.span[row]),
            max(int(columns.low[row]), widest[0]),
            min(int(columns.high[row]), widest[1]),
            bool(columns.data_clock[row]),
            grid,
            int(columns.integral_divisor[row]),
        )
    return found


class Site:
    """A site under one version of its document."""

    def __init__(self, oracle: "Oracle", document: Document, version: int, before: "Site | None") -> None:
        self.document, self.version = document, version
        self.limits = {**LIMITS, **document.limits}
        self.points: dict[int, History] = {}
        for number, meta in _metas(document, oracle.topic).items():
            old = before.points.get(number) if before else None
            same = old is not None and old.meta.kind == meta.kind
            self.points[number] = old if same and old is not None else History(meta)
            self.points[number].renew(meta)
        self.gateways = {meta.meta.gateway for meta in self.points.values()}
        self.gateways |= {str(name or "") for name in document.table("points").get("gateway", [])}
        self.instances: list[Instance] = []
        compiled = compile_rules(document, oracle.topic)
        self._look_back(compiled, before)
        for rule in rules_of(compiled):
            emit = self._emitter(oracle, rule.name, rule.subject)
            self.instances.append(Instance(rule, self.points, emit, self.windows, self.instances))
        if before:
            self._follow(oracle, before)
        self.readers: dict[int, list[Instance]] = {}
        for instance in self.instances:
            for number in {number for slot in instance.rule.slots if slot for number in slot[1]}:
                self.readers.setdefault(number, []).append(instance)

    def _look_back(self, compiled: CompiledRules, before: "Site | None") -> None:
        """Tracks and windows; those that were there under the document before go on."""
        cell_ms = 900_000 if 900 % self.document.interval_s == 0 else self.document.interval_s * 1000
        self.windows = windows_of(compiled, cell_ms)
        self.tracks: dict[tuple[int, int], Track] = {}
        for window in self.windows:
            for number in window.members:
                meta = self.points[number].meta
                events = meta.kind in ("register", "delta") and meta.interval_ms == 0
                fresh = Track(window.measure, cell_ms, meta.kind, events)
                track = self.tracks.setdefault((number, window.measure), fresh)
                track.length = max(track.length, window.needed)
        for key, track in self.tracks.items():
            old = before.tracks.get(key) if before else None
            if old is not None and (old.cell_ms, old.kind) == (track.cell_ms, track.kind):
                length = min(old.length, track.length)
                if old.newest is not None and old.fresh is not None:
                    old.fresh = max(old.fresh, old.newest + 1 - length)
                old.length = track.length
                self.tracks[key] = old
        for window in self.windows:
            for old_window in before.windows if before else ():
                if window.name == old_window.name:
                    for name in ("done", "value", "night", "nights", "workdays"):
                        setattr(window, name, getattr(old_window, name))

    def feed(self, number: int, before: int | None, time: int, rows: list[tuple[str, Row]], live: bool = True) -> bool:
        """Gives the rows that a reading of a point made to what looks back at it; whether any of it says another thing."""
        meta = self.points[number].meta
        whole = before is not None and time - before <= meta.hold_ms
        until = time if whole else (before + meta.hold_ms if before is not None else None)
        for (owner, _), track in self.tracks.items():
            if owner != number:
                continue
            for stream, row in rows:
                if stream == "ledger":
                    track.counted(row)
                else:
                    covered = track.since is not None and track.since <= row["from_ms"]
                    track.gauged(row, covered and until is not None and row["to_ms"] <= until)
            if meta.kind in ("gauge", "state") and (not whole or track.since is None):
                track.since = time
        said = [window.value for window in self.windows]
        for window in self.windows:
            if number in window.members:
                window.update(self.tracks, live)
        return said != [window.value for window in self.windows]

    def _emitter(self, oracle: "Oracle", rule: str, subject: str) -> Callable[[Row], None]:
        def emit(row: Row) -> None:
            names = {"config_version": self.version, "rule": rule, "subject": subject}
            oracle.emit("alerts", self.document.site, **names, **row)

        return emit

    def _follow(self, oracle: "Oracle", before: "Site") -> None:
        olds = {(one.rule.name, one.rule.subject): one for one in before.instances}
        for instance in self.instances:
            old = olds.pop((instance.rule.name, instance.rule.subject), None)
            if old is not None:
                instance.follow(old)
        for old in olds.values():
            if old.phase == FIRING:
                at = max(oracle.clock or 0, old.started)
                row = {
                    "episode": old.episode,
                    "state": "stale",
                    "valid_at": at,
                    "started_at": old.started,
                    "estimate": -1,
                }
                old.emit({"severity": old.rule.severities[old.level], **row})


class Oracle:
    """A task.

    Attributes:
        rows: of every stream, in order.
        counts: what became of readings.
    """

    def __init__(self, topic: str, partition: int, documents: Mapping[bytes, Document]) -> None:
        self.topic, self.partition, self.documents = topic, partition, documents
        self.sites: dict[str, Site] = {}
        self.heads: dict[str, tuple[int, bytes]] = {}
        self.clock: int | None = None
        self.resumed = -(1 << 62)
        self.rows: dict[str, list[Row]] = {stream: [] for stream in STREAMS}
        self.counts = dict.fromkeys(COUNTERS, 0)
        self.told: dict[tuple[str, str], tuple[int, bytes, str]] = {}
        self._message: tuple[int, int, bytes] = (0, 0, b"")
        self._moved = False

    def emit(self, stream: str, site: str, **row: Any) -> None:
        """Adds a row, made by the current message."""
        offset, known_at, _ = self._message
        self.rows[stream].append({"site": site, "offset": offset, "known_at": known_at, **row})

    @property
    def domain(self) -> str | None:
        """live, a simulation, or None before the first document."""
        return next((site.document.domain for site in self.sites.values()), None)

    def feed(self, offset: int, timestamp_ms: int, key: bytes | None, value: bytes | None) -> None:
        """Applies one message."""
        self._message = (offset, timestamp_ms, key or b"")
        contract = codec.contract_of(value) if value is not None else None
        if self.domain == "live" and contract != "tick":
            self._move(timestamp_ms)
        if value is None:
            self._reject("null_value", b"")
        elif contract == "meter_batch" and self.topic == topics.METER_READINGS:
            self._batch(value)
        else:
            try:
                self._cold(contract, value)
            except DecodeError:
                self._reject("malformed", value)

    def _reject(self, reason: str, raw: bytes, site: str | None = None, readings: int = 0) -> None:
        key = self._message[2]
        name = key.decode("utf-8", "replace") if site is None else site
        self.emit("rejected", name, reason=reason, readings=readings, key=key, raw=hashlib.sha256(raw).hexdigest())

    def _no_site(self, name: str) -> str:
        if name in self.sites:
            return "unknown_gateway"
        pinned = [site.document.partitions.get(name, self.partition) for site in self.sites.values()]
        return "wrong_partition" if any(partition != self.partition for partition in pinned) else "unknown_site"

    # -- control records and events -----------------------------------------------------------------------------------

    def _cold(self, contract: str | None, value: bytes) -> None:
        if contract == "tick":
            clock = codec.read("tick", value)["clock_ms"]
            assert isinstance(clock, int)
            if not 0 <= clock <= 1 << 53:
                raise DecodeError("no time")
            if self.domain is not None:
                self._move(self._message[1] if self.domain == "live" else clock)
        elif contract == "config_record":
            self._config(codec.read(contract, value), value)
            if self.domain == "live":
                self._move(self._message[1])
        elif contract == "waste_event" and self.topic == topics.WASTE_EVENTS:
            self._event(codec.read(contract, value), value, events.waste)
        elif contract == "vehicle_event" and self.topic == topics.VEHICLE_EVENTS:
            self._event(codec.read(contract, value), value, events.vehicle)
        elif contract == "meter_fact" and self.topic == topics.METER_READINGS:
            self._fact_about(codec.read(contract, value), value)
        elif contract == "settle_record":
            codec.read(contract, value)
            self._reject("not_supported", value)
        elif contract == "engine_record":
            self._engine(codec.read(contract, value), value)
        else:
            self._reject("unknown_contract", value)

    def _engine(self, fields: dict[str, Any], raw: bytes) -> None:
        """A mark that changes nothing here; where there are sites, one of their keys must have signed it."""
        if not self.sites:
            return
        if not fields["key_id"] or not fields["signature"]:
            self._reject("unsigned", raw)
            return
        public = {name: key for site in self.sites.values() for name, key in site.document.keys.items()}
        try:
            verify("engine_record", raw, public)
        except SignatureError:
            self._reject("bad_signature", raw)

    def _config(self, fields: dict[str, Any], raw: bytes) -> None:
        site = fields["site"]
        version, sha256 = self.heads.get(site, (0, b""))
        if (fields["version"], fields["previous"]) != (version + 1, sha256):
            self._reject("broken_chain", raw, site)
            return
        document = self.documents[fields["document"]]
        domains = {other.document.domain for name, other in self.sites.items() if name != site} | {document.domain}
        if document.site != site or document.partition != self.partition or len(domains) > 1:
            self._reject("bad_document", raw, site)
            return
        self.heads[site] = (version + 1, fields["document"])
        self.sites[site] = Site(self, document, version + 1, self.sites.get(site))
        for instance in self._instances():
            instance.due = -(1 << 62) if self.clock is None else self.clock

    def _fact_about(self, fact: dict[str, Any], raw: bytes) -> None:
        site = self.sites.get(fact["site"])
        if site is None:
            self._reject(self._no_site(fact["site"]), raw, fact["site"])
            return
        reason = self._why_not(site, fact, raw)
        if reason:
            self._reject(reason, raw, fact["site"])
            return
        known = self.told.get((site.document.site, fact["event_id"]))
        if known is not None:
            if known[1] != raw:
                self._reject("bad_fact", raw, fact["site"])
            return
        before = self.told.get((site.document.site, fact["replaces"]))
        if before is not None and before[2] != fact["meter"]:
            self._reject("bad_fact", raw, fact["site"])
            return
        self.told[(site.document.site, fact["event_id"])] = (fact["at_ms"], raw, fact["meter"])
        points = {site.points[register["point"]]: register for register in fact["registers"]}
        if before is not None:
            everything = set(points) | {site.points[number] for number in _meter(site, fact["meter"])}
            for point in sorted(everything, key=lambda point: (point.meta.gateway, point.meta.number)):
                point.told = [told for told in point.told if told.event != fact["replaces"]]
                if point.times and before[0] < point.times[-1]:
                    self._late_fact(point, before[0], 0)
        for point, register in points.items():
            self._tell(point, fact, register, site)

    def _tell(self, point: History, fact: dict[str, Any], register: dict[str, Any], site: "Site") -> None:
        kind, at = fact["kind"], fact["at_ms"]
        final, initial = register["final"], register["initial"]
        if kind == "reset" and initial is None:
            initial = 0
        if kind in ("multiplier", "width") and final is None:
            final = initial
        ratio = None if register["numerator"] is None else Fraction(register["numerator"], register["denominator"])
        told = Told(fact["event_id"], kind, at, final, initial, ratio, register["span"])
        level = next((value for value in (initial, final) if value is not None), 0)
        point.told = [one for one in point.told if (one.at, one.kind) != (at, kind)]
        if point.times and at < point.times[-1]:
            point.late(told)
            point.unrecorded = point.unrecorded and told.goes_on
            self._late_fact(point, at, level)
            return
        if point.aside_last and at < point.aside_last[0]:
            self._late_fact(point, at, level)
        point.told = sorted([*point.told, told], key=lambda one: one.at)
        if kind == "removed":
            rows, verdicts = point.before(at + 1, None, False, site.limits)
            for (time, doubted), code in verdicts.items():
                self._verdict(point.meta, time, doubted, code)
            for row in rows:
                self.emit("ledger", point.meta.site, point=point.meta.number, **row)

    def _late_fact(self, point: History, at: int, value: int) -> None:
        self._verdict(point.meta, at, value, "late_fact")
        low, high = point.dirty or (1 << 62, -(1 << 62))
        point.dirty = (min(low, at), max(high, point.times[-1]))

    def _why_not(self, site: "Site", fact: dict[str, Any], raw: bytes) -> str:
        """Why a fact is refused, or nothing."""
        assert self.clock is not None
        if not fact["key_id"] or not fact["signature"]:
            return "unsigned"
        try:
            verify("meter_fact", raw, site.document.keys)
        except SignatureError:
            return "bad_signature"
        ahead = site.limits["future_ms" if fact["kind"] == "removed" else "fact_ahead_ms"]
        if fact["at_ms"] < YEAR_2000_MS or fact["at_ms"] > self.clock + ahead:
            return "too_old" if fact["at_ms"] < YEAR_2000_MS else "future"
        if fact["meter"] not in site.document.table("meters").get("id", []):
            return "unknown_meter"
        named = [register["point"] for register in fact["registers"]]
        if any(number not in site.points for number in named):
            return "unknown_point"
        whole = fact["kind"] in ("installed", "swapped", "multiplier", "removed")
        if whole and named and set(_meter(site, fact["meter"])) - set(named):
            return "bad_fact"
        return "" if named or fact["replaces"] else "bad_fact"

    def _event(self, event: dict[str, Any], raw: bytes, make: Callable[..., Any]) -> None:
        site = self.sites.get(event["site"])
        if site is None:
            self._reject(self._no_site((self._message[2]).decode("utf-8", "replace")), raw)
            return
        made = make(event, site.document)
        if isinstance(made, str):
            self._reject(made, raw)
            return
        refused = {
            self._reading(site, number, event["time_ms"], value, 0, "live", span) for number, value, span in made
        }
        for reason in refused - {""}:
            self._reject(reason, raw)

    # -- time ---------------------------------------------------------------------------------------------------------

    def _instances(self) -> list[Instance]:
        return [instance for name in sorted(self.sites) for instance in self.sites[name].instances]

    def _move(self, time: int) -> None:
        """The task's clock goes on, and with it whatever was due."""
        if self.clock is None or time > self.clock:
            outage_ms = self.sites[min(self.sites)].limits["outage_ms"]
            if self.clock is None or time - self.clock > outage_ms:
                self.resumed = time
            self.clock = time
        instances = self._instances()
        while True:
            ready = [
                (one.due, place) for place, one in enumerate(instances) if one.due is not None and one.due <= self.clock
            ]
            if not ready:
                return
            due, place = min(ready)
            instance = instances[place]
            instance.due = None
            by: int | None = self.clock if self.resumed == self.clock else max(due, self.resumed)
            assert by is not None
            at = by if due == -(1 << 62) else due
            if instance.by_data:
                by = instance.own_clock(self.clock)
                at = by or 0
            instance.look(at, by, self.resumed)

    # -- readings -----------------------------------------------------------------------------------------------------

    def _batch(self, raw: bytes) -> None:
        status, batch = batches.decode(raw)
        if status != batches.OK:
            self._reject(STATUSES[status], raw)
            return
        try:
            name, gateway = batch["site"].decode(), batch["gateway"].decode()
        except UnicodeDecodeError:
            name = gateway = "\ufffd"
        site = self.sites.get(name)
        if site is None or gateway not in site.gateways:
            self._reject(self._no_site(batch["site"].decode("utf-8", "replace")), raw)
            return
        mode = ("live", "backfill")[batch["mode"]]
        refused: dict[str, list[tuple[int, int, int, int]]] = {}
        for number, time, value, quality in batch["readings"]:
            point = site.points.get(number)
            reason = "unknown_point" if point is None else "wrong_gateway" if point.meta.gateway != gateway else ""
            reason = reason or self._reading(site, number, time, value, quality, mode, 0)
            if reason and (point is None or point.meta.gateway != gateway):
                self.counts["readings"] += 1
                self.counts["refused"] += 1
            if reason:
                refused.setdefault(reason, []).append((number, time, value, quality))
        for reason, members in refused.items():
            self._reject(reason, _again(name, gateway, mode, members), name, len(members))

    def _reading(self, site: Site, number: int, time: int, value: int, quality: int, mode: str, span_ms: int) -> str:
        """Applies a reading; why it is refused, or nothing."""
        point = site.points[number]
        meta = point.meta
        self.counts["readings"] += 1
        clock = -(1 << 62) if self.clock is None else self.clock
        reason = "too_old" if time < YEAR_2000_MS else "future" if time > clock + site.limits["future_ms"] else ""
        if reason:
            self.counts["refused"] += 1
            return reason
        if point.behind(time):
            self._late(point, time, value)
            return ""
        if not meta.low <= value <= meta.high:
            self.counts["out_of_range"] += 1
            self._verdict(meta, time, value, "out_of_range")
            return ""
        before = point.times[-1] if point.times else None
        first = {stream: len(self.rows[stream]) for stream in ("ledger", "gauges")}
        unrecorded = point.unrecorded
        accepted = self._apply(site, point, time, value, quality, span_ms)
        if mode != "live":
            point.unrecorded = point.unrecorded and unrecorded
        self.counts["applied" if accepted else "set_aside"] += 1
        rows = [(stream, row) for stream, start in first.items() for row in self.rows[stream][start:]]
        moved = site.feed(number, before, time, rows, mode == "live")
        if mode == "live":
            self._moved = moved
            self._fact(site, point, time, value, quality, accepted)
        return ""

    def _late(self, point: History, time: int, value: int) -> None:
        if point.repeats(time, value):
            self.counts["repeats"] += 1
            return
        self.counts["late"] += 1
        low, high = point.dirty or (1 << 62, -(1 << 62))
        if not low <= time <= high:
            self._verdict(point.meta, time, value, "late")
        point.dirty = (min(low, time), max(high, point.times[-1]))

    def _verdict(self, meta: Meta, time: int, value: int, code: str) -> None:
        self.emit("verdicts", meta.site, point=meta.number, time_ms=time, value=value, code=code)

    def _apply(self, site: Site, point: History, time: int, value: int, quality: int, span_ms: int) -> bool:
        meta = point.meta
        if meta.kind == "register":
            accepted, rows, verdicts = point.register(time, value, quality > 0, site.limits)
            point.unrecorded = point.unrecorded or "reset" in verdicts.values()
            for (at, doubted), code in verdicts.items():
                self._verdict(meta, at, doubted, code)
            for row in rows:
                self.emit("ledger", meta.site, point=meta.number, **row)
            return accepted
        if meta.kind == "delta":
            self.emit("ledger", meta.site, point=meta.number, **point.delta(time, value, span_ms, quality > 0))
            return True
        for row in point.gauge(time, value):
            self.emit("gauges", meta.site, point=meta.number, **row)
        return True

    def _fact(self, site: Site, point: History, time: int, value: int, quality: int, accepted: bool) -> None:
        before: Fact = point.fact
        assert self.clock is not None
        aged = before.time is None or max(time, self.clock) - before.time > point.meta.max_age_ms
        changed = aged or (accepted and (before.value, before.good) != (value, quality == 0)) or self._moved
        if not accepted:
            point.fact = Fact(time, before.value, before.good, before.since)
        else:
            expired = before.time is None or time - before.time > point.meta.max_age_ms
            since = time if expired or value != before.value else before.since
            point.fact = Fact(time, value, quality == 0, since)
        for instance in site.readers.get(point.meta.number, []):
            # Whether an alert that inhibits it has ended shows when it looks again, which an idle one does for a value
            # or for what looks back; one that looks at siblings does so at every reading.
            woken = changed or self._moved or any(sort != 0 for sort, *_ in instance.rule.looks)
            if instance.rule.inhibitors and instance.phase == IDLE and not woken and before.time is not None:
                continue
            instance.look(time, instance.own_clock(self.clock), self.resumed)


def _meter(site: "Site", meter: str) -> list[int]:
    """Numbers of the points that a meter feeds."""
    installed = site.document.table("meter_install")
    by_id = {point.meta.id: number for number, point in site.points.items() if point.meta.kind == "register"}
    pairs = zip(installed.get("meter", []), installed.get("point", []), strict=True)
    return [by_id[str(point)] for name, point in pairs if name == meter and point in by_id]


def _again(site: str, gateway: str, mode: str, members: list[tuple[int, int, int, int]]) -> bytes:
    """The batch of refused readings that can be sent again."""
    base = members[0][1]
    times = [member[1] for member in members]
    most = 1 << 53
    if abs(base) > most or min(times) < base - most or max(times) > base + most:
        base = max(-most, min((min(times) + max(times)) // 2, most))
    readings = [
        {"point": number, "offset_ms": time - base, "value": value, "quality": QUALITIES[quality]}
        for number, time, value, quality in members
    ]
    return codec.write(
        "meter_batch", {"site": site, "gateway": gateway, "mode": mode, "base_ms": base, "readings": readings}
    )
