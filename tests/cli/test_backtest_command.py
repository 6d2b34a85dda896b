"""`ganzhi rules backtest` on files alone: a stranger's model, CSV and mapping, without any stack."""

import json
import shutil
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
    assert "0.10 kWh" in shown


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (["--to", "2026-03-01"], ConfigurationError, "the first one is of"),
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
    with pytest.raises(ReplayError, match="no row can be used"):
        ganzhi("rules", "backtest", "lighting", *room)


def test_what_if_and_a_sweep(room: list[str], tmp_path: Path) -> None:
    """A longer wait loses the episode; a sweep shows where, and draws it."""
    rules = tmp_path / "model" / "rules"
    rules.mkdir()
    (rules / "own.yaml").write_text("pack: own\ninclude: builtin/lighting\nrules: []\n")
    (tmp_path / "slow.yaml").write_text(
        "pack: own\ninclude: builtin/lighting\nrules: []\noverrides:\n  - {alert: LightsInEmptyRoom, for: 90m}\n"
    )
    result = json.loads(ganzhi("replay", "what-if", "--rules", str(tmp_path / "slow.yaml"), *room, "--json"))
    assert (result["total"]["lost"], result["total"]["gained"]) == (1, 0)
    assert result["differences"][0]["before"]["rule"] == "LightsInEmptyRoom"
    assert result["total"]["before"]["waste"][0]["quantity"] == 100
    assert "lost" in ganzhi("replay", "what-if", "--rules", str(tmp_path / "slow.yaml"), *room)
    plot = tmp_path / "trade.svg"
    arguments = ("--sweep", "for=10m..70m/4", "--alert", "LightsInEmptyRoom", "--plot", str(plot), *room)
    swept = json.loads(ganzhi("replay", "what-if", *arguments, "--json"))
    assert [(row["value"], row["alerts"]) for row in swept["rows"]] == [
        ("600s", 1), ("1800s", 1), ("3000s", 1), ("4200s", 0),
    ]  # fmt: skip
    assert plot.read_text().startswith("<svg")
    with pytest.raises(ConfigurationError, match="nothing is different"):
        ganzhi("replay", "what-if", *room)


DRAFT = """pack: own
rules:
  - alert: Bright
    each: {space: [office]}
    roles: {light: light_power, people: occupancy}
    expr: light > 50 W and people == 0
    for: 20m
    wastes: [light]
    annotations: {zh: {summary: 亮, action: 关}, en: {summary: On, action: Off}}
    source: test
"""


def test_two_drafts_are_compared_before_either_is_in_force(room: list[str], tmp_path: Path) -> None:
    """The one that is in no model stands on the old side; without it the new one has only gained."""
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(DRAFT)
    new.write_text(DRAFT.replace("20m", "90m"))
    total = json.loads(ganzhi("replay", "what-if", "--rules", str(new), "--against", str(old), *room, "--json"))[
        "total"
    ]
    assert (total["lost"], total["gained"]) == (1, 0)
    total = json.loads(ganzhi("replay", "what-if", "--rules", str(old), *room, "--json"))["total"]
    assert (total["lost"], total["gained"]) == (0, 1)


@pytest.mark.parametrize(
    ("was", "now", "why"),
    [
        ("[office]", "[ofice]", "Bright runs on nothing: no space is of kind ofice; did you mean 'office'?"),
        ("people: occupancy", "people: motion", "none of the 1 space that would fit has a point of role motion"),
        ("[office]}", "[office], lacks: [occupancy]}", "no space fits what `each` asks for"),
        ("for: 20m", "for: 20m\n    enabled: false", "it is switched off on the 1 space that would fit"),
    ],
)
def test_a_rule_that_runs_on_nothing_says_why(room: list[str], tmp_path: Path, was: str, now: str, why: str) -> None:
    """On standard error: it looks like one that found nothing."""
    rules = tmp_path / "draft.yaml"
    rules.write_text(DRAFT.replace(was, now))
    for command in (("rules", "backtest", str(rules)), ("replay", "what-if", "--rules", str(rules))):
        result = CliRunner().invoke(build(command[0]), [*command, *room], catch_exceptions=False)
        assert result.exit_code == 0
        assert why in result.stderr
    rules.write_text(DRAFT)
    assert "nothing" not in CliRunner().invoke(build("rules"), ["rules", "backtest", str(rules), *room]).stderr


