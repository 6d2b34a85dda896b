"""A person's own account: password, language, and tokens for programs and feeds."""

from starlette.exceptions import HTTPException
from starlette.responses import Response

from sinks.console import passwords
from sinks.console.asked import Asked
from sinks.console.audit import Event
from sinks.console.guard import set_cookie
from sinks.console.store import Token

LABEL_CHARS_MAX = 100
KINDS = ("api", "feed")


def show(asked: Asked) -> Response:
    """The page."""
    return _page(asked)


def ask_password(asked: Asked) -> Response:
    """The form for a new password."""
    return asked.page("password.html", active="account", fault="")


def set_password(asked: Asked) -> Response:
    """Takes a new password; all other sessions of the user end."""
    user, parts = asked.user, asked.parts
    new, again = asked.field("new", 1000), asked.field("again", 1000)
    fault = passwords.weakness(new, user.name) or ("passwords differ" if new != again else None)
    if fault is None and parts.store.check_password(user.name, asked.field("password", 1000)) is None:
        parts.audit.note(Event(user.name, "password", user.name, "refused", "wrong password", asked.address))
        fault = "wrong password"
    if fault is None and new == asked.field("password", 1000):
        fault = "password same"
    if fault is not None:
        return asked.page("password.html", 400, active="account", fault=asked.say(fault))
    parts.audit.record(Event(user.name, "password", user.name, address=asked.address))
    parts.store.set_password(user.name, new)
    response = asked.back("/")
    secret = parts.store.open_session(user.name, asked.address)
    set_cookie(response, parts.cookie, secret, secure=parts.secure, max_age_s=parts.settings.console.session_max_s)
    return response


def tokens(asked: Asked) -> Response:
    """Makes or revokes a token of the user's own.

    Raises:
        HTTPException: it is not one of his.
    """
    user, parts = asked.user, asked.parts
    revoked = asked.field("revoke", 20)
    if revoked:
        parts.audit.record(Event(user.name, "token_revoke", revoked, address=asked.address))
        if not parts.store.revoke_token(revoked, user.name):
            raise HTTPException(404, asked.say("no such page"))
        return asked.back("/account")
    kind = asked.field("kind", 10)
    if kind not in KINDS:
        raise HTTPException(400, asked.say("no such action"))
    label = asked.field("label", LABEL_CHARS_MAX).strip() or kind
    parts.audit.record(Event(user.name, "token_add", user.name, detail=f"{kind} {label}", address=asked.address))
    token, secret = parts.store.add_token(user.name, label, kind)
    return _page(asked, token, secret)


def _page(asked: Asked, made: Token | None = None, secret: str = "") -> Response:
    zones = [site.zone for site in asked.parts.live.places.sites.values()]
    base = asked.parts.settings.console.public_url.rstrip("/") or str(asked.request.base_url).rstrip("/")
    return asked.page(
        "account.html",
        active="account",
        tokens=asked.parts.store.tokens(asked.user.name),
        made=made,
        secret=secret,
        base=base,
        kinds=KINDS,
        zone=zones[0] if zones else None,
    )
