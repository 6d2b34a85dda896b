"""Real inverters whose file marks stale and outlying values: how many are found, and how many wrongly."""

from datetime import datetime
from itertools import pairwise
from pathlib import Path

from schemas.model.document import Document
from tests.datasets.sums import data, rows
from tests.processors.world import DAY, MIN, T0, batch, config, document, library, pack, point, records, run

POWER = 1
STALE = pack(
    """Stale
    each: {space: [office]}
    roles: {power: power}
    expr: max_over(power, 2h) == min_over(power, 2h) and power != 0 W
    for: 0s"""
)


def readings(file: Path, flag: str) -> list[tuple[int, int, bool]]:
    """(time, thousandths of rated power, flagged) of every value that is there."""
    found = []
    for row in rows(file):
        if row["value_normalized"]:
            time = round(datetime.fromisoformat(row["timestamp"]).timestamp()) * 1000
            found.append((time, round(float(row["value_normalized"]) * 1000), row[flag].lower() == "true"))
    return found


def site(rules: str = "", **limits: str) -> Document:
    """One inverter's power in thousandths of its rated power, as if they were watts."""
    return document([point(POWER, space="r1", role="power", interval_s=900, max_age_s=1800, **limits)], rules)


def test_outlying_values_are_out_of_range() -> None:
    """The point's range (nothing below 0, a tenth above rated power) finds 5 of 6 flagged values, and none wrongly."""
    values = readings(data("pv") / "ac_power_inv_7539_outliers.csv", "outlier")
    doc = site(min="0", max="1.1")
    log = [(T0 + 4000 * DAY, config(doc)), *((T0 + 4000 * DAY, batch([(POWER, at, value)])) for at, value, _ in values)]
    verdicts = run(records(log), library(doc))[1]["verdicts"]
    found = {row["time_ms"] for row in verdicts if row["code"] == "out_of_range"}
    flagged = {at for at, _, bad in values if bad}
    assert (len(flagged), len(found & flagged), len(found - flagged)) == (6, 5, 0)


def test_stale_values_raise_an_alert() -> None:
    """A rule of one line (unchanged for two hours, and not 0) finds the three flagged spells, and no other."""
    values = readings(data("pv") / "ac_power_inv_2173_stale_data.csv", "stale_data_mask")
    doc = site(STALE)
    log = [(values[0][0], config(doc)), *((at, batch([(POWER, at, value)])) for at, value, _ in values)]
    alerts = run(records(log), library(doc))[1]["alerts"]
    begins = [row["started_at"] for row in alerts if row["state"] == "firing"]
    flagged = [at for at, _, bad in values if bad]
    spells = [flagged[0], *(after for before, after in pairwise(flagged) if after - before > 15 * MIN)]
    assert len(spells) == 3
    assert len(spells) == len(begins) == 3
    assert [begin - spell for begin, spell in zip(begins, spells, strict=True)] == [105 * MIN] * 3
