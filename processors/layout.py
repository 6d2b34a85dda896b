"""From the documents of a task's sites to indices: the row of a point, the rules it wakes, what an episode wastes.

A layout is a pure function of the documents, never stored, and rebuilt when a document changes. Rows are ordered by
site, gateway and number, so that a gateway's points lie side by side in the state: that is what keeps the cost of a
reading flat up to millions of points.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from processors.gates import GATE_SHIFT, OTHER_SHIFT, Bound, edge_gates
from processors.lookback import Lookback, inside_before, longest_inside, lookback
from processors.shortcuts import with_shortcuts
from schemas import topics
from schemas.errors import ContractError
from schemas.model.document import LIMITS, Document
from schemas.model.points import PointColumns
from schemas.model.presence import CO2, Estimator, parameters
from schemas.rules.memory import Memory, SiteMemory
from schemas.rules.program import FLAG_ROLES, ROLES_MAX, WIN_COLUMNS, WINDOW, CompiledRules, Op, cell_ms

META: Final = np.dtype(
    [
        ("number", "i4"),
        ("site", "i4"),
        ("gateway", "i4"),
        ("kind", "i1"),
        ("data_clock", "i1"),
        ("always", "i2"),  # 1: one of its edges is LOOKS_ALWAYS
        ("interval_ms", "i8"),
        ("grid_ms", "i8"),
        ("max_age_ms", "i8"),
        ("hold_ms", "i8"),  # for so long a gauge's value counts after its reading
        ("rate_max", "i8"),
        ("step_sure", "i8"),  # a step that is plausible whatever the time since the last reading
        ("span", "i8"),
        ("low", "i8"),
        ("high", "i8"),
        ("divisor", "i8"),
        (
            "edges",
            "i4",
        ),  # in `lists`: (instance, LOOKS_AT_VALUE or LOOKS_ALWAYS), with their gates, of all that a reading may wake
        ("edges_end", "i4"),
        ("wastes", "i4"),  # in `lists`: (part, instance) of every part that counts its usage
        ("wastes_end", "i4"),
        ("sense", "i4"),  # space of whose presence it is evidence (SENSE_META); -1: of none
        ("spare_", "i4"),
        ("tracks", "i4"),  # in `lists`: (track, 0) of everything that is kept of it
        ("tracks_end", "i4"),
        ("windows", "i4"),  # in `lists`: (window, 0) of every window that one of its tracks is in
        ("windows_end", "i4"),
    ]
)
"""What the kernels know of a point."""

SENSE_META: Final = np.dtype(
    [
        ("site", "i4"),
        ("evidence", "i4"),  # in `lists`: (kind of evidence, point row)
        ("evidence_end", "i4"),
        ("state", "i4"),  # row of the space's point `presence`
        ("likely", "i4"),  # and of its `presence_probability`
        ("co2", "i4"),  # row of the CO2 that counts: the first one; -1: none
        ("schedule", "i4"),  # in `lists`: the working schedule; -1: none is known
        ("params", "i4"),  # row of `sense_params`
    ]
)
"""What the kernels know of a space whose presence is estimated (`schemas.model.presence`)."""

RULE: Final = np.dtype(
    [
        ("site", "i4"),
        ("flags", "i4"),
        ("raises", "i4"),  # in `lists`: its programs
        ("raises_end", "i4"),
        ("clears", "i4"),
        ("clears_end", "i4"),
        ("roles", "i4"),  # in `lists`: (slot, whether a program loads it) of each role; slot -1: no such role
        ("roles_end", "i4"),
        ("ages", "i4"),  # in `lists`: (role, threshold in ms)
        ("ages_end", "i4"),
        ("schedules", "i4"),  # in `lists`: (schedule, 0)
        ("schedules_end", "i4"),
        ("parts", "i4"),  # in `lists`: (part, point row)
        ("parts_end", "i4"),
        ("looks", "i4"),  # in `lists`: (window, slot) or (group, own slot), then (own rated power, 0), for each
        ("steps", "i4"),  # in `lists`: (ms after the start, 0) of every step of the severity
        ("steps_end", "i4"),
        ("inhibitors", "i4"),  # in `lists`: (instance, 0)
        ("inhibitors_end", "i4"),
        ("exempt", "i4"),  # in `lists`: the schedule of its exemptions, -1: none
        ("estimates", "i4"),  # in `lists`: the program of its estimate
        ("estimates_end", "i4"),
        ("for_ms", "i8"),
        ("keep_ms", "i8"),
        ("stale_ms", "i8"),
    ]
)
"""What the kernels know of a rule instance.

