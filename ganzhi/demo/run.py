"""One run of the demo: what can be done at once at the start is, then the feed lives until it is told to end.

What takes time at the start does not wait for what it does not need: kernels are compiled in a process of their own,
the model is written and checked and thirty days are simulated while Kafka and ClickHouse start, and the history goes
into the log while the worker loads.
"""

import dataclasses
import json
import os
import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from ganzhi.cli.console import login_line
from ganzhi.cli.texts import language, text
from ganzhi.demo.feed import SPEED, Feed
from ganzhi.demo.model import ROBOT, write_model
from ganzhi.demo.robot import RobotServer
from ganzhi.demo.simulator import Batch, Simulator
from ganzhi.demo.watch import Watch, worker_lag
from ganzhi.embedded.children import Child
from ganzhi.embedded.progress import Report, silent
from ganzhi.embedded.system import System
from schemas.control import signing_key
from schemas.errors import ModelError, StackError
from schemas.model.check import check_folder
from schemas.model.document import Document
from schemas.model.typed import Model
from schemas.settings import Settings, data_home
from sinks.clickhouse.progress import lag
from sinks.desk.desk import Desk
from streams.published import apply_model, input_partitions, read_documents
from streams.sources.batching import BatchWriter

SEED: Final = 20250613
MARK: Final = "simulation.json"
"""In the profile's folder: the data there are those of a simulation, and of which one."""
COMPILE: Final = "import ganzhi; from streams.worker import compile_kernels; compile_kernels()"
FILLED: Final = "filled"
"""In the folder of the kernels, whose name stands for the state of the code: they have all been compiled."""
KERNELS_TIMEOUT_S: Final = 600.0
DRAIN_TIMEOUT_S: Final = 120.0
POLL_S: Final = 0.1

Done = TypeVar("Done")
Say = Callable[[str], None]
"""Told what has been done, or what has happened: a name of `ganzhi.cli.texts`, or a sentence."""


class Ended(Exception):
    """The run was told to end while it was starting."""


@dataclasses.dataclass(frozen=True)
class Options:
    """What can be chosen.

    Attributes:
        profile: whose data; wiped at the start unless `keep`.
        keep: leave the data; where there is a simulation, it is opened again and not gone on with.
        seed: of the simulation.
        workers: worker processes.
        speed: simulated seconds in one of life.
        free_ports: listen on free ports instead of the settings'.
    """

    profile: str = "demo"
    keep: bool = False
    seed: int = SEED
    workers: int = 1
    speed: float = SPEED
    free_ports: bool = False


