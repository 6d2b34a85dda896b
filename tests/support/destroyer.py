"""Meters of a real campus, destroyed under a seed; the destroyer keeps a log, so the truth is known to the unit.

Hours are dropped, meters swapped, multipliers changed, registers rolled over, days delivered late, files repeated,
values corrupted.
"""

import csv
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.encode import encode_batches
from schemas.model.document import Document
from tests.processors.world import document, fact, point

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
SILENCE = 100
"""hours that a gateway is silent at most, but for two silences in a row"""
Longs = NDArray[np.int64]


def hours(folder: Path, years: tuple[str, ...]) -> tuple[int, Longs]:
    """(start of the first hour in UTC ms, usage in Wh by hour) of a meter of the data set; files say tenths of a kWh."""
    found: dict[int, int] = {}
    for year in years:
        file = folder / f"{year}.csv"
        if not file.exists():
            continue
        with file.open(encoding="utf-8") as stream:
            for when, usage in list(csv.reader(stream))[1:]:
                time = int(np.datetime64(when, "ms").astype(np.int64))
                found[time] = round(float(usage or 0) * 10) * 100
    start, end = min(found), max(found)
    return start, np.array([found.get(time, 0) for time in range(start, end + 1, HOUR_MS)], np.int64)


def width(usage: Longs) -> int:
    """Digits of a register for such usage: what is used in the longest silence is below 5 % of it.

    A register that falls from below 95 % of its end may as well have been reset; nobody could tell.
    """
    return len(str(20 * 2 * SILENCE * int(usage.max())))


@dataclasses.dataclass
class Destroyed:
    """What is left of a meter's life.

    Attributes:
        arrivals: (time of arrival, message).
        times: of the readings that arrived, good or not, each once.
        values: of those.
        usage: Wh by hour from `start`, as it was.
        start: UTC ms.
        sound: hours at whose start and end there is a good reading.
        unknown: hours of which something can only be estimated.
        estimated: what counts in them, on the straight line between two things that are known; but for what was
            measured after a silence of more than a day had ended inside of one with a swap: such a silence is one row,
            up to the swap.
        damage: how often each thing was done.
    """

    arrivals: list[tuple[int, bytes]]
    times: Longs
    values: Longs
    usage: Longs
    start: int
    sound: NDArray[np.bool_]
    unknown: NDArray[np.bool_]
    estimated: int
    damage: dict[str, int]


