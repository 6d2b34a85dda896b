"""Another order of instances, slots and windows is the same rules."""

import numpy as np
from numpy.typing import NDArray

from ganzhi.bench.rooms import PACKS, rooms_document
from schemas.rules.binding import Binder
from schemas.rules.bound import join
from schemas.rules.nearby import by_points
from schemas.rules.parsed import parse_rules
from schemas.rules.program import WINDOW, CompiledRules
from schemas.rules.subjects import SiteView
from schemas.topics import METER_READINGS

PACK = (
    "pack: bench\ninclude: ["
    + ", ".join(f"builtin/{name}" for name in (*PACKS, "electricity"))
    + "]\nrules:\n"
    + """
  - alert: Held
    each: {space: [office]}
    roles: {light: light_power, people: occupancy}
    expr: avg_over(light, 1h) > 50 W and siblings(light) < 1 W and people == 0
    inhibited_by: [MeterSilent]
    wastes: [light]
    source: none
    annotations: {zh: {summary: "-", action: "-"}, en: {summary: "-", action: "-"}}
"""
)


def group(start: NDArray[np.int32], values: NDArray[np.generic], index: int) -> list[object]:
    """One of the groups of a ragged array."""
    found: list[object] = values[start[index] : start[index + 1]].tolist()
    return found


def told(rules: CompiledRules) -> dict[tuple[str, str], object]:
    """(rule, subject) → everything that is known of the instance, without an index in it."""

    def slot(index: int) -> object:
        return None if index < 0 else (int(rules.slot_agg[index]), group(rules.slot_start, rules.slot_points, index))

    def window(index: int) -> object:
        return (
            slot(rules.win_slot[index]), rules.win_args[index].tolist(), int(rules.win_schedule[index]),
            int(rules.win_key[index]),
        )  # fmt: skip

    def look(sort: int, index: int, role: int, rated: int) -> object:
        if sort == WINDOW:
            return window(index), role, rated
        members = rules.group_members[rules.group_start[index] : rules.group_start[index + 1]].tolist()
        return [(slot(s), window(w) if w >= 0 else None, r) for s, w, r in members], role, rated

    names = [
        (rules.names[r], rules.subjects[s])
        for r, s in zip(rules.inst_rule.tolist(), rules.inst_subject.tolist(), strict=True)
    ]
    assert len(set(names)) == len(names)
    return {
        name: (
            int(rules.inst_rule[i]), int(rules.inst_key[i]), int(rules.inst_exempt[i]),
            [slot(s) for s in rules.inst_slot[i].tolist()],
            group(rules.waste_start, rules.inst_waste, i),
            [look(*one) for one in rules.look_refs[rules.look_start[i] : rules.look_start[i + 1]].tolist()],
            {names[int(str(other))] for other in group(rules.inhibit_start, rules.inhibitors, i)},
        )
        for i, name in enumerate(names)
    }  # fmt: skip


def test_the_order_of_points_is_the_same_rules() -> None:
    """Nothing but places has changed, and every list is by the lowest number of its points."""
    document = rooms_document("s1", 0, 3, 4, "live", PACK)
    view = SiteView(document)
    binder = Binder(document, view, METER_READINGS)
    before = join([binder.bind(parsed) for parsed in parse_rules(document)], view.ids, 1)
    after = by_points(before)
    assert told(before) == told(after)
    lowest = [min(group(after.slot_start, after.slot_points, slot)) for slot in range(len(after.slot_agg))]  # type: ignore[type-var]
    assert lowest == sorted(lowest)  # type: ignore[type-var]
    firsts = [int(after.inst_slot[i][after.inst_slot[i] >= 0].min()) for i in range(len(after.inst_rule))]
    assert firsts == sorted(firsts)
    assert after.win_slot.tolist() == sorted(after.win_slot.tolist())
    assert before.inst_rule.tolist() != after.inst_rule.tolist()
    assert len(after.group_members) and len(after.inhibitors) and len(after.win_slot)
