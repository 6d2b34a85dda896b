"""How long a page of the console takes with 10,000 rooms and 1,000 open alerts, asked for over HTTP as a browser does.

Every page is asked for of one process that has just read the log: the first answer (nothing is kept yet) and
the median of those after it. The CPU-seconds are those of the console and of ClickHouse for one page after the first.
"""

import http
import statistics
import time
from collections.abc import Mapping
from typing import Final

from ganzhi.bench import campus
from ganzhi.bench.figure import Bench, Options, Promise, Row
from ganzhi.bench.rig import Rig
from ganzhi.bench.screen_end import Visitor

ROOMS: Final = 10_000
ALERTS: Final = 1_000
ASKED: Final = 9
PAUSE_S: Final = 2.2
"""Between two questions, longer than the console keeps an answer of ClickHouse for pages that are live."""
ROOM: Final = campus.room_name(0, ROOMS)
PAGES: Final[Mapping[str, str]] = {
    "now": "/",
    "now, the list": "/now/list",
    "now, a search": "/?text=B03",
    "buildings": "/buildings",
    "floor": f"/floor?site={campus.SITE}&building={ROOM[:3]}&floor={ROOM.rpartition('-')[0]}",
    "alert": f"/alert?site={campus.SITE}&rule={campus.RULE}&subject={ROOM}&episode=1",
    "space": f"/space?site={campus.SITE}&id={ROOM}",
    "point": f"/point?site={campus.SITE}&id={ROOM}.light",
    "usage": "/usage",
    "usage, export of rooms": "/export/usage.csv?by=room&medium=electricity",
    "waste": "/waste",
    "vehicles": "/vehicles",
    "system": "/system",
    "users": "/users",
    "audit": "/audit",
    "api": "/api",
    "alerts, export": "/export/alerts.csv",
}


def run(options: Options) -> list[Row]:
    """One row a page; a page that is not answered with 200 is wrong."""
    with Rig(options.report) as rig:
        campus.publish(rig, ROOMS)
        campus.fire(rig, ROOMS, ALERTS)
        campus.use(rig, campus.points_of(ROOMS))
        with Visitor(rig) as visitor:
            visitor.wait_for(ALERTS)
            rows = [_measure(rig, visitor, name, path) for name, path in PAGES.items()]
    return rows


def _measure(rig: Rig, visitor: Visitor, name: str, path: str) -> Row:
    first = visitor.ask(path)
    before = rig.cpu_s()
    after = []
    for _ in range(ASKED):
        time.sleep(PAUSE_S)
        after.append(visitor.ask(path))
    spent = rig.cpu_s()
    figures = {
        "first_ms": round(first.ms),
        "median_ms": round(statistics.median(one.ms for one in after)),
        "worst_ms": round(max(one.ms for one in after)),
        "console_cpu_ms": round((spent["console"] - before["console"]) / ASKED * 1000),
        "clickhouse_cpu_ms": round((spent["clickhouse"] - before["clickhouse"]) / ASKED * 1000),
        "kilobytes": round(first.size / 1000),
    }
    return Row(all(one.status == http.HTTPStatus.OK for one in (first, *after)), figures=figures, labels={"page": name})


BENCH: Final = Bench(
    "pages",
    "pages of the console with 10,000 rooms and 1,000 open alerts",
    [Promise("first_ms", "most", 1000), Promise("worst_ms", "most", 1000)],
    run,
)
