"""The queue of deadlines: a binary heap of instances by (due, instance), each at most once.

`place` of an instance is its index in the queue, -1 when it is not in it. The order is total, so what comes out does
not depend on how the heap lies in memory: a queue that was rebuilt after a restart pops the same.
"""

import numpy as np
from numpy.typing import NDArray

from processors.kernels.jit import inner
from processors.kernels.rows import Longs
from processors.state import FAR, TIMERS

Queue = NDArray[np.int32]
Records = NDArray[np.void]


@inner
def _before(a: int, b: int, instances: Records) -> bool:
    due_a = instances[a].due
    due_b = instances[b].due
    return due_a < due_b or (due_a == due_b and a < b)


@inner
def _up(place: int, queue: Queue, instances: Records) -> None:
    who = queue[place]
    while place > 0:
        above = (place - 1) // 2
        if not _before(who, queue[above], instances):
            break
        queue[place] = queue[above]
        instances[queue[place]].place = place
        place = above
    queue[place] = who
    instances[who].place = place


@inner
def _down(place: int, length: int, queue: Queue, instances: Records) -> None:
    who = queue[place]
    while True:
        below = 2 * place + 1
        if below >= length:
            break
        if below + 1 < length and _before(queue[below + 1], queue[below], instances):
            below += 1
        if not _before(queue[below], who, instances):
            break
        queue[place] = queue[below]
        instances[queue[place]].place = place
        place = below
    queue[place] = who
    instances[who].place = place


@inner
def wake_at(instance: int, due: int, scalars: Longs, queue: Queue, instances: Records) -> None:
    """Makes sure that an instance is woken at `due` or before.

    A later due than the one it waits for is left alone: it is woken early, looks, and waits again. So a deadline that
    moves with every reading costs nothing until it comes.
    """
    i = instances[instance]
    if due >= FAR or (i.place >= 0 and i.due <= due):
        return
    if i.place < 0:
        place = scalars[TIMERS]
        scalars[TIMERS] = place + 1
        i.place = place
        queue[place] = instance
    i.due = due
    _up(i.place, queue, instances)


@inner
def cancel(instance: int, scalars: Longs, queue: Queue, instances: Records) -> None:
    """Takes an instance that waits for nothing any more out of the queue, if it is in it.

    Its deadline mostly lies far off, so that its place is near the end and little has to move; to be woken for nothing
    would cost the way from the root to the end, and a look at everything that the instance knows.
    """
    place = instances[instance].place
    if place < 0:
        return
    length = scalars[TIMERS] - 1
    scalars[TIMERS] = length
    instances[instance].place = -1
    if place < length:
        queue[place] = queue[length]
        instances[queue[place]].place = place
        _up(place, queue, instances)
        _down(instances[queue[length]].place, length, queue, instances)


@inner
def pop(scalars: Longs, queue: Queue, instances: Records) -> int:
    """Takes the first instance out of the queue, which must not be empty."""
    first = queue[0]
    length = scalars[TIMERS] - 1
    scalars[TIMERS] = length
    instances[first].place = -1
    if length > 0:
        queue[0] = queue[length]
        instances[queue[0]].place = 0
        _down(0, length, queue, instances)
    return first
