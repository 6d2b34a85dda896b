"""`ganzhi replay occupancy` and `ganzhi fit occupancy`: who was in a room, and how well an estimate of it does."""

import csv
import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from ganzhi.cli.backtest import (
    Csv,
    MappingFile,
    ModelFolder,
    Profile,
    Since,
    Sites,
    Source,
    Until,
    bars,
    read_trial,
)
from ganzhi.trial import iso
from replay.backtest import Span
from replay.fit import FITTED, case_of, fit, judge
from replay.occupancy import Presence, presence
from schemas.errors import ConfigurationError, ReplayError
from schemas.model.presence import parameters
from schemas.rules.format import parse_duration
from schemas.topics import METER_READINGS

app = typer.Typer()
group = typer.Typer(no_args_is_help=True, help="Fit what can be learned from data: occupancy.")
app.add_typer(group, name="fit")

COLUMNS = ("site", "space", "time", "occupied", "probability", "people", "how")


@group.callback()
def fits() -> None:
    """Fit what can be learned from data."""


def occupancy(
    since: Since = None,
    until: Until = None,
    sites: Sites = None,
    every: Annotated[str, typer.Option(help="length of an interval; divides a day")] = "1m",
    unknown: Annotated[
        bool, typer.Option("--unknown", help="rows of intervals of which nothing is known, too: `occupied` is empty")
    ] = False,
    source: Source = "kafka",
    model: ModelFolder = None,
    files: Csv = None,
    mapping_file: MappingFile = None,
    profile: Profile = None,
    as_json: Annotated[bool, typer.Option("--json", help="a list of objects, instead of CSV")] = False,
) -> None:
    """Who was in each room, interval by interval, as CSV: counted where there is a counter, else estimated.

    `time` is the start of an interval, UTC; intervals of which nothing is known have no row without `--unknown`.
    """
    every_s = _seconds(every)
    trial = read_trial(since, until, sites or [], source, model, files, mapping_file, profile, quiet=True)
    found = [
        one
        for site, document in trial.documents.items()
        if site in trial.sources[METER_READINGS]
        for one in presence(document, trial.sources[METER_READINGS][site], trial.span, every_s)
    ]
    rows = [row for one in found for row in (_with_unknown(one, trial.span) if unknown else _rows(one))]
    if not rows:
        typer.echo(
            "nothing is known of who was in any room: no people counter (role occupancy), CO2, Wi-Fi clients or motion"
            " of a space has readings in this span; one that has a counter in the model is not estimated",
            err=True,
        )
    if as_json:
        print(json.dumps([dict(zip(COLUMNS, row, strict=True)) for row in rows], ensure_ascii=False))
        return
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(["" if cell is None else cell for cell in row] for row in rows)


def _rows(one: Presence) -> list[tuple[Any, ...]]:
    people = [None] * len(one.from_ms) if one.people is None else [round(float(x), 3) for x in one.people]
    columns = zip(one.from_ms.tolist(), one.occupied.tolist(), one.probability.tolist(), people, strict=True)
    return [
        (one.site, one.space, iso(at), int(there), round(likely, 4), count, one.how)
        for at, there, likely, count in columns
    ]


def _with_unknown(one: Presence, span: Span) -> list[tuple[Any, ...]]:
    """A row for every interval that begins in the span."""
    known = dict(zip(one.from_ms.tolist(), _rows(one), strict=True))
    first = -(-span.from_ms // one.every_ms) * one.every_ms
    return [
        known.get(at) or (one.site, one.space, iso(at), None, None, None, "unknown")
        for at in range(first, span.to_ms, one.every_ms)
    ]


def _seconds(text: str) -> int:
    try:
        every_ms = parse_duration(text)
    except ValueError as error:
        raise ConfigurationError(f"--every: {error}") from error
    if every_ms < 1000 or 86_400_000 % every_ms or every_ms % 1000:
        raise ConfigurationError(f"--every {text}: whole seconds that divide a day are wanted, such as 1m or 15m")
    return every_ms // 1000


@group.command("occupancy")
def fit_occupancy(
    since: Since = None,
    until: Until = None,
    sites: Sites = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="write rows for occupancy_models.csv into this file")
    ] = None,
    valid_from: Annotated[str, typer.Option(help="first day of the rows that are written")] = "",
    scope: Annotated[
        Literal["space", "kind", "site"], typer.Option(help="whether rows hold for each space, its kind or the site")
    ] = "space",
    names: Annotated[list[str] | None, typer.Option("--parameter", help="only this one; several times")] = None,
    judge_only: Annotated[
        bool, typer.Option("--judge", help="change nothing: how well the model as it is does")
    ] = False,
    source: Source = "kafka",
    model: ModelFolder = None,
    files: Csv = None,
    mapping_file: MappingFile = None,
    profile: Profile = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
) -> None:
    """Fit the estimate of presence to rooms whose people are counted (role occupancy) and that have CO2 or Wi-Fi too.

    Fit on one span and judge on another: `--judge --from …` with the rows in the model.
    """
    unknown = sorted(set(names or ()) - set(parameters()))
    if unknown:
        raise ConfigurationError(f"unknown parameter {', '.join(unknown)}; known are {', '.join(parameters())}")
    trial = read_trial(since, until, sites or [], source, model, files, mapping_file, profile, quiet=True)
    cases = []
    for site, document in trial.documents.items():
        readings = trial.sources[METER_READINGS].get(site)
        if readings is not None and len(readings):
            try:
                cases.append(case_of(document, readings, trial.span))
            except ReplayError:
                if len(trial.documents) == 1:
                    raise
    if not cases:
        raise ReplayError("no site has a space with a people counter (role occupancy) and CO2 or Wi-Fi clients")
    if judge_only:
        loss, score = judge(cases, {})
        values, before = {}, loss
    else:
        with bars(quiet=as_json) as bar:
            found = fit(cases, names or FITTED, bar)
        values, before, loss, score = dict(found.values), found.before, found.after, found.score
    result = {
        "loss_before": round(before, 5),
        "loss": round(loss, 5),
        "precision": round(score.precision, 4),
        "recall": round(score.recall, 4),
        "f1": round(score.f1, 4),
        "values": {name: float(value) for name, value in values.items()},
    }
    if output is not None:
        _write(output, scope, valid_from, cases, {name: float(value) for name, value in values.items()})
    if as_json:
        print(json.dumps(result))
        return
    console = Console()
    for name, value in result.items():
        if name != "values":
            console.print(f"{name:<12} {value}")
    for name, value in values.items():
        one = parameters()[name]
        console.print(f"{name:<16} {float(value):g} {one.unit}   ({float(one.value):g})", highlight=False)


def _write(path: Path, scope: str, valid_from: str, cases: list[Any], values: dict[str, float]) -> None:
    names = ("site", "space", "kind", "parameter", "value", "valid_from", "source")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        for case in cases:
            spaces = case.document.table("spaces")
            kinds = dict(zip(spaces.get("id", []), spaces.get("kind", []), strict=True))
            if scope == "site":
                places = [(case.document.site, "", "")]
            elif scope == "kind":
                places = [("", "", str(kind)) for kind in sorted({str(kinds[space]) for space in case.truth})]
            else:
                places = [("", space, "") for space in sorted(case.truth)]
            span = f"{iso(case.span.from_ms)[:10]}..{iso(case.span.to_ms)[:10]}"
            for place in places:
                for name, value in values.items():
                    writer.writerow((*place, name, f"{value:.9g}", valid_from, f"ganzhi fit occupancy {span}"))
