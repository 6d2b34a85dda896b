"""What-if: two rule sets, tariffs or models on the same history, and what differs between them.

Episodes of one rule and subject that overlap are the same one, longer or shorter or as it was; one that overlaps none
of the other side is gained or lost.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

from replay.backtest import Backtest
from replay.episodes import Episode
from schemas.codec import Json
from schemas.errors import ConfigurationError
from schemas.model.document import Document
from schemas.rules.format import parse_duration

Change = Literal["gained", "lost", "longer", "shorter", "same"]
CHANGES: Final[tuple[Change, ...]] = ("gained", "lost", "longer", "shorter", "same")
Pack = dict[str, Json]


@dataclasses.dataclass(frozen=True)
class Pair:
    """An episode before and after; one of them is None where it was gained or lost."""

    change: Change
    before: Episode | None
    after: Episode | None

    @property
    def one(self) -> Episode:
        """The one that there is; the later one where both are."""
        found = self.after or self.before
        assert found is not None
        return found


def compare(before: Backtest, after: Backtest) -> list[Pair]:
    """Every episode of both sides once, by start."""
    theirs: dict[tuple[str, str, str], list[Episode]] = defaultdict(list)
    for one in before.episodes:
        theirs[one.key].append(one)
    to_ms = after.span.to_ms
    pairs: list[Pair] = []
    taken: set[int] = set()
    for new in after.episodes:
        old = next(
            (
                one
                for one in theirs[new.key]
                if id(one) not in taken and one.started_ms < new.end_by(to_ms) and new.started_ms < one.end_by(to_ms)
            ),
            None,
        )
        if old is None:
            pairs.append(Pair("gained", None, new))
            continue
        taken.add(id(old))
        lengths = [one.end_by(to_ms) - one.started_ms for one in (old, new)]
        change: Change = "same" if lengths[0] == lengths[1] else "longer" if lengths[1] > lengths[0] else "shorter"
        pairs.append(Pair(change, old, new))
    pairs += [Pair("lost", one, None) for one in before.episodes if id(one) not in taken]
    return sorted(pairs, key=lambda pair: (pair.one.started_ms, pair.one.key, pair.change))


def replaced(rules: Sequence[Pack], new: Sequence[Pack]) -> list[Pack]:
    """A rule set in which packs take the place of those of their names, and of rules of the same names elsewhere."""
    names = {str(pack.get("pack")) for pack in new}
    alerts = {alert for pack in new for alert in alerts_of(pack)}
    kept: list[Pack] = []
    for pack in rules:
        if str(pack.get("pack")) in names:
            continue
        own = _rules(pack)
        left = [rule for rule in own if _alert(rule) not in alerts]
        if len(left) == len(own):
            kept.append(pack)
            continue
        kept.append(_with_rules(pack, left))
    return [pack for pack in kept if pack.get("rules")] + list(new)


def narrowed(rules: Sequence[Pack], alerts: Iterable[str]) -> list[Pack]:
    """A rule set with some of its rules alone, and those that inhibit them: their alerts are as in the whole of it."""
    inhibited = {_alert(rule): _inhibitors(rule) for pack in rules for rule in _rules(pack)}
    wanted: set[str] = set()
    more = set(alerts)
    while more:
        wanted |= more
        more = {name for one in more for name in inhibited.get(one, ())} - wanted
    return [_with_rules(pack, [rule for rule in _rules(pack) if _alert(rule) in wanted]) for pack in rules]


def only_what_differs(before: Document, after: Document) -> tuple[Document, Document]:
    """Two documents of a site with those rules alone whose alerts can differ; whole ones where more than rules differs.

    A rule can when its text or an override of it is another, or when one that inhibits it can. A whole rule set takes
    several times as long on the same history.
    """
    if _but_rules(before) != _but_rules(after):
        return before, after
    sides = (before.rules, after.rules)
    old, new = map(_texts, sides)
    names = {alert for alert in old.keys() | new.keys() if old.get(alert) != new.get(alert)}
    inhibited = [(_alert(rule), _inhibitors(rule)) for rules in sides for pack in rules for rule in _rules(pack)]
    while more := {alert for alert, by in inhibited if alert not in names and not names.isdisjoint(by)}:
        names |= more
    first, second = (
        dataclasses.replace(document, rules=narrowed(document.rules, names)) for document in (before, after)
    )
    return first, second


def _but_rules(document: Document) -> list[object]:
    fields = [field.name for field in dataclasses.fields(document) if field.name not in ("rules", "tables")]
    return [dict(document.tables), *(getattr(document, name) for name in fields)]


def _texts(rules: Sequence[Pack]) -> dict[str, object]:
    """Alert → its rule and the overrides that name it."""
    found: dict[str, object] = {}
    for pack in rules:
        overrides = pack.get("overrides")
        own = overrides if isinstance(overrides, list) else []
        for rule in _rules(pack):
            found[_alert(rule)] = (rule, [one for one in own if _alert(rule) in _names(one)])
    return found


def _rules(pack: Mapping[str, Json]) -> list[Json]:
    found = pack.get("rules")
    return found if isinstance(found, list) else []


def _inhibitors(rule: Json) -> list[str]:
    named = rule.get("inhibited_by") if isinstance(rule, dict) else None
    return [str(one) for one in named] if isinstance(named, list) else [str(named)] if named else []


def _with_rules(pack: Pack, rules: list[Json]) -> Pack:
    """A pack with some of its rules, and the overrides that name one of them."""
    there = {_alert(rule) for rule in rules}
    overrides = pack.get("overrides")
    fitting = [one for one in overrides if _names(one) & there] if isinstance(overrides, list) else []
    return {**pack, "rules": rules, "overrides": fitting}


def alerts_of(pack: Mapping[str, Json]) -> list[str]:
    """The names of a pack's rules."""
    return [_alert(rule) for rule in _rules(pack)]


