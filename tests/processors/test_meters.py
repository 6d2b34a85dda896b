"""What was said of a meter: usage is the sum of pieces, each its own last minus its own first, to the unit."""

import dataclasses
import math
import random
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.advance import Processor
from processors.events import Feed
from processors.facts import standing
from processors.kernels.meters import wide_share
from processors.state import BARE, UNRECORDED
from schemas import codec
from schemas.control import SigningKey
from schemas.model.document import Document
from tests.processors.test_registers import REGISTER, brief, meter, tiled
from tests.processors.world import (
    DAY,
    HOUR,
    MIN,
    T0,
    Row,
    batch,
    config,
    decode,
    document,
    fact,
    library,
    point,
    records,
    run,
)
from tests.support.patience import patient

SPAN = 1_000_000
Event = tuple[int, bytes]


def told(at_ms: int, kind: str = "swapped", **about: Any) -> bytes:
    """A fact about the register."""
    more = {name: about.pop(name) for name in ("event_id", "key", "replaces", "meter") if name in about}
    return fact(kind, at_ms, {"point": REGISTER, **about}, **more)


def read(time: int, value: int) -> Event:
    """A reading that arrives a second later."""
    return time + 1000, batch([(REGISTER, time, value)])


def feed(*events: Event, doc: Document | None = None) -> tuple[Processor, dict[str, list[Row]]]:
    """Events in the order of the log."""
    own = doc or meter(span=SPAN)
    return run(records([(T0, config(own)), *events]), library(own))


def usage(processor: Processor, rows: dict[str, list[Row]]) -> int:
    """Everything counted: the ledger and what waits in the open interval."""
    now = processor.state.points[0]
    return sum(row["quantity"] for row in rows["ledger"]) + int(now["total"]) - int(now["settled"])


def codes(rows: dict[str, list[Row]]) -> list[str]:
    """Verdicts in order."""
    return [row["code"] for row in rows["verdicts"]]


Q = 15 * MIN


def test_a_swapped_meter() -> None:
    """Usage is final minus last of the old meter and first minus initial of the new one, each where it belongs."""
    processor, rows = feed(
        read(T0, 1000),
        read(T0 + Q, 1010),
        (T0 + 2 * Q, told(T0 + Q + 5 * MIN, final=1015, initial=3)),
        read(T0 + 2 * Q, 13),
        read(T0 + 3 * Q, 23),
    )
    assert brief(rows["ledger"]) == [
        (0, 15, 10, "measured", "reading"),
        (15, 30, 15, "measured", "reading"),
        (30, 45, 10, "measured", "reading"),
    ]
    assert not rows["verdicts"] and not rows["rejected"]
    assert usage(processor, rows) == (1015 - 1000) + (23 - 3)


def test_the_last_hours_of_the_old_meter_are_a_row_of_the_swap() -> None:
    """A gap before the swap ends with it: its rows say so."""
    _, rows = feed(read(T0, 1000), (T0, told(T0 + 4 * Q, final=1040, initial=0)), read(T0 + 5 * Q, 7))
    assert brief(rows["ledger"]) == [
        (0, 15, 10, "gap", "swap"), (15, 30, 10, "gap", "swap"), (30, 45, 10, "gap", "swap"), (45, 60, 10, "gap", "swap"),
        (60, 75, 7, "measured", "reading"),
    ]  # fmt: skip


def test_a_fact_waits_for_the_clock_of_its_point() -> None:
    """Told before it happens: readings of the old meter go on until then, also one at that very time."""
    processor, rows = feed(
        (T0, told(T0 + Q, final=1010, initial=0)), read(T0, 1000), read(T0 + Q, 1009), read(T0 + 2 * Q, 4)
    )  # fmt: skip
    assert usage(processor, rows) == 10 + 4
    assert [row["quantity"] for row in rows["ledger"]] == [9, 5]


