"""How kernels are compiled: one place.

`error_model="numpy"`: no exception tests in loops. `nogil`: other tasks and the event loop go on meanwhile. `cache`:
compiled once a release and machine. No `fastmath` and no `parallel`: they would let the cut of a batch change a
result.

`_nrt=False` turns numba's reference counting off: a kernel allocates nothing and keeps nothing, it only borrows its
arguments. With counting on, every call takes and drops a reference per array, two locked instructions each, and a
reading costs 150 ns instead of 10.

Compiling all kernels is what a first start waits for; three things brought it from 45 CPU-seconds to 25. Integers reach
a kernel as int64, whatever their width and whether they are literals: else numba compiles a kernel once for each
mixture (146 compiled forms instead of 127, and large ones among them). What no Python code calls has no wrapper for
Python, which for a dozen arrays is longer than the kernel. And what runs once a reading is inlined by LLVM
(`forceinline`), which compiles it once; numba's own inlining types and lowers it anew in every caller.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import numba
from numba.core import config, types

_types: Any = types
_config: Any = config

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy", "_nrt": False}
_INNER: dict[str, Any] = {**_OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def kernel(function: F) -> F:
    """Compiles a function that is called from Python, and maybe from kernels."""
    return cast("F", _compiled(function, {**_OPTIONS, "no_cfunc_wrapper": True}))


def inner(function: F) -> F:
    """Compiles a function that only kernels call; called from Python it raises a TypeError."""
    return cast("F", _without_wrapper(function, _INNER))


def inlined(function: F) -> F:
    """Compiles a function into its callers: for what runs once a reading."""
    return cast("F", _without_wrapper(function, {**_INNER, "forceinline": True}))


def _compiled(function: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    dispatcher = numba.njit(**options)(function)
    if _config.DISABLE_JIT:
        return dispatcher
    template = dispatcher.get_call_template

    def widened(args: Sequence[Any], kws: Mapping[str, Any]) -> Any:
        """What a call in a kernel is compiled to; numba casts what is passed to what is asked for."""
        return template(tuple(map(_wide, args)), {name: _wide(kind) for name, kind in kws.items()})

    dispatcher.get_call_template = widened
    return dispatcher


def _without_wrapper(function: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    dispatcher = _compiled(function, options)
    if _config.DISABLE_JIT:
        return dispatcher

    def keep(compiled: Any) -> None:
        """The form is known to other kernels, and not to the call from Python, which would jump to no address."""
        dispatcher.overloads[tuple(compiled.signature.args)] = compiled

    def refuse(*_: object, **__: object) -> None:
        raise TypeError(f"{function.__name__} has no wrapper for Python: call its py_func, or make it a kernel")

    dispatcher.add_overload = keep
    dispatcher._compile_for_args = refuse  # noqa: SLF001  what the compiled call asks when it knows no form
    return dispatcher


def _wide(kind: Any) -> Any:
    plain = _types.unliteral(kind)
    return _types.int64 if isinstance(plain, _types.Integer) and plain.signed else plain
