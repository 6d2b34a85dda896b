"""The command line: one module a group of commands, found by `main`.

Only the module of the command that was typed is imported, so that `ganzhi check` does not load a stream processor.
What goes wrong on purpose (GanzhiError) is one message and an exit status that means something (see
`schemas.errors`); anything else is a bug and shows its traceback.
"""

import importlib
import os
import sys
from typing import Final

import typer

from ganzhi.cli.texts import language, text
from schemas.errors import ClickHouseRefused, ClickHouseUnavailable, GanzhiError, KafkaUnavailable

COMMANDS: Final = {
    "demo": "ganzhi.cli.demo",
    "up": "ganzhi.cli.up",
    "check": "ganzhi.cli.model",
    "apply": "ganzhi.cli.model",
    "worker": "ganzhi.cli.worker",
    "sink": "ganzhi.cli.up",
    "upgrade": "ganzhi.cli.upgrade",
    "console": "ganzhi.cli.console",
    "user": "ganzhi.cli.user",
    "import": "ganzhi.cli.data",
    "send": "ganzhi.cli.data",
    "meter": "ganzhi.cli.meter",
    "bridge": "ganzhi.cli.bridge",
    "alerts": "ganzhi.cli.alert_actions",
    "notify": "ganzhi.cli.notify",
    "rejected": "ganzhi.cli.rejected",
    "sql": "ganzhi.cli.sql",
    "rules": "ganzhi.cli.rules",
    "fit": "ganzhi.cli.occupancy",
    "replay": "ganzhi.cli.replay",
    "bench": "ganzhi.cli.bench",
    "doctor": "ganzhi.cli.doctor",
}
"""Command → module; the order is that of `ganzhi --help`."""

INTERRUPTED: Final = 130


def build(wanted: str | None) -> typer.Typer:
    """The application with the command that is wanted, or with all of them."""
    app = typer.Typer(
        name="ganzhi", no_args_is_help=True, help=text("about"), rich_markup_mode=None, add_completion=False
    )
    names = {wanted} if wanted in COMMANDS else set(COMMANDS)
    for module in dict.fromkeys(module for name, module in COMMANDS.items() if name in names):
        app.add_typer(importlib.import_module(module).app)
    app.callback()(lambda: None)
    return app


def _elsewhere(error: GanzhiError) -> str:
    """Which other stack is up on this machine, when nobody named one and the default is not there."""
    from schemas.settings import run_file

    wanted = "--profile" in sys.argv or os.environ.get("GANZHI_PROFILE")
    own = run_file("default")
    if wanted or own.exists() or not isinstance(error, KafkaUnavailable | ClickHouseUnavailable | ClickHouseRefused):
        return ""
    found = sorted(file.parent.name for file in own.parent.parent.glob(f"*/{own.name}"))
    return "".join(
        f"a stack of the profile {name} is up here: --profile {name}, or GANZHI_PROFILE={name}\n" for name in found
    )


def main() -> None:
    """Entry point of `ganzhi`."""
    language()
    try:
        build(sys.argv[1] if len(sys.argv) > 1 else None)(standalone_mode=True)
    except GanzhiError as error:
        sys.stderr.write(f"ganzhi: {error}\n{_elsewhere(error)}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # Whoever read us (head, less) has what it wanted.
        sys.stderr.close()
        sys.exit(0)
