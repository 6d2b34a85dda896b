"""Slabs that come out of aiokafka's consumer, against what confluent-kafka reads from the same partition."""

import asyncio
import itertools
import random
import time
from collections.abc import Iterator

import numpy as np
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.errors import ConfigurationError, LogCorrupt
from schemas.record_batches import Slab, read_slabs
from schemas.settings import KafkaSettings
from streams import kafka_admin, slabs
from tests.streams.log import fetch, make_topic, messages_in, messages_of, producer

TRANSACTION_S = 20.0


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    slabs.install()


async def consume(kafka: KafkaSettings, topic: str, isolation: str, **more: int) -> list[Slab]:
    """All slabs of partition 0, through aiokafka's own consumer."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap,
        isolation_level=isolation,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=100,
        **more,
    )
    await consumer.start()
    try:
        tp = TopicPartition(topic, 0)
        consumer.assign([tp])
        consumer.seek(tp, 0)
        end = (await consumer.end_offsets([tp]))[tp]
        found: list[Slab] = []
        while not found or found[-1].end < end:
            records = await consumer.getmany(tp, timeout_ms=1000)
            for record in records.get(tp, []):
                assert record.value.start == (found[-1].end if found else 0)
                found.append(record.value)
        return found
    finally:
        await consumer.stop()


def fill(kafka: KafkaSettings, topic: str, seed: int = 7) -> None:
    """Messages of all kinds: codecs, null and empty, headers, small and large batches, transactions of both ends."""
    chance = random.Random(seed)
    number = itertools.count()

    def some(count: int) -> Iterator[dict[str, object]]:
        for _ in range(count):
            n = next(number)
            value = chance.choice([None, b"", b"%d" % n, b"%d " % n * chance.randrange(200)])
            key = chance.choice([None, b"", b"key %d" % n])
            yield {"key": key, "value": value, "headers": chance.choice([[], [("h", b"x"), ("null", None)]])}

    for codec in ("none", "lz4", "zstd", "gzip", "snappy"):
        plain = producer(kafka, compression_type=codec, linger_ms=20)
        for size in (1, 300, 20):
            for message in some(size):
                plain.produce(topic, **message)
            plain.flush()
    transactional = [
        producer(kafka, compression_type=codec, transactional_id=f"{kafka.prefix}{codec}")
        for codec in ("none", "lz4", "zstd")
    ]
    for one in transactional:
        one.init_transactions(TRANSACTION_S)
    for turn in range(4):
        for one in transactional:
            one.begin_transaction()
        for _ in range(3):
            for one in transactional:
                for message in some(5):
                    one.produce(topic, **message)
                one.flush()
        for i, one in enumerate(transactional):
            if (turn + i) % 2:
                one.abort_transaction(TRANSACTION_S)
            else:
                one.commit_transaction(TRANSACTION_S)


@pytest.mark.parametrize("isolation", ["read_committed", "read_uncommitted"])
@pytest.mark.parametrize("stamp", ["CreateTime", "LogAppendTime"])
def test_slabs_are_what_another_client_reads(kafka: KafkaSettings, isolation: str, stamp: str) -> None:
    """Codecs, nulls, headers, transactions of both ends: every offset, time, key and value equals the oracle's."""
    topic = make_topic(kafka, "all", message_timestamp_type=stamp)
    fill(kafka, topic)
    expected = messages_of(kafka, topic, isolation=isolation)
    assert len(expected) > 1600
    found = asyncio.run(consume(kafka, topic, isolation))
    assert messages_in(found) == expected
    small = asyncio.run(consume(kafka, topic, isolation, max_partition_fetch_bytes=3000, max_poll_records=1))
    assert len(small) > 10
    assert messages_in(small) == expected


def test_an_aborted_transaction_leaves_nothing_but_its_end(kafka: KafkaSettings) -> None:
    """A log of aborted messages only gives empty slabs whose end is the end of the log."""
    topic = make_topic(kafka, "aborted")
    one = producer(kafka, transactional_id=f"{kafka.prefix}a")
    one.init_transactions(TRANSACTION_S)
    one.begin_transaction()
    one.produce(topic, b"gone")
    one.flush()
    one.abort_transaction(TRANSACTION_S)
    found = asyncio.run(consume(kafka, topic, "read_committed"))
    assert (messages_in(found), found[-1].end) == ([], 2)


