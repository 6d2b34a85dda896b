"""How every alert stands: a pure function of the rows of `alerts` and of the actions in `alert.actions`.

The two topics have no common order, and none is needed: whatever way their messages are interleaved, the same state
comes out, because what counts is when the log knew of each (`known_at`, the broker's time) and the order in a topic.

    firing ──► acknowledged ──► in_progress ──► resolved | stale ──► closed
       ▲             │               │                │                 │
       └── a higher severity ────────┘                └──── reopened ◄──┘

The data decide what burns: `state` is the engine's word (firing, resolved, stale), `status` that of people over it. An
acknowledgement covers the severity that it saw; a close of what still burns takes effect when the data confirm it, and
so does a work order that somebody calls done. Of two actions of the same kind the later one holds; both are in the
history, and the later one is marked where its actor had not seen the earlier.
"""

import bisect
import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from schemas.errors import ActionError
from schemas.hours import Hours
from schemas.matchers import Labels, Matcher
from sinks.desk.actions import OF_ALERT, OF_MATCHER, Action, Key, check
from sinks.desk.sites import Site

OPEN: Final = ("firing", "acknowledged", "in_progress", "reopened")
"""Statuses of alerts that somebody has to look after."""
STATUSES: Final = (*OPEN, "resolved", "stale", "closed")
SEVERITIES: Final = ("info", "warning", "critical")
"""From the least; a severity that is none of these ranks as the first."""


