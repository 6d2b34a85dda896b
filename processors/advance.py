"""`advance`: the one step that live, recovery, verification and what-if share.

A `Processor` is the state of one task (a partition of an input topic). `advance(slab, first, stop)` applies messages
in the order of the log; what it emits depends on the log, the documents that the log names and the engine number, and
on nothing else: not on how the log is cut into slabs, not on the clock of the machine.
"""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from processors import facts, vehicles, waste
from processors.events import Feed, Pseudo
from processors.kernels.meters import adopt_late, tell_up_to
from processors.kernels.rows import Longs
from processors.kernels.step import GENERATED, INSTANCE_ROWS, PART_ROWS, READING_ROWS, move_clock, resolve, step
from processors.layout import DELTA, GAUGE, OUTAGE_MS, Layout
from processors.layout_build import build
from processors.outputs import Outbox, Output, Rejected
from processors.state import (
    ALERTS,
    CLOCK,
    COLUMNS,
    CONTEXT,
    CURSOR,
    ENGINE,
    FAR,
    FIRING,
    HEAD_COLUMNS,
    KNOWN_AT,
    NEVER,
    NO_ESTIMATE,
    OFFSET,
    OUT_COLUMNS,
    PARTS,
    REJECTED,
    REMOVED,
    STATE_STALE,
    VERDICT_LATE_FACT,
    VERDICTS,
    StateArrays,
    empty_state,
)
from processors.transfer import lost_parts, transfer
from schemas import codec, control, topics
from schemas.canonical import STREAMS
from schemas.control import verify
from schemas.decode import TIME_MAX, Columns, M, Status, batch_header, decode_batches
from schemas.errors import ContractError, DecodeError, EngineMismatch, ModelError, SignatureError
from schemas.model.document import Document
from schemas.reasons import TEXTS, Reason
from schemas.record_batches import Slab

Documents = Callable[[bytes], Document]
"""Finds a document by its sha256; may wait for it, and raises when it cannot be had."""

Builder = Callable[[str, dict[str, Document], dict[str, int]], Layout]
"""`layout_build.build`, or what gives the same sooner."""

_BUFFER_ROWS = 16_384
_CHUNK_READINGS = 65_536


def buffer(layout: Layout) -> Longs:
    """Room for the rows of many readings: several times what the widest single one can emit."""
    widest = READING_ROWS + INSTANCE_ROWS * layout.fanout + PART_ROWS * layout.wasted
    return np.zeros((max(_BUFFER_ROWS, 2 * widest), OUT_COLUMNS), np.int64)


