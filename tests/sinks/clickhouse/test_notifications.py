"""Who was told what, when, through which channel, with which outcome: the topic `notifications` in SQL."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from schemas.settings import ClickHouseSettings, KafkaSettings
from schemas.topics import NOTIFICATIONS
from sinks.clickhouse.client import reader
from sinks.clickhouse.faults import KILLED
from sinks.notify.records import NOBODY, Delivery, Message, Notice
from tests.sinks.clickhouse.world import (
    DEADLINE_S,
    START_MS,
    World,
    settings_of,
    sink_process,
    sink_thread,
    wait_drained,
)

HOSTILE = "<b>灯</b>\x00\u202e'; DROP TABLE notices; --\n=1+1"
FIRING = Notice(
    "n1", START_MS, "east", "LightsInEmptyRoom", HOSTILE, 7, "firing:warning", "warning", "all", "robot@day", "robot",
    ("liu", "wang"), "zh", "n1", START_MS, 0,
)  # fmt: skip
RESOLVED = dataclasses.replace(FIRING, id="n2", time_ms=START_MS + 9000, step="resolved", named=())
WAITING = dataclasses.replace(FIRING, id="n3", step="remind:1")
MARK = dataclasses.replace(FIRING, id="n4", step="list:2026-01-04", channel="", target="")
ABOUT = Notice(
    "n5", START_MS, *NOBODY, "channel:robot:down", "critical", "", "mail", "mail", (), "zh", "n5", START_MS, 0
)  # fmt: skip
FIRST = Message("m1", START_MS + 100, "robot", ("n1",), "n1", "title", HOSTILE, ("liu",), "zh")
MOVED = dataclasses.replace(FIRST, id="m2", time_ms=START_MS + 5000, channel="mail", moved_from="m1")
DIGEST = dataclasses.replace(FIRST, id="m3", time_ms=START_MS + 9100, channel="mail", notices=("n2", "n5"), text="two")
RECORDS = (
    FIRING, ABOUT, FIRST, WAITING, MARK,
    Delivery("m1", START_MS + 200, "robot", "unknown", 1, "no answer"),
    Delivery("m1", START_MS + 4000, "robot", "later", 2, "busy"),
    MOVED, Delivery("m1", START_MS + 5000, "robot", "moved", 2, "to mail"),
    Delivery("m2", START_MS + 5100, "mail", "sent", 1, ""),
    RESOLVED, DIGEST,
)  # fmt: skip


@pytest.mark.parametrize("fault", ["", "sink.after_insert.notice_messages"])
def test_who_was_told_what(kafka: KafkaSettings, clickhouse: ClickHouseSettings, tmp_path: Path, fault: str) -> None:
    """A row for each notice and message, once, also after a kill between two of the tables; nothing is unreadable."""
    settings = settings_of(kafka, clickhouse)
    world = World(settings)
    for record in RECORDS:
        world.send(NOTIFICATIONS, record.raw)
    if fault:
        assert sink_process(settings, tmp_path, fault).wait(DEADLINE_S) == KILLED
    with sink_thread(settings):
        wait_drained(settings)
    client = reader(clickhouse)
    try:
        columns = (
            "notice, step, channel, outcome, toUnixTimestamp64Milli(told_at), attempts, message, moved_from, detail"
        )
        rows: list[Any] = client.query(f"SELECT {columns} FROM notifications ORDER BY notice, message").result_rows
        assert rows == [
            ("n1", "firing:warning", "robot", "moved", None, 2, "m1", "", "to mail"),
            ("n1", "firing:warning", "mail", "sent", START_MS + 5100, 1, "m2", "m1", ""),
            ("n2", "resolved", "mail", "on the way", None, 0, "m3", "", ""),
            ("n3", "remind:1", "robot", "waiting", None, 0, "", "", ""),
            ("n5", "channel:robot:down", "mail", "on the way", None, 0, "m3", "", ""),
        ]  # fmt: skip
        found = client.query("SELECT subject, text, people, site, episode FROM notifications WHERE message = 'm2'")
        assert found.result_rows == [(HOSTILE, HOSTILE, ["liu", "wang"], "east", 7)]
        for table, kind in (("notices", Notice), ("notice_messages", Message), ("notice_deliveries", Delivery)):
            wanted = sum(isinstance(record, kind) for record in RECORDS)
            assert client.query(f"SELECT count() FROM {table}").result_rows == [(wanted,)], table
        assert client.query("SELECT count() FROM unreadable").result_rows == [(0,)]
    finally:
        client.close()
