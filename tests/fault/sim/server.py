"""ClickHouse as the sink knows it: blocks under tokens, parts by month, and answers that may not come.

A block becomes one part a month; each part is there whole or not at all, and a part whose token the table has seen among
its last blocks is dropped. A server that dies within an insert has some of the parts.
"""

import json
import re
from types import SimpleNamespace
from typing import Any, Final

from tests.fault.sim.clients import Network

Row = tuple[str, int, int, int]
"""topic, partition, offset, month"""

REQUESTING: Final = frozenset(("connect", "query", "before insert", "in insert"))
"""Steps at which a request is under way, or a question has been asked whose answer decides about an insert."""

COLUMNS: Final = {"topic": 0, "partition": 1, "offset": 2}
_TABLE: Final = re.compile(r"FROM (\w+)")
_EQUAL: Final = re.compile(r"(\w+) = \{(p\d+):")


class Server:
    """The tables.

    Attributes:
        rows: of each table.
        down_until_s: nobody answers before.
    """

    def __init__(self, network: Network) -> None:
        self.rows: dict[str, list[Row]] = {}
        self.down_until_s = 0.0
        self.dropped = 0
        self._seen: set[tuple[str, int, str]] = set()
        self._network = network

    def forget(self) -> None:
        """So many other blocks have come that no token is known any more."""
        self._seen.clear()

    def client(self, _settings: object) -> "Client":
        """In the place of sinks.clickhouse.client.writer."""
        return Client(self, self._network)

    def insert(self, table: str, rows: list[Row], token: str, parts_max: int) -> None:
        """Some or all parts of a block."""
        months = sorted({row[3] for row in rows})
        for month in months[:parts_max]:
            if (table, month, token) in self._seen:
                self.dropped += 1
                continue
            self._seen.add((table, month, token))
            self.rows.setdefault(table, []).extend(row for row in rows if row[3] == month)


class Client:
    """clickhouse-connect's client."""

    def __init__(self, server: Server, network: Network) -> None:
        self._server, self._network = server, network
        self._answers("connect")

    def _answers(self, point: str) -> None:
        self._network.scheduler.step(point)
        if self._server.down_until_s > self._network.scheduler.now_s or self._network.fails(0.5):
            raise ConnectionRefusedError(point)

    def raw_insert(
        self, table: str, insert_block: bytes, settings: dict[str, Any], fmt: str, compression: str | None
    ) -> None:
        """One block under its token."""
        assert fmt == "Native"
        assert compression is None
        assert settings["insert_deduplicate"] == 1
        scheduler = self._network.scheduler
        self._answers("before insert")
        rows = [tuple(row) for row in json.loads(insert_block)]
        parts = scheduler.random.choice((0, 1, 2)) if self._network.fails() else 1 << 30
        scheduler.step("in insert")
        self._server.insert(table, rows, str(settings["insert_deduplication_token"]), parts)
        if parts < 1 << 30:
            scheduler.tell(f"the server dies in an insert into {table} after {parts} parts")
            raise ConnectionResetError("in insert")
        scheduler.step("after insert")
        if self._network.fails():
            scheduler.tell(f"the answer of an insert into {table} is lost")
            raise ConnectionResetError("after insert")

    def query(self, query: str, parameters: dict[str, Any]) -> SimpleNamespace:
        """Which months there are rows of."""
        self._answers("query")
        found = _TABLE.search(query)
        assert found is not None
        equal = [(COLUMNS[name], parameters[parameter]) for name, parameter in _EQUAL.findall(query)]
        months = {
            row[3]
            for row in self._server.rows.get(found[1], [])
            if all(row[place] == value for place, value in equal) and parameters["low"] <= row[2] <= parameters["high"]
        }
        return SimpleNamespace(result_rows=[(month,) for month in sorted(months)])

    def close(self) -> None:
        """Closes."""
