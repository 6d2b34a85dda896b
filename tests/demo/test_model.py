"""The site model of the demo: what it promises, and that it has no fault."""

from collections import Counter
from pathlib import Path

import pytest
import yaml

from ganzhi.demo import truth
from ganzhi.demo.model import write_model
from ganzhi.demo.points import points
from schemas.model.check import check_folder
from schemas.model.typed import Model
from schemas.rules.format import Pack, Rule, parse_duration, parse_pack
from schemas.rules.pack import built_in_packs
from streams.published import partition_of


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The model, written and read back; it has no fault."""
    folder = tmp_path_factory.mktemp("model")
    write_model(folder)
    found, faults = check_folder(folder)
    assert faults == []
    return found


def test_counts(model: Model) -> None:
    """Three buildings, 600 rooms, about 3,000 points, 98 departments, 40 stations and 60 vehicles."""
    assert Counter(model.rows("buildings").texts("class")) == {"A": 3, "H": 1}
    kinds = Counter(model.rows("spaces").texts("kind"))
    emergency = sum("emergency" in tags for tags in model.rows("spaces").columns["tags"] if isinstance(tags, list))
    assert kinds.total() - kinds["floor"] - kinds["garage"] - kinds["landscape"] - emergency == 600
    assert emergency == kinds["floor"] == 25
    assert 2900 <= len(model.rows("points")) == len(points()) <= 3300
    assert len(model.rows("departments")) == 98
    assert len(model.rows("stations")) == 40
    assert len(model.rows("vehicles")) == 60


def test_sites_spread_over_four_partitions(model: Model) -> None:
    """Each site has a partition of its own."""
    assert sorted(partition_of(site, 4) for site in model.rows("sites").texts("id")) == [0, 1, 2, 3]


def test_every_sub_item_and_kind_of_edge_is_there(model: Model) -> None:
    """Points have the sub-items of the centre, and the balance takes in supply, PV and regeneration."""
    assert set(model.rows("points").texts("sub_item")) - {""} == {
        "A1",
        "A2",
        "A3",
        "B1",
        "B2",
        "C1",
        "C2",
        "C3",
        "D1",
        "D3",
        "D6",
    }
    roles = dict(zip(model.rows("points").texts("id"), model.rows("points").texts("role"), strict=True))
    balance = model.rows("balance")
    taken_in = {
        roles[point] for point, sign in zip(balance.texts("point"), balance.columns["sign"], strict=True) if sign == 1
    }
    assert {"energy", "pv_energy", "regeneration", "water"} <= taken_in


def test_same_bytes(tmp_path: Path) -> None:
    """Writing the model twice gives the same bytes."""
    for name in ("one", "two"):
        write_model(tmp_path / name)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert len(files) > 20
    assert all((tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes() for file in files)


def test_every_price_says_that_it_is_assumed(model: Model) -> None:
    """No price passes for a real one."""
    assert set(model.rows("tariffs").texts("source")) == {"demo assumption"}


def _rules(tmp_path: Path) -> tuple[dict[str, Rule], Pack]:
    write_model(tmp_path)
    model, _ = check_folder(tmp_path)
    (pack,) = [parse_pack(one) for one in model.packs]
    return {rule.alert: rule for rule in pack.rules}, pack


def test_every_rule_of_the_packs_has_a_truth(tmp_path: Path) -> None:
    """Each is on and told by the truth, or it says why nothing breaks it."""
    rules, pack = _rules(tmp_path)
    assert rules.keys() == truth.RULES.keys() | truth.UNTOLD.keys()
    assert not truth.RULES.keys() & truth.UNTOLD.keys()
    on = {name for one in pack.overrides if one.enabled for name in one.alert}
    off = {name for one in pack.overrides if not one.enabled for name in one.alert}
    assert not off
    assert {name for name, rule in rules.items() if not rule.enabled} <= on
    said = yaml.safe_load((tmp_path / "rules" / "civic.yaml").read_text("utf-8"))
    assert sorted(said["include"]) == list(built_in_packs())


def test_truth_knows_the_rules_as_they_are(tmp_path: Path) -> None:
    """`for` and `keep_firing_for` of the truth are those of the packs with the demo's overrides."""
    rules, pack = _rules(tmp_path)
    held = {name: rule.for_ms for name, rule in rules.items()}
    held.update({name: one.for_ms for one in pack.overrides for name in one.alert if one.for_ms is not None})
    for name, known in truth.RULES.items():
        assert (held[name], rules[name].keep_ms) == (known.for_s * 1000, known.keep_s * 1000), name
    said = yaml.safe_load((tmp_path / "rules" / "civic.yaml").read_text("utf-8"))["overrides"]
    missed = next(one["params"]["missed"] for one in said if one["alert"] == "MeterSilent")
    assert int(missed) == truth.MISSED
    branch = next(one["for"] for one in said if one["alert"] == "BranchFlowAfterHours")
    assert parse_duration(branch) == truth.BRANCH_FOR_S * 1000
