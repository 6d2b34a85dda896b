"""A rule changes while a worker runs: it holds from its record in the log on, on the real broker, without a restart."""

from pathlib import Path

import pytest

from replay.kafka_log import KafkaHistory
from schemas import codec
from schemas.model.check import check_folder
from schemas.settings import KafkaSettings
from schemas.topics import METER_READINGS
from streams.published import apply_model
from tests.streams.pipeline import AT_ONCE, KEY, Feed, Watch, local_worker, publish, published, settings_of, until
from tests.support.models import write_model

pytestmark = pytest.mark.kafka


def test_a_changed_rule_holds_from_its_place_in_the_log(kafka: KafkaSettings, tmp_path: Path) -> None:
    """200 W are above 50 W, and not above 300 W: the alert ends with the record that says so, though no reading comes."""
    feed = Feed(kafka, publish(kafka, tmp_path)["east"])
    watch = Watch(kafka, feed.partition)
    with local_worker(settings_of(kafka)) as worker:
        feed.send(20)  # the last one switches the light on
        until(watch.done(), worker)
        changed = {"lighting.yaml": AT_ONCE.replace("50 W", "300 W")}
        model, faults = check_folder(write_model(tmp_path, packs=changed))
        assert not faults
        apply_model(kafka, model, KEY)
        until(watch.done(), worker)
        feed.send(20)  # off and on again: not above 300 W
        until(watch.done(), worker)
        rows = watch.exact()["alerts"]
    assert [(row["state"], row["config_version"]) for row in rows] == [("firing", 1), ("resolved", 2)]
    task = (METER_READINGS, feed.partition)
    records = [
        (int(slab.offsets[place]), codec.contract_of(slab.value(place) or b""))
        for slab in KafkaHistory(kafka).slabs(task, watch.end())
        for place in range(len(slab))
    ]
    configs = [offset for offset, contract in records if contract == "config_record"]
    assert rows[1]["offset"] == configs[-1]
    assert published(kafka, feed.partition)["alerts"] == rows
