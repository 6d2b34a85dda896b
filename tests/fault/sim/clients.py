"""librdkafka's Producer and Consumer, as far as ganzhi uses them, over the simulated broker.

Each call is a step: it may be the last thing its process does, before or after it has taken effect, and its answer may
be lost either way. What librdkafka calls retriable goes on where it stopped when it is called again.
"""

import contextlib
import struct
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from tests.fault.sim.broker import ABORTED, COMMITTED, OPEN, Broker, Place, Refused, Transaction
from tests.fault.sim.scheduler import Scheduler

TIMED_OUT = KafkaError._TIMED_OUT
END = KafkaError._PARTITION_EOF


def retriable(code: int = TIMED_OUT) -> KafkaException:
    """An answer that did not come."""
    return KafkaException(KafkaError(code, "no answer", False, True, False))


def abortable(code: int) -> KafkaException:
    """The transaction is spoilt; the producer is not."""
    return KafkaException(KafkaError(code, "abort it", False, False, True))


def fatal(code: int) -> KafkaException:
    """The producer is of no use any more."""
    return KafkaException(KafkaError(code, "fenced", True, False, False))


class Message:
    """What a consumer gives: a message, or the end of a partition."""

    def __init__(self, place: Place, offset: int, error: KafkaError | None = None, record: Any = None) -> None:
        self._place, self._offset, self._error, self._record = place, offset, error, record

    def topic(self) -> str:
        return self._place[0]

    def partition(self) -> int:
        return self._place[1]

    def offset(self) -> int:
        return self._offset

    def error(self) -> KafkaError | None:
        return self._error

    def key(self) -> bytes | None:
        return self._record.key if self._record is not None else None

    def value(self) -> bytes | None:
        return self._record.value if self._record is not None else None

    def timestamp(self) -> tuple[int, int]:
        return 2, self._record.timestamp_ms if self._record is not None else -1


class Network:
    """What connects clients with the broker, and what becomes of calls.

    Args:
        scheduler: whose steps the calls are.
        broker: what they reach.

    Attributes:
        loss: chance that a call fails.
    """

    def __init__(self, scheduler: Scheduler, broker: Broker) -> None:
        self.scheduler, self.broker = scheduler, broker
        self.loss = 0.0

    def fails(self, factor: float = 1.0) -> bool:
        """Whether something goes wrong now."""
        return not self.scheduler.calm and self.scheduler.random.random() < self.loss * factor

    def call(self, point: str, effect: Callable[[], Any]) -> Any:
        """One request: lost on its way, done and its answer lost, or done.

        Raises:
            KafkaException: retriable.
        """
        self.scheduler.step(f"before {point}")
        if self.fails():
            self.scheduler.tell(f"{point}: request lost")
            raise retriable()
        found = effect()
        self.scheduler.step(f"after {point}")
        if self.fails():
            self.scheduler.tell(f"{point}: done, answer lost")
            raise retriable()
        return found

    def producer(self, config: dict[str, Any]) -> "Producer":
        """In the place of confluent_kafka.Producer."""
        return Producer(self, config)

    def consumer(self, config: dict[str, Any]) -> "Consumer":
        """In the place of confluent_kafka.Consumer."""
        return Consumer(self, config)


