"""The data of an insert as a file that the engine can read: in memory while they are small, else on disk."""

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

#: Up to here the data stay in memory: the sink's blocks are a few megabytes.
MEMORY_BYTES_MAX: Final = 64 << 20
#: Where an open file can be opened by its number.
_NUMBERS: Final = "/proc/self/fd" if sys.platform == "linux" else "/dev/fd"


@contextlib.contextmanager
def gathered(data: Iterator[bytes], folder: Path) -> Iterator[str]:
    """Gathers pieces; gives the path of a file with all of them, which is gone at the end.

    Args:
        data: the pieces.
        folder: for what is larger than `MEMORY_BYTES_MAX`.

    Raises:
        OSError: the disk takes no more.
        Whatever `data` raises.
    """
    with contextlib.ExitStack() as stack:
        small = hasattr(os, "memfd_create")
        made = os.fdopen(os.memfd_create("insert"), "w+b") if small else tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        file: IO[bytes] = stack.enter_context(made)
        size = 0
        for piece in data:
            size += file.write(piece)
            if small and size > MEMORY_BYTES_MAX:
                small = False
                file.seek(0)
                large = stack.enter_context(tempfile.TemporaryFile(dir=folder))
                shutil.copyfileobj(file, large)
                file.close()
                file = large
        file.flush()
        file.seek(0)
        yield f"{_NUMBERS}/{file.fileno()}"
