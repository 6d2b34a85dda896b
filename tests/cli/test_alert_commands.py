"""`ganzhi alerts …` and `ganzhi notify` as people and programs meet them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ganzhi.cli.alert_actions import app
from ganzhi.cli.notify import app as notify
from ganzhi.demo.robot import RobotServer
from schemas.errors import ActionError, ChannelError
from schemas.settings import KafkaSettings
from sinks.desk.actions import short_id
from tests.sinks.desk.world import ROOM, World
from tests.sinks.notify.world import KEY

RUN = CliRunner()
ID = short_id(ROOM)


@pytest.fixture
def world(kafka: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """One alert that burns, in a stack that the commands find."""
    monkeypatch.setenv("GANZHI_KAFKA__BOOTSTRAP", kafka.bootstrap)
    monkeypatch.setenv("GANZHI_KAFKA__PREFIX", kafka.prefix)
    monkeypatch.setenv("COLUMNS", "300")
    found = World(kafka, tmp_path)
    found.fire()
    return found


def told(*words: str) -> str:
    """What a command that succeeds prints."""
    result = RUN.invoke(app, ["alerts", *words])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def shown(*words: str) -> list[dict[str, object]]:
    """The same as JSON."""
    return [json.loads(line) for line in told(*words, "--json").splitlines()]


def test_a_day_of_an_alert(world: World, tmp_path: Path) -> None:
    """Every action, as one would type it; the list and the alert itself say what came of it."""
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    assert ID in told()
    assert [row["status"] for row in shown()] == ["firing"]
    told("ack", ID, "-m", "on my way", "--as", "liu")
    told("assign", ID[:4], "wang", "--as", "liu")
    told("start", "/".join(map(str, ROOM)), "--as", "wang")
    told("comment", ID, "[bold]what[/bold] \u202eevil", "--reason", "cleaning", "--photo", str(photo), "--as", "wang")
    (order,) = shown("order", ID, "zhao", "--by", "2h", "-m", "new switch", "--as", "liu")
    told("done", ID, str(order["event_id"])[:8], "-m", "done", "--as", "zhao")
    told("false-alarm", ID, "--reason", "sensor_fault")
    told("snooze", ID, "--for", "30m")
    told("close", ID)
    (alert,) = shown("show", ID)
    history = alert["history"]
    assert isinstance(history, list)

    assert (alert["status"], alert["assignee"], alert["false_alarm"]) == ("in_progress", "zhao", True)
    assert [entry["what"] for entry in history] == [
        "firing", "acknowledge", "assign", "start", "comment", "work_order", "work_done", "false_alarm", "snooze", "close",
    ]  # fmt: skip
    assert history[4]["photo"]
    assert [entry["overlapped"] for entry in history[1:]] == [[]] * 9
    text = told("show", ID)
    assert "[bold]what[/bold] evil" in text
    world.resolve()
    assert shown() == []
    assert [row["status"] for row in shown("--all")] == ["closed"]
    told("reopen", ID)
    assert [row["status"] for row in shown("--match", "space=E1-1")] == ["reopened"]
    assert shown("--match", "building=W1") == []


def test_silences(world: World) -> None:
    """Made, listed, taken back."""
    told("silence", "space=E1-1", "--for", "2h", "-m", "painting", "--as", "liu")
    (mute,) = shown("silence", "rule=X", "--hours", "mon-fri 22:00-06:00", "--as", "liu")
    assert [(one["kind"], one["matcher"]) for one in shown("silences")] == [
        ("silence", "space=E1-1"),
        ("mute", "rule=X"),
    ]
    told("unsilence", str(mute["event_id"])[:10], "--as", "wang")
    assert [one["kind"] for one in shown("silences")] == ["silence"]
    assert [one["ended_by"] for one in shown("silences", "--all")] == ["", "wang"]


WRONG = (
    ["ack", "ffffffff"], ["ack", ""], ["reopen", ID], ["done", ID, "nothing", "-m", "x"], ["unsilence", "nothing"],
    ["silence", "rule", "--for", "1h", "-m", "x"], ["silence", "rule=x", "-m", "x"], ["snooze", ID, "--for", "soon"],
    ["comment", ID, "--reason", "because"], ["comment", ID], ["--match", "building"],
)  # fmt: skip


def test_what_cannot_be_done(world: World) -> None:
    """Nothing is written, and a sentence says why (exit status 2)."""
    for words in WRONG:
        result = RUN.invoke(app, ["alerts", *words])
        assert isinstance(result.exception, ActionError), (words, result.output)
        assert result.exception.exit_code == 2
    (alert,) = shown("show", ID)
    assert alert["status"] == "firing"
    assert isinstance(alert["history"], list)
    assert len(alert["history"]) == 1


def test_trying_a_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    """`ganzhi notify --test CHANNEL` needs no Kafka, says what became of it, and never the address."""
    with RobotServer(KEY) as robot:
        for name, value in {"KIND": "wecom", "URL": robot.url("wecom"), "ALLOW_PRIVATE": "true"}.items():
            monkeypatch.setenv(f"GANZHI_NOTIFY__CHANNELS__ROBOT__{name}", value)
        right = RUN.invoke(notify, ["--test", "robot"])
        assert (right.exit_code, right.stdout.split()[:2]) == (0, ["robot:", "sent"])
        assert robot.said[0].text.startswith("ganzhi：测试消息")
        monkeypatch.setenv("GANZHI_NOTIFY__CHANNELS__ROBOT__URL", robot.url("wecom") + "-wrong")
        wrong = RUN.invoke(notify, ["--test", "robot"])
        assert wrong.exit_code == 6
        assert "93000" in wrong.stdout
        assert "canary" not in wrong.stdout
        assert isinstance(RUN.invoke(notify, ["--test", "nothing"]).exception, ChannelError)
