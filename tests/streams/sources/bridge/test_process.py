"""The bridge on the real broker: what a foreign topic holds is in the log, once, whatever happens to the process."""

import json
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ganzhi.datasets.loading import apply_folder
from ganzhi.embedded.children import Child
from schemas.control import signing_key
from schemas.errors import ConfigurationError
from schemas.settings import KafkaSettings, Settings
from schemas.topics import Topic
from schemas.vitals import Pulse, Vitals
from streams.kafka_admin import create_missing
from streams.sources.bridge import mapping as mappings
from streams.sources.bridge.mapping import BridgeMapping
from streams.sources.bridge.process import run
from streams.sources.bridge.rejected import read as read_rejected
from streams.sources.bridge.work import Counts, committed, group_of
from tests.streams.log import producer
from tests.streams.sources import sites

START_S = 1_700_000_000
MAPPING = """
topic: {topic}
name: plant
site: here
time: {{column: ts, format: epoch_s}}
long:
  point: "{{meter}}"
  points: {{"4711": main}}
  value: {{column: kwh, unit: kWh}}
quality: {{column: flag, estimated: [E]}}
"""


def prepared(kafka: KafkaSettings, folder: Path, partitions: int = 3) -> tuple[Settings, BridgeMapping, Path]:
    """A published model, a foreign topic, and a mapping for it."""
    sites.documents(folder / "model")
    create_missing(kafka)
    apply_folder(kafka, folder / "model", signing_key(folder))
    topic = f"{kafka.prefix}foreign"
    create_missing(kafka, [Topic("foreign", partitions)])
    path = folder / "mapping.yaml"
    path.write_text(MAPPING.format(topic=topic))
    settings = Settings(kafka=kafka).model_copy(
        update={"bridge": Settings().bridge.model_copy(update={"commit_interval_s": 0.2})}
    )
    return settings, mappings.load(path), path


def send(kafka: KafkaSettings, messages: list[tuple[int, Any]]) -> None:
    """Sends (partition, message) to the foreign topic."""
    sender = producer(kafka, linger_ms=5)
    for partition, message in messages:
        raw = message if isinstance(message, bytes) else json.dumps(message).encode()
        sender.produce(f"{kafka.prefix}foreign", raw, b"k", partition)
        sender.poll(0)
    assert sender.flush(60) == 0


def reading(number: int, meter: str = "4711", **more: object) -> dict[str, object]:
    """A message: the register reads 0.001 kWh more every second."""
    return {"meter": meter, "ts": START_S + number, "kwh": number / 1000} | more


def bridged(
    settings: Settings,
    mapping: BridgeMapping,
    until: int,
    again: bool = False,
    told: Callable[[Vitals], None] = lambda _: None,
) -> Counts:
    """Runs the bridge in this process until it has committed so many messages; `told` hears how it is, again and again."""
    pulse = Pulse()
    seen: list[int] = []
    limit_s = time.monotonic() + 90

    def stop() -> bool:
        told(pulse.read())
        return bool(seen and seen[-1] >= until) or time.monotonic() > limit_s

    return run(settings, mapping, stop, again, lambda counts: seen.append(counts.messages), pulse)


def test_readings_arrive_and_the_rest_can_be_found_and_sent_again(kafka: KafkaSettings, tmp_path: Path) -> None:
    """By gateway, exactly, with their quality; what cannot be used is kept as it came, and good after the mapping is mended."""
    settings, mapping, path = prepared(kafka, tmp_path)
    good = [(number % 3, reading(number)) for number in range(300)]
    bad = [
        (0, b"not json"),
        (1, reading(5, "unheard-of")),
        (2, reading(6) | {"kwh": 0.0001}),
        (0, {"meter": "4711", "kwh": 1}),
        (1, reading(7) | {"ts": 12}),
    ]
    send(kafka, good + bad + [(1, reading(400, flag="E"))])
    heard: list[Vitals] = []
    counts = bridged(settings, mapping, 306, told=heard.append)
    assert (heard[0].status, heard[-1].status) == ("starting", "ok")
    vitals = {one.name: sum(value for _, value in one.samples) for one in heard[-1].values}
    assert vitals == {"lag_messages": 0, "messages_total": 306, "readings_total": 301, "rejected_total": 5}
    assert (counts.messages, counts.readings, counts.rejected) == (306, 301, 5)
    found = sites.readings(kafka)
    number = found[0][4]
    expected = [("here", "g1", "live", (START_S + n) * 1000, number, n, "good") for n in range(300)]
    assert sorted(found) == sorted(
        [*expected, ("here", "g1", "live", (START_S + 400) * 1000, number, 400, "estimated")]
    )
    rejected = list(read_rejected(kafka, mapping))
    assert sorted((one.partition, one.reason.split(":")[0]) for one in rejected) == [
        (0, "no time"),
        (0, "not JSON"),
        (1, "the time is before 2000"),
        (1, "unknown point 'unheard-of' in site 'here'"),
        (2, "kwh"),
    ]
    assert {one.raw for one in rejected} >= {b"not json"}
    path.write_text(path.read_text().replace('{"4711": main}', '{"4711": main, unheard-of: main}'))
    counts = bridged(settings, mappings.load(path), 5, again=True)
    assert (counts.messages, counts.readings, counts.rejected) == (5, 1, 4)
    assert len(sites.readings(kafka)) == 302
    assert len(list(read_rejected(kafka, mapping))) == 9


