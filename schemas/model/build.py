"""From a checked model to one document a site: the rows that concern it, numbered points, and what apply adds.

Rows are ordered by their keys and points by their numbers, so that equal models give equal bytes however their files
are written.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from schemas.codec import Json
from schemas.errors import ConfigurationError, Fault, ModelError
from schemas.model.document import LIMITS, Document, Table
from schemas.model.generated import generated_points
from schemas.model.point_rules import site_of_places
from schemas.model.tables import LIST_TYPES, TABLES
from schemas.model.typed import Model, Rows, canonical
from schemas.topics import METER_READINGS
from schemas.units import MEDIA, UNITS

RETIRED: Final = "retired_points"
"""Numbers of points that are no longer in the model: (id, number); one that comes back gets its number back."""
NOT_TABLES: Final = ("calendars", "limits")
"""These have a place of their own in the document."""
POINT_COLUMNS: Final = ("number", "topic", "station", "bin", "vehicle", "waste_class", "measure")
"""What a document's points have beside the columns of the model."""
FIRST_NUMBER: Final = 1
NUMBER_MAX: Final = (1 << 31) - 1
"""Readings carry the number as an Avro int."""


@dataclass(frozen=True)
class Deployment:
    """What documents need to know beside the model.

    Attributes:
        partitions: partition of every site of the deployment, the model's and others.
        domains: domain of every published site.
        previous: the document of each site that is published.
        keys: key id → public key, for sites that have no document yet.
    """

    partitions: Mapping[str, int]
    domains: Mapping[str, str]
    previous: Mapping[str, Document]
    keys: Mapping[str, str]


def build_documents(model: Model, deployment: Deployment) -> dict[str, Document]:
    """One document for every site of a model that `check` found no fault in.

    Raises:
        ModelError: sites of different domains in one partition, or a point whose series is not what it was.
    """
    sites = model.rows("sites")
    names = sites.texts("id")
    faults = _domain_faults(sites, deployment)
    owners = _owners(model)
    documents: dict[str, Document] = {}
    for row, site in enumerate(names):
        tables = {
            name: _select(rows, [index for index, owner in enumerate(owners[name]) if owner is None or site in owner])
            for name, rows in model.tables.items()
            if name not in NOT_TABLES
        }
        previous = deployment.previous.get(site)
        retired, next_number = _number_points(site, tables, previous)
        if retired["id"]:
            tables[RETIRED] = retired
        _fill_price_units(tables)
        document = Document(
            site=site,
            domain=str(sites.columns["domain"][row]),
            partition=deployment.partitions[site],
            partitions=dict(sorted(deployment.partitions.items())),
            interval_s=int(str(sites.columns["interval_s"][row])),
            limits=_limits(model.rows("limits"), site),
            tables={name: table for name, table in tables.items() if table["id"]},
            rules=model.packs,
            calendars=_calendars(model.rows("calendars")),
            keys=dict(sorted((previous.keys if previous else deployment.keys).items())),
            next_number=next_number,
        )
        if previous is not None:
            faults.extend(_series_faults(model.rows("points"), previous, document))
        documents[site] = document
    if faults:
        raise ModelError(faults)
    return documents


def _domain_faults(sites: Rows, deployment: Deployment) -> list[Fault]:
    names, domains = sites.texts("id"), sites.texts("domain")
    first = {
        deployment.partitions[site]: (site, domain)
        for site, domain in deployment.domains.items()
        if site not in names and site in deployment.partitions
    }
    faults = []
    for row, (site, domain) in enumerate(zip(names, domains, strict=True)):
        other, others = first.setdefault(deployment.partitions[site], (site, domain))
        if others != domain:
            where = f"partition {deployment.partitions[site]}"
            faults.append(
                sites.fault(
                    row,
                    f"domain {domain!r}, but {other!r} in the same {where} is of {others!r}; a partition has one clock:"
                    " use another deployment (kafka.prefix) for it, or rename the site",
                )
            )
    return faults


