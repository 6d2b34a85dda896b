"""What a process says of itself, for `/health` and `/metrics`: data only; `ganzhi.vitals` serves it.

A process makes one `Pulse` and sets `read` to a function that is quick, never blocks, and may be called by any thread.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Vital:
    """A metric.

    Attributes:
        name: without the prefix `ganzhi_`; ends with its unit, a counter with `_total` (Prometheus' conventions).
        help: what it is.
        kind: counter or gauge.
        samples: (labels, value) of each.
    """

    name: str
    help: str
    kind: Literal["counter", "gauge"]
    samples: Sequence[tuple[Mapping[str, str], float]]


@dataclasses.dataclass(frozen=True)
class Vitals:
    """How a process is.

    Attributes:
        status: `starting`, `ok`, `waiting` (for something outside, named by the reason) or `stuck`.
        reason: in words, empty when all is well.
        values: metrics.
    """

    status: Literal["starting", "ok", "waiting", "stuck"]
    reason: str = ""
    values: Sequence[Vital] = ()


def _starting() -> Vitals:
    return Vitals("starting")


@dataclasses.dataclass
class Pulse:
    """Where a process puts the function that tells how it is."""

    read: Callable[[], Vitals] = _starting