class Producer:
    """librdkafka's producer; messages leave it one after another, at once or with the next flush."""

    def __init__(self, network: Network, config: dict[str, Any]) -> None:
        self._network, self._broker = network, network.broker
        self._name: str | None = config.get("transactional.id")
        self._epoch = -1
        self._transaction: Transaction | None = None
        self._queue: list[tuple[Place, bytes | None, bytes | None, Callable[..., None] | None]] = []
        self._dead: int | None = None
        self._spoilt = False

    # -- transactions -------------------------------------------------------------------------------------------------

    def init_transactions(self, _timeout: float) -> None:
        """Fences."""
        assert self._name is not None
        self._epoch = self._network.call("init_transactions", lambda: self._broker.initialise(self._name or ""))

    def begin_transaction(self) -> None:
        """A local matter."""
        self._network.scheduler.step("begin_transaction")
        self._alive()
        assert self._epoch >= 0, "init_transactions was not called"
        assert self._transaction is None, "a transaction is open"
        self._spoilt = False
        self._queue.clear()
        self._transaction = Transaction(self._name or "", self._epoch, self._network.scheduler.now_s)

    def send_offsets_to_transaction(
        self, offsets: Sequence[TopicPartition], membership: bytes, _timeout: float
    ) -> None:
        """The group's offsets, within the transaction."""
        self._alive()
        ((generation,), rest) = (struct.unpack_from("<i", membership, 7), membership[11:])
        group = rest.split(b"\0")[0].decode()
        wanted = {(one.topic, one.partition): (one.offset, "") for one in offsets}
        self._request("send_offsets", lambda: self._broker.add_offsets(self._opened(), group, generation, wanted))

    def commit_transaction(self, _timeout: float) -> None:
        """Flushes and commits."""
        self._alive()
        if self._transaction is not None and self._transaction.state == OPEN:
            self._send_all()
            if self._spoilt:
                raise abortable(KafkaError._MSG_TIMED_OUT)
            if self._network.fails(0.1):
                self._network.scheduler.tell("the broker refuses a message")
                raise abortable(KafkaError.MSG_SIZE_TOO_LARGE)
        self._request("commit", lambda: self._broker.end(self._opened(), COMMITTED))
        self._transaction = None

    def abort_transaction(self, _timeout: float) -> None:
        """Throws away."""
        self._alive()
        self._queue.clear()
        current = self._transaction
        if current is not None and self._broker.open.get(current.name) is current:
            self._request("abort", lambda: self._broker.end(current, ABORTED))
        else:
            self._network.scheduler.step("abort")
        self._transaction = None

    def _opened(self) -> Transaction:
        """The transaction, known to the broker from the first message on."""
        assert self._transaction is not None
        if self._transaction.state == OPEN and self._broker.open.get(self._transaction.name) is not self._transaction:
            if self._transaction.first or self._transaction.offsets:
                raise Refused(KafkaError._FENCED)  # it was ended by somebody else
            self._transaction = self._broker.begin(self._transaction.name, self._epoch, self._network.scheduler.now_s)
        return self._transaction

    def _request(self, point: str, effect: Callable[[], Any]) -> None:
        try:
            self._network.call(point, effect)
        except Refused as refused:
            self._network.scheduler.tell(f"{point}: refused, {refused.code}")
            if refused.code == KafkaError._FENCED:
                self._dead = refused.code
                raise fatal(refused.code) from refused
            raise abortable(refused.code) from refused

    def _alive(self) -> None:
        if self._dead is not None:
            raise fatal(self._dead)

    # -- messages -----------------------------------------------------------------------------------------------------

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        partition: int = 0,
        on_delivery: Callable[..., None] | None = None,
        headers: object = None,
    ) -> None:
        """Takes a message; some of those that wait leave now."""
        assert headers is None, "nothing of ours has headers"
        self._network.scheduler.step("produce")
        self._alive()
        if self._name is not None and self._transaction is None:
            raise fatal(KafkaError._STATE)  # librdkafka: no transaction to produce into
        if not self._network.scheduler.calm and self._network.fails(0.1):
            raise BufferError
        self._queue.append(((topic, partition), key, value, on_delivery))
        if self._network.scheduler.random.random() < 0.5:
            self._send_one()

    def poll(self, _timeout: float = 0) -> int:
        """Time passes."""
        self._network.scheduler.step("producer poll")
        self._send_all()
        return 0

    def flush(self, _timeout: float = 0) -> int:
        """Sends everything."""
        self._send_all()
        self._network.scheduler.step("flush")
        return 0

    def purge(self) -> None:
        """Forgets what waits."""
        self._queue.clear()

    def _send_all(self) -> None:
        while self._queue:
            self._send_one()

    def _send_one(self) -> None:
        place, key, value, told = self._queue.pop(0)
        self._network.scheduler.step("send")
        if self._network.fails(0.3):
            self._spoilt = True
            self._network.scheduler.tell(f"a message for {place[0]} is lost")
            if told is not None:
                told(KafkaError(KafkaError._MSG_TIMED_OUT, "lost"), Message(place, -1))
            return
        try:
            transaction = self._opened() if self._name is not None else None
            offset = self._broker.append(place, key, value, transaction)
        except Refused as refused:
            self._dead = refused.code
            return
        if told is not None:
            told(None, Message(place, offset))


