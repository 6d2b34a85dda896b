"""The server process may touch its own folder and nothing else.

Linux Landlock (no rights needed, kernel 5.13 or newer).

The engine has functions that read any file (`file('/etc/passwd')`), dictionaries that run commands and clients that
connect to other hosts. Grants and the statement check refuse them with a clear message; this is the wall behind both,
kept by the kernel. It holds for the calling thread and for every thread and process that it makes later, so it is put
up before the engine is loaded.
"""

import ctypes
import os
import stat
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
GET_VERSION = 1
RULE_PATH_BENEATH = 1
PR_SET_NO_NEW_PRIVS = 38

FS_EXECUTE, FS_WRITE_FILE, FS_READ_FILE, FS_READ_DIR, FS_REMOVE_DIR, FS_REMOVE_FILE = (1 << bit for bit in range(6))
FS_MAKE_DIR, FS_MAKE_REG, FS_MAKE_SYM = 1 << 7, 1 << 8, 1 << 12
FS_REFER, FS_TRUNCATE = 1 << 13, 1 << 14
NET_BIND_TCP, NET_CONNECT_TCP = 1, 2

READ = FS_READ_FILE | FS_READ_DIR
WRITE = (
    READ
    | FS_WRITE_FILE
    | FS_REMOVE_DIR
    | FS_REMOVE_FILE
    | FS_MAKE_DIR
    | FS_MAKE_REG
    | FS_MAKE_SYM
    | FS_REFER
    | FS_TRUNCATE
)
ON_FILES = FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE

SYSTEM_READ = (
    "/usr/lib",
    "/usr/lib64",
    "/usr/share/zoneinfo",
    "/lib",
    "/lib64",
    "/proc",
    "/sys",
    "/dev/urandom",
    "/dev/null",
    "/etc/localtime",
    "/etc/hosts",  # a dictionary of this server resolves `localhost`, and opens no connection then
    "/etc/nsswitch.conf",
    "/etc/host.conf",
)


def handled(abi: int) -> tuple[int, int]:
    """What a kernel of this Landlock version can refuse: (file system rights, network rights)."""
    bits = 13 if abi < 2 else 14 if abi < 3 else 15 if abi < 5 else 16
    return (1 << bits) - 1, NET_BIND_TCP | NET_CONNECT_TCP if abi >= 4 else 0


def landlock_version() -> int:
    """The version of Landlock that this kernel has; 0: none."""
    if sys.platform != "linux":
        return 0
    return max(0, int(ctypes.CDLL(None).syscall(CREATE_RULESET, None, 0, GET_VERSION)))


def confine(writable: Iterable[Path], readable: Iterable[Path]) -> int:
    """Puts up the wall.

    Reading and writing below `writable`, reading below `readable`, no program started, no port opened.

    Returns:
        The version of Landlock that keeps it; from 4 on no TCP connection can be made either. 0: this system has none,
        and only grants and the statement check stand.

    Raises:
        OSError: the kernel has Landlock and refused; the server must not start then.
    """
    abi = landlock_version()
    if abi == 0:
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    files, network = handled(abi)
    attributes = struct.pack("=QQ", files, network) if abi >= 4 else struct.pack("=Q", files)
    ruleset = _checked(libc.syscall(CREATE_RULESET, attributes, len(attributes), 0))
    try:
        rules = [(path, WRITE) for path in writable] + [(path, READ) for path in readable]
        for path, rights in rules:
            _allow(libc, ruleset, path, rights & files)
        _checked(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _checked(libc.syscall(RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)
    return abi


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    try:
        target = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there need not be allowed
    try:
        if not stat.S_ISDIR(os.fstat(target).st_mode):
            rights &= ON_FILES
        _checked(libc.syscall(ADD_RULE, ruleset, RULE_PATH_BENEATH, struct.pack("=Qi", rights, target), 0))
    finally:
        os.close(target)


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"Landlock: {os.strerror(code)}")
    return result


def python_folders() -> list[Path]:
    """Where the interpreter, its libraries and this package are."""
    names = {sys.prefix, sys.base_prefix, *sys.path, str(Path(__file__).resolve().parent)}
    return sorted({Path(name).resolve() for name in names if name})