def test_all_registers_of_a_meter_change_together() -> None:
    """A fact that leaves out a register of the meter is refused, and says which."""
    points = [point(n, kind="register", role="energy", unit="Wh", interval_s=900) for n in (1, 2)]
    tables = {
        "meters": [{"id": "m", "digits": 6, "resolution": "1", "ct": "1", "pt": "1"}],
        "meter_install": [{"meter": "m", "point": f"p{n}", "valid_from": None} for n in (1, 2)],
    }
    doc = document(points, tables=tables)
    one, both = {"point": 1, "final": 10, "initial": 0}, {"point": 2, "final": 20, "initial": 5}
    log = [(T0, config(doc)), (T0, batch([(1, T0, 8), (2, T0, 15)]))]
    log += [(T0 + MIN, fact("swapped", T0 + MIN, one, event_id="a")), (T0 + MIN, fact("swapped", T0 + MIN, one, both))]
    log += [(T0 + Q, batch([(1, T0 + Q, 1), (2, T0 + Q, 6)]))]
    _, rows = run(records(log), library(doc))
    assert [(row["reason"], "points 2" in row["detail"]) for row in rows["rejected"]] == [("bad_fact", True)]
    assert {row["point"]: row["quantity"] for row in rows["ledger"]} == {1: 2 + 1, 2: 5 + 1}


def test_an_unknown_final_read_leaves_a_hole_and_no_zero() -> None:
    """Nothing is known from the last reading to the swap: no row covers it, and none says 0."""
    processor, rows = feed(
        read(T0 + 5 * MIN, 1000), read(T0 + 20 * MIN, 1010), (T0 + Q, told(T0 + 50 * MIN, initial=7)),
        read(T0 + 75 * MIN, 32),
    )  # fmt: skip
    assert [row[:3] for row in brief(rows["ledger"])] == [(5, 15, 6), (15, 20, 4), (50, 60, 10), (60, 75, 15)]
    assert usage(processor, rows) == 10 + 25


def test_a_removed_meter_says_its_last_word_at_once() -> None:
    """Its final read counts though no reading will come; a new meter begins where its fact says."""
    log = [
        read(T0, 1000),
        (T0 + Q + MIN, told(T0 + Q + MIN, "removed", final=1050)),
        read(T0 + 5 * Q, 3),
        (T0 + 9 * Q, told(T0 + 9 * Q, "installed", initial=20)),
        read(T0 + 10 * Q, 29),
    ]
    processor, rows = feed(*log[:2])
    assert sum(row["quantity"] for row in rows["ledger"]) == 50
    assert int(processor.state.points["flags"][0]) & BARE
    processor, rows = feed(*log)
    assert usage(processor, rows) == 50 + 9
    assert [row["from_ms"] for row in rows["ledger"]][-1] == T0 + 9 * Q


def test_an_installed_meter_counts_from_its_first_value() -> None:
    """What it used before its first reading came is not lost."""
    processor, rows = feed((T0 + MIN, told(T0, "installed", initial=100)), read(T0 + Q, 160))
    assert brief(rows["ledger"]) == [(0, 15, 60, "measured", "reading")]
    assert usage(processor, rows) == 60


def test_a_reset_with_and_without_values() -> None:
    """A register that was set back counts on from there; without an initial value from 0."""
    processor, rows = feed(read(T0, 900), (T0, told(T0 + MIN, "reset", final=905)), read(T0 + Q, 12))
    assert usage(processor, rows) == 5 + 12
    assert not rows["verdicts"]


def test_a_multiplier_from_when_it_holds() -> None:
    """The step that it divides is shared by time; what no whole unit came of is carried on."""
    processor, rows = feed(
        read(T0, 0),
        (T0, told(T0 + 5 * MIN, "multiplier", numerator=2, denominator=3)),
        read(T0 + Q, 100),
        read(T0 + 2 * Q, 200),
        read(T0 + 3 * Q, 300),
    )
    assert [row["quantity"] for row in rows["ledger"]] == [33 + 44, 67, 67]
    assert usage(processor, rows) == 33 + math.floor(Fraction(267 * 2, 3))


def test_multipliers_conserve_fractions_over_changes() -> None:
    """Thirds and sevenths: the sum is the floor of the exact one, not of each piece."""
    facts = [(1, 3), (2, 7), (1, 1), (5, 21)]
    log, exact, value = [read(T0, 0)], Fraction(0), 0
    for place, (numerator, denominator) in enumerate(facts):
        at = T0 + 4 * place * Q
        log.append((at, told(at, "multiplier", final=value, numerator=numerator, denominator=denominator)))
        for quarter in range(1, 4):
            value += 100
            exact += Fraction(100 * numerator, denominator)
            log.append(read(at + quarter * Q, value))
    processor, rows = feed(*log)
    assert usage(processor, rows) == math.floor(exact)


