"""*System*: whether everything keeps up: lag, silent gateways, rejected input; and `/health` for machines."""

import dataclasses
import functools
import time

from confluent_kafka import Consumer, KafkaException, TopicPartition
from starlette.responses import JSONResponse, Response

from schemas.errors import GanzhiError, KafkaUnavailable
from schemas.kafka import client_config, group_name
from schemas.settings import Settings
from schemas.topics import INPUTS, topic_name
from sinks.clickhouse.progress import lag
from sinks.console import formatting
from sinks.console.asked import AWAY, Asked
from sinks.console.pages import rows
from sinks.console.places import Site

TIMEOUT_S = 5.0
SILENT_MAX = 200
DAY_MS = 86_400_000


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """One line: what was looked at, whether it is well (None: cannot be told), and what is to be said or done."""

    name: str
    well: bool | None
    said: str


@dataclasses.dataclass(frozen=True, slots=True)
class Silent:
    """A gateway from which nothing has come for longer than its points allow."""

    site: str
    id: str
    name: str
    last: str
    points: int


def show(asked: Asked) -> Response:
    """The page."""
    parts = asked.parts
    checks = [Check("alerts current", not parts.live.fault, parts.live.fault or asked.say("yes"))]
    for name, ask in (("worker lag", worker_lag), ("sink lag", _sink_lag)):
        try:
            behind = parts.fresh.get(name, functools.partial(ask, parts.settings))
            checks.append(Check(name, behind < 10_000, asked.say("messages behind", count=f"{behind:,}")))
        except GanzhiError as error:
            checks.append(Check(name, None, str(error)))
    silent: list[Silent] = []
    rejected: list[tuple[str, int, str]] = []
    gateways = 0
    try:
        version = parts.history.rows("SELECT version()")[0][0]
        checks.append(Check("clickhouse", True, str(version)))
        for site in parts.live.places.sites.values():
            if parts.live.places.sees_site(asked.user, site):
                known, quiet = _silent(asked, site)
                gateways += known
                silent += quiet
        rejected = [
            (str(reason), int(count), formatting.local(int(at), next(iter(parts.live.places.sites.values())).zone))
            for reason, count, at in parts.history.rows(
                "SELECT reason, count(), toUnixTimestamp64Milli(max(known_at)) FROM rejected"
                " WHERE known_at > fromUnixTimestamp64Milli({start:Int64}) GROUP BY reason ORDER BY count() DESC"
                " LIMIT 50",
                start=time.time_ns() // 1_000_000 - DAY_MS,
            )
            if parts.live.places.sites
        ]
    except AWAY as error:
        checks.append(Check("clickhouse", False, str(error)))
    return asked.page(
        "system.html",
        active="system",
        checks=checks,
        silent=silent[:SILENT_MAX],
        gateways=gateways,
        rejected=rejected,
        sites=list(parts.live.places.sites.values()),
        silences=parts.live.silences(asked.user),
        zone=next((one.zone for one in parts.live.places.sites.values()), None),
    )


def health(asked: Asked) -> Response:
    """200 while alerts are current, else 503; says nothing else, for it needs no session."""
    well = not asked.parts.live.fault
    return JSONResponse({"status": "ok" if well else "alerts are not current"}, 200 if well else 503)


def worker_lag(settings: Settings) -> int:
    """Messages of the input topics that the workers have not committed yet.

    Raises:
        KafkaUnavailable: no broker answers.
    """
    consumer = Consumer(
        client_config(
            settings.kafka, group_id=group_name(settings.kafka, settings.worker.group), enable_auto_commit=False
        )
    )
    try:
        behind = 0
        for topic in INPUTS:
            full = topic_name(settings.kafka, topic)
            known = consumer.list_topics(full, TIMEOUT_S).topics[full].partitions
            for place in consumer.committed([TopicPartition(full, number) for number in known], TIMEOUT_S):
                low, high = consumer.get_watermark_offsets(place, TIMEOUT_S)
                behind += high - max(place.offset, low)
    except KafkaException as error:
        raise KafkaUnavailable(settings.kafka.bootstrap, str(error)) from error
    finally:
        consumer.close()
    return behind


def _sink_lag(settings: Settings) -> int:
    return sum(lag(settings).values())


def _silent(asked: Asked, site: Site) -> tuple[int, list[Silent]]:
    """How many gateways a user may see, and which of them are silent."""
    gateways = {
        id_: points
        for id_, points in site.of_gateway.items()
        if id_ in site.gateways and any(asked.user.sees(site.id, point.building) for point in points)
    }
    now_ms = rows.clock_ms(asked, site.id)
    numbers = [point.number for points in gateways.values() for point in points]
    latest = asked.parts.fresh.get(("gateways", site.id), lambda: asked.parts.history.latest(site.id, numbers))
    found = []
    for id_, points in sorted(gateways.items()):
        ages_s = [point.max_age_s or 3 * point.interval_s for point in points if point.interval_s]
        last = max((latest[point.number].ts_ms for point in points if point.number in latest), default=0)
        if ages_s and now_ms - last > max(ages_s) * 1000:
            name = site.gateways[id_].name(asked.language)
            found.append(
                Silent(site.named.name(asked.language), id_, name, formatting.local(last, site.zone), len(points))
            )
    return len(gateways), found
