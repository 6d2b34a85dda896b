"""Verify: the rows that were published follow from the log, the documents and the engine, bit for bit.

Every task is computed again from offset 0 to the position it had come to; the hash chains of its rows must be those of
its position record, and so must the chains of the rows that are there. Where one is not, the first row that differs is
looked for.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import cast

from processors.advance import Processor
from processors.settle import Settler
from processors.state import ENGINE, MESSAGES, READINGS
from replay.log import History, Position, Task, rows_of
from schemas.canonical import STREAMS
from schemas.errors import EngineMismatch, HistoryIncomplete
from schemas.topics import SETTLED

Report = Callable[[Task, int, int], None]
"""Called with (task, messages replayed, messages to replay)."""


@dataclasses.dataclass(frozen=True)
class RowDifference:
    """The first row that differs: what was published and what the replay gives, None where one has no such row."""

    task: Task
    stream: str
    sequence: int
    published: dict[str, object] | None
    computed: dict[str, object] | None


@dataclasses.dataclass(frozen=True)
class TaskResult:
    """What came of one task.

    Attributes:
        task: which.
        position: up to where.
        rows: rows of all its streams.
        readings: readings replayed.
        differs: streams whose chain is not that of the position record, or whose published rows have another one.
        head: sha256 over the computed chains.
    """

    task: Task
    position: int
    rows: int
    messages: int
    readings: int
    differs: tuple[str, ...]
    head: bytes


@dataclasses.dataclass(frozen=True)
class Verification:
    """The result: `identical`, and what to show."""

    source: str
    tasks: tuple[TaskResult, ...]
    difference: RowDifference | None

    @property
    def identical(self) -> bool:
        """Whether every chain is the published one."""
        return not any(task.differs for task in self.tasks)

    @property
    def sha256(self) -> str:
        """One hash that stands for all rows of all tasks."""
        return hashlib.sha256(b"".join(task.head for task in self.tasks)).hexdigest()


def _ignore(task: Task, done: int, total: int) -> None:
    del task, done, total


def verify(history: History, report: Report = _ignore) -> Verification:
    """Computes everything again and compares.

    Raises:
        HistoryIncomplete: part of the log or a document is missing.
        EngineMismatch: the rows were computed by another release.
    """
    positions = history.positions()
    if not positions:
        raise HistoryIncomplete(f"{history.name} holds no position of any task; nothing has been published yet")
    results = []
    difference = None
    chains = history.chains(positions)
    for task, position in sorted(positions.items()):
        if position.engine != ENGINE:
            raise EngineMismatch(position.engine, ENGINE, f"{task[0]}/{task[1]}")
        result = _task(history, task, position, chains[task], report)
        results.append(result)
        if result.differs and difference is None:
            difference = _first(history, task, position, result.differs)
    return Verification(history.name, tuple(results), difference)


def _processor(history: History, task: Task) -> Processor:
    """What computes a task: a site's settlements are rows of the one that settles its partition."""
    if task[0].startswith(SETTLED):
        return Settler(*task, history.document, lambda end: history.slabs(task, end))
    return Processor(*task, history.document)


def _task(
    history: History, task: Task, position: Position, published: Mapping[str, tuple[int, bytes]], report: Report
) -> TaskResult:
    processor = _processor(history, task)
    for slab in history.slabs(task, position.offset):
        processor.advance(slab)
        processor.take(publish=False)
        report(task, processor.position, position.offset)
    heads = {str(h["stream"]): (int(str(h["sequence"])), cast("bytes", h["head"])) for h in processor.stream_heads()}
    differs = tuple(name for name in STREAMS if not heads[name] == position.heads.get(name) == published[name])
    digest = hashlib.sha256(
        b"".join(name.encode() + count.to_bytes(8, "big") + head for name, (count, head) in heads.items())
    ).digest()
    scalars = processor.state.scalars
    rows = sum(count for count, _ in heads.values())
    return TaskResult(task, position.offset, rows, int(scalars[MESSAGES]), int(scalars[READINGS]), differs, digest)


def _computed(history: History, task: Task, position: Position, stream: str) -> Iterator[dict[str, object]]:
    processor = _processor(history, task)
    for slab in history.slabs(task, position.offset):
        processor.advance(slab)
        for output in processor.take():
            yield from rows_of(stream, output.value, task)


def _first(history: History, task: Task, position: Position, streams: tuple[str, ...]) -> RowDifference | None:
    """The first row that differs; None when the published rows agree and only the chain's head was altered."""
    for stream in streams:
        published = (
            row
            for row in history.published(task, stream)
            if int(str(row["sequence"])) < position.heads.get(stream, (0, b""))[0]
        )
        for old, new in itertools.zip_longest(published, _computed(history, task, position, stream)):
            before, after = (int(str(row["sequence"])) if row else None for row in (old, new))
            if old is None or new is None or any(old[name] != new.get(name) for name in old):
                first = min(number for number in (before, after) if number is not None)
                # Where numbers differ a row is missing, or is there twice: the other one is no counterpart of it.
                return RowDifference(
                    task, stream, first, old if before == first else None, new if after == first else None
                )
    return None
