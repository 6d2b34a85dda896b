"""Migrations: the numbered files of `tables/`, applied in order, each once, and never changed afterwards.

ClickHouse has no transactional DDL: a file that was cut short is run again from its start, so every statement
in it can be repeated (`IF NOT EXISTS`, `OR REPLACE`). What was applied is in the table `migrations`, with the
sha256 of the file.
"""

import dataclasses
import hashlib
import re
from collections.abc import Sequence
from importlib import resources
from typing import Final

from clickhouse_connect.driver.client import Client

from schemas.errors import SinkError
from schemas.settings import ClickHouseSettings
from sinks.clickhouse.client import translating, writer

_NAME: Final = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_DATABASE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,100}")
_STATEMENT: Final = re.compile(r"(?:'(?:[^'\\]|\\.|'')*'|`[^`]*`|--[^\n]*|[^;])+", re.DOTALL)
_COMMENT: Final = re.compile(r"^\s*--[^\n]*\n?", re.MULTILINE)

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS migrations (number UInt32, name String, sha256 String, applied_at DateTime64(3,
'UTC') DEFAULT now64(3)) ENGINE = ReplacingMergeTree ORDER BY number SETTINGS fsync_after_insert = 1,
fsync_part_directory = 1
"""


@dataclasses.dataclass(frozen=True)
class Migration:
    """One file.

    Attributes:
        number: its place.
        name: of the file.
        text: as it is written.
    """

    number: int
    name: str
    text: str

    @property
    def sha256(self) -> str:
        """Of the text, hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def statements(self) -> list[str]:
        """Its statements without comments before them."""
        found = (_COMMENT.sub("", part).strip() for part in _STATEMENT.findall(self.text))
        return [statement for statement in found if statement]


def migrations() -> list[Migration]:
    """The files of this release, in order.

    Raises:
        SinkError: numbers are missing or twice there.
    """
    found = []
    for file in resources.files("sinks.clickhouse").joinpath("tables").iterdir():
        name = _NAME.fullmatch(file.name)
        if name:
            found.append(Migration(int(name[1]), file.name, file.read_text("utf-8")))
    found.sort(key=lambda migration: migration.number)
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise SinkError(f"migrations are not numbered from 1 without holes: {', '.join(m.name for m in found)}")
    return found


def migrate(settings: ClickHouseSettings, wanted: Sequence[Migration] | None = None) -> list[str]:
    """Creates the database where it is missing, and applies what was not applied yet.

    Several processes may do this at the same time: every statement can be repeated.

    Args:
        settings: where; the writer user needs CREATE.
        wanted: the files, those of this release where it is None.

    Returns:
        Names of the files that were applied now.

    Raises:
        SinkError: an applied file was changed, or the database was made by a newer release.
        ClickHouseUnavailable: nobody answers.
        ClickHouseRefused: a statement was refused.
    """
    if not _DATABASE.fullmatch(settings.database):
        raise SinkError(f"{settings.database!r} cannot be the name of a database: letters, digits and _ only")
    files = migrations() if wanted is None else wanted
    with translating(settings):
        bare = writer(settings, database=False)
        try:
            bare.command(f"CREATE DATABASE IF NOT EXISTS {settings.database}")
        finally:
            bare.close()
        client = writer(settings)
        try:
            client.command(_TABLE)
            return [file.name for file in _missing(client, files) if _apply(client, file)]
        finally:
            client.close()


def applied(client: Client) -> dict[int, tuple[str, str]]:
    """Number → (name, sha256) of what the database has."""
    rows = client.query("SELECT number, any(name), any(sha256) FROM migrations GROUP BY number").result_rows
    return {int(number): (str(name), str(sha256)) for number, name, sha256 in rows}


def _missing(client: Client, files: Sequence[Migration]) -> list[Migration]:
    done = applied(client)
    newer = sorted(set(done) - {file.number for file in files})
    if newer:
        raise SinkError(
            f"the database has migration {done[newer[0]][0]}, which this release does not know: use a newer one"
        )
    for file in files:
        if file.number in done and done[file.number] != (file.name, file.sha256):
            raise SinkError(
                f"migration {file.name} was changed after it was applied (as {done[file.number][0]}):"
                " put the file back as it was and write a further one"
            )
    return [file for file in files if file.number not in done]


def _apply(client: Client, file: Migration) -> bool:
    for statement in file.statements():
        client.command(statement)
    client.insert("migrations", [[file.number, file.name, file.sha256]], column_names=["number", "name", "sha256"])
    return True