def _base(wanted: int, times_ms: list[int]) -> int:
    """Base time of a batch that is sent again: the wanted one, unless the decoder's bounds forbid it."""
    low, high = min(times_ms), max(times_ms)
    if abs(wanted) <= TIME_MAX and wanted - TIME_MAX <= low and high <= wanted + TIME_MAX:
        return wanted
    return max(-TIME_MAX, min((low + high) // 2, TIME_MAX))


class Processor:
    """The state of one task.

    Attributes:
        topic: input topic, without prefix.
        partition: input partition.
        position: offset of the next message.
        outbox: rows that nobody has taken yet, and the chains of those that were.
        heads: (version, sha256) of every site's document.
        facts_taken: meter facts that this processor has taken in, in the order of the log; no part of its state.
        settlements: number of the last settlement of every site that has had one.
    """

    def __init__(self, topic: str, partition: int, documents: Documents, builder: Builder = build) -> None:
        assert topic in topics.INPUTS, topic
        self.topic = topic
        self.partition = partition
        self.position = 0
        self.outbox = Outbox(topic, partition)
        self.heads: dict[str, tuple[int, bytes]] = {}
        self.facts_taken: list[bytes] = []
        self.settlements: dict[str, int] = {}
        self._documents = documents
        self._build = builder
        self.layout = build(topic, {}, {})
        self.state = empty_state(0, 0, 0)
        self._out = buffer(self.layout)
        self._columns = Columns.empty(readings=_CHUNK_READINGS)
        self._rows = np.zeros(_CHUNK_READINGS, np.int32)
        self._gateways = np.zeros(len(self._columns.messages), np.int32)
        self._magic = batch_header()
        self._context = np.zeros(CONTEXT, np.int64)
        self._no_spans = np.zeros(0, np.int64)
        self._refused: list[list[int]] = []

    @property
    def clock_ms(self) -> int:
        """The task's clock, or NEVER."""
        return int(self.state.scalars[CLOCK])

    @property
    def simulated(self) -> bool:
        """Whether ticks bring the time (a simulated domain) or the log does."""
        return self.layout.simulated

    @property
    def live(self) -> bool:
        """Whether the log's time moves the clock; nobody knows before the first document, and time stands still."""
        return bool(self.layout.documents) and not self.layout.simulated

    def advance(self, slab: Slab, first: int = 0, stop: int | None = None) -> None:
        """Applies messages first to stop of a slab; rows go to the outbox.

        Args:
            slab: messages of this task's partition, in order; must begin at `position` (or hold it).
            first: index of the first message to apply.
            stop: index after the last one; None: all.

        Raises:
            EngineMismatch: the log wants another engine from here on.
        """
        last = len(slab) if stop is None else stop
        at = first
        while at < last:
            done = self._batches(slab, at, last) if self.topic == topics.METER_READINGS else at
            if done == at:
                self._cold(slab, at)
                done = at + 1
            at = done
            self.position = int(slab.offsets[at - 1]) + 1
        if last == len(slab):
            self.position = slab.end

    def adopt(self, documents: Mapping[str, Document], at_ms: int = 0) -> None:
        """Puts documents into force for all sites at once, without records of a log: how a what-if begins and ends.

        Alerts and episodes of rules that are gone end as they do under a new document; without any rule, all of them
        end, with what they have wasted up to now.

        Args:
            documents: by site id; sites that are not there are gone.
            at_ms: `known_at` of the rows.

        Raises:
            ContractError: a document is not what `apply` writes.
            ModelError: rules that `check` would have refused.
        """
        layout = build(self.topic, dict(documents), dict.fromkeys(documents, 1))
        self._replace(Slab.of_columns(self.topic, self.partition, [self.position], [at_ms], [None], [None]), 0, layout)

    def feed(self, readings: Feed, first: int = 0, stop: int | None = None) -> None:
        """Applies readings in their order, the clock of each being its own time: history by the time of its events.

        Readings of one time come together, as if one message had brought them. What a log would say of them (gateway,
        time of arrival) plays no part, so nothing is rejected.

        Args:
            readings: sorted by time.
            first: the first one to apply.
            stop: after the last one; None: all. Neither may part readings of one time.
        """
        times = readings.times_ms[first : len(readings.times_ms) if stop is None else stop]
        starts = first + np.flatnonzero(np.r_[True, times[1:] != times[:-1]]) if len(times) else np.zeros(0, np.int64)
        ends = np.r_[starts[1:], first + len(times)]
        c = self._columns
        at = 0
        while at < len(starts):
            room = np.searchsorted(ends, starts[at] + len(c.times), side="right")
            until = min(int(room), at + len(c.messages))
            assert until > at, "more readings of one time than the buffer has room for"
            low, high, count = int(starts[at]), int(ends[until - 1]), until - at
            messages = c.messages[:count]
            messages[:] = 0
            messages[:, M.RECORD] = np.arange(count)
            messages[:, M.STATUS] = Status.OK
            messages[:, M.FIRST] = starts[at:until] - low
            messages[:, M.COUNT] = ends[at:until] - starts[at:until]
            self._gateways[:count] = GENERATED
            part = slice(low, high)
            self._rows[: high - low] = readings.rows[part]
            c.points[: high - low] = readings.numbers[part]
            c.times[: high - low] = readings.times_ms[part]
            c.values[: high - low] = readings.values[part]
            c.qualities[: high - low] = readings.qualities[part]
            nothing: list[bytes | None] = [None] * count
            offsets = np.arange(self.position, self.position + count)
            slab = Slab.of_columns(
                self.topic, self.partition, offsets, readings.times_ms[starts[at:until]], nothing, nothing
            )
            self._step(slab, count, readings.spans_ms[part])
            self._forget_applied()
            self.position += count
            at = until

    def expect(self, messages: Iterable[bytes]) -> None:
        """Lets meter facts wait from the start on, for a history by the time of its events (see `facts`).

        Args:
            messages: what `facts_taken` of the task that read the log has gathered.
        """
        rows = facts.waiting(facts.standing(messages), self.layout)
        self.state = facts.preload(self.state, rows)

    def wait(self, clock_ms: int) -> None:
        """Time passes up to `clock_ms`, and nothing is read: what is due by then happens."""
        slab = Slab.of_columns(self.topic, self.partition, [self.position], [clock_ms], [None], [None])
        self._time(slab, 0, clock_ms)

    def restore(self, layout: Layout, state: StateArrays) -> None:
        """Puts a validated state in the place of the empty one (see `snapshot.load`)."""
        self.layout, self.state = layout, state
        self._out = buffer(layout)

    def take(self, publish: bool = True) -> list[Output]:
        """The rows of the outbox as messages (see `Outbox.take`)."""
        return self.outbox.take(publish)

    def stream_heads(self) -> list[dict[str, object]]:
        """How far every output stream has come, for the position record."""
        return [
            {"stream": name, "sequence": self.outbox.chains[name].count, "head": self.outbox.chains[name].head()}
            for name in STREAMS
        ]

    # -- meter batches ------------------------------------------------------------------------------------------------

    def _batches(self, slab: Slab, first: int, last: int) -> int:
        """Applies the meter batches from `first` on; the index of the first record that is none."""
        c = self._columns
        done, count, _ = decode_batches(
            slab.data, slab.spans, first, last, self._magic, c.messages, c.points, c.times, c.values, c.qualities
        )
        if count:
            resolve(slab.data, c.messages, count, c.points, self.layout.arrays, self._gateways, self._rows)
            self._step(slab, count, self._no_spans)
            self._forget_applied()
        return int(done)

    def _forget_applied(self) -> None:
        """Drops the facts that were applied: where a call ended must not show in the state."""
        if len(self.state.facts) and self.state.facts["done"].any():
            self.state = facts.without_applied(self.state)

    def _step(self, slab: Slab, count: int, spans: Longs) -> None:
        c = self._columns
        message = reading = 0
        while message < count:
            message, reading, rows = step(
                c.messages,
                self._gateways,
                count,
                message,
                reading,
                self._rows,
                c.points,
                c.times,
                c.values,
                c.qualities,
                spans,
                slab.offsets,
                slab.timestamps_ms,
                self.live,
                self.layout.fanout,
                self.layout.wasted,
                self.layout.arrays,
                self.state,
                self._context,
                self._out,
            )
            self._drain(rows)
        refused, self._refused = self._refused, []
        self._rejects(slab, refused)

    def _drain(self, count: int) -> None:
        """Empties the buffer. Rejects wait for the end of their message: where the buffer was full must not show."""
        rows = self._out[:count]
        rejects = rows[rows[:, 0] == REJECTED]
        if len(rejects):
            self._refused += rejects[:, HEAD_COLUMNS : HEAD_COLUMNS + len(COLUMNS[REJECTED])].tolist()
        self.outbox.drain(self.layout, rows)

    # -- rejected input -----------------------------------------------------------------------------------------------

    def _rejects(self, slab: Slab, rows: list[list[int]]) -> None:
        """Turns reject rows into messages that can be sent again.

        That is the whole message, or a batch of the readings that share a reason.
        """
        groups: dict[tuple[int, int], list[list[int]]] = {}
        for row in rows:
            groups.setdefault((row[0], row[1]), []).append(row)
        for (message, reason), members in groups.items():
            m = self._columns.messages[message]
            record = int(m[M.RECORD])
            if (
                self._gateways[message] == GENERATED
            ):  # an event: its readings share one time, so all of them are refused or none
                self._reject(slab, record, Reason(reason), "", 0, slab.value(record) or b"")
                continue
            if members[0][2] < 0:
                self._reject(slab, record, self._refine(slab, m, reason), "", 0, slab.value(record) or b"")
                continue
            name = slab.data[m[M.SITE_AT] : m[M.SITE_AT] + m[M.SITE_BYTES]].tobytes().decode()
            gateway = slab.data[m[M.GATEWAY_AT] : m[M.GATEWAY_AT] + m[M.GATEWAY_BYTES]].tobytes().decode()
            base = _base(members[0][4], [row[4] for row in members])
            raw = codec.write(
                "meter_batch",
                {
                    "site": name,
                    "gateway": gateway,
                    "mode": "backfill" if m[M.MODE] else "live",
                    "base_ms": base,
                    "readings": [
                        {
                            "point": r[3],
                            "offset_ms": r[4] - base,
                            "value": r[5],
                            "quality": ("good", "estimated", "suspect")[r[6]],
                        }
                        for r in members
                    ],
                },
            )
            numbers = ", ".join(str(r[3]) for r in members[:10]) + (" …" if len(members) > 10 else "")
            self._reject(slab, record, Reason(reason), f"points {numbers}", len(members), raw, name)

    def _refine(self, slab: Slab, message: Longs, reason: int) -> Reason:
        """Tells an unknown site from an unknown gateway, and a site that lives in another partition."""
        if reason != Reason.UNKNOWN_GATEWAY:
            return Reason(reason)
        raw = slab.data[message[M.SITE_AT] : message[M.SITE_AT] + message[M.SITE_BYTES]].tobytes()
        return self._no_site(raw.decode("utf-8", "replace"))

    def _no_site(self, name: str) -> Reason:
        if name in self.layout.documents:
            return Reason.UNKNOWN_GATEWAY
        elsewhere = any(
            document.partitions.get(name, self.partition) != self.partition
            for document in self.layout.documents.values()
        )
        return Reason.WRONG_PARTITION if elsewhere else Reason.UNKNOWN_SITE

    def _reject(
        self, slab: Slab, record: int, reason: Reason, detail: str, readings: int, raw: bytes, site: str | None = None
    ) -> None:
        key = slab.key(record) or b""
        text = TEXTS[reason][1] + (f": {detail}" if detail else "")
        name = key.decode("utf-8", "replace") if site is None else site
        self.outbox.reject(
            Rejected(
                int(slab.offsets[record]),
                int(slab.timestamps_ms[record]),
                name,
                reason.name.lower(),
                text,
                readings,
                key,
                raw,
            )
        )

    # -- control records and events -----------------------------------------------------------------------------------

    def _cold(self, slab: Slab, record: int) -> None:
        """One message that is not a meter batch."""
        value = slab.value(record)
        if value is None:
            self._time(slab, record, int(slab.timestamps_ms[record]))
            self._reject(
                slab, record, Reason.NULL_VALUE if slab.spans[record, 3] == -1 else Reason.TOO_LARGE, "", 0, b""
            )
            return
        contract = codec.contract_of(value)
        if contract == "engine_record":
            self._leave(slab, record, value)
        try:
            if contract == "tick":
                clock = codec.read("tick", value)["clock_ms"]
                assert isinstance(clock, int)
                if not 0 <= clock <= TIME_MAX:
                    raise DecodeError(f"a tick of {clock} ms, a time that no clock has")
                self._time(slab, record, clock if self.simulated else int(slab.timestamps_ms[record]), tick=True)
                return
            if self.live:
                self._time(slab, record, int(slab.timestamps_ms[record]))
            if contract == "config_record":
                self._config(slab, record, codec.read("config_record", value))
                if self.live:  # the first document of a partition says whose time is the clock
                    self._time(slab, record, int(slab.timestamps_ms[record]))
            elif contract == "engine_record":
                self._mark(slab, record, value)
            elif contract == "waste_event" and self.topic == topics.WASTE_EVENTS:
                self._event(slab, record, waste.readings(codec.read("waste_event", value), self.layout))
            elif contract == "vehicle_event" and self.topic == topics.VEHICLE_EVENTS:
                self._event(slab, record, vehicles.readings(codec.read("vehicle_event", value), self.layout))
            else:
                self._signed(slab, record, contract, value)
        except DecodeError as error:
            self._reject(slab, record, Reason.MALFORMED, str(error), 0, value)
        except SignatureError as error:
            self._reject(slab, record, Reason.BAD_SIGNATURE, str(error), 0, value)

    def _signed(self, slab: Slab, record: int, contract: str | None, value: bytes) -> None:
        """A message that may be a settlement or a fact."""
        if contract == "settle_record":
            self._settle(slab, record, value)
        elif contract == "meter_fact" and self.topic == topics.METER_READINGS:
            self._fact(slab, record, value)
        else:
            self._reject(slab, record, Reason.UNKNOWN_CONTRACT, contract or "", 0, value)

    def _leave(self, slab: Slab, record: int, value: bytes) -> None:
        """Stops before a record that wants another engine, with nothing of it done: not even its time has passed."""
        try:
            wanted = int(str(codec.read("engine_record", value)["engine"]))
            if wanted == ENGINE or self._unsigned(value) is not None:
                return
        except DecodeError:
            return
        raise EngineMismatch(wanted, ENGINE, f"{self.topic}/{self.partition} from offset {slab.offsets[record]} on")

    def _mark(self, slab: Slab, record: int, value: bytes) -> None:
        """An engine record that this engine has passed: nothing happens, unless nobody who may has signed it."""
        reason = self._unsigned(value)
        if reason is not None:
            self._reject(slab, record, reason, "", 0, value)

    def _unsigned(self, value: bytes) -> Reason | None:
        """Why an engine record does not count; where there is no site yet, anybody's does.

        Raises:
            DecodeError: the bytes do not keep the contract.
        """
        fields = codec.read("engine_record", value)
        if not self.layout.documents:
            return None
        if not fields["key_id"] or not fields["signature"]:
            return Reason.UNSIGNED
        keys = {name: key for document in self.layout.documents.values() for name, key in document.keys.items()}
        try:
            verify("engine_record", value, keys)
        except SignatureError:
            return Reason.BAD_SIGNATURE
        return None

    def _time(self, slab: Slab, record: int, clock: int, tick: bool = False) -> None:
        """Moves the task's clock; in a simulated domain only a tick does."""
        if not self.live and not (self.simulated and tick):
            return
        arrays, state = self.layout.arrays, self.state
        context = self._context
        context[OFFSET], context[KNOWN_AT] = slab.offsets[record], slab.timestamps_ms[record]
        outage = int(arrays.limits[0, OUTAGE_MS]) if len(arrays.limits) else 60_000
        done = False
        while not done:
            context[CURSOR] = 0
            done = move_clock(
                clock,
                outage,
                context,
                arrays.rules,
                arrays.lists,
                arrays.meta,
                state.points,
                state.instances,
                state.parts,
                state.queue,
                state.scalars,
                self._out,
                state.windows,
            )
            self._drain(int(context[CURSOR]))

    def _config(self, slab: Slab, record: int, fields: dict[str, codec.Value]) -> None:
        """Puts another document into force for a site; a record that does not follow its predecessor is rejected."""
        site, version, previous, sha256 = str(fields["site"]), fields["version"], fields["previous"], fields["document"]
        assert isinstance(version, int)
        assert isinstance(sha256, bytes)
        raw = slab.value(record) or b""
        known_version, known_sha = self.heads.get(site, (0, b""))
        if version != known_version + 1 or previous != known_sha:
            self._reject(slab, record, Reason.BROKEN_CHAIN, f"version {version} after {known_version}", 0, raw, site)
            return
        try:
            document = self._documents(sha256)
            if document.site != site or document.partition != self.partition:
                raise ContractError(f"document of {document.site}, partition {document.partition}")
            documents = {**self.layout.documents, site: document}
            if len({other.domain for other in documents.values()}) > 1:
                raise ContractError(f"domain {document.domain} does not fit the partition's others")
            layout = self._build(self.topic, documents, {**self.layout.versions, site: version})
        except (ContractError, ModelError) as error:
            self._reject(slab, record, Reason.BAD_DOCUMENT, str(error), 0, raw, site)
            return
        self.heads[site] = (version, sha256)
        self._replace(slab, record, layout)

    def _settle(self, slab: Slab, record: int, raw: bytes) -> None:
        """Takes note of a settlement: marks of the site that it covers are lifted, no row is made.

        What is still open stays marked from where it begins: the row that closes it is not there to be settled yet.
        """
        site = str(codec.read("settle_record", raw)["site"])
        document = self.layout.documents.get(site)
        if document is None:
            self._reject(slab, record, self._no_site(site), "", 0, raw, site)
            return
        fields = control.verify("settle_record", raw, document.keys)
        sequence, start, end = (int(str(fields[name])) for name in ("sequence", "from_ms", "to_ms"))
        known = self.settlements.get(site, 0)
        if sequence != known + 1:
            self._reject(slab, record, Reason.BROKEN_CHAIN, f"settlement {sequence} after {known}", 0, raw, site)
            return
        if not -TIME_MAX <= start < end <= TIME_MAX:
            self._reject(slab, record, Reason.OUT_OF_RANGE, f"a settlement from {start} to {end}", 0, raw, site)
            return
        self.settlements[site] = sequence
        meta, points = self.layout.arrays.meta, self.state.points
        rows = np.flatnonzero(meta["site"] == self.layout.sites.index(site))
        dirty_from, dirty_to = points["dirty_from"][rows], points["dirty_to"][rows]
        covered = rows[(dirty_from >= start) & (dirty_to <= end)]
        is_open = np.where(meta["kind"] == GAUGE, points["row_to"] - meta["grid_ms"], points["row_from"])[covered]
        done = (points["dirty_to"][covered] <= is_open) | (meta["kind"][covered] == DELTA)
        points["dirty_from"][covered] = np.where(done, FAR, np.maximum(points["dirty_from"][covered], is_open))
        points["dirty_to"][covered[done]] = NEVER

    def _replace(self, slab: Slab, record: int, layout: Layout) -> None:
        """Moves the state to another layout; alerts whose rule or subject is gone end as stale."""
        old, state = self.layout, self.state
        gone = ~np.isin(old.instance_key, layout.instance_key)
        for instance in np.flatnonzero(gone & (state.instances["phase"] == FIRING)):
            row = state.instances[instance]
            clock = int(state.scalars[CLOCK])
            ended = (
                ALERTS,
                old.arrays.rules["site"][instance],
                slab.offsets[record],
                slab.timestamps_ms[record],
                instance,
            )
            valid_at = max(clock, int(row["started"]))
            change = (row["episode"], STATE_STALE, valid_at, row["started"], row["level"], NO_ESTIMATE)
            self._out[0, :11] = (*ended, *change)
            self.outbox.drain(old, self._out[:1])
        for part in lost_parts(old, state, layout):
            self._end_part(slab, record, int(part))
        self.state = transfer(old, state, layout)
        self.layout = layout
        self._out = buffer(layout)

    def _end_part(self, slab: Slab, record: int, part: int) -> None:
        """The last part of an episode at a point, up to its end or, while it is open, to the point's clock."""
        arrays, x = self.layout.arrays, self.state.parts[part]
        instance, point = int(arrays.part_instance[part]), int(arrays.part_row[part])
        meta, start, end = arrays.meta[point], int(x["start"]), int(x["end"])
        if end == NEVER:
            end = int(self.state.points["clock"][point])
        quantity = int(x["amount"])
        if meta["kind"] >= GAUGE:
            quantity = quantity // int(meta["divisor"]) if meta["divisor"] > 0 else 0
        head = (PARTS, meta["site"], slab.offsets[record], slab.timestamps_ms[record])
        self._out[0, :11] = (*head, instance, x["episode"], meta["number"], start, max(start, end), quantity, 1)
        self.outbox.drain(self.layout, self._out[:1])

    def _fact(self, slab: Slab, record: int, value: bytes) -> None:
        """Takes in what happened to a meter: it waits for its points' clocks, or marks what it comes too late for."""
        site = str(codec.read("meter_fact", value)["site"])
        if site not in self.layout.documents:
            self._reject(slab, record, self._no_site(site), "", 0, value, site)
            return
        try:
            fact = facts.read(value, self.layout, self.clock_ms)
            if facts.repeats(self.state, fact):
                return
        except facts.Refused as refused:
            self._reject(slab, record, refused.reason, refused.detail, 0, value, site)
            return
        self.facts_taken.append(value)
        adopted = facts.adopted(self.state, fact)
        self.state, late = facts.take_in(self.state, fact)
        meta = self.layout.arrays.meta
        for place, (row, time, level) in enumerate(late):
            head = (VERDICTS, meta["site"][row], slab.offsets[record], slab.timestamps_ms[record])
            self._out[place, :8] = (*head, meta["number"][row], time, level, VERDICT_LATE_FACT)
        self.outbox.drain(self.layout, self._out[: len(late)])
        self._context[OFFSET], self._context[KNOWN_AT] = slab.offsets[record], slab.timestamps_ms[record]
        self._tell(adopted, [int(said["row"]) for said in fact.rows if said["kind"] == REMOVED], fact.at)
        self._forget_applied()

    def _tell(self, adopted: NDArray[np.void], removed: list[int], at: int) -> None:
        """Applies what waits for no reading: what holds from the clock on, and meters that are gone."""
        arrays, state = self.layout.arrays, self.state
        adopt_late(state.points, adopted)
        for row in removed:
            while tell_up_to(
                row,
                at,
                arrays.limits,
                state.facts,
                self._context,
                state.scalars,
                arrays.meta,
                state.points,
                arrays.lists,
                state.instances,
                state.parts,
                self._out,
            ):
                self._drain(int(self._context[CURSOR]))

    def _event(self, slab: Slab, record: int, made: list[Pseudo] | Reason) -> None:
        """Applies an event as the readings that it stands for."""
        if isinstance(made, Reason):
            raw = slab.value(record) or b""
            name = (slab.key(record) or b"").decode("utf-8", "replace")
            self._reject(slab, record, self._no_site(name) if made == Reason.UNKNOWN_SITE else made, "", 0, raw)
            return
        c = self._columns
        count = len(made)
        c.messages[0] = 0
        c.messages[0, M.RECORD] = record
        c.messages[0, M.STATUS] = Status.OK
        c.messages[0, M.COUNT] = count
        self._gateways[0] = GENERATED
        for k, pseudo in enumerate(made):
            self._rows[k] = pseudo.row
            c.points[k] = pseudo.number
            c.times[k] = pseudo.time_ms
            c.values[k] = pseudo.value
            c.qualities[k] = 0
        self._step(slab, 1, np.array([pseudo.span_ms for pseudo in made] or [0], np.int64))
