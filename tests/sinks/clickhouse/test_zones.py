"""A year of zones with and without summer time: settled days, months and costs against the clock of `zoneinfo`."""

import datetime as dt
import random
import zoneinfo
from collections import defaultdict
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import pytest
from clickhouse_connect.driver.client import Client

from processors.advance import Processor
from processors.outputs import Output
from processors.settle import Settler
from schemas import codec
from schemas.model.check import check_folder
from schemas.model.document import Document
from schemas.record_batches import Slab
from schemas.settings import ClickHouseSettings, KafkaSettings, Settings
from schemas.topics import METER_READINGS
from sinks.clickhouse.client import reader
from streams.published import apply_model, read_documents
from tests.processors.settling import TASK, settle
from tests.processors.world import KEY, Record, Row, batch, config, decode, records
from tests.sinks.clickhouse.world import QUARTER_MS, World, settings_of, sink_thread, wait_drained

ZONES: Final = {"berlin": "Europe/Berlin", "howe": "Australia/Lord_Howe", "nepal": "Asia/Kathmandu"}
"""Sites: an hour of summer time, half an hour of it, and an offset of 5 h 45 min."""
FIRST, LAST = dt.date(2025, 12, 30), dt.date(2027, 1, 2)
START_MS: Final = int(dt.datetime(2026, 1, 1, tzinfo=dt.UTC).timestamp()) * 1000 - 20 * 3_600_000
QUARTERS: Final = 366 * 96 + 3
KNOWN_MS: Final = START_MS + 370 * 86_400_000
SETTLED_MS: Final = KNOWN_MS + 86_400_000
HOLIDAYS: Final = {"2026-01-01", "2026-03-30", "2026-10-26"}
MOVED: Final = dt.date(2026, 10, 8)
"""Told three weeks later."""
FILES: Final = {
    "sites.csv": "id,time_zone,calendar\n" + "".join(f"{site},{zone},c\n" for site, zone in ZONES.items()),
    "buildings.csv": "id,site\n" + "".join(f"{site}-b,{site}\n" for site in ZONES),
    "spaces.csv": "id,building,kind\n" + "".join(f"{site}-r,{site}-b,office\n" for site in ZONES),
    "gateways.csv": "id,site\n" + "".join(f"{site}-g,{site}\n" for site in ZONES),
    "points.csv": "id,site,gateway,space,role,kind,medium,unit,interval_s\n"
    + "".join(f"{site}-e,{site},{site}-g,{site}-r,energy,register,electricity,kWh,900\n" for site in ZONES),
    "departments.csv": "id\nold\nnew\n",
    "tenure.csv": "space,department,share\nberlin-r,old,1\n",
    "tariffs.csv": "id,medium,slot,component,price,source\ne,electricity,,energy,0.5,test\n"
    "n,electricity,night,surcharge,0.25,test\n",
    "schedules.csv": "name,day_kind,from,to\nnight,workday,22:00,07:00\n",
}
MOVE: Final = (
    f"space,department,share,valid_from,valid_to\nberlin-r,old,1,,{MOVED}\n"
    f"berlin-r,old,1/4,{MOVED},\nberlin-r,new,3/4,{MOVED},\n"
)


LATER_NIGHT: Final = FILES["schedules.csv"].replace("22:00", "22:15")


def write(folder: Path, **changed: str) -> Path:
    """The model's files."""
    folder.mkdir(exist_ok=True)
    days = [FIRST + dt.timedelta(days=k) for k in range((LAST - FIRST).days)]
    kinds = {str(day): "holiday" if str(day) in HOLIDAYS or day.weekday() > 4 else "workday" for day in days}
    calendar = "id,date,kind\n" + "".join(f"c,{day},{kind}\n" for day, kind in kinds.items())
    for name, text in {
        **FILES,
        "calendars.csv": calendar,
        **{f"{name}.csv": text for name, text in changed.items()},
    }.items():
        (folder / name).write_text(text)
    return folder


