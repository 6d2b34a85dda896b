"""Who a rule runs on: the subjects that `each` selects and that have its roles, and the points of each role, as arrays.

That is all that takes a look at every subject in Python, and it depends on `each` and `roles` alone: another threshold,
another `for`, other annotations leave it as it is.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas.groups import starts
from schemas.roles import ROLES
from schemas.rules.format import ANYTHING, Binding, Each
from schemas.rules.program import Agg
from schemas.rules.quantities import Quantity, mixed
from schemas.rules.subjects import Point, SiteView, Subject

NO_SLOT: Final = -1


class Slots:
    """The values of roles, as they are found: which points one is made of, and what follows from them.

    Attributes:
        quantities: of the slots, each once.
        broken: why a slot cannot be used, by slot.
    """

    def __init__(self) -> None:
        self.quantities: list[Quantity | None] = []
        self.broken: dict[int, str] = {}
        self._numbers: list[int] = []
        self._ends: list[int] = [0]
        self._agg: list[int] = []
        self._interval_ms: list[int] = []
        self._quantity: list[int] = []
        self._rated: list[int] = []
        self._known: dict[Quantity | None, int] = {}
        self._by_id: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._agg)

    def add(self, points: Sequence[Point], anything: bool) -> int:
        """The number of a slot of some points; of those that may be anything, only the age is looked at."""
        slot = len(self._agg)
        first = points[0]
        if len(points) == 1:
            self._numbers.append(first.number)
            interval_ms, rated = first.interval_ms, first.rated
            if first.quantity is None and not anything:
                self.broken[slot] = _UNFIT
        else:
            self._numbers += [point.number for point in points]
            intervals = [point.interval_ms for point in points]
            # The age of many points is that of the freshest: the shortest interval is what it is late by.
            shortest = min(filter(None, intervals), default=0)
            interval_ms = shortest if anything else max(intervals) if all(intervals) else 0
            each_rated = [point.rated for point in points]
            rated = sum(each_rated) if all(each_rated) else 0
            broken = "" if anything else _broken(points)
            if broken:
                self.broken[slot] = broken
        self._ends.append(len(self._numbers))
        self._agg.append(_aggregate(first.role))
        self._interval_ms.append(interval_ms)
        self._quantity.append(self._number_of(first.quantity))
        self._rated.append(rated)
        return slot

    def rated(self, slot: int) -> int:
        """Rated power of a slot's points together, 0 where one of them is not rated."""
        return self._rated[slot]

    def counts(self, slot: int) -> bool:
        """Whether a slot's quantity is counted."""
        return _counts(self.quantities[self._quantity[slot]])

    def _number_of(self, quantity: Quantity | None) -> int:
        # Quantities are made once for a kind and unit, so their identity says it sooner than their fractions.
        found = self._by_id.get(id(quantity))
        if found is None:
            found = self._known.get(quantity)
            if found is None:
                found = self._known[quantity] = len(self.quantities)
                self.quantities.append(quantity)
            self._by_id[id(quantity)] = found
        return found

    def arrays(self) -> "SlotArrays":
        """What was added, as arrays."""
        quantity = np.array(self._quantity, np.int32)
        counters = np.array([_counts(one) for one in self.quantities] or [False])
        return SlotArrays(
            agg=np.array(self._agg, np.int8),
            start=np.array(self._ends, np.int32),
            points=np.array(self._numbers, np.int32),
            interval_ms=np.array(self._interval_ms, np.int64),
            quantity=quantity,
            counter=counters[quantity],
            rated=np.array(self._rated, np.int64),
        )


@dataclasses.dataclass(frozen=True)
class SlotArrays:
    """One row a slot.

    Attributes:
        agg: int8, `program.Agg`.
        start: int32[slots + 1]: the points of slot s are points[start[s]:start[s + 1]].
        points: int32, numbers of points.
        interval_ms: int64, 0: it has none.
        quantity: int32, in `Slots.quantities`.
        counter: bool, whether that counts.
        rated: int64, rated power of its points together; 0 where one of them is not rated.
    """

    agg: NDArray[np.int8]
    start: NDArray[np.int32]
    points: NDArray[np.int32]
    interval_ms: NDArray[np.int64]
    quantity: NDArray[np.int32]
    counter: NDArray[np.bool_]
    rated: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.agg)


