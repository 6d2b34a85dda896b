"""The rules of a document with their expressions as trees, and what of them holds for a subject."""

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from typing import Final

from schemas.errors import Fault, ModelError
from schemas.model.document import Document
from schemas.rules.format import Override, Rule, overrides_of, parse_pack
from schemas.rules.language import Call, Node, parse, walk
from schemas.rules.subjects import SiteView, Subject

_CALENDAR: Final = ("schedule", "workday", "night", "baseline", "quantile")


@dataclasses.dataclass(frozen=True)
class Settings:
    """A rule's adjustable parts for one subject, after its overrides."""

    params: tuple[tuple[str, str], ...]
    for_ms: int
    keep_ms: int
    severity: str


@dataclasses.dataclass(frozen=True)
class Parsed:
    """A rule with its expressions as trees; `path` is where it is in its pack, `timed` are the roles of interval()."""

    rule: Rule
    overrides: tuple[Override, ...]
    raising: Node
    clearing: Node | None
    estimating: Node | None
    timed: frozenset[str]
    scheduled: bool
    pack: int
    path: tuple[str | int, ...]

    @functools.cached_property
    def defaults(self) -> Settings:
        """What holds without overrides."""
        params = tuple(sorted(self.rule.params.items()))
        return Settings(params, self.rule.for_ms, self.rule.keep_ms, self.rule.severity)

    @functools.cached_property
    def text(self) -> str:
        """Everything that says what the rule is, its overrides too: rules of one text are one rule."""
        return "\n".join(one.model_dump_json() for one in (self.rule, *self.overrides))

    @functools.cached_property
    def members(self) -> str:
        """What says on whom the rule runs, and on which of their points."""
        return self.rule.model_dump_json(include={"each", "roles"})

    def settings(self, subject: Subject, view: SiteView) -> Settings | None:
        """What holds for a subject; None where an override disables the rule."""
        if not self.overrides:
            return self.defaults if self.rule.enabled else None
        params = dict(self.rule.params)
        found = Settings((), self.rule.for_ms, self.rule.keep_ms, self.rule.severity)
        enabled = self.rule.enabled
        spaces: Sequence[str] = view.spaces_of(subject) if any(one.space for one in self.overrides) else ()
        for one in self.overrides:
            if _fits(one, subject, view.site, spaces):
                enabled = one.enabled
                params.update(one.params)
                found = Settings(
                    (),
                    found.for_ms if one.for_ms is None else one.for_ms,
                    found.keep_ms if one.keep_ms is None else one.keep_ms,
                    one.severity or found.severity,
                )
        return dataclasses.replace(found, params=tuple(sorted(params.items()))) if enabled else None


def parse_rules(document: Document) -> list[Parsed]:
    """The rules of a document, in order.

    Raises:
        ModelError: a pack that `check_packs` would have refused.
    """
    found = []
    for number, raw in enumerate(document.rules):
        try:
            pack = parse_pack(raw)
        except ValueError as error:
            raise ModelError([Fault(f"rules[{number}]", 0, f"not a rule pack: {error}")]) from error
        found += [
            parse_rule(rule, overrides_of(pack, rule), number, ("rules", index))
            for index, rule in enumerate(pack.rules)
        ]
    return found


def parse_rule(rule: Rule, overrides: tuple[Override, ...], pack: int, path: tuple[str | int, ...]) -> Parsed:
    """Parses the expressions of a rule.

    Raises:
        ExpressionError: one of them is wrong.
    """
    raising, clearing = parse(rule.expr), parse(rule.clear) if rule.clear else None
    estimating = parse(rule.estimate) if rule.estimate else None
    calls = [node for tree in (raising, clearing, estimating) if tree for node in walk(tree) if isinstance(node, Call)]
    return Parsed(
        rule,
        overrides,
        raising,
        clearing,
        estimating,
        frozenset(call.argument for call in calls if call.function == "interval"),
        any(call.function in _CALENDAR for call in calls),
        pack,
        path,
    )


def _fits(override: Override, subject: Subject, site: str, spaces: Iterable[str]) -> bool:
    return (
        (not override.site or site in override.site)
        and (not override.subject or subject.id in override.subject)
        and (not override.kind or not subject.kinds.isdisjoint(override.kind))
        and (not override.tags or set(override.tags) <= subject.tags)
        and (not override.space or not set(override.space).isdisjoint(spaces))
    )
