"""`ganzhi rules backtest` on files alone: a stranger's model, CSV and mapping, without any stack."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ganzhi.cli import build
from schemas.errors import ConfigurationError, ModelError, ReplayError

MODEL = {
    "sites.yaml": "- {id: lab, time_zone: Asia/Shanghai}\n",
    "buildings.yaml": "- {id: b1, site: lab}\n",
    "spaces.csv": "id,building,kind\nroom,b1,office\n",
    "gateways.csv": "id,site\ng,lab\n",
    "points.csv": (
        "id,site,gateway,space,role,kind,medium,unit,interval_s\n"
        "light,lab,g,room,light_power,gauge,electricity,W,60\n"
        "people,lab,g,room,occupancy,state,,people,60\n"
    ),
    "tariffs.csv": "id,medium,component,price,unit,valid_from,source\nt,electricity,energy,0.6,kWh,2026-01-01,test\n",
}
MAPPING = """site: lab
time: {column: time, zone: Asia/Shanghai}
wide:
  watts: {point: light, unit: W}
  heads: {point: people}
"""


@pytest.fixture
def room(tmp_path: Path) -> list[str]:
    """The options that name a room whose light stays on from 09:30 to 10:30 after everybody left."""
    model = tmp_path / "model"
    model.mkdir()
    for name, text in MODEL.items():
        (model / name).write_text(text)
    rows = ["time,watts,heads"]
    for minute in range(120):
        on, there = minute < 90, minute < 30
        rows.append(f"2026-03-02 {9 + minute // 60:02d}:{minute % 60:02d}:00,{100 if on else 0},{2 if there else 0}")
    (tmp_path / "room.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "mapping.yaml").write_text(MAPPING)
    return ["--model", str(model), "--csv", str(tmp_path / "room.csv"), "--mapping", str(tmp_path / "mapping.yaml")]


def ganzhi(*arguments: str) -> str:
    """What a command prints."""
    result = CliRunner().invoke(build(arguments[0]), list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_episodes_of_a_built_in_pack_as_json(room: list[str]) -> None:
    """Start, end, waste and price of the one episode, and the sums."""
    result = json.loads(ganzhi("rules", "backtest", "lighting", *room, "--json"))
    (one,) = result["episodes"]
    assert (one["rule"], one["room"], one["state"]) == ("LightsInEmptyRoom", "room", "resolved")
    assert (one["start"], one["end"]) == ("2026-03-02T01:30:00Z", "2026-03-02T02:30:00Z")
    assert one["waste"] == [{"medium": "electricity", "unit": "Wh", "quantity": 100}]
    assert one["cost_yuan"] == pytest.approx(0.06)
    assert result["total"]["alerts"] == 1
    assert result["days"] == [{"day": "2026-03-02", "alerts": 1}]
    assert result["noisiest"] == [{"site": "lab", "room": "room", "alerts": 1}]
    assert {"rule": "LightsInEmptyRoom", "episodes": 1}.items() <= next(
        r for r in result["rules"] if r["alerts"]
    ).items()


def test_a_span_is_local_time_of_the_site(room: list[str]) -> None:
    """The alert fires at 09:50 local; a span from 10:00 on has the episode, and no alert."""
    result = json.loads(ganzhi("rules", "backtest", "lighting", *room, "--from", "2026-03-02T10:00", "--json"))
    assert (result["from"], len(result["episodes"]), result["total"]["alerts"]) == ("2026-03-02T02:00:00Z", 1, 0)
    assert result["total"]["waste"][0]["quantity"] == 50


def test_people_read_a_table(room: list[str]) -> None:
    """The rule, its room and what it wasted."""
    shown = ganzhi("rules", "backtest", "lighting", *room)
    assert "LightsInEmptyRoom" in shown
    assert "0.1 kWh" in shown


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (["--to", "2026-03-01"], ConfigurationError, "begin at"),
        (["--from", "soon"], ConfigurationError, "no time"),
        (["--from", "2026-03-03", "--to", "2026-03-02"], ConfigurationError, "not before"),
        (["--site", "elsewhere"], ConfigurationError, "unknown site elsewhere"),
    ],
)
def test_wrong_options_say_what_is_wrong(
    room: list[str], change: list[str], error: type[Exception], words: str
) -> None:
    """A span without readings, no time, no such site."""
    with pytest.raises(error, match=words):
        ganzhi("rules", "backtest", "lighting", *room, *change)


def test_unknown_packs_and_files_without_readings(room: list[str], tmp_path: Path) -> None:
    """What there is instead; and that the history is empty."""
    with pytest.raises(ModelError, match="builtin/lighting"):
        ganzhi("rules", "backtest", "lightning", *room)
    with pytest.raises(ConfigurationError, match="go together"):
        ganzhi("rules", "backtest", "lighting", *room[:2])
    (tmp_path / "room.csv").write_text("time,watts,heads\n")
    with pytest.raises(ReplayError, match="no reading"):
        ganzhi("rules", "backtest", "lighting", *room)
