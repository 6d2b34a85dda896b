"""What a range gives each table: a function of the bytes of its messages and of nothing else, in a few inserts."""

from collections.abc import Callable, Mapping
from typing import Final

from schemas import topics
from sinks.clickhouse.cold_rows import chain_heads, documents, plain_rows, unreadable_rows
from sinks.clickhouse.hot_rows import event_log, matrix_rows, readings
from sinks.clickhouse.messages import Messages, Run, by_topic
from sinks.clickhouse.ranges import Place
from sinks.clickhouse.tables import Block

TOPICS: Final = (
    *topics.INPUTS, *topics.OUTPUTS, topics.ALERT_ACTIONS, topics.ALERT_PHOTOS, topics.NOTIFICATIONS, topics.CONFIG,
    topics.TASKS,
)  # fmt: skip
"""What the sink reads: everything but the cache of states."""

ARCHIVED: Final = (
    *topics.INPUTS, topics.ALERT_ACTIONS, topics.ALERT_PHOTOS, topics.NOTIFICATIONS, topics.CONFIG,
)  # fmt: skip
"""Topics whose messages are in event_log, byte for byte: what a replay needs, what only people know, what they knew."""

_Found = tuple[list[Block], list[tuple[int, str]]]
_Reader = Callable[[Messages], _Found]


def _rows(*contracts: str) -> _Reader:
    def read(messages: Messages) -> _Found:
        blocks: list[Block] = []
        unreadable: list[tuple[int, str]] = []
        for contract in contracts:
            hot = contract in ("ledger_rows", "gauge_rows", "verdict_rows")
            found, bad = (matrix_rows if hot else plain_rows)(messages, contract)
            blocks += found
            unreadable += bad
        return blocks, unreadable

    return read


def _strangers(messages: Messages, *expected: str) -> list[tuple[int, str]]:
    """Messages of a topic of ours that say they keep another contract or none; one without a value is a deletion."""
    return [
        (i, f"contract {name or 'unknown'} does not belong here")
        for i, name in enumerate(messages.contracts)
        if name not in expected and messages.values[i] is not None
    ]


def _ours(*contracts: str) -> _Reader:
    read = _rows(*contracts)

    def strict(messages: Messages) -> _Found:
        blocks, unreadable = read(messages)
        return blocks, [*unreadable, *_strangers(messages, *contracts)]

    return strict


def _input(*contracts: str) -> _Reader:
    """Of inputs, what cannot be read is in `rejected`, which the worker writes, and whole in event_log."""
    read = _rows(*contracts)
    return lambda messages: (read(messages)[0], [])


def _nothing(messages: Messages) -> _Found:
    """Pictures: they are in event_log and in no table of their own."""
    del messages
    return [], []


def _notifications(messages: Messages) -> _Found:
    """Where the notifier stood has no table of its own: it is in event_log."""
    told = ("notice", "notice_message", "notice_delivery")
    blocks, unreadable = _rows(*told)(messages)
    return blocks, [*unreadable, *_strangers(messages, *told, "notifier_position")]


def _meter(messages: Messages) -> _Found:
    control = [block for name in ("config_record", "settle_record") for block in plain_rows(messages, name)[0]]
    return [*readings(messages), *control], []


def _tasks(messages: Messages) -> _Found:
    blocks, unreadable = chain_heads(messages)
    return blocks, [*unreadable, *_strangers(messages, "task_position", "snapshot_head")]


_READERS: Final[Mapping[str, _Reader]] = {
    topics.METER_READINGS: _meter,
    topics.WASTE_EVENTS: _input("waste_event", "config_record"),
    topics.VEHICLE_EVENTS: _input("vehicle_event", "config_record"),
    topics.LEDGER: _ours("ledger_rows", "gauge_rows"),
    topics.ALERTS: _ours("alert_rows", "episode_rows"),
    topics.VERDICTS: _ours("verdict_rows"),
    topics.REJECTED: _ours("rejected_rows"),
    topics.SETTLEMENTS: _ours("ledger_rows", "gauge_rows", "episode_changes", "episode_rows"),
    topics.ALERT_ACTIONS: _ours("alert_action"),
    topics.ALERT_PHOTOS: _nothing,
    topics.NOTIFICATIONS: _notifications,
    topics.CONFIG: documents,
    topics.TASKS: _tasks,
}


def blocks_of(runs: Mapping[Place, Run]) -> list[Block]:
    """All inserts of a range.

    Args:
        runs: the messages of each partition of the range, exactly those between its offsets.

    Returns:
        Blocks in an order that is always the same; the archive first, so that what is seen in a table is in event_log.
    """
    found = by_topic(runs)
    blocks = event_log([found[topic] for topic in ARCHIVED if topic in found])
    for topic, messages in found.items():
        more, unreadable = _READERS[topic](messages)
        blocks += more
        blocks += unreadable_rows(messages, unreadable)
    return blocks
