"""`ganzhi rules backtest`: what a rule pack would have done on the history that is there."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ganzhi.cli.paper import paper
from ganzhi.cli.texts import text
from ganzhi.rule_reach import idle_sentences
from ganzhi.trial import Trial, of_files, of_stack, read_rules
from replay.backtest import backtest as run_backtest
from replay.kafka_log import KafkaHistory
from schemas.errors import ConfigurationError
from schemas.model.document import Document
from schemas.settings import load

WAIT_S: Final = 0.5
PATIENCE: Final = 12
"""So often in a row nothing new may have been read before a worker is taken for gone: six seconds; it commits each
second."""
FIRST_PATIENCE: Final = 120
"""And one that has read nothing yet: on a machine's first start it compiles for half a minute."""

Packs = Annotated[
    list[str] | None,
    typer.Argument(help="packs: builtin/lighting, a file, a folder; none: the rules in force", show_default=False),
]
Since = Annotated[str | None, typer.Option("--from", help="local time of the site; absent: the first reading")]
Until = Annotated[str | None, typer.Option("--to", help="local time, not included; absent: the last reading")]
Sites = Annotated[list[str] | None, typer.Option("--site", help="only this site; may be given several times")]
Source = Annotated[
    Literal["kafka", "event_log"], typer.Option("--source", help="where the history is read from: log or archive")
]
ModelFolder = Annotated[
    Path | None, typer.Option("--model", help="site model: with --csv and --mapping, no stack is needed")
]
Csv = Annotated[list[Path] | None, typer.Option("--csv", help="CSV files or folders, instead of a stack's history")]
MappingFile = Annotated[Path | None, typer.Option("--mapping", "-m", help="what the columns of --csv mean")]
Profile = Annotated[str | None, typer.Option(help="whose stack")]
Json = Annotated[bool, typer.Option("--json", help="one JSON object, every episode in it")]


def backtest(
    packs: Packs = None,
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
    """Run rules over the history, by the time of its events, imported data too. Nothing is sent or published."""
    from ganzhi.trial_report import backtest_as_dict, show_backtest

    tried = read_rules(packs) if packs else None
    trial = read_trial(since, until, sites or [], source, model, files, mapping_file, profile, quiet=as_json)
    documents = trial.with_rules(tried)
    if tried is not None:
        tell_idle(documents)
    with bars(quiet=as_json) as bar:
        result = run_backtest(documents, trial.sources, trial.span, bar)
    if as_json:
        print(json.dumps(backtest_as_dict(result), ensure_ascii=False))
    else:
        show_backtest(result, paper())


def read_trial(
    since: str | None,
    until: str | None,
    sites: list[str],
    source: Literal["kafka", "event_log"],
    model: Path | None,
    files: list[Path] | None,
    mapping_file: Path | None,
    profile: str | None,
    quiet: bool,
) -> Trial:
    """The documents and readings that the options name.

    Raises:
        ConfigurationError: some of --model, --csv and --mapping are there, and some are not.
    """
    if model is not None or files or mapping_file is not None:
        if model is None or not files or mapping_file is None:
            raise ConfigurationError("--model, --csv and --mapping go together: a model folder, files, their meaning")
        return of_files(model, files, mapping_file, sites, since, until, _notify)
    from ganzhi.cli.replay import history
    from streams.published import read_documents

    settings = load(profile=profile)
    published = read_documents(settings.kafka)
    past = history(settings, source)
    if source == "kafka":
        _wait_for_worker(KafkaHistory(settings.kafka))
    with bars(quiet) as bar:
        return of_stack(
            past,
            published,
            sites,
            since,
            until,
            lambda task, done, total: bar(f"{task[0]}/{task[1]}", done, total),
        )


def tell_idle(documents: Mapping[str, Document]) -> None:
    """Says on standard error which rules run on nothing, and why: no alert of them means nothing."""
    for sentence in idle_sentences(documents):
        _notify(sentence)


def _wait_for_worker(log: KafkaHistory) -> None:
    """A history ends where the worker has come to: what was just imported is waited for, as long as it comes nearer."""
    ends = log.ends()

    def behind() -> int:
        positions = log.positions()
        return sum(max(0, end - (positions[task].offset if task in positions else 0)) for task, end in ends.items())

    left = behind()
    patience = PATIENCE if log.positions() else FIRST_PATIENCE
    with Console(stderr=True).status(text("waiting for worker")):
        while left > 0 and patience > 0:
            time.sleep(WAIT_S)
            now = behind()
            patience = PATIENCE if now < left else patience - 1
            left = now
    if left > 0:
        _notify(f"the worker has {left:,} messages to read; they are not in the result (is `ganzhi up` running?)")


def _notify(sentence: str) -> None:
    Console(stderr=True).print(sentence, style="yellow", markup=False, highlight=False, soft_wrap=True)


@contextmanager
def bars(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Bars on standard error, one a name; none where it is no terminal."""
    console = Console(stderr=True, quiet=quiet)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        known: dict[str, int] = {}

        def report(name: str, done: int, total: int) -> None:
            if name not in known:
                known[name] = progress.add_task(f"{text('replaying')} {name}", total=total)
            progress.update(known[name], completed=done)  # type: ignore[arg-type]

        yield report
