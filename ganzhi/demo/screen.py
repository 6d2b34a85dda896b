"""The demo's screen: one picture of the moment, made for 100 columns and 35 lines, and still fine with 80 and 24."""

import collections
import datetime as dt
import itertools
import time
from collections.abc import Mapping
from typing import Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from ganzhi.cli.alerts import STYLES, amount, money
from ganzhi.cli.texts import text
from ganzhi.demo import plan
from ganzhi.demo.layout import zone_index
from ganzhi.demo.robot import Said
from ganzhi.demo.run import Demo
from ganzhi.demo.world import ZONE
from sinks.desk.desk import Desk
from sinks.desk.projection import Alert

RATE_OVER_S: Final = 5.0
"""Rates are means of so many seconds."""
USAGE_LINES_MAX: Final = 6
SPARK_DAYS: Final = 30
ROOMY_LINES: Final = 30
"""From so many lines on there are empty ones between the parts."""
COLUMN_GAP: Final = 2
ROBOT_LINES: Final = 4
"""With so many lines for alerts, one is for what the robot said."""


class Rates:
    """Events and readings in a second of life, over the last seconds."""

    def __init__(self) -> None:
        self._seen: collections.deque[tuple[float, int, int]] = collections.deque()

    def take(self, now_s: float, events: int, readings: int) -> tuple[float, float]:
        """Tells the totals at a time and returns (events/s, readings/s)."""
        self._seen.append((now_s, events, readings))
        while len(self._seen) > 2 and now_s - self._seen[0][0] > RATE_OVER_S:
            self._seen.popleft()
        then_s, *then = self._seen[0]
        passed_s = now_s - then_s
        if passed_s <= 0:
            return 0.0, 0.0
        return (events - then[0]) / passed_s, (readings - then[1]) / passed_s


class Screen:
    """What `rich.live.Live` shows; it is drawn anew for the size that the terminal has then.

    Args:
        demo: prepared and started.
        ends_at_s: `time.monotonic()` at which the run ends by itself, or None.
    """

    def __init__(self, demo: Demo, ends_at_s: float | None) -> None:
        self._demo = demo
        self._ends_at_s = ends_at_s
        self._rates = Rates()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Exactly as many lines as the terminal has, none wider than it."""
        width, height = options.max_width, options.height or console.height
        usage = usage_lines(self._demo.watch.figures.usage, width)
        gap = [Text()] if height >= ROOMY_LINES else []
        fixed = [*self._head(width), *gap, plan.heading(), *self._floors(), plan.legend(), *gap]
        left = height - len(fixed)
        most = max(0, min(USAGE_LINES_MAX, len(usage), left // 3))
        alerts = self._alerts(width, left - most - (1 if most else 0))
        lines = [*fixed, *alerts]
        if most:
            lines += [Text(plan.fit(text("usage 30 days"), width), "bold"), *usage[:most]]
        for number, line in enumerate(lines[:height]):
            line.no_wrap, line.overflow = True, "crop"
            line.truncate(width)
            line.end = "" if number == min(len(lines), height) - 1 else "\n"
            yield line

    def _head(self, width: int) -> list[Text]:
        feed, figures = self._demo.feed, self._demo.watch.figures
        first = Text(f" {text('demo title')} ", "bold white on #1f6feb")
        if feed is None:
            first.append("  " + text("demo again"))
        else:
            now = clock(feed.clock_ms)
            first.append(f"  {day_name(now)} {now:%Y-%m-%d %H:%M}", "bold").append(f"  {self._demo.options.speed:g}×")
        ends = text("demo ctrl-c")
        if self._ends_at_s is not None:
            ends = f"{max(0.0, self._ends_at_s - time.monotonic()):.0f} s   {ends}"
        first.append(" " * max(1, width - first.cell_len - Text(ends).cell_len)).append(ends, "dim")
        events, readings = (feed.events, feed.readings) if feed else (0, 0)
        per_s = self._rates.take(time.monotonic(), events, readings)
        second = Text()
        _pair(second, text("events/s"), f"{per_s[0]:,.1f}")
        _pair(second, text("readings/s"), f"{per_s[1]:,.0f}")
        _pair(second, text("lag"), f"{text('worker')} {figures.worker_lag:,}  {text('sink')} {figures.sink_lag:,}")
        _pair(second, text("stored"), f"{figures.rows:,} {text('rows stored')}")
        third = Text(self._demo.login, "cyan")
        return [first, second, third] if not figures.fault else [first, second, third, Text(figures.fault, "yellow")]

    def _floors(self) -> list[Text]:
        burning = {
            zone_index()[alert.key[2]]
            for alert in self._demo.alerts.alerts.values()
            if alert.state == "firing" and alert.key[2] in zone_index()
        }
        return list(plan.floors(self._demo.watch.figures.rooms, burning).split("\n"))

    def _alerts(self, width: int, lines: int) -> list[Text]:
        known = list(self._demo.alerts.alerts.values())
        known.sort(key=lambda alert: (alert.state == "firing", alert.valid_at), reverse=True)
        burning = sum(alert.state == "firing" for alert in known)
        cost = sum(alert.cost or 0 for alert in known)
        title = Text(text("alerts"), "bold").append(f"  {len(known)}, {burning} {text('of which open')}")
        title.append(f"  ¥{cost / 10_000:,.2f} {text('so far')}", "bold")
        said = [robot_line(one, width) for one in self._demo.robot.said[-1:]] if lines >= ROBOT_LINES else []
        lines -= len(said)
        return [title, *said, *(alert_line(alert, self._demo.alerts, width) for alert in known[: lines - 1])]


def robot_line(said: Said, width: int) -> Text:
    """What the group robot said last."""
    told = " ".join(said.text.splitlines()[:2])
    return Text(plan.fit(f"{text('robot')}  {told}", width), "cyan")


def clock(time_ms: int) -> dt.datetime:
    """The simulated time on the site's walls."""
    return dt.datetime.fromtimestamp(time_ms / 1000, ZONE)