def test_a_width_that_changed() -> None:
    """A register rolls over where the fact says."""
    processor, rows = feed(read(T0, 990), (T0, told(T0 + MIN, "width", span=1000)), read(T0 + Q, 20))
    assert usage(processor, rows) == 30
    assert codes(rows) == ["rollover"]


def test_a_rollover_before_the_swap() -> None:
    """The final read may lie beyond the end of the register."""
    processor, rows = feed(read(T0, SPAN - 10), (T0, told(T0 + MIN, final=5, initial=0)), read(T0 + Q, 2))
    assert usage(processor, rows) == 15 + 2


def test_a_final_read_below_the_last_reading() -> None:
    """Pieces are exact also where they are negative: a row below zero, and a verdict for who typed it."""
    processor, rows = feed(
        read(T0, 1000), read(T0 + 2 * Q, 1020), (T0, told(T0 + 3 * Q + MIN, final=1015, initial=0)), read(T0 + 4 * Q, 9)
    )  # fmt: skip
    assert usage(processor, rows) == 15 + 9
    assert codes(rows) == ["fact_differs"]


def test_a_late_fact_leaves_what_was_published_and_marks_the_span() -> None:
    """Live goes on as it was; settlement finds the span by its verdict. The new multiplier holds from the clock on."""
    log = [read(T0 + place * Q, 10 * place) for place in range(5)]
    late = told(T0 + Q + MIN, final=12, initial=12, numerator=3, denominator=1)
    processor, rows = feed(*log, (T0 + 4 * Q, late), read(T0 + 5 * Q, 50))
    assert [row["quantity"] for row in rows["ledger"]] == [10, 10, 10, 10, 30]
    assert [(row["code"], row["time_ms"], row["value"]) for row in rows["verdicts"]] == [
        ("late_fact", T0 + Q + MIN, 12)
    ]
    now = processor.state.points[0]
    assert (int(now["dirty_from"]), int(now["dirty_to"])) == (T0 + Q + MIN, T0 + 4 * Q)


def test_an_older_late_multiplier_does_not_take_the_place_of_a_newer_one() -> None:
    """Two corrections out of order: the one that holds later wins."""
    log = [read(T0 + place * Q, 10 * place) for place in range(5)]
    newer = told(T0 + 3 * Q - 1, "multiplier", numerator=3, denominator=1)
    older = told(T0 + Q - 1, "multiplier", numerator=2, denominator=1)
    _, rows = feed(*log, (T0 + 4 * Q, newer), (T0 + 4 * Q, older), read(T0 + 5 * Q, 50))
    assert rows["ledger"][-1]["quantity"] == 30


def test_a_meter_changed_without_record_and_the_fact_that_comes_later() -> None:
    """Three readings on a lower level go on counting from there; the point is marked until somebody says what happened."""
    log = [read(T0 + place * Q, value) for place, value in enumerate((1000, 1010, 3, 5, 9))]
    processor, rows = feed(*log)
    assert codes(rows) == ["dip", "dip", "reset"]
    assert int(processor.state.points["flags"][0]) & UNRECORDED
    processor, rows = feed(*log, (T0 + 9 * Q, told(T0 + Q + MIN, final=1011, initial=2)))
    assert codes(rows) == ["dip", "dip", "reset", "late_fact"]
    assert not int(processor.state.points["flags"][0]) & UNRECORDED


def test_what_is_imported_marks_no_meter() -> None:
    """A fall in backfill has its verdict, and rules see nothing of it; nor does backfill take a mark away."""
    falls = [(1000, "live"), (1010, "live"), (3, "backfill"), (5, "backfill"), (9, "backfill")]
    log = [
        (T0 + place * Q + 1000, batch([(REGISTER, T0 + place * Q, value)], mode=mode))
        for place, (value, mode) in enumerate(falls)
    ]
    processor, rows = feed(*log)
    assert codes(rows) == ["dip", "dip", "reset"]
    assert not int(processor.state.points["flags"][0]) & UNRECORDED
    fallen = [read(T0 + place * Q, value) for place, (value, _) in enumerate(falls)]
    later = T0 + 5 * Q
    processor, _ = feed(*fallen, (later + 1000, batch([(REGISTER, later, 12)], mode="backfill")))
    assert int(processor.state.points["flags"][0]) & UNRECORDED


