"""`ganzhi replay settle`: computes what waits again in event-time order, and adds the difference to the ledger."""

import dataclasses
import datetime as dt
import json
import logging
import signal
import threading
import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ganzhi.cli.paper import paper
from ganzhi.cli.texts import text
from schemas.control import signing_key
from schemas.errors import GanzhiError
from schemas.settings import Settings, data_home, load

if TYPE_CHECKING:
    from ganzhi.settling import Settled

_LOOK_S = 30.0
_log = logging.getLogger("ganzhi.settle")


def settle(
    site: Annotated[str | None, typer.Option(help="only this site")] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", help="start of the span, by the site's clock: 2026-03-01 or 2026-03-01T08:00"),
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="its end")] = None,
    reason: Annotated[str, typer.Option(help="why; kept in the signed record")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only show what would change")] = False,
    nightly: Annotated[bool, typer.Option("--nightly", help="go on, and settle once a day (`settle.nightly`)")] = False,
    profile: Annotated[str | None, typer.Option(help="whose stack and signing key")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="a list of objects, one a site")] = False,
) -> None:
    """Settle what waits: late or corrected readings, long gaps, a mended model; with a span, all of that."""
    from ganzhi.cli.replay import bar
    from ganzhi.settling import Wish
    from ganzhi.settling import settle as settle_sites

    settings = load(profile=profile)
    if nightly:
        every_night(settings)
        return
    wish = Wish(site, start, end, reason, dry_run)
    key = None if dry_run else signing_key(data_home(settings.profile))
    with bar(quiet=as_json) as report:
        found = settle_sites(settings.kafka, wish, key, lambda name, done, total: report((name, 0), done, total))
    if as_json:
        print(json.dumps([dataclasses.asdict(one) for one in found], ensure_ascii=False))
    else:
        show(found, dry_run, paper())


def show(found: "list[Settled]", dry_run: bool, console: Console) -> None:
    """The result for people."""
    done = [one for one in found if one.sequence or one.ledger_rows or one.gauge_rows or one.episodes]
    if not done:
        console.print(text("nothing to settle"))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(text("site"))
    table.add_column(text("span"))
    for name in ("waiting points", "rows", "episodes", "change", "now measured"):
        table.add_column(text(name), justify="right")
    for one in done:
        span = f"{_day(one.from_ms)} – {_day(one.to_ms)}"
        lines = [_amounts(medium, total, measured) for medium, (total, measured) in sorted(one.changes.items())]
        changes, shares = ("\n".join(column) for column in zip(*lines, strict=True)) if lines else ("–", "–")
        rows = f"{one.ledger_rows + one.gauge_rows:,}"
        table.add_row(escape(one.site), span, f"{one.points:,}", rows, f"{one.episodes:,}", changes, shares)
    console.print(table)
    if dry_run:
        console.print(text("nothing was written"))


def _day(at_ms: int) -> str:
    try:
        return dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC).strftime("%Y-%m-%d %H:%MZ")
    except (ValueError, OverflowError):
        return "…"


def _amounts(medium: str, total: int, measured: int) -> tuple[str, str]:
    from schemas.units import MEDIA, scale

    unit = MEDIA[medium].price_unit if medium in MEDIA else ""
    one = scale(unit, "register") if unit else 1
    return f"{float(total / one):+,.3f} {unit} ({medium})", f"{float(measured / one):+,.3f} {unit}"


def every_night(settings: Settings) -> None:
    """Settles each site once a day, at `settle.nightly` of its own clock or as soon as it can, until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    done: dict[str, dt.date] = {}
    while not stop.wait(_LOOK_S):
        try:
            _night(settings, done)
        except GanzhiError as error:  # it is tried again: what waits goes on waiting in the log
            _log.warning("not settled: %s", error)


def due(now: dt.datetime, nightly: str, done: dt.date | None) -> bool:
    """Whether a site is to be settled: once in each of its days, at a time of it or as soon after as somebody looks.

    Args:
        now: by the site's clock.
        nightly: HH:MM; where clocks leap over it, it has come when they have.
        done: its day of the last time.
    """
    return now.strftime("%H:%M") >= nightly and done != now.date()


def _night(settings: Settings, done: dict[str, dt.date]) -> None:
    from ganzhi.settling import Wish, zone_of
    from ganzhi.settling import settle as settle_sites
    from streams.published import read_documents

    for site, document in read_documents(settings.kafka).items():
        now = dt.datetime.fromtimestamp(time.time(), zone_of(document))
        if not due(now, settings.settle.nightly, done.get(site)):
            continue
        key = signing_key(data_home(settings.profile))
        for one in settle_sites(settings.kafka, Wish(site=site, reason="nightly"), key):
            _log.info("%s: settlement %d, %d ledger rows", one.site, one.sequence, one.ledger_rows)
        done[site] = now.date()