In `lists`, a slot is (aggregation, members) and then (point row, 0) for each; a schedule is (0, boundaries) and then
(time, what holds from then on) for each; a group of siblings is (0, twice its members) and then (slot, window or -1),
(rated power, 0) for each. An edge is (instance + (1 + what else its gates ask) << OTHER_SHIFT, how it looks + place of
its gates << GATE_SHIFT); the place is 0 where it has none (`processors.gates`).
"""

REGISTER: Final = 0
DELTA: Final = 1
GAUGE: Final = 2
STATE: Final = 3

COUNTER_MAX: Final = 1 << 53
"""Registers and deltas are kept below this: 9,000 TWh in Wh, and sums of a thousand such fit in int64."""
RATE_MAX: Final = 1 << 32
"""Rated 4 GW in W: beyond that nothing is checked, so that products fit in int64."""
DAY_S: Final = 86_400
DAY_MS: Final = 1000 * DAY_S
GAUGE_MAX: Final = 1 << 40
"""Gauges and states, in thousandths: times the milliseconds of an interval this fits in int64."""
_TRUTHS: Final = (Op.SCHEDULE, Op.FLAG, Op.LT, Op.LE, Op.GT, Op.GE, Op.EQ, Op.NE, Op.AND, Op.OR, Op.NOT)
SPREAD_INTERVALS_MAX: Final = 200
"""A gap is spread over so many intervals at most: a reading's rows must fit into `step.READING_ROWS`."""
SPREAD_MAX_MS: Final = 1 << 31
"""See `registers.share`."""
HELD_INTERVALS_MAX: Final = 96
"""A gauge's value is held over so many intervals at most."""

LIMIT_NAMES: Final = ("future_ms", "outage_ms", "spread_ms", "spread_intervals", "stale_ms", "dips")
FUTURE_MS: Final = 0
OUTAGE_MS: Final = 1
SPREAD_MS: Final = 2
SPREAD_INTERVALS: Final = 3
DIPS: Final = 5

USES_DATA_CLOCK: Final = 1
HAS_SIBLINGS: Final = 2
"""Looked at every quarter of an hour: what siblings do wakes nobody."""
BY_TIME: Final = 4
"""Time alone may make it true: it asks for an age, a schedule, an exemption or siblings."""

LOOKS_AT_VALUE: Final = 1
"""An idle instance has to look when the value changes."""
LOOKS_ALWAYS: Final = 2
"""At every reading."""
LOOKS_BACK: Final = 4
"""When what is known of the past changes: of a register that moves with every reading, four times an hour."""

FNV_OFFSET: Final = 0xCBF29CE484222325
FNV_PRIME: Final = 0x100000001B3


class LayoutArrays(NamedTuple):
    """What the kernels read.

    `lists` int64[n, 2] holds every list of the layout one after another (see META and RULE), so that a call hands few
    arrays on.
    """

    limits: NDArray[np.int64]
    """[site, LIMIT_NAMES]"""
    gateway_table: NDArray[np.int32]
    """open addressing by FNV-1a of site, 0xFF, gateway; -1: empty; a power of two long"""
    gateway_bytes: NDArray[np.uint8]
    gateway_spans: NDArray[np.int32]
    """[gateway, 4]: site position, length, gateway position, length"""
    gateway_site: NDArray[np.int32]
    number_start: NDArray[np.int64]
    """[site + 1]: numbers of a site are number_row[number_start[s]:number_start[s + 1]]"""
    number_row: NDArray[np.int32]
    row_gateway: NDArray[np.int32]
    meta: NDArray[np.void]
    rules: NDArray[np.void]
    """by instance"""
    lists: NDArray[np.int64]
    part_instance: NDArray[np.int32]
    part_row: NDArray[np.int32]
    senses: NDArray[np.void]
    """by space whose presence is estimated"""
    sense_params: NDArray[np.int64]
    track_infos: NDArray[np.void]
    window_infos: NDArray[np.void]


@dataclasses.dataclass(frozen=True)
class Layout:
    """Indices of a task: the arrays for the kernels, and the names that rows get on the way out.

    `point_key` and `instance_key` name rows of the state in a way that survives a new document.
    """

    topic: str
    sites: tuple[str, ...]
    versions: dict[str, int]
    documents: dict[str, Document]
    arrays: LayoutArrays
    gateways: tuple[tuple[str, str], ...]
    point_ids: Sequence[str]
    point_key: NDArray[np.int64]
    instance_key: NDArray[np.uint64]
    bound_place: NDArray[np.int64]
    """by instance: its place where those of a site are in the order of its rules"""
    instance_names: tuple[tuple[str, str], ...]
    """(rule, subject) by instance"""
    severities: tuple[tuple[str, ...], ...]
    """by instance: the first one, and those that it steps up to"""
    track_key: NDArray[np.uint64]
    window_key: NDArray[np.uint64]
    cells: int
    """length of the array of cells"""
    fanout: int
    """instances that one reading may wake, at most"""
    wasted: int
    """parts that one reading may touch, at most, its own and those of the instances that it wakes"""

    @property
    def simulated(self) -> bool:
        """Whether the clock is brought by ticks."""
        return any(document.domain != "live" for document in self.documents.values())


