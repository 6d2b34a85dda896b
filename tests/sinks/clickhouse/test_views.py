"""The views over a published model: each figure against the same figure computed from the documents in Python."""

import datetime as dt
import zoneinfo
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from schemas import codec, topics
from schemas.control import SigningKey, settle_record
from schemas.model.check import check_folder
from schemas.model.document import Document
from schemas.prices import Prices
from schemas.settings import ClickHouseSettings, KafkaSettings
from sinks.clickhouse.client import reader
from streams.published import apply_model, fetch_document
from tests.sinks.clickhouse.world import QUARTER_MS, World, settings_of, sink_thread, wait_drained
from tests.support.models import Tables, write_model

SHANGHAI = zoneinfo.ZoneInfo("Asia/Shanghai")
DAY_MS = 86_400_000
START_MS = 1_767_225_600_000 - 8 * 3_600_000  # 2026-01-01 in Shanghai
QUARTERS = 3 * 96
METERED = ("e-main", "e-sub", "e-peak", "e-water")
FIRST_KNOWN_MS = START_MS + 5 * DAY_MS


def _more(tables: Tables) -> None:
    """A move on the second day, a night tariff over midnight, a third day of an unknown kind, and a factor for 2026."""
    days = {"2025-12-31": "workday", "2026-01-01": "holiday", "2026-01-02": "workday"}
    tables["calendars"] = [{"id": "cn", "date": day, "kind": kind} for day, kind in days.items()]
    tables["tenure"] = [
        {"space": "E1-101", "department": "finance", "share": 1, "valid_to": "2026-01-02"},
        {"space": "E1-101", "department": "finance", "share": "1/4", "valid_from": "2026-01-02"},
        {"space": "E1-101", "department": "budget", "share": "3/4", "valid_from": "2026-01-02"},
    ]
    night = {
        "id": "grid",
        "medium": "electricity",
        "slot": "night",
        "component": "energy",
        "price": "0.3",
        "source": "test",
    }
    tables["tariffs"].append(night)
    tables["schedules"].append({"name": "night", "day_kind": "any", "from": "22:00", "to": "07:00"})
    tables["apportion"] = [
        {"source": "e-main", "target": target, "method": "weight", "weight_point": weight}
        for target, weight in (("E1-101", "e-sub"), ("E1-102", "e-peak"))
    ]
    limits = {"indicator": "balance_remainder", "source": "test"}
    tables["targets"] = [
        {**limits, "id": "all", "value": "0.999"},
        {**limits, "id": "E1", "scope": "E1", "value": "0.02", "valid_from": "2026-01-02"},
    ]
    factor = {"medium": "electricity", "year": 2026, "basis": "equivalent", "value": "0.1229", "source": "test"}
    tables["factors"] = [factor]


def _settle_record() -> bytes:
    return settle_record("east", 1, START_MS, START_MS + DAY_MS, "meter read twice", SigningKey.of(bytes(32)))


