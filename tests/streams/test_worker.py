"""Workers on the real Kafka: what is published is what the log says, whatever happens to them."""

import dataclasses
import signal
import uuid
from pathlib import Path

import pytest

from schemas import codec
from schemas.control import config_record
from schemas.settings import KafkaSettings
from schemas.topics import METER_READINGS, WASTE_EVENTS, topic_name
from tests.streams.log import messages_of, producer
from tests.streams.pipeline import (
    KEY,
    Feed,
    Watch,
    local_worker,
    publish,
    remote_worker,
    settings_of,
    until,
)


def test_rows_and_heads_are_those_of_the_log(kafka: KafkaSettings, tmp_path: Path) -> None:
    """Rows have neither holes nor repeats and equal those of a processor alone; a clean stop leaves nothing to do."""
    documents = publish(kafka, tmp_path)
    feed = Feed(kafka, documents["east"])
    watch = Watch(kafka, feed.partition)
    feed.send(500)
    with local_worker(settings_of(kafka)) as one:
        until(watch.done(), one)
        for _ in range(5):
            feed.send(40)
            until(watch.done(), one)
    rows = watch.exact()
    assert len(rows["ledger"]) > 1000
    assert len(rows["alerts"]) > 50
    count = len(watch.records)
    with local_worker(settings_of(kafka, tick_interval_s=60)) as one:
        feed.send(1)
        until(watch.done(), one)
    watch.exact()
    assert len(watch.records) == count + 1


def test_kill_and_restart(kafka: KafkaSettings, tmp_path: Path) -> None:
    """A worker that is killed -9 in the middle of its work, three times, loses and doubles nothing."""
    documents = publish(kafka, tmp_path)
    feed = Feed(kafka, documents["east"])
    watch = Watch(kafka, feed.partition)
    settings = settings_of(kafka, session_timeout_s=6, instance="one")
    feed.send(200)
    for _ in range(3):
        with remote_worker(settings, tmp_path / "log") as one:
            before = watch.position
            feed.send(400)
            until(lambda before=before: watch.position > before + 50, one)
            feed.send(400, flush=False)
            one.signal(signal.SIGKILL)
            one.process.wait()
    feed.send(10)
    with local_worker(settings) as last:
        until(watch.done(), last)
    assert len(watch.exact()["alerts"]) > 100


def test_a_zombie_is_fenced(kafka: KafkaSettings, tmp_path: Path) -> None:
    """A worker that sleeps past its session, while another takes over, cannot publish when it wakes; then it helps."""
    documents = publish(kafka, tmp_path)
    feed = Feed(kafka, documents["east"])
    watch = Watch(kafka, feed.partition)
    settings = settings_of(kafka, session_timeout_s=6, commit_interval_s=5.0)
    feed.send(100)
    with remote_worker(settings, tmp_path / "log") as sleeper:
        until(lambda: watch.position > 0, sleeper)
        feed.send(8)  # no alert among them: applied and not committed
        sleeper.signal(signal.SIGSTOP)
        with local_worker(settings_of(kafka, session_timeout_s=6)) as other:
            until(watch.done(), other)
            feed.send(100)
            until(watch.done(), other)
            sleeper.signal(signal.SIGCONT)
            feed.send(100)
            until(watch.done(), other, sleeper)
            until(lambda: sleeper.log.read_text().count(": opened") >= 12 + 4, sleeper, other)
            feed.send(100)
            until(watch.done(), other, sleeper)
        assert "fenced by a newer instance" in sleeper.log.read_text()
    watch.exact()


def test_workers_share_partitions(kafka: KafkaSettings, tmp_path: Path) -> None:
    """While a second worker joins and leaves, both sites stay exact."""
    documents = publish(kafka, tmp_path)
    east = Feed(kafka, documents["east"])
    watch = Watch(kafka, east.partition)
    other = Watch(kafka, documents["west"].partition)
    east.send(300)
    with local_worker(settings_of(kafka)) as one:
        until(watch.done(), one)
        with remote_worker(settings_of(kafka), tmp_path / "log") as two:
            while two.log.read_text().count(": opened") < 4:
                east.send(20)
                until(watch.done(), one, two)
            east.send(100)
            until(watch.done(), one, two)
            until(other.done(), one, two)
            two.signal(signal.SIGTERM)
            two.process.wait(30)
            assert two.process.returncode == 0
        east.send(100)
        until(watch.done(), one)
    watch.exact()
    other.exact()


