"""Who stands where in the civic centre: buildings, floors, zones and departments, all derived from a few numbers.

A *zone* is a space with light of its own: a room, the emergency circuit of a floor, a level of the garage, a stretch
of the grounds. Zones are numbered from 0 in the order of the list; the simulator's arrays have a column per zone.
"""

import dataclasses
import functools
from typing import Final

SITES: Final = ("civic-a", "civic-b", "civic-c", "civic-g")
"""Kafka's murmur2 puts them into partitions 3, 2, 1 and 0 of 4."""
GROUNDS: Final = "civic-g"
SLOTS: Final = 24
"""Rooms of a floor."""


@dataclasses.dataclass(frozen=True, slots=True)
class Building:
    """One building: site, floors, lifts, peak power of its PV, and names."""

    id: str
    site: str
    floors: int
    lifts: int
    pv_w: int
    name_zh: str
    name_en: str


BUILDINGS: Final = (
    Building("A", "civic-a", 10, 4, 60_000, "A座行政楼", "Building A, administration"),
    Building("B", "civic-b", 8, 3, 50_000, "B座服务楼", "Building B, services"),
    Building("C", "civic-c", 7, 2, 40_000, "C座会议楼", "Building C, conferences"),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Zone:
    """A space with light of its own.

    Attributes:
        id: space id, `A-0305` is the fifth room on the third floor of building A.
        site: site id.
        building: building id; `G` for the grounds.
        floor: 1, 2, …; 0 in the grounds.
        kind: kind of the space.
        name_zh: name in Chinese.
        name_en: name in English.
        area_m2: floor area.
        seats: people whose place of work is here.
        guests: seats for others (meetings, meals, visitors).
        tags: of the site model.
        light_w: connected load of the lights.
        ac_w: electrical power of the air conditioning at full load, its share of the outdoor unit included; 0: none.
        gateway: gateway that reads its points.
    """

    id: str
    site: str
    building: str
    floor: int
    kind: str
    name_zh: str
    name_en: str
    area_m2: int
    seats: int = 0
    guests: int = 0
    tags: tuple[str, ...] = ()
    light_w: int = 0
    ac_w: int = 0
    gateway: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Department:
    """A department: id and names; `tenure` says what it occupies."""

    id: str
    name_zh: str
    name_en: str


# kind: names, area in m2, guests, light in W/m2 (0: no light), air conditioning in W/m2
_KINDS: Final = {
    "office": ("办公室", "Office", 0, 0, 8, 55),
    "meeting": ("会议室", "Meeting room", 48, 16, 9, 70),
    "hall": ("办事大厅", "Service hall", 800, 120, 10, 60),
    "canteen": ("食堂", "Canteen", 900, 600, 8, 65),
    "kitchen": ("厨房", "Kitchen", 160, 0, 10, 0),
    "server_room": ("信息机房", "Server room", 60, 0, 8, 400),
    "archive": ("档案室", "Archive", 70, 0, 6, 25),
    "tea_room": ("茶水间", "Tea-room", 10, 0, 7, 0),
    "toilet": ("卫生间", "Toilet", 24, 0, 6, 0),
    "corridor": ("走廊", "Corridor", 90, 0, 4, 0),
}


def floor_gateway(building: str, floor: int) -> str:
    """Id of the gateway of a floor."""
    return f"gw-{building}-{floor:02d}".lower()


def floor_id(building: str, floor: int) -> str:
    """Id of the space that is a whole floor."""
    return f"{building}-F{floor:02d}"


def _kind_of(building: str, floor: int, slot: int) -> str:
    fixed = {1: "corridor", 2: "corridor", 3: "toilet", 4: "toilet", 5: "tea_room", 6: "meeting"}
    if slot in fixed:
        return fixed[slot]
    special = {
        ("A", 10, 24): "server_room", ("A", 1, 24): "archive", ("B", 1, 7): "hall", ("B", 2, 7): "hall",
        ("C", 1, 7): "canteen", ("C", 1, 8): "kitchen", ("C", 7, 24): "archive",
    }  # fmt: skip
    if (building, floor, slot) in special:
        return special[building, floor, slot]
    conference = building == "C" and floor in (2, 3) and slot <= 14
    return "meeting" if conference or (building == "A" and slot == 7 and floor % 2 == 0) else "office"


def _room(building: Building, floor: int, slot: int) -> Zone:
    kind = _kind_of(building.id, floor, slot)
    zh, en, area_m2, guests, light, cooling = _KINDS[kind]
    seats = {"hall": 20, "canteen": 8, "kitchen": 10}.get(kind, 0)
    if kind == "office":
        seats = (1, 2, 2, 3, 4, 6)[(slot * 7 + floor * 5 + ord(building.id)) % 6]
        area_m2 = 12 + 7 * seats
    number = f"{floor}{slot:02d}"
    return Zone(
        id=f"{building.id}-{floor:02d}{slot:02d}", site=building.site, building=building.id, floor=floor, kind=kind,
        name_zh=f"{building.id}座{number}{zh}", name_en=f"{en} {building.id}{number}", area_m2=area_m2, seats=seats,
        guests=guests,
        tags=("crowded",) if kind in ("hall", "canteen") else (kind,) if kind in ("server_room", "archive") else (),
        light_w=area_m2 * light, ac_w=area_m2 * cooling, gateway=floor_gateway(building.id, floor),
    )  # fmt: skip


def _grounds() -> list[Zone]:
    found = [
        Zone(
            f"G-P{level}",
            GROUNDS,
            "G",
            0,
            "garage",
            f"地下车库{level}区",
            f"Garage zone {level}",
            2400,
            light_w=3600,
            gateway="gw-g-garage",
        )
        for level in (1, 2)
    ]
    names = (("南广场", "South square"), ("北广场", "North square"), ("东绿地", "East green"), ("西绿地", "West green"))
    more = (("湖滨步道", "Lakeside walk"), ("外立面", "Facades"))
    found += [
        Zone(
            f"G-L{i}",
            GROUNDS,
            "G",
            0,
            "landscape",
            f"景观照明{zh}",
            f"Landscape lighting, {en}",
            1500,
            light_w=2000 + 400 * i,
            gateway="gw-g-yard",
        )
        for i, (zh, en) in enumerate((*names, *more), 1)
    ]
    return found


@functools.cache
def zones() -> tuple[Zone, ...]:
    """Every zone: 600 rooms floor by floor, an emergency circuit after each floor, then the grounds."""
    found: list[Zone] = []
    for building in BUILDINGS:
        for floor in range(1, building.floors + 1):
            found += [_room(building, floor, slot) for slot in range(1, SLOTS + 1)]
            found.append(
                Zone(
                    f"{building.id}-{floor:02d}EM",
                    building.site,
                    building.id,
                    floor,
                    "corridor",
                    f"{building.id}座{floor}层应急照明",
                    f"Emergency lighting {building.id}{floor}",
                    0,
                    tags=("emergency",),
                    light_w=120,
                    gateway=floor_gateway(building.id, floor),
                ),
            )
    return (*found, *_grounds())


@functools.cache
def zone_index() -> dict[str, int]:
    """Space id → column."""
    return {zone.id: i for i, zone in enumerate(zones())}


_BUREAUS: Final = (
    ("发展改革局", "Development and Reform"), ("财政局", "Finance"), ("教育局", "Education"),
    ("住房建设局", "Housing"), ("民政局", "Civil Affairs"), ("卫生健康局", "Health"),
    ("文化旅游局", "Culture and Tourism"), ("交通运输局", "Transport"), ("水利局", "Water"),
    ("市场监管局", "Market Supervision"), ("统计局", "Statistics"), ("应急管理局", "Emergency Management"),
    ("自然资源局", "Natural Resources"), ("政务服务局", "Government Services"),
)  # fmt: skip
_DIVISIONS: Final = (
    ("办公室", "general office"), ("规划处", "planning"), ("财务处", "accounts"), ("人事处", "personnel"),
    ("监督处", "supervision"), ("服务处", "public service"), ("信息处", "information"),
)  # fmt: skip


@functools.cache
def departments() -> tuple[Department, ...]:
    """The 98 departments: seven divisions of fourteen bureaus."""
    return tuple(
        Department(f"dept-{i:02d}{j}", f"{zh}{division_zh}", f"{en}, {division_en}")
        for i, (zh, en) in enumerate(_BUREAUS, 1)
        for j, (division_zh, division_en) in enumerate(_DIVISIONS, 1)
    )


@functools.cache
def tenure() -> tuple[tuple[str, str, int], ...]:
    """Who occupies what: (space, department, share in ten-thousandths); the shares of a space sum to 10,000.

    Offices and archives go to the departments in turn, every ninth of them to two at once; halls, canteen and server
    room belong to the last bureau's divisions; what all use (corridors, toilets, tea-rooms, meeting rooms) has no
    tenant.
    """
    found: list[tuple[str, str, int]] = []
    ids = [department.id for department in departments()]
    let = [zone for zone in zones() if zone.kind in ("office", "archive")]
    for i, zone in enumerate(let):
        first = i * len(ids) // len(let)
        if i % 9 == 4:
            found += [(zone.id, ids[first], 6000), (zone.id, ids[(first + 1) % len(ids)], 4000)]
        else:
            found.append((zone.id, ids[first], 10_000))
    owners = {"hall": ids[-2], "canteen": ids[-7], "kitchen": ids[-7], "server_room": ids[-1]}
    found += [(zone.id, owners[zone.kind], 10_000) for zone in zones() if zone.kind in owners]
    return tuple(found)