class Published:
    """A model in force, three days of usage and an episode, stored."""

    def __init__(self, world: World, folder: Path) -> None:
        model, faults = check_folder(write_model(folder, _more))
        assert faults == []
        kafka = world.settings.kafka
        changes = {change.site: change for change in apply_model(kafka, model, SigningKey.of(bytes(32)))}
        self.document: Document = fetch_document(kafka, bytes.fromhex(changes["east"].sha256))
        points = self.document.table("points")
        self.numbers = dict(zip(map(str, points["id"]), map(int, map(str, points["number"])), strict=True))
        #: (point, end, quantity)
        self.usage: list[tuple[str, int, int]] = []
        rows = []
        for quarter in range(QUARTERS):
            end = START_MS + (quarter + 1) * QUARTER_MS
            for n, name in enumerate(METERED):
                quantity = (quarter * 37 + n * 11) % 500 - (5 if quarter % 50 == 0 else 0)
                self.usage.append((name, end, quantity))
                rows.append(self._row(name, end, quantity, FIRST_KNOWN_MS))
        self.correction = ("e-sub", START_MS + 40 * QUARTER_MS, -1000)
        self.record_offset = world.sent(topics.METER_READINGS, _settle_record())
        correction = self._row(*self.correction, FIRST_KNOWN_MS + DAY_MS)
        rows.append({**correction, "cause": "settlement", "offset": self.record_offset, "how": "gap"})
        self.usage.append(self.correction)
        head = {"topic": topics.METER_READINGS, "partition": 0, "sequence": 0, "sites": ["east"], "rows": rows}
        world.send(topics.LEDGER, codec.write("ledger_rows", head))
        self._episode(world)

    def _row(self, name: str, end: int, quantity: int, known_at: int) -> dict[str, Any]:
        return {
            "site": 0,
            "offset": 1,
            "known_at": known_at,
            "point": self.numbers[name],
            "from_ms": end - QUARTER_MS,
            "to_ms": end,
            "quantity": quantity,
            "how": "measured",
            "cause": "reading",
        }

    def _episode(self, world: World) -> None:
        start = START_MS + 21 * 3_600_000 + 30 * 60_000  # 21:30, with the night tariff from 22:00
        common = {"site": "east", "offset": 1, "rule": "LightsInEmptyRoom", "subject": "E1-101", "episode": 1}
        states = [("firing", start), ("resolved", start + 3 * QUARTER_MS)]
        alerts = [
            {
                **common,
                "known_at": at + 1,
                "config_version": 1,
                "state": state,
                "severity": "warning",
                "valid_at": at,
                "started_at": start,
                "estimate": -1,
            }
            for state, at in states
        ]
        number = self.numbers["e-light"]
        self.parts = [(start + i * QUARTER_MS, 100 + i) for i in range(3)]
        wasted = [
            {
                **common,
                "known_at": at,
                "point": number,
                "from_ms": at,
                "to_ms": at + QUARTER_MS,
                "quantity": quantity,
                "final": i == 2,
            }
            for i, (at, quantity) in enumerate(self.parts)
        ]
        head = {"topic": topics.METER_READINGS, "partition": 0, "sequence": 0}
        world.send(topics.ALERTS, codec.write("alert_rows", {**head, "rows": alerts}))
        world.send(topics.ALERTS, codec.write("episode_rows", {**head, "rows": wasted}))


@pytest.fixture
def published(
    kafka: KafkaSettings, clickhouse: ClickHouseSettings, tmp_path: Path
) -> Iterator[tuple[Published, Client]]:
    """What is published, and a reader of what is stored."""
    settings = settings_of(kafka, clickhouse)
    world = World(settings)
    made = Published(world, tmp_path)
    with sink_thread(settings):
        wait_drained(settings)
    client = reader(settings.clickhouse)
    yield made, client
    client.close()


def local(end_ms: int) -> dt.datetime:
    """Local time in which a quarter-hour counts."""
    return dt.datetime.fromtimestamp((end_ms - 1) / 1000, SHANGHAI)


def test_every_figure(published: tuple[Published, Client]) -> None:
    """Model, usage, balance, cost, coal, episodes, as-of: each equals its own computation in Python."""
    made, client = published
    _model(made, client)
    _usage(made, client)
    _departments(made, client)
    _balance(made, client)
    _cost(made, client)
    _carbon(made, client)
    _episodes(made, client)
    _as_of(made, client)
    _explained(made, client)
    _exceeded(made, client)
    _apportioned(made, client)


def rows_of(client: Client, query: str) -> list[tuple[Any, ...]]:
    """Rows of a query, as tuples."""
    return [tuple(row) for row in client.query(query).result_rows]


def _model(made: Published, client: Client) -> None:
    assert rows_of(client, "SELECT topic, reason FROM unreadable") == []
    points = dict(rows_of(client, "SELECT id, number FROM points WHERE model_site = 'east'"))
    assert points == made.numbers
    assert rows_of(client, "SELECT area_m2, class FROM buildings WHERE id = 'W1'") == [(Decimal("300.5"), "A")]
    assert rows_of(client, "SELECT serves FROM equips WHERE id = 'ac-out'") == [(["E1-101", "E1-102"],)]
    assert rows_of(client, "SELECT kind FROM calendars WHERE model_site = 'west' AND date = '2026-01-02'") == [
        ("workday",)
    ]
    versions = rows_of(client, "SELECT site, version, hex(document) FROM current_documents ORDER BY site")
    assert versions[0] == ("east", 1, made.document.sha256.hex().upper())
    assert rows_of(client, "SELECT count() FROM config_records") == [(6,)]


