"""What a message says, in Chinese and English: what, where, since when, what it has cost, what to do.

Whatever a device or a person has set goes through `clean.safe`; a user's text never begins a line.
"""

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

from sinks.desk.actions import Key
from sinks.desk.projection import Alert, Projection, rank
from sinks.desk.sites import Language, Names, Site
from sinks.notify.clean import cut, plain, safe
from sinks.notify.records import Notice

_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "info": ("提示", "info"),
    "warning": ("警告", "warning"),
    "critical": ("严重", "CRITICAL"),
    "firing": ("告警", "alert"),
    "resolved": ("已恢复", "resolved"),
    "stale": ("数据中断，告警结束", "ended, no data"),
    "escalate": ("无人处理，升级", "nobody took it"),
    "remind": ("仍未恢复", "still on"),
    "assign": ("已指派给你", "assigned to you"),
    "overdue": ("工单逾期", "work order overdue"),
    "reopened": ("重新打开", "reopened"),
    "since": ("自 {0} 起", "since {0}"),
    "from to": ("{0}–{1}，历时 {2}", "{0}–{1}, {2}"),
    "wasted": ("已浪费 {0}", "wasted {0}"),
    "cost": ("约 {0} 元", "about {0} yuan"),
    "flow": ("估计流量 {0}/h", "about {0}/h"),
    "a day": ("每天约 {0} 元", "about {0} yuan a day"),
    "so far": ("{0}（数据未到齐，截至目前）", "{0} so far"),
    "not in yet": ("用量数据未到齐", "usage not known yet"),
    "to do": ("处理：{0}", "to do: {0}"),
    "more": ("另有 {0} 条", "and {0} more"),
    "alerts": ("{0} 条告警", "{0} alerts"),
    "ended": ("{0} 条恢复", "{0} resolved"),
    "gateway": ("网关 {0}", "gateway {0}"),
    "list": ("巡查清单：{0} 处，{1}", "walk round: {0} places, {1}"),
    "list to do": ("请按顺序关闭；数据会逐处确认。", "Please switch them off in this order; the data confirm each."),
    "confirm": ("巡查结果：{0} 处中 {1} 处数据已确认", "walk round: {1} of {0} confirmed by the data"),
    "still": ("仍未关闭：", "still on:"),
    "sensitive": ("需要处理", "needs attention"),
    "channel down": ("通知渠道 {0} 不可用，消息改由本渠道发送", "channel {0} is down; its messages come here"),
    "channel back": ("通知渠道 {0} 已恢复", "channel {0} works again"),
    "repeat": ("可能重复", "may be a repeat"),
    "by": ("由 {0}", "by {0}"),
    "minutes": ("{0} 分钟", "{0} min"),
    "hours": ("{0} 小时 {1} 分", "{0} h {1} min"),
    "days": ("{0} 天 {1} 小时", "{0} d {1} h"),
    "; ": ("，", ", "),
    ": ": ("：", ": "),
}
LANGUAGES: Final[tuple[Language, ...]] = ("zh", "en")
_SCALES: Final = {"Wh": (1000, "kWh"), "mL": (1000, "L"), "g": (1000, "kg"), "m": (1000, "km")}
_LINES_BYTES: Final = 120
"""Kept free for the id and a remark at the end."""


