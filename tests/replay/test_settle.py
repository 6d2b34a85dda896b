"""Late readings on the real Kafka and the real ClickHouse: settled once, whoever dies on the way, and verified."""

import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ganzhi import settling
from ganzhi.cli.replay import app
from ganzhi.embedded.stack import Stack
from ganzhi.settling import Wish, settle
from replay.kafka_log import KafkaHistory
from replay.table_log import TableHistory
from replay.verify import verify
from schemas.control import SigningKey, settle_record
from schemas.errors import Fenced, KafkaUnavailable, LogError, SignatureError
from schemas.settings import Settings, WorkerSettings
from schemas.topics import ALERTS, LEDGER, METER_READINGS, SETTLED, SETTLEMENTS
from sinks.clickhouse.client import reader
from sinks.clickhouse.progress import lag
from streams.published import append, read_documents
from tests.sinks.clickhouse.world import sink_thread, wait_until
from tests.streams.pipeline import KEY, Feed, Watch, local_worker, publish, until

START = 1_767_225_600_000
QUARTER = 900_000


def squares(feed: Feed, order: list[int], first: int) -> None:
    """Sends readings of e-main in some order: the square of the number of the quarter-hour, in hundreds."""
    for k in order:
        value = feed._batch("gw-e", [("e-main", 100 * (first + k) ** 2)], START + (first + k) * QUARTER)
        append(feed.kafka, METER_READINGS, feed.partition, feed.site, value)


@pytest.fixture
def settings(stack: Stack, kafka: Any, clickhouse: Any) -> Settings:
    """Where this test's log and tables are."""
    return Settings(
        kafka=kafka, clickhouse=clickhouse, worker=WorkerSettings(commit_interval_s=0.1, tick_interval_s=0.5)
    )


@pytest.fixture
def feed(settings: Settings, tmp_path: Path) -> Iterator[Feed]:
    """A worker and a sink at work on the small model."""
    documents = publish(settings.kafka, tmp_path)
    one = Feed(settings.kafka, documents["east"])
    with sink_thread(settings), local_worker(settings) as worker:
        squares(one, [0, 1, 4, 5, 2, 3, 6], 0)
        until(Watch(settings.kafka, one.partition).done(), worker)
        stored(settings, LEDGER)
        yield one


def stored(settings: Settings, topic: str) -> None:
    """Waits until the sink has stored what a topic holds; `tasks` grows as long as a worker lives."""
    wait_until(lambda: not lag(settings, (topic,)), f"{topic} stored")


