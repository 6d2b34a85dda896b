"""Settlement: whatever the order of arrival, the rows add up to those of the same readings in event-time order."""

import dataclasses
import random
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.advance import Processor
from processors.settle import Settler
from processors.snapshot import load, save
from replay.settlements import Settlements
from schemas import codec, topics
from schemas.control import SigningKey, settle_record
from tests.processors.settling import (
    KEY,
    LATER,
    LONG_AGO,
    gauges,
    ledger,
    settle,
    settlements,
    settler,
    signed,
    together,
)
from tests.processors.world import (
    DAY,
    HOUR,
    MIN,
    T0,
    Record,
    batch,
    config,
    decode,
    document,
    fact,
    library,
    point,
    records,
    run,
    slab,
)
from tests.support.oracle.engine import Oracle
from tests.support.patience import patient

Reading = tuple[int, int, int, str]

MAIN, FLOW, WARM, HAND = 1, 2, 3, 4
QUARTER = 15 * MIN
SITE = signed(
    document(
        [
            point(MAIN, role="energy", kind="register", unit="Wh", interval_s=900, rated="40000"),
            point(FLOW, role="gas", kind="delta", unit="L", interval_s=900),
            point(WARM, role="temperature", unit="degC", interval_s=900, max_age_s=3600, max="60"),
            point(HAND, role="water", kind="register", unit="L", interval_s=86_400),
        ],
        tables={
            "meters": [{"id": name, "digits": 5, "resolution": "1", "ct": "1", "pt": "1"} for name in ("m", "h")],
            "meter_install": [
                {"meter": name, "point": f"p{number}", "valid_from": None}
                for name, number in (("m", MAIN), ("h", HAND))
            ],
        },
    )
)
DOCUMENTS: Final = library(SITE)
KNOWN_AT = T0 + 60 * DAY
"""All readings of a test are known when the log begins, so that none lies in the future."""


@st.composite
def histories(draw: st.DrawFn) -> list[Reading]:
    """Readings in event-time order: registers that grow, roll over, dip and leap, and gaps of hours and of days."""
    chance = random.Random(draw(st.integers(0, 10**9)))
    found: list[Reading] = []
    for number in (MAIN, FLOW, WARM, HAND):
        at, level = T0 + chance.randrange(DAY), chance.choice([0, 500, 99_000])
        for _ in range(chance.randrange(2, 40)):
            at += chance.choice([MIN, QUARTER, QUARTER, QUARTER, HOUR + 7, 30 * HOUR])
            level = (level + chance.choice([0, 3, 50, 400])) % 100_000
            value = {MAIN: level, HAND: level, FLOW: chance.randrange(50), WARM: chance.randrange(15_000, 70_000)}[
                number
            ]
            if chance.random() < 0.04:
                value = chance.choice([0, value * 3])
            found.append((number, at, value, chance.choice(["good"] * 9 + ["estimated"])))
    return sorted(found, key=lambda reading: (reading[1], reading[0]))


@st.composite
def arrivals(draw: st.DrawFn, history: list[Reading]) -> list[bytes]:
    """The readings of a history as batches in some order, with repeats, and with wrong values that are corrected later."""
    chance = random.Random(draw(st.integers(0, 10**9)))
    order = [(place + chance.choice([0, 0, 0, 0, 5, 60, -40]), reading) for place, reading in enumerate(history)]
    sent = [reading for _, reading in sorted(order)]
    for reading in chance.sample(history, min(3, len(history))):
        number, at, value, quality = reading
        first = sent.index(reading)
        if chance.random() < 0.5:
            sent.insert(chance.randrange(first + 1), (number, at, value + 1 if value < 50_000 else value - 1, quality))
        sent.append(reading)
    found = []
    while sent:
        size = chance.randrange(1, 9)
        found.append(batch(sent[:size], mode=chance.choice(["live", "live", "backfill"])))
        sent = sent[size:]
    return found


def log_of(batches: list[bytes], *more: bytes) -> list[Record]:
    """A log of the site: its document, batches, and what comes after them."""
    values = [config(SITE), *batches, *more]
    return records([(KNOWN_AT + place, value) for place, value in enumerate(values)])


