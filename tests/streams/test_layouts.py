"""Cached layouts are the ones that would be built, and are not believed when their bytes are others."""

import dataclasses
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from processors.layout import Layout
from processors.layout_build import build
from schemas.codec import Json
from schemas.model.build import Deployment, build_documents
from schemas.model.check import check_folder
from schemas.model.document import Document
from schemas.rules.binding import Binder
from schemas.rules.bound import BoundRule
from schemas.rules.parsed import Parsed, parse_rules
from schemas.topics import METER_READINGS
from streams import layouts
from streams.layouts import Layouts
from tests.streams.pipeline import until
from tests.support.models import write_model


@pytest.fixture
def documents(tmp_path: Path) -> dict[str, Document]:
    """A site with one of everything."""
    model, faults = check_folder(write_model(tmp_path))
    assert not faults
    return {"east": build_documents(model, Deployment({"east": 0, "west": 1}, {}, {}, {}))["east"]}


def same(one: Layout, other: Layout) -> bool:
    """Whether every field is equal, arrays with their types."""
    arrays = all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(one.arrays, other.arrays, strict=True))
    names = ("topic", "sites", "versions", "gateways", "point_ids", "instance_names", "severities", "fanout", "wasted")
    keys = np.array_equal(one.point_key, other.point_key) and np.array_equal(one.instance_key, other.instance_key)
    return arrays and keys and all(getattr(one, name) == getattr(other, name) for name in names)


def test_from_disk_it_is_the_same(
    documents: dict[str, Document], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second time nothing is built, and nothing differs; another version is another layout."""
    monkeypatch.setattr(layouts, "POINTS_MIN", 1)
    built = build(METER_READINGS, documents, {"east": 3})
    assert len(built.arrays.rules)
    first = Layouts(tmp_path / "cache")
    assert same(first.build(METER_READINGS, documents, {"east": 3}), built)
    first.close()
    monkeypatch.setattr(layouts, "build", None)
    again = Layouts(tmp_path / "cache").build(METER_READINGS, documents, {"east": 3})
    assert same(again, built)
    assert again.documents == documents
    with pytest.raises(TypeError):
        Layouts(tmp_path / "cache").build(METER_READINGS, documents, {"east": 4})


def test_spoilt_bytes_are_built_again(
    documents: dict[str, Document], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One bit, and a file that was cut: the layout is right all the same."""
    monkeypatch.setattr(layouts, "POINTS_MIN", 1)
    built = build(METER_READINGS, documents, {"east": 1})
    cache = Layouts(tmp_path / "cache")
    cache.build(METER_READINGS, documents, {"east": 1})
    cache.close()
    (file,) = (tmp_path / "cache").glob("*.layout")
    raw = file.read_bytes()
    for spoilt in (raw[:-1], raw[:200] + bytes([raw[200] ^ 1]) + raw[201:], b""):
        file.write_bytes(spoilt)
        assert same(cache.build(METER_READINGS, documents, {"east": 1}), built)
        cache.close()
        assert file.read_bytes() == raw


def test_after_a_start_from_disk_one_rule_is_bound(
    documents: dict[str, Document], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are bound in the time between: the first change is no slower than the next."""
    monkeypatch.setattr(layouts, "POINTS_MIN", 1)
    monkeypatch.setattr(layouts, "SPARE_S", 0.0)
    first = Layouts(tmp_path / "cache")
    first.build(METER_READINGS, documents, {"east": 1})
    first.close()
    bound: list[str] = []
    bind = Binder.bind

    def counted(binder: Binder, parsed: Parsed) -> BoundRule:
        bound.append(parsed.rule.alert)
        return bind(binder, parsed)

    monkeypatch.setattr(Binder, "bind", counted)
    again = Layouts(tmp_path / "cache")
    again.build(METER_READINGS, documents, {"east": 1})
    document = documents["east"]
    names = [rule.rule.alert for rule in parse_rules(document)]
    until(lambda: bound == names)
    (pack,) = document.rules
    (rule,) = cast("list[dict[str, Json]]", pack["rules"])
    changed = dataclasses.replace(document, rules=[{**pack, "rules": [rule, {**rule, "alert": "More"}]}])
    found = again.build(METER_READINGS, {"east": changed}, {"east": 2})
    assert bound == [*names, "More"]
    assert same(found, build(METER_READINGS, {"east": changed}, {"east": 2}))
    again.close()


def test_small_layouts_leave_no_file(documents: dict[str, Document], tmp_path: Path) -> None:
    """They are quick to build."""
    Layouts(tmp_path / "cache").build(METER_READINGS, documents, {"east": 1})
    assert not (tmp_path / "cache").exists()
