"""A file is the old one or the new one, and nothing else is left."""

from pathlib import Path

import pytest

from schemas.whole_files import write_whole


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    """Parts one after another, for the owner's eyes alone."""
    file = tmp_path / "one"
    write_whole(file, b"old")
    write_whole(file, b"ne", b"w")
    assert file.read_bytes() == b"new"
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_cannot_be_put_in_its_place_leaves_nothing(tmp_path: Path) -> None:
    """The error is the caller's, and the draft is gone."""
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_whole(tmp_path / "taken", b"new")
    assert [one.name for one in tmp_path.iterdir()] == ["taken"]
