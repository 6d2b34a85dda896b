"""`ganzhi apply --plan`, a back-test of a stack's log, and `ganzhi rules health`, on the real parts."""

import json
import shutil
import uuid
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ganzhi.cli import build
from ganzhi.embedded.stack import Stack
from schemas.settings import Settings, WorkerSettings
from streams.published import read_documents
from streams.sources.batching import BatchWriter
from tests.cli.test_backtest_command import MODEL
from tests.sinks.clickhouse.world import sink_thread, wait_drained
from tests.streams.pipeline import local_worker, until

SOON_MS = 1_772_415_000_000
"""2026-03-02 09:30 in Shanghai."""


RULE = """\
pack: own
rules:
  - alert: LightsInEmptyRoom
    each: {space: [office, meeting, classroom]}
    roles: {light: light_power, people: occupancy}
    expr: light > 50 W and people == 0
    clear: light <= 50 W or people > 0
    for: 20m
    keep_firing_for: 2m
    wastes: [light]
    labels: {severity: warning}
    annotations:
      zh: {summary: 房间无人灯亮, action: 关灯}
      en: {summary: Lights on in an empty room, action: Switch them off}
    source: test
"""


def ganzhi(*arguments: str) -> str:
    """What a command prints."""
    result = CliRunner().invoke(build(arguments[0]), list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.long
def test_imported_history_is_tried_planned_and_its_health_told(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Backfilled light for nobody: no alert live, one in a back-test; a plan says what another wait would change."""
    name = f"t{uuid.uuid4().hex[:12]}"
    settings = Settings(
        kafka=stack.kafka_settings.model_copy(update={"prefix": f"{name}."}),
        clickhouse=stack.clickhouse_settings.model_copy(update={"database": name}),
        worker=WorkerSettings(commit_interval_s=0.1, tick_interval_s=0.5),
    )
    house = settings.clickhouse
    for key, value in {
        "GANZHI_KAFKA__BOOTSTRAP": settings.kafka.bootstrap,
        "GANZHI_KAFKA__PREFIX": settings.kafka.prefix,
        "GANZHI_CLICKHOUSE__PORT": str(house.port),
        "GANZHI_CLICKHOUSE__DATABASE": house.database,
        "GANZHI_CLICKHOUSE__READER_PASSWORD": house.reader_password.get_secret_value(),
        "XDG_DATA_HOME": str(tmp_path / "data"),
    }.items():
        monkeypatch.setenv(key, value)
    model = tmp_path / "model"
    (model / "rules").mkdir(parents=True)
    for file, text in MODEL.items():
        (model / file).write_text(text)
    (model / "rules" / "own.yaml").write_text(RULE)
    ganzhi("apply", str(model), "--json")
    documents = read_documents(settings.kafka)
    numbers = dict(zip(documents["lab"].table("points")["id"], documents["lab"].table("points")["number"], strict=True))
    with BatchWriter(settings.kafka, documents) as writer:
        for point, value in (("light", 100_000), ("people", 0)):
            times = SOON_MS + 60_000 * np.arange(61)
            columns = (np.full(61, int(str(numbers[point])), np.int32), np.full(61, value), np.zeros(61, np.int8))
            writer.send("lab", "g", "backfill", times, *columns)
    with sink_thread(settings), local_worker(settings) as worker:

        def tried() -> bool:
            run = CliRunner().invoke(build("rules"), ["rules", "backtest", "--json"])
            return run.exit_code == 0 and len(json.loads(run.stdout)["episodes"]) == 1

        until(tried, worker)
        wait_drained(settings)
    (one,) = json.loads(ganzhi("rules", "backtest", "--json"))["episodes"]
    assert (one["rule"], one["state"], one["start"]) == ("LightsInEmptyRoom", "open", "2026-03-02T01:30:00Z")
    assert one["waste"] == [{"medium": "electricity", "unit": "Wh", "quantity": 100}]
    assert json.loads(ganzhi("rules", "backtest", "--source", "event_log", "--json"))["episodes"] == [one]
    after = tmp_path / "after"
    shutil.copytree(model, after)
    with (after / "rules" / "own.yaml").open("a") as file:
        file.write("overrides:\n  - {alert: LightsInEmptyRoom, for: 2h}\n")
    assert json.loads(ganzhi("apply", str(model), "--plan", "--json")) is None
    before = read_documents(settings.kafka)["lab"].sha256
    assert "nothing" in ganzhi("apply", str(model), "--plan")
    planned = json.loads(ganzhi("apply", str(after), "--plan", "--json"))
    assert (planned["total"]["lost"], planned["total"]["before"]["waste"][0]["quantity"]) == (1, 100)
    assert "LightsInEmptyRoom" in ganzhi("apply", str(after), "--plan")
    assert read_documents(settings.kafka)["lab"].sha256 == before
    what = json.loads(ganzhi("replay", "what-if", "--model-after", str(after), "--json"))
    assert (what["total"]["lost"], what["total"]["same"]) == (1, 0)
    health = json.loads(ganzhi("rules", "health", "--json"))
    assert (health["alerts"], health["acknowledged_share"], health["top"]) == (0, None, [])
    assert "0" in ganzhi("rules", "health")