def rank(severity: str) -> int:
    """Place of a severity, from 0."""
    return SEVERITIES.index(severity) if severity in SEVERITIES else 0


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One line of an alert's history.

    Attributes:
        known_at: when the log knew, UTC ms.
        what: state (firing, resolved, stale) or kind of the action.
        severity: of a row of the engine.
        action: what a person did, without the photo; None for a row of the engine.
        offset: of the action in `alert.actions` (its photo can be read there), or of the input message.
        photo: whether it has one.
        overlapped: event ids of actions that its actor had not seen: two people acted at once.
        void: why it changes nothing, for instance a second `done` of the same order; empty: it counts.
    """

    known_at: int
    what: str
    severity: str = ""
    action: Action | None = None
    offset: int = -1
    photo: bool = False
    overlapped: tuple[str, ...] = ()
    void: str = ""

    @property
    def order(self) -> tuple[int, int, int]:
        """Sorts a history."""
        return self.known_at, self.action is not None, self.offset


@dataclasses.dataclass(slots=True)
class WorkOrder:
    """Work that somebody was asked to do about an alert.

    Attributes:
        id: event id of the action that made it.
        key: the alert.
        assignee: who has to.
        due_ms: by when, UTC.
        note: what was asked.
        by: who asked.
        known_at: when.
        done_by: who says that it is done; empty: nobody yet.
        done_note: what he says.
        done_at: when the log knew.
        photo_offset: where in `alert.actions` his photo is, -1: none.
        cancelled_by: who took it back; empty: nobody.
    """

    id: str
    key: Key
    assignee: str
    due_ms: int
    note: str
    by: str
    known_at: int
    done_by: str = ""
    done_note: str = ""
    done_at: int = 0
    photo_offset: int = -1
    cancelled_by: str = ""

    def status(self, alert: "Alert", now_ms: int) -> str:
        """cancelled, confirmed (done, and the data say so), done (the data do not yet), overdue, or open."""
        if self.cancelled_by:
            return "cancelled"
        if self.done_by:
            return "done" if alert.state == "firing" else "confirmed"
        return "overdue" if now_ms > self.due_ms else "open"


@dataclasses.dataclass(slots=True)
class Silence:
    """A silence or, with hours, a mute.

    Attributes:
        id: event id of the action that made it.
        kind: silence, mute.
        site: whose alerts; empty: of all sites.
        matcher: which of them.
        hours: when, local time; always where there are none.
        until_ms: its end; 0: none.
        by: who.
        comment: why.
        reason: why, as a code.
        known_at: since when.
        ended_at: when it was taken back; 0: it was not.
        ended_by: who took it back.
    """

    id: str
    kind: str
    site: str
    matcher: Matcher
    hours: Hours
    until_ms: int
    by: str
    comment: str
    reason: str
    known_at: int
    ended_at: int = 0
    ended_by: str = ""

    def active(self, now_ms: int) -> bool:
        """Whether it has not ended yet; a mute may still be outside of its hours."""
        return not self.ended_at and (not self.until_ms or now_ms < self.until_ms)

    def holds(self, labels: Labels, site: Site | None, now_ms: int) -> bool:
        """Whether it keeps an alert quiet now."""
        if not self.active(now_ms) or (self.site and self.site not in labels.get("site", ())):
            return False
        if self.hours.spans and (site is None or not self.hours.hold(now_ms, site.zone, site.calendar)):
            return False
        return self.matcher.holds(labels)


HOUR_MS: Final = 3_600_000


@dataclasses.dataclass(frozen=True, slots=True)
class Flow:
    """What a rule estimated when its alert fired: a leak, as far as it can be told then.

    Attributes:
        medium: what flows.
        unit: the smallest unit of it.
        per_hour: an hour of it.
        cost_per_day: the next 24 hours of it by the tariffs of each, 1/10000 yuan; None where one has no price.
    """

    medium: str
    unit: str
    per_hour: int
    cost_per_day: int | None


@dataclasses.dataclass(slots=True)
class Alert:
    """One episode, as the data and people have it.

    Attributes:
        key: site, rule, subject, episode.
        state: what the data say: firing, resolved, stale.
        severity: of the rule, the highest step so far.
        valid_at: since when the state holds, UTC ms.
        started_at: when the condition began.
        known_at: when the system knew of the last change of state or severity.
        since_known_at: when it knew of the first row.
        wasted: quantity by (medium, unit).
        cost: 1/10000 yuan, None where nothing that was wasted has a price.
        estimate: what its rule estimated when it fired or its severity rose last; None: it makes no estimate, or could
            not.
        parts: point → whether its last part is in `wasted`; points of which nothing is known yet are not here.
        history: everything that happened to it, in the order of the log's time.
        work_orders: id → order, in the order of their making.
    """

    key: Key
    state: str
    severity: str
    valid_at: int
    started_at: int
    known_at: int
    since_known_at: int = 0
    wasted: dict[tuple[str, str], int] = dataclasses.field(default_factory=dict)
    cost: int | None = None
    estimate: Flow | None = None
    parts: dict[int, bool] = dataclasses.field(default_factory=dict)
    history: list[Entry] = dataclasses.field(default_factory=list)
    work_orders: dict[str, WorkOrder] = dataclasses.field(default_factory=dict)

    @property
    def status(self) -> str:
        """One of `STATUSES`."""
        taken = ""
        for entry in self.history:
            if entry.action is None or entry.void:
                continue
            kind = entry.what
            if self.state == "firing":
                # What somebody did before the severity rose was about a lesser matter.
                fresh = entry.known_at >= self.known_at
                if kind in ("acknowledge", "start"):
                    taken = kind if fresh else taken
                elif kind == "reopen":
                    taken = ""
            elif kind == "close":
                taken = "close"
            elif entry.known_at >= self.known_at or taken == "close":
                if kind == "reopen":
                    taken = "reopen"
                elif taken in ("reopen", "acknowledge", "start") and kind in ("acknowledge", "start"):
                    taken = kind
        named = {"acknowledge": "acknowledged", "start": "in_progress", "close": "closed", "reopen": "reopened"}
        return named.get(taken, self.state)

    @property
    def open(self) -> bool:
        """Whether somebody has to look after it."""
        return self.status in OPEN

    @property
    def assignee(self) -> str:
        """Who has it; empty: nobody."""
        found = self._last("assign", "work_order")
        return found.action.assignee if found and found.action else ""

    @property
    def acknowledged_by(self) -> str:
        """Who acknowledged or began it last; empty: nobody."""
        found = self._last("acknowledge", "start") if self.status in ("acknowledged", "in_progress") else None
        return found.action.actor if found and found.action else ""

    @property
    def snoozed_until_ms(self) -> int:
        """Quiet until then, 0: not."""
        found = self._last("snooze", "reopen")
        return found.action.until_ms if found and found.action and found.what == "snooze" else 0

    @property
    def false_alarm(self) -> Entry | None:
        """Who said that the rule was wrong here, and why; None where nobody did, or it was taken back."""
        found = self._last("false_alarm", "true_alarm")
        return found if found and found.what == "false_alarm" else None

    @property
    def comments(self) -> list[Entry]:
        """What people wrote, in order."""
        return [entry for entry in self.history if entry.action and (entry.action.comment or entry.action.reason)]

    @property
    def seen(self) -> int:
        """Offset of the newest action: what `Action.seen` is to be for who sees this."""
        return max((entry.offset for entry in self.history if entry.action), default=-1)

    def _last(self, *kinds: str) -> Entry | None:
        return next((one for one in reversed(self.history) if one.action and one.what in kinds and not one.void), None)


class Projection:
    """Alerts and silences; give it the messages of `alerts` and `alert.actions`, each topic in its order.

    Args:
        sites: site → what its document says, for units, prices and labels.

    Attributes:
        alerts: every episode.
        silences: id → silence or mute.
        early: actions of alerts that have no row yet: the topics have no common order.
        early_parts: their rows of what is wasted.
        events: ids of all actions that were taken.
    """

    def __init__(self, sites: Mapping[str, Site]) -> None:
        self.sites = sites
        self.alerts: dict[Key, Alert] = {}
        self.silences: dict[str, Silence] = {}
        self.early: dict[Key, list[Entry]] = {}
        self.early_parts: dict[Key, list[Mapping[str, Any]]] = {}
        self.events: set[str] = set()

    def labels(self, alert: Alert) -> Labels:
        """What matchers and routes select an alert by."""
        site, rule, subject, episode = alert.key
        found = self.sites.get(site)
        named = {"episode": frozenset({str(episode)})}
        if found is None:
            texts = {"site": site, "rule": rule, "subject": subject, "severity": alert.severity}
            return {name: frozenset({value}) for name, value in texts.items()} | named
        return {**found.labels(rule, subject, alert.severity, alert.started_at), **named}

    def silenced_by(self, alert: Alert, now_ms: int) -> Silence | None:
        """The silence or mute that keeps an alert quiet now."""
        active = [silence for silence in self.silences.values() if silence.active(now_ms)]
        labels = self.labels(alert) if active else {}
        site = self.sites.get(alert.key[0])
        return next((silence for silence in active if silence.holds(labels, site, now_ms)), None)

    def quiet(self, alert: Alert, now_ms: int) -> bool:
        """Whether nobody is to be told of an alert now: silenced, muted or snoozed."""
        return now_ms < alert.snoozed_until_ms or self.silenced_by(alert, now_ms) is not None

    def whole(self, alert: Alert) -> bool:
        """Whether an alert has ended and the last part of every point that it wastes is known.

        Not while a site is still being bound: nothing can be said of which points these are.
        """
        if alert.state == "firing" or not all(alert.parts.values()):
            return False
        site = self.sites.get(alert.key[0])
        return site is None or (site.bound and site.wasted(alert.key[1], alert.key[2]) <= alert.parts.keys())

    def take_row(self, row: Mapping[str, Any]) -> Alert:
        """A row of `alert_rows`."""
        key = (row["site"], row["rule"], row["subject"], row["episode"])
        entry = Entry(row["known_at"], row["state"], row["severity"], offset=row["offset"])
        alert = self.alerts.get(key)
        if alert is None:
            started = row["started_at"]
            alert = Alert(key, "", row["severity"], row["valid_at"], started, row["known_at"], row["known_at"])
            self.alerts[key] = alert
            alert.history = self.early.pop(key, [])
        alert.state, alert.valid_at, alert.known_at = row["state"], row["valid_at"], row["known_at"]
        alert.severity = row["severity"]
        alert.estimate = self._flow(key, row) or alert.estimate
        bisect.insort(alert.history, entry, key=lambda one: one.order)
        if key in self.early_parts:
            for part in self.early_parts.pop(key):
                self.take_part(part)
        self.judge(alert)
        return alert

    def _flow(self, key: Key, row: Mapping[str, Any]) -> Flow | None:
        """The estimate of a row, with what a day of it costs."""
        per_hour = row.get("estimate", -1)
        site = self.sites.get(key[0])
        medium, unit = site.estimated(key[1], key[2]) if site and per_hour >= 0 else ("", "")
        if site is None or not unit:
            return None
        costs = [site.prices.cost(medium, row["valid_at"] + hour * HOUR_MS, per_hour) for hour in range(24)]
        known = [cost for cost in costs if cost is not None]
        return Flow(medium, unit, per_hour, sum(known) if len(known) == len(costs) else None)

    def take_part(self, row: Mapping[str, Any]) -> Alert | None:
        """A row of `episode_rows`; None where the alert has no row yet."""
        key = (row["site"], row["rule"], row["subject"], row["episode"])
        alert = self.alerts.get(key)
        if alert is None:
            self.early_parts.setdefault(key, []).append(row)
            return None
        site = self.sites.get(key[0])
        medium, unit = site.unit(row["point"]) if site else ("", "")
        alert.wasted[medium, unit] = alert.wasted.get((medium, unit), 0) + row["quantity"]
        alert.parts[row["point"]] = alert.parts.get(row["point"], False) or row["final"]
        paid = site.prices.cost(medium, row["from_ms"], row["quantity"]) if site and medium else None
        if paid is not None:
            alert.cost = (alert.cost or 0) + paid
        return alert

    def take_action(self, action: Action, offset: int, known_at: int) -> Alert | None:
        """An action; the alert that it is about, None where it is about none that is known yet."""
        if action.event_id in self.events:
            return None  # written twice because the first answer was lost
        self.events.add(action.event_id)
        if action.kind not in OF_ALERT:
            self._take_silence(action, known_at)
            return None
        entry = Entry(
            known_at,
            action.kind,
            action=dataclasses.replace(action, photo=b"") if action.photo else action,
            offset=offset,
            photo=bool(action.photo),
        )
        alert = self.alerts.get(action.key)
        history = self.early.setdefault(action.key, []) if alert is None else alert.history
        bisect.insort(history, entry, key=lambda one: one.order)
        if alert is not None:
            self.judge(alert)
        return alert

    def check(self, action: Action, now_ms: int) -> None:
        """Checks an action against what is known; to be called before it is written.

        Raises:
            ActionError: it is wrong by itself, or there is no such alert, order or silence, or nothing to do.
        """
        check(action, now_ms)
        if action.kind in OF_MATCHER:
            return
        if action.kind == "unsilence":
            silence = self.silences.get(action.refers)
            if silence is None or not silence.active(now_ms):
                raise ActionError(f"there is no silence {action.refers!r} that holds")
            return
        alert = self.alerts.get(action.key)
        if alert is None:
            raise ActionError(f"there is no alert {'/'.join(map(str, action.key))}")
        if action.kind in ("acknowledge", "start", "snooze") and not alert.open:
            raise ActionError(f"the alert is {alert.status} already; reopen it if the data are wrong")
        if action.kind == "reopen" and alert.status in ("firing", "reopened"):
            raise ActionError("the alert is open")
        if action.kind == "close" and alert.status == "closed":
            raise ActionError("the alert is closed already")
        if action.kind in ("work_done", "work_cancelled"):
            order = alert.work_orders.get(action.refers)
            if order is None or order.cancelled_by or order.done_by:
                raise ActionError(f"there is no work order {action.refers!r} of this alert that is open")

    def _take_silence(self, action: Action, known_at: int) -> None:
        if action.kind == "unsilence":
            silence = self.silences.get(action.refers)
            if silence is not None and not silence.ended_at:
                silence.ended_at, silence.ended_by = known_at, action.actor
            return
        try:
            matcher, hours = Matcher.parse(action.matcher), Hours.parse(action.hours)
        except ActionError:
            return  # not written by `ActionWriter`; a silence that nobody can read silences nothing
        self.silences[action.event_id] = Silence(
            action.event_id, action.kind, action.site, matcher, hours, action.until_ms, action.actor, action.comment,
            action.reason, known_at,
        )  # fmt: skip

    @staticmethod
    def judge(alert: Alert) -> None:
        """Marks what overlaps and what counts for nothing, and makes the work orders, from the history."""
        orders: dict[str, WorkOrder] = {}
        seen: list[Entry] = []
        for index, entry in enumerate(alert.history):
            action = entry.action
            if action is None:
                continue
            overlapped = tuple(one.action.event_id for one in seen if one.action and one.offset > action.seen)
            void = _take_order(alert, orders, entry, action)
            if (overlapped, void) != (entry.overlapped, entry.void):
                alert.history[index] = dataclasses.replace(entry, overlapped=overlapped, void=void)
            seen.append(entry)
        alert.work_orders = orders


def _take_order(alert: Alert, orders: dict[str, WorkOrder], entry: Entry, action: Action) -> str:
    """Applies an action to the work orders; why it changes nothing, or an empty text."""
    if action.kind == "work_order":
        orders[action.event_id] = WorkOrder(
            action.event_id, alert.key, action.assignee, action.until_ms, action.comment, action.actor, entry.known_at
        )
    if action.kind not in ("work_done", "work_cancelled"):
        return ""
    order = orders.get(action.refers)
    if order is None:
        return "no such work order"
    if order.cancelled_by or order.done_by:
        return f"{order.cancelled_by or order.done_by} was first"
    if action.kind == "work_cancelled":
        order.cancelled_by = action.actor
    else:
        order.done_by, order.done_at = action.actor, entry.known_at
        order.done_note = action.comment or action.reason
        order.photo_offset = entry.offset if entry.photo else -1
    return ""
