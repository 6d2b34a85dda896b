"""Packs are read with their lines, and every fault of theirs is told at its line."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from schemas.errors import Fault, ModelError
from schemas.model.build import Deployment, build_documents
from schemas.model.check import check_folder
from schemas.model.document import Document
from schemas.rules.format import parse_duration, parse_pack
from schemas.rules.language import Binary, Node, Number, Unary, parse
from schemas.rules.pack import built_in_packs, check_packs, read_built_in, read_pack
from tests.support.models import write_model

GOOD = """\
pack: own
rules:
  - alert: Lights
    each: {space: [office]}
    roles: {light: light_power, people: occupancy}
    params: {power: 50 W}
    expr: light > $power and people == 0
    clear: |
      light <= $power
      or people > 0
    for: 20m
    wastes: [light]
    labels: {severity: warning}
    annotations:
      zh: {summary: 灯, action: 关}
      en: {summary: lights, action: off}
    source: test
"""


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Document:
    """Site east of the small model, without packs."""
    model, faults = check_folder(write_model(tmp_path_factory.mktemp("packs"), packs={}))
    assert faults == []
    return build_documents(model, Deployment({"east": 0, "west": 1}, {}, {}, {}))["east"]


def check(folder: Path, document: Document, text: str, files: Mapping[str, str] | None = None) -> list[Fault]:
    """Faults of a pack with this text."""
    for name, other in (files or {}).items():
        (folder / name).write_text(other, "utf-8")
    path = folder / "own.yaml"
    path.write_text(text, "utf-8")
    pack, lines = read_pack(path, "own.yaml")
    return check_packs([pack], [lines], document)


def test_a_good_pack_has_no_faults(tmp_path: Path, document: Document) -> None:
    """The pack that the other tests spoil is good."""
    assert check(tmp_path, document, GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "line", "part"),
    [
        ("    expr:", "    exprs:", 3, "'expr' is missing"),
        ("    expr:", "    exprs:", 7, "unknown key 'exprs'; did you mean 'expr'?"),
        ("{space: [office]}", "{space: [office], equip: [lift]}", 4, "exactly one of"),
        ("{space: [office]}", "{spaces: [office]}", 4, "unknown key 'spaces'; did you mean 'space'?"),
        ("light: light_power", "light: ligth_power", 5, "did you mean 'light_power'?"),
        ("light: light_power", "light: any", 5, "unknown role 'any'"),
        (
            "light: light_power",
            "light: {role: light_power, form: parent}",
            5,
            "unknown key 'form'; did you mean 'from'?",
        ),
        ("light: light_power", "light: {role: [light_power, occupancy]}", 5, "different dimensions"),
        ("power: 50 W", "power: 50 Wat", 6, "unknown unit 'Wat'"),
        ("power: 50 W", "power: 3 L", 7, "power > volume"),
        ("power: 50 W", "power: light", 6, "is not a number with its unit"),
        ("power: 50 W", "power: 50 W, more: 1 W", 6, "$more is used by neither"),
        ("$power and people", "$powr and people", 7, "unknown parameter $powr; did you mean 'power'?"),
        ("and people == 0", "and peple == 0", 7, "column 20: unknown role 'peple'; did you mean 'people'?"),
        ("and people == 0", "and people == 0 and", 7, "ends where a value is expected"),
        ("      or people > 0", "      or people > 0 W", 10, "column 11: a number > power"),
        ("for: 20m", "for: 20 minutes", 11, "not a duration"),
        ("wastes: [light]", "wastes: [lights]", 12, "did you mean 'light'?"),
        ("wastes: [light]", "wastes: [people]", 12, "no quantity"),
        ("severity: warning", "severity: wraning", 13, "did you mean 'warning'?"),
        ("      en: {summary: lights, action: off}\n", "", 14, "'en' is missing"),
        ("    source: test\n", "", 3, "'source' is missing"),
        ("    source: test\n", "    source: test\n    clock: data\n", 18, "live clock"),
        (
            "expr: light > $power and people == 0",
            "expr: schedule(nights) and light > $power and people == 0",
            7,
            "unknown schedule",
        ),
        ("alert: Lights", "alert: no name", 3, "alert:"),
    ],
)
def test_a_fault_is_told_at_its_line(
    tmp_path: Path, document: Document, old: str, new: str, line: int, part: str
) -> None:
    """Format, names, units, expressions and what only shows on points: file, line and what may have been meant."""
    assert old in GOOD
    faults = check(tmp_path, document, GOOD.replace(old, new, 1))
    assert any(fault.file == "own.yaml" and fault.line == line and part in fault.message for fault in faults), faults


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("a: b: c\n", 1, "not YAML"),
        ("a: 1\na: 2\n", 2, "'a' is given twice"),
        ("pack: &x own\nrules: *x\n", 2, "alias"),
        ("pack: " + "[" * 30 + "]" * 30, 1, "levels of lists"),
        ("- 1\n", 1, "a mapping"),
        ("", 1, "a mapping"),
        ("pack: own\ninclude: builtin/lightning\n", 2, "did you mean 'builtin/lighting'?"),
        ("pack: own\ninclude:\n  - other.yaml\n", 3, "cannot be read"),
        ("pack: own\ninclude: ../other.yaml\n", 2, "same folder"),
        ("pack: own\ninclude: own.yaml\n", 2, "levels of includes"),
        ("? [1]\n: 2\n", 1, "a key must be a word"),
    ],
)
def test_a_file_that_is_no_pack_is_refused(tmp_path: Path, text: str, line: int, part: str) -> None:
    """What cannot be read at all: not YAML, aliases, repeated keys, includes that do not exist or go in circles."""
    (tmp_path / "own.yaml").write_text(text, "utf-8")
    with pytest.raises(ModelError) as caught:
        read_pack(tmp_path / "own.yaml", "own.yaml")
    assert caught.value.faults[0].line == line
    assert part in caught.value.faults[0].message


def test_hostile_files_are_refused(tmp_path: Path) -> None:
    """Bytes that are not UTF-8, deep nesting, a huge file and Python tags end in a fault, never in a crash."""
    for raw in (
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b"x" * (2 << 20),
        b"pack: !!python/object/apply:os.system [id]\nrules: 3\n",
    ):
        (tmp_path / "own.yaml").write_bytes(raw)
        try:
            pack, _ = read_pack(tmp_path / "own.yaml")
        except ModelError:
            continue
        assert pack == {"pack": ["id"], "rules": "3"}


def test_included_rules_keep_their_file_and_line(tmp_path: Path, document: Document) -> None:
    """A fault in an included file is told there, one in the including file here, and rules may be overridden."""
    other = GOOD.replace("Lights", "Other").replace("people == 0", "peple == 0")
    faults = check(tmp_path, document, "include: other.yaml\n" + GOOD, {"other.yaml": other})
    assert [(fault.file, fault.line) for fault in faults] == [("other.yaml", 7)]
    spoilt = "include: other.yaml\n" + GOOD.replace("people == 0", "peple == 0")
    faults = check(tmp_path, document, spoilt, {"other.yaml": GOOD.replace("Lights", "Other")})
    assert [(fault.file, fault.line) for fault in faults] == [("own.yaml", 8)]
    twice = check(tmp_path, document, "include: other.yaml\n" + GOOD, {"other.yaml": GOOD})
    assert [(fault.file, fault.line) for fault in twice] == [("own.yaml", 4)]
    assert "there already, in other.yaml:3" in twice[0].message


def test_overrides_are_checked(tmp_path: Path, document: Document) -> None:
    """Unknown rules and parameters and thresholds of another dimension are told at the override."""
    for line, part in (
        ("{alert: Light, params: {power: 1 W}}", "unknown rule 'Light'; did you mean 'Lights'?"),
        ("{params: {power: 1 W}}", "'alert' is missing"),
        ("{alert: Lights, params: {powr: 1 W}}", "unknown parameter 'powr'; did you mean 'power'?"),
        ("{alert: Lights, params: {power: 1 L}}", "power > volume"),
        ("{alert: Lights, severity: bad}", "unknown severity 'bad'"),
        ("{alert: Lights, sites: [east]}", "unknown key 'sites'; did you mean 'site'?"),
    ):
        faults = check(tmp_path, document, f"{GOOD}overrides:\n  - {line}\n")
        assert any(fault.line == 19 and part in fault.message for fault in faults), faults
    good = (
        "{alert: Lights, site: east, tags: [crowded], params: {power: 0.2 kW}, for: 1h, severity: info, source: ours}"
    )
    assert check(tmp_path, document, f"{GOOD}overrides:\n  - {good}\n") == []


def test_a_quota_may_be_that_of_a_campus(tmp_path: Path, document: Document) -> None:
    """An override of a million kWh a week is no fault."""
    quota = "{alert: OverQuotaPace, enabled: true, params: {weekly_quota: 1000000 kWh}}"
    assert check(tmp_path, document, f"pack: own\ninclude: builtin/electricity\noverrides:\n  - {quota}\n") == []


def test_points_of_one_role_with_different_units_are_refused(tmp_path: Path, document: Document) -> None:
    """Integers of different units cannot be added up."""
    tables = {
        name: {column: list(values) for column, values in table.items()} for name, table in document.tables.items()
    }
    points = tables["points"]
    for column, values in points.items():
        values.append(values[points["id"].index("e-light")])
        del column
    points["id"][-1], points["number"][-1], points["unit"][-1] = "e-light3", 999, "kW"
    mixed = Document(**{**document.__dict__, "tables": tables})
    faults = check(tmp_path, mixed, GOOD)
    assert [fault.line for fault in faults] == [5]
    assert "e-light, e-light3 have different units" in faults[0].message


def test_a_schedule_needs_a_calendar(tmp_path: Path, document: Document) -> None:
    """Without a calendar a schedule would be unknown for ever, and the rule silent."""
    sites = {**document.tables["sites"], "calendar": [None]}
    bare = Document(**{**document.__dict__, "tables": {**document.tables, "sites": sites}})
    text = GOOD.replace("people == 0", "people == 0 and not schedule(day)", 1)
    assert check(tmp_path, document, text) == []
    assert "give the site a calendar" in check(tmp_path, bare, text)[0].message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20m", 1_200_000),
        ("1h30m", 5_400_000),
        ("90s", 90_000),
        ("0s", 0),
        ("250ms", 250),
        ("2d", 172_800_000),
        ("5 min", 300_000),
    ],
)
def test_durations_are_those_of_prometheus(text: str, expected: int) -> None:
    """`m` is a minute in `for:`."""
    assert parse_duration(text) == expected


@pytest.mark.parametrize("text", ["", "20", "m", "1.5h", "-5m", "20 minutes", "500d", "5m x"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """No bare numbers, no decimals, nothing beyond 400 days."""
    with pytest.raises(ValueError, match=r"duration|longer"):
        parse_duration(text)


def test_packs_that_come_with_the_product_are_complete() -> None:
    """Every rule says where its thresholds come from, in both languages; a pack is named as it is included."""
    names = "air_conditioning electricity lifts lighting meters pv vehicles waste water"
    assert built_in_packs() == tuple(f"builtin/{name}" for name in names.split())
    for name in built_in_packs():
        pack = parse_pack(read_built_in(name)[0])
        assert pack.pack == name
        assert pack.rules
        for rule in pack.rules:
            assert rule.source
            assert set(rule.annotations) == {"zh", "en"}
            assert any("\u4e00" <= letter <= "\u9fff" for letter in rule.annotations["zh"].summary)
            assert rule.annotations["en"].summary.isascii()


def test_every_threshold_of_a_pack_is_a_parameter() -> None:
    """An override by site, space or tag can change it: no expression holds a number but 0 and the codes of a state."""
    found = []
    for name in built_in_packs():
        for rule in parse_pack(read_built_in(name)[0]).rules:
            texts = (rule.expr, rule.clear, rule.estimate)
            found += [(rule.alert, one) for text in texts if text for one in _thresholds(parse(text))]
    assert found == []


def _thresholds(node: Node) -> Iterator[str]:
    """Numbers that a measured value is held against or multiplied by; how far a function looks back is none."""
    if isinstance(node, Number) and node.value:
        yield f"{float(node.value):g} {node.unit}"
    elif isinstance(node, Unary):
        yield from _thresholds(node.operand)
    elif isinstance(node, Binary):
        yield from _thresholds(node.left)
        if node.operator not in ("==", "!="):
            yield from _thresholds(node.right)
