"""Points of a document as arrays, for kernels: a row a point, the points of a gateway side by side."""

import dataclasses
import functools
from fractions import Fraction
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas.codec import Json
from schemas.errors import ContractError
from schemas.model.document import Document, Table
from schemas.topics import INPUTS
from schemas.units import INT64_MAX, INT64_MIN, KINDS, UNITS, Converter, rate_per_hour

MAX_AGE_INTERVALS: Final = 3
"""A point that does not say is unknown after so many intervals without a reading."""
FOREVER_MS: Final = 1 << 53
"""Age that nothing reaches; far from the end of int64, so that a time can be added."""


@dataclasses.dataclass(frozen=True)
class PointColumns:
    """One row a point, ordered by (gateway, number).

    Attributes:
        ids: point ids.
        gateways: gateway ids, sorted; "" is that of generated points, which are fed by events.
        numbers: uint32, number of the point in its site.
        gateway: int32, index into `gateways`.
        kind: int8, 0 register, 1 delta, 2 gauge, 3 state.
        topic: int8, 0 meter.readings, 1 waste.events, 2 vehicle.events.
        interval_ms: int64, between readings; 0: when something happens.
        max_age_ms: int64, older than this it is unknown; three intervals where the model does not say,
            `FOREVER_MS` of a point that has no interval either.
        rate_max: int64, the most it can use in an hour, smallest unit; 0: not known.
        span: int64, value at which a register rolls over, smallest unit; 0: not known.
        low: int64, smallest value that can be, as carried by the log; the smallest int64: no bound.
        high: int64, largest value that can be; the largest int64: no bound.
        data_clock: int8, 1: rules follow its own time.
        integral_divisor: int64, value * milliseconds // divisor is a quantity in the smallest unit; 0: a gauge that is
            no rate, or no gauge.
    """

    ids: tuple[str, ...]
    gateways: tuple[str, ...]
    numbers: NDArray[np.uint32]
    gateway: NDArray[np.int32]
    kind: NDArray[np.int8]
    topic: NDArray[np.int8]
    interval_ms: NDArray[np.int64]
    max_age_ms: NDArray[np.int64]
    rate_max: NDArray[np.int64]
    span: NDArray[np.int64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    data_clock: NDArray[np.int8]
    integral_divisor: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)


def point_columns(document: Document) -> PointColumns:
    """The points of a document as arrays.

    Raises:
        ContractError: the document's points are not what `apply` writes.
    """
    try:
        return _columns(document)
    except (LookupError, ValueError, TypeError, OverflowError) as error:
        raise ContractError(f"the points of {document.site} cannot be used: {error!r}") from error


def _columns(document: Document) -> PointColumns:
    table = document.table("points")
    ids = [str(name) for name in table.get("id", [])]
    gateway_of = [str(name or "") for name in table.get("gateway", [])]
    numbers = [int(str(number)) for number in table.get("number", [])]
    order = sorted(range(len(ids)), key=lambda row: (gateway_of[row], numbers[row]))
    gateways = tuple(sorted(set(gateway_of)))
    place = {name: index for index, name in enumerate(gateways)}

    def column(name: str) -> list[Any]:
        cells = table[name] if ids else []
        return [cells[row] for row in order]

    kinds, units = [str(kind) for kind in column("kind")], [str(unit or "1") for unit in column("unit")]
    interval_ms = np.array([int(str(value or 0)) * 1000 for value in column("interval_s")], np.int64)
    max_age_ms = np.array([int(str(value or 0)) * 1000 for value in column("max_age_s")], np.int64)
    spans = rollovers(document)
    bounds = [
        [_bound(value, kind, unit, none) for value, kind, unit in zip(column(name), kinds, units, strict=True)]
        for name, none in (("min", INT64_MIN), ("max", INT64_MAX))
    ]
    rated = zip(column("rated"), kinds, units, strict=True)
    return PointColumns(
        ids=tuple(ids[row] for row in order),
        gateways=gateways,
        numbers=np.array([numbers[row] for row in order], np.uint32),
        gateway=np.array([place[gateway_of[row]] for row in order], np.int32),
        kind=np.array([KINDS.index(kind) for kind in kinds], np.int8),
        topic=np.array([INPUTS.index(str(topic)) for topic in column("topic")], np.int8),
        interval_ms=interval_ms,
        max_age_ms=np.where(
            max_age_ms > 0, max_age_ms, np.where(interval_ms > 0, MAX_AGE_INTERVALS * interval_ms, FOREVER_MS)
        ),
        rate_max=np.array([_rate(value, kind, unit) for value, kind, unit in rated], np.int64),
        span=np.array([spans.get(ids[row], 0) for row in order], np.int64),
        low=np.array(bounds[0], np.int64),
        high=np.array(bounds[1], np.int64),
        data_clock=np.array([clock == "data" for clock in column("clock")], np.int8),
        integral_divisor=np.array(
            [UNITS[unit].integral_divisor if kind == "gauge" else 0 for kind, unit in zip(kinds, units, strict=True)],
            np.int64,
        ),
    )


# A hundred thousand points have a few hundred different bounds.
@functools.lru_cache(maxsize=4096)
def _bound(value: str | None, kind: str, unit: str, none: int) -> int:
    return none if value is None else Converter(unit, kind)(value)


@functools.lru_cache(maxsize=4096)
def _rate(value: str | None, kind: str, unit: str) -> int:
    return rate_per_hour(Fraction(value), unit, kind) if value else 0


def rollovers(document: Document) -> dict[str, int]:
    """Point → value at which its register rolls over: 10^digits x resolution x ct x pt of the meter installed last.

    In the smallest unit. Points whose meter does not tell its digits, or whose span is no integer in the smallest unit
    or beyond int64, are left out.
    """
    meters, installed = document.table("meters"), document.table("meter_install")
    points = document.table("points")
    kinds = dict(zip(points.get("id", []), points.get("kind", []), strict=True))
    units = dict(zip(points.get("id", []), points.get("unit", []), strict=True))
    widths = _widths(meters)
    newest: dict[Json, tuple[str, Json]] = {}
    columns = (installed.get(name, []) for name in ("point", "meter", "valid_from"))
    for point, meter, since in zip(*columns, strict=True):
        if point not in newest or newest[point][0] <= str(since or ""):
            newest[point] = (str(since or ""), meter)
    found: dict[str, int] = {}
    for point, (_, meter) in newest.items():
        width = widths.get(meter)
        if width is not None and kinds.get(point) == "register":
            span = width * Converter(str(units[point]), "register").scale
            if span.denominator == 1 and 0 < span.numerator <= INT64_MAX:
                found[str(point)] = span.numerator
    return found


def _widths(meters: Table) -> dict[Json, Fraction]:
    columns = (meters.get(name, []) for name in ("id", "digits", "resolution", "ct", "pt"))
    return {
        meter: 10 ** int(str(digits)) * Fraction(str(resolution)) * Fraction(str(ct)) * Fraction(str(pt))
        for meter, digits, resolution, ct, pt in zip(*columns, strict=True)
        if digits is not None
    }
