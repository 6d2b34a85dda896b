"""Publishing on the real Kafka: documents, control records and heads; after a crash, by two, with a foreign key."""

from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from schemas.codec import Value, contract_of
from schemas.control import SigningKey, check_chain, signing_key, verify
from schemas.errors import KafkaUnavailable, LogError, ModelError, SignatureError
from schemas.kafka import client_config
from schemas.model.build import known_numbers
from schemas.model.check import check_folder
from schemas.model.typed import Model
from schemas.settings import KafkaSettings
from schemas.topics import CONFIG, INPUTS, topic_name
from streams import published
from streams.kafka_admin import create_missing, watermarks
from streams.published import (
    Head,
    apply_model,
    fetch_document,
    murmur2,
    partition_of,
    read_documents,
    read_heads,
    repair,
)
from tests.support.models import Tables, write_model


@pytest.fixture
def topics(kafka: KafkaSettings) -> KafkaSettings:
    """Kafka with all topics made."""
    create_missing(kafka)
    return kafka


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    """The key of a profile."""
    return signing_key(tmp_path / "profile")


def model(path: Path) -> Model:
    """The model of a folder, which has no fault."""
    found, faults = check_folder(path)
    assert faults == []
    return found


def log_of(kafka: KafkaSettings, topic: str) -> list[tuple[int, str, bytes]]:
    """Every message of a topic: partition, key, value."""
    name = topic_name(kafka, topic)
    consumer = Consumer(client_config(kafka, group_id="tests", enable_auto_commit=False))
    try:
        count = len(consumer.list_topics(name, timeout=10).topics[name].partitions)
        ends = watermarks(kafka, name, range(count))
        left = sum(high - low for low, high in ends.values())
        consumer.assign([TopicPartition(name, partition, low) for partition, (low, _) in ends.items()])
        messages = consumer.consume(left, timeout=20) if left else []
        ordered = sorted(messages, key=lambda found: (found.partition(), found.offset()))
        return [(found.partition(), found.key().decode(), found.value()) for found in ordered]
    finally:
        consumer.close()


def records(kafka: KafkaSettings, topic: str, keys: dict[str, str]) -> list[tuple[int, str, dict[str, Value]]]:
    """Config records of an input topic, verified."""
    log = log_of(kafka, topic)
    assert all(contract_of(value) == "config_record" for _, _, value in log)
    return [(partition, site, verify("config_record", value, keys)) for partition, site, value in log]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("21", -973932308), ("foobar", -790332482), ("a-little-bit-long-string", -985981536),
     ("a-little-bit-longer-string", -1486304829),
     ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971), ("abc", 479470107)],
)  # fmt: skip
def test_murmur2_is_kafkas(text: str, expected: int) -> None:
    """The values of Kafka's own test (UtilsTest.testMurmur2), so that Java producers agree."""
    assert murmur2(text.encode()) == expected & 0xFFFFFFFF


def test_a_model_is_published_whole(topics: KafkaSettings, tmp_path: Path, key: SigningKey) -> None:
    """Every site gets a document, a head, and a signed record in each input topic, in its partition."""
    changes = apply_model(topics, model(write_model(tmp_path)), key)
    assert [(change.site, change.version, change.published) for change in changes] == [
        ("east", 1, True),
        ("west", 1, True),
    ]
    heads, documents = read_heads(topics), read_documents(topics)
    for site in ("east", "west"):
        head, document = heads[site], documents[site]
        assert head == Head(1, document.sha256, b"", partition_of(site, topics.partitions))
        assert document.partition == head.partition
        assert document.keys == {key.key_id: key.public}
        assert fetch_document(topics, head.sha256).raw == document.raw
    for topic in INPUTS:
        found = records(topics, topic, {key.key_id: key.public})
        assert sorted((site, partition) for partition, site, _ in found) == [
            (site, heads[site].partition) for site in ("east", "west")
        ]
        for _, site, record in found:
            assert record["site"] == site
            assert record["document"] == heads[site].sha256
            check_chain(record, 0, b"")


