"""What a source must know of the published model: the points of every site, their numbers, units and gateways."""

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.model.document import Document


@dataclass(frozen=True, slots=True)
class Point:
    """A point that a gateway sends.

    Attributes:
        site: its site.
        id: its id.
        number: its number in the site.
        gateway: who sends it.
        kind: register, delta, gauge or state.
        unit: its unit.
        interval_s: seconds between readings; 0: when something happens.
    """

    site: str
    id: str
    number: int
    gateway: str
    kind: str
    unit: str
    interval_s: int


class Catalog:
    """Points by site and id. Of a point with several dated rows, the last one counts.

    Args:
        documents: the published document of every site.
    """

    def __init__(self, documents: Mapping[str, Document]) -> None:
        self.documents = documents
        self._points: dict[str, dict[str, Point]] = {}

    def point(self, site: str, name: str) -> Point:
        """A point by its id.

        Raises:
            LookupError: the site, or the point in it, is not published, or no gateway sends it; the message says which.
        """
        points = self._points.get(site)
        if points is None:
            points = self._points[site] = self._read(site)
        found = points.get(name)
        if found is None:
            raise LookupError(f"unknown point {name!r} in site {site!r}")
        if not found.gateway:
            raise LookupError(f"point {name!r} is fed by events, not by a gateway")
        return found

    def has(self, site: str, table: str, name: str) -> bool:
        """Whether a table of the site's document has a row of that id.

        Raises:
            LookupError: the site is not published.
        """
        return name in self._document(site).table(table).get("id", [])

    def _document(self, site: str) -> Document:
        document = self.documents.get(site)
        if document is None:
            raise LookupError(f"unknown site {site!r}; published are: {', '.join(sorted(self.documents)) or 'none'}")
        return document

    def _read(self, site: str) -> dict[str, Point]:
        table = self._document(site).table("points")
        columns = ("id", "number", "gateway", "kind", "unit", "interval_s")
        return {
            str(name): Point(
                site,
                str(name),
                int(str(number)),
                str(gateway or ""),
                str(kind),
                str(unit or "1"),
                int(str(interval_s or 0)),
            )
            for name, number, gateway, kind, unit, interval_s in zip(*(table.get(c, []) for c in columns), strict=True)
        }
