"""Workers and sinks as processes of their own, to be killed, stopped and woken."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

from schemas.settings import Settings

WORKER: Final = "from ganzhi.cli.worker import app; app()"
SINK: Final = "import runpy; runpy.run_module('sinks.clickhouse', run_name='__main__')"
JUMPING_CLOCK: Final = (
    "import time, random; _r, _n, _c = time.time, time.time_ns, random.Random(7)\n"
    "def _jump(): return _c.choice((-3600.0, 0.0, 3600.0))\n"
    "time.time = lambda: _r() + _jump()\n"
    "time.time_ns = lambda: _n() + int(_jump() * 1e9)\n"
)
"""Run first in a process whose clock jumps by an hour, to and fro, each time that it is read."""


def release_of(engine: int) -> str:
    """What a worker runs that is of a later release, whose engine computes and keeps what this one's does."""
    return (
        "from processors import state\n"
        f"first, state.ENGINE = state.ENGINE, {engine}\n"
        "from processors import migrations, snapshot\n"
        "for older in range(first, state.ENGINE):\n"
        "    migrations.LAYOUTS[older] = snapshot._ARRAYS\n"
        "    migrations.STEPS[older] = lambda arrays, empty, layout: arrays\n"
    )


class Member:
    """A process of the pipeline.

    Args:
        name: of its log.
        code: that it runs.
        settings: in its environment.
        folder: for its log.
        more: further environment.
    """

    def __init__(self, name: str, code: str, settings: Settings, folder: Path, **more: str) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        env = {key: value for key, value in os.environ.items() if not key.startswith("GANZHI_")}
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code], env=env | _environment(settings) | more, stdout=out, stderr=out
            )

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def signal(self, number: int) -> None:
        """Sends it a signal; nothing happens where it has ended."""
        if self.alive:
            self.process.send_signal(number)

    def kill(self) -> None:
        """Kill -9."""
        self.process.kill()
        self.process.wait()

    def stop(self, timeout_s: float = 60.0) -> None:
        """SIGTERM, and kill -9 after that time."""
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def tail(self, lines: int = 15) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-lines:])


def _environment(settings: Settings) -> dict[str, str]:
    kafka, house, worker, sink = settings.kafka, settings.clickhouse, settings.worker, settings.sink
    return {
        "GANZHI_KAFKA__BOOTSTRAP": kafka.bootstrap,
        "GANZHI_KAFKA__PREFIX": kafka.prefix,
        "GANZHI_KAFKA__PARTITIONS": str(kafka.partitions),
        "GANZHI_CLICKHOUSE__HOST": house.host,
        "GANZHI_CLICKHOUSE__PORT": str(house.port),
        "GANZHI_CLICKHOUSE__DATABASE": house.database,
        "GANZHI_CLICKHOUSE__WRITER_USER": house.writer_user,
        "GANZHI_CLICKHOUSE__WRITER_PASSWORD": house.writer_password.get_secret_value(),
        "GANZHI_WORKER__COMMIT_INTERVAL_S": str(worker.commit_interval_s),
        "GANZHI_WORKER__HEARTBEAT_S": str(worker.heartbeat_s),
        "GANZHI_WORKER__SESSION_TIMEOUT_S": str(worker.session_timeout_s),
        "GANZHI_WORKER__SNAPSHOT_INTERVAL_S": str(worker.snapshot_interval_s),
        "GANZHI_WORKER__SNAPSHOT_REPLAY_S": str(worker.snapshot_replay_s),
        "GANZHI_SINK__FLUSH_INTERVAL_S": str(sink.flush_interval_s),
        "GANZHI_SINK__SESSION_TIMEOUT_S": str(sink.session_timeout_s),
    }