def test_nothing_is_written_for_an_unchanged_model(topics: KafkaSettings, tmp_path: Path, key: SigningKey) -> None:
    """Applying again changes no offset anywhere and says so."""
    path = write_model(tmp_path)
    first = apply_model(topics, model(path), key)
    before = {topic: log_of(topics, topic) for topic in (*INPUTS, CONFIG)}
    again = apply_model(topics, model(path), key)
    assert [(change.published, change.version, change.sha256) for change in again] == [
        (False, 1, change.sha256) for change in first
    ]
    assert {topic: log_of(topics, topic) for topic in (*INPUTS, CONFIG)} == before


def test_a_change_of_one_site_is_a_version_of_that_site(topics: KafkaSettings, tmp_path: Path, key: SigningKey) -> None:
    """Versions are a chain per site; numbers of points go on; the old document stays readable."""
    apply_model(topics, model(write_model(tmp_path)), key)
    first = read_documents(topics)

    def change(tables: Tables) -> None:
        tables["points"].append({**tables["points"][9], "id": "a-new-one"})

    changes = apply_model(topics, model(write_model(tmp_path, change)), key)
    assert [(done.site, done.version, done.published, done.added) for done in changes] == [
        ("east", 1, False, 0),
        ("west", 2, True, 1),
    ]
    second = read_documents(topics)
    assert second["east"].raw == first["east"].raw
    assert known_numbers(second["west"]) == {**known_numbers(first["west"]), "a-new-one": first["west"].next_number}
    assert fetch_document(topics, first["west"].sha256).raw == first["west"].raw
    chain = [record for _, site, record in records(topics, INPUTS[0], first["west"].keys) if site == "west"]
    check_chain(chain[1], 1, first["west"].sha256)


