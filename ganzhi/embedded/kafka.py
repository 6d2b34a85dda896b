"""The embedded log: a real Apache Kafka, one node that is broker and controller (KRaft), on loopback only.

It runs on jars that are fetched once (`ganzhi.embedded.jars`) and on the Java that is there (`ganzhi.embedded.java`).
Measured on two cores: started and answering in 2 s, after 0.8 s more to format a new folder; 350 MB of memory.
"""

import base64
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from ganzhi.embedded import jars, java, ports
from ganzhi.embedded.children import Child
from ganzhi.embedded.progress import Report, silent
from schemas.errors import ConfigurationError, StackError

LOGGING = Path(__file__).with_name("log4j2.properties")
FORMAT_TIMEOUT_S = 60.0
ADMIN_TIMEOUT_S = 5.0
#: The largest message; Kafka's own default, 1 MiB, is too small for a chunk of a snapshot.
MESSAGE_BYTES_MAX = 16 << 20
#: Kafka forgets the offsets of a group without members after this time: ten years, as the log itself is kept for ever.
OFFSETS_RETENTION_MIN = 10 * 365 * 24 * 60
#: A JVM that starts fast and stays small: only the quick compiler, one collector thread.
JVM_FLAGS = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-Djava.net.preferIPv4Stack=true")

CONFIG: Mapping[str, object] = {
    "process.roles": "broker,controller",
    "node.id": 1,
    "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "BROKER",
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",
    "message.max.bytes": MESSAGE_BYTES_MAX,
    "replica.fetch.max.bytes": MESSAGE_BYTES_MAX,
    "log.retention.ms": -1,
    "log.retention.bytes": -1,
    "offsets.retention.minutes": OFFSETS_RETENTION_MIN,
    "offsets.topic.num.partitions": 4,
    "offsets.topic.replication.factor": 1,
    "transaction.state.log.num.partitions": 4,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 1000,
    # After a kill -9 the controller waits for the session of the broker that was before it lets this one in.
    "broker.session.timeout.ms": 2000,
    "broker.heartbeat.interval.ms": 500,
    "num.network.threads": 2,
    "num.io.threads": 4,
    # The cleaner's buffer is taken from the heap at the start; Kafka's default is 128 MiB. This is enough for
    # 600,000 keys in one pass.
    "log.cleaner.dedupe.buffer.size": 16 << 20,
}


