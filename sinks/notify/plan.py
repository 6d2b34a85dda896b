"""Which steps of an alert are to be told, to whom: a function of the desk, of what was told already, and of the time.

| step | when |
|---|---|
| firing:SEVERITY | it burns and nobody has taken it; again when the severity rises |
| escalate:SEVERITY:N | so long after that nobody has acknowledged it |
| remind:N | every `remind` of its rule, while it burns and nobody works on it |
| assign:ACTION | somebody was given the alert or a work order |
| overdue:ORDER | a work order is late |
| reopened:ACTION | a person says that it is not over |
| resolved | it is over, to everybody who was told of it |
| list:DAY | at the time of the list, what was too small to be told at once |
| confirm:DAY | what of the list the data have confirmed since |

The id of a notice follows from alert, route, target and step: deciding twice is telling once.
"""

import dataclasses
import datetime as dt
from collections.abc import Iterable, Iterator, Mapping

from schemas.codec import Json
from schemas.rules.format import parse_duration
from sinks.desk.actions import Key
from sinks.desk.projection import Alert, Entry, Projection, rank
from sinks.desk.sites import Site
from sinks.notify.records import NOBODY, Notice, name_of
from sinks.notify.routes import Route, Target, fitting, named, routes_of


@dataclasses.dataclass(frozen=True, slots=True)
class Told:
    """Somebody who was told that an alert burns: of him it is also told when it is over."""

    route: str
    target: Target


