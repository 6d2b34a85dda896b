"""`ganzhi check DIR` and `ganzhi apply DIR`: every fault of a site model, and its publication."""

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ganzhi.cli.paper import paper
from ganzhi.cli.texts import text
from ganzhi.rule_reach import reach
from schemas import settings
from schemas.control import signing_key
from schemas.errors import ConfigurationError, Fault, ModelError, ReplayError
from schemas.model.build import Deployment, build_documents
from schemas.model.check import check_folder
from schemas.model.document import Document
from schemas.model.typed import Model
from streams.kafka_admin import create_missing
from streams.published import Change, apply_model, read_documents

app = typer.Typer(no_args_is_help=True)

NOT_PUBLISHED_EXIT: Final = 9
"""Exit status when somebody said no."""
NAMED_MAX: Final = 3
SHOWN_MAX: Final = 50
"""A person reads no more faults at once; `--all` and `--json` have all of them."""

Folder = Annotated[Path, typer.Argument(help="folder of the site model", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="one JSON object on standard output")]
All = Annotated[bool, typer.Option("--all", help="show every fault, not the first 50")]
Profile = Annotated[str | None, typer.Option(help="profile whose stack and signing key are used")]


@app.command()
def check(folder: Folder, as_json: Json = False, show_all: All = False) -> None:
    """Report every fault of a site model with file and line. Exit status 3 when there is one."""
    model, faults = _checked(folder)
    silent = {} if faults else _without_subjects(model)
    if as_json:
        found = {"faults": [dataclasses.asdict(fault) for fault in faults], **_counts(model), "idle": silent}
        print(json.dumps(found, ensure_ascii=False))
    elif faults:
        _show_faults(faults, show_all)
    else:
        counts = _counts(model)
        paper().print("no fault: " + ", ".join(f"{count:,} {name}" for name, count in counts.items()))
        for rule, why in silent.items():
            paper().print(f"{rule} {why}", style="dim", markup=False, highlight=False, soft_wrap=True)
    if faults:
        raise typer.Exit(ModelError.exit_code)


