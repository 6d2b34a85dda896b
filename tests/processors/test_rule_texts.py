"""Alerts of random histories against the texts of their rules: an oracle that shares nothing with the compiler."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any
from unittest.mock import patch

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from schemas.rules.program import FALSE, TRUE, UNKNOWN
from tests.processors.logs import FIRST, RECENT, RULES, busy, site
from tests.processors.test_oracle import compare
from tests.processors.world import T0, config, library, records
from tests.support.oracle.alerts import Code, Instance
from tests.support.oracle.texts import Absent, Value, holds
from tests.support.patience import patient

THOUSANDTHS = ("light_power", "temperature", "water_flow")
"""Roles of gauges; states are whole."""


def rules_of(pack: str) -> dict[str, dict[str, Any]]:
    """The rules of a pack by name, as their writer wrote them."""
    return {rule["alert"]: rule for rule in yaml.safe_load(pack)["rules"]}


TEXTS = {name: rule for name, rule in (rules_of(RULES) | rules_of(RECENT)).items() if "over(" not in rule["expr"]}


def read(self: Instance, code: Code, clock: int, resumed: int) -> int:
    """What the text of the rule says, in place of the program; rules that look back are left to the program."""
    rule = TEXTS.get(self.rule.name)
    if rule is None:
        value, known = self.computed(code, clock, resumed)
        return (TRUE if value else FALSE) if known else UNKNOWN
    text = rule["clear"] if code is self.rule.clearing else rule["expr"]
    names = sorted(rule["roles"])

    def role(name: str) -> Value:
        place = names.index(name)
        bound = rule["roles"][name]
        kind = bound["role"] if isinstance(bound, dict) else bound
        if self.rule.slots[place] is None:
            raise Absent
        value, known = self.value(place, clock)
        return None if not known else _number(value, 1000 if kind in THOUSANDTHS else 1)

    def call(function: str, name: str) -> Value:
        if function == "schedule":
            (bounds,) = self.rule.schedules.values()
            past = [state for time, state in bounds if time <= clock]
            return None if not past or past[-1] == UNKNOWN else past[-1] == TRUE
        place = names.index(name)
        if function == "interval":
            slot = self.rule.slots[place]
            assert slot is not None
            return _number(self.points[slot[1][0]].meta.interval_ms, 1)
        latest = self.latest(place)
        return None if latest is None else _number(max(clock - max(latest, resumed), 0), 1)

    found = holds(text, role, call)
    return UNKNOWN if found is None else TRUE if found else FALSE


def _number(value: int, over: int) -> Value:
    return Fraction(value, over)


@pytest.fixture(autouse=True)
def texts() -> Iterator[None]:
    """The oracle reads texts."""
    with patch.object(Instance, "result", read):
        yield


@patient(max_examples=10)
@given(st.integers(0, 10**9))
def test_alerts_are_what_the_texts_say(seed: int) -> None:
    """Hours of sensors with gaps, disorder and faults: the same alerts, whatever was made of the text on the way."""
    counts = compare(records([(T0, config(FIRST)), *busy(seed)]), library(FIRST))
    assert counts["alerts"]


@patient(max_examples=3)
@given(st.integers(0, 10**9))
def test_an_age_in_words(seed: int) -> None:
    """`age(people) < 90 s`, which only a timer can end."""
    recent = site(RECENT)
    compare(records([(T0, config(recent)), *busy(seed, 120)]), library(recent))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("light > 50 W and people == 0", True),
        ("light > 60 W and people == 0", False),
        ("gone > 1 W and light > 60 W", False),
        ("gone > 1 W and light > 50 W", None),
        ("gone > 1 W or light * 2 >= 0.12 kW", True),
        ("not people", True),
        ("lost / 3 > 100 W or people == 1", False),
    ],
)
def test_the_reader_of_texts_by_hand(text: str, expected: bool | None) -> None:
    """60 W and nobody; `gone` is unknown, `lost` is not there."""

    def role(name: str) -> Value:
        if name == "lost":
            raise Absent
        return {"light": _number(60, 1), "people": _number(0, 1), "gone": None}[name]

    assert holds(text, role, lambda *_: None) is expected
