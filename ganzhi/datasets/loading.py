"""A public data set into the log: its model is applied, then all its files are imported."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from ganzhi.datasets.registry import Dataset
from schemas.control import SigningKey
from schemas.errors import ModelError
from schemas.model.check import check_folder
from schemas.settings import KafkaSettings
from streams.kafka_admin import create_missing
from streams.published import Change, apply_model, read_documents
from streams.sources.batching import BatchWriter
from streams.sources.catalog import Catalog
from streams.sources.csv_files import CsvImport, Imported, Progress
from streams.sources.rejects import Rejects


def apply_folder(kafka: KafkaSettings, folder: Path, key: SigningKey) -> list[Change]:
    """Checks a model folder and publishes it; makes the topics where they are missing.

    Raises:
        ModelError: the model has faults; nothing of it is published.
        LogError: the broker refuses it, or is away (KafkaUnavailable).
    """
    model, faults = check_folder(folder)
    if faults:
        raise ModelError(faults)
    create_missing(kafka)
    return apply_model(kafka, model, key)


def import_dataset(
    kafka: KafkaSettings,
    key: SigningKey,
    dataset: Dataset,
    data: Path,
    rejects: Rejects,
    progress: Progress,
    notify: Callable[[str], None] | None = None,
) -> tuple[list[Change], Imported]:
    """Applies the model of a data set and imports its files; doing it again changes no total.

    Args:
        kafka: where the log is.
        key: signs the model.
        dataset: which one.
        data: folder that holds it.
        rejects: takes what cannot be used.
        progress: is told how far it is.
        notify: is told when the broker is away.

    Raises:
        ConfigurationError: the folder does not hold the data set.
        LogError: the broker refuses something, or is away (KafkaUnavailable).
    """
    with tempfile.TemporaryDirectory(prefix="ganzhi-model-") as folder:
        dataset.write_model(data, Path(folder))
        changes = apply_folder(kafka, Path(folder), key)
    documents = read_documents(kafka)
    load = CsvImport(dataset.mapping(), Catalog(documents), rejects, progress)
    load.read([data])
    with BatchWriter(kafka, documents, notify) as writer:
        return changes, load.send(writer)