def csr(keys: NDArray[np.int64], rows: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """(start, order): entries of key k are order[start[k]:start[k + 1]], in their original order."""
    order = np.argsort(keys, kind="stable")
    start = np.zeros(rows + 1, np.int32)
    np.cumsum(np.bincount(keys, minlength=rows), out=start[1:])
    return start, order


def fnv(data: bytes) -> int:
    """FNV-1a, 64 bits."""
    value = FNV_OFFSET
    for byte in data:
        value = ((value ^ byte) * FNV_PRIME) & 0xFFFFFFFFFFFFFFFF
    return value


def gateway_table(names: list[tuple[str, str]]) -> tuple[NDArray[np.int32], NDArray[np.uint8], NDArray[np.int32]]:
    """`gateway_table`, `gateway_bytes` and `gateway_spans` of the layout, from (site, gateway) of each."""
    size = 16
    while size < 2 * len(names):
        size *= 2
    table = np.full(size, -1, np.int32)
    spans = np.zeros((len(names), 4), np.int32)
    pool = bytearray()
    for index, (site, gateway) in enumerate(names):
        for column, text in ((0, site), (2, gateway)):
            spans[index, column], spans[index, column + 1] = len(pool), len(text.encode())
            pool += text.encode()
        place = fnv(site.encode() + b"\xff" + gateway.encode()) & (size - 1)
        while table[place] >= 0:
            place = (place + 1) & (size - 1)
        table[place] = index
    return table, np.frombuffer(bytes(pool) or b"\0", np.uint8), spans


def _meta(columns: PointColumns, site: int, gateway_base: int, grid_ms: int) -> NDArray[np.void]:
    meta = np.zeros(len(columns.numbers), META)
    meta["number"] = columns.numbers.astype(np.int64)
    meta["site"] = site
    meta["gateway"] = columns.gateway + gateway_base
    meta["kind"] = columns.kind
    meta["data_clock"] = columns.data_clock
    meta["interval_ms"] = columns.interval_ms
    meta["grid_ms"] = grid_ms
    meta["max_age_ms"] = columns.max_age_ms
    meta["hold_ms"] = np.minimum(columns.max_age_ms, HELD_INTERVALS_MAX * grid_ms)
    meta["rate_max"] = columns.rate_max
    # Twice the rated step of one interval (see `registers.plausible`); everything is plausible where nothing is rated.
    meta["step_sure"] = np.where(
        columns.rate_max > 0,
        np.minimum(columns.rate_max, RATE_MAX) * 2 * (columns.interval_ms // 1000) // 3600,
        COUNTER_MAX,
    )
    meta["span"] = columns.span
    counter = columns.kind < GAUGE
    meta["low"] = np.maximum(
        columns.low, np.where(counter, np.where(columns.kind == REGISTER, 0, -COUNTER_MAX), -GAUGE_MAX)
    )
    meta["high"] = np.minimum(columns.high, np.where(counter, COUNTER_MAX, GAUGE_MAX))
    meta["divisor"] = columns.integral_divisor
    return meta


def _limits(document: Document) -> NDArray[np.int64]:
    limits = np.array([[document.limits.get(key, LIMITS[key]) for key in LIMIT_NAMES]], np.int64)
    limits[:, SPREAD_INTERVALS] = np.minimum(limits[:, SPREAD_INTERVALS], SPREAD_INTERVALS_MAX)
    limits[:, SPREAD_MS] = np.minimum(limits[:, SPREAD_MS], SPREAD_MAX_MS)
    return limits


@dataclasses.dataclass(frozen=True)
class _Site:
    """Arrays of one site before they are joined; indices count from the site's own 0."""

    document: Document
    columns: PointColumns
    rules: CompiledRules
    keep: NDArray[np.bool_]
    row_of: NDArray[np.int32]
    senses: list[Estimator]


def _site(document: Document, topic: str, memory: SiteMemory) -> _Site:
    if document.interval_s <= 0 or DAY_S % document.interval_s:
        raise ContractError(f"intervals of {document.interval_s} s; they must divide a day")
    columns = memory.columns
    keep = columns.topic == topics.INPUTS.index(topic)
    row_of = np.full(max(document.next_number, int(columns.numbers.max(initial=0)) + 1), -1, np.int32)
    row_of[columns.numbers[keep].astype(np.int64)] = np.arange(int(keep.sum()), dtype=np.int32)
    senses = memory.estimators if topic == topics.METER_READINGS else []
    return _Site(document, columns, memory.rules(document, topic), keep, row_of, senses)


def _pick(columns: PointColumns, keep: NDArray[np.bool_]) -> PointColumns:
    if keep.all():
        return columns
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(columns):
        value = getattr(columns, field.name)
        fields[field.name] = value[keep] if isinstance(value, np.ndarray) else value
    fields["ids"] = tuple(itertools.compress(columns.ids, keep.tolist()))
    return PointColumns(**fields)


class _Joined:
    """Joins the sites' arrays: every index is moved by what came before."""

    def __init__(self) -> None:
        self.parts: dict[str, list[NDArray[np.generic]]] = {}

    def add(self, name: str, values: NDArray[np.generic]) -> None:
        self.parts.setdefault(name, []).append(values)

    def get(self, name: str, dtype: type[np.generic], width: int = 0) -> NDArray[np.generic]:
        found = self.parts.get(name, [])
        empty = np.zeros((0, width) if width else 0, dtype)
        return np.concatenate([*found, empty]).astype(dtype) if found else empty


def _starts(lengths: NDArray[np.generic]) -> NDArray[np.int32]:
    start = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=start[1:])
    return start


def build(topic: str, documents: dict[str, Document], versions: dict[str, int], memory: Memory | None = None) -> Layout:
    """The layout of a task whose sites are computed by these documents.

    Args:
        topic: input topic of the task.
        documents: by site id.
        versions: version of each site's document.
        memory: what earlier layouts have found out, and where this one leaves it; the layout is the same without.

    Returns:
        The layout; sites are in the order of their ids.

    Raises:
        ContractError: a document is not what `apply` writes.
        ModelError: rules that `check` would have refused.
    """
    try:
        return _build(topic, documents, versions, memory or Memory())
    except (LookupError, ValueError, TypeError, OverflowError, AttributeError, AssertionError) as error:
        raise ContractError(f"the document cannot be used: {error!r}") from error


def _build(topic: str, documents: dict[str, Document], versions: dict[str, int], memory: Memory) -> Layout:
    names = tuple(sorted(documents))
    joined = _Joined()
    gateways: list[tuple[str, str]] = []
    ids: list[str] = []
    instance_names: list[tuple[str, str]] = []
    severities: list[tuple[str, ...]] = []
    rows = instances = slots = rules = code = schedules = windows = groups = 0
    for index, name in enumerate(names):
        site = _site(documents[name], topic, memory.site(documents[name]))
        columns = _pick(site.columns, site.keep)
        compiled = site.rules
        joined.add("meta", _meta(columns, index, len(gateways), documents[name].interval_s * 1000))
        joined.add("point_key", (np.int64(index) << 40) | columns.numbers.astype(np.int64))
        joined.add("number_row", np.where(site.row_of >= 0, site.row_of + rows, -1))
        joined.add("numbers", np.array([len(site.row_of)]))
        joined.add("limits", _limits(documents[name]))
        gateways += [(name, gateway) for gateway in site.columns.gateways]
        joined.add("gateway_site", np.full(len(site.columns.gateways), index))
        ids += columns.ids
        # Rules: programs move schedules by what came before; their role indices are local to the instance.
        program = compiled.code.copy()
        program[program[:, 0] == int(Op.SCHEDULE), 1] += schedules
        joined.add("code", program)
        joined.add("raise_span", compiled.raise_span + code)
        joined.add("clear_span", compiled.clear_span + code)
        joined.add("estimate_span", compiled.estimate_span + code)
        for key in ("for_ms", "keep_ms", "stale_ms"):
            joined.add(key, getattr(compiled, key))
        joined.add("ages", compiled.ages + np.array([rules, 0, 0]))
        joined.add("uses", compiled.uses_schedule + np.array([rules, schedules]))
        joined.add("slot_agg", compiled.slot_agg)
        joined.add("slot_lengths", np.diff(compiled.slot_start))
        joined.add("slot_row", site.row_of[compiled.slot_points] + rows)
        joined.add("inst_rule", compiled.inst_rule + rules)
        joined.add("inst_slot", np.where(compiled.inst_slot >= 0, compiled.inst_slot + slots, -1))
        joined.add("inst_site", np.full(len(compiled.inst_rule), index))
        joined.add("instance_key", compiled.inst_key ^ np.uint64(fnv(name.encode())))
        joined.add("bound_place", compiled.inst_bound + instances)
        joined.add("waste_lengths", np.diff(compiled.waste_start))
        joined.add("waste_row", site.row_of[compiled.inst_waste] + rows)
        joined.add("bound_lengths", np.diff(compiled.bound_start))
        joined.add("bounds", compiled.bounds)
        joined.add("bound_state", compiled.bound_state)
        joined.add("steps", compiled.steps + np.array([rules, 0]))
        joined.add("win_slot", compiled.win_slot + slots)
        joined.add("win_args", compiled.win_args)
        joined.add("win_schedule", np.where(compiled.win_schedule >= 0, compiled.win_schedule + schedules, -1))
        joined.add("win_cell", np.full(len(compiled.win_slot), cell_ms(documents[name].interval_s)))
        joined.add("window_key", compiled.win_key ^ np.uint64(fnv(name.encode())))
        joined.add("look_lengths", np.diff(compiled.look_start))
        joined.add("look_refs", compiled.look_refs + _shift(compiled.look_refs, windows, groups))
        joined.add("group_lengths", np.diff(compiled.group_start))
        joined.add("group_members", compiled.group_members + np.array([slots, 0, 0]))
        joined.add("group_windows", np.where(compiled.group_members[:, 1] >= 0, windows, 0))
        joined.add("inhibit_lengths", np.diff(compiled.inhibit_start))
        joined.add("inhibitors", compiled.inhibitors + instances)
        joined.add("exempt", np.where(compiled.inst_exempt >= 0, compiled.inst_exempt + schedules, -1))
        instance_names += [
            (compiled.names[r], compiled.subjects[s])
            for r, s in zip(compiled.inst_rule.tolist(), compiled.inst_subject.tolist(), strict=True)
        ]
        severities += [compiled.severities[r] for r in compiled.inst_rule.tolist()]
        rows_before = rows
        rows += len(columns.numbers)
        instances += len(compiled.inst_rule)
        slots += len(compiled.slot_agg)
        rules += len(compiled.names)
        code += len(compiled.code)
        schedules += len(compiled.bound_start) - 1
        windows += len(compiled.win_slot)
        groups += len(compiled.group_start) - 1
        for one in site.senses:
            joined.add(
                "sense",
                np.array([[index, rows_before + site.row_of[one.state], rows_before + site.row_of[one.probability]]]),
            )
            pairs = [(kind, rows_before + int(site.row_of[number])) for kind, number in one.evidence]
            joined.add("sense_evidence", np.array(pairs, np.int64).reshape(-1, 2))
            joined.add("sense_lengths", np.array([len(pairs)]))
            joined.add("sense_bounds", np.array(one.bounds, np.int64).reshape(-1, 2))
            joined.add("sense_bound_lengths", np.array([len(one.bounds)]))
            joined.add("sense_params", np.array([one.values], np.int64))
    arrays, cells = _arrays(joined, gateways, rows, instances, rules)
    point_key = np.asarray(joined.get("point_key", np.int64))
    fanout = _fanout(arrays)
    widest = int((arrays.rules["parts_end"] - arrays.rules["parts"]).max(initial=0))
    wasted = int((arrays.meta["wastes_end"] - arrays.meta["wastes"]).max(initial=0)) + fanout * widest
    return Layout(
        topic,
        names,
        dict(versions),
        dict(documents),
        arrays,
        tuple(gateways),
        tuple(ids),
        point_key,
        np.asarray(joined.get("instance_key", np.uint64)),
        np.asarray(joined.get("bound_place", np.int64)),
        tuple(instance_names),
        tuple(severities),
        _track_keys(arrays.track_infos, point_key, names),
        np.asarray(joined.get("window_key", np.uint64)),
        cells,
        fanout,
        wasted,
    )


def _fanout(arrays: LayoutArrays) -> int:
    """Instances that one reading may wake, those of the estimates that it moves included."""
    widths = (arrays.meta["edges_end"] - arrays.meta["edges"]).astype(np.int64)
    sensed = np.flatnonzero(arrays.meta["sense"] >= 0)
    senses = arrays.senses[arrays.meta["sense"][sensed]]
    widths[sensed] += widths[senses["state"]] + widths[senses["likely"]]
    return int(widths.max(initial=0))


def _shift(refs: NDArray[np.int64], windows: int, groups: int) -> NDArray[np.int64]:
    """What is added to (sort, index, role, rated) when other sites come before."""
    moved = np.zeros(refs.shape, np.int64)
    moved[:, 1] = np.where(refs[:, 0] == WINDOW, windows, groups)
    return moved


def _track_keys(infos: NDArray[np.void], point_key: NDArray[np.int64], names: tuple[str, ...]) -> NDArray[np.uint64]:
    """Names of tracks that survive a new document: of site, point, measure and length of a cell."""
    sites = np.array([fnv(name.encode()) for name in names] or [0], np.uint64)
    keys = point_key[infos["row"]] if len(infos) else np.zeros(0, np.int64)
    words = (keys & ((1 << 40) - 1)) * 8 + infos["measure"] + (infos["cell_ms"] << 36)
    found: NDArray[np.uint64] = words.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) ^ sites[keys >> 40]
    return found