def expected(history: list[Reading]) -> tuple[dict[Any, int], dict[Any, Any]]:
    """What the slow oracle makes of the readings when they come in order, one by one."""
    oracle = Oracle("meter.readings", 0, DOCUMENTS)
    for record in log_of([batch([reading]) for reading in history]):
        oracle.feed(*record)
    return ledger(oracle.rows["ledger"]), gauges(oracle.rows["gauges"])


def unspread(sums: dict[Any, int], wanted: dict[Any, int]) -> dict[Any, int]:
    """Puts what was spread over a long gap back into one row, that of `wanted` in which it lies."""
    found = {key: quantity for key, quantity in sums.items() if key[3] != "profiled"}
    spread = [(key, quantity) for key, quantity in sums.items() if key[3] == "profiled"]
    for key in wanted:
        inside = [
            quantity
            for (point, start, end, _), quantity in spread
            if point == key[0] and key[1] <= start and end <= key[2]
        ]
        if inside and key[3] in ("gap", "estimated") and key[2] - key[1] > QUARTER:
            found[key] = sum(inside)
    assert sum(found.values()) == sum(sums.values())
    return found


@patient(max_examples=25)
@given(st.data())
def test_any_order_of_arrival(data: st.DataObject) -> None:
    """Live and settled rows together are the oracle's rows of the readings in order, interval by interval, to the unit."""
    history = data.draw(histories())
    log = log_of(data.draw(arrivals(history)), settle())
    rows = together(log, DOCUMENTS)
    wanted, figures = expected(history)
    assert unspread(ledger(rows["ledger"]), wanted) == wanted
    assert gauges(rows["gauges"]) == figures


Happening = tuple[int, Reading | bytes]
"""A reading, or a fact, and its time."""


@st.composite
def lives(draw: st.DrawFn) -> list[Happening]:
    """What happens to the main meter and the one that is read by hand, in event-time order: readings, swaps, ratios."""
    chance = random.Random(draw(st.integers(0, 10**9)))
    found: list[Happening] = []
    for number, name in ((MAIN, "m"), (HAND, "h")):
        at, level = T0 + chance.randrange(DAY), chance.randrange(50_000)
        for place in range(chance.randrange(2, 40)):
            at += chance.choice([1, MIN, QUARTER, QUARTER, QUARTER, HOUR + 7, 30 * HOUR])
            used = chance.choice([0, 3, 50, 90])
            if chance.random() < 0.85:
                level += used
                found.append((at, (number, at, level, "good")))
                continue
            kind, fresh = chance.choice(["swapped", "multiplier", "reset", "width"]), chance.randrange(100)
            about: dict[str, int] = {"point": number}
            if kind == "swapped":
                about |= {"final": level + used} if chance.random() < 0.8 else {}
                about |= {"initial": fresh}
                level = fresh
            elif kind == "reset":
                about["final"], level = level + used, 0
            elif kind == "multiplier":
                about |= {"numerator": chance.choice([1, 2, 40]), "denominator": chance.choice([1, 3])}
            else:
                about["span"] = 1_000_000
            found.append((at, fact(kind, at, about, meter=name, event_id=f"{name}{place}")))
    return sorted(found, key=lambda happening: happening[0])


def as_message(happening: Happening) -> bytes:
    """A reading as a batch of its own, or the fact."""
    what = happening[1]
    return what if isinstance(what, bytes) else batch([what])


@patient(max_examples=25)
@given(st.data())
def test_facts_and_readings_in_any_order(data: st.DataObject) -> None:
    """Swaps, resets and multipliers that come at any time, late or early, end where they would have come in order."""
    life = data.draw(lives())
    chance = random.Random(data.draw(st.integers(0, 10**9)))
    shuffled = [(place + chance.choice([0, 0, 0, 5, 60, -40]), k) for place, k in enumerate(range(len(life)))]
    log = log_of([as_message(life[k]) for _, k in sorted(shuffled)], settle())
    oracle = Oracle("meter.readings", 0, DOCUMENTS)
    for record in log_of([as_message(happening) for happening in life]):
        oracle.feed(*record)
    assert not oracle.rows["rejected"]
    wanted = ledger(oracle.rows["ledger"])
    assert unspread(ledger(together(log, DOCUMENTS)["ledger"]), wanted) == wanted


