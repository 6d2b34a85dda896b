"""The embedded Kafka is a real broker: transactions, limits, a log that survives kill -9, loopback only."""

import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from ganzhi.embedded import ports
from ganzhi.embedded.kafka import MESSAGE_BYTES_MAX, EmbeddedKafka
from schemas.errors import ChildDied, PortInUse, StackError
from schemas.settings import KafkaSettings

pytestmark = pytest.mark.kafka
WAIT_S = 60.0


@pytest.fixture
def node(tmp_path: Path) -> Iterator[EmbeddedKafka]:
    """A node of the test's own that is up, to stop and kill."""
    one = EmbeddedKafka(tmp_path / "kafka", ports.choose_free())
    one.start()
    one.wait_ready()
    yield one
    one.kill()


def create(bootstrap: str, topic: str) -> None:
    """Creates a topic of one partition."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for created in admin.create_topics([NewTopic(topic, 1, 1)]).values():
        created.result(WAIT_S)


def producer(bootstrap: str, transactional_id: str = "") -> Producer:
    """A producer that acknowledges what is in the log, with transactions where it has an id for them."""
    config: dict[str, str | int] = {
        "bootstrap.servers": bootstrap,
        "enable.idempotence": "true",
        "message.max.bytes": MESSAGE_BYTES_MAX,
        "log_level": 2,
    }
    if transactional_id:
        config["transactional.id"] = transactional_id
    made = Producer(config)
    if transactional_id:
        made.init_transactions(WAIT_S)
    return made


def committed(bootstrap: str, topic: str) -> list[bytes]:
    """All committed values of the topic's one partition, from its beginning to its end."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "reader of a test",
            "isolation.level": "read_committed",
            "enable.auto.commit": "false",
            "enable.partition.eof": "true",
        }
    )
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    values: list[bytes] = []
    while True:
        message = consumer.poll(WAIT_S)
        assert message is not None, "the end of the partition was not reached"
        error = message.error()
        if error is None:
            values.append(message.value() or b"")
        elif error.code() == KafkaError._PARTITION_EOF:
            consumer.close()
            return values
        else:
            raise KafkaException(error)


def test_transactions(kafka: KafkaSettings) -> None:
    """A reader of committed messages sees all of a transaction that was committed and nothing of one that was not."""
    topic = f"{kafka.prefix}transactions"
    create(kafka.bootstrap, topic)
    writer = producer(kafka.bootstrap, f"{kafka.prefix}writer")
    for name, end in (
        (b"kept", writer.commit_transaction),
        (b"dropped", writer.abort_transaction),
        (b"also kept", writer.commit_transaction),
    ):
        writer.begin_transaction()
        for _ in range(3):
            writer.produce(topic, name)
        writer.flush(WAIT_S)
        end(WAIT_S)
    assert committed(kafka.bootstrap, topic) == [b"kept"] * 3 + [b"also kept"] * 3


def test_large_messages(kafka: KafkaSettings) -> None:
    """A message of nearly 16 MiB is taken and comes back whole."""
    topic = f"{kafka.prefix}large"
    create(kafka.bootstrap, topic)
    value = bytes(range(256)) * ((MESSAGE_BYTES_MAX - 4096) // 256)
    writer = producer(kafka.bootstrap)
    writer.produce(topic, value)
    assert writer.flush(WAIT_S) == 0
    assert committed(kafka.bootstrap, topic) == [value]


def test_topics_are_not_made_by_asking(kafka: KafkaSettings) -> None:
    """A topic that nobody created stays unknown, though a producer asks for it in the way that could create it."""
    topic = f"{kafka.prefix}misspelt"
    writer = Producer({"bootstrap.servers": kafka.bootstrap, "allow.auto.create.topics": "true"})
    for _ in range(2):
        error = writer.list_topics(topic, timeout=WAIT_S).topics[topic].error
        assert error is not None
        assert error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART
    assert topic not in writer.list_topics(timeout=WAIT_S).topics


def test_log_survives_kill(node: EmbeddedKafka) -> None:
    """After kill -9 every acknowledged message is there once, and the open transaction is nobody's to see."""
    create(node.bootstrap, "log")
    values = [b"%d" % number for number in range(1000)]
    writer = producer(node.bootstrap)
    for value in values:
        writer.produce("log", value)
    assert writer.flush(WAIT_S) == 0
    torn = producer(node.bootstrap, "torn")
    torn.begin_transaction()
    torn.produce("log", b"torn")
    assert torn.flush(WAIT_S) == 0
    node.kill()
    node.start()
    node.wait_ready()
    after = producer(node.bootstrap, "torn")  # ends what its predecessor left open
    after.begin_transaction()
    after.produce("log", b"after")
    after.commit_transaction(WAIT_S)
    assert committed(node.bootstrap, "log") == [*values, b"after"]


def test_log_survives_stop(node: EmbeddedKafka) -> None:
    """After a clean stop the same cluster comes back with its topics and messages; nothing runs in between."""
    create(node.bootstrap, "log")
    writer = producer(node.bootstrap)
    writer.produce("log", b"here")
    assert writer.flush(WAIT_S) == 0
    pid = node.child.pid
    node.stop()
    assert not psutil.pid_exists(pid)
    assert ports.is_free(node.port)
    node.child.check()
    node.start()
    node.wait_ready()
    assert committed(node.bootstrap, "log") == [b"here"]


def test_death_is_noticed(node: EmbeddedKafka) -> None:
    """A broker that is killed from outside is reported by `check`."""
    psutil.Process(node.child.pid).kill()
    node.child.wait(WAIT_S)
    with pytest.raises(ChildDied) as died:
        node.child.check()
    assert died.value.name == "Kafka"


def test_listens_on_loopback_only(node: EmbeddedKafka) -> None:
    """Every port that the JVM listens on is one of 127.0.0.1."""
    listening = [c.laddr for c in psutil.Process(node.child.pid).net_connections() if c.status == psutil.CONN_LISTEN]
    assert {address.ip for address in listening} == {ports.HOST}
    assert node.port in {address.port for address in listening}


def test_port_in_use(tmp_path: Path) -> None:
    """A port that is taken is told before anything is started, with what to turn."""
    with socket.socket() as other:
        other.bind((ports.HOST, 0))
        other.listen()
        node = EmbeddedKafka(tmp_path / "kafka", other.getsockname()[1])
        with pytest.raises(PortInUse, match="GANZHI_KAFKA__BOOTSTRAP") as refused:
            node.start()
    assert refused.value.port == node.port
    assert not (tmp_path / "kafka").exists()


def test_unfinished_format_is_done_again(tmp_path: Path) -> None:
    """A crash while the folder is formatted leaves nothing that the next start takes for a formatted folder."""
    (tmp_path / "formatting").mkdir()
    (tmp_path / "formatting" / "meta.properties").write_text("version=1\ncluster.id=half\n")
    node = EmbeddedKafka(tmp_path, ports.choose_free())
    node.start()
    try:
        node.wait_ready()
    finally:
        node.kill()


def test_another_kafka_is_not_mistaken_for_it(node: EmbeddedKafka, tmp_path: Path) -> None:
    """A broker of another folder that answers on the port is refused."""
    meta = node.folder / "data" / "meta.properties"
    meta.write_text(meta.read_text().replace("cluster.id=", "cluster.id=x"))
    with pytest.raises(StackError, match="another Kafka"):
        node.wait_ready()
