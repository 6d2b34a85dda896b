"""The lists of a layout: from a point to the instances and parts that depend on it, from an instance to its slots.

Everything that the kernels follow lies in one array, list after list (`layout.RULE` says how each is written).
"""

import itertools
from typing import Final

import numpy as np
from numpy.typing import NDArray

from processors.gates import GATE_SHIFT, OTHER_SHIFT, Bound, edge_gates
from processors.layout import (
    BY_TIME,
    FNV_OFFSET,
    FNV_PRIME,
    GAUGE,
    HAS_SIBLINGS,
    LIMIT_NAMES,
    LOOKS_ALWAYS,
    LOOKS_AT_VALUE,
    LOOKS_BACK,
    META,
    RULE,
    SENSE_META,
    USES_DATA_CLOCK,
    LayoutArrays,
)
from processors.lookback import Lookback, inside_before, longest_inside, lookback
from processors.shortcuts import with_shortcuts
from schemas.groups import gathered, starts
from schemas.model.presence import CO2, parameters
from schemas.rules.program import FLAG_ROLES, ROLES_MAX, WIN_COLUMNS, WINDOW, Op

_TRUTHS: Final = (Op.SCHEDULE, Op.FLAG, Op.LT, Op.LE, Op.GT, Op.GE, Op.EQ, Op.NE, Op.AND, Op.OR, Op.NOT)


def csr(keys: NDArray[np.int64], rows: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """(start, order): entries of key k are order[start[k]:start[k + 1]], in their original order."""
    return starts(np.bincount(keys, minlength=rows)), np.argsort(keys, kind="stable")


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


class Joined:
    """Joins the sites' arrays: every index is moved by what came before."""

    def __init__(self) -> None:
        self.parts: dict[str, list[NDArray[np.generic]]] = {}

    def add(self, name: str, values: NDArray[np.generic]) -> None:
        """Appends what one site has."""
        self.parts.setdefault(name, []).append(values)

    def get(self, name: str, dtype: type[np.generic], width: int = 0) -> NDArray[np.generic]:
        """What all sites have; of no rows where none has any."""
        found = self.parts.get(name, [])
        empty = np.zeros((0, width) if width else 0, dtype)
        return np.concatenate([*found, empty]).astype(dtype) if found else empty


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


def arrays_of(
    joined: Joined, gateways: list[tuple[str, str]], rows: int, instances: int, rules: int
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
    slot_start, slot_row = starts(longs("slot_lengths")), ints("slot_row")
    inst_slot, inst_rule = ints("inst_slot", ROLES_MAX), ints("inst_rule")
    code, raise_span, clear_span = longs("code", 2), ints("raise_span", 2), ints("clear_span", 2)
    loaded = _loaded(code, raise_span, clear_span, rules)
    look_start, refs = starts(longs("look_lengths")), longs("look_refs", 4)
    looking = np.repeat(np.arange(instances), np.diff(look_start))
    loaded[inst_rule[looking], refs[:, 2]] = 1
    lists = _Lists()
    bounds = lists.add_grouped(
        np.zeros(len(longs("bound_lengths"))), starts(longs("bound_lengths")), longs("bounds"), longs("bound_state")
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
    part_start, part_row = starts(longs("waste_lengths")), ints("waste_row")
    part_instance = np.repeat(np.arange(instances, dtype=np.int32), np.diff(part_start))
    waste_start, waste_order = csr(part_row.astype(np.int64), rows)
    waste_list = lists.add(waste_order, part_instance[waste_order])
    part_list = lists.add(np.arange(len(part_row)), part_row)
    named = np.where(inst_slot >= 0, slots[np.maximum(inst_slot, 0)] if len(slots) else -1, -1)
    widths = _widths(inst_slot, inst_rule, ages, rules)
    role_start = starts(widths[inst_rule])
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
        starts(longs("numbers")).astype(np.int64),
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
    joined: Joined,
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

    start, states = starts(longs("bound_lengths")), longs("bound_state").astype(np.int8)
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
    joined: Joined, lists: _Lists, ruled: NDArray[np.void], slots: NDArray[np.int64], bounds: NDArray[np.int64]
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
    groups = lists.add_grouped(np.zeros(len(lengths)), starts(2 * lengths), pairs[:, 0], pairs[:, 1])
    refs, look_start = longs("look_refs", 4), starts(longs("look_lengths"))
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
    inhibit = starts(longs("inhibit_lengths"))
    at = lists.add(longs("inhibitors"), 0)
    ruled["inhibitors"], ruled["inhibitors_end"] = at + inhibit[:-1], at + inhibit[1:]
    steps, rule_of = longs("steps", 2), longs("inst_rule")
    step_start, order = csr(steps[:, 0], int(rule_of.max(initial=-1)) + 1)
    at = lists.add(steps[order, 1], 0)
    ruled["steps"], ruled["steps_end"] = at + step_start[rule_of], at + step_start[rule_of + 1]
    exempt = longs("exempt")
    ruled["exempt"] = np.where(exempt >= 0, bounds[exempt] if len(bounds) else -1, -1)


def _senses(joined: Joined, lists: _Lists, meta: NDArray[np.void]) -> NDArray[np.void]:
    """Estimates of presence; marks their evidence in `meta`."""
    named = joined.get("sense", np.int64, 3)
    evidence = joined.get("sense_evidence", np.int64, 2)
    bounds = joined.get("sense_bounds", np.int64, 2)
    ends = starts(joined.get("sense_lengths", np.int64))
    bound_lengths = joined.get("sense_bound_lengths", np.int64).astype(np.int64)
    made = np.zeros(len(named), SENSE_META)
    made["site"], made["state"], made["likely"] = named.T
    made["params"] = np.arange(len(named))
    meta["sense"] = -1
    first = lists.add(evidence[:, 0], evidence[:, 1])
    made["evidence"], made["evidence_end"] = first + ends[:-1], first + ends[1:]
    places = lists.add_grouped(np.zeros(len(named)), starts(bound_lengths), bounds[:, 0], bounds[:, 1])
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
    inst_slot: NDArray[np.int32], inst_rule: NDArray[np.int32], ages: NDArray[np.int64], rules: int
) -> NDArray[np.int64]:
    """How many roles an instance of each rule lists: up to the last one that it reads or that an age is asked of.

    A program reads no role that its instances lack; an age that was left out with what lacks one may still be listed.
    """
    found = np.zeros(rules, np.int64)
    used = np.where(inst_slot >= 0, np.arange(1, ROLES_MAX + 1), 0).max(axis=1, initial=0)
    np.maximum.at(found, inst_rule, used)
    np.maximum.at(found, ages[:, 0], ages[:, 1] + 1)
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
    for role in range(ROLES_MAX):
        used = np.flatnonzero(inst_slot[:, role] >= 0)
        places, lengths = gathered(slot_start, inst_slot[used, role])
        who = np.repeat(used, lengths)
        found.append(np.stack([slot_row[places], who, looks[inst_rule[who], role]], axis=1).astype(np.int64))
    edges = np.concatenate(found)
    edges = edges[np.lexsort((edges[:, 1], edges[:, 0]))]
    first = np.ones(len(edges), bool)
    first[1:] = (edges[1:, 0] != edges[:-1, 0]) | (edges[1:, 1] != edges[:-1, 1])
    once = np.ascontiguousarray(edges[first])
    if len(once):
        once[:, 2] = np.bitwise_or.reduceat(edges[:, 2], np.flatnonzero(first))
    return once
