"""Places where a test may end the process as kill -9 would: between every two steps of a range."""

import os
from typing import Final

_AT: Final = os.environ.get("GANZHI_FAULT", "")
KILLED: Final = 137


def point(name: str) -> None:
    """Ends the process at once when the environment says `GANZHI_FAULT=NAME`; nothing is flushed, closed or told."""
    if name == _AT:
        os._exit(KILLED)
