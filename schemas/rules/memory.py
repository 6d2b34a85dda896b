"""What the rules of a site were bound to, kept for its next document: a rule that changes is the only one bound anew.

Everything here follows from documents alone, so what is kept changes how soon the answer is there and nothing else.
What follows from the tables of a site and its calendars is kept as long as they stay the same; bound rules for as long
as one of the last two documents has them, so that a change that is taken back is quick as well.
"""

import functools
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final, NamedTuple

from schemas.model.document import Document, Table
from schemas.model.points import PointColumns, point_columns
from schemas.model.presence import Estimator, estimators
from schemas.rules.binding import Binder
from schemas.rules.bound import BoundRule
from schemas.rules.instances import bind_rules
from schemas.rules.parsed import Parsed
from schemas.rules.program import CompiledRules
from schemas.rules.subjects import SiteView

POINTS_MAX: Final = 250_000
"""Points of all sites that are kept together: about 1.1 kB each under the packs for rooms, meters and water."""


class SiteMemory:
    """What follows from the tables and calendars of a site, each made when it is first asked for.

    Args:
        document: one of its documents.
    """

    def __init__(self, document: Document) -> None:
        self._tables: Mapping[str, Table] = document.tables
        self._rest = (document.site, document.calendars, document.interval_s)
        self._document = document
        self._binders: dict[str, _Kept] = {}
        self.lock = threading.RLock()

    def fits(self, document: Document) -> bool:
        """Whether a document has the same: its very tables (`Document.parse` shares them), and equal calendars."""
        rest = (document.site, document.calendars, document.interval_s)
        return document.tables is self._tables and rest == self._rest

    @property
    def points(self) -> int:
        """How many points it has, those of every date."""
        return len(self._document.table("points").get("id", []))

    @functools.cached_property
    def view(self) -> SiteView:
        """Its rows, for binding."""
        return SiteView(self._document)

    @functools.cached_property
    def columns(self) -> PointColumns:
        """Its points."""
        return point_columns(self._document)

    @functools.cached_property
    def estimators(self) -> list[Estimator]:
        """Where presence is estimated."""
        return estimators(self._document)

    def prepare(self, document: Document, topic: str) -> None:
        """Finds out whatever a layout asks for.

        Raises:
            ContractError: the document's points are not what `apply` writes.
            ModelError: rules that `check_packs` would have refused.
        """
        self.rules(document, topic)
        _ = self.columns, self.estimators

    def rules(self, document: Document, topic: str) -> CompiledRules:
        """The rules of a document that fits, as `compile_rules` gives them.

        Raises:
            ModelError: rules that `check_packs` would have refused.
        """
        with self.lock:
            kept = self._binders.get(topic)
            if kept is None:
                kept = self._binders[topic] = _Kept(Binder(self._document, self.view, topic))
            compiled = bind_rules(document, self.view, kept.bind)
            kept.turn()
        return compiled


class _Kept:
    """A binder with the rules that it has bound for the last two documents."""

    def __init__(self, binder: Binder) -> None:
        self._binder = binder
        self._now: dict[str, _Bound] = {}
        self._before: tuple[dict[str, _Bound], ...] = ()

    def bind(self, parsed: Parsed) -> BoundRule:
        """As `Binder.bind`."""
        found = next((kept[parsed.text] for kept in (self._now, *self._before) if parsed.text in kept), None)
        if found is None:
            found = _Bound(parsed.members, self._binder.bind(parsed))
        if not found.rule.faults:  # they say where in its pack a rule is
            self._now[parsed.text] = found
        return found.rule

    def turn(self) -> None:
        """A document is done: what neither it nor the one before has is forgotten."""
        self._before, self._now = (self._now, *self._before)[:2], {}
        needed = {one.members for kept in self._before for one in kept.values()}
        for members in set(self._binder.members) - needed:
            del self._binder.members[members]


class _Bound(NamedTuple):
    """A rule, and what its members go by."""

    members: str
    rule: BoundRule


class Memory:
    """The memories of sites, those that were asked for last; several threads may ask at once.

    Args:
        points_max: points of all sites that are kept together; a site that has more is not kept.

    Attributes:
        points_max: the same.
    """

    def __init__(self, points_max: int = POINTS_MAX) -> None:
        self._sites: OrderedDict[str, SiteMemory] = OrderedDict()
        self.points_max = points_max
        self._lock = threading.Lock()

    def site(self, document: Document) -> SiteMemory:
        """The memory of a document's site, a new one where its tables or calendars are others than before."""
        with self._lock:
            found = self._sites.pop(document.site, None)
            if found is None or not found.fits(document):
                found = SiteMemory(document)
            self._sites[document.site] = found
            points = sum(one.points for one in self._sites.values())
            while points > self.points_max and self._sites:
                _, gone = self._sites.popitem(last=False)
                points -= gone.points
        return found
