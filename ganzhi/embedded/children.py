"""Child processes that never outlive their parent, also when the parent is killed -9.

A child runs under a guard (see `ganzhi.embedded.guard`) in a session of its own, so that Ctrl-C in the terminal reaches
the parent only, which then stops its children in order. What a child prints goes to a log file.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from schemas.errors import ChildDied, StackError

GUARD = Path(__file__).with_name("guard.py")
#: A log longer than this is put aside as `<name>.old` at the next start.
LOG_BYTES_MAX = 16 << 20
TAIL_BYTES = 4096


class Child:
    """A running child process; starts when it is made.

    Args:
        name: for messages.
        command: program and arguments; no shell.
        log_file: standard output and standard error are appended to it (made 0600).
        env: the whole environment; the parent's where it is None.
        cwd: working folder.
        keep: descriptors (locks) that stay open until the child and everything it started have ended, even if the
            parent ends before.

    Attributes:
        name: as given.
        pid: of the command itself, not of its guard.
        log_file: as given.

    Raises:
        StackError: the command cannot be started.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log_file: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        keep: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.log_file = log_file
        self._lock = threading.Lock()
        self._stopping = False
        self._returncode: int | None = None
        self._told = b""
        log_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if log_file.exists() and log_file.stat().st_size > LOG_BYTES_MAX:
            log_file.replace(log_file.with_name(log_file.name + ".old"))
        lifeline_read, self._lifeline = os.pipe()
        self._status, status_write = os.pipe()
        log = os.open(log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        kept = (status_write, *keep)
        guard = (sys.executable, "-I", "-S", str(GUARD))
        try:
            self._guard = subprocess.Popen(
                [*guard, str(os.getpid()), str(lifeline_read), ",".join(map(str, kept)), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=None if env is None else dict(env),
                cwd=cwd,
                pass_fds=(lifeline_read, *kept),
                start_new_session=True,
            )
        except OSError as error:
            os.close(self._lifeline)
            os.close(self._status)
            raise StackError(f"{name} cannot be started: {error}") from error
        finally:
            for descriptor in (lifeline_read, status_write, log):
                os.close(descriptor)
        self.pid = self._read_pid(command[0])

    def _read_pid(self, program: str) -> int:
        # One line only: of a command that has ended by now there is a second line, which `_finish` needs.
        line, _, self._told = os.read(self._status, 256).partition(b"\n")
        words = line.decode().split()
        if words[:1] == ["pid"]:
            return int(words[1])
        self.kill()
        why = (
            f"{program}: {os.strerror(int(words[1]))}"
            if words[:1] == ["error"]
            else f"its log says:\n{self.log_tail()}"
        )
        raise StackError(f"{self.name} cannot be started: {why}")

    def alive(self) -> bool:
        """Whether it still runs."""
        return self.returncode is None

    @property
    def returncode(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        with self._lock:
            if self._returncode is None and self._guard.poll() is not None:
                self._finish()
            return self._returncode

    def _finish(self) -> None:
        """Takes the exit status that the guard wrote; where the guard itself was killed, the guard's own."""
        words = (self._told + os.read(self._status, 256)).decode().split()
        self._returncode = int(words[words.index("exit") + 1]) if "exit" in words else self._guard.returncode
        os.close(self._status)
        os.close(self._lifeline)
        self._lifeline = -1

    def check(self) -> None:
        """Raises ChildDied if it has ended without having been asked to."""
        code = self.returncode
        if code is not None and not self._stopping:
            raise ChildDied(self.name, code, self.log_tail())

    def wait(self, timeout_s: float) -> int | None:
        """Waits for its end; returns the exit status, or None when it still runs after that time."""
        try:
            self._guard.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        return self.returncode

    def wait_until(self, ready: Callable[[], bool], timeout_s: float, interval_s: float = 0.05) -> None:
        """Asks again and again until `ready` says so.

        Raises:
            ChildDied: it ended meanwhile (with the end of its log).
            StackError: it is not ready in time.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            code = self.returncode
            if code is not None:
                raise ChildDied(self.name, code, self.log_tail())
            if ready():
                return
            if time.monotonic() > deadline:
                where = f"{self.log_file} ends with:\n{self.log_tail()}"
                raise StackError(f"{self.name} is not ready after {timeout_s:g} s; {where}")
            time.sleep(interval_s)

    def signal(self, number: int) -> None:
        """Sends it a signal; nothing happens where it has ended."""
        with self._lock:
            if self._lifeline >= 0:
                try:
                    os.write(self._lifeline, bytes([number]))
                except BrokenPipeError:
                    return

    def stop(self, timeout_s: float = 20.0) -> int:
        """Asks it to end (SIGTERM), and kills it after that time; returns the exit status."""
        self._stopping = True
        self.signal(signal.SIGTERM)
        code = self.wait(timeout_s)
        return self.kill() if code is None else code

    def kill(self) -> int:
        """Kills it and everything in its process group (SIGKILL), and waits for the end; returns the exit status."""
        self._stopping = True
        self.signal(signal.SIGKILL)
        self._guard.wait()
        code = self.returncode
        return -signal.SIGKILL if code is None else code

    def log_tail(self, lines: int = 12) -> str:
        """The last lines that it printed."""
        try:
            with self.log_file.open("rb") as log:
                log.seek(max(0, self.log_file.stat().st_size - TAIL_BYTES))
                text = log.read().decode(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])