class Planner:
    """Decides for alerts one by one; remembers which rows and actions of each it has looked at.

    Args:
        projection: alerts and silences.
        known: id of a notice → when it was decided. The caller adds what `look` returns before the next call.
        told: alert → who was told that it burns; the caller keeps it as well.
    """

    def __init__(self, projection: Projection, known: Mapping[str, int], told: Mapping[Key, Iterable[Told]]) -> None:
        self._projection = projection
        self._known = known
        self._told = told
        self._seen: dict[Key, int] = {}
        self._routes: dict[str, tuple[int, list[Route]]] = {}

    def skip(self) -> None:
        """Takes everything that the projection has by now for looked at: it was, by the notifier before this one."""
        for key, alert in self._projection.alerts.items():
            self._seen[key] = len(alert.history)

    def forget_routes(self) -> None:
        """Reads the routes anew: the model has changed."""
        self._routes.clear()

    def look(self, alert: Alert, now_ms: int) -> tuple[list[Notice], int | None]:
        """What is to be told of an alert now.

        Returns:
            (the notices that are not known yet, when to look again; None: when it changes)
        """
        site = self._projection.sites.get(alert.key[0])
        if site is None:
            return [], None  # its document comes, and then the whole desk is looked at
        fresh = alert.history[self._seen.get(alert.key, 0) :]
        self._seen[alert.key] = len(alert.history)
        look = _Look(alert, site, now_ms, self._known)
        told = list(self._told.get(alert.key, ()))
        if alert.state != "firing" and alert.status != "reopened" and not fresh and not told:
            return [], None
        if self._projection.quiet(alert, now_ms):
            look.wake(alert.snoozed_until_ms)
        else:
            self._look_at_routes(look, fresh)
        if alert.state != "firing":
            told += [one for one in map(told_of, look.found) if one is not None and one not in told]
            look.resolved(told, {route.id: route for route in self._site_routes(site, now_ms)})
        return look.found, look.next_ms

    def lists(self, now_ms: int) -> list[Notice]:
        """The lists that are due: of each site and route, once a day, at its time or as soon after it as may be."""
        found: list[Notice] = []
        for name, site in self._projection.sites.items():
            for route in self._site_routes(site, now_ms):
                if route.list_at_min is not None:
                    found += self._list(name, site, route, now_ms)
        return found

    def _list(self, name: str, site: Site, route: Route, now_ms: int) -> Iterator[Notice]:
        assert route.list_at_min is not None
        local = dt.datetime.fromtimestamp(now_ms / 1000, site.zone)
        day = local.date().isoformat()
        minute = local.hour * 60 + local.minute
        marker = name_of("list", name, route.id, day)
        if minute < route.list_at_min:
            return
        if marker not in self._known:
            yield _mark(marker, name, route, "list", day, now_ms)
            for alert in self._small(name, site, route, now_ms):
                look = _Look(alert, site, now_ms, self._known)
                for target in route.targets:
                    look.tell(route, target, f"list:{day}", group=f"list/{name}/{route.id}/{day}")
                yield from look.found
            return
        done = name_of("confirm", name, route.id, day)
        if done in self._known or now_ms < self._known[marker] + route.confirm_after_ms:
            return
        yield _mark(done, name, route, "confirm", day, now_ms)
        for alert in list(self._projection.alerts.values()):
            look = _Look(alert, site, now_ms, self._known)
            for target in route.targets:
                if alert.key[0] == name and look.id(route.id, target, f"list:{day}") in self._known:
                    look.tell(route, target, f"confirm:{day}", group=f"confirm/{name}/{route.id}/{day}")
            yield from look.found

    def _small(self, name: str, site: Site, route: Route, now_ms: int) -> Iterator[Alert]:
        """Alerts that burn, go this way, and have cost too little to be told at once."""
        for alert in self._projection.alerts.values():
            if alert.key[0] != name or alert.state != "firing" or self._projection.quiet(alert, now_ms):
                continue
            labels = self._projection.labels(alert)
            ways = fitting(self._site_routes(site, now_ms), labels, alert.severity, site, now_ms)
            if any(way.id == route.id for way in ways) and _is_small(alert, route):
                yield alert

    def _site_routes(self, site: Site, now_ms: int) -> list[Route]:
        minute = now_ms // 60_000
        found = self._routes.get(site.document.site)
        if found is None or found[0] != minute:  # rows begin and end with a day
            found = self._routes[site.document.site] = minute, routes_of(site, now_ms)
        return found[1]

    def _look_at_routes(self, look: "_Look", fresh: list[Entry]) -> None:
        alert, site, now_ms = look.alert, look.site, look.now_ms
        fired = [entry.severity for entry in fresh if entry.what == "firing" and entry.action is None]
        severity = max([*fired, *([alert.severity] if alert.state == "firing" else [])], key=rank, default="")
        labels = self._projection.labels(alert)
        for route in fitting(self._site_routes(site, now_ms), labels, severity or alert.severity, site, now_ms):
            small = _is_small(alert, route)
            group, every_ms = _group(route, labels, alert)
            look.group, look.every_ms = group, every_ms
            # What burned and ended while nobody looked is told as well; what somebody has taken meanwhile is not.
            untaken = alert.status == "firing" or (alert.state != "firing" and fired)
            if untaken and severity and not small:
                for target in route.targets:
                    look.tell(route, target, f"firing:{severity}", wait_ms=route.wait_ms, severity=severity)
            self._by_people(look, route, fresh)
            if alert.open:
                look.by_time(route, severity or alert.severity)

    @staticmethod
    def _by_people(look: "_Look", route: Route, fresh: list[Entry]) -> None:
        """What people did that another has to know."""
        channels = dict.fromkeys(target.channel for target in route.targets)
        for entry in fresh:
            action = entry.action
            if action is None or entry.void or not look.alert.open:
                continue
            if action.kind in ("assign", "work_order"):
                for channel in channels:
                    target = Target(channel, channel, action.assignee)
                    look.tell(route, target, f"assign:{action.event_id}", alone=True, people=(action.assignee,))
            elif action.kind == "reopen" and look.alert.status == "reopened":
                for target in route.targets:
                    look.tell(route, target, f"reopened:{action.event_id}", alone=True)
        for order in look.alert.work_orders.values():
            status = order.status(look.alert, look.now_ms)
            if status == "overdue":
                for channel in channels:
                    target = Target(channel, channel, order.assignee)
                    look.tell(route, target, f"overdue:{order.id}", alone=True, people=(order.assignee,))
            elif status == "open":
                look.wake(order.due_ms + 1)