def test_compaction_leaves_holes(kafka: KafkaSettings) -> None:
    """After the cleaner has run, the messages that are left are the oracle's, and the slabs still follow each other."""
    topic = make_topic(
        kafka,
        "compacted",
        cleanup_policy="compact",
        min_cleanable_dirty_ratio="0.001",
        segment_bytes=str(1 << 20),
        segment_ms="100",
        delete_retention_ms="0",
    )
    one = producer(kafka, compression_type="lz4")
    deadline_s = time.monotonic() + 120
    rounds = itertools.count()
    while True:
        for i in range(300):
            n = next(rounds)
            one.produce(topic, b"%d " % n * 20, key=b"only %d" % n if i % 5 == 0 else b"%d" % (i % 17))
        one.flush()
        expected = messages_of(kafka, topic)
        offsets = np.array([offset for offset, *_ in expected])
        if (np.diff(offsets) > 1).any():
            break
        assert time.monotonic() < deadline_s, "the cleaner did not run"
        time.sleep(0.5)  # the cleaner looks every 15 s
    assert kafka_admin.watermarks(kafka, topic, [0])[0][1] > len(expected)
    found = asyncio.run(consume(kafka, topic, "read_committed"))
    # The cleaner may have run once more in between: what is there must be what the oracle reads after it as well.
    assert messages_in(found) in (expected, messages_of(kafka, topic))


def test_changed_fetches_never_crash(kafka: KafkaSettings) -> None:
    """A real fetch, changed and cut, gives slabs within its buffer or an error, with and without checksums."""
    topic = make_topic(kafka, "hostile")
    fill(kafka, topic)
    data, aborted = asyncio.run(fetch(kafka, topic))
    assert messages_in(read_slabs(topic, 0, data, 0, aborted=aborted)) == messages_of(kafka, topic)
    limits = {"max_examples": 600, "deadline": None, "suppress_health_check": list(HealthCheck)}

    @settings(**limits)  # type: ignore[arg-type]
    @given(
        st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), min_size=1, max_size=8),
        st.integers(0, len(data)),
        st.booleans(),
    )
    def changed(changes: list[tuple[int, int]], length: int, check_crc: bool) -> None:
        bad = bytearray(data)
        for position, byte in changes:
            bad[position] = byte
        given_slabs = []
        try:
            given_slabs.extend(read_slabs(topic, 0, bytes(bad[:length]), 0, aborted=aborted, check_crc=check_crc))
        except LogCorrupt as error:
            assert error.topic == topic
        for slab in given_slabs:
            ends = slab.spans[:, 0::2].astype(np.int64) + np.maximum(slab.spans[:, 1::2], 0)
            assert (ends <= len(slab.data)).all()

    changed()


def test_corruption_ends_the_consumer_and_skips_nothing(kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch with a wrong checksum raises out of the consumer, with its place, and the next call asks for it again."""
    topic = make_topic(kafka, "corrupt")
    one = producer(kafka)
    for i in range(3):
        one.produce(topic, b"%d" % i)
        one.flush()
    good = slabs.RawRecords.__init__

    def damaged(self: slabs.RawRecords, data: bytes) -> None:
        good(self, data[:-1] + bytes([data[-1] ^ 1]) if data else data)

    async def run() -> None:
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest")
        monkeypatch.setattr(slabs.RawRecords, "__init__", damaged)
        await consumer.start()
        try:
            with pytest.raises(LogCorrupt, match=r"offset 2: checksum"):
                while True:
                    await consumer.getmany(timeout_ms=1000)
            monkeypatch.undo()
            found: list[Slab] = []
            while not found or found[-1].end < 3:
                for records in (await consumer.getmany(timeout_ms=1000)).values():
                    found += [record.value for record in records]
            assert messages_in(found)[-1][3] == b"2"
        finally:
            await consumer.stop()

    asyncio.run(run())


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With another aiokafka than the one this was written for, the start ends with a message that says so."""
    monkeypatch.setattr(
        slabs, "version", lambda package: "0.15.0" if package == "aiokafka" else slabs.VERSIONS[package]
    )
    with pytest.raises(ConfigurationError, match=r"aiokafka 0\.15\.0 is installed"):
        slabs.install()
