"""The rows that settlements have published, as the next settlement needs them."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from processors.episodes import Episode
from processors.settled_episodes import KINDS, Change, Changes
from replay.chains import CANONICAL
from replay.log import Task
from schemas import codec
from schemas.canonical import STREAMS, Chain, key
from schemas.decode_rows import CONTRACTS, read_rows
from schemas.errors import HistoryIncomplete

_STREAM_OF: Final = {
    "ledger_rows": "ledger", "gauge_rows": "gauges", "episode_changes": "alerts", "episode_rows": "episodes",
}  # fmt: skip
_COLUMNS: Final = {"ledger": [3, 5, 4, 7, 6], "gauges": [3, 5, 4, 6, 7, 8, 9, 10]}
"""Of a decoded row, as `processors.settled_rows.Rows` has them."""

BySite = dict[str, list[NDArray[np.int64]]]


class Settlements:
    """Rows of one task that settles, by site, and the chains over them.

    Attributes:
        chains: by stream.
        ledger: by site, in the order in which they were published.
        gauges: the same.
        changes: of episodes, the same.
    """

    def __init__(self, task: Task) -> None:
        self.chains = {stream: Chain() for stream in STREAMS}
        self.ledger: BySite = {}
        self.gauges: BySite = {}
        self.changes: dict[str, list[Changes]] = {}
        self._task = task

    def message(self, raw: bytes) -> None:
        """Adds the rows of a message of the topic `settlements`, if they are the task's.

        Raises:
            HistoryIncomplete: a message before it is missing.
            ContractError: it keeps no contract of an output.
        """
        contract = codec.contract_of(raw)
        stream = _STREAM_OF.get(contract or "")
        if contract is None or stream is None:
            return
        if contract in CONTRACTS:
            self._hot(contract, stream, raw)
            return
        value: Any = codec.read(contract, raw)
        if (value["topic"], value["partition"]) != self._task:
            return
        rows = value["rows"]
        self._count(stream, value["sequence"], np.array([CANONICAL[contract](row) for row in rows], np.int64))
        for site in dict.fromkeys(row["site"] for row in rows):
            own = [row for row in rows if row["site"] == site]
            self.changes.setdefault(site, []).append(_changed(own) if stream == "alerts" else _wasted(own))

    def _hot(self, contract: str, stream: str, raw: bytes) -> None:
        rows = read_rows(contract, raw)
        if (rows.topic, rows.partition) != self._task:
            return
        canonical = rows.matrix.copy()
        canonical[:, 0] = np.array([key(site) for site in rows.sites], np.int64)[rows.matrix[:, 0]]
        self._count(stream, rows.sequence, canonical)
        kept = self.ledger if stream == "ledger" else self.gauges
        for index, site in enumerate(rows.sites):
            own = rows.matrix[rows.matrix[:, 0] == index]
            kept.setdefault(site, []).append(np.ascontiguousarray(own[:, _COLUMNS[stream]]))

    def _count(self, stream: str, sequence: int, canonical: NDArray[np.int64]) -> None:
        chain = self.chains[stream]
        if sequence != chain.count:
            raise HistoryIncomplete(
                f"settlements of {self._task[0]}/{self._task[1]}: row {sequence} of {stream} where row {chain.count} "
                "has to come"
            )
        chain.add(canonical)


def _changed(rows: list[dict[str, Any]]) -> Changes:
    return Changes(
        tuple(
            Change(
                KINDS.index(row["change"]),
                Episode(
                    (row["rule"], row["subject"]), row["episode"], row["state"], row["severity"], row["started_at"],
                    row["fired_at"], row["valid_at"],
                ),
            )
            for row in rows
        )
    )  # fmt: skip


def _wasted(rows: list[dict[str, Any]]) -> Changes:
    return Changes(
        parts=tuple(
            (
                (row["rule"], row["subject"]), row["episode"], (row["point"], row["from_ms"], row["to_ms"]),
                row["quantity"],
            )
            for row in rows
        )
    )  # fmt: skip
