"""The trade between alerts and the waste that they find, as an SVG file: a point a value, in their order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

WIDTH: Final = 640
HEIGHT: Final = 400
_LEFT: Final = 64
_BELOW: Final = 48
_ABOVE: Final = 40
_RIGHT: Final = 80
_LETTERS: Final = f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12"'


@dataclass(frozen=True)
class Point:
    """One value: how many alerts a day, and how much waste they find."""

    label: str
    alerts_per_day: float
    waste: float


def trade_svg(points: Sequence[Point], title: str, unit: str) -> str:
    """The plot; alerts a day to the right, waste upwards, both from 0."""
    right = max((point.alerts_per_day for point in points), default=0) or 1.0
    top = max((point.waste for point in points), default=0) or 1.0

    def place(point: Point) -> tuple[float, float]:
        x = _LEFT + point.alerts_per_day / right * (WIDTH - _LEFT - _RIGHT)
        y = HEIGHT - _BELOW - point.waste / top * (HEIGHT - _BELOW - _ABOVE)
        return round(x, 1), round(y, 1)

    def words(x: float, y: float, text: str, more: str = "") -> str:
        return f'<text x="{x}" y="{y}" {more}>{escape(text)}</text>'

    base = HEIGHT - _BELOW
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" {_LETTERS}>',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        words(_LEFT, 20, title, 'font-size="14"'),
        f'<path d="M{_LEFT} {_ABOVE}V{base}H{WIDTH - _RIGHT}" fill="none" stroke="black"/>',
        words(WIDTH - _RIGHT, base + 16, f"{right:.3g}", 'text-anchor="end"'),
        words((WIDTH - _RIGHT + _LEFT) / 2, HEIGHT - 12, "alerts a day", 'text-anchor="middle"'),
        words(_LEFT - 6, _ABOVE + 4, f"{top:.4g}", 'text-anchor="end"'),
        words(_LEFT - 6, _ABOVE + 20, unit, 'text-anchor="end"'),
    ]
    places = [place(point) for point in points]
    if places:
        path = " ".join(f"{x},{y}" for x, y in places)
        lines.append(f'<polyline points="{path}" fill="none" stroke="#1f6fb2"/>')
    for point, (x, y) in zip(points, places, strict=True):
        lines.append(f'<circle cx="{x}" cy="{y}" r="4" fill="#1f6fb2"/>')
        lines.append(words(x + 7, y + 4, point.label))
    return "\n".join([*lines, "</svg>"]) + "\n"