def destroy(number: int, start: int, usage: Longs, seed: int) -> Destroyed:
    """One meter's life, destroyed.

    Args:
        number: of its point.
        start: of the first hour.
        usage: Wh by hour, multiples of 100.
        seed: of all chance.
    """
    chance = np.random.default_rng([seed, number])
    count, span = len(usage), 10 ** width(usage)
    level, ratio = span - 1 - int(chance.integers(0, span // 50)), 1
    values = np.zeros(count + 1, np.int64)
    values[0] = level
    facts: list[tuple[int, bytes]] = []
    anchors: list[int] = []
    swapped: dict[int, int] = {}
    damage = dict.fromkeys(("swaps", "multipliers", "rollovers", "dropped", "corrupted", "late days", "repeats"), 0)
    swaps = set(chance.integers(1, count, max(1, count // 2000)).tolist())
    multipliers = set(chance.integers(1, count, max(1, count // 4000)).tolist()) - swaps
    for hour in range(count):
        left = int(usage[hour])
        if hour in swaps:
            part = 100 * int(chance.integers(0, left // 100 + 1))
            final = (level + part // ratio) % span
            at = start + hour * HOUR_MS + int(chance.integers(1, HOUR_MS))
            level, left = int(chance.integers(0, span)), left - part
            told = fact(
                "swapped",
                at,
                {"point": number, "final": final, "initial": level},
                meter=f"m{number}",
                event_id=f"{number} swap {at}",
            )
            facts.append((at + int(chance.integers(0, 21)) * DAY_MS, told))
            anchors.append(at)
            swapped[at] = part
            damage["swaps"] += 1
        if hour in multipliers:
            ratio = int(chance.choice([1, 2, 4, 5, 10]))
            at = start + hour * HOUR_MS
            about = {"point": number, "final": level, "numerator": ratio, "denominator": 1}
            told = fact("multiplier", at, about, meter=f"m{number}", event_id=f"{number} ratio {at}")
            facts.append((at + int(chance.integers(0, 21)) * DAY_MS, told))
            anchors.append(at)
            damage["multipliers"] += 1
        damage["rollovers"] += (level + left // ratio) // span
        level = (level + left // ratio) % span
        values[hour + 1] = level
    times = start + np.arange(count + 1) * HOUR_MS
    kept = _dropped(chance, count, damage)
    good = kept.copy()
    _corrupt(chance, span, values, kept, good, damage)
    known = np.unique(np.concatenate([times[good], np.array(anchors, np.int64)]))
    counted = np.concatenate([[0], np.cumsum(usage)])
    totals = [int(counted[(time - start) // HOUR_MS]) + swapped.get(time, 0) for time in known.tolist()]
    unknown = np.zeros(count, bool)
    measured = 0
    silences = np.diff(known)
    for place, silence in enumerate(silences.tolist()):
        first, last = known[place : place + 2].tolist()
        if silence > 2 * HOUR_MS:
            end = -((start - last) // HOUR_MS)
            unknown[(first - start) // HOUR_MS : end] = True
            if silence > DAY_MS and last in swapped and silences[place + 1] <= 2 * HOUR_MS:
                measured += _on_the_line(known, totals, start + end * HOUR_MS) - totals[place + 1]
    bounds = start + HOUR_MS * np.flatnonzero(np.diff(np.concatenate([[False], unknown, [False]])))
    levels = [_on_the_line(known, totals, int(bound)) for bound in bounds]
    estimated = sum(levels[1::2]) - sum(levels[::2]) - measured
    arrivals = facts + _delivered(chance, number, times[kept], values[kept], damage)
    return Destroyed(
        arrivals, times[kept], values[kept], usage, start, good[:-1] & good[1:], unknown, estimated, damage
    )


def _on_the_line(known: Longs, totals: list[int], time: int) -> int:
    """What was used up to a time: known, or on the straight line between the two times that are."""
    after = int(np.searchsorted(known, time))
    if known[after] == time:
        return totals[after]
    start, end = int(known[after - 1]), int(known[after])
    return totals[after - 1] + (totals[after] - totals[after - 1]) * (time - start) // (end - start)


def _dropped(chance: np.random.Generator, count: int, damage: dict[str, int]) -> NDArray[np.bool_]:
    """Single hours, nights and weeks that nobody read; the first and the last reading stay."""
    kept = chance.random(count + 1) > 0.01
    for length in (7, 30, SILENCE):
        for first in chance.integers(1, count, max(1, count // 1500)).tolist():
            kept[first : first + length] = False
    kept[[0, -1]] = True
    damage["dropped"] = int((~kept).sum())
    return kept


def _corrupt(
    chance: np.random.Generator,
    span: int,
    values: Longs,
    kept: NDArray[np.bool_],
    good: NDArray[np.bool_],
    damage: dict[str, int],
) -> None:
    """Zeros, halves and absurd jumps, where the register is neither new nor about to roll over; one at a time."""
    places = np.flatnonzero(kept)[4:-4]
    for place in places[:: int(chance.integers(40, 90))].tolist():
        around = values[max(0, place - 4) : place + 5]
        if around.min() < span // 10 or around.max() > span // 2 or np.any(np.diff(around) < 0):
            continue
        values[place] = (0, values[place] // 2, values[place] + span // 3)[int(chance.integers(0, 3))]
        good[place] = False
        damage["corrupted"] += 1


def _delivered(
    chance: np.random.Generator, number: int, times: Longs, values: Longs, damage: dict[str, int]
) -> list[tuple[int, bytes]]:
    """A file a day: most on the day, some weeks late, some twice."""
    found: list[tuple[int, bytes]] = []
    days = times // DAY_MS
    for day in np.unique(days).tolist():
        rows = days == day
        file = encode_batches(
            "s1", "g1", "live", times[rows], np.full(rows.sum(), number, np.int32), values[rows],
            np.zeros(rows.sum(), np.int8),
        )  # fmt: skip
        late = int(chance.integers(1, 40)) if chance.random() < 0.05 else 0
        damage["late days"] += late > 0
        arrival = (day + 1 + late) * DAY_MS
        copies = 2 if chance.random() < 0.03 else 1
        damage["repeats"] += copies - 1
        for copy in range(copies):
            found += [(arrival + copy * 3 * DAY_MS, message) for message in file]
    return found


def model(found: dict[int, Destroyed], **more: Any) -> Document:
    """A document with a register of hourly readings for each life, by number; nothing used more than it was rated."""
    points = [
        point(n, kind="register", role="energy", unit="Wh", interval_s=3600, rated=str(life.usage.max()))
        for n, life in found.items()
    ]
    tables = {
        "meters": [
            {"id": f"m{n}", "digits": width(life.usage), "resolution": "1", "ct": "1", "pt": "1"}
            for n, life in found.items()
        ],
        "meter_install": [{"meter": f"m{n}", "point": f"p{n}", "valid_from": None} for n in found],
    }
    return document(points, tables=tables, interval_s=3600, **more)
