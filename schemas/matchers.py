"""Which alerts a silence, a mute or a route is for: `rule=LightsInEmptyRoom|TapRuns, building!=b2, space=b2-04*`.

An alert has labels, each with any number of values (a room lies in its floor and its building: three values of
`space`). A condition `name=a|b` holds where one of the values is one of those written; `name!=a|b` where none is. `*`
stands for any characters. All conditions must hold; an empty matcher fits every alert.
"""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from schemas.errors import ActionError

Labels = Mapping[str, frozenset[str]]

NAMES: Final = (
    "site", "building", "space", "department", "gateway", "rule", "severity", "subject", "kind", "episode",
)  # fmt: skip
"""Labels that every alert may have; further ones are those of its rule."""
CONDITIONS_MAX: Final = 16
TEXT_CHARS_MAX: Final = 2000

_CONDITION: Final = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]{0,63})\s*(!=|=)\s*([^,\"']+?)\s*")


@dataclass(frozen=True, slots=True)
class Condition:
    """One part of a matcher."""

    name: str
    equal: bool
    values: tuple[str, ...]

    def holds(self, labels: Labels) -> bool:
        """Whether it holds for an alert."""
        found = labels.get(self.name, frozenset())
        return self.equal == any(_fits(pattern, value) for pattern in self.values for value in found)


def _fits(pattern: str, value: str) -> bool:
    if "*" not in pattern:
        return pattern == value
    return _compiled(pattern).fullmatch(value) is not None


@functools.lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    # Runs of stars are one: with several, the engine's time would grow with the power of their number.
    parts = [re.escape(part) for part in re.split(r"\*+", pattern)]
    return re.compile(".*".join(parts), re.DOTALL)


@dataclass(frozen=True, slots=True)
class Matcher:
    """Conditions that must all hold."""

    conditions: tuple[Condition, ...]

    @classmethod
    def parse(cls, text: str) -> "Matcher":
        """Reads a matcher.

        Raises:
            ActionError: it is none; the message says where.
        """
        if len(text) > TEXT_CHARS_MAX:
            raise ActionError(f"a matcher has at most {TEXT_CHARS_MAX} characters, this one {len(text)}")
        conditions = []
        for part in text.split(",") if text.strip() else []:
            found = _CONDITION.fullmatch(part)
            values = tuple(value.strip() for value in found[3].split("|")) if found else ()
            if not found or not all(values):
                raise ActionError(f"{part.strip()!r} is no condition; write name=value, name!=value or name=a|b")
            if any(value.count("*") > 3 for value in values):
                raise ActionError(f"{part.strip()!r}: a value may have three * at most")
            conditions.append(Condition(found[1], found[2] == "=", values))
        if len(conditions) > CONDITIONS_MAX:
            raise ActionError(f"a matcher has at most {CONDITIONS_MAX} conditions")
        return cls(tuple(conditions))

    def holds(self, labels: Labels) -> bool:
        """Whether it fits an alert."""
        return all(condition.holds(labels) for condition in self.conditions)

    def __str__(self) -> str:
        return ", ".join(
            f"{condition.name}{'=' if condition.equal else '!='}{'|'.join(condition.values)}"
            for condition in self.conditions
        )