class Demo:
    """One run: `prepare`, then `start`, `check` again and again, `drain`, and `close` whatever happened.

    Args:
        options: what was chosen.
        stop: tells the run to end.
        say: told each step that is done.

    Attributes:
        settings: of the stack; once prepared.
        login: where the web console is, and how to come in; once prepared.
        simulator: what is simulated; None where an older simulation was opened.
        feed: its way into the log; likewise.
        documents: the published ones, by site; once prepared.
        alerts: the alerts of the log; once prepared.
        watch: figures for the screen; once prepared.
        robot: a group robot of the kind of WeCom's, to which the notifier tells every alert; once prepared.
    """

    settings: Settings
    login: str
    documents: dict[str, Document]
    alerts: Desk
    watch: Watch
    robot: RobotServer

    def __init__(self, options: Options, stop: threading.Event, say: Say) -> None:
        self.options = options
        self.simulator: Simulator | None = None
        self.feed: Feed | None = None
        self._stop = stop
        self._say = say
        self._report: Report = silent
        self._folder = data_home(options.profile)
        self._system = System(
            options.profile,
            wipe=not options.keep,
            workers=options.workers,
            ports="free" if options.free_ports else None,
            report=self._tell,
        )
        self._kernels: Child | None = None
        self._opened: list[Callable[[], None]] = []
        self._life: Future[None] | None = None
        self._pool = ThreadPoolExecutor(6, thread_name_prefix="demo")
        self._ending = threading.Event()

    @property
    def is_again(self) -> bool:
        """Whether an older simulation is opened again."""
        return self.simulator is None

    @property
    def lived(self) -> tuple[Simulator, Feed] | None:
        """The simulation and its feed; None where an older one was opened again."""
        return None if self.simulator is None or self.feed is None else (self.simulator, self.feed)

    def prepare(self, report: Report = silent) -> None:
        """Starts everything and loads the history; returns when life can begin.

        Args:
            report: told how far long steps are.

        Raises:
            Ended: told to stop meanwhile.
            GanzhiError: something cannot be started.
        """
        self._report = report
        self._start_robot()
        again = self.options.keep and (self._folder / MARK).is_file()
        kernels = self._pool.submit(self._compile)
        stack = self._pool.submit(self._system.start_stack)
        if not again:
            self.simulator = Simulator(seed=self.options.seed)
            model = self._pool.submit(self._model)
            history = self._pool.submit(self._simulate, self.simulator)
        self._wait(stack)
        self._say("demo stack")
        self.settings = self._system.settings
        self.login = login_line(self._system.console, self._system.password)
        console = self._pool.submit(self._tell_console)
        children = self._pool.submit(self._start_children, kernels)
        if not again:
            self._publish(self._wait(model))
        self.documents = read_documents(self.settings.kafka)
        self.alerts = Desk(self.settings.kafka, language())
        self._opened.append(self.alerts.close)
        self.watch = Watch(self.settings, self.documents)
        self._opened.append(self.watch.stop)
        if self.simulator is not None:
            self._load(self.simulator, self._wait(history))
        self._wait(children)
        self._wait(console)

    def _start_robot(self) -> None:
        """Starts the local channel, and tells the processes of it that are started later."""
        self.robot = RobotServer(secrets.token_urlsafe(16))
        self.robot.__enter__()
        self._opened.append(self.robot.close)
        channel = f"GANZHI_NOTIFY__CHANNELS__{ROBOT.upper()}__"
        wanted = {"KIND": "wecom", "URL": self.robot.url("wecom"), "ALLOW_PRIVATE": "true"}
        os.environ.update({channel + name: value for name, value in wanted.items()})

    def _tell_console(self) -> None:
        """Says where the console is once it answers: a link that is dead when it is read is tried once."""
        if not self._system.console_answers():
            self._say("console comes")
        self._say(self.login)

    def _start_children(self, kernels: Future[None]) -> None:
        kernels.result()
        self._system.start_children()

    def _load(self, simulator: Simulator, history: list[Batch]) -> None:
        """Sends the start and the history."""
        writer = BatchWriter(self.settings.kafka, self.documents, self._say)
        self.feed = Feed(simulator, writer, self.documents, input_partitions(self.settings.kafka))
        (self._folder / MARK).write_text(json.dumps({"seed": self.options.seed}) + "\n", "utf-8")
        self.feed.begin()
        self.feed.backfill(self._sent(history))
        self._say("demo history")

    def start(self) -> None:
        """Life begins: the feed and the watch run until `drain` or `close`."""
        self.watch.start()
        if self.feed is not None:
            self._life = self._pool.submit(self.feed.run, self._ending, self.options.speed)

    def check(self, notice: Say) -> None:
        """Looks after the processes; several times a second.

        Raises:
            GanzhiError: Kafka or ClickHouse has ended, or the feed cannot go on.
        """
        self._system.keep(notice)
        if self._life is not None and self._life.done():
            self._life.result()

    def drain(self) -> None:
        """Ends the feed and waits until the worker has computed and ClickHouse has stored everything.

        Raises:
            StackError: that takes too long.
            GanzhiError: as `check` does.
        """
        self._ending.set()
        if self._life is not None:
            self._life.result()
        deadline_s = time.monotonic() + DRAIN_TIMEOUT_S
        waiting: list[Callable[[], int]] = [lambda: worker_lag(self.settings), lambda: sum(lag(self.settings).values())]
        for behind in waiting:
            while left := behind():
                self.check(self._say)
                if time.monotonic() > deadline_s:
                    logs = self._folder / "logs"
                    raise StackError(
                        f"after {DRAIN_TIMEOUT_S:g} s {left:,} messages are not done; the logs are in {logs}"
                    )
                time.sleep(POLL_S)
        while self.alerts.poll(0.5):
            pass
        self.watch.stop()

    def close(self) -> None:
        """Ends everything that runs; whatever had been started."""
        self._ending.set()
        self._stop.set()
        if self._kernels is not None:
            self._kernels.kill()
        for close in reversed(self._opened):
            close()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._system.stop()

    def _tell(self, what: str, done: int, total: int) -> None:
        self._report(what, done, total)

    def _model(self) -> Model:
        """Writes the model and checks it; not in the profile's folder, which is being wiped meanwhile."""
        folder = Path(tempfile.mkdtemp(prefix="ganzhi-demo-"))
        self._opened.append(lambda: shutil.rmtree(folder, ignore_errors=True))
        write_model(folder, language())
        model, faults = check_folder(folder)
        if faults:
            raise ModelError(faults)
        return model

    def _publish(self, model: Model) -> None:
        apply_model(self.settings.kafka, model, signing_key(self._folder))
        shutil.copytree(model.path, self._folder / "model", dirs_exist_ok=True)
        self._say("demo model")

    def _compile(self) -> None:
        """Fills the cache of kernels, so that worker and replay do not compile the same at once; once for this code."""
        folder = Path(os.environ["NUMBA_CACHE_DIR"])
        if (folder / FILLED).exists():
            return
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._kernels = Child("kernels", [sys.executable, "-c", COMPILE], folder / "kernels.log")
        if self._kernels.wait(KERNELS_TIMEOUT_S) == 0:
            (folder / FILLED).touch()
            self._say("demo kernels")
        elif not self._stop.is_set():
            self._kernels.check()

    def _simulate(self, simulator: Simulator) -> list[Batch]:
        batches = []
        for batch in simulator.history():
            if self._stop.is_set():
                break
            batches.append(batch)
        return batches

    def _sent(self, batches: list[Batch]) -> Iterator[Batch]:
        """The batches, with how many of them are on their way."""
        total = sum(len(batch.values) for batch in batches)
        done = 0
        for batch in batches:
            if self._stop.is_set():
                raise Ended
            yield batch
            done += len(batch.values)
            self._report(text("demo backfill"), done, total)

    def _wait(self, future: Future[Done]) -> Done:
        """The result, or Ended as soon as the run is told to end."""
        while not self._stop.is_set():
            try:
                return future.result(POLL_S)
            except TimeoutError:
                if future.done():
                    raise
        raise Ended
