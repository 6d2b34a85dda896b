"""A layout as bytes, and back, without its documents: building one of a million points takes many seconds.

The bytes are a cache's, of this very state of the code: whoever reads them has checked that they are the ones that were
written (kernels follow the indices in them).
"""

import dataclasses
import json
import struct
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from processors.layout import Layout, LayoutArrays
from schemas.errors import ContractError
from schemas.model.document import Document

_WITHOUT: Final = ("documents", "arrays")
_MIXED: Final = "json"


def pack(layout: Layout) -> bytes:
    """Every field but the documents: length of a JSON header (uint32), the header, the arrays one after another."""
    arrays: list[NDArray[np.generic]] = list(layout.arrays)
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(layout):
        value = getattr(layout, field.name)
        if field.name in _WITHOUT:
            continue
        if isinstance(value, np.ndarray):
            fields[field.name] = {"array": len(arrays)}
            arrays.append(value)
        else:
            fields[field.name] = {_MIXED: list(value) if isinstance(value, tuple) else value}
    shapes = [[array.shape, _described(array.dtype)] for array in arrays]
    raw = json.dumps({"fields": fields, "arrays": shapes}, ensure_ascii=False, separators=(",", ":")).encode()
    return b"".join([struct.pack("<I", len(raw)), raw, *(np.ascontiguousarray(array).tobytes() for array in arrays)])


def unpack(raw: bytes, documents: Mapping[str, Document]) -> Layout:
    """The layout that `pack` was given, with its documents.

    Raises:
        ContractError: the bytes are no layout.
    """
    try:
        (size,) = struct.unpack_from("<I", raw)
        header = json.loads(raw[4 : 4 + size])
        at, arrays = 4 + size, []
        for shape, described in header["arrays"]:
            dtype = np.dtype(described if isinstance(described, str) else [tuple(one) for one in described])
            count = int(np.prod(shape, dtype=np.int64))
            arrays.append(np.frombuffer(raw, dtype, count, at).reshape(shape).copy())
            at += count * dtype.itemsize
        if at != len(raw):
            raise ContractError("a cached layout has another length than it says")
        width = len(LayoutArrays._fields)
        values: dict[str, Any] = {
            name: arrays[found["array"]] if "array" in found else _frozen(found[_MIXED])
            for name, found in header["fields"].items()
        }
        return Layout(**values, documents=dict(documents), arrays=LayoutArrays(*arrays[:width]))
    except (ValueError, KeyError, TypeError, IndexError, struct.error) as error:
        raise ContractError(f"a cached layout cannot be read: {error}") from error


def _described(dtype: np.dtype[Any]) -> Any:
    return dtype.str if dtype.names is None else dtype.descr


def _frozen(value: Any) -> Any:
    """Tuples where JSON has lists."""
    if isinstance(value, list):
        return tuple(tuple(one) if isinstance(one, list) else one for one in value)
    return value