@dataclasses.dataclass(frozen=True)
class Told:
    """A fact as it is sent: its meter, name, the name of the one in whose place it comes, and what it says."""

    at: int
    meter: str
    event_id: str
    replaces: str
    kind: str
    about: tuple[dict[str, int], ...]

    def message(self, replaces: str | None = None) -> bytes:
        """Signed."""
        names = {"event_id": self.event_id, "replaces": self.replaces if replaces is None else replaces}
        return fact(self.kind, self.at, *self.about, meter=self.meter, **names)


@st.composite
def corrected_lives(draw: st.DrawFn) -> tuple[list[Told], list[Reading]]:
    """Two meters, what was said of them, and what was said in its place: a figure, a time or a kind, or nothing at all."""
    chance = random.Random(draw(st.integers(0, 10**9)))
    told: list[Told] = []
    readings: list[Reading] = []
    for number, name in ((MAIN, "m"), (HAND, "h")):
        at, level = T0 + chance.randrange(DAY), chance.randrange(50_000)
        for place in range(chance.randrange(6, 40)):
            at += chance.choice([MIN, QUARTER, QUARTER, HOUR + 7, 30 * HOUR])
            level += chance.choice([0, 3, 50, 90])
            if chance.random() < 0.8:
                readings.append((number, at, level, "good"))
                continue
            known = [one for one in told if one.meter == name]
            replaces = chance.choice(known).event_id if known and chance.random() < 0.7 else ""
            kind = chance.choice(["swapped", "multiplier", "reset", "width"])
            about: dict[str, int] = {"point": number}
            about |= {
                "swapped": {"final": level + 1, "initial": chance.randrange(100)},
                "reset": {"final": level + 2},
                "multiplier": {"numerator": chance.choice([1, 2, 40]), "denominator": chance.choice([1, 3])},
                "width": {"span": chance.choice([1_000_000, 200_000])},
            }[kind]
            listed = () if replaces and chance.random() < 0.25 else (about,)
            told.append(Told(at - chance.choice([0, 0, MIN, DAY]), name, f"{name}{place}", replaces, kind, listed))
    return told, readings


@patient(max_examples=40)
@given(st.data())
def test_facts_in_the_place_of_others_in_any_order(data: st.DataObject) -> None:
    """Live and settled rows are those of the readings, and of the facts that nobody has taken back, in order."""
    told, readings = data.draw(corrected_lives())
    chance = random.Random(data.draw(st.integers(0, 10**9)))
    sent: list[Told | Reading] = [*told, *readings]
    sent.sort(key=lambda one: (one.at if isinstance(one, Told) else one[1]) + chance.choice([0, 0, 0, 2, 40]) * HOUR)
    chance.shuffle(told_late := [one for one in sent if isinstance(one, Told) and chance.random() < 0.5])
    sent = [one for one in sent if one not in told_late] + list(told_late)
    middle = chance.randrange(len(sent) + 1)
    messages = [one.message() if isinstance(one, Told) else batch([one]) for one in sent]
    log = log_of([*messages[:middle], settle(1), *messages[middle:]], settle(2))
    came = {one.event_id: place for place, one in enumerate(sent) if isinstance(one, Told)}
    gone = {one.replaces for one in told if one.replaces and came[one.replaces] < came[one.event_id]}
    standing = [one for one in told if one.about and one.event_id not in gone]
    in_order = sorted(
        [*((one.at, came[one.event_id], one.message(replaces="")) for one in standing),
         *((reading[1], 1 << 30, batch([reading])) for reading in readings)]
    )  # fmt: skip
    # A fact of a time holds from then on: the reading of that time still is of before it.
    in_order.sort(key=lambda one: (one[0], -one[1] if one[1] == 1 << 30 else one[1]))
    oracle = Oracle("meter.readings", 0, DOCUMENTS)
    for record in log_of([message for _, _, message in in_order]):
        oracle.feed(*record)
    assert not oracle.rows["rejected"]
    assert not run(log, DOCUMENTS)[1]["rejected"]
    wanted = ledger(oracle.rows["ledger"])
    assert unspread(ledger(together(log, DOCUMENTS)["ledger"]), wanted) == wanted


