"""From one engine to the next: what a state of an older engine becomes at the offset of an `engine` record.

An engine number stands for what `advance` computes, and its state for what it keeps; both change together. The older
release stops before the record with a snapshot of its own state; this one takes it from there. Layouts of older engines
are written down here as they were, and never changed: a snapshot does not describe itself.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from processors.layout import Layout
from processors.state import BUSY, ENGINE, TIMERS, StateArrays
from schemas.errors import ContractError
from schemas.groups import gathered, starts

Arrays = dict[str, NDArray[Any]]
Kept = tuple[tuple[str, np.dtype[Any]], ...]

_UNFIT: Final = "state of an older engine does not fit the documents that it names"


def _fields(kind: str, names: str) -> list[tuple[str, str]]:
    return [(name, kind) for name in names.split()]


_POINT_1: Final = np.dtype(
    _fields("i8", "clock last total settled row_from row_to pend_time pend_value pend_base count sum minimum maximum")
    + _fields("i8", "integral fact_time fact_value since dirty_from dirty_to")
    + [("how", "i4"), ("pends", "i2"), ("fact_good", "i1"), ("spare", "i1")]
)
_INSTANCE_1: Final = np.dtype(
    _fields("i8", "true_since false_since unknown_since started due") + _fields("i4", "episode place phase spare")
)
_PART_1: Final = np.dtype(_fields("i8", "start live_from end amount") + _fields("i4", "episode open"))

LAYOUTS: Final[Mapping[int, Kept]] = {
    1: (
        ("scalars", np.dtype("<i8")),
        ("points", _POINT_1),
        ("instances", _INSTANCE_1),
        ("parts", _PART_1),
        ("queue", np.dtype("<i4")),
    ),
}
"""Engine → arrays of its state in the order of its snapshots."""

HEADERS: Final[Mapping[int, Mapping[str, object]]] = {1: {"settlements": {}}}
"""Engine → what the headers of its snapshots lack: nothing had been settled."""


def _to_2(old: Arrays, empty: Arrays, layout: Layout) -> Arrays:
    """Engine 2 knows of meter facts, pauses, who is in a room, and looks back; engine 1 has none of it."""
    ordered = _by_points(old, layout)
    made = {name: _carried(ordered[name], new) if name in ordered else new for name, new in empty.items()}
    made["points"]["flags"] |= BUSY
    return made


def _by_points(old: Arrays, layout: Layout) -> Arrays:
    """Engine 1 kept instances, and their parts, in the order of the rules; since then they are by their points."""
    bound, owner = layout.bound_place, layout.arrays.part_instance
    timers = int(old["scalars"][TIMERS])
    queue = old["queue"][:timers]
    if [len(old["instances"]), len(old["parts"])] != [len(bound), len(owner)]:
        raise ContractError(_UNFIT)
    if timers < 0 or np.any((queue < 0) | (queue >= len(bound))):
        raise ContractError("snapshot has a wrong queue")
    lengths = np.zeros(len(bound), np.int64)
    lengths[bound] = np.bincount(owner, minlength=len(bound))
    parts, _ = gathered(starts(lengths), bound)
    instances = old["instances"][bound]
    order = np.argsort(bound)[queue]
    order = order[np.lexsort((order, instances["due"][order]))]  # what is sorted is a heap
    instances["place"] = -1
    instances["place"][order] = np.arange(timers)
    moved = old["queue"].copy()
    moved[:timers] = order
    return {**old, "instances": instances, "parts": old["parts"][parts], "queue": moved}


STEPS: Final[Mapping[int, Callable[[Arrays, Arrays, Layout], Arrays]]] = {1: _to_2}
"""Engine → what makes the state of the next one of its own, of the arrays of a state in which nothing happened, and of
the layout of the documents."""


def migrated(engine: int, arrays: Arrays, empty: StateArrays, layout: Layout) -> StateArrays:
    """The state of this engine that continues one of an older engine.

    Args:
        engine: of `arrays`; this one, or in LAYOUTS.
        arrays: by name, as LAYOUTS has them.
        empty: of this engine for the same documents.
        layout: of these documents.

    Raises:
        ContractError: they do not fit the documents.
    """
    while engine != ENGINE:
        arrays = STEPS[engine](arrays, empty._asdict(), layout)
        engine += 1
    return StateArrays(**arrays)


def _carried(old: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
    """What both have is taken from the old one, the rest stays empty: fields of rows, or the first of numbers."""
    if new.dtype.names is None:
        if len(old) > len(new):
            raise ContractError(_UNFIT)
        new[: len(old)] = old
        return new
    if len(old) != len(new):
        raise ContractError(_UNFIT)
    for name in old.dtype.names or ():
        if name in new.dtype.names:
            new[name] = old[name]
    return new