def test_a_fact_that_comes_while_the_new_meter_is_not_believed_yet() -> None:
    """Readings of the new meter were set aside as a dip: the fact explains them, all usage is there, and the span is marked."""
    log = [read(T0, 1000), read(T0 + Q, 1010), read(T0 + 2 * Q, 3), read(T0 + 3 * Q, 5)]
    processor, rows = feed(*log, (T0 + 3 * Q, told(T0 + Q + MIN, final=1011, initial=2)), read(T0 + 4 * Q, 9))
    assert usage(processor, rows) == 11 + 7
    assert codes(rows) == ["dip", "dip", "late_fact"]


def test_repeats_and_other_facts_of_the_same_name() -> None:
    """The same fact again changes nothing; another one with its event_id is refused."""
    swap = told(T0 + MIN, final=1001, initial=0, event_id="e")
    processor, rows = feed(
        read(T0, 1000), (T0, swap), (T0, swap), (T0, told(T0 + MIN, final=1002, initial=0, event_id="e")), read(T0 + Q, 5)
    )  # fmt: skip
    assert usage(processor, rows) == 1 + 5
    assert [row["reason"] for row in rows["rejected"]] == ["bad_fact"]


def test_a_fact_in_the_place_of_a_wrong_one() -> None:
    """Corrected while it waits: only the right one counts. Corrected later: the span is marked from the earlier one on."""
    wrong = told(T0 + MIN, final=5000, initial=0, event_id="wrong")
    right = told(T0 + 2 * MIN, final=1002, initial=1, event_id="right", replaces="wrong")
    processor, rows = feed(read(T0, 1000), (T0, wrong), (T0, right), read(T0 + Q, 5))
    assert usage(processor, rows) == 2 + 4
    processor, rows = feed(read(T0, 1000), (T0, wrong), read(T0 + Q, 5), (T0 + Q, right))
    assert codes(rows) == ["late_fact", "late_fact"]
    assert int(processor.state.points["dirty_from"][0]) == T0 + MIN


def test_a_fact_in_the_place_of_another_meters() -> None:
    """Refused, and what it names counts on, live and settled: one meter's fact cannot take back another one's."""
    own, other = (point(n, kind="register", role="energy", unit="Wh", interval_s=900) for n in (REGISTER, 2))
    installed = [{"meter": name, "point": f"p{n}", "valid_from": None} for name, n in (("m", REGISTER), ("n", 2))]
    meters = [{"id": name, "digits": 6, "resolution": "1", "ct": "1", "pt": "1"} for name in ("m", "n")]
    doc = document([own, other], tables={"meters": meters, "meter_install": installed})
    swap = told(T0 + MIN, final=1003, initial=0, event_id="swap")
    stray = fact("swapped", T0 + 2 * MIN, {"point": 2, "initial": 0}, meter="n", event_id="stray", replaces="swap")
    processor, rows = feed(read(T0, 1000), (T0, swap), (T0, stray), (T0 + Q, told(T0 + Q, "removed")), doc=doc)
    assert [(row["quantity"], row["to_ms"]) for row in rows["ledger"]] == [(3, T0 + MIN)]
    assert [row["reason"] for row in rows["rejected"]] == ["bad_fact"]
    assert processor.facts_taken == [swap, told(T0 + Q, "removed")]