class _Lists:
    """Builds `lists`: remembers where each segment begins."""

    def __init__(self) -> None:
        self.segments: list[NDArray[np.int64]] = []
        self.length = 0

    def add(self, first: NDArray[np.generic], second: NDArray[np.generic] | int) -> int:
        """Appends pairs; the place of the first."""
        pairs = np.empty((len(first), 2), np.int64)
        pairs[:, 0] = first
        pairs[:, 1] = second
        self.segments.append(pairs)
        self.length += len(pairs)
        return self.length - len(pairs)

    def add_grouped(
        self,
        head: NDArray[np.generic],
        start: NDArray[np.int32],
        first: NDArray[np.generic],
        second: NDArray[np.generic] | int,
    ) -> NDArray[np.int64]:
        """Appends groups, each as (head, length) and its pairs; the place of every group."""
        lengths = np.diff(start).astype(np.int64)
        places = self.length + start[:-1] + np.arange(len(lengths), dtype=np.int64)
        pairs = np.empty((len(first) + len(lengths), 2), np.int64)
        heads = places - self.length
        members = np.ones(len(pairs), bool)
        members[heads] = False
        pairs[heads, 0] = head
        pairs[heads, 1] = lengths
        pairs[members, 0] = first
        pairs[members, 1] = second[:] if isinstance(second, np.ndarray) else second
        self.segments.append(pairs)
        self.length += len(pairs)
        return places

    def array(self) -> NDArray[np.int64]:
        """All segments as one."""
        return np.concatenate([*self.segments, np.zeros((1, 2), np.int64)])


