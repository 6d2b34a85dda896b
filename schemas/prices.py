"""What a quantity costs: dated tariffs of a document, applied where a figure is shown, never stored.

The price of a span is that of its start; spans are cut at 15 minutes, and slots of tariffs begin on the hour. Energy,
surcharge and sewage add up; demand is paid by the month's maximum and is no part of what a room wastes. A medium
without a price for the time has no cost: None, not 0.
"""

import datetime as dt
import zoneinfo
from decimal import Decimal
from fractions import Fraction

from schemas.model.document import Document
from schemas.rules.program import TRUE
from schemas.rules.schedules import Bounds, state_at
from schemas.units import MEDIA, UNITS, unit

COMPONENTS = ("energy", "surcharge", "sewage")
MONEY_PER_YUAN = 10_000


class Prices:
    """Prices of one site.

    Args:
        document: the site's document in force.
    """

    def __init__(self, document: Document) -> None:
        sites = document.table("sites")
        self._zone = zoneinfo.ZoneInfo(str((sites.get("time_zone") or ["UTC"])[0]))
        self._calendar = str((sites.get("calendar") or [""])[0] or "")
        self._bounds = Bounds(document, str(self._zone))
        self._slots = self._bounds.names(self._calendar)
        table = document.table("tariffs")
        names = [name for name in table if table[name]]
        rows = [dict(zip(names, values, strict=True)) for values in zip(*(table[name] for name in names), strict=True)]
        own = {(row["medium"], row["component"]) for row in rows if row.get("site") == document.site}
        self._rows = [
            row
            for row in rows
            if row.get("component") in COMPONENTS
            and (
                row.get("site") == document.site
                or (not row.get("site") and (row["medium"], row["component"]) not in own)
            )
        ]

    def cost(self, medium: str, from_ms: int, quantity: int) -> int | None:
        """Cost in 1/10000 yuan, rounded half to even.

        Args:
            medium: what was used.
            from_ms: start of the span, UTC.
            quantity: in the smallest unit of the medium.

        Returns:
            None when no tariff has a price for the medium at that time.
        """
        local = dt.datetime.fromtimestamp(from_ms / 1000, self._zone)
        day = local.date().isoformat()
        total = Fraction(0)
        found = False
        for row in self._rows:
            if row["medium"] != medium or not self._holds(row, from_ms, local, day):
                continue
            per = unit(str(row.get("unit") or MEDIA[medium].price_unit)).ratio
            total += Fraction(Decimal(str(row["price"]))) / per * quantity
            found = True
        return round(total * MONEY_PER_YUAN) if found else None

    def _holds(self, row: dict[str, object], from_ms: int, local: dt.datetime, day: str) -> bool:
        if str(row.get("valid_from") or "") > day or (row.get("valid_to") and day >= str(row["valid_to"])):
            return False
        months = row.get("months")
        if months and local.month not in [int(str(month)) for month in _listed(months)]:
            return False
        slot = str(row.get("slot") or "")
        return not slot or state_at(self._bounds.found[self._slots[slot]], from_ms) == TRUE


def _listed(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else [value]


def wasted_unit(document: Document, number: int) -> tuple[str, str]:
    """(medium, smallest unit) in which a point's wasted quantity is counted: W is integrated to Wh, L/min to mL."""
    table = document.table("points")
    index = table["number"].index(number)
    written = unit(str(table["unit"][index]))
    smallest = written.integral_unit or next(
        (one.name for one in UNITS.values() if one.dimension == written.dimension and one.ratio == 1), written.name
    )
    return str(table["medium"][index] or ""), smallest