class _Look:
    """One alert at one time: what is to be told, and when to look again."""

    def __init__(self, alert: Alert, site: Site, now_ms: int, known: Mapping[str, int]) -> None:
        self.alert = alert
        self.site = site
        self.now_ms = now_ms
        self.found: list[Notice] = []
        self.next_ms: int | None = None
        self.group = ""
        self.every_ms = 0
        self._known = known

    def id(self, route: str, target: Target, step: str) -> str:
        """The id of a notice."""
        return name_of(*self.alert.key, route, target.text, step)

    def wake(self, at_ms: int) -> None:
        """Asks to be looked at again."""
        if at_ms > self.now_ms and (self.next_ms is None or at_ms < self.next_ms):
            self.next_ms = at_ms

    def tell(
        self,
        route: Route,
        target: Target,
        step: str,
        *,
        wait_ms: int = 0,
        severity: str = "",
        alone: bool = False,
        group: str = "",
        people: tuple[str, ...] = (),
    ) -> None:
        """Adds a notice, unless it is known."""
        id_ = self.id(route.id, target, step)
        if id_ in self._known or any(one.id == id_ for one in self.found):
            return
        who = people or tuple(named(self.site, target.who, self.now_ms))
        urgent = (severity or self.alert.severity) == "critical" or alone
        own = group or (f"{self.group}/{target.text}" if self.group and not alone else f"{id_}")
        self.found.append(
            Notice(
                id_, self.now_ms, *self.alert.key, step, severity or self.alert.severity, route.id, target.text,
                target.channel, who, route.language, own, self.now_ms + wait_ms,
                0 if urgent or group else self.every_ms,
            )
        )  # fmt: skip

    def by_time(self, route: Route, severity: str) -> None:
        """Escalations and reminders, which count from when the alert was told."""
        if not route.targets:
            return
        told = self.id(route.id, route.targets[0], f"firing:{severity}")
        since = self.now_ms if any(one.id == told for one in self.found) else self._known.get(told)
        if since is None:
            return
        if self.alert.status in ("firing", "reopened"):
            for number, escalation in enumerate(route.escalations, 1):
                if self.now_ms >= since + escalation.after_ms:
                    self.tell(route, escalation.target, f"escalate:{severity}:{number}", alone=True)
                else:
                    self.wake(since + escalation.after_ms)
        remind_ms = _remind_ms(self.site.rules.get(self.alert.key[1], {}))
        if remind_ms and self.alert.state == "firing" and self.alert.status != "in_progress":
            number = (self.now_ms - since) // remind_ms
            if number > 0:
                for target in route.targets:
                    self.tell(route, target, f"remind:{number}")
            self.wake(since + (number + 1) * remind_ms)

    def resolved(self, told: Iterable[Told], routes: Mapping[str, Route]) -> None:
        """The end of an alert, to everybody who was told of its beginning."""
        for one in told:
            route = routes.get(one.route)
            if route is not None and route.resolved:
                labels = self.site.labels(*self.alert.key[1:3], self.alert.severity, self.alert.started_at)
                self.group, self.every_ms = _group(route, labels, self.alert)
                # What ends at the same time as many others waits a little for them.
                self.tell(route, one.target, "resolved", wait_ms=max(route.wait_ms, 2000) if self.every_ms else 0)


def told_of(notice: Notice) -> Told | None:
    """Who is to be told of the end because he was told of the beginning; None: that is not what a notice says."""
    if notice.kind not in ("firing", "escalate", "reopened"):
        return None
    return Told(notice.route, Target.parse(notice.target))


def _is_small(alert: Alert, route: Route) -> bool:
    return route.below is not None and alert.severity != "critical" and (alert.cost or 0) < route.below


def _group(route: Route, labels: Mapping[str, frozenset[str]], alert: Alert) -> tuple[str, int]:
    """(group of an alert on a route, how long it waits between two messages).

    Without `group_by` the alerts of one rule and gateway are one: they have one cause. Every other alert is alone, and
    never waits for the message before it.
    """
    if route.group_by:
        values = ["+".join(sorted(labels.get(label, ()))) for label in route.group_by]
        return "/".join((alert.key[0], route.id, *values)), route.every_ms
    gateway = "+".join(sorted(labels.get("gateway", ())))
    if gateway:
        return f"{alert.key[0]}/{route.id}/{alert.key[1]}/{gateway}", route.every_ms
    return "/".join((alert.key[0], route.id, *map(str, alert.key[1:]))), 0


def _remind_ms(rule: Mapping[str, Json]) -> int:
    written = rule.get("remind")
    if isinstance(written, int):
        return written
    try:
        return parse_duration(str(written)) if written else 0
    except ValueError:
        return 0


def _mark(id_: str, site: str, route: Route, kind: str, day: str, now_ms: int) -> Notice:
    """Says that a list was made, also where it is empty; nobody is sent it."""
    _, rule, subject, episode = NOBODY
    step = f"{kind}:{day}"
    return Notice(
        id_, now_ms, site, rule, subject, episode, step, "", route.id, "", "", (), route.language, "", now_ms, 0
    )
