"""Moves a state from one layout to another by the names of rows.

What has the same name keeps its row, what is new begins empty, what is gone is forgotten.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from processors.facts import mark_waiting
from processors.layout import DAY_MS, GAUGE, Layout
from processors.state import BUSY, CLOSED, CLOSING, COUNTING, FIRING, NEVER, PENDING, TIMERS, StateArrays, empty_state
from schemas.groups import within

CELLS_AT_ONCE: Final = 1 << 20
"""Cells of the past moved in one step, about."""


def _match(old: NDArray[np.generic], new: NDArray[np.generic]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(rows of old, rows of new) with the same key; keys are unique on either side."""
    if not len(old) or not len(new):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    order = np.argsort(old, kind="stable")
    place = np.minimum(np.searchsorted(old[order], new), len(old) - 1)
    found = old[order][place] == new
    return order[place[found]], np.flatnonzero(found)


def _site_keys(layout: Layout, names: tuple[str, ...]) -> NDArray[np.int64]:
    """Point keys with the site's place among `names`, so that two layouts can be compared."""
    place = np.array([names.index(site) for site in layout.sites] or [0], np.int64)
    keys: NDArray[np.int64] = (place[layout.point_key >> 40] << 40) | (layout.point_key & ((1 << 40) - 1))
    return keys


def _part_keys(layout: Layout, names: tuple[str, ...]) -> NDArray[np.uint64]:
    """Keys of (instance, point)."""
    points = _site_keys(layout, names)[layout.arrays.part_row].astype(np.uint64)
    keys: NDArray[np.uint64] = layout.instance_key[layout.arrays.part_instance] ^ points * np.uint64(0x9E3779B97F4A7C15)
    return keys


def lost_parts(old: Layout, state: StateArrays, new: Layout) -> NDArray[np.int64]:
    """Rows of the parts of episodes that still count and that the new layout does not have: nobody will end them."""
    names = tuple(sorted(set(old.sites) | set(new.sites)))
    opened = state.parts["open"]
    firing = state.instances["phase"][old.arrays.part_instance] == FIRING
    counts = (opened == CLOSING) | ((opened == COUNTING) & firing)
    return np.flatnonzero(counts & ~np.isin(_part_keys(old, names), _part_keys(new, names)))


def transfer(old: Layout, state: StateArrays, new: Layout) -> StateArrays:
    """The state for another layout.

    A point whose kind changed begins anew. A pending or firing instance keeps its phase when its rule and subject are
    still there; what it has wasted so far stays with the points that the rule still names.
    """
    arrays = new.arrays
    sizes = (len(arrays.meta), len(arrays.rules), len(arrays.part_row), len(arrays.senses))
    moved = empty_state(*sizes, len(arrays.track_infos), len(arrays.window_infos), new.cells)
    moved.scalars[:] = state.scalars
    names = tuple(sorted(set(old.sites) | set(new.sites)))
    keys_old, keys_new = _site_keys(old, names), _site_keys(new, names)
    rows_old, rows_new = _match(keys_old, keys_new)
    same = old.arrays.meta["kind"][rows_old] == arrays.meta["kind"][rows_new]
    rows_old, rows_new = rows_old[same], rows_new[same]
    _move(moved.points, rows_new, state.points, rows_old)
    moved = moved._replace(facts=_facts(state.facts, rows_old, rows_new), seen=state.seen)
    mark_waiting(moved)
    _regrid(moved.points, arrays.meta, rows_new, old.arrays.meta, rows_old)
    inst_old, inst_new = _match(old.instance_key, new.instance_key)
    moved.instances[inst_new] = state.instances[inst_old]
    levels = arrays.rules["steps_end"] - arrays.rules["steps"]
    moved.instances["level"] = np.minimum(moved.instances["level"], levels)
    _past(old, state, new, moved)
    found_old, found_new = _match(_part_keys(old, names), _part_keys(new, names))
    moved.parts[found_new] = state.parts[found_old]
    sense_old, sense_new = _match(
        _site_keys(old, names)[old.arrays.senses["state"]], _site_keys(new, names)[arrays.senses["state"]]
    )
    moved.senses[sense_new] = state.senses[sense_old]
    active = moved.instances["phase"][arrays.part_instance] >= PENDING
    moved.parts["open"][(moved.parts["open"] == COUNTING) & ~active] = CLOSED
    moved.points["flags"] |= BUSY  # until a reading has found all idle
    _queue(moved)
    return moved


