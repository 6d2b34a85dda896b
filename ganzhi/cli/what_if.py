"""`ganzhi replay what-if`: other rules, tariffs or another model on the history that is there."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from ganzhi.cli.backtest import (
    Csv,
    Json,
    MappingFile,
    ModelFolder,
    Profile,
    Since,
    Sites,
    Source,
    Until,
    bars,
    read_trial,
    tell_idle,
)
from ganzhi.cli.paper import paper
from ganzhi.cli.texts import text
from ganzhi.trade_plot import Point, trade_svg
from ganzhi.trial import Packs, Trial, documents_of, read_rules
from ganzhi.trial_report import Totals, amounts, yuan
from ganzhi.what_if_report import Rows, show_what_if, what_if_as_dict
from replay.backtest import Backtest, on_trial
from replay.backtest import backtest as run_backtest
from replay.what_if import Sweep, alerts_of, compare, narrowed, only_what_differs, parse_sweep, replaced
from schemas.errors import ConfigurationError
from schemas.model.document import Document
from schemas.settings import load

_PLOTTED = (("electricity", "Wh", "kWh", 1000), ("water", "mL", "m3", 1_000_000))


def what_if(
    rules: Annotated[
        list[str] | None,
        typer.Option("--rules", help="packs that take the place of those of their names; may be given several times"),
    ] = None,
    after: Annotated[
        Path | None, typer.Option("--model-after", help="another model folder: its tariffs, tags, rules")
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option("--against", help="packs to compare with, as if they were in force; none: what is in force"),
    ] = None,
    sweep: Annotated[
        str | None, typer.Option(help="for=5m..60m, keep_firing_for=…, or a parameter: power=20 W..200 W/10")
    ] = None,
    only: Annotated[list[str] | None, typer.Option("--alert", help="with --sweep: only rules of this name")] = None,
    plot: Annotated[Path | None, typer.Option(help="with --sweep: SVG file of the trade")] = None,
    since: Since = None,
    until: Until = None,
    sites: Sites = None,
    source: Source = "kafka",
    model: ModelFolder = None,
    files: Csv = None,
    mapping_file: MappingFile = None,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """What would differ under other rules, tariffs or another model. Nothing is sent or published.

    Two drafts are compared by `--rules new.yaml --against old.yaml`.
    """
    swept = parse_sweep(sweep) if sweep else None
    tried = read_rules(rules) if rules else None
    old = read_rules(against) if against else None
    if tried is None and after is None and swept is None:
        raise ConfigurationError("nothing is different: give --rules, --model-after or --sweep")
    trial = read_trial(since, until, sites or [], source, model, files, mapping_file, profile, quiet=as_json)
    if tried is not None:
        tell_idle(trial.with_rules(tried))
    if swept is not None:
        _sweep(trial, swept, tried, only or [], plot, as_json)
        return
    before = trial.with_rules(old, beside=True)
    changed = trial if after is None else Trial(documents_of(after, trial.documents), trial.sources, trial.span)
    made = changed.with_rules(tried, beside=True)
    console = "" if model is not None else _console(profile)
    rows = difference(trial, before, made, quiet=as_json, console=console)
    if as_json:
        print(json.dumps(what_if_as_dict(rows), ensure_ascii=False))
    else:
        show_what_if(rows, paper())


def _console(profile: str | None) -> str:
    from sinks.console.process import address_of

    return address_of(load(profile=profile).console)


def difference(
    trial: Trial, before: Mapping[str, Document], after: Mapping[str, Document], quiet: bool, console: str = ""
) -> Rows:
    """Runs both sides and compares them; `console` is the address of the one that has the history.

    Rules that are the same on both sides are left out where nothing else differs either.
    """
    pairs = {site: only_what_differs(document, after[site]) for site, document in before.items() if site in after}
    before = {**before, **{site: pair[0] for site, pair in pairs.items()}}
    after = {**after, **{site: pair[1] for site, pair in pairs.items()}}
    with bars(quiet) as bar:
        old = run_backtest(before, trial.sources, trial.span, bar)
        new = run_backtest(after, trial.sources, trial.span, bar)
    return Rows(old, new, compare(old, new), console)


def _sweep(trial: Trial, swept: Sweep, tried: Packs | None, only: list[str], plot: Path | None, as_json: bool) -> None:
    rows = []
    console = paper()
    with bars(quiet=as_json) as bar:
        for place, value in enumerate(swept.values):
            documents = {}
            names: set[str] = set()
            for site, document in trial.documents.items():
                base = replaced(document.rules, tried[0]) if tried else list(document.rules)
                mine = tried[0] if tried else base
                packs = swept.apply(mine, value, only)
                swept_names = set(only) or {alert for pack in mine for alert in alerts_of(pack)}
                names |= swept_names
                documents[site] = on_trial(document, narrowed(replaced(base, packs), swept_names))
            result = run_backtest(documents, trial.sources, trial.span)
            rows.append((value, _of(result, names)))
            bar(swept.name, place + 1, len(swept.values))
    if plot is not None:
        plot.write_text(_plot(swept, rows, trial), encoding="utf-8")
    if as_json:
        listed = [
            {"value": value, "alerts_per_day": round(totals.alerts / trial.span.days, 4), **totals.as_dict()}
            for value, totals in rows
        ]
        print(json.dumps({"sweep": swept.name, "rows": listed, "plot": None if plot is None else str(plot)}))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in (swept.name, text("alerts"), text("alerts a day"), text("hours"), text("wasted"), text("cost")):
        table.add_column(name, justify="right")
    for value, totals in rows:
        per_day = f"{totals.alerts / trial.span.days:.2f}"
        cells = (value, str(totals.alerts), per_day, f"{totals.hours:,.1f}", amounts(totals.waste))
        table.add_row(*cells, yuan(totals.cost_yuan))
    console.print(table)
    if plot is not None:
        console.print(str(plot), markup=False)


def _of(result: Backtest, names: set[str]) -> Totals:
    return Totals([one for one in result.episodes if one.rule in names], result.span)


def _plot(swept: Sweep, rows: list[tuple[str, Totals]], trial: Trial) -> str:
    """Waste of the medium that is wasted; hours where none is measured."""
    medium = next((one for one in _PLOTTED if any(totals.waste.get(one[:2]) for _, totals in rows)), None)
    unit = "h" if medium is None else medium[2]
    points = [
        Point(
            value,
            totals.alerts / trial.span.days,
            totals.hours if medium is None else totals.waste.get(medium[:2], 0) / medium[3],
        )
        for value, totals in rows
    ]
    return trade_svg(points, f"{swept.name} = {swept.values[0]} … {swept.values[-1]}", unit)
