"""*Users*: who may come in, as what, and where; for administrators. The command line does the same: `ganzhi user`."""

from starlette.exceptions import HTTPException
from starlette.responses import Response

from schemas.errors import ConfigurationError
from sinks.console.access import Role, parse_places
from sinks.console.asked import Asked
from sinks.console.audit import Event

CHANGES = ("add", "role", "disable", "enable", "password", "remove")


def show(asked: Asked) -> Response:
    """The page."""
    return _page(asked)


def change(asked: Asked) -> Response:
    """One change; the audit has it before it is made.

    Raises:
        HTTPException: it is none, or not possible.
    """
    kind, name = asked.field("change", 20), asked.field("name", 100).strip()
    if kind not in CHANGES or not name:
        raise HTTPException(400, asked.say("no such action"))
    if name == asked.user.name and kind != "password":
        raise HTTPException(400, asked.say("not yourself"))
    words = asked.field("places", 2000).replace(",", " ").split()
    detail = f"{asked.field('role', 40)} {' '.join(words)}".strip() if kind in ("add", "role") else ""
    asked.parts.audit.record(Event(asked.user.name, f"user_{kind}", name, detail=detail, address=asked.address))
    try:
        given = _do(asked, kind, name, words)
    except (ConfigurationError, ValueError) as error:
        asked.parts.audit.note(Event(asked.user.name, f"user_{kind}", name, "failed", str(error), asked.address))
        raise HTTPException(400, str(error)) from error
    return _page(asked, name, given) if given else asked.back("/users")


def _do(asked: Asked, kind: str, name: str, words: list[str]) -> str | None:
    store = asked.parts.store
    if kind in ("add", "role"):
        role, places = Role(asked.field("role", 40)), parse_places(words)
        if kind == "add":
            return store.add_user(name, role, places, password=not asked.field("sso"))
        store.change_user(name, role=role, places=places)
    elif kind in ("disable", "enable"):
        store.change_user(name, disabled=kind == "disable")
    elif kind == "remove":
        store.remove_user(name)
    else:
        return store.reset_password(name)
    return None


def _page(asked: Asked, made: str = "", password: str = "") -> Response:
    zones = [site.zone for site in asked.parts.live.places.sites.values()]
    buildings = sorted({one.id for _, one in asked.parts.live.places.buildings(asked.user)})
    return asked.page(
        "users.html",
        active="users",
        accounts=asked.parts.store.accounts(),
        roles=list(Role),
        made=made,
        password=password,
        buildings=buildings,
        sso=bool(asked.parts.settings.console.oidc.issuer),
        zone=zones[0] if zones else None,
    )
