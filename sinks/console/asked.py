"""What an endpoint is given, and what it gives back: one person's request, in that person's language."""

import dataclasses
import hashlib
import secrets
import uuid
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from schemas.errors import ClickHouseRefused, ClickHouseUnavailable
from schemas.settings import Settings
from sinks.console import formatting, texts
from sinks.console.access import Permission, User
from sinks.console.audit import Audit
from sinks.console.behind import Behind
from sinks.console.guard import cookie_name
from sinks.console.history import Fresh, History
from sinks.console.live import Live
from sinks.console.store import Session, Store

AWAY: Final = (ClickHouseUnavailable, ClickHouseRefused)
"""History cannot be asked just now; the rest of a page is shown without it."""
LANGUAGE_COOKIE: Final = "ganzhi-language"
ON_HISTORY: Final = frozenset(
    ("/buildings", "/floor", "/alert", "/space", "/point", "/usage", "/waste", "/vehicles", "/system")
)
"""Pages whose numbers rest on ClickHouse: they say when it is behind the log."""
_FOLDER: Final = Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Parts:
    """What the console is made of. `fresh` keeps answers of ClickHouse for two seconds, `hourly` for thirty."""

    settings: Settings
    store: Store
    audit: Audit
    live: Live
    history: History
    fresh: Fresh
    hourly: Fresh
    behind: Behind
    secure: bool

    @property
    def cookie(self) -> str:
        """Name of the session's cookie."""
        return cookie_name(self.secure, self.settings.console.port)


class Asked:
    """One request of a signed-in person.

    Args:
        request: as it came.

    Attributes:
        request: likewise.
        parts: of the console.
        query: its query parameters, the last of each name.
        form: fields of a posted form; a name may be there several times.
    """

    def __init__(self, request: Request, form: Any = None) -> None:
        self.request = request
        self.parts: Parts = request.app.state.parts
        self.query = dict(request.query_params)
        self.form = form

    @property
    def user(self) -> User:
        """Who asks; the guard lets nobody else through."""
        user = self.request.state.user
        assert isinstance(user, User)
        return user

    @property
    def session(self) -> Session | None:
        """The session; None for a program."""
        session: Session | None = self.request.state.session
        return session

    @property
    def language(self) -> texts.Language:
        """The language of the answer."""
        user: User | None = self.request.state.user
        chosen = (user.language if user else "") or self.request.cookies.get(LANGUAGE_COOKIE, "")
        return texts.preferred(chosen, self.request.headers.get("accept-language", ""))

    @property
    def address(self) -> str:
        """Where the request came from."""
        return self.request.client.host if self.request.client else ""

    def say(self, name: str, /, **values: object) -> str:
        """A text of the catalogue."""
        return texts.text(self.language, name, **values)

    def field(self, name: str, most: int = 4000) -> str:
        """A field of the form, cut."""
        value = self.form.get(name) if self.form is not None else None
        return value[:most] if isinstance(value, str) else ""

    def event_id(self, *what: object) -> str:
        """Names what a form does, the same however often it is sent: a browser that got no answer may send it again.

        Args:
            what: is done, to what; one form may do several things.
        """
        once = self.field("once", 60)
        if not once:
            return uuid.uuid4().hex
        said = "\x1f".join(map(str, (self.user.name, once, *what)))
        return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def page(self, template: str, code: int = 200, /, **values: Any) -> Response:
        """An HTML page."""
        return HTMLResponse(self.part(template, **values), code)

    def part(self, template: str, **values: Any) -> str:
        """HTML of a template."""
        user: User | None = self.request.state.user
        language = self.language
        values.setdefault("active", "")
        return _templates.get_template(template).render(
            asked=self,
            user=user,
            may={str(one): bool(user and user.may(one)) for one in Permission},
            csrf=self.session.csrf if self.session else "",
            once=secrets.token_urlsafe(12),
            lang=language,
            t=lambda name, /, **more: texts.text(language, name, **more),
            w=lambda name: texts.word(language, name),
            url=url,
            f=formatting,
            here=self.request.url.path + (f"?{self.request.url.query}" if self.request.url.query else ""),
            stale=self.parts.live.fault,
            behind=self.parts.behind.shown if self.request.url.path in ON_HISTORY else None,
            **values,
        )

    def back(self, default: str = "/") -> Response:
        """To the page that the form came from."""
        return RedirectResponse(local_path(self.field("back")) or default, 303)


def url(path: str, **query: object) -> str:
    """An address within the console; parameters that are None or empty are left out."""
    kept = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(kept)}" if kept else path


def local_path(wanted: str) -> str:
    """A path of the console, or nothing: `//elsewhere`, `https://elsewhere` and control characters are none."""
    if wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable() and "\\" not in wanted:
        return wanted
    return ""


def _shown(value: Any) -> Any:
    """What any expression of a template gives: texts without what cannot be seen; HTML of our own stays."""
    return formatting.clean(value) if type(value) is str else "" if value is None else value


_templates = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_FOLDER / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    finalize=_shown,
    auto_reload=False,
)
