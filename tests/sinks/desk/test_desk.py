"""The desk on the real Kafka: what is written comes back, a second reader sees the same, a new model is seen."""

from pathlib import Path

import pytest

from schemas.errors import ActionError
from schemas.settings import KafkaSettings
from sinks.desk.actions import Action, ActionWriter
from sinks.desk.desk import Desk
from tests.sinks.desk.world import ROOM, World, now_ms

PHOTO = b"\x89PNG\r\n\x1a\n" + bytes(100_000)


def test_actions_and_alerts_come_back(kafka: KafkaSettings, tmp_path: Path) -> None:
    """One desk reads on, another begins afterwards: both have the same alerts, silences and histories."""
    world = World(kafka, tmp_path)
    world.fire()
    with Desk(kafka) as desk, ActionWriter(kafka) as writer:
        desk.catch_up()
        assert desk.alerts[ROOM].status == "firing"
        assert desk.names.subject("east", "E1-101", "zh") == "办公室101"
        silence = Action("silence", "liu", matcher="rule=X", until_ms=now_ms() + 60_000, comment="<script>")
        offsets = writer.write(
            [Action.on(ROOM, "acknowledge", "liu"), silence, Action.on(ROOM, "comment", "wang", photo=PHOTO)]
        )
        world.resolve()
        until = now_ms() + 30_000
        while now_ms() < until and not (
            desk.alerts[ROOM].status == "resolved" and desk.alerts[ROOM].seen == offsets[2]
        ):
            desk.poll(0.2)

        assert [entry.what for entry in desk.alerts[ROOM].history] == ["firing", "acknowledge", "comment", "resolved"]
        assert desk.silences[silence.event_id].comment == "<script>"
        assert desk.photo(offsets[2]) == PHOTO
        assert desk.photo(offsets[0]) == b""
        with Desk(kafka) as other:
            other.catch_up()
            assert other.alerts == desk.alerts
            assert other.silences == desk.silences


def test_nothing_is_written_when_one_is_wrong(kafka: KafkaSettings, tmp_path: Path) -> None:
    """A bulk action is all or nothing."""
    world = World(kafka, tmp_path)
    world.fire()
    with ActionWriter(kafka) as writer, pytest.raises(ActionError):
        writer.write([Action.on(ROOM, "acknowledge", "liu"), Action.on(ROOM, "assign", "liu")])
    with Desk(kafka) as desk:
        desk.catch_up()
        assert desk.alerts[ROOM].status == "firing"


def test_a_new_model_is_seen(kafka: KafkaSettings, tmp_path: Path) -> None:
    """Names follow the document in force, without a restart."""
    world = World(kafka, tmp_path)
    with Desk(kafka) as desk:
        desk.catch_up()
        world.apply(departments=[{"id": "finance", "name_zh": "财政局"}, {"id": "budget", "name_zh": "新名"}])
        until = now_ms() + 30_000
        while now_ms() < until and desk.sites["east"].name("department", "budget", "zh") != "新名":
            desk.poll(0.2)
        assert desk.sites["east"].name("department", "budget", "zh") == "新名"
        labels = desk.sites["east"].labels("LightsInEmptyRoom", "E1-101", "warning", now_ms())
        assert labels["space"] == {"E1-101", "E1-1", "E1"}
        assert labels["building"] == {"E1"}
        assert labels["department"] == {"finance"}
        assert desk.sites["east"].labels("MeterSilent", "e-light", "warning", now_ms())["gateway"] == {"gw-e2"}
