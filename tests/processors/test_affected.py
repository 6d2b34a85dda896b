"""Who looks at a point, and what else is looked at with it: by hand, over a few rules."""

import numpy as np

from processors.affected import Affected
from processors.layout_build import build
from processors.state import FAR, NEVER
from tests.processors.world import document, pack, point

BUSY = """Busy
each: {point: [power]}
roles: {reading: power}
expr: reading > 50 W
inhibited_by: [RoomBusy]"""
ROOM = """RoomBusy
each: {space: [office]}
roles: {load: {role: power}, light: light_power}
expr: load > 900 W and light > 0 W"""
ALONE = """Alone
each: {space: [office]}
roles: {load: {role: power}}
expr: load > 2 * siblings(load)"""
SILENT = """Silent
each: {point: [power]}
roles: {reading: any}
expr: age(reading) > 20 min"""


def test_who_is_misled_and_what_has_to_be_read() -> None:
    """What inhibits misleads as well, and so do siblings, which are read with their rule; what tells of silence is never misled."""
    rules = pack(BUSY, ROOM, ALONE, SILENT)
    powers = [point(number, space=f"r{number}", role="power", rated="1000") for number in (1, 2)]
    doc = document(
        [*powers, point(3, space="r2")],
        rules,
        tables={"gateways": [{"id": "g1", "site": "s1"}]},
    )
    affected = Affected(build("meter.readings", {"s1": doc}, {"s1": 1}))
    stirred = np.tile(np.array([[FAR, NEVER]], np.int64), (4, 1))
    assert affected.spans(stirred) == {}
    stirred[3] = [100, 200]
    found = {affected.names[instance]: span for instance, span in affected.spans(stirred).items()}
    assert found == dict.fromkeys([("Busy", "p2"), ("RoomBusy", "r2")], (100, 200))
    read = {name: affected.numbers([affected.index[name]]) for name in affected.index}
    assert read[("Busy", "p1")] == {1}
    assert read[("Busy", "p2")] == {2, 3}
    assert read[("Alone", "r2")] == read[("Alone", "r1")] == {1, 2}
    stirred[2] = [50, 120]
    found = {affected.names[instance]: span for instance, span in affected.spans(stirred).items()}
    assert found == {
        **dict.fromkeys([("Busy", "p2"), ("RoomBusy", "r2")], (50, 200)), **dict.fromkeys([("Alone", "r1"), ("Alone", "r2")], (50, 120)),
    }  # fmt: skip
