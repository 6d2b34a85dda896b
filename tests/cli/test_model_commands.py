"""`ganzhi check` and `ganzhi apply` as people and programs meet them."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ganzhi.cli.model import NOT_PUBLISHED_EXIT, app
from schemas.errors import ConfigurationError
from schemas.settings import KafkaSettings
from streams.published import read_heads
from tests.support.models import LIGHTS, Tables, write_model

RUN = CliRunner()


def spoil(model: Tables) -> None:
    """Puts two faults in."""
    model["points"][5]["role"] = "light_powr"
    model["sites"][0]["interval_s"] = 7000


def test_check_says_that_there_is_no_fault(tmp_path: Path) -> None:
    """A right model: exit status 0, and what was found in it."""
    result = RUN.invoke(app, ["check", str(write_model(tmp_path))])
    assert result.exit_code == 0
    assert "no fault: 2 sites, 5 spaces, 10 points, 2 stations, 2 vehicles, 1 rules" in result.stdout


def test_check_says_where_rules_do_not_run(tmp_path: Path) -> None:
    """A kind that no space has, and spaces that lack a role: silent rules look like content ones."""
    lights = LIGHTS.replace("[office]", "any")
    other = LIGHTS.replace("LightsInEmptyRoom", "Halls").replace("[office]", "[ofice]").replace("lighting", "own")
    path = write_model(tmp_path, packs={"lighting.yaml": lights, "own.yaml": other})
    result = RUN.invoke(app, ["check", str(path)])
    assert result.exit_code == 0
    assert "Halls runs on nothing: no space is of kind ofice; did you mean 'office'?" in result.stdout
    assert "LightsInEmptyRoom does not run on " in result.stdout
    assert set(json.loads(RUN.invoke(app, ["check", str(path), "--json"]).stdout)["idle"]) == {
        "Halls",
        "LightsInEmptyRoom",
    }


def test_check_lists_faults_with_places(tmp_path: Path) -> None:
    """A wrong model: exit status 3, every fault on standard error with file and line."""
    result = RUN.invoke(app, ["check", str(write_model(tmp_path, spoil))])
    assert result.exit_code == 3
    assert "points.csv:7" in result.stderr
    assert "did you mean 'light_power'?" in result.stderr
    assert "sites.csv:2" in result.stderr
    assert "2 faults, nothing was published" in result.stderr


def test_check_lists_fifty_faults_unless_asked(tmp_path: Path) -> None:
    """A hundred faults: people see 50 and how to see all; programs see all."""

    def change(model: Tables) -> None:
        model["points"] += [{**model["points"][7], "id": f"x{number}", "role": "nothing"} for number in range(100)]

    path = write_model(tmp_path, change)
    assert "50 more with --all" in RUN.invoke(app, ["check", str(path)]).stderr
    assert RUN.invoke(app, ["check", str(path), "--all"]).stderr.count("points.csv:") == 100
    assert len(json.loads(RUN.invoke(app, ["check", str(path), "--json"]).stdout)["faults"]) == 100


def test_check_of_nothing_is_a_fault(tmp_path: Path) -> None:
    """A folder that is not there: exit status 3 and a sentence, no traceback."""
    result = RUN.invoke(app, ["check", str(tmp_path / "nowhere")])
    assert result.exit_code == 3
    assert "is not a folder" in result.stderr


def test_apply_publishes_and_says_what_changed(
    kafka: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first apply makes topics, key and version 1, a second says that nothing changed, a wrong one writes none."""
    monkeypatch.setenv("GANZHI_KAFKA__BOOTSTRAP", kafka.bootstrap)
    monkeypatch.setenv("GANZHI_KAFKA__PREFIX", kafka.prefix)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    path = str(write_model(tmp_path))
    first = json.loads(RUN.invoke(app, ["apply", path, "--json"]).stdout)
    assert [(site["site"], site["version"], site["published"]) for site in first["sites"]] == [
        ("east", 1, True),
        ("west", 1, True),
    ]
    assert (tmp_path / "data" / "ganzhi" / "default" / "signing.key").stat().st_mode & 0o777 == 0o600
    again = RUN.invoke(app, ["apply", path])
    assert again.exit_code == 0
    assert again.stdout.count("1 (unchanged)") == 2
    refused = RUN.invoke(app, ["apply", str(write_model(tmp_path, spoil)), "--json"])
    assert refused.exit_code == 3
    assert len(json.loads(refused.stdout)["faults"]) == 2
    assert {site: head.version for site, head in read_heads(kafka).items()} == {"east": 1, "west": 1}


def test_apply_from_a_date(kafka: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the site's clock, in the past: a date that is to come or is none is refused, and nothing is written."""
    monkeypatch.setenv("GANZHI_KAFKA__BOOTSTRAP", kafka.bootstrap)
    monkeypatch.setenv("GANZHI_KAFKA__PREFIX", kafka.prefix)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    RUN.invoke(app, ["apply", str(write_model(tmp_path))])
    changed = str(write_model(tmp_path, lambda model: model["points"][9].update(interval_s=300)))
    for wrong, part in (("2999-01-01", "lies in the future"), ("yesterday", "is no date or time")):
        refused = RUN.invoke(app, ["apply", changed, "--effective", wrong])
        assert isinstance(refused.exception, ConfigurationError)
        assert part in str(refused.exception)
    assert read_heads(kafka)["west"].version == 1
    assert RUN.invoke(app, ["apply", changed, "--effective", "2026-03-01"]).exit_code == 0
    head = read_heads(kafka)["west"]
    assert (head.version, head.effective_ms) == (2, 1_772_294_400_000)  # midnight in Shanghai


def asked(path: Path, answer: bytes) -> tuple[int, str]:
    """`ganzhi apply` on a terminal, and what somebody types when it asks; exit status and what was on the screen."""
    person, terminal = pty.openpty()
    command = [sys.executable, "-m", "ganzhi", "apply", str(path)]
    with subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, close_fds=True) as process:
        os.close(terminal)
        screen = b""
        typed = False
        while True:
            try:
                part = os.read(person, 4096)
            except OSError:  # the other side is closed
                break
            if not part:
                break
            screen += part
            if b"[y/N]" in screen and not typed:
                os.write(person, answer)
                typed = True
    os.close(person)
    return process.returncode, screen.decode()


def test_a_person_is_asked_before_anything_is_published(
    kafka: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a real terminal: no leaves all as it was and says so, yes publishes."""
    monkeypatch.setenv("GANZHI_KAFKA__BOOTSTRAP", kafka.bootstrap)
    monkeypatch.setenv("GANZHI_KAFKA__PREFIX", kafka.prefix)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("GANZHI_LANGUAGE", "en")
    path = write_model(tmp_path)
    status, screen = asked(path, b"n\n")
    assert status == NOT_PUBLISHED_EXIT
    assert "[y/N]" in screen and "nothing" in screen.partition("[y/N]")[2]
    assert read_heads(kafka) == {}
    status, screen = asked(path, b"y\n")
    assert status == 0, screen
    assert {site: head.version for site, head in read_heads(kafka).items()} == {"east": 1, "west": 1}
