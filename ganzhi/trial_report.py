"""A back-test as figures: for programs and for people."""

import datetime as dt
import zoneinfo
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ganzhi.cli.texts import text
from ganzhi.trial import iso
from replay.backtest import Backtest, Span
from replay.episodes import HOUR_MS, Episode
from schemas.model.document import Document
from schemas.prices import MONEY_PER_YUAN

NOISIEST_MAX: Final = 10
SHOWN_MAX: Final = 30
TEXTUAL: Final = ("rule", "where", "since", "state")
_LARGE: Final = {"Wh": ("kWh", 1000), "mL": ("m3", 1_000_000), "g": ("kg", 1000)}
_SMALL: Final = 10
"""Less than so many have two decimals."""


class Places:
    """In which room a subject is.

    Args:
        documents: by site.
    """

    def __init__(self, documents: Mapping[str, Document]) -> None:
        self._space: dict[tuple[str, str], str] = {}
        self.zones: dict[str, zoneinfo.ZoneInfo] = {}
        self._kinds: dict[tuple[str, str], str] = {}
        for site, document in documents.items():
            self.zones[site] = zoneinfo.ZoneInfo(str((document.table("sites").get("time_zone") or ["UTC"])[0]))
            for table in ("points", "equips", "stations", "spaces"):
                columns = document.table(table)
                self._kinds |= {(site, str(name)): table for name in columns.get("id", [])}
                ids = columns.get("id", [])
                for name, space in zip(ids, columns.get("space", [None] * len(ids)), strict=True):
                    self._space[site, str(name)] = str(space or "")

    def room(self, site: str, subject: str) -> str:
        """The space of a subject; the subject itself where it is a space, or stands in none."""
        return self._space.get((site, subject)) or subject

    def page(self, site: str, subject: str) -> tuple[str, str] | None:
        """Path and id of the console's page about a subject: its room, or the point itself; None: there is none."""
        room = self.room(site, subject)
        if self._kinds.get((site, room)) == "spaces":
            return "/space", room
        return ("/point", subject) if self._kinds.get((site, subject)) == "points" else None

    def clock(self, site: str, time_ms: int) -> str:
        """A time as people of a site read it."""
        return dt.datetime.fromtimestamp(time_ms / 1000, self.zones[site]).strftime("%Y-%m-%d %H:%M")

    def span(self, span: Span) -> str:
        """A span by the clock of its sites; in UTC where they have several."""
        zones = set(self.zones.values())
        zone: dt.tzinfo = zones.pop() if len(zones) == 1 else dt.UTC
        times = (dt.datetime.fromtimestamp(ms / 1000, zone) for ms in (span.from_ms, span.to_ms))
        return " – ".join(f"{time:%Y-%m-%d %H:%M}" for time in times) + f" ({zone})"

    def day(self, site: str, time_ms: int) -> str:
        """The local day of a time."""
        return dt.datetime.fromtimestamp(time_ms / 1000, self.zones[site]).date().isoformat()


class Totals:
    """Sums over episodes.

    Attributes:
        episodes: how many.
        alerts: those that fired within the span.
        hours: how long they lasted within the span.
        waste: by medium and unit.
        cost_yuan: of those that have a price; None: none has.
    """

    def __init__(self, episodes: Iterable[Episode], span: Span) -> None:
        self.episodes = self.alerts = 0
        milliseconds = 0
        money: int | None = None
        waste: Counter[tuple[str, str]] = Counter()
        for one in episodes:
            self.episodes += 1
            self.alerts += span.from_ms <= one.fired_ms < span.to_ms
            milliseconds += min(one.end_by(span.to_ms), span.to_ms) - max(one.started_ms, span.from_ms)
            waste.update(one.waste(span.from_ms, span.to_ms))
            cost = one.cost(span.from_ms, span.to_ms)
            money = money if cost is None else (money or 0) + cost
        self.hours = milliseconds / HOUR_MS
        self.waste = dict(sorted(waste.items()))
        self.cost_yuan = None if money is None else money / MONEY_PER_YUAN

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "episodes": self.episodes,
            "alerts": self.alerts,
            "hours": round(self.hours, 4),
            "waste": _waste(self.waste),
            "cost_yuan": self.cost_yuan,
        }


def _waste(waste: Mapping[tuple[str, str], int]) -> list[dict[str, Any]]:
    return [{"medium": medium, "unit": unit, "quantity": quantity} for (medium, unit), quantity in waste.items()]


def episode_as_dict(one: Episode, span: Span, places: Places) -> dict[str, Any]:
    """An episode for programs: its whole length, and what it wasted within the span."""
    cost = one.cost(span.from_ms, span.to_ms)
    return {
        "site": one.site,
        "rule": one.rule,
        "subject": one.subject,
        "room": places.room(one.site, one.subject),
        "severity": one.severity,
        "state": one.state,
        "start": iso(one.started_ms),
        "fired": iso(one.fired_ms),
        "end": None if one.ended_ms is None else iso(one.ended_ms),
        "minutes": round((one.end_by(span.to_ms) - one.started_ms) / 60_000, 3),
        "waste": _waste(one.waste(span.from_ms, span.to_ms)),
        "cost_yuan": None if cost is None else cost / MONEY_PER_YUAN,
    }


