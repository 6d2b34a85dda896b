"""The loop: what has changed, what is to be told, one transaction, and only then the channels.

A turn is

    1. read      rows and actions that have come, answers of the channels
    2. decide    notices, and messages of what is ready
    3. commit    both, the answers, and the position, in one transaction
    4. send      each message by the thread of its channel

Killed before 3, the next process reads and decides the same again. Killed after 3, it finds the messages that have no
answer and sends them again under their ids, marked as what may be a repeat. So nothing is lost, and whoever can tell a
message by its id shows it once.
"""

import heapq
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from schemas.codec import Json
from schemas.settings import Settings
from schemas.vitals import Vitals
from sinks.clickhouse.faults import point
from sinks.desk.actions import Key
from sinks.desk.checkpoint import file_of
from sinks.desk.desk import SAVED_FROM, Desk
from sinks.desk.projection import Alert
from sinks.notify.channels.base import Answer, Channel
from sinks.notify.channels.registry import open_channels
from sinks.notify.clean import plain
from sinks.notify.journal import Journal
from sinks.notify.outbox import Outbox, Sending
from sinks.notify.plan import Planner
from sinks.notify.records import NOBODY, Delivery, Message, Notice, name_of
from sinks.notify.vitals import vitals_of
from sinks.notify.wording import Wording

POLL_S: Final = 0.05
RESCAN_MS: Final = 60_000
"""So often every open alert is looked at: hours of routes and mutes begin and end."""
LISTS_MS: Final = 1000
POSITION_MS: Final = 10_000
"""So often the position is written although nothing was decided: it spares the next start some reading."""
DATA_ALERTS_MAX: Final = 1000

Answered: TypeAlias = tuple[str, Sending, Answer, bool]
"""Channel, message, what became of it, whether the thread has none left."""

_log = logging.getLogger("ganzhi.notify")


class _Sender(threading.Thread):
    """The thread of one channel; it has a few messages at a time, and stops at the first that was not taken."""

    def __init__(self, name: str, channel: Channel, answers: "queue.Queue[Answered]") -> None:
        super().__init__(name=f"channel-{name}", daemon=True)
        self.channel = channel
        self.busy = False
        self._name = name
        self._answers = answers
        self._work: queue.Queue[list[tuple[Sending, Mapping[str, Json]]]] = queue.Queue()
        self._ended = False
        self.start()

    def give(self, work: list[tuple[Sending, Mapping[str, Json]]]) -> None:
        """Has messages sent, in their order."""
        self.busy = True
        self._work.put(work)

    def end(self) -> None:
        """Ends the thread after what it has in hand."""
        self._ended = True
        self._work.put([])

    def run(self) -> None:
        while not self._ended:
            work = self._work.get()
            for number, (sending, data) in enumerate(work, 1):
                answer = self._send(sending, data)
                last = answer.outcome != "sent" or number == len(work)
                self._answers.put((self._name, sending, answer, last))
                if self.channel.gap_ms:
                    time.sleep(self.channel.gap_ms / 1000)
                if last:
                    break

    def _send(self, sending: Sending, data: Mapping[str, Json]) -> Answer:
        point("channel-before-send")
        try:
            answer = self.channel.send(sending.message, data, doubtful=sending.doubtful)
        except Exception as error:  # noqa: BLE001  a channel must never end the notifier
            # Its text may hold an address, and so a secret; its type says enough.
            answer = Answer("unknown", f"{type(error).__name__} in the channel")
        point("channel-after-send")
        return answer


