"""Who is in the room: a sequential filter per space, two states, log-odds in fixed point.

Each reading of a space's evidence moves the filter to its time. First the odds drift as people come and go (rates by
the working schedule; a door that has moved makes a change likely), then evidence is added: motion with a hold time,
clients of the Wi-Fi and power of sockets above the least of the last days, and CO2. CO2 is taken as a balance of the
room's air: what comes in, slope + air change x excess over the air outside, is near 0 when nobody is there, also while
the level falls. The air change is the room's own: CO2 falls no faster than it in 9 of 10 minutes, a quantile that is
followed step by step.

Light is no evidence. All numbers are integers: log-odds in 2^-16, probabilities in 2^-30, CO2 in thousandths of ppm
with 8 bits below; exp and ln are tables with linear interpolation, made with decimals, so that they are the same
everywhere.
"""

from decimal import Decimal
from typing import Final

import numpy as np
from numpy.typing import NDArray

from processors.kernels.gauges import gauge_step
from processors.kernels.jit import inner, kernel
from processors.kernels.rows import Longs
from processors.kernels.windows import schedule_place
from processors.state import CLOCK, NEVER, SITE, SenseMeta, SenseRow
from schemas.model.presence import CO2, DOOR, MOTION, NAT, ONE, PLUG, WIFI, parameters
from schemas.rules.program import FALSE, TRUE

_NAMES: Final = tuple(parameters())
_ARRIVE_WORKING: Final = _NAMES.index("arrive_working")
_LEAVE_WORKING: Final = _NAMES.index("leave_working")
_ARRIVE_CLOSED: Final = _NAMES.index("arrive_closed")
_LEAVE_CLOSED: Final = _NAMES.index("leave_closed")
_ARRIVE_ANY: Final = _NAMES.index("arrive_any")
_LEAVE_ANY: Final = _NAMES.index("leave_any")
_CO2_OUTDOOR: Final = _NAMES.index("co2_outdoor")
_CO2_BASE_TIME: Final = _NAMES.index("co2_base_time")
_CO2_FAST: Final = _NAMES.index("co2_fast")
_CO2_SLOW: Final = _NAMES.index("co2_slow")
_CO2_SOURCE: Final = _NAMES.index("co2_source")
_CO2_RELATIVE: Final = _NAMES.index("co2_relative")
_CO2_WEIGHT: Final = _NAMES.index("co2_weight")
_AIR_CHANGE: Final = _NAMES.index("air_change")
_AIR_CHANGE_MIN: Final = _NAMES.index("air_change_min")
_AIR_CHANGE_MAX: Final = _NAMES.index("air_change_max")
_AIR_CHANGE_STEP: Final = _NAMES.index("air_change_step")
_AIR_CHANGE_SHARE: Final = _NAMES.index("air_change_share")
_MOTION_EVENT: Final = _NAMES.index("motion_event")
_MOTION_ACTIVE: Final = _NAMES.index("motion_active")
_MOTION_HOLD: Final = _NAMES.index("motion_hold")
_MOTION_STILL: Final = _NAMES.index("motion_still")
_WIFI_PRESENT: Final = _NAMES.index("wifi_present")
_WIFI_ABSENT: Final = _NAMES.index("wifi_absent")
_DOOR_CHANGE: Final = _NAMES.index("door_change")
_PLUG_STEP: Final = _NAMES.index("plug_step")
_PLUG_PRESENT: Final = _NAMES.index("plug_present")
_RAISE_AT: Final = _NAMES.index("raise_at")
_CLEAR_AT: Final = _NAMES.index("clear_at")
_CERTAINTY: Final = _NAMES.index("certainty")
_WARM_UP: Final = _NAMES.index("warm_up")

