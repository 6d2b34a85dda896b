"""A load with rules: offices with lights, people, air conditioning and a meter, under the packs that ganzhi brings.

The site is of a simulated domain, so that a run over hours of events takes seconds and no meter is silent. In every
50th office the lights are on for forty minutes while nobody is there: so many alerts must come, and no others.
"""

import datetime as dt
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ganzhi.bench.load import BEGIN_MS, INTERVAL_S, Load
from schemas import codec
from schemas.encode import encode_batch
from schemas.errors import ModelError
from schemas.model.build import Deployment, build_documents
from schemas.model.check import check_folder
from schemas.model.document import Document

DOMAIN: Final = "bench"
EVERY: Final = 50
"""One office in so many is forgotten."""
FORGOTTEN: Final = range(5, 45)
"""Rounds in which its lights are on for nobody."""
ROUNDS_MIN: Final = 61
"""By then the alerts have come and gone."""

_POINTS: Final = (
    ("energy", "energy", "register", "electricity", "kWh", "5"),
    ("light", "light_power", "gauge", "electricity", "W", ""),
    ("people", "occupancy", "state", "", "1", ""),
    ("ac", "ac_running", "state", "", "1", ""),
    ("power", "ac_power", "gauge", "electricity", "W", ""),
)
ROOM_POINTS: Final = len(_POINTS)
POINT_NAMES: Final = tuple(name for name, *_ in _POINTS)
PACKS: Final = ("lighting", "air_conditioning", "meters", "water")
ALERT: Final = "LightsInEmptyRoom"


def rooms_document(
    site: str, partition: int, gateways: int, rooms_per_gateway: int, domain: str, pack: str
) -> Document:
    """The document that `apply` would publish for such a site.

    Raises:
        ModelError: the pack does not fit.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder, site, gateways, rooms_per_gateway, domain, pack)
        model, faults = check_folder(folder)
        if faults:
            raise ModelError(faults)
        return build_documents(model, Deployment({site: partition}, {}, {}, {}))[site]


def _write(folder: Path, site: str, gateways: int, rooms: int, domain: str, pack: str) -> None:
    names = [f"g{number:05d}" for number in range(gateways)]
    places = [(gateway, f"{gateway}-{room:03d}") for gateway in names for room in range(rooms)]
    (folder / "sites.csv").write_text(f"id,domain,time_zone,calendar\n{site},{domain},Asia/Shanghai,bench\n")
    begin = dt.datetime.fromtimestamp(BEGIN_MS / 1000, dt.UTC).date()
    days = [begin + dt.timedelta(days=number) for number in range(-1, 60)]
    (folder / "calendars.csv").write_text("id,date,kind\n" + "".join(f"bench,{day},workday\n" for day in days))
    (folder / "buildings.csv").write_text(f"id,site,class,area_m2\nB,{site},A,1000\n")
    (folder / "gateways.csv").write_text("id,site\n" + "".join(f"{name},{site}\n" for name in names))
    (folder / "spaces.csv").write_text("id,building,kind\n" + "".join(f"{room},B,office\n" for _, room in places))
    (folder / "schedules.csv").write_text("name,day_kind,from,to\nworking,any,08:00,18:00\n")
    lines = ["id,site,gateway,space,role,kind,medium,unit,rated,interval_s"]
    lines += [
        f"{room}.{point},{site},{gateway},{room},{role},{kind},{medium},{unit},{rated},{INTERVAL_S}"
        for gateway, room in places
        for point, role, kind, medium, unit, rated in _POINTS
    ]
    (folder / "points.csv").write_text("\n".join(lines) + "\n")
    (folder / "rules").mkdir()
    (folder / "rules" / "bench.yaml").write_text(pack)


class Rooms(Load):
    """Batches of 100 offices a gateway; see the module.

    Attributes:
        rooms: of each gateway.
        numbers: int32[gateways, per_gateway], numbers of the points, by gateway, room and kind of point.
    """

    domain = DOMAIN
    pack = "pack: bench\ninclude: [" + ", ".join(f"builtin/{name}" for name in PACKS) + "]\n"

    def __post_init__(self) -> None:
        rooms = self.rooms = self.per_gateway // ROOM_POINTS
        self.document = rooms_document(self.site, self.partition, self.gateways, rooms, self.domain, self.pack)
        table = self.document.table("points")
        numbers = dict(zip(table["id"], table["number"], strict=True))
        self.numbers = np.array(
            [
                int(str(numbers[f"g{gateway:05d}-{room:03d}.{point}"]))
                for gateway in range(self.gateways)
                for room in range(rooms)
                for point, *_ in _POINTS
            ],
            np.int32,
        ).reshape(self.gateways, -1)
        self._random = np.random.default_rng(7)
        self._values = np.zeros(self.numbers.size, np.int64)
        self._first = self._values.copy()

    @property
    def alerts(self) -> int:
        """How many alerts must fire."""
        return -(-(self.gateways * self.per_gateway // ROOM_POINTS) // EVERY) if self.rounds >= ROUNDS_MIN else 0

    def batches(self) -> Iterator[tuple[int, bytes]]:
        """(time ms, message): a tick and every gateway's batch of every round; one call per object."""
        good = np.zeros(self.per_gateway, np.int8)
        for turn in range(self.rounds):
            time_ms = BEGIN_MS + turn * INTERVAL_S * 1000
            yield time_ms, codec.write("tick", {"clock_ms": time_ms})
            values = self.step(turn)
            times = np.full(self.per_gateway, time_ms, np.int64)
            for gateway in range(self.gateways):
                points = self.numbers[gateway]
                yield (
                    time_ms,
                    encode_batch(self.site, f"g{gateway:05d}", "live", times, points, values[gateway], good),
                )

    def step(self, turn: int) -> NDArray[np.int64]:
        """The values of a round, int64[gateways, per_gateway]; rounds in their order."""
        table = self._values.reshape(-1, ROOM_POINTS)
        rooms = np.arange(len(table))
        here = (rooms + turn) // 30 % 2
        forgotten = (rooms % EVERY == 0) & (turn in FORGOTTEN)
        here[rooms % EVERY == 0] = turn not in FORGOTTEN
        table[:, 0] += self._random.integers(0, 80, len(table))
        table[:, 1] = np.where((here > 0) | forgotten, 100_000, 0)
        table[:, 2] = here
        table[:, 3] = here
        table[:, 4] = here * self._random.integers(300_000, 900_000, len(table))
        if turn == 0:
            self._first = self._values.copy()
        return self._values.reshape(self.gateways, -1)

    def expected(self) -> int:
        """Last minus first, over all registers."""
        difference: int = int((self._values - self._first).reshape(-1, ROOM_POINTS)[:, 0].sum())
        return difference
