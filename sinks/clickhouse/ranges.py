"""A range: which offsets of which partitions are inserted together; its text is metadata of the group's offsets.

Before a range is inserted, the sink commits the start of each of its partitions with the text of the *whole*
range as metadata, in one request (the coordinator appends it as one batch: all of it or nothing). So whoever is
given any of these partitions later can read the same messages again, also those of partitions that another sink
has now, build the same blocks and send them under the same tokens. Two sinks that finish one range at the same
time send the same, and ClickHouse keeps one. When the ends are committed, the metadata is empty again.
"""

import dataclasses
import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Final

from schemas.errors import SinkError

ENCODER: Final = 1
"""Number of what the sink makes of bytes; change it with any change of a block's rows, columns or order."""

TEXT_BYTES_MAX: Final = 4000
"""The broker refuses metadata over 4096 bytes (offset.metadata.max.bytes)."""

_TEXT: Final = re.compile(r"1 e(\d+) t(\d+)((?: \S+)+)")

Place = tuple[str, int]
"""Topic without prefix, partition."""


@dataclasses.dataclass(frozen=True)
class Range:
    """Offsets that are inserted together.

    Attributes:
        spans: (topic, partition) → (first offset, offset after the last one), sorted, none empty.
        opened_ms: when it was opened, by the sink's clock; no part of its identity.
        encoder: of the sink that opened it.
    """

    spans: Mapping[Place, tuple[int, int]]
    opened_ms: int
    encoder: int = ENCODER

    @property
    def identity(self) -> str:
        """What is in it, as text; equal for equal spans."""
        topics: dict[str, list[str]] = {}
        for (topic, partition), (start, end) in sorted(self.spans.items()):
            topics.setdefault(topic, []).append(f"{partition}:{start}+{end - start}")
        return " ".join(f"{topic}={','.join(parts)}" for topic, parts in topics.items())

    @property
    def text(self) -> str:
        """What `parse` reads."""
        return f"1 e{self.encoder} t{self.opened_ms} {self.identity}"

    def token(self, table: str, content: bytes) -> str:
        """Name of the block that this range gives a table: sha256 over range, encoder, table and the messages' bytes.

        The content keeps a log that was made anew, with other messages at the same offsets, from being taken for a
        repeat: ClickHouse would drop its rows without a word.
        """
        told = f"{self.identity}|{self.encoder}|{table}|".encode()
        return hashlib.sha256(told + content).hexdigest()


def parse(text: str) -> Range:
    """Reads the metadata of an open range.

    Raises:
        SinkError: it is none of ours.
    """
    found = _TEXT.fullmatch(text)
    if found is None:
        raise SinkError(
            f"the group's offsets carry metadata that this release cannot read ({text[:80]!r}): another program uses"
            " the group, or another release of ganzhi left a range open; let that release finish it"
        )
    spans = {}
    try:
        for part in found[3].split():
            topic, _, list_ = part.rpartition("=")
            for item in list_.split(","):
                partition, _, rest = item.partition(":")
                start, _, length = rest.partition("+")
                spans[topic, int(partition)] = (int(start), int(start) + int(length))
    except ValueError as error:
        raise SinkError(f"the group's offsets carry a range that cannot be read: {text[:80]!r}") from error
    return Range(spans, opened_ms=int(found[2]), encoder=int(found[1]))


def cut(spans: Mapping[Place, tuple[int, int]], opened_ms: int) -> list[Range]:
    """Ranges that hold these spans together, as few as their texts allow; some 150 partitions fit into one."""
    ranges: list[Range] = []
    chunk: dict[Place, tuple[int, int]] = {}
    for place, span in sorted(spans.items()):
        if span[1] <= span[0]:
            continue
        longer = Range({**chunk, place: span}, opened_ms)
        if chunk and len(longer.text) > TEXT_BYTES_MAX:
            ranges.append(Range(chunk, opened_ms))
            chunk = {}
        chunk[place] = span
    return [*ranges, Range(chunk, opened_ms)] if chunk else ranges


def distinct(texts: Iterable[str]) -> list[Range]:
    """The open ranges that a set of metadata texts names, oldest first."""
    ranges = {found.identity: found for found in map(parse, sorted({text for text in texts if text}))}
    return sorted(ranges.values(), key=lambda range_: (range_.opened_ms, range_.identity))
