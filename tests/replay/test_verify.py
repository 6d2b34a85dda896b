"""`verify` says identical when it is so, finds what was altered, and says what is missing."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner

from ganzhi.cli import build
from ganzhi.cli.replay import app
from ganzhi.embedded.stack import Stack
from processors.state import ENGINE
from replay.kafka_log import KafkaHistory
from replay.log import rows_of
from replay.table_log import TableHistory
from replay.verify import RowDifference, verify
from schemas import codec
from schemas.errors import Difference, EngineMismatch, HistoryIncomplete
from schemas.settings import KafkaSettings
from schemas.topics import CONFIG, INPUTS, LEDGER, METER_READINGS, TASKS, topic_name
from tests.replay.history import LIMIT_S, Alter, Made, copied, forget, made
from tests.streams.log import messages_of

RUN = CliRunner()


@pytest.fixture(scope="module")
def history(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """The history that the tests of this module share; who alters it puts it right again."""
    with made(stack, tmp_path_factory.mktemp("history")) as one:
        yield one


def keep(topic: str, partition: int, number: int, key: bytes | None, value: bytes | None) -> bytes | None:
    """Alters nothing."""
    del topic, partition, number, key
    return value


def target(history: Made) -> tuple[int, bytes, bytes]:
    """A message in the middle of the log: its offset, its bytes, and the same with another register value.

    The two differ in one byte.
    """
    kafka = history.settings.kafka
    topic, partition = history.task
    for offset, _, _, value in messages_of(kafka, topic_name(kafka, topic), partition):
        if value is not None and offset > 100 and codec.contract_of(value) == "meter_batch":
            batch: Any = codec.read("meter_batch", value)
            if batch["gateway"] == "gw-e":
                batch["readings"][0]["value"] += 1
                altered = codec.write("meter_batch", batch)
                assert len(altered) == len(value)
                if sum(a != b for a, b in zip(value, altered, strict=True)) == 1:
                    return offset, value, altered
    raise AssertionError("no such message")


def check_difference(found: RowDifference | None, history: Made, offset: int) -> None:
    """It is the ledger row of the altered reading, published with one watt-hour less than the replay gives."""
    assert found is not None
    assert (found.task, found.stream) == (history.task, "ledger")
    assert found.published is not None
    assert found.computed is not None
    assert found.published["offset"] == found.computed["offset"] == offset
    assert found.sequence == found.published["sequence"] == found.computed["sequence"]
    assert found.sequence > 0
    assert int(str(found.computed["quantity"])) - int(str(found.published["quantity"])) == 1


@pytest.mark.parametrize("source", ["kafka", "event_log"])
def test_identical(history: Made, source: str) -> None:
    """The command says identical, with status 0, the same hash from both sources, and how much it has replayed."""
    with history.environment():
        result = RUN.invoke(app, ["replay", "verify", "--from", source, "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["identical"] is True
    assert told["difference"] is None
    expected = verify(KafkaHistory(history.settings.kafka))
    assert told["sha256"] == expected.sha256
    rows = {
        stream: len(list(KafkaHistory(history.settings.kafka).published(history.task, stream)))
        for stream in ("ledger", "gauges", "alerts", "episodes", "verdicts", "rejected")
    }
    assert rows["ledger"] > 500
    assert rows["alerts"] > 20
    assert rows["rejected"] == 3
    task = next(task for task in told["tasks"] if task["task"] == f"{METER_READINGS}/{history.task[1]}")
    assert task["rows"] == sum(rows.values())
    assert told["messages"] >= 300


def test_both_sources_give_the_same_rows(history: Made) -> None:
    """What is published in Kafka and what is stored in ClickHouse are the same rows in the same order."""
    kafka, table = KafkaHistory(history.settings.kafka), TableHistory(history.settings.clickhouse)
    for stream in ("ledger", "gauges", "alerts", "episodes", "verdicts", "rejected"):
        stored = list(table.published(history.task, stream))
        names = list(stored[0]) if stored else []
        assert stored == [{name: row[name] for name in names} for row in kafka.published(history.task, stream)]


def test_tasks_stand_at_the_ends_of_their_partitions(history: Made) -> None:
    """What waits for a worker asks for the ends of the topics that there are, and a back-test on the real log goes."""
    log = KafkaHistory(history.settings.kafka)
    ends = log.ends()
    assert {topic for topic, _ in ends} == set(INPUTS)
    position = log.positions()[history.task].offset
    assert ends[history.task] - 2 <= position <= ends[history.task]  # behind the last message there may be markers
    with history.environment():
        told = RUN.invoke(build("rules"), ["rules", "backtest", "--json"])
        assert told.exit_code == 0, told.output
        assert json.loads(told.stdout)["episodes"]
        checked = RUN.invoke(build("doctor"), ["doctor", "--json"])
        usage = RUN.invoke(app, ["replay", "usage", "--json"])
    checks = {one["check"]: one for one in json.loads(checked.stdout)["checks"]}
    assert all(checks[name]["ok"] for name in ("Kafka", "topics", "model", "worker", "ClickHouse", "usage")), checks
    assert (usage.exit_code, json.loads(usage.stdout)) == (0, [])


def test_a_byte_altered_in_event_log_is_found(history: Made) -> None:
    """One byte of one archived message: the first row that differs is the one that follows from it; status 7."""
    offset, value, altered = target(history)
    put(history, offset, altered)
    try:
        found = verify(TableHistory(history.settings.clickhouse))
        with history.environment():
            told = RUN.invoke(app, ["replay", "verify", "--from", "event_log", "--json"])
            shown = RUN.invoke(app, ["replay", "verify", "--from", "event_log"])
        assert verify(KafkaHistory(history.settings.kafka)).identical
    finally:
        put(history, offset, value)
    assert not found.identical
    check_difference(found.difference, history, offset)
    assert told.exit_code == shown.exit_code == Difference.exit_code == 7
    assert json.loads(told.stdout)["difference"]["sequence"] == found.difference.sequence  # type: ignore[union-attr]
    assert "quantity" in shown.stdout
    assert verify(TableHistory(history.settings.clickhouse)).identical


def put(history: Made, offset: int, value: bytes) -> None:
    """Overwrites an archived message."""
    topic, partition = history.task
    client = history.writer()
    where = f"topic = '{topic}' AND partition = {partition} AND offset = {offset}"
    client.command(
        f"ALTER TABLE event_log UPDATE value = unhex('{value.hex()}') WHERE {where}", settings={"mutations_sync": 2}
    )
    assert client.query(f"SELECT hex(value) FROM event_log WHERE {where}").result_rows == [(value.hex().upper(),)]
    client.close()


@pytest.fixture
def copy(history: Made) -> Iterator[Any]:
    """Makes altered copies of the log; they are deleted afterwards."""
    copies: list[KafkaSettings] = []

    def make(alter: Alter) -> KafkaSettings:
        copies.append(copied(history.settings.kafka, history.task[1], alter))
        return copies[-1]

    yield make
    for one in copies:
        forget(one)


def test_a_byte_altered_in_kafka_is_found(history: Made, copy: Any) -> None:
    """A log that says otherwise than what was published from it: the first row that differs; a true copy is identical."""
    offset, _, altered = target(history)

    def alter(topic: str, partition: int, number: int, key: bytes | None, value: bytes | None) -> bytes | None:
        del key
        return altered if (topic, partition) == history.task and number == offset else value

    found = verify(KafkaHistory(copy(alter)))
    assert not found.identical
    check_difference(found.difference, history, offset)
    same = verify(KafkaHistory(copy(keep)))
    assert same.identical
    heads = {task.task: task.head for task in verify(KafkaHistory(history.settings.kafka)).tasks}
    assert all(task.head == heads[task.task] for task in same.tasks)
    assert history.task in {task.task for task in same.tasks}


def test_a_published_row_altered_in_kafka_is_found(history: Made, copy: Any) -> None:
    """One quantity in one published message, though log and positions are untouched."""
    done: list[dict[str, Any]] = []

    def alter(topic: str, partition: int, number: int, key: bytes | None, value: bytes | None) -> bytes | None:
        del number, key
        if done or topic != LEDGER or partition != history.task[1] or value is None:
            return value
        if codec.contract_of(value) != "ledger_rows" or not rows_of("ledger", value, history.task):
            return value
        message: Any = codec.read("ledger_rows", value)
        message["rows"][-1]["quantity"] += 1000
        done.append(rows_of("ledger", codec.write("ledger_rows", message), history.task)[-1])
        return codec.write("ledger_rows", message)

    found = verify(KafkaHistory(copy(alter)))
    assert not found.identical
    assert found.difference is not None
    assert found.difference.stream == "ledger"
    assert found.difference.published == done[0]
    assert found.difference.computed == {**done[0], "quantity": done[0]["quantity"] - 1000}


def test_a_published_message_that_was_lost_is_found(history: Made, copy: Any) -> None:
    """A message of the ledger that is gone leaves a hole, which is told."""
    done: list[int] = []

    def alter(topic: str, partition: int, number: int, key: bytes | None, value: bytes | None) -> bytes | None:
        del number, key
        if done or topic != LEDGER or partition != history.task[1] or value is None:
            return value
        rows = rows_of("ledger", value, history.task)
        if not rows:
            return value
        done.append(int(str(rows[0]["sequence"])))
        message: Any = codec.read("ledger_rows", value)
        return codec.write("ledger_rows", {**message, "rows": []})

    found = verify(KafkaHistory(copy(alter)))
    assert not found.identical
    assert found.difference is not None
    assert (found.difference.stream, found.difference.sequence) == ("ledger", done[0])
    assert found.difference.published is None


def test_a_stored_row_altered_is_found(history: Made) -> None:
    """One quantity in the table `ledger`, though archive and positions are untouched; Kafka's own rows are right."""
    topic, partition = history.task
    where = f"topic = '{topic}' AND partition = {partition} AND sequence = 77"
    client = history.writer()

    def add(quantity: int) -> None:
        client.command(
            f"ALTER TABLE ledger UPDATE quantity = quantity + {quantity} WHERE {where}", settings={"mutations_sync": 2}
        )

    add(5)
    try:
        found = verify(TableHistory(history.settings.clickhouse))
    finally:
        add(-5)
        client.close()
    assert not found.identical
    assert found.difference is not None
    assert (found.difference.stream, found.difference.sequence) == ("ledger", 77)
    assert found.difference.published is not None
    assert found.difference.computed is not None
    assert found.difference.published["quantity"] == int(str(found.difference.computed["quantity"])) + 5
    assert verify(TableHistory(history.settings.clickhouse)).identical


