"""The Faust app: a library inside our process, without its command line, web server, producer, tables and commits."""

import ssl
from typing import Any

import faust
from aiokafka.helpers import create_ssl_context
from faust.app.base import BootStrategy
from faust.types.settings import Settings as FaustSettings
from yarl import URL

from schemas.errors import ConfigurationError
from schemas.kafka import group_name
from schemas.settings import KafkaSettings, Settings
from schemas.topics import topic_name
from streams import slabs
from streams.consumer import RESTORE_S_MAX, NoTables, SlabConsumer, SlabTransport, TaskManager

SLABS_QUEUED_MAX = 4
"""Per agent; of at most 4 MiB each (a single larger batch excepted)."""

_REQUEST_S = 30.0
_REBALANCE_S = 60.0
_POLL_S_MAX = 1000.0

# librdkafka's names for what aiokafka takes as a file or a text.
_FILES = {
    "ssl.ca.location": "cafile",
    "ssl.certificate.location": "certfile",
    "ssl.key.location": "keyfile",
    "ssl.key.password": "password",
}
_SASL = {"sasl.mechanism": "sasl_mechanism", "sasl.mechanisms": "sasl_mechanism"} | {
    "sasl.username": "sasl_plain_username",
    "sasl.password": "sasl_plain_password",
}


class _QuietSettings(FaustSettings):
    """Faust's settings, but not from the environment, where a stray BROKER_URL would win over what we say."""

    def getenv(self, env_name: str) -> Any:
        """Nothing."""
        del env_name


class _Boot(BootStrategy):
    """Outputs go through our own transactional producer; Faust's is not started."""

    enable_kafka_producer = False
    enable_web = False


class SlabApp(faust.App):
    """A Faust app whose agents get slabs.

    Attributes:
        tasks: who owns the tasks.
        consumer_options: further arguments of aiokafka's consumer; they hold secrets.
        kafka: where the log is.
    """

    Settings = _QuietSettings
    BootStrategy = _Boot
    tasks: TaskManager
    consumer_options: dict[str, Any]
    kafka: KafkaSettings

    @property
    def slab_consumer(self) -> SlabConsumer:
        """The consumer, for `seek_tasks` and `rejoin`."""
        consumer = self.consumer
        assert isinstance(consumer, SlabConsumer)
        return consumer

    def input_topic(self, name: str) -> Any:
        """The channel of an input topic for an agent: events whose value is a Slab.

        Args:
            name: without the prefix.
        """
        full_name = topic_name(self.kafka, name)
        return self.topic(full_name, key_serializer="raw", value_serializer="raw", acks=False)

    def _new_transport(self) -> SlabTransport:
        return SlabTransport(self.conf.broker_consumer, self)

    def _create_directories(self) -> None:
        """Nothing is kept in files."""

    async def _producer_flush(self, logger: Any) -> None:
        """There is no producer."""


def create_app(settings: Settings, tasks: TaskManager) -> SlabApp:
    """Makes the app of a worker: agents are then added, and `faust.contrib.asgi.faust_app_running(app)` runs it.

    The app neither logs to the terminal nor ends the process; when something fails, `app.crashed` is true and
    `app.crash_reason` says why. Once per process, so that aiokafka's other consumers (there should be none) get slabs
    as well.

    Args:
        settings: of the process.
        tasks: who owns the tasks of the assigned partitions.

    Raises:
        ConfigurationError: other versions of aiokafka or Faust are installed, or the security settings are not ones
            that aiokafka knows.
    """
    slabs.install()
    worker, kafka = settings.worker, settings.kafka
    group = group_name(kafka, worker.group)
    app = SlabApp(
        group,
        broker=[URL(f"kafka://{address.strip()}") for address in kafka.bootstrap.split(",")],
        broker_request_timeout=RESTORE_S_MAX + 60.0,  # Faust goes on without a seek at this: never before our own limit
        broker_session_timeout=worker.session_timeout_s,
        broker_heartbeat_interval=worker.heartbeat_s,
        store="memory://",
        cache="memory://",
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        stream_buffer_maxsize=SLABS_QUEUED_MAX,
        TableManager=NoTables,
    )
    app.tasks, app.kafka = tasks, kafka
    app.consumer_options = {
        "client_id": "ganzhi",
        "group_id": group,
        "group_instance_id": worker.instance or None,
        "bootstrap_servers": [address.strip() for address in kafka.bootstrap.split(",")],
        "request_timeout_ms": int(_REQUEST_S * 1000),
        "session_timeout_ms": int(worker.session_timeout_s * 1000),
        "heartbeat_interval_ms": int(worker.heartbeat_s * 1000),
        "rebalance_timeout_ms": int(_REBALANCE_S * 1000),
        "max_poll_interval_ms": int(_POLL_S_MAX * 1000),
        **aiokafka_security(kafka),
    }
    return app


def aiokafka_security(kafka: KafkaSettings) -> dict[str, Any]:
    """TLS and SASL settings, given in librdkafka's names, as arguments of aiokafka's clients.

    Raises:
        ConfigurationError: one has no counterpart; the message names it and not its value.
    """
    known = {"security.protocol", "ssl.endpoint.identification.algorithm", *_FILES, *_SASL}
    foreign = sorted(set(kafka.security) - known)
    if foreign:
        raise ConfigurationError(
            f"kafka.security: a worker cannot use {', '.join(foreign)}; known: {', '.join(sorted(known))}"
        )
    values = {name: value.get_secret_value() for name, value in kafka.security.items()}
    options: dict[str, Any] = {aiokafka: values[name] for name, aiokafka in _SASL.items() if name in values}
    if "security.protocol" in values:
        options["security_protocol"] = values["security.protocol"].upper()
    if options.get("security_protocol") in ("SSL", "SASL_SSL"):
        options["ssl_context"] = _ssl_context(values)
    return options


def _ssl_context(values: dict[str, str]) -> ssl.SSLContext:
    files = {argument: values[name] for name, argument in _FILES.items() if name in values}
    try:
        context: ssl.SSLContext = create_ssl_context(**files)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"kafka.security: the certificates cannot be loaded: {error}") from error
    context.check_hostname = values.get("ssl.endpoint.identification.algorithm", "https") != "none"
    return context
