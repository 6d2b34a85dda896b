"""The data of an insert as a file that the engine can read: in memory while they are small, else on disk."""

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from ganzhi.embedded.clickhouse_server.codes import NOT_ENOUGH_SPACE, refused

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
        ClickHouseRefused: NOT_ENOUGH_SPACE.
        Whatever `data` raises.
    """
    with contextlib.ExitStack() as stack:
        small = hasattr(os, "memfd_create")
        made = os.fdopen(os.memfd_create("insert"), "w+b") if small else tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        file: IO[bytes] = stack.enter_context(made)
        size = 0
        for piece in data:
            size += len(piece)
            with _translated():
                file.write(piece)
                if small and size > MEMORY_BYTES_MAX:
                    small = False
                    large = stack.enter_context(tempfile.TemporaryFile(dir=folder))
                    file.seek(0)
                    shutil.copyfileobj(file, large)
                    file.close()
                    file = large
        with _translated():
            file.flush()
            file.seek(0)
        yield f"{_NUMBERS}/{file.fileno()}"


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """An error of the disk is one of the server; one of the connection, which reading `data` raises, is not."""
    try:
        yield
    except OSError as error:
        raise refused(NOT_ENOUGH_SPACE, f"the data of the insert cannot be kept: {error.strerror}") from error
