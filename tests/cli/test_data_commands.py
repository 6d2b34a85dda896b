"""`ganzhi import` and `ganzhi send` as people and programs meet them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ganzhi.cli.data import REJECTED_EXIT, app
from ganzhi.datasets.loading import apply_folder
from ganzhi.embedded.ports import choose_free
from schemas.control import signing_key
from schemas.settings import KafkaSettings
from tests.streams.sources import sites

RUN = CliRunner()
MAPPING = "site: here\ntime: {column: t, zone: UTC}\nwide: {e: {point: main}}\n"


@pytest.fixture
def applied(kafka: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KafkaSettings:
    """Kafka with the small model in force, and the environment that leads the commands there."""
    monkeypatch.setenv("GANZHI_KAFKA__BOOTSTRAP", kafka.bootstrap)
    monkeypatch.setenv("GANZHI_KAFKA__PREFIX", kafka.prefix)
    sites.documents(tmp_path / "model")
    apply_folder(kafka, tmp_path / "model", signing_key(tmp_path))
    return kafka


def write(folder: Path, text: str) -> tuple[str, str]:
    """A mapping and a file to import."""
    (folder / "mapping.yaml").write_text(MAPPING)
    (folder / "usage.csv").write_text(text)
    return str(folder / "usage.csv"), str(folder / "mapping.yaml")


def test_import_says_what_was_rejected(applied: KafkaSettings, tmp_path: Path) -> None:
    """Good rows are sent, the bad one is named with line and reason and kept beside the file; the status says so."""
    path, mapping = write(tmp_path, "t,e\n2024-05-01T12:00Z,1.5\n2024-05-01T12:15Z,much\n")
    result = RUN.invoke(app, ["import", "csv", path, "--mapping", mapping])

    assert result.exit_code == REJECTED_EXIT, result.output
    assert "usage.csv:3, column e: 'much' is not a decimal number" in result.stderr
    assert f"1 rejected; all of them are in {tmp_path / 'usage.rejected.csv'}" in result.stderr
    assert (tmp_path / "usage.rejected.csv").read_text().count("\n") == 2
    assert [reading[5] for reading in sites.readings(applied)] == [1500]


def test_import_in_numbers(applied: KafkaSettings, tmp_path: Path) -> None:
    """`--json` is one object with the counts; status 0 when nothing was rejected."""
    path, mapping = write(tmp_path, "t,e\n2024-05-01T12:00Z,1.5\n2024-05-01T12:15Z,\n")
    result = RUN.invoke(app, ["import", "csv", path, "-m", mapping, "--json"])

    assert result.exit_code == 0, result.output
    counts = json.loads(result.stdout)
    assert {name: counts[name] for name in ("files", "rows", "readings", "empty", "rejected")} == {
        "files": 1, "rows": 2, "readings": 1, "empty": 1, "rejected": 0
    }  # fmt: skip


def test_a_check_sends_nothing(applied: KafkaSettings, tmp_path: Path) -> None:
    """`--check` judges every row and leaves the log as it is."""
    path, mapping = write(tmp_path, "t,e\n2024-05-01T12:00Z,1.5\n2024-05-01T12:15Z,much\n")
    result = RUN.invoke(app, ["import", "csv", path, "-m", mapping, "--check"])

    assert result.exit_code == REJECTED_EXIT
    assert sites.readings(applied) == []


def test_send_reads_standard_input(applied: KafkaSettings) -> None:
    """Lines with a reading, an event and garbage: two are sent, one is told, the status says so."""
    lines = (
        '{"site":"here","point":"main","time":"2024-05-01T12:00:00Z","value":2}\n'
        "garbage\n"
        '{"waste":{"site":"here","time":"2024-05-01T12:00:00Z","kind":"fill","station":"S1","fill_permille":1}}\n'
    )
    result = RUN.invoke(app, ["send", "--json"], input=lines)

    assert result.exit_code == REJECTED_EXIT, result.output
    assert json.loads(result.stdout) == {"lines": 3, "readings": 1, "events": 1, "rejected": 1, "rejected_file": None}
    assert "-:2: not JSON" in result.stderr
    assert [reading[5] for reading in sites.readings(applied)] == [2000]
    assert len(sites.values(applied, "waste.events", "waste_event")) == 1


def test_about_needs_no_stack(tmp_path: Path) -> None:
    """`--about` tells the faults of a data set without any Kafka."""
    result = RUN.invoke(app, ["import", "dataset", "ev_charging", "--path", str(tmp_path), "--about"])

    assert result.exit_code == 0
    assert "0014" in result.stdout


def test_a_broker_that_is_away_is_waited_for() -> None:
    """Without a broker, `send` says so, waits, and takes nothing from standard input; Ctrl-C ends it."""
    settings = {"GANZHI_KAFKA__BOOTSTRAP": f"127.0.0.1:{choose_free()}"}
    # Whoever runs the tests in the background made children ignore SIGINT.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from ganzhi.cli.data import app; app(['send'])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | settings,
        text=True,
    ) as child:
        assert child.stderr is not None
        said = child.stderr.readline()
        running = child.poll() is None
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=60)

    assert "Kafka does not answer at 127.0.0.1" in said
    assert "Waiting" in said
    assert running