def used(quarter: int) -> int:
    """What every meter uses in a quarter-hour of UTC, Wh: no two days are alike."""
    return (quarter * 37 + quarter // 96 * 11) % 500


CHANGES: Final = [(3, 29, 1, 0), (4, 4, 15, 0), (4, 30, 18, 15), (10, 3, 15, 30), (10, 25, 1, 0)]
"""UTC, in 2026: the clocks of Berlin and Lord Howe, and a month that begins in Kathmandu."""


def late() -> list[int]:
    """Quarter-hours about the changes: they come after all others."""
    found = []
    for month, day, hour, minute in CHANGES:
        at = dt.datetime(2026, month, day, hour, minute, tzinfo=dt.UTC).timestamp()
        middle = (int(at) * 1000 - START_MS) // QUARTER_MS
        found += range(middle - 4, middle + 5)
    return found


def messages(documents: dict[str, Document]) -> list[bytes]:
    """All readings, at the end of each quarter-hour; some hours come last."""
    level = [0]
    for quarter in range(QUARTERS):
        level.append(level[-1] + used(quarter))
    last, found = late(), []
    for site, document in documents.items():
        number = int(str(document.table("points")["number"][0]))
        for order in (sorted(set(range(QUARTERS + 1)) - set(last)), last):
            readings = [(number, START_MS + k * QUARTER_MS, level[k]) for k in order]
            for at in range(0, len(readings), 500):
                part = readings[at : at + 500]
                found.append(batch(part, site=site, gateway=f"{site}-g", base_ms=part[0][1]))
    return found


def computed(documents: dict[str, Document]) -> list[Output]:
    """What a worker publishes of the log, and then a settlement of each site."""
    log: list[Record] = records(
        [(KNOWN_MS, config(document)) for document in documents.values()]
        + [(KNOWN_MS, message) for message in messages(documents)]
        + [(SETTLED_MS, settle(site=site)) for site in documents]
    )
    by_name = {document.sha256: document for document in documents.values()}

    def again(end: int) -> Iterator[Slab]:
        yield Slab.of(METER_READINGS, 0, [record for record in log if record[0] < end], start=0, end=end)

    live, settler = Processor(METER_READINGS, 0, by_name.__getitem__), Settler(TASK, 0, by_name.__getitem__, again)
    found = []
    for task in (live, settler):
        task.advance(Slab.of(METER_READINGS, 0, log))
        found += task.take()
    return found


class Zoned:
    """Everything is published and stored; `client` reads it."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        world = World(settings)
        self.apply(write(folder))
        self.documents = read_documents(settings.kafka)
        outputs = computed(self.documents)
        self.rows: list[Row] = []
        for topic in sorted({output.topic for output in outputs}):
            own = [output for output in outputs if output.topic == topic]
            self.rows += decode(own)["ledger"]
            for output in own:
                world.send(topic, output.value)
        self.client: Client = reader(settings.clickhouse)

    def apply(self, folder: Path, since_ms: int | None = None) -> None:
        """Publishes the model."""
        model, faults = check_folder(folder)
        assert not faults, faults
        apply_model(self.settings.kafka, model, KEY, None if since_ms is None else lambda _: since_ms)

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """Rows."""
        return [tuple(row) for row in self.client.query(query).result_rows]


def truth(site: str, of: Callable[[dt.datetime], Any]) -> dict[Any, int]:
    """Usage by something of the local time in which each quarter-hour begins."""
    zone, found = zoneinfo.ZoneInfo(ZONES[site]), defaultdict[Any, int](int)
    for quarter in range(QUARTERS):
        found[of(dt.datetime.fromtimestamp(START_MS // 1000 + quarter * 900, zone))] += used(quarter)
    return found


@pytest.mark.timeout(300)
def test_days_months_and_money_go_by_the_clock_of_the_site(
    kafka: KafkaSettings, clickhouse: ClickHouseSettings, tmp_path: Path
) -> None:
    """Both changes of a year, half an hour of summer time, midnight at 18:15 UTC, a tariff over midnight, a late move."""
    settings = settings_of(kafka, clickhouse)
    settings = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"partitions": 1})})
    with sink_thread(settings):
        zoned = Zoned(settings, tmp_path / "model")
        wait_drained(settings)
        for site in ZONES:
            _days_and_months(zoned, site)
            _money(zoned, site, 22 * 60)
        _as_known(zoned)
        _a_move_told_late(zoned)
        for site in ZONES:
            _money(zoned, site, 22 * 60 + 15)
    zoned.client.close()


def _days_and_months(zoned: Zoned, site: str) -> None:
    rows = zoned.ask(f"SELECT day, quantity, not_measured FROM usage_daily WHERE site = '{site}'")
    assert {day: quantity for day, quantity, _ in rows} == truth(site, dt.datetime.date)
    assert not any(estimated for _, _, estimated in rows), "settled, all of it is measured"
    months = truth(site, lambda at: at.date().replace(day=1))
    for query in (
        f"SELECT month, quantity FROM usage_monthly WHERE site = '{site}'",
        f"SELECT month, quantity FROM month_as_of(as_of = now64(3) + toIntervalYear(9)) WHERE site = '{site}'",
    ):
        assert dict(zoned.ask(query)) == months


def _money(zoned: Zoned, site: str, begin: int) -> None:
    """Half a yuan a kWh, and a quarter more in the nights of workdays, from a minute of the day to 07:00."""

    def slot(at: dt.datetime) -> tuple[dt.date, bool]:
        wall = at.hour * 60 + at.minute
        night = at.date() - dt.timedelta(days=wall < 7 * 60)
        dear = (wall < 7 * 60 or wall >= begin) and night.weekday() < 5 and str(night) not in HOLIDAYS
        return at.date(), dear

    wanted = defaultdict[dt.date, Fraction](Fraction)
    for (day, dear), quantity in truth(site, slot).items():
        wanted[day] += Fraction(quantity, 1000) * (Fraction(1, 2) + Fraction(int(dear), 4))
    found = zoned.ask(f"SELECT day, cost FROM cost_daily WHERE site = '{site}'")
    assert {day: Fraction(cost) for day, cost in found} == wanted


def _as_known(zoned: Zoned) -> None:
    """Each month before the settlement is what was published of it, and the changes of local time explain the rest."""
    moment = dt.datetime.fromtimestamp(SETTLED_MS / 1000 - 1, dt.UTC).strftime("%Y-%m-%d %H:%M:%S")
    wanted = defaultdict[tuple[str, dt.date], list[int]](lambda: [0, 0])
    for row in zoned.rows:
        if row["known_at"] < SETTLED_MS:
            zone = zoneinfo.ZoneInfo(ZONES[row["site"]])
            local = dt.datetime.fromtimestamp((row["to_ms"] - 1) / 1000, zone).date()
            month = wanted[row["site"], local.replace(day=1)]
            month[0] += row["quantity"]
            month[1] += row["quantity"] * (row["how"] != "measured")
    query = f"SELECT site, month, quantity, not_measured FROM month_as_of(as_of = '{moment}')"
    found = {(site, month): [quantity, rest] for site, month, quantity, rest in zoned.ask(query)}
    assert found == wanted
    changed = zoned.ask(
        f"SELECT site, sum(quantity), sumIf(quantity, how != 'measured') < 0 FROM changes_between(after = '{moment}',"
        " until = now64(3) + toIntervalYear(9)) GROUP BY site ORDER BY site"
    )
    assert changed == [(site, 0, 1) for site in sorted(ZONES)]


def _a_move_told_late(zoned: Zoned) -> None:
    """A department moved three weeks ago: its days since then are shared, those before stay, and no row is written.

    In the same model the night begins within an hour.
    """
    zone = zoneinfo.ZoneInfo(ZONES["berlin"])
    since = dt.datetime.combine(MOVED, dt.time(), zone)
    query = "SELECT department, day, quantity FROM usage_by_department WHERE site = 'berlin'"
    days = truth("berlin", dt.datetime.date)
    assert {(who, day): Fraction(q) for who, day, q in zoned.ask(query)} == {("old", day): q for day, q in days.items()}
    rows = zoned.ask("SELECT count() FROM ledger")
    zoned.apply(write(zoned.folder, tenure=MOVE, schedules=LATER_NIGHT), int(since.timestamp()) * 1000)
    wait_drained(zoned.settings)
    wanted = {("old", day): Fraction(q) * (Fraction(1, 4) if day >= MOVED else 1) for day, q in days.items()}
    wanted |= {("new", day): Fraction(3 * q, 4) for day, q in days.items() if day >= MOVED}
    assert {(who, day): Fraction(q) for who, day, q in zoned.ask(query)} == wanted
    assert zoned.ask("SELECT count() FROM ledger") == rows


def offsets_of(zone: str) -> tuple[int, int]:
    """Seconds before UTC in January and in July."""
    found = [dt.datetime(2026, month, 5, tzinfo=zoneinfo.ZoneInfo(zone)).utcoffset() for month in (1, 7)]
    first, second = (int(offset.total_seconds()) for offset in found if offset is not None)
    return first, second


def test_an_hour_over_a_midnight_is_cut_there(
    kafka: KafkaSettings, clickhouse: ClickHouseSettings, tmp_path: Path
) -> None:
    """Hours of UTC, in one zone of each kind that there is: every local day has its part of them, to the unit."""
    zones = {offsets_of(zone): zone for zone in sorted(zoneinfo.available_timezones()) if "/" in zone}
    sites = {f"s{k}": zone for k, (_, zone) in enumerate(sorted(zones.items()))}
    assert sum(offset % 3600 != 0 for offsets in zones for offset in offsets) > 12
    folder = tmp_path / "model"
    folder.mkdir()
    for name, text in {
        "sites.csv": "id,time_zone\n" + "".join(f"{site},{zone}\n" for site, zone in sites.items()),
        "buildings.csv": "id,site\n" + "".join(f"{site}-b,{site}\n" for site in sites),
        "gateways.csv": "id,site\n" + "".join(f"{site}-g,{site}\n" for site in sites),
        "points.csv": "id,site,gateway,role,kind,medium,unit,interval_s\n"
        + "".join(f"{site}-e,{site},{site}-g,energy,delta,electricity,kWh,3600\n" for site in sites),
    }.items():
        (folder / name).write_text(text)
    model, faults = check_folder(folder)
    assert not faults, faults
    settings = settings_of(kafka, clickhouse)
    world = World(settings)
    apply_model(settings.kafka, model, KEY)
    start, hour, chance = int(dt.datetime(2026, 6, 29, tzinfo=dt.UTC).timestamp()) * 1000, 3_600_000, random.Random(6)
    wanted: dict[tuple[str, dt.date], list[int]] = defaultdict(lambda: [0, 0])
    rows = []
    for place, (site, zone) in enumerate(sites.items()):
        for end in range(start + hour, start + 72 * hour + 1, hour):
            first = chance.randrange(1, 1000)
            for quantity in (first, *((-first, first + 7) if chance.random() < 0.1 else ())):
                rows.append(
                    {
                        "site": place, "offset": 1, "known_at": KNOWN_MS, "point": 1, "from_ms": end - hour,
                        "to_ms": end, "quantity": quantity, "how": "measured", "cause": "reading",
                    }
                )  # fmt: skip
                days = [dt.datetime.fromtimestamp((end - k) // 1000, zoneinfo.ZoneInfo(zone)) for k in (hour, 1)]
                before = 0
                cut = days[0].date() != days[1].date() and days[0].minute != 0
                if cut:
                    before = abs(quantity) * (60 - days[0].minute) // 60 * (1 if quantity > 0 else -1)
                for day, part in zip(days, (before, quantity - before), strict=True):
                    own = wanted[site, day.date()] if part or day is days[1] else [0, 0]
                    own[0] += part
                    own[1] += part if cut else 0
    head = {"topic": METER_READINGS, "partition": 0, "sequence": 0, "sites": list(sites), "rows": rows}
    world.send("ledger", codec.write("ledger_rows", head))
    with sink_thread(settings):
        wait_drained(settings)
    client = reader(settings.clickhouse)
    found = client.query("SELECT site, day, quantity, not_measured FROM usage_daily").result_rows
    client.close()
    assert {(site, day): [total, rest] for site, day, total, rest in found} == wanted
