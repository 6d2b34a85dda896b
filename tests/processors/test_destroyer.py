"""A real campus, destroyed under a seed: settled, every kilowatt-hour is there, and says how it is known."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from processors.advance import Processor
from tests.datasets.sums import data
from tests.processors.settling import ledger, settle, settler, signed
from tests.processors.world import DAY, T0, Record, config, decode, library, slab
from tests.support.destroyer import HOUR_MS, Destroyed, destroy, hours, model


def lives(folders: list[Path], years: tuple[str, ...], seed: int) -> dict[int, Destroyed]:
    """Destroyed meters by number."""
    found = {}
    for number, folder in enumerate(folders, 1):
        start, usage = hours(folder, years)
        found[number] = destroy(number, start, usage, seed)
    return found


def run(found: dict[int, Destroyed]) -> None:
    """Lives through the log as it arrived, settles it, and compares what is published with the destroyer's own log."""
    doc = signed(model(found))
    arrivals = sorted((item for life in found.values() for item in life.arrivals), key=lambda item: item[0])
    log: list[Record] = [(0, T0 - 9000 * DAY, b"s1", config(doc))]
    log += [(place, time, b"s1", message) for place, (time, message) in enumerate(arrivals, 1)]
    start, end = min(life.start for life in found.values()), arrivals[-1][0]
    log.append((len(log), end + DAY, b"s1", settle(1, start - DAY, end)))
    live = Processor("meter.readings", 0, library(doc).__getitem__)
    live.advance(slab(log))
    rows = decode(live.take())
    assert not rows["rejected"]
    assert {"late", "late_fact"} <= {row["code"] for row in rows["verdicts"]}

    task = settler(log, library(doc))
    task.advance(slab(log))
    sums: dict[int, dict[tuple[int, int, str], int]] = {number: {} for number in found}
    for (number, *key), quantity in ledger(rows["ledger"] + decode(task.take())["ledger"]).items():
        sums[number][key[0], key[1], key[2]] = quantity
    for number, life in found.items():
        own = sums[number]
        assert sum(own.values()) == int(life.usage.sum()), "conservation error is 0"
        found_hours = np.zeros(len(life.usage), np.int64)
        for (from_ms, to_ms, how), quantity in own.items():
            first, last = (from_ms - life.start) // HOUR_MS, (to_ms - life.start) // HOUR_MS
            if how == "measured" and last - first == 1:
                found_hours[first] += quantity
        measured = life.sound & ~life.unknown
        assert np.array_equal(found_hours[measured], life.usage[measured]), "hour by hour, where nothing is missing"
        estimated = sum(quantity for (_, _, how), quantity in own.items() if how in ("gap", "profiled"))
        assert estimated == life.estimated, "the share of the estimated is the destroyer's"
        for what, times_done in life.damage.items():
            assert times_done or what in ("rollovers", "multipliers", "corrupted"), what
    assert not any(map(len, dataclasses.astuple(task.difference("s1", start - DAY, end)))), (
        "settled once, nothing is left"
    )


def test_two_destroyed_years_of_one_building() -> None:
    """Electricity and gas: short enough for every run of the tests."""
    folders = sorted(folder for folder in data("campus_meters").glob("b4/*") if folder.is_dir())
    run(lives(folders, ("2018", "2019"), seed=5))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_the_whole_campus_destroyed(seed: int) -> None:
    """All meters, all years, three destroyers: nothing is lost, every hour with both its readings is as it was."""
    folders = sorted(folder for folder in data("campus_meters").glob("b*/*") if folder.is_dir())
    assert len(folders) == 16
    run(lives(folders, ("2018", "2019", "2020", "2021"), seed))
