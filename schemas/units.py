"""Media, units and kinds as data, and exact conversion of decimal text to the int64 that the log carries.

| kind | carried as |
|---|---|
| register, delta | the smallest unit of the dimension: Wh, varh, mL, g, m, 1/10000 yuan, 1 |
| gauge | thousandths of the point's own unit |
| state | 1 |

`units.csv` and `media.csv` are the tables, with a source for every row. A unit is an exact ratio to the base of its
dimension, and the base of every dimension that can be counted is the smallest unit. There is no float here: a number
that does not come out as an integer is refused unless rounding was asked for.
"""

import csv
import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from importlib import resources
from types import MappingProxyType
from typing import Final

from schemas.errors import UnitError

INT64_MIN: Final = -(1 << 63)
INT64_MAX: Final = (1 << 63) - 1
GAUGE_SCALE: Final = 1000
"""Gauges are carried in thousandths of their unit."""


class Kind(IntEnum):
    """Kinds of points; the number is what kernels see."""

    REGISTER = 0
    DELTA = 1
    GAUGE = 2
    STATE = 3


KINDS: Final = tuple(kind.name.lower() for kind in Kind)


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit.

    Attributes:
        name: as it is written in models and rules.
        dimension: units of one dimension convert into each other, others never.
        ratio: one of it in base units of the dimension.
        kinds: kinds of points that may have it.
        integral_unit: smallest unit of the quantity that it is a rate of; empty where it is none.
        integral_divisor: value_in_thousandths * milliseconds // divisor is the quantity in `integral_unit`; 0: not a
            rate of a quantity.
        source: where the ratio is from.
    """

    name: str
    dimension: str
    ratio: Fraction
    kinds: tuple[str, ...]
    integral_unit: str
    integral_divisor: int
    source: str


@dataclass(frozen=True, slots=True)
class Medium:
    """What flows: electricity, water, gas, waste.

    Attributes:
        name: as it is written in models.
        code: energy class of the reporting codes, empty outside of them.
        dimensions: dimensions in which it is counted.
        price_unit: unit that its prices are per, where a tariff does not say.
        name_zh: Chinese name.
        name_en: English name.
        source: where the code is from.
    """

    name: str
    code: str
    dimensions: tuple[str, ...]
    price_unit: str
    name_zh: str
    name_en: str
    source: str


def _rows(name: str) -> list[dict[str, str]]:
    text = resources.files("schemas").joinpath(name).read_text("utf-8")
    return list(csv.DictReader(text.splitlines()))


def _load_units() -> tuple[Mapping[str, Unit], Mapping[str, str]]:
    found: dict[str, Unit] = {}
    aliases: dict[str, str] = {}
    for row in _rows("units.csv"):
        name = row["unit"]
        found[name] = Unit(
            name,
            row["dimension"],
            Fraction(int(row["numerator"]), int(row["denominator"])),
            tuple(row["kinds"].split()),
            row["integral_unit"],
            int(row["integral_divisor"]),
            row["source"],
        )
        aliases.update(dict.fromkeys(row["aliases"].split(), name))
    return MappingProxyType(found), MappingProxyType(aliases)


UNITS, ALIASES = _load_units()
MEDIA: Final[Mapping[str, Medium]] = MappingProxyType(
    {
        row["medium"]: Medium(
            row["medium"],
            row["code"],
            tuple(row["dimensions"].split()),
            row["price_unit"],
            row["name_zh"],
            row["name_en"],
            row["source"],
        )
        for row in _rows("media.csv")
    }
)
SMALLEST: Final[Mapping[str, str]] = MappingProxyType(
    {
        unit.dimension: unit.name
        for unit in UNITS.values()
        if unit.ratio == 1 and "register" in unit.kinds and unit.name != "people"
    }
    | {"money": "1/10000 yuan"}
)
"""Dimension that can be counted → what registers and deltas of it are carried in."""


def names() -> tuple[str, ...]:
    """Every unit that may be written, aliases included."""
    return (*UNITS, *ALIASES)


def known(name: str) -> bool:
    """Whether it is a unit or the alias of one."""
    return name in UNITS or name in ALIASES


def unit(name: str) -> Unit:
    """The unit of a name or alias (`m³` is `m3`).

    Raises:
        UnitError: there is no such unit.
    """
    found = UNITS.get(ALIASES.get(name, name))
    if found is None:
        raise UnitError(f"unknown unit {name!r}")
    return found


def scale(name: str, kind: str) -> Fraction:
    """What one of the unit is, as carried by points of a kind: kWh of a register and kW of a gauge are 1000.

    Raises:
        UnitError: unknown unit or kind, or the unit does not fit the kind.
    """
    found = unit(name)
    if kind not in KINDS:
        raise UnitError(f"unknown kind {kind!r}; known are {', '.join(KINDS)}")
    if kind not in found.kinds:
        raise UnitError(f"unit {name} does not fit a {kind}; it fits {', '.join(found.kinds)}")
    if kind == "gauge":
        return Fraction(GAUGE_SCALE)
    return Fraction(1) if kind == "state" else found.ratio


def units_of(kind: str, dimension: str = "", medium: str = "") -> tuple[str, ...]:
    """Units that fit a kind, a dimension (empty: any) and a medium (empty: any)."""
    return tuple(
        name
        for name, found in UNITS.items()
        if kind in found.kinds
        and dimension in ("", found.dimension)
        and (not medium or fits_medium(name, kind, medium))
    )


def fits_medium(name: str, kind: str, medium: str) -> bool:
    """Whether points of a kind and medium may have the unit.

    Registers and deltas are counted in a dimension of the medium; a gauge that is a rate is one of such a dimension;
    other gauges (temperature, voltage, pressure) and states fit any medium.
    """
    found = unit(name)
    if medium not in MEDIA or kind == "state":
        return medium in MEDIA
    if kind == "gauge":
        return not found.integral_unit or UNITS[found.integral_unit].dimension in MEDIA[medium].dimensions
    return found.dimension in MEDIA[medium].dimensions


_NUMBER: Final = re.compile(r"([+-]?)([0-9]{0,40})(?:\.([0-9]{0,40}))?(?:[eE]([+-]?[0-9]{1,2}))?")


def parse_decimal(text: str) -> Fraction:
    """The exact value of a decimal number as text: `-12.50`, `.5`, `1e3`. ASCII digits, no thousands separators.

    Raises:
        UnitError: it is not one.
    """
    match = _NUMBER.fullmatch(text.strip())
    if match is None or not (match[2] or match[3]):
        hint = "; write it without thousands separators, with a point" if "," in text else ""
        raise UnitError(f"{text[:60]!r} is not a decimal number{hint}")
    sign, whole, part, exponent = match[1], match[2], match[3] or "", int(match[4] or 0)
    digits = int(f"{sign}{whole}{part}")
    power = exponent - len(part)
    return Fraction(digits * 10**power) if power >= 0 else Fraction(digits, 10**-power)


class Converter:
    """Converts decimal text of one unit and kind to what the log carries; made once, called for every cell.

    Args:
        name: unit of the numbers.
        kind: register, delta, gauge or state.
        factor: every number is multiplied by it first (a meter's ratio, a file's scaling).
        round_half_even: rounds what is not an integer, instead of refusing it.

    Raises:
        UnitError: the unit is unknown or does not fit the kind.
    """

    def __init__(
        self, name: str, kind: str, factor: Fraction | Decimal | int = 1, *, round_half_even: bool = False
    ) -> None:
        self.unit = unit(name)
        self.kind = kind
        self.round_half_even = round_half_even
        self.scale = scale(name, kind) * Fraction(factor)

    def __call__(self, text: str) -> int:
        """The int64 of a number.

        Raises:
            UnitError: not a number, not an integer in the smallest unit, or beyond int64.
        """
        return self.exact(parse_decimal(text), text)

    def exact(self, value: Fraction, text: str = "") -> int:
        """The int64 of an exact number; `text` is how messages name it."""
        scaled = value * self.scale
        if scaled.denominator != 1 and not self.round_half_even:
            raise UnitError(
                f"{text or value} {self.unit.name} is not an integer in {self.carried}; declare rounding"
                " (round: half_even) or another factor"
            )
        whole = round(scaled)  # of a Fraction: exact, half to even
        if not INT64_MIN <= whole <= INT64_MAX:
            raise UnitError(f"{text or value} {self.unit.name} is beyond 64 bits in {self.carried}")
        return whole

    @property
    def carried(self) -> str:
        """What the log carries, in words."""
        if self.kind == "gauge":
            return f"thousandths of {self.unit.name}"
        return SMALLEST.get(self.unit.dimension, "1") if self.kind != "state" else "1"


@functools.lru_cache(maxsize=4096)
def _converter(name: str, kind: str, factor: Fraction, round_half_even: bool) -> Converter:
    return Converter(name, kind, factor, round_half_even=round_half_even)


def to_int(text: str, unit: str, kind: str, factor: Fraction | Decimal | int = 1, round_half_even: bool = False) -> int:
    """The int64 that the log carries for a decimal number: `to_int("1.5", "kWh", "register")` is 1500.

    Raises:
        UnitError: not a number, an unknown unit, one that does not fit the kind, not an integer in the smallest unit,
            or beyond int64.
    """
    return _converter(unit, kind, Fraction(factor), round_half_even)(text)


def rate_per_hour(value: Fraction, name: str, kind: str) -> int:
    """The most that a point can use in an hour, smallest unit, from its `rated`; rounded up; 0: cannot be told.

    A register or delta is rated per hour (kWh: kW); a gauge that is a rate is rated in its unit (3 kW: 3000 Wh an
    hour).
    """
    found = unit(name)
    if kind in ("register", "delta"):
        return _up(value * found.ratio)
    if kind == "gauge" and found.integral_divisor:
        return _up(value * GAUGE_SCALE * 3_600_000 / found.integral_divisor)
    return 0


def _up(value: Fraction) -> int:
    return max(0, min(INT64_MAX, -(-value.numerator // value.denominator)))


def text_of(value: Fraction) -> str:
    """A number as canonical text: a plain decimal without needless zeros, else a fraction (`1/3`)."""
    if value.denominator == 1:
        return str(value.numerator)
    rest, places = value.denominator, 0
    for prime in (2, 5):
        count = 0
        while rest % prime == 0:
            rest //= prime
            count += 1
        places = max(places, count)
    if rest != 1:
        return f"{value.numerator}/{value.denominator}"
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"


def kinds_text(kinds: Iterable[str]) -> str:
    """Kinds for a message: `register or delta`."""
    return " or ".join(kinds)