def _arrays(
    joined: _Joined, gateways: list[tuple[str, str]], rows: int, instances: int, rules: int
) -> tuple[LayoutArrays, int]:
    """Derives the lists: from a point to the instances and parts that depend on it, from an instance to its slots.

    Returns:
        The arrays, and how many cells what looks back needs.
    """

    def ints(name: str, width: int = 0) -> NDArray[np.int32]:
        return np.ascontiguousarray(joined.get(name, np.int32, width))

    def longs(name: str, width: int = 0) -> NDArray[np.int64]:
        return np.ascontiguousarray(joined.get(name, np.int64, width))

    meta_parts = joined.parts.get("meta", [])
    meta = np.concatenate(meta_parts) if meta_parts else np.zeros(0, META)
    slot_start, slot_row = _starts(longs("slot_lengths")), ints("slot_row")
    inst_slot, inst_rule = ints("inst_slot", ROLES_MAX), ints("inst_rule")
    code, raise_span, clear_span = longs("code", 2), ints("raise_span", 2), ints("clear_span", 2)
    loaded = _loaded(code, raise_span, clear_span, rules)
    look_start, refs = _starts(longs("look_lengths")), longs("look_refs", 4)
    looking = np.repeat(np.arange(instances), np.diff(look_start))
    loaded[inst_rule[looking], refs[:, 2]] = 1
    lists = _Lists()
    bounds = lists.add_grouped(
        np.zeros(len(longs("bound_lengths"))), _starts(longs("bound_lengths")), longs("bounds"), longs("bound_state")
    )
    code[code[:, 0] == int(Op.SCHEDULE), 1] = bounds[code[code[:, 0] == int(Op.SCHEDULE), 1]]
    slots = lists.add_grouped(longs("slot_agg"), slot_start, slot_row, 0)
    cut, (raise_cut, clear_cut, estimate_cut) = with_shortcuts(code, raise_span, clear_span, ints("estimate_span", 2))
    programs = lists.add(cut[:, 0], cut[:, 1])
    ages, uses = longs("ages", 3), longs("uses", 2)
    age_start, age_order = csr(ages[:, 0], rules)
    use_start, use_order = csr(uses[:, 0], rules)
    age_list = lists.add(ages[age_order, 1], ages[age_order, 2])
    use_list = lists.add(bounds[uses[use_order, 1]], 0)
    looks = _looking(code, raise_span, rules)
    looks[inst_rule[looking], refs[:, 2]] |= LOOKS_BACK
    edges = _edges(inst_slot, inst_rule, slot_start, slot_row, looks)
    slow = edges[meta["data_clock"][edges[:, 0]] > 0, 1]
    edges[np.isin(edges[:, 1], slow), 2] = LOOKS_ALWAYS  # every reading may move such an instance's clock
    # What siblings do wakes nobody, so every own reading looks.
    edges[np.isin(edges[:, 1], looking[refs[:, 0] != WINDOW]), 2] = LOOKS_ALWAYS
    edge_start, _ = csr(edges[:, 0], rows)
    bound = Bound(code, raise_span, inst_rule, inst_slot, slot_start, slot_row, look_start, refs)
    pairs, gate, other = edge_gates(edges, bound)
    gates = np.where(gate >= 0, lists.add(pairs[:, 0], pairs[:, 1]) + gate, 0)
    edge_list = lists.add(edges[:, 1] | (other + 1) << OTHER_SHIFT, edges[:, 2] | gates << GATE_SHIFT)
    part_start, part_row = _starts(longs("waste_lengths")), ints("waste_row")
    part_instance = np.repeat(np.arange(instances, dtype=np.int32), np.diff(part_start))
    waste_start, waste_order = csr(part_row.astype(np.int64), rows)
    waste_list = lists.add(waste_order, part_instance[waste_order])
    part_list = lists.add(np.arange(len(part_row)), part_row)
    named = np.where(inst_slot >= 0, slots[np.maximum(inst_slot, 0)] if len(slots) else -1, -1)
    widths = _widths(inst_slot, inst_rule, code, ages, raise_span, clear_span, ints("estimate_span", 2))
    role_start = _starts(widths[inst_rule])
    counted = np.arange(ROLES_MAX) < widths[inst_rule][:, None]
    role_list = lists.add(named[counted], loaded[inst_rule][counted])
    meta["edges"], meta["edges_end"] = edge_list + edge_start[:-1], edge_list + edge_start[1:]
    meta["always"][edges[edges[:, 2] & LOOKS_ALWAYS > 0, 0]] = 1
    meta["wastes"], meta["wastes_end"] = waste_list + waste_start[:-1], waste_list + waste_start[1:]
    ruled = np.zeros(instances, RULE)
    ruled["site"] = ints("inst_site")
    ruled["raises"], ruled["raises_end"] = (programs + raise_cut[inst_rule]).T
    ruled["clears"], ruled["clears_end"] = (programs + clear_cut[inst_rule]).T
    ruled["estimates"], ruled["estimates_end"] = (programs + estimate_cut[inst_rule]).T
    ruled["roles"], ruled["roles_end"] = role_list + role_start[:-1], role_list + role_start[1:]
    ruled["ages"], ruled["ages_end"] = age_list + age_start[inst_rule], age_list + age_start[inst_rule + 1]
    ruled["schedules"], ruled["schedules_end"] = use_list + use_start[inst_rule], use_list + use_start[inst_rule + 1]
    ruled["parts"], ruled["parts_end"] = part_list + part_start[:-1], part_list + part_start[1:]
    for key in ("for_ms", "keep_ms", "stale_ms"):
        ruled[key] = longs(key)[inst_rule]
    ruled["flags"][slow] |= USES_DATA_CLOCK
    senses = _senses(joined, lists, meta)
    back = _looks(joined, lists, meta, ruled, slots, bounds, (slot_start, slot_row))
    timed = (ruled["ages_end"] > ruled["ages"]) | (ruled["schedules_end"] > ruled["schedules"])
    timed |= (ruled["exempt"] >= 0) | (ruled["flags"] & HAS_SIBLINGS > 0)
    ruled["flags"][timed] |= BY_TIME
    table, pool, spans = gateway_table(gateways)
    arrays = LayoutArrays(
        longs("limits", len(LIMIT_NAMES)),
        table,
        pool,
        spans,
        ints("gateway_site"),
        _starts(longs("numbers")).astype(np.int64),
        ints("number_row"),
        meta["gateway"].astype(np.int32),
        meta,
        ruled,
        lists.array(),
        part_instance,
        part_row,
        senses,
        longs("sense_params", len(parameters())),
        back.tracks,
        back.windows,
    )
    return arrays, back.cells


