"""Files that are there whole or not at all, for caches that another process may read, or write, at the same time."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def write_whole(file: Path, *parts: bytes) -> None:
    """Puts a file in its place, readable by its owner alone; one that is there is replaced.

    Raises:
        OSError: the disk does not take it; what was there stays, and no draft is left.
    """
    handle, draft = tempfile.mkstemp(dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            out.writelines(parts)
        Path(draft).replace(file)
    except OSError:
        with suppress(OSError):
            Path(draft).unlink(missing_ok=True)
        raise
