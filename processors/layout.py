"""What a layout is: indices from the documents of a task's sites, and how the kernels read them.

The row of a point, the rules it wakes, what an episode wastes. `layout_build` makes layouts, `layout_lists` the lists
in them. Rows are ordered by site, gateway and number, so that a gateway's points lie side by side in the state: that is
what keeps the cost of a reading flat up to millions of points.
"""

import dataclasses
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.model.document import Document

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
