"""Rules are bound to points: which subjects get an instance, what it reads, and what it is called."""

import datetime as dt
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.model.build import Deployment, build_documents
from schemas.model.check import check_folder
from schemas.model.document import Document
from schemas.rules.evaluate import evaluate
from schemas.rules.instances import compile_rules, missing_roles
from schemas.rules.pack import built_in_packs
from schemas.rules.program import FALSE, ROLES_MAX, TRUE, UNKNOWN, Agg, CompiledRules, Op
from schemas.topics import METER_READINGS, VEHICLE_EVENTS, WASTE_EVENTS
from tests.support.models import Tables, write_model

HEAD = "pack: own\nrules:\n"
TAIL = """\
    annotations: {zh: {summary: 一, action: 二}, en: {summary: one, action: two}}
    source: test
"""


def rule(name: str, text: str) -> str:
    """One rule of a pack; `text` is its lines without indentation."""
    return f"  - alert: {name}\n" + "".join(f"    {line}\n" for line in text.strip().splitlines()) + TAIL


def documents(folder: Path, *rules: str, more: str = "", change: Any = None) -> dict[str, Document]:
    """Documents of the small model with these rules."""
    packs = {"own.yaml": HEAD + "".join(rules) + more} if rules else {}
    model, faults = check_folder(write_model(folder, change, packs=packs))
    assert faults == []
    return build_documents(model, Deployment({"east": 0, "west": 1}, {}, {}, {}))


def number(document: Document, *points: str) -> list[int]:
    """Numbers of points."""
    table = document.table("points")
    return [int(str(table["number"][table["id"].index(point)])) for point in points]


def instances(rules: CompiledRules) -> list[tuple[str, str]]:
    """(rule, subject) of every instance."""
    pairs = zip(rules.inst_rule, rules.inst_subject, strict=True)
    return [(rules.names[row], rules.subjects[subject]) for row, subject in pairs]


def members(rules: CompiledRules, instance: int, role: int) -> list[int]:
    """Points of a role of an instance."""
    slot = rules.inst_slot[instance, role]
    assert slot >= 0
    return rules.slot_points[rules.slot_start[slot] : rules.slot_start[slot + 1]].tolist()


def program(rules: CompiledRules, instance: int) -> Sequence[tuple[int, int]]:
    """The raising program of an instance."""
    first, last = rules.raise_span[rules.inst_rule[instance]]
    return [(int(op), int(argument)) for op, argument in rules.code[first:last]]


LIGHTS = rule(
    "Lights",
    """
each: {space: [office]}
roles: {light: light_power, people: {role: occupancy, optional: true}}
params: {power: 50 W}
expr: light > $power and people == 0
for: 20m
keep_firing_for: 2m
wastes: [light]
""",
)


def test_subjects_with_all_roles_get_an_instance(tmp_path: Path) -> None:
    """Every office with lights; the one without a counter of people has a shorter program; waste names the points."""
    east = documents(tmp_path, LIGHTS)["east"]
    rules = compile_rules(east, METER_READINGS)
    assert instances(rules) == [("Lights", "E1-101"), ("Lights", "E1-102")]
    assert members(rules, 0, 0) == number(east, "e-light")
    assert members(rules, 0, 1) == number(east, "e-people")
    assert rules.inst_slot[1].tolist() == [rules.inst_slot[1, 0], *[-1] * (ROLES_MAX - 1)]
    assert program(rules, 1) == [(Op.LOAD, 0), (Op.PUSH, 50_000), (Op.GT, 0)]
    wasted = [rules.inst_waste[a:b].tolist() for a, b in zip(rules.waste_start, rules.waste_start[1:], strict=False)]
    assert wasted == [number(east, "e-light"), number(east, "e-light2")]
    assert rules.for_ms.tolist() == [1_200_000, 1_200_000]
    assert rules.keep_ms.tolist() == [120_000, 120_000]
    assert rules.stale_ms.tolist() == [east.limits["stale_ms"]] * 2


def test_a_missing_role_makes_no_instance_and_is_listed(tmp_path: Path) -> None:
    """What `check` shows: rule, subject and the role of the rule that nothing gives."""
    text = LIGHTS.replace("{role: occupancy, optional: true}", "occupancy")
    east = documents(tmp_path, text)["east"]
    assert instances(compile_rules(east, METER_READINGS)) == [("Lights", "E1-101")]
    assert missing_roles(east) == [("Lights", "E1-102", "people")]


