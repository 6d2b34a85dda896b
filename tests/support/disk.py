"""A disk that is full."""

import contextlib
from pathlib import Path


def fill(file: Path) -> None:
    """Takes all space that is left, to the last page: an insert is some kilobytes."""
    with file.open("ab", buffering=0) as out:
        for block in (1 << 20, 1 << 12):
            with contextlib.suppress(OSError):
                while out.write(bytes(block)) == block:
                    pass
