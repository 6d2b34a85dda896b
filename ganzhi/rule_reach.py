"""What rules run on: one that fits nothing stays silent, and looks like one that has nothing to say."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from schemas.model.document import Document
from schemas.rules.binding import Binder
from schemas.rules.format import Each
from schemas.rules.instances import bound_rules
from schemas.rules.language import suggest
from schemas.rules.parsed import Parsed, parse_rules
from schemas.rules.subjects import SiteView
from schemas.topics import INPUTS

SAID_MAX: Final = 3
"""More rules than these are only named, where others of theirs run."""


class Reach(NamedTuple):
    """Who the rules of some sites run on.

    Attributes:
        idle: rule that runs on nothing at any of the sites → half a sentence why: nothing is of its kind, it is off, or
            everything of its kind lacks a role. In the order of the packs.
        lacking: (rule, role) → subjects that the rule selects and on which it does not run for want of the role.
    """

    idle: dict[str, str]
    lacking: dict[tuple[str, str], list[str]]


def reach(documents: Iterable[Document]) -> Reach:
    """Binds every rule once, and says where that led to nothing.

    Args:
        documents: with rules that `check` takes.
    """
    rules: dict[str, Parsed] = {}
    lacking: dict[tuple[str, str], list[str]] = defaultdict(list)
    works: set[str] = set()
    views = []
    for document in documents:
        parsed, view = parse_rules(document), SiteView(document)
        rules |= {one.rule.alert: one for one in parsed}
        for topic in INPUTS:
            bound = bound_rules(parsed, Binder(document, view, topic).bind)
            works |= {one.alert for one in bound if len(one.inst_variant)}
            for one, made in zip(parsed, bound, strict=True):
                for missing in made.missing if one.rule.each.sort != "point" else ():
                    lacking[missing.rule, missing.role].append(missing.subject)
        views.append(view)
    roles = {name: [role for rule, role in lacking if rule == name] for name in rules}
    idle = {name: _why(one, views, roles[name]) for name, one in rules.items() if name not in works}
    return Reach(idle, dict(lacking))


def _why(parsed: Parsed, views: Sequence[SiteView], lacking: Sequence[str]) -> str:
    rule = parsed.rule
    each, sort = rule.each, rule.each.sort
    fitting = [(view, subject) for view in views for subject in view.subjects(each)]
    if fitting and not any(parsed.settings(subject, view) for view, subject in fitting):
        return f"it is switched off on the {_counted(len(fitting), sort)} that would fit (`enabled`)"
    if fitting and lacking:
        meant = " or ".join(rule.roles[lacking[0]].role)
        return f"none of the {_counted(len(fitting), sort)} that would fit has a point of role {meant}"
    if fitting:
        return f"none of the {_counted(len(fitting), sort)} that would fit has what its roles ask for"
    everything = Each.model_validate({sort: "any"})
    kinds = [kind for view in views for subject in view.subjects(everything) for kind in sorted(subject.kinds)]
    unknown = [kind for kind in each.kinds if kind not in kinds]
    if len(unknown) == len(each.kinds) > 0:
        return f"no {sort} is of kind {' or '.join(unknown)}{suggest(unknown[0], kinds)}"
    return f"no {sort} fits what `each` asks for"


def _counted(count: int, sort: str) -> str:
    return f"{count:,} {sort}{'' if count == 1 else 's'}"


def idle_sentences(documents: Mapping[str, Document]) -> list[str]:
    """A sentence for each rule that runs on nothing; one for all of them where they are many, as of a whole pack."""
    found = reach(documents.values()).idle
    if len(found) > SAID_MAX and any(len(parse_rules(document)) > len(found) for document in documents.values()):
        return [f"{len(found)} rules find nothing here that they could run on: {', '.join(found)}"]
    return [f"{rule} runs on nothing: {why}" for rule, why in found.items()]
