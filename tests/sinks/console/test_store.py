"""Users, sessions, tokens: kept as hashes in a file that only its owner reads."""

import stat
from pathlib import Path

import pytest

from schemas.errors import ConfigurationError
from sinks.console import store as stores
from sinks.console import throttle
from sinks.console.access import Role
from sinks.console.store import FILE, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(tmp_path)


def test_file_is_private_and_holds_no_secret(store: Store, tmp_path: Path) -> None:
    """Mode 0600, and none of the passwords, cookies and tokens that were given out."""
    first = store.first_run()
    assert first
    secrets = [first, store.open_session("admin", "::1"), store.add_token("admin", "x")[1]]
    given = store.add_user("liu", Role.VIEWER, ["A"])
    assert given
    raw = (tmp_path / FILE).read_bytes()

    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    for secret in [*secrets, given]:
        assert secret.encode() not in raw


def test_first_run_is_once(store: Store) -> None:
    """The administrator of the first start; never again once there is a user."""
    password = store.first_run()
    assert password
    found = store.check_password("admin", password)

    assert found is not None
    assert found.must_change
    assert found.role is Role.ADMIN
    assert store.first_run() is None


def test_two_processes_see_each_other(store: Store, tmp_path: Path) -> None:
    """The command line has the file open while the console runs."""
    store.first_run()
    other = Store(tmp_path)
    other.add_user("wang", Role.OPERATOR, ["A", "site:b"])

    assert [one.user.name for one in store.accounts()] == ["admin", "wang"]
    assert store.user("wang").places == {"A", "site:b"}  # type: ignore[union-attr]
    other.close()


def test_disabled_user_is_out_at_once(store: Store) -> None:
    """Password, session and token stop together."""
    store.first_run()
    password = store.add_user("wang", Role.OPERATOR, ["*"])
    assert password
    session, (_, token) = store.open_session("wang", ""), store.add_token("wang", "x")
    assert store.session(session, 60, 60)
    store.change_user("wang", disabled=True)

    assert store.check_password("wang", password) is None
    assert store.session(session, 60, 60) is None
    assert store.token_user(token, "api") is None


def test_new_password_ends_sessions(store: Store) -> None:
    """Whoever had the old one is out."""
    store.first_run()
    session = store.open_session("admin", "")
    store.set_password("admin", "another one entirely")

    assert store.session(session, 60, 60) is None
    assert not store.check_password("admin", "another one entirely").must_change  # type: ignore[union-attr]


def test_sessions_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """When nobody uses them, and in any case."""
    store.first_run()
    secret = store.open_session("admin", "")
    now = stores.now_ms()
    monkeypatch.setattr(stores, "now_ms", lambda: now + 59_000)
    assert store.session(secret, 60, 3600)
    monkeypatch.setattr(stores, "now_ms", lambda: now + 61_000)
    assert store.session(secret, 60, 3600) is None
    assert store.session(secret, 3600, 60) is None
    assert store.session(secret, 3600, 3600)
    assert store.session("guessed", 3600, 3600) is None


def test_last_administrator_stays(store: Store) -> None:
    """Nobody locks everybody out."""
    store.first_run()
    for wrong in (
        lambda: store.remove_user("admin"),
        lambda: store.change_user("admin", role=Role.VIEWER),
        lambda: store.change_user("admin", disabled=True),
    ):
        with pytest.raises(ConfigurationError, match="last administrator"):
            wrong()
    assert store.user("admin").role is Role.ADMIN  # type: ignore[union-attr]


def test_names_are_names(store: Store) -> None:
    """Nothing that could be taken for something else."""
    for wrong in ("", "a b", "<b>", "x" * 65, "a\u202eb", "=cmd"):
        with pytest.raises(ConfigurationError, match="no name"):
            store.add_user(wrong, Role.VIEWER, [])
    store.add_user("王芳", Role.VIEWER, [])
    with pytest.raises(ConfigurationError, match="already"):
        store.add_user("王芳", Role.VIEWER, [])


def test_tokens_are_of_a_kind_and_expire(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address of a feed opens no API; a revoked or old one opens nothing."""
    store.first_run()
    token, secret = store.add_token("admin", "reader", "feed", 1)
    assert store.token_user(secret, "feed")
    assert store.token_user(secret, "api") is None
    now = stores.now_ms()
    monkeypatch.setattr(stores, "now_ms", lambda: now + 86_400_001)
    assert store.token_user(secret, "feed") is None
    monkeypatch.setattr(stores, "now_ms", lambda: now)
    assert not store.revoke_token(token.id, "somebody-else")
    assert store.revoke_token(token.id, "admin")
    assert store.token_user(secret, "feed") is None


def test_guessing_waits_ever_longer(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five tries are free; then 1, 2, 4 … seconds, at most a quarter of an hour; another address is not slowed."""
    now = stores.now_ms()
    clock = [now]
    monkeypatch.setattr(stores, "now_ms", lambda: clock[0])
    monkeypatch.setattr(throttle, "now_ms", lambda: clock[0])
    waits = []
    for _ in range(12):
        waits.append(throttle.wait_s(store, "admin", "10.0.0.1"))
        throttle.failed(store, "admin", "10.0.0.1")

    assert waits == [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64]
    assert throttle.wait_s(store, "admin", "10.0.0.2") == 0
    clock[0] += throttle.FORGET_MS
    assert throttle.wait_s(store, "admin", "10.0.0.1") == 0


def test_many_names_from_one_address_wait_too(store: Store) -> None:
    """Trying one password with many names is guessing as well; and so are many addresses at one name."""
    for number in range(31):
        throttle.failed(store, f"user{number}", "10.0.0.1")
    assert throttle.wait_s(store, "somebody", "10.0.0.1") > 0
    for number in range(51):
        throttle.failed(store, "admin", f"10.0.1.{number}")
    assert throttle.wait_s(store, "admin", "10.9.9.9") > 0


def test_sign_on_is_taken_once(store: Store) -> None:
    """What belongs to a sign-on cannot be used again."""
    store.keep_sign_on("key", {"state": 1})
    assert store.take_sign_on("key") == {"state": 1}
    assert store.take_sign_on("key") is None
