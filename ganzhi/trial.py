"""What a rule set is tried on: the model and the readings of a running stack, or of files without any stack."""

import datetime as dt
import zoneinfo
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ganzhi.datasets.registry import Dataset
from replay.backtest import WARM_UP_MS, Sources, Span, on_trial, whole_span
from replay.log import History
from replay.readings import ALL_FROM_MS, ALL_TO_MS, Readings, Watch, gather
from replay.what_if import replaced
from schemas.codec import Json
from schemas.encode import Mode
from schemas.errors import ConfigurationError, Fault, ModelError, ReplayError
from schemas.model.build import Deployment, build_documents
from schemas.model.check import check_folder
from schemas.model.document import Document
from schemas.model.typed import Model
from schemas.rules.pack import Lines, built_in_packs, check_packs, read_built_in, read_pack
from schemas.rules.reading import CASES
from schemas.topics import INPUTS, METER_READINGS
from streams.sources import mapping
from streams.sources.catalog import Catalog
from streams.sources.csv_files import CsvImport
from streams.sources.rejects import Rejects

DAY_MS: Final = 86_400_000
NAMED_MAX: Final = 5
"""So many points without a reading are named."""
Packs = tuple[list[dict[str, Json]], list[Lines]]


@dataclass(frozen=True)
class Trial:
    """Documents and readings, and the span that is asked for.

    Attributes:
        documents: by site, as published or as the folder says; not yet on trial.
        sources: readings by topic and site.
        span: UTC.
        rejected: rows of files that could not be used.
    """

    documents: Mapping[str, Document]
    sources: Sources
    span: Span
    rejected: int = 0

    def with_rules(self, packs: Packs | None, beside: bool = False) -> dict[str, Document]:
        """The documents with other rules.

        Args:
            packs: None: the rules in force.
            beside: the rules in force stay, but for those whose place the packs take (`what_if.replaced`).

        Raises:
            ModelError: the packs do not fit the model.
        """
        if packs is None:
            return {site: on_trial(document) for site, document in self.documents.items()}
        faults = [fault for document in self.documents.values() for fault in check_packs(*packs, document)]
        if faults:
            raise ModelError(sorted(set(faults), key=lambda fault: (fault.file, fault.line)))
        return {
            site: on_trial(document, replaced(document.rules, packs[0]) if beside else packs[0])
            for site, document in self.documents.items()
        }


def read_rules(names: Sequence[str]) -> Packs:
    """Packs by their names: `builtin/lighting`, `lighting`, a file, or a folder of files.

    Raises:
        ModelError: there is no such pack, or it is not YAML.
    """
    packs: list[dict[str, Json]] = []
    lines: list[Lines] = []
    for name in names:
        path = Path(name)
        built_in = name if name.startswith("builtin/") else f"builtin/{name}"
        if path.is_dir():
            files = sorted((*path.glob("*.yaml"), *path.glob("*.yml")))
            found = [read_pack(file) for file in files if not file.name.endswith(CASES)]
            if not found:
                raise ModelError([Fault(name, 0, "holds no pack: no file *.yaml")])
        elif path.is_file():
            found = [read_pack(path)]
        elif built_in in built_in_packs():
            found = [read_built_in(built_in)]
        else:
            known = ", ".join(built_in_packs())
            raise ModelError([Fault(name, 0, f"there is no such file, and no pack of that name; known are {known}")])
        packs += [pack for pack, _ in found]
        lines += [line for _, line in found]
    return packs, lines


def of_stack(
    history: History,
    published: Mapping[str, Document],
    sites: Sequence[str],
    since: str | None,
    until: str | None,
    watch: Watch,
) -> Trial:
    """What a running stack holds.

    Args:
        history: its log.
        published: its documents.
        sites: which of them; none: all.
        since: local time at which the span begins; None: with the first reading.
        until: local time at which it ends; None: after the last reading.
        watch: is told how far it is.

    Raises:
        ConfigurationError: a site or a time is none.
        ReplayError: the history is incomplete, or empty.
    """
    documents = _chosen(published, sites)
    from_ms, to_ms = _bounds(documents, since, until)
    first_ms = ALL_FROM_MS if from_ms is None else from_ms - WARM_UP_MS
    last_ms = ALL_TO_MS if to_ms is None else to_ms
    sources = {topic: gather(history, documents, topic, first_ms, last_ms, watch) for topic in INPUTS}
    if not _any_reading(sources) and not history.positions():
        raise ReplayError("no worker has read anything of the log yet; is `ganzhi up` running?")
    if _outside(sources, from_ms, to_ms):  # read once more, to tell what is there instead
        sources = {topic: gather(history, documents, topic, watch=watch) for topic in INPUTS}
    return Trial(documents, sources, _span(sources, from_ms, to_ms))


