"""Where tables are written: as wide as the terminal; in a pipe or a file as wide as they are."""

import os
from typing import Final

from rich.console import Console

PIPE_COLUMNS: Final = 240
"""Rich takes whatever is no terminal for one of 80 columns, and cuts names short that `less` could show."""


def paper() -> Console:
    """The console of standard output."""
    console = Console()
    if not console.is_terminal and not os.environ.get("COLUMNS"):
        console.width = PIPE_COLUMNS
    return console