def test_a_hole_in_event_log_is_told(history: Made) -> None:
    """A message that is missing in the archive is named by its offset; nothing is called identical."""
    offset, _, _ = target(history)
    topic, partition = history.task
    where = f"topic = '{topic}' AND partition = {partition} AND offset = {offset}"
    client = history.writer()
    client.command("CREATE TABLE removed AS event_log")
    client.command(f"INSERT INTO removed SELECT * FROM event_log WHERE {where}")
    client.command(f"ALTER TABLE event_log DELETE WHERE {where}", settings={"mutations_sync": 2})
    try:
        with pytest.raises(HistoryIncomplete, match=f"{topic}/{partition}: .* {offset} has to come"):
            verify(TableHistory(history.settings.clickhouse))
    finally:
        client.command("INSERT INTO event_log SELECT * FROM removed")
        client.close()
    assert verify(TableHistory(history.settings.clickhouse)).identical


def test_a_log_without_its_start_is_told(copy: Any, history: Made) -> None:
    """Kafka has deleted the first messages: verify says from where on the log begins."""
    kafka = copy(keep)
    topic, partition = history.task
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    place = TopicPartition(topic_name(kafka, topic), partition, 5)
    for cut in admin.delete_records([place]).values():
        cut.result(LIMIT_S)
    with pytest.raises(HistoryIncomplete, match="the log's start has offset 5 where 0 has to come"):
        verify(KafkaHistory(kafka))


