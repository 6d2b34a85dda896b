"""`ganzhi rules health` over alerts as a worker writes them, and marks as people make them."""

import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ganzhi.cli import build
from schemas.settings import ClickHouseSettings, KafkaSettings, Settings
from sinks.clickhouse.migrate import migrate
from sinks.desk.actions import Action, ActionWriter
from tests.sinks.clickhouse.world import sink_thread, wait_drained
from tests.sinks.desk.world import World, alert_row

MINUTE = 60_000
RULE, OTHER = "LightsInEmptyRoom", "TapRunning"


def test_alerts_marks_chatter_and_what_stands(
    kafka: KafkaSettings, clickhouse: ClickHouseSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven alerts in two days: one room chatters, one alert stands; two acknowledged, two false of which one taken back."""
    now_ms = int(time.time() * 1000) // MINUTE * MINUTE
    world = World(kafka, tmp_path)
    first = now_ms - 40 * 60 * MINUTE
    noisy = [(("east", RULE, "E1-101", number), first + 10 * MINUTE * number) for number in range(1, 5)]
    calm = [(("east", RULE, "E1-102", 1), first), (("east", OTHER, "E1-101", 1), first + 60 * MINUTE)]
    rows = []
    for key, at in (*noisy, *calm):
        rows.append(alert_row(key, "firing", at, started_at=at))
        rows.append(alert_row(key, "resolved", at + 5 * MINUTE, started_at=at))
    standing = ("east", OTHER, "E1-102", 1)
    rows.append(alert_row(standing, "firing", first, started_at=first))
    world.alerts(*rows)
    keys = [key for key, _ in (*noisy, *calm)]
    marks = [
        Action.on(keys[0], "acknowledge", "liu"),
        Action.on(keys[4], "acknowledge", "wang"),
        Action.on(keys[1], "false_alarm", "liu"),
        Action.on(keys[2], "false_alarm", "liu"),
        Action.on(keys[2], "true_alarm", "liu"),
    ]
    ActionWriter(kafka).write(marks)
    migrate(clickhouse)
    settings = Settings(kafka=kafka, clickhouse=clickhouse)
    with sink_thread(settings):
        wait_drained(settings)
    for name, value in {
        "PORT": str(clickhouse.port),
        "DATABASE": clickhouse.database,
        "READER_PASSWORD": clickhouse.reader_password.get_secret_value(),
    }.items():
        monkeypatch.setenv(f"GANZHI_CLICKHOUSE__{name}", value)
    result = CliRunner().invoke(build("rules"), ["rules", "health", "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)

    assert (found["alerts"], found["acknowledged_share"]) == (7, round(2 / 7, 4))
    assert (found["false_alarms"], found["true_alarms"]) == (1, 1)
    assert {row["rule"]: (row["alerts"], row["acknowledged"], row["false_alarms"]) for row in found["by_rule"]} == {
        RULE: (5, 2, 1),
        OTHER: (2, 0, 0),
    }
    assert found["top"][0] == {"site": "east", "rule": RULE, "subject": "E1-101", "alerts": 4}
    assert [(row["subject"], row["alerts_in_an_hour"]) for row in found["chattering"]] == [("E1-101", 4)]
    assert [(row["rule"], row["subject"]) for row in found["standing"]] == [standing[1:3]]
    assert sum(row["alerts"] for row in found["by_day"]) == 7
    shown = CliRunner().invoke(build("rules"), ["rules", "health"], catch_exceptions=False).stdout
    assert "E1-101" in shown and RULE in shown
