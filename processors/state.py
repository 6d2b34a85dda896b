"""The state of a task: flat arrays, a row per point, rule instance and wasted point; and the rows that a step emits.

All times are UTC milliseconds; NEVER stands for no time. What is derived from documents (limits, indices) is in
`layout`, not here: the state is what a snapshot has to keep.
"""

from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.rules.program import STACK_MAX

ENGINE: Final = 2
"""Number of what `advance` computes; it changes when any output of any log would."""

NEVER: Final = -(1 << 62)
FAR: Final = 1 << 62

_FIELDS: Final = (
    ("clock", "i8"),  # time of the last accepted reading
    ("last", "i8"),  # its value
    ("total", "i8"),  # register: counted since the first reading, over rollovers and new levels
    ("settled", "i8"),  # register: `total` at `row_from`
    ("row_from", "i8"),  # register: end of the last ledger row
    ("row_to", "i8"),  # end of the open interval: the next boundary of the grid
    ("pend_time", "i8"),  # register: time of the last reading that was set aside
    ("pend_value", "i8"),  # register: its value
    ("pend_base", "i8"),  # register: first value of the lower level
    ("count", "i8"),  # gauge: readings in the open interval
    ("sum", "i8"),
    ("minimum", "i8"),
    ("maximum", "i8"),
    ("integral", "i8"),  # gauge: value x ms in the open interval
    ("fact_time", "i8"),  # last live reading, also one that was set aside
    ("fact_value", "i8"),
    ("since", "i8"),  # since when fact_value has been so
    ("dirty_from", "i8"),  # span left for settlement
    ("dirty_to", "i8"),
    ("how", "i4"),  # register: worst way in which the open interval is known
    ("pends", "i2"),  # register: consecutive readings on the lower level
    ("fact_good", "i1"),
    ("flags", "i1"),  # register: what was said of its meter (WAITS, SCALED, BARE, WIDE, UNRECORDED); all: BUSY, MOVED
)
_SHARED: Final = (
    ("span", "i8", "count"),  # register with WIDE: value at which it rolls over, instead of the model's
    ("ratio_since", "i8", "sum"),  # register: from when its multiplier counts
    ("width_since", "i8", "minimum"),  # register: from when `span` counts
    ("numerator", "i4", "maximum"),  # register with SCALED: its multiplier
    ("denominator", "i4", "maximum"),
    ("remainder", "i8", "integral"),  # register with SCALED: what no whole unit came of yet, in 1/denominator
)
"""Fields of registers that lie where gauges, which have no meter that is swapped, keep their open interval."""


def _point() -> np.dtype[np.void]:
    plain = np.dtype(list(_FIELDS))
    places = {name: plain.fields[name][1] for name in plain.names or ()} if plain.fields else {}
    names, formats, offsets = list(places), [kind for _, kind in _FIELDS], list(places.values())
    for name, kind, over in _SHARED:
        names.append(name)
        formats.append(kind)
        offsets.append(places[over] + (4 if name == "denominator" else 0))
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": plain.itemsize})


SHARED: Final = tuple(name for name, _, _ in _SHARED)
"""Their names."""

POINT: Final = _point()
"""160 bytes a point."""

WAITS: Final = 1
"""facts of its meter wait for its clock"""
SCALED: Final = 2
"""its readings are multiplied"""
BARE: Final = 4
"""no meter is there, or its level is not known: the next reading is where counting begins"""
WIDE: Final = 8
"""`span` instead of the model's"""
UNRECORDED: Final = 16
"""its level fell for good, and no fact has said why"""
BUSY: Final = 32
"""an instance that reads it may be pending or firing, or a part that counts it open; where it is not set none is"""
TOLD: Final = WAITS | SCALED | BARE | WIDE
"""what the plain kernel of a register does not look at"""

FACT: Final = np.dtype(
    [
        ("row", "i4"),  # of the point
        ("kind", "i1"),
        ("has", "i1"),  # which of the numbers below are known: FINAL, INITIAL, RATIO, WIDTH
        ("done", "i1"),  # applied; removed from the array when the call that applied it has ended
        ("spare", "i1"),
        ("at", "i8"),
        ("final", "i8"),
        ("initial", "i8"),
        ("numerator", "i4"),
        ("denominator", "i4"),
        ("span", "i8"),
        ("event", "u8"),  # `facts.event_key` of the fact that it is of
    ]
)
"""What a meter fact says of one register, waiting for that point's clock; ordered by row, time and arrival."""

