"""One rule bound to the points of a site, and how such rules become one set of arrays.

A rule is bound by itself, with numbers that count from its own 0, so that another rule that changes leaves it as it is.
`join` gives them the numbers that they have together: by what they mean, in the order in which they first come, so
that it does not matter which of them were bound anew and which were not.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.groups import Ints, Longs, codes_of, first_seen, gathered, starts
from schemas.rules.program import ROLES_MAX, WIN_COLUMNS, WINDOW, CompiledRules, Op

DEFAULT: Final = -1
"""As `stale_ms`: what the document's limits say."""


@dataclasses.dataclass(frozen=True)
class RuleFault:
    """What is wrong with a rule on real points."""

    pack: int
    path: tuple[str | int, ...]
    message: str


@dataclasses.dataclass(frozen=True)
class Missing:
    """A subject that a rule selects and that lacks a role, so that it has no instance."""

    rule: str
    subject: str
    role: str


@dataclasses.dataclass(frozen=True)
class BoundRule:
    """The rows of one rule, by variant, and its instances; the meaning of every field is in `program.CompiledRules`.

    Variants, schedules, slots, windows and groups are numbered from 0 here. Of schedules there are the names that tell
    them apart (`keys`) and their boundaries; subjects are numbers of ids in the view, as are the `around` of an
    instance: what it is and belongs to, where an alert of `inhibited_by` inhibits it.
    """

    alert: str
    topic: str
    severities: tuple[tuple[str, ...], ...]
    code: Longs
    spans: Ints
    """[variant, 6]: begin and end of raising, clearing, estimate"""
    for_ms: Longs
    keep_ms: Longs
    stale_ms: Longs
    ages: Longs
    uses: Longs
    steps: Longs
    keys: tuple[tuple[str, str], ...]
    bounds: tuple[tuple[Longs, NDArray[np.int8]], ...]
    slot_agg: NDArray[np.int8]
    slot_start: Ints
    slot_points: Ints
    inst_variant: Ints
    inst_subject: Ints
    inst_slot: Ints
    inst_key: NDArray[np.uint64]
    waste_start: Ints
    inst_waste: Ints
    look_start: Ints
    look_refs: Longs
    win_slot: Ints
    win_args: Longs
    win_schedule: Ints
    win_key: NDArray[np.uint64]
    group_start: Ints
    group_members: Longs
    inhibited_by: tuple[str, ...]
    around_start: Ints
    around: Ints
    inst_exempt: Ints
    faults: tuple[RuleFault, ...] = ()
    missing: tuple[Missing, ...] = ()


def join(rules: Sequence[BoundRule], ids: Sequence[str], stale_ms: int) -> CompiledRules:
    """The rules of a site together.

    Args:
        rules: in the order of the packs.
        ids: of the view, by number.
        stale_ms: of rules that do not say.
    """
    return _Joining(rules).joined(ids, stale_ms)


