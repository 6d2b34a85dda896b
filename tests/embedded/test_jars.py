"""Jars that are not the pinned ones are never used; jgo fetches from a repository of the test's own, over HTTP."""

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ganzhi.embedded import jars, ports
from schemas.errors import StackError

#: Two small ones of the real list.
COORDINATES = ("org.jspecify:jspecify:1.0.0", "org.apache.kafka:kafka-tools-api:4.4.0")


def maven_path(root: Path, pin: jars.Pin) -> Path:
    """Where a Maven repository in a folder has the jar."""
    group, artifact, version = pin.coordinate.split(":")
    return root / group.replace(".", "/") / artifact / version / pin.file_name


@pytest.fixture
def pins(tmp_path: Path) -> tuple[Path, tuple[jars.Pin, ...]]:
    """A list of two of the pinned jars."""
    chosen = tuple(pin for pin in jars.read_pins() if pin.coordinate in COORDINATES)
    assert len(chosen) == len(COORDINATES)
    file = tmp_path / "pins.sha256"
    file.write_text("".join(f"{pin.sha256} {pin.size_bytes} {pin.coordinate}\n" for pin in chosen))
    return file, chosen


@pytest.fixture
def repository(
    tmp_path: Path, pins: tuple[Path, tuple[jars.Pin, ...]], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A Maven repository on loopback that serves copies of the real jars; jgo's configuration file names it."""
    real = {path.name: path for path in jars.provide()}
    root = tmp_path / "repository"
    for pin in pins[1]:
        path = maven_path(root, pin)
        path.parent.mkdir(parents=True)
        path.write_bytes(real[pin.file_name].read_bytes())

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
            """Says nothing."""

    server = http.server.ThreadingHTTPServer((ports.HOST, 0), functools.partial(Quiet, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    name_repository(tmp_path, monkeypatch, server.server_address[1])
    yield root
    server.shutdown()
    thread.join()
    server.server_close()


def name_repository(folder: Path, monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """Makes a port of loopback the first repository that jgo asks."""
    config = folder / "jgo.conf"
    config.write_text(f"[repositories]\nours = http://{ports.HOST}:{port}\n")
    monkeypatch.setenv("JGO_CONFIG_FILE", str(config))


def test_fetches_what_is_missing(tmp_path: Path, pins: tuple[Path, tuple[jars.Pin, ...]], repository: Path) -> None:
    """Every pinned jar is fetched and reported to the last byte; the second time nothing is fetched."""
    reports: list[tuple[int, int]] = []
    file, chosen = pins
    paths = jars.provide(tmp_path / "jars", file, lambda _, done, total: reports.append((done, total)))
    assert [path.stat().st_size for path in paths] == [pin.size_bytes for pin in chosen]
    total = sum(pin.size_bytes for pin in chosen)
    assert reports[-1] == (total, total)
    reports.clear()
    assert jars.provide(tmp_path / "jars", file, lambda _, done, total: reports.append((done, total))) == paths
    assert not reports


def test_other_bytes_are_refused(tmp_path: Path, pins: tuple[Path, tuple[jars.Pin, ...]], repository: Path) -> None:
    """A repository that serves a jar with one bit changed is refused by name, and its jar does not stay."""
    file, chosen = pins
    spoilt = maven_path(repository, chosen[0])
    content = bytearray(spoilt.read_bytes())
    content[100] ^= 1
    spoilt.write_bytes(content)
    with pytest.raises(StackError, match=f"{chosen[0].coordinate} was fetched with sha256 .* is pinned"):
        jars.provide(tmp_path / "jars", file)
    assert not (tmp_path / "jars" / chosen[0].file_name).exists()
    assert not (tmp_path / "jars" / jars.STAMP).exists()
    spoilt.write_bytes(bytes(content[:100]) + bytes([content[100] ^ 1]) + bytes(content[101:]))
    assert len(jars.provide(tmp_path / "jars", file)) == len(chosen)


@pytest.mark.parametrize("stamped", [True, False], ids=["shorter", "one bit, not verified yet"])
def test_spoilt_copy_is_replaced(
    tmp_path: Path, pins: tuple[Path, tuple[jars.Pin, ...]], repository: Path, stamped: bool
) -> None:
    """A jar in the cache that was cut off, or changed before the folder was verified, is fetched again."""
    file = pins[0]
    path = jars.provide(tmp_path / "jars", file)[0]
    content = path.read_bytes()
    if stamped:
        path.write_bytes(content[:-1])
    else:
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        (tmp_path / "jars" / jars.STAMP).unlink()
    assert jars.provide(tmp_path / "jars", file)[0].read_bytes() == content


def test_no_network(tmp_path: Path, pins: tuple[Path, tuple[jars.Pin, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network the message says so, and what to do."""
    name_repository(tmp_path, monkeypatch, ports.choose_free())
    with pytest.raises(StackError, match=r"cannot be fetched.*the first start needs the network"):
        jars.provide(tmp_path / "jars", pins[0])


def test_pins_are_one_whole_kafka() -> None:
    """The list names each jar once, and every jar of Kafka itself in the broker's version."""
    pins = jars.read_pins()
    names = [pin.file_name for pin in pins]
    assert len(set(names)) == len(names)
    versions = {pin.coordinate.split(":")[2] for pin in pins if pin.coordinate.startswith("org.apache.kafka:")}
    assert versions == {jars.kafka_version(pins)}
