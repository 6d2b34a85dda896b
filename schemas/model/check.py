"""`check`: every fault of a model folder, with file and line; and the model itself when there is none."""

from pathlib import Path

from schemas.errors import Fault
from schemas.model.build import Deployment, build_documents
from schemas.model.folder import read_folder
from schemas.model.point_rules import check_points
from schemas.model.references import check_references
from schemas.model.sense import check_sense
from schemas.model.typed import Model, type_tables
from schemas.rules.pack import check_packs


def check_folder(path: Path) -> tuple[Model, list[Fault]]:
    """Reads and checks a model.

    Rule packs are checked once the tables have no fault: what a rule can run on is known only then.

    Returns:
        The model, and its faults in the order of files and lines; it may be built only when there is none.

    Raises:
        ModelError: there is no such folder, or it holds no file of a model.
    """
    folder = read_folder(path)
    model, faults = type_tables(folder)
    faults.extend(check_references(model))
    faults.extend(check_sense(model))
    faults.extend(check_points(model))
    if not faults:
        faults.extend(check_rules(model))
    return model, sorted(set(faults), key=lambda fault: (fault.file, fault.line, fault.message))


def check_rules(model: Model) -> list[Fault]:
    """Faults of the rule packs, for every site of a model whose tables have none."""
    if not model.packs:
        return []
    sites = model.rows("sites").texts("id")
    # Partitions play no part in what a rule may say; every site has one of its own here, so that no domains mix.
    partitions = {site: index for index, site in enumerate(sites)}
    documents = build_documents(model, Deployment(partitions, {}, {}, {}))
    return [fault for document in documents.values() for fault in check_packs(model.packs, model.pack_lines, document)]
