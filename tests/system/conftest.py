"""One undisturbed run, recorded, for all tests of this folder."""

import dataclasses

import pytest

from ganzhi.embedded.system import System
from replay.verify import Verification
from tests.system.runs import Load, Result, feed_demo, result, settle, verified


@dataclasses.dataclass(frozen=True)
class Baseline:
    """An undisturbed run: what went in, what came out, and its replays from Kafka and from `event_log`."""

    load: Load
    result: Result
    replays: tuple[Verification, Verification]


@pytest.fixture(scope="package")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Baseline:
    """One worker, one sink, nothing happens to them."""
    with System("baseline", wipe=True, ports="free") as system:
        feed_demo(system.settings, tmp_path_factory.mktemp("demo"))
        settle(system)
        return Baseline(Load.record(system.settings), result(system.settings), verified(system.settings))