def _owners(model: Model) -> dict[str, list[frozenset[str] | None]]:
    """For every row of every table: the sites that it concerns; None: all of them."""
    places = site_of_places(model)
    found: dict[str, dict[str, frozenset[str]]] = {
        "sites": {name: frozenset({name}) for name in model.rows("sites").texts("id")},
        "buildings": {name: frozenset({site}) for name, site in places.items()},
        "spaces": {name: frozenset({site}) for name, site in places.items()},
    }
    owners: dict[str, list[frozenset[str] | None]] = {}
    for name in ("points", "stations"):
        rows = model.rows(name)
        found[name] = {key: frozenset({site}) for key, site in zip(rows.texts("id"), rows.texts("site"), strict=True)}
    found["equips"] = _equip_sites(model, places)
    found["meters"] = _meter_sites(model, found["points"])
    for name, rows in model.tables.items():
        owners[name] = [None] * len(rows)
        if name in ("sites", "equips", "meters"):
            owners[name] = [found[name].get(key, frozenset()) for key in rows.texts("id")]
        elif name == "apportion":
            owners[name] = [found["points"].get(key, frozenset()) for key in rows.texts("source")]
        elif ":" in rows.spec.scope:
            column = rows.spec.columns[rows.spec.scope.partition(":")[2]]
            known = found[column.argument[0]]
            owners[name] = [known.get(key, frozenset()) for key in rows.texts(column.name)]
        elif name == "tariffs":
            owners[name] = [frozenset({site}) if site else None for site in rows.texts("site")]
    # In a deployment of one site a bay need not say which.
    if "bays" in owners and len(model.rows("sites")) == 1:
        owners["bays"] = [None] * len(model.rows("bays"))
    return owners