class Consumer:
    """librdkafka's consumer: assigned by hand, or as a member of a group."""

    def __init__(self, network: Network, config: dict[str, Any]) -> None:
        self._network, self._broker = network, network.broker
        self._committed_only = config.get("isolation.level", "read_committed") == "read_committed"
        self._group = str(config.get("group.id", ""))
        self._positions: dict[Place, int] = {}
        self._ended: dict[Place, int] = {}
        self._paused: set[Place] = set()
        self.member: Member | None = None

    def list_topics(self, *_: object, **__: object) -> SimpleNamespace:
        """Metadata."""
        self._network.scheduler.step("metadata")
        topics: dict[str, SimpleNamespace] = {}
        for topic, partition in self._broker.logs:
            topics.setdefault(topic, SimpleNamespace(partitions={})).partitions[partition] = None
        return SimpleNamespace(topics=topics)

    def get_watermark_offsets(self, part: TopicPartition, timeout: float = 0, **_: object) -> tuple[int, int] | None:
        """(low, end); the end is that of the isolation level."""
        del timeout
        self._network.scheduler.step("watermarks")
        if self._network.fails():
            return None
        log = self._broker.log((part.topic, part.partition))
        return log.low, log.stable if self._committed_only else log.high

    def assign(self, parts: Sequence[TopicPartition]) -> None:
        """Reads from these places on."""
        self._positions = {(part.topic, part.partition): part.offset for part in parts}
        self._ended, self._paused = {}, set()

    def unassign(self) -> None:
        """Reads nothing."""
        self.assign([])

    def assignment(self) -> list[TopicPartition]:
        """What it reads."""
        return [TopicPartition(*place) for place in self._positions]

    def pause(self, parts: Sequence[TopicPartition]) -> None:
        """Gives no messages of these."""
        self._paused |= {(part.topic, part.partition) for part in parts}

    def resume(self, parts: Sequence[TopicPartition]) -> None:
        """Gives them again."""
        self._paused -= {(part.topic, part.partition) for part in parts}

    def poll(self, timeout: float = 0) -> Message | None:
        """One message, the end of a partition, or nothing."""
        found = self.consume(1, timeout)
        return found[0] if found else None

    def consume(self, count: int, timeout: float = 0) -> list[Message]:
        """Messages; what the group has to say comes first."""
        self._network.scheduler.step("fetch")
        if self.member is not None:
            self.member.serve()
        found: list[Message] = []
        random = self._network.scheduler.random
        if not self._network.fails():
            for place in random.sample(sorted(self._positions), len(self._positions)):
                if place not in self._paused:
                    found += self._fetch(place, count - len(found), random.choice((1, 2, 5, count)))
                if len(found) >= count:
                    break
        if not found and timeout:
            self._network.scheduler.sleep(timeout)
        return found

    def _fetch(self, place: Place, count: int, most: int) -> list[Message]:
        log, found = self._broker.log(place), []
        start = self._positions[place]
        if not log.low <= start <= log.high:
            return [Message(place, start, KafkaError(KafkaError._AUTO_OFFSET_RESET, "out of range"))]
        for record in log.read(start, self._committed_only):
            if len(found) >= min(count, most):
                return found
            found.append(Message(place, record.offset, None, record))
            self._positions[place] = record.offset + 1
        end = log.stable if self._committed_only else log.high
        if len(found) < count and self._ended.get(place) != end:
            self._ended[place] = end
            self._positions[place] = max(end, self._positions[place])
            found.append(Message(place, end, KafkaError(END, "end")))
        return found

    def close(self) -> None:
        """Leaves."""
        if self.member is not None:
            self.member.leave()
        with contextlib.suppress(AttributeError):
            self._positions = {}

    # -- as a member of a group ---------------------------------------------------------------------------------------

    def subscribe(
        self,
        topics: Sequence[str],
        on_assign: Callable[..., None],
        on_revoke: Callable[..., None],
        on_lost: Callable[..., None],
    ) -> None:
        """Joins the group."""
        self.member = Member(self._network, self, self._group, topics, on_assign, on_revoke, on_lost)

    def commit(self, offsets: Sequence[TopicPartition], asynchronous: bool = False) -> list[TopicPartition]:
        """Commits offsets with metadata, all of them or none.

        Raises:
            KafkaException: the generation is over, or no answer.
        """
        assert not asynchronous
        wanted = {(self._group, one.topic, one.partition): (one.offset, one.metadata or "") for one in offsets}

        def effect() -> None:
            generation = self.member.generation if self.member is not None else -1
            if self.member is not None and generation != self._broker.group(self._group).generation:
                raise Refused(KafkaError.ILLEGAL_GENERATION)
            self._broker.offsets.update(wanted)

        try:
            self._network.call("commit offsets", effect)
        except Refused as refused:
            self._broker.fenced += 1
            self._network.scheduler.tell("offsets refused")
            raise KafkaException(KafkaError(refused.code, "over")) from refused
        return []

    def committed(self, parts: Sequence[TopicPartition], timeout: float = 0) -> list[TopicPartition]:
        """What the group has committed."""
        del timeout

        def effect() -> list[TopicPartition]:
            found = []
            for part in parts:
                key = (self._group, part.topic, part.partition)
                offset, metadata = self._broker.offsets.get(key, (-1001, ""))
                found.append(TopicPartition(part.topic, part.partition, offset, metadata))
            return found

        answer: list[TopicPartition] = self._network.call("committed", effect)
        return answer


