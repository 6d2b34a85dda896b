"""The demo as people run it: one run from the command line, and the pieces of its screen and of its report."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from rich.cells import cell_len
from rich.text import Text

from ganzhi.cli import texts
from ganzhi.cli.demo import seconds_of
from ganzhi.demo import plan, screen
from ganzhi.demo.layout import BUILDINGS, zone_index, zones
from ganzhi.demo.registers import registers
from ganzhi.demo.result import Result, due_ms, ledger_difference
from tests.demo.conftest import DAYS, MINUTES, Run

QUARTER_MS = 900_000
RUN_TIMEOUT_S = 300


@pytest.mark.kafka
@pytest.mark.clickhouse
def test_a_short_run_finds_everything_and_adds_up(tmp_path: Path) -> None:
    """35 s of life: every anomaly is found and nothing else, all of it adds up, and no process is left."""
    env = {**os.environ, "XDG_DATA_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "ganzhi", "demo", "--for", "35s", "--json", "--free-ports"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    told = json.loads(done.stdout.splitlines()[-1])
    for name in ("lights", "air_conditioning", "water"):
        assert told["anomalies"][name]["injected"] > 0, name
    for name, one in told["anomalies"].items():
        assert one["found"] == one["injected"], (name, told["missed"])
        assert one["false"] == 0, (name, told["wrong"])
    assert sum(told["alerts"].values()) >= sum(one["found"] for one in told["anomalies"].values())
    assert told["ledger_difference"] == told["rejected"] == told["dirty"] == 0
    assert told["published_rows"] == told["stored_rows"] > told["ledger_rows"] > 2_000_000
    assert told["readings"] > 2_000_000
    assert told["events"] > 0
    assert told["first_alert_s"] > 0
    assert told["verify"]["identical"]
    assert len(told["verify"]["sha256"]) == 64
    assert not _processes(str(tmp_path))


def _processes(words: str) -> list[str]:
    """Command lines of living processes that contain some words."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if words in line:
            found.append(line)
    return found


Ledger = list[tuple[str, int, int, int]]
Names = dict[tuple[str, int], str]


def _ledger(run: Run) -> tuple[Ledger, Names]:
    """A ledger that is right: every register up to where it is due, every total; and the names of its points."""
    simulator = run.simulator
    rows: Ledger = []
    names: Names = {}
    for register in registers():
        last_ms = due_ms(simulator, register, simulator.now_ms)
        names["site", len(rows)] = register.id
        used = simulator.read(register.id, last_ms)
        rows.append(("site", len(rows), last_ms, used))
    for point, total in simulator.totals.items():
        names["site", len(rows)] = point
        rows.append(("site", len(rows), simulator.now_ms, total))
    return rows, names


def test_a_ledger_that_is_right_differs_by_nothing(run: Run) -> None:
    """The ledger of the meters and totals differs by 0; a unit more at one point and two less at another by 3."""
    rows, names = _ledger(run)
    assert ledger_difference(run.simulator, run.simulator.now_ms, rows, names) == 0
    (site, number, last_ms, used), last = rows[0], rows[-1]
    spoilt = [(site, number, last_ms, used + 1), *rows[1:-1], (*last[:3], last[3] - 2)]
    assert ledger_difference(run.simulator, run.simulator.now_ms, spoilt, names) == 3


def test_a_ledger_that_ends_early_or_lacks_a_point_differs(run: Run) -> None:
    """What is missing counts: the last quarter-hour of a register, a register, a total."""
    simulator = run.simulator
    rows, names = _ledger(run)
    at = next(i for i, row in enumerate(rows) if names[row[0], row[1]] == "A.T1.import")
    site, number, last_ms, used = rows[at]
    quarter = simulator.usage("A.T1.import", last_ms - QUARTER_MS, last_ms)
    assert quarter > 0
    early = [*rows[:at], (site, number, last_ms - QUARTER_MS, used - quarter), *rows[at + 1 :]]
    assert ledger_difference(simulator, simulator.now_ms, early, names) == quarter
    assert ledger_difference(simulator, simulator.now_ms, rows[:at] + rows[at + 1 :], names) == used
    assert ledger_difference(simulator, simulator.now_ms, rows[:-1], names) == rows[-1][3]


def test_faults_move_what_is_due_of_a_register(run: Run) -> None:
    """A silent meter is due until it fell silent, a late gateway four minutes later than others."""
    simulator = run.simulator
    midnight_ms = simulator.world.epoch_ms + DAYS * 86_400_000
    quarter_to_five_ms = midnight_ms + (16 * 60 + 45) * 60_000
    due = {one.meter: due_ms(simulator, one, simulator.now_ms) for one in registers()}
    assert due["M-A-F05"] == quarter_to_five_ms
    assert due["M-A-F04"] == quarter_to_five_ms + MINUTES * 60_000 == simulator.now_ms
    late = next(one for one in registers() if one.gateway == "gw-b-07")
    assert due_ms(simulator, late, simulator.now_ms) == simulator.now_ms - QUARTER_MS
    assert due_ms(simulator, late, simulator.now_ms + 240_000) == simulator.now_ms