class _Joining:
    """How many rows come before each rule, and the numbers that what they share has."""

    def __init__(self, rules: Sequence[BoundRule]) -> None:
        self.rules = [rule for rule in rules if len(rule.inst_variant)]
        self.variants = self._before([len(rule.spans) for rule in self.rules])
        self.instances = self._before([len(rule.inst_variant) for rule in self.rules])
        self.code = self._before([len(rule.code) for rule in self.rules])
        self.slots = self._before([len(rule.slot_agg) for rule in self.rules])
        self.windows = self._before([len(rule.win_slot) for rule in self.rules])
        self.groups = self._before([len(rule.group_start) - 1 for rule in self.rules])
        self.schedules: dict[tuple[str, str], int] = {}
        self.bounds: list[tuple[Longs, NDArray[np.int8]]] = []
        self.schedule_of: list[Longs] = []
        for rule in self.rules:
            for key, made in zip(rule.keys, rule.bounds, strict=True):
                if key not in self.schedules:
                    self.schedules[key] = len(self.bounds)
                    self.bounds.append(made)
            self.schedule_of.append(np.array([*(self.schedules[key] for key in rule.keys), -1], np.int64))

    @staticmethod
    def _before(sizes: Sequence[int]) -> list[int]:
        return [0, *np.cumsum(sizes, dtype=np.int64).tolist()][: len(sizes)]

    def _all(self, name: str, dtype: type[np.generic], width: int = 0) -> NDArray[np.generic]:
        """A field of all rules, one after another."""
        empty = np.zeros((0, width) if width else 0, dtype)
        found: NDArray[np.generic] = np.concatenate([empty, *(getattr(rule, name) for rule in self.rules)])
        return found.astype(dtype, copy=False)

    def _longs(self, name: str, width: int = 0) -> Longs:
        return np.asarray(self._all(name, np.int64, width), np.int64)

    def _per(self, values: Sequence[int], name: str) -> Longs:
        """A value of each rule, for every row of one of its fields."""
        lengths = [len(getattr(rule, name)) for rule in self.rules]
        return np.repeat(np.array(values, np.int64), np.array(lengths, np.int64))

    def _start(self, name: str) -> Ints:
        """Beginnings of groups, from those of each rule."""
        sizes = [np.diff(getattr(rule, name)) for rule in self.rules]
        return starts(np.concatenate([np.zeros(0, np.int32), *sizes]))

    def _scheduled(self, name: str) -> Longs:
        """Numbers of schedules of all rules; -1 stays."""
        found = [where[getattr(rule, name)] for rule, where in zip(self.rules, self.schedule_of, strict=True)]
        return np.concatenate([np.zeros(0, np.int64), *found])

    def joined(self, ids: Sequence[str], stale_ms: int) -> CompiledRules:
        """The arrays."""
        rules = self.rules
        slot_of, slots = self._slots()
        win_slot = slot_of[self._longs("win_slot") + self._per(self.slots, "win_slot")]
        win_args, win_schedule = self._longs("win_args", len(WIN_COLUMNS)), self._scheduled("win_schedule")
        kept, window_of = first_seen(codes_of(win_slot, win_schedule, *win_args.T))
        inst_slot = self._longs("inst_slot", ROLES_MAX)
        own = slot_of[np.maximum(inst_slot, 0) + self._per(self.slots, "inst_slot")[:, None]] if len(slot_of) else -1
        subjects, inst_subject = first_seen(self._longs("inst_subject"))
        numbers = self._longs("inst_subject")[subjects]
        stale = self._longs("stale_ms")
        inhibit_start, inhibitors = self._inhibitors()
        return CompiledRules(
            names=tuple(rule.alert for rule in rules for _ in rule.severities),
            severities=tuple(names for rule in rules for names in rule.severities),
            topics=tuple(rule.topic for rule in rules for _ in rule.severities),
            subjects=tuple(ids[number] for number in numbers.tolist()),
            code=self._code(),
            **self._spans(),
            for_ms=self._longs("for_ms"),
            keep_ms=self._longs("keep_ms"),
            stale_ms=np.where(stale == DEFAULT, stale_ms, stale),
            ages=self._moved("ages", 3),
            uses_schedule=self._uses(),
            slot_agg=np.asarray(self._all("slot_agg", np.int8), np.int8)[slots],
            **self._slot_points(slots),
            inst_rule=(self._longs("inst_variant") + self._per(self.variants, "inst_variant")).astype(np.int32),
            inst_subject=inst_subject.astype(np.int32),
            inst_slot=np.where(inst_slot >= 0, own, -1).astype(np.int32),
            inst_key=np.asarray(self._all("inst_key", np.uint64), np.uint64),
            inst_bound=np.arange(len(inst_subject), dtype=np.int32),
            waste_start=self._start("waste_start"),
            inst_waste=np.asarray(self._all("inst_waste", np.int32), np.int32),
            bound_start=starts([len(at) for at, _ in self.bounds]),
            bounds=np.concatenate([np.zeros(0, np.int64), *(at for at, _ in self.bounds)]),
            bound_state=np.concatenate([np.zeros(0, np.int8), *(state for _, state in self.bounds)]),
            steps=self._moved("steps", 2),
            look_start=self._start("look_start"),
            look_refs=self._looks(window_of),
            win_slot=win_slot[kept].astype(np.int32),
            win_args=win_args[kept],
            win_schedule=win_schedule[kept].astype(np.int32),
            win_key=np.asarray(self._all("win_key", np.uint64), np.uint64)[kept],
            group_start=self._start("group_start"),
            group_members=self._members(slot_of, window_of),
            inhibit_start=inhibit_start,
            inhibitors=inhibitors,
            inst_exempt=self._scheduled("inst_exempt").astype(np.int32),
        )

    def _slots(self) -> tuple[Longs, Longs]:
        """(number of every slot of every rule, the first one of each number): those of the same points are one."""
        agg, points = self._longs("slot_agg"), self._longs("slot_points")
        start = self._start("slot_start").astype(np.int64)
        lengths = np.diff(start)
        codes = np.zeros(len(agg), np.int64)
        single = lengths == 1
        codes[single] = points[start[:-1][single]] * 2 + agg[single]
        known: dict[tuple[int, bytes], int] = {}
        for slot in np.flatnonzero(~single).tolist():
            content = (int(agg[slot]), points[start[slot] : start[slot + 1]].tobytes())
            codes[slot] = -1 - known.setdefault(content, len(known))
        first, number = first_seen(codes)
        return number, first

    def _slot_points(self, slots: Longs) -> Mapping[str, Ints]:
        places, lengths = gathered(self._start("slot_start"), slots)
        return {
            "slot_start": starts(lengths),
            "slot_points": np.asarray(self._all("slot_points", np.int32), np.int32)[places],
        }

    def _code(self) -> Longs:
        """Programs, which know schedules by the numbers that they have together."""
        found = []
        for rule, schedules in zip(self.rules, self.schedule_of, strict=True):
            code = rule.code.copy()
            asks = code[:, 0] == int(Op.SCHEDULE)
            code[asks, 1] = schedules[code[asks, 1]]
            found.append(code)
        return np.concatenate([np.zeros((0, 2), np.int64), *found])

    def _spans(self) -> Mapping[str, Ints]:
        found = (self._longs("spans", 6) + self._per(self.code, "spans")[:, None]).astype(np.int32)
        names = ("raise_span", "clear_span", "estimate_span")
        return {name: np.ascontiguousarray(found[:, 2 * k : 2 * k + 2]) for k, name in enumerate(names)}

    def _moved(self, name: str, width: int) -> Longs:
        """Rows that begin with a variant."""
        found = self._longs(name, width).copy()
        found[:, 0] += self._per(self.variants, name)
        return found

    def _uses(self) -> Longs:
        found = self._moved("uses", 2)
        own = [where[rule.uses[:, 1]] for rule, where in zip(self.rules, self.schedule_of, strict=True)]
        found[:, 1] = np.concatenate([np.zeros(0, np.int64), *own])
        return found[np.lexsort((found[:, 1], found[:, 0]))]

    def _looks(self, window_of: Longs) -> Longs:
        found = self._longs("look_refs", 4).copy()
        windowed = found[:, 0] == WINDOW
        moved = np.where(windowed, self._per(self.windows, "look_refs"), self._per(self.groups, "look_refs"))
        found[:, 1] += moved
        found[windowed, 1] = window_of[found[windowed, 1]]
        return found

    def _members(self, slot_of: Longs, window_of: Longs) -> Longs:
        """(slot, window or -1, rated) of every member of a group."""
        found = self._longs("group_members", 3).copy()
        found[:, 0] = slot_of[found[:, 0] + self._per(self.slots, "group_members")] if len(found) else 0
        windowed = found[:, 1] >= 0
        found[windowed, 1] = window_of[(found[:, 1] + self._per(self.windows, "group_members"))[windowed]]
        return found

    def _inhibitors(self) -> tuple[Ints, Ints]:
        """The instances that keep each one from being raised, ascending."""
        named: dict[str, list[int]] = {}
        for place, rule in enumerate(self.rules):
            named.setdefault(rule.alert, []).append(place)
        pairs = [np.zeros((0, 2), np.int64)]
        count = 1 + max((int(rule.around.max(initial=0)) for rule in self.rules), default=0)
        for place, rule in enumerate(self.rules):
            who = self.instances[place] + np.repeat(np.arange(len(rule.inst_variant)), np.diff(rule.around_start))
            for name in rule.inhibited_by:
                instance_of = np.full(count, -1, np.int64)
                for other in named.get(name, ()):
                    subjects = self.rules[other].inst_subject
                    inside = subjects < count
                    instance_of[subjects[inside]] = self.instances[other] + np.flatnonzero(inside)
                by = instance_of[rule.around]
                pairs.append(np.stack([who[by >= 0], by[by >= 0]], axis=1))
        total = sum(len(rule.inst_variant) for rule in self.rules)
        found = np.concatenate(pairs)
        found = found[np.lexsort((found[:, 1], found[:, 0]))]
        once = np.ones(len(found), bool)
        once[1:] = (found[1:] != found[:-1]).any(axis=1)
        found = found[once]
        return starts(np.bincount(found[:, 0], minlength=total)), found[:, 1].astype(np.int32)
