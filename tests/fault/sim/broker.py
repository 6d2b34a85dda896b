"""A broker: partitions, transactions, groups. What it has, it has for ever; what it answers is the clients' affair.

Transactions as Kafka has them: `begin` bumps the epoch of a transactional id and ends what an older epoch left open; a
marker takes an offset; who reads committed messages stops before the first open transaction. Offsets that are committed
within a transaction, or by a member of a group, carry the generation and are refused where that is over.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Final

from confluent_kafka import KafkaError

Place = tuple[str, int]
OPEN: Final = "open"
COMMITTED: Final = "committed"
ABORTED: Final = "aborted"


class Refused(Exception):
    """The broker says no.

    Attributes:
        code: Kafka's error code.
    """

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclasses.dataclass
class Transaction:
    """One transaction of a transactional id."""

    name: str
    epoch: int
    began_s: float
    state: str = OPEN
    first: dict[Place, int] = dataclasses.field(default_factory=dict)
    offsets: dict[tuple[str, str, int], tuple[int, str]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Record:
    """A message, or a marker (`control`)."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    transaction: Transaction | None
    control: bool = False


@dataclasses.dataclass
class Log:
    """One partition."""

    records: list[Record] = dataclasses.field(default_factory=list)
    written: list[Record] = dataclasses.field(default_factory=list)
    """All there ever was, also what was compacted away."""
    low: int = 0
    high: int = 0

    def append(self, record: Record) -> int:
        """Gives it the next offset."""
        record.offset = self.high
        self.high += 1
        self.records.append(record)
        self.written.append(record)
        return record.offset

    @property
    def stable(self) -> int:
        """Where a reader of committed messages ends."""
        open_ = (r.offset for r in self.records if r.transaction is not None and r.transaction.state == OPEN)
        return min(open_, default=self.high)

    def read(self, start: int, committed: bool) -> Iterator[Record]:
        """Messages from an offset on; markers and, where asked for committed ones, aborted messages are left out."""
        end = self.stable if committed else self.high
        for record in self.records:
            if record.offset < start or record.control:
                continue
            if record.offset >= end:
                return
            if committed and record.transaction is not None and record.transaction.state != COMMITTED:
                continue
            yield record


@dataclasses.dataclass
class Group:
    """A consumer group."""

    generation: int = 0
    members: dict[str, list[Place]] = dataclasses.field(default_factory=dict)


class Broker:
    """All partitions, transactions and groups."""

    def __init__(self) -> None:
        self.logs: dict[Place, Log] = {}
        self.groups: dict[str, Group] = {}
        self.offsets: dict[tuple[str, str, int], tuple[int, str]] = {}
        self.epochs: dict[str, int] = {}
        self.open: dict[str, Transaction] = {}
        self.clock_ms = 1_767_229_200_000
        self.fenced = 0

    def log(self, place: Place) -> Log:
        """A partition."""
        return self.logs.setdefault(place, Log())

    def group(self, name: str) -> Group:
        """A group."""
        return self.groups.setdefault(name, Group())

    def append(self, place: Place, key: bytes | None, value: bytes | None, transaction: Transaction | None) -> int:
        """Writes a message; its offset.

        Raises:
            Refused: its transaction is over.
        """
        if transaction is not None:
            self._check(transaction)
        self.clock_ms += 1
        log = self.log(place)
        if transaction is not None:
            transaction.first.setdefault(place, log.high)
        return log.append(Record(0, self.clock_ms, key, value, transaction))

    # -- transactions -------------------------------------------------------------------------------------------------

    def initialise(self, name: str) -> int:
        """Fences every older producer of a transactional id; the new epoch."""
        left = self.open.pop(name, None)
        if left is not None:
            self._end(left, ABORTED)
        self.epochs[name] = self.epochs.get(name, -1) + 1
        return self.epochs[name]

    def begin(self, name: str, epoch: int, now_s: float) -> Transaction:
        """A transaction, if the producer is still the one.

        Raises:
            Refused: it is fenced.
        """
        if self.epochs.get(name) != epoch:
            self.fenced += 1
            raise Refused(KafkaError._FENCED)
        return self.open.setdefault(name, Transaction(name, epoch, now_s))

    def add_offsets(
        self,
        transaction: Transaction,
        group: str,
        generation: int,
        offsets: Mapping[Place, tuple[int, str]],
    ) -> None:
        """Offsets that become the group's with the transaction; -1: no member, never refused by the group.

        Raises:
            Refused: the transaction or the generation is over.
        """
        self._check(transaction)
        if generation >= 0 and generation != self.group(group).generation:
            self.fenced += 1
            raise Refused(KafkaError.ILLEGAL_GENERATION)
        transaction.offsets.update({(group, *place): value for place, value in offsets.items()})

    def end(self, transaction: Transaction, state: str) -> None:
        """Ends a transaction; ending it twice the same way is one.

        Raises:
            Refused: it ended otherwise, or another epoch has ended it.
        """
        if transaction.state == state and self.epochs[transaction.name] == transaction.epoch:
            return
        self._check(transaction)
        del self.open[transaction.name]
        self._end(transaction, state)

    def expire(self, older_than_s: float) -> int:
        """Aborts transactions that are open for too long, as the coordinator does; how many."""
        old = [one for one in self.open.values() if one.began_s < older_than_s]
        for one in old:
            self.epochs[one.name] += 1
            del self.open[one.name]
            self._end(one, ABORTED)
        return len(old)

    def _check(self, transaction: Transaction) -> None:
        if self.open.get(transaction.name) is not transaction or self.epochs[transaction.name] != transaction.epoch:
            self.fenced += 1
            raise Refused(KafkaError._FENCED)

    def _end(self, transaction: Transaction, state: str) -> None:
        transaction.state = state
        for place in transaction.first:
            self.log(place).append(Record(0, self.clock_ms, None, None, transaction, control=True))
        if state == COMMITTED:
            self.offsets.update(transaction.offsets)

    # -- maintenance --------------------------------------------------------------------------------------------------

    def compact(self, place: Place, keep_last: int) -> None:
        """Keeps the last message of each key, before the last few."""
        log = self.log(place)
        limit = min(log.stable, log.high - keep_last)
        last = {
            r.key: r.offset
            for r in log.records
            if not r.control and (r.transaction is None or r.transaction.state == COMMITTED)
        }
        log.records = [
            r
            for r in log.records
            if r.offset >= limit
            or (
                not r.control
                and last.get(r.key) == r.offset
                and (r.transaction is None or r.transaction.state == COMMITTED)
            )
        ]
