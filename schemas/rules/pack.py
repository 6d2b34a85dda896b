"""Checking packs against a document: every fault with file and line, before anything is published."""

from collections.abc import Iterator, Sequence
from fractions import Fraction

from schemas import units
from schemas.codec import Json
from schemas.errors import ExpressionError, Fault
from schemas.model.document import Document
from schemas.roles import ROLES
from schemas.rules.compile import Scope, compile_expression
from schemas.rules.format import ANYTHING, Pack, Rule, ValidationError, overrides_of, parse_pack
from schemas.rules.instances import Binder, Parsed, parse_rule
from schemas.rules.language import Node, Number, Param, Truth, Unary, parse, suggest, walk
from schemas.rules.program import ROLES_MAX
from schemas.rules.quantities import Quantity, of_role
from schemas.rules.reading import Lines, built_in_packs, format_faults, read_built_in, read_pack
from schemas.rules.schedules import WORKDAY
from schemas.rules.subjects import SiteView
from schemas.topics import INPUTS

SEVERITIES = ("info", "warning", "critical")
_SAMPLE_INTERVAL_MS = 900_000


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
        for parsed in rules:
            binder.add(parsed)
        seen = set()
        for fault in binder.faults:
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
        self.faults.append(self.lines.fault((*self.path, *part), message, line_of_text))

    def check(self, pack: Pack, number: int) -> Parsed | None:
        """The parsed rule, if it may be bound."""
        self.names()
        params = [(("params", name), name, text) for name, text in self.rule.params.items()]
        overrides = overrides_of(pack, self.rule)
        for override in overrides:
            params += [(("params", name), name, text) for name, text in override.params.items()]
        texts = {name: self.literal(part, name, text) for part, name, text in params}
        if self.faults or not all(texts.values()):
            return None
        sets = [
            self.rule.params,
            *({**self.rule.params, **override.params} for override in overrides if override.params),
        ]
        for index, values in enumerate(sets):
            self.compile(
                {name: parse(text) for name, text in values.items()},
                f"with the parameters of override {index}: " if index else "",
            )
        return None if self.faults else parse_rule(self.rule, overrides, number, self.path)

    def names(self) -> None:
        """Roles, kinds of points, wasted quantities, labels."""
        rule = self.rule
        if len(rule.roles) > ROLES_MAX:
            self.fail(("roles",), f"{len(rule.roles)} roles; at most {ROLES_MAX}")
        for name, binding in rule.roles.items():
            if binding.role not in ROLES and not (binding.role == ANYTHING and rule.each.sort == "point"):
                self.fail(("roles", name), f"unknown role {binding.role!r}{suggest(binding.role, ROLES)}")
        for role in rule.each.kinds if rule.each.sort == "point" else ():
            if role not in ROLES:
                self.fail(("each", "point"), f"unknown role {role!r}{suggest(role, ROLES)}")
        for name in rule.wastes:
            if name not in rule.roles:
                self.fail(("wastes",), f"{name!r} is not one of the roles{suggest(name, rule.roles)}")
            elif not _countable(rule.roles[name].role):
                self.fail(
                    ("wastes",), f"{name!r} has no quantity that could be wasted; a power, a flow or a counter has"
                )
        if rule.severity not in SEVERITIES:
            self.fail(("labels", "severity"), f"unknown severity {rule.severity!r}{suggest(rule.severity, SEVERITIES)}")
        for language in ("zh", "en"):
            if language not in rule.annotations:
                self.fail(("annotations",), f"{language!r} is missing; both zh and en are shown to people")
        if rule.clock == "data":
            self.fail(("clock",), "rules follow the live clock; set the clock of points that upload late instead")
        unknown = {name for override in rule.overrides for name in override.params} - set(rule.params)
        for name in sorted(unknown):
            self.fail(("overrides",), f"unknown parameter {name!r}{suggest(name, rule.params)}")

    def literal(self, part: tuple[str | int, ...], name: str, text: str) -> Node | None:
        """A parameter: a number with its unit, or a truth."""
        if name not in self.rule.params:
            self.fail(part, f"unknown parameter {name!r}{suggest(name, self.rule.params)}")
            return None
        try:
            node = parse(text)
        except ExpressionError as error:
            self.fail(part, f"{name}: column {error.column}: {error.reason}")
            return None
        inner = node.operand if isinstance(node, Unary) and node.operator == "-" else node
        if not isinstance(inner, Number | Truth):
            self.fail(part, f"{name}: {text!r} is not a number with its unit, nor true or false")
            return None
        return node

    def compile(self, params: dict[str, Node], context: str) -> None:
        """Compiles both expressions with roles in steps that stand for any."""
        roles: dict[str, Quantity | None] = {
            name: None if binding.role == ANYTHING else _sample(binding.role)
            for name, binding in self.rule.roles.items()
        }
        scope = Scope(roles, params, _AnySchedule({WORKDAY: 0}), dict.fromkeys(roles, _SAMPLE_INTERVAL_MS))
        used: set[str] = set()
        for part, text in (("expr", self.rule.expr), ("clear", self.rule.clear)):
            if not text:
                continue
            try:
                tree = parse(text)
                used |= {node.name for node in walk(tree) if isinstance(node, Param)}
                compile_expression(tree, scope)
            except ExpressionError as error:
                self.fail((part,), f"{context}column {error.column}: {error.reason}", error.line - 1)
        for name in sorted(set(params) - used) if not self.faults else ():
            self.fail(("params", name), f"${name} is used by neither expr nor clear")


def _sample(role: str) -> Quantity:
    quantity = of_role(ROLES[role])
    return (
        Quantity(quantity.dimension, Fraction(1, 10**9) * quantity.step, quantity.state)
        if not quantity.state
        else quantity
    )


def _countable(role: str) -> bool:
    if role == ANYTHING:
        return True
    dimension = ROLES[role].dimension
    return dimension in units.SMALLEST or any(
        unit.integral_divisor for unit in units.UNITS.values() if unit.dimension == dimension
    )


__all__ = ["Lines", "built_in_packs", "check_packs", "read_built_in", "read_pack"]