def _alert(rule: Json) -> str:
    return str(rule.get("alert")) if isinstance(rule, dict) else ""


def _names(override: Json) -> set[str]:
    named = override.get("alert") if isinstance(override, dict) else None
    return set(map(str, named)) if isinstance(named, list) else {str(named)}


@dataclasses.dataclass(frozen=True)
class Sweep:
    """One number of rules that takes several values: `for=5m..60m`, `power=20 W..200 W`.

    Attributes:
        name: for, keep_firing_for, or a parameter.
        values: as they are written in a rule.
    """

    name: str
    values: tuple[str, ...]

    def apply(self, packs: Sequence[Pack], value: str, only: Iterable[str] = ()) -> list[Pack]:
        """The packs with that value in every rule that has it, or in those of some names.

        Raises:
            ConfigurationError: no rule has it.
        """
        wanted = set(only)
        count = 0
        made = []
        for pack in packs:
            rules = pack.get("rules")
            changed: list[Json] = []
            for rule in rules if isinstance(rules, list) else []:
                if isinstance(rule, dict) and (not wanted or _alert(rule) in wanted):
                    params = rule.get("params")
                    if self.name in ("for", "keep_firing_for"):
                        rule = {**rule, self.name: value}
                        count += 1
                    elif isinstance(params, dict) and self.name in params:
                        rule = {**rule, "params": {**params, self.name: value}}
                        count += 1
                changed.append(rule)
            made.append({**pack, "rules": changed})
        if not count:
            raise ConfigurationError(
                f"no rule that is tried has {self.name!r}; sweep for, keep_firing_for or a parameter"
            )
        return made


STEPS: Final = 8
_DURATIONS: Final = ("for", "keep_firing_for")


def parse_sweep(text: str) -> Sweep:
    """A sweep as people write it: NAME=LOW..HIGH, or NAME=LOW..HIGH/STEPS; a unit stands behind both numbers.

    Raises:
        ConfigurationError: it is none.
    """
    name, _, span = text.partition("=")
    span, _, count = span.partition("/")
    low, dots, high = span.partition("..")
    wrong = ConfigurationError(f"--sweep {text!r}: write for=5m..60m, or power=20 W..200 W/10")
    if not (name and dots and low and high) or (count and not (count.isdigit() and 2 <= int(count) <= 100)):
        raise wrong
    steps = int(count or STEPS)
    try:
        if name in _DURATIONS:
            first, last = (parse_duration(part.strip()) for part in (low, high))
            values = [first + (last - first) * step // (steps - 1) for step in range(steps)]
            return Sweep(name, tuple(f"{value // 1000}s" for value in dict.fromkeys(values)))
        numbers, units = zip(*(_number(part) for part in (low, high)), strict=True)
        unit = units[1] or units[0]
        parts = [numbers[0] + (numbers[1] - numbers[0]) * step / (steps - 1) for step in range(steps)]
        return Sweep(name, tuple(f"{part:.6g} {unit}".strip() for part in parts))
    except ValueError as error:
        raise wrong from error


def _number(text: str) -> tuple[float, str]:
    digits = text.strip()
    cut = next((at for at, sign in enumerate(digits) if sign not in "0123456789.+-"), len(digits))
    return float(digits[:cut]), digits[cut:].strip()
