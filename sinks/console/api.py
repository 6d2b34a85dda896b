"""The read-only JSON API, for programs with a token (`Authorization: Bearer …`): the same places, the same limits.

FastAPI checks parameters and describes it all (`/api/openapi.json`); its own documentation pages, which load scripts
from elsewhere, are off. Times are UTC milliseconds, quantities integers of the unit that is named, money 1/10000 yuan.
"""

import time
from typing import Annotated, Any, Final, Literal

from fastapi import Depends, FastAPI, Query
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from schemas.errors import GanzhiError
from sinks.console import figures, formatting
from sinks.console.access import Permission
from sinks.console.asked import Asked
from sinks.console.pages import rows, usage
from sinks.console.places import PRESENCE, Site
from sinks.desk.projection import Alert

API_PATH: Final = "/api/v1"
ALERTS_MAX: Final = 1000
BUCKETS_MAX: Final = 2000


class Me(BaseModel):
    """Whose token it is."""

    user: str
    role: str
    places: list[str]


class Wasted(BaseModel):
    """A quantity that an episode wasted."""

    medium: str
    unit: str
    quantity: int


class AlertOut(BaseModel):
    """One alert; `status` is what people did about it, `state` what the data say."""

    site: str
    rule: str
    subject: str
    episode: int
    summary: str
    where: str
    severity: str
    state: str
    status: str
    started_at: int
    valid_at: int
    assignee: str
    quiet: bool
    wasted: list[Wasted]
    cost: int | None


class BuildingOut(BaseModel):
    """A building with the number of its open alerts."""

    site: str
    id: str
    name_zh: str
    name_en: str
    open_alerts: int


class SpaceOut(BaseModel):
    """A space; a sensitive one shows sums only."""

    site: str
    id: str
    building: str
    parent: str
    kind: str
    name_zh: str
    name_en: str
    sensitive: bool


class PointOut(BaseModel):
    """A point; `unit` is that of its readings: thousandths of it for a gauge."""

    site: str
    id: str
    number: int
    role: str
    kind: str
    medium: str
    unit: str
    space: str


class BucketOut(BaseModel):
    """Readings of a span of time."""

    start_ms: int
    mean: float
    least: int
    most: int
    doubtful: int
    last_ms: int


class UsageOut(BaseModel):
    """One line of a ranking; quantities may have decimals where a department has a share."""

    site: str
    id: str
    name: str
    today: float
    yesterday: float
    not_measured: float
    unit: str
    cost: float | None


def api() -> FastAPI:
    """The application of the API, to be mounted at `API_PATH` behind the guard."""
    app = FastAPI(
        title="ganzhi", version="1", docs_url=None, redoc_url=None, openapi_url=None, description=__doc__ or "",
        servers=[{"url": API_PATH}],
        exception_handlers={RequestValidationError: _wrong, HTTPException: _refused, GanzhiError: _away},
    )  # fmt: skip
    for path, endpoint, needs, model in _ROUTES:
        app.add_api_route(
            path, endpoint, methods=["GET"], response_model=model, dependencies=[Depends(_needs(needs))],
            summary=(endpoint.__doc__ or "").splitlines()[0],
        )  # fmt: skip
    return app


def me(request: Request) -> Me:
    """Whose token it is, and what it may see."""
    user = Asked(request).user
    return Me(user=user.name, role=str(user.role), places=sorted(user.places))


def alerts(
    request: Request, show: Literal["open", "all"] = "open", limit: Annotated[int, Query(ge=1, le=ALERTS_MAX)] = 200
) -> list[AlertOut]:
    """Alerts, the worst first: the open ones, or all."""
    asked = Asked(request)
    seen = asked.parts.live.alerts(asked.user)
    worst = rows.worst_first(one for one in seen if show == "all" or one.open)
    return [_alert(asked, one) for one in worst[:limit]]


def buildings(request: Request) -> list[BuildingOut]:
    """Buildings."""
    asked = Asked(request)
    counts: dict[tuple[str, str], int] = {}
    for one in asked.parts.live.open_alerts(asked.user):
        site = asked.parts.live.places.sites.get(one.key[0])
        key = (one.key[0], site.building_of(one.key[2]) if site else "")
        counts[key] = counts.get(key, 0) + 1
    return [
        BuildingOut(
            site=site.id,
            id=one.id,
            name_zh=one.name_zh,
            name_en=one.name_en,
            open_alerts=counts.get((site.id, one.id), 0),
        )
        for site, one in asked.parts.live.places.buildings(asked.user)
    ]