FINAL: Final = 1
INITIAL: Final = 2
RATIO: Final = 4
WIDTH: Final = 8

INSTALLED: Final = 0
SWAPPED: Final = 1
MULTIPLIER: Final = 2
WIDTH_CHANGED: Final = 3
RESET: Final = 4
REMOVED: Final = 5

SEEN: Final = np.dtype([("event", "u8"), ("content", "u8"), ("meter", "u8"), ("at", "i8")])
"""A meter fact that was applied or waits: `facts.event_key`, the same of its bytes and meter, and when it happened."""

INSTANCE: Final = np.dtype(
    [
        ("true_since", "i8"),  # event time at which the result became true, moved on by unknown spells
        ("false_since", "i8"),  # firing: event time at which it was cleared
        ("unknown_since", "i8"),
        ("started", "i8"),  # start of the episode
        ("due", "i8"),  # when the timer wakes it
        ("episode", "i4"),
        ("place", "i4"),  # in the queue of timers, -1: not in it
        ("phase", "i4"),  # IDLE, PENDING, FIRING
        ("level", "i4"),  # firing: how often its severity has stepped up
    ]
)

PART: Final = np.dtype(
    [
        ("start", "i8"),  # start of the part that is being counted
        ("live_from", "i8"),  # nothing before this counts
        ("end", "i8"),  # end of the episode, NEVER while it is open
        ("amount", "i8"),  # gauges: value x ms; else quantity
        ("before_ms", "i8"),  # since its point's last reading it counted for so long, before the condition paused
        ("episode", "i4"),
        (
            "open",
            "i4",
        ),  # CLOSED, COUNTING (pending or firing), CLOSING (ended, its point's clock has not passed the end)
    ]
)

TRACK: Final = np.dtype(
    [
        ("cell", "i8"),  # the cell that is being filled: its end is (cell + 1) x its length; NEVER before the first
        ("amount", "i8"),  # usage, integral, lowest or highest in it so far
        ("known_ms", "i8"),  # so much of it is known
        ("since", "i8"),  # gauge: covered without a gap since then
        ("spread", "i8"),  # 1: some of it is a gap that was spread
    ]
)
"""What a point was, cell by cell; the finished ones are in `cells`: (value, UNKNOWN_, MEASURED_ or SPREAD_CELL)."""

WINDOW: Final = np.dtype(
    [
        ("done", "i8"),  # last cell that it has taken up
        ("value", "i8"),
        ("known", "i8"),
        ("last", "i8"),  # last of its days: place in a ring of nights, or of the cells of working days
        ("night", "i8"),  # first cell of the night that runs, NEVER outside of one
    ]
)
"""What a rule asks of the past of a role; its ring of days is in `cells`, (value, UNKNOWN_CELL or MEASURED_CELL)."""

UNKNOWN_CELL: Final = 0
MEASURED_CELL: Final = 1
SPREAD_CELL: Final = 2


SENSE: Final = np.dtype(
    [
        ("time", "i8"),  # of the last evidence
        ("started", "i8"),  # of the first
        ("odds", "i8"),  # log-odds that somebody is there, 2^-16
        ("co2_time", "i8"),
        ("co2_fast", "i8"),  # means of CO2, thousandths of ppm with 8 bits below
        ("co2_slow", "i8"),
        ("co2_least", "i8"),  # of the last days
        ("air_change", "i8"),  # of the room, 10^-9 a minute
        ("wifi_least", "i8"),  # -1: none seen yet
        ("plug_least", "i8"),
        ("occupied", "i4"),
        ("spare", "i4"),
    ]
)
"""What is known of who is in a space (`kernels.presence`)."""


class PointRow(Protocol):
    """A row of POINT, as a kernel sees it."""

    clock: int
    last: int
    total: int
    settled: int
    row_from: int
    row_to: int
    pend_time: int
    pend_value: int
    pend_base: int
    count: int
    sum: int
    minimum: int
    maximum: int
    integral: int
    fact_time: int
    fact_value: int
    since: int
    dirty_from: int
    dirty_to: int
    how: int
    pends: int
    fact_good: int
    flags: int
    span: int
    ratio_since: int
    width_since: int
    numerator: int
    denominator: int
    remainder: int


class FactRow(Protocol):
    """A row of FACT, as a kernel sees it."""

    row: int
    kind: int
    has: int
    done: int
    at: int
    final: int
    initial: int
    numerator: int
    denominator: int
    span: int


