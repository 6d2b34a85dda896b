"""*Buildings* and *Floor*: building → floor → room tiles, coloured by light, air conditioning, water and people."""

import dataclasses
from collections.abc import Iterable
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response

from sinks.console.asked import AWAY, Asked
from sinks.console.history import Latest
from sinks.console.pages import rows
from sinks.console.places import FLOOR, Point, Site, Space, Thing
from sinks.desk.projection import Alert, rank

LIGHT: Final = {"light_power": 5_000, "light_on": 0}
"""Role → above which stored value it is on; 5 W of a lamp is its driver's, not its light."""
AIR: Final = {"ac_running": 0, "ac_power": 50_000}
WATER: Final = {"water_flow": 0, "tap_open": 0}
PEOPLE: Final = {"occupancy": 0, "motion": 0}
CHANNELS: Final = {"light": LIGHT, "air": AIR, "water": WATER, "people": PEOPLE}
ALWAYS_ON: Final = frozenset({"emergency"})
"""Tags of spaces whose light is on by right."""
TILES_MAX: Final = 2000


@dataclasses.dataclass(frozen=True, slots=True)
class Tile:
    """A room: which channels it has and whether they are on (None: unknown), and the worst open alert."""

    space: Space
    states: dict[str, bool | None]
    severity: str
    alerts: int

    @property
    def look(self) -> str:
        """What it is coloured by: use without people stands out."""
        on = {name for name, state in self.states.items() if state}
        if not self.states or all(state is None for state in self.states.values()):
            return "unknown"
        if "people" in on:
            return "used"
        wasting = self.states.get("people") is False and not self.space.tags & ALWAYS_ON
        return "wasting" if on and wasting else "running" if on else "off"


@dataclasses.dataclass(frozen=True, slots=True)
class Storey:
    """A floor, or what stands in no floor, with its open alerts."""

    id: str
    name: str
    rooms: int
    severity: str
    alerts: int


def show(asked: Asked) -> Response:
    """All buildings with their floors."""
    found = _by_floor(asked)
    listed = []
    for site, building in asked.parts.live.places.buildings(asked.user):
        floors = [space for space in site.spaces.values() if space.building == building.id and space.kind == FLOOR]
        storeys = [_storey(asked, found, site, floor) for floor in sorted(floors, key=lambda one: one.id)]
        loose = _loose(site, building)
        if loose:
            alerts = found.get((site.id, building.id, ""), [])
            storeys.append(Storey("", asked.say("no floor"), len(loose), _worst(alerts), len(alerts)))
        listed.append((site, building, storeys))
    return asked.page("buildings.html", active="buildings", buildings=listed)


def floor(asked: Asked) -> Response:
    """One floor.

    Raises:
        HTTPException: there is none, or the user may not see it.
    """
    site, building, floor_id = _wanted(asked)
    storeys = [one for one in site.spaces.values() if one.building == building.id and one.kind == FLOOR]
    return asked.page(
        "floor.html",
        active="buildings",
        site=site,
        building=building,
        floor=site.spaces.get(floor_id),
        floors=sorted(storeys, key=lambda one: one.id),
        tiles_at=asked.request.url.path + "/tiles?" + asked.request.url.query,
        **_tiles(asked, site, building, floor_id),
    )


def tiles(asked: Asked) -> Response:
    """The tiles alone.

    Raises:
        HTTPException: as `floor`.
    """
    return HTMLResponse(asked.part("tiles.html", **_tiles(asked, *_wanted(asked))))


def states(points: Iterable[Point], latest: dict[int, Latest], now_ms: int) -> dict[str, bool | None]:
    """Channel → on, off or unknown, of the points of a room; a channel without points is absent."""
    found: dict[str, bool | None] = {}
    for point in points:
        for channel, roles in CHANNELS.items():
            above = roles.get(point.role)
            if above is None:
                continue
            newest = latest.get(point.number)
            state = None if newest is None or is_old(point, newest, now_ms) else newest.value > above
            known = found.get(channel)
            found[channel] = state if known is None else known or bool(state)
    return {channel: found[channel] for channel in CHANNELS if channel in found}


