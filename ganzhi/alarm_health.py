"""Health of the alarm system: how many, how many are looked at, who makes the most, what chatters and what stands.

After ISA-18.2 and EEMUA 191: an alert that stands for a day or longer is stale; one that comes again and again
chatters; a handful of sources makes most of the noise. The figures come from the tables of the sink.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Final

from schemas.settings import ClickHouseSettings

STALE_H: Final = 24
"""ISA-18.2: an alarm that stays for more than a day is stale."""
CHATTER_TIMES: Final = 3
CHATTER_MIN: Final = 60
"""Raised so often within so many minutes. ISA-18.2 counts three a minute for signals read every second; meters and
rooms are read every minute or quarter of an hour. Suggested default."""
FLOOD_TIMES: Final = 10
"""EEMUA 191: more than ten within ten minutes are a flood."""
TOP: Final = 10


@dataclasses.dataclass(frozen=True)
class Health:
    """The alarm system over a span.

    Attributes:
        days: how long the span is.
        alerts: alerts that fired.
        acknowledged: of them, those that somebody acknowledged.
        false_alarms: of them, those that somebody marked as false.
        true_alarms: of them, those that somebody marked as true.
        floods: spells of ten minutes with more than ten alerts.
        standing: alerts that fire and have done so for a day or longer: (site, rule, subject, since).
        chattering: (site, rule, subject, most alerts within an hour).
        top: (site, rule, subject, alerts), the ten that fired most.
        top_share: their share of all alerts.
        by_day: (day, alerts).
        by_rule: (rule, alerts, acknowledged, marked false).
    """

    days: float
    alerts: int
    acknowledged: int
    false_alarms: int
    true_alarms: int
    floods: int
    standing: Sequence[tuple[Any, ...]]
    chattering: Sequence[tuple[Any, ...]]
    top: Sequence[tuple[Any, ...]]
    top_share: float
    by_day: Sequence[tuple[Any, ...]]
    by_rule: Sequence[tuple[Any, ...]]

    @property
    def alerts_per_day(self) -> float:
        """Mean over the span."""
        return self.alerts / self.days if self.days else 0.0

    @property
    def acknowledged_share(self) -> float | None:
        """None where nothing fired."""
        return self.acknowledged / self.alerts if self.alerts else None


_FIRED: Final = """
    SELECT e.site AS site, e.rule AS rule, e.subject AS subject, e.episode AS episode, min(e.valid_at) AS fired_at
    FROM alert_events AS e
    WHERE e.state = 'firing'
    GROUP BY site, rule, subject, episode
    HAVING fired_at >= fromUnixTimestamp64Milli({from_ms:Int64}) AND fired_at < fromUnixTimestamp64Milli({to_ms:Int64})
"""
_MARKED: Final = """
    SELECT a.site AS site, a.rule AS rule, a.subject AS subject, a.episode AS episode,
        max(a.kind = 'acknowledge') AS acknowledged,
        argMax(a.kind = 'false_alarm', (a.ts, a.offset)) AS false_alarm,
        argMax(a.kind = 'true_alarm', (a.ts, a.offset)) AS true_alarm
    FROM alert_actions AS a
    WHERE a.kind IN ('acknowledge', 'false_alarm', 'true_alarm')
    GROUP BY site, rule, subject, episode
"""


def health(settings: ClickHouseSettings, from_ms: int, to_ms: int) -> Health:
    """Asks the tables.

    Args:
        settings: where they are.
        from_ms: alerts that fired from here on, UTC.
        to_ms: and before this.

    Raises:
        SinkError: ClickHouse is not there, or refuses.
    """
    from sinks.clickhouse.client import reader, translating

    client = reader(settings)
    parameters = {"from_ms": from_ms, "to_ms": to_ms}

    def ask(query: str, **more: object) -> list[tuple[Any, ...]]:
        with translating(settings):
            return [tuple(row) for row in client.query(query, parameters={**parameters, **more}).result_rows]

    ((alerts, acknowledged, false, true),) = ask(
        f"SELECT count(), countIf(m.acknowledged), countIf(m.false_alarm), countIf(m.true_alarm) FROM ({_FIRED}) AS f"
        f" LEFT JOIN ({_MARKED}) AS m USING (site, rule, subject, episode)"
    )
    by_rule = ask(
        "SELECT rule, count() AS n, countIf(m.acknowledged), countIf(m.false_alarm)"
        f" FROM ({_FIRED}) AS f LEFT JOIN ({_MARKED}) AS m USING (site, rule, subject, episode)"
        " GROUP BY rule ORDER BY n DESC, rule"
    )
    by_day = ask(f"SELECT toString(toDate(fired_at)) AS day, count() FROM ({_FIRED}) GROUP BY day ORDER BY day")
    top = ask(
        f"SELECT site, rule, subject, count() AS n FROM ({_FIRED}) GROUP BY site, rule, subject"
        f" ORDER BY n DESC, site, rule, subject LIMIT {TOP}"
    )
    floods = ask(
        f"SELECT count() FROM (SELECT toStartOfInterval(fired_at, INTERVAL 10 MINUTE) AS slot, count() AS n"
        f" FROM ({_FIRED}) GROUP BY slot HAVING n > {FLOOD_TIMES})"
    )
    chattering = ask(
        "SELECT site, rule, subject, max(arrayMax(arrayMap(t -> countEqual(arrayMap("
        f"u -> u >= t AND u < t + {CHATTER_MIN * 60_000}, times), true), times))) AS most FROM"
        " (SELECT site, rule, subject, groupArray(toUnixTimestamp64Milli(fired_at)) AS times"
        f" FROM ({_FIRED}) GROUP BY site, rule, subject HAVING count() >= {CHATTER_TIMES})"
        f" GROUP BY site, rule, subject HAVING most >= {CHATTER_TIMES} ORDER BY most DESC, site, rule, subject"
    )
    standing = ask(
        "SELECT site, rule, subject, started_at FROM alerts WHERE state = 'firing'"
        f" AND since <= fromUnixTimestamp64Milli({{to_ms:Int64}}) - INTERVAL {STALE_H} HOUR"
        " ORDER BY started_at, site, rule, subject"
    )
    share = sum(int(row[3]) for row in top) / alerts if alerts else 0.0
    days = (to_ms - from_ms) / 86_400_000
    return Health(
        days, alerts, acknowledged, false, true, floods[0][0], standing, chattering, top, share, by_day, by_rule
    )
