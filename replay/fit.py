"""Fits the parameters of the presence estimate to spaces where a people counter tells the truth.

The counter is taken out of the model, so that presence is estimated as where there is none, and the estimate's
probability is held against the counter, minute by minute. One parameter after another is tried at a few values beside
its own, and what lowers the loss is kept, until a round changes nothing. The loss is the log loss: a sure error costs
much.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from replay.backtest import Span
from replay.occupancy import presence
from replay.readings import Readings
from replay.scores import Score, by_sample, log_loss
from schemas.errors import ReplayError
from schemas.model.document import Document, Table
from schemas.model.generated import generated_points
from schemas.model.presence import COUNTER_ROLE, EVIDENCE, estimators, parameters, rows_of

FITTED: Final = (
    "co2_source", "co2_relative", "co2_weight", "arrive_working", "leave_working", "arrive_closed", "leave_closed",
    "co2_fast", "co2_slow", "motion_hold", "motion_still", "motion_active", "air_change", "wifi_present", "wifi_absent",
)  # fmt: skip
_NEEDS: Final = {"motion": "motion", "wifi": "wifi_clients", "plug": "socket_power", "door": "door_open"}
_OF_EVIDENCE: Final = tuple(
    name for name in FITTED if name.partition("_")[0] in (*_NEEDS, "co2") or name.startswith("air_")
)
FACTORS: Final = (Fraction(1, 2), Fraction(3, 4), Fraction(4, 3), Fraction(2))
ROUNDS_MAX: Final = 3
TABLE: Final = "occupancy_models"

Watch = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True)
class Case:
    """A site with a counter: its document without it, its readings, and what was counted.

    Attributes:
        document: without the counter, with the points that `apply` would make then.
        readings: all of them.
        truth: space → (start of each minute, whether somebody was there).
        span: what is compared.
    """

    document: Document
    readings: Readings
    truth: Mapping[str, tuple[NDArray[np.int64], NDArray[np.bool_]]]
    span: Span


@dataclasses.dataclass(frozen=True)
class Fit:
    """What was found.

    Attributes:
        values: parameter → value in its unit, of those that differ from what the model said.
        before: loss with the model's parameters.
        after: loss with those found.
        score: by minute, with those found.
    """

    values: Mapping[str, Fraction]
    before: float
    after: float
    score: Score


def case_of(document: Document, readings: Readings, span: Span) -> Case:
    """Takes the counters of a site for the truth.

    Raises:
        ReplayError: no space has a counter and what an estimate needs.
    """
    counted = {one.space: one for one in presence(document, readings, span) if one.how == "counted"}
    without = without_counters(document)
    spaces = {str(row["space"]) for row in rows_of(without.table("points")) if row.get("role") == "presence"}
    truth = {
        space: (one.from_ms, one.occupied) for space, one in counted.items() if space in spaces and len(one.from_ms)
    }
    if not truth:
        raise ReplayError(
            f"site {document.site} has no space with a people counter (role occupancy) that was read and with CO2 or "
            "Wi-Fi clients; nothing can be fitted without the truth"
        )
    return Case(without, readings, truth, span)


def without_counters(document: Document) -> Document:
    """The document as if there were no people counter, with the points that `apply` would make then."""
    points = document.table("points")
    kept = [row for row, role in enumerate(points["role"]) if role != COUNTER_ROLE]
    table: Table = {name: [values[row] for row in kept] for name, values in points.items()}
    number = document.next_number
    known = set(table["id"])
    for made in generated_points(document.site, {"points": table}):
        if made["id"] in known:
            continue
        for name, values in table.items():
            values.append({"number": number, "interval_s": 0, "clock": "live", "writable": False, **made}.get(name))
        number += 1
    return dataclasses.replace(document, tables={**document.tables, "points": table}, next_number=number)


def with_values(document: Document, values: Mapping[str, Fraction]) -> Document:
    """The document with parameters for all of its spaces, over what it says."""
    names = ("site", "space", "kind", "parameter", "value", "valid_from", "valid_to")
    before = document.table(TABLE)
    table: Table = {name: list(before.get(name, [None] * len(before.get("parameter", [])))) for name in names}
    spaces = sorted({str(row["space"]) for row in rows_of(document.table("points")) if row.get("role") == "presence"})
    for space in spaces:
        for name, value in values.items():
            row = {"space": space, "parameter": name, "value": str(value), "valid_from": "9999-12-31"}
            for column in names:
                table[column].append(row.get(column))
    return dataclasses.replace(document, tables={**document.tables, TABLE: table})


def judge(cases: Sequence[Case], values: Mapping[str, Fraction]) -> tuple[float, Score]:
    """(log loss, score by minute) over all cases; a minute that the estimate does not know is left out."""
    losses, weights, score = [], [], Score(0, 0, 0)
    for case in cases:
        for one in presence(with_values(case.document, values), case.readings, case.span):
            if one.space in case.truth:
                at, there = case.truth[one.space]
                _, mine, theirs = np.intersect1d(one.from_ms, at, return_indices=True)
                losses.append(log_loss(there[theirs], one.probability[mine]) * len(mine))
                weights.append(len(mine))
                score += by_sample(there[theirs], one.occupied[mine])
    return sum(losses) / max(1, sum(weights)), score


def _quiet(what: str, done: int, total: int) -> None:
    del what, done, total


def fit(cases: Sequence[Case], names: Sequence[str] = FITTED, watch: Watch = _quiet) -> Fit:
    """Finds parameters for some cases.

    Args:
        cases: of `case_of`.
        names: which parameters may move.
        watch: is told how far it is.
    """
    known = parameters()
    there = {EVIDENCE[kind] for case in cases for one in estimators(case.document) for kind, _ in one.evidence}
    names = [name for name in names if _NEEDS.get(name.partition("_")[0], "co2") in there or name not in _OF_EVIDENCE]
    values: dict[str, Fraction] = {}
    before, score = judge(cases, values)
    best = before
    total = ROUNDS_MAX * len(names)
    for turn in range(ROUNDS_MAX):
        changed = False
        for place, name in enumerate(names):
            one = known[name]
            current = values.get(name, one.value)
            for factor in FACTORS:
                tried = max(one.low, min(current * factor, one.high))
                loss, found = judge(cases, {**values, name: tried})
                if loss < best - 1e-6:
                    best, score, changed = loss, found, True
                    values[name] = tried
            watch("occupancy", turn * len(names) + place + 1, total)
        if not changed:
            break
    return Fit(values, before, best, score)
