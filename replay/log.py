"""Where history is read from: the Kafka topics, or the `event_log` table of ClickHouse. Both give the same slabs.

A history holds the messages of the input partitions, the documents that they name, the rows that were published, and
how far each task had come with the hash chain of its rows.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Protocol

from schemas import codec
from schemas.errors import HistoryIncomplete
from schemas.model.document import Document
from schemas.record_batches import Slab
from schemas.topics import INPUTS, SETTLED

Task = tuple[str, int]
"""Input topic without prefix, and partition."""

SLAB_MESSAGES: Final = 4096


@dataclasses.dataclass(frozen=True)
class Position:
    """How far a task had come when its rows were published.

    Attributes:
        offset: of the next input message.
        engine: number of what computed the rows.
        clock_ms: the task's clock.
        heads: stream → (rows so far, sha256 of their chain).
    """

    offset: int
    engine: int
    clock_ms: int
    heads: dict[str, tuple[int, bytes]]


class History(Protocol):
    """A closed history. Every method may raise HistoryIncomplete when something that it needs is missing."""

    name: str

    def positions(self) -> dict[Task, Position]:
        """Of every task that has one."""

    def slabs(self, task: Task, end: int, start: int = 0) -> Iterator[Slab]:
        """The messages of a task's input from offset `start` to `end`, in order and without holes."""

    def document(self, sha256: bytes) -> Document:
        """A document by its name."""

    def chains(self, positions: Mapping[Task, Position]) -> dict[Task, dict[str, tuple[int, bytes]]]:
        """Of each task and stream, the chain over the rows that are there up to its position: (rows, sha256).

        Where rows are missing or repeated it is equal to no chain.
        """

    def published(self, task: Task, stream: str) -> Iterator[dict[str, object]]:
        """The rows of an output stream of a task, in the order of their sequence, each with its `sequence`."""


def check_contiguous(task: Task, expected: int, found: int, where: str) -> None:
    """Raises HistoryIncomplete unless `found` is the offset that has to come."""
    if found != expected:
        raise HistoryIncomplete(
            f"{task[0]}/{task[1]}: {where} has offset {found} where {expected} has to come; "
            "the history cannot be replayed from there (try the other source: --from kafka or --from event_log)"
        )


def input_tasks(partitions: int) -> list[Task]:
    """Every task that can exist, those that settle after those whose rows they settle."""
    topics = (*INPUTS, *(SETTLED + topic for topic in INPUTS))
    return [(topic, partition) for topic in topics for partition in range(partitions)]


def remember(fetch: Callable[[bytes], bytes]) -> Callable[[bytes], Document]:
    """Turns a fetcher of bytes into one of documents that checks and remembers them."""
    known: dict[bytes, Document] = {}

    def document(sha256: bytes) -> Document:
        if sha256 not in known:
            known[sha256] = Document.parse(fetch(sha256), sha256)
        return known[sha256]

    return document


def position_of(raw: bytes) -> tuple[Task, Position]:
    """Reads a record of the topic `tasks`."""
    value = codec.read("task_position", raw)
    streams = value["streams"]
    assert isinstance(streams, list)
    heads: dict[str, tuple[int, bytes]] = {}
    for stream in streams:
        assert isinstance(stream, dict)
        sequence, head = stream["sequence"], stream["head"]
        assert isinstance(sequence, int)
        assert isinstance(head, bytes)
        heads[str(stream["stream"])] = (sequence, head)
    numbers = [value[name] for name in ("partition", "position", "engine", "clock_ms")]
    partition, offset, engine, clock_ms = (int(str(number)) for number in numbers)
    return (str(value["topic"]), partition), Position(offset, engine, clock_ms, heads)


CONTRACT_OF: Final = {
    "ledger": "ledger_rows",
    "gauges": "gauge_rows",
    "alerts": "alert_rows",
    "episodes": "episode_rows",
    "verdicts": "verdict_rows",
    "rejected": "rejected_rows",
}
CONTRACT_OF_SETTLED: Final = {**CONTRACT_OF, "alerts": "episode_changes"}
"""Contracts of a task that settles: it pages nobody, and its stream `alerts` tells what became of episodes."""


def rows_of(stream: str, message: bytes, task: Task) -> list[dict[str, object]]:
    """The rows of a message with `sequence` and the site's name; none if it is of another stream or task."""
    contract = (CONTRACT_OF_SETTLED if task[0].startswith(SETTLED) else CONTRACT_OF)[stream]
    if codec.contract_of(message) != contract:
        return []
    value = codec.read(contract, message)
    if (value["topic"], value["partition"]) != task:
        return []
    rows, sites, first = value["rows"], value.get("sites"), value["sequence"]
    assert isinstance(rows, list)
    assert isinstance(first, int)
    found: list[dict[str, object]] = []
    for number, row in enumerate(rows):
        assert isinstance(row, dict)
        named: dict[str, object] = {"sequence": first + number, **row}
        if isinstance(sites, list):
            named["site"] = sites[int(str(row["site"]))]
        found.append(named)
    return found
