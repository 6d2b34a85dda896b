"""`ganzhi doctor`: everything that a person would check when it does not work."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Final

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ganzhi.cli.texts import text
from schemas.errors import GanzhiError
from schemas.settings import Settings, cache_home, data_home, load, run_file

app = typer.Typer()

FREE_GB_MIN: Final = 2.0
Finding = tuple[str, bool, str]
"""What was checked, whether it is well, what was found or what to do."""


@app.command()
def doctor(
    profile: Annotated[str | None, typer.Option(help="whose stack")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
) -> None:
    """Check machine, settings, Kafka, topics, model, worker, channels, sink, ClickHouse.

    Exit status 1 when one is wrong.
    """
    findings = list(examine(load(profile=profile)))
    well = all(good for _, good, _ in findings)
    if as_json:
        print(
            json.dumps(
                {"well": well, "checks": [{"check": c, "ok": good, "detail": d} for c, good, d in findings]},
                ensure_ascii=False,
            )
        )
    else:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in ("check", "result", "detail"):
            table.add_column(text(name))
        for check, good, detail in findings:
            table.add_row(escape(check), text("ok") if good else f"[bold red]{text('problem')}[/]", escape(detail))
        console = Console()
        console.print(table)
        if well:
            console.print(text("all well"))
    if not well:
        raise typer.Exit(1)


def examine(settings: Settings) -> Iterator[Finding]:
    """All checks, from the machine upwards; what needs a part that is away is left out."""
    yield from _machine(settings)
    reachable = False
    for finding in (_guarded("Kafka", lambda: _kafka(settings)),):
        reachable = finding[1]
        yield finding
    if reachable:
        yield _guarded("topics", lambda: _topics(settings))
        yield _guarded("model", lambda: _model(settings))
        yield _guarded("worker", lambda: _worker(settings))
        yield _guarded("channels", lambda: _channels(settings))
    stored = _guarded("ClickHouse", lambda: _clickhouse(settings))
    yield stored
    if reachable and stored[1]:
        yield _guarded("sink", lambda: _sink(settings))
    if stored[1]:
        yield _guarded("usage", lambda: _usage(settings))


def _guarded(name: str, check: Callable[[], tuple[bool, str]]) -> Finding:
    try:
        good, detail = check()
    except GanzhiError as error:
        return name, False, str(error).splitlines()[0]
    return name, good, detail


def _machine(settings: Settings) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield "Python", sys.version_info >= (3, 11), version
    for name, folder in (("data", data_home(settings.profile)), ("cache", cache_home())):
        parent = folder
        while not parent.exists():
            parent = parent.parent
        free_gb = shutil.disk_usage(parent).free / 1e9
        writable = os.access(parent, os.W_OK)
        detail = f"{folder}, {free_gb:.1f} GB free" + ("" if writable else ", not writable")
        yield name, writable and free_gb >= FREE_GB_MIN, detail
    found = run_file(settings.profile)
    yield (
        "embedded stack",
        True,
        f"up, {found}" if found.exists() else f"not up for profile {settings.profile}; `ganzhi up` starts it",
    )
    yield _guarded("kernels", _kernels)


def _kernels() -> tuple[bool, str]:
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return False, "NUMBA_DISABLE_JIT is set: kernels would run a hundred times slower; unset it"
    return True, f"cached in {os.environ.get('NUMBA_CACHE_DIR', '')}"


def _kafka(settings: Settings) -> tuple[bool, str]:
    from streams.kafka_admin import wait_for_broker

    wait_for_broker(settings.kafka, 5)
    return True, settings.kafka.bootstrap


def _topics(settings: Settings) -> tuple[bool, str]:
    from streams.kafka_admin import check_topics

    check_topics(settings.kafka)
    return True, f"all there, {settings.kafka.prefix or 'no'} prefix"


def _model(settings: Settings) -> tuple[bool, str]:
    from streams.published import read_heads

    heads = read_heads(settings.kafka)
    if not heads:
        return False, "no site is published; `ganzhi apply DIR` does that"
    shown = ", ".join(
        f"{site} v{head.version} in partition {head.partition}" for site, head in sorted(heads.items())[:6]
    )
    return True, f"{len(heads)} sites: {shown}"


def _worker(settings: Settings) -> tuple[bool, str]:
    from replay.kafka_log import KafkaHistory

    log = KafkaHistory(settings.kafka)
    positions = log.positions()
    behind = sum(max(end - positions[task].offset, 0) for task, end in log.ends().items() if task in positions)
    if not positions:
        return False, "no task has a position; is a `ganzhi worker` running?"
    # Ticks are written every second, so a few messages are always on their way.
    return behind < 10 * len(positions), f"{len(positions)} tasks, {behind:,} messages behind"


def _channels(settings: Settings) -> tuple[bool, str]:
    from sinks.notify.channels.registry import open_channels
    from sinks.notify.routes import named_channels
    from streams.published import read_documents

    have = sorted(open_channels(settings.notify))
    wanted = named_channels(read_documents(settings.kafka).values())
    missing = sorted(set(wanted) - set(have))
    # The notifier may have other settings than this command: what is missing here is a hint, not a fault.
    hint = f"; the settings of `ganzhi notify` must have {', '.join(missing)}" if missing else ""
    return True, f"{', '.join(have) or 'none'} here{hint}"


def _clickhouse(settings: Settings) -> tuple[bool, str]:
    from sinks.clickhouse.client import reader, translating

    client = reader(settings.clickhouse)
    with translating(settings.clickhouse):
        tables = client.query("SELECT count() FROM system.tables WHERE database = currentDatabase()").result_rows[0][0]
    found = f"{settings.clickhouse.host}:{settings.clickhouse.port}, version {client.server_version}, {tables} tables"
    return tables > 0, found if tables else f"{found}; a `ganzhi sink` makes them"


def _sink(settings: Settings) -> tuple[bool, str]:
    from sinks.clickhouse.progress import lag

    behind = sum(lag(settings).values())
    return behind < 100_000, f"{behind:,} messages not stored yet"


def _usage(settings: Settings) -> tuple[bool, str]:
    from sinks.clickhouse.usage import lacking

    months = ", ".join(str(one.month) for one in lacking(settings.clickhouse))
    return not months, f"{months} not as in the ledger; see `ganzhi replay usage`" if months else "as in the ledger"
