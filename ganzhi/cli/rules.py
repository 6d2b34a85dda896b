"""`ganzhi rules`: what rules would do, and what they do."""

import typer

from ganzhi.cli.backtest import backtest
from ganzhi.cli.health import health
from ganzhi.cli.rules_cost import cost
from ganzhi.cli.rules_test import test

app = typer.Typer()
group = typer.Typer(no_args_is_help=True, help="Rules: try them on history before they wake anyone.")
app.add_typer(group, name="rules")


@group.callback()
def rules() -> None:
    """Rules."""


group.command("backtest")(backtest)
group.command("test")(test)
group.command("cost")(cost)
group.command("health")(health)
