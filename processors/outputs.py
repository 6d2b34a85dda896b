"""From the kernels' matrices to messages: names for indices, sequence numbers, the hash chain.

Rows are collected until somebody takes them; a chain counts them at that moment, whether they are published or thrown
away, so a recovery that suppresses its outputs ends with the same heads as the run that published them.
"""

import dataclasses
import hashlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

from processors.layout import Layout
from processors.state import ALERTS, COLUMNS, GAUGES, HEAD_COLUMNS, LEDGER, PARTS, VERDICTS
from schemas import codec, topics
from schemas.canonical import STREAMS, Chain, key
from schemas.encode_rows import encode_rows

ROWS_MAX: Final = 10_000
"""Rows of a message (DESIGN section 14)."""

Matrix = NDArray[np.int64]

_STATES: Final = ("firing", "resolved", "stale")
_HOT: Final = {"ledger": "ledger_rows", "gauges": "gauge_rows", "verdicts": "verdict_rows"}
_NUMBERS: Final = {"ledger": LEDGER, "gauges": GAUGES, "alerts": ALERTS, "episodes": PARTS, "verdicts": VERDICTS}
TOPIC_OF: Final = {
    "ledger": topics.LEDGER,
    "gauges": topics.LEDGER,
    "alerts": topics.ALERTS,
    "episodes": topics.ALERTS,
    "verdicts": topics.VERDICTS,
    "rejected": topics.REJECTED,
}


@dataclasses.dataclass(frozen=True)
class Output:
    """A message to be published in the partition of the task."""

    topic: str
    value: bytes


@dataclasses.dataclass(frozen=True)
class Named:
    """Rows that carry names instead of indices.

    Attributes:
        stream: whose chain counts them.
        contract: of their messages.
        rows: as the contract has them.
        canonical: the same as `schemas.canonical` hashes them.
    """

    stream: str
    contract: str
    rows: list[dict[str, object]]
    canonical: Matrix


@dataclasses.dataclass(frozen=True)
class Rejected:
    """Input that cannot be used: `raw` can be sent again as it is."""

    offset: int
    known_at: int
    site: str
    reason: str
    detail: str
    readings: int
    key: bytes
    raw: bytes


class Outbox:
    """Rows of a task that nobody has taken yet, in the order in which they were made."""

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.chains = {stream: Chain() for stream in STREAMS}
        self.urgent = False
        self._waiting: list[tuple[Layout, dict[str, Matrix]]] = []
        self._rejected: list[Rejected] = []
        self._named: list[Named] = []

    @property
    def rows(self) -> int:
        """How many rows wait."""
        return len(self._rejected) + sum(len(matrix) for _, matrices in self._waiting for matrix in matrices.values())

    def drain(self, layout: Layout, out: Matrix) -> None:
        """Takes rows of the kernels' buffer, all but rejects; `layout` names them."""
        found = {}
        for stream, number in _NUMBERS.items():
            rows = out[out[:, 0] == number]
            if len(rows):
                found[stream] = rows[:, 1 : HEAD_COLUMNS + len(COLUMNS[number])]
        if found:
            self._waiting.append((layout, found))
            self.urgent |= "alerts" in found

    def reject(self, row: Rejected) -> None:
        """Adds a rejected input."""
        self._rejected.append(row)

    def add(self, named: Named) -> None:
        """Adds rows that carry names."""
        self._named.append(named)

    def take(self, publish: bool = True) -> list[Output]:
        """All waiting rows as messages, in the order of their sequence; the chains now stand behind them.

        Args:
            publish: False: only count them (they were published before).
        """
        messages: list[Output] = []
        for layout, found in self._merged():
            for stream in STREAMS:
                if stream in found:
                    self._stream(stream, layout, found[stream], messages, publish)
        if self._rejected:
            self._reject_rows(messages, publish)
        for named in self._named:
            self._named_rows(named, messages, publish)
        self._waiting, self._rejected, self._named, self.urgent = [], [], [], False
        return messages

    def _merged(self) -> list[tuple[Layout, dict[str, Matrix]]]:
        """Matrices of the same layout as one: messages are then as large as they may be."""
        merged: list[tuple[Layout, dict[str, list[Matrix]]]] = []
        for layout, found in self._waiting:
            if not merged or merged[-1][0] is not layout:
                merged.append((layout, {}))
            for stream, matrix in found.items():
                merged[-1][1].setdefault(stream, []).append(matrix)
        return [
            (layout, {s: m[0] if len(m) == 1 else np.concatenate(m) for s, m in parts.items()})
            for layout, parts in merged
        ]

    def _stream(self, stream: str, layout: Layout, matrix: Matrix, messages: list[Output], publish: bool) -> None:
        chain = self.chains[stream]
        for first in range(0, len(matrix), ROWS_MAX):
            rows = matrix[first : first + ROWS_MAX]
            sequence = chain.count
            chain.add(canonical(stream, layout, rows))
            if publish:
                messages.append(Output(TOPIC_OF[stream], self._encode(stream, layout, rows, sequence)))

    def _encode(self, stream: str, layout: Layout, rows: Matrix, sequence: int) -> bytes:
        if stream in _HOT:
            used, index = np.unique(rows[:, 0], return_inverse=True)
            local = rows.copy()
            local[:, 0] = index
            return encode_rows(
                _HOT[stream], self.topic, self.partition, sequence, [layout.sites[i] for i in used], local
            )
        head: dict[str, object] = {"topic": self.topic, "partition": self.partition, "sequence": sequence}
        if stream == "alerts":
            return codec.write("alert_rows", {**head, "rows": [_alert(layout, *row) for row in rows.tolist()]})
        return codec.write("episode_rows", {**head, "rows": [_episode(layout, *row) for row in rows.tolist()]})

    def _named_rows(self, named: Named, messages: list[Output], publish: bool) -> None:
        chain = self.chains[named.stream]
        for first in range(0, len(named.rows), ROWS_MAX):
            part = slice(first, first + ROWS_MAX)
            head: dict[str, object] = {"topic": self.topic, "partition": self.partition, "sequence": chain.count}
            chain.add(named.canonical[part])
            if publish:
                value = codec.write(named.contract, {**head, "rows": named.rows[part]})
                messages.append(Output(TOPIC_OF[named.stream], value))

    def _reject_rows(self, messages: list[Output], publish: bool) -> None:
        chain = self.chains["rejected"]
        for batch in _by_size(self._rejected):
            sequence = chain.count
            chain.add(np.array([_canonical_reject(row) for row in batch], np.int64))
            if publish:
                value = {
                    "topic": self.topic,
                    "partition": self.partition,
                    "sequence": sequence,
                    "rows": [dataclasses.asdict(row) for row in batch],
                }
                messages.append(Output(topics.REJECTED, codec.write("rejected_rows", value)))


