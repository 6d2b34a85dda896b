"""One process per data folder: a lock that ends with its owner, however that ends."""

import contextlib
import fcntl
import os
import time
from pathlib import Path

from schemas.errors import FolderInUse

LOCK_NAME = "lock"
#: Guards hold the lock of an owner that was killed until the children are gone; that takes milliseconds.
DEAD_OWNER_WAIT_S = 10.0
RETRY_INTERVAL_S = 0.05


class FolderLock:
    """An exclusive lock (flock) on a folder, held until `release` or until the last process that keeps it has ended.

    The file `lock` in the folder stays for ever; it says who the last owner was.

    Args:
        folder: made 0700 where it is not there.

    Attributes:
        folder: as given.
        descriptor: of the lock file; whoever is given it (`Child(keep=...)`) keeps the lock too.

    Raises:
        FolderInUse: another living process, or another lock of this process, holds it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + DEAD_OWNER_WAIT_S
        while True:
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = self._owner()
                if owner and not _alive(owner) and time.monotonic() < deadline:
                    time.sleep(RETRY_INTERVAL_S)
                    continue
                os.close(self.descriptor)
                raise FolderInUse(str(folder), owner) from None
            break
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, b"%d\n" % os.getpid(), 0)

    def _owner(self) -> int | None:
        text = os.pread(self.descriptor, 32, 0).strip()
        return int(text) if text.isdigit() else None

    def release(self) -> None:
        """Gives the folder free, also where guards still have the descriptor; nothing happens the second time."""
        if self.descriptor >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self.descriptor, 0)
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)
            os.close(self.descriptor)
            self.descriptor = -1


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
