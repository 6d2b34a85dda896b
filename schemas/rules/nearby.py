"""Puts next to each other in memory what one space's readings look at.

Rules are bound one after another, so that the ten instances of an office lie as far apart as there are spaces under a
rule, and every look at one is a walk to ten places that no cache holds. Here slots, windows and instances take the
order of their points: those of an office are neighbours, as its points are. This is also the order in which instances
are looked at where one moment wakes several: by their first point, then by the rules' order.
"""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.groups import Ints, Longs, gathered, starts
from schemas.rules.program import WINDOW, CompiledRules


def by_points(compiled: CompiledRules) -> CompiledRules:
    """The same rules, with slots, windows and instances in the order of the lowest numbers of their points.

    What has the same first point keeps its order.
    """
    lengths = np.diff(compiled.slot_start)
    lowest = np.full(len(lengths), np.iinfo(np.int32).max, np.int32)
    np.minimum.at(lowest, np.repeat(np.arange(len(lengths)), lengths), compiled.slot_points)
    slots = np.argsort(lowest, kind="stable")
    slot_to = _inverse(slots)
    windows = np.argsort(slot_to[compiled.win_slot], kind="stable")
    window_to = _inverse(windows)
    inst_slot = np.where(compiled.inst_slot >= 0, slot_to[np.maximum(compiled.inst_slot, 0)] if len(slots) else -1, -1)
    where = np.where(inst_slot >= 0, inst_slot, len(slots)).min(axis=1, initial=len(slots))
    instances = np.argsort(where, kind="stable")
    instance_to = _inverse(instances)
    slot_start, slot_points = _ragged(compiled.slot_start, compiled.slot_points, slots)
    waste_start, inst_waste = _ragged(compiled.waste_start, compiled.inst_waste, instances)
    look_start, look_refs = _ragged(compiled.look_start, compiled.look_refs, instances)
    inhibit_start, inhibitors = _ragged(compiled.inhibit_start, instance_to[compiled.inhibitors], instances)
    looking = look_refs[:, 0] == WINDOW
    look_refs[looking, 1] = window_to[look_refs[looking, 1]]
    members = compiled.group_members.copy()
    members[:, 0] = slot_to[members[:, 0]]
    windowed = members[:, 1] >= 0
    members[windowed, 1] = window_to[members[windowed, 1]]
    return dataclasses.replace(
        compiled,
        slot_agg=compiled.slot_agg[slots],
        slot_start=slot_start,
        slot_points=slot_points,
        inst_rule=compiled.inst_rule[instances],
        inst_subject=compiled.inst_subject[instances],
        inst_slot=np.ascontiguousarray(inst_slot[instances], np.int32),
        inst_key=compiled.inst_key[instances],
        inst_bound=compiled.inst_bound[instances],
        waste_start=waste_start,
        inst_waste=inst_waste,
        look_start=look_start,
        look_refs=look_refs,
        win_slot=slot_to[compiled.win_slot][windows],
        win_args=compiled.win_args[windows],
        win_schedule=compiled.win_schedule[windows],
        win_key=compiled.win_key[windows],
        group_members=members,
        inhibit_start=inhibit_start,
        inhibitors=inhibitors,
        inst_exempt=compiled.inst_exempt[instances],
    )


def _inverse(order: Longs) -> Ints:
    places = np.empty(len(order), np.int32)
    places[order] = np.arange(len(order), dtype=np.int32)
    return places


def _ragged(start: Ints, values: NDArray[Any], order: Longs) -> tuple[Ints, NDArray[Any]]:
    """Groups in another order."""
    places, lengths = gathered(start, order)
    return starts(lengths), np.ascontiguousarray(values[places])
