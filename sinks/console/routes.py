"""Every address of the console, with the permission that it needs. What is not here does not exist."""

import dataclasses
import hmac
import inspect
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sinks.console import feed, oidc, signin
from sinks.console.access import Permission
from sinks.console.asked import Asked
from sinks.console.audit import Event
from sinks.console.guard import PHOTO, PUBLIC
from sinks.console.pages import (
    account,
    actions,
    alert,
    audit,
    buildings,
    exports,
    mutes,
    now,
    openapi,
    point,
    space,
    system,
    usage,
    users,
    vehicles,
    waste,
)

Endpoint = Callable[[Asked], Response] | Callable[[Asked], Awaitable[Response]]
FIELDS_MAX: Final = 2000
_P = Permission


@dataclasses.dataclass(frozen=True)
class Address:
    """One address.

    Attributes:
        path: of the URL.
        endpoint: what answers; one that is not async runs in a thread.
        needs: permission; None: any signed-in person, or anybody where the path is in `guard.PUBLIC`.
        method: GET or POST.
    """

    path: str
    endpoint: Endpoint
    needs: Permission | None
    method: str = "GET"


ADDRESSES: Final = (
    Address("/", now.show, _P.ALERTS),
    Address("/now/list", now.listed, _P.ALERTS),
    Address("/changes", now.changes, _P.ALERTS),
    Address("/actions", actions.act, _P.ACKNOWLEDGE, "POST"),
    Address("/silences", mutes.show, _P.ALERTS),
    Address("/mutes", mutes.make, _P.DIRECT, "POST"),
    Address("/silences/end", actions.end_silence, _P.DIRECT, "POST"),
    Address("/alert", alert.show, _P.ALERTS),
    Address("/alert/photo", alert.photo, _P.ALERTS),
    Address("/alert/{key:path}", alert.named, _P.ALERTS),
    Address("/buildings", buildings.show, _P.ALERTS),
    Address("/floor", buildings.floor, _P.ALERTS),
    Address("/floor/tiles", buildings.tiles, _P.ALERTS),
    Address("/space", space.show, _P.ALERTS),
    Address("/point", point.show, _P.USAGE),
    Address("/usage", usage.show, _P.USAGE),
    Address("/waste", waste.show, _P.USAGE),
    Address("/vehicles", vehicles.show, _P.USAGE),
    Address("/export/usage.csv", exports.usage_days, _P.EXPORT),
    Address("/export/alerts.csv", exports.alerts, _P.EXPORT),
    Address("/export/point.csv", exports.point_readings, _P.EXPORT),
    Address("/system", system.show, _P.SYSTEM),
    Address("/audit", audit.show, _P.AUDIT),
    Address("/users", users.show, _P.USERS),
    Address("/users", users.change, _P.USERS, "POST"),
    Address("/account", account.show, None),
    Address("/account/tokens", account.tokens, None, "POST"),
    Address("/password", account.ask_password, None),
    Address("/password", account.set_password, None, "POST"),
    Address("/sign-in", signin.ask, None),
    Address("/sign-in", signin.enter, None, "POST"),
    Address("/sign-out", signin.leave, None, "POST"),
    Address("/language", signin.language, None, "POST"),
    Address("/sso", oidc.begin, None),
    Address("/sso/back", oidc.finish, None),
    Address("/health", system.health, None),
    Address("/feeds/{token}.atom", feed.atom, _P.ALERTS),
    Address("/api", openapi.page, None),
    Address("/api/openapi.json", openapi.document, None),
)


def routes() -> list[Route]:
    """The addresses as Starlette takes them."""
    return [Route(one.path, _guarded(one), methods=[one.method]) for one in ADDRESSES]


def _guarded(address: Address) -> Callable[[Request], Awaitable[Response]]:
    """Asks for the permission, and for the word of the session in every form."""

    async def endpoint(request: Request) -> Response:
        asked = Asked(request)
        if address.needs is not None:
            await refuse_without(asked, address.needs)
        elif address.path not in PUBLIC:
            asked.user  # noqa: B018  the guard let through only somebody
        if address.method == "POST":
            asked.form = await request.form(max_files=int(address.path == PHOTO), max_fields=FIELDS_MAX)
            session = asked.session
            if session is not None and not hmac.compare_digest(asked.field("csrf").encode(), session.csrf.encode()):
                raise HTTPException(403, asked.say("form too old"))
        if inspect.iscoroutinefunction(address.endpoint):
            found: Response = await address.endpoint(asked)
            return found
        return await run_in_threadpool(address.endpoint, asked)  # type: ignore[arg-type]

    return endpoint


async def refuse_without(asked: Asked, needs: Permission) -> None:
    """Refuses, and says so to the audit.

    Raises:
        HTTPException: 403.
    """
    if not asked.user.may(needs):
        path = asked.request.url.path
        await run_in_threadpool(
            asked.parts.audit.note,
            Event(asked.user.name, "open", path, "refused", f"needs {needs}", asked.address),
        )
        raise HTTPException(403, asked.say("not allowed"))
