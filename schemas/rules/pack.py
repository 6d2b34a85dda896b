"""Checking packs against a document: every fault with file and line, before anything is published."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

from schemas import units
from schemas.codec import Json
from schemas.errors import ExpressionError, Fault
from schemas.model.document import Document
from schemas.roles import ROLES
from schemas.rules.binding import Binder
from schemas.rules.compile import Scope, compile_estimate, compile_expression
from schemas.rules.format import (
    ANYTHING,
    SEVERITIES,
    Binding,
    Override,
    Pack,
    Rule,
    ValidationError,
    overrides_of,
    parse_pack,
)
from schemas.rules.language import Node, Number, Param, Truth, Unary, parse, suggest, walk
from schemas.rules.parsed import Parsed, parse_rule
from schemas.rules.program import ROLES_MAX
from schemas.rules.quantities import Quantity, of_role
from schemas.rules.reading import Lines, built_in_packs, format_faults, read_built_in, read_pack
from schemas.rules.schedules import WORKDAY
from schemas.rules.subjects import SiteView
from schemas.topics import INPUTS

_SAMPLE_INTERVAL_MS = 900_000
_FINE = Fraction(1, 10**6)
"""Steps of the values that stand for any: finer than what a meter counts, and coarse enough for 9 TWh. What a constant
is in the steps of real points is judged when a rule is bound to them."""


def check_packs(packs: Sequence[dict[str, Json]], sources: Sequence[Lines], document: Document) -> list[Fault]:
    """All faults of the rule packs of a document: format, names, expressions, units, and what only shows on its points.

    Args:
        packs: as `read_pack` gave them.
        sources: their lines, in the same order.
        document: the site that they are for; its own `rules` are not looked at.

    Returns:
        The faults by pack and line; empty: the packs can be published.
    """
    faults: list[Fault] = []
    rules: list[Parsed] = []
    seen: dict[str, str] = {}
    for number, (raw, lines) in enumerate(zip(packs, sources, strict=True)):
        try:
            pack = parse_pack(raw)
        except ValidationError as error:
            faults += format_faults(error, lines)
            continue
        for index, rule in enumerate(pack.rules):
            path: tuple[str | int, ...] = ("rules", index)
            place = lines.fault((*path, "alert"), "")
            if rule.alert in seen:
                faults.append(
                    Fault(place.file, place.line, f"rule {rule.alert!r} is there already, in {seen[rule.alert]}")
                )
                continue
            seen[rule.alert] = f"{place.file}:{place.line}"
            checker = _Checker(rule, lines, path)
            parsed = checker.check(pack, number)
            faults += checker.faults
            rules += [parsed] if parsed else []
        faults += _check_overrides(pack, lines)
    faults += _bound_faults(rules, sources, document)
    return faults


def _bound_faults(rules: Sequence[Parsed], sources: Sequence[Lines], document: Document) -> Iterator[Fault]:
    view = SiteView(document)
    for topic in INPUTS:
        binder = Binder(document, view, topic)
        seen = set()
        for fault in (fault for parsed in rules for fault in binder.bind(parsed).faults):
            if (fault.pack, fault.path) not in seen:  # one example of each is enough
                seen.add((fault.pack, fault.path))
                yield sources[fault.pack].fault(fault.path, fault.message)


def _check_overrides(pack: Pack, lines: Lines) -> Iterator[Fault]:
    names = {rule.alert for rule in pack.rules}
    for index, override in enumerate(pack.overrides):
        if not override.alert:
            yield lines.fault(("overrides", index), "'alert' is missing: it says which rules of the pack are meant")
        for name in override.alert:
            if name not in names:
                yield lines.fault(("overrides", index, "alert"), f"unknown rule {name!r}{suggest(name, names)}")


class _AnySchedule(dict[str, int]):
    """Takes every name for a schedule: a rule that binds no subject needs none."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> int:
        return 0