class EmbeddedKafka:
    """One Kafka node as a child process.

    Its data survive `stop`, `kill` and a crash; a second start on the same folder goes on with them. Keeping two
    nodes off one folder is the business of whoever owns the folder (`ganzhi.embedded.locks`).

    Args:
        folder: its configuration, log and data; made 0700 where it is not there.
        port: where clients connect, on loopback.
        controller_port: for the node's own use; 0: a free one at each start.
        heap_mb: the JVM's heap limit.
        keep: descriptors (locks) to keep until the JVM has ended, even if this process ends before.
        setting: what the user turns to choose another port, for the error message.

    Attributes:
        folder: as given.
        port: as given.
    """

    def __init__(
        self,
        folder: Path,
        port: int,
        controller_port: int = 0,
        heap_mb: int = 512,
        *,
        keep: Sequence[int] = (),
        setting: str = "GANZHI_KAFKA__BOOTSTRAP",
    ) -> None:
        if "," in str(folder):
            raise ConfigurationError(f"{folder}: Kafka takes no comma in the name of its folder; choose another one")
        self.folder = folder
        self.port = port
        self._controller_port = controller_port
        self._heap_mb = heap_mb
        self._keep = keep
        self._setting = setting
        self._child: Child | None = None

    @property
    def bootstrap(self) -> str:
        """What clients are given as `bootstrap.servers`."""
        return f"{ports.HOST}:{self.port}"

    @property
    def child(self) -> Child:
        """The JVM.

        Raises:
            StackError: it was never started.
        """
        if self._child is None:
            raise StackError("the embedded Kafka was not started")
        return self._child

    def start(self, progress: Report | None = None) -> None:
        """Fetches what is missing, formats a new folder, starts the JVM and returns; `wait_ready` waits for it.

        Args:
            progress: told how far the fetching is.

        Raises:
            PortInUse: somebody else listens on the port.
            StackError: jars or a Java cannot be had, or the folder cannot be formatted.
        """
        if self._child is not None and self._child.alive():
            raise StackError(f"the embedded Kafka at {self.bootstrap} runs already")
        ports.require_free(self.port, "Kafka", self._setting)
        if self._controller_port:
            ports.require_free(self._controller_port, "Kafka's controller", f"{self._setting} (controller)")
        paths = jars.provide(report=progress or silent)
        runtime = java.find()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        command = [
            str(runtime.program),
            *runtime.flags,
            *JVM_FLAGS,
            f"-Xmx{self._heap_mb}m",
            f"-Dlog4j2.configurationFile={LOGGING.as_uri()}",
            "-cp",
            os.pathsep.join(map(str, paths)),
        ]
        data = self.folder / "data"
        if not data.is_dir():
            self._format(command, data)
        self._child = self._run("Kafka", [*command, "kafka.Kafka", str(self._configure("server.properties", data))])

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Waits until the node answers as this folder's cluster.

        Raises:
            ChildDied: the JVM ended instead.
            StackError: it did not answer in time.
        """
        self.child.wait_until(self._answers, timeout_s)

    def stop(self, timeout_s: float = 20.0) -> None:
        """Stops it in order; kills it when it takes longer. Nothing happens where it does not run."""
        if self._child is not None:
            self._child.stop(timeout_s)

    def kill(self) -> None:
        """Kills it at once (SIGKILL); `start` starts it again."""
        if self._child is not None:
            self._child.kill()

    def _run(self, name: str, command: Sequence[str]) -> Child:
        return Child(name, command, self.folder / "kafka.log", keep=self._keep)

    def _format(self, command: Sequence[str], data: Path) -> None:
        """Formats a new folder under another name first: a crash in between leaves nothing that looks formatted."""
        unfinished = data.with_name("formatting")
        shutil.rmtree(unfinished, ignore_errors=True)
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if cluster_id.startswith("-"):
            cluster_id = "A" + cluster_id[1:]  # the tool would take it for a flag
        tool = ("kafka.tools.StorageTool", "format", "--cluster-id", cluster_id, "--config")
        config = str(self._configure("format.properties", unfinished))
        child = self._run("Kafka (format)", [*command, *tool, config])
        code = child.wait(FORMAT_TIMEOUT_S)
        if code != 0:
            child.kill()
            raise StackError(f"Kafka cannot format {data} (status {code}); it says:\n{child.log_tail()}")
        unfinished.rename(data)

    def _configure(self, name: str, data: Path) -> Path:
        controller = f"{ports.HOST}:{self._controller_port or ports.choose_free((self.port,))}"
        config = {
            **CONFIG,
            "controller.quorum.voters": f"1@{controller}",
            "listeners": f"BROKER://{self.bootstrap},CONTROLLER://{controller}",
            "advertised.listeners": f"BROKER://{self.bootstrap}",
            "log.dirs": str(data).replace("\\", "\\\\"),
        }
        file = self.folder / name
        file.write_text("".join(f"{key}={value}\n" for key, value in config.items()))
        return file

    def _cluster_id(self) -> str:
        lines = (self.folder / "data" / "meta.properties").read_text().splitlines()
        return next(line.partition("=")[2] for line in lines if line.startswith("cluster.id="))

    def _answers(self) -> bool:
        if not ports.answers(self.port):
            return False
        # log_level 2: a connection that is refused or closed is what this waits to end, not news for the terminal.
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 2})
        try:
            cluster = admin.list_topics(timeout=ADMIN_TIMEOUT_S)
        except KafkaException:
            return False
        if cluster.cluster_id != self._cluster_id():
            raise StackError(f"another Kafka than the one in {self.folder} answers at {self.bootstrap}")
        return bool(cluster.brokers)
