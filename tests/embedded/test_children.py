"""Children end when they are told to, and never outlive their parent."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ganzhi.embedded.children import Child
from ganzhi.embedded.locks import FolderLock
from schemas.errors import ChildDied, FolderInUse, StackError

WAIT_S = 30.0
SLEEP_S = "3600"

#: Starts a child with grandchildren, from a thread that ends at once; prints the pids, then waits to be killed. Told to
#: fork, it has another process hold all its descriptors too.
PARENT = """
import os, sys, threading, time
from pathlib import Path
from ganzhi.embedded.children import Child
from ganzhi.embedded.locks import FolderLock

folder = Path(sys.argv[1])
lock = FolderLock(folder)
children = []

def start():
    command = ["sh", "-c", "trap '' TERM HUP INT; sleep 3600 & echo $!; setsid sleep 3600 & echo $!; echo end; wait"]
    children.append(Child("family", command, folder / "log", keep=(lock.descriptor,)))

thread = threading.Thread(target=start)
thread.start()
thread.join()
children[0].wait_until(lambda: "end" in children[0].log_tail(), 30)
forked = []
if "fork" in sys.argv:
    forked = [os.fork()]
    if forked == [0]:
        time.sleep(3600)
print(*forked, children[0].pid, *children[0].log_tail().replace("end", "").split(), flush=True)
time.sleep(3600)
"""


def gone(pids: list[int]) -> bool:
    """Waits for processes to end, as long as it may take; False when one is still there then."""
    there = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    return not psutil.wait_procs(there, timeout=WAIT_S)[1]


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A process with a child and two grandchildren, one of them in a session of its own, and the pids of the three."""
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pids = [int(word) for word in process.stdout.readline().split()]
        assert len(pids) == 3
        assert all(psutil.pid_exists(pid) for pid in pids)
        yield process, pids
        process.kill()


def test_family_ends_when_the_parent_is_killed(parent: tuple[subprocess.Popen[str], list[int]]) -> None:
    """Kill -9 of the parent ends child and grandchildren, though they ignore signals and their thread is long gone."""
    process, pids = parent
    assert all(psutil.pid_exists(pid) for pid in pids)
    process.kill()
    assert gone(pids)