def test_of_a_whole_pack_rules_without_a_subject_are_only_named(room: list[str]) -> None:
    """One sentence; and points that nothing was read of are told."""
    said = CliRunner().invoke(build("rules"), ["rules", "backtest", "lighting", *room]).stderr
    assert "6 rules find nothing here that they could run on: LightsAfterHours, " in said
    assert "without a reading" not in said


def test_points_without_a_reading_are_told(room: list[str], tmp_path: Path) -> None:
    """A column that the mapping does not have, such as the counter without which nobody is seen."""
    (tmp_path / "mapping.yaml").write_text(MAPPING.replace("  heads: {point: people}\n", ""))
    said = CliRunner().invoke(build("rules"), ["rules", "backtest", "lighting", *room]).stderr
    assert "points of the model without a reading in these files: people" in said
    table = CliRunner().invoke(build("replay"), ["replay", "occupancy", *room])
    assert "one that has a counter in the model is not estimated" in table.stderr
    assert table.stdout.splitlines() == ["site,space,time,occupied,probability,people,how"]


def test_cases_are_found_by_the_name_of_their_pack(tmp_path: Path) -> None:
    """A built-in pack by its name, a file by what lies beside it; else what is missing."""
    assert "RegenerationLow" in ganzhi("rules", "test", "lifts")
    own = tmp_path / "own.yaml"
    own.write_text(DRAFT)
    with pytest.raises(ModelError, match=r"there is no own\.cases\.yaml beside it"):
        ganzhi("rules", "test", str(own))
    case = "{light: 120 W x30m, people: 0 x30m, expect: [firing 20m]}"
    (tmp_path / "own.cases.yaml").write_text(
        f"pack: own.yaml\ncases:\n  Bright:\n    subject: {{space: office}}\n    fault: {case}\n"
    )
    assert "1 of 1 cases pass" in ganzhi("rules", "test", str(own))
    with pytest.raises(ModelError, match="no pack of that name; known are builtin/"):
        ganzhi("rules", "test", "lightning")


def test_rows_without_a_value_are_told(room: list[str], tmp_path: Path) -> None:
    """On standard error, with their number; the episode is that of the rows that have one."""
    lines = (tmp_path / "room.csv").read_text().splitlines()
    lines[5:8] = [line.rpartition(",")[0] + "," for line in lines[5:8]]
    (tmp_path / "room.csv").write_text("\n".join(lines) + "\n")
    result = CliRunner().invoke(build("rules"), ["rules", "backtest", "lighting", *room, "--json"])
    assert "3 rows and cells without a value are left out" in result.stderr
    assert len(json.loads(result.stdout)["episodes"]) == 1


def test_occupancy_of_motion_alone(room: list[str], tmp_path: Path) -> None:
    """Occupied while something moves and five minutes after it; nothing is said where nothing was read."""
    points = tmp_path / "model" / "points.csv"
    header = points.read_text().splitlines()[0]
    points.write_text(f"{header}\npir,lab,g,room,motion,state,,,60\n")
    (tmp_path / "mapping.yaml").write_text(
        "site: lab\ntime: {column: time, zone: Asia/Shanghai}\nwide:\n  pir: {point: pir}\n"
    )
    rows = [f"2026-03-02 09:{minute:02d}:00,{int(10 <= minute < 20)}" for minute in range(60)]
    (tmp_path / "room.csv").write_text("\n".join(["time,pir", *rows]) + "\n")
    table = json.loads(ganzhi("replay", "occupancy", *room, "--json"))
    assert {(row["how"], row["people"]) for row in table} == {("motion", None)}
    there = [row["time"] for row in table if row["occupied"]]
    assert (there[0], there[-1]) == ("2026-03-02T01:10:00Z", "2026-03-02T01:24:00Z")
    assert all(row["probability"] == row["occupied"] for row in table)
    assert len(there) == 15 and len(table) >= 58
    (tmp_path / "room.csv").write_text("\n".join(["time,pir", *rows[:20], *rows[40:]]) + "\n")
    whole = json.loads(ganzhi("replay", "occupancy", *room, "--unknown", "--json"))
    assert [row["time"] for row in whole] == [f"2026-03-02T01:{minute:02d}:00Z" for minute in range(60)]
    assert {(row["occupied"], row["probability"]) for row in whole if row["how"] == "unknown"} == {(None, None)}
    assert next(row for row in whole if row["time"] == "2026-03-02T01:38:00Z")["how"] == "unknown"


