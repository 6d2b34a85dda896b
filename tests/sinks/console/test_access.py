"""Who may do what: roles, places, and that nothing is allowed by default."""

import pytest

from sinks.console.access import GRANTS, Permission, Role, User, parse_places


def user(role: Role, *places: str) -> User:
    """A user."""
    return User("somebody", role, frozenset(places))


def test_every_role_has_its_permissions_written_down() -> None:
    """A new role without a row is an error, not a role that may everything."""
    assert set(GRANTS) == set(Role)


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.ADMIN])
def test_only_administrators_make_users(role: Role) -> None:
    """Nobody gives himself more."""
    assert not user(role, "*").may(Permission.USERS)
    assert user(Role.ADMIN, "*").may(Permission.USERS)


def test_who_looks_does_not_act() -> None:
    """Viewers and auditors change nothing; only auditors and administrators see the audit."""
    for role in (Role.VIEWER, Role.AUDITOR):
        assert not user(role).may(Permission.ACKNOWLEDGE)
        assert not user(role).may(Permission.DIRECT)
    assert [role for role in Role if user(role).may(Permission.AUDIT)] == [Role.AUDITOR, Role.ADMIN]


def test_without_places_nothing_is_seen() -> None:
    """Also by an administrator: places are no part of a role."""
    for role in Role:
        assert not user(role).sees("east", "E1")
        assert not user(role).sees("east", "")


def test_a_building_is_not_its_site() -> None:
    """What stands in no building is seen by those who see the whole site."""
    assert user(Role.VIEWER, "E1").sees("east", "E1")
    assert not user(Role.VIEWER, "E1").sees("east", "E2")
    assert not user(Role.VIEWER, "E1").sees("east", "")
    assert user(Role.VIEWER, "site:east").sees("east", "")
    assert user(Role.VIEWER, "site:east").sees("east", "E2")
    assert not user(Role.VIEWER, "site:east").sees("west", "W1")
    assert user(Role.VIEWER, "*").sees("west", "")


def test_places_are_words() -> None:
    """`all` is everywhere; what cannot be an id is refused."""
    assert parse_places(["A", "site:east"]) == {"A", "site:east"}
    assert parse_places(["all"]) == {"*"}
    for wrong in ("", "a b", "a\nb"):
        with pytest.raises(ValueError, match="no building"):
            parse_places([wrong])
