"""What differs between two rule sets on one history."""

import dataclasses
import xml.etree.ElementTree as ET
from typing import Any
from urllib.parse import parse_qsl

import pytest
import yaml

from ganzhi.trade_plot import Point, trade_svg
from ganzhi.what_if_report import Rows, what_if_as_dict
from replay.backtest import Span, backtest, on_trial
from replay.what_if import Pair, compare, narrowed, only_what_differs, parse_sweep, replaced
from schemas.errors import ConfigurationError
from schemas.topics import METER_READINGS
from tests.processors.world import MIN, T0, pack
from tests.replay.test_backtest import LIGHT, PEOPLE, RULE, every_minute, readings, room


def pairs(before: str, after: str, light: list[int], people: list[int]) -> list[Pair]:
    """The pairs of two rules on a value a minute."""
    own = readings((LIGHT, every_minute(light)), (PEOPLE, every_minute(people)))
    span = Span(T0, T0 + len(light) * MIN)
    results = [backtest({"s1": on_trial(room(rule))}, {METER_READINGS: {"s1": own}}, span) for rule in (before, after)]
    return compare(*results)


def kinds(found: list[Pair]) -> list[str]:
    """What changed."""
    return [pair.change for pair in found]


ON, OFF = [120_000], [0]
EMPTY, THERE = [0], [1]


def test_the_same_rules_differ_in_nothing() -> None:
    """Both sides are one computation."""
    found = pairs(RULE, RULE, ON * 60 + OFF * 20 + ON * 40, EMPTY * 120)
    assert kinds(found) == ["same", "same"]
    assert all(pair.before == pair.after for pair in found)


def test_a_longer_wait_loses_the_short_ones_and_a_shorter_one_gains_them() -> None:
    """25 minutes and 60 minutes of light, `for: 20m` against `for: 30m`."""
    light = ON * 25 + OFF * 20 + ON * 60 + OFF * 5
    slower = RULE.replace("for: 20m\nkeep", "for: 30m\nkeep")
    assert kinds(pairs(RULE, slower, light, EMPTY * 110)) == ["lost", "same"]
    assert kinds(pairs(slower, RULE, light, EMPTY * 110)) == ["gained", "same"]


def test_episodes_that_overlap_are_one_longer_or_shorter() -> None:
    """A lower threshold sees the dim half hour after as well."""
    lower = RULE.replace("50 W", "20 W")
    light = ON * 40 + [30_000] * 30 + OFF * 5
    (longer,) = pairs(RULE, lower, light, EMPTY * 75)
    (shorter,) = pairs(lower, RULE, light, EMPTY * 75)
    assert (longer.change, shorter.change) == ("longer", "shorter")
    assert longer.after == shorter.before


def test_two_that_become_one_are_one_longer_and_one_lost() -> None:
    """A longer patience (`keep_firing_for`) joins them."""
    patient = RULE.replace("keep_firing_for: 2m", "keep_firing_for: 20m")
    found = pairs(RULE, patient, ON * 40, EMPTY * 25 + THERE * 5 + EMPTY * 10)
    assert kinds(found) == ["longer"]
    found = pairs(RULE, patient, ON * 80, EMPTY * 25 + THERE * 5 + EMPTY * 50)
    assert sorted(kinds(found)) == ["longer", "lost"]


def parsed(text: str) -> dict[str, Any]:
    """A pack."""
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def test_new_packs_take_the_place_of_their_names_and_rules() -> None:
    """Nothing is there twice, and what is not meant stays with the overrides that mean it."""
    one = parsed(pack("A\neach: {space: any}", "B\neach: {space: any}")) | {
        "pack": "one",
        "overrides": [{"alert": "A", "enabled": False}, {"alert": ["A", "B"], "enabled": False}],
    }
    two = parsed(pack("C\neach: {space: any}")) | {"pack": "two"}
    new = parsed(pack("A\neach: {space: any}")) | {"pack": "three"}
    made = replaced([one, two], [new])
    assert [[rule["alert"] for rule in each["rules"]] for each in made] == [["B"], ["C"], ["A"]]  # type: ignore[index,call-overload,union-attr]
    assert made[0]["overrides"] == [{"alert": ["A", "B"], "enabled": False}]
    assert [each["pack"] for each in replaced([one, two], [{**new, "pack": "two"}])] == ["one", "two"]


@pytest.mark.parametrize(
    ("text", "name", "values"),
    [
        ("for=5m..60m/3", "for", ("300s", "1950s", "3600s")),
        ("power=20 W..80 W/4", "power", ("20 W", "40 W", "60 W", "80 W")),
        ("power=20..80W/2", "power", ("20 W", "80 W")),
        ("share=0.1..0.3/3", "share", ("0.1", "0.2", "0.3")),
    ],
)
def test_sweeps_as_people_write_them(text: str, name: str, values: tuple[str, ...]) -> None:
    """Durations, quantities with their unit, plain numbers."""
    found = parse_sweep(text)
    assert (found.name, found.values) == (name, values)