class Notifier:
    """One notifier; the topics must exist.

    Args:
        settings: of Kafka and of the channels.
        stop: asked several times a second.
        clock: the time, UTC ms.

    Raises:
        ChannelError: a channel is not set up as it must be.
        KafkaUnavailable: no broker answers.
        Fenced: another one was started meanwhile.
    """

    def __init__(
        self,
        settings: Settings,
        stop: Callable[[], bool],
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._settings = settings
        self._stop = stop
        self._clock = clock
        self._missing: set[str] = set()
        channels = open_channels(settings.notify)
        limits = {
            name: (
                settings.notify.channels[name].per_minute or channel.per_minute,
                settings.notify.channels[name].fallback,
            )
            for name, channel in channels.items()
        }
        self.outbox = Outbox(limits, int(settings.notify.give_up_s * 1000))
        self._journal = Journal(settings.kafka)
        records, position = self._journal.read()
        for record in records:
            self._remember(record)
        self.outbox.doubt()
        # Of what lies behind the position everything is new: a checkpoint must not be beyond it.
        self._desk = Desk(settings.kafka, "zh", file_of(settings.profile, "notify"), position or {})
        self._planner = Planner(self._desk.projection, self.outbox.known, self.outbox.told)
        self._desk.catch_up(position)
        self._planner.skip()
        self._wording = Wording(self._desk.projection, self._desk.names, settings.notify.link)
        self._answers: queue.Queue[Answered] = queue.Queue()
        self._senders = {name: _Sender(name, channel, self._answers) for name, channel in channels.items()}
        self._wakes: list[tuple[int, Key]] = []
        self._next_scan_ms = self._next_lists_ms = 0
        self._written_ms = 0
        self._written = position

    def run(self) -> None:
        """Goes on until it is told to stop; what is on its way then is finished, for at most a time-out."""
        try:
            while not self._stop():
                self.turn(POLL_S)
            until_s = time.monotonic() + self._settings.notify.timeout_s
            while any(sender.busy for sender in self._senders.values()) and time.monotonic() < until_s:
                self._commit(self._take_answers(), send=False)
                time.sleep(0.01)
        finally:
            self.close()

    def vitals(self) -> Vitals:
        """How it is, for any thread."""
        return vitals_of(self.outbox, self._senders, self._desk.behind)

    def close(self) -> None:
        """Leaves the broker."""
        for sender in self._senders.values():
            sender.end()
        if self._written == self._desk.positions:
            self._desk.save(SAVED_FROM)
        self._desk.close()
        self._journal.close()

    def turn(self, poll_s: float) -> None:
        """One turn of the loop; waits at most so long for something to come."""
        # 1.
        changed = self._desk.poll(poll_s)
        if changed:
            point("loop-after-read")
        records: list[Notice | Message | Delivery] = [*self._take_answers()]
        # 2.
        records += self._decide(changed)
        now_ms = self._clock()
        for message, moved in self.outbox.moves(now_ms):
            records += [message, moved]
            self._remember(message)
            self._remember(moved)
        for message in self.outbox.form(now_ms, self._words, self._held):
            records.append(message)
            self._remember(message)
        # 3. and 4.
        self._commit(records)

    def _commit(self, records: list[Notice | Message | Delivery] | list[Delivery], *, send: bool = True) -> None:
        now_ms = self._clock()
        moved_on = self._written != self._desk.positions
        if any(isinstance(record, Delivery) for record in records):
            point("answers-before-commit")
        if records or (moved_on and now_ms >= self._written_ms + POSITION_MS):
            self._journal.write(records, self._desk.positions)
            self._written, self._written_ms = dict(self._desk.positions), now_ms
            self._desk.save()
        if send:
            for name, sender in self._senders.items():
                due = [] if sender.busy else self.outbox.due(name, now_ms)
                if due:
                    sender.give([(sending, self._data(sending.message)) for sending in due])

    def _decide(self, changed: list[Alert]) -> list[Notice]:
        now_ms = self._clock()
        keys = {alert.key: alert for alert in changed}
        if now_ms >= self._next_scan_ms or self._desk.turned:
            self._next_scan_ms = now_ms + RESCAN_MS
            self._planner.forget_routes()
            keys |= {alert.key: alert for alert in self._desk.alerts.values() if alert.open}
            self._desk.turned = False
            for site in self._desk.sites.values():
                site.bind()  # before the first end of an alert asks for it
        while self._wakes and self._wakes[0][0] <= now_ms:
            _, key = heapq.heappop(self._wakes)
            keys[key] = self._desk.alerts[key]
        found: list[Notice] = []
        for key, alert in keys.items():
            notices, next_ms = self._planner.look(alert, now_ms)
            for notice in notices:
                self._remember(notice)
            found += notices
            if next_ms is not None and next_ms < self._next_scan_ms:
                heapq.heappush(self._wakes, (next_ms, key))
        if now_ms >= self._next_lists_ms:
            self._next_lists_ms = now_ms + LISTS_MS
            lists = self._planner.lists(now_ms)
            for notice in lists:
                self._remember(notice)
            found += lists
        return found + self._about_channels(now_ms)

    def _about_channels(self, now_ms: int) -> list[Notice]:
        """Tells the fallback of a channel that it is down, and that it works again."""
        self.outbox.judge(now_ms)
        found = []
        for name, lane in self.outbox.lanes.items():
            for state, since_ms in lane.turns:
                # Of the end is told who was told of the beginning: a hiccup is no message.
                told = name_of(name, "down", since_ms) in self.outbox.known
                id_ = name_of(name, state, since_ms)
                if lane.fallback not in self._senders or id_ in self.outbox.known or (state == "back" and not told):
                    continue
                step, to = f"channel:{plain(name, 60)}:{state}", lane.fallback
                notice = Notice(id_, now_ms, *NOBODY, step, "critical", "", to, to, (), "zh", id_, now_ms, 0)
                self._remember(notice)
                found.append(notice)
            lane.turns.clear()
        return found

    def _take_answers(self) -> list[Delivery]:
        found = []
        while True:
            try:
                name, sending, answer, last = self._answers.get_nowait()
            except queue.Empty:
                break
            self._senders[name].busy = not last
            now_ms = self._clock()
            delivery = Delivery(sending.message.id, now_ms, name, answer.outcome, sending.attempt + 1, answer.detail)
            self._remember(delivery)
            if answer.retry_after_ms:
                lane = self.outbox.lanes[name]
                lane.not_before = max(lane.not_before, now_ms + answer.retry_after_ms)
            if answer.outcome != "sent":
                _log.warning(
                    "channel %s: message %s %s (attempt %d): %s",
                    name, delivery.message, answer.outcome, delivery.attempt, answer.detail,
                )  # fmt: skip
            found.append(delivery)
        return found

    def _remember(self, record: Notice | Message | Delivery) -> None:
        if isinstance(record, Notice):
            self.outbox.take_notice(record)
            if record.channel and record.channel not in self._settings.notify.channels:
                self._miss(record.channel)
        elif isinstance(record, Message):
            self.outbox.take_message(record)
        else:
            self.outbox.take_delivery(record)

    def _miss(self, channel: str) -> None:
        if channel not in self._missing:
            self._missing.add(channel)
            _log.error(
                "routes of the model name channel %s, which the settings do not have: its messages wait", channel
            )

    def _held(self, notice: Notice) -> bool:
        """Whether the end of an alert waits: for the last parts of what it wasted, and so that it says the whole cost.

        The wait counts from the time in the journal: a crash makes it no longer. What came to the log while nobody ran
        is read before anything is said to be all that is known.
        """
        if notice.kind != "resolved":
            return False
        alert = self._desk.alerts.get(notice.key)
        if alert is None or self._desk.projection.whole(alert):
            return False
        return self._desk.behind or self._clock() < notice.time_ms + int(self._settings.notify.cost_wait_s * 1000)

    def _words(self, notices: Sequence[Notice], channel: str) -> tuple[str, str]:
        return self._wording.write(notices, self._senders[channel].channel.bytes_max)

    def _data(self, message: Message) -> dict[str, Json]:
        """The message for programs: texts are cleaned, times are UTC ms, money is 1/10000 yuan."""
        alerts: list[Json] = []
        for notice in self.outbox.notices(message.notices)[:DATA_ALERTS_MAX]:
            alert = self._desk.alerts.get(notice.key)
            row: dict[str, Json] = {
                "site": notice.site, "rule": notice.rule, "subject": notice.subject, "episode": notice.episode,
                "step": notice.step, "severity": notice.severity, "route": notice.route,
            }  # fmt: skip
            if alert is not None:
                row |= {
                    "where": plain(self._desk.names.subject(notice.site, notice.subject, notice.language)),
                    "summary": self._wording.what(notice.key, notice.language),
                    "state": alert.state, "status": alert.status, "cost": alert.cost,
                    "wasted": [
                        {"medium": medium, "unit": unit, "quantity": quantity}
                        for (medium, unit), quantity in alert.wasted.items()
                    ],
                }  # fmt: skip
                if not self._wording.sensitive(notice.key):
                    row |= {"started_at": alert.started_at, "valid_at": alert.valid_at}
            alerts.append(row)
        return {
            "id": message.id, "title": message.title, "text": message.text, "count": len(message.notices),
            "alerts": alerts,
        }  # fmt: skip
