"""`check`: a model without fault has none, and each kind of fault is found, at its file and line."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import Fault, ModelError
from schemas.model.build import Deployment, build_documents
from schemas.model.check import check_folder
from schemas.model.document import Document
from schemas.model.points import point_columns
from schemas.model.references import circles
from schemas.model.tables import TABLES
from tests.support.models import LIGHTS, Row, Tables, tables, write_model


def faults_of(path: Path) -> list[Fault]:
    """What `check` finds."""
    return check_folder(path)[1]


@pytest.mark.parametrize("suffix", ["csv", "yaml"])
def test_the_model_of_the_tests_has_no_fault(tmp_path: Path, suffix: str) -> None:
    """Every table may be CSV or YAML, and a right model has no fault."""
    assert faults_of(write_model(tmp_path, suffix=suffix)) == []


def put(table: str, row: int, **cells: object) -> Callable[[Tables], object]:
    """Changes cells of a row; rows count from 0, its line in a CSV file is row + 2."""
    return lambda model: model[table][row].update(cells)


def more(table: str, **cells: object) -> Callable[[Tables], object]:
    """Adds a row."""
    return lambda model: model.setdefault(table, []).append(dict(cells))


def drop(table: str, column: str) -> Callable[[Tables], object]:
    """Leaves a column out."""

    def change(model: Tables) -> None:
        for row in model[table]:
            row.pop(column, None)

    return change


POINT: Row = {"id": "new", "site": "east", "gateway": "gw-e", "space": "E1-101", "interval_s": 60}
CASES: list[tuple[str, Callable[[Tables], object], str, int, str]] = [
    ("missing column", drop("points", "role"), "points.csv", 1, "points needs a column 'role'"),
    ("unknown column", put("points", 0, rol="x"), "points.csv", 1, "points has no column 'rol'; did you mean 'role'?"),
    ("empty cell", put("points", 1, role=""), "points.csv", 3, "role is empty"),
    ("bad integer", put("points", 0, interval_s="15min"), "points.csv", 2, "'15min' is no integer"),
    ("integer out of bounds", put("points", 0, max_age_s=0), "points.csv", 2, "max_age_s 0 is outside of 1"),
    ("bad number", put("buildings", 1, area_m2="1,000"), "buildings.csv", 3, "not a decimal number"),
    ("negative number", put("buildings", 0, area_m2="-1"), "buildings.csv", 2, "area_m2 -1 is below 0"),
    ("bad enum", put("points", 0, kind="counter"), "points.csv", 2, "'counter' is no kind; known are register"),
    ("bad boolean", put("points", 0, writable="maybe"), "points.csv", 2, "writable 'maybe' is neither yes nor no"),
    ("bad date", put("tenure", 0, valid_from="2025-02-30"), "tenure.csv", 2, "'2025-02-30' is no date"),
    ("bad time of day", put("schedules", 0, to="25:00"), "schedules.csv", 2, "'25:00' is no time of day"),
    ("bad zone", put("sites", 0, time_zone="Asia/Shangai"), "sites.csv", 2, "no time zone; did you mean 'Asia/Shanghai'?"),
    ("bad id", put("gateways", 0, id="gw e"), "gateways.csv", 2, "'gw e' is no id"),
    ("bad sign", put("balance", 0, sign="plus"), "balance.csv", 2, "sign 'plus' is neither + nor -"),
    ("bad share", put("tenure", 0, share="1.5"), "tenure.csv", 2, "not above 0 and at most 1"),
    ("bad months", put("tariffs", 0, months="13"), "tariffs.csv", 2, "'13' is no month"),
    ("sub-item", put("points", 5, sub_item="E1"), "points.csv", 7, "'E1' is no sub-item code"),
    ("sub-item, third level", put("points", 5, sub_item="A1A"), "points.csv", 7, "'A1A' is no sub-item code"),
    ("duplicate id", more("gateways", id="gw-e", site="east"), "gateways.csv", 5, "id 'gw-e' is at gateways.csv:2 already"),
    ("duplicate calendar day", more("calendars", id="cn", date="2026-01-01", kind="workday"), "calendars.csv", 5, "calendars.csv:2 already"),
    ("unknown kind of day", put("calendars", 0, kind="vacation"), "calendars.csv", 2, "'vacation' is no kind"),
    ("dangling reference", put("points", 0, space="E1-103"), "points.csv", 2, "space 'E1-103' is not in spaces or buildings; did you mean"),
    ("dangling list", put("equips", 0, serves="E1-101;X"), "equips.csv", 2, "serves 'X' is not in spaces or buildings"),
    ("dangling calendar", put("sites", 0, calendar="uk"), "sites.csv", 2, "calendar 'uk' is not in calendars"),
    ("missing table", lambda model: model.pop("gateways"), "points.csv", 2, "gateway 'gw-e' is not in gateways"),
    ("validity", put("tenure", 0, valid_from="2025-01-01", valid_to="2025-01-01"), "tenure.csv", 2, "is not before valid_to"),
    ("overlap", more("tenure", space="E1-101", department="finance", valid_from="2026-01-01"), "tenure.csv", 5, "both hold at the same time"),
    ("circle of spaces", put("spaces", 0, parent="E1-101"), "spaces.csv", 2, "parent goes in a circle: E1-1 → E1-101 → E1-1"),
    ("circle of departments", put("departments", 0, parent="budget"), "departments.csv", 2, "circle: budget → finance → budget"),
    ("circle of totals", put("points", 0, of="e-peak"), "points.csv", 2, "of goes in a circle: e-main → e-peak → e-main"),
    ("parent elsewhere", put("spaces", 4, parent="E1-1"), "spaces.csv", 6, "parent 'E1-1' is in building 'E1', this is in 'W1'"),
    ("space and building of one id", put("spaces", 3, id="E1"), "spaces.csv", 5, "'E1' is a building too"),
    ("unknown role", put("points", 5, role="light_powr"), "points.csv", 7, "'light_powr' is no role; did you mean 'light_power'?"),
    ("unknown unit", put("points", 5, unit="Watt"), "points.csv", 7, "'Watt' is no unit"),
    ("unit and kind", more("points", **POINT, role="energy", kind="register", unit="W", medium="electricity"), "points.csv", 12, "unit W does not fit a register"),
    ("unit and role", put("points", 8, unit="lux"), "points.csv", 10, "unit lux does not fit role temperature; there are degC"),
    ("unit and medium", put("points", 0, medium="water"), "points.csv", 2, "unit kWh does not fit medium water"),
    ("no medium", put("points", 0, medium=""), "points.csv", 2, "medium is empty"),
    ("no unit", put("points", 5, unit=""), "points.csv", 7, "unit is empty; a gauge of role light_power has W, kW"),
    ("role and kind", put("points", 5, kind="state"), "points.csv", 7, "role light_power does not fit a state; it fits a gauge"),
    ("delta without interval", put("points", 3, interval_s=""), "points.csv", 5, "a delta is the usage of an interval"),
    ("interval of a delta", put("points", 3, interval_s=7000), "points.csv", 5, "neither divides a day"),
    ("bounds upside down", put("points", 8, min=61), "points.csv", 10, "min 61 is above max 60"),
    ("bound that is no integer", put("points", 8, min="0.00001"), "points.csv", 10, "not an integer in thousandths of degC"),
    ("gateway of another site", put("points", 5, gateway="gw-w"), "points.csv", 7, "gateway 'gw-w' is of site 'west', the point of 'east'"),
    ("space of another site", put("points", 5, space="W1-101"), "points.csv", 7, "space 'W1-101' is of site 'west'"),
    ("part of another medium", put("points", 2, of="e-water"), "points.csv", 4, "is a part of 'e-water', which is of medium 'water'"),
    ("two units of a role", put("points", 7, unit="kW"), "points.csv", 9, "role light_power is in kW here and in W at points.csv:7"),
    ("id like a generated one", put("points", 7, id="site:x"), "points.csv", 9, "begin the ids of points that apply makes"),
    ("shares of tenure", put("tenure", 1, share="0.3"), "tenure.csv", 4, "the shares of space 'E1-102' sum to 29/30 from 2025-01-01, not to 1"),
    ("tenure that ends alone", put("tenure", 1, valid_to="2026-01-01"), "tenure.csv", 4, "sum to 2/3 from 2026-01-01, not to 1"),
    ("balance in a circle", lambda model: model["balance"].extend([{"node": "e-main", "point": "e-sub", "sign": "-1"}, {"node": "e-sub", "point": "e-main", "sign": "-1"}]), "balance.csv", 4, "the balance goes in a circle: e-main → e-sub → e-main"),
    ("taken from itself", more("balance", node="e-sub", point="e-sub", sign="-1"), "balance.csv", 4, "is taken from itself"),
    ("shares of the balance", more("balance", node="E9", point="e-sub", sign="-1", share="0.5"), "balance.csv", 4, "whose shares sum to 1.5, more than 1"),
    ("edge there twice", more("balance", node="E1", point="e-main", sign="+"), "balance.csv", 4, "both hold at the same time"),
    ("register there twice", more("meter_install", meter="M1", register="total", point="e-peak"), "meter_install.csv", 5, "meter 'M1', register 'total' is at meter_install.csv:2"),
    ("point fed twice", more("meter_install", meter="M2", register="second", point="e-sub"), "meter_install.csv", 5, "point 'e-sub' is fed at meter_install.csv:4 already"),
    ("meter on a gauge", put("meter_install", 2, point="e-temp"), "meter_install.csv", 4, "point 'e-temp' is a gauge"),
    ("interval of a site", put("sites", 0, interval_s=7000), "sites.csv", 2, "interval_s 7000 does not divide a day"),
    ("class of a bin", put("bins", 0, **{"class": "kitchn"}), "bins.csv", 2, "does not take 'kitchn'; did you mean 'kitchen'?"),
    ("slot without schedule", put("tariffs", 0, slot="dya"), "tariffs.csv", 2, "slot 'dya' is no schedule; did you mean 'day'?"),
    ("price per wrong unit", put("tariffs", 2, unit="kWh"), "tariffs.csv", 4, "water is not counted in kWh; m3 is usual"),
    ("limit there twice", lambda model: model.update(limits=[{"name": "dips", "value": 2}, {"name": "dips", "value": 3}]), "limits.csv", 3, "limits.csv:2 already"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "file", "line", "message"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_each_kind_of_fault_is_found_at_its_line(
    tmp_path: Path, change: Callable[[Tables], object], file: str, line: int, message: str
) -> None:
    """The fault that was put in is reported with its file, its line, and what to do."""
    found = faults_of(write_model(tmp_path, change))
    assert [fault for fault in found if (fault.file, fault.line) == (file, line) and message in fault.message], found


def test_faults_are_all_reported_in_order(tmp_path: Path) -> None:
    """One look shows everything: faults of several files come together, sorted by file and line."""

    def change(model: Tables) -> None:
        model["points"][5]["role"] = "light"
        model["points"][1]["unit"] = "furlong"
        model["departments"][1]["institution"] = "north"

    found = faults_of(write_model(tmp_path, change))
    assert sorted(found, key=lambda fault: (fault.file, fault.line)) == found
    assert [(fault.file, fault.line) for fault in found] == [
        ("departments.csv", 3),
        ("points.csv", 3),
        ("points.csv", 3),
        ("points.csv", 7),
    ]


def test_faults_of_rule_packs_are_reported(tmp_path: Path) -> None:
    """A rule that names an unknown role is a fault of the model, at its line in the pack."""
    found = faults_of(
        write_model(tmp_path, packs={"lighting.yaml": LIGHTS.replace("people: occupancy", "people: occupncy")})
    )
    assert found
    assert found[0].file == "rules/lighting.yaml"
    assert found[0].line > 1
    assert "occupncy" in found[0].message


@pytest.mark.parametrize(
    ("name", "text", "line", "message"),
    [
        ("points.csv", b"id,site\na,b,c\n", 2, "3 cells, the header has 2"),
        ("points.csv", b"id,id\na,b\n", 1, "column 'id' is there twice"),
        ("points.csv", b'id,site\n"a,b\n', 2, "is not CSV here"),
        ("points.csv", "id,名\n".encode("gbk"), 1, "is not UTF-8"),
        ("sites.yaml", b"- id: a\n  id: b\n", 2, "column 'id' is there twice"),
        ("sites.yaml", b"- id: {a: b}\n", 1, "neither a value nor a list"),
        ("sites.yaml", b"id: a\n", 1, "is not a list of rows"),
        ("sites.yaml", b"- id: [a\n", 2, "is not YAML here"),
        ("sites.yaml", b"- just text\n", 1, "is not a row"),
        ("pionts.csv", b"id\n", 0, "no such table; did you mean 'points'?"),
    ],
)
def test_files_that_cannot_be_read_are_faults(tmp_path: Path, name: str, text: bytes, line: int, message: str) -> None:
    """A broken file is reported by name and line, and the other files are still checked."""
    (tmp_path / name).write_bytes(text)
    found = faults_of(tmp_path)
    assert [fault for fault in found if (fault.file, fault.line) == (name, line) and message in fault.message], found


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    """An empty folder and a missing one are refused with a hint, not found faultless."""
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ModelError):
            check_folder(path)


def test_a_table_may_be_split_over_files(tmp_path: Path) -> None:
    """points/*.csv are one table; a duplicate over two files is found."""
    path = write_model(tmp_path)
    folder = path / "points"
    folder.mkdir()
    (path / "points.csv").rename(folder / "a.csv")
    (folder / "b.csv").write_text("id,site,gateway,role,kind\ne-people,east,gw-e,occupancy,state\n")
    assert [str(fault) for fault in faults_of(path)] == ["points/b.csv:2: id 'e-people' is at points/a.csv:8 already"]


def test_yaml_words_stay_text(tmp_path: Path) -> None:
    """`no` is an id and 007 keeps its zeros: YAML's guesses are not asked for."""
    (tmp_path / "sites.yaml").write_text("- id: no\n- id: 007\n- {id: 1.50, name_zh: ~}\n")
    model, found = check_folder(tmp_path)
    assert found == []
    assert model.rows("sites").columns["id"] == ["no", "007", "1.50"]


def test_a_node_is_supplied_by_its_own_point(tmp_path: Path) -> None:
    """A node that is named like its main meter has that meter with +: no circle."""
    assert faults_of(write_model(tmp_path, lambda model: model["balance"][0].update(node="e-main"))) == []


def test_circles_are_found_without_recursion() -> None:
    """A chain of 50,000 nodes that closes is one circle; a tree of as many has none."""
    chain = {str(number): [str(number + 1)] for number in range(50_000)}
    assert list(circles(chain)) == []
    chain["50000"] = ["0"]
    assert [len(circle) for circle in circles(chain)] == [50_001]


def test_every_column_of_the_design_is_there() -> None:
    """Each table has a key among its columns, each reference leads to a table, and notes say what a column holds."""
    for spec in TABLES.values():
        assert set(spec.key) <= set(spec.columns)
        assert spec.usual in ("csv", "yaml")
        for column in spec.columns.values():
            assert column.note
            if column.type in ("ref", "refs"):
                assert set(column.argument) <= set(TABLES)


CELLS = st.one_of(
    st.sampled_from(
        [
            "",
            "0",
            "-1",
            "1e30",
            "1/3",
            "9" * 18,
            "yes",
            "east",
            "E1",
            "e-main",
            "W",
            "a;b",
            "2025-01-01",
            "24:00",
            "+",
            "*",
            "站",
            "\u202e",
        ]
    ),
    st.text(max_size=8),
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_whatever_people_write_is_a_fault_or_a_model(data: st.DataObject) -> None:
    """Any cells may be anything: check never breaks, and what it lets pass can be built and made into arrays."""
    model = tables()
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(st.sampled_from(sorted(model)))
        row = data.draw(st.sampled_from(range(len(model[name]))))
        column = data.draw(st.sampled_from(sorted(TABLES[name].columns)))
        model[name][row][column] = data.draw(CELLS)
    with tempfile.TemporaryDirectory() as folder:
        found, faults = check_folder(write_model(Path(folder), **model))  # type: ignore[arg-type]
    if not faults:
        sites = found.rows("sites").texts("id")
        partitions = {site: number for number, site in enumerate(sites)}
        for document in build_documents(found, Deployment(partitions, {}, {}, {})).values():
            assert len(point_columns(document)) == len(document.table("points").get("id", []))
            assert Document.parse(document.raw, document.sha256) == document


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["points.csv", "sites.yaml", "rules/x.yaml"]),
    st.binary(max_size=200) | st.text(max_size=200).map(str.encode),
)
def test_no_bytes_break_the_reader(name: str, raw: bytes) -> None:
    """Files may hold any bytes: the answer is a list of faults, never a stray error."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_model(Path(folder), suffix="yaml" if name.startswith("sites") else "csv")
        (path / name).write_bytes(raw)
        check_folder(path)
