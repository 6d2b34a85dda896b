"""Notices that wait, and the messages that are made of them inside the limits of a channel.

Nothing here reads a clock or talks to anybody: the state follows from the records of the topic `notifications`, so
that it is the same after a crash.

A group that is ready is one message, as long as half of what its channel allows in a minute is unused. Beyond that
everything that is ready is one digest, and digests keep their distance: an alarm storm never takes a robot over its
limit, and never hides its first alerts behind it.
"""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeAlias

from sinks.desk.actions import Key
from sinks.notify.plan import Told, told_of
from sinks.notify.records import Delivery, Message, Notice, name_of

MINUTE_MS: Final = 60_000
NOTICES_MAX: Final = 10_000
"""Of one message: their ids must fit into a record."""
AT_ONCE: Final = 100
"""So many messages a channel is given together."""
FINAL: Final = ("sent", "moved")
REFUSED_MAX: Final = 10
"""So often a message is offered to a channel that refuses it; then it is given up, which the topic says."""
BACKOFF_MS: Final = (1000, 2000, 5000, 10_000, 20_000, 30_000, 60_000)

Words: TypeAlias = Callable[[Sequence[Notice], str], tuple[str, str]]
"""(notices, channel) → (title, text)."""
Held: TypeAlias = Callable[[Notice], bool]


@dataclasses.dataclass(slots=True)
class Sending:
    """A message that is not delivered yet.

    Attributes:
        message: as it was written.
        attempt: how often it was tried.
        next_ms: not before.
        first_ms: when it was made.
        doubtful: it may have arrived: the channel did not answer, or the notifier died.
        refused: how often it was refused.
    """

    message: Message
    attempt: int = 0
    next_ms: int = 0
    first_ms: int = 0
    doubtful: bool = False
    refused: int = 0


@dataclasses.dataclass(slots=True)
class Lane:
    """One channel's side of the outbox.

    Attributes:
        per_minute: most messages a minute.
        fallback: channel that gets what this one does not take; empty: none.
        waiting: notices that are in no message yet.
        open: messages that are not delivered yet, in their order.
        attempts: when something was sent or tried, the last minute, ms.
        told_at: group → when it was last told.
        failing_since: since when nothing arrives, 0: it works.
        down: it is told as down, and what comes goes to the fallback.
        not_before: the next attempt, ms.
        turns: what is to be told of the channel itself: (down or back, since when it failed).
    """

    per_minute: int
    fallback: str
    waiting: dict[str, Notice] = dataclasses.field(default_factory=dict)
    open: dict[str, Sending] = dataclasses.field(default_factory=dict)
    attempts: collections.deque[int] = dataclasses.field(default_factory=collections.deque)
    told_at: dict[str, int] = dataclasses.field(default_factory=dict)
    failing_since: int = 0
    down: bool = False
    not_before: int = 0
    turns: list[tuple[str, int]] = dataclasses.field(default_factory=list)

    def used(self, now_ms: int) -> int:
        """Attempts of the last minute."""
        while self.attempts and self.attempts[0] <= now_ms - MINUTE_MS:
            self.attempts.popleft()
        return len(self.attempts)