def _equip_sites(model: Model, places: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """An equip is of the site that it says, of its place, of the spaces it serves, of its points, and of its parent."""
    equips, points = model.rows("equips"), model.rows("points")
    names = equips.texts("id")
    found: dict[str, set[str]] = {name: set() for name in names}
    columns = (equips.texts("site"), equips.texts("space"), equips.columns["serves"])
    for name, site, space, serves in zip(names, *columns, strict=True):
        served = serves if isinstance(serves, list) else []
        found[name].update(part for part in (site, places.get(space), *(places.get(str(s)) for s in served)) if part)
    for equip, site in zip(points.texts("equip"), points.texts("site"), strict=True):
        if equip in found:
            found[equip].add(site)
    parents = dict(zip(names, equips.texts("parent"), strict=True))
    for name in names:  # a part says less than the whole, and the whole is needed wherever a part is
        above, own = parents[name], set(found[name])
        while above:
            found[above] |= own
            own |= found[above]
            above = parents.get(above, "")
        found[name] |= own
    return {name: frozenset(sites) for name, sites in found.items()}


def _meter_sites(model: Model, points: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    meters, installed = model.rows("meters"), model.rows("meter_install")
    found = {
        name: frozenset({site}) if site else frozenset()
        for name, site in zip(meters.texts("id"), meters.texts("site"), strict=True)
    }
    for meter, point in zip(installed.texts("meter"), installed.texts("point"), strict=True):
        found[meter] = found.get(meter, frozenset()) | points.get(point, frozenset())
    return found


def _select(rows: Rows, members: Sequence[int]) -> Table:
    """Columns of some rows, by key; where a key may be there several times, by everything else as well."""
    first = [*rows.spec.key, *(("valid_from",) if rows.spec.dated else ())]
    names = ["id"] if rows.spec.key == ("id",) else [*first, *(name for name in rows.columns if name not in first)]
    ordered = sorted(members, key=lambda row: [canonical(rows.columns[name][row]) for name in names])
    return {name: [values[row] for row in ordered] for name, values in rows.columns.items()}


def _number_points(site: str, tables: dict[str, Table], previous: Document | None) -> tuple[Table, int]:
    """Adds the generated points and the columns of the document; numbers every point.

    Returns:
        The retired points and the next free number.
    """
    columns = TABLES["points"].columns
    table = tables.get("points") or {name: [] for name in columns}
    count = len(table["id"])
    more = list(generated_points(site, tables))
    for name, column in columns.items():
        none: Json = [] if column.type in LIST_TYPES else None
        table[name] = table[name] + [row.get(name, _GENERATED.get(name, none)) for row in more]
    table["interval_s"] = [0 if value is None else value for value in table["interval_s"]]
    table["unit"] = [value or "1" for value in table["unit"]]
    for name in POINT_COLUMNS:
        table[name] = [METER_READINGS if name == "topic" else None] * count + [row.get(name) for row in more]
    known = known_numbers(previous)
    number = previous.next_number if previous else FIRST_NUMBER
    # New points of a gateway get numbers side by side.
    fresh = [(str(gateway or "~"), str(name)) for gateway, name in zip(table["gateway"], table["id"], strict=True)]
    for _, name in sorted(pair for pair in fresh if pair[1] not in known):
        known[name] = number
        number += 1
    if number > NUMBER_MAX:
        raise ConfigurationError(f"site {site} has used up its point numbers")
    table["number"] = [known.pop(str(name)) for name in table["id"]]
    order = sorted(range(len(table["number"])), key=lambda row: int(str(table["number"][row])))
    tables["points"] = {name: [values[row] for row in order] for name, values in table.items()}
    gone = sorted((left, name) for name, left in known.items())
    return {"id": [name for _, name in gone], "number": [left for left, _ in gone]}, number


_GENERATED: Final[Mapping[str, Json]] = {"interval_s": 0, "clock": "live", "writable": False, "source": "apply"}


def known_numbers(document: Document | None) -> dict[str, int]:
    """Point → number, of the points of a document and those that it remembers."""
    if document is None:
        return {}
    found: dict[str, int] = {}
    for name in ("points", RETIRED):
        table = document.table(name)
        ids, numbers = table.get("id", []), table.get("number", [])
        found.update((str(key), int(str(number))) for key, number in zip(ids, numbers, strict=True))
    return found


def _fill_price_units(tables: Mapping[str, Table]) -> None:
    for name in ("tariffs", "factors"):
        table = tables.get(name)
        if table is not None:
            pairs = zip(table["unit"], table["medium"], strict=True)
            table["unit"] = [unit or MEDIA[str(medium)].price_unit for unit, medium in pairs]


def _limits(rows: Rows, site: str) -> dict[str, int]:
    """Defaults, then those for all sites, then those of the site."""
    found = dict(LIMITS)
    for wanted in ("", site):
        for name, owner, value in zip(rows.texts("name"), rows.texts("site"), rows.columns["value"], strict=True):
            if owner == wanted:
                found[name] = int(str(value))
    return found


def _calendars(rows: Rows) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for name, date, kind in zip(rows.texts("id"), rows.texts("date"), rows.texts("kind"), strict=True):
        found.setdefault(name, {})[date] = kind
    return found


def _series_faults(points: Rows, previous: Document, document: Document) -> Iterable[Fault]:
    """What the log holds under a number was counted in something: that may not change."""
    before = _series(previous)
    first = points.by_id()
    for name, series in _series(document).items():
        if before.get(name, series) != series:
            was, becomes = (" in ".join(words) for words in (before[name], series))
            message = f"{name!r} was a {was} and cannot become a {becomes}; give the new series a new id"
            yield points.fault(first[name], message) if name in first else Fault("points", 0, message)


def _series(document: Document) -> dict[str, tuple[str, str]]:
    table = document.table("points")
    columns = (table.get(name, []) for name in ("id", "kind", "unit"))
    return {
        str(name): (str(kind), str(unit) if kind == "gauge" else UNITS[str(unit)].dimension)
        for name, kind, unit in zip(*columns, strict=True)
    }