class Wording:
    """Writes messages about the alerts of a desk.

    Args:
        projection: the alerts.
        names: of rules and subjects.
        link: address of the console; empty: no links.
    """

    def __init__(self, projection: Projection, names: Names, link: str = "") -> None:
        self._projection = projection
        self._names = names
        self._link = link.rstrip("/")

    def write(self, notices: Sequence[Notice], bytes_max: int) -> tuple[str, str]:
        """(title, text) of a message about notices; the text has at most so many bytes in UTF-8."""
        language = notices[0].language
        room = bytes_max - _LINES_BYTES
        if notices[0].kind == "channel":
            lines = [_channel(notice) for notice in notices]
        elif {notice.kind for notice in notices} == {"list"}:
            lines = self._list(notices, language, room)
        elif {notice.kind for notice in notices} == {"confirm"}:
            lines = self._confirm(notices, language, room)
        else:
            last: dict[Key, Notice] = {}
            for notice in notices:
                if notice.key not in last or not _said(last[notice.key].kind, notice.kind):
                    last.pop(notice.key, None)
                    last[notice.key] = notice
            kept = list(last.values())
            lines = self._one(kept[0]) if len(kept) == 1 else self._digest(kept, language, room)
        return plain(lines[0], 120), cut("\n".join(filter(None, lines)), bytes_max)

    def _one(self, notice: Notice) -> list[str]:
        language, alert = notice.language, self._projection.alerts.get(notice.key)
        where, what = self.where(notice.key, language), self.what(notice.key, language)
        head = say(notice.kind if notice.kind != "firing" else notice.severity, language)
        ended = alert is not None and alert.state != "firing" and notice.kind == "resolved"
        if alert is not None and ended:
            head = say(alert.state, language)
        lines = [f"{head} · {where}{say(': ', language)}{what}"]
        if alert is None:
            return lines
        site = self._projection.sites.get(notice.site)
        when = "" if self.sensitive(notice.key) else _when(alert, site, language, ended)
        lines.append(say("; ", language).join(filter(None, [when, self._spent(alert, language)])))
        if not ended and not self.sensitive(notice.key):
            lines.append(flow(alert, language))
        action = self._names.action(notice.site, notice.rule, language)
        if not ended and action:
            lines.append(say("to do", language, safe(action)))
        note = self._note(notice, alert)
        if note:
            lines.append("· " + note)
        if self._link:
            lines.append(self.link(notice.key))
        return lines

    def _note(self, notice: Notice, alert: Alert) -> str:
        """What the person wrote whose action this is about."""
        _, _, event = notice.step.partition(":")
        for entry in alert.history:
            if entry.action is not None and entry.action.event_id == event:
                said = [say("by", notice.language, safe(entry.action.actor, 40)), safe(entry.action.comment)]
                return say(": ", notice.language).join(filter(None, said))
        return ""

    def _digest(self, notices: Sequence[Notice], language: Language, room: int) -> list[str]:
        ended = [notice for notice in notices if notice.kind == "resolved"]
        burning = sorted(
            (notice for notice in notices if notice.kind != "resolved"),
            key=lambda notice: (-rank(notice.severity), -(self._cost(notice.key) or 0), notice.key),
        )
        counts = [say("alerts", language, len(burning))] if burning else []
        counts += [say("ended", language, len(ended))] if ended else []
        head = say("; ", language).join(counts)
        gateways = {self._gateway(notice) for notice in notices}
        rules = {notice.rule for notice in notices}
        sites = {notice.site for notice in notices}
        about = [safe(self._names.site(site, language)) for site in sorted(sites)[:3]]
        if len(gateways) == 1 and "" not in gateways:
            about.append(say("gateway", language, safe(self._names.subject(notices[0].site, gateways.pop(), language))))
        if len(rules) == 1:
            about.append(self.what(notices[0].key, language))
        lines = [f"{say('; ', language).join(about)}{say(': ', language)}{head}"]
        return self._filled(lines, [self._line(notice) for notice in (*burning, *ended)], language, room)

    def _line(self, notice: Notice) -> str:
        language, alert = notice.language, self._projection.alerts.get(notice.key)
        kind = notice.severity if notice.kind in ("firing", "list", "confirm") else notice.kind
        spent_ = self._spent(alert, language) if alert is not None else ""
        parts = [f"{say(kind, language)} {self.where(notice.key, language)}", self.what(notice.key, language), spent_]
        return "· " + say("; ", language).join(filter(None, parts))

    def _spent(self, alert: Alert, language: Language) -> str:
        """As `spent`; of an alert that has ended it is said where that is not all."""
        said = spent(alert, language)
        if alert.state == "firing" or self._projection.whole(alert):
            return said
        return say("so far", language, said) if said else say("not in yet", language)

    def _filled(self, lines: list[str], more: Sequence[str], language: Language, room: int) -> list[str]:
        """Adds lines while there is room, then says how many there are more."""
        room -= sum(len(line.encode()) + 1 for line in lines) + 80 + len(self._link)
        for number, line in enumerate(more):
            room -= len(line.encode()) + 1
            if room < 0 or number >= 200:
                lines.append(say("more", language, len(more) - number))
                break
            lines.append(line)
        if self._link:
            lines.append(self._link)
        return lines

    def _list(self, notices: Sequence[Notice], language: Language, room: int) -> list[str]:
        ordered = sorted(notices, key=lambda notice: self.walk(notice.key))
        cost = sum(self._cost(notice.key) or 0 for notice in ordered)
        money = say("cost", language, f"{cost / 10_000:,.2f}")
        lines = [say("list", language, len(ordered), money), say("list to do", language)]
        rows = [
            f"{number}. {self.where(notice.key, language)}{say(': ', language)}{self.what(notice.key, language)}"
            for number, notice in enumerate(ordered, 1)
        ]
        return self._filled(lines, rows, language, room)

    def _confirm(self, notices: Sequence[Notice], language: Language, room: int) -> list[str]:
        ordered = sorted(notices, key=lambda notice: self.walk(notice.key))
        alerts = self._projection.alerts
        left = [one for one in ordered if (alert := alerts.get(one.key)) is not None and alert.state == "firing"]
        lines = [say("confirm", language, len(ordered), len(ordered) - len(left))]
        if not left:
            return lines
        return self._filled([*lines, say("still", language)], [self._line(notice) for notice in left], language, room)

    def where(self, key: Key, language: Language) -> str:
        """Where something is, from the building to the room."""
        site = self._projection.sites.get(key[0])
        own = safe(self._names.subject(key[0], key[2], language), 80)
        if site is None:
            return own
        around = [space for space in reversed(site.spaces(key[2])) if space != key[2]]
        named = [
            safe(site.name("building" if space in site.rows("building") else "space", space, language), 40)
            for space in around
        ]
        return " ".join([*named, own])

    def what(self, key: Key, language: Language) -> str:
        """What has happened; of a sensitive room only that something has."""
        if self.sensitive(key):
            return say("sensitive", language)
        return safe(self._names.rule(key[0], key[1], language))

    def walk(self, key: Key) -> tuple[tuple[tuple[int, str], ...], ...]:
        """Sorts rooms as one walks: building, floor, room, by their ids with the numbers in them as numbers."""
        site = self._projection.sites.get(key[0])
        around = list(reversed(site.spaces(key[2]))) if site else []
        return tuple(_natural(place) for place in (key[0], *around, key[2]))

    def link(self, key: Key) -> str:
        """Address of an alert in the console."""
        return f"{self._link}/alert?" + urlencode(
            dict(zip(("site", "rule", "subject", "episode"), key, strict=True)), errors="replace"
        )

    def sensitive(self, key: Key) -> bool:
        """Whether a room is one of which only sums are shown, never when somebody was there."""
        site = self._projection.sites.get(key[0])
        return site is not None and any(
            site.row("space", space).get("sensitivity") == "sensitive" for space in site.spaces(key[2])
        )

    def _gateway(self, notice: Notice) -> str:
        alert = self._projection.alerts.get(notice.key)
        return "+".join(sorted(self._projection.labels(alert).get("gateway", ()))) if alert else ""

    def _cost(self, key: Key) -> int | None:
        alert = self._projection.alerts.get(key)
        return alert.cost if alert else None


