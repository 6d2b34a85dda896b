"""The rules of a document, bound to the points of its site: what a layout is built from.

`binding` binds one rule, `bound` makes one set of arrays of all of them, `memory` keeps both for the next document.
"""

import datetime as dt
from collections.abc import Callable, Iterable

from schemas.errors import Fault, ModelError
from schemas.model.document import LIMITS, Document
from schemas.rules.binding import Binder
from schemas.rules.bound import BoundRule, Missing, join
from schemas.rules.nearby import by_points
from schemas.rules.parsed import Parsed, parse_rules
from schemas.rules.program import CompiledRules
from schemas.rules.subjects import SiteView
from schemas.topics import INPUTS

Bind = Callable[[Parsed], BoundRule]


def compile_rules(document: Document, topic: str, at: dt.date | None = None) -> CompiledRules:
    """All rules of a site that read a topic, bound to its points.

    Args:
        document: the site's document.
        topic: an input topic, without prefix.
        at: local date whose rows of the model hold; None: rows that have no end.

    Raises:
        ModelError: rules that `check_packs` would have refused.
    """
    view = SiteView(document, at)
    return bind_rules(document, view, Binder(document, view, topic).bind)


def bind_rules(document: Document, view: SiteView, bind: Bind) -> CompiledRules:
    """All rules of a document, as somebody binds each of them.

    Raises:
        ModelError: rules that `check_packs` would have refused.
    """
    bound = bound_rules(parse_rules(document), bind)
    return by_points(join(bound, view.ids, document.limits.get("stale_ms", LIMITS["stale_ms"])))


def bound_rules(rules: Iterable[Parsed], bind: Bind) -> list[BoundRule]:
    """Rules, each as somebody binds it.

    Raises:
        ModelError: rules that `check_packs` would have refused.
    """
    bound = [bind(parsed) for parsed in rules]
    faults = [fault for one in bound for fault in one.faults]
    if faults:
        raise ModelError([Fault(f"rules[{fault.pack}]", 0, fault.message) for fault in faults])
    return bound


def missing_roles(document: Document, at: dt.date | None = None) -> list[tuple[str, str, str]]:
    """(rule, subject, role) of every subject that a rule selects and that has no instance for want of the role."""
    view = SiteView(document, at)
    parsed = parse_rules(document)
    found: list[Missing] = []
    for topic in INPUTS:
        binder = Binder(document, view, topic)
        for one in parsed:
            if one.rule.each.sort != "point":
                found += binder.bind(one).missing
    return [(one.rule, one.subject, one.role) for one in found]
