"""`ganzhi bench detection`: how well people, lights for nobody and leaks are found, on measured data with a truth.

* occupancy: with the defaults on all of the room's days; and fitted to the first half, judged by minute on the second.
  Light is not looked at.
* lights: at seeded times the light stays on after somebody left (the recorded light has almost no such spell).
  `builtin/lighting` runs on the people counted and on the people estimated; the first is the truth. A delay is from the
  true start, when the last one left, to the alert.
* leaks: a constant flow is added for a day at seeded times to records of single fixtures. `builtin/water` has to fire
  within that day, and must not fire on the record as it is.

The data are not part of ganzhi: `GANZHI_DATA` names their folder, else it is `../shared/data` beside the repository.
What is absent has no row.
"""

import dataclasses
import os
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ganzhi.bench.figure import Bench, Number, Options, Promise, Row
from ganzhi.datasets.registry import find
from ganzhi.trial import DAY_MS, Trial, of_dataset, read_rules
from replay.backtest import Backtest, Span, backtest, on_trial
from replay.episodes import Episode
from replay.fit import Case, case_of, fit, judge, without_counters
from replay.readings import Readings
from replay.scores import Score, Spell, by_episode, by_sample
from schemas.codec import Json
from schemas.model.document import Document
from schemas.topics import METER_READINGS

MIN_MS: Final = 60_000
YEAR_MS: Final = 365.25 * DAY_MS
LEAKS: Final = ((100, "0.1"), (300, "0.3"), (1000, "1"), (5000, "5"))
"""mL/min, L/min."""
LEAKS_EACH: Final = 12
LIGHT_MW: Final = 200_000
SEED: Final = 20
LIGHTS_RUNS: Final = 10
LEFT_MIN: Final = 30
LEFT_MAX: Final = 240
LEFT_SHARE: Final = 0.8
"""So many of those who leave for at least LEFT_MIN minutes leave the light on, for LEFT_MIN to LEFT_MAX minutes."""


