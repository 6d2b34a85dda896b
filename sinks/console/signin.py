"""Coming in and going out, and the choice of the language."""

from starlette.responses import RedirectResponse, Response

from sinks.console import throttle
from sinks.console.asked import LANGUAGE_COOKIE, Asked, local_path
from sinks.console.audit import Event
from sinks.console.guard import set_cookie
from sinks.console.texts import LANGUAGES

YEAR_S = 365 * 86_400


def ask(asked: Asked) -> Response:
    """The form."""
    if asked.request.state.user is not None:
        return RedirectResponse("/", 303)
    return _form(asked)


def enter(asked: Asked) -> Response:
    """Checks a name and a password. Who guesses waits; the answer never tells whether there is such a user."""
    parts, name = asked.parts, asked.field("user", 100).strip()
    wait_s = throttle.wait_s(parts.store, name, asked.address)
    if wait_s:
        parts.audit.note(Event(name, "sign_in", outcome="refused", detail=f"wait {wait_s} s", address=asked.address))
        return _form(asked, 429, asked.say("wait", seconds=wait_s))
    user = parts.store.check_password(name, asked.field("password", 1000))
    if user is None:
        throttle.failed(parts.store, name, asked.address)
        parts.audit.note(Event(name, "sign_in", outcome="refused", detail="wrong password", address=asked.address))
        return _form(asked, 401, asked.say("wrong password"))
    throttle.succeeded(parts.store, name, asked.address)
    return admit(asked, user.name, "password", local_path(asked.field("to")) or "/")


def admit(asked: Asked, user: str, how: str, to: str) -> Response:
    """Opens a session for somebody who has shown who he is."""
    parts = asked.parts
    parts.store.forget_old(parts.settings.console.session_max_s)
    if asked.session is not None:
        parts.store.close_session(asked.session)
    secret = parts.store.open_session(user, asked.address)
    parts.audit.note(Event(user, "sign_in", detail=how, address=asked.address))
    response = RedirectResponse(to, 303)
    set_cookie(response, parts.cookie, secret, secure=parts.secure, max_age_s=parts.settings.console.session_max_s)
    return response


def leave(asked: Asked) -> Response:
    """Ends the session."""
    if asked.session is not None:
        asked.parts.store.close_session(asked.session)
        asked.parts.audit.note(Event(asked.user.name, "sign_out", address=asked.address))
    response = RedirectResponse("/sign-in", 303)
    response.delete_cookie(asked.parts.cookie, path="/", secure=asked.parts.secure, httponly=True, samesite="lax")
    return response


def language(asked: Asked) -> Response:
    """Remembers a language: of the user, or before the sign-in of the browser."""
    chosen = asked.field("language", 5)
    response = asked.back()
    if chosen in LANGUAGES:
        if asked.session is not None:
            asked.parts.store.set_language(asked.user.name, chosen)
        set_cookie(response, LANGUAGE_COOKIE, chosen, secure=asked.parts.secure, max_age_s=YEAR_S)
    return response


def _form(asked: Asked, status: int = 200, fault: str = "") -> Response:
    oidc = asked.parts.settings.console.oidc
    label = oidc.label or oidc.issuer.partition("//")[2].partition("/")[0]
    to = asked.query.get("to", "") or asked.field("to")
    return asked.page("sign_in.html", status, fault=fault, sso=label if oidc.issuer else "", to=local_path(to))
