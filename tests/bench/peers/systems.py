"""The rivals: what is installed for each, how it is started, and how much it is given to do."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from schemas.errors import ConfigurationError
from schemas.settings import cache_home
from tests.bench.peers.load import AVRO

PROGRAMS: Final = Path(__file__).parent / "programs"


@dataclasses.dataclass(frozen=True)
class Rival:
    """A system.

    Attributes:
        name: as on the command line.
        forms: of input that its program takes.
        requires: distributions of its environment; empty: not Python.
        program: in `programs/`.
        rounds: readings of each point that a run takes by default; a slow system gets fewer.
        points: of the job; a slow system gets fewer.
        settings: what is set, in words.
    """

    name: str
    forms: tuple[str, ...]
    requires: tuple[str, ...]
    program: str
    rounds: int
    points: int
    settings: str


RIVALS: Final = (
    Rival(
        "faust",
        ("json",),
        ("faust-streaming==0.15.3", "aiokafka==0.14.0", "mode-streaming==0.7.1"),
        "faust_tables.py",
        60,
        2_000,
        "tables in memory with changelog topics, at least once, one event a message",
    ),
    Rival(
        "quix",
        ("json", "batches"),
        ("quixstreams[avro]==3.28.1", "orjson==3.13.0"),
        "quix_app.py",
        60,
        10_000,
        "exactly once, regrouped by point, RocksDB, grace of 30 s",
    ),
    Rival(
        "bytewax",
        ("json", "batches"),
        ("bytewax==0.21.1", "confluent-kafka==2.16.1", "fastavro==1.13.1", "orjson==3.13.0"),
        "bytewax_run.py",
        60,
        10_000,
        "one worker, recovery every 10 s, at least once, event clock with a wait of 30 s",
    ),
    Rival(
        "flink",
        ("json", "batches"),
        (),
        "flink",
        300,
        10_000,
        "DataStream API, two task slots, heap state, exactly once, checkpoints every 10 s, watermark of 30 s",
    ),
)


def command(rival: Rival, bootstrap: str, form: str, folder: Path) -> tuple[list[str], dict[str, str]]:
    """What starts a rival, installed if it is not; and its environment but for TOPIC, ROLLUPS, ALERTS, TOTAL.

    Raises:
        ConfigurationError: it needs a program that is not here.
    """
    environment = dict(os.environ) | {
        "BOOTSTRAP": bootstrap,
        "FORM": form,
        "FOLDER": str(folder / "state"),
        "NAME": f"{rival.name}-{form}",
        "SCHEMA": json.dumps(_plain(AVRO)),
        "PYTHONWARNINGS": "ignore",
    }
    (folder / "state").mkdir(parents=True, exist_ok=True)
    if not rival.requires:
        return _flink(folder), environment
    python = _python(rival)
    program = PROGRAMS / rival.program
    if rival.name == "faust":
        environment["PYTHONPATH"] = str(PROGRAMS)
        return [str(python.parent / "faust"), "-A", "faust_tables:app", "worker", "-l", "warn"], environment
    return [str(python), str(program)], environment


def _python(rival: Rival) -> Path:
    """The interpreter of an environment that has what the rival needs; made once."""
    folder = cache_home() / "peers" / rival.name
    python = folder / "bin" / "python"
    stamp = folder / "installed"
    wanted = "\n".join(rival.requires)
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *rival.requires], check=True)
        stamp.write_text(wanted, encoding="utf-8")
    return python


_OPENS: Final = (
    "java.base/java.util", "java.base/java.lang", "java.base/java.net", "java.base/java.io", "java.base/java.nio",
    "java.base/java.time", "java.base/java.text", "java.base/sun.nio.ch", "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic", "java.base/java.lang.reflect",
)  # fmt: skip
"""What Flink's own start script opens to its reflection."""


def _flink(folder: Path) -> list[str]:
    maven, java = shutil.which("mvn"), shutil.which("java")
    if maven is None or java is None:
        raise ConfigurationError("flink needs `mvn` and a Java 17 on the path; it is left out")
    build = cache_home() / "peers" / "flink"
    if not (build / "target" / "libs").exists():
        shutil.copytree(PROGRAMS / "flink", build, dirs_exist_ok=True)
        built = subprocess.run([maven, "-q", "-B", "package"], cwd=build, capture_output=True, text=True, check=False)
        if built.returncode:
            raise ConfigurationError(f"flink cannot be built, and is left out:\n{built.stdout[-2000:]}")
    opens = [word for name in _OPENS for word in ("--add-opens", f"{name}=ALL-UNNAMED")]
    classpath = f"{build}/target/classes:{build}/target/libs/*"
    return [java, "-Xmx4g", f"-Djava.io.tmpdir={folder}", *opens, "-cp", classpath, "peers.FlinkJob"]


def _plain(schema: object) -> object:
    """A schema without what the parser added."""
    if isinstance(schema, Mapping):
        return {key: _plain(value) for key, value in schema.items() if not str(key).startswith("__")}
    return [_plain(one) for one in schema] if isinstance(schema, list) else schema
