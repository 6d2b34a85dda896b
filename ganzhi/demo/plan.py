"""Floors as tiles and usage as sparklines: the graphics of the demo's screen, each a Rich text.

A room is one character, two pixels high: above, light (yellow), air conditioning (cyan) or both; below, people (green),
running water (blue) or both. An open alert paints the room red. The floors of a building lie on top of each other.
"""

import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from rich.cells import cell_len
from rich.text import Text

from ganzhi.cli.texts import language, text
from ganzhi.demo.layout import BUILDINGS, SLOTS, zone_index
from ganzhi.demo.spans import Ints

DARK: Final = "#30363d"
UPPER: Final = {(0, 0): DARK, (1, 0): "#f2c744", (0, 1): "#39c5cf", (1, 1): "#c8f7a6"}
"""(light, air) → colour."""
LOWER: Final = {(0, 0): DARK, (1, 0): "#3fb950", (0, 1): "#388bfd", (1, 1): "#a371f7"}
"""(people, water) → colour."""
ALERT: Final = "bold white on #da3633"
HALF: Final = "▀"
BARS: Final = "▁▂▃▄▅▆▇█"


@functools.cache
def _rooms(building: str, floor: int) -> tuple[int, ...]:
    """Columns of the rooms of a floor."""
    return tuple(zone_index()[f"{building}-{floor:02d}{slot:02d}"] for slot in range(1, SLOTS + 1))


def floors(rooms: Mapping[str, Ints], burning: Collection[int]) -> Text:
    """The three buildings side by side, 80 cells wide and as many lines high as the highest has floors.

    Args:
        rooms: channel → int64[zones], see `watch.Figures`.
        burning: columns of zones with an open alert.
    """
    light, air, people, water = (rooms[name].tolist() for name in ("light", "air", "people", "water"))
    picture = Text(no_wrap=True)
    highest = max(building.floors for building in BUILDINGS)
    for floor in range(highest, 0, -1):
        for number, building in enumerate(BUILDINGS):
            picture.append(" " if number else "")
            if floor > building.floors:
                picture.append(" " * (SLOTS + 2))
                continue
            picture.append(f"{floor:>2}", "dim")
            for i in _rooms(building.id, floor):
                if i in burning:
                    picture.append("!", ALERT)
                else:
                    style = f"{UPPER[light[i], air[i]]} on {LOWER[people[i], water[i]]}"
                    picture.append(HALF, style)
        picture.append("\n" if floor > 1 else "")
    return picture


def heading() -> Text:
    """Names of the buildings above their floors."""
    line = Text(no_wrap=True)
    for number, building in enumerate(BUILDINGS):
        line.append(" " if number else "")
        line.append(fit(building.name_zh if language() == "zh" else building.name_en, SLOTS + 2), "bold")
    return line


def legend() -> Text:
    """What the colours mean."""
    line = Text(no_wrap=True)
    shown = [("light", UPPER[1, 0]), ("air", UPPER[0, 1]), ("light and air", UPPER[1, 1])]
    for name, colour in shown:
        line.append("▀ ", colour).append(text(name) + "  ", "dim")
    for name, colour in (("people", LOWER[1, 0]), ("water", LOWER[0, 1]), ("people and water", LOWER[1, 1])):
        line.append("▄ ", colour).append(text(name) + "  ", "dim")
    return line.append("!", ALERT).append(" " + text("alert here"), "dim")


def sparkline(values: Sequence[int], width: int) -> str:
    """The last `width` values as bars between nothing and the largest of them; padded in front."""
    shown = values[-width:] if width else []
    top = max((*shown, 0))
    bars = "".join(BARS[min(len(BARS) - 1, max(0, value) * len(BARS) // (top + 1))] for value in shown)
    return bars.rjust(width)


def fit(words: str, width: int) -> str:
    """Words cut or padded to a width in cells, of which a Chinese character takes two."""
    if cell_len(words) > width:
        while cell_len(words) > width - 1:
            words = words[:-1]
        words += "…"
    return words + " " * (width - cell_len(words))


def amount(item: str, quantity: int) -> str:
    """Usage of a day for people: kWh, or m3 of water."""
    value, unit = (quantity / 1_000_000, "m³") if item == "water" else (quantity / 1000, "kWh")
    return f"{value:,.0f} {unit}" if value >= 10 else f"{value:,.1f} {unit}"
