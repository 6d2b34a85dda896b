"""Where the fields of messages are: the common form in which JSON and Avro are handed on."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

ABSENT: Final = 0
"""The message has no such field, or null."""
TEXT: Final = 1
"""A text: bytes `starts` to `ends` of the buffer, UTF-8, nothing escaped."""
DECIMAL: Final = 2
"""A number as it is written: such bytes."""
TRUE: Final = 3
FALSE: Final = 4
NUMBER: Final = 5
"""A number by value: `mantissas` / 10^`places`."""
MILLISECONDS: Final = 6
"""A time by value: `mantissas` / 10^`places` ms since 1970."""
SYMBOL: Final = 7
"""Inside of the Avro reader: a symbol of an enum by its number."""

TAKEN: Final = 0
BAD: Final = 1
"""The bytes are not what the mapping says they are; `detail` of the cells says more."""
HARD: Final = 2
"""Left by the kernel to the library."""


@dataclass(slots=True)
class Cells:
    """The wanted fields of the messages of a slab.

    Attributes:
        buffer: uint8[], what the places point into.
        kinds: int8[messages, fields].
        starts: int64[messages, fields].
        ends: int64[messages, fields].
        mantissas: int64[messages, fields].
        places: int8[messages, fields].
        status: int8[messages], TAKEN or BAD.
        details: message → why it is bad.
    """

    buffer: NDArray[np.uint8]
    kinds: NDArray[np.int8]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    mantissas: NDArray[np.int64]
    places: NDArray[np.int8]
    status: NDArray[np.int8]
    details: dict[int, str]

    @classmethod
    def empty(cls, buffer: NDArray[np.uint8], messages: int, fields: int) -> "Cells":
        """Cells of which every field is absent."""
        shape = (messages, fields)
        return cls(
            buffer,
            np.zeros(shape, np.int8),
            np.zeros(shape, np.int64),
            np.zeros(shape, np.int64),
            np.zeros(shape, np.int64),
            np.zeros(shape, np.int8),
            np.zeros(messages, np.int8),
            {},
        )

    def text(self, message: int, field: int) -> str | None:
        """A field as text, as a template takes it; None: absent.

        Raises:
            UnicodeDecodeError: it is not UTF-8.
        """
        kind = int(self.kinds[message, field])
        if kind == ABSENT:
            return None
        if kind in (TRUE, FALSE):
            return "true" if kind == TRUE else "false"
        if kind in (NUMBER, MILLISECONDS):
            mantissa, places = int(self.mantissas[message, field]), int(self.places[message, field])
            if not places:
                return str(mantissa)
            sign, digits = "-" if mantissa < 0 else "", str(abs(mantissa)).zfill(places + 1)
            return f"{sign}{digits[:-places]}.{digits[-places:]}"
        return self.buffer[self.starts[message, field] : self.ends[message, field]].tobytes().decode("utf-8")

    def append(self, raw: bytes) -> int:
        """Puts bytes behind the buffer; where they begin. It stays read-only, for which the kernels are compiled."""
        begin = len(self.buffer)
        self.buffer = np.concatenate([self.buffer, np.frombuffer(raw, np.uint8)])
        self.buffer.flags.writeable = False
        return begin

    def put_texts(self, found: list[tuple[int, int, int, bytes]]) -> None:
        """Puts texts that are not in the buffer: (message, field, kind, bytes)."""
        if not found:
            return
        at = self.append(b"".join(raw for *_, raw in found))
        for message, field, kind, raw in found:
            self.kinds[message, field] = kind
            self.starts[message, field] = at
            self.ends[message, field] = at = at + len(raw)
