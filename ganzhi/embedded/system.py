"""The whole system of a profile: the embedded stack, its topics and tables, workers, sink and console, kept running.

They are the same processes that run elsewhere (`ganzhi worker`, `ganzhi sink`, `ganzhi console`, and `ganzhi notify`
where the settings have channels), as children that end with this one. One that ends by itself is started again, with a
pause that grows while it keeps failing.
"""

import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

from ganzhi.embedded import ports as tcp
from ganzhi.embedded.children import Child
from ganzhi.embedded.progress import Report
from ganzhi.embedded.stack import Ports, Stack
from schemas.errors import ChildDied
from schemas.settings import Settings, load
from sinks.clickhouse.migrate import migrate
from sinks.console.process import address_of, first_run
from streams.kafka_admin import create_missing

PAUSE_MAX_S: Final = 10.0
STEADY_S: Final = 30.0
"""A child that ran for so long begins again with the shortest pause."""
CONSOLE_S: Final = 60.0
"""A console of a busy machine answers after some seconds; after so long it is told that it still comes."""

Notice = Callable[[str], None]


def _quiet(sentence: str) -> None:
    del sentence


class _Kept:
    """A child that is started again when it ends."""

    def __init__(self, name: str, arguments: list[str], folder: Path, env: dict[str, str]) -> None:
        self.name = name
        self.restarts = 0
        self._arguments = arguments
        self._log = folder / f"{name}.log"
        self._env = env
        self._pause_s = 0.2
        self._next_s = 0.0
        self.child: Child | None = None
        self.start()

    def start(self) -> None:
        self._started_s = time.monotonic()
        self.child = Child(self.name, [sys.executable, "-m", "ganzhi", *self._arguments], self._log, env=self._env)

    def keep(self) -> bool:
        """Starts it again if it has ended and its pause is over; True when it did."""
        now_s = time.monotonic()
        if self.child is not None and self.child.alive():
            return False
        if self.child is not None:
            steady = now_s - self._started_s > STEADY_S
            self._pause_s = 0.2 if steady else min(self._pause_s * 2, PAUSE_MAX_S)
            self._next_s = now_s + self._pause_s
            self.child = None
        if now_s < self._next_s:
            return False
        self.restarts += 1
        self.start()
        return True


