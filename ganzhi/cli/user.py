"""`ganzhi user`: who may use the console; the same file as the page Users, and the same events in the audit."""

import datetime as dt
import getpass
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from ganzhi.cli.paper import paper
from ganzhi.cli.texts import text
from schemas.errors import ConfigurationError
from schemas.settings import data_home, load
from sinks.console.access import Role, parse_places
from sinks.console.audit import Audit, Event
from sinks.console.store import Store

app = typer.Typer()
user_app = typer.Typer(no_args_is_help=True, help="Who may use the console: add, list, role, password, tokens.")
app.add_typer(user_app, name="user")

Profile = Annotated[str | None, typer.Option(help="whose users")]
Name = Annotated[str, typer.Argument(help="name of the user")]
Roles = Annotated[Role, typer.Option("--role", help="what the user may do")]
Places = Annotated[list[str] | None, typer.Option("--building", "-b", help="building id, site:ID, or all; repeatable")]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON object")]


@contextmanager
def _store(profile: str | None, action: str, name: str, detail: str = "") -> Iterator[Store]:
    """The file of users; what is to be done is in the audit before it is done."""
    settings = load(profile=profile)
    store = Store(data_home(settings.profile))
    audit = Audit(settings.kafka)
    actor = f"cli:{getpass.getuser()}"
    try:
        audit.record(Event(actor, action, name, detail=detail))
        try:
            yield store
        except ConfigurationError as error:
            audit.note(Event(actor, action, name, "failed", str(error)))
            raise
    finally:
        audit.close()
        store.close()


def _places(words: list[str] | None) -> frozenset[str]:
    try:
        return parse_places(words or [])
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


@user_app.command()
def add(
    name: Name,
    role: Roles = Role.VIEWER,
    building: Places = None,
    no_password: Annotated[bool, typer.Option("--no-password", help="comes by single sign-on only")] = False,
    profile: Profile = None,
) -> None:
    """Make a user; prints a one-time password. Without a building the user sees nothing."""
    places = _places(building)
    with _store(profile, "user_add", name, f"{role} {' '.join(sorted(places))}") as store:
        password = store.add_user(name, role, places, password=not no_password)
    if password is not None:
        typer.echo(password)


@user_app.command("list")
def list_users(
    profile: Profile = None, as_json: Annotated[bool, typer.Option("--json", help="a list")] = False
) -> None:
    """Show users."""
    store = Store(data_home(load(profile=profile).profile))
    accounts = store.accounts()
    store.close()
    if as_json:
        listed = [
            {
                "name": one.user.name,
                "role": str(one.user.role),
                "buildings": sorted(one.user.places),
                "disabled": one.disabled,
                "must_change_password": one.user.must_change,
            }
            for one in accounts
        ]
        typer.echo(json.dumps(listed, ensure_ascii=False))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("user", "role", "buildings", "state", "since"):
        table.add_column(text(f"user {column}"))
    for one in accounts:
        state = "user disabled" if one.disabled else "user not in" if one.user.must_change else "ok"
        since = dt.datetime.fromtimestamp(one.created_ms / 1000, dt.UTC).astimezone()
        places = escape(" ".join(sorted(one.user.places)) or "–")
        table.add_row(escape(one.user.name), str(one.user.role), places, text(state), f"{since:%Y-%m-%d}")
    paper().print(table)


@user_app.command()
def role(name: Name, role: Roles, building: Places = None, profile: Profile = None) -> None:
    """Give a user another role and, where buildings are named, other buildings. Sessions of the user end."""
    places = None if building is None else _places(building)
    with _store(profile, "user_role", name, f"{role} {' '.join(sorted(places or ()))}") as store:
        store.change_user(name, role=role, places=places)


@user_app.command()
def password(name: Name, profile: Profile = None) -> None:
    """Print a new one-time password; sessions of the user end."""
    with _store(profile, "user_password", name) as store:
        given = store.reset_password(name)
    typer.echo(given)


@user_app.command()
def disable(name: Name, profile: Profile = None) -> None:
    """Keep a user out; nothing that he did is lost."""
    with _store(profile, "user_disable", name) as store:
        store.change_user(name, disabled=True)


@user_app.command()
def enable(name: Name, profile: Profile = None) -> None:
    """Let a disabled user in again."""
    with _store(profile, "user_enable", name) as store:
        store.change_user(name, disabled=False)


@user_app.command()
def remove(name: Name, profile: Profile = None) -> None:
    """Remove a user with sessions and tokens."""
    with _store(profile, "user_remove", name) as store:
        store.remove_user(name)


@user_app.command()
def token(
    name: Name,
    label: Annotated[str, typer.Option(help="what it is for")] = "cli",
    days: Annotated[int, typer.Option(min=1, max=3650, help="how long it lets in")] = 365,
    profile: Profile = None,
) -> None:
    """Print a new token for the read-only API; it sees what the user sees."""
    with _store(profile, "token_add", name, label) as store:
        _, secret = store.add_token(name, label, "api", days)
    typer.echo(secret)
