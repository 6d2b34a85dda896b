"""`ganzhi sql`: what a device or a person has called something does nothing in a spreadsheet or on a terminal."""

import csv
import io
import json

import pytest
from typer.testing import CliRunner

from ganzhi.cli.sql import app
from schemas.settings import ClickHouseSettings

RUN = CliRunner()
HOSTILE = (
    "=cmd|'/c calc'!A1", "+1+1", "-2+3", "@SUM(A1)", "\t=1+1", "\r=1", "\n=1", "\0=1", "＝1+1", "＠x", "\u202e=1", " =1",
    "<script>alert(1)</script>", "a\x1b]0;title\x07\x1b[31mred", "abc\u202egnp.exe", 'quo"te, comma\nline',
)  # fmt: skip


@pytest.fixture
def settings(clickhouse: ClickHouseSettings, monkeypatch: pytest.MonkeyPatch) -> ClickHouseSettings:
    """A ClickHouse that the command finds."""
    for name in ("host", "port", "database", "reader_user"):
        monkeypatch.setenv(f"GANZHI_CLICKHOUSE__{name.upper()}", str(getattr(clickhouse, name)))
    monkeypatch.setenv("GANZHI_CLICKHOUSE__READER_PASSWORD", clickhouse.reader_password.get_secret_value())
    monkeypatch.setenv("COLUMNS", "300")
    return clickhouse


def told(*words: str) -> str:
    """What a query of all hostile texts prints; numbers stand beside them."""
    texts = ", ".join(f"unhex('{text.encode().hex()}')" for text in HOSTILE)
    query = f"SELECT arrayJoin(arrayEnumerate([{texts}] AS texts)) AS n, -n AS less, texts[n] AS said, 1 AS `=heading` ORDER BY n"
    result = RUN.invoke(app, [query, *words])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def test_csv_has_no_formula(settings: ClickHouseSettings) -> None:
    """OWASP's list with its full-width forms, also behind what cannot be seen; numbers stay numbers, a row a text."""
    rows = list(csv.reader(io.StringIO(told("--csv"), newline="")))
    assert rows[0] == ["n", "less", "said", "'=heading"]
    assert [row[:2] for row in rows[1:]] == [[str(n), str(-n)] for n in range(1, len(HOSTILE) + 1)]
    for (_, _, said, _), wrong in zip(rows[1:], HOSTILE, strict=True):
        shown = said.lstrip()
        assert shown[:1] not in set("=+-@＝＋－＠"), wrong
        assert not set(said) & set("\x1b\x07\0\u202e"), wrong
    assert rows[-1][2] == HOSTILE[-1]


def test_a_terminal_is_not_spoken_to(settings: ClickHouseSettings) -> None:
    """No control or direction character reaches it; a program gets the texts as they are, one object a line."""
    assert not set(told()) & set("\x1b\x07\0\u202e")
    assert [json.loads(line)["said"] for line in told("--json").splitlines()] == list(HOSTILE)
