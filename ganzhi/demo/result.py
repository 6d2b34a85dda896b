"""What a run has come to, held against the simulator's truth and its meters, and against the log."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from ganzhi.demo import faults, truth
from ganzhi.demo.feed import Feed
from ganzhi.demo.registers import Register, registers
from ganzhi.demo.simulator import QUARTER_S, Simulator
from replay.kafka_log import KafkaHistory
from replay.verify import Verification
from schemas.model.build import known_numbers
from schemas.model.document import Document
from schemas.settings import Settings
from sinks.clickhouse.client import reader, translating
from sinks.desk.desk import Desk

STORED: Final = {
    "ledger": "ledger",
    "gauges": "gauges",
    "alerts": "alert_events",
    "episodes": "episode_parts",
    "verdicts": "verdicts",
    "rejected": "rejected",
}
"""Output stream → table."""
_COUNTS: Final = " UNION ALL ".join(f"SELECT '{stream}', count() FROM {table}" for stream, table in STORED.items())
_LEDGER: Final = (
    "SELECT site, point, toUnixTimestamp64Milli(max(to_ts)), sum(quantity) FROM ledger GROUP BY site, point"
)
_DIRTY: Final = "SELECT uniqExact(site, point) FROM verdicts WHERE code = 'late'"


@dataclasses.dataclass(frozen=True)
class Result:
    """What `ganzhi demo --json` prints, see `ganzhi demo --help`.

    Attributes:
        events: waste and vehicle events that were sent.
        readings: readings that were sent.
        alerts: rule → alerts that it raised.
        ledger_rows: rows of the ledger in ClickHouse.
        first_alert_s: seconds from the command to the first alert that was seen; None: there was none.
        anomalies: name → injected, found, false; empty where an older simulation was opened.
        ledger_difference: sum over the points of |ledger minus the simulator's meters|, smallest units; None likewise.
        published_rows: rows of the output topics, by the heads of their sequences.
        stored_rows: rows of their tables.
        rejected: readings or messages that could not be used.
        dirty: points with readings that came too late, which settlement has to look at.
        identical: whether a replay gives the same rows.
        sha256: over all rows.
        missed: what was injected and not found, for people.
        wrong: what was found and not injected, for people.
    """

    events: int
    readings: int
    alerts: Mapping[str, int]
    ledger_rows: int
    first_alert_s: float | None
    anomalies: Mapping[str, Mapping[str, int]]
    ledger_difference: int | None
    published_rows: int
    stored_rows: int
    rejected: int
    dirty: int
    identical: bool
    sha256: str
    missed: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether all is as it has to be."""
        told = all(one["found"] == one["injected"] and one["false"] == 0 for one in self.anomalies.values())
        stored = self.published_rows == self.stored_rows
        return bool(told and stored and not self.ledger_difference and self.rejected == 0 and self.identical)

    def as_dict(self) -> dict[str, object]:
        """For programs."""
        fields = dataclasses.asdict(self)
        fields["verify"] = {"identical": fields.pop("identical"), "sha256": fields.pop("sha256")}
        return {"ok": self.ok} | fields


