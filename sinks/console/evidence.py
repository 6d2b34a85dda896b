"""Why an alert was raised: the points that its rule read, and the thresholds that it held them against."""

import dataclasses
import re
from collections.abc import Iterable, Iterator

from schemas.errors import GanzhiError
from schemas.rules.language import Binary, Node, Number, Param, Role, parse, walk
from schemas.rules.parsed import Parsed
from schemas.rules.subjects import SiteView, Subject
from schemas.topics import INPUTS
from schemas.units import UNITS
from sinks.console.places import Site

_SORTS = ("space", "equip", "point", "station", "vehicle")


@dataclasses.dataclass(frozen=True, slots=True)
class Threshold:
    """A limit of a role: `> 50 W`; `value` is in the unit of the role's points (a gauge's own unit, a state's 1)."""

    operator: str
    value: float
    said: str


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """A role of a rule on a subject: its points, and the thresholds of the rule for it."""

    role: str
    points: tuple[int, ...]
    thresholds: tuple[Threshold, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Evidence:
    """Attributes: expression, its parameters filled in; `for_ms`, how long it had to hold; roles with their points."""

    expression: str
    for_ms: int
    roles: tuple[Seen, ...]


def evidence(site: Site, rule: str, subject: str) -> Evidence | None:
    """What a rule looks at for a subject, by the document in force.

    Returns:
        None where the document no longer has the rule, or cannot bind it.
    """
    try:
        view, rules = site.rules
        parsed = next((one for one in rules if one.rule.alert == rule), None)
        found = _subject(view, parsed, subject) if parsed else None
        if parsed is None or found is None:
            return None
        settings = parsed.settings(found, view) or parsed.defaults
        params = {name: parse(text) for name, text in settings.params}
        roles = []
        for name, binding in parsed.rule.roles.items():
            points = [point for topic in INPUTS for point in view.bind(found, binding, topic)[1]]
            unit = (site.by_number[points[0].number].unit or "1") if points else "1"
            limits = tuple(dict.fromkeys(_thresholds(parsed.raising, name, params, unit)))
            roles.append(Seen(name, tuple(point.number for point in points), limits))
    except (GanzhiError, KeyError, ValueError):
        return None
    return Evidence(_written(parsed.rule.expr, settings.params), settings.for_ms, tuple(roles))


def _written(expression: str, params: Iterable[tuple[str, str]]) -> str:
    """An expression with the values that hold for its subject in the places of its parameters."""
    values = dict(params)
    return re.sub(r"\$(\w+)", lambda found: values.get(found[1], found[0]), expression)


def _subject(view: SiteView, parsed: Parsed, subject: str) -> Subject | None:
    return next((one for one in view.subjects(parsed.rule.each) if one.id == subject), None)


def _thresholds(tree: Node, role: str, params: dict[str, Node], unit: str) -> Iterator[Threshold]:
    """Comparisons of a role with a number, whichever side it is on."""
    turned = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
    for node in walk(tree):
        if not isinstance(node, Binary):
            continue
        for one, other, operator in (
            (node.left, node.right, node.operator),
            (node.right, node.left, turned.get(node.operator, node.operator)),
        ):
            limit = params.get(other.name) if isinstance(other, Param) else other
            if isinstance(one, Role) and one.name == role and isinstance(limit, Number):
                said = f"{operator} {float(limit.value):g} {limit.unit}".strip()
                yield Threshold(operator, _converted(limit, unit), said)


def _converted(limit: Number, unit: str) -> float:
    if limit.unit and limit.unit in UNITS and unit in UNITS:
        return float(limit.value * UNITS[limit.unit].ratio / UNITS[unit].ratio)
    return float(limit.value)
