"""Dimensions and steps: what a literal, a role and a point are to the compiler.

The base of a dimension is the one of `schemas.units`; time is counted in seconds here, in steps of a millisecond.
"""

import dataclasses
import functools
from collections.abc import Iterable
from fractions import Fraction
from typing import Final

from schemas import units
from schemas.errors import ExpressionError, UnitError
from schemas.roles import Role
from schemas.rules.language import Number, suggest

_TIME: Final = "time"
_NUMBER: Final = "number"


@dataclasses.dataclass(frozen=True)
class Dimension:
    """A product of powers of named dimensions; sorted, no zero exponents; () is a plain number."""

    powers: tuple[tuple[str, int], ...] = ()

    def times(self, other: "Dimension", sign: int = 1) -> "Dimension":
        """Dimension of a product."""
        exponents = dict(self.powers)
        for name, power in other.powers:
            exponents[name] = exponents.get(name, 0) + sign * power
        return Dimension(tuple(sorted((name, power) for name, power in exponents.items() if power)))

    def over(self, other: "Dimension") -> "Dimension":
        """Dimension of a quotient."""
        return self.times(other, -1)


DIMENSIONLESS: Final = Dimension()
DURATION: Final = Dimension(((_TIME, 1),))


@dataclasses.dataclass(frozen=True)
class Quantity:
    """What the internal integer of a value means: `step` base units of `dimension`.

    A state is a truth as well; a counter (register or delta) has an increase, and a rate over a span.
    """

    dimension: Dimension
    step: Fraction
    state: bool = False
    counter: bool = False


def dimension(name: str) -> Dimension:
    """A dimension of `schemas.units` by its name."""
    return DIMENSIONLESS if name == _NUMBER else Dimension(((name, 1),))


def literal(number: Number) -> tuple[Fraction, Dimension]:
    """Value in base units and dimension of a constant.

    Raises:
        ExpressionError: unknown unit.
    """
    if not number.unit:
        return number.value, DIMENSIONLESS
    try:
        unit = units.unit(number.unit)
    except UnitError as error:
        raise ExpressionError(
            f"{error}{suggest(number.unit, units.names())}", number.place.line, number.place.column
        ) from error
    return number.value * unit.ratio * _base(unit.dimension), dimension(unit.dimension)


@functools.cache
def of_point(kind: str, unit_name: str) -> Quantity:
    """Quantity of a point's live value; the same object for the same kind and unit.

    Raises:
        UnitError: unknown unit or kind, or they do not fit each other.
    """
    unit = units.unit(unit_name)
    step = unit.ratio / units.scale(unit_name, kind) * _base(unit.dimension)
    return Quantity(dimension(unit.dimension), step, state=kind == "state", counter=kind in ("register", "delta"))


def of_role(role: Role) -> Quantity:
    """Quantity of a role before it is bound to points: its dimension in a step that stands for any."""
    return Quantity(
        dimension(role.dimension),
        Fraction(1, 1000) * _base(role.dimension),
        state=role.kinds == ("state",),
        counter=set(role.kinds) <= {"register", "delta"},
    )


def rate(counted: Quantity, over_ms: int) -> Quantity | None:
    """Quantity of what a counter counts in a span, taken as a rate: Wh in an hour are W, mL in a minute are a flow.

    None where the units know no rate of it (a number of trips).
    """
    for unit in units.UNITS.values():
        if unit.integral_divisor and dimension(units.UNITS[unit.integral_unit].dimension) == counted.dimension:
            per_ms = unit.integral_divisor * unit.ratio / units.GAUGE_SCALE
            return Quantity(dimension(unit.dimension), counted.step * per_ms / over_ms)
    return None


def hourly(flow: Dimension) -> Fraction | None:
    """The step in which a flow counts the smallest units of an hour: 1 mL/h, 1 Wh/h. None: it is no flow."""
    for unit in units.UNITS.values():
        if unit.integral_divisor and dimension(unit.dimension) == flow:
            smallest = units.UNITS[unit.integral_unit]
            found = rate(Quantity(dimension(smallest.dimension), smallest.ratio), 3_600_000)
            return None if found is None else found.step
    return None


def describe(what: Dimension) -> str:
    """A dimension for a message."""
    if not what.powers:
        return "a number"
    upper = [_power(name, power) for name, power in what.powers if power > 0]
    lower = [_power(name, -power) for name, power in what.powers if power < 0]
    return (" times ".join(upper) or "1") + (f" per {' per '.join(lower)}" if lower else "")


def mixed(quantities: Iterable[Quantity]) -> bool:
    """Whether values cannot be added up as integers: they differ in dimension or step."""
    first: Quantity | None = None
    for quantity in quantities:
        first = first or quantity
        if quantity is not first and (quantity.dimension, quantity.step) != (first.dimension, first.step):
            return True
    return False


def _power(name: str, power: int) -> str:
    words = name.replace("_", " ")
    return words if power == 1 else f"{words}^{power}"


def _base(name: str) -> Fraction:
    return Fraction(1, 1000) if name == _TIME else Fraction(1)