def test_a_static_member_restarts_alone(kafka: KafkaSettings, tmp_path: Path) -> None:
    """A killed worker that comes back under its name gets its partitions; the other one is not disturbed."""
    documents = publish(kafka, tmp_path)
    east = Feed(kafka, documents["east"])
    watch = Watch(kafka, east.partition)
    with (
        remote_worker(settings_of(kafka, instance="a", session_timeout_s=30), tmp_path / "a") as one,
        remote_worker(settings_of(kafka, instance="b", session_timeout_s=30), tmp_path / "b") as two,
    ):
        until(lambda: min(w.log.read_text().count(": opened") for w in (one, two)) >= 6, one, two)
        east.send(100)
        until(watch.done(), one, two)
        opened = two.log.read_text().count(": opened")
        one.signal(signal.SIGKILL)
        one.process.wait()
        east.send(100)
        with remote_worker(settings_of(kafka, instance="a", session_timeout_s=30), tmp_path / "c") as again:
            until(lambda: again.log.read_text().count(": opened") == 6, again, two)
            until(watch.done(), again, two)
        assert two.log.read_text().count(": opened") == opened
    watch.exact()


def test_time_passes_in_quiet_partitions(kafka: KafkaSettings, tmp_path: Path) -> None:
    """Partitions with a live site get ticks and commits without any reading; partitions without a site get none."""
    documents = publish(kafka, tmp_path)
    partition = documents["east"].partition
    watch = Watch(kafka, partition)
    with local_worker(settings_of(kafka, tick_interval_s=0.2)) as one:
        until(lambda: watch.position > 0, one)
        first = watch.records[-1]
        until(lambda: watch.position >= first["position"] + 5, one)
        assert watch.records[-1]["clock_ms"] > first["clock_ms"]
    stopped_at = watch.position
    with local_worker(
        settings_of(kafka, tick_interval_s=0.2)
    ) as one:  # nothing to replay, and time passes all the same
        until(lambda: watch.position >= stopped_at + 2, one)
    empty = next(i for i in range(kafka.partitions) if i not in {d.partition for d in documents.values()})
    assert messages_of(kafka, topic_name(kafka, METER_READINGS), empty) == []
    ticks = [m[3] for m in messages_of(kafka, topic_name(kafka, WASTE_EVENTS), partition)]
    assert [codec.contract_of(value or b"") for value in ticks[:2]] == ["config_record", "tick"]


def test_a_missing_document_is_waited_for(kafka: KafkaSettings, tmp_path: Path) -> None:
    """A task whose document is not published yet waits; another task of the same topic goes on meanwhile."""
    documents = publish(kafka, tmp_path)
    east, west = Feed(kafka, documents["east"]), documents["west"].partition
    document = documents["west"]
    # one that no other test run has left in the user's cache
    later = dataclasses.replace(document, keys={**document.keys, uuid.uuid4().hex[:16]: KEY.public})
    watch, other = Watch(kafka, east.partition), Watch(kafka, west)
    one = producer(kafka)
    record = config_record("west", 2, document.sha256, later.sha256, KEY)
    one.produce(topic_name(kafka, METER_READINGS), record, b"west", west)
    one.flush()
    blocked_at = other.end() - 1
    with local_worker(settings_of(kafka, tick_interval_s=60)) as running:
        for _ in range(8):  # more than the slabs that may wait
            one.produce(topic_name(kafka, METER_READINGS), b"no contract", b"west", west)
            one.flush()
            east.send(20)
            until(watch.done(), running)
        assert other.position <= blocked_at
        one.produce(topic_name(kafka, "config"), later.raw, later.sha256.hex().encode())
        one.flush()
        until(other.done(), running)
    watch.exact()
    assert len(other.exact()["rejected"]) == 8


@pytest.mark.timeout(120)
def test_a_broker_restart(own_stack, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """While the broker is killed and started again, a worker waits, goes on, and nothing is lost or doubled."""
    stack = own_stack()
    kafka = stack.kafka_settings
    documents = publish(kafka, tmp_path)
    feed = Feed(kafka, documents["east"])
    watch = Watch(kafka, feed.partition)
    with local_worker(settings_of(kafka)) as one:
        feed.send(300)
        until(watch.done(), one)
        feed.send(200, flush=False)
        stack.kafka.kill()
        stack.kafka.start()
        stack.kafka.wait_ready()
        feed.send(200)
        until(watch.done(), one)
    watch.exact()