GOOD = Result(
    events=1, readings=1, alerts={}, ledger_rows=1, first_alert_s=1.0,
    anomalies={"lights": {"injected": 1, "found": 1, "false": 0}}, ledger_difference=0, published_rows=5, stored_rows=5,
    rejected=0, dirty=1, identical=True, sha256="",
)  # fmt: skip


@pytest.mark.parametrize(
    "fault",
    [
        {"anomalies": {"lights": {"injected": 2, "found": 1, "false": 0}}},
        {"anomalies": {"lights": {"injected": 1, "found": 1, "false": 1}}},
        {"ledger_difference": -1},
        {"stored_rows": 4},
        {"rejected": 1},
        {"identical": False},
    ],
)
def test_one_fault_makes_a_result_bad(fault: dict[str, object]) -> None:
    """Each of the conditions of the exit status fails it alone; spans left for settlement do not."""
    assert GOOD.ok
    assert not dataclasses.replace(GOOD, **fault).ok  # type: ignore[arg-type]


def test_the_result_for_programs_has_the_promised_fields() -> None:
    """The JSON object has what `--json` promises."""
    promised = {
        "events", "readings", "alerts", "ledger_rows", "first_alert_s", "anomalies", "ledger_difference",
        "published_rows", "stored_rows", "rejected", "dirty", "verify",
    }  # fmt: skip
    told = json.loads(json.dumps(GOOD.as_dict()))
    assert promised <= told.keys()
    assert told["verify"] == {"identical": True, "sha256": ""}


@pytest.mark.parametrize(("words", "seconds"), [("90s", 90), ("90", 90), ("2m", 120), ("1.5 m", 90), ("1h", 3600)])
def test_durations_are_read(words: str, seconds: float) -> None:
    """Seconds, minutes, hours."""
    assert seconds_of(words) == seconds


@pytest.mark.parametrize("words", ["", "0", "-3s", "3d", "soon"])
def test_what_is_no_duration_is_refused(words: str) -> None:
    """The message shows how to write one."""
    with pytest.raises(typer.BadParameter, match="90s"):
        seconds_of(words)


def test_floors_are_tiles_of_equal_width() -> None:
    """80 cells wide, a line a floor; a room that burns is one red tile; light and people change colours."""
    rooms = {name: np.zeros(len(zones()), np.int64) for name in ("light", "air", "people", "water")}
    dark = plan.floors(rooms, [])
    lines = dark.split("\n")
    assert [cell_len(line.plain.rstrip()) for line in lines[:2]] == [26, 26]
    assert {cell_len(line.plain) for line in lines} == {80}
    assert len(lines) == max(building.floors for building in BUILDINGS)
    at = zone_index()["C-0101"]
    assert plan.floors(rooms, [at]).plain.count("!") == 1
    rooms["light"][at] = rooms["people"][at] = 1
    lit = plan.floors(rooms, [])
    assert lit.plain == dark.plain
    assert [str(span.style) for span in lit.spans] != [str(span.style) for span in dark.spans]


def test_sparklines_scale_to_the_largest() -> None:
    """The largest value is a full bar, nothing is the lowest; short series are padded in front, long ones cut there."""
    assert plan.sparkline([0, 5, 10], 5) == "  ▁▄█"
    assert plan.sparkline([9, 0, 5, 10], 3) == "▁▄█"
    assert plan.sparkline([0, 0], 2) == "▁▁"
    assert plan.sparkline([], 3) == "   "


@pytest.mark.parametrize("words", ["ab", "办公室A座", "Building A, administration"])
def test_words_are_fitted_by_cells(words: str) -> None:
    """Whatever the script, a fitted text has exactly the width."""
    for width in (2, 5, 9, 30):
        assert cell_len(plan.fit(words, width)) == width


@pytest.mark.parametrize("width", [80, 100, 160])
def test_usage_fits_the_terminal(width: int) -> None:
    """Two sparklines a line, no line wider than the terminal; electricity before water."""
    usage = {item: list(range(31)) for item in ("A1", "A2", "B2", "water")}
    usage["A1"] = [1_000_000 * value for value in usage["A1"]]
    usage["water"] = [1_000_000_000 * value for value in usage["water"]]
    lines = screen.usage_lines(usage, width)
    assert len(lines) == 2
    assert all(line.cell_len <= width for line in lines)
    assert lines[0].plain.startswith("A1")
    assert Text(texts.text("water")).plain in lines[1].plain


def test_rates_are_means_over_seconds() -> None:
    """Rates count what came in the last five seconds."""
    rates = screen.Rates()
    assert rates.take(0.0, 0, 0) == (0.0, 0.0)
    assert rates.take(2.0, 10, 1000) == (5.0, 500.0)
    assert rates.take(10.0, 10, 9000) == (0.0, 1000.0)