def _usage(made: Published, client: Client) -> None:
    days: dict[tuple[int, dt.date], int] = defaultdict(int)
    for name, end, quantity in made.usage:
        days[made.numbers[name], local(end).date()] += quantity
    assert {(p, d): q for p, d, q in rows_of(client, "SELECT point, day, quantity FROM usage_daily")} == days
    months = {(p, m): q for p, m, q in rows_of(client, "SELECT point, month, quantity FROM usage_monthly")}
    assert months == {
        (made.numbers[name], dt.date(2026, 1, 1)): sum(q for n, _, q in made.usage if n == name) for name in METERED
    }
    items = rows_of(client, "SELECT sub_item, medium, sum(quantity) FROM usage_by_sub_item GROUP BY ALL")
    assert items == [("A1", "electricity", sum(q for n, _, q in made.usage if n == "e-sub"))]
    totals = rows_of(client, "SELECT counts_in, sum(quantity) FROM usage_by_total GROUP BY ALL")
    assert totals == [("electricity", sum(q for n, _, q in made.usage if n == "e-main"))]
    spaces = dict(
        rows_of(client, "SELECT space, sum(quantity) FROM usage_by_space WHERE medium = 'electricity' GROUP BY ALL")
    )
    assert spaces == {"E1": totals[0][1], "E1-101": items[0][2]}, "e-peak is a part of e-main and in none"


def _departments(made: Published, client: Client) -> None:
    wanted: dict[tuple[str, dt.date], Fraction] = defaultdict(Fraction)
    for name, end, quantity in made.usage:
        day = local(end).date()
        if name in ("e-main", "e-water"):
            wanted["", day] += quantity
        elif name == "e-sub":
            shares = (
                {"finance": Fraction(1)}
                if day == dt.date(2026, 1, 1)
                else {"finance": Fraction(1, 4), "budget": Fraction(3, 4)}
            )
            for department, share in shares.items():
                wanted[department, day] += share * quantity
    found = rows_of(client, "SELECT department, day, sum(quantity) FROM usage_by_department GROUP BY ALL")
    assert {(d, day): Fraction(q) for d, day, q in found} == wanted


def _balance(made: Published, client: Client) -> None:
    wanted: dict[dt.date, int] = defaultdict(int)
    for name, end, quantity in made.usage:
        wanted[local(end).date()] += {"e-main": 1, "e-sub": -1}.get(name, 0) * quantity
    assert {
        d: int(r) for d, r in rows_of(client, "SELECT day, remainder FROM balance_daily WHERE node = 'E1'")
    } == wanted