_MIN: Final = 60_000
_BELOW: Final = 8
"""Bits of CO2, clients and power below their units."""
_LEVEL_MAX: Final = 100_000_000
"""Evidence is cut here (100,000 ppm): products fit in int64."""
_STEP_MAX_MS: Final = 3_600_000
"""After a longer silence the filter has forgotten what it knew anyway."""
_CO2_SPAN_MAX_MS: Final = 600_000
"""One reading of CO2 speaks for so long at most."""
_CHANGE_MAX: Final = ONE >> 1
_NEAR: Final = ONE >> 14
"""Probabilities stay so far from 0 and 1."""
_EXP_STEPS: Final = 64
_EXP_MAX: Final = 16
_LN_STEPS: Final = 1024
_LN_SHIFT: Final = 20

_EXP: Final = np.array(
    [round(ONE * (-Decimal(i) / _EXP_STEPS).exp()) for i in range(_EXP_STEPS * _EXP_MAX + 2)], np.int64
)
"""exp(-i / 64) in 2^-30."""
_LN: Final = np.array([round(NAT * (1 + Decimal(i) / _LN_STEPS).ln()) for i in range(_LN_STEPS + 2)], np.int64)
"""ln(1 + i / 1024) in 2^-16."""
_LN2: Final = round(NAT * Decimal(2).ln())
ESTIMATES: Final = 2
"""What the filter says of a space: first the probability, then the state."""

Records = NDArray[np.void]


@kernel
def probability(odds: int) -> int:
    """The probability of log-odds."""
    size = min(odds if odds >= 0 else -odds, _EXP_MAX * NAT - 1)
    place = size * _EXP_STEPS // NAT
    rest = size * _EXP_STEPS - place * NAT
    less = _EXP[place] + (_EXP[place + 1] - _EXP[place]) * rest // NAT
    likely = (ONE * ONE) // (ONE + less)
    return likely if odds >= 0 else ONE - likely


@kernel
def logarithm(value: int) -> int:
    """Ln of a probability, at least 2^-30."""
    shift = np.int64(0)
    m = max(value, 1)
    while m < ONE:
        m <<= 1
        shift += 1
    place = (m - ONE) >> _LN_SHIFT
    rest = (m - ONE) - (place << _LN_SHIFT)
    return _LN[place] + (((_LN[place + 1] - _LN[place]) * rest) >> _LN_SHIFT) - shift * _LN2


@kernel
def drift(odds: int, came: int, left: int) -> int:
    """Log-odds after a step in which somebody came, or the last one left, with these probabilities."""
    p = probability(odds)
    p += ((ONE - p) * came - p * left) >> 30
    p = max(_NEAR, min(p, ONE - _NEAR))
    return logarithm(p) - logarithm(ONE - p)


