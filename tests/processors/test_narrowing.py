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
from tests.processors.settling import LATER, LONG_AGO, settler
from tests.processors.test_settle import FLOW, HAND, KNOWN_AT, MAIN, QUARTER, SITE, WARM
from tests.processors.world import DAY, MIN, T0, Record, batch, config, library, records, slab
from tests.support.patience import patient

PATIENT = {dips: dataclasses.replace(SITE, limits={**SITE.limits, "dips": dips}) for dips in (3, 12, 120)}
"""Sites that wait for so many readings before they believe a lower level."""
DOCUMENTS = library(*PATIENT.values())
BEAT = {MAIN: QUARTER, FLOW: QUARTER, WARM: 10 * MIN, HAND: DAY}


def log_of(batches: list[bytes], dips: int = 3) -> list[Record]:
    """A log of a site."""
    return records([(KNOWN_AT + place, value) for place, value in enumerate([config(PATIENT[dips]), *batches])])


def history(seed: int) -> list[Record]:
    """Registers that run for days, of which a few readings come late, twice, corrected or with a value that cannot be."""
    chance = random.Random(seed)
    found: list[tuple[float, bytes]] = []
    for number, interval in BEAT.items():
        beat = interval * chance.choice([1, 1, 1, 7])
        level, at = chance.randrange(50_000), T0 + chance.randrange(beat)
        readings = []
        for place in range(chance.choice([6, 40, 400])):
            level = (level + chance.choice([0, 3, 50, 90])) % 100_000
            value = {WARM: chance.randrange(50_000), FLOW: chance.randrange(50)}.get(number, level)
            readings.append((place, (number, at, value, chance.choice(["good"] * 30 + ["estimated"]))))
            at += beat + chance.choice([0, 0, 0, 7, MIN] + [30 * QUARTER] * (chance.random() < 0.01))
        moved = chance.sample(range(len(readings)), min(3, len(readings)))
        delay = {place: chance.choice([1.5, 3.5, 20.5, 90.5]) for place in moved}
        for place, reading in readings:
            found.append((reading[1] + (delay.get(place, 0) * beat), batch([reading])))
            if place in moved and chance.random() < 0.4:
                other = chance.choice([reading[2] + 1, reading[2] // 2, reading[2] + 30_000, reading[2]])
                found.append((reading[1] + 95.5 * beat, batch([(number, reading[1], other, "good")])))
    return log_of([value for _, value in sorted(found, key=lambda one: one[0])], chance.choice([3, 12, 120]))


def rows_of(log: list[Record], seen: list[Windows] | None = None, whole: bool = False) -> tuple[object, object]:
    """The rows of a settlement of everything; the windows that it has read are added to `seen`."""

    def looked(arrivals: Arrivals, site: str, wanted: Flags) -> Windows:
        found = windows(arrivals, site, wanted)
        if seen is not None:
            seen.append(found)
        return found.whole(np.flatnonzero(wanted)) if whole else found

    made = settler(log, DOCUMENTS)
    made.advance(slab(log))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settling_module, "windows", looked)
        rows = made.difference("s1", LONG_AGO, LATER)
    return rows.ledger.tolist(), rows.gauges.tolist()


@patient(max_examples=40)
@given(st.integers(0, 10**9))
def test_a_part_gives_the_rows_of_the_whole(seed: int) -> None:
    """Whatever comes late, and whatever it does to what came before and after it."""
    log = history(seed)
    assert rows_of(log) == rows_of(log, whole=True)


def test_what_is_read_does_not_grow_with_the_history() -> None:
    """One reading that comes two hours late in weeks of them: a window of hours."""
    order = [*range(1000), *range(1001, 1008), 1000, *range(1008, 3000)]
    log = log_of([batch([(MAIN, T0 + k * QUARTER, 3 * k + (k == 1000), "good")]) for k in order])
    seen: list[Windows] = []
    ledger, _ = rows_of(log, seen)
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
    made = settler(log, DOCUMENTS)
    made.advance(slab(log))
    assert made.seen("s1")[MAIN] == SEEN_LATE
    assert rows_of(log) == rows_of(log, whole=True)