class _Checker:
    """Faults of one rule that show without any point."""

    def __init__(self, rule: Rule, lines: Lines, path: tuple[str | int, ...]) -> None:
        self.rule = rule
        self.lines = lines
        self.path = path
        self.faults: list[Fault] = []

    def fail(self, part: tuple[str | int, ...], message: str, line_of_text: int = 0) -> None:
        """A fault in a part of the rule."""
        self.faults.append(self.lines.fault((*self.path, *part), message, line_of_text))

    def fail_at(self, path: tuple[str | int, ...], message: str) -> None:
        """A fault anywhere in the pack."""
        self.faults.append(self.lines.fault(path, message))

    def check(self, pack: Pack, number: int) -> Parsed | None:
        """The parsed rule, if it may be bound."""
        self.names()
        defaults = self.literals((*self.path, "params"), self.rule.params)
        if not self.faults:
            self.compile(defaults, ())
        for path, override in self.overrides(pack):
            values = self.literals((*path, "params"), override.params)
            if values and not self.faults:
                self.compile({**defaults, **values}, (*path, "params"))
            if override.severity not in (None, *SEVERITIES):
                self.fail_at(
                    path, f"unknown severity {override.severity!r}{suggest(str(override.severity), SEVERITIES)}"
                )
        return None if self.faults else parse_rule(self.rule, overrides_of(pack, self.rule), number, self.path)

    def overrides(self, pack: Pack) -> Iterator[tuple[tuple[str | int, ...], Override]]:
        """Overrides that may concern the rule, with their places: its own, then the pack's."""
        for index, override in enumerate(self.rule.overrides):
            yield (*self.path, "overrides", index), override
        for index, override in enumerate(pack.overrides):
            if self.rule.alert in override.alert:
                yield ("overrides", index), override

    def names(self) -> None:
        """Roles, kinds of points, wasted quantities, labels."""
        rule = self.rule
        if len(rule.roles) > ROLES_MAX:
            self.fail(("roles",), f"{len(rule.roles)} roles; at most {ROLES_MAX}")
        for name, binding in rule.roles.items():
            self.binding(name, binding)
        kinds = rule.each.kinds if rule.each.sort == "point" else ()
        for part, role in (*(("lacks", role) for role in rule.each.lacks), *(("point", role) for role in kinds)):
            if role not in ROLES:
                self.fail(("each", part), f"unknown role {role!r}{suggest(role, ROLES)}")
        for name in rule.wastes:
            if name not in rule.roles:
                self.fail(("wastes",), f"{name!r} is not one of the roles{suggest(name, rule.roles)}")
            elif not all(map(_countable, rule.roles[name].role)):
                self.fail(
                    ("wastes",), f"{name!r} has no quantity that could be wasted; a power, a flow or a counter has"
                )
        if rule.severity not in SEVERITIES:
            self.fail(("labels", "severity"), f"unknown severity {rule.severity!r}{suggest(rule.severity, SEVERITIES)}")
        self.steps()
        for language in ("zh", "en"):
            if language not in rule.annotations:
                self.fail(("annotations",), f"{language!r} is missing; both zh and en are shown to people")
        if rule.clock == "data":
            self.fail(("clock",), "rules follow the live clock; set the clock of points that upload late instead")

    def steps(self) -> None:
        """Severities that the rule steps up to."""
        rule = self.rule
        unknown = [name for name in rule.escalate if name not in SEVERITIES]
        for name in unknown:
            self.fail(("escalate", name), f"unknown severity {name!r}{suggest(name, SEVERITIES)}")
        if not unknown and len(rule.steps(rule.severity)) < len(rule.escalate):
            self.fail(("escalate",), "every later step must be a higher severity than the one before")

    def binding(self, name: str, binding: Binding) -> None:
        """The roles of points that a role of the rule may be."""
        if binding.role == (ANYTHING,) and self.rule.each.sort in ("point", "gateway"):
            return
        if not binding.role:
            self.fail(("roles", name), "names no role")
        for role in binding.role:
            if role not in ROLES:
                self.fail(("roles", name), f"unknown role {role!r}{suggest(role, ROLES)}")
        if len({ROLES[role].dimension for role in binding.role if role in ROLES}) > 1:
            self.fail(("roles", name), f"{' and '.join(binding.role)} have different dimensions")

    def literals(self, path: tuple[str | int, ...], params: Mapping[str, str]) -> dict[str, Node]:
        """Parameters: numbers with their units, or truths."""
        found: dict[str, Node] = {}
        for name, text in params.items():
            if name not in self.rule.params:
                self.fail_at((*path, name), f"unknown parameter {name!r}{suggest(name, self.rule.params)}")
                continue
            try:
                node = parse(text)
            except ExpressionError as error:
                self.fail_at((*path, name), f"{name}: column {error.column}: {error.reason}")
                continue
            inner = node.operand if isinstance(node, Unary) and node.operator == "-" else node
            if isinstance(inner, Number | Truth):
                found[name] = node
            else:
                self.fail_at((*path, name), f"{name}: {text!r} is not a number with its unit, nor true or false")
        return found

    def compile(self, params: Mapping[str, Node], override: tuple[str | int, ...]) -> None:
        """Compiles both expressions with roles in steps that stand for any; faults of an override are at its path."""
        roles: dict[str, Quantity | None] = {
            name: None if ANYTHING in binding.role else _sample(binding.role[0])
            for name, binding in self.rule.roles.items()
        }
        scope = Scope(roles, params, _AnySchedule({WORKDAY: 0}), dict.fromkeys(roles, _SAMPLE_INTERVAL_MS))
        used: set[str] = set()
        for part, text in (("expr", self.rule.expr), ("clear", self.rule.clear), ("estimate", self.rule.estimate)):
            if not text:
                continue
            try:
                tree = parse(text)
                used |= {node.name for node in walk(tree) if isinstance(node, Param)}
                (compile_estimate if part == "estimate" else compile_expression)(tree, scope)
            except ExpressionError as error:
                if override:
                    self.fail_at(override, f"{part} of {self.rule.alert}: column {error.column}: {error.reason}")
                else:
                    self.fail((part,), f"column {error.column}: {error.reason}", error.line - 1)
        for name in sorted(set(params) - used) if not self.faults else ():
            self.fail(("params", name), f"${name} is used by neither expr nor clear nor estimate")


def _sample(role: str) -> Quantity:
    quantity = of_role(ROLES[role])
    return quantity if quantity.state else dataclasses.replace(quantity, step=_FINE * quantity.step)


def _countable(role: str) -> bool:
    found = ROLES.get(role)
    if found is None:
        return True  # anything, or unknown and told elsewhere
    rate = any(unit.integral_divisor for unit in units.UNITS.values() if unit.dimension == found.dimension)
    return rate or not {"register", "delta"}.isdisjoint(found.kinds)


__all__ = ["Lines", "built_in_packs", "check_packs", "read_built_in", "read_pack"]
