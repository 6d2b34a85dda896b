"""The real Kafka and the real ClickHouse: one stack a session, own names a test, and own stacks to break."""

# The libraries of the stack are imported in the fixtures: tests of pure functions start without them.
from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import ganzhi  # noqa: F401 - chooses the folder of compiled kernels, before anything compiles one
from schemas.settings import ClickHouseSettings, KafkaSettings

if TYPE_CHECKING:
    from ganzhi.embedded.stack import Stack

ADMIN_TIMEOUT_S = 20.0


LONGEST_FIRST = (
    "test_same_rows",
    "test_run",
    "test_totals",
    "test_bad_input",
    "test_late_swap",
    "test_outage",
    "test_sink",
    "test_worker",
)
"""Modules that take most of the time: two processes share the files, and a long one at the end would keep one idle."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests by the fixtures that they ask for, so that `-m "not kafka"` means what it says; the longest come first."""
    places = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))
    for item in items:
        asked = set(item.fixturenames) if isinstance(item, pytest.Function) else set()
        for fixture in ("kafka", "clickhouse"):
            if fixture in asked:
                item.add_marker(fixture)
        if "own_stack" in asked or ("stack" in asked and not asked & {"kafka", "clickhouse"}):
            item.add_marker("kafka")
            item.add_marker("clickhouse")


@pytest.fixture(scope="session", autouse=True)
def data_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data home of the session's own, and no settings from the user's environment; the user's cache stays in use."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("GANZHI_")]:
            patch.delenv(name)
        home = tmp_path_factory.mktemp("data")
        patch.setenv("XDG_DATA_HOME", str(home))
        yield home


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The stack that the tests of a session share; never stop, kill or wipe it: `own_stack` is for that."""
    from ganzhi.embedded.stack import Stack

    with Stack("shared", ports="free") as running:
        yield running


@pytest.fixture
def kafka(stack: Stack) -> Iterator[KafkaSettings]:
    """Kafka with a prefix of this test's own; its topics are deleted afterwards."""
    from confluent_kafka.admin import AdminClient

    settings = stack.kafka_settings.model_copy(update={"prefix": f"t{uuid.uuid4().hex[:12]}."})
    yield settings
    admin = AdminClient({"bootstrap.servers": settings.bootstrap})
    topics = [topic for topic in admin.list_topics(timeout=ADMIN_TIMEOUT_S).topics if topic.startswith(settings.prefix)]
    for deleted in (admin.delete_topics(topics) if topics else {}).values():
        deleted.result(ADMIN_TIMEOUT_S)


@pytest.fixture
def clickhouse(stack: Stack) -> Iterator[ClickHouseSettings]:
    """ClickHouse with a database of this test's own, empty; it is dropped afterwards."""
    import clickhouse_connect

    settings = stack.clickhouse_settings.model_copy(update={"database": f"t{uuid.uuid4().hex[:12]}"})
    client = clickhouse_connect.get_client(
        host=settings.host,
        port=settings.port,
        username=settings.writer_user,
        password=settings.writer_password.get_secret_value(),
        autogenerate_session_id=False,
    )
    client.command(f"CREATE DATABASE {settings.database}")
    yield settings
    client.command(f"DROP DATABASE {settings.database} SYNC")
    client.close()


@pytest.fixture
def own_stack() -> Iterator[Callable[..., Stack]]:
    """Makes stacks of this test's own, to stop, kill and start again: `own_stack()`, arguments as those of Stack.

    They are returned started, on free ports and a profile of their own unless told otherwise, and killed afterwards.
    """
    from ganzhi.embedded.stack import Stack

    made: list[Stack] = []

    def make(profile: str | None = None, **options: object) -> Stack:
        one = Stack(profile or f"own-{uuid.uuid4().hex[:12]}", **{"ports": "free", **options})  # type: ignore[arg-type]
        made.append(one)
        one.start()
        return one

    yield make
    for one in made:
        one.kill()