def test_a_newer_model_is_seen_while_it_runs(
    kafka: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A point that was unknown is known once a model that has it is applied."""
    monkeypatch.setattr("streams.sources.bridge.work.LOOK_S", 0.2)
    settings, mapping, _ = prepared(kafka, tmp_path)
    send(kafka, [(0, reading(1, "later"))])
    seen: list[Counts] = []

    def change() -> None:
        while not seen:
            time.sleep(0.05)
        points = tmp_path / "model" / "points.csv"
        points.write_text(points.read_text() + "later,here,g1,energy,register,electricity,kWh,900\n")
        apply_folder(kafka, tmp_path / "model", signing_key(tmp_path))
        time.sleep(3)
        send(kafka, [(0, reading(2, "later"))])

    changing = threading.Thread(target=change)
    changing.start()
    limit_s = time.monotonic() + 90
    counts = run(
        settings,
        mapping,
        lambda: bool(seen and seen[-1].messages >= 2) or time.monotonic() > limit_s,
        progress=seen.append,
    )
    changing.join()
    assert (counts.readings, counts.rejected) == (1, 1)


def test_a_topic_that_is_not_there_is_named(kafka: KafkaSettings, tmp_path: Path) -> None:
    """Nothing is created in its place."""
    settings, mapping, _ = prepared(kafka, tmp_path)
    with pytest.raises(ConfigurationError, match="there is no topic elsewhere"):
        run(settings, mapping.model_copy(update={"topic": "elsewhere"}), lambda: False)


def child(settings: Settings, mapping: Path, folder: Path, instance: str) -> Child:
    """A bridge process."""
    kafka = settings.kafka
    env = os.environ | {
        "GANZHI_KAFKA__BOOTSTRAP": kafka.bootstrap,
        "GANZHI_KAFKA__PREFIX": kafka.prefix,
        "GANZHI_BRIDGE__COMMIT_INTERVAL_S": "0.1",
        "GANZHI_BRIDGE__SESSION_TIMEOUT_S": "6",
    }
    command = [sys.executable, "-m", "ganzhi", "bridge", str(mapping), "--instance", instance]
    return Child(f"bridge {instance}", command, folder / f"{instance}.log", env=env)


def wait(reached: Callable[[], bool], limit_s: float, what: Callable[[], str]) -> None:
    """Waits until something is so."""
    deadline_s = time.monotonic() + limit_s
    while not reached():
        assert time.monotonic() < deadline_s, what()
        time.sleep(0.2)


def test_kills_lose_and_double_nothing(kafka: KafkaSettings, tmp_path: Path) -> None:
    """Two bridges share a topic that is written all the time, and are killed in turn; every reading is there once."""
    settings, mapping, path = prepared(kafka, tmp_path)
    seed = 20_261_125
    chance = random.Random(seed)
    count = 40_000

    def feed() -> None:
        for first in range(0, count, 400):
            bad = [(chance.randrange(3), b"{")] if first % 4000 == 0 else []
            send(kafka, [(number % 3, reading(number)) for number in range(first, first + 400)] + bad)
            time.sleep(0.05)

    def behind() -> int:
        found = committed(kafka, kafka.prefix + group_of(mapping), mapping.topic, [0, 1, 2], threading.Event())
        return count + 10 - sum(found.values())

    def reach(left: int) -> None:
        words = lambda: f"seed {seed}: " + "\n".join(one.log_tail() for one in running.values())  # noqa: E731
        wait(lambda: behind() <= left, 90, words)

    feeding = threading.Thread(target=feed)
    running = {name: child(settings, path, tmp_path, name) for name in ("one", "two")}
    feeding.start()
    try:
        for turn in range(6):
            reach(max(behind() - 1000, 0))
            time.sleep(chance.random())
            name = ("one", "two")[turn % 2]
            running[name].kill()
            running[name] = child(settings, path, tmp_path, name)
        feeding.join()
        reach(0)
    finally:
        for one in running.values():
            one.stop()
    found = Counter((time_ms, value) for *_, time_ms, _, value, _ in sites.readings(kafka))
    assert len(found) == count, f"seed {seed}: {count - len(found)} lost"
    assert set(found.values()) == {1}, f"seed {seed}: doubled {[one for one in found if found[one] > 1][:10]}"
    assert len(list(read_rejected(kafka, mapping))) == 10
