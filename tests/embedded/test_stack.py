"""The stack of a profile: found through its run file, one owner, data that last, and no process left behind."""

import contextlib
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import clickhouse_connect
import psutil
import pytest
from clickhouse_connect.driver.client import Client
from confluent_kafka.admin import AdminClient, NewTopic

from ganzhi.embedded import ports as tcp
from ganzhi.embedded.locks import FolderLock
from ganzhi.embedded.stack import Ports, Stack
from schemas.errors import ChildDied, ConfigurationError, FolderInUse, PortInUse
from schemas.settings import ClickHouseSettings, data_home, load, run_file

pytestmark = [pytest.mark.kafka, pytest.mark.clickhouse]
WAIT_S = 60.0

#: Brings a stack up from a thread that ends at once, prints its children, then waits to be killed.
OWNER = """
import sys, threading, time
from ganzhi.embedded.stack import Stack

stack = Stack(sys.argv[1], ports="free")
thread = threading.Thread(target=stack.start)
thread.start()
thread.join()
print(stack.kafka.child.pid, stack.clickhouse.child.pid, flush=True)
time.sleep(3600)
"""


def clickhouse_client(settings: ClickHouseSettings) -> Client:
    """A client of the writer user."""
    password = settings.writer_password.get_secret_value()
    return clickhouse_connect.get_client(
        host=settings.host, port=settings.port, username=settings.writer_user, password=password
    )


def topics(bootstrap: str) -> set[str]:
    """Names of the topics there are."""
    return set(AdminClient({"bootstrap.servers": bootstrap}).list_topics(timeout=WAIT_S).topics)


def family(process: psutil.Process) -> list[psutil.Process]:
    """All processes below one."""
    return process.children(recursive=True)


