"""What a model would have changed over the last days, before it is published: as `terraform plan` shows it."""

import dataclasses
import time
from collections.abc import Mapping
from typing import Final

from ganzhi.cli.backtest import bars
from ganzhi.cli.what_if import difference
from ganzhi.trial import DAY_MS, documents_from, of_history
from ganzhi.what_if_report import Rows
from replay.backtest import WARM_UP_MS, Span, on_trial
from replay.log import History
from schemas.model.document import Document
from schemas.model.typed import Model

DAYS: Final = 7


def promotion(
    history: History, published: Mapping[str, Document], model: Model, quiet: bool = False, console: str = ""
) -> Rows | None:
    """The difference between what is in force and a model, over the last seven days that the history has.

    Args:
        history: what has happened.
        published: the documents in force.
        model: a model without a fault.
        quiet: no progress bar.
        console: address of the console, for links.

    Returns:
        None when nothing that the model changes has a history: new sites, or the same documents.

    Raises:
        ReplayError: the history is incomplete.
        ModelError: the model contradicts what is published.
    """
    after = documents_from(model, published)
    changed = {site: document for site, document in after.items() if document.raw != published[site].raw}
    if not changed:
        return None
    own = {site: published[site] for site in changed}
    live = all(document.domain == "live" for document in own.values())
    recent_ms = int(time.time() * 1000) - DAYS * DAY_MS - WARM_UP_MS
    trial = None
    with bars(quiet) as bar:
        for since_ms in (recent_ms, None) if live else (None,):  # all of it only where nothing is recent
            if trial is None:
                trial = of_history(
                    history, own, since_ms, lambda task, done, total: bar(f"{task[0]}/{task[1]}", done, total)
                )
    if trial is None:
        return None
    span = Span(max(trial.span.from_ms, trial.span.to_ms - DAYS * DAY_MS), trial.span.to_ms)
    trial = dataclasses.replace(trial, span=span)
    before = {site: on_trial(document) for site, document in own.items()}
    return difference(trial, before, {site: on_trial(document) for site, document in changed.items()}, quiet, console)