def test_a_swap_that_nobody_reported_for_three_weeks() -> None:
    """The month is mended to the unit when the fact comes: each piece of it is its own last minus its own first."""
    swap = T0 + 4 * QUARTER + 5 * MIN
    readings = [(MAIN, T0 + k * QUARTER, 1000 + 10 * k if k <= 4 else 10 * k - 42, "good") for k in range(30)]
    told = fact("swapped", swap, {"point": MAIN, "final": 1045, "initial": 3})
    log = log_of([batch([reading]) for reading in readings], told, settle())
    assert sum(ledger(run(log, DOCUMENTS)[1]["ledger"]).values()) == 40 + 10 * 24
    assert sum(ledger(together(log, DOCUMENTS)["ledger"]).values()) == (1045 - 1000) + (readings[-1][2] - 3)


def test_a_rollover_that_nobody_could_see_is_told() -> None:
    """From 90 % of the width, over weeks: a fact of the full width and of 0 after it gives the month back, to the unit."""
    later = T0 + 21 * DAY
    readings = [(MAIN, T0, 90_000, "good"), *((MAIN, later + k * QUARTER, 400 + k, "good") for k in range(6))]
    told = fact("swapped", T0 + 10 * DAY, {"point": MAIN, "final": 100_000, "initial": 0})
    log = log_of([batch([reading]) for reading in readings], told, settle())
    assert sum(ledger(run(log, DOCUMENTS)[1]["ledger"]).values()) < 10
    assert sum(ledger(together(log, DOCUMENTS)["ledger"]).values()) == 10_405


def test_a_fact_that_is_taken_back() -> None:
    """A fact that another one replaces leaves nothing behind once both are settled."""
    readings = [batch([(MAIN, T0 + k * QUARTER, 1000 + 10 * k, "good")]) for k in range(12)]
    wrong = fact("multiplier", T0 + 3 * QUARTER, {"point": MAIN, "numerator": 40, "denominator": 1}, event_id="w")
    right = fact(
        "multiplier", T0 + 3 * QUARTER, {"point": MAIN, "numerator": 1, "denominator": 1}, event_id="r", replaces="w"
    )
    plain = ledger(run(log_of(readings), DOCUMENTS)[1]["ledger"])
    rows = together(log_of([*readings, wrong], settle(1), right, settle(2)), DOCUMENTS)["ledger"]
    assert sum(ledger(rows[:-1]).values()) != sum(plain.values())
    assert ledger(rows) == plain


def test_a_fact_that_is_told_after_the_one_that_names_it() -> None:
    """It was not there to be replaced, so it stands, also where it happened before the one that names it."""
    readings = [batch([(MAIN, T0 + k * QUARTER, 1000 + 10 * k, "good")]) for k in range(12)]
    swap = fact("swapped", T0 + 3 * QUARTER + MIN, {"point": MAIN, "final": 1037, "initial": 1030}, event_id="2")
    found = []
    for replaces in ("", "2"):
        about = {"point": MAIN, "numerator": 1, "denominator": 1}
        ahead = fact("multiplier", T0 + 3 * QUARTER + 2 * MIN, about, event_id="1", replaces=replaces)
        found.append(ledger(together(log_of([*readings, ahead, swap], settle()), DOCUMENTS)["ledger"]))
    assert found[1] == found[0]
    assert sum(found[1].values()) == 110 + 7


