"""Histories to replay: one that real workers and a real sink made, and copies of it in which something is altered."""

import dataclasses
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import clickhouse_connect
from confluent_kafka.admin import AdminClient

from ganzhi.embedded.stack import Stack
from replay.log import Task
from schemas.settings import KafkaSettings, Settings, WorkerSettings
from schemas.topics import CONFIG, INPUTS, METER_READINGS, OUTPUTS, TASKS, TOPICS, topic_name
from streams.kafka_admin import create_missing
from tests.sinks.clickhouse.world import sink_thread, wait_drained
from tests.streams.log import messages_of, producer
from tests.streams.pipeline import Feed, Watch, local_worker, publish, until

MESSAGES: Final = 300
LIMIT_S: Final = 60.0
Alter = Callable[[str, int, int, bytes | None, bytes | None], bytes | None]
"""(topic, partition, number of the message, key, value) → the value that takes its place."""


@dataclasses.dataclass(frozen=True)
class Made:
    """A finished run.

    Attributes:
        settings: where its log and its tables are.
        task: the one that has most of the work.
    """

    settings: Settings
    task: Task

    @contextmanager
    def environment(self) -> Iterator[None]:
        """What leads commands to it."""
        kafka, house = self.settings.kafka, self.settings.clickhouse
        names = {
            "GANZHI_KAFKA__BOOTSTRAP": kafka.bootstrap,
            "GANZHI_KAFKA__PREFIX": kafka.prefix,
            "GANZHI_CLICKHOUSE__PORT": str(house.port),
            "GANZHI_CLICKHOUSE__DATABASE": house.database,
            "GANZHI_CLICKHOUSE__READER_PASSWORD": house.reader_password.get_secret_value(),
        }
        os.environ.update(names)
        try:
            yield
        finally:
            for name in names:
                del os.environ[name]

    def writer(self) -> Any:
        """A client that may alter what is stored."""
        house = self.settings.clickhouse
        return clickhouse_connect.get_client(
            host=house.host,
            port=house.port,
            username=house.writer_user,
            password=house.writer_password.get_secret_value(),
            database=house.database,
            autogenerate_session_id=False,
        )


@contextmanager
def made(stack: Stack, folder: Path) -> Iterator[Made]:
    """A worker and a sink work through two sites' readings, some of them rubbish; both have ended."""
    name = f"t{uuid.uuid4().hex[:12]}"
    settings = Settings(
        kafka=stack.kafka_settings.model_copy(update={"prefix": f"{name}."}),
        clickhouse=stack.clickhouse_settings.model_copy(update={"database": name}),
        worker=WorkerSettings(commit_interval_s=0.1, tick_interval_s=0.5),
    )
    kafka = settings.kafka
    documents = publish(kafka, folder)
    feed = Feed(kafka, documents["east"])
    watch = Watch(kafka, feed.partition)
    with sink_thread(settings):
        with local_worker(settings) as worker:
            for _ in range(3):
                feed.send(MESSAGES // 3)
                one = producer(kafka)
                one.produce(topic_name(kafka, METER_READINGS), b"rubbish", b"east", feed.partition)
                assert one.flush(LIMIT_S) == 0
                until(watch.done(), worker)
        wait_drained(settings)
    yield Made(settings, (METER_READINGS, feed.partition))
    forget(kafka)
    client = Made(settings, (METER_READINGS, 0)).writer()
    client.command(f"DROP DATABASE {name} SYNC")
    client.close()


def copied(kafka: KafkaSettings, only: int, alter: Alter) -> KafkaSettings:
    """A copy of one partition of a log and of `config` under another prefix, but for what is altered.

    Messages have the same offsets and times.
    """
    copy = kafka.model_copy(update={"prefix": f"t{uuid.uuid4().hex[:12]}."})
    names = (CONFIG, *INPUTS, *OUTPUTS, TASKS)
    as_sent = {"message.timestamp.type": "CreateTime"}
    create_missing(copy, [dataclasses.replace(t, config={**t.config, **as_sent}) for t in TOPICS if t.name in names])
    one = producer(copy)
    for name in names:
        for partition in (0 if name == CONFIG else only,):
            for number, (_, time_ms, key, value) in enumerate(messages_of(kafka, topic_name(kafka, name), partition)):
                new = alter(name, partition, number, key, value)
                one.produce(topic_name(copy, name), new, key, partition, timestamp=time_ms)
                one.poll(0)
    assert one.flush(LIMIT_S) == 0
    return copy


def forget(kafka: KafkaSettings) -> None:
    """Deletes all topics of a prefix."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    topics = [topic for topic in admin.list_topics(timeout=LIMIT_S).topics if topic.startswith(kafka.prefix)]
    for deleted in admin.delete_topics(topics).values():
        deleted.result(LIMIT_S)
