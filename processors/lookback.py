"""The part of a layout that looks back: which measures of which points are kept, for how long, and for which windows.

A track is one measure of one point; the windows that want it share it, and it is as long as the longest of them needs.
`kernels.windows` fills tracks and computes windows.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.groups import Longs, codes_of, first_seen, gathered, starts
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
    column = dict(zip(WIN_COLUMNS, args.T, strict=True))
    needed = _needed(column, cell_ms, np.where(schedules >= 0, longest[schedules], 0))
    places, lengths = gathered(slot_start, slots)
    rows, measures = slot_row[places], np.repeat(column["measure"], lengths)
    firsts, members = first_seen(codes_of(rows, measures))
    windows = np.zeros(len(args), WINDOW_INFO)
    start = starts(lengths)
    windows["tracks"], windows["tracks_end"] = start[:-1], start[1:]
    windows["span"] = needed
    for name, values in column.items():
        windows[name] = values
    windows["agg"] = slot_agg[slots]
    windows["schedule"] = schedules
    windows["cell_ms"] = cell_ms
    windows["length"] = _rings(windows)
    tracks = np.zeros(len(firsts), TRACK_INFO)
    tracks["row"], tracks["measure"] = rows[firsts], measures[firsts]
    tracks["cell_ms"] = np.repeat(cell_ms, lengths)[firsts]
    tracks["events"] = events[rows[firsts]]
    longest_of = np.zeros(len(firsts), np.int64)
    np.maximum.at(longest_of, members, np.repeat(needed, lengths))
    tracks["length"] = longest_of
    total = _place(tracks, 0)
    return Lookback(tracks, windows, members, _place(windows, total))


def _needed(column: Mapping[str, Longs], cell_ms: Longs, longest_ms: Longs) -> Longs:
    """Finished cells that each window reads of a track."""
    nights = np.minimum(-(-longest_ms // cell_ms), NIGHT_CELLS_MAX)
    by_night = np.isin(column["fn"], (Fn.NIGHT, Fn.BASELINE))
    return np.where(by_night, nights, np.maximum(column["cells"], 1)) + SPARE_CELLS


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
