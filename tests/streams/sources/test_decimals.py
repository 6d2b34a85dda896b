"""Columns of decimal text become exact integers, as Decimal says."""

import re
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation, localcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import UnitError
from streams.sources import decimals, tokens
from streams.sources.decimals import Style, Target

NUMBER = st.one_of(  # with at most the forty digits before and behind the point that schemas.units takes
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**16), max_value=10**16, places=3).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**6), max_value=10**6, places=20).map(str),
    st.integers(-(10**20), 10**20).map(str),
    st.text(st.sampled_from("0123456789.-+eE ,x"), max_size=12),
)


def convert(texts: list[str], target: Target, style: Style | None = None) -> list[int | str | None]:
    """Every text as the integer, the reason of its refusal, or None for nothing."""
    style = style or Style()
    raw = "\n".join(f"{text};x" for text in texts).encode()
    found: list[int | str | None] = []
    for rows, _, _ in tokens.scan(tokens.decode(raw, "utf-8"), ";", 2):
        values, there, refused = decimals.to_int64(rows, 0, np.zeros(len(rows), np.int64), [target], style)
        reasons = dict(refused)
        found += [
            int(values[row]) if there[row] else reasons.get(row) for row in range(len(rows))
        ]  # fmt: skip
    return found


def by_decimal(text: str, scale: Fraction, rounded: bool) -> int | None:
    """The integer by Python's Decimal; None where there is none, or where the exponent has more than two digits."""
    if not text.strip().isascii() or "_" in text or re.search("[eE][+-]?[0-9]{3}", text):
        return None
    with localcontext() as context:
        context.prec = 120
        try:
            value = Decimal(text.strip()) * scale.numerator / scale.denominator
        except InvalidOperation:
            return None
        if not value.is_finite():
            return None
        whole = value.to_integral_value(ROUND_HALF_EVEN)
        if (value != whole and not rounded) or not -(1 << 63) <= whole < 1 << 63:
            return None
        return int(whole)


@settings(deadline=None, max_examples=300)
@given(st.lists(NUMBER, min_size=1, max_size=20), st.sampled_from(["1", "1000", "1/8", "0.001"]), st.booleans())
def test_every_number_is_what_decimal_says(texts: list[str], factor: str, rounded: bool) -> None:
    """Any text gives the integer that exact decimal arithmetic gives, and is refused where that gives none."""
    target = Target.of("Wh", "delta", "kWh", Fraction(factor), rounded)
    scale = Fraction(factor) * 1000
    found = convert(texts, target)

    for text, value in zip(texts, found, strict=True):
        expected = by_decimal(text, scale, rounded)
        assert (value if isinstance(value, int) else None) == expected, text
        assert isinstance(value, str) == (expected is None and text.strip() != "")


def test_halves_go_to_the_even_neighbour() -> None:
    """Rounding is half to even on both sides of zero, and nothing is rounded unless it was asked for."""
    texts = ["0.0005", "0.0015", "-0.0005", "-0.0015", "-0.0025", "0.00051"]

    assert convert(texts, Target.of("Wh", "delta", "kWh", round_half_even=True)) == [0, 2, 0, -2, -2, 1]
    assert all("not an integer" in str(reason) for reason in convert(texts, Target.of("Wh", "delta", "kWh")))


def test_the_edges_of_64_bits() -> None:
    """The largest and smallest int64 pass, one further is refused."""
    target = Target.of("1", "state")
    texts = [str((1 << 63) - 1), str(-(1 << 63)), str(1 << 63), str(-(1 << 63) - 1)]

    found = convert(texts, target)
    assert found[:2] == [(1 << 63) - 1, -(1 << 63)]
    assert all("64 bits" in str(reason) for reason in found[2:])


def test_marks_of_decimals_and_thousands() -> None:
    """`1.234,5` is read where the mapping says so, and what does not keep to the marks is refused, not guessed."""
    style = Style(",", ".", ("NA", "-9999"))
    good = ["1.234.567,5", "12,5", "1234,5"]
    bad = ["1.23,5", "1.23.456", "1.234.56", "12.5", "1,2,3", ".123,5"]
    nothing = ["NA", "-9999", "", " NA "]
    found = convert(good + bad + nothing, Target.of("kWh", "delta"), style)

    assert found[:3] == [1_234_567_500, 12_500, 1_234_500]
    assert all(isinstance(reason, str) for reason in found[3:9])
    assert found[9:] == [None] * 4
    plain = Style(",")
    assert isinstance(convert(["12.5"], Target.of("kWh", "delta"), plain)[0], str)


def test_gauges_are_thousandths_of_the_points_own_unit() -> None:
    """W that are imported into a point in kW become thousandths of a kW; other dimensions are refused at once."""
    assert convert(["1500", "0.5"], Target.of("kW", "gauge", "W", round_half_even=True)) == [1500, 0]
    assert convert(["21.5", "-0.125"], Target.of("degC", "gauge")) == [21_500, -125]
    with pytest.raises(UnitError, match="do not fit"):
        Target.of("kWh", "register", "m3")


def test_the_compiled_kernel_ran() -> None:
    """Numba was not switched off: what was judged above is the machine code."""
    convert(["1"], Target.of("1", "state"))
    assert decimals._convert.signatures


def test_words_that_stand_for_numbers() -> None:
    """On and off of a state, in any letters; a truth without a word in the mapping says how to give it one."""
    target, style = Target.of("people", "state"), Style(words={"on": "1", "off": "0"})
    assert convert(["ON", "off", "1", "maybe"], target, style)[:3] == [1, 0, 1]
    for text, hint in (("True", "words:"), ("NaN", "nulls: ['NaN']"), ("maybe", "")):
        (reason,) = convert([text], target)
        assert str(reason).startswith(f"{text!r} is not a decimal number") and hint in str(reason)
        assert hint or "mapping" not in str(reason)