def spaces(request: Request, site: str, building: str = "") -> list[SpaceOut]:
    """Floors, rooms and areas of a site."""
    asked = Asked(request)
    return [
        SpaceOut(
            site=one.site,
            id=one.id,
            building=one.building,
            parent=one.parent,
            kind=one.kind,
            name_zh=one.name_zh,
            name_en=one.name_en,
            sensitive=one.sensitive,
        )
        for one in _site(asked, site).spaces.values()
        if asked.user.sees(site, one.building) and building in ("", one.building)
    ]


def points(request: Request, site: str, space: str = "") -> list[PointOut]:
    """Points of a site or of a space; those that would tell who is in a sensitive room are left out."""
    asked = Asked(request)
    return [
        PointOut(
            site=one.site,
            id=one.id,
            number=one.number,
            role=one.role,
            kind=one.kind,
            medium=one.medium,
            unit=formatting.smallest_unit(one.medium) if one.kind in PRESENCE else one.unit,
            space=one.space,
        )
        for one in _site(asked, site).points.values()
        if asked.user.sees(site, one.building) and space in ("", one.space) and not one.sensitive
    ]


def readings(
    request: Request,
    site: str,
    point: str,
    from_ms: Annotated[int, Query(ge=0)],
    to_ms: Annotated[int, Query(ge=0)],
    buckets: Annotated[int, Query(ge=1, le=BUCKETS_MAX)] = 400,
) -> list[BucketOut]:
    """Readings of a point, in spans of equal length."""
    asked = Asked(request)
    found = _site(asked, site).points.get(point)
    if found is None or not asked.user.sees(site, found.building) or found.sensitive:
        raise HTTPException(404, "there is no such point")
    if not from_ms < to_ms < 1 << 43:
        raise HTTPException(422, "from_ms is not before to_ms")
    series = asked.parts.history.series(site, found.number, from_ms, to_ms, buckets)
    return [
        BucketOut(
            start_ms=one.start_ms,
            mean=one.mean,
            least=one.least,
            most=one.most,
            doubtful=one.doubtful,
            last_ms=one.last_ms,
        )
        for one in series
    ]


def usage_today(request: Request, site: str, medium: str, by: figures.By = "building") -> list[UsageOut]:
    """Usage of today so far and of yesterday until the same hour, the most first."""
    asked = Asked(request)
    found = usage.both_days(asked, [_site(asked, site)])
    unit = formatting.smallest_unit(medium)
    return [
        UsageOut(
            site=one.site,
            id=one.id,
            name=one.name,
            today=float(one.now),
            yesterday=float(one.before),
            unit=unit,
            not_measured=float(one.not_measured),
            cost=None if one.cost is None else float(one.cost),
        )
        for one in figures.groups(by, found, medium, asked.user, asked.language)
    ]


_P = Permission
_ROUTES: Final[tuple[tuple[str, Any, Permission | None, Any], ...]] = (
    ("/me", me, None, Me),
    ("/alerts", alerts, _P.ALERTS, list[AlertOut]),
    ("/buildings", buildings, _P.ALERTS, list[BuildingOut]),
    ("/spaces", spaces, _P.ALERTS, list[SpaceOut]),
    ("/points", points, _P.USAGE, list[PointOut]),
    ("/readings", readings, _P.USAGE, list[BucketOut]),
    ("/usage", usage_today, _P.USAGE, list[UsageOut]),
)


def _needs(permission: Permission | None) -> Any:
    def check(request: Request) -> None:
        user = request.state.user
        if user is None or (permission is not None and not user.may(permission)):
            raise HTTPException(403, f"this token's user may not: {permission}")

    return check


def _site(asked: Asked, site: str) -> Site:
    found = asked.parts.live.places.sites.get(site)
    if found is None or not asked.parts.live.places.sees_site(asked.user, found):
        raise HTTPException(404, "there is no such site")
    return found


def _alert(asked: Asked, alert: Alert) -> AlertOut:
    site, rule, subject, episode = alert.key
    names = asked.parts.live.desk.names
    wasted = [
        Wasted(medium=medium, unit=unit, quantity=amount) for (medium, unit), amount in sorted(alert.wasted.items())
    ]
    return AlertOut(
        site=site, rule=rule, subject=subject, episode=episode, summary=names.rule(site, rule, asked.language),
        where=names.subject(site, subject, asked.language), severity=alert.severity, state=alert.state,
        status=alert.status, started_at=alert.started_at, valid_at=alert.valid_at, assignee=alert.assignee,
        quiet=asked.parts.live.desk.projection.quiet(alert, time.time_ns() // 1_000_000),
        wasted=wasted,
        cost=alert.cost,
    )  # fmt: skip


async def _wrong(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, RequestValidationError)
    said = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
    return JSONResponse({"error": said}, 422)


async def _refused(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code)


async def _away(request: Request, error: Exception) -> Response:
    del request
    return JSONResponse({"error": str(error)}, 503)