def test_only_an_earlier_fact_is_replaced() -> None:
    """A fact that names itself, or one that is told after it, takes nothing back, neither live nor when it is settled."""
    itself = told(T0 + MIN, final=1003, initial=0, event_id="1", replaces="1")
    early = told(T0 + MIN, "multiplier", numerator=1, denominator=1, event_id="2", replaces="3")
    later = told(T0 + 2 * MIN, final=7, initial=0, event_id="3")
    processor, rows = feed(read(T0, 1000), (T0, itself), (T0, early), (T0, later), read(T0 + Q, 5))
    assert usage(processor, rows) == 3 + 7 + 5
    assert standing(processor.facts_taken) == processor.facts_taken == [itself, early, later]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no signature": ({"key": None}, "unsigned"),
    "a stranger's key": ({"key": SigningKey.of(bytes(32))}, "bad_signature"),
    "an unknown meter": ({"meter": "x"}, "unknown_meter"),
    "an unknown point": ({"point": 77}, "unknown_point"),
    "half a multiplier": ({"numerator": 2}, "bad_fact"),
    "a multiplier of nothing": ({"numerator": 0, "denominator": 1}, "bad_fact"),
    "division by zero": ({"numerator": 1, "denominator": 0}, "bad_fact"),
    "a width below zero": ({"span": -5}, "bad_fact"),
    "a value below zero": ({"final": -1}, "bad_fact"),
    "a value that no register has": ({"initial": 1 << 60}, "bad_fact"),
    "a multiplier that says none": ({"kind": "multiplier"}, "bad_fact"),
    "an installation without a value": ({"kind": "installed"}, "bad_fact"),
    "a removal with a new value": ({"kind": "removed", "initial": 3}, "bad_fact"),
    "before the year 2000": ({"at": 5}, "too_old"),
    "beyond next month": ({"at": T0 + 32 * DAY}, "future"),
    "a removal that is yet to come": ({"kind": "removed", "at": T0 + HOUR}, "future"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    """Each with its own reason, the bytes kept to be sent again; nothing of it is applied."""
    about, reason = REFUSED[case]
    about = dict(about)
    if "key" in about and about["key"] is None:
        del about["key"]
        message = codec.write("meter_fact", {**codec.read("meter_fact", told(T0)), "signature": b"", "key_id": ""})
    else:
        kind, at = about.pop("kind", "swapped"), about.pop("at", T0)
        more = {name: about.pop(name) for name in ("event_id", "key", "meter") if name in about}
        message = fact(kind, at, {"point": REGISTER, **about}, **more)
    processor, rows = feed(read(T0, 1000), (T0, message))
    assert [(row["reason"], row["raw"]) for row in rows["rejected"]] == [(reason, message)]
    assert len(processor.state.facts) == 0


@patient(max_examples=200)
@given(st.integers(0, 1 << 53), st.integers(0, 1 << 53), st.integers(1, 1 << 53))
def test_shares_of_years(step: int, part: int, whole: int) -> None:
    """Exactly the floor of the product, though it leaves int64."""
    part %= whole
    assert wide_share(step, part, whole) == step * part // whole


# -- conservation -----------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Life:
    """A register and its meters as they really were, in exact numbers."""

    value: int = 0
    exact: Fraction = Fraction(0)
    ratio: Fraction = Fraction(1)

    def use(self, step: int) -> None:
        """The meter counts."""
        self.exact += step * self.ratio
        self.value = (self.value + step) % SPAN


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["read"] * 6 + ["glitch", "swap", "swap", "multiplier", "reset", "width"]),
        st.sampled_from([1, MIN, Q, Q, 17 * MIN, HOUR, 30 * HOUR, 40 * DAY]),
        st.integers(0, 3) | st.integers(0, SPAN // 30),
        st.integers(0, SPAN // 2),
        st.sampled_from([(1, 1), (2, 3), (40, 1), (5, 7), (3, 11)]),
    ),
    max_size=30,
)