def backtest_as_dict(result: Backtest) -> dict[str, Any]:
    """A back-test for programs."""
    span, places = result.span, Places(result.documents)
    alerts = result.alerts()
    rules, rooms = defaultdict(list), defaultdict(list)
    for one in result.episodes:
        rules[one.rule].append(one)
        rooms[one.site, places.room(one.site, one.subject)].append(one)
    names = sorted({rule for document in result.documents.values() for rule in rule_names(document)})
    by_room = {room: Totals(found, span) for room, found in sorted(rooms.items())}
    days = Counter(places.day(one.site, one.fired_ms) for one in alerts)
    noisiest = sorted(by_room.items(), key=lambda item: (-item[1].alerts, item[0]))[:NOISIEST_MAX]
    return {
        "from": iso(span.from_ms),
        "to": iso(span.to_ms),
        "order": "event_time",
        "sites": sorted(result.documents),
        "readings": result.readings,
        "alerts_per_day": round(len(alerts) / span.days, 4),
        "total": Totals(result.episodes, span).as_dict(),
        "rules": [{"rule": name, **Totals(rules.get(name, []), span).as_dict()} for name in names],
        "rooms": [{"site": site, "room": room, **totals.as_dict()} for (site, room), totals in by_room.items()],
        "days": [{"day": day, "alerts": count} for day, count in sorted(days.items())],
        "noisiest": [{"site": site, "room": room, "alerts": t.alerts} for (site, room), t in noisiest if t.alerts],
        "episodes": [episode_as_dict(one, span, places) for one in result.episodes],
    }


def rule_names(document: Document) -> list[str]:
    """The names of a document's rules."""
    found = []
    for pack in document.rules:
        rules = pack.get("rules")
        found += [str(rule["alert"]) for rule in rules if isinstance(rule, dict)] if isinstance(rules, list) else []
    return found


def amounts(waste: Mapping[tuple[str, str], int]) -> str:
    """Wasted quantities as people read them: 12.3 kWh, 0.72 m3."""
    shown = []
    for (_, unit), quantity in waste.items():
        name, per = _LARGE.get(unit, (unit, 1))
        shown.append(f"{quantity / per:,.{2 if quantity < _SMALL * per else 1}f} {name}")
    return ", ".join(shown)


def yuan(value: float | None) -> str:
    """Money as people read it; nothing where no tariff has a price."""
    return "" if value is None else f"{value:,.2f}"


def show_backtest(result: Backtest, console: Console) -> None:
    """A back-test for people: by rule, the noisiest rooms, the episodes."""
    span, places = result.span, Places(result.documents)
    by_rule = defaultdict(list)
    rooms = Counter(places.room(one.site, one.subject) for one in result.alerts())
    for one in result.episodes:
        by_rule[one.rule].append(one)
    names = sorted({rule for document in result.documents.values() for rule in rule_names(document)})
    quiet = [name for name in names if name not in by_rule]
    console.print(f"{places.span(span)}   {text('readings')}: {result.readings:,}", highlight=False)
    if by_rule:
        table = _table("rule", "alerts", "alerts a day", "hours", "wasted", "cost")
        for name in sorted(by_rule):
            totals = Totals(by_rule[name], span)
            cells = (f"{totals.alerts:,}", f"{totals.alerts / span.days:,.2f}", f"{totals.hours:,.1f}")
            table.add_row(escape(name), *cells, amounts(totals.waste), yuan(totals.cost_yuan))
        console.print(table)
    if quiet:
        console.print(f"{text('no alerts')}: {', '.join(quiet)}", markup=False, highlight=False, soft_wrap=True)
    if rooms:
        listed = ", ".join(f"{room} {count}" for room, count in rooms.most_common(NOISIEST_MAX))
        console.print(f"{text('noisiest')}: {listed}", markup=False, highlight=False, soft_wrap=True)
    if result.episodes:
        show_episodes(result.episodes, span, places, console)


def show_episodes(episodes: Sequence[Episode], span: Span, places: Places, console: Console) -> None:
    """Episodes, a line each; the first ones where there are many."""
    table = _table("since", "where", "rule", "minutes", "state", "wasted", "cost")
    for one in episodes[:SHOWN_MAX]:
        length = (one.end_by(span.to_ms) - one.started_ms) / 60_000
        cost = one.cost(span.from_ms, span.to_ms)
        table.add_row(
            places.clock(one.site, one.started_ms),
            escape(one.subject),
            escape(one.rule),
            f"{length:,.0f}",
            text(one.state),
            amounts(one.waste(span.from_ms, span.to_ms)),
            yuan(None if cost is None else cost / MONEY_PER_YUAN),
        )
    console.print(table)
    if len(episodes) > SHOWN_MAX:
        console.print(text("more with json").format(count=len(episodes) - SHOWN_MAX), highlight=False)


def _table(*names: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in names:
        table.add_column(
            text(name), justify="left" if name in TEXTUAL else "right", no_wrap=name in ("since", "minutes")
        )
    return table