def _cost(made: Published, client: Client) -> None:
    prices = Prices(made.document)
    medium = {"e-main": "electricity", "e-sub": "electricity", "e-water": "water"}
    hours: dict[tuple[str, int], int] = defaultdict(int)
    for name, end, quantity in made.usage:
        if name in medium:
            hours[name, (end - 1) // 3_600_000 * 3_600_000] += quantity
    found = {
        (name, int(hour)): cost
        for name, hour, cost in rows_of(client, "SELECT point_id, toUnixTimestamp(hour) * 1000, cost FROM cost_hourly")
    }
    assert found.keys() == hours.keys()
    for (name, hour), quantity in hours.items():
        assert round(Fraction(found[name, hour]) * 10_000) == prices.cost(medium[name], hour, quantity), (name, hour)
    assert {prices.cost("electricity", START_MS + hour * 3_600_000, 10**6) for hour in range(24)} == {
        3_500_000,
        500_000,
        9_500_000,
    }


def _carbon(made: Published, client: Client) -> None:
    found = rows_of(
        client, "SELECT medium, basis, sum(quantity), sum(mass_kg) FROM carbon_monthly GROUP BY ALL ORDER BY ALL"
    )
    used = sum(q for n, _, q in made.usage if n in ("e-main", "e-sub"))
    water = sum(q for n, _, q in made.usage if n == "e-water")
    assert found[0][:3] == ("electricity", "equivalent", used)
    assert Fraction(found[0][3]) == Fraction(used) * Fraction(1229, 10_000_000)
    assert found[1:] == [("water", "", water, None)], "no factor: no figure"


def _episodes(made: Published, client: Client) -> None:
    prices = Prices(made.document)
    cost = sum(prices.cost("electricity", at, quantity * 10_000) or 0 for at, quantity in made.parts)
    query = "SELECT rule, subject, state, medium, quantity, cost, ended_at - started_at FROM episodes"
    rule, subject, state, medium, quantity, yuan, seconds = rows_of(client, query)[0]
    assert (rule, subject, state, medium) == ("LightsInEmptyRoom", "E1-101", "resolved", "electricity")
    assert quantity == sum(quantity for _, quantity in made.parts)
    assert Fraction(yuan) * 10_000 == Fraction(cost, 10_000)
    assert float(seconds) == 2700
    assert rows_of(client, "SELECT state, episode FROM alerts") == [("resolved", 1)]


def _as_of(made: Published, client: Client) -> None:
    name, _, correction = made.correction
    total = sum(q for n, _, q in made.usage if n == name)
    for days, wanted in ((0.5, total - correction), (1.5, total)):
        moment = dt.datetime.fromtimestamp((FIRST_KNOWN_MS + days * DAY_MS) / 1000, dt.UTC).strftime(
            "%Y-%m-%d %H:%M:%S"
        )
        query = f"SELECT sum(quantity) FROM ledger_as_of(as_of = '{moment}') WHERE point = {made.numbers[name]}"
        assert rows_of(client, query) == [(wanted,)]


def _explained(made: Published, client: Client) -> None:
    """A month as it was published on two dates, and the rows between them with their reason."""
    before, after = ("2026-01-06 06:00:00", "2026-01-08 00:00:00")
    figures = [
        dict(rows_of(client, f"SELECT point_id, quantity FROM month_as_of(as_of = '{moment}')"))
        for moment in (before, after)
    ]
    name, end, correction = made.correction
    changed = {point: figures[1][point] - figures[0][point] for point in METERED}
    assert changed == {point: correction if point == name else 0 for point in METERED}
    columns = "point_id, local_to, month, quantity, how, cause, reason"
    rows = rows_of(client, f"SELECT {columns} FROM changes_between(after = '{before}', until = '{after}')")
    at = dt.datetime.fromtimestamp(end / 1000, SHANGHAI).replace(tzinfo=None)
    told = (name, at, dt.date(2026, 1, 1), correction, "gap", "settlement", "meter read twice")
    assert [(row[0], row[1].replace(tzinfo=None), *row[2:]) for row in rows] == [told]
    record = rows_of(client, "SELECT site, sequence, reason, offset FROM settle_records")
    assert record == [("east", 1, "meter read twice", made.record_offset)]


def _exceeded(made: Published, client: Client) -> None:
    """Remainders over the limit of their node, or of all nodes where it has none yet."""
    sums: dict[tuple[dt.date, str], int] = defaultdict(int)
    for name, end, quantity in made.usage:
        sums[local(end).date(), name] += quantity
    wanted = {}
    for day in {day for day, _ in sums}:
        whole, rest = sums[day, "e-main"], sums[day, "e-main"] - sums[day, "e-sub"]
        if abs(rest) > (0.999 if day == dt.date(2026, 1, 1) else 0.02) * abs(whole):
            wanted[day] = (rest, rest / whole)
    found = rows_of(client, "SELECT day, remainder, share FROM balance_alerts WHERE node = 'E1'")
    assert {day: (int(rest), pytest.approx(share)) for day, rest, share in found} == wanted
    assert 0 < len(wanted) < 3


def _apportioned(made: Published, client: Client) -> None:
    """Parts of a day are in the proportion of its weights, sum to the whole, and say what they are."""
    sums: dict[tuple[dt.date, str], int] = defaultdict(int)
    for name, end, quantity in made.usage:
        sums[local(end).date(), name] += quantity
    query = "SELECT day, target, quantity, how FROM apportioned_daily WHERE source_id = 'e-main'"
    found = {(day, target): quantity for day, target, quantity, how in rows_of(client, query) if how == "apportioned"}
    weights = {"E1-101": "e-sub", "E1-102": "e-peak"}
    for day in {day for day, _ in sums}:
        whole = sum(sums[day, weight] for weight in weights.values())
        for target, weight in weights.items():
            assert found[day, target] == pytest.approx(sums[day, "e-main"] * sums[day, weight] / whole)
    assert len(found) == 2 * len({day for day, _ in sums})
