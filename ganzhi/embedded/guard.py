"""Runs one command, and ends it when the process that asked for it is gone. A script: standard library only.

    python -I -S guard.py PARENT LIFELINE STATUS[,KEPT...] COMMAND...

Between a parent and each of its children stands one guard. It holds the read end of a pipe (LIFELINE) whose only write
end is in the parent, so that the kernel itself reports the parent's end, also after a kill -9, and whichever thread
started the guard (PR_SET_PDEATHSIG alone is tied to that thread, and reaches no grandchildren). Through the same pipe
the parent asks for signals, so that no signal ever goes to a pid that was reused. STATUS gets `pid N`, or `error N`
(errno of exec), and at the end `exit N` (negative: the signal). KEPT descriptors (locks) stay open in the guard, and so
outlive the parent until the command has ended; the command gets none of them.

Should the guard itself be killed, PR_SET_PDEATHSIG, set between fork and exec, kills the command: the guard has one
thread, which lives as long as it.
"""

import contextlib
import ctypes
import os
import select
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
#: A process that was forked off the parent without exec holds the lifeline open too; then only our parent's pid tells.
PARENT_CHECK_INTERVAL_S = 1.0
#: The guard ignores these and the command does not: a terminal or a service manager sends them to everybody at once,
#: and it is the parent that stops its children, in order.
TERMINAL_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def main() -> None:
    """Starts the command and stays until it and whatever it started have ended."""
    parent, lifeline = int(sys.argv[1]), int(sys.argv[2])
    kept = [int(text) for text in sys.argv[3].split(",")]
    status = kept[0]
    for descriptor in (lifeline, *kept):
        os.set_inheritable(descriptor, False)
    for number in TERMINAL_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    control = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
    if control:
        control(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # orphaned grandchildren come to us, not to init

    guard = os.getpid()
    failure_read, failure_write = os.pipe()  # closed by a successful exec
    child = os.fork()
    if child == 0:
        _become(sys.argv[4:], guard, failure_write, control)
    os.close(failure_write)
    failure = os.read(failure_read, 16)
    with contextlib.suppress(BrokenPipeError):
        os.write(status, b"error %s\n" % failure if failure else b"pid %d\n" % child)
    code = _watch(child, lifeline, wake_read, parent)
    with contextlib.suppress(BrokenPipeError):
        os.write(status, b"exit %d\n" % code)


def _become(command: list[str], guard: int, failure: int, control: Callable[..., int] | None) -> None:
    """In the forked child: becomes the command, or reports why not. Never returns."""
    try:
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        for number in (*TERMINAL_SIGNALS, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if control:
            control(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
            if os.getppid() != guard:
                os._exit(1)
        os.execvp(command[0], command)  # noqa: S606 - no shell is wanted
    except OSError as error:
        os.write(failure, b"%d" % (error.errno or 0))
    finally:
        os._exit(127)


def _watch(child: int, lifeline: int, wake: int, parent: int) -> int:
    """Waits for the command's end, passes signals on, kills it when the parent is gone; returns its exit status."""
    sources = [lifeline, wake]
    while True:
        ready, _, _ = select.select(sources, [], [], PARENT_CHECK_INTERVAL_S)
        if wake in ready:
            os.read(wake, 512)
        code = _reap(child)
        if code is not None:
            return code
        asked = os.read(lifeline, 64) if lifeline in ready else b""
        for number in asked:
            if number == signal.SIGKILL:
                _kill_group(child)
            else:
                os.kill(child, number)
        if os.getppid() != parent or (lifeline in ready and not asked):
            sources = [wake]
            _kill_group(child)


def _reap(child: int) -> int | None:
    """Collects whatever has ended; returns the command's exit status once it has, and then leaves nobody behind."""
    while info := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        if info.si_pid == child:
            _kill_group(child)  # before the pid is free for others
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            _end_orphans()
            return code
        os.waitpid(info.si_pid, 0)
    return None


def _kill_group(child: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)


def _end_orphans() -> None:
    """Kills and collects what came to us as a subreaper, whatever group it had put itself in."""
    own = os.getpid()
    try:
        while True:
            with open(f"/proc/{own}/task/{own}/children", "rb") as listing:  # noqa: PTH123 - pathlib would double the start-up time
                orphans = listing.read().split()
            for pid in orphans:
                os.kill(int(pid), signal.SIGKILL)
            os.waitpid(-1, 0 if orphans else os.WNOHANG)
    except OSError:
        return  # ECHILD: nobody is left; or a kernel without that listing, where the group's end has to be enough


if __name__ == "__main__":
    main()