def of_history(history: History, documents: Mapping[str, Document], since_ms: int | None, watch: Watch) -> Trial | None:
    """Everything that some sites have read since a time; None where that is nothing.

    Raises:
        HistoryIncomplete: part of the log is missing.
    """
    first_ms = ALL_FROM_MS if since_ms is None else since_ms
    sources = {topic: gather(history, documents, topic, first_ms, watch=watch) for topic in INPUTS}
    if not _any_reading(sources):
        return None
    return Trial(documents, sources, whole_span(sources))


def of_files(
    folder: Path,
    files: Sequence[Path],
    mapping_file: Path,
    sites: Sequence[str],
    since: str | None,
    until: str | None,
    report: Callable[[str], None],
) -> Trial:
    """A model folder and CSV files: no stack is needed, and none is asked.

    Args:
        folder: site model.
        files: CSV files, or folders that the mapping looks through.
        mapping_file: what their columns mean, as for `ganzhi import csv`.
        sites: which sites; none: all.
        since: see `of_stack`.
        until: see `of_stack`.
        report: is told of rows that cannot be used.

    Raises:
        ModelError: the model has a fault.
        ConfigurationError: files or mapping cannot be used.
        ReplayError: the files hold no reading.
    """
    return _of_tables(folder, files, mapping.load(mapping_file), sites, since, until, report)


def of_dataset(dataset: Dataset, data: Path, folder: Path) -> Trial:
    """A public data set, its model written into a folder.

    Raises:
        ConfigurationError: the data are not there.
        ReplayError: they hold no reading.
    """
    dataset.write_model(data, folder)
    return _of_tables(folder, [data], dataset.mapping(), [], None, None, _say_nothing)


def _say_nothing(sentence: str) -> None:
    del sentence


def _of_tables(
    folder: Path,
    files: Sequence[Path],
    tables: Sequence[mapping.Table],
    sites: Sequence[str],
    since: str | None,
    until: str | None,
    report: Callable[[str], None],
) -> Trial:
    model, faults = check_folder(folder)
    if faults:
        raise ModelError(faults)
    names = model.rows("sites").texts("id")
    documents = build_documents(model, Deployment({site: index for index, site in enumerate(names)}, {}, {}, {}))
    kept = _Kept()
    with Rejects(None) as rejects:
        work = CsvImport(tables, Catalog(documents), rejects)
        work.read(files)
        work.send(kept)
        for reject in rejects.first:
            report(str(reject))
        count = rejects.count
    if count > len(rejects.first):
        report(f"{count - len(rejects.first):,} more rows and cells cannot be used")
    if work.result.empty:
        report(f"{work.result.empty:,} rows and cells without a value are left out")
    if not kept.parts:
        raise ReplayError(f"no row can be used of {', '.join(map(str, files))}")
    silent = _silent_points(documents, kept)
    if silent:
        report(
            f"points of the model without a reading in these files: {', '.join(silent[:NAMED_MAX])}"
            + (f" and {len(silent) - NAMED_MAX:,} more" if len(silent) > NAMED_MAX else "")
        )
    if kept.events:
        report(f"{kept.events:,} events of waste and vehicles are left out: without a stack only readings are tried")
    chosen = _chosen(documents, sites)
    from_ms, to_ms = _bounds(chosen, since, until)
    readings = {site: Readings.of(parts) for site, parts in kept.parts.items() if site in chosen}
    sources = {METER_READINGS: readings}
    return Trial(chosen, sources, _span(sources, from_ms, to_ms), count)


def _silent_points(documents: Mapping[str, Document], kept: "_Kept") -> list[str]:
    """Points of meter.readings that nothing was read of; not those that the model makes itself."""
    found = []
    for site, document in documents.items():
        seen = {int(number) for part in kept.parts.get(site, ()) for number in np.unique(part[0])}
        columns = document.table("points")
        names = zip(columns["id"], columns["number"], columns["gateway"], strict=True)
        found += [str(name) for name, number, gateway in names if gateway and int(str(number)) not in seen]
    return found


def documents_of(folder: Path, published: Mapping[str, Document]) -> dict[str, Document]:
    """The documents that `apply` would make of a folder, of the sites that are published.

    Raises:
        ModelError: the model has a fault, or contradicts what is published.
        ConfigurationError: it has none of these sites.
    """
    model, faults = check_folder(folder)
    if faults:
        raise ModelError(faults)
    found = documents_from(model, published)
    if not found:
        raise ConfigurationError(f"{folder} has none of the sites {', '.join(sorted(published))}")
    return found


