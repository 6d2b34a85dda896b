"""The rows that settlements have published, as the next settlement needs them."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from replay.log import Task
from schemas import codec
from schemas.canonical import STREAMS, Chain, key
from schemas.decode_rows import CONTRACTS, read_rows
from schemas.errors import HistoryIncomplete

_STREAM_OF: Final = {"ledger_rows": "ledger", "gauge_rows": "gauges"}
_COLUMNS: Final = {"ledger": [3, 5, 4, 7, 6], "gauges": [3, 5, 4, 6, 7, 8, 9, 10]}
"""Of a decoded row, as `processors.settled_rows.Rows` has them."""

BySite = dict[str, list[NDArray[np.int64]]]


class Settlements:
    """Rows of one task that settles, by site, and the chains over them.

    Attributes:
        chains: by stream.
        ledger: by site, in the order in which they were published.
        gauges: the same.
    """

    def __init__(self, task: Task) -> None:
        self.chains = {stream: Chain() for stream in STREAMS}
        self.ledger: BySite = {}
        self.gauges: BySite = {}
        self._task = task

    def message(self, raw: bytes) -> None:
        """Adds the rows of a message of the topic `settlements`, if they are the task's.

        Raises:
            HistoryIncomplete: a message before it is missing.
            ContractError: it keeps no contract of an output.
        """
        contract = codec.contract_of(raw)
        if contract not in CONTRACTS or contract not in _STREAM_OF:
            return
        rows = read_rows(contract, raw)
        if (rows.topic, rows.partition) != self._task:
            return
        stream = _STREAM_OF[contract]
        chain = self.chains[stream]
        if rows.sequence != chain.count:
            raise HistoryIncomplete(
                f"settlements of {self._task[0]}/{self._task[1]}: row {rows.sequence} of {stream} where row "
                f"{chain.count} has to come"
            )
        canonical = rows.matrix.copy()
        canonical[:, 0] = np.array([key(site) for site in rows.sites], np.int64)[rows.matrix[:, 0]]
        chain.add(canonical)
        kept = self.ledger if stream == "ledger" else self.gauges
        for index, site in enumerate(rows.sites):
            own = rows.matrix[rows.matrix[:, 0] == index]
            kept.setdefault(site, []).append(np.ascontiguousarray(own[:, _COLUMNS[stream]]))