def test_thresholds_are_in_the_unit_of_each_sites_points(tmp_path: Path) -> None:
    """50 W is 50,000 against points in W, and 50 against points in kW."""
    both = documents(tmp_path, LIGHTS)
    assert program(compile_rules(both["east"], METER_READINGS), 1)[1] == (Op.PUSH, 50_000)
    assert program(compile_rules(both["west"], METER_READINGS), 0)[1] == (Op.PUSH, 50)


def test_several_points_of_a_role_are_one_slot_that_is_shared(tmp_path: Path) -> None:
    """Two lights of a room are summed; another rule on the same room reads the same slot; states take the largest."""

    def change(tables: Tables) -> None:
        light = next(row for row in tables["points"] if row["id"] == "e-light")
        people = next(row for row in tables["points"] if row["id"] == "e-people")
        tables["points"] += [{**light, "id": "e-light9"}, {**people, "id": "e-motion", "role": "motion"}]

    again = rule("Again", "each: {space: [office]}\nroles: {a: motion, b: light_power}\nexpr: b > 1 W and a")
    east = documents(tmp_path, LIGHTS, again, change=change)["east"]
    rules = compile_rules(east, METER_READINGS)
    assert instances(rules) == [("Lights", "E1-101"), ("Again", "E1-101"), ("Lights", "E1-102")]
    assert members(rules, 0, 0) == sorted(number(east, "e-light", "e-light9"))
    assert rules.inst_slot[1, 1] == rules.inst_slot[0, 0]
    assert rules.slot_agg[rules.inst_slot[0, 0]] == Agg.SUM
    assert rules.slot_agg[rules.inst_slot[1, 0]] == Agg.MAX


def test_keys_are_of_rule_and_subject_alone(tmp_path: Path) -> None:
    """The key of an instance is the first 8 bytes of sha256 over rule, zero byte, subject, whatever else there is."""
    plain = compile_rules(documents(tmp_path, LIGHTS)["east"], METER_READINGS)
    expected = int.from_bytes(hashlib.sha256(b"Lights\0E1-102").digest()[:8], "big")
    assert int(plain.inst_key[1]) == expected
    other = rule("Before", "each: {space: [floor, office]}\nroles: {l: light_power}\nexpr: l > 1 kW")
    more = compile_rules(
        documents(tmp_path, other, LIGHTS, more="overrides: [{alert: Lights, params: {power: 70 W}}]\n")["east"],
        METER_READINGS,
    )
    keys = dict(zip(instances(more), more.inst_key.tolist(), strict=True))
    assert keys["Lights", "E1-102"] == expected
    assert len(set(keys.values())) == len(keys)