def is_old(point: Point, newest: Latest, now_ms: int) -> bool:
    """Whether the newest reading is too old to say how it is now; who reports changes only has no such age."""
    age_s = point.max_age_s or 3 * point.interval_s
    return bool(age_s) and now_ms - newest.ts_ms > age_s * 1000


def _wanted(asked: Asked) -> tuple[Site, Thing, str]:
    site = asked.parts.live.places.sites.get(asked.query.get("site", ""))
    building = site.buildings.get(asked.query.get("building", "")) if site else None
    floor_id = asked.query.get("floor", "")
    if site is None or building is None or not asked.user.sees(site.id, building.id):
        raise HTTPException(404, asked.say("no such page"))
    if floor_id and (floor_id not in site.spaces or site.spaces[floor_id].building != building.id):
        raise HTTPException(404, asked.say("no such page"))
    return site, building, floor_id


def _tiles(asked: Asked, site: Site, building: Thing, floor_id: str) -> dict[str, Any]:
    if floor_id:
        rooms = [one for one in site.spaces.values() if one.id != floor_id and site.floor_of(one.id) == floor_id]
    else:
        rooms = _loose(site, building)
    rooms = sorted(rooms, key=lambda one: one.id)[:TILES_MAX]
    points = {room.id: [one for one in site.in_space.get(room.id, []) if not one.sensitive] for room in rooms}
    alerts: dict[str, list[Alert]] = {}
    for one in asked.parts.live.open_alerts(asked.user):
        space = site.space_of(one.key[2]) if one.key[0] == site.id else None
        if space is not None:
            alerts.setdefault(space.id, []).append(one)
    numbers = [point.number for listed in points.values() for point in listed]
    missing = ""
    latest: dict[int, Latest] = {}
    now_ms = rows.clock_ms(asked, site.id)
    try:
        latest = asked.parts.fresh.get(
            ("latest", site.id, building.id, floor_id), lambda: asked.parts.history.latest(site.id, numbers)
        )
    except AWAY:
        missing = asked.say("history away")
    return {
        "missing": missing,
        "own_alerts": len(alerts.get(floor_id, [])),
        "tiles": [
            Tile(
                room,
                {} if room.sensitive else states(points[room.id], latest, now_ms),
                _worst(alerts.get(room.id, [])),
                len(alerts.get(room.id, [])),
            )
            for room in rooms
        ],
    }


def _loose(site: Site, building: Thing) -> list[Space]:
    """Spaces of a building that lie on no floor."""
    return [
        space
        for space in site.spaces.values()
        if space.building == building.id
        and space.kind != FLOOR
        and not any(around.kind == FLOOR for around in site.path(space.id))
    ]


def _by_floor(asked: Asked) -> dict[tuple[str, str, str], list[Alert]]:
    """Open alerts by site, building and floor (empty: none)."""
    found: dict[tuple[str, str, str], list[Alert]] = {}
    for one in asked.parts.live.open_alerts(asked.user):
        site = asked.parts.live.places.sites.get(one.key[0])
        if site is None:
            continue
        space = site.space_of(one.key[2])
        floor_id = site.floor_of(space.id) if space else ""
        if floor_id and site.spaces[floor_id].kind != FLOOR:
            floor_id = ""
        found.setdefault((site.id, site.building_of(one.key[2]), floor_id), []).append(one)
    return found


def _storey(asked: Asked, found: dict[tuple[str, str, str], list[Alert]], site: Site, floor: Space) -> Storey:
    alerts = found.get((site.id, floor.building, floor.id), [])
    rooms = sum(1 for one in site.spaces.values() if one.parent == floor.id)
    return Storey(floor.id, floor.name(asked.language), rooms, _worst(alerts), len(alerts))


def _worst(alerts: list[Alert]) -> str:
    return max((one.severity for one in alerts), key=rank, default="")