@pytest.mark.parametrize("text", ["for", "for=5m", "for=5m..", "for=x..y", "power=1..2/1", "power=1..2/x", "=1..2"])
def test_sweeps_that_are_none(text: str) -> None:
    """Say how one is written."""
    with pytest.raises(ConfigurationError, match="--sweep"):
        parse_sweep(text)


def test_a_value_goes_to_the_rules_that_have_it() -> None:
    """A duration to all of those that are meant, a parameter to those that have it; none: said."""
    own = parsed(pack("A\neach: {space: any}\nparams: {power: 50 W}", "B\neach: {space: any}"))
    (made,) = parse_sweep("power=1 W..2 W").apply([own], "1 W")
    assert [rule.get("params") for rule in made["rules"]] == [{"power": "1 W"}, None]  # type: ignore[union-attr]
    (made,) = parse_sweep("for=1m..2m").apply([own], "60s", ["B"])
    assert [rule.get("for") for rule in made["rules"]] == [None, "60s"]  # type: ignore[union-attr]
    with pytest.raises(ConfigurationError, match="no rule"):
        parse_sweep("flow=1..2").apply([own], "1")


def _parsed_svg(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314 - our own text, just made


def test_the_plot_is_an_image_with_a_point_a_value() -> None:
    """Well-formed, with labels escaped; nothing to plot is an empty one."""
    root = _parsed_svg(trade_svg([Point("5m & <more>", 3, 10), Point("60m", 1, 8)], "for", "kWh"))
    assert len(root.findall("{http://www.w3.org/2000/svg}circle")) == 2
    assert any(one.text == "5m & <more>" for one in root.iter("{http://www.w3.org/2000/svg}text"))
    _parsed_svg(trade_svg([], "for", "kWh"))
    _parsed_svg(trade_svg([Point("a", 0, 0)], "for", "kWh"))


def test_every_difference_links_to_what_was_measured() -> None:
    """The room's page with the span of both sides; nothing where no console has the history."""
    lower = RULE.replace("50 W", "20 W")
    own = readings((LIGHT, every_minute(ON * 40 + [30_000] * 30 + OFF * 5)), (PEOPLE, every_minute(EMPTY * 75)))
    span = Span(T0, T0 + 75 * MIN)
    old, new = (backtest({"s1": on_trial(room(rule))}, {METER_READINGS: {"s1": own}}, span) for rule in (RULE, lower))
    found = what_if_as_dict(Rows(old, new, compare(old, new), "http://console/"))
    (one,) = found["differences"]
    path, _, query = one["link"].partition("?")
    asked = dict(parse_qsl(query))
    assert path == "http://console/space"
    assert (asked["site"], asked["id"]) == ("s1", one["after"]["room"])
    assert (asked["from"], asked["to"]) == (one["after"]["start"], one["after"]["end"])
    assert what_if_as_dict(Rows(old, new, compare(old, new)))["differences"][0]["link"] == ""


def test_a_rule_set_narrowed_to_some_rules_keeps_what_inhibits_them() -> None:
    """And what inhibits that, with the overrides of what is left; the rest goes."""

    def rule(name: str, *by: str) -> dict[str, Any]:
        return {"alert": name, "inhibited_by": list(by)}

    rules = [
        {
            "pack": "a",
            "rules": [rule("Silent", "Down"), rule("Other")],
            "overrides": [{"alert": ["Other"], "for": "1h"}],
        },
        {"pack": "b", "rules": [rule("Down", "Site"), rule("Site")], "overrides": [{"alert": "Down", "for": "2h"}]},
    ]
    found = narrowed(rules, ["Silent"])
    assert [[one["alert"] for one in pack["rules"]] for pack in found] == [["Silent"], ["Down", "Site"]]
    assert [pack["overrides"] for pack in found] == [[], [{"alert": "Down", "for": "2h"}]]
    assert [[one["alert"] for one in pack["rules"]] for pack in narrowed(rules, ["Other"])] == [["Other"], []]


def test_only_rules_that_can_differ_are_run() -> None:
    """Another text, another override, or one of those inhibits it; everything where more than rules differs."""
    calm = RULE.replace("LightsInEmptyRoom", "Calm")
    names = [RULE, calm]

    def documents(*rules: str) -> Any:
        return on_trial(room(RULE), [yaml.safe_load(pack(rule)) for rule in rules])

    def alerts(document: Any) -> list[list[str]]:
        return [[one["alert"] for one in own["rules"]] for own in document.rules]

    slower = RULE.replace("for: 20m\nkeep", "for: 30m\nkeep")
    before, after = only_what_differs(documents(*names), documents(slower, calm))
    assert alerts(before) == alerts(after) == [["LightsInEmptyRoom"], []]
    inhibited = calm + "\ninhibited_by: [LightsInEmptyRoom]"
    before, after = only_what_differs(documents(RULE, inhibited), documents(slower, inhibited))
    assert alerts(before) == alerts(after) == [["LightsInEmptyRoom"], ["Calm"]]
    assert alerts(only_what_differs(documents(*names), documents(*names))[0]) == [[], []]
    other = dataclasses.replace(documents(slower, calm), interval_s=300)
    assert alerts(only_what_differs(documents(*names), other)[1]) == [["LightsInEmptyRoom"], ["Calm"]]