class Finder:
    """Finds the slots of the roles of a rule, as seen from a subject, and keeps them.

    Args:
        view: the site.
        topic: only points of this input topic are taken.
    """

    def __init__(self, view: SiteView, topic: str) -> None:
        self.slots = Slots()
        self._view = view
        self._topic = topic
        self._found: dict[tuple[object, ...], int] = {}

    def of(self, binding: Binding) -> Callable[[Subject], int]:
        """A function from a subject to the slot of a binding, NO_SLOT where there is none."""
        view, topic, found, slots = self._view, self._topic, self._found, self.slots
        anything = ANYTHING in binding.role
        key = (binding.role, binding.sub_item, binding.equip, binding.not_equip, binding.flow_use, binding.not_flow_use)

        def slot(subject: Subject) -> int:
            owner, points = view.bind(subject, binding, topic)
            if not points:
                return NO_SLOT
            number = found.get((owner, key))
            if number is None:
                number = found[owner, key] = slots.add(points, anything)
            return number

        return slot


@dataclasses.dataclass(frozen=True)
class Members:
    """The subjects of a rule and the slots of its roles.

    Attributes:
        subjects: those that have every role that must be there, by id.
        slots: int32[subjects, roles], NO_SLOT where an optional role is missing.
        table: the slots as arrays.
        quantities: of the slots.
        broken: why a slot cannot be used, by slot.
        missing: (subject, role) of those that lack one.
        view: the site.
    """

    subjects: tuple[Subject, ...]
    slots: NDArray[np.int32]
    table: SlotArrays
    quantities: tuple[Quantity | None, ...]
    broken: Mapping[int, str]
    missing: tuple[tuple[Subject, str], ...]
    view: SiteView

    @functools.cached_property
    def numbers(self) -> NDArray[np.int32]:
        """Number of the id of each subject in the view."""
        return np.array([self.view.number(subject.id) for subject in self.subjects], np.int32)

    @functools.cached_property
    def around(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """(start, numbers of ids): what each subject is and belongs to."""
        found = [[self.view.number(id_) for id_ in self.view.around(one) if id_] for one in self.subjects]
        return starts([len(one) for one in found]), np.array([id_ for one in found for id_ in one], np.int32)

    @functools.cached_property
    def calendars(self) -> tuple[NDArray[np.int32], tuple[str, ...]]:
        """(index by subject, ids of calendars): the calendar of each."""
        return _indexed(self.view.calendar(subject) for subject in self.subjects)

    @functools.cached_property
    def flocks(self) -> NDArray[np.int32]:
        """Index of the siblings of each: equal for those that are each other's."""
        found, _ = _indexed((self.view.place(one), tuple(sorted(one.kinds))) for one in self.subjects)
        return found


def find_members(view: SiteView, topic: str, each: Each, roles: Mapping[str, Binding]) -> Members:
    """The members of a rule."""
    finder = Finder(view, topic)
    wanted = [(name, binding.optional, finder.of(binding)) for name, binding in roles.items()]
    subjects: list[Subject] = []
    rows: list[list[int]] = []
    missing: list[tuple[Subject, str]] = []
    for subject in view.subjects(each):
        row = []
        for name, optional, slot in wanted:
            number = slot(subject)
            if number < 0 and not optional:
                missing.append((subject, name))
                break
            row.append(number)
        else:
            subjects.append(subject)
            rows.append(row)
    slots = finder.slots
    return Members(
        tuple(subjects),
        np.array(rows, np.int32).reshape(len(rows), len(roles)),
        slots.arrays(),
        tuple(slots.quantities),
        dict(slots.broken),
        tuple(missing),
        view,
    )


def _counts(quantity: Quantity | None) -> bool:
    return bool(quantity and quantity.counter)


def _indexed(values: Iterator[Any]) -> tuple[NDArray[np.int32], tuple[Any, ...]]:
    """(index by place, the values in the order in which they came)."""
    known: dict[Any, int] = {}
    found = np.array([known.setdefault(value, len(known)) for value in values], np.int32)
    return found, tuple(known)


_UNFIT: Final = "a point has a unit that does not fit its kind"


def _broken(points: Sequence[Point]) -> str:
    """Why points cannot be one value."""
    quantities = [point.quantity for point in points]
    if any(quantity is None for quantity in quantities):
        return _UNFIT
    if mixed(quantity for quantity in quantities if quantity):
        return f"its points {', '.join(point.id for point in points[:5])} have different units; give them one"
    return ""


@functools.cache
def _aggregate(role: str) -> int:
    found = ROLES.get(role)
    return int(Agg.SUM if found and found.aggregate == "sum" else Agg.MAX)
