"""A layout that is built from what earlier ones have found out is the one that is built from nothing, byte by byte."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processors.layout_build import build
from processors.layout_bytes import pack
from schemas.errors import ContractError, ModelError
from schemas.model.build import Deployment, build_documents
from schemas.model.check import check_folder
from schemas.model.document import Document
from schemas.rules import memory
from schemas.rules.binding import Binder
from schemas.rules.memory import Memory
from schemas.rules.pack import built_in_packs
from schemas.rules.parsed import Parsed
from schemas.rules.reading import read_built_in
from schemas.topics import INPUTS, METER_READINGS
from tests.support.models import write_model

RULES: Final[list[dict[str, Any]]] = [
    rule for name in built_in_packs() for rule in read_built_in(name)[0]["rules"]  # type: ignore[union-attr]
]  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Document:
    """A site with one of everything, so that every rule has somebody to run on."""

    def change(tables: dict[str, list[dict[str, Any]]]) -> None:
        office = [row for row in tables["schedules"] if row["name"] == "office"]
        tables["schedules"] += [{**row, "name": "working"} for row in office]
        tables["exemptions"] = [{"id": "x1", "alerts": "LightsInEmptyRoom", "day_kind": "workday", "from": "12:00"}]

    model, faults = check_folder(write_model(tmp_path_factory.mktemp("model"), change))
    assert not faults
    return build_documents(model, Deployment({"east": 0, "west": 1}, {}, {}, {}))["east"]


def of_rules(document: Document, *packs: list[dict[str, Any]], overrides: tuple[dict[str, Any], ...] = ()) -> Document:
    """The document with these packs; the last one has the overrides."""
    written = [{"pack": f"p{number}", "rules": rules} for number, rules in enumerate(packs)]
    written[-1]["overrides"] = list(overrides)
    return dataclasses.replace(document, rules=written)  # type: ignore[arg-type]


def whole(document: Document, topic: str, kept: Memory | None) -> bytes:
    """The bytes of a layout, or what is wrong with the document."""
    try:
        return pack(build(topic, {document.site: document}, {document.site: 1}, kept))
    except (ModelError, ContractError) as error:
        return str(error).encode()


CHANGES: Final[list[Callable[[dict[str, Any]], dict[str, Any]]]] = [
    lambda rule: rule | {"for": "7m"},
    lambda rule: rule | {"keep_firing_for": "9m"},
    lambda rule: rule | {"enabled": False},
    lambda rule: rule | {"alert": rule["alert"] + "Too"},
    lambda rule: rule | {"labels": {"severity": "info"}},
    lambda rule: rule | {"wastes": list(rule["roles"])[:1]},
    lambda rule: rule | {"inhibited_by": ["GatewayDown", "MeterSilent"]},
    lambda rule: rule | {"each": {name: rule["each"][name] for name in rule["each"] if name != "not_tags"}},
    lambda rule: rule | {"clear": ""},
    lambda rule: rule | {"expr": f"not ({rule['expr']})"},
]
OVERRIDES: Final[tuple[Mapping[str, Any], ...]] = (
    {"tags": ["emergency"], "enabled": False},
    {"space": ["E1-101"], "for": "90m"},
    {"site": ["east"], "severity": "critical"},
    {"subject": ["E1-101", "e-main"], "keep_firing_for": "1h"},
)
Version = tuple[list[dict[str, Any]], tuple[Mapping[str, Any], ...]]
"""Rules, and overrides of all of them."""


@st.composite
def histories(draw: st.DrawFn) -> list[Version]:
    """Versions of a site's rules, each with a few changes to the one before."""
    rules = draw(st.lists(st.sampled_from(RULES), min_size=4, max_size=8, unique_by=lambda one: str(one["alert"])))
    overrides: tuple[Mapping[str, Any], ...] = ()
    found: list[Version] = [(rules, overrides)]
    for _ in range(draw(st.integers(1, 4))):
        rules = list(rules)
        for _ in range(draw(st.integers(1, 2))):
            place = draw(st.integers(0, len(rules) - 1))
            what = draw(st.sampled_from(["change", "change", "move", "drop", "add", "overrides"]))
            if what == "change":
                rules[place] = draw(st.sampled_from(CHANGES))(rules[place])
            elif what == "overrides":
                overrides = tuple(draw(st.lists(st.sampled_from(OVERRIDES), max_size=2)))
            elif what == "add":
                rules.insert(place, draw(st.sampled_from(RULES)))
            elif len(rules) > 1:
                moved = rules.pop(place)
                rules += [moved] if what == "move" else []
        found.append((rules, overrides))
    return found


