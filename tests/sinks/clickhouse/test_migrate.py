"""Migrations are applied once, in order, and never changed."""

import dataclasses
import re

import pytest

from schemas.errors import ClickHouseRefused, SinkError
from schemas.model.tables import TABLES
from schemas.settings import ClickHouseSettings
from schemas.units import MEDIA, UNITS
from sinks.clickhouse import model_rows
from sinks.clickhouse.client import reader, writer
from sinks.clickhouse.migrate import Migration, applied, migrate, migrations


def test_applied_once(clickhouse: ClickHouseSettings) -> None:
    """The first call applies all, the second none, and the database says what it has."""
    names = [migration.name for migration in migrations()]
    assert migrate(clickhouse) == names
    assert migrate(clickhouse) == []
    client = writer(clickhouse)
    assert [name for _, (name, _) in sorted(applied(client).items())] == names


def test_interrupted_file_is_run_again(clickhouse: ClickHouseSettings) -> None:
    """A file whose second statement failed is run again from its start, and its first statement does no harm."""
    first = "CREATE TABLE IF NOT EXISTS a (x UInt8) ENGINE = MergeTree ORDER BY x"
    with pytest.raises(ClickHouseRefused):
        migrate(clickhouse, [Migration(1, "0001_a.sql", f"{first};\nCREATE NONSENSE;")])
    assert migrate(clickhouse, [Migration(1, "0001_a.sql", f"{first};")]) == ["0001_a.sql"]


def test_changed_file_is_refused(clickhouse: ClickHouseSettings) -> None:
    """An applied file that was changed, by as much as a blank, is refused by name, and nothing is applied behind it."""
    files = migrations()
    migrate(clickhouse, files[:2])
    changed = dataclasses.replace(files[1], text=files[1].text + " ")
    with pytest.raises(SinkError, match=r"0002_model\.sql was changed"):
        migrate(clickhouse, [files[0], changed, *files[2:]])
    assert len(applied(writer(clickhouse))) == 2


def test_newer_database_is_refused(clickhouse: ClickHouseSettings) -> None:
    """A database of a newer release is not touched by an older one."""
    files = migrations()
    migrate(clickhouse, files[:2])
    with pytest.raises(SinkError, match="newer"):
        migrate(clickhouse, files[:1])


@pytest.mark.parametrize("migration", migrations(), ids=lambda migration: migration.name)
def test_every_statement_can_be_repeated(migration: Migration) -> None:
    """There is no transactional DDL, so no statement may fail or double when it is run twice."""
    for statement in migration.statements():
        made = r"CREATE (OR REPLACE VIEW|(TABLE|MATERIALIZED VIEW) IF NOT EXISTS) "
        changed = r"ALTER TABLE \w+ (ADD COLUMN IF NOT EXISTS|MODIFY COLUMN) "
        assert re.match(f"{made}|{changed}", statement), statement[:80]


def test_every_table_can_tell_a_repeat(clickhouse: ClickHouseSettings) -> None:
    """Every table has the deduplication window, and what is answered is on the disk: else exactly once is a hope."""
    migrate(clickhouse)
    query = (
        "SELECT name, create_table_query FROM system.tables"
        " WHERE database = currentDatabase() AND engine LIKE '%MergeTree' AND name != 'migrations'"
    )
    rows = writer(clickhouse).query(query).result_rows
    assert len(rows) > 40
    for name, text in rows:
        for setting in (
            "non_replicated_deduplication_window = 10000",
            "fsync_after_insert = 1",
            "fsync_part_directory = 1",
        ):
            assert setting in text, name


def test_model_tables_have_the_columns_of_the_model(clickhouse: ClickHouseSettings) -> None:
    """Every table and column of a site model is in ClickHouse under its name."""
    migrate(clickhouse)
    rows = (
        writer(clickhouse)
        .query("SELECT table, name FROM system.columns WHERE database = currentDatabase() ORDER BY table, position")
        .result_rows
    )
    for table in TABLES:
        names = [name for of, name in rows if of == f"model_{table}"]
        assert names == ["document", "model_site", "row", *(name for name, _ in model_rows.columns_of(table))], table


def test_units_and_media_are_those_of_the_contracts(clickhouse: ClickHouseSettings) -> None:
    """The units and media in the database are those in schemas/, to the number."""
    migrate(clickhouse)
    client = reader(clickhouse)
    units = client.query("SELECT unit, dimension, numerator, denominator FROM units").result_rows
    assert {row[0]: row[1:] for row in units} == {
        u.name: (u.dimension, u.ratio.numerator, u.ratio.denominator) for u in UNITS.values()
    }
    media = client.query("SELECT medium, price_unit FROM media").result_rows
    assert dict(media) == {m.name: m.price_unit for m in MEDIA.values()}
