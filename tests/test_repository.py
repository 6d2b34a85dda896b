"""The repository keeps its own laws."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "schemas": set(),
    "processors": {"schemas"},
    "sinks": {"schemas"},
    "streams": {"schemas", "processors"},
    "replay": {"schemas", "processors", "sinks"},
    "ganzhi": {"schemas", "processors", "sinks", "streams", "replay"},
}
"""DESIGN: the table of folders. `streams` and `replay` are siblings and never import each other."""

MODULES = [path for folder in MAY_IMPORT for path in sorted((ROOT / folder).rglob("*.py"))]


def _imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_law(path: Path) -> None:
    """A module imports only the folders that its folder may import."""
    folder = path.relative_to(ROOT).parts[0]
    ours = _imported(path) & set(MAY_IMPORT) - {folder}

    assert ours <= MAY_IMPORT[folder]


@pytest.mark.parametrize("path", sorted((ROOT / "processors").rglob("*.py")), ids=lambda path: path.stem)
def test_processors_have_no_clock_and_no_io(path: Path) -> None:
    """What is computed depends on its arguments alone."""
    banned = {"time", "random", "datetime", "logging", "asyncio", "socket", "os", "pathlib", "confluent_kafka", "faust"}

    assert not _imported(path) & banned


def test_every_folder_says_what_lives_there() -> None:
    """Each package's `__init__` has a docstring."""
    for path in ROOT.glob("*/**/__init__.py"):
        if ".venv" not in path.parts:
            assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), path


def test_top_level_is_the_one_that_was_agreed() -> None:
    """No module lies at the top, and no folder appeared."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    top = {name.split("/")[0] for name in tracked if name} - {".ci"}
    folders = {"schemas", "processors", "streams", "sinks", "replay", "ganzhi", "tests", "docker"}
    files = {"pyproject.toml", "README.md", "Makefile", "requirements.lock", "requirements-dev.lock"}

    assert {name for name in top if not name.startswith(".")} <= folders | files


def test_no_registry_host_and_no_path_of_a_machine() -> None:
    """Locks carry hashes and no addresses; nothing names where it was written."""
    names = "pypi|pythonhosted|maven|npmjs|crates|golang|debian"
    hosts = re.compile(rf"https?://[a-z0-9.-]*({names})[a-z0-9.-]*/|(index-url|extra-index)|/root/|/home/")
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for name in tracked:
        path = ROOT / name
        if path.suffix not in {".png", ".gz"} and name not in {"tests/test_repository.py", "Makefile"}:
            assert not hosts.search(path.read_text("utf-8", "replace")), name


def test_every_error_is_in_the_drawn_tree() -> None:
    """The tree at the top of `schemas/errors.py` names every class."""
    text = (ROOT / "schemas/errors.py").read_text("utf-8")
    module = ast.parse(text)
    drawn = ast.get_docstring(module) or ""
    for node in module.body:
        if isinstance(node, ast.ClassDef) and any("Error" in ast.unparse(base) for base in node.bases):
            assert node.name in drawn, node.name


def test_fragile_libraries_are_pinned_exactly() -> None:
    """streams/ replaces parts of their inside."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    for name in ("faust-streaming", "aiokafka", "mode-streaming"):
        assert any(re.fullmatch(rf"{name}==[\d.]+", one) for one in wanted), name


def test_contracts_are_what_was_published() -> None:
    """A contract is named by its fingerprint on the wire: a changed one is another, and old messages need the old."""
    from schemas import codec

    golden = json.loads((ROOT / "tests/golden/fingerprints.json").read_text("utf-8"))

    assert {name: codec.fingerprint(name).hex() for name in codec.CONTRACTS} == golden


def test_help_names_every_command() -> None:
    """`ganzhi --help` lists the commands, and each has a sentence."""
    from ganzhi.cli import COMMANDS

    command = [sys.executable, "-m", "ganzhi", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for name in COMMANDS:
        assert re.search(rf"^  {name} +\w", shown, re.MULTILINE), name
