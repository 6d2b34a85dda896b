"""An alert as a row or a card: what it says, in the language and units of who reads it."""

import dataclasses
import time
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import parse_qs, urlencode

from sinks.console import formatting
from sinks.console.asked import AWAY, Asked
from sinks.desk.actions import Key
from sinks.desk.projection import Alert, rank

SMALLEST: Final = -1


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """What a page shows of an alert; texts are ready to be read.

    `counted`: (key, what it says) of the alerts that count what this one is about, where it has no quantity of its own.
    """

    key: str
    severity: str
    status: str
    state: str
    what: str
    where: str
    around: str
    site: str
    since: str
    started_ms: int
    lasted: str
    wasted: str
    cost: str
    assignee: str
    quiet: bool
    counted: tuple[tuple[str, str], ...] = ()


def name_of(key: Key) -> str:
    """A key as one text, as it stands in addresses and forms."""
    return urlencode(dict(zip(("site", "rule", "subject", "episode"), key, strict=True)))


def key_of(text: str) -> Key | None:
    """The key of such a text; None: it is none."""
    found = parse_qs(text, keep_blank_values=True, max_num_fields=8)
    return key_from({name: values[-1] for name, values in found.items()})


def key_from(query: Mapping[str, str]) -> Key | None:
    """The key that parameters of an address name."""
    try:
        return query["site"], query["rule"], query["subject"], int(query["episode"])
    except (KeyError, ValueError):
        return None


def worst_first(alerts: Iterable[Alert]) -> list[Alert]:
    """By severity, then by cost, then the oldest."""
    return sorted(alerts, key=lambda one: (-rank(one.severity), -(one.cost or SMALLEST), one.started_at, one.key))


def wasted(alert: Alert) -> str:
    """1.24 kWh, 310 L."""
    return ", ".join(formatting.quantity(amount, unit) for (_, unit), amount in sorted(alert.wasted.items()) if amount)


def by_place(alerts: Iterable[Alert]) -> dict[tuple[str, str], list[Alert]]:
    """Alerts that count a quantity, by site and subject: what `counted_by` looks in."""
    found: dict[tuple[str, str], list[Alert]] = {}
    for one in alerts:
        if one.wasted:
            found.setdefault((one.key[0], one.key[2]), []).append(one)
    return found


def counted_by(alert: Alert, counting: Mapping[tuple[str, str], list[Alert]], end_ms: int) -> list[Alert]:
    """Alerts of the same place and time that count what an alert without a quantity of its own is about.

    Rules that step up another one (TapRunningLong over TapRunning) waste nothing themselves, so that sums are right.

    Args:
        alert: that one.
        counting: as `by_place` makes it.
        end_ms: when it ended, or the time.
    """
    if alert.wasted:
        return []
    return [
        one
        for one in counting.get((alert.key[0], alert.key[2]), ())
        if one.key[1] != alert.key[1]
        and one.started_at <= end_ms
        and (one.state == "firing" or one.valid_at >= alert.started_at)
    ]


def clock_ms(asked: Asked, site: str) -> int:
    """The time of a site: the clock's, or in a simulation the newest that is known of it, also without ClickHouse."""
    known = asked.parts.live.places.sites.get(site)
    if known is None or not known.simulated:
        return time.time_ns() // 1_000_000
    alerts = list(asked.parts.live.desk.alerts.values())
    told = max((one.valid_at for one in alerts if one.key[0] == site), default=0)
    try:
        return max(told, asked.parts.fresh.get(("now", site), lambda: asked.parts.history.now_ms(known)))
    except AWAY:
        return told


def clocks(asked: Asked, alerts: Iterable[Alert]) -> dict[str, int]:
    """The time of every site that some alerts are of."""
    return {site: clock_ms(asked, site) for site in {one.key[0] for one in alerts}}


def _newest(alerts: Iterable[Alert]) -> Iterable[Alert]:
    """Of several episodes of a rule the newest one: a list has room for one link."""
    return {one.key[1]: one for one in sorted(alerts, key=lambda one: one.started_at)}.values()


def row(asked: Asked, alert: Alert, now_ms: int, counted: Iterable[Alert] = ()) -> Row:
    """An alert for a page; `counted` are the alerts that count what it is about."""
    site, rule, subject, _ = alert.key
    desk, language = asked.parts.live.desk, asked.language
    known = asked.parts.live.places.sites.get(site)
    zone = known.zone if known else None
    end_ms = now_ms if alert.state == "firing" else alert.valid_at
    space = known.space_of(subject) if known else None
    path = [one.name(language) for one in known.path(space.id)] if known and space else []
    building = known.buildings.get(known.building_of(subject)) if known else None
    above = [building.name(language)] if building else []
    where = desk.names.subject(site, subject, language)
    around = " · ".join(part for part in [*above, *path] if part != where)
    return Row(
        name_of(alert.key),
        alert.severity,
        alert.status,
        alert.state,
        desk.names.rule(site, rule, language),
        where,
        around,
        known.named.name(language) if known else site,
        formatting.local(alert.started_at, zone) if zone else formatting.NONE,
        alert.started_at,
        formatting.duration(language, end_ms - alert.started_at) if end_ms >= alert.started_at else formatting.NONE,
        wasted(alert),
        formatting.money(alert.cost),
        alert.assignee,
        asked.parts.live.silence_of(alert) is not None,
        tuple((name_of(one.key), desk.names.rule(site, one.key[1], language)) for one in _newest(counted)),
    )
