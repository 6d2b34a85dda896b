"""What users of other systems complain of, one test a complaint: the README's table names them."""

from tests.processors.test_meters import SPAN, Q, codes, feed, read, rows_of, settled, told, usage
from tests.processors.test_registers import REGISTER, brief, meter
from tests.processors.world import DAY, MIN, T0, batch


def test_one_bad_point_poisons_nothing() -> None:
    """Thingsboard 14239, home-assistant 22041: an absurd value is set aside and shown, the totals after it are right."""
    doc = meter(rated="1000")
    processor, rows = feed(
        read(T0, 1000), read(T0 + Q, 9_999_999), read(T0 + 2 * Q, 1100), read(T0 + 3 * Q, 1150), doc=doc
    )
    assert usage(processor, rows) == 150
    assert [(row["code"], row["value"]) for row in rows["verdicts"]] == [("rate", 9_999_999)]


def test_a_wrong_multiplier_is_corrected_for_all_of_its_time() -> None:
    """Emoncms 1805, thingsboard 14239: told weeks late, settled usage is as if it had been known from the start."""
    doc = meter(span=SPAN)
    readings = [batch([(REGISTER, T0 + place * Q, 100 * place)]) for place in range(9)]
    ratio = told(T0 + 4 * Q, "multiplier", numerator=3, denominator=2)
    processor, rows = settled(doc, [*readings, ratio])
    assert usage(processor, rows) == 400 + 600
    assert rows_of(rows) == rows_of(settled(doc, [ratio, *readings])[1])


def test_a_replaced_meter_keeps_the_year_right() -> None:
    """dsmr-reader 863, home-assistant 140300: final and initial read make the total exact, also told three weeks late."""
    doc = meter(span=SPAN)
    readings = [
        batch([(REGISTER, T0 + place * Q, value)]) for place, value in enumerate((500_000, 500_010, 12, 15, 20, 31))
    ]
    swap = told(T0 + Q + MIN, final=500_011, initial=7)
    late, rows = feed(*((T0 + DAY, message) for message in readings), (T0 + 21 * DAY, swap))
    assert codes(rows)[-1] == "late_fact"
    assert usage(late, rows) != 11 + 24
    assert usage(*settled(doc, [*readings, swap])) == 11 + 24


def test_a_reset_register_is_no_negative_usage() -> None:
    """home-assistant 101155, 87311: nobody says so, and yet nothing below zero is counted, and it goes on."""
    processor, rows = feed(*(read(T0 + place * Q, value) for place, value in enumerate((9000, 9010, 0, 4, 9, 15))))
    assert usage(processor, rows) == 10 + 15
    assert all(row["quantity"] >= 0 for row in rows["ledger"])
    assert codes(rows) == ["dip", "dip", "reset"]


def test_a_rollover_counts_both_sides() -> None:
    """IoBroker 594, AI-on-the-edge 3026: 23 bits or five digits, the part before and the part after the end count."""
    width = (T0, told(T0, "width", span=1 << 23))
    processor, rows = feed(read(T0, (1 << 23) - 10), width, read(T0 + Q, 15), read(T0 + 2 * Q, 20))
    assert usage(processor, rows) == 30
    assert codes(rows) == ["rollover"]


def test_a_zero_glitch_is_no_usage() -> None:
    """Refoss 14: 3.737, 0, 3.746 is 0.009 and not 3.746."""
    processor, rows = feed(read(T0, 3737), read(T0 + Q, 0), read(T0 + 2 * Q, 3746))
    assert usage(processor, rows) == 9
    assert codes(rows) == ["dip"]
    values = [3737, *[0] * 9, 3746]
    processor, rows = feed(*(read(T0 + place * Q, value) for place, value in enumerate(values)))
    assert usage(processor, rows) == 9
    assert codes(rows) == ["dip"] * 2 + ["zero_run"] * 7


def test_a_gap_is_neither_zero_nor_a_spike() -> None:
    """Domoticz 6472, amsreader 646: what was used in a gap is spread over it, and says that it is."""
    _, rows = feed(read(T0, 0), read(T0 + 4 * Q, 400), read(T0 + 5 * Q, 500))
    assert brief(rows["ledger"]) == [
        (0, 15, 100, "gap", "reading"), (15, 30, 100, "gap", "reading"), (30, 45, 100, "gap", "reading"),
        (45, 60, 100, "gap", "reading"), (60, 75, 100, "measured", "reading"),
    ]  # fmt: skip


def test_late_data_is_known_to_be_late_and_counts() -> None:
    """Risingwave 23270, thingsboard 4207: nothing is dropped without knowing; settled, it is where it belongs."""
    doc = meter(span=SPAN)
    known = [batch([(REGISTER, T0, 0)]), batch([(REGISTER, T0 + 4 * Q, 400)])]
    late = batch([(REGISTER, T0 + Q, 310)])
    _, rows = feed(*((T0 + DAY, message) for message in (*known, late)))
    assert [(row["code"], row["time_ms"], row["value"]) for row in rows["verdicts"]] == [("late", T0 + Q, 310)]
    processor, rows = settled(doc, [*known, late])
    assert [row["quantity"] for row in rows["ledger"]] == [310, 30, 30, 30]
    assert usage(processor, rows) == 400


def test_backfill_after_an_outage_is_not_ignored() -> None:
    """OpenEMS 3798: what a gateway kept comes afterwards, in any order; settled, every interval is measured."""
    doc = meter(span=SPAN)
    live = [batch([(REGISTER, T0 + place * Q, 10 * place)]) for place in (0, 1, 95, 96)]
    kept = [batch([(REGISTER, T0 + place * Q, 10 * place)], mode="backfill") for place in range(2, 95)]
    processor, rows = settled(doc, [*live, *reversed(kept)])
    assert usage(processor, rows) == 960
    assert {(row["quantity"], row["how"]) for row in rows["ledger"]} == {(10, "measured")}
