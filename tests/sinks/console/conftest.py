"""One console for all tests of this folder that one process runs: making topics, tables and a model takes seconds."""

from collections.abc import Iterator

import clickhouse_connect
import pytest
from confluent_kafka.admin import AdminClient
from starlette.testclient import TestClient

from sinks.console.app import create_app
from tests.sinks.console.world import World, build, readings, settle


@pytest.fixture(scope="session")
def world(stack: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The console, current, with readings in ClickHouse."""
    settings = settle(stack, tmp_path_factory.mktemp("console"))
    parts = build(settings)
    with TestClient(create_app(parts), base_url="http://localhost:18080", follow_redirects=False) as client:
        assert parts.live.wait_current(60)
        made = World(parts, client, settings)
        readings(made)
        yield made
    parts.store.close()
    admin = AdminClient({"bootstrap.servers": settings.kafka.bootstrap})
    names = [name for name in admin.list_topics(timeout=30).topics if name.startswith(settings.kafka.prefix)]
    for deleted in admin.delete_topics(names).values():
        deleted.result(30)
    house = settings.clickhouse
    dropping = clickhouse_connect.get_client(
        host=house.host, port=house.port, username=house.writer_user, password=house.writer_password.get_secret_value()
    )
    dropping.command(f"DROP DATABASE {house.database} SYNC")
    dropping.close()