@patient(max_examples=8)
@given(st.data())
def test_order_does_not_matter(data: st.DataObject) -> None:
    """Two orders of arrival end at the same sums, also where gaps were spread."""
    history = data.draw(histories())
    one, two = (together(log_of(data.draw(arrivals(history)), settle()), DOCUMENTS) for _ in range(2))
    assert ledger(one["ledger"]) == ledger(two["ledger"])
    assert gauges(one["gauges"]) == gauges(two["gauges"])


@patient(max_examples=8)
@given(st.data())
def test_twice_changes_nothing(data: st.DataObject) -> None:
    """A second settlement has no rows; settling on the way leaves the same sums as settling once at the end."""
    batches = data.draw(arrivals(data.draw(histories())))
    cut = data.draw(st.integers(0, len(batches)))
    once = log_of(batches, settle())
    again = log_of([*batches[:cut], settle(1), *batches[cut:]], settle(2), settle(3))
    rows = settlements(again, DOCUMENTS)
    last = len(again) - 1
    assert not [row for stream in ("ledger", "gauges") for row in rows[stream] if row["offset"] == last]
    assert ledger(together(once, DOCUMENTS)["ledger"]) == ledger(together(again, DOCUMENTS)["ledger"])
    assert gauges(together(once, DOCUMENTS)["gauges"]) == gauges(together(again, DOCUMENTS)["gauges"])


