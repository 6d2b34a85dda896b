"""A settlement that computes only a part of a history gives the rows of one that computes all of it."""

import dataclasses
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors import settle as settling_module
from processors.arrivals import Arrivals
from processors.kernels.settle import SEEN_LATE
from processors.narrowing import Flags, Windows, windows
from processors.settle import Settler
from processors.state import HOW_PROFILED
from tests.processors.settling import LATER, LONG_AGO, settler
from tests.processors.test_settle import FLOW, HAND, KNOWN_AT, MAIN, QUARTER, SITE, WARM, Reading
from tests.processors.world import DAY, HOUR, MIN, T0, Record, batch, config, fact, library, records, slab
from tests.support.patience import patient

PATIENT = {dips: dataclasses.replace(SITE, limits={**SITE.limits, "dips": dips}) for dips in (3, 12, 120)}
"""Sites that wait for so many readings before they believe a lower level."""
DOCUMENTS = library(*PATIENT.values())
METERS = {MAIN: "m", HAND: "h"}
BEAT = {MAIN: QUARTER, FLOW: QUARTER, WARM: 10 * MIN, HAND: DAY}


def log_of(batches: list[bytes], dips: int = 3) -> list[Record]:
    """A log of a site."""
    return records([(KNOWN_AT + place, value) for place, value in enumerate([config(PATIENT[dips]), *batches])])


