"""Each rule of delivery is broken once, and the simulation notices; the code is whole again afterwards."""

import pytest

from streams import transaction
from tests.fault.mutants import EQUIVALENT, MUTANTS, Mutant, broken, caught


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_a_broken_rule_is_noticed(mutant: Mutant) -> None:
    """Some life goes wrong."""
    assert caught(mutant) is not None, f"nothing notices when the rule is broken: {mutant.rule}"


def test_names_are_told_apart() -> None:
    """Each mutant has a name of its own, also among those that are excluded."""
    names = [mutant.name for mutant in MUTANTS]
    assert len({*names, *EQUIVALENT}) == len(names) + len(EQUIVALENT)


def test_a_mutant_leaves_nothing_behind() -> None:
    """After a mutant the module has its own text again."""
    mutant = next(mutant for mutant in MUTANTS if mutant.name == "commit without the position")
    with broken(mutant):
        changed = transaction.TaskProducer.commit.__code__.co_code
    assert transaction.TaskProducer.commit.__code__.co_code != changed
