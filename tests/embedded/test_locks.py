"""One owner per folder."""

import os
import stat
from pathlib import Path

import pytest

from ganzhi.embedded.locks import LOCK_NAME, FolderLock
from schemas.errors import FolderInUse


def test_second_lock_is_refused(tmp_path: Path) -> None:
    """The second lock on a folder is refused with the pid of the owner, until the first is released."""
    first = FolderLock(tmp_path / "data")
    with pytest.raises(FolderInUse) as refused:
        FolderLock(tmp_path / "data")
    assert refused.value.owner_pid == os.getpid()
    first.release()
    first.release()
    FolderLock(tmp_path / "data").release()


def test_released_though_somebody_keeps_the_descriptor(tmp_path: Path) -> None:
    """`release` frees the folder also where another process (here: a duplicate) still has the descriptor."""
    first = FolderLock(tmp_path)
    duplicate = os.dup(first.descriptor)
    first.release()
    FolderLock(tmp_path).release()
    os.close(duplicate)


def test_private(tmp_path: Path) -> None:
    """Folder and lock file are the owner's alone."""
    FolderLock(tmp_path / "data").release()
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "data" / LOCK_NAME).stat().st_mode) == 0o600
