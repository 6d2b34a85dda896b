"""The tables of the demo's site model, row by row: places, devices, points, meters, balance, waste and vehicles.

Each function gives the rows of one file of the model (DESIGN section 13), as text by column; what is absent is empty.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from ganzhi.demo import fleet, people, plant, waste
from ganzhi.demo.layout import BUILDINGS, GROUNDS, SITES, departments, floor_id, tenure, zones
from ganzhi.demo.points import GAUGE_INTERVAL_S, GAUGE_MAX_AGE_S, REGISTER_INTERVAL_S, points
from ganzhi.demo.registers import registers, supplies
from ganzhi.demo.world import FLOORS

Row = Mapping[str, str]
DOMAIN: Final = "demo"
CALENDAR: Final = "cn"
INSTITUTION: Final = "civic-centre"
_WASTE_NAMES: Final = {"recyclable": "可回收物", "hazardous": "有害垃圾", "kitchen": "厨余垃圾", "other": "其他垃圾"}
_NAMES: Final = {
    "light_power": ("照明功率", "light power"), "occupancy": ("人数", "people"),
    "ac_running": ("空调运行", "air conditioning runs"), "ac_power": ("空调功率", "air conditioning power"),
    "energy": ("电量", "electricity"), "water_flow": ("水流量", "water flow"), "water": ("水量", "water"),
    "heat": ("热量", "heat"), "regeneration": ("回馈电量", "energy fed back"), "pv_energy": ("光伏电量", "PV energy"),
    "pv_power": ("光伏功率", "PV power"), "lift_power": ("电梯功率", "lift power"),
    "pump_power": ("水泵功率", "pump power"), "fan_power": ("风机功率", "fan power"),
    "heat_pump_power": ("热泵功率", "heat pump power"), "charger_power": ("充电功率", "charging power"),
    "pv_expected": ("光伏应发功率", "power that PV should give"), "fan_running": ("风机运行", "fan runs"),
    "power": ("总功率", "power"), "voltage": ("电压", "voltage"), "socket_power": ("插座功率", "power of sockets"),
    "lux": ("照度", "brightness"), "light_on": ("灯开", "lights are on"), "window_open": ("窗开", "window is open"),
    "ac_mode": ("空调模式", "mode of air conditioning"), "ac_setpoint": ("空调设定温度", "set-point"),
    "temperature": ("温度", "temperature"), "leak": ("漏水", "leak"),
    "outdoor_temperature": ("室外温度", "outdoor temperature"), "outdoor_lux": ("室外照度", "outdoor illuminance"),
}  # fmt: skip
_SUFFIXES: Final = {
    "import": ("（受入）", ", import"),
    "export": ("（送出）", ", export"),
    "A1": ("（照明插座）", ", lights and sockets"),
    "A2": ("（走廊应急）", ", corridors"),
    "B2": ("（空调末端）", ", air conditioning"),
    "U1": ("（L1相）", ", phase L1"),
    "U2": ("（L2相）", ", phase L2"),
    "U3": ("（L3相）", ", phase L3"),
}
"""Last words of ids of points that share a place and a role: two alerts about them must not read the same."""


def sites() -> Iterable[Row]:
    """The four sites."""
    names = {building.site: (building.name_zh, building.name_en) for building in BUILDINGS} | {
        GROUNDS: ("室外与能源站", "Grounds and plant")
    }
    for site in SITES:
        zh, en = names[site]
        yield {
            "id": site, "institution": INSTITUTION, "time_zone": "Asia/Shanghai", "climate_zone": "夏热冬冷",
            "calendar": CALENDAR, "domain": DOMAIN, "name_zh": zh, "name_en": en,
        }  # fmt: skip


def buildings() -> Iterable[Row]:
    """The three buildings, and the grounds as a fourth of class H."""
    for building in BUILDINGS:
        area = sum(zone.area_m2 for zone in zones() if zone.building == building.id)
        yield {
            "id": building.id,
            "site": building.site,
            "class": "A",
            "area_m2": str(area),
            "name_zh": building.name_zh,
            "name_en": building.name_en,
        }
    yield {"id": "G", "site": GROUNDS, "class": "H", "name_zh": "室外与能源站", "name_en": "Grounds and plant"}


def spaces() -> Iterable[Row]:
    """Floors, then what is on them."""
    for building, floor in FLOORS:
        yield {
            "id": floor_id(building.id, floor), "building": building.id, "kind": "floor",
            "name_zh": f"{building.id}座{floor}层", "name_en": f"Building {building.id}, floor {floor}",
        }  # fmt: skip
    for zone in zones():
        yield {
            "id": zone.id, "building": zone.building,
            "parent": floor_id(zone.building, zone.floor) if zone.floor else "", "kind": zone.kind,
            "area_m2": str(zone.area_m2), "tags": ";".join(zone.tags), "name_zh": zone.name_zh,
            "name_en": zone.name_en,
        }  # fmt: skip


def department_rows() -> Iterable[Row]:
    """The departments."""
    for one in departments():
        yield {"id": one.id, "institution": INSTITUTION, "name_zh": one.name_zh, "name_en": one.name_en}


def tenure_rows() -> Iterable[Row]:
    """Who occupies what."""
    for space, department, share in tenure():
        yield {"space": space, "department": department, "share": f"{share / 10_000:g}"}


def gateways() -> Iterable[Row]:
    """Every gateway that has a point."""
    found = {point.gateway: point.site for point in points()}
    for gateway, site in found.items():
        yield {
            "id": gateway,
            "site": site,
            "serial": f"GW{sum(gateway.encode()):06d}-{len(gateway)}",
            "name_zh": f"网关 {gateway}",
            "name_en": f"Gateway {gateway}",
        }


def equips() -> Iterable[Row]:
    """Outdoor units and branches of the floors, what is in rooms, the plant."""
    for building, floor in FLOORS:
        place = floor_id(building.id, floor)
        yield _equip(f"{place}-vrv", "ac_outdoor", place, f"{place}多联机室外机", f"VRV outdoor unit {place}")
        yield _equip(f"{place}-branch", "water_branch", place, f"{place}给水支路", f"Water branch {place}")
    for zone in zones():
        if zone.ac_w:
            parent = f"{floor_id(zone.building, zone.floor)}-vrv"
            unit = _equip(
                f"{zone.id}-ac",
                "ac_indoor",
                zone.id,
                f"{zone.name_zh}空调",
                f"Air conditioning, {zone.name_en}",
                zone.ac_w,
            )
            yield {**unit, "parent": parent, "serves": zone.id}
        if "emergency" in zone.tags:
            yield _equip(f"{zone.id}-light", "emergency_light", zone.id, zone.name_zh, zone.name_en, zone.light_w)
    for fixture in people.fixtures():
        zone = zones()[fixture.zone]
        zh, en = ("水龙头", "Tap") if fixture.kind == "tap" else ("冲洗阀", "Flush valve")
        yield _equip(fixture.id, fixture.kind, zone.id, f"{zone.name_zh}{zh}", f"{en}, {zone.name_en}")
    for load in plant.loads():
        own = _equip(load.id, load.kind, load.building, load.name_zh, load.name_en, load.peak_w)
        if load.kind == "pv_inverter":
            array = plant.array_of(load.id)
            zh, en = f"{load.name_zh}组件", f"{load.name_en}, modules"
            yield _equip(array, "pv_array", load.building, zh, en, load.peak_w)
            yield {**own, "parent": array}
        elif load.profile != "regeneration":
            yield own
    yield _equip("G-tank", "tank", "G", "生活水箱", "Water tank")
    yield _equip("G-tower", "cooling_tower", "G", "冷却塔", "Cooling tower")
    for i, charger in enumerate(fleet.chargers(), 1):
        yield _equip(charger, "charger", "G", f"{i}号充电桩", f"Charger {i}", fleet.CHARGER_W)


def _equip(name: str, kind: str, space: str, zh: str, en: str, rated_w: int = 0) -> dict[str, str]:
    return {
        "id": name,
        "kind": kind,
        "space": space,
        "rated_w": str(rated_w) if rated_w else "",
        "name_zh": zh,
        "name_en": en,
    }


def point_rows() -> Iterable[Row]:
    """Every point, a gateway after the other."""
    names = {row["id"]: (row["name_zh"], row["name_en"]) for row in (*buildings(), *spaces(), *equips())}
    for point in points():
        counts = point.kind == "register"
        where_zh, where_en = names[point.equip or point.space]
        zh, en = _NAMES[point.role]
        more_zh, more_en = _SUFFIXES.get(point.id.rsplit(".", 1)[-1], ("", ""))
        zh, en = f"{zh}{more_zh}", f"{en}{more_en}"
        more = {}
        if counts:
            register = registers()[point.column]
            more = {
                "sub_item": register.sub_item,
                "direction": register.direction,
                "counts_in": register.counts_in,
                "flow_use": register.use,
            }
        equip = f"{point.space}-light" if point.role == "light_power" and point.space.endswith("EM") else point.equip
        yield {
            "id": point.id, "site": point.site, "gateway": point.gateway, "equip": equip, "space": point.space,
            "role": point.role, "kind": point.kind, "medium": point.medium, "unit": point.unit,
            "rated": f"{point.rated:g}" if point.rated else "",
            "interval_s": str(REGISTER_INTERVAL_S if counts else GAUGE_INTERVAL_S),
            "max_age_s": "" if counts else str(GAUGE_MAX_AGE_S), "name_zh": f"{where_zh} {zh}",
            "name_en": f"{where_en}: {en}", **more,
        }  # fmt: skip


def meters() -> Iterable[Row]:
    """A meter for each that a register names; those with several registers are there once."""
    seen: set[str] = set()
    for register in registers():
        if register.meter not in seen:
            seen.add(register.meter)
            protocol = "CJ/T 188" if register.medium in ("water", "hot_water", "heat") else "DL/T 645"
            trade = "trade" if register.counts_in == "supply" else "internal"
            yield {
                "id": register.meter, "site": register.site, "protocol": protocol, "digits": str(register.digits),
                "resolution": "0.001", "accuracy": "2" if register.medium != "electricity" else "1", "trade": trade,
                "name_zh": f"计量表 {register.meter}", "name_en": f"Meter {register.meter}",
            }  # fmt: skip


def meter_install() -> Iterable[Row]:
    """Which register of which meter feeds which point."""
    for register in registers():
        yield {
            "meter": register.meter, "register": register.id.replace(".", "-"), "point": register.id,
            "first": f"{register.first / 1000:.3f}",
        }  # fmt: skip


def balance() -> Iterable[Row]:
    """What belongs under what: rooms under the meters of a floor, floors and plant under the supply of a building."""
    for building, floor in FLOORS:
        place = floor_id(building.id, floor)
        for item in ("A1", "A2"):
            node = f"{place}.{item}"
            yield _edge(node, node, "+")
            for zone in zones():
                shared = zone.kind == "corridor"
                if (zone.building, zone.floor) == (building.id, floor) and shared == (item == "A2"):
                    yield _edge(node, f"{zone.id}.energy", "-")
    for _, _, letter in supplies():
        yield from _supply(letter)
    for building in BUILDINGS:
        node = f"{building.id}.water"
        yield _edge(node, node, "+")
        for floor in range(1, building.floors + 1):
            yield _edge(node, f"{floor_id(building.id, floor)}.water", "-")
    yield _edge("G.water", "G.water", "+")
    for part in ("G-pump1.water", "G-heat.water", "G-tank.water", "G-tower.water"):
        yield _edge("G.water", part, "-")


def _supply(letter: str) -> Iterable[Row]:
    node = f"{letter}.electricity"
    yield _edge(node, f"{letter}.T1.import", "+")
    yield _edge(node, f"{letter}.T1.export", "-")
    if letter != "G":
        yield _edge(node, f"{letter}.T2.import", "+")
    for load in plant.loads():
        if load.building == letter:
            yield _edge(node, f"{load.id}.{load.role}", "-" if load.sign > 0 else "+")
    for register in registers():
        of_floor = register.sub_item != "" and register.id.startswith(f"{letter}-F")
        outdoors = letter == "G" and register.site == GROUNDS and register.role == "energy" and register.direction == ""
        if of_floor or (outdoors and register.equip not in plant.load_index()):
            yield _edge(node, register.id, "-")


def _edge(node: str, point: str, sign: str) -> Row:
    return {"node": node, "point": point, "sign": sign}


def apportion() -> Iterable[Row]:
    """The outdoor unit of a floor is shared out over its rooms by what their air conditioning drew."""
    for zone in zones():
        if zone.ac_w:
            source = f"{floor_id(zone.building, zone.floor)}.B2"
            yield {"source": source, "target": zone.id, "method": "weight", "weight_point": f"{zone.id}.ac_power"}


def stations() -> Iterable[Row]:
    """The stations."""
    letters = {site: site[-1].upper() for site in SITES}
    for i, (station, site) in enumerate(waste.stations()):
        letter = letters[site]
        yield {
            "id": station, "site": site, "space": letter, "class": ";".join(waste.CLASSES), "volume": "480",
            "name_zh": f"{letter}区{i % 10 + 1}号投放点", "name_en": f"Station {letter}{i % 10 + 1}",
        }  # fmt: skip


def bins() -> Iterable[Row]:
    """The bins."""
    for one in waste.bins():
        zh = _WASTE_NAMES[one.waste_class]
        yield {
            "id": one.id,
            "station": one.station,
            "class": one.waste_class,
            "volume": "120",
            "tare": "9",
            "name_zh": zh,
            "name_en": f"{one.waste_class} waste",
        }


def vehicles() -> Iterable[Row]:
    """The vehicles."""
    for i, one in enumerate(fleet.vehicles(), 1):
        yield {
            "id": one.id, "site": one.site, "institution": INSTITUTION, "energy": one.energy,
            "name_zh": f"公务车{i}号", "name_en": f"Vehicle {i}",
        }  # fmt: skip


def bays() -> Iterable[Row]:
    """A bay for each charger."""
    for i, charger in enumerate(fleet.chargers()):
        yield {
            "id": fleet.bay(i),
            "site": GROUNDS,
            "charger": charger,
            "name_zh": f"{i + 1}号充电车位",
            "name_en": f"Bay {i + 1}",
        }