class System:
    """Everything that a profile needs to run, up inside a `with`.

    Args:
        profile: whose data.
        wipe: remove the profile's data first.
        workers: how many worker processes share the partitions.
        ports: as for `Stack`.
        report: told how far fetching is.
        nightly: settle every night, if the settings say when.

    Attributes:
        stack: Kafka and ClickHouse.
        settings: how to reach them; there once started.
        console: where the web console is; there once started.
        password: one-time password of the console's administrator; None where the profile has users already.
        health: name of a child → where it says how it is.
    """

    settings: Settings
    console: str
    password: str | None

    def __init__(
        self,
        profile: str = "default",
        *,
        wipe: bool = False,
        workers: int = 1,
        ports: Ports | Literal["free"] | None = None,
        report: Report | None = None,
        nightly: bool = False,
    ) -> None:
        self.profile = profile
        self.nightly = nightly
        self.workers = workers
        self.stack = Stack(profile, wipe=wipe, ports=ports, report=report)
        self._free_ports = ports == "free"
        self.health: dict[str, str] = {}
        self._health_ports: list[int] = []
        self._kept: list[_Kept] = []

    def start(self) -> None:
        """Starts the stack, makes topics and tables, starts workers and sink; leaves nothing running when that fails.

        Raises:
            GanzhiError: as `Stack.start`, `create_missing` and `migrate` do.
        """
        self.start_stack()
        self.start_children()

    def start_stack(self) -> None:
        """The first half of `start`: the stack with its topics and tables, and the console, which needs no worker.

        Who has work for the log may begin.

        Raises:
            GanzhiError: as `start` does.
        """
        self.stack.start()
        try:
            self.settings = self._with_console(load(profile=self.profile))
            create_missing(self.settings.kafka)
            migrate(self.settings.clickhouse)
            self._start_console()
        except BaseException:
            self.stop()
            raise

    def start_children(self) -> None:
        """The second half of `start`: workers, sink, and notifier if there are channels.

        Raises:
            GanzhiError: one cannot be started.
        """
        env = {**os.environ, "GANZHI_PROFILE": self.profile}
        folder = self.stack.folder / "logs"
        try:
            folder.mkdir(exist_ok=True)
            for number in range(self.workers):
                member = self._watched(env, f"worker-{number}") | {
                    "GANZHI_WORKER__INSTANCE": f"{self.profile}-{number}"
                }
                self._kept.append(_Kept(f"worker-{number}", ["worker"], folder, member))
            if self.nightly and self.settings.settle.nightly:
                self._kept.append(_Kept("settle", ["replay", "settle", "--nightly"], folder, env))
            self._kept.append(_Kept("sink", ["sink"], folder, self._watched(env, "sink")))
            if self.settings.notify.channels:
                link = {"GANZHI_NOTIFY__LINK": self.settings.notify.link or self.console}
                self._kept.append(_Kept("notifier", ["notify"], folder, {**self._watched(env, "notifier"), **link}))
        except BaseException:
            self.stop()
            raise

    def _start_console(self) -> None:
        folder = self.stack.folder / "logs"
        folder.mkdir(exist_ok=True)
        own = {**os.environ, "GANZHI_PROFILE": self.profile, "GANZHI_CONSOLE__PORT": str(self.settings.console.port)}
        self._kept.append(_Kept("console", ["console"], folder, own))

    def console_answers(self, timeout_s: float = CONSOLE_S) -> bool:
        """Waits until the console takes connections; False where it does not within the time."""
        console = self.settings.console
        ends_s = time.monotonic() + timeout_s
        while time.monotonic() < ends_s:
            try:
                socket.create_connection((console.host, console.port), 1).close()
            except OSError:
                time.sleep(0.1)
            else:
                return True
        return False

    def _with_console(self, settings: Settings) -> Settings:
        """Finds the console a port, and makes its first user before anybody can come in.

        Raises:
            PortInUse: somebody else listens there.
        """
        port = settings.console.port
        if self._free_ports:
            port = tcp.choose_free((self.stack.ports.kafka, self.stack.ports.clickhouse))
        tcp.require_free(port, "the console", "GANZHI_CONSOLE__PORT")
        console = settings.console.model_copy(update={"port": port})
        self.console, self.password = address_of(console), first_run(self.profile)
        return settings.model_copy(update={"console": console})

    def _watched(self, env: dict[str, str], name: str) -> dict[str, str]:
        """The environment of a child that serves its health on a free port of loopback."""
        taken = (self.settings.console.port, *self._health_ports)
        port = tcp.choose_free(taken)
        self._health_ports.append(port)
        self.health[name] = f"http://{tcp.HOST}:{port}/health"
        return env | {"GANZHI_HEALTH__HOST": tcp.HOST, "GANZHI_HEALTH__PORT": str(port)}

    def keep(self, notice: Notice = _quiet) -> None:
        """Looks after the children; to be called several times a second.

        Raises:
            ChildDied: Kafka or ClickHouse has ended.
        """
        self.stack.check()
        for kept in self._kept:
            if kept.keep():
                notice(kept.name)

    def child(self, name: str) -> Child:
        """The running child of a name (worker-0, sink, console).

        Raises:
            ChildDied: it is not running just now.
        """
        for kept in self._kept:
            if kept.name == name and kept.child is not None:
                return kept.child
        raise ChildDied(name, 0)

    def stop(self) -> None:
        """Stops workers, sink and console, then the stack."""
        try:
            for kept in self._kept:
                if kept.child is not None:
                    kept.child.stop()
            self._kept.clear()
        finally:
            self.stack.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
