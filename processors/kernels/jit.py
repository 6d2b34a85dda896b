"""How kernels are compiled: one place.

`error_model="numpy"`: no exception tests in loops. `nogil`: other tasks and the event loop go on meanwhile. `cache`:
compiled once a release and machine. No `fastmath` and no `parallel`: they would let the cut of a batch change a
result.

`_nrt=False` turns numba's reference counting off: a kernel allocates nothing and keeps nothing, it only borrows its
arguments. With counting on, every call takes and drops a reference per array, two locked instructions each, and a
reading costs 150 ns instead of 10.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy", "_nrt": False}


def kernel(function: F) -> F:
    """Compiles a function that is called from Python or from many kernels."""
    return cast("F", numba.njit(**_OPTIONS)(function))


def inlined(function: F) -> F:
    """Compiles a function into its callers: for what runs once a reading."""
    return cast("F", numba.njit(inline="always", **_OPTIONS)(function))
