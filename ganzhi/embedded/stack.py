"""The embedded stack of a profile: Kafka and ClickHouse on loopback, started together, found through the run file.

What a profile keeps is in one folder (`schemas.settings.data_home`, 0700): the data of both, `passwords.toml` (made
once, 0600), and, while the stack is up, the run file (0600), from which `schemas.settings.load` learns where they are.
"""

import json
import re
import secrets
import shutil
import threading
import tomllib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from pydantic import SecretStr

from ganzhi.embedded import ports as tcp
from ganzhi.embedded.clickhouse import EmbeddedClickHouse
from ganzhi.embedded.kafka import EmbeddedKafka
from ganzhi.embedded.locks import LOCK_NAME, FolderLock
from ganzhi.embedded.progress import Report, silent
from schemas.errors import ConfigurationError, StackError
from schemas.settings import ClickHouseSettings, KafkaSettings, Settings, data_home, load, run_file

PROFILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
READY_TIMEOUT_S = 120.0
PASSWORD_BYTES = 24
LOOPBACK = (tcp.HOST, "localhost")
NOT_HERE = "the embedded stack listens on 127.0.0.1 only; unset it, or do without the embedded stack"
WRITER = "default"
READER = "reader"


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the stack listens, on loopback."""

    kafka: int
    clickhouse: int

    @classmethod
    def free(cls) -> Self:
        """Two ports that are free now."""
        kafka = tcp.choose_free()
        return cls(kafka, tcp.choose_free((kafka,)))

    @classmethod
    def configured(cls, settings: Settings) -> Self:
        """The ports at which the settings look for Kafka and ClickHouse: 19092 and 18123 unless told otherwise.

        Raises:
            ConfigurationError: the settings look for them on another host.
        """
        host, _, port = settings.kafka.bootstrap.rpartition(":")
        if host not in LOOPBACK or not port.isdecimal():
            raise ConfigurationError(f"GANZHI_KAFKA__BOOTSTRAP is {settings.kafka.bootstrap}; {NOT_HERE}")
        if settings.clickhouse.host not in LOOPBACK:
            raise ConfigurationError(f"GANZHI_CLICKHOUSE__HOST is {settings.clickhouse.host}; {NOT_HERE}")
        return cls(int(port), settings.clickhouse.port)


class Stack:
    """Kafka and ClickHouse of one profile, as children of this process.

    Used as a context manager it is up inside, and stopped at the end. Only one process at a time has a profile up.

    Args:
        profile: its name; letters, digits, dot, dash and underscore.
        wipe: whether to remove the data (and passwords) of the profile before the start, but never another process's.
        ports: where to listen; None: where the settings look for it. "free" takes two free ports, the same ones each
            time that this object starts.
        report: told how far long steps are, see `ganzhi.embedded.progress`.
        kafka_heap_mb: heap limit of Kafka's JVM.

    Attributes:
        profile: as given.
        folder: the profile's data.
        ports: where it listens; with `ports=None` known once started.
        kafka: the Kafka node.
        clickhouse: the ClickHouse server.
        kafka_settings: how clients reach Kafka.
        clickhouse_settings: how clients reach ClickHouse.

    Raises:
        ConfigurationError: the profile has an impossible name.
    """

    ports: Ports
    kafka: EmbeddedKafka
    clickhouse: EmbeddedClickHouse
    kafka_settings: KafkaSettings
    clickhouse_settings: ClickHouseSettings

    def __init__(
        self,
        profile: str = "default",
        *,
        wipe: bool = False,
        ports: Ports | Literal["free"] | None = None,
        report: Report | None = None,
        kafka_heap_mb: int = 512,
    ) -> None:
        if not PROFILE.fullmatch(profile):
            raise ConfigurationError(f"{profile!r} is no name for a profile: letters, digits, '.', '-' and '_' only")
        self.profile = profile
        self.folder = data_home(profile)
        self._configured_ports = ports is None
        if ports is not None:
            self.ports = Ports.free() if ports == "free" else ports
        self._wipe = wipe
        self._report = report or silent
        self._kafka_heap_mb = kafka_heap_mb
        self._lock: FolderLock | None = None
        self._giving_up = threading.Event()

    def start(self) -> None:
        """Starts both and returns when both answer; leaves nothing running when that fails.

        Raises:
            FolderInUse: another process has the profile.
            PortInUse: somebody else listens on a port.
            ConfigurationError: the settings look for Kafka or ClickHouse on another host.
            ChildDied: Kafka or ClickHouse ended instead of getting ready.
            StackError: something else that the start needs is missing.
        """
        if self._lock is not None:
            raise StackError(f"the stack of profile {self.profile} runs already")
        self._lock = FolderLock(self.folder)
        try:
            self.folder.chmod(0o700)
            self._remove_old()
            self._prepare(self._lock.descriptor)
            self._start_parts()
            self._write_run_file()
        except BaseException:
            self.kill()
            raise

    def check(self) -> None:
        """Raises ChildDied if Kafka or ClickHouse has ended by itself."""
        self.kafka.child.check()
        self.clickhouse.child.check()

    def stop(self) -> None:
        """Stops ClickHouse, then Kafka, and gives the profile free; nothing happens where it is not up."""
        if self._lock is None:
            return
        run_file(self.profile).unlink(missing_ok=True)
        try:
            self.clickhouse.stop()
        finally:
            try:
                self.kafka.stop()
            finally:
                self._release()

    def kill(self) -> None:
        """Kills both at once (SIGKILL) and gives the profile free; its data stay, and a start goes on with them."""
        if self._lock is None:
            return
        try:
            self._kill_parts()
        finally:
            run_file(self.profile).unlink(missing_ok=True)
            self._release()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _remove_old(self) -> None:
        run_file(self.profile).unlink(missing_ok=True)
        if not self._wipe:
            return
        for entry in self.folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name != LOCK_NAME:
                entry.unlink()
        self._wipe = False  # once: a second start of this object goes on with its data

    def _prepare(self, lock: int) -> None:
        if self._configured_ports:
            self.ports = Ports.configured(load(profile=self.profile))
        writer, reader = self._passwords()
        self.kafka = EmbeddedKafka(self.folder / "kafka", self.ports.kafka, heap_mb=self._kafka_heap_mb, keep=(lock,))
        self.clickhouse = EmbeddedClickHouse(self.folder / "clickhouse", self.ports.clickhouse, writer, reader)
        self.kafka_settings = KafkaSettings(bootstrap=self.kafka.bootstrap)
        self.clickhouse_settings = ClickHouseSettings(
            host=tcp.HOST,
            port=self.ports.clickhouse,
            writer_user=WRITER,
            writer_password=SecretStr(writer),
            reader_user=READER,
            reader_password=SecretStr(reader),
        )

    def _passwords(self) -> tuple[str, str]:
        file = self.folder / "passwords.toml"
        if not file.exists():
            made = {"writer": secrets.token_urlsafe(PASSWORD_BYTES), "reader": secrets.token_urlsafe(PASSWORD_BYTES)}
            _write_private(file, {"clickhouse": made})
        try:
            kept = tomllib.loads(file.read_text())["clickhouse"]
            return kept["writer"], kept["reader"]
        except (tomllib.TOMLDecodeError, KeyError) as error:
            raise StackError(f"{file} cannot be read ({error}); remove it, and new passwords are made") from error

    def _start_parts(self) -> None:
        self._giving_up.clear()
        with ThreadPoolExecutor(2, "embedded-start") as pool:
            starting = [pool.submit(self._start_kafka), pool.submit(self._start_clickhouse)]
            try:
                for done in as_completed(starting):
                    done.result()
            except BaseException:
                self._kill_parts()  # or the pool would wait for the one that still starts
                raise

    def _start_kafka(self) -> None:
        self.kafka.start(self._progress)
        self._go_on()
        self.kafka.wait_ready(READY_TIMEOUT_S)

    def _start_clickhouse(self) -> None:
        self._go_on()
        self.clickhouse.start()
        self._go_on()
        self.clickhouse.wait_ready(READY_TIMEOUT_S)

    def _go_on(self) -> None:
        """Ends the start of one part when the other failed; what was started before that was seen here is killed."""
        if self._giving_up.is_set():
            self._kill_parts()
            raise StackError("the start was given up")

    def _progress(self, what: str, done: int, total: int) -> None:
        self._go_on()
        self._report(what, done, total)

    def _write_run_file(self) -> None:
        clickhouse = self.clickhouse_settings
        content: dict[str, dict[str, str | int]] = {
            "kafka": {"bootstrap": self.kafka_settings.bootstrap},
            "clickhouse": {
                "host": clickhouse.host,
                "port": clickhouse.port,
                "writer_user": clickhouse.writer_user,
                "writer_password": clickhouse.writer_password.get_secret_value(),
                "reader_user": clickhouse.reader_user,
                "reader_password": clickhouse.reader_password.get_secret_value(),
            },
        }
        _write_private(run_file(self.profile), content)

    def _kill_parts(self) -> None:
        self._giving_up.set()
        for part in (getattr(self, "clickhouse", None), getattr(self, "kafka", None)):
            if part is not None:
                part.kill()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def _write_private(file: Path, tables: Mapping[str, Mapping[str, str | int]]) -> None:
    """Writes a TOML file of tables, mode 0600, whole or not at all."""
    lines: list[str] = []
    for table, values in tables.items():
        # A JSON string is a TOML basic string.
        lines += [f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items()), ""]
    unfinished = file.with_name(file.name + ".new")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    unfinished.write_text("\n".join(lines))
    unfinished.replace(file)