def test_run_file_leads_there(own_stack: Callable[..., Stack]) -> None:
    """While the stack is up `load` finds both servers, with passwords that work; files with them are private."""
    stack = own_stack()
    settings = load(profile=stack.profile)
    assert topics(settings.kafka.bootstrap) is not None
    with clickhouse_client(settings.clickhouse) as client:
        assert client.query("SELECT 1 + 1").result_rows == [(2,)]
    for file in (run_file(stack.profile), stack.folder / "passwords.toml"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(stack.folder.stat().st_mode) == 0o700
    passwords = {
        settings.clickhouse.writer_password.get_secret_value(),
        settings.clickhouse.reader_password.get_secret_value(),
    }
    assert len(passwords) == 2
    assert min(map(len, passwords)) >= 32
    stack.stop()
    assert not run_file(stack.profile).exists()
    assert load(profile=stack.profile).kafka.bootstrap == "127.0.0.1:19092"


def test_data_last_until_wiped(own_stack: Callable[..., Stack]) -> None:
    """Topics, tables and passwords are there after a stop, and after a kill; `wipe` begins anew."""
    stack = own_stack()
    admin = AdminClient({"bootstrap.servers": stack.kafka.bootstrap})
    for created in admin.create_topics([NewTopic("kept", 1, 1)]).values():
        created.result(WAIT_S)
    with clickhouse_client(stack.clickhouse_settings) as client:
        client.command("CREATE DATABASE kept")
        client.command("CREATE TABLE kept.numbers (n UInt64) ENGINE = MergeTree ORDER BY n")
        client.command("INSERT INTO kept.numbers SELECT number FROM numbers(1000)")
    for end in (stack.stop, stack.kill):
        end()
        stack.start()
        assert "kept" in topics(stack.kafka.bootstrap)
        with clickhouse_client(load(profile=stack.profile).clickhouse) as client:
            assert client.query("SELECT sum(n) FROM kept.numbers").result_rows == [(499500,)]
    stack.stop()
    anew = own_stack(stack.profile, wipe=True)
    assert "kept" not in topics(anew.kafka.bootstrap)
    with clickhouse_client(anew.clickhouse_settings) as client:
        assert client.query("SELECT count() FROM system.databases WHERE name = 'kept'").result_rows == [(0,)]
    assert anew.clickhouse_settings.writer_password != stack.clickhouse_settings.writer_password


def test_second_owner_is_refused(stack: Stack) -> None:
    """A profile that is up cannot be started again, and not be wiped; who has it is told."""
    before = sorted(path.name for path in stack.folder.iterdir())
    with pytest.raises(FolderInUse) as refused:
        Stack(stack.profile, wipe=True, ports="free").start()
    assert refused.value.owner_pid == psutil.Process().pid
    assert sorted(path.name for path in stack.folder.iterdir()) == before
    stack.check()
    assert load(profile=stack.profile).kafka.bootstrap == stack.kafka.bootstrap


@pytest.mark.parametrize("taken", ["kafka", "clickhouse"])
def test_port_in_use_leaves_nothing(taken: str) -> None:
    """A taken port is told by number; nothing runs then, no run file is there, and the profile is free."""
    free = Ports.free()
    with socket.socket() as other:
        other.bind((tcp.HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        ports = Ports(port, free.clickhouse) if taken == "kafka" else Ports(free.kafka, port)
        stack = Stack(f"taken-{taken}", ports=ports)
        children = set(family(psutil.Process()))
        with pytest.raises(PortInUse) as refused:
            stack.start()
    assert refused.value.port == port
    assert set(family(psutil.Process())) <= children
    assert not run_file(stack.profile).exists()
    assert tcp.is_free(free.kafka)
    assert tcp.is_free(free.clickhouse)


@pytest.mark.parametrize("name", ["Kafka", "ClickHouse"])
def test_death_of_a_part_is_noticed(own_stack: Callable[..., Stack], name: str) -> None:
    """`check` names the part that was killed; started again it goes on, and `check` is content."""
    stack = own_stack()
    stack.check()
    server = getattr(stack, name.lower())
    psutil.Process(server.child.pid).kill()
    server.child.wait(WAIT_S)
    with pytest.raises(ChildDied) as died:
        stack.check()
    assert died.value.name == name
    server.start()
    server.wait_ready()
    stack.check()


def test_stop_leaves_no_process(own_stack: Callable[..., Stack]) -> None:
    """After `stop` no child, guard or grandchild is left, and the ports are free."""
    before = set(family(psutil.Process()))
    stack = own_stack()
    started = set(family(psutil.Process())) - before
    assert len(started) >= 4  # a guard and a server each
    stack.stop()
    assert not [process for process in started if process.is_running()]
    assert tcp.is_free(stack.ports.kafka)
    assert tcp.is_free(stack.ports.clickhouse)


def test_killed_owner_takes_all_along(own_stack: Callable[..., Stack]) -> None:
    """Kill -9 of the owner ends every process of the stack, and the profile can be started again at once."""
    profile = "killed-owner"
    with subprocess.Popen([sys.executable, "-c", OWNER, profile], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pids = [int(word) for word in owner.stdout.readline().split()]
        below = family(psutil.Process(owner.pid))
        assert set(pids) < {process.pid for process in below}
        with pytest.raises(FolderInUse) as refused:
            Stack(profile, ports="free").start()
        assert refused.value.owner_pid == owner.pid
        owner.kill()
    stack = own_stack(profile)
    assert not psutil.wait_procs(below, timeout=WAIT_S)[1]
    stack.check()


def test_listens_where_the_settings_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ports of its own the stack listens where clients will look for it, and refuses another host."""
    assert Ports.configured(load()) == Ports(19092, 18123)
    monkeypatch.setenv("GANZHI_KAFKA__BOOTSTRAP", "localhost:29092")
    monkeypatch.setenv("GANZHI_CLICKHOUSE__PORT", "28123")
    assert Ports.configured(load()) == Ports(29092, 28123)
    monkeypatch.setenv("GANZHI_KAFKA__BOOTSTRAP", "kafka.example.org:9092")
    with pytest.raises(ConfigurationError, match="GANZHI_KAFKA__BOOTSTRAP is kafka"):
        Stack("elsewhere").start()
    FolderLock(data_home("elsewhere")).release()


def test_interrupted_start_leaves_nothing(own_stack: Callable[..., Stack]) -> None:
    """Ctrl-C while the JVM starts ends the start at once: no process is left, and the profile is free."""
    profile = "interrupted"
    # Whoever runs the tests in the background made children ignore SIGINT.
    starter = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from ganzhi.embedded.stack import Stack; Stack(sys.argv[1], ports='free').start()"
    )
    with subprocess.Popen([sys.executable, "-c", starter, profile], stderr=subprocess.PIPE, text=True) as owner:
        below: list[psutil.Process] = []
        names: list[str] = []
        while "java" not in names:
            assert owner.poll() is None
            with contextlib.suppress(psutil.NoSuchProcess):  # one that ended between the two lines
                below = family(psutil.Process(owner.pid))
                names = [process.name() for process in below]
        owner.send_signal(signal.SIGINT)
        _, errors = owner.communicate(timeout=WAIT_S)
    assert "KeyboardInterrupt" in errors
    assert not psutil.wait_procs(below, timeout=WAIT_S)[1]
    own_stack(profile).check()


@pytest.mark.parametrize("name", ["", ".", "..", "../other", "a/b", ".hidden", "a b"])
def test_impossible_profile(name: str) -> None:
    """A name that could lead out of the data home is refused before anything is touched."""
    with pytest.raises(ConfigurationError):
        Stack(name, wipe=True)


def test_data_home_is_the_sessions_own(data_home: Path) -> None:
    """Tests never touch the user's data."""
    assert run_file("default").is_relative_to(data_home)


def test_wipe_does_not_follow_links(own_stack: Callable[..., Stack], tmp_path: Path) -> None:
    """What a link in the profile points at is not the profile's, and stays."""
    (tmp_path / "precious").write_text("x")
    folder = data_home("linked")
    folder.mkdir(parents=True)
    (folder / "link").symlink_to(tmp_path)
    own_stack("linked", wipe=True)
    assert (tmp_path / "precious").exists()
    assert not (folder / "link").exists()
