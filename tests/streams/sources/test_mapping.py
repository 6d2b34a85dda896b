"""Mapping files are read whole or refused with the place of the fault."""

from fractions import Fraction
from pathlib import Path

import pytest

from schemas.errors import ConfigurationError
from streams.sources import mapping

WIDE = "site: s\ntime: {column: t}\nwide: {a: {point: p, factor: 0.1}}\n"


def load(folder: Path, text: str) -> list[mapping.Table]:
    """Reads a mapping from its text."""
    path = folder / "mapping.yaml"
    path.write_text(text, "utf-8")
    return mapping.load(path)


def test_one_table_needs_no_list_and_factors_are_exact(tmp_path: Path) -> None:
    """A mapping of one table stands alone; 0.1 is a tenth and not the nearest float; a fraction may be written."""
    assert load(tmp_path, WIDE)[0].wide["a"].factor == Fraction(1, 10)
    assert load(tmp_path, WIDE.replace("0.1", "1/3"))[0].wide["a"].factor == Fraction(1, 3)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (WIDE.replace("site: s\n", ""), "site"),
        (WIDE.replace("{column: t}", "{column: t, zone: Mars/Base}"), "unknown time zone"),
        (WIDE.replace("{column: t}", "{column: t, format: rfc}"), "strptime"),
        (WIDE.replace("{column: t}", "{column: t, stamp: middle}"), "stamp"),
        (WIDE.replace("0.1", "a tenth"), "factor"),
        (WIDE.replace("point: p", "pint: p"), "pint"),
        (WIDE + "long: {point: p, value: {column: v}}\n", "exactly one of"),
        (WIDE.split("wide")[0], "exactly one of"),
        (WIDE + "encoding: klingon\n", "unknown encoding"),
        (WIDE + "decimal: ','\n", "different"),
        (WIDE + "round: half_up\n", "round"),
        (WIDE.replace("point: p", "pint: p"), r"a\.pint: there is no such word; for example wide: "),
        (WIDE.replace("{column: t}", "t"), r"\ntime: is not what stands here; for example time: \{column: time"),
        (WIDE.replace("site: s\n", ""), r"\nsite: is missing; for example site: lab"),
        (WIDE.replace("wide:", "wid:"), r"wid: there is no such word; did you mean 'wide'\?"),
        ("tables: []\n", "tables"),
        ("- a\n", "no table"),
        ("a: [\n", "YAML"),
    ],
)
def test_a_faulty_mapping_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    """Every fault is an error that names it, before any file is read."""
    with pytest.raises(ConfigurationError, match=reason):
        load(tmp_path, text)


def test_a_mapping_that_is_not_there(tmp_path: Path) -> None:
    """The path is named."""
    with pytest.raises(ConfigurationError, match="nowhere"):
        mapping.load(tmp_path / "nowhere.yaml")


def test_parts_of_paths_have_names(tmp_path: Path) -> None:
    """Files are found below a folder in order, other files are left alone, and parts of their paths are named."""
    for name in ("b2/gas/2019.csv", "b1/gas/2019.csv", "b1/power/2019.csv", "b1/gas/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    table = load(tmp_path, 'files: "{building}/gas/*.csv"\n' + WIDE)[0]

    assert [(path.relative_to(tmp_path).as_posix(), parts) for path, parts in table.paths([tmp_path])] == [
        ("b1/gas/2019.csv", {"building": "b1"}),
        ("b2/gas/2019.csv", {"building": "b2"}),
    ]


def test_names_in_braces() -> None:
    """Texts are filled with the values of their names, whatever characters those have."""
    assert mapping.fill("{a b [kWh]}.{c}", {"a b [kWh]": "1", "c": "2"}) == "1.2"
    assert mapping.places("{a}-{b}-x") == ["a", "b"]


def test_texts_that_yaml_takes_for_something_else(tmp_path: Path) -> None:
    """Numbers among nulls and sensors are texts, and a bare on, yes or true is all of them."""
    long = WIDE.split("wide")[0] + "long: {point: '{s}', points: {4711: p}, value: {column: v}}\n"
    (table,) = load(tmp_path, long + "nulls: [-9999, NA]\nwords: {on: 1, OFF: 0, Occupied: 1}\n")
    assert table.nulls == ["-9999", "NA"]
    assert table.long is not None and table.long.points == {"4711": "p"}
    assert {word for word, number in table.words.items() if number == "1"} == {"true", "on", "yes", "occupied"}
    assert {word for word, number in table.words.items() if number == "0"} == {"false", "off", "no"}