def say(word: str, language: Language, *values: object) -> str:
    """A text of the catalogue; a word that it does not have is said as it is."""
    return _WORDS.get(word, (word, word))[0 if language == "zh" else 1].format(*values)


def spent(alert: Alert, language: Language) -> str:
    """What was wasted and what it costs: 已浪费 12.40 kWh，约 9.20 元."""
    parts = []
    for (_, unit), quantity in sorted(alert.wasted.items()):
        scale, shown = _SCALES.get(unit, (1, unit))
        if quantity and shown:
            parts.append(f"{quantity / scale:,.2f} {safe(shown)}")
    said = [say("wasted", language, "、".join(parts) if language == "zh" else ", ".join(parts))] if parts else []
    if alert.cost is not None:
        said.append(say("cost", language, f"{alert.cost / 10_000:,.2f}"))
    return say("; ", language).join(said)


def flow(alert: Alert, language: Language) -> str:
    """What runs away and what a day of it costs: 估计流量 18.0 L/h，每天约 1.77 元; empty where that is not known."""
    if alert.estimate is None:
        return ""
    scale, shown = _SCALES.get(alert.estimate.unit, (1, alert.estimate.unit))
    said = [say("flow", language, f"{alert.estimate.per_hour / scale:,.1f} {safe(shown)}")]
    if alert.estimate.cost_per_day is not None:
        said.append(say("a day", language, f"{alert.estimate.cost_per_day / 10_000:,.2f}"))
    return say("; ", language).join(said)


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]{1,18})", name))


def _said(before: str, after: str) -> bool:
    """Whether the later of two notices of one alert says less than the earlier one."""
    return before == "resolved" and after != "resolved"


def _channel(notice: Notice) -> str:
    """Of the notifier itself, which has no language."""
    _, name, state = (*notice.step.split(":"), "", "")[:3]
    return " / ".join(say(f"channel {state}", language, safe(name, 60)) for language in LANGUAGES)


def _when(alert: Alert, site: Site | None, language: Language, ended: bool) -> str:
    zone = site.zone if site else dt.UTC
    start = dt.datetime.fromtimestamp(alert.started_at / 1000, zone)
    if not ended:
        return say("since", language, f"{start:%m-%d %H:%M}")
    end = dt.datetime.fromtimestamp(alert.valid_at / 1000, zone)
    shown = f"{end:%H:%M}" if end.date() == start.date() else f"{end:%m-%d %H:%M}"
    return say("from to", language, f"{start:%m-%d %H:%M}", shown, _lasted(alert.valid_at - alert.started_at, language))


def _lasted(time_ms: int, language: Language) -> str:
    minutes = max(0, time_ms) // 60_000
    if minutes < 60:
        return say("minutes", language, minutes)
    if minutes < 1440:
        return say("hours", language, minutes // 60, minutes % 60)
    return say("days", language, minutes // 1440, minutes % 1440 // 60)
