"""What a range gives the tables, without any server."""

from schemas import codec, topics
from sinks.clickhouse.blocks import blocks_of
from sinks.clickhouse.messages import Run


def test_who_was_told_what_is_archived() -> None:
    """Records of the notifier are in event_log; what does not belong into their topic is listed."""
    position = codec.write("notifier_position", {"time_ms": 1, "places": []})
    run = Run([5, 7], [1000, 1001], [b"position", b"x"], [position, b"not ours"])
    blocks = blocks_of({(topics.NOTIFICATIONS, 0): run})

    assert [(block.table, block.rows) for block in blocks] == [("event_log", 2), ("unreadable", 1)]
