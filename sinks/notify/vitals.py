"""How a notifier is, for `/health` and `/metrics`."""

from collections.abc import Collection

from schemas.vitals import Vital, Vitals
from sinks.notify.outbox import Outbox


def vitals_of(outbox: Outbox, have: Collection[str], behind: bool) -> Vitals:
    """What waits, and for which channel; any thread may ask.

    Args:
        outbox: of the notifier.
        have: the channels that the settings have.
        behind: whether it still reads what came to the log while nobody ran.
    """
    lanes = sorted(dict(outbox.lanes).items())
    values = [
        Vital("decided_total", "notices decided, since the log's begin", "counter", [({}, len(outbox.known))]),
        Vital(
            "waiting_notices", "notices that are in no message yet", "gauge",
            [({"channel": name}, len(lane.waiting)) for name, lane in lanes],
        ),
        Vital(
            "waiting_messages", "messages that are not delivered yet", "gauge",
            [({"channel": name}, len(lane.open)) for name, lane in lanes],
        ),
        Vital(
            "down", "1: the channel takes nothing", "gauge",
            [({"channel": name}, float(lane.down)) for name, lane in lanes],
        ),
    ]  # fmt: skip
    missing = [name for name, lane in lanes if name not in have and (lane.waiting or lane.open)]
    told = [f"channel {name} takes nothing" for name, lane in lanes if lane.down]
    told += [f"messages wait for channel {name}, which the settings do not have" for name in missing]
    if told:
        return Vitals("waiting", "; ".join(told), values)
    return Vitals("starting" if behind else "ok", "reading what came meanwhile" if behind else "", values)
