"""Units and roles: exact conversion, what fits what, and tables that agree with themselves."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import UnitError
from schemas.roles import ROLES
from schemas.units import (
    KINDS,
    MEDIA,
    UNITS,
    Converter,
    fits_medium,
    rate_per_hour,
    scale,
    text_of,
    to_int,
    unit,
    units_of,
)


@pytest.mark.parametrize(
    ("text", "name", "kind", "expected"),
    [
        ("1.5", "kWh", "register", 1500),
        ("0.001", "kWh", "delta", 1),
        ("-3", "MWh", "delta", -3_000_000),
        ("1.8", "GJ", "register", 500_000),
        ("12.345678", "m3", "register", 12_345_678),
        ("22.45", "degC", "gauge", 22_450),
        ("0.1", "kW", "gauge", 100),
        ("3", "people", "state", 3),
        ("0.7390", "yuan", "delta", 7390),
        ("1e3", "Wh", "register", 1000),
        ("+.5", "t", "delta", 500_000),
        ("5", "度", "register", 5000),
    ],
)
def test_numbers_become_the_smallest_unit_exactly(text: str, name: str, kind: str, expected: int) -> None:
    """Registers and deltas come out in the smallest unit, gauges in thousandths of their own, states as they are."""
    assert to_int(text, name, kind) == expected


@pytest.mark.parametrize(
    ("text", "name", "kind", "reason"),
    [
        ("1.0005", "kWh", "register", "not an integer in Wh"),
        ("1.00005", "W", "gauge", "not an integer in thousandths of W"),
        ("0.5", "people", "state", "not an integer in 1"),
        ("1,000", "kWh", "register", "not a decimal number; write it without thousands"),
        ("nan", "W", "gauge", "not a decimal number"),
        ("1e400", "W", "gauge", "not a decimal number"),
        ("", "W", "gauge", "not a decimal number"),
        ("１２", "W", "gauge", "not a decimal number"),
        ("9223372036854775808", "Wh", "register", "beyond 64 bits"),
        ("1", "W", "register", "does not fit a register"),
        ("1", "furlong", "gauge", "unknown unit"),
        ("1", "W", "level", "unknown kind"),
    ],
)
def test_what_is_not_an_integer_is_refused(text: str, name: str, kind: str, reason: str) -> None:
    """Nothing is rounded, cut or guessed unless that was asked for."""
    with pytest.raises(UnitError, match=reason):
        to_int(text, name, kind)


def test_rounding_is_half_to_even_and_only_on_demand() -> None:
    """0.5 and 2.5 smallest units round to 0 and 2; a factor is applied before."""
    assert [to_int(text, "Wh", "delta", round_half_even=True) for text in ("0.5", "1.5", "2.5", "-0.5")] == [0, 2, 2, 0]
    assert to_int("1.5", "kWh", "register", factor=Fraction(40)) == 60_000
    assert to_int("3", "kWh", "register", factor=Decimal("0.1")) == 300


@given(st.integers(-(10**12), 10**12), st.integers(0, 6))
def test_conversion_is_exact_for_any_decimal(digits: int, places: int) -> None:
    """A decimal with at most as many places as the unit has digits comes out to the unit."""
    text = text_of(Fraction(digits, 10**places))
    assert to_int(text, "m3", "delta") == digits * 10 ** (6 - places)


@given(st.fractions(max_denominator=10**6))
def test_text_of_a_number_is_exact(value: Fraction) -> None:
    """Canonical text means the same number, and equal numbers have equal text."""
    text = text_of(value)
    assert Fraction(text) == value
    assert text_of(Fraction(text)) == text


def test_integral_divisors_follow_from_the_units() -> None:
    """One unit of a rate held for an hour is 1000 x 3,600,000 / divisor smallest units of the quantity."""
    expected = {
        "W": 3_600_000_000,
        "kW": 3_600_000,
        "L/h": 3_600_000,
        "L/min": 60_000,
        "m3/h": 3_600,
        "g/s": 1_000_000,
        "km/h": 3_600_000,
    }
    assert {name: UNITS[name].integral_divisor for name in expected} == expected
    base_per_hour = {
        "power": Fraction(1),
        "reactive_power": Fraction(1),
        "flow": Fraction(1000),
        "mass_flow": Fraction(1),
        "speed": Fraction(3600),
    }
    for found in UNITS.values():
        if found.integral_divisor:
            per_hour = found.ratio * base_per_hour[found.dimension]
            assert Fraction(1000 * 3_600_000, found.integral_divisor) == per_hour, found.name
            assert UNITS[found.integral_unit].ratio == 1


def test_tables_agree_with_themselves() -> None:
    """Every row has a source; dimensions, kinds and units that one table names are in the other."""
    dimensions = {found.dimension for found in UNITS.values()}
    assert all(found.source and set(found.kinds) <= set(KINDS) for found in UNITS.values())
    for medium in MEDIA.values():
        assert medium.source
        assert set(medium.dimensions) <= dimensions
        assert UNITS[medium.price_unit].dimension in medium.dimensions
    for role in ROLES.values():
        assert role.aggregate in ("sum", "max")
        assert role.name_zh
        assert role.name_en
        assert all(units_of(kind, role.dimension) for kind in role.kinds), role.name


def test_units_fit_media_by_what_they_count() -> None:
    """Water is counted in volume and flows in volume an hour; a temperature fits any medium."""
    assert fits_medium("m3", "register", "water")
    assert not fits_medium("kWh", "register", "water")
    assert fits_medium("L/min", "gauge", "water")
    assert not fits_medium("W", "gauge", "water")
    assert fits_medium("degC", "gauge", "water")
    assert not fits_medium("m3", "register", "lemonade")


def test_rated_becomes_the_most_in_an_hour() -> None:
    """3 kW is 3,000 Wh an hour, of a register as of a gauge; a temperature has none; fractions are rounded up."""
    assert rate_per_hour(Fraction(3), "kWh", "register") == 3000
    assert rate_per_hour(Fraction(3), "kW", "gauge") == 3000
    assert rate_per_hour(Fraction(1, 3), "Wh", "delta") == 1
    assert rate_per_hour(Fraction(20), "degC", "gauge") == 0


def test_aliases_name_the_same_unit() -> None:
    """m³ is m3 and ℃ is degC."""
    assert unit("m³") is UNITS["m3"]
    assert unit("℃") is UNITS["degC"]
    assert scale("m³", "register") == 1_000_000
    assert Converter("m³", "register")("1") == 1_000_000