class Outbox:
    """Everything that was decided and is not delivered yet, by channel.

    Args:
        limits: channel → (messages a minute, fallback).
        give_up_ms: a channel that takes nothing for so long is down.

    Attributes:
        known: id of a notice → when it was decided.
        told: alert → who was told that it burns.
        lanes: channel → its side; those that the settings do not have are here too, and wait.
    """

    def __init__(self, limits: Mapping[str, tuple[int, str]], give_up_ms: int = 120_000) -> None:
        self.known: dict[str, int] = {}
        self.told: dict[Key, list[Told]] = {}
        self.lanes: dict[str, Lane] = {name: Lane(*limit) for name, limit in limits.items()}
        self._give_up_ms = give_up_ms
        self._notices: dict[str, Notice] = {}

    def take_notice(self, notice: Notice) -> None:
        """A notice that was decided, now or by the process before."""
        if notice.id in self.known:
            return
        self.known[notice.id] = notice.time_ms
        if not notice.channel:
            return
        self._notices[notice.id] = notice
        self._lane(notice.channel).waiting[notice.id] = notice
        told = told_of(notice)
        if told is not None and told not in self.told.setdefault(notice.key, []):
            self.told[notice.key].append(told)
        if notice.kind == "resolved":
            self.told.pop(notice.key, None)

    def take_message(self, message: Message) -> None:
        """A message that was written; its notices wait no more."""
        lane = self._lane(message.channel)
        for id_ in message.notices:
            notice = self._notices.get(id_)
            if notice is not None:
                self._lane(notice.channel).waiting.pop(id_, None)
                if notice.every_ms:
                    lane.told_at[notice.group] = message.time_ms
        lane.open[message.id] = Sending(message, first_ms=message.time_ms, next_ms=message.time_ms)
        if message.moved_from:
            for other in self.lanes.values():
                other.open.pop(message.moved_from, None)

    def take_delivery(self, delivery: Delivery) -> None:
        """What became of a message."""
        lane = self._lane(delivery.channel)
        sending = lane.open.get(delivery.message)
        now_ms = delivery.time_ms
        lane.attempts.append(now_ms)
        if delivery.outcome == "sent":
            if lane.failing_since:
                lane.turns.append(("back", lane.failing_since))
            lane.failing_since, lane.down, lane.not_before = 0, False, now_ms
        elif delivery.outcome != "moved":
            lane.failing_since = lane.failing_since or now_ms
        if sending is None:
            return
        sending.attempt = delivery.attempt
        if delivery.outcome in FINAL:
            self._forget(lane, sending)
            return
        sending.doubtful = sending.doubtful or delivery.outcome == "unknown"
        sending.refused += delivery.outcome == "refused"
        sending.next_ms = now_ms + BACKOFF_MS[min(delivery.attempt, len(BACKOFF_MS)) - 1]
        lane.not_before = sending.next_ms
        if sending.refused >= REFUSED_MAX:
            self._forget(lane, sending)

    def doubt(self) -> None:
        """After a start: whatever is open may have been sent by the process before, which did not come to say so."""
        for lane in self.lanes.values():
            for sending in lane.open.values():
                sending.doubtful = True
                lane.attempts.append(sending.first_ms)

    def form(self, now_ms: int, words: Words, held: Held = lambda _: False) -> list[Message]:
        """Messages of what is ready, inside every channel's limit; the caller gives them to `take_message`.

        Args:
            now_ms: the time.
            words: writes a message.
            held: whether a notice is to wait although it is due.
        """
        found = []
        for name, lane in self.lanes.items():
            # A channel that is down is tried again with the first thing that comes after a minute of rest.
            resting = lane.down and now_ms < lane.not_before + MINUTE_MS
            goes_to = lane.fallback if resting and lane.fallback in self.lanes else name
            target = self.lanes[goes_to]
            # While a message is on its way, or a channel is slow, what comes meanwhile becomes one message.
            if lane.waiting and not target.open and target.per_minute:
                found += [
                    self._message(goes_to, notices, now_ms, words)
                    for notices in self._ready(lane, target, now_ms, held)
                ]
        return found

    def moves(self, now_ms: int) -> list[tuple[Message, Delivery]]:
        """Messages that a fallback takes over, each with the record that ends the old one."""
        found = []
        for name, lane in self.lanes.items():
            if not lane.failing_since or lane.fallback not in self.lanes or lane.fallback == name:
                continue
            late = now_ms - lane.failing_since >= self._give_up_ms
            for sending in list(lane.open.values()):
                if late or lane.down or sending.refused:
                    old = sending.message
                    new = dataclasses.replace(
                        old, id=name_of(old.id, lane.fallback), time_ms=now_ms, channel=lane.fallback, moved_from=old.id
                    )
                    why = Delivery(old.id, now_ms, name, "moved", sending.attempt, f"to {lane.fallback}")
                    found.append((new, why))
        return found

    def judge(self, now_ms: int) -> None:
        """Takes channels for down to which nothing came for long, or that refused a message."""
        for lane in self.lanes.values():
            refused = any(sending.refused for sending in lane.open.values())
            if lane.failing_since and not lane.down and (refused or now_ms - lane.failing_since >= self._give_up_ms):
                lane.down = True
                lane.turns.append(("down", lane.failing_since))

    def due(self, channel: str, now_ms: int) -> list[Sending]:
        """The messages that may be tried on a channel now, in their order."""
        lane = self.lanes[channel]
        if now_ms < lane.not_before:
            return []
        left = max(0, lane.per_minute - lane.used(now_ms))
        return [sending for sending in lane.open.values() if sending.next_ms <= now_ms][: min(left, AT_ONCE)]

    def notices(self, ids: Iterable[str]) -> list[Notice]:
        """Notices by their ids, those that are not delivered."""
        return [self._notices[id_] for id_ in ids if id_ in self._notices]

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is on its way."""
        return not any(lane.waiting or lane.open for lane in self.lanes.values())

    def _lane(self, channel: str) -> Lane:
        # A channel that the model names and the settings do not have: nothing is sent, nothing is lost.
        return self.lanes.setdefault(channel, Lane(0, ""))

    def _forget(self, lane: Lane, sending: Sending) -> None:
        lane.open.pop(sending.message.id, None)
        for id_ in sending.message.notices:
            self._notices.pop(id_, None)

    def _ready(self, lane: Lane, target: Lane, now_ms: int, held: Held) -> list[list[Notice]]:
        groups: dict[str, list[Notice]] = {}
        for notice in lane.waiting.values():
            if held(notice):
                continue
            groups.setdefault(notice.group, []).append(notice)
        ready = []
        for group, notices in groups.items():
            every_ms = min(notice.every_ms for notice in notices)
            rested = now_ms >= target.told_at.get(group, -every_ms) + every_ms
            if rested and min(notice.due_ms for notice in notices) <= now_ms:
                ready.append(notices[:NOTICES_MAX])
        used, limit = target.used(now_ms), target.per_minute
        if len(ready) <= limit // 2 - used or (len(ready) == 1 and used < limit // 2):
            return ready
        last = target.attempts[-1] if target.attempts else -MINUTE_MS
        reserve = 1 if limit > 4 else 0  # for another attempt of what fails
        if not ready or used >= limit - reserve or now_ms < last + 2 * MINUTE_MS // limit:
            return []
        together = [notice for notices in ready for notice in notices]
        return [[notice for notice in together if notice.language == together[0].language][:NOTICES_MAX]]

    def _message(self, channel: str, notices: Sequence[Notice], now_ms: int, words: Words) -> Message:
        ids = tuple(notice.id for notice in notices)
        groups = {notice.group for notice in notices}
        people = tuple(dict.fromkeys(person for notice in notices for person in notice.named))
        title, text = words(notices, channel)
        return Message(
            name_of(channel, *ids), now_ms, channel, ids, groups.pop() if len(groups) == 1 else "", title, text, people,
            notices[0].language,
        )  # fmt: skip
