"""Hostile bytes, some thousands of them; and that a reader which is too kind would be noticed."""

import pytest

from schemas import codec
from tests.fault import hostile


def test_hostile_bytes() -> None:
    """Every contract: decoded as the oracles do, or refused, in a process with bounded memory; none crashes it."""
    found = hostile.apart(12_000, seed=3, timeout_s=280)
    assert found.crashes == 0, found.wrong
    assert found.wrong == []
    assert found.hostile >= 12_000
    assert found.accepted > 1000
    assert found.refused > 1000


def test_a_kind_reader_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that takes any number for the index of a symbol is told from one that does not."""
    strict = codec._Reader.long

    def kind(self: codec._Reader, low: int = -(1 << 63), high: int = (1 << 63) - 1) -> int:
        del low
        return min(strict(self), high)

    monkeypatch.setattr(codec._Reader, "long", kind)
    found = hostile.Fuzzed()
    for message, _ in zip(hostile.messages("waste_event", hostile.random.Random(1)), range(3000), strict=False):
        try:
            hostile.cold("waste_event", message, found)
        except (IndexError, EOFError, ValueError):  # fastavro's ways to refuse
            found.disagrees("fastavro refuses", message)
    assert found.wrong
