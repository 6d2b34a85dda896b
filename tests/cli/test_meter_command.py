"""`ganzhi meter`: facts in people's words become signed records, and what cannot be is refused with what to do."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ganzhi.cli.meter import app
from ganzhi.datasets.loading import apply_folder
from ganzhi.meter_facts import ratio
from processors.advance import Processor
from schemas import codec
from schemas.control import signing_key
from schemas.errors import ConfigurationError
from schemas.record_batches import Slab
from schemas.settings import KafkaSettings, data_home
from streams.published import read_documents
from tests.processors.world import decode
from tests.streams.sources import sites

RUN = CliRunner()
METERS = {
    "meters.csv": "id,site,serial,digits\nm1,here,SN-7,6\ntwo,here,SN-8,6\n",
    "points.csv": sites.FILES["points.csv"]
    + "peak,here,g1,energy,register,electricity,kWh,900\nvalley,here,g1,energy,register,electricity,kWh,900\n",
    "meter_install.csv": "meter,register,point\nm1,total,main\ntwo,peak,peak\ntwo,valley,valley\n",
}


@pytest.fixture
def applied(kafka: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KafkaSettings:
    """Kafka with two meters in force, signed by the key of the profile that the commands use."""
    monkeypatch.setenv("GANZHI_KAFKA__BOOTSTRAP", kafka.bootstrap)
    monkeypatch.setenv("GANZHI_KAFKA__PREFIX", kafka.prefix)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    sites.documents(tmp_path / "model")
    for name, text in METERS.items():
        (tmp_path / "model" / name).write_text(text)
    apply_folder(kafka, tmp_path / "model", signing_key(data_home("default")))
    return kafka


def facts(kafka: KafkaSettings) -> list[Any]:
    """What was sent."""
    return sites.values(kafka, "meter.readings", "meter_fact")


def test_a_swap_is_told_and_shown(applied: KafkaSettings) -> None:
    """Units and local time are converted exactly; a task takes the record in; history shows what it says."""
    words = ["meter", "swap", "SN-7", "--at", "2024-07-01T10:30", "--final", "1234.567", "--initial", "0.5", "--json"]
    done = RUN.invoke(app, words)
    assert done.exit_code == 0, done.output
    (sent,) = facts(applied)
    register = {"final": 1_234_567, "initial": 500, "numerator": None, "denominator": None, "span": None}
    number = sites.numbers(read_documents(applied))["main"]
    assert sent["registers"] == [{"point": number, **register}]
    assert sent["at_ms"] == 1_719_826_200_000, "09:30 UTC: London's summer time"
    again = RUN.invoke(app, words)
    assert json.loads(again.stdout)["event_id"] == json.loads(done.stdout)["event_id"] == sent["event_id"]

    shown = RUN.invoke(app, ["meter", "history", "m1"])
    assert "2024-07-01 10:30" in shown.stdout, shown.output
    assert "1,234.567" in shown.stdout
    listed = [json.loads(line) for line in RUN.invoke(app, ["meter", "history", "m1", "--json"]).stdout.splitlines()]
    assert [told["state"] for told in listed] == ["waiting", "waiting"]

    documents = {one.sha256: one for one in read_documents(applied).values()}
    home = read_documents(applied)["here"].partition
    processor = Processor("meter.readings", home, documents.__getitem__)
    log = [value for part, _, value in sites.messages(applied, "meter.readings") if part == home]
    processor.advance(
        Slab.of("meter.readings", home, [(i, 1_719_830_000_000, b"here", value) for i, value in enumerate(log)])
    )
    assert not decode(processor.take())["rejected"]
    assert len(processor.facts_taken) == 1, "a repeat changes nothing"


def test_all_registers_and_every_kind(applied: KafkaSettings) -> None:
    """A meter of two registers is told of as one; each kind of fact has its verb."""
    at = ["--at", "2024-07-01T10:30:00Z"]
    for words in (
        [
            "swap",
            "two",
            *at,
            "--final",
            "peak=10",
            "--final",
            "valley=20",
            "--initial",
            "peak=0",
            "--initial",
            "valley=1",
        ],
        ["multiplier", "two", "3/2", *at],
        ["install", "m1", *at, "--initial", "7", "--serial", "SN-9"],
        ["remove", "m1", *at, "--final", "8"],
        ["reset", "m1", *at],
        ["width", "m1", "100000", *at],
    ):
        done = RUN.invoke(app, ["meter", *words])
        assert done.exit_code == 0, done.output
    found = facts(applied)
    assert [sent["kind"] for sent in found] == ["swapped", "multiplier", "installed", "removed", "reset", "width"]
    assert [(r["final"], r["initial"]) for r in found[0]["registers"]] == [(10_000, 0), (20_000, 1000)]
    assert [(r["numerator"], r["denominator"]) for r in found[1]["registers"]] == [(3, 2)] * 2
    assert found[5]["registers"][0]["span"] == 100_000_000

    withdrawn = RUN.invoke(app, ["meter", "withdraw", "m1", found[3]["event_id"]])
    assert withdrawn.exit_code == 0, withdrawn.output
    last = facts(applied)[-1]
    assert (last["replaces"], last["registers"]) == (found[3]["event_id"], [])
    assert codec.contract_of(codec.write("meter_fact", last)) == "meter_fact"


BAD = {
    "no such meter": (["swap", "m9", "--at", "2024-07-01T10:30", "--initial", "0"], "meters.csv"),
    "no time": (["swap", "m1", "--at", "yesterday", "--initial", "0"], "2026-05-04T10:30"),
    "a time that was twice": (["swap", "m1", "--at", "2024-10-27T01:30", "--initial", "0"], "offset"),
    "no value": (["swap", "m1", "--at", "2024-07-01T10:30", "--initial", "much"], "not a decimal"),
    "finer than the unit": (["swap", "m1", "--at", "2024-07-01T10:30", "--initial", "0.0001"], "not an integer"),
    "nothing about the new meter": (["swap", "m1", "--at", "2024-07-01T10:30"], "--initial"),
    "which register": (["swap", "two", "--at", "2024-07-01T10:30", "--initial", "0"], "peak=… valley=…"),
    "no such register": (["swap", "two", "--at", "2024-07-01T10:30", "--initial", "flat=0"], "peak, valley"),
    "no multiplier": (["multiplier", "m1", "0", "--at", "2024-07-01T10:30"], "above 0"),
    "nothing to withdraw": (["withdraw", "m1", "swapped-0"], "ganzhi meter history"),
}


def test_bad_input_says_what_to_do(applied: KafkaSettings) -> None:
    """Every mistake is one sentence with the way out, and nothing is sent."""
    for case, (words, hint) in BAD.items():
        done = RUN.invoke(app, ["meter", *words])
        assert isinstance(done.exception, ConfigurationError), (case, done.output, done.exception)
        assert hint in str(done.exception), case
    assert not facts(applied)


def test_multipliers_as_people_write_them() -> None:
    """Whole, decimal, and as the ratio on the transformer."""
    assert [ratio(text) for text in ("40", "1.5", "150/5", " 2/3 ")] == [(40, 1), (3, 2), (30, 1), (2, 3)]