def _facts(waiting: NDArray[np.void], rows_old: NDArray[np.int64], rows_new: NDArray[np.int64]) -> NDArray[np.void]:
    """Facts that wait, with the new rows of their points, in the new order."""
    place = np.full(max(int(waiting["row"].max(initial=-1)), int(rows_old.max(initial=-1))) + 1, -1, np.int64)
    place[rows_old] = rows_new
    kept: NDArray[np.void] = waiting[place[waiting["row"]] >= 0].copy()
    kept["row"] = place[kept["row"]]
    return kept[np.argsort(kept["row"], kind="stable")]


def _past(old: Layout, state: StateArrays, new: Layout, moved: StateArrays) -> None:
    """Keeps what tracks and windows know, as far back as both rings reach; a track whose grid changed begins anew."""
    before, after = old.arrays, new.arrays
    for infos_old, infos_new, keys, rows, into, newest in (
        (
            before.track_infos, after.track_infos, (old.track_key, new.track_key), state.tracks, moved.tracks,
            state.tracks["cell"] - 1,
        ),
        (
            before.window_infos, after.window_infos, (old.window_key, new.window_key), state.windows, moved.windows,
            state.windows["last"],
        ),
    ):  # fmt: skip
        here, there = _match(*keys)
        into[there] = rows[here]
        lengths = np.minimum(infos_old["length"][here], infos_new["length"][there])
        kept = np.flatnonzero((lengths > 0) & (newest[here] >= 0))
        # Some at a time: a large task has more cells than fit beside themselves.
        for some in np.array_split(kept, 1 + int(lengths[kept].sum()) // CELLS_AT_ONCE):
            count = lengths[some]
            one, other = infos_old[here[some]], infos_new[there[some]]
            places = np.repeat(newest[here[some]] - count + 1, count) + within(count)
            source = np.repeat(one["start"], count) + places % np.repeat(one["length"], count)
            target = np.repeat(other["start"], count) + places % np.repeat(other["length"], count)
            moved.cells[target] = state.cells[source]


def _move(into: NDArray[np.void], to: NDArray[np.int64], source: NDArray[np.void], rows: NDArray[np.int64]) -> None:
    """Copies rows; at once where all of them stay where they are, as points do when only rules change."""
    if len(rows) == len(source) == len(into) and (rows == to).all() and (np.diff(rows) == 1).all():
        into[:] = source
    else:
        into[to] = source[rows]


def _regrid(
    points: NDArray[np.void],
    meta: NDArray[np.void],
    rows: NDArray[np.int64],
    meta_old: NDArray[np.void],
    rows_old: NDArray[np.int64],
) -> None:
    """Puts the open interval of points on another grid: the first one that ends after the point's clock.

    What a gauge has gathered in an interval that is no longer one is given up; a register's usage is not.
    """
    by_hand = (meta_old["interval_ms"][rows_old] >= DAY_MS) != (meta["interval_ms"][rows] >= DAY_MS)
    regridded = (meta_old["grid_ms"][rows_old] != meta["grid_ms"][rows]) | by_hand
    moved = rows[regridded & (points["clock"][rows] != NEVER)]
    grid = meta["grid_ms"][moved]
    points["row_to"][moved] = (points["clock"][moved] // grid + 1) * grid
    gauges = moved[meta["kind"][moved] >= GAUGE]
    for name in ("count", "sum", "minimum", "maximum", "integral"):
        points[name][gauges] = 0


def _queue(state: StateArrays) -> None:
    """Every instance is looked at once at the next move of the clock, in the order of its row.

    New rules find their deadlines that way.
    """
    count = len(state.instances)
    state.queue[:count] = np.arange(count)
    state.instances["place"] = np.arange(count)
    state.instances["due"] = state.scalars[0]
    state.scalars[TIMERS] = count
