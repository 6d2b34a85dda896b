"""Cases of rules: those of every pack that comes with the product, and what a case file may say."""

from pathlib import Path

import pytest

from replay.case_files import NAMES, parse_series, read_folder, read_of_built_in
from replay.cases import SITE, changes, prepare, run_case
from schemas.errors import ModelError
from schemas.rules.format import parse_pack
from schemas.rules.reading import built_in_packs, read_built_in
from tests.support.oracle.engine import Oracle

PACK = """\
pack: own
rules:
  - alert: Hot
    each: {space: [office]}
    roles: {warm: temperature}
    params: {hot: 28 degC}
    expr: warm > $hot
    for: 10m
    escalate: {critical: 30m}
    annotations: {zh: {summary: 热, action: 看}, en: {summary: hot, action: look}}
    source: test
"""
CASES = """\
pack: own.yaml
cases:
  Hot:
    subject: {space: office}
    every: 5m
    fault: {warm: 30 degC x40m 20 degC x10m, expect: [firing 10m, critical 30m, resolved 40m]}
    wrong: {like: fault, params: {hot: 31 degC}, expect: [firing 10m]}
    missing: {like: fault, without: warm, expect: none}
"""


@pytest.mark.parametrize("pack", built_in_packs())
def test_every_rule_has_its_nine_cases_and_passes_them(pack: str) -> None:
    """Normal, fault, boundary, gap, disorder, duplicate, missing role, start-up and irregular sampling, for every rule."""
    raw, cases = read_of_built_in(pack)
    rules = {rule.alert for rule in parse_pack(read_built_in(pack)[0]).rules}
    assert {(case.rule, case.name) for case in cases} >= {(rule, name) for rule in rules for name in NAMES}
    failed = [outcome for outcome in (run_case(case, raw[0]) for case in cases) if not outcome.passed]
    assert [(one.case.rule, one.case.name, one.case.expected, one.found, one.error) for one in failed] == []


@pytest.mark.parametrize("pack", built_in_packs())
def test_the_nine_cases_are_what_they_are_called(pack: str) -> None:
    """No alert in the normal one and one in the fault; silence, late, double, jittered readings, and a role that lacks."""
    wrong = {
        "normal": lambda case: case.expected != (),
        "fault": lambda case: not case.expected,
        "gap": lambda case: all(None not in series.values for series in case.series.values()),
        "disorder": lambda case: not case.late_ms,
        "duplicate": lambda case: not case.twice,
        "missing": lambda case: not case.without or case.expected,
        "irregular": lambda case: not case.jitter_ms,
    }
    cases = read_of_built_in(pack)[1]
    assert [(case.rule, case.name) for case in cases if case.name in wrong and wrong[case.name](case)] == []


@pytest.mark.long
@pytest.mark.parametrize("pack", built_in_packs())
def test_the_oracle_expects_the_same_of_every_case(pack: str) -> None:
    """What the cases expect is what the slow oracle makes of their events; sums over a week and more take it too long."""
    (raw, _), cases = read_of_built_in(pack)
    wrong = []
    for case in cases:
        if case.rule in ("OverQuotaPace", "RegenerationLow"):
            continue
        prepared = prepare(case, raw)
        oracle = Oracle(prepared.topic, 0, {prepared.document.sha256: prepared.document})
        for offset, (at, message) in enumerate(prepared.log):
            oracle.feed(offset, at, SITE.encode(), message)
        instances = [one.rule for site in oracle.sites.values() for one in site.instances]
        there = (case.rule, prepared.subject) in {(rule.name, rule.subject) for rule in instances}
        found = changes(prepared, oracle.rows["alerts"]) if there else None
        if found != case.expected:
            wrong.append((case.rule, case.name, case.expected, found))
    assert wrong == []


def test_a_case_of_ones_own_fails_when_the_alerts_are_others(tmp_path: Path) -> None:
    """A threshold that is never reached: the case that expects an alert says what came instead."""
    (tmp_path / "own.yaml").write_text(PACK, "utf-8")
    (tmp_path / "own.cases.yaml").write_text(CASES, "utf-8")
    [((pack, _), cases)] = read_folder(tmp_path)
    found = {case.name: run_case(case, pack) for case in cases}
    assert [name for name, outcome in found.items() if outcome.passed] == ["fault", "missing"]
    assert found["wrong"].found == ()


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("cases: {}", "a case file is a mapping"),
        (CASES.replace("like: fault, params", "like: nothing, params"), "is no other case"),
        (CASES.replace("30 degC x40m", "30 degC for 40m"), "is not readings"),
        (CASES.replace("critical 30m", "red 30m"), "is no state"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(tmp_path: Path, text: str, part: str) -> None:
    """What is wrong, in which file, and where."""
    (tmp_path / "own.yaml").write_text(PACK, "utf-8")
    (tmp_path / "own.cases.yaml").write_text(text, "utf-8")
    with pytest.raises(ModelError) as caught:
        list(read_folder(tmp_path))

    assert part in str(caught.value)


def test_series() -> None:
    """Values, silence and slopes, one reading per interval."""
    found = parse_series("1 W x2m _ x1m 2..4 W x3m", 60_000)
    assert (found.unit, found.values) == ("W", ("1", "1", None, "2.000", "3.000", "4.000"))