def test_a_missing_document_is_told(copy: Any) -> None:
    """A log whose documents are gone: the one that is needed is named."""
    missing: list[str] = []

    def alter(topic: str, partition: int, number: int, key: bytes | None, value: bytes | None) -> bytes | None:
        del partition, number
        if topic != CONFIG or key is None or b"/" in key:
            return value
        missing.append(key.decode())
        return None

    with pytest.raises(HistoryIncomplete) as told:
        verify(KafkaHistory(copy(alter)))
    assert any(name in str(told.value) for name in missing)


def test_rows_of_another_engine_are_refused(copy: Any) -> None:
    """Positions of another release are not judged by this one."""

    def alter(topic: str, partition: int, number: int, key: bytes | None, value: bytes | None) -> bytes | None:
        del partition, number, key
        if topic != TASKS or codec.contract_of(value or b"") != "task_position":
            return value
        return codec.write("task_position", {**codec.read("task_position", value or b""), "engine": ENGINE + 1})

    with pytest.raises(EngineMismatch) as told:
        verify(KafkaHistory(copy(alter)))
    assert told.value.wanted == ENGINE + 1


def test_nothing_was_ever_computed(kafka: KafkaSettings) -> None:
    """An empty cluster is not identical to anything."""
    with pytest.raises(HistoryIncomplete, match="nothing"):
        verify(KafkaHistory(kafka))