def test_overrides_choose_by_space_tag_subject_kind_and_site(tmp_path: Path) -> None:
    """The later override wins; a space counts for all that is in it; another threshold is another row of that name."""

    def thresholds(*overrides: str, site: str = "east") -> list[int]:
        more = "overrides:\n" + "".join(f"  - {{alert: Lights, {text}}}\n" for text in overrides)
        rules = compile_rules(documents(tmp_path, LIGHTS, more=more)[site], METER_READINGS)
        assert set(rules.names) <= {"Lights"}
        return [program(rules, index)[1][1] // 1000 for index in range(len(rules.inst_rule))]

    assert thresholds("params: {power: 60 W}") == [60, 60]
    assert thresholds("tags: [crowded], params: {power: 60 W}") == [50, 60]
    assert thresholds("subject: [E1-101], params: {power: 60 W}") == [60, 50]
    assert thresholds("space: [E1-1], params: {power: 60 W}", "space: [E1-102], params: {power: 70 W}") == [60, 70]
    assert thresholds("space: [E1], params: {power: 60 W}") == [60, 60]
    assert thresholds("site: west, params: {power: 60 W}") == [50, 50]
    assert thresholds("kind: [meeting], params: {power: 60 W}") == [50, 50]
    assert thresholds("subject: [E1-101], enabled: false") == [50]
    assert thresholds("enabled: false", "subject: [E1-102], enabled: true") == [50]


def test_an_override_may_change_time_and_severity(tmp_path: Path) -> None:
    """`for`, `keep_firing_for` and the severity of some subjects."""
    more = "overrides: [{alert: Lights, subject: [E1-102], for: 1h, keep_firing_for: 0s, severity: critical}]\n"
    rules = compile_rules(documents(tmp_path, LIGHTS, more=more)["east"], METER_READINGS)
    rows = rules.inst_rule.tolist()
    assert [int(rules.for_ms[row]) for row in rows] == [1_200_000, 3_600_000]
    assert [int(rules.keep_ms[row]) for row in rows] == [120_000, 0]
    assert [rules.severities[row] for row in rows] == [("warning",), ("critical",)]


def test_parents_sites_and_served_spaces_lend_their_points(tmp_path: Path) -> None:
    """`parent`: the nearest place that has the role; `serves`: what an equip serves; `site`: what is nowhere."""

    def change(tables: Tables) -> None:
        flow = next(row for row in tables["points"] if row["id"] == "e-flow")
        tables["points"] += [
            {**flow, "id": "e-floor", "space": "E1-1", "role": "lux", "unit": "lux", "medium": ""},
            {**flow, "id": "e-sky", "space": "", "role": "outdoor_lux", "unit": "lux", "medium": ""},
            {**flow, "id": "e-house", "space": "E1", "role": "noise", "unit": "dB", "medium": ""},
            {**flow, "id": "e-run", "space": "", "equip": "ac-101", "role": "ac_running", "kind": "state", "unit": "",
             "medium": ""},
        ]  # fmt: skip
        for row in tables["points"][-4:]:
            row.pop("max")
            row.pop("min")

    text = rule(
        "Daylight",
        """
each: {space: [office]}
roles:
  light: light_power
  near: {role: lux, from: parent}
  sky: {role: outdoor_lux, from: site}
  house: {role: noise, from: parent}
expr: light > 1 W and near > 500 lux and sky > 2000 lux and house > 1 dB
""",
    ) + rule(
        "Served",
        """
each: {equip: [ac_outdoor]}
roles: {people: {role: occupancy, from: serves}}
expr: people == 0
""",
    ) + rule(
        "Indoor",
        """
each: {equip: [ac_indoor]}
roles: {run: ac_running, people: {role: occupancy, from: parent}, house: {role: noise, from: parent}}
expr: run and people == 0 and house > 0 dB
""",
    )  # fmt: skip
    east = documents(tmp_path, text, change=change)["east"]
    rules = compile_rules(east, METER_READINGS)
    assert instances(rules) == [
        ("Daylight", "E1-101"),
        ("Daylight", "E1-102"),
        ("Indoor", "ac-101"),
        ("Served", "ac-out"),
    ]
    # The index of a role is its place among the names of the rule, sorted: house, light, near, sky.
    assert members(rules, 1, 2) == number(east, "e-floor")
    assert members(rules, 1, 3) == number(east, "e-sky")
    assert members(rules, 1, 0) == number(east, "e-house")
    assert rules.inst_slot[0, 2] == rules.inst_slot[1, 2]
    assert members(rules, 3, 0) == number(east, "e-people")
    assert members(rules, 2, 2) == number(east, "e-run")
    assert members(rules, 2, 1) == number(east, "e-people")


def test_selectors_take_kinds_tags_and_what_is_lacking(tmp_path: Path) -> None:
    """`each` by kind, tag, missing tag, and roles that the subject must not have; `any` takes every kind."""

    def chosen(each: str) -> list[str]:
        text = rule("Lit", f"each: {each}\nroles: {{l: light_power}}\nexpr: l > 1 W")
        return [subject for _, subject in instances(compile_rules(documents(tmp_path, text)["east"], METER_READINGS))]

    assert chosen("{space: any}") == ["E1-101", "E1-102"]
    assert chosen("{space: [office], tags: [crowded]}") == ["E1-102"]
    assert chosen("{space: [office], not_tags: [crowded]}") == ["E1-101"]
    assert chosen("{space: [office], lacks: [occupancy, motion]}") == ["E1-102"]
    assert chosen("{space: [meeting]}") == []
    assert chosen("{point: [light_power]}") == ["e-light", "e-light2"]


def test_silence_is_counted_in_each_points_own_interval(tmp_path: Path) -> None:
    """Points of different intervals get rows of their own, with the age from which on each is silent."""
    text = rule("Silent", "each: {point: any}\nroles: {x: any}\nexpr: age(x) > 3 * interval(x)")
    both = documents(tmp_path, text)
    east = both["east"]
    rules = compile_rules(east, METER_READINGS)
    found = dict(zip((subject for _, subject in instances(rules)), rules.inst_rule.tolist(), strict=True))
    thresholds = {int(row): int(limit) for row, _, limit in rules.ages}
    assert thresholds[found["e-main"]] == 3 * 900_000 + 1
    assert thresholds[found["e-water"]] == 3 * 3_600_000 + 1
    assert thresholds[found["e-light"]] == 3 * 60_000 + 1
    assert found["e-main"] == found["e-sub"]
    assert members(rules, [subject for _, subject in instances(rules)].index("e-main"), 0) == number(east, "e-main")
    for topic in (WASTE_EVENTS, VEHICLE_EVENTS):
        assert instances(compile_rules(east, topic)) == []  # generated points have no interval


def test_a_slot_is_silent_by_its_slowest_point(tmp_path: Path) -> None:
    """Several points of a role: the longest interval counts, and one that has none leaves the subject out."""

    def change(tables: Tables) -> None:
        light = next(row for row in tables["points"] if row["id"] == "e-light")
        tables["points"] += [
            {**light, "id": "e-slow", "interval_s": 900},
            {**light, "id": "e-event", "space": "E1-102", "interval_s": 0},
        ]

    text = rule("Silent", "each: {space: [office]}\nroles: {x: light_power}\nexpr: age(x) > 3 * interval(x)")
    rules = compile_rules(documents(tmp_path, text, change=change)["east"], METER_READINGS)
    assert instances(rules) == [("Silent", "E1-101")]
    assert rules.ages[:, 2].tolist() == [3 * 900_000 + 1]


def test_a_building_is_what_its_supply_counts(tmp_path: Path) -> None:
    """Its parts, and what it feeds back, are not added to its supply; where nothing says what it counts in, all is added."""
    text = rule("Pace", "each: {building: any}\nroles: {energy: energy}\nexpr: increase(energy, 7d) > 500 kWh")

    def change(counts_in: str, tables: Tables) -> None:
        common = {"site": "east", "gateway": "gw-e", "space": "E1", "role": "energy", "kind": "register", "unit": "kWh"}
        added = [
            {**common, "id": name, "medium": "electricity", "interval_s": 900} for name in ("e-in2", "e-out", "e-lift")
        ]
        tables["points"] += added
        for row in tables["points"]:
            if row["id"] in ("e-main", "e-in2"):
                row["counts_in"] = counts_in

    for counts_in, expected in (("supply", ("e-main", "e-in2")), ("", ("e-main", "e-in2", "e-out", "e-lift"))):
        folder = tmp_path / (counts_in or "none")
        east = documents(folder, text, change=functools.partial(change, counts_in))["east"]
        rules = compile_rules(east, METER_READINGS)
        assert instances(rules) == [("Pace", "E1")]
        slot = rules.win_slot[0]
        assert rules.slot_points[rules.slot_start[slot] : rules.slot_start[slot + 1]].tolist() == sorted(
            number(east, *expected)
        )


def test_each_topic_has_its_own_rules(tmp_path: Path) -> None:
    """A station's rule is in waste events, a vehicle's in vehicle events; points of one are not seen by the other."""
    text = rule("Full", "each: {station: any}\nroles: {fill: fill_level}\nexpr: fill >= 80 %") + rule(
        "Idle", "each: {vehicle: [electric]}\nroles: {on: ignition, v: speed}\nexpr: on and v == 0 km/h"
    )
    # Station S1 stands in a corridor; its bins are not points of the corridor to rules about meter readings.
    text += rule("Wrong", "each: {space: [corridor]}\nroles: {fill: fill_level}\nexpr: fill >= 80 %")
    east = documents(tmp_path, text)["east"]
    waste, vehicles = compile_rules(east, WASTE_EVENTS), compile_rules(east, VEHICLE_EVENTS)
    assert instances(waste) == [("Full", "S1"), ("Full", "S2")]
    assert members(waste, 0, 0) == number(east, "bin:B1/fill")
    assert members(waste, 1, 0) == number(east, "station:S2/fill")
    assert waste.topics == (WASTE_EVENTS,)
    assert program(waste, 0)[1] == (Op.PUSH, 80_000)
    assert instances(vehicles) == [("Idle", "V1")]
    assert instances(compile_rules(east, METER_READINGS)) == []


def test_schedules_follow_the_calendar_of_the_space(tmp_path: Path) -> None:
    """A room with its own calendar has other boundaries, and its instance another program."""

    def change(tables: Tables) -> None:
        tables["calendars"] += [{"id": "own", "date": "2026-01-04", "kind": "restday"}]
        next(row for row in tables["spaces"] if row["id"] == "E1-102")["calendar"] = "own"

    text = rule("Night", "each: {space: [office]}\nroles: {l: light_power}\nexpr: l > 1 W and not schedule(office)")
    rules = compile_rules(documents(tmp_path, text, change=change)["east"], METER_READINGS)
    noon_ms = round(dt.datetime(2026, 1, 4, 12, tzinfo=dt.timezone(dt.timedelta(hours=8))).timestamp() * 1000)
    states = []
    for first, last in zip(rules.bound_start, rules.bound_start[1:], strict=False):
        before = np.searchsorted(rules.bounds[first:last], noon_ms, side="right")
        states.append(int(rules.bound_state[first + before - 1]) if before else UNKNOWN)
    assert sorted(states) == [FALSE, TRUE]
    uses = {int(row): int(index) for row, index in rules.uses_schedule}
    for instance, expected in ((0, False), (1, True)):
        used = uses[int(rules.inst_rule[instance])]
        value, known = evaluate(program(rules, instance), [5000], [True], [0], [states[0], states[1]])
        assert (bool(value), known) == (expected, True)
        assert program(rules, instance)[3] == (Op.SCHEDULE, used)


def test_rows_of_the_model_hold_at_a_date(tmp_path: Path) -> None:
    """A room that has been given up has no instance; at an earlier date it has."""

    def change(tables: Tables) -> None:
        tables["spaces"].append({"id": "E1-099", "building": "E1", "kind": "office", "valid_to": "2026-02-01"})
        point = next(row for row in tables["points"] if row["id"] == "e-light2")
        tables["points"].append({**point, "id": "e-old", "space": "E1-099", "valid_to": "2026-02-01"})

    east = documents(tmp_path, LIGHTS, change=change)["east"]
    assert ("Lights", "E1-099") not in instances(compile_rules(east, METER_READINGS))
    assert ("Lights", "E1-099") in instances(compile_rules(east, METER_READINGS, dt.date(2026, 1, 31)))
    assert ("Lights", "E1-099") not in instances(compile_rules(east, METER_READINGS, dt.date(2026, 2, 1)))


def test_arrays_are_complete_and_within_their_bounds(tmp_path: Path) -> None:
    """With the built-in packs sizes agree, indices point somewhere, and a document that is read back gives the same."""
    packs = {"all.yaml": "pack: all\ninclude: [" + ", ".join(built_in_packs()) + "]\n"}
    model, faults = check_folder(
        write_model(
            tmp_path,
            packs=packs,
            schedules=[
                {"name": name, "day_kind": "any", "from": "08:00", "to": "22:00"}
                for name in ("day", "working", "landscape")
            ],
        )
    )
    assert faults == []
    for document in build_documents(model, Deployment({"east": 0, "west": 1}, {}, {}, {})).values():
        for topic in (METER_READINGS, WASTE_EVENTS, VEHICLE_EVENTS):
            rules, again = compile_rules(document, topic), compile_rules(Document.parse(document.raw), topic)
            for field in vars(rules):
                one, other = getattr(rules, field), getattr(again, field)
                assert np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other, field
            count, slots = len(rules.names), len(rules.slot_agg)
            if document.site == "west" and topic == WASTE_EVENTS:
                assert count == 0  # it has no station
                continue
            assert count > 0
            assert len(rules.raise_span) == len(rules.clear_span) == len(rules.for_ms) == len(rules.severities) == count
            assert rules.slot_start[-1] == len(rules.slot_points)
            assert rules.waste_start[-1] == len(rules.inst_waste)
            assert rules.bound_start[-1] == len(rules.bounds) == len(rules.bound_state)
            assert rules.inst_slot.shape == (len(rules.inst_rule), ROLES_MAX)
            assert rules.inst_slot.max() == slots - 1
            assert set(rules.inst_rule.tolist()) == set(range(count))
            assert len(set(rules.inst_key.tolist())) == len(rules.inst_key)
            for array in (rules.raise_span, rules.clear_span):
                assert (array[:, 0] <= array[:, 1]).all()
                assert array.max() <= len(rules.code)
            for row, role, limit in rules.ages:
                assert 0 <= row < count
                assert 0 <= role < ROLES_MAX
                assert limit > 0


@pytest.mark.parametrize("topic", [METER_READINGS, WASTE_EVENTS, VEHICLE_EVENTS])
def test_a_site_without_rules_has_empty_arrays(tmp_path: Path, topic: str) -> None:
    """No pack: no rule, no instance, and arrays of the right shapes."""
    rules = compile_rules(documents(tmp_path)["east"], topic)
    assert rules.names == ()
    assert rules.code.shape == (0, 2)
    assert rules.ages.shape == (0, 3)
    assert rules.inst_slot.shape == (0, ROLES_MAX)
    assert rules.slot_start.tolist() == rules.waste_start.tolist() == rules.bound_start.tolist() == [0]