def _looks(
    joined: _Joined,
    lists: _Lists,
    meta: NDArray[np.void],
    ruled: NDArray[np.void],
    slots: NDArray[np.int64],
    bounds: NDArray[np.int64],
    slot_rows: tuple[NDArray[np.int32], NDArray[np.int32]],
) -> Lookback:
    """Lists of what looks back, of siblings, steps of severity, inhibition and exemptions."""

    def longs(name: str, width: int = 0) -> NDArray[np.int64]:
        return np.ascontiguousarray(joined.get(name, np.int64, width))

    start, states = _starts(longs("bound_lengths")), longs("bound_state").astype(np.int8)
    spells = [(longs("bounds")[a:b], states[a:b]) for a, b in itertools.pairwise(start)]
    schedules = longs("win_schedule").astype(np.int32)
    back = lookback(
        longs("win_args", len(WIN_COLUMNS)),
        longs("win_cell"),
        schedules,
        longs("win_slot").astype(np.int32),
        longs("slot_agg").astype(np.int8),
        *slot_rows,
        np.array([longest_inside(*spell) for spell in spells] or [0], np.int64),
        (meta["kind"] < GAUGE) & (meta["interval_ms"] == 0),
    )
    first = lists.add(back.members, 0)
    window_of = np.repeat(np.arange(len(back.windows)), back.windows["tracks_end"] - back.windows["tracks"])
    back.windows["tracks"] += first
    back.windows["tracks_end"] += first
    for schedule in np.unique(schedules[schedules >= 0]):
        mine = schedules == schedule
        at, state = spells[schedule]
        before = inside_before(at, state, int(back.windows["cell_ms"][mine][0]))
        # A boundary's place less that of its schedule counts from 1, as the list's head comes first.
        back.windows["before"][mine] = lists.add(before, 0) - 1
    back.windows["schedule"] = np.where(schedules >= 0, bounds[schedules] if len(bounds) else -1, -1)
    for name, of_point, who in (
        ("tracks", back.tracks["row"].astype(np.int64), np.arange(len(back.tracks))),
        ("windows", back.tracks["row"][back.members].astype(np.int64), window_of),
    ):
        pairs = np.unique(np.stack([of_point, who], axis=1), axis=0)
        spans, order = csr(pairs[:, 0], len(meta))
        at = lists.add(pairs[order, 1], 0)
        meta[name], meta[f"{name}_end"] = at + spans[:-1], at + spans[1:]
    _instance_lists(joined, lists, ruled, slots, bounds)
    return back


