"""The front door: command line (`cli/`), embedded stack (`embedded/`), demo, data sets and bench.

Imports everything, computes nothing. Importing it chooses the folder of compiled kernels, so it comes before anything
that uses them.
"""

import hashlib
import os
from pathlib import Path

from schemas.settings import cache_home


def _kernel_cache() -> Path:
    """A folder for this state of the code: numba's own check looks at one file and not at what that file calls."""
    root = Path(__file__).parent.parent
    folders = ("processors", "schemas", "streams/sources")
    files = [file for name in folders for file in sorted((root / name).rglob("*.py"))]
    stamp = hashlib.sha256()
    for file in files:
        facts = file.stat()
        stamp.update(f"{file.relative_to(root)} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return cache_home() / "kernels" / stamp.hexdigest()[:16]


if "NUMBA_CACHE_DIR" not in os.environ:
    folder = _kernel_cache()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