class Member:
    """A member of a group, eager: everything is revoked before anything is assigned anew.

    A member that is silent for too long loses its partitions without being asked, and learns it at its next call.
    """

    def __init__(
        self,
        network: Network,
        consumer: Consumer,
        group: str,
        topics: Sequence[str],
        on_assign: Callable[..., None],
        on_revoke: Callable[..., None],
        on_lost: Callable[..., None],
    ) -> None:
        self._network, self._consumer, self._group = network, consumer, group
        self._topics = topics
        self._assigned, self._revoked, self._lost = on_assign, on_revoke, on_lost
        self._holds: list[Place] = []
        self._given = -1
        self.generation = -1
        self.process = network.scheduler.process
        self.seen_s = network.scheduler.now_s
        self.joined = False

    def serve(self) -> None:
        """What librdkafka does inside of a poll: callbacks of a rebalance."""
        coordinator: Coordinator = self._network.broker.coordinator  # type: ignore[attr-defined]
        self.seen_s = self._network.scheduler.now_s
        state = coordinator.heartbeat(self)
        if state == "revoke" and self._holds:
            parts, self._holds = [TopicPartition(*place) for place in self._holds], []
            (self._revoked if self.joined else self._lost)(self._consumer, parts)
        if state in ("revoke", "join"):
            self.joined = True
            coordinator.join(self)
        elif state == "assign":
            self._holds = coordinator.assignment(self)
            self.generation = self._network.broker.group(self._group).generation
            self._assigned(self._consumer, [TopicPartition(*place) for place in self._holds])

    def leave(self) -> None:
        """Leaves in order."""
        coordinator: Coordinator = self._network.broker.coordinator  # type: ignore[attr-defined]
        self._network.scheduler.step("leave")
        coordinator.leave(self)


class Coordinator:
    """The group's coordinator: who is in, who has joined the round, who has what.

    Args:
        broker: whose group it is.
        group: its name.
        places: what there is to assign.
        session_s: silence after which a member is out.
    """

    def __init__(self, broker: Broker, group: str, places: Sequence[Place], session_s: float) -> None:
        self.session_s = session_s
        self._broker, self._group = broker, broker.group(group)
        self._places = list(places)
        self._members: list[Member] = []
        self._joined: list[Member] = []
        self._ready: dict[Member, list[Place]] = {}
        self._rebalancing = False

    def heartbeat(self, member: Member) -> str:
        """What the member has to do now: nothing (""), revoke, join, assign."""
        if member not in self._members:
            member.joined = False
            return "revoke"
        if self._rebalancing:
            return "" if member in self._joined else "revoke"
        return "assign" if member in self._ready else ""

    def join(self, member: Member) -> None:
        """A member has let go of everything and waits."""
        if member not in self._members:
            self._members.append(member)
            self._begin()
        if member not in self._joined:
            self._joined.append(member)
        self._complete()

    def leave(self, member: Member) -> None:
        """A member has gone."""
        if member in self._members:
            self._members.remove(member)
            self._begin()
            self._complete()

    def tick(self, now_s: float) -> None:
        """Puts out who is silent."""
        for member in list(self._members):
            if now_s - member.seen_s > self.session_s:
                self.leave(member)

    def assignment(self, member: Member) -> list[Place]:
        """What a member has from now on."""
        return self._ready.pop(member)

    def _begin(self) -> None:
        self._rebalancing = True
        self._joined, self._ready = [], {}

    def _complete(self) -> None:
        if not self._rebalancing or len(self._joined) < len(self._members) or not self._members:
            return
        self._rebalancing = False
        self._group.generation += 1
        order = list(self._joined)
        self._ready = {member: [] for member in order}
        for place in self._places:  # by partition number, as the range assignor does for equal topics
            self._ready[order[place[1] % len(order)]].append(place)