def history(seed: int) -> list[Record]:
    """Registers that run for days by the hour, with gaps; some readings come late, twice, corrected or cannot be.

    Every second history tells facts of meters too, also late, and is silent for days, so that points that are computed
    as a whole, and are spread, stand beside those of which a part is.
    """
    chance = random.Random(seed)
    found: list[tuple[float, bytes | Reading]] = []
    eventful = chance.random() < 0.5
    for number, interval in BEAT.items():
        beat = interval * chance.choice([1, 1, 1, 7])
        level, at = chance.randrange(50_000), T0 + chance.randrange(beat)
        readings: list[Reading] = []
        for place in range(chance.choice([6, 40, 400 if number != HAND else 9])):
            busy = at % DAY < 10 * HOUR
            level = (level + chance.choice([0, 3, 50, 90] if busy else [0, 3])) % 100_000
            if eventful and number in METERS and chance.random() < 0.01:
                told = _fact(chance, number, at - beat // 3, level, f"{number}.{place}")
                found.append((at + chance.choice([-300.5, 0, 0.5, 40.5, 300.5]) * beat, told))
                level = chance.choice([level, 7])
            value = {WARM: chance.randrange(50_000), FLOW: chance.randrange(50)}.get(number, level)
            readings.append((number, at, value, chance.choice(["good"] * 30 + ["estimated"])))
            silent = chance.choice([30, 150]) * QUARTER if chance.random() < 0.01 * eventful else 0
            at += beat + silent + chance.choice([0, 0, 0, 7, MIN])
        moved = chance.sample(range(len(readings)), min(3, len(readings)))
        delay = {place: chance.choice([1.5, 3.5, 20.5, 90.5, 130.5]) for place in moved}
        for place, reading in enumerate(readings):
            found.append((reading[1] + (delay.get(place, 0) * beat), reading))
            if place in moved and chance.random() < 0.4:
                other = chance.choice([reading[2] + 1, reading[2] // 2, reading[2] + 30_000, reading[2]])
                found.append((reading[1] + 95.5 * beat, (number, reading[1], other, "good")))
    arrived = [one for _, one in sorted(found, key=lambda one: one[0])]
    return log_of(_batches(chance, arrived), chance.choice([3, 12, 120]))


def _fact(chance: random.Random, number: int, at: int, level: int, name: str) -> bytes:
    kind = chance.choice(["swapped", "multiplier", "reset"])
    ratio = {"numerator": chance.choice([2, 40]), "denominator": chance.choice([1, 3])}
    about = {"swapped": {"final": level, "initial": 5}, "multiplier": ratio, "reset": {"final": level}}[kind]
    return fact(kind, at, {"point": number, **about}, meter=METERS[number], event_id=name)


def _batches(chance: random.Random, arrived: list[bytes | Reading]) -> list[bytes]:
    """Readings in the order of arrival, several a message; facts between them."""
    found: list[bytes] = []
    waiting: list[Reading] = []
    for one in [*arrived, b""]:
        if waiting and (isinstance(one, bytes) or chance.random() < 0.2):
            found.append(batch(waiting))
            waiting = []
        if not isinstance(one, bytes):
            waiting.append(one)
        elif one:
            found.append(one)
    return found


def advanced(log: list[Record]) -> Settler:
    """A settler that has read a log."""
    made = settler(log, DOCUMENTS)
    made.advance(slab(log))
    return made


def rows_of(made: Settler, seen: list[Windows] | None = None, whole: bool = False) -> tuple[object, object]:
    """The rows of a settlement of everything; the windows that it has read are added to `seen`."""

    def looked(arrivals: Arrivals, site: str, wanted: Flags) -> Windows:
        found = windows(arrivals, site, wanted)
        if seen is not None:
            seen.append(found)
        return found.whole(np.flatnonzero(wanted)) if whole else found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settling_module, "windows", looked)
        rows = made.difference("s1", LONG_AGO, LATER)
    return rows.ledger.tolist(), rows.gauges.tolist()


def part_is_whole(log: list[Record]) -> Windows:
    """Asserts that both ways give the same rows, row by row; the window of the narrow one."""
    made, seen = advanced(log), list[Windows]()
    assert rows_of(made, seen) == rows_of(made, whole=True)
    return seen[0]


@patient(max_examples=150)
@given(st.integers(0, 10**9))
def test_a_part_gives_the_rows_of_the_whole(seed: int) -> None:
    """Whatever comes late, and whatever it does to what came before and after it."""
    part_is_whole(history(seed))


@pytest.mark.long
@patient(max_examples=3000)
@given(st.integers(0, 10**9))
def test_a_part_gives_the_rows_of_the_whole_in_thousands(seed: int) -> None:
    """The same, for longer."""
    part_is_whole(history(seed))


def test_a_gap_that_a_late_reading_makes_is_spread_by_what_came_before_the_window() -> None:
    """A late leap sets a day and more aside, to the last reading: its gap needs like days, before the window."""
    usage = [200 if k % 96 < 40 else 1 for k in range(900)]
    level = [sum(usage[:k]) for k in range(901)]
    leap = 700
    order = [*range(leap), *range(leap + 1, leap + 131), leap, *range(leap + 131, leap + 134)]
    log = log_of([batch([(MAIN, T0 + k * QUARTER, level[k] + 9_000 * (k == leap), "good")]) for k in order], 120)
    window = part_is_whole(log)
    assert window.narrow[MAIN]
    rows, _ = rows_of(advanced(log))
    assert isinstance(rows, list)
    spread = [row[4] for row in rows if row[3] == HOW_PROFILED]
    assert len(spread) > 96
    assert max(spread) > 2 * min(spread), "it has a shape"


def test_what_is_read_does_not_grow_with_the_history() -> None:
    """One reading that comes two hours late in weeks of them: a window of hours."""
    order = [*range(1000), *range(1001, 1008), 1000, *range(1008, 3000)]
    log = log_of([batch([(MAIN, T0 + k * QUARTER, 3 * k + (k == 1000), "good")]) for k in order])
    seen: list[Windows] = []
    ledger, _ = rows_of(advanced(log), seen)
    assert ledger
    [window] = seen
    assert window.narrow[MAIN]
    low, high = window.bounds[MAIN].tolist()
    assert T0 + 990 * QUARTER < low < T0 + 1000 * QUARTER
    assert T0 + 1007 * QUARTER < high < T0 + 1020 * QUARTER


@pytest.mark.parametrize(("dips", "lag"), [(3, 8), (12, 8), (120, 8), (120, 131)])
def test_a_late_value_that_moves_all_that_follow_is_computed_to_the_end(dips: int, lag: int) -> None:
    """A late reading far above its time, which a plausible rate allows: later ones are set aside, for three or for a day."""
    order = [*range(100), *range(101, 100 + lag), 100, *range(100 + lag, 300)]
    log = log_of([batch([(MAIN, T0 + k * QUARTER, 3 * k + 9_000 * (k == 100), "good")]) for k in order], dips)
    assert advanced(log).seen("s1")[MAIN] == SEEN_LATE
    part_is_whole(log)
