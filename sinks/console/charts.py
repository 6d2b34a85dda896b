"""Charts as SVG that the server draws: no script, readable on any width, dark or light by the style sheet.

Horizontal places are percentages and vertical ones pixels, so that a chart stretches and its text does not. What a
chart shows is also in a table below it, for those who hear pages and for those who want the figures.
"""

import dataclasses
import datetime as dt
import math
import zoneinfo
from collections.abc import Iterable, Sequence
from typing import Final

from markupsafe import Markup, escape

from sinks.console.formatting import number

HEIGHT: Final = 200
TOP: Final = 14
BOTTOM: Final = 22
WIDE: Final = 1000
DIGITS_MAX: Final = 6
_STEPS_S: Final = (
    60, 300, 600, 900, 1800, 3600, 2 * 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86_400, 2 * 86_400, 7 * 86_400, 14 * 86_400,
    30 * 86_400, 91 * 86_400, 365 * 86_400,
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Line:
    """One series.

    Attributes:
        name: what it is called.
        points: (UTC ms, value) in order.
        step: it holds its value until the next one (states).
        doubtful: times of those that are estimated or suspect.
        low: least values of the same times, where a point stands for many readings.
        high: most values.
    """

    name: str
    points: Sequence[tuple[int, float]]
    step: bool = False
    doubtful: frozenset[int] = frozenset()
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@dataclasses.dataclass(frozen=True)
class Span:
    """The time that a chart covers, and whose clock it shows."""

    from_ms: int
    to_ms: int
    zone: zoneinfo.ZoneInfo

    def place(self, at_ms: float) -> float:
        """Percent from the left."""
        return 100 * (at_ms - self.from_ms) / max(1, self.to_ms - self.from_ms)


@dataclasses.dataclass(frozen=True)
class Bar:
    """One bar: `doubtful` is the part that was not measured, `before` what it is compared with, None: nothing."""

    start_ms: int
    end_ms: int
    value: float
    title: str
    doubtful: float = 0.0
    before: float | None = None


def lines(
    span: Span,
    drawn: Sequence[Line],
    unit: str,
    *,
    label: str,
    thresholds: Iterable[tuple[float, str]] = (),
    bands: Iterable[tuple[int, int, str]] = (),
    gap_ms: int = 0,
    height: int = HEIGHT,
) -> Markup:
    """Lines over time.

    Args:
        span: what is covered.
        drawn: the series, in one unit.
        unit: theirs.
        label: what the chart is, for those who hear it.
        thresholds: (value, label) of a rule, drawn across.
        bands: (from, to, label) of episodes.
        gap_ms: a line is broken where nothing came for longer; 0: never.
        height: pixels.
    """
    limits = [value for value, _ in thresholds]
    values = [value for line in drawn for _, value in line.points] + limits
    values += [value for line in drawn for value in (*line.low, *line.high)]
    low, high = _range(values)
    plot = _Plot(span, low, high, height)
    parts = [plot.band(*band) for band in bands]
    parts += [plot.grid(), plot.times()]
    inner = []
    for index, line in enumerate(drawn):
        if line.low and not line.step:
            inner.append(plot.area(line, index))
        inner += plot.path(line, index, gap_ms)
    parts.append(plot.inside(Markup("").join(inner)))
    parts += [plot.threshold(value, name) for value, name in thresholds]
    parts += [plot.doubt(at_ms, value) for line in drawn for at_ms, value in line.points if at_ms in line.doubtful]
    return plot.whole(Markup("").join([*parts, plot.scale(unit)]), label)


def bars(span: Span, drawn: Sequence[Bar], unit: str, *, label: str, height: int = HEIGHT) -> Markup:
    """Bars over time, from 0; a mark across a bar is what it is compared with."""
    values = [bar.value for bar in drawn] + [bar.before for bar in drawn if bar.before is not None]
    low, high = _range([0.0, *values])
    plot = _Plot(span, low, high, height)
    parts = [plot.grid()]
    for bar in drawn:
        left, right = max(0.0, span.place(bar.start_ms)), min(100.0, span.place(bar.end_ms))
        inset = 0.12 * (right - left)
        x, width = left + inset, max(0.05, right - left - 2 * inset)
        parts.append(plot.box(x, width, 0.0, bar.value, "bar", bar.title))
        if bar.doubtful:
            parts.append(plot.box(x, width, 0.0, bar.doubtful, "bar doubtful", bar.title))
        if bar.before is not None:
            y = plot.y(bar.before)
            parts.append(
                _tag("line", cls="before", x1=f"{x:.2f}%", x2=f"{x + width:.2f}%", y1=f"{y:.1f}", y2=f"{y:.1f}")
            )
    parts += [plot.times(), plot.scale(unit)]
    return plot.whole(Markup("").join(parts), label)


def share(part: float, whole: float, *, cls: str = "") -> Markup:
    """A small bar: how much of a whole something is."""
    percent = 100 * min(1.0, max(0.0, part / whole)) if whole > 0 else 0.0
    rest = _tag("rect", cls="rest", width="100%", height="100%")
    used = _tag("rect", cls="part", width=f"{percent:.1f}%", height="100%")
    return Markup('<svg class="share {}" aria-hidden="true">{}</svg>').format(cls, rest + used)


class _Plot:
    def __init__(self, span: Span, low: float, high: float, height: int) -> None:
        self.span, self.low, self.high, self.height = span, low, high, height
        self.inner = height - TOP - BOTTOM

    def y(self, value: float) -> float:
        return TOP + self.inner * (1 - self._part(value))

    def _part(self, value: float) -> float:
        return (value - self.low) / (self.high - self.low)

    def grid(self) -> Markup:
        heights = [f"{self.y(value):.1f}" for value in _ticks(self.low, self.high)]
        return Markup("").join(_tag("line", cls="grid", x1="0", x2="100%", y1=y, y2=y) for y in heights)

    def scale(self, unit: str) -> Markup:
        """What the lines of the grid stand for; after everything else, so that nothing hides it."""
        ticks = _ticks(self.low, self.high)
        return Markup("").join(
            _text(f"{said} {unit}".strip(), "scale", "4", f"{self.y(value) - 3:.1f}")
            for value, said in zip(ticks, _said(ticks, unit), strict=True)
        )

    def times(self) -> Markup:
        parts = []
        for at_ms, said in _time_ticks(self.span):
            x = self.span.place(at_ms)
            foot = TOP + self.inner
            parts.append(_tag("line", cls="tick", x1=f"{x:.2f}%", x2=f"{x:.2f}%", y1=f"{foot}", y2=f"{foot + 4}"))
            parts.append(_text(said, "time", f"{x:.2f}%", f"{self.height - 5}"))
        return Markup("").join(parts)

    def band(self, from_ms: int, to_ms: int, title: str) -> Markup:
        left, right = max(0.0, self.span.place(from_ms)), min(100.0, self.span.place(to_ms))
        width = f"{max(0.2, right - left):.2f}%"
        return _tag("rect", title, cls="band", x=f"{left:.2f}%", width=width, y=f"{TOP}", height=f"{self.inner}")

    def threshold(self, value: float, name: str) -> Markup:
        y = f"{self.y(value):.1f}"
        line = _tag("line", cls="threshold", x1="0", x2="100%", y1=y, y2=y)
        return line + _text(name, "threshold", "99%", f"{self.y(value) - 4:.1f}")

    def box(self, x: float, width: float, low: float, high: float, cls: str, title: str) -> Markup:
        top, bottom = sorted((self.y(low), self.y(high)))
        tall = f"{max(0.5, bottom - top):.1f}"
        return _tag("rect", title, cls=cls, x=f"{x:.2f}%", width=f"{width:.2f}%", y=f"{top:.1f}", height=tall)

    def path(self, line: Line, index: int, gap_ms: int) -> list[Markup]:
        runs: list[list[str]] = []
        last: tuple[int, float] | None = None
        for at_ms, value in line.points:
            place = self._inside(at_ms, value)
            if last is None or (gap_ms and at_ms - last[0] > gap_ms and not line.step):
                runs.append([place])
            else:
                runs[-1] += [self._inside(at_ms, last[1]), place] if line.step else [place]
            last = (at_ms, value)
        if line.step and last is not None and last[0] < self.span.to_ms:
            runs[-1].append(self._inside(self.span.to_ms, last[1]))
        return [
            _tag("polyline", cls=f"line s{index % 6}", points=" ".join(run if len(run) > 1 else run * 2))
            for run in runs
        ]

    def area(self, line: Line, index: int) -> Markup:
        upper = [self._inside(at_ms, high) for (at_ms, _), high in zip(line.points, line.high, strict=True)]
        lower = [self._inside(at_ms, low) for (at_ms, _), low in zip(line.points, line.low, strict=True)]
        return _tag("polygon", cls=f"area s{index % 6}", points=" ".join(upper + lower[::-1]))

    def doubt(self, at_ms: int, value: float) -> Markup:
        return _tag("circle", cls="doubt", cx=f"{self.span.place(at_ms):.2f}%", cy=f"{self.y(value):.1f}", r="3")

    def _inside(self, at_ms: int, value: float) -> str:
        return f"{WIDE * self.span.place(at_ms) / 100:.1f},{100 * (1 - self._part(value)):.2f}"

    def inside(self, content: Markup) -> Markup:
        return Markup(
            '<svg x="0" y="{}" width="100%" height="{}" viewBox="0 0 {} 100" preserveAspectRatio="none">{}</svg>'
        ).format(TOP, self.inner, WIDE, content)

    def whole(self, content: Markup, label: str) -> Markup:
        return Markup('<svg class="chart" role="img" aria-label="{}" width="100%" height="{}">{}</svg>').format(
            label, self.height, content
        )


def _tag(name: str, title: str = "", *, cls: str, **attributes: str) -> Markup:
    written = Markup("").join(Markup(' {}="{}"').format(key, value) for key, value in attributes.items())
    inner = Markup("<title>{}</title>").format(title) if title else Markup("")
    return Markup('<{0} class="{1}"{2}>{3}</{0}>').format(name, cls, written, inner)


def _text(said: str, cls: str, x: str, y: str) -> Markup:
    return Markup('<text class="{}" x="{}" y="{}">{}</text>').format(cls, x, y, escape(said))


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Where the scale begins and ends: at 0 where that is near, and never empty."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    if low > 0 and low < 0.6 * high:
        low = 0.0
    if high == low:
        low, high = (low - 1, high + 1) if low else (0.0, 1.0)
    room = 0.08 * (high - low)
    return (low if low == 0 else low - room), high + room


def _ticks(low: float, high: float) -> list[float]:
    """Three to five round values."""
    rough = (high - low) / 4
    power = 10 ** math.floor(math.log10(rough))
    step = next((one * power for one in (1, 2, 2.5, 5) if one * power >= rough), 10 * power)
    first = math.ceil(low / step)
    return [index * step for index in range(first, int(high / step) + 1)]


def _said(ticks: Sequence[float], unit: str) -> list[str]:
    """Numbers of the grid's lines, no two the same: 41,653.2 and 41,653.3 of a register that has counted for years."""
    # Counts of people, and on and off, are whole where all ticks are.
    whole = not unit and all(value == int(value) for value in ticks)
    said = [f"{value:,.0f}" if whole else number(value) for value in ticks]
    digits = 1
    while len(set(said)) < len(said) and digits < DIGITS_MAX:
        said = [f"{value:,.{digits}f}" for value in ticks]
        digits += 1
    return said


def _time_ticks(span: Span) -> list[tuple[int, str]]:
    """At most seven round local times, none at the very edge."""
    length_s = (span.to_ms - span.from_ms) / 1000
    step_s = next((one for one in _STEPS_S if length_s / one <= 7), _STEPS_S[-1])
    form = "%H:%M" if length_s <= 2 * 86_400 else "%m-%d" if length_s <= 300 * 86_400 else "%Y-%m"
    start = dt.datetime.fromtimestamp(span.from_ms / 1000, span.zone)
    at = start.replace(hour=0, minute=0, second=0, microsecond=0)
    found = []
    while (at_ms := at.timestamp() * 1000) < span.to_ms:
        if 4 <= span.place(at_ms) <= 96:
            said = at.strftime("%m-%d" if form == "%H:%M" and at.hour == at.minute == 0 else form)
            found.append((int(at_ms), said))
        at = (at + dt.timedelta(seconds=step_s)).replace(tzinfo=span.zone)
    return found
