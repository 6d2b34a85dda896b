"""The embedded ClickHouse as the rest of ganzhi sees it: a child process with a folder, a port and two passwords."""

import contextlib
import http.client
import json
import os
import sys
from pathlib import Path

from ganzhi.embedded.children import Child
from ganzhi.embedded.clickhouse_server.__main__ import EXIT_FOLDER_IN_USE, EXIT_PORT_IN_USE
from ganzhi.embedded.clickhouse_server.users import READER, WRITER, make_user, write_users
from ganzhi.embedded.progress import Report
from schemas.errors import ChildDied, FolderInUse, PortInUse

#: The server's environment holds nothing else: what it does not have, no statement can read.
ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "VIRTUAL_ENV", "PYTHONUNBUFFERED")
START_TIMEOUT_S = 20.0


class EmbeddedClickHouse:
    """One ClickHouse on loopback, which ends with this process.

    Users: `default` (writer) and `reader` (reads only, within limits). Data stay in the folder.

    Args:
        folder: of the data, the configuration and the log; made when it is missing.
        port: of the HTTP interface; 0 takes a free one.
        writer_password: of `default`.
        reader_password: of `reader`.
        databases: made when they are missing; the first is where a client is that names none.
        memory_bytes: limit of the engine; 0: 40 % of the machine, between 1 and 4 GiB.

    Attributes:
        folder: as given.
        port: as given; the real one once started.
        child: the process, once started.
    """

    def __init__(
        self,
        folder: Path,
        port: int,
        writer_password: str,
        reader_password: str,
        databases: tuple[str, ...] = ("ganzhi",),
        *,
        memory_bytes: int = 0,
    ) -> None:
        self.folder = folder
        self.port = port
        self._wanted_port = port
        self._passwords = (writer_password, reader_password)
        self._databases = databases
        self._memory_bytes = memory_bytes
        self._child: Child | None = None

    @property
    def child(self) -> Child:
        """The process; only after `start`."""
        if self._child is None:
            raise RuntimeError("not started")
        return self._child

    def start(self, progress: Report | None = None) -> None:
        """Starts the process and waits until it has its folder and its port.

        Args:
            progress: never called: there is nothing to fetch.

        Raises:
            FolderInUse: another process holds the folder.
            PortInUse: somebody else listens on the port.
            ChildDied: it ended for another reason; the message has the end of its log.
            StackError: it cannot be started at all.
        """
        del progress
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder.chmod(0o700)
        writer, reader = self._passwords
        write_users(
            self.folder / "users.json", [make_user(WRITER, "writer", writer), make_user(READER, "reader", reader)]
        )
        # -P: the working folder is no library, and so not among what the server may read.
        command = [sys.executable, "-P", "-m", "ganzhi.embedded.clickhouse_server", str(self.folder.resolve())]
        command += ["--port", str(self._wanted_port)]
        command += ["--databases", ",".join(self._databases), "--memory-bytes", str(self._memory_bytes)]
        environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
        self._child = Child("ClickHouse", command, self.folder / "server.log", env=environment, cwd=self.folder)
        try:
            self._child.wait_until(self._bound, START_TIMEOUT_S)
        except ChildDied as error:
            raise self._why(error) from None

    def wait_ready(self, timeout_s: float = 30.0) -> None:
        """Waits until it answers.

        Raises:
            ChildDied: it ended meanwhile.
            StackError: it does not answer in time.
        """
        self.child.wait_until(self.ping, timeout_s)

    def ping(self) -> bool:
        """Whether it answers `/ping`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def stop(self) -> None:
        """Asks it to end, and waits; statements that run get five seconds."""
        if self._child is not None:
            self._child.stop()

    def kill(self) -> None:
        """Ends it at once (SIGKILL), and waits; what was acknowledged stays."""
        if self._child is not None:
            self._child.kill()

    def _bound(self) -> bool:
        with contextlib.suppress(FileNotFoundError):
            told = json.loads((self.folder / "server.json").read_text(encoding="utf-8"))
            if told["pid"] == self.child.pid:
                self.port = told["port"]
                return True
        return False

    def _why(self, error: ChildDied) -> Exception:
        if error.returncode == EXIT_PORT_IN_USE:
            return PortInUse(self._wanted_port, "ClickHouse", "GANZHI_CLICKHOUSE__PORT")
        if error.returncode == EXIT_FOLDER_IN_USE:
            owner = (self.folder / "lock").read_text(encoding="utf-8").strip()
            return FolderInUse(str(self.folder), int(owner) if owner.isdecimal() else None)
        return error