def test_family_ends_though_a_fork_of_the_parent_lives(tmp_path: Path) -> None:
    """Kill -9 of the parent ends its children also when a process forked off it keeps all its descriptors open."""
    command = [sys.executable, "-c", PARENT, str(tmp_path), "fork"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        forked, *pids = (int(word) for word in process.stdout.readline().split())
        assert len(pids) == 3
        process.kill()
        process.wait()
        assert psutil.pid_exists(forked)
        ended = gone(pids)
        psutil.Process(forked).kill()
    assert ended


def test_child_ends_when_its_guard_is_killed(parent: tuple[subprocess.Popen[str], list[int]]) -> None:
    """Kill -9 of the guard ends the child as well."""
    process, pids = parent
    guard = psutil.Process(pids[0]).parent()
    assert guard is not None
    assert guard.ppid() == process.pid
    guard.kill()
    assert gone(pids[:1])
    for pid in pids[1:]:
        psutil.Process(pid).kill()


def test_lock_is_free_only_when_the_children_of_a_killed_owner_are_gone(
    parent: tuple[subprocess.Popen[str], list[int]], tmp_path: Path
) -> None:
    """Whoever gets the folder after a kill -9 finds no child of the owner before him."""
    process, pids = parent
    with pytest.raises(FolderInUse) as refused:
        FolderLock(tmp_path)
    assert refused.value.owner_pid == process.pid
    process.kill()
    process.wait()
    lock = FolderLock(tmp_path)
    assert not psutil.pid_exists(pids[0])
    lock.release()


def test_child_and_what_it_started_end_together(tmp_path: Path) -> None:
    """A command that ends leaves no process that it had started, also none in another session."""
    command = ["sh", "-c", f"sleep {SLEEP_S} & echo $!; setsid sleep {SLEEP_S} & echo $!; exit 3"]
    child = Child("short", command, tmp_path / "log")
    assert child.wait(WAIT_S) == 3
    pids = [int(word) for word in child.log_tail().split()]
    assert len(pids) == 2
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_stop_asks_first(tmp_path: Path) -> None:
    """`stop` sends SIGTERM, and a command that cleans up then has the time for it."""
    child = Child(
        "tidy", ["sh", "-c", "trap 'echo tidied; exit 0' TERM; echo up; while :; do sleep 0.01; done"], tmp_path / "log"
    )
    child.wait_until(lambda: "up" in child.log_tail(), WAIT_S)
    assert child.stop(WAIT_S) == 0
    assert child.log_tail().splitlines() == ["up", "tidied"]
    assert not psutil.pid_exists(child.pid)
    child.check()
    assert child.stop() == 0


def test_stop_kills_what_does_not_listen(tmp_path: Path) -> None:
    """A command that ignores SIGTERM is killed after the time given."""
    child = Child("stubborn", ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.01; done"], tmp_path / "log")
    child.wait_until(lambda: "up" in child.log_tail(), WAIT_S)
    assert child.stop(0.2) == -signal.SIGKILL
    assert not psutil.pid_exists(child.pid)


def test_death_is_noticed(tmp_path: Path) -> None:
    """A child that ends by itself is reported with its status and last words, by `check` and while it is waited for."""
    child = Child("mortal", ["sh", "-c", "echo 'disk full' >&2; exit 7"], tmp_path / "log")
    with pytest.raises(ChildDied, match="disk full") as died:
        child.wait_until(lambda: False, WAIT_S)
    assert (died.value.name, died.value.returncode) == ("mortal", 7)
    with pytest.raises(ChildDied, match="disk full"):
        child.check()


def test_death_before_the_pid_was_read(tmp_path: Path) -> None:
    """The exit status of a command that has ended before its parent got round to reading its pid is not lost."""

    class Late(Child):
        def _read_pid(self, program: str) -> int:
            self._guard.wait()
            return super()._read_pid(program)

    assert Late("hasty", ["sh", "-c", "exit 7"], tmp_path / "log").returncode == 7


def test_kill_from_outside_is_noticed(tmp_path: Path) -> None:
    """A child that is killed from outside is reported with the signal."""
    child = Child("victim", ["sleep", SLEEP_S], tmp_path / "log")
    child.check()
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait(WAIT_S) == -signal.SIGKILL
    with pytest.raises(ChildDied) as died:
        child.check()
    assert died.value.returncode == -signal.SIGKILL


def test_terminal_signals_do_not_reach_children(tmp_path: Path) -> None:
    """A child is in another session than its parent, and no descriptor of the parent's reaches it."""
    read, write = os.pipe()
    os.set_inheritable(write, True)
    child = Child("apart", ["sh", "-c", f"echo up; while :; do sleep {SLEEP_S}; done"], tmp_path / "log", keep=(write,))
    child.wait_until(lambda: "up" in child.log_tail(), WAIT_S)  # it opens no files any more
    assert os.getsid(child.pid) != os.getsid(0)
    assert not [link for entry in Path(f"/proc/{child.pid}/fd").iterdir() if "pipe:" in str(link := entry.readlink())]
    assert child.kill() == -signal.SIGKILL
    os.close(read)
    os.close(write)


def test_not_ready_in_time(tmp_path: Path) -> None:
    """A child that is never ready is told with its log, and goes on running."""
    child = Child("slow", ["sh", "-c", f"echo warming up; exec sleep {SLEEP_S}"], tmp_path / "log")
    child.wait_until(lambda: "warming" in child.log_tail(), WAIT_S)
    with pytest.raises(StackError, match="slow is not ready") as late:
        child.wait_until(lambda: False, 0.01)
    assert "warming up" in str(late.value)
    assert child.alive()
    child.kill()


def test_unknown_program(tmp_path: Path) -> None:
    """A program that does not exist is told by name, and leaves no descriptor open."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(StackError, match="no-such-program: No such file"):
        Child("nobody", ["no-such-program"], tmp_path / "log")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
