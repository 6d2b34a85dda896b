"""The process: `python -m ganzhi.embedded.clickhouse_server FOLDER`.

FOLDER/users.json has the users (see `users.write_users`); no password is in the arguments or the environment. When the
server is bound it writes FOLDER/server.json: its pid and its port. Exit status 75: the folder is in use; 98: the port
is.
"""

import argparse
import fcntl
import importlib.util
import json
import logging
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import IO

from ganzhi.embedded.clickhouse_server import configuration, confine, users
from ganzhi.embedded.clickhouse_server.engine import Engine
from ganzhi.embedded.clickhouse_server.server import Server, bind

EXIT_FOLDER_IN_USE = 75
EXIT_PORT_IN_USE = 98
#: After a kill the old process may need a moment to let go of the folder.
LOCK_WAIT_S = 2.0
STOP_WAIT_S = 5.0
WRITER_EXECUTION_S = 3600

log = logging.getLogger("ganzhi.clickhouse")


def main() -> int:
    """Runs until SIGTERM or SIGINT."""
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    os.umask(0o077)
    folder: Path = arguments.folder.resolve()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    lock = _lock(folder / "lock")
    if lock is None:
        return EXIT_FOLDER_IN_USE
    try:
        listener = bind(arguments.port)
    except OSError as error:
        log.warning("port %d: %s", arguments.port, error)
        return EXIT_PORT_IN_USE
    known = users.read_users(folder / "users.json")
    data, tmp, config, empty = (folder / name for name in ("data", "tmp", "config", "empty"))
    shutil.rmtree(tmp, ignore_errors=True)
    for made in (data, tmp, config, empty):
        made.mkdir(exist_ok=True)
    limits = configuration.EngineLimits(arguments.memory_bytes or configuration.default_memory_bytes())
    (config / "users.xml").write_text(configuration.users_xml(WRITER_EXECUTION_S), encoding="utf-8")
    (config / "config.xml").write_text(
        configuration.config_xml(config / "users.xml", empty, tmp, limits), encoding="utf-8"
    )
    _tell(folder / "server.json", {"pid": os.getpid(), "port": listener.getsockname()[1]})

    os.environ["TMPDIR"] = str(tmp)
    wheel = importlib.util.find_spec("chdb")
    libraries = [Path(name) for name in (wheel.submodule_search_locations or ())] if wheel else []
    readable = [*confine.python_folders(), *libraries, *map(Path, confine.SYSTEM_READ), config, empty]
    version = confine.confine([data, tmp], readable)
    log.info("confined by Landlock %d", version) if version else log.warning(
        "this system has no Landlock: grants and checks only"
    )

    start = time.monotonic()
    engine = Engine(data, tmp, config / "config.xml", tuple(arguments.databases.split(",")))
    server = Server(listener, engine, known)
    log.info(
        "ClickHouse %s ready on 127.0.0.1:%d after %.2f s",
        engine.version,
        listener.getsockname()[1],
        time.monotonic() - start,
    )
    serving = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    serving.start()
    stop.wait()
    _end(server, engine)
    log.info("stopped")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ganzhi.embedded.clickhouse_server")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=18123, help="0 takes a free one")
    parser.add_argument(
        "--databases", default="ganzhi", help="made when missing, separated by commas; the first is the default"
    )
    parser.add_argument(
        "--memory-bytes", type=int, default=0, help="limit of the engine; 0: 40 %% of the machine, 1 to 4 GiB"
    )
    return parser.parse_args()


def _lock(file: Path) -> IO[str] | None:
    """Takes the folder; None where another process has it. The file tells its pid."""
    lock = file.open("a+", encoding="utf-8")
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > deadline:
                lock.seek(0)
                log.warning("%s is in use by process %s", file.parent, lock.read().strip() or "?")
                lock.close()
                return None
            time.sleep(0.05)
        else:
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            return lock


def _tell(file: Path, what: dict[str, int]) -> None:
    fresh = file.with_name(file.name + ".new")
    fresh.write_text(json.dumps(what), encoding="utf-8")
    fresh.replace(file)


def _end(server: Server, engine: Engine) -> None:
    """No new connections; what runs gets a moment, and is stopped then."""
    server.shutdown()
    server.socket.close()
    deadline = time.monotonic() + STOP_WAIT_S
    while server.running.count() and time.monotonic() < deadline:
        time.sleep(0.02)
    server.running.kill_all()
    server.running.close()
    engine.close()


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)  # threads of clients may still wait in the engine