@app.command()
def apply(
    folder: Folder,
    as_json: Json = False,
    show_all: All = False,
    profile: Profile = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="publish without a question")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="show what would have differed, publish nothing")] = False,
    effective: Annotated[
        str | None,
        typer.Option(
            help="from when on the new version computes, in the past, by the site's clock: `ganzhi replay settle` mends"
            " what was read since",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Publish a site model: a new version of every site that changed. A model with a fault is refused whole.

    On a terminal the difference that it would have made to the alerts of the last seven days is shown first, and you
    are asked. Programs are not asked; `--plan --json` gives them the difference.
    """
    model, faults = _checked(folder)
    if not faults and (plan or not (yes or as_json or not _interactive())):
        try:
            _show_plan(model, profile, as_json)
        except ModelError as error:
            faults = list(error.faults)
        if plan and not faults:
            return
        if not faults and not typer.confirm(text("publish?")):
            Console(stderr=True).print(text("nothing published"))
            raise typer.Exit(NOT_PUBLISHED_EXIT)
    if not faults:
        try:
            changes = _apply(model, profile, effective)
        except ModelError as error:
            faults = list(error.faults)
    if faults:
        if as_json:
            print(
                json.dumps({"faults": [dataclasses.asdict(fault) for fault in faults], "sites": []}, ensure_ascii=False)
            )
        else:
            _show_faults(faults, show_all)
        raise typer.Exit(ModelError.exit_code)
    if as_json:
        print(
            json.dumps({"faults": [], "sites": [dataclasses.asdict(change) for change in changes]}, ensure_ascii=False)
        )
    else:
        _show_changes(changes)


def _apply(model: Model, profile: str | None, effective: str | None) -> list[Change]:
    loaded = settings.load(profile=profile)
    create_missing(loaded.kafka)
    key = signing_key(settings.data_home(loaded.profile))
    if effective is None:
        return apply_model(loaded.kafka, model, key)
    return apply_model(loaded.kafka, model, key, lambda document: _since(effective, document))


def _since(when: str, document: Document) -> int:
    """UTC ms of `--effective` by the clock of a site."""
    from ganzhi.settling import instant, zone_of

    found = instant(when, zone_of(document))
    if found > time.time() * 1000:
        raise ConfigurationError(
            f"--effective {when} lies in the future of {document.site}; apply the model when it comes"
        )
    return found


def _interactive() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def _show_plan(model: Model, profile: str | None, as_json: bool) -> None:
    """What the model would have changed over the last days; why it cannot be told, where it cannot."""
    from ganzhi.cli.replay import history
    from ganzhi.promotion import promotion
    from ganzhi.what_if_report import show_what_if, what_if_as_dict
    from sinks.console.process import address_of

    loaded = settings.load(profile=profile)
    create_missing(loaded.kafka)
    rows = None
    try:
        rows = promotion(
            history(loaded, "kafka"), read_documents(loaded.kafka), model, as_json, address_of(loaded.console)
        )
    except ReplayError as error:
        Console(stderr=True).print(str(error), style="yellow", markup=False, soft_wrap=True)
    if as_json:
        print(json.dumps(None if rows is None else what_if_as_dict(rows), ensure_ascii=False))
    elif rows is None:
        paper().print(text("no history"))
    else:
        paper().print(text("last days"))
        show_what_if(rows, paper())


def _without_subjects(model: Model) -> dict[str, str]:
    """Rule → why it runs on nothing, or on which subjects it does not for want of a role."""
    partitions = {site: place for place, site in enumerate(model.rows("sites").texts("id"))}
    documents = build_documents(model, Deployment(partitions, {}, {}, {})).values()
    idle, lacking = reach(documents)
    found = {rule: f"runs on nothing: {why}" for rule, why in idle.items()}
    for (rule, role), subjects in lacking.items():
        if rule in idle:
            continue
        more = f" and {len(subjects) - NAMED_MAX:,} more" if len(subjects) > NAMED_MAX else ""
        said = f"does not run on {', '.join(subjects[:NAMED_MAX])}{more}, for want of its role {role!r}"
        found[rule] = f"{found[rule]}; {said}" if rule in found else said
    return found


def _checked(folder: Path) -> tuple[Model, list[Fault]]:
    try:
        return check_folder(folder)
    except ModelError as error:
        return Model(folder, {}, [], []), list(error.faults)


def _counts(model: Model) -> dict[str, int]:
    rules = sum(len(found) for pack in model.packs if isinstance(found := pack.get("rules"), list))
    return {name: len(model.rows(name)) for name in ("sites", "spaces", "points", "stations", "vehicles")} | {
        "rules": rules
    }


def _show_faults(faults: list[Fault], show_all: bool) -> None:
    console = Console(stderr=True, soft_wrap=True)
    shown = faults if show_all else faults[:SHOWN_MAX]
    places = [f"{fault.file}:{fault.line}" if fault.line else fault.file for fault in shown]
    width = min(40, max(map(len, places)))
    for place, fault in zip(places, shown, strict=True):
        console.print(f"[bold]{escape(place):<{width}}[/bold]  {escape(fault.message)}", highlight=False)
    more = f"; {len(faults) - len(shown)} more with --all" if len(shown) < len(faults) else ""
    console.print(f"[red]{len(faults)} {'fault' if len(faults) == 1 else 'faults'}[/red], nothing was published{more}")


def _show_changes(changes: list[Change]) -> None:
    table = Table(
        "site", "version", "partition", "points", "added", "retired", "document", box=None, header_style="dim"
    )
    for change in changes:
        version = f"{change.version}" if change.published else f"{change.version} (unchanged)"
        cells: list[Any] = [change.partition, change.points, change.added, change.retired]
        table.add_row(escape(change.site), version, *map(str, cells), change.sha256[:12])
    paper().print(table)