def _instance_lists(
    joined: _Joined, lists: _Lists, ruled: NDArray[np.void], slots: NDArray[np.int64], bounds: NDArray[np.int64]
) -> None:
    def longs(name: str, width: int = 0) -> NDArray[np.int64]:
        return np.ascontiguousarray(joined.get(name, np.int64, width))

    members, moved = longs("group_members", 3), longs("group_windows")
    pairs = np.zeros((2 * len(members), 2), np.int64)
    if len(members):
        pairs[0::2, 0] = slots[members[:, 0]]
        pairs[0::2, 1] = np.where(members[:, 1] >= 0, members[:, 1] + moved, -1)
        pairs[1::2, 0] = members[:, 2]
    lengths = longs("group_lengths")
    groups = lists.add_grouped(np.zeros(len(lengths)), _starts(2 * lengths), pairs[:, 0], pairs[:, 1])
    refs, look_start = longs("look_refs", 4), _starts(longs("look_lengths"))
    looks = np.zeros((2 * len(refs), 2), np.int64)
    if len(refs):
        of_instance = np.repeat(np.arange(len(ruled)), np.diff(look_start))
        own = longs("inst_slot", ROLES_MAX)[of_instance, refs[:, 2]]
        grouped = refs[:, 0] != WINDOW
        looks[0::2, 0] = np.where(grouped, groups[np.where(grouped, refs[:, 1], 0)] if len(groups) else -1, refs[:, 1])
        looks[0::2, 1] = slots[own]
        looks[1::2, 0] = refs[:, 3]
        ruled["flags"][of_instance[grouped]] |= HAS_SIBLINGS
    ruled["looks"] = lists.add(looks[:, 0], looks[:, 1]) + 2 * look_start[:-1]
    inhibit = _starts(longs("inhibit_lengths"))
    at = lists.add(longs("inhibitors"), 0)
    ruled["inhibitors"], ruled["inhibitors_end"] = at + inhibit[:-1], at + inhibit[1:]
    steps, rule_of = longs("steps", 2), longs("inst_rule")
    step_start, order = csr(steps[:, 0], int(rule_of.max(initial=-1)) + 1)
    at = lists.add(steps[order, 1], 0)
    ruled["steps"], ruled["steps_end"] = at + step_start[rule_of], at + step_start[rule_of + 1]
    exempt = longs("exempt")
    ruled["exempt"] = np.where(exempt >= 0, bounds[exempt] if len(bounds) else -1, -1)


