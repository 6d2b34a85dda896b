"""Every register of the civic centre: what it counts, what it is rated for, and with which reading it begins.

Electricity is counted in mJ (mW times s) and water in mL/min times s, both exact integers; a register shows whole Wh or
whole litres. So a register never loses anything.
"""

import dataclasses
import functools
from typing import Final

from ganzhi.demo import fleet, plant
from ganzhi.demo.layout import BUILDINGS, GROUNDS, floor_gateway, floor_id, zone_index, zones
from ganzhi.demo.world import FLOORS

WH: Final = 3_600_000
"""mJ of a Wh."""
LITRE: Final = 60_000
"""mL/min times s of a litre."""
ROLLOVER_METER: Final = "M-A-F07"
"""A meter of 10,000 kWh that begins again from 0 within the history."""
METERED_TOILETS: Final = ("B-0503", "B-0504")
"""Toilets with a water meter of their own."""
FLOOR_SLICES: Final = {"A": slice(0, 10), "B": slice(10, 18), "C": slice(18, 25)}
"""Floors of a building in `FLOORS`."""


@dataclasses.dataclass(frozen=True, slots=True)
class Register:
    """One register.

    Attributes:
        id: point id.
        site: site id.
        gateway: gateway that reads it.
        meter: meter that it is in.
        space: space or building where it measures.
        equip: equip that it measures, or empty.
        role: role of the point.
        medium: medium.
        sub_item: code, or empty.
        direction: import, export, or empty.
        use: supply, use, loss, irrigation, tank or cooling.
        counts_in: total that it counts in, or empty.
        rated: kW or m3/h that it can see at most.
        digits: digits of the meter; it starts from 0 again after them.
        divisor: internal units of its last digit (`WH` or `LITRE`).
        step: what its last digit counts, Wh or mL.
        first: last digits that it has counted at the beginning.
    """

    id: str
    site: str
    gateway: str
    meter: str
    space: str
    equip: str
    role: str
    medium: str
    sub_item: str
    direction: str
    use: str
    counts_in: str
    rated: float
    digits: int
    divisor: int
    step: int
    first: int

    def shown(self, counted: int) -> int:
        """Its reading, Wh or mL, when it has counted so many internal units since the beginning."""
        return int((self.first + counted // self.divisor) % 10**self.digits * self.step)


class _Book:
    """Collects registers and gives each the reading that it starts with."""

    def __init__(self) -> None:
        self.found: list[Register] = []

    def add(
        self,
        name: str,
        site: str,
        gateway: str,
        meter: str,
        space: str,
        *,
        equip: str = "",
        role: str = "energy",
        medium: str = "electricity",
        sub_item: str = "",
        direction: str = "",
        use: str = "use",
        counts_in: str = "",
        rated: float,
    ) -> None:
        """Adds one; the arguments are the attributes of `Register`."""
        electric = medium in ("electricity", "heat")
        divisor, step, digits = (WH, 1, 9) if electric else (LITRE, 1000, 8)
        first = 1_000_000 + (len(self.found) * 7_919_117) % 50_000_000
        if meter == ROLLOVER_METER:
            digits, first = 7, 10**7 - 600_000
        self.found.append(
            Register(
                name,
                site,
                gateway,
                meter,
                space,
                equip,
                role,
                medium,
                sub_item,
                direction,
                use,
                counts_in,
                rated,
                digits,
                divisor,
                step,
                first,
            )
        )


@functools.cache
def registers() -> tuple[Register, ...]:
    """Every register, in the order of `State.register_flow`: zones, floors, plant, chargers, supplies, water, heat."""
    book = _Book()
    for zone in zones():
        # rooms have no sub-item of their own: the meter of the floor counts it
        item = {"landscape": "A3", "garage": "A1"}.get(zone.kind, "")
        outdoors = zone.building == "G"
        book.add(
            f"{zone.id}.energy", zone.site, zone.gateway, f"M-{zone.id}", zone.id, sub_item=item,
            rated=_zone_rated_kw(zone.light_w, zone.seats), counts_in="sub_items" if outdoors else "",
        )  # fmt: skip
    for item in ("A1", "A2", "B2"):
        for building, floor in FLOORS:
            place = floor_id(building.id, floor)
            meter = f"M-{place}-{item}" if item == "B2" else f"M-{place}"
            book.add(
                f"{place}.{item}", building.site, floor_gateway(building.id, floor), meter, place, sub_item=item,
                rated=90.0, counts_in="sub_items", equip=f"{place}-vrv" if item == "B2" else "",
            )  # fmt: skip
    for load in plant.loads():
        book.add(
            f"{load.id}.{load.role}", load.site, main_gateway(load.site),
            f"M-{load.id.rstrip('r') if load.profile == 'regeneration' else load.id}", load.building,
            equip=load.id.rstrip("r") if load.profile == "regeneration" else load.id, role=load.role,
            sub_item=load.sub_item, rated=load.peak_w * 1.5 / 1000, use="use" if load.sign > 0 else "supply",
            counts_in="sub_items" if load.sign > 0 else "",
            direction="export" if load.profile == "regeneration" else "",
        )  # fmt: skip
    for charger in fleet.chargers():
        book.add(
            f"{charger}.energy",
            GROUNDS,
            "gw-g-garage",
            f"M-{charger}",
            "G",
            equip=charger,
            sub_item="D6",
            rated=10.0,
            counts_in="sub_items",
        )
    for _, site, letter in supplies():
        gateway = main_gateway(site)
        book.add(
            f"{letter}.T1.import",
            site,
            gateway,
            f"M-{letter}-T1",
            letter,
            direction="import",
            use="supply",
            counts_in="supply",
            rated=800.0,
        )
        book.add(
            f"{letter}.T1.export",
            site,
            gateway,
            f"M-{letter}-T1",
            letter,
            direction="export",
            use="supply",
            rated=200.0,
        )
        if letter != "G":
            book.add(
                f"{letter}.T2.import",
                site,
                gateway,
                f"M-{letter}-T2",
                letter,
                direction="import",
                use="supply",
                counts_in="supply",
                rated=800.0,
            )
    _water_registers(book)
    return tuple(book.found)


def _water_registers(book: _Book) -> None:
    for building, floor in FLOORS:
        place = floor_id(building.id, floor)
        book.add(
            f"{place}.water", building.site, floor_gateway(building.id, floor), f"W-{place}", place, role="water",
            medium="water", rated=4.0, counts_in="sub_items",
        )  # fmt: skip
    for building in BUILDINGS:
        gateway = main_gateway(building.site)
        book.add(
            f"{building.id}.water",
            building.site,
            gateway,
            f"W-{building.id}",
            building.id,
            role="water",
            medium="water",
            use="supply",
            counts_in="supply",
            rated=30.0,
        )
    gateway = main_gateway(GROUNDS)
    book.add(
        "G.water",
        GROUNDS,
        gateway,
        "W-G",
        "G",
        role="water",
        medium="water",
        use="supply",
        counts_in="supply",
        rated=30.0,
    )
    book.add(
        "G-pump1.water",
        GROUNDS,
        gateway,
        "W-G-pump1",
        "G",
        equip="G-pump1",
        role="water",
        medium="water",
        rated=8.0,
        use="irrigation",
        counts_in="sub_items",
    )
    book.add(
        "G-heat.water",
        GROUNDS,
        gateway,
        "W-G-heat",
        "G",
        equip="G-heat",
        role="water",
        medium="hot_water",
        rated=3.0,
        counts_in="sub_items",
    )
    book.add(
        "G-heat.heat",
        GROUNDS,
        gateway,
        "H-G-heat",
        "G",
        equip="G-heat",
        role="heat",
        medium="heat",
        use="supply",
        rated=120.0,
    )
    for name in METERED_TOILETS:
        zone = zones()[zone_index()[name]]
        book.add(
            f"{name}.water", zone.site, zone.gateway, f"W-{name}", name, role="water", medium="water", rated=2.0,
        )  # fmt: skip
    for name, use in (("G-tank", "tank"), ("G-tower", "cooling")):
        book.add(
            f"{name}.water", GROUNDS, gateway, f"W-{name}", "G", equip=name, role="water", medium="water", use=use,
            counts_in="sub_items", rated=4.0,
        )  # fmt: skip


def _zone_rated_kw(light_w: int, seats: int) -> float:
    return round(max(0.5, (light_w + seats * 250) / 1000), 2)


def main_gateway(site: str) -> str:
    """Gateway of the switch room of a site."""
    return f"gw-{site[-1]}-main"


def supplies() -> tuple[tuple[int, str, str], ...]:
    """(number, site, building) of each supply."""
    return (*((i, building.site, building.id) for i, building in enumerate(BUILDINGS)), (3, GROUNDS, "G"))


@functools.cache
def register_index() -> dict[str, int]:
    """Point id → column."""
    return {register.id: i for i, register in enumerate(registers())}