def day_name(time: dt.datetime) -> str:
    """Mon, Tue … in the language spoken."""
    return text("weekdays").split()[time.weekday()]


def alert_line(alert: Alert, feed: Desk, width: int) -> Text:
    """An alert in one line: since when, where, what, wasted, cost."""
    site, rule, subject, _ = alert.key
    wasted = 14 if width >= 100 else 12
    rest = width - (6 + 9 + wasted + 9)
    where = rest * 5 // 12
    line = Text(f"{clock(alert.started_at):%H:%M} ")
    line.append(plan.fit(text(alert.state), 8) + " ", STYLES.get(alert.state, ""))
    line.append(plan.fit(feed.names.subject(site, subject), where - 1) + " ")
    line.append(plan.fit(feed.names.rule(site, rule), rest - where), "dim")
    shown = amount(alert)
    line.append(" " * max(0, wasted - Text(shown).cell_len) + shown)
    return line.append(f"{money(alert):>9}", "bold")


def usage_lines(usage: Mapping[str, list[int]], width: int) -> list[Text]:
    """A sparkline for each sub-item, two side by side, with name and usage of the last whole day where they fit."""
    column = (width - COLUMN_GAP) // 2
    names = column - SPARK_DAYS - 13
    cells = []
    # the largest first, water after what is counted in kWh
    for item in sorted(usage, key=lambda item: (item == "water", -sum(usage[item]))):
        values = usage[item]
        name = f"{item} {text(item)}" if item != "water" else text("water")
        last = values[-2] if len(values) > 1 else values[-1]
        cell = Text(plan.fit(name if names > 6 else item[:5], max(5, names)) + " ")
        days = min(SPARK_DAYS, column - max(5, names) - 1)
        cell.append(plan.sparkline(values[:-1], days), "#39c5cf" if item != "water" else "#388bfd")
        if column - cell.cell_len >= 11:
            cell.append(f"{plan.amount(item, last):>{min(12, column - cell.cell_len)}}")
        cell.append(" " * (column - cell.cell_len))
        cells.append(cell)
    lines = []
    for left, right in itertools.zip_longest(cells[::2], cells[1::2]):
        left.append(" " * COLUMN_GAP)
        lines.append(left.append_text(right) if right is not None else left)
    return lines


def _pair(line: Text, name: str, value: str) -> None:
    line.append("  " if line.plain else "").append(name + " ", "dim").append(value, "bold")