def _senses(joined: _Joined, lists: _Lists, meta: NDArray[np.void]) -> NDArray[np.void]:
    """Estimates of presence; marks their evidence in `meta`."""
    named = joined.get("sense", np.int64, 3)
    evidence = joined.get("sense_evidence", np.int64, 2)
    bounds = joined.get("sense_bounds", np.int64, 2)
    ends = _starts(joined.get("sense_lengths", np.int64))
    bound_lengths = joined.get("sense_bound_lengths", np.int64).astype(np.int64)
    made = np.zeros(len(named), SENSE_META)
    made["site"], made["state"], made["likely"] = named.T
    made["params"] = np.arange(len(named))
    meta["sense"] = -1
    first = lists.add(evidence[:, 0], evidence[:, 1])
    made["evidence"], made["evidence_end"] = first + ends[:-1], first + ends[1:]
    places = lists.add_grouped(np.zeros(len(named)), _starts(bound_lengths), bounds[:, 0], bounds[:, 1])
    made["schedule"] = np.where(bound_lengths > 0, places, -1)
    for row in range(len(named)):
        own = evidence[ends[row] : ends[row + 1]]
        meta["sense"][own[:, 1]] = row
        air = own[own[:, 0] == CO2, 1]
        made["co2"][row] = air[0] if len(air) else -1
    return made


def _loaded(
    code: NDArray[np.int64], raise_span: NDArray[np.int32], clear_span: NDArray[np.int32], rules: int
) -> NDArray[np.int8]:
    loaded = np.zeros((rules, ROLES_MAX), np.int8)
    for rule in range(rules):
        for first, last in (raise_span[rule], clear_span[rule]):
            program = code[first:last]
            loaded[rule, program[program[:, 0] == int(Op.LOAD), 1]] = 1
            loaded[rule, program[program[:, 0] == int(Op.FLAG), 1] % FLAG_ROLES] = 1
    return loaded


def _widths(
    inst_slot: NDArray[np.int32],
    inst_rule: NDArray[np.int32],
    code: NDArray[np.int64],
    ages: NDArray[np.int64],
    *spans: NDArray[np.int32],
) -> NDArray[np.int64]:
    """How many roles an instance of each rule lists: up to the last one that it has or its programs name."""
    rules = len(spans[0])
    found = np.zeros(rules, np.int64)
    used = np.where(inst_slot >= 0, np.arange(1, ROLES_MAX + 1), 0).max(axis=1, initial=0)
    np.maximum.at(found, inst_rule, used)
    np.maximum.at(found, ages[:, 0], ages[:, 1] + 1)
    for rule in range(rules):
        for first, last in (span[rule] for span in spans):
            program = code[first:last]
            roles = program[np.isin(program[:, 0], (Op.LOAD, Op.AGE, Op.FLAG)), 1] % FLAG_ROLES
            found[rule] = max(found[rule], roles.max(initial=-1) + 1)
    return found


def _looking(code: NDArray[np.int64], raise_span: NDArray[np.int32], rules: int) -> NDArray[np.int64]:
    """[rule, role]: what of a role can make an idle instance's program true, but for its windows: LOOKS_… or 0.

    `age(x) < 5 min` may become true because a role is fresher, so it looks at every reading of it.
    """
    found = np.zeros((rules, ROLES_MAX), np.int64)
    for rule in range(rules):
        program = code[raise_span[rule, 0] : raise_span[rule, 1]]
        found[rule, program[program[:, 0] == Op.LOAD, 1]] |= LOOKS_AT_VALUE
        found[rule, program[program[:, 0] == Op.FLAG, 1] % FLAG_ROLES] |= LOOKS_BACK
        before = np.r_[-1, program[:-1, 0]]
        turned = (program[:, 0] == Op.NOT) | (np.isin(program[:, 0], (Op.EQ, Op.NE)) & np.isin(before, _TRUTHS))
        for at in np.flatnonzero(program[:, 0] == Op.AGE):
            if turned.any() or program[at + 2, 0] not in (Op.GT, Op.GE):  # age, constant, comparison
                found[rule, program[at, 1]] = LOOKS_ALWAYS
    return found


def _edges(
    inst_slot: NDArray[np.int32],
    inst_rule: NDArray[np.int32],
    slot_start: NDArray[np.int32],
    slot_row: NDArray[np.int32],
    looks: NDArray[np.int64],
) -> NDArray[np.int64]:
    """[n, 3]: (point row, instance, how it looks at it), by row and instance, each pair once."""
    found: list[NDArray[np.int64]] = [np.zeros((0, 3), np.int64)]
    lengths_of = np.diff(slot_start)
    for role in range(ROLES_MAX):
        used = np.flatnonzero(inst_slot[:, role] >= 0)
        if not len(used):
            continue
        lengths = lengths_of[inst_slot[used, role]]
        who = np.repeat(used, lengths)
        firsts = np.repeat(slot_start[inst_slot[used, role]], lengths)
        within = np.arange(len(who)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        found.append(np.stack([slot_row[firsts + within], who, looks[inst_rule[who], role]], axis=1).astype(np.int64))
    edges = np.concatenate(found)
    edges = edges[np.lexsort((edges[:, 1], edges[:, 0]))]
    first = np.ones(len(edges), bool)
    first[1:] = (edges[1:, 0] != edges[:-1, 0]) | (edges[1:, 1] != edges[:-1, 1])
    once = np.ascontiguousarray(edges[first])
    if len(once):
        once[:, 2] = np.bitwise_or.reduceat(edges[:, 2], np.flatnonzero(first))
    return once
