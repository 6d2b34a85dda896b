"""Usage by hour held against the ledger that it is made of, and made anew from it.

A materialized view fills `usage_store` with each insert into `ledger`. A server that is killed between the two leaves
the second to the repeat of the insert; where that comes so late that the block's token cannot be trusted any more, the
sink asks what is there, and the answer is of the ledger alone. What lacks then is found here.
"""

import dataclasses
import time
from collections.abc import Sequence
from typing import Final

from schemas.settings import ClickHouseSettings
from sinks.clickhouse.client import reader, translating, writer

LOOKS: Final = 3
LOOK_S: Final = 2.0
"""An insert that is under way is in the ledger a moment before it is in the usage."""

HOUR: Final = "toStartOfHour(to_ts - toIntervalMillisecond(1))"
"""As in `tables/0004_usage.sql`: a row counts in the hour that it ends in."""

_DIFFERENCES: Final = f"""
SELECT month, sum(q) AS quantity, sum(n) AS rows FROM
(
    SELECT toYYYYMM({HOUR}) AS month, sum(l.quantity) AS q, toInt64(count()) AS n FROM ledger AS l GROUP BY month
    UNION ALL
    SELECT toYYYYMM(hour) AS month, -sum(u.quantity) AS q, -toInt64(sum(u.ledger_rows)) AS n
    FROM usage_store AS u GROUP BY month
)
GROUP BY month HAVING quantity != 0 OR rows != 0 ORDER BY month
"""
_ANEW: Final = f"""
INSERT INTO usage_store SELECT site, point, toDateTime({HOUR}, 'UTC') AS hour, sum(l.quantity),
    sumIf(l.quantity, how != 'measured'), toUInt64(count())
FROM ledger AS l WHERE toYYYYMM({HOUR}) = {{month:UInt32}} GROUP BY site, point, hour SETTINGS insert_deduplicate = 0
"""


@dataclasses.dataclass(frozen=True)
class Lacking:
    """A month whose usage is not that of its ledger.

    Attributes:
        month: yyyymm, in UTC.
        quantity: what lacks; negative: what is too much; over points of every unit, so a sign of something only.
        rows: how many rows of the ledger lack.
    """

    month: int
    quantity: int
    rows: int


def lacking(settings: ClickHouseSettings) -> list[Lacking]:
    """The months that differ, each time that it is looked at in a few seconds.

    Raises:
        ClickHouseUnavailable: nobody answers.
        ClickHouseRefused: the server does not take the query.
    """
    client = reader(settings)
    try:
        found: dict[int, Lacking] = {}
        for look in range(LOOKS):
            with translating(settings):
                rows = client.query(_DIFFERENCES).result_rows
            now = {int(month): Lacking(int(month), int(quantity), int(count)) for month, quantity, count in rows}
            found = {month: one for month, one in now.items() if look == 0 or month in found}
            if not found:
                break
            if look + 1 < LOOKS:
                time.sleep(LOOK_S)
        return list(found.values())
    finally:
        client.close()


def make_anew(settings: ClickHouseSettings, months: Sequence[int]) -> None:
    """Makes the usage of months from the ledger. No sink may write meanwhile.

    Raises:
        ClickHouseUnavailable: nobody answers; doing it again is right.
        ClickHouseRefused: the server does not take it.
    """
    client = writer(settings)
    try:
        for month in months:
            with translating(settings):
                client.command(f"ALTER TABLE usage_store DROP PARTITION {int(month)}")
                client.command(_ANEW, parameters={"month": int(month)})
    finally:
        client.close()