@patient(max_examples=25)
@given(MOVES, st.sampled_from([900, 86_400]))
def test_nothing_is_invented_and_nothing_lost(moves: list[tuple[Any, ...]], interval_s: int) -> None:
    """Any life of a register, told in time, with values at every change: the ledger is the floor of the exact usage."""
    life, time, log = Life(value=500), T0, [read(T0, 500)]
    for place, (move, wait, step, level, (numerator, denominator)) in enumerate(moves):
        time += wait
        if move == "glitch":
            log.append(read(time, life.value // 2))
            continue
        life.use(step)
        if move == "read":
            log.append(read(time, life.value))
            continue
        about: dict[str, int] = {"final": life.value}
        if move in ("swap", "reset"):
            life.value = about["initial"] = level
        if move == "multiplier":
            life.ratio = Fraction(numerator, denominator)
            about |= {"numerator": numerator, "denominator": denominator}
        if move == "width":
            about |= {"span": SPAN}
        kind = "swapped" if move == "swap" else move
        log.append((time, told(time, kind, event_id=str(place), **about)))
    log.append(read(time + Q, life.value))
    # Steps are below 5 % of the span, so that every fall of a value is a rollover only where it is one.
    doc = meter(interval_s=interval_s, span=SPAN, limits={"dips": 1 << 30})
    processor, rows = feed(*log, doc=doc)
    assert usage(processor, rows) == math.floor(life.exact)
    assert not rows["rejected"]
    tiled(rows["ledger"], T0)


# -- the order of events ----------------------------------------------------------------------------------------------


def settled(doc: Document, messages: list[bytes]) -> tuple[Processor, dict[str, list[Row]]]:
    """Readings and facts as settlement takes them, from messages in the order of arrival."""
    readings: dict[int, int] = {}
    taken = []
    for message in messages:
        if codec.contract_of(message) == "meter_fact":
            taken.append(message)
            continue
        sent: Any = codec.read("meter_batch", message)
        for one in sent["readings"]:
            readings[sent["base_ms"] + one["offset_ms"]] = one["value"]
    processor = Processor("meter.readings", 0, library(doc).__getitem__)
    processor.adopt({"s1": doc})
    processor.expect(taken)
    times = np.array(sorted(readings), np.int64)
    values = np.array([readings[time] for time in times.tolist()], np.int64)
    nothing = np.zeros(len(times), np.int64)
    row = nothing.astype(np.int32)
    processor.feed(Feed(row, row + REGISTER, times, values, row.astype(np.int8), nothing))
    return processor, decode(processor.take())


def rows_of(rows: dict[str, list[Row]]) -> list[tuple[float, float, int, str, str]]:
    """Ledger rows without the message that made them."""
    return brief(rows["ledger"])


@patient(max_examples=25)
@given(MOVES, st.randoms(use_true_random=False), st.booleans())
def test_the_order_of_arrival_plays_no_part(moves: list[tuple[Any, ...]], chooser: random.Random, late: bool) -> None:
    """Shuffled, repeated, the facts weeks late or at once: settled, everything is as if it had come in order, exactly."""
    life, time, events = Life(value=500), T0, [batch([(REGISTER, T0, 500)])]
    for place, (move, wait, step, level, (numerator, denominator)) in enumerate(moves):
        time += wait
        if move == "glitch":
            events.append(batch([(REGISTER, time, life.value // 2)]))
            continue
        life.use(step)
        about: dict[str, int] = {"final": life.value}
        if move in ("swap", "reset"):
            life.value = about["initial"] = level
        if move == "multiplier":
            life.ratio = Fraction(numerator, denominator)
            about |= {"numerator": numerator, "denominator": denominator}
        if move == "width":
            about |= {"span": SPAN}
        kind = "swapped" if move == "swap" else move
        read_now = move == "read"
        events.append(
            batch([(REGISTER, time, life.value)]) if read_now else told(time, kind, event_id=str(place), **about)
        )
    events.append(batch([(REGISTER, time + Q, life.value)]))
    doc = meter(span=SPAN, limits={"dips": 1 << 30})
    once, in_order = settled(doc, events)
    assert usage(once, in_order) == math.floor(life.exact)
    arrived = [*events, *chooser.choices(events, k=5)]
    chooser.shuffle(arrived)
    if late:
        arrived.sort(key=lambda message: codec.contract_of(message) == "meter_fact")
    again, others = settled(doc, arrived)
    assert rows_of(others) == rows_of(in_order)
    assert usage(again, others) == usage(once, in_order)
    # What the live task took in, in whatever order, is the same for settlement.
    live, _ = run(records([(T0, config(doc)), *((time + Q, message) for message in arrived)]), library(doc))
    assert sorted(set(live.facts_taken)) == sorted({m for m in events if codec.contract_of(m) == "meter_fact"})


def test_a_correction_and_its_reverse_cancel() -> None:
    """A fact that is replaced, and replaced again by one that says the first thing: settled as the first alone."""
    doc = meter(span=SPAN)
    readings = [batch([(REGISTER, T0 + place * Q, value)]) for place, value in enumerate((1000, 1010, 3, 5, 9))]
    first = told(T0 + Q + MIN, final=1011, initial=2, event_id="1")
    second = told(T0 + Q + MIN, final=2000, initial=0, event_id="2", replaces="1")
    third = told(T0 + Q + MIN, final=1011, initial=2, event_id="3", replaces="2")
    alone = settled(doc, [*readings, first])
    assert rows_of(settled(doc, [*readings, first, second])[1]) != rows_of(alone[1])
    assert rows_of(settled(doc, [*readings, first, second, third])[1]) == rows_of(alone[1])
    assert usage(*alone) == 11 + 7
    void = fact("swapped", T0 + Q + MIN, event_id="4", replaces="1")
    assert rows_of(settled(doc, [*readings, first, void])[1]) == rows_of(settled(doc, readings)[1])
