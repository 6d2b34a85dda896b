"""The wanted fields of flat JSON messages: a kernel for what nearly all of them look like, the library for the rest.

The kernel takes an object whose wanted values are texts without escapes, numbers, true, false or null. What it takes it
takes exactly as the library would (RFC 8259, checked byte by byte: grammar of numbers, control characters, UTF-8, bytes
behind the end); all else, also what is not JSON at all, it leaves to the library, which finds the reason. The library
also serves objects within objects (`a.b`).
"""

import json
from collections.abc import Sequence
from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

from schemas.codec import MESSAGE_BYTES_MAX
from schemas.record_batches import Slab
from streams.sources.bridge.cells import BAD, DECIMAL, FALSE, HARD, TEXT, TRUE, Cells

FIELDS_MAX: Final = 62
"""The kernel marks the fields it has seen in the bits of an int64."""


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _utf8(data: NDArray[np.uint8], at: int, end: int) -> bool:
    """Whether the bytes are UTF-8 (no surrogates, no overlong forms)."""
    while at < end:
        first = data[at]
        if first < 0x80:
            at += 1
            continue
        if 0xC2 <= first <= 0xDF:
            more, low, high = 1, 0x80, 0xBF
        elif 0xE0 <= first <= 0xEF:
            more = 2
            low = 0xA0 if first == 0xE0 else 0x80
            high = 0x9F if first == 0xED else 0xBF
        elif 0xF0 <= first <= 0xF4:
            more = 3
            low = 0x90 if first == 0xF0 else 0x80
            high = 0x8F if first == 0xF4 else 0xBF
        else:
            return False
        if at + more >= end or data[at + 1] < low or data[at + 1] > high:
            return False
        for step in range(2, more + 1):
            if data[at + step] < 0x80 or data[at + step] > 0xBF:
                return False
        at += more + 1
    return True


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _blank(data: NDArray[np.uint8], at: int, end: int) -> int:
    while at < end and (data[at] == 0x20 or data[at] == 0x0A or data[at] == 0x0D or data[at] == 0x09):
        at += 1
    return at


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _string_end(data: NDArray[np.uint8], at: int, end: int) -> tuple[int, np.uint8]:
    """The quote that closes a text without escapes beginning at `at`, and all its bytes or-ed.

    The place is -1 where there is none, or an escape or a control character comes first.
    """
    every = np.uint8(0)
    while at < end:
        byte = data[at]
        if byte == 0x22:
            return at, every
        if byte == 0x5C or byte < 0x20:
            return -1, every
        every |= byte
        at += 1
    return -1, every


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _number_end(data: NDArray[np.uint8], at: int, end: int) -> int:
    """The byte behind a JSON number; -1: it is none."""
    if at < end and data[at] == 0x2D:
        at += 1
    if at >= end:
        return -1
    if data[at] == 0x30:
        at += 1
    elif 0x31 <= data[at] <= 0x39:
        while at < end and 0x30 <= data[at] <= 0x39:
            at += 1
    else:
        return -1
    if at < end and data[at] == 0x2E:
        at += 1
        first = at
        while at < end and 0x30 <= data[at] <= 0x39:
            at += 1
        if at == first:
            return -1
    if at < end and (data[at] == 0x65 or data[at] == 0x45):
        at += 1
        if at < end and (data[at] == 0x2B or data[at] == 0x2D):
            at += 1
        first = at
        while at < end and 0x30 <= data[at] <= 0x39:
            at += 1
        if at == first:
            return -1
    return at


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _word(data: NDArray[np.uint8], at: int, end: int) -> tuple[int, int]:
    """(kind, byte behind) of true, false and null; kind -1: none of them."""
    left = end - at
    if left >= 4 and data[at] == 0x74 and data[at + 1] == 0x72 and data[at + 2] == 0x75 and data[at + 3] == 0x65:
        return 3, at + 4
    if left >= 4 and data[at] == 0x6E and data[at + 1] == 0x75 and data[at + 2] == 0x6C and data[at + 3] == 0x6C:
        return 0, at + 4
    if (
        left >= 5
        and data[at] == 0x66
        and data[at + 1] == 0x61
        and data[at + 2] == 0x6C
        and data[at + 3] == 0x73
        and data[at + 4] == 0x65
    ):
        return 4, at + 5
    return -1, at


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _field(
    data: NDArray[np.uint8], at: int, end: int, names: NDArray[np.uint8], bounds: NDArray[np.int64], likely: int
) -> tuple[int, int]:
    """Which wanted name begins there and the quote behind it; -1: none. The one that is likely is tried first."""
    count = bounds.size - 1
    for step in range(count):
        field = likely + step
        if field >= count:
            field -= count
        first = bounds[field]
        length = bounds[field + 1] - first
        if at + length >= end or data[at + length] != 0x22:
            continue
        same = True
        for place in range(length):
            if data[at + place] != names[first + place]:
                same = False
                break
        if same:
            return field, at + length
    return -1, at


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _message(
    data: NDArray[np.uint8],
    at: int,
    end: int,
    names: NDArray[np.uint8],
    bounds: NDArray[np.int64],
    kinds: NDArray[np.int8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> bool:
    """Reads one message; False: left to the library."""
    seen = np.int64(0)
    every = np.uint8(0)
    begin = at
    likely = 0
    at = _blank(data, at, end)
    if at >= end or data[at] != 0x7B:
        return False
    at = _blank(data, at + 1, end)
    if at < end and data[at] == 0x7D:
        return _blank(data, at + 1, end) == end
    while True:
        if at >= end or data[at] != 0x22:
            return False
        field, name_end = _field(data, at + 1, end, names, bounds, likely)
        if field < 0:
            name_end, bits = _string_end(data, at + 1, end)
            every |= bits
            if name_end < 0:
                return False
        at = _blank(data, name_end + 1, end)
        if at >= end or data[at] != 0x3A:
            return False
        at = _blank(data, at + 1, end)
        if at >= end:
            return False
        first = at
        if data[at] == 0x22:
            first = at + 1
            last, bits = _string_end(data, first, end)
            every |= bits
            if last < 0:
                return False
            kind, at = 1, last + 1
        elif data[at] == 0x2D or 0x30 <= data[at] <= 0x39:
            last = _number_end(data, at, end)
            if last < 0:
                return False
            kind, at = 2, last
        else:
            kind, at = _word(data, at, end)
            last = at
            if kind < 0:
                return False
        if field >= 0:
            if seen >> field & 1:
                return False
            seen |= np.int64(1) << field
            kinds[field] = kind
            starts[field] = first
            ends[field] = last
            likely = field + 1
        at = _blank(data, at, end)
        if at >= end:
            return False
        if data[at] == 0x7D:
            return _blank(data, at + 1, end) == end and (every < 0x80 or _utf8(data, begin, end))
        if data[at] != 0x2C:
            return False
        at = _blank(data, at + 1, end)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _messages(
    data: NDArray[np.uint8],
    spans: NDArray[np.int32],
    names: NDArray[np.uint8],
    bounds: NDArray[np.int64],
    kinds: NDArray[np.int8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    status: NDArray[np.int8],
) -> int:
    """Reads all messages; returns how many are left to the library."""
    hard = 0
    for i in range(len(spans)):
        first = np.int64(spans[i, 2])
        end = first + max(np.int64(spans[i, 3]), np.int64(0))
        small = end - first <= MESSAGE_BYTES_MAX
        if not small or not _message(data, first, end, names, bounds, kinds[i], starts[i], ends[i]):
            kinds[i, :] = 0
            status[i] = 2
            hard += 1
    return hard


class FlatJson:
    """Reads JSON messages.

    Args:
        fields: names that are wanted, at most FIELDS_MAX; a name with a dot is a field of an object within the message.
    """

    def __init__(self, fields: Sequence[str]) -> None:
        assert len(fields) <= FIELDS_MAX
        self._fields = list(fields)
        # A name that JSON escapes can only be found by the library: the kernel is given one that no message has.
        raw = [b"\x00" if _escaped(name) else name.encode() for name in self._fields]
        self._names = np.frombuffer(b"".join(raw) or b"\x00", np.uint8)
        self._bounds = np.cumsum([0, *map(len, raw)]).astype(np.int64)

    def read(self, slab: Slab) -> Cells:
        """The wanted fields of every message of a slab."""
        cells = Cells.empty(slab.data, len(slab), len(self._fields))
        hard = _messages(
            slab.data,
            slab.spans,
            self._names,
            self._bounds,
            cells.kinds,
            cells.starts,
            cells.ends,
            cells.status,
        )
        if hard:
            texts: list[tuple[int, int, int, bytes]] = []
            for i in np.nonzero(cells.status == HARD)[0].tolist():
                try:
                    texts += [(i, *found) for found in self._library(slab.value(i))]
                    cells.status[i] = 0
                except ValueError as error:
                    cells.status[i], cells.details[i] = BAD, str(error)
            cells.put_texts(texts)
        return cells

    def _library(self, raw: bytes | None) -> list[tuple[int, int, bytes]]:
        """(field, kind, bytes) of what a message has.

        Raises:
            ValueError: why it cannot be used.
        """
        message = parse(raw)
        found = []
        for field, name in enumerate(self._fields):
            value: Any = message
            for part in [name] if name in message else name.split("."):
                value = value.get(part) if isinstance(value, dict) else None
            if value is None:
                continue
            if isinstance(value, bool):
                found.append((field, TRUE if value else FALSE, b""))
            elif isinstance(value, _Number):
                found.append((field, DECIMAL, value.encode()))
            elif isinstance(value, str):
                found.append((field, TEXT, value.encode("utf-8", "surrogatepass")))
            else:
                raise ValueError(f"{name} is neither a text nor a number")  # noqa: TRY004  all are one kind for the caller
        return found


def _escaped(name: str) -> bool:
    return any(character in '"\\\\' or character < " " for character in name)


class _Number(str):
    """A number as it was written."""

    __slots__ = ()


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    raise ValueError("a name stands twice in an object")


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is not a number that can be used")


def parse(raw: bytes | None) -> dict[str, Any]:
    """A JSON object with numbers as they are written.

    Raises:
        ValueError: why it is none that can be used.
    """
    if raw is None:
        raise ValueError("a message without value")
    if len(raw) > MESSAGE_BYTES_MAX:
        raise ValueError(f"a message of {len(raw)} bytes")
    try:
        message = json.loads(
            raw.decode("utf-8"),
            parse_float=_Number,
            parse_int=_Number,
            parse_constant=_constant,
            object_pairs_hook=_pairs,
        )
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except RecursionError:
        raise ValueError("not JSON: nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at character {error.pos + 1}") from None
    if not isinstance(message, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004
    return message
