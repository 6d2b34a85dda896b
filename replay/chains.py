"""Hash chains of the rows that were published: equal to those of the position records, or rows were altered.

`schemas.canonical` says what is hashed. A task's rows of a stream must come one after the other; where a row is missing
or comes twice the chain is broken, and is then equal to no other.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from replay.log import CONTRACT_OF, CONTRACT_OF_SETTLED, Position, Task
from schemas import codec
from schemas.canonical import STREAMS, Chain, key
from schemas.decode_rows import CONTRACTS, read_rows

Heads = dict[str, tuple[int, bytes]]
"""Stream → (rows, sha256 of their chain)."""

BROKEN: Final = (-1, b"")
DIGEST_WORDS: Final = 4
"""A sha256 in a canonical row: four int64."""

_STREAM_OF: Final = {
    contract: stream for contracts in (CONTRACT_OF, CONTRACT_OF_SETTLED) for stream, contract in contracts.items()
}
_STATES: Final = ("firing", "resolved", "stale")
_CHANGES: Final = ("retracted", "added")


class Chains:
    """Chains of all streams of all tasks, as far as their position records go.

    Args:
        positions: of the tasks; rows of others, and rows after a position, are left.
    """

    def __init__(self, positions: Mapping[Task, Position]) -> None:
        self._ends = {
            (task, stream): position.heads.get(stream, (0, b""))[0]
            for task, position in positions.items()
            for stream in STREAMS
        }
        self._chains = {place: Chain() for place in self._ends}
        self._broken: set[tuple[Task, str]] = set()

    def message(self, raw: bytes) -> None:
        """Adds the rows of a message of an output topic.

        Raises:
            ContractError: it keeps no contract of an output.
        """
        contract = codec.contract_of(raw)
        stream = _STREAM_OF.get(contract or "")
        if contract is None or stream is None:
            return
        if contract in CONTRACTS:
            rows = read_rows(contract, raw)
            matrix = rows.matrix.copy()
            matrix[:, 0] = np.array([key(site) for site in rows.sites], np.int64)[matrix[:, 0]]
            self.add((rows.topic, rows.partition), stream, rows.sequence, matrix)
        else:
            value: Any = codec.read(contract, raw)
            task = (value["topic"], value["partition"])
            canonical = [CANONICAL[contract](row) for row in value["rows"]]
            self.add(task, stream, value["sequence"], np.array(canonical, np.int64))

    def add(self, task: Task, stream: str, sequence: int, rows: NDArray[np.int64]) -> None:
        """Adds canonical rows, the first of which has that number."""
        chain = self._chains.get((task, stream))
        if chain is None:
            return
        rows = rows[: max(0, self._ends[task, stream] - sequence)]
        if len(rows) and sequence != chain.count:
            self.spoil(task, stream)
        chain.add(rows)

    def spoil(self, task: Task, stream: str) -> None:
        """Rows of a stream are missing or repeated."""
        self._broken.add((task, stream))

    def heads(self, task: Task) -> Heads:
        """The chains of a task; `BROKEN` where rows are missing or repeated."""
        return {
            stream: BROKEN
            if (task, stream) in self._broken
            else (self._chains[task, stream].count, self._chains[task, stream].head())
            for stream in STREAMS
        }


def _alert(row: Mapping[str, Any]) -> list[int]:
    numbers = [row["episode"], _STATES.index(row["state"]), row["valid_at"], row["started_at"], row["config_version"]]
    return [*_subject(row), *numbers, key(row["severity"]), row["estimate"]]


def _change(row: Mapping[str, Any]) -> list[int]:
    numbers = [row["episode"], _CHANGES.index(row["change"]), _STATES.index(row["state"]), key(row["severity"])]
    return [*_subject(row), *numbers, *(row[name] for name in ("started_at", "fired_at", "valid_at"))]


def _episode(row: Mapping[str, Any]) -> list[int]:
    names = ("episode", "point", "from_ms", "to_ms", "quantity", "final")
    return [*_subject(row), *(int(row[name]) for name in names)]


def _subject(row: Mapping[str, Any]) -> list[int]:
    return [key(row["site"]), row["offset"], row["known_at"], key(row["rule"]), key(row["subject"])]


def _rejected(row: Mapping[str, Any]) -> list[int]:
    digest = np.frombuffer(hashlib.sha256(row["raw"]).digest(), "<i8").tolist()
    return [key(row["site"]), row["offset"], row["known_at"], key(row["reason"]), row["readings"], *digest]


CANONICAL: Final[dict[str, Callable[[Mapping[str, Any]], list[int]]]] = {
    "alert_rows": _alert,
    "episode_rows": _episode,
    "episode_changes": _change,
    "rejected_rows": _rejected,
}
"""Rows of a contract as they are hashed."""