def evaluate(
    settings: Settings,
    feed: Desk,
    lived: tuple[Simulator, Feed] | None,
    verification: Verification,
    first_alert_s: float | None,
    documents: Mapping[str, Document],
) -> Result:
    """Compares, once everything is computed and stored.

    Args:
        settings: of a stack that is up.
        feed: all alerts.
        lived: the simulation and its feed, None where an older one was opened.
        verification: of a replay.
        first_alert_s: see `Result`.
        documents: published ones, by site.
    """
    heads = Counter[str]()
    for position in KafkaHistory(settings.kafka).positions().values():
        heads.update({stream: count for stream, (count, _) in position.heads.items()})
    with translating(settings.clickhouse):
        client = reader(settings.clickhouse)
        stored = {str(name): int(count) for name, count in client.query(_COUNTS).result_rows}
        dirty = int(client.query(_DIRTY).result_rows[0][0])
        ledger = client.query(_LEDGER).result_rows
        client.close()
    raised = [truth.Alert(alert.key[1], alert.key[2], alert.started_at) for alert in feed.alerts.values()]
    anomalies: dict[str, dict[str, int]] = {}
    missed: list[str] = []
    wrong: list[str] = []
    difference = None
    if lived is not None:
        simulator, way = lived
        for name, score in simulator.truth.score(raised, way.clock_ms).items():
            anomalies[name] = {"injected": score.injected, "found": score.found, "false": score.false}
            missed += [f"{one.rule} {one.subject}" for one in score.missed]
            wrong += [f"{one.rule} {one.subject}" for one in score.wrong]
        names = {
            (site, number): point for site, one in documents.items() for point, number in known_numbers(one).items()
        }
        difference = ledger_difference(simulator, way.clock_ms, ledger, names)
    return Result(
        events=lived[1].events if lived else stored_events(settings, ("waste_events", "vehicle_events")),
        readings=lived[1].readings if lived else stored_events(settings, ("readings",)),
        alerts=dict(sorted(Counter(alert.rule for alert in raised).items())),
        ledger_rows=stored["ledger"],
        first_alert_s=None if first_alert_s is None else round(first_alert_s, 1),
        anomalies=anomalies,
        ledger_difference=difference,
        published_rows=sum(heads.values()),
        stored_rows=sum(stored.values()),
        rejected=heads["rejected"],
        dirty=dirty,
        identical=verification.identical,
        sha256=verification.sha256,
        missed=tuple(missed),
        wrong=tuple(wrong),
    )


def stored_events(settings: Settings, tables: tuple[str, ...]) -> int:
    """Rows of some tables."""
    with translating(settings.clickhouse):
        client = reader(settings.clickhouse)
        rows = [client.query(f"SELECT count() FROM {table}").result_rows for table in tables]
        client.close()
    return sum(int(row[0][0]) for row in rows)


def ledger_difference(
    simulator: Simulator, clock_ms: int, ledger: Iterable[Sequence[Any]], names: Mapping[tuple[str, int], str]
) -> int:
    """Sum over the points of |ledger minus meters|, in smallest units.

    A register is compared from the beginning of the simulation to its last ledger row, or to the last quarter-hour of
    which the ledger must have it, whichever is later: a ledger that stopped too early differs. What events add up to
    (mass, distance, charge) is compared whole.

    Args:
        simulator: its meters.
        clock_ms: simulated time up to which everything is computed, UTC.
        ledger: (site, number of the point, end of its last row in UTC ms, sum of its rows).
        names: (site, number) → id of every point.
    """
    found = {names[site, number]: (int(last_ms), int(total)) for site, number, last_ms, total in ledger}
    epoch_ms = simulator.world.epoch_ms
    difference = 0
    for register in registers():
        last_ms, total = found.pop(register.id, (epoch_ms, 0))
        until_ms = max(last_ms, due_ms(simulator, register, clock_ms))
        difference += abs(total - simulator.read(register.id, until_ms))
    for point in found.keys() | simulator.totals.keys():
        difference += abs(found.get(point, (0, 0))[1] - simulator.totals[point])
    return difference


def due_ms(simulator: Simulator, register: Register, clock_ms: int) -> int:
    """The last quarter-hour of which the ledger must have a register: it was read then, and that was sent."""
    midnight_ms = simulator.world.epoch_ms + simulator.world.days * 86_400_000
    until_ms = clock_ms
    for fault in faults.SCRIPT:
        begins_ms = midnight_ms + fault.start_s * 1000
        if (fault.effect, fault.where) in (("silent", register.meter), ("down", register.gateway)):
            until_ms = min(until_ms, begins_ms - 1)
        elif fault.effect == "clock" and fault.where == register.meter:
            until_ms = min(until_ms, clock_ms - fault.amount * 1000)
        elif fault.effect == "late" and fault.where == register.gateway and clock_ms >= begins_ms:
            until_ms = min(until_ms, max(begins_ms - 1, clock_ms - fault.amount * 1000))
    return until_ms // (QUARTER_S * 1000) * QUARTER_S * 1000
