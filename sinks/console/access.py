"""Who may do and see what: roles give permissions, scopes give buildings. What nothing allows is refused."""

import dataclasses
import enum
from collections.abc import Iterable, Mapping
from typing import Final

EVERYWHERE: Final = "*"
SITE: Final = "site:"
"""`site:ID` in a user's places: all of that site, what stands in no building included."""


class Permission(enum.StrEnum):
    """One kind of thing that a person does."""

    ALERTS = "alerts"  # see alerts, rooms and their present state
    USAGE = "usage"  # see quantities, money, rankings, history of points
    EXPORT = "export"  # take figures out as files
    ACKNOWLEDGE = "acknowledge"  # say that one has seen an alert, comment on it, say how far one is
    DIRECT = "direct"  # assign, silence, close: decide for others
    SYSTEM = "system"  # see how the system is
    AUDIT = "audit"  # see who did what
    USERS = "users"  # make users and tokens, give roles


class Role(enum.StrEnum):
    """What a user is; the words of `ganzhi user add --role`."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    LIAISON = "liaison"
    CONTRACTOR = "contractor"
    AUDITOR = "auditor"
    ADMIN = "admin"


_P = Permission
GRANTS: Final[Mapping[Role, frozenset[Permission]]] = {
    Role.VIEWER: frozenset({_P.ALERTS, _P.USAGE}),
    Role.OPERATOR: frozenset({_P.ALERTS, _P.USAGE, _P.EXPORT, _P.ACKNOWLEDGE, _P.DIRECT, _P.SYSTEM}),
    Role.LIAISON: frozenset({_P.ALERTS, _P.USAGE, _P.EXPORT, _P.ACKNOWLEDGE}),
    Role.CONTRACTOR: frozenset({_P.ALERTS, _P.ACKNOWLEDGE}),
    Role.AUDITOR: frozenset({_P.ALERTS, _P.USAGE, _P.EXPORT, _P.SYSTEM, _P.AUDIT}),
    Role.ADMIN: frozenset(_P),
}
"""Role → what it may. An auditor sees everything and changes nothing; a contractor sees no figures of departments."""


@dataclasses.dataclass(frozen=True, slots=True)
class User:
    """Who asks.

    Attributes:
        name: id of the user, as it stands in events.
        role: what the user is.
        places: buildings that the user may see: `*`, building ids, `site:ID`. None: nothing is seen.
        language: zh, en, or empty for the browser's.
        must_change: the password was given by somebody else and has to be replaced first.
    """

    name: str
    role: Role
    places: frozenset[str]
    language: str = ""
    must_change: bool = False

    def may(self, permission: Permission) -> bool:
        """Whether the role has the permission."""
        return permission in GRANTS[self.role]

    def sees(self, site: str, building: str) -> bool:
        """Whether a place is among those that the user may see.

        Args:
            site: site id.
            building: building id; empty for what stands in no building (grounds, vehicles): only those who see the
                whole site see that.
        """
        return not self.places.isdisjoint({EVERYWHERE, SITE + site, *([building] if building else [])})


def parse_places(words: Iterable[str]) -> frozenset[str]:
    """Places as people write them: `A`, `site:civic-a`, `*` or `all`.

    Raises:
        ValueError: an empty word, or one with blanks or control characters.
    """
    found = set()
    for word in words:
        place = EVERYWHERE if word == "all" else word
        if not place or not place.isprintable() or " " in place:
            raise ValueError(f"{word!r} is no building; write its id, site:ID, or all")
        found.add(place)
    return frozenset(found)
