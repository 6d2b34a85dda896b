"""What `ganzhi` says when it ends with an error."""

from pathlib import Path

import pytest

from ganzhi.cli import main
from schemas.settings import run_file


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command that fails says on standard error."""
    monkeypatch.setattr("sys.argv", ["ganzhi", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code not in (0, None)
    return capsys.readouterr().err


def test_a_stack_of_another_profile_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where nobody answers and the demo is up; not where a profile was chosen, has a stack, or the error is another."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("GANZHI_CLICKHOUSE__PORT", "9")
    query = ("sql", "SELECT 1")
    assert "profile" not in said(monkeypatch, capsys, *query)
    run_file("demo").parent.mkdir(parents=True)
    run_file("demo").touch()
    assert "--profile demo" in said(monkeypatch, capsys, *query)
    assert "is up here" not in said(monkeypatch, capsys, *query, "--profile", "other")
    assert "is up here" not in said(monkeypatch, capsys, "check", str(tmp_path / "nowhere"))
    run_file("default").parent.mkdir(parents=True)
    run_file("default").touch()
    assert "is up here" not in said(monkeypatch, capsys, *query)
