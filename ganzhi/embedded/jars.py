"""Kafka's jars: fetched once per user from Maven coordinates, each checked against a pinned sha256.

`kafka-jars.sha256` beside this module lists every jar with hash, bytes and coordinate, so that nothing is resolved at
run time. Which repository is asked is jgo's business: Maven Central, after the repositories that its own configuration
file names (a mirror, say). To move to another Kafka:

    python -m ganzhi.embedded.jars 4.4.0 > ganzhi/embedded/kafka-jars.sha256
"""

import fcntl
import hashlib
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganzhi.embedded.progress import Report, silent
from schemas.errors import StackError
from schemas.settings import cache_home

PINS = Path(__file__).with_name("kafka-jars.sha256")
BROKER = "org.apache.kafka:kafka_2.13"
#: What binds Kafka's logging to log4j-core; in Kafka's own distribution, but no dependency of its jars.
LOG_BINDING = "org.apache.logging.log4j:log4j-slf4j-impl"
FETCHES_AT_ONCE = 8
TIMEOUT_S = 30
#: In the folder of jars: the hash of the pins that it was verified against.
STAMP = "verified"


@dataclass(frozen=True, slots=True)
class Pin:
    """One jar as it has to be."""

    sha256: str
    size_bytes: int
    coordinate: str

    @property
    def file_name(self) -> str:
        """Name of the jar in our folder."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


def read_pins(file: Path = PINS) -> tuple[Pin, ...]:
    """Reads the list of pinned jars, in the order of the file."""
    rows = (line.split() for line in file.read_text().splitlines() if line and not line.startswith("#"))
    return tuple(Pin(sha256, int(size), coordinate) for sha256, size, coordinate in rows)


def kafka_version(pins: Sequence[Pin]) -> str:
    """Version of the broker among the pinned jars."""
    return next(pin.coordinate.rsplit(":", 1)[1] for pin in pins if pin.coordinate.startswith(BROKER + ":"))


def provide(folder: Path | None = None, pins_file: Path = PINS, report: Report = silent) -> list[Path]:
    """Makes sure that every pinned jar is there, fetching what is missing, and returns their paths.

    A folder that was verified before is not read again: its stamp and the sizes must be right. Several processes may
    call this at once.

    Args:
        folder: where the jars are kept; `kafka-<version>` in the user's cache where it is None.
        pins_file: the list of jars.
        report: told how many bytes are there.

    Raises:
        StackError: a jar cannot be fetched, or is not the one that was pinned.
    """
    pins = read_pins(pins_file)
    folder = folder or cache_home() / f"kafka-{kafka_version(pins)}"
    paths = [folder / pin.file_name for pin in pins]
    stamp = folder / STAMP
    wanted = hashlib.sha256(pins_file.read_bytes()).hexdigest()
    if _sizes_right(pins, paths) and stamp.is_file() and stamp.read_text() == wanted:
        return paths
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = [pin for pin in pins if not _verified(pin, folder / pin.file_name)]
        if missing:
            with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as scratch:
                _fetch(missing, folder, Path(scratch), report)
        stamp.write_text(wanted)
    return paths


def _sizes_right(pins: Sequence[Pin], paths: Sequence[Path]) -> bool:
    return all(path.is_file() and path.stat().st_size == pin.size_bytes for pin, path in zip(pins, paths, strict=True))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verified(pin: Pin, path: Path) -> bool:
    return path.is_file() and _sha256(path) == pin.sha256


def _fetch(pins: Sequence[Pin], folder: Path, scratch: Path, report: Report) -> None:
    meter = _Meter(sum(pin.size_bytes for pin in pins), report)
    context = _maven(scratch, meter)

    def one(pin: Pin) -> None:
        try:
            fetched = Path(context.create_dependency(pin.coordinate).artifact.resolve())
        except Exception as error:  # jgo lets through whatever its HTTP client raises
            raise StackError(
                f"{pin.coordinate} cannot be fetched: {error}; the first start needs the network (a mirror can be named"
                f" in jgo's configuration file), what was fetched so far is kept in {folder}"
            ) from error
        found = _sha256(fetched)
        if found != pin.sha256:
            raise StackError(
                f"{pin.coordinate} was fetched with sha256 {found}, but {pin.sha256} is pinned; it is not used"
            )
        fetched.replace(folder / pin.file_name)

    with ThreadPoolExecutor(FETCHES_AT_ONCE) as pool:
        running = [pool.submit(one, pin) for pin in sorted(pins, key=lambda pin: -pin.size_bytes)]
        try:
            for future in running:
                future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


class _Meter:
    """Adds up what several fetches have got."""

    def __init__(self, total: int, report: Report) -> None:
        self._lock = threading.Lock()
        self._done = 0
        self._total = total
        self._report = report

    def add(self, count: int) -> None:
        with self._lock:
            self._done += count
            self._report("fetching Apache Kafka", self._done, self._total)

    @contextmanager
    def __call__(self, file_name: str, size_bytes: int) -> Iterator[Any]:
        del size_bytes
        yield self.add if file_name.endswith(".jar") else lambda _: None


def _maven(repository: Path, meter: _Meter | None = None) -> Any:
    """A jgo context; jgo is imported late, as no start but the first needs it."""
    from jgo.config import GlobalSettings
    from jgo.maven import MavenContext, PythonResolver

    context = MavenContext(
        resolver=PythonResolver(progress_callback=meter),
        repo_cache=repository,
        timeout=TIMEOUT_S,
    )
    context.remote_repos = {**GlobalSettings.load().repositories, **context.remote_repos}
    return context


def pin(version: str) -> str:
    """Resolves and fetches a Kafka release, and returns the text of its list of pins."""
    with tempfile.TemporaryDirectory() as scratch:
        context = _maven(Path(scratch))
        # The binding is not resolved together with Kafka: its parent POM manages versions of the same libraries, and
        # would put an older kafka-clients beside the broker.
        inputs, others = context.resolver.resolve([context.create_dependency(f"{BROKER}:{version}")])
        found = {f"{item.groupId}:{item.artifactId}:{item.version}" for item in (*inputs, *others)}
        core = next(item for item in found if ":log4j-core:" in item)
        found.add(f"{LOG_BINDING}:{core.rsplit(':', 1)[1]}")
        lines = ["# sha256, bytes and Maven coordinate of every jar that the embedded Kafka runs on"]
        for coordinate in sorted(found):
            path = Path(context.create_dependency(coordinate).artifact.resolve())
            lines.append(f"{_sha256(path)} {path.stat().st_size} {coordinate}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(pin(sys.argv[1]))
