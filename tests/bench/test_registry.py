"""Benches as people and programs meet them: what is listed, judged and refused."""

import json

import pytest
from typer.testing import CliRunner

from ganzhi.bench.figure import Bench, Options, Promise, Row
from ganzhi.bench.registry import MODULES, find
from ganzhi.cli.bench import app
from schemas.errors import ConfigurationError


@pytest.mark.parametrize("name", MODULES)
def test_every_bench_is_what_its_line_says(name: str) -> None:
    """The module has the bench, it says what it measures, and something is promised."""
    bench = find(name)
    assert bench.name == name
    assert bench.measures
    assert bench.promises


def test_an_unknown_bench_is_refused_with_the_list() -> None:
    """The message names those that there are."""
    with pytest.raises(ConfigurationError, match="decode, advance"):
        find("decod")


def bench(*promises: Promise) -> Bench:
    """A bench that is not run."""
    return Bench("one", "nothing", promises, lambda _: [])


def test_a_promise_is_met_by_right_results_within_the_limit() -> None:
    """CPU-seconds of all processes count; two million readings for 0.1 + 0.08 s are 0.09 a million."""
    held = bench(Promise("cpu_s_per_million", "most", 0.1))
    row = held.judged(Row(True, 2_000_000, {"worker": 0.1, "bridge": 0.08}))
    assert (row["cpu_s_per_million"], row["by_process"]) == (0.09, {"worker": 0.05, "bridge": 0.04})
    assert row["met"] is True
    assert held.judged(Row(True, 2_000_000, {"worker": 0.22}))["met"] is False


def test_wrong_results_and_missing_figures_keep_no_promise() -> None:
    """A rate of wrong results is none, and what was not measured is not promised away."""
    held = bench(Promise("p99_ms", "most", 250), Promise("rate", "least", 100))
    assert held.judged(Row(True, figures={"p99_ms": 250, "rate": 100}))["met"] is True
    assert held.judged(Row(False, figures={"p99_ms": 1, "rate": 100}))["met"] is False
    assert held.judged(Row(True, figures={"p99_ms": 1}))["met"] is False


@pytest.mark.parametrize("name", ["decode", "advance", "advance-rules"])
def test_benches_of_one_process_have_right_results(name: str) -> None:
    """Their load fits the packs and the model that ganzhi brings, and what they check is so."""
    rows = find(name).run(Options(readings=100_000))
    assert rows
    assert all(row.correct for row in rows)


def test_json_has_the_promise_and_whether_it_is_met() -> None:
    """What programs read: one object a row."""
    ran = CliRunner().invoke(app, ["decode", "--readings", "100000", "--json"])
    assert ran.exit_code == 0, ran.output
    (row,) = json.loads(ran.stdout)
    assert row["name"] == "decode"
    assert row["correct"] is True
    assert row["promise"] == "readings_per_s >= 60,000,000"
    assert isinstance(row["met"], bool)
    assert row["readings"] >= 100_000