class MetaRow(Protocol):
    """A row of META (`layout`), as a kernel sees it."""

    number: int
    site: int
    gateway: int
    kind: int
    data_clock: int
    always: int
    interval_ms: int
    grid_ms: int
    max_age_ms: int
    hold_ms: int
    rate_max: int
    step_sure: int
    span: int
    low: int
    high: int
    divisor: int
    edges: int
    edges_end: int
    wastes: int
    wastes_end: int
    sense: int
    tracks: int
    tracks_end: int
    windows: int
    windows_end: int


class SenseMeta(Protocol):
    """A row of SENSE_META (`layout`), as a kernel sees it."""

    site: int
    evidence: int
    evidence_end: int
    state: int
    likely: int
    co2: int
    schedule: int
    params: int


class SenseRow(Protocol):
    """A row of SENSE, as a kernel sees it."""

    time: int
    started: int
    odds: int
    co2_time: int
    co2_fast: int
    co2_slow: int
    co2_least: int
    air_change: int
    wifi_least: int
    plug_least: int
    occupied: int


class RuleRow(Protocol):
    """A row of RULE (`layout`), as a kernel sees it."""

    site: int
    flags: int
    raises: int
    raises_end: int
    clears: int
    clears_end: int
    roles: int
    roles_end: int
    ages: int
    ages_end: int
    schedules: int
    schedules_end: int
    parts: int
    parts_end: int
    looks: int
    steps: int
    steps_end: int
    inhibitors: int
    inhibitors_end: int
    exempt: int
    estimates: int
    estimates_end: int
    for_ms: int
    keep_ms: int
    stale_ms: int


class TrackRow(Protocol):
    """A row of TRACK, as a kernel sees it."""

    cell: int
    amount: int
    known_ms: int
    since: int
    spread: int


class WindowRow(Protocol):
    """A row of WINDOW, as a kernel sees it."""

    done: int
    value: int
    known: int
    last: int
    night: int


class InstanceRow(Protocol):
    """A row of INSTANCE, as a kernel sees it."""

    true_since: int
    false_since: int
    unknown_since: int
    started: int
    due: int
    episode: int
    place: int
    phase: int
    level: int


class PartRow(Protocol):
    """A row of PART, as a kernel sees it."""

    start: int
    live_from: int
    end: int
    amount: int
    before_ms: int
    episode: int
    open: int


IDLE: Final = 0
PENDING: Final = 1
FIRING: Final = 2

CLOSED: Final = 0
COUNTING: Final = 1
CLOSING: Final = 2

CLOCK: Final = 0
RESUMED: Final = 1
TIMERS: Final = 2
REPEATS: Final = 3
LATE: Final = 4
READINGS: Final = 5
MESSAGES: Final = 6
REJECTS: Final = 7
APPLIED: Final = 8
SCALARS: Final = 9


class StateArrays(NamedTuple):
    """What the kernels change; `scalars` int64[SCALARS] are clock, last outage, length of the timer queue, counters.

    Kernels take the arrays one by one: a tuple of arrays as an argument costs a reference count per array and call,
    some 2 µs a reading.
    """

    scalars: NDArray[np.int64]
    points: NDArray[np.void]
    instances: NDArray[np.void]
    parts: NDArray[np.void]
    queue: NDArray[np.int32]
    facts: NDArray[np.void]
    """FACT; only this, `seen` and no other array changes its length between documents"""
    seen: NDArray[np.void]
    """SEEN, in the order of the log"""
    senses: NDArray[np.void]
    tracks: NDArray[np.void]
    windows: NDArray[np.void]
    cells: NDArray[np.int64]
    """[n, 2]: rings of tracks and windows (`layout.TRACK_INFO`, `layout.WINDOW_INFO`)"""


def empty_points(count: int) -> NDArray[np.void]:
    """Points that have never been read."""
    points = np.zeros(count, POINT)
    for name in ("clock", "row_from", "row_to", "pend_time", "fact_time", "since"):
        points[name] = NEVER
    points["dirty_from"] = FAR
    points["dirty_to"] = NEVER
    return points


def empty_instances(count: int) -> NDArray[np.void]:
    """Instances that have never been evaluated."""
    instances = np.zeros(count, INSTANCE)
    for name in ("true_since", "false_since", "unknown_since", "started"):
        instances[name] = NEVER
    instances["due"] = FAR
    instances["place"] = -1
    return instances