@patient(max_examples=8)
@given(st.data())
def test_correction_and_reverse(data: st.DataObject) -> None:
    """A reading that is corrected, settled, put back and settled leaves what was there without it."""
    history = data.draw(histories())
    batches = data.draw(arrivals(history))
    # what is out of range is set aside when it arrives, and puts nothing back
    plausible = [reading for reading in history if reading[0] != WARM or reading[2] <= 60_000]
    number, at, value, quality = data.draw(st.sampled_from(plausible))
    wrong = batch([(number, at, value // 2 + 7, quality)], mode="backfill")
    right = batch([(number, at, value, quality)], mode="backfill")
    rows = together(log_of([*batches, settle(1), wrong, settle(2), right], settle(3)), DOCUMENTS)
    plain = together(log_of(batches, settle(1)), DOCUMENTS)
    assert ledger(rows["ledger"]) == ledger(plain["ledger"])
    assert gauges(rows["gauges"]) == gauges(plain["gauges"])


@patient(max_examples=8)
@given(st.data())
def test_spans_add_up(data: st.DataObject) -> None:
    """Settling span by span leaves the same sums as settling everything, and no span loses a unit on the way."""
    history = data.draw(histories())
    batches = data.draw(arrivals(history))
    cut = T0 + data.draw(st.integers(0, 20 * DAY))
    parts = together(log_of(batches, settle(1, LONG_AGO, cut), settle(2, cut, LATER)), DOCUMENTS)
    whole = together(log_of(batches, settle(1)), DOCUMENTS)
    assert ledger(parts["ledger"]) == ledger(whole["ledger"])
    assert gauges(parts["gauges"]) == gauges(whole["gauges"])


@patient(max_examples=8)
@given(st.data())
def test_cuts_and_resumption(data: st.DataObject) -> None:
    """The chains of settlements do not depend on how the log is cut, nor on where the task was taken up again."""
    batches = data.draw(arrivals(data.draw(histories())))
    half = len(batches) // 2
    log = log_of([*batches[:half], settle(1), *batches[half:]], settle(2))
    whole = settler(log, DOCUMENTS)
    whole.advance(slab(log))
    whole.take()
    pieces = settler(log, DOCUMENTS)
    size = data.draw(st.integers(1, 7))
    for first in range(0, len(log), size):
        pieces.advance(slab(log[first : first + size]))
        pieces.take()
    assert pieces.stream_heads() == whole.stream_heads()
    first = settler(log, DOCUMENTS)
    stop = next(offset for offset, _, _, value in log if value == settle(1)) + 1
    first.advance(slab(log[:stop]))
    rows = first.take()
    later = settler(log, DOCUMENTS)
    resume(later, stop, rows)
    later.advance(slab(log))
    later.take()
    assert later.stream_heads() == whole.stream_heads()


def resume(later: Settler, position: int, outputs: list[Any]) -> None:
    """Hands a settler what another one has published."""
    found = Settlements((topics.SETTLED + topics.METER_READINGS, 0))
    for output in outputs:
        assert output.topic == topics.SETTLEMENTS
        found.message(output.value)
    later.resume(position, found.chains, found.ledger, found.gauges, found.changes)


def test_in_order_is_not_settled() -> None:
    """Readings that came in order are never looked at again, and a settlement of them has no rows."""
    history = [(MAIN, T0 + k * QUARTER, 100 * k, "good") for k in range(50)]
    log = log_of([batch([reading]) for reading in history], settle())
    made = settler(log, DOCUMENTS)
    made.advance(slab(log))
    assert not made.seen("s1").any()
    assert not any(decode(made.take()).values())


def test_known_at_and_cause() -> None:
    """Rows of a settlement are known at the time of its record, and say what caused them."""
    late = [(MAIN, T0 + k * QUARTER, 100 * k * k, "good") for k in (0, 1, 4, 5, 2, 3)]
    log = log_of([batch([reading]) for reading in late], settle())
    rows = settlements(log, DOCUMENTS)["ledger"]
    assert rows
    assert {(row["offset"], row["known_at"], row["cause"]) for row in rows} == {(log[-1][0], log[-1][1], "settlement")}


def test_a_gap_over_a_day_follows_like_days() -> None:
    """Two silent days get the shape of the working days before them; their sum is what the register says, to the unit."""
    shape = [3, 3, 3, 3, 11, 40, 41, 17]  # by three hours of the day, in units of each quarter-hour
    readings, level = [], 0
    for quarter in range(14 * 96):
        day, within = divmod(quarter, 96)
        at = T0 - 9 * HOUR + 4 * DAY + quarter * QUARTER  # Monday, 00:00 in Shanghai
        if not 8 * 96 < quarter < 10 * 96:
            readings.append((MAIN, at, level % 100_000, "good"))
        level += shape[within // 12] if day % 7 < 5 else 1
    log = log_of([batch(readings[at : at + 500]) for at in range(0, len(readings), 500)], settle())
    rows = together(log, DOCUMENTS)["ledger"]
    sums = ledger(rows)
    start = T0 - 9 * HOUR + 4 * DAY
    spread = {(key[1], key[2]): quantity for key, quantity in sums.items() if key[3] == "profiled"}
    assert len(spread) == 2 * 96
    assert sum(spread.values()) == 2 * 12 * sum(shape)
    for (begin, _), quantity in spread.items():
        assert quantity == shape[(begin - start) // QUARTER % 96 // 12]
    assert sum(sums.values()) == level - 1


def test_a_gap_without_like_days_is_spread_evenly() -> None:
    """What cannot be known is not shaped: a Sunday whose like days were never measured gets equal parts."""
    saturday = T0 - 9 * HOUR + 2 * DAY
    log = log_of([batch([(MAIN, saturday, 0, "good"), (MAIN, saturday + 2 * DAY, 1000, "good")])], settle())
    spread = [q for key, q in ledger(together(log, DOCUMENTS)["ledger"]).items() if key[3] == "profiled"]
    assert len(spread) == 192
    assert set(spread) == {5, 6}
    assert sum(spread) == 1000


def test_who_may_settle() -> None:
    """Records that are unsigned by the site's keys, or out of turn, or of another site, are rejected and start nothing."""
    late = [batch([(MAIN, T0 + k * QUARTER, 100 * k * k, "good")]) for k in (0, 1, 4, 2, 3)]
    thief = SigningKey.of(bytes(32))
    bad = [
        settle_record("s1", 1, LONG_AGO, LATER, "", thief),
        settle(2),
        settle(1, site="s9"),
        settle(1, LATER, LONG_AGO),
        settle(1)[:-1],
    ]
    log = log_of(late, *bad)
    assert [row["reason"] for row in run(log, DOCUMENTS)[1]["rejected"]] == [
        "bad_signature", "broken_chain", "unknown_site", "out_of_range", "malformed",
    ]  # fmt: skip
    assert not any(settlements(log, DOCUMENTS).values())


def test_settlements_are_in_snapshots() -> None:
    """A task that is restored knows which settlement comes next, and which points wait for one."""
    late = [batch([(MAIN, T0 + k * QUARTER, 100 * k * k, "good")]) for k in (0, 1, 4, 2)]
    processor = Processor(topics.METER_READINGS, 0, DOCUMENTS.__getitem__)
    processor.advance(slab(log_of(late, settle(1))))
    processor.take()
    again = load(save(processor), topics.METER_READINGS, 0, DOCUMENTS.__getitem__)
    assert again.settlements == {"s1": 1}


def test_marks_are_lifted() -> None:
    """What a settlement covers waits no more; what is still open does, from where it begins."""
    late = [batch([(MAIN, T0 + k * QUARTER, 100 * k * k, "good")]) for k in (0, 1, 4, 2)]
    log = log_of(late, settle(1), batch([(MAIN, T0 + 3 * QUARTER, 900, "good")]))
    made = settler(log, DOCUMENTS)
    made.advance(slab(log[:-2]))
    assert made.dirty("s1") == (T0 + 2 * QUARTER, T0 + 4 * QUARTER)
    assert made.dirty_points("s1") == 1
    made.advance(slab(log[-2:-1]))
    assert made.dirty("s1") is None
    made.advance(slab(log[-1:]))
    assert made.dirty("s1") == (T0 + 3 * QUARTER, T0 + 4 * QUARTER)


def test_a_mended_model_computes_the_past() -> None:
    """A document with a time in the past computes what was read since, and nothing before it."""
    plain = signed(document([point(MAIN, role="energy", kind="register", unit="Wh", interval_s=900)]))
    tables = {
        **plain.tables,
        "meters": {"id": ["m"], "digits": [3], "resolution": ["1"], "ct": ["1"], "pt": ["1"]},
        "meter_install": {"meter": ["m"], "point": [f"p{MAIN}"], "valid_from": [None]},
    }
    mended = dataclasses.replace(plain, tables=tables)
    values = [950, 970, 990, 10, 30, 50, 70]  # rolls over, which the first document does not know: a dip
    batches = [batch([(MAIN, T0 + k * QUARTER, value, "good")]) for k, value in enumerate(values)]
    change = codec.write(
        "config_record",
        {
            "site": "s1", "version": 2, "previous": plain.sha256, "document": mended.sha256,
            "effective_ms": T0 + QUARTER, "key_id": "", "signature": b"",
        },
    )  # fmt: skip
    at = T0 + 10 * QUARTER
    log = records([(at + k, value) for k, value in enumerate([config(plain), *batches, change, settle()])])
    documents = library(plain, mended)
    assert sum(ledger(run(log, documents)[1]["ledger"]).values()) < 120
    made = settler(log, documents)
    made.advance(slab(log[:-1]))
    assert made.dirty("s1") == (T0 + QUARTER, at + len(batches) + 1)
    assert ledger(together(log, documents)["ledger"]) == {
        (MAIN, T0 + k * QUARTER, T0 + (k + 1) * QUARTER, "measured"): 20 for k in range(6)
    }


def test_keys_sign() -> None:
    """The key of these tests is the one that the document names."""
    assert list(SITE.keys) == [KEY.key_id]


@pytest.mark.parametrize("kind", ["register", "delta"])
def test_corrected_value(kind: str) -> None:
    """A value that is sent again with another figure replaces the first one; its negative and its new row sum to the change."""
    number = {"register": MAIN, "delta": FLOW}[kind]
    first = [batch([(number, T0 + k * QUARTER, 100 * k, "good")]) for k in range(6)]
    log = log_of(first, batch([(number, T0 + 3 * QUARTER, 340, "good")]), settle())
    rows = settlements(log, DOCUMENTS)["ledger"]
    assert sum(row["quantity"] for row in rows) == (0 if kind == "register" else 40)
    assert {row["quantity"] for row in rows} == ({40, -40} if kind == "register" else {40})
