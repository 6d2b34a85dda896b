"""`ganzhi rules test`: the cases of rule packs, run through the real step."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from ganzhi.cli.texts import text
from replay.case_files import NAMES, Case, read_folder, read_of_built_in
from replay.cases import Outcome, run_case
from schemas.errors import Fault, ModelError
from schemas.rules.reading import BUILT_IN, CASES, Lines, built_in_packs

Packs = Annotated[
    list[str] | None,
    typer.Argument(
        help="folders with NAME.cases.yaml, packs NAME.yaml beside one, builtin/NAME; none: all that come with ganzhi"
    ),
]
Only = Annotated[str | None, typer.Option("--rule", help="only this rule")]
Json = Annotated[bool, typer.Option("--json", help="one JSON object: every case, expected and found")]


def test(packs: Packs = None, rule: Only = None, as_json: Json = False) -> None:
    """Run the cases of rules: readings, and the alerts that they must give. Exit status 1 when one gives others."""
    outcomes: list[Outcome] = []
    console = Console(stderr=True)
    for name in packs or built_in_packs():
        for (pack, _), cases in _cases_of(name):
            for case in cases:
                if rule in (None, case.rule):
                    with console.status(f"{case.rule} {case.name}"):
                        outcomes.append(run_case(case, pack))
    failed = [outcome for outcome in outcomes if not outcome.passed]
    if as_json:
        print(json.dumps({"cases": [_as_dict(one) for one in outcomes], "failed": len(failed)}, ensure_ascii=False))
    else:
        _show(outcomes, failed)
    if failed or not outcomes:
        raise typer.Exit(1)


def _cases_of(name: str) -> Iterable[tuple[tuple[dict[str, Any], Lines], list[Case]]]:
    path = Path(name)
    built_in = name if name.startswith(BUILT_IN) else f"{BUILT_IN}{name}"
    if built_in in built_in_packs() and not path.exists():
        return [read_of_built_in(built_in)]
    if path.is_file() and not name.endswith(CASES):  # a pack: its cases are beside it
        path = path.with_name(path.stem + CASES)
        if not path.exists():
            raise ModelError([Fault(name, 0, f"has no cases: there is no {path.name} beside it")])
    if not path.exists():
        known = ", ".join(built_in_packs())
        raise ModelError(
            [Fault(name, 0, f"there is no such file or folder, and no pack of that name; known are {known}")]
        )
    return read_folder(path)


def _as_dict(outcome: Outcome) -> dict[str, Any]:
    case = outcome.case
    return {
        "rule": case.rule,
        "case": case.name,
        "file": case.file,
        "passed": outcome.passed,
        "expected": _lines(case.expected),
        "found": _lines(outcome.found),
        "error": outcome.error,
    }


def _lines(changes: Sequence[tuple[str, int]] | None) -> list[str] | str:
    return "none" if changes is None else [f"{state} {_duration(ms)}" for state, ms in changes]


def _duration(ms: int) -> str:
    """As it is written in a case file: `1h30m`."""
    rest, found = ms // 1000, ""
    for size, name in ((3600, "h"), (60, "m"), (1, "s")):
        if rest >= size:
            found += f"{rest // size}{name}"
            rest %= size
    return found or "0s"


def _show(outcomes: Sequence[Outcome], failed: Sequence[Outcome]) -> None:
    console = Console(soft_wrap=True)
    for name in dict.fromkeys(outcome.case.rule for outcome in outcomes):
        mine = [outcome for outcome in outcomes if outcome.case.rule == name]
        marks = " ".join(
            f"[green]{one.case.name}[/]" if one.passed else f"[bold red]{one.case.name}[/]" for one in mine
        )
        absent = [case for case in NAMES if case not in {one.case.name for one in mine}]
        more = f"  [yellow]{text('without')} {' '.join(absent)}[/]" if absent else ""
        console.print(f"{name:<28}{marks}{more}", highlight=False)
    for one in failed:
        console.print(f"\n[bold]{one.case.rule}, {one.case.name}[/] ({escape(one.case.file)})", highlight=False)
        if one.error:
            console.print(f"  {escape(one.error)}", highlight=False)
        else:
            console.print(f"  {text('expected')}: {_text(one.case.expected)}", highlight=False)
            console.print(f"  {text('got')}: {_text(one.found)}", highlight=False)
    good = len(outcomes) - len(failed)
    console.print(f"\n{good} {text('of')} {len(outcomes)} {text('cases_pass')}", highlight=False)


def _text(changes: Sequence[tuple[str, int]] | None) -> str:
    lines = _lines(changes)
    words: Iterable[str] = [lines] if isinstance(lines, str) else lines
    return ", ".join(words) or "-"
