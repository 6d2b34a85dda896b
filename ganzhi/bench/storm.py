"""How long *Now* takes while 10,000 alerts come in a minute, over HTTP, as a browser asks that follows changes.

Every second a sixtieth of the storm is written, and the page, its list and one alert are asked for; at the end the page
has counted all of them. CPU-seconds are those of the console for the whole minute, the reading of the storm included.
"""

import http
import statistics
import time
from typing import Final

from ganzhi.bench import campus
from ganzhi.bench.figure import Bench, Options, Promise, Row
from ganzhi.bench.rig import Rig
from ganzhi.bench.screen_end import Answer, Visitor

ROOMS: Final = 10_000
ALERTS: Final = 10_000
SECONDS: Final = 60
PAGES: Final = {
    "now": "/",
    "now, the list": "/now/list",
    "now, critical in one building": f"/now/list?severity=critical&building={campus.SITE}/B03",
    "alert": f"/alert?site={campus.SITE}&rule={campus.RULE}&subject={campus.room_name(0, ROOMS)}&episode=1",
}


def run(options: Options) -> list[Row]:
    """One row a page."""
    with Rig(options.report) as rig:
        campus.publish(rig, ROOMS)
        campus.use(rig, campus.points_of(ROOMS))
        campus.fire(rig, ROOMS, 1)
        with Visitor(rig) as visitor:
            visitor.wait_for(1)
            before_s = rig.cpu_s()["console"]
            asked = _storm(rig, visitor)
            visitor.wait_for(ALERTS)
            spent_s = rig.cpu_s()["console"] - before_s
    return [_row(name, answers, spent_s) for name, answers in asked.items()]


def _storm(rig: Rig, visitor: Visitor) -> dict[str, list[Answer]]:
    asked: dict[str, list[Answer]] = {name: [] for name in PAGES}
    started_s = time.monotonic()
    for second in range(SECONDS):
        # The first alert is there already.
        first, after = (max(1, ALERTS * part // SECONDS) for part in (second, second + 1))
        campus.fire(rig, ROOMS, after - first, first)
        for name, path in PAGES.items():
            asked[name].append(visitor.ask(path))
        time.sleep(max(0.0, started_s + second + 1 - time.monotonic()))
    return asked


def _row(name: str, answers: list[Answer], console_s: float) -> Row:
    times_ms = sorted(one.ms for one in answers)
    figures = {
        "median_ms": round(statistics.median(times_ms)),
        "p99_ms": round(times_ms[int(0.99 * len(times_ms))]),
        "worst_ms": round(times_ms[-1]),
        "console_cpu_s": round(console_s, 1),
        "asked": len(answers),
    }
    return Row(all(one.status == http.HTTPStatus.OK for one in answers), figures=figures, labels={"page": name})


BENCH: Final = Bench(
    "storm",
    "Now while 10,000 alerts come in a minute",
    [Promise("worst_ms", "most", 1000)],
    run,
)