def documents_from(model: Model, published: Mapping[str, Document]) -> dict[str, Document]:
    """The documents that `apply` would make of a model, of the sites that are published.

    Raises:
        ModelError: the model contradicts what is published.
    """
    partitions = {site: document.partition for site, document in published.items()}
    for site in model.rows("sites").texts("id"):
        partitions.setdefault(site, max(partitions.values(), default=-1) + 1)
    domains = {site: document.domain for site, document in published.items()}
    made = build_documents(model, Deployment(partitions, domains, published, {}))
    return {site: document for site, document in made.items() if site in published}


class _Kept:
    """Takes what an import would send."""

    def __init__(self) -> None:
        self.parts: dict[str, list[tuple[NDArray[np.integer[Any]], ...]]] = {}
        self.events = 0

    def send(
        self,
        site: str,
        gateway: str,
        mode: Mode,
        times_ms: NDArray[np.int64],
        points: NDArray[np.int32],
        values: NDArray[np.int64],
        qualities: NDArray[np.int8],
    ) -> None:
        """Keeps readings."""
        del gateway, mode
        spans = np.zeros(len(times_ms), np.int64)
        self.parts.setdefault(site, []).append((points, times_ms, values, qualities, spans))

    def event(self, topic: str, site: str, contract: str, value: Mapping[str, object]) -> None:
        """Counts events."""
        del topic, site, contract, value
        self.events += 1

    def flush(self) -> None:
        """Nothing is under way."""


def _chosen(documents: Mapping[str, Document], sites: Sequence[str]) -> dict[str, Document]:
    unknown = sorted(set(sites) - set(documents))
    if unknown or not documents:
        known = ", ".join(sorted(documents)) or "none"
        raise ConfigurationError(f"unknown site {', '.join(unknown) or '-'}; published are: {known}")
    return {site: document for site, document in sorted(documents.items()) if not sites or site in sites}


def _bounds(documents: Mapping[str, Document], since: str | None, until: str | None) -> tuple[int | None, int | None]:
    zones = {str((document.table("sites").get("time_zone") or ["UTC"])[0]) for document in documents.values()}
    zone = zones.pop() if len(zones) == 1 else "UTC"
    from_ms, to_ms = (None if text is None else instant(text, zone) for text in (since, until))
    if from_ms is not None and to_ms is not None and from_ms >= to_ms:
        raise ConfigurationError(f"--from {since} is not before --to {until}")
    return from_ms, to_ms


def _any_reading(sources: Sources) -> bool:
    return any(len(readings) for sites in sources.values() for readings in sites.values())


def _outside(sources: Sources, from_ms: int | None, to_ms: int | None) -> bool:
    """Whether no reading lies between two bounds."""
    if not _any_reading(sources):
        return True
    whole = whole_span(sources)
    return (from_ms is not None and from_ms >= whole.to_ms) or (to_ms is not None and to_ms <= whole.from_ms)


def _span(sources: Sources, from_ms: int | None, to_ms: int | None) -> Span:
    whole = whole_span(sources)
    span = Span(whole.from_ms if from_ms is None else from_ms, whole.to_ms if to_ms is None else to_ms)
    if _outside(sources, from_ms, to_ms):
        asked = (("from", from_ms), ("to", to_ms))
        words = " ".join(f"{word} {iso(bound)}" for word, bound in asked if bound is not None)
        raise ConfigurationError(
            f"there is no reading {words}: "
            f"the first one is of {iso(whole.from_ms)}, the last one of {iso(whole.to_ms - 1)}"
        )
    return span


def instant(text: str, zone: str) -> int:
    """UTC milliseconds of a date or time; one without an offset is local time of the zone.

    Raises:
        ConfigurationError: it is neither.
    """
    try:
        when = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"{text!r} is no time; write 2026-03-01 or 2026-03-01T08:00") from error
    if when.tzinfo is None:
        when = when.replace(tzinfo=zoneinfo.ZoneInfo(zone))
    return round(when.timestamp() * 1000)


def iso(time_ms: int) -> str:
    """A time as programs read it, UTC."""
    when = dt.datetime.fromtimestamp(time_ms / 1000, dt.UTC)
    return when.strftime("%Y-%m-%dT%H:%M:%S") + (f".{time_ms % 1000:03d}" if time_ms % 1000 else "") + "Z"