def test_a_mended_model_computes_from_a_date(
    topics: KafkaSettings, tmp_path: Path, key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The date is in the record, also when the apply died before it was written; a first version has none."""
    since_ms = 1_740_000_000_000
    apply_model(topics, model(write_model(tmp_path)), key, lambda _: since_ms)
    keys = read_documents(topics)["west"].keys

    def change(tables: Tables) -> None:
        tables["points"][9]["interval_s"] = 300

    real, calls = published.Writer.write, []

    def dying(*args: object) -> None:
        calls.extend([args] if args[1] else [])
        if len(calls) == 3:
            raise KeyboardInterrupt
        real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(published.Writer, "write", dying)
    with pytest.raises(KeyboardInterrupt):
        apply_model(topics, model(write_model(tmp_path, change)), key, lambda _: since_ms)
    monkeypatch.setattr(published.Writer, "write", real)
    assert repair(topics, key) == ["west"]
    for topic in INPUTS:
        found = [record for _, site, record in records(topics, topic, keys) if site == "west"]
        assert [(record["version"], record["effective_ms"]) for record in found] == [(1, 0), (2, since_ms)]


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_a_crash_between_steps_is_repaired(
    topics: KafkaSettings, tmp_path: Path, key: SigningKey, monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    """Killed after documents, pending or records: another apply, of another model even, leaves one chain."""
    path = write_model(tmp_path, lambda tables: tables["sites"].pop(0), **_west_only())
    real, calls = published.Writer.write, []

    def dying(*args: object) -> None:
        if len(calls) == stop_after and args[1]:
            raise KeyboardInterrupt
        calls.extend([args] if args[1] else [])
        real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(published.Writer, "write", dying)
    with pytest.raises(KeyboardInterrupt):
        apply_model(topics, model(path), key)
    monkeypatch.setattr(published.Writer, "write", real)
    assert read_heads(topics) == {}
    write_model(
        tmp_path, lambda tables: (tables["sites"].pop(0), tables["sites"][0].update(name_en="renamed")), **_west_only()
    )
    apply_model(topics, model(path), key)
    version, document = 0, b""
    for topic in INPUTS:
        seen: dict[int, bytes] = {}
        for _, _, record in records(topics, topic, {key.key_id: key.public}):
            sha256 = record["document"]
            assert isinstance(sha256, bytes)
            assert seen.setdefault(int(str(record["version"])), sha256) == sha256, "two documents of one version"
        version, document = max(seen.items())
        assert sorted(seen) == list(range(1, version + 1))
    assert version == (1 if stop_after == 1 else 2)
    assert read_heads(topics)["west"].sha256 == document
    assert read_documents(topics)["west"].table("sites")["name_en"] == ["renamed"]
    assert repair(topics, key) == []


def _west_only() -> dict[str, None]:
    """Tables that name site east are left out."""
    names = (
        "buildings",
        "spaces",
        "tenure",
        "gateways",
        "equips",
        "points",
        "meters",
        "meter_install",
        "balance",
        "stations",
        "bins",
        "vehicles",
    )
    return {**dict.fromkeys(names), "packs": {}}  # type: ignore[dict-item]


def test_two_applies_do_not_fork(topics: KafkaSettings, tmp_path: Path, key: SigningKey) -> None:
    """Who built on documents that are no longer in force is refused, and nothing is written."""
    stale = read_heads(topics)
    apply_model(topics, model(write_model(tmp_path)), key)
    before = log_of(topics, CONFIG)
    with pytest.raises(LogError, match="somebody else has published"):
        published.publish(topics, read_documents(topics), key, stale)
    assert log_of(topics, CONFIG) == before


def test_a_foreign_key_may_not_publish(topics: KafkaSettings, tmp_path: Path, key: SigningKey) -> None:
    """A site is published on by the key that its document names; another's is refused before anything is written."""
    apply_model(topics, model(write_model(tmp_path)), key)
    before = log_of(topics, CONFIG)
    changed = model(write_model(tmp_path, lambda tables: tables["sites"][0].update(name_en="mine now")))
    with pytest.raises(SignatureError, match="may not publish site east"):
        apply_model(topics, changed, signing_key(tmp_path / "thief"))
    assert log_of(topics, CONFIG) == before


def test_a_pinned_partition_stays(topics: KafkaSettings, tmp_path: Path, key: SigningKey) -> None:
    """Sites that another model publishes are known to the next one, keep their partition, and guard their domain."""
    apply_model(topics, model(write_model(tmp_path)), key)
    west = read_heads(topics)["west"]
    alone = write_model(
        tmp_path / "other", sites=[{"id": _same_partition("west", topics.partitions)}],
        calendars=None, schedules=None, tariffs=None, institutions=None, departments=None, **_west_only(),
    )  # fmt: skip
    (change,) = apply_model(topics, model(alone), key)
    assert change.partition == west.partition
    assert read_documents(topics)[change.site].partitions.keys() == {"east", "west", change.site}
    simulated = (
        (alone / "sites.csv").read_text().replace("id\n", "id,domain\n").replace(change.site, f"{change.site}2,demo")
    )
    (alone / "sites.csv").write_text(simulated)
    name = simulated.splitlines()[1].partition(",")[0]
    if partition_of(name, topics.partitions) in {head.partition for head in read_heads(topics).values()}:
        with pytest.raises(ModelError, match="a partition has one clock"):
            apply_model(topics, model(alone), key)


def _same_partition(site: str, partitions: int) -> str:
    wanted = partition_of(site, partitions)
    return next(
        name for name in (f"north{number}" for number in range(1000)) if partition_of(name, partitions) == wanted
    )


def test_a_large_document_is_published(topics: KafkaSettings, tmp_path: Path, key: SigningKey) -> None:
    """20,000 points, several megabytes in one message: beyond what clients and brokers take as they come."""

    def grow(tables: Tables) -> None:
        tables["points"] += [
            {**tables["points"][7], "id": f"x{number:05}", "name_zh": f"照明{number * 7919}"}
            for number in range(20_000)
        ]

    apply_model(topics, model(write_model(tmp_path, grow, packs={})), key)
    document = read_documents(topics)["east"]
    assert len(document.raw) > 4 << 20
    assert len(document.table("points")["id"]) > 20_000


def test_what_is_not_there_is_said(kafka: KafkaSettings, tmp_path: Path, key: SigningKey) -> None:
    """No topics, no document, no broker: each has its error."""
    with pytest.raises(LogError, match="does not exist"):
        read_heads(kafka)
    create_missing(kafka)
    assert read_heads(kafka) == {}
    with pytest.raises(LogError, match="is not in the topic config"):
        fetch_document(kafka, b"\1" * 32, timeout_s=0.5)
    nobody = kafka.model_copy(update={"bootstrap": "127.0.0.1:1"})
    published_timeout, published.TIMEOUT_S = published.TIMEOUT_S, 0.5  # type: ignore[misc]
    try:
        with pytest.raises(KafkaUnavailable):
            apply_model(nobody, model(write_model(tmp_path)), key)
    finally:
        published.TIMEOUT_S = published_timeout  # type: ignore[misc]
