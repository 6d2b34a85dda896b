"""What rules run on: one that fits nothing stays silent, and looks like one that has nothing to say."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from schemas.model.document import Document
from schemas.rules.format import Each
from schemas.rules.instances import compile_rules, missing_roles
from schemas.rules.language import suggest
from schemas.rules.parsed import Parsed, parse_rules
from schemas.rules.subjects import SiteView
from schemas.topics import INPUTS

SAID_MAX: Final = 3
"""More rules than these are only named, where others of theirs run."""


def idle_rules(documents: Iterable[Document]) -> dict[str, str]:
    """Rules that run on nothing at any of the sites, and why, in the order of the packs.

    Args:
        documents: with rules that `check` takes.

    Returns:
        Rule → half a sentence: nothing is of its kind, it is off, or everything of its kind lacks a role.
    """
    rules: dict[str, Parsed] = {}
    lacking: dict[str, list[str]] = defaultdict(list)
    works: set[str] = set()
    views = []
    for document in documents:
        rules |= {parsed.rule.alert: parsed for parsed in parse_rules(document)}
        for topic in INPUTS:
            compiled = compile_rules(document, topic)
            works |= {compiled.names[rule] for rule in set(compiled.inst_rule.tolist())}
        for rule, role in lacking_roles(document):
            lacking[rule].append(role)
        views.append(SiteView(document))
    return {name: _why(parsed, views, lacking[name]) for name, parsed in rules.items() if name not in works}


def lacking_roles(document: Document) -> dict[tuple[str, str], list[str]]:
    """(rule, role) → subjects that the rule selects and on which it does not run for want of the role."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for rule, subject, role in missing_roles(document):
        found[rule, role].append(subject)
    return dict(found)


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
    found = idle_rules(documents.values())
    if len(found) > SAID_MAX and any(len(parse_rules(document)) > len(found) for document in documents.values()):
        return [f"{len(found)} rules find nothing here that they could run on: {', '.join(found)}"]
    return [f"{rule} runs on nothing: {why}" for rule, why in found.items()]