@given(histories())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_rules_change(site: Document, versions: list[Version]) -> None:
    """Rules come, go, move and change, their overrides too: what was there before leaves no trace."""
    kept = Memory()
    for rules, overrides in versions:
        named = [one | {"alert": [rule["alert"] for rule in rules]} for one in map(dict, overrides)]
        document = of_rules(site, rules[:3], rules[3:], overrides=tuple(named))
        for topic in INPUTS:
            assert whole(document, topic, kept) == whole(document, topic, None)


def test_each_change_is_seen(site: Document) -> None:
    """One after another, from rules that nothing has changed: every rule is bound by what it says now."""
    kept = Memory()
    names = [rule["alert"] for rule in RULES]
    plain = of_rules(site, RULES)
    changed = [of_rules(site, [change(rule) for rule in RULES]) for change in CHANGES]
    changed += [of_rules(site, RULES, overrides=({**override, "alert": names},)) for override in OVERRIDES]
    before = whole(plain, METER_READINGS, None)
    seen = {before}
    for document in changed:
        assert whole(plain, METER_READINGS, kept) == before
        made = whole(document, METER_READINGS, None)
        assert whole(document, METER_READINGS, kept) == made
        seen.add(made)
    assert len(seen) >= 10


def test_one_rule_that_changes_is_bound_alone(site: Document, monkeypatch: pytest.MonkeyPatch) -> None:
    """And none when it is changed back."""
    bound: list[str] = []

    class Counting(Binder):
        def bind(self, parsed: Parsed) -> Any:
            bound.append(parsed.rule.alert)
            return super().bind(parsed)

    monkeypatch.setattr(memory, "Binder", Counting)
    kept, (first, *others) = Memory(), RULES
    changed = of_rules(site, [first | {"for": "7m"}, *others])
    for document, expected in ((of_rules(site, RULES), len(RULES)), (changed, 1), (of_rules(site, RULES), 0)):
        bound.clear()
        build(METER_READINGS, {"east": document}, {"east": 1}, kept)
        assert len(bound) == expected
    build(METER_READINGS, {"east": of_rules(site, others)}, {"east": 1}, kept)
    build(METER_READINGS, {"east": of_rules(site, others)}, {"east": 1}, kept)
    bound.clear()
    build(METER_READINGS, {"east": of_rules(site, RULES)}, {"east": 1}, kept)
    assert bound == [first["alert"]]  # two documents ago: forgotten


def test_other_tables_are_another_memory(site: Document) -> None:
    """A point that moves, a day that becomes a holiday, and another interval: nothing of before is used."""
    kept = Memory()
    plain = of_rules(site, RULES)
    points = site.table("points")
    moved = {**points, "space": [None if cell == "E1-101" else cell for cell in points["space"]]}
    days = {name: dict.fromkeys(dates, "holiday") for name, dates in site.calendars.items()}
    for document in (
        plain,
        dataclasses.replace(plain, tables={**plain.tables, "points": moved}),
        dataclasses.replace(plain, calendars=days),
        dataclasses.replace(plain, interval_s=300),
        dataclasses.replace(plain, limits=plain.limits | {"stale_ms": 1}),
        plain,
    ):
        assert whole(document, METER_READINGS, kept) == whole(document, METER_READINGS, None)


def test_equal_tables_are_shared(site: Document) -> None:
    """A document that comes after another one has its tables, the very same, if not one byte of them differs."""
    one = Document.parse(of_rules(site, RULES).raw)
    other = Document.parse(of_rules(site, RULES[1:]).raw, beside=[one])
    assert other.tables is one.tables
    assert other == of_rules(site, RULES[1:])
    points = site.table("points")
    renamed = {**points, "space": ["E1-102", *points["space"][1:]]}
    third = Document.parse(dataclasses.replace(site, tables={**site.tables, "points": renamed}).raw, beside=[one])
    assert third.tables is not one.tables


def test_what_is_kept_has_a_bound(site: Document) -> None:
    """The site that was asked for last stays; one that is too large by itself is not kept."""
    other = dataclasses.replace(site, site="west")
    count = len(site.table("points")["id"])
    kept = Memory(count)
    first = kept.site(site)
    assert kept.site(site) is first
    second = kept.site(other)
    assert kept.site(other) is second
    assert kept.site(site) is not first
    assert Memory(count - 1).site(site) is not Memory(count - 1).site(site)
    small = Memory(count - 1)
    assert small.site(site) is not small.site(site)