def data_folder() -> Path:
    """Where measured data lie."""
    return Path(os.environ.get("GANZHI_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")


def run(options: Options) -> list[Row]:
    """All figures whose data are there."""
    del options
    rows: list[Row] = []
    for name, figures in (("occupancy", _room), ("water_fixtures", _water)):
        folder = data_folder() / name
        if folder.is_dir():
            with tempfile.TemporaryDirectory() as made:
                rows += figures(of_dataset(find(name), folder, Path(made)))
        else:
            sys.stderr.write(f"detection: {folder} is not there; its figures are left out\n")
    return rows


_PROMISES: Final = {
    "occupancy_by_minute": [Promise("f1", "least", 0.90)],
    "lights_empty_room_by_episode": [Promise("f1", "least", 0.95)],
    "water_clean": [Promise("false_per_fixture_year", "most", 0)],
    "water_leak": [Promise("recall", "least", 1)],
}
"""By the name of a row; the others are only told."""
LEAST_ML_PER_MIN: Final = 300
"""Smaller leaks are not promised."""


def _row(name: str, data: str, score: Score, count: int, promised: bool = True, **more: Number) -> Row:
    delay = score.delay_p50_s
    figures: dict[str, Number] = {
        "precision": round(score.precision, 4),
        "recall": round(score.recall, 4),
        "f1": round(score.f1, 4),
    }
    if delay is not None:
        figures["delay_p50_s"] = round(delay, 1)
    promises = _PROMISES.get(name, []) if promised else []
    return Row(True, figures={**figures, "n": count, **more}, labels={"name": name, "data": data}, promises=promises)


# -- who is in the room -----------------------------------------------------------------------------------------------


def _room(trial: Trial) -> list[Row]:
    (document,) = trial.documents.values()
    readings = trial.sources[METER_READINGS][document.site]
    middle = (trial.span.from_ms + trial.span.to_ms) // 2
    spans = (Span(trial.span.from_ms, middle), Span(middle, trial.span.to_ms))
    first, second = (case_of(document, readings.between(span.from_ms, span.to_ms), span) for span in spans)
    whole = case_of(document, readings, trial.span)
    found = fit([first])
    rows = [
        _row("occupancy_by_minute", "occupancy, defaults, all of it", judge([whole], {})[1], _minutes(whole)),
        _row(
            "occupancy_by_minute",
            "occupancy, fitted to the first half, on the second",
            judge([second], found.values)[1],
            _minutes(second),
        ),
    ]
    return rows + _lights(document, readings, whole)


def _minutes(case: Case) -> int:
    return sum(len(at) for at, _ in case.truth.values())


def _lights(document: Document, readings: Readings, case: Case) -> list[Row]:
    """Lights that stay on after somebody left: episodes by the people counted, and by the people estimated."""
    packs = read_rules(["builtin/lighting"])[0]
    number = document.next_number + 10
    at, there = next(iter(case.truth.values()))
    counted, estimated = (on_trial(_with_light(one, number), packs) for one in (document, without_counters(document)))
    grid = np.arange(case.span.from_ms, case.span.to_ms, MIN_MS)
    episodes, minutes = Score(0, 0, 0), Score(0, 0, 0)
    for seed in range(LIGHTS_RUNS):
        own = _left_on(at, there, number, SEED + seed)
        columns = ("numbers", "times_ms", "values", "qualities", "spans_ms")
        both = Readings.of([tuple(getattr(one, name) for name in columns) for one in (readings, own)])
        truth, found = (
            spells(backtest({one.site: one}, {METER_READINGS: {one.site: both}}, case.span))
            for one in (counted, estimated)
        )
        episodes += by_episode(truth, found)
        minutes += by_sample(_inside(grid, truth), _inside(grid, found))
    data = f"occupancy, defaults, light left on at seeded times in {LIGHTS_RUNS} runs"
    return [
        _row("lights_empty_room_by_episode", data, episodes, episodes.hits + episodes.missed),
        _row("lights_empty_room_by_minute", data, minutes, LIGHTS_RUNS * len(grid)),
    ]


def _left_on(at: NDArray[np.int64], there: NDArray[np.bool_], number: int, seed: int) -> Readings:
    """Light while somebody is there, and for half an hour to four hours after most of those who left for so long."""
    dice = random.Random(seed)  # noqa: S311 - times of what is injected
    on = there.copy()
    for end in (np.flatnonzero(there[:-1] & ~there[1:]) + 1).tolist():
        later = np.flatnonzero(there[end:])
        alone = int(later[0]) if len(later) else len(there) - end
        if alone >= LEFT_MIN and dice.random() < LEFT_SHARE:
            on[end : end + min(alone, dice.randint(LEFT_MIN, LEFT_MAX))] = True
    zeros = np.zeros(len(at), np.int64)
    return Readings.of([(np.full(len(at), number), at, np.where(on, LIGHT_MW, 0), zeros, zeros)])


def _with_light(document: Document, number: int) -> Document:
    """The document with a meter of the light's power in the room."""
    points = document.table("points")
    row: dict[str, Json] = {
        "id": "light",
        "number": number,
        "site": document.site,
        "gateway": "logger",
        "space": "room",
        "topic": METER_READINGS,
        "role": "light_power",
        "kind": "gauge",
        "medium": "electricity",
        "unit": "W",
        "interval_s": 60,
        "clock": "live",
    }
    table = {name: [*values, row.get(name)] for name, values in points.items()}
    return dataclasses.replace(
        document, tables={**document.tables, "points": table}, next_number=max(document.next_number, number + 1)
    )


def spells(result: Backtest, rules: Sequence[str] = ()) -> list[Spell]:
    """(start, end, when it fired) of episodes."""
    return [
        (one.started_ms, one.end_by(result.span.to_ms), one.fired_ms)
        for one in result.episodes
        if not rules or one.rule in rules
    ]


def _inside(grid: NDArray[np.int64], found: Sequence[Spell]) -> NDArray[np.bool_]:
    marks = np.zeros(len(grid), bool)
    for start, end, _ in found:
        marks |= (grid >= start) & (grid < end)
    return marks


# -- leaks ------------------------------------------------------------------------------------------------------------


def _water(trial: Trial) -> list[Row]:
    (document,) = trial.documents.values()
    readings = trial.sources[METER_READINGS][document.site]
    tried = on_trial(document, read_rules(["builtin/water"])[0])
    points = document.table("points")
    numbers, intervals = (
        {str(name): int(str(value or 0)) for name, value in zip(points["id"], points[column], strict=True)}
        for column in ("number", "interval_s")
    )
    clean = {space: _own(readings, numbers[f"{space}.flow"]) for space in map(str, document.table("spaces")["id"])}
    years, false = 0.0, 0
    for own in clean.values():
        false += len(_episodes(tried, own).alerts())
        steps = np.diff(own.times_ms)
        years += int(steps[steps <= DAY_MS].sum()) / YEAR_MS  # without the months in which nothing was read
    score = Score(0, false, 0)
    rate = round(false / years, 4)
    rows = [_row("water_clean", "water_fixtures as recorded", score, len(clean), false_per_fixture_year=rate)]
    for ml_per_min, text in LEAKS:
        score = Score(0, 0, 0)
        for place, (space, own) in enumerate(clean.items()):
            leaking, truth = _leaking(own, ml_per_min * 1000 // 60, SEED + place, intervals[f"{space}.flow"] > 0)
            score += _judged(truth, _episodes(tried, leaking).episodes)
        data = f"water_fixtures with leaks of {text} L/min, a day each"
        rows.append(_row("water_leak", data, score, score.hits + score.missed, ml_per_min >= LEAST_ML_PER_MIN))
    return rows


def _own(readings: Readings, number: int) -> Readings:
    kept = readings.numbers == number
    columns = (readings.numbers, readings.times_ms, readings.values, readings.qualities, readings.spans_ms)
    return Readings.of([tuple(column[kept] for column in columns)])


def _episodes(document: Document, own: Readings) -> Backtest:
    span = Span(int(own.times_ms[0]), int(own.times_ms[-1]) + 1)
    return backtest({document.site: document}, {METER_READINGS: {document.site: own}}, span)


def _leaking(own: Readings, flow: int, seed: int, beats: bool) -> tuple[Readings, list[tuple[int, int]]]:
    """The record with a flow (thousandths of mL/s) added for a day at some times, where it was read all day.

    `beats`: it is read all the time, else when something happens.
    """
    dice = random.Random(seed)  # noqa: S311 - times of what is injected
    times, values = own.times_ms, own.values.copy()
    silent_ms = 30 * MIN_MS if beats else DAY_MS
    starts: list[int] = []
    for _ in range(LEAKS_EACH * 200):
        start = dice.randrange(int(times[0]), int(times[-1]) - 2 * DAY_MS)
        day = np.r_[start, times[(times > start) & (times < start + DAY_MS)], start + DAY_MS]
        quiet = int(np.diff(day).max()) <= silent_ms
        if quiet and all(abs(start - other) > 3 * DAY_MS for other in starts):
            starts.append(start)
        if len(starts) == LEAKS_EACH:
            break
    extra: list[tuple[int, int]] = []
    for start in sorted(starts):
        before = np.maximum(np.searchsorted(times, (start, start + DAY_MS), side="right") - 1, 0)
        held = own.values[before].tolist()
        extra += [(start, held[0] + flow), (start + DAY_MS, held[1])]
    for start in starts:
        values[(times > start) & (times < start + DAY_MS)] += flow
    number = np.full(len(extra), own.numbers[0])
    zeros = np.zeros(len(extra), np.int64)
    more = (number, np.array([at for at, _ in extra]), np.array([value for _, value in extra]), zeros, zeros)
    return (
        Readings.of([(own.numbers, times, values, own.qualities, own.spans_ms), more]),
        [(start, start + DAY_MS) for start in sorted(starts)],
    )


def _judged(truth: Sequence[tuple[int, int]], found: Sequence[Episode]) -> Score:
    """A leak is found when something fires in its day; what fires outside of all of them is false."""
    delays, missed = [], 0
    for start, end in truth:
        fired = [one.fired_ms for one in found if start <= one.fired_ms <= end]
        if fired:
            delays.append((min(fired) - start) / 1000)
        else:
            missed += 1
    false = sum(1 for one in found if not any(start <= one.fired_ms <= end for start, end in truth))
    return Score(len(truth) - missed, false, missed, tuple(delays))


BENCH: Final = Bench(
    "detection", "people, lights for nobody and leaks found, against the truth", [Promise("f1", "least", 0.90)], run
)