def test_another_tariff_changes_the_cost_alone(room: list[str], tmp_path: Path) -> None:
    """The folder after: the price doubled."""
    rules = tmp_path / "model" / "rules"
    rules.mkdir()
    (rules / "own.yaml").write_text("pack: own\ninclude: builtin/lighting\nrules: []\n")
    after = tmp_path / "after"
    shutil.copytree(tmp_path / "model", after)
    (after / "tariffs.csv").write_text((after / "tariffs.csv").read_text().replace("0.6", "1.2"))
    result = json.loads(ganzhi("replay", "what-if", "--model-after", str(after), *room, "--json"))
    total = result["total"]
    assert (total["same"], total["before"]["cost_yuan"], total["after"]["cost_yuan"]) == (1, 0.06, 0.12)


AIR = """site: lab
time: {column: time, zone: Asia/Shanghai}
wide:
  ppm: {point: co2, unit: ppm, round: half_even}
  heads: {point: people}
"""


def test_occupancy_as_a_table_and_a_fit(room: list[str], tmp_path: Path) -> None:
    """CO2 alone: a row a minute, empty before and occupied after; a counter beside it can be fitted to."""
    points = tmp_path / "model" / "points.csv"
    text = points.read_text().replace("light,lab,g,room,light_power,gauge,electricity,W,60\n", "")
    counted = text + "co2,lab,g,room,co2,gauge,,ppm,60\n"
    rows, level = ["time,ppm,heads"], 450.0
    for minute in range(8 * 60):
        there = 180 <= minute < 360
        level += (6 if there else 0) - 0.012 * (level - 430)
        rows.append(f"2026-03-02 {8 + minute // 60:02d}:{minute % 60:02d}:00,{level:.3f},{int(there)}")
    (tmp_path / "room.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "mapping.yaml").write_text(AIR)
    points.write_text(counted)
    some = ("--parameter", "co2_source", "-o", str(tmp_path / "rows.csv"), "--json")
    fitted = json.loads(ganzhi("fit", "occupancy", *room, *some))
    assert fitted["f1"] > 0.9 and fitted["loss"] <= fitted["loss_before"]
    shutil.copy(tmp_path / "rows.csv", tmp_path / "model" / "occupancy_models.csv")
    assert json.loads(ganzhi("fit", "occupancy", *room, "--judge", "--json"))["loss"] == pytest.approx(
        fitted["loss"], abs=1e-4
    )
    points.write_text(counted.replace("people,lab,g,room,occupancy,state,,people,60\n", ""))
    (tmp_path / "mapping.yaml").write_text(AIR.replace("  heads: {point: people}\n", ""))
    table = json.loads(ganzhi("replay", "occupancy", *room, "--json"))
    assert {row["how"] for row in table} == {"estimated"}
    at = {row["time"]: row for row in table}
    assert at["2026-03-02T02:30:00Z"]["occupied"] == 0
    assert at["2026-03-02T04:30:00Z"]["occupied"] == 1
    assert at["2026-03-02T04:30:00Z"]["probability"] > 0.9
    assert ganzhi("replay", "occupancy", *room).startswith("site,space,time,occupied,probability,people,how\n")
    with pytest.raises(ConfigurationError, match="divide a day"):
        ganzhi("replay", "occupancy", *room, "--every", "7m")
    with pytest.raises(ReplayError, match="people counter"):
        ganzhi("fit", "occupancy", *room)