@inner
def _chance(span_ms: int, mean_ms: int) -> int:
    return min((span_ms * ONE) // max(mean_ms, 1), _CHANGE_MAX)


@inner
def _fresh(row: int, time: int, meta: Records, points: Records) -> bool:
    """Whether a point's value may be believed at a time."""
    p = points[row]
    return p.fact_time != NEVER and p.fact_good != 0 and time - p.fact_time <= meta[row].max_age_ms


@inner
def _rates(s: SenseMeta, time: int, span_ms: int, params: Longs, lists: Longs) -> tuple[int, int]:
    """Probabilities that somebody came, and that the last one left."""
    come = params[s.params, _ARRIVE_ANY]
    leave = params[s.params, _LEAVE_ANY]
    if s.schedule >= 0:
        place = schedule_place(s.schedule, time, lists)
        if place != s.schedule:
            if lists[place, 1] == TRUE:
                come, leave = params[s.params, _ARRIVE_WORKING], params[s.params, _LEAVE_WORKING]
            elif lists[place, 1] == FALSE:
                come, leave = params[s.params, _ARRIVE_CLOSED], params[s.params, _LEAVE_CLOSED]
    return _chance(span_ms, come), _chance(span_ms, leave)


@inner
def _least(known: int, value: int, span_ms: int, mean_ms: int) -> int:
    """The lowest level of the last days: falls at once, rises slowly towards what is there."""
    if value <= known:
        return value
    return known + (value - known) * min(span_ms, _STEP_MAX_MS) // max(mean_ms, _STEP_MAX_MS)


@kernel
def air(x: SenseRow, value: int, time: int, own: Longs) -> int:
    """What a reading of CO2 (thousandths of ppm) says; moves the means, the level outside and the air change."""
    level = max(0, min(value, _LEVEL_MAX)) << _BELOW
    outside = own[_CO2_OUTDOOR] << _BELOW
    if x.co2_time == NEVER:
        x.co2_fast = level
        x.co2_slow = level
        x.co2_least = min(level, outside)
        x.air_change = own[_AIR_CHANGE]
        x.co2_time = time
        return np.int64(0)
    span_ms = time - x.co2_time
    if span_ms <= 0:
        return np.int64(0)
    x.co2_time = time
    if span_ms > _STEP_MAX_MS:  # what happened meanwhile nobody knows
        x.co2_fast = level
        x.co2_slow = level
        x.co2_least = min(x.co2_least, level)
        return np.int64(0)
    x.co2_fast += (level - x.co2_fast) * span_ms // (own[_CO2_FAST] + span_ms)
    x.co2_slow += (level - x.co2_slow) * span_ms // (own[_CO2_SLOW] + span_ms)
    x.co2_least = _least(x.co2_least, x.co2_fast, span_ms, own[_CO2_BASE_TIME])
    # A mean with time constant T lags T behind a ramp, so the difference of two is the slope times that of theirs.
    apart_ms = max(own[_CO2_SLOW] - own[_CO2_FAST], 1)
    slope = ((x.co2_fast - x.co2_slow) * _MIN // apart_ms) >> _BELOW
    excess = (x.co2_fast - x.co2_least) >> _BELOW
    if excess > 100_000:  # below 100 ppm the noise of a sensor is the larger part
        falls = -slope * 1_000_000_000 // excess
        step = own[_AIR_CHANGE_STEP] * min(span_ms, _CO2_SPAN_MAX_MS) // _MIN
        up = (step * (own[_AIR_CHANGE_SHARE] >> 10)) >> 20
        x.air_change += up if falls > x.air_change else up - step
        x.air_change = max(own[_AIR_CHANGE_MIN], min(x.air_change, own[_AIR_CHANGE_MAX]))
    carried = x.air_change * excess // 1_000_000_000
    wanted = max(own[_CO2_SOURCE] + ((carried * (own[_CO2_RELATIVE] >> 10)) >> 20), 1)
    says = (slope + carried - wanted) * NAT // wanted
    says = max(-NAT, min(says, NAT))
    return (says * own[_CO2_WEIGHT] // NAT) * min(span_ms, _CO2_SPAN_MAX_MS) // _MIN


@inner
def _standing(
    s: SenseMeta,
    x: SenseRow,
    time: int,
    span_ms: int,
    own: Longs,
    lists: Longs,
    meta: Records,
    points: Records,
) -> tuple[int, int]:
    """(log-odds, chance of a change) that motion, clients, sockets and doors add over the last `span_ms`."""
    odds = np.int64(0)
    change = np.int64(0)
    seen = np.int64(NEVER)
    sensed = False
    moving = False
    counted = False
    metered = False
    clients = np.int64(0)
    power = np.int64(0)
    for k in range(s.evidence, s.evidence_end):
        kind = lists[k, 0]
        row = lists[k, 1]
        if kind == CO2 or not _fresh(row, time, meta, points):
            continue
        p = points[row]
        value = max(0, min(p.fact_value, _LEVEL_MAX))
        if kind == MOTION:
            sensed = True
            moving = moving or value > 0
            seen = max(seen, p.since)
        elif kind == WIFI:
            counted = True
            clients += value
        elif kind == PLUG:
            metered = True
            power += value
        elif kind == DOOR and p.since > time - span_ms and x.started != NEVER and p.since > x.started:
            change = own[_DOOR_CHANGE]
    if sensed:
        if moving:
            odds += own[_MOTION_ACTIVE] * min(span_ms, _MIN) // _MIN
        elif time - seen > own[_MOTION_HOLD]:
            odds -= own[_MOTION_STILL] * span_ms // _MIN
    if counted:
        level = clients << _BELOW
        x.wifi_least = level if x.wifi_least < 0 else _least(x.wifi_least, level, span_ms, own[_CO2_BASE_TIME])
        if level - x.wifi_least >= 1 << (_BELOW - 1):
            odds += own[_WIFI_PRESENT] * span_ms // _MIN
        else:
            odds -= own[_WIFI_ABSENT] * span_ms // _MIN
    if metered:
        level = power << _BELOW
        x.plug_least = level if x.plug_least < 0 else _least(x.plug_least, level, span_ms, own[_CO2_BASE_TIME])
        if level - x.plug_least > own[_PLUG_STEP] << _BELOW:
            odds += own[_PLUG_PRESENT] * span_ms // _MIN
    return odds, change


@kernel
def move(
    s: SenseMeta,
    x: SenseRow,
    kind: int,
    row: int,
    time: int,
    params: Longs,
    lists: Longs,
    meta: Records,
    points: Records,
) -> bool:
    """Takes a reading of evidence that is the point's fact by now; False when it is behind the filter's time."""
    own = params[s.params]
    if x.time == NEVER:
        x.time = time
        x.started = time
    if time < x.time:
        return False
    span_ms = min(time - x.time, _STEP_MAX_MS)
    x.time = time
    says, change = _standing(s, x, time, span_ms, own, lists, meta, points)
    came, left = _rates(s, time, span_ms, params, lists)
    odds = x.odds
    if span_ms > 0:
        odds = drift(odds, max(came, change), max(left, change))
    if row == s.co2 and points[row].fact_good != 0:
        says += air(x, points[row].fact_value, time, own)
    elif kind == MOTION and points[row].fact_value > 0 and points[row].since == time:
        says += own[_MOTION_EVENT]
    certain = own[_CERTAINTY]
    x.odds = max(-certain, min(odds + says, certain))
    p = probability(x.odds)
    if p >= own[_RAISE_AT]:
        x.occupied = 1
    elif p < own[_CLEAR_AT]:
        x.occupied = 0
    return True


@inner
def sense(
    row: int,
    time: int,
    params: Longs,
    sense_meta: Records,
    senses: Records,
    context: Longs,
    lists: Longs,
    meta: Records,
    points: Records,
) -> bool:
    """A reading of a space's evidence has become its point's fact: moves the filter; False when it comes too late."""
    which = meta[row].sense
    s = sense_meta[which]
    kind = np.int64(CO2)
    for k in range(s.evidence, s.evidence_end):
        if lists[k, 1] == row:
            kind = lists[k, 0]
    context[SITE] = s.site
    return move(s, senses[which], kind, row, time, params, lists, meta, points)


@inner
def estimate(
    number: int,
    which: int,
    time: int,
    params: Longs,
    sense_meta: Records,
    senses: Records,
    context: Longs,
    scalars: Longs,
    meta: Records,
    points: Records,
    out: Longs,
) -> tuple[int, int, int, bool]:
    """One of the `ESTIMATES` of a space becomes a reading of its point: an interval of a gauge, and a fact.

    Returns:
        (row of the point or -1 when it knows of this time already, its clock before, time of its last fact, whether
        rules must look).
    """
    s = sense_meta[which]
    x = senses[which]
    row = np.int64(s.likely)
    value = probability(x.odds) * 100_000 // ONE  # thousandths of a per cent
    if number > 0:
        row = np.int64(s.state)
        value = np.int64(x.occupied)
    good = 1 if time - x.started >= params[s.params, _WARM_UP] else 0
    p = points[row]
    info = meta[row]
    seen = p.fact_time
    before = p.clock
    if time <= before:
        return -1, before, seen, False
    gauge_step(p, info, time, value, context, out)
    expired = seen == NEVER or time - seen > info.max_age_ms
    changed = expired or scalars[CLOCK] - seen > info.max_age_ms or value != p.fact_value or good != p.fact_good
    if expired or value != p.fact_value:
        p.since = time
    p.fact_time = time
    p.fact_value = value
    p.fact_good = good
    return row, before, seen, changed