def _by_size(rows: list[Rejected], bytes_max: int = 4 << 20) -> list[list[Rejected]]:
    """Batches of at most 1,000 rows and some 4 MB, so that a message stays below the broker's limit."""
    batches: list[list[Rejected]] = [[]]
    size = 0
    for row in rows:
        if batches[-1] and (len(batches[-1]) >= 1000 or size + len(row.raw) > bytes_max):
            batches.append([])
            size = 0
        batches[-1].append(row)
        size += len(row.raw)
    return batches


def severity(layout: Layout, instance: int, level: int) -> str:
    """The severity of an alert that has stepped up so often; a new document may have fewer steps."""
    known = layout.severities[instance]
    return known[min(level, len(known) - 1)]


def _alert(
    layout: Layout,
    site: int,
    offset: int,
    known_at: int,
    instance: int,
    episode: int,
    state: int,
    valid_at: int,
    started_at: int,
    level: int,
    estimate: int,
) -> dict[str, object]:
    name = layout.sites[site]
    rule, subject = layout.instance_names[instance]
    return {
        "site": name,
        "offset": offset,
        "known_at": known_at,
        "config_version": layout.versions[name],
        "rule": rule,
        "subject": subject,
        "episode": episode,
        "state": _STATES[state],
        "severity": severity(layout, instance, level),
        "valid_at": valid_at,
        "started_at": started_at,
        "estimate": estimate,
    }


def _episode(
    layout: Layout,
    site: int,
    offset: int,
    known_at: int,
    instance: int,
    episode: int,
    point: int,
    from_ms: int,
    to_ms: int,
    quantity: int,
    final: int,
) -> dict[str, object]:
    rule, subject = layout.instance_names[instance]
    return {
        "site": layout.sites[site],
        "offset": offset,
        "known_at": known_at,
        "rule": rule,
        "subject": subject,
        "episode": episode,
        "point": point,
        "from_ms": from_ms,
        "to_ms": to_ms,
        "quantity": quantity,
        "final": bool(final),
    }


def canonical(stream: str, layout: Layout, rows: Matrix) -> Matrix:
    """Canonical rows of a matrix of a stream: indices are replaced by keys of what they name."""
    site_keys = np.array([key(site) for site in layout.sites], np.int64)
    made = rows.copy()
    made[:, 0] = site_keys[rows[:, 0]]
    if stream not in ("alerts", "episodes"):
        return made
    names = np.array(
        [[key(layout.instance_names[i][0]), key(layout.instance_names[i][1])] for i in rows[:, 3]], np.int64
    ).reshape(-1, 2)
    extra = [made[:, :3], names, made[:, 4 : 8 if stream == "alerts" else None]]
    if stream == "alerts":
        versions = np.array([layout.versions[layout.sites[site]] for site in rows[:, 0]], np.int64)
        severities = np.array([key(severity(layout, i, level)) for i, level in rows[:, [3, 8]].tolist()], np.int64)
        extra += [versions[:, None], severities[:, None], made[:, 9:10]]
    return np.concatenate(extra, axis=1)


def _canonical_reject(row: Rejected) -> list[int]:
    digest = np.frombuffer(hashlib.sha256(row.raw).digest(), "<i8").tolist()
    return [key(row.site), row.offset, row.known_at, key(row.reason), row.readings, *digest]
