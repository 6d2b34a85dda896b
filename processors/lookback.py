"""The part of a layout that looks back: which measures of which points are kept, for how long, and for which windows.

A track is one measure of one point; the windows that want it share it, and it is as long as the longest of them needs.
`kernels.windows` fills tracks and computes windows.
"""

from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.rules.program import TRUE, WIN_COLUMNS, Fn

TRACK_INFO: Final = np.dtype(
    [
        ("row", "i4"),  # of the point
        ("measure", "i4"),
        ("start", "i8"),  # its ring: cells[start:start + length], cell c at start + c % length
        ("length", "i8"),
        ("cell_ms", "i8"),
        ("events", "i8"),  # 1 where the point counts what happens: where it says nothing, nothing has happened
    ]
)
"""What the kernels know of a track."""

WINDOW_INFO: Final = np.dtype(
    [
        ("fn", "i4"),
        ("agg", "i4"),
        ("measure", "i4"),
        ("nth", "i4"),
        ("cells", "i8"),
        ("bucket", "i8"),
        ("days", "i8"),
        ("tracks", "i4"),  # in `lists`: (track, 0) of every point of the role
        ("tracks_end", "i4"),
        ("schedule", "i4"),  # in `lists`: nights or working days, -1: none
        ("before", "i4"),  # in `lists`: (cells inside of the schedule before a boundary, 0) for each of its boundaries
        ("start", "i8"),  # its ring of days: cells[start:start + length]
        ("length", "i8"),
        ("span", "i8"),  # finished cells of a point that it looks at, whatever else its track keeps
        ("cell_ms", "i8"),
    ]
)
"""What the kernels know of a window."""

NIGHT_CELLS_MAX: Final = 96
SPARE_CELLS: Final = 8
"""The points of a role may be so many cells apart; one that lags more makes what they say together unknown."""


class TrackInfoRow(Protocol):
    """A row of TRACK_INFO, as a kernel sees it."""

    row: int
    measure: int
    start: int
    length: int
    cell_ms: int
    events: int


class WindowInfoRow(Protocol):
    """A row of WINDOW_INFO, as a kernel sees it."""

    fn: int
    agg: int
    measure: int
    nth: int
    cells: int
    bucket: int
    days: int
    tracks: int
    tracks_end: int
    schedule: int
    before: int
    start: int
    length: int
    span: int
    cell_ms: int


class Lookback(NamedTuple):
    """Tracks and windows of a task, before their lists have places.

    Attributes:
        tracks: TRACK_INFO.
        windows: WINDOW_INFO; `tracks` and `tracks_end` count within `members`, `schedule` is an index.
        members: track of every (window, point), windows one after another.
        cells: length of the array of cells.
    """

    tracks: NDArray[np.void]
    windows: NDArray[np.void]
    members: NDArray[np.int64]
    cells: int


def lookback(
    args: NDArray[np.int64],
    cell_ms: NDArray[np.int64],
    schedules: NDArray[np.int32],
    slots: NDArray[np.int32],
    slot_agg: NDArray[np.int8],
    slot_start: NDArray[np.int32],
    slot_row: NDArray[np.int32],
    longest: NDArray[np.int64],
    events: NDArray[np.bool_],
) -> Lookback:
    """Shares tracks among windows and gives every ring its place.

    Args:
        args: int64[w, WIN_COLUMNS].
        cell_ms: length of a cell, by window.
        schedules: index of the schedule of days, by window, -1: none.
        slots: by window.
        slot_agg: of the slots.
        slot_start: of the slots: rows are slot_row[slot_start[s]:slot_start[s + 1]].
        slot_row: rows of points.
        longest: the longest spell inside of each schedule, ms.
        events: whether a point counts what happens, by row.
    """
    found: dict[tuple[int, int], list[int]] = {}  # (row, measure) → [track, length, cell_ms]
    windows = np.zeros(len(args), WINDOW_INFO)
    members: list[int] = []
    for w, row in enumerate(args.tolist()):
        values = dict(zip(WIN_COLUMNS, row, strict=True))
        needed = _needed(values, int(cell_ms[w]), int(longest[schedules[w]]) if schedules[w] >= 0 else 0)
        keys = [
            (int(point), values["measure"])
            for point in slot_row[slot_start[slots[w]] : slot_start[slots[w] + 1]].tolist()
        ]
        windows["tracks"][w] = len(members)
        for key in keys:
            shared = found.setdefault(key, [len(found), 0, int(cell_ms[w])])
            shared[1] = max(shared[1], needed)
            members.append(shared[0])
        windows["tracks_end"][w] = len(members)
        windows["span"][w] = needed
        for name in ("fn", "measure", "nth", "cells", "bucket", "days"):
            windows[name][w] = values[name]
    windows["agg"] = slot_agg[slots]
    windows["schedule"] = schedules
    windows["cell_ms"] = cell_ms
    tracks = np.zeros(len(found), TRACK_INFO)
    for (point, measure), (track, length, width_ms) in found.items():
        tracks[track] = (point, measure, 0, length, width_ms, events[point])
    windows["length"] = _rings(windows)
    total = _place(tracks, 0)
    return Lookback(tracks, windows, np.asarray(members, np.int64), _place(windows, total))


def _needed(values: dict[str, int], cell_ms: int, longest_ms: int) -> int:
    """Finished cells that a window reads of a track."""
    if values["fn"] in (Fn.NIGHT, Fn.BASELINE):
        return min(-(-longest_ms // cell_ms), NIGHT_CELLS_MAX) + SPARE_CELLS
    return max(values["cells"], 1) + SPARE_CELLS


def _rings(windows: NDArray[np.void]) -> NDArray[np.int64]:
    """Length of the rings of days."""
    per_day = 86_400_000 // windows["cell_ms"]
    nights = np.isin(windows["fn"], (Fn.NIGHT, Fn.BASELINE))
    days = windows["days"] + 1
    lengths: NDArray[np.int64] = np.where(nights, days + 1, np.where(windows["fn"] == Fn.QUANTILE, days * per_day, 0))
    return lengths


def _place(infos: NDArray[np.void], at: int) -> int:
    """Puts rings one after another from `at` on; where they end."""
    ends = at + np.cumsum(infos["length"])
    infos["start"] = ends - infos["length"]
    return int(ends[-1]) if len(ends) else at


def inside_before(bounds: NDArray[np.int64], states: NDArray[np.int8], cell_ms: int) -> NDArray[np.int64]:
    """Cells inside of a schedule before each of its boundaries."""
    spells = np.where(states[:-1] == TRUE, np.diff(bounds) // cell_ms, 0) if len(bounds) else np.zeros(0, np.int64)
    found: NDArray[np.int64] = np.concatenate([np.zeros(min(len(bounds), 1), np.int64), np.cumsum(spells)])
    return found


def longest_inside(bounds: NDArray[np.int64], states: NDArray[np.int8]) -> int:
    """The longest spell inside of a schedule, ms."""
    spells: Any = np.diff(bounds)[states[:-1] == TRUE] if len(bounds) else np.zeros(0, np.int64)
    return int(spells.max(initial=0))
