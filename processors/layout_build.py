"""Makes layouts: a pure function of the documents of a task's sites, made again when one of them changes."""

import dataclasses
import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.layout import (
    COUNTER_MAX,
    DAY_S,
    GAUGE,
    GAUGE_MAX,
    HELD_INTERVALS_MAX,
    LIMIT_NAMES,
    META,
    RATE_MAX,
    REGISTER,
    SPREAD_INTERVALS,
    SPREAD_INTERVALS_MAX,
    SPREAD_MAX_MS,
    SPREAD_MS,
    Layout,
    LayoutArrays,
)
from processors.layout_lists import Joined, arrays_of, fnv
from schemas import topics
from schemas.errors import ContractError
from schemas.model.document import LIMITS, Document
from schemas.model.points import PointColumns
from schemas.model.presence import Estimator
from schemas.rules.memory import Memory, SiteMemory
from schemas.rules.program import WINDOW, CompiledRules, Op, cell_ms


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
    joined = Joined()
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
    arrays, cells = arrays_of(joined, gateways, rows, instances, rules)
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