def empty_parts(count: int) -> NDArray[np.void]:
    """Parts of no episode."""
    parts = np.zeros(count, PART)
    for name in ("start", "live_from", "end"):
        parts[name] = NEVER
    return parts


def empty_senses(count: int) -> NDArray[np.void]:
    """Spaces of which nothing is known."""
    senses = np.zeros(count, SENSE)
    for name in ("time", "started", "co2_time"):
        senses[name] = NEVER
    for name in ("wifi_least", "plug_least"):
        senses[name] = -1
    return senses


def empty_tracks(count: int) -> NDArray[np.void]:
    """Tracks of points that have never been read."""
    tracks = np.zeros(count, TRACK)
    for name in ("cell", "since"):
        tracks[name] = NEVER
    return tracks


def empty_windows(count: int) -> NDArray[np.void]:
    """Windows that have seen nothing."""
    windows = np.zeros(count, WINDOW)
    for name in ("done", "night"):
        windows[name] = NEVER
    return windows


def empty_state(
    points: int, instances: int, parts: int, senses: int = 0, tracks: int = 0, windows: int = 0, cells: int = 0
) -> StateArrays:
    """A state in which nothing has happened."""
    scalars = np.zeros(SCALARS, np.int64)
    scalars[CLOCK] = NEVER
    scalars[RESUMED] = NEVER
    return StateArrays(
        scalars,
        empty_points(points),
        empty_instances(instances),
        empty_parts(parts),
        np.zeros(max(instances, 1), np.int32),
        np.zeros(0, FACT),
        np.zeros(0, SEEN),
        empty_senses(senses),
        empty_tracks(tracks),
        empty_windows(windows),
        np.zeros((cells, 2), np.int64),
    )


# Output rows: one int64 matrix in the order of emission. Every row begins with STREAM, SITE, OFFSET, KNOWN_AT; then
# the stream's own columns.
LEDGER: Final = 0
GAUGES: Final = 1
ALERTS: Final = 2
PARTS: Final = 3
VERDICTS: Final = 4
REJECTED: Final = 5

COLUMNS: Final = {
    LEDGER: ("point", "from_ms", "to_ms", "quantity", "how", "cause"),
    GAUGES: ("point", "from_ms", "to_ms", "count", "sum", "minimum", "maximum", "integral"),
    ALERTS: ("instance", "episode", "state", "valid_at", "started_at", "level", "estimate"),
    PARTS: ("instance", "episode", "point", "from_ms", "to_ms", "quantity", "final"),
    VERDICTS: ("point", "time_ms", "value", "code"),
    REJECTED: ("message", "reason", "reading", "point", "time_ms", "value", "quality"),
}
HEAD_COLUMNS: Final = 4
OUT_COLUMNS: Final = HEAD_COLUMNS + max(map(len, COLUMNS.values()))

# The context of a kernel call, int64[CONTEXT]: the message being applied, the next free row of `out`, and scratch for
# `programs.run`.
SITE: Final = 0
OFFSET: Final = 1
KNOWN_AT: Final = 2
CURSOR: Final = 3
ESTIMATE: Final = 4
"""What the rule that is looked at estimates just now."""
SCRATCH: Final = 8
SORTING: Final = SCRATCH + 2 * STACK_MAX
SORTED_MAX: Final = 256
"""values of which a median or quantile is taken"""
CONTEXT: Final = SORTING + SORTED_MAX

HOW_MEASURED: Final = 0
HOW_GAP: Final = 1
HOW_ESTIMATED: Final = 2
HOW_DECLARED: Final = 3
HOW_PROFILED: Final = 4

CAUSE_READING: Final = 0
CAUSE_ROLLOVER: Final = 1
CAUSE_SWAP: Final = 2
CAUSE_RESET: Final = 3
CAUSE_SETTLEMENT: Final = 5

VERDICT_ROLLOVER: Final = 1
VERDICT_DIP: Final = 2
VERDICT_RATE: Final = 3
VERDICT_RESET: Final = 4
VERDICT_RANGE: Final = 5
VERDICT_LATE: Final = 7
VERDICT_LATE_FACT: Final = 9
VERDICT_FACT: Final = 10
VERDICT_ZEROS: Final = 12

NO_ESTIMATE: Final = -1

STATE_FIRING: Final = 0
STATE_RESOLVED: Final = 1
STATE_STALE: Final = 2