def usage(settings: Settings, number: int) -> list[tuple[int, int, int]]:
    """(quarter-hour, what the ledger says, what of it is not measured) as stored."""
    client = reader(settings.clickhouse)
    rows = client.query(
        "SELECT intDiv(toUnixTimestamp64Milli(to_ts), 900000), sum(quantity), sumIf(quantity, how != 'measured') FROM ledger"
        f" WHERE site = 'east' AND point = {number} GROUP BY 1 ORDER BY 1"
    ).result_rows
    client.close()
    return [(int(at) - START // QUARTER, int(total), int(rest)) for at, total, rest in rows]


def squares_until(settings: Settings, number: int, last: int) -> None:
    """Waits until the ledger holds the quarter-hours of `squares`, all of them measured."""
    wanted = [(k, 100 * (2 * k - 1), 0) for k in range(1, last + 1)]
    wait_until(lambda: usage(settings, number) == wanted, f"{wanted} in the ledger")


def test_late_readings(settings: Settings, feed: Feed) -> None:
    """From late readings to a ledger that says what happened, quarter-hour by quarter-hour; then nothing more to do."""
    number = feed.numbers["e-main"]
    before = usage(settings, number)
    assert [rest for _, _, rest in before if rest] == [500, 500, 500]
    shown = settle(settings.kafka, Wish(site="east", dry_run=True), None)
    assert [(one.sequence, one.points, one.ledger_rows) for one in shown] == [(0, 1, 6)]
    assert shown[0].changes == {"electricity": (0, 1500)}
    assert usage(settings, number) == before
    done = settle(settings.kafka, Wish(reason="test"), KEY)
    east = next(one for one in done if one.site == "east")
    assert dataclasses.replace(east, sequence=0) == shown[0]
    assert east.sequence == 1
    squares_until(settings, number, 6)
    assert all(one.sequence == 0 for one in settle(settings.kafka, Wish(), KEY))
    whole = settle(settings.kafka, Wish(start="2020-01-01", end="2030-01-01"), KEY)
    assert {(one.ledger_rows, one.gauge_rows) for one in whole} == {(0, 0)}
    task, table = (SETTLED + METER_READINGS, feed.partition), TableHistory(settings.clickhouse)
    wait_until(lambda: task in table.positions(), "the archive holds the position of the settlement")
    for history in (KafkaHistory(settings.kafka), table):
        found = verify(history)
        assert found.identical
        assert task in {one.task for one in found.tasks}


def test_who_died_is_followed_up(settings: Settings, feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A settlement whose process died before or after its transaction is published once, by the next one."""
    number = feed.numbers["e-main"]
    append(settings.kafka, METER_READINGS, feed.partition, "east", settle_record("east", 1, 0, 1 << 50, "died", KEY))
    assert usage(settings, number)[1][2] == 500
    settle(settings.kafka, Wish(), KEY)
    squares_until(settings, number, 6)
    squares(feed, [2, 1, 3], 6)

    class Dying(settling.TaskProducer):
        """Dies after its transaction was committed."""

        def commit(self, commit: Any) -> None:
            super().commit(commit)
            raise KafkaUnavailable("nobody", "after the commit")

    with monkeypatch.context() as patch:
        patch.setattr(settling, "TaskProducer", Dying)
        with pytest.raises(KafkaUnavailable):
            settle(settings.kafka, Wish(), KEY)
    assert all(one.ledger_rows == 0 for one in settle(settings.kafka, Wish(), KEY))
    squares_until(settings, number, 9)
    assert verify(KafkaHistory(settings.kafka)).identical


def test_a_second_one_fences_the_first(settings: Settings, feed: Feed) -> None:
    """Who was overtaken publishes nothing: its transaction is refused."""
    with settling._opened(settings.kafka, feed.partition, False, lambda *_: None) as slow:
        assert settle(settings.kafka, Wish(site="east"), KEY)[0].ledger_rows == 6
        squares(feed, [2, 1], 6)
        slow._advance(slow._end())
        with pytest.raises((Fenced, LogError)):
            slow.site("east", read_documents(settings.kafka)["east"], Wish(), KEY)
    settle(settings.kafka, Wish(), KEY)
    squares_until(settings, feed.numbers["e-main"], 8)
    assert verify(KafkaHistory(settings.kafka)).identical


def episodes(settings: Settings, source: str = "episodes") -> list[tuple[float, int, str]]:
    """(seconds that it lasted, what it wasted, cause) as stored."""
    client = reader(settings.clickhouse)
    rows = client.query(f"SELECT ended_at - started_at, quantity, cause FROM {source} WHERE site = 'east'").result_rows
    alerts = client.query("SELECT state, since - started_at FROM alerts WHERE site = 'east'").result_rows
    client.close()
    assert [(state, float(seconds)) for state, seconds in alerts] == [("resolved", 40.0)]
    return [(float(seconds), int(quantity), str(cause)) for seconds, quantity, cause in rows]


def test_an_episode_becomes_shorter(settings: Settings, feed: Feed) -> None:
    """A light was off after ten seconds, not after forty: the episode is mended, the alert stays what people saw."""
    began = int(time.time() * 1000) - 60_000
    for at, light in ((0, 400_000), (40, 0)):
        value = feed._batch("gw-e2", [("e-people", 0), ("e-light", light)], began + 1000 * at)
        append(settings.kafka, METER_READINGS, feed.partition, "east", value)
    end = append(
        settings.kafka, METER_READINGS, feed.partition, "east",
        feed._batch("gw-e2", [("e-light", 0)], began + 10_000),
    )  # fmt: skip
    wait_until(lambda: Watch(settings.kafka, feed.partition).position > end, "the worker has read it")
    stored(settings, ALERTS)
    assert episodes(settings) == [(40.0, 4, "alert")]
    told = list(KafkaHistory(settings.kafka).published((METER_READINGS, feed.partition), "alerts"))
    shown = settle(settings.kafka, Wish(site="east", dry_run=True), None)
    assert shown[0].episodes == 2
    settle(settings.kafka, Wish(site="east"), KEY)
    wait_until(lambda: episodes(settings) == [(10.0, 1, "settlement")], "the mended episode")
    client = reader(settings.clickhouse)
    ((known_at,),) = client.query("SELECT min(known_at) - toIntervalMillisecond(1) FROM episode_changes").result_rows
    client.close()
    assert episodes(settings, f"episodes_as_of(as_of = '{known_at:%Y-%m-%d %H:%M:%S.%f}')") == [(40.0, 4, "alert")]
    whole = settle(settings.kafka, Wish(start="2020-01-01", end="2030-01-01"), KEY)
    assert {(one.ledger_rows, one.episodes) for one in whole} == {(0, 0)}
    assert list(KafkaHistory(settings.kafka).published((METER_READINGS, feed.partition), "alerts")) == told
    task, table = (SETTLED + METER_READINGS, feed.partition), TableHistory(settings.clickhouse)
    wait_until(lambda: task in table.positions(), "the archive holds the position of the settlement")
    stored(settings, SETTLEMENTS)
    assert all(verify(history).identical for history in (KafkaHistory(settings.kafka), table))


def test_the_command(settings: Settings, feed: Feed) -> None:
    """A stranger's key is refused, an unknown site is told, a dry run writes nothing."""
    with pytest.raises(SignatureError):
        settle(settings.kafka, Wish(), SigningKey.of(bytes(32)))
    with pytest.raises(LogError, match="nowhere"):
        settle(settings.kafka, Wish(site="nowhere"), KEY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANZHI_KAFKA__BOOTSTRAP", settings.kafka.bootstrap)
        patch.setenv("GANZHI_KAFKA__PREFIX", settings.kafka.prefix)
        told = CliRunner().invoke(app, ["replay", "settle", "--dry-run", "--json", "--site", "east"])
        shown = CliRunner().invoke(app, ["replay", "settle", "--dry-run"])
    assert told.exit_code == shown.exit_code == 0, told.output + shown.output
    assert json.loads(told.stdout)[0]["ledger_rows"] == 6
    assert "east" in shown.stdout
