"""The README's story of a meter that was swapped three weeks ago, as it is told there, on the real stack."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import pytest

from ganzhi.embedded.system import System
from tests.system.runs import LIMIT_S, settle, until

README: Final = Path(__file__).parents[2] / "README.md"
HOUR_AGO: Final = "now64(3) - toIntervalHour(1)"
MONTH: Final = "SELECT point_id, quantity, not_measured FROM month_as_of(as_of = now64(3)) WHERE month = '2026-10-01'"


def blocks() -> list[str]:
    """What is to be typed: the story, its questions, and the house to try it with."""
    section = README.read_text("utf-8").split("\n## When the past changes\n")[1].split("\n## ")[0]
    return re.findall(r"^```\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


class Shell:
    """A shell in which `ganzhi` is the one under test, and the profile the one that is up."""

    def __init__(self, folder: Path, profile: str) -> None:
        self._folder = folder
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.env = {**os.environ, "PATH": path, "GANZHI_PROFILE": profile, "LANG": "en_GB.UTF-8", "COLUMNS": "160"}

    def run(self, lines: str) -> str:
        """What the lines print; each has to succeed."""
        done = subprocess.run(
            ["bash", "-e", "-c", lines], cwd=self._folder, env=self.env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{lines}\n{done.stdout}{done.stderr}"
        return done.stdout

    def ask(self, query: str) -> list[dict[str, Any]]:
        """Rows of a query."""
        return [json.loads(line) for line in self.run(f'ganzhi sql --json "{query}"').splitlines()]


def cells(text: str) -> list[list[str]]:
    """Words of the lines that hold something, three spaces or a wider gap between two cells."""
    return [re.split(r"\s{2,}", line.strip()) for line in text.splitlines() if line.strip()]


@pytest.mark.timeout(480)
def test_the_story_of_the_readme(tmp_path: Path) -> None:
    """From the note with two readings to the corrected month and its rows; taken back, the next night undoes it."""
    story, questions, house = blocks()
    with System("late-swap", ports="free") as system:
        shell = Shell(tmp_path, "late-swap")
        shell.run(house)
        settle(system)
        assert shell.ask(MONTH) == [{"point_id": "main", "quantity": 2_974_000, "not_measured": 2000}]
        [known] = shell.ask("SELECT toString(now64(3)) AS at")

        swap, dry_run, settled = [line for line in story.splitlines() if line]
        shell.run(swap)
        settle(system)
        shown = shell.run(dry_run)
        assert "+1.000 kWh" in shown
        assert shell.ask("SELECT count() AS rows FROM ledger WHERE cause = 'settlement'") == [{"rows": 0}]
        assert "+1.000 kWh" in shell.run(settled)
        settle(system)

        asked, _, table = questions.partition("\n\n")
        before, after, rows = [
            shell.run(line.replace(HOUR_AGO, f"toDateTime64('{known['at']}', 3)")) for line in asked.splitlines()
        ]
        assert cells(before)[-1] == ["main", "2026-10-01", "2974.0", "2.0"]
        assert cells(after)[-1] == ["main", "2026-10-01", "2975.0", "0.0"]
        printed, wanted = cells(rows), cells(table)
        assert wanted[0] in printed
        for row in wanted[1:]:
            assert row in printed or row == ["…"], (row, rows)
        changed = [line for line in printed if "swap of M1 told late" in line]
        assert len(changed) == 6, "the README says six"
        assert sum(int(line[1]) for line in changed) == 1000

        _taken_back(system, shell)


def _taken_back(system: System, shell: Shell) -> None:
    """The fact is withdrawn, and whoever settles at night settles that: the month is as it was."""
    [told] = [json.loads(line) for line in shell.run("ganzhi meter history M1 --json").splitlines()]
    shell.run(f"ganzhi meter withdraw M1 {told['event_id']}")
    env = {**shell.env, "GANZHI_SETTLE__NIGHTLY": "00:00"}
    night = subprocess.Popen([sys.executable, "-m", "ganzhi", "replay", "settle", "--nightly"], env=env)
    try:
        query = "SELECT reason FROM settle_records ORDER BY sequence"
        until(lambda: [row["reason"] for row in shell.ask(query)][1:] == ["nightly"], "settled at night", system)
        deadline_s = time.monotonic() + LIMIT_S
        while shell.ask(MONTH) != [{"point_id": "main", "quantity": 2_974_000, "not_measured": 2000}]:
            assert time.monotonic() < deadline_s, shell.ask(MONTH)
            system.keep()
        night.send_signal(signal.SIGTERM)
        assert night.wait(LIMIT_S) == 0
    finally:
        night.kill()
        night.wait()
